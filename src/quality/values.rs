//! From voxel bytes to 32-bit floats, and the range of a volume. Every voxel type fits exactly.

use crate::volume::DType;

/// Converts little-endian voxels, as [`VoxelSource::read`](crate::volume::VoxelSource::read) gives them, to
/// floats, exactly; as many as both slices hold.
pub fn to_f32(dtype: DType, bytes: &[u8], out: &mut [f32]) {
    match dtype {
        DType::Uint8 => {
            for (o, &b) in out.iter_mut().zip(bytes) {
                *o = f32::from(b);
            }
        }
        DType::Int8 => {
            for (o, &b) in out.iter_mut().zip(bytes) {
                *o = f32::from(b as i8);
            }
        }
        DType::Uint16 => {
            for (o, &b) in out.iter_mut().zip(bytes.as_chunks().0) {
                *o = f32::from(u16::from_le_bytes(b));
            }
        }
        DType::Int16 => {
            for (o, &b) in out.iter_mut().zip(bytes.as_chunks().0) {
                *o = f32::from(i16::from_le_bytes(b));
            }
        }
        DType::Float32 => {
            for (o, &b) in out.iter_mut().zip(bytes.as_chunks().0) {
                *o = f32::from_le_bytes(b);
            }
        }
    }
}

/// Smallest and largest finite value; the empty range is `(inf, -inf)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bounds {
    pub(super) min: f32,
    pub(super) max: f32,
}

impl Bounds {
    pub(super) const EMPTY: Self = Self {
        min: f32::INFINITY,
        max: f32::NEG_INFINITY,
    };

    pub(super) fn merge(self, other: Self) -> Self {
        Self {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }

    /// Bounds of `values`.
    pub(super) fn of(values: &[f32]) -> Self {
        let mut lanes = [Self::EMPTY; 8];
        let (chunks, rest) = values.as_chunks::<8>();
        for chunk in chunks {
            for (lane, &v) in lanes.iter_mut().zip(chunk) {
                lane.add(v);
            }
        }
        for (lane, &v) in lanes.iter_mut().zip(rest) {
            lane.add(v);
        }
        lanes.into_iter().fold(Self::EMPTY, Self::merge)
    }

    // Plain comparisons: NaN loses each of them, and so does an infinity through `abs`.
    fn add(&mut self, v: f32) {
        let finite = v.abs() <= f32::MAX;
        self.min = if finite & (v < self.min) { v } else { self.min };
        self.max = if finite & (v > self.max) { v } else { self.max };
    }
}

/// Maps values to `(v - min) / range`; values that are not finite become 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    min: f64,
    factor: f64,
}

impl Scale {
    /// The scale of a volume whose values span `range` from `min` on. A range of 0 counts as 1.
    pub(crate) fn new(min: f64, range: f64) -> Self {
        let factor = if range > 0.0 { 1.0 / range } else { 1.0 };
        Self { min, factor }
    }

    /// What is taken off values, and what they are then multiplied by.
    pub(super) fn parts(self) -> (f64, f64) {
        (self.min, self.factor)
    }

    pub(crate) fn apply(self, values: &mut [f32]) {
        for v in values {
            let finite = v.abs() <= f32::MAX;
            let scaled = ((f64::from(*v) - self.min) * self.factor) as f32;
            *v = if finite { scaled } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_skip_what_is_not_finite() {
        let mut v: Vec<f32> = (0..100).map(|i| (i as f32 - 40.0) * 0.5).collect();
        v[3] = f32::NAN;
        v[50] = f32::NEG_INFINITY;
        v[99] = f32::INFINITY;
        let b = Bounds::of(&v);
        assert_eq!((b.min, b.max), (-20.0, 29.0));
    }
}
