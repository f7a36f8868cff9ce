//! Voxel values <-> the integers `q` that are coded (specification, "Values").
//!
//! An integer voxel is its own `q`; a float32 voxel is `q * 2^exponent` with `|q| < 2^24`, which
//! every machine computes exactly.

use byteorder::{ByteOrder, LittleEndian as Le};

use crate::volume::DType;

/// Largest magnitude of a coded integer of a float volume, exclusive.
pub const FLOAT_LIMIT: i32 = 1 << 24;

/// Integers that stand for voxels that are not finite: NaN, plus and minus infinity.
pub const NON_FINITE: [i32; 3] = [i32::MAX, i32::MAX - 1, i32::MIN];

/// A decoded integer in units of `q`, or the special value that it stands for.
pub fn unit_of(q: i32) -> f32 {
    match NON_FINITE.iter().position(|&s| s == q) {
        Some(i) => [
            f32::from_bits(0x7FC0_0000),
            f32::INFINITY,
            f32::NEG_INFINITY,
        ][i],
        None => q as f32,
    }
}

/// How the voxels of a volume become integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueMap {
    /// Voxel type.
    pub dtype: DType,
    /// Power of two of one unit of `q`; 0 for integers.
    pub exponent: i16,
}

impl ValueMap {
    /// For a volume whose finite values lie in `min..=max`: about 23 bits for the range, fewer if
    /// the values are large beside it.
    pub fn fitting(dtype: DType, min: f64, max: f64) -> Self {
        if !dtype.is_float() {
            return Self { dtype, exponent: 0 };
        }
        let span = max - min;
        let by_range = if span > 0.0 {
            span.log2().ceil() as i32 - 23
        } else {
            i32::MIN
        };
        let top = min.abs().max(max.abs());
        let by_size = if top > 0.0 {
            top.log2().floor() as i32 + 1 - 23
        } else {
            i32::MIN
        };
        // Below 2^-149 there is no float; above 2^104 a product could overflow.
        let exponent = by_range.max(by_size).clamp(-149, 104) as i16;
        Self { dtype, exponent }
    }

    /// Value of one unit of `q`.
    pub fn unit(&self) -> f64 {
        // From bits, not from a library: every machine must agree. -149..=104 is normal in f64.
        f64::from_bits(
            (1023 + i64::from(self.exponent))
                .clamp(1, 2046)
                .unsigned_abs()
                << 52,
        )
    }

    /// Little-endian voxels in units of `q`, not rounded: exact for integers, and for floats that
    /// are not subnormal.
    pub fn to_units(&self, bytes: &[u8], out: &mut Vec<f32>) {
        out.clear();
        match self.dtype {
            DType::Uint8 => out.extend(bytes.iter().map(|&b| f32::from(b))),
            DType::Int8 => out.extend(bytes.iter().map(|&b| f32::from(i8::from_le_bytes([b])))),
            DType::Uint16 => out.extend(bytes.chunks_exact(2).map(|b| f32::from(Le::read_u16(b)))),
            DType::Int16 => out.extend(bytes.chunks_exact(2).map(|b| f32::from(Le::read_i16(b)))),
            DType::Float32 => {
                let scale = (-f64::from(self.exponent)).exp2();
                out.extend(
                    bytes
                        .chunks_exact(4)
                        .map(|b| (f64::from(Le::read_f32(b)) * scale) as f32),
                );
            }
        }
    }

    /// Integers as little-endian voxels; `out` is as long as they need.
    pub fn to_bytes(&self, q: &[i32], out: &mut [u8]) {
        match self.dtype {
            DType::Uint8 => q
                .iter()
                .zip(out)
                .for_each(|(&q, o)| *o = q.clamp(0, 255) as u8),
            DType::Int8 => q
                .iter()
                .zip(out)
                .for_each(|(&q, o)| *o = (q.clamp(-128, 127) as i8).to_le_bytes()[0]),
            DType::Uint16 => q
                .iter()
                .zip(out.chunks_exact_mut(2))
                .for_each(|(&q, o)| o.copy_from_slice(&(q.clamp(0, 65_535) as u16).to_le_bytes())),
            DType::Int16 => q.iter().zip(out.chunks_exact_mut(2)).for_each(|(&q, o)| {
                o.copy_from_slice(&(q.clamp(-32_768, 32_767) as i16).to_le_bytes())
            }),
            DType::Float32 => {
                q.iter()
                    .zip(out.chunks_exact_mut(4))
                    .for_each(|(&q, o)| o.copy_from_slice(&self.float(q).to_le_bytes()));
            }
        }
    }

    /// The float32 voxel of an integer.
    #[inline]
    pub fn float(&self, q: i32) -> f32 {
        if q.unsigned_abs() > 1 << 25 {
            return unit_of(q);
        }
        // |q| < 2^24 and 2^exponent are exact in f64, and so is their product; it is a float32
        // unless it is subnormal, where the cast rounds to nearest even.
        (f64::from(q) * self.unit()) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn float_range_fits_24_bits_and_comes_back() {
        for (min, max) in [
            (0.0, 1.0),
            (-1e30, 3e38),
            (1e6, 1e6 + 1.0),
            (0.0, 1e-40),
            (-7.0, -7.0),
            (0.0, 0.0),
        ] {
            let map = ValueMap::fitting(DType::Float32, min, max);
            let (mut units, mut bytes) = (Vec::new(), [0; 8]);
            map.to_units(
                &[(min as f32).to_le_bytes(), (max as f32).to_le_bytes()].concat(),
                &mut units,
            );
            let q: Vec<i32> = units.iter().map(|u| u.round() as i32).collect();
            assert!(q.iter().all(|q| q.abs() < FLOAT_LIMIT), "{min} {max} {q:?}");
            map.to_bytes(&q, &mut bytes);
            let back = [Le::read_f32(&bytes), Le::read_f32(&bytes[4..])];
            let tolerance = (max - min).max(max.abs() * 2f64.powi(-22)) * 2f64.powi(-22);
            assert!(
                (f64::from(back[0]) - min).abs() <= tolerance + 1e-44
                    && (f64::from(back[1]) - max).abs() <= tolerance + 1e-44
            );
        }
    }
}
