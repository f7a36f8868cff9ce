//! In-block filter: what a decoded voxel takes over from its neighbours in the same block
//! (specification, "In-block filters"). Integers only, so that every machine computes the same voxels.

use byteorder::{ByteOrder, LittleEndian as Le};

use super::Precision;
use crate::{Error, Result};

/// Neighbours of a voxel that count, in each direction along each axis.
pub const REACH: usize = 3;
/// Limits of differences to neighbours, in units of [`Filter::limit`].
pub const LIMITS: [i64; 4] = [1, 3, 8, 24];
/// Fractional bits of weights.
pub const WEIGHT_BITS: u32 = 7;

/// Weights of the differences to the neighbours of a voxel, each held within four limits: small
/// differences are noise to be smoothed, large ones are edges to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filter {
    /// Smallest limit, in working units, `1..=2^24`.
    pub limit: u32,
    /// In 1/128: `[axis x, y, z][distance - 1][limit]`.
    pub weights: [[[i8; LIMITS.len()]; REACH]; 3],
}

impl Filter {
    /// Bytes in a model record.
    pub const BYTES: usize = 4 + 3 * REACH * LIMITS.len();
    /// One that changes nothing.
    pub const NONE: Self = Self {
        limit: 1,
        weights: [[[0; LIMITS.len()]; REACH]; 3],
    };

    /// Weights that are not zero.
    pub fn taps(&self) -> usize {
        let weights = self.weights.as_flattened().as_flattened();
        weights.iter().filter(|w| **w != 0).count()
    }

    /// The filter as bytes.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut b = [0; Self::BYTES];
        Le::write_u32(&mut b, self.limit);
        let weights = self.weights.as_flattened().as_flattened();
        for (b, w) in b[4..].iter_mut().zip(weights) {
            *b = w.to_le_bytes()[0];
        }
        b
    }

    /// Reads a filter.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for another length or a limit out of range.
    pub fn from_bytes(b: &[u8]) -> Result<Self> {
        let bad = |detail: String| Err(Error::corrupt("filter of a model record", 0, detail));
        if b.len() != Self::BYTES {
            return bad(format!("{} bytes, {} are needed", b.len(), Self::BYTES));
        }
        let mut filter = Self {
            limit: Le::read_u32(b),
            ..Self::NONE
        };
        if !(1..=1 << 24).contains(&filter.limit) {
            return bad(format!("limit {}, 1 to 2^24 are possible", filter.limit));
        }
        let weights = filter.weights.as_flattened_mut().as_flattened_mut();
        for (w, b) in weights.iter_mut().zip(&b[4..]) {
            *w = i8::from_le_bytes([*b]);
        }
        Ok(filter)
    }

    /// The limits in working units, from small to large. Those of 16-bit values leave room for a sum
    /// of two.
    pub fn limits(&self, precision: Precision) -> [i32; LIMITS.len()] {
        let most = match precision {
            Precision::I16 => (1 << 14) - 1,
            Precision::I32 => 1 << 29,
        };
        LIMITS.map(|l| (l * i64::from(self.limit)).min(most) as i32)
    }
}

/// Filters of the quality levels of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filters([Filter; 8]);

impl Filters {
    /// Those of each quality, as far as there are any; the rest changes nothing.
    pub fn new(each: impl IntoIterator<Item = Filter>) -> Self {
        let mut filters = [Filter::NONE; 8];
        filters.iter_mut().zip(each).for_each(|(f, e)| *f = e);
        Self(filters)
    }

    /// The filter of a quality, 0..=7.
    pub fn of(&self, quality: u8) -> &Filter {
        &self.0[usize::from(quality & 7)]
    }

    /// The filters of `qualities` levels as bytes.
    pub fn to_bytes(&self, qualities: u8) -> Vec<u8> {
        let each = self.0.iter().take(qualities.into());
        each.flat_map(Filter::to_bytes).collect()
    }

    /// Reads the filters that fill `b`.
    ///
    /// # Errors
    /// As [`Filter::from_bytes`].
    pub fn from_bytes(b: &[u8]) -> Result<Self> {
        let mut filters = [Filter::NONE; 8];
        for (f, b) in filters.iter_mut().zip(b.chunks(Filter::BYTES)) {
            *f = Filter::from_bytes(b)?;
        }
        Ok(Self(filters))
    }
}
