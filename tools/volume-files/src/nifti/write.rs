//! The header of a single-file NIfTI with little-endian voxels.

use super::{TYPES, UNITS, affine};
use crate::affine::{in_unit, is_identity, step, to_ras};
use crate::element::NumberType;
use crate::text;
use hgv::volume::{DType, Extent, Metadata, Space};

/// Bytes of a header under construction.
struct Put(Vec<u8>);

impl Put {
    fn at(&mut self, at: usize, bytes: &[u8]) {
        if let Some(slot) = self.0.get_mut(at..at + bytes.len()) {
            slot.copy_from_slice(bytes);
        }
    }
}

/// NIfTI-1, or NIfTI-2 if an axis is longer than 32,767 voxels. The extension bytes are part of
/// the header. Second: what it could not keep.
pub(crate) fn header(extent: Extent, dtype: DType, metadata: &Metadata) -> (Vec<u8>, Vec<String>) {
    let (metadata, notices) = expressible(metadata);
    let two = extent.iter().any(|&n| n > 32_767);
    let mut put = Put(vec![0; if two { 544 } else { 352 }]);
    if two {
        fixed_two(&mut put, extent, dtype);
    } else {
        fixed_one(&mut put, extent, dtype);
    }
    let (slope, intercept) = (metadata.slope, metadata.intercept);
    floats(&mut put, two, 112, 176, &[slope, intercept]);
    let description = metadata.description.as_deref().unwrap_or_default();
    put.at(
        if two { 240 } else { 148 },
        &text::field(description, 79, 0),
    );
    orientation(&mut put, two, &metadata);
    (put.0, notices)
}

/// The metadata in RAS and in a unit that NIfTI can name.
fn expressible(metadata: &Metadata) -> (Metadata, Vec<String>) {
    let mut notices = Vec::new();
    let mut out = to_ras(metadata);
    if let Some(unit) = metadata.unit.as_deref()
        && unit_code(Some(unit)) == 0
    {
        if crate::units::metres(unit).is_some() {
            out = in_unit(&out, "um");
            notices.push(format!(
                "NIfTI cannot name {unit}; lengths are written in um"
            ));
        } else {
            notices.push(format!(
                "NIfTI cannot name the unit \"{unit}\"; it is not written"
            ));
        }
    }
    if metadata.space == Space::Unknown && (!is_identity(&out) || out.origin != [0.0; 3]) {
        notices.push(
            "the world axes have no names; NIfTI calls them right, anterior, superior".to_owned(),
        );
        out.space = Space::Ras;
    }
    if let Some(unit) = &metadata.value_unit {
        notices.push(format!(
            "NIfTI cannot name the value unit \"{unit}\"; it is not written"
        ));
    }
    (out, notices)
}

fn unit_code(unit: Option<&str>) -> u8 {
    UNITS
        .iter()
        .find(|(_, name)| Some(*name) == unit)
        .map_or(0, |(code, _)| *code)
}

fn type_code(dtype: DType) -> i16 {
    let number = NumberType::from(dtype);
    TYPES
        .iter()
        .find(|(_, n)| *n == number)
        .map_or(0, |(code, _)| *code)
}

fn fixed_one(put: &mut Put, extent: Extent, dtype: DType) {
    put.at(0, &348i32.to_le_bytes());
    put.at(38, b"r");
    for (i, n) in dims(extent).into_iter().enumerate() {
        // Longer axes are written as NIfTI-2.
        put.at(40 + 2 * i, &(n as i16).to_le_bytes());
    }
    put.at(70, &type_code(dtype).to_le_bytes());
    put.at(72, &(8 * dtype.size() as i16).to_le_bytes());
    put.at(108, &352f32.to_le_bytes());
    put.at(344, b"n+1\0");
}

fn fixed_two(put: &mut Put, extent: Extent, dtype: DType) {
    put.at(0, &540i32.to_le_bytes());
    put.at(4, b"n+2\0\r\n\x1a\n");
    put.at(12, &type_code(dtype).to_le_bytes());
    put.at(14, &(8 * dtype.size() as i16).to_le_bytes());
    for (i, n) in dims(extent).into_iter().enumerate() {
        put.at(16 + 8 * i, &(n as i64).to_le_bytes());
    }
    put.at(168, &544i64.to_le_bytes());
}

fn dims([x, y, z]: Extent) -> [u64; 8] {
    [3, x, y, z, 1, 1, 1, 1]
}

fn floats(put: &mut Put, two: bool, one_at: usize, two_at: usize, values: &[f64]) {
    for (i, v) in values.iter().enumerate() {
        if two {
            put.at(two_at + 8 * i, &v.to_le_bytes());
        } else {
            put.at(one_at + 4 * i, &(*v as f32).to_le_bytes());
        }
    }
}

fn code(put: &mut Put, two: bool, one_at: usize, two_at: usize, value: i16) {
    if two {
        put.at(two_at, &i32::from(value).to_le_bytes());
    } else {
        put.at(one_at, &value.to_le_bytes());
    }
}

fn orientation(put: &mut Put, two: bool, metadata: &Metadata) {
    let unit = unit_code(metadata.unit.as_deref());
    if two {
        put.at(500, &i32::from(unit).to_le_bytes());
    } else {
        put.at(123, &[unit]);
    }
    let quaternion = affine::quaternion(&metadata.direction);
    let sign = quaternion.map_or(1.0, |(_, sign)| sign);
    let [x, y, z] = metadata.spacing;
    floats(put, two, 76, 104, &[sign, x, y, z, 1.0, 1.0, 1.0, 1.0]);
    if metadata.space == Space::Unknown {
        return;
    }
    let steps = [0, 1, 2].map(|a| step(metadata, a));
    for (world, &origin) in metadata.origin.iter().enumerate() {
        let [x, y, z] = steps.map(|s| s[world]);
        let row = [x, y, z, origin];
        floats(put, two, 280 + 16 * world, 400 + 32 * world, &row);
    }
    code(put, two, 254, 348, 1);
    if let Some((bcd, _)) = quaternion {
        floats(put, two, 256, 352, &bcd);
        floats(put, two, 268, 376, &metadata.origin);
        code(put, two, 252, 344, 1);
    }
}
