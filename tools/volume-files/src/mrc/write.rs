//! The header of an MRC2014 file with little-endian voxels.

use super::VALUES_LABEL;
use crate::affine::{in_unit, is_identity};
use crate::failure::bad;
use crate::text;
use hgv::Result;
use hgv::volume::{DType, Extent, Metadata};
use std::path::Path;

/// Running statistics of the voxels, which the header wants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Statistics {
    min: f64,
    max: f64,
    sum: f64,
    squares: f64,
    count: f64,
}

impl Default for Statistics {
    fn default() -> Self {
        Self {
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            sum: 0.0,
            squares: 0.0,
            count: 0.0,
        }
    }
}

impl Statistics {
    /// Takes more voxels into account; NaNs are left out.
    pub(crate) fn feed(&mut self, values: &[f64]) {
        for &v in values.iter().filter(|v| !v.is_nan()) {
            self.min = self.min.min(v);
            self.max = self.max.max(v);
            self.sum += v;
            self.squares += v * v;
            self.count += 1.0;
        }
    }

    /// Minimum, maximum, mean and deviation as the header stores them: impossible values if
    /// there are none.
    fn fields(&self) -> ([f32; 3], f32) {
        if self.count == 0.0 {
            return ([0.0, -1.0, -2.0], -1.0);
        }
        let mean = self.sum / self.count;
        let variance = (self.squares / self.count - mean * mean).max(0.0);
        (
            [self.min as f32, self.max as f32, mean as f32],
            variance.sqrt() as f32,
        )
    }
}

/// The 1024 bytes, and what they could not keep.
///
/// # Errors
/// An axis longer than the format can state.
pub(crate) fn header(
    path: &Path,
    extent: Extent,
    dtype: DType,
    metadata: &Metadata,
    statistics: &Statistics,
) -> Result<(Vec<u8>, Vec<String>)> {
    let mut bytes = vec![0; 1024];
    let mut sizes = [0i32; 3];
    for (slot, n) in sizes.iter_mut().zip(extent) {
        *slot = i32::try_from(n)
            .map_err(|_| bad(path, format!("an axis of {n} voxels is too long for MRC")))?;
    }
    put_ints(&mut bytes, 0, &sizes);
    put_ints(&mut bytes, 3, &[mode(dtype)]);
    put_ints(&mut bytes, 7, &sizes);
    let (metadata, notices) = expressible(metadata);
    if metadata.unit.is_some() || metadata.spacing != [1.0; 3] {
        let cell = [0, 1, 2].map(|a| (metadata.spacing[a] * extent[a] as f64) as f32);
        put_floats(&mut bytes, 10, &cell);
    }
    put_floats(&mut bytes, 13, &[90.0; 3]);
    put_ints(&mut bytes, 16, &[1, 2, 3]);
    let (range, deviation) = statistics.fields();
    put_floats(&mut bytes, 19, &range);
    // Space group 1: one volume, not a stack of images.
    put_ints(&mut bytes, 22, &[1]);
    put_ints(&mut bytes, 27, &[20_141]);
    put_floats(&mut bytes, 49, &metadata.origin.map(|o| o as f32));
    bytes[208..216].copy_from_slice(b"MAP \x44\x44\0\0");
    put_floats(&mut bytes, 54, &[deviation]);
    labels(&mut bytes, &metadata);
    Ok((bytes, notices))
}

/// uint8 has no mode of its own: it is widened to uint16.
const fn mode(dtype: DType) -> i32 {
    match dtype {
        DType::Int8 => 0,
        DType::Int16 => 1,
        DType::Uint8 | DType::Uint16 => 6,
        _ => 2,
    }
}

fn put_ints(bytes: &mut [u8], word: usize, values: &[i32]) {
    for (i, v) in values.iter().enumerate() {
        bytes[4 * (word + i)..4 * (word + i + 1)].copy_from_slice(&v.to_le_bytes());
    }
}

fn put_floats(bytes: &mut [u8], word: usize, values: &[f32]) {
    for (i, v) in values.iter().enumerate() {
        bytes[4 * (word + i)..4 * (word + i + 1)].copy_from_slice(&v.to_le_bytes());
    }
}

fn expressible(metadata: &Metadata) -> (Metadata, Vec<String>) {
    let mut notices = Vec::new();
    let out = in_unit(metadata, "angstrom");
    if out.unit.is_none() && out.spacing != [1.0; 3] {
        notices.push("the spacing has no unit; MRC calls it angstrom".to_owned());
    }
    if !is_identity(metadata) {
        notices.push("MRC cannot hold the orientation; it is not written".to_owned());
    }
    (out, notices)
}

fn labels(bytes: &mut [u8], metadata: &Metadata) {
    let mut lines = Vec::new();
    lines.extend(metadata.description.clone());
    let unit = metadata.value_unit.as_deref().unwrap_or_default();
    if (metadata.slope, metadata.intercept) != (1.0, 0.0) || !unit.is_empty() {
        let (slope, intercept) = (metadata.slope, metadata.intercept);
        lines.push(format!(
            "{VALUES_LABEL} {slope} * stored + {intercept} {unit}"
        ));
    }
    for (i, line) in lines.iter().enumerate() {
        bytes[224 + 80 * i..304 + 80 * i].copy_from_slice(&text::field(line, 80, b' '));
    }
    put_ints(bytes, 55, &[lines.len() as i32]);
}
