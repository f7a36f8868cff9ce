//! From the numbers of a file to one of the five voxel types.
//!
//! Native types pass untouched. Others are converted only if every value survives exactly, or
//! if the caller asked for a type, in which case values are rounded to nearest (ties to even)
//! and clamped to the range of the type, and both are counted.

use crate::element::NumberType;
use hgv::volume::DType;

/// Integers up to here are exact in float32.
const EXACT_F32: f64 = 16_777_216.0;

/// What is known of the values of a volume after one pass.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scan {
    min: f64,
    max: f64,
    nans: u64,
    /// Values with a fraction.
    fractions: u64,
    /// Values that float32 cannot hold exactly (NaN is held).
    inexact: u64,
    /// Finite values beyond the range of float32.
    beyond: u64,
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            nans: 0,
            fractions: 0,
            inexact: 0,
            beyond: 0,
        }
    }
}

impl Scan {
    /// Takes more values into account.
    pub(crate) fn feed(&mut self, values: &[f64]) {
        for &v in values {
            if v.is_nan() {
                self.nans += 1;
                continue;
            }
            self.min = self.min.min(v);
            self.max = self.max.max(v);
            self.fractions += u64::from(v != v.trunc());
            self.inexact += u64::from(f64::from(v as f32) != v);
            self.beyond += u64::from(v.is_finite() && (v as f32).is_infinite());
        }
    }

    /// The voxel type that holds every value exactly: for integers the smallest that spans
    /// them, for floats float32.
    pub(crate) fn exact_type(&self, number: NumberType) -> Option<DType> {
        if number.is_float() {
            return (self.inexact == 0).then_some(DType::Float32);
        }
        let integer = [DType::Uint8, DType::Int8, DType::Uint16, DType::Int16]
            .into_iter()
            .find(|t| self.within(*t));
        let exact = self.min >= -EXACT_F32 && self.max <= EXACT_F32;
        integer.or(exact.then_some(DType::Float32))
    }

    fn within(&self, dtype: DType) -> bool {
        dtype
            .integer_range()
            .is_some_and(|(lo, hi)| self.min >= f64::from(lo) && self.max <= f64::from(hi))
    }

    /// Range of the values as text.
    pub(crate) fn range(&self) -> String {
        format!("{}..{}", self.min, self.max)
    }

    /// Number of NaNs.
    pub(crate) fn nans(&self) -> u64 {
        self.nans
    }

    /// What a cast to `dtype` will do to the values, in words.
    pub(crate) fn cast_effect(&self, dtype: DType) -> String {
        let rounded = match dtype {
            DType::Float32 => self.inexact,
            _ => self.fractions,
        };
        let clamped = match dtype {
            DType::Float32 => self.beyond > 0,
            _ => !self.within(dtype),
        };
        format!(
            "{rounded} voxels are rounded to nearest, {}",
            if clamped {
                "values out of range are clamped"
            } else {
                "no value is clamped"
            }
        )
    }
}

/// Writes `values` as little-endian voxels of `dtype` into `out`, rounding to nearest (ties to
/// even) and clamping. `out` is exactly `values.len() * dtype.size()` bytes.
pub(crate) fn encode(values: &[f64], dtype: DType, out: &mut [u8]) {
    match dtype {
        // A float-to-integer `as` saturates.
        DType::Uint8 => put(values, out, |v| [v.round_ties_even() as u8]),
        DType::Int8 => put(values, out, |v| (v.round_ties_even() as i8).to_le_bytes()),
        DType::Uint16 => put(values, out, |v| (v.round_ties_even() as u16).to_le_bytes()),
        DType::Int16 => put(values, out, |v| (v.round_ties_even() as i16).to_le_bytes()),
        _ => put(values, out, |v| clamp_f32(v).to_le_bytes()),
    }
}

fn put<const N: usize>(values: &[f64], out: &mut [u8], bytes: impl Fn(f64) -> [u8; N]) {
    for (slot, &v) in out.as_chunks_mut::<N>().0.iter_mut().zip(values) {
        *slot = bytes(v);
    }
}

/// Finite values stay finite.
fn clamp_f32(v: f64) -> f32 {
    let near = v as f32;
    if near.is_infinite() && v.is_finite() {
        return f32::MAX.copysign(near);
    }
    near
}
