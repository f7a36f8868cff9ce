//! Parser of NIfTI headers (nifti1.h, nifti2.h).

use super::{TYPES, UNITS, affine};
use crate::element::{Endian, NumberType};
use crate::failure::bad;
use crate::format::Format;
use crate::input::Input;
use crate::layout::{Layout, Start, three_axes};
use crate::text;
use crate::units::tidy;
use hgv::Result;
use hgv::volume::Extent;
use std::path::{Path, PathBuf};

/// A header as bytes, with the offsets that differ between the versions.
pub(super) struct Raw {
    bytes: Vec<u8>,
    endian: Endian,
    two: bool,
}

impl Raw {
    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut out = [0; N];
        if let Some(bytes) = self.bytes.get(at..at + N) {
            out.copy_from_slice(bytes);
        }
        if self.endian == Endian::Big {
            out.reverse();
        }
        out
    }

    fn i16(&self, at: usize) -> i16 {
        i16::from_le_bytes(self.array(at))
    }

    fn i32(&self, at: usize) -> i32 {
        i32::from_le_bytes(self.array(at))
    }

    fn i64(&self, at: usize) -> i64 {
        i64::from_le_bytes(self.array(at))
    }

    /// A float of the version's width; single precision gives its shortest decimal.
    fn float(&self, one: usize, two: usize, index: usize) -> f64 {
        if self.two {
            f64::from_le_bytes(self.array(two + 8 * index))
        } else {
            tidy(f32::from_le_bytes(self.array(one + 4 * index)))
        }
    }

    fn code(&self, one: usize, two: usize) -> i32 {
        if self.two {
            self.i32(two)
        } else {
            i32::from(self.i16(one))
        }
    }

    fn dim(&self, index: usize) -> i64 {
        if self.two {
            self.i64(16 + 8 * index)
        } else {
            i64::from(self.i16(40 + 2 * index))
        }
    }

    pub(super) fn pixdim(&self, index: usize) -> f64 {
        self.float(76, 104, index)
    }

    pub(super) fn qform_code(&self) -> i32 {
        self.code(252, 344)
    }

    pub(super) fn sform_code(&self) -> i32 {
        self.code(254, 348)
    }

    /// Quaternion b, c, d and offset x, y, z.
    pub(super) fn quatern(&self, index: usize) -> f64 {
        self.float(256, 352, index)
    }

    /// Rows of the affine matrix, 12 numbers.
    pub(super) fn srow(&self, index: usize) -> f64 {
        self.float(280, 400, index)
    }

    fn magic(&self) -> &[u8] {
        let at = if self.two { 4 } else { 344 };
        self.bytes.get(at..at + 4).unwrap_or_default()
    }

    fn single_file(&self) -> bool {
        self.magic().starts_with(b"n+")
    }

    fn length(&self) -> u64 {
        if self.two { 540 } else { 348 }
    }
}

/// Parses the header at the front of `input`.
///
/// # Errors
/// Anything that is not the NIfTI header of one scalar volume.
pub(crate) fn parse(input: &mut Input) -> Result<Layout> {
    let path = input.path().to_owned();
    let raw = read_raw(input)?;
    let number = number_type(&path, &raw)?;
    let mut layout = Layout::new(Format::Nifti, extent(&path, &raw)?, number);
    layout.endian = raw.endian;
    layout.start = start(&path, &raw)?;
    if !raw.single_file() {
        layout.detached = vec![image_file(&path)?];
    }
    affine::read(&raw, &mut layout.metadata, &mut layout.notices);
    values(&raw, &mut layout)?;
    Ok(layout)
}

fn read_raw(input: &mut Input) -> Result<Raw> {
    let path = input.path().to_owned();
    let mut bytes = input.take(4, "NIfTI header")?;
    let size = [bytes[0], bytes[1], bytes[2], bytes[3]];
    let (endian, size) = match (i32::from_le_bytes(size), i32::from_be_bytes(size)) {
        (n @ (348 | 540), _) => (Endian::Little, n as usize),
        (_, n @ (348 | 540)) => (Endian::Big, n as usize),
        _ => {
            return Err(bad(
                &path,
                "this is not a NIfTI file: its header size is neither 348 nor 540",
            ));
        }
    };
    bytes.extend(input.take(size - 4, "NIfTI header")?);
    let raw = Raw {
        bytes,
        endian,
        two: size == 540,
    };
    let known: [&[u8]; 2] = if raw.two {
        [b"n+2\0", b"ni2\0"]
    } else {
        [b"n+1\0", b"ni1\0"]
    };
    if !known.contains(&raw.magic()) {
        return Err(bad(
            &path,
            "this is not a NIfTI file: the magic n+1, ni1, n+2 or ni2 is missing (ANALYZE 7.5 headers are not read)",
        ));
    }
    Ok(raw)
}

fn number_type(path: &Path, raw: &Raw) -> Result<NumberType> {
    let code = raw.i16(if raw.two { 12 } else { 70 });
    TYPES
        .iter()
        .find(|(c, _)| *c == code)
        .map(|(_, number)| *number)
        .ok_or_else(|| {
            let what = match code {
                32 | 1792 | 2048 => "complex numbers",
                128 | 2304 => "colours",
                1 => "single bits",
                _ => "an unknown type",
            };
            bad(
                path,
                format!("NIfTI data type {code} ({what}) is not read; extract one real volume"),
            )
        })
}

fn extent(path: &Path, raw: &Raw) -> Result<Extent> {
    let count = raw.dim(0);
    if !(1..=7).contains(&count) {
        return Err(bad(
            path,
            format!("the NIfTI header states {count} axes; 1 to 7 are allowed"),
        ));
    }
    let sizes: Option<Vec<u64>> = (1..=count as usize)
        .map(|i| u64::try_from(raw.dim(i)).ok().filter(|&n| n > 0))
        .collect();
    let sizes = sizes.ok_or_else(|| bad(path, "the NIfTI header states an axis without voxels"))?;
    three_axes(path, &sizes)
}

fn start(path: &Path, raw: &Raw) -> Result<Start> {
    let stated = if raw.two {
        raw.i64(168) as f64
    } else {
        f64::from(f32::from_le_bytes(raw.array(108)))
    };
    // Some writers leave the offset of a single file 0; voxels start after the header and its
    // four extension bytes then.
    let least = if raw.single_file() {
        raw.length() + 4
    } else {
        0
    };
    let offset = if stated == 0.0 { least as f64 } else { stated };
    if !(offset >= least as f64 && offset < 2f64.powi(62) && offset.fract() == 0.0) {
        return Err(bad(
            path,
            format!(
                "the NIfTI header puts the voxels at byte {stated}; {least} is the first possible"
            ),
        ));
    }
    Ok(Start {
        offset: offset as u64,
        ..Start::default()
    })
}

/// The `.img` (or `.img.gz`) beside a `.hdr`.
fn image_file(header: &Path) -> Result<PathBuf> {
    let name = header.to_string_lossy();
    let stem = name
        .strip_suffix(".gz")
        .unwrap_or(&name)
        .rsplit_once('.')
        .map_or(&*name, |(stem, _)| stem)
        .to_owned();
    [".img", ".img.gz", ".IMG"]
        .iter()
        .map(|suffix| PathBuf::from(format!("{stem}{suffix}")))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            bad(
                header,
                format!(
                    "the voxels should be in {stem}.img, which is missing; put it beside the header"
                ),
            )
        })
}

fn values(raw: &Raw, layout: &mut Layout) -> Result<()> {
    let (slope, intercept) = (raw.float(112, 176, 0), raw.float(116, 184, 0));
    if slope.is_finite() && slope != 0.0 && intercept.is_finite() {
        layout.metadata.slope = slope;
        layout.metadata.intercept = intercept;
    }
    let units = if raw.two {
        raw.i32(500) as u8
    } else {
        raw.bytes.get(123).copied().unwrap_or(0)
    };
    layout.metadata.unit = UNITS
        .iter()
        .find(|(code, _)| *code == units & 7)
        .map(|(_, unit)| (*unit).to_owned());
    let at = if raw.two { 240 } else { 148 };
    layout.metadata.description = raw.bytes.get(at..at + 80).and_then(text::fixed);
    Ok(())
}
