//! Writing volumes: voxels come in order and go out in constant memory. The file appears under
//! its name only when it is complete.

use crate::element::NumberType;
use crate::failure::{bad, system};
use crate::format::{Format, Name, Packing};
use crate::layout::voxel_bytes;
use crate::mrc::Statistics;
use crate::{mrc, nifti, npy, nrrd, tiff};
use flate2::Compression;
use flate2::write::GzEncoder;
use hgv::volume::{DType, Extent, Metadata, VoxelSource};
use hgv::{Error, Result};
use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tempfile::{NamedTempFile, TempPath};

/// Bytes buffered before they are written.
const BUFFER: usize = 1 << 20;

/// What [`VolumeWriter::finish`] made.
#[derive(Debug, Clone)]
pub struct Written {
    /// Bytes of the file.
    pub bytes: u64,
    /// What the format could not keep, one line each.
    pub notices: Vec<String>,
}

/// Streams voxels into a new volume file.
///
/// Voxels are little-endian in the file. Memory use does not depend on the extent. Dropping a
/// writer that was not finished leaves nothing behind.
#[derive(Debug)]
pub struct VolumeWriter {
    path: PathBuf,
    temporary: TempPath,
    sink: Sink,
    extent: Extent,
    dtype: DType,
    metadata: Metadata,
    format: Format,
    /// Bytes of voxels to come and those that came.
    total: u64,
    came: u64,
    statistics: Statistics,
    force: bool,
    notices: Vec<String>,
}

#[derive(Debug)]
enum Sink {
    Plain(BufWriter<File>),
    Gzip(Box<GzEncoder<BufWriter<File>>>),
}

impl Sink {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(w) => w.write_all(bytes),
            Self::Gzip(w) => w.write_all(bytes),
        }
    }

    fn into_file(self) -> io::Result<File> {
        let buffered = match self {
            Self::Plain(w) => w,
            Self::Gzip(w) => w.finish()?,
        };
        buffered
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
    }
}

impl VolumeWriter {
    /// Starts a file. The format follows from the name: `.nrrd`, `.nii`, `.nii.gz`, `.mrc`
    /// (`.map`), `.tif` (`.tiff`), `.npy`, `.raw`.
    ///
    /// MRC has no mode for uint8: such voxels are widened to uint16 (mode 6). NIfTI is version 2
    /// if an axis is longer than 32,767 voxels; TIFF is BigTIFF if it would pass 4 GiB.
    ///
    /// # Errors
    /// [`Error::Exists`] if the path exists and `force` is false; [`Error::InvalidArgument`] for
    /// names of no known format; [`Error::Input`] for volumes that the format cannot hold;
    /// [`Error::Io`].
    pub fn create(
        path: &Path,
        extent: Extent,
        dtype: DType,
        metadata: &Metadata,
        force: bool,
    ) -> Result<Self> {
        let (format, packing) = output_format(path)?;
        refuse_existing(path, force)?;
        let total = voxel_bytes(path, extent, NumberType::from(dtype))?;
        let head = Head::new(path, format, extent, dtype, metadata)?;
        let (file, temporary) = temporary_beside(path)?.into_parts();
        let buffered = BufWriter::with_capacity(BUFFER, file);
        let mut sink = match packing {
            None => Sink::Plain(buffered),
            Some(_) => Sink::Gzip(Box::new(GzEncoder::new(buffered, Compression::default()))),
        };
        sink.write_all(&head.bytes).map_err(|e| system(path, e))?;
        Ok(Self {
            path: path.to_owned(),
            temporary,
            sink,
            extent,
            dtype,
            metadata: metadata.clone(),
            format,
            total,
            came: 0,
            statistics: Statistics::default(),
            force,
            notices: head.notices,
        })
    }

    /// Appends voxels: little-endian, `[z][y][x]`, x fastest, from where the last call ended.
    /// Slabs may be of any length in whole voxels.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for more voxels than the extent has; [`Error::Io`].
    pub fn write_slab(&mut self, voxels: &[u8]) -> Result<()> {
        let size = self.dtype.size();
        if voxels.len() as u64 > self.total - self.came || !voxels.len().is_multiple_of(size) {
            return Err(Error::argument(format!(
                "{}: {} bytes of voxels where {} are missing",
                self.path.display(),
                voxels.len(),
                self.total - self.came
            )));
        }
        let written = match self.format {
            Format::Mrc => self.write_mrc(voxels),
            _ => self.sink.write_all(voxels),
        };
        written.map_err(|e| system(&self.path, e))?;
        self.came += voxels.len() as u64;
        Ok(())
    }

    /// MRC wants statistics in its header and has no uint8.
    fn write_mrc(&mut self, voxels: &[u8]) -> io::Result<()> {
        let mut values = Vec::new();
        let mut wide = Vec::new();
        for chunk in voxels.chunks(1 << 16) {
            values.clear();
            NumberType::from(self.dtype).decode(chunk, &mut values);
            self.statistics.feed(&values);
            if self.dtype == DType::Uint8 {
                wide.clear();
                wide.extend(chunk.iter().flat_map(|&v| [v, 0]));
                self.sink.write_all(&wide)?;
            } else {
                self.sink.write_all(chunk)?;
            }
        }
        Ok(())
    }

    /// Appends all voxels of `source`, which has the extent and type of this file, in slabs of
    /// about 1 MiB.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the source does not fit; as [`VoxelSource::read`] and
    /// [`Self::write_slab`].
    pub fn write_source(&mut self, source: &dyn VoxelSource) -> Result<()> {
        if source.extent() != self.extent || source.dtype() != self.dtype {
            return Err(Error::argument(format!(
                "{}: the source has another extent or type",
                self.path.display()
            )));
        }
        let mut buffer = Vec::new();
        for piece in crate::source::slabs(self.extent, self.dtype.size() as u64) {
            buffer.resize(piece.voxels() as usize * self.dtype.size(), 0);
            source.read(&piece, &mut buffer)?;
            self.write_slab(&buffer)?;
        }
        Ok(())
    }

    /// Completes the file, brings it to the disk and gives it its name.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if voxels are missing; [`Error::Exists`] if the path came into
    /// being meanwhile and `force` is false; [`Error::Io`].
    pub fn finish(mut self) -> Result<Written> {
        if self.came != self.total {
            return Err(Error::argument(format!(
                "{}: {} of {} bytes of voxels are missing",
                self.path.display(),
                self.total - self.came,
                self.total
            )));
        }
        let io = |e| system(&self.path, e);
        if self.format == Format::Tiff {
            let sink = &mut self.sink;
            tiff::directories(self.extent, self.dtype, &self.metadata, |b| {
                sink.write_all(b)
            })
            .map_err(io)?;
        }
        let mut file = self.sink.into_file().map_err(io)?;
        if self.format == Format::Mrc {
            let args = (self.extent, self.dtype, &self.metadata);
            let (header, _) = mrc::header(&self.path, args.0, args.1, args.2, &self.statistics)?;
            file.seek(SeekFrom::Start(0)).map_err(io)?;
            file.write_all(&header).map_err(io)?;
        }
        file.sync_all().map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len();
        publish(self.temporary, &self.path, self.force)?;
        Ok(Written {
            bytes,
            notices: self.notices,
        })
    }
}

/// What comes before the voxels.
struct Head {
    bytes: Vec<u8>,
    notices: Vec<String>,
}

impl Head {
    fn new(
        path: &Path,
        format: Format,
        extent: Extent,
        dtype: DType,
        metadata: &Metadata,
    ) -> Result<Self> {
        let (bytes, notices) = match format {
            Format::Nrrd => (nrrd::header(extent, dtype, metadata), Vec::new()),
            Format::Nifti => nifti::header(extent, dtype, metadata),
            Format::Mrc => mrc::header(path, extent, dtype, metadata, &Statistics::default())?,
            Format::Tiff => tiff::header(path, extent, dtype, metadata)?,
            Format::Npy => (npy::header(extent, dtype), no_metadata(format, metadata)),
            Format::Raw => (Vec::new(), no_metadata(format, metadata)),
        };
        Ok(Self { bytes, notices })
    }
}

/// What a format without any metadata loses.
fn no_metadata(format: Format, metadata: &Metadata) -> Vec<String> {
    if *metadata == Metadata::default() {
        return Vec::new();
    }
    let [x, y, z] = metadata.spacing;
    let mut lost = format!(
        "{format} holds no metadata: spacing {x}, {y}, {z} {}",
        metadata.unit.as_deref().unwrap_or("(no unit)")
    );
    if (metadata.slope, metadata.intercept) != (1.0, 0.0) {
        let (slope, intercept) = (metadata.slope, metadata.intercept);
        lost.push_str(&format!(", slope {slope}, intercept {intercept}"));
    }
    lost.push_str(" and orientation are not written");
    vec![lost]
}

fn output_format(path: &Path) -> Result<(Format, Option<Packing>)> {
    let name = Name::of(path)?;
    match (name.format, name.packing) {
        (Some(format), None) if writable(&name.suffix) => Ok((format, None)),
        (Some(Format::Nifti), Some(Packing::Gzip)) if name.suffix == "nii" => {
            Ok((Format::Nifti, Some(Packing::Gzip)))
        }
        _ => Err(Error::argument(format!(
            "{}: the name must end in .nrrd, .nii, .nii.gz, .mrc, .tif, .npy or .raw",
            path.display()
        ))),
    }
}

/// Detached headers are read, not written.
fn writable(suffix: &str) -> bool {
    !matches!(suffix, "hdr" | "img" | "nhdr")
}

fn refuse_existing(path: &Path, force: bool) -> Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(_) if !force => Err(exists(path)),
        Ok(about) if !about.is_file() && !about.is_symlink() => Err(bad(
            path,
            "this is not a regular file and is not replaced; choose another name",
        )),
        _ => Ok(()),
    }
}

fn exists(path: &Path) -> Error {
    Error::Exists {
        path: path.to_owned(),
        hint: "choose another name or replace it with --force",
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

fn temporary_beside(path: &Path) -> Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".hgv-").suffix(".partial");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // What other programs create: the umask takes its part.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder
        .tempfile_in(folder_of(path))
        .map_err(|e| system(path, e))
}

fn publish(temporary: TempPath, path: &Path, force: bool) -> Result<()> {
    let moved = if force {
        temporary.persist(path)
    } else {
        temporary.persist_noclobber(path)
    };
    moved.map_err(|e| match e.error.kind() {
        io::ErrorKind::AlreadyExists => exists(path),
        _ => system(path, e.error),
    })?;
    sync_folder(folder_of(path)).map_err(|e| system(path, e))
}

/// Brings the new name to the disk.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}
