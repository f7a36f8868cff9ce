//! Where generated voxels go: files whose parts may arrive in any order.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use flate2::Compression;
use flate2::write::GzEncoder;
use hgv::volume::{DType, Metadata, Region};
use hgv::{Error, Result};

/// File types that can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Raw,
    Npy,
    Nrrd,
    Nifti { gzip: bool },
}

impl Format {
    fn of(path: &Path) -> Result<Self> {
        let name = path.to_string_lossy().to_ascii_lowercase();
        Ok(match name.rsplit('.').next() {
            Some("raw") => Self::Raw,
            Some("npy") => Self::Npy,
            Some("nrrd") => Self::Nrrd,
            Some("nii") => Self::Nifti { gzip: false },
            Some("gz") if name.ends_with(".nii.gz") => Self::Nifti { gzip: true },
            _ => {
                return Err(Error::argument(format!(
                    "{}: the name must end in .raw, .npy, .nrrd, .nii or .nii.gz",
                    path.display()
                )));
            }
        })
    }

    fn header(self, extent: [u64; 3], dtype: DType, metadata: &Metadata) -> Result<Vec<u8>> {
        Ok(match self {
            Self::Raw => Vec::new(),
            Self::Npy => npy_header(extent, dtype),
            Self::Nrrd => nrrd_header(extent, dtype, metadata),
            Self::Nifti { .. } => nifti_header(extent, dtype, metadata)?,
        })
    }
}

/// Bytes that arrive in any order: in a file, or in memory for formats that compress them.
enum Body {
    File(File),
    Memory(Vec<u8>),
}

/// A volume file being written; `NAME.partial` until it is whole.
pub(super) struct Sink {
    format: Format,
    header: Vec<u8>,
    body: Mutex<Body>,
    path: PathBuf,
    partial: PathBuf,
}

impl Sink {
    pub(super) fn create(
        path: &Path,
        extent: [u64; 3],
        dtype: DType,
        metadata: &Metadata,
        force: bool,
    ) -> Result<Self> {
        let format = Format::of(path)?;
        let bytes = Region::whole(extent)
            .voxels()
            .checked_mul(dtype.size() as u64);
        let bytes = bytes.filter(|&b| b > 0 && b < i64::MAX as u64);
        let bytes = bytes.ok_or_else(|| Error::argument("no such extent"))?;
        let path = match format {
            Format::Raw => with_extent(path, extent, dtype),
            _ => path.to_path_buf(),
        };
        if path.exists() && !force {
            return Err(Error::Exists {
                path,
                hint: "use --force to replace it",
            });
        }
        let header = format.header(extent, dtype, metadata)?;
        let partial = with_suffix(&path, ".partial");
        let body = match format {
            Format::Raw | Format::Npy => Body::File(start(&partial, &header)?),
            _ => Body::Memory(vec![0; bytes as usize]),
        };
        Ok(Self {
            format,
            header,
            body: Mutex::new(body),
            path,
            partial,
        })
    }

    /// Stores bytes at `offset` of the voxel data.
    pub(super) fn put(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        match &mut *self.lock() {
            Body::File(file) => file
                .seek(SeekFrom::Start(self.header.len() as u64 + offset))
                .and_then(|_| file.write_all(bytes))
                .map_err(|e| Error::io(self.partial.display().to_string(), e)),
            Body::Memory(all) => {
                all[offset as usize..][..bytes.len()].copy_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// Completes the file and gives it its name.
    pub(super) fn finish(self) -> Result<PathBuf> {
        if let Body::Memory(voxels) = &*self.lock() {
            self.write_memory(voxels)
                .map_err(|e| Error::io(self.partial.display().to_string(), e))?;
        }
        std::fs::rename(&self.partial, &self.path)
            .map_err(|e| Error::io(self.path.display().to_string(), e))?;
        Ok(self.path)
    }

    fn write_memory(&self, voxels: &[u8]) -> std::io::Result<()> {
        let mut file = File::create(&self.partial)?;
        match self.format {
            Format::Nifti { gzip: true } => {
                let mut packed = GzEncoder::new(file, Compression::best());
                packed.write_all(&self.header)?;
                packed.write_all(voxels)?;
                packed.finish()?;
            }
            Format::Nrrd => {
                file.write_all(&self.header)?;
                let mut packed = GzEncoder::new(file, Compression::best());
                packed.write_all(voxels)?;
                packed.finish()?;
            }
            _ => {
                file.write_all(&self.header)?;
                file.write_all(voxels)?;
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Body> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn start(partial: &Path, header: &[u8]) -> Result<File> {
    File::create(partial)
        .and_then(|mut file| file.write_all(header).map(|()| file))
        .map_err(|e| Error::io(partial.display().to_string(), e))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// `name.raw` becomes `name_XxYxZ_dtype.raw`, unless it says so already.
fn with_extent(path: &Path, [x, y, z]: [u64; 3], dtype: DType) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let tail = format!("_{x}x{y}x{z}_{dtype}");
    if stem.ends_with(&tail) {
        return path.to_path_buf();
    }
    path.with_file_name(format!("{stem}{tail}.raw"))
}

fn npy_header([x, y, z]: [u64; 3], dtype: DType) -> Vec<u8> {
    let kind = match dtype {
        DType::Uint8 => "|u1",
        DType::Int8 => "|i1",
        DType::Uint16 => "<u2",
        DType::Int16 => "<i2",
        _ => "<f4",
    };
    let text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({z}, {y}, {x}), }}");
    // Magic, version and length take 10 bytes; data starts at a multiple of 64.
    let len = (10 + text.len() + 1).next_multiple_of(64) - 10;
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((len as u16).to_le_bytes());
    out.extend(format!("{text:<width$}\n", width = len - 1).as_bytes());
    out
}

fn nrrd_header([x, y, z]: [u64; 3], dtype: DType, metadata: &Metadata) -> Vec<u8> {
    let kind = match dtype {
        DType::Uint8 => "uint8",
        DType::Int8 => "int8",
        DType::Uint16 => "uint16",
        DType::Int16 => "int16",
        _ => "float",
    };
    let [sx, sy, sz] = metadata.spacing;
    let unit = metadata.unit.as_deref().unwrap_or("");
    format!(
        "NRRD0004\ntype: {kind}\ndimension: 3\nsizes: {x} {y} {z}\nspacings: {sx} {sy} {sz}\n\
         units: \"{unit}\" \"{unit}\" \"{unit}\"\nendian: little\nencoding: gzip\n\n"
    )
    .into_bytes()
}

/// A NIfTI-1 header with an affine of spacing and origin, and the four bytes that end it.
fn nifti_header(extent: [u64; 3], dtype: DType, metadata: &Metadata) -> Result<Vec<u8>> {
    let (code, bits) = match dtype {
        DType::Uint8 => (2i16, 8i16),
        DType::Int8 => (256, 8),
        DType::Uint16 => (512, 16),
        DType::Int16 => (4, 16),
        _ => (16, 32),
    };
    let mut h = vec![0u8; 352];
    let mut put = |at: usize, bytes: &[u8]| h[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &348i32.to_le_bytes());
    put(40, &3i16.to_le_bytes());
    for (a, n) in extent.iter().enumerate() {
        let n = i16::try_from(*n).map_err(|_| Error::argument("NIfTI-1 axes end at 32767"))?;
        put(42 + 2 * a, &n.to_le_bytes());
    }
    for a in 4..8 {
        put(40 + 2 * a, &1i16.to_le_bytes());
    }
    put(70, &code.to_le_bytes());
    put(72, &bits.to_le_bytes());
    put(76, &1f32.to_le_bytes());
    put(108, &352f32.to_le_bytes());
    put(112, &(metadata.slope as f32).to_le_bytes());
    put(116, &(metadata.intercept as f32).to_le_bytes());
    let unit: u8 = match metadata.unit.as_deref() {
        Some("m") => 1,
        Some("mm") => 2,
        Some("um") => 3,
        _ => 0,
    };
    put(123, &[unit]);
    put(254, &1i16.to_le_bytes());
    for a in 0..3 {
        let spacing = metadata.spacing[a] as f32;
        put(80 + 4 * a, &spacing.to_le_bytes());
        put(280 + 20 * a, &spacing.to_le_bytes());
        put(292 + 16 * a, &(metadata.origin[a] as f32).to_le_bytes());
    }
    put(344, b"n+1\0");
    Ok(h)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_headers() {
        let named = with_extent(Path::new("a/rock.raw"), [4, 5, 6], DType::Uint8);
        assert_eq!(named, Path::new("a/rock_4x5x6_uint8.raw"));
        assert_eq!(with_extent(&named, [4, 5, 6], DType::Uint8), named);
        let npy = npy_header([4, 5, 6], DType::Float32);
        assert_eq!(npy.len() % 64, 0);
        assert!(String::from_utf8_lossy(&npy).contains("'shape': (6, 5, 4)"));
        assert!(Format::of(Path::new("x.gz")).is_err());
    }
}
