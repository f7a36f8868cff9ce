//! Parser of MRC headers (MRC2014, CCP4, IMOD).

use super::VALUES_LABEL;
use crate::element::{Endian, NumberType};
use crate::failure::bad;
use crate::format::Format;
use crate::input::Input;
use crate::layout::{Layout, Start};
use crate::text::{self, finite};
use crate::units::{tidy, tidy64};
use hgv::Result;
use hgv::volume::{Extent, Metadata};
use std::path::Path;

const LENGTH: usize = 1024;
/// Words of the header (4 bytes each), counted from 0.
const MODE: usize = 3;
const START: usize = 4;
const GRID: usize = 7;
const CELL: usize = 10;
const ANGLES: usize = 13;
const AXES: usize = 16;
const EXTENDED: usize = 23;
const IMOD_STAMP: usize = 38;
const IMOD_FLAGS: usize = 39;
const ORIGIN: usize = 49;
const LABELS: usize = 55;

struct Raw {
    bytes: Vec<u8>,
    endian: Endian,
}

impl Raw {
    fn word(&self, index: usize) -> [u8; 4] {
        let mut out = [0; 4];
        if let Some(bytes) = self.bytes.get(4 * index..4 * index + 4) {
            out.copy_from_slice(bytes);
        }
        if self.endian == Endian::Big {
            out.reverse();
        }
        out
    }

    fn int(&self, index: usize) -> i32 {
        i32::from_le_bytes(self.word(index))
    }

    fn float(&self, index: usize) -> f64 {
        tidy(f32::from_le_bytes(self.word(index)))
    }

    fn three(&self, index: usize) -> [f64; 3] {
        [0, 1, 2].map(|i| self.float(index + i))
    }
}

/// Parses the header at the front of `input`.
///
/// # Errors
/// Anything that is not the MRC header of one real volume.
pub(crate) fn parse(input: &mut Input) -> Result<Layout> {
    let path = input.path().to_owned();
    let raw = read_raw(input)?;
    let mut layout = Layout::new(Format::Mrc, extent(&path, &raw)?, number_type(&path, &raw)?);
    layout.endian = raw.endian;
    axis_order(&path, &raw)?;
    let extended = u64::try_from(raw.int(EXTENDED))
        .map_err(|_| bad(&path, "the MRC extended header has a negative length"))?;
    layout.start = Start {
        offset: LENGTH as u64 + extended,
        ..Start::default()
    };
    geometry(&raw, &mut layout.metadata, &mut layout.notices);
    labels(&raw, &mut layout.metadata);
    Ok(layout)
}

fn read_raw(input: &mut Input) -> Result<Raw> {
    let path = input.path().to_owned();
    let bytes = input.take(LENGTH, "MRC header")?;
    if bytes.get(208..212) != Some(b"MAP ") {
        return Err(bad(
            &path,
            "this is not an MRC file: \"MAP \" is missing at byte 208",
        ));
    }
    let endian = match (bytes[212], bytes[213]) {
        (0x44, _) => Endian::Little,
        (0x11, _) => Endian::Big,
        // The machine stamp is often wrong; modes are small numbers.
        _ if bytes[14] == 0 && bytes[15] == 0 => Endian::Little,
        _ => Endian::Big,
    };
    Ok(Raw { bytes, endian })
}

fn extent(path: &Path, raw: &Raw) -> Result<Extent> {
    let mut extent = [0; 3];
    for (axis, slot) in extent.iter_mut().enumerate() {
        *slot = u64::try_from(raw.int(axis))
            .ok()
            .filter(|&n| n > 0)
            .ok_or_else(|| {
                let name = ["x", "y", "z"][axis];
                bad(
                    path,
                    format!(
                        "the MRC header states {} voxels on axis {name}",
                        raw.int(axis)
                    ),
                )
            })?;
    }
    Ok(extent)
}

fn number_type(path: &Path, raw: &Raw) -> Result<NumberType> {
    let imod_unsigned = raw.int(IMOD_STAMP) == 1_146_047_817 && raw.int(IMOD_FLAGS) & 1 == 0;
    Ok(match raw.int(MODE) {
        // MRC2014 says signed; IMOD marks files whose bytes are not.
        0 if imod_unsigned => NumberType::U8,
        0 => NumberType::I8,
        1 => NumberType::I16,
        2 => NumberType::F32,
        6 => NumberType::U16,
        12 => NumberType::F16,
        mode => {
            let what = match mode {
                3 | 4 => " (complex numbers)",
                101 => " (4-bit numbers)",
                _ => "",
            };
            return Err(bad(
                path,
                format!("MRC mode {mode}{what} is not read; convert to mode 0, 1, 2, 6 or 12"),
            ));
        }
    })
}

fn axis_order(path: &Path, raw: &Raw) -> Result<()> {
    let order = [0, 1, 2].map(|i| raw.int(AXES + i));
    if order == [1, 2, 3] || order == [0, 0, 0] {
        return Ok(());
    }
    let [c, r, s] = order;
    Err(bad(
        path,
        format!("axis order MAPC, MAPR, MAPS is {c}, {r}, {s}; rewrite the map with order 1, 2, 3"),
    ))
}

fn geometry(raw: &Raw, metadata: &mut Metadata, notices: &mut Vec<String>) {
    let cell = raw.three(CELL);
    let grid = [0, 1, 2].map(|i| f64::from(raw.int(GRID + i)));
    if cell.iter().chain(&grid).all(|v| v.is_finite() && *v > 0.0) {
        metadata.spacing = [0, 1, 2].map(|a| tidy64(cell[a] / grid[a]));
        metadata.unit = Some("angstrom".to_owned());
        let angles = raw.three(ANGLES);
        if angles.iter().any(|a| *a != 0.0 && *a != 90.0) {
            let [a, b, c] = angles;
            notices.push(format!(
                "the cell angles {a}, {b}, {c} are not kept; 90 degrees are taken"
            ));
        }
    }
    let origin = raw.three(ORIGIN);
    if origin.iter().all(|v| v.is_finite()) && origin != [0.0; 3] {
        metadata.origin = origin;
    } else {
        // Crystallographic maps state the first grid point instead.
        metadata.origin = [0, 1, 2].map(|a| f64::from(raw.int(START + a)) * metadata.spacing[a]);
    }
}

fn labels(raw: &Raw, metadata: &mut Metadata) {
    let count = raw.int(LABELS).clamp(0, 10) as usize;
    for i in 0..count {
        let at = 224 + 80 * i;
        let Some(label) = raw.bytes.get(at..at + 80).and_then(text::fixed) else {
            continue;
        };
        if label.starts_with(VALUES_LABEL) {
            value_label(&label, metadata);
        } else if metadata.description.is_none() {
            metadata.description = Some(label);
        }
    }
}

/// `value = SLOPE * stored + INTERCEPT [unit]`, as the writer puts it.
fn value_label(label: &str, metadata: &mut Metadata) {
    let words: Vec<&str> = label.split_whitespace().collect();
    let [
        "value",
        "=",
        slope,
        "*",
        "stored",
        "+",
        intercept,
        unit @ ..,
    ] = &words[..]
    else {
        return;
    };
    if let (Some(slope), Some(intercept)) = (finite(slope), finite(intercept)) {
        metadata.slope = slope;
        metadata.intercept = intercept;
        let unit = unit.join(" ");
        metadata.value_unit = (!unit.is_empty()).then_some(unit);
    }
}
