//! Which format a file has, by its name and by its first bytes.

use crate::failure::bad;
use hgv::Result;
use std::path::Path;

/// A volume file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Nearly raw raster data (`.nrrd`, `.nhdr`).
    Nrrd,
    /// NIfTI-1 or NIfTI-2 (`.nii`, `.hdr` with `.img`).
    Nifti,
    /// MRC or CCP4 map (`.mrc`, `.map`, `.rec`, `.st`, `.mrcs`).
    Mrc,
    /// TIFF or BigTIFF, pages along z (`.tif`, `.tiff`, or a folder of them).
    Tiff,
    /// NumPy array (`.npy`).
    Npy,
    /// Voxels without a header (`.raw`, `.bin`, `.vol`, `.float`).
    Raw,
}

impl Format {
    /// The usual name of the format.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nrrd => "NRRD",
            Self::Nifti => "NIfTI",
            Self::Mrc => "MRC",
            Self::Tiff => "TIFF",
            Self::Npy => "NPY",
            Self::Raw => "raw",
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// General-purpose compression around a whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Gzip,
    Zstd,
}

impl Packing {
    /// By the magic number at the start of a file.
    pub(crate) fn sniff(head: &[u8]) -> Option<Self> {
        if head.starts_with(&[0x1f, 0x8b, 8]) {
            Some(Self::Gzip)
        } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Some(Self::Zstd)
        } else {
            None
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// More bytes than `packed` bytes of this compression can ever unpack to. DEFLATE reaches
    /// 1032 to 1, a zstd block of 4 bytes repeats one byte 128 Ki times.
    pub(crate) const fn most(self, packed: u64) -> u64 {
        match self {
            Self::Gzip => packed.saturating_mul(1040),
            Self::Zstd => packed.saturating_mul(33_000),
        }
    }
}

/// What the name of a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    /// Name without compression suffix, lower case.
    pub(crate) plain: String,
    /// Last suffix of `plain`.
    pub(crate) suffix: String,
    pub(crate) packing: Option<Packing>,
    pub(crate) format: Option<Format>,
}

impl Name {
    /// # Errors
    /// A compression that is not read.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let full = path.file_name().unwrap_or_default().to_string_lossy();
        let mut plain = full.to_lowercase();
        let mut packing = None;
        for (suffix, kind) in [
            (".gz", Some(Packing::Gzip)),
            (".zst", Some(Packing::Zstd)),
            (".bz2", None),
            (".xz", None),
        ] {
            let Some(stem) = plain.strip_suffix(suffix) else {
                continue;
            };
            if kind.is_none() {
                return Err(bad(
                    path,
                    format!("{suffix} is not read; unpack the file or pack it as .gz or .zst"),
                ));
            }
            (plain, packing) = (stem.to_owned(), kind);
            break;
        }
        let suffix = plain.rsplit_once('.').map_or("", |(_, s)| s).to_owned();
        Ok(Self {
            format: by_suffix(&suffix),
            plain,
            suffix,
            packing,
        })
    }
}

fn by_suffix(suffix: &str) -> Option<Format> {
    Some(match suffix {
        "nrrd" | "nhdr" => Format::Nrrd,
        "nii" | "hdr" | "img" => Format::Nifti,
        "mrc" | "map" | "rec" | "st" | "mrcs" | "ccp4" => Format::Mrc,
        "tif" | "tiff" | "btf" | "tf8" => Format::Tiff,
        "npy" => Format::Npy,
        "raw" | "bin" | "vol" | "float" => Format::Raw,
        _ => return None,
    })
}

/// By the first bytes of an unpacked file.
pub(crate) fn sniff(head: &[u8]) -> Option<Format> {
    if head.starts_with(b"NRRD000") {
        return Some(Format::Nrrd);
    }
    if head.starts_with(b"\x93NUMPY") {
        return Some(Format::Npy);
    }
    if [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"]
        .iter()
        .any(|magic| head.starts_with(*magic))
    {
        return Some(Format::Tiff);
    }
    if head.get(208..212) == Some(b"MAP ") {
        return Some(Format::Mrc);
    }
    let size = head.first_chunk::<4>()?;
    let nifti = |n: i32| n == 348 || n == 540;
    (nifti(i32::from_le_bytes(*size)) || nifti(i32::from_be_bytes(*size))).then_some(Format::Nifti)
}
