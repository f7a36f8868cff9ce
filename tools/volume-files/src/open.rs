//! Opening a volume file: format, header, where the voxels are, how they become voxels.

use crate::element::{Endian, NumberType};
use crate::failure::{bad, reading};
use crate::format::{Format, Name, Packing, sniff};
use crate::input::Input;
use crate::layout::{Layout, Skip, Start};
use crate::source::FileVolume;
use crate::spool::Spool;
use crate::store::{Runs, Store};
use crate::{mrc, nifti, npy, nrrd, raw};
use hgv::Result;
use hgv::volume::{DType, Extent, Metadata, Region, VoxelSource};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How to open a volume file. The default asks nothing of files that describe themselves.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// Raw voxels only: lengths of the axes in voxels, `[x, y, z]`.
    pub shape: Option<Extent>,
    /// Raw voxels only: type of the numbers.
    pub dtype: Option<NumberType>,
    /// Raw voxels only: byte order; little-endian if not given.
    pub endian: Option<Endian>,
    /// Raw voxels only: bytes before the voxels (after unpacking).
    pub skip: Option<u64>,
    /// Distance of voxel centres along x, y, z; replaces what the file says.
    pub spacing: Option<[f64; 3]>,
    /// Convert to this type, rounding to nearest (ties to even) and clamping.
    pub cast: Option<DType>,
    /// Folder for the scratch file; the system's folder for temporary files if not given.
    pub scratch: Option<PathBuf>,
    /// Only this box of the volume, in voxels.
    pub region: Option<Region>,
}

/// An opened volume.
pub struct OpenedVolume {
    /// The voxels.
    pub source: Box<dyn VoxelSource>,
    /// Format of the file.
    pub format: Format,
    /// Type of the numbers in the file; differs from the source's if they are converted.
    pub stored: NumberType,
    /// Whether the voxels were unpacked to a scratch file.
    pub spooled: bool,
    /// What a user should be told, one line each.
    pub notices: Vec<String>,
}

impl std::fmt::Debug for OpenedVolume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenedVolume")
            .field("extent", &self.source.extent())
            .field("dtype", &self.source.dtype())
            .field("format", &self.format)
            .field("spooled", &self.spooled)
            .field("notices", &self.notices)
            .finish()
    }
}

/// Where the voxels of a file were found.
pub(crate) struct Located {
    pub(crate) store: Store,
    /// The store holds only the region asked for, in little-endian order.
    pub(crate) spooled: bool,
}

/// Opens a volume file, or a folder of numbered TIFF files. `-` is the standard input.
///
/// Costs one pass over the voxels if the file is compressed or piped (they go to a scratch
/// file), and one if their type is converted; else only the header is read.
///
/// # Errors
/// [`hgv::Error::Io`] for paths that cannot be read, [`hgv::Error::Input`] for files that are
/// not what they claim, are cut off, or hold numbers that no voxel type takes,
/// [`hgv::Error::InvalidArgument`] for options that do not fit the file.
pub fn open_volume(path: &Path, options: &OpenOptions) -> Result<OpenedVolume> {
    if path.is_dir() {
        options.only_for_raw(path, Format::Tiff)?;
        return Err(bad(path, "folders are not read"));
    }
    let path = &header_of_pair(path, options);
    let mut input = Input::open(path, false)?;
    let format = decide(&input, options)?;
    options.only_for_raw(path, format)?;
    let mut layout = match format {
        Format::Nrrd => nrrd::parse(&mut input)?,
        Format::Nifti => nifti::parse(&mut input)?,
        Format::Mrc => mrc::parse(&mut input)?,
        Format::Npy => npy::parse(&mut input)?,
        Format::Raw => raw::describe(&input, options)?,
        Format::Tiff => {
            return Err(bad(path, "TIFF is not read"));
        }
    };
    let region = options.region_in(path, layout.extent)?;
    let located = locate(input, &mut layout, region, options)?;
    assemble(path, layout, located, options)
}

/// `name.hdr` for `name.img`, if it is there and no shape is given.
fn header_of_pair(path: &Path, options: &OpenOptions) -> PathBuf {
    let name = path.to_string_lossy();
    let stem = [".img", ".img.gz"]
        .iter()
        .find_map(|s| name.strip_suffix(s));
    let header = stem.and_then(|stem| {
        [".hdr", ".hdr.gz"]
            .iter()
            .map(|s| PathBuf::from(format!("{stem}{s}")))
            .find(|p| p.is_file())
    });
    match header {
        Some(header) if options.shape.is_none() => header,
        _ => path.to_owned(),
    }
}

fn decide(input: &Input, options: &OpenOptions) -> Result<Format> {
    let named = Name::of(input.path())?.format;
    if named == Some(Format::Raw) {
        return Ok(Format::Raw);
    }
    let raw = options.shape.is_some() && options.dtype.is_some();
    sniff(input.head())
        .or(if raw { Some(Format::Raw) } else { named })
        .ok_or_else(|| {
            bad(
                input.path(),
                "this is no NRRD, NIfTI, MRC, TIFF or NPY file; for raw voxels give --shape X,Y,Z --dtype T",
            )
        })
}

impl OpenOptions {
    fn only_for_raw(&self, path: &Path, format: Format) -> Result<()> {
        let given = [
            ("--shape", self.shape.is_some()),
            ("--dtype", self.dtype.is_some()),
            ("--endian", self.endian.is_some()),
            ("--skip", self.skip.is_some()),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((option, _)) if format != Format::Raw => Err(hgv::Error::argument(format!(
                "{}: {option} is for raw voxels, and this is a {format} file; leave it out",
                path.display()
            ))),
            _ => Ok(()),
        }
    }

    /// The box asked for, or all of a volume of this extent.
    pub(crate) fn region_in(&self, path: &Path, extent: Extent) -> Result<Region> {
        let Some(region) = self.region else {
            return Ok(Region::whole(extent));
        };
        Region::new(region.start, region.end)?;
        if !region.fits(extent) {
            let [x, y, z] = extent;
            return Err(hgv::Error::argument(format!(
                "{}: the region reaches outside of the volume of {x} x {y} x {z}",
                path.display()
            )));
        }
        Ok(region)
    }
}

/// Finds the voxels: in place where possible, else through a scratch file.
fn locate(
    input: Input,
    layout: &mut Layout,
    region: Region,
    options: &OpenOptions,
) -> Result<Located> {
    let total = layout.bytes(input.path())?;
    let parts = Parts::new(input, layout, total)?;
    let in_place = parts.all_in_place(layout.start.gzip);
    if in_place {
        let store = parts.in_place(layout)?;
        return Ok(Located {
            store,
            spooled: false,
        });
    }
    let mut spool = Spool::create(options.scratch.as_deref(), layout, region)?;
    parts.spool(layout, &mut spool)?;
    Ok(Located {
        store: spool.finish()?,
        spooled: true,
    })
}

/// The files that hold the voxels in equal shares.
struct Parts {
    /// Opened already: the file of the header, or the first detached one.
    first: Input,
    files: Vec<PathBuf>,
    share: u64,
}

impl Parts {
    fn new(input: Input, layout: &Layout, total: u64) -> Result<Self> {
        let files = match layout.detached.len() {
            0 => vec![input.path().to_owned()],
            _ => layout.detached.clone(),
        };
        let count = files.len() as u64;
        if !total.is_multiple_of(count)
            || !(total / count).is_multiple_of(layout.number.size() as u64)
        {
            return Err(bad(
                input.path(),
                format!("{} cannot be shared by {count} files", layout.shape()),
            ));
        }
        let first = if layout.detached.is_empty() {
            input
        } else {
            Input::open(&files[0], layout.start.gzip)?
        };
        Ok(Self {
            first,
            files,
            share: total / count,
        })
    }

    fn all_in_place(&self, gzip: bool) -> bool {
        self.first.file().is_some() && !gzip
    }

    /// Offsets of the shares in files that need no unpacking.
    fn in_place(self, layout: &mut Layout) -> Result<Store> {
        let share = self.share;
        let mut part = self.first;
        let (file, first) = find(&mut part, layout, share)?;
        if self.files.len() == 1 {
            let path = self.files.into_iter().next().unwrap_or_default();
            return Ok(Store::Linear {
                path,
                file,
                offset: first,
            });
        }
        let mut runs = vec![(0, first)];
        for (i, path) in (1u32..).zip(&self.files[1..]) {
            runs.push((i, find(&mut Input::open(path, false)?, layout, share)?.1));
        }
        Ok(Store::Runs(Runs::new(self.files, runs, share)))
    }

    fn spool(self, layout: &mut Layout, spool: &mut Spool) -> Result<()> {
        let mut first = Some(self.first);
        for path in &self.files {
            let mut part = match first.take() {
                Some(part) => part,
                None => Input::open(path, layout.start.gzip)?,
            };
            if spool.complete() {
                break;
            }
            begin(&mut part, &layout.start, self.share)?;
            check_bound(&part, layout, self.share)?;
            part.resume()?;
            spool.copy(path, part.stream(), self.share)?;
            if spool.took_all() || !spool.complete() {
                check_end(&mut part, layout)?;
            }
        }
        Ok(())
    }
}

/// The file and the byte where `share` bytes of voxels lie in place.
fn find(part: &mut Input, layout: &mut Layout, share: u64) -> Result<(Arc<std::fs::File>, u64)> {
    begin(part, &layout.start, share)?;
    check_bound(part, layout, share)?;
    let extra = part
        .bound()
        .unwrap_or(0)
        .saturating_sub(part.position() + share);
    if extra > 0 {
        surplus(part.path(), layout, &format!("{extra} bytes"))?;
    }
    let file = part.file().cloned().ok_or_else(|| {
        bad(
            part.path(),
            "some of the data files are packed and some are not; unpack them all",
        )
    })?;
    Ok((file, part.position()))
}

/// Moves to the first voxel.
fn begin(part: &mut Input, start: &Start, share: u64) -> Result<()> {
    part.advance(start.offset)?;
    if start.lines > 0 {
        part.resume()?;
    }
    for _ in 0..start.lines {
        if part.line(1 << 24)?.is_none() {
            return Err(bad(part.path(), "the file ends within the lines to skip"));
        }
    }
    if start.gzip {
        part.resume()?;
        part.unpack(Packing::Gzip)?;
    }
    let skip = match start.skip {
        Skip::Bytes(n) => n,
        Skip::AllBefore if part.file().is_none() => {
            return Err(bad(
                part.path(),
                "byte skip -1 needs a file that can be read in place; unpack it first",
            ));
        }
        Skip::AllBefore => {
            let from = part.bound().unwrap_or(0).checked_sub(share);
            from.and_then(|f| f.checked_sub(part.position()))
                .ok_or_else(|| bad(part.path(), "the file is shorter than its voxels"))?
        }
    };
    part.advance(part.position().saturating_add(skip))
}

/// Holds the size in the header against the bytes that can come.
fn check_bound(part: &Input, layout: &Layout, share: u64) -> Result<()> {
    let Some(bound) = part.bound() else {
        return Ok(());
    };
    let there = bound.saturating_sub(part.position());
    if there >= share {
        return Ok(());
    }
    let there = match part.file() {
        Some(_) => format!("{there} are there"),
        None => "the file is too small for them".to_owned(),
    };
    let remedy = match layout.format {
        Format::Raw => "check --shape, --dtype and --skip",
        _ => "copy or download it again",
    };
    Err(bad(
        part.path(),
        format!(
            "{} needs {share} bytes from byte {} on, {there}; {remedy}",
            layout.shape(),
            part.position()
        ),
    ))
}

/// After the last voxel of a stream: the end, which also checks its checksum.
fn check_end(part: &mut Input, layout: &mut Layout) -> Result<()> {
    let path = part.path().to_owned();
    let mut more = [0];
    match part.stream().read(&mut more) {
        Ok(0) => Ok(()),
        Ok(_) => surplus(&path, layout, "bytes"),
        Err(e) => Err(reading(&path, e)),
    }
}

/// More bytes than voxels: an error where nothing but the size vouches for the shape.
fn surplus(path: &Path, layout: &mut Layout, extra: &str) -> Result<()> {
    if layout.format == Format::Raw {
        return Err(bad(
            path,
            format!(
                "{} leaves {extra} over behind the voxels; check --shape, --dtype and --skip",
                layout.shape()
            ),
        ));
    }
    layout.notices.push(format!(
        "{}: {extra} behind the voxels are ignored",
        path.display()
    ));
    Ok(())
}

/// Puts the source together and settles the type of its voxels.
fn assemble(
    path: &Path,
    layout: Layout,
    located: Located,
    options: &OpenOptions,
) -> Result<OpenedVolume> {
    let region = options.region_in(path, layout.extent)?;
    let mut notices = layout.notices;
    if located.spooled {
        notices.push(spool_notice(options));
    }
    let mut volume = FileVolume {
        full: if located.spooled {
            region.extent()
        } else {
            layout.extent
        },
        region: if located.spooled {
            Region::whole(region.extent())
        } else {
            region
        },
        endian: if located.spooled {
            Endian::Little
        } else {
            layout.endian
        },
        store: located.store,
        number: layout.number,
        dtype: layout.number.native().unwrap_or(DType::Float32),
        metadata: placed(path, layout.metadata, region, options)?,
    };
    volume.dtype = settle(path, &volume, options.cast, &mut notices)?;
    Ok(OpenedVolume {
        source: Box::new(volume),
        format: layout.format,
        stored: layout.number,
        spooled: located.spooled,
        notices,
    })
}

fn spool_notice(options: &OpenOptions) -> String {
    let folder = options.scratch.clone().unwrap_or_else(std::env::temp_dir);
    format!(
        "the voxels were unpacked to a scratch file in {}; it is deleted at the end",
        folder.display()
    )
}

fn placed(
    path: &Path,
    metadata: Metadata,
    region: Region,
    options: &OpenOptions,
) -> Result<Metadata> {
    let mut metadata = metadata;
    if let Some(spacing) = options.spacing {
        if !spacing.iter().all(|s| s.is_finite() && *s > 0.0) {
            return Err(hgv::Error::argument(format!(
                "{}: --spacing takes three positive numbers",
                path.display()
            )));
        }
        metadata.spacing = spacing;
    }
    Ok(match region.start {
        [0, 0, 0] => metadata,
        start => metadata.cropped(start),
    })
}

/// The voxel type: the file's own, the one asked for, or one that holds every value.
fn settle(
    path: &Path,
    volume: &FileVolume,
    cast: Option<DType>,
    notices: &mut Vec<String>,
) -> Result<DType> {
    let number = volume.number;
    if let Some(dtype) = number.native()
        && cast.is_none_or(|c| c == dtype)
    {
        return Ok(dtype);
    }
    let scan = volume.scan()?;
    if let Some(dtype) = cast {
        if scan.nans() > 0 && !dtype.is_float() {
            return Err(bad(
                path,
                format!(
                    "{} voxels are NaN, which {dtype} cannot hold; cast to float32",
                    scan.nans()
                ),
            ));
        }
        notices.push(format!(
            "{number} is cast to {dtype}: {}",
            scan.cast_effect(dtype)
        ));
        return Ok(dtype);
    }
    let dtype = scan.exact_type(number).ok_or_else(|| {
        bad(
            path,
            format!(
                "the {number} values {} fit none of uint8, int8, uint16, int16, float32 exactly; choose one with --cast T",
                scan.range()
            ),
        )
    })?;
    notices.push(format!(
        "{number} is read as {dtype}, which holds every value exactly"
    ));
    Ok(dtype)
}
