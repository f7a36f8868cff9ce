//! Where a block is not finite: a class for each voxel, coded without loss
//! (specification, "Mask").
//!
//! Masks are mostly large regions. Each voxel is predicted to be what the voxel at y-1 is (at
//! z-1 in the first row, finite in the first of all); coded are the lengths of right predictions,
//! each followed by the class that broke the run.

use super::bits::{BitReader, BitWriter};
use crate::{Error, Result};

/// What a voxel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Class {
    /// A number.
    #[default]
    Finite = 0,
    /// Not a number.
    Nan = 1,
    /// Plus infinity.
    Infinity = 2,
    /// Minus infinity.
    MinusInfinity = 3,
}

impl Class {
    /// Class of a value.
    pub fn of(value: f32) -> Self {
        if value.is_finite() {
            Self::Finite
        } else if value.is_nan() {
            Self::Nan
        } else if value > 0.0 {
            Self::Infinity
        } else {
            Self::MinusInfinity
        }
    }

    fn from_bits(bits: u32) -> Self {
        [Self::Finite, Self::Nan, Self::Infinity, Self::MinusInfinity][bits as usize & 3]
    }
}

fn predicted(classes: &[Class], i: usize, [w, h, _]: [usize; 3]) -> Class {
    let y = i / w % h;
    let back = if y > 0 { w } else { w * h };
    i.checked_sub(back).map_or(Class::Finite, |j| classes[j])
}

/// Codes the classes of a block, `[z][y][x]` over `dims`.
pub fn encode_mask(classes: &[Class], dims: [usize; 3]) -> Vec<u8> {
    let mut bits = BitWriter::default();
    let mut run = 0u32;
    for (i, &class) in classes.iter().enumerate() {
        if class == predicted(classes, i, dims) {
            run += 1;
        } else {
            put_run(&mut bits, run);
            bits.put(class as u32, 2);
            run = 0;
        }
    }
    if run > 0 {
        put_run(&mut bits, run);
    }
    bits.finish()
}

/// Exp-Golomb: zeros, one for each bit of `run + 1` after its first, then a one and those bits.
fn put_run(bits: &mut BitWriter, run: u32) {
    let length = (run + 1).ilog2();
    bits.put(0, length);
    bits.put(1, 1);
    bits.put(run + 1, length);
}

fn take_run(bits: &mut BitReader<'_>) -> Result<usize> {
    let mut length = 0;
    while bits.take(1)? == 0 {
        length += 1;
        if length > 24 {
            return Err(Error::corrupt("mask", 0, "a run is longer than any block"));
        }
    }
    Ok(((1 << length) - 1 + bits.take(length)?) as usize)
}

/// Decodes what [`encode_mask`] wrote.
///
/// # Errors
/// [`Error::Corrupt`] if a run leaves the block or bytes are missing or left over.
pub fn decode_mask(bytes: &[u8], dims: [usize; 3]) -> Result<Vec<Class>> {
    let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
    let mut bits = BitReader::new(&reversed);
    let total = dims.iter().product();
    let mut classes = Vec::with_capacity(total);
    while classes.len() < total {
        let run = take_run(&mut bits)?;
        if run > total - classes.len() {
            return Err(Error::corrupt("mask", 0, "a run leaves the block"));
        }
        for _ in 0..run {
            classes.push(predicted(&classes, classes.len(), dims));
        }
        if classes.len() < total {
            classes.push(Class::from_bits(bits.take(2)?));
        }
    }
    if bits.untouched() > 0 {
        return Err(Error::corrupt("mask", 0, "bytes are left over"));
    }
    Ok(classes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn masks_come_back(
            dims in [1usize..9, 1usize..9, 1usize..9],
            seed in proptest::collection::vec((1usize..40, 0u32..4), 1..30),
        ) {
            let total: usize = dims.iter().product();
            let mut classes: Vec<Class> = seed.iter().flat_map(|&(n, c)| vec![Class::from_bits(c); n]).collect();
            classes.resize(total, Class::Finite);
            let bytes = encode_mask(&classes, dims);
            prop_assert_eq!(decode_mask(&bytes, dims).unwrap(), classes);
        }

        #[test]
        fn any_bytes_are_a_mask_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = decode_mask(&bytes, [5, 4, 3]);
        }
    }

    #[test]
    fn a_uniform_mask_is_short() {
        assert!(encode_mask(&vec![Class::Nan; 64 * 64 * 64], [64; 3]).len() <= 80);
    }
}
