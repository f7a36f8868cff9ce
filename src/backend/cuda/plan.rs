//! What reconstruction needs to know of blocks; `cuda/wavelet.cuh` and `cuda/voxels.cuh` say the same.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::backend::ValueRange;
use crate::codec::Quantiser;
use crate::codec::bands::{Band, BlockShape};
use crate::model::{
    BlockModel, Curve, Filter, LIMITS, Precision, REACH, Residual, SEGMENTS, WaveletModel,
};
use crate::volume::DType;

/// Transform levels of the largest block.
pub(super) const MOST_DEPTH: usize = 5;

/// Bits of [`ReconPlan::flags`].
const HAS_CURVE: u32 = 1 << 0;
pub(super) const HAS_FILTER: u32 = 1 << 1;
const REVERSIBLE: u32 = 1 << 2;
pub(super) const RANKED: u32 = 1 << 3;
const EXACT: u32 = 1 << 4;
const FLOAT_BITS: u32 = 1 << 5;

/// Code of voxels that are to stay integers.
pub(super) const INTEGERS: u32 = 5;

/// How the indices of a band become working values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub(super) struct BandStep {
    /// In 1/256 of a working unit.
    step: i64,
    /// What is added to `|k| * step` where `|k| > 1`.
    offset: i64,
    /// Largest `|k|` that need be told apart.
    cap: u32,
    /// Magnitude of `|k| = 1`.
    one: u32,
}

impl BandStep {
    /// Such that no product leaves 32 bits for 16-bit working values, 64 bits for 32-bit ones, and what
    /// saturates by the definition does so here.
    fn new(step: i64, (pull_one, pull_more): (i64, i64), precision: Precision) -> Self {
        let bits = match precision {
            Precision::I16 => 15,
            Precision::I32 => 31,
        };
        let one = ((step - pull_one + 128) >> 8).min(1 << bits) as u32;
        // A value of this many 1/256 saturates.
        let most = 1i64 << (bits + 8);
        if step > most {
            // Whatever is over one saturates: a pull is under half a step.
            return Self {
                step: most,
                offset: 128,
                cap: 2,
                one,
            };
        }
        let cap = (most + pull_more) / step + 2;
        Self {
            step,
            offset: 128 - pull_more,
            cap: cap.min(u32::MAX.into()) as u32,
            one,
        }
    }
}

/// What the blocks of one model, quality and shape have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub(super) struct ReconPlan {
    bands: [[BandStep; 8]; MOST_DEPTH],
    curve_below: [i64; SEGMENTS],
    curve_rise: [u32; SEGMENTS],
    curve_start: i32,
    segment_log2: u32,
    curve_shift: u32,
    pub(super) flags: u32,
    frac_bits: i32,
    residual_step: u32,
    limits: [i32; LIMITS.len()],
    weights: [i8; 3 * REACH * LIMITS.len()],
    unused: u32,
}

/// What reconstruction knows of one block beside its head.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub(super) struct ReconHead {
    pub(super) curve_centre: i64,
    pub(super) low: i64,
    pub(super) high: i64,
    pub(super) out: i64,
    pub(super) classes: u64,
    pub(super) pitch_z: u64,
    pub(super) pitch_y: u32,
    pub(super) plan: u32,
    pub(super) from: [u32; 3],
    pub(super) to: [u32; 3],
    pub(super) direct: u32,
    pub(super) unused: u32,
}

/// Where voxels of a batch go, and as what.
#[derive(Debug, Clone, Copy, Default, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct Output {
    pub(super) voxels: u64,
    pub(super) classes: u64,
    pub(super) ranks: u64,
    pub(super) rank_count: u32,
    pub(super) rank_bits: u32,
    pub(super) dtype: u32,
    pub(super) exponent: i32,
}

const _: () = assert!(
    size_of::<BandStep>() == 24
        && size_of::<ReconPlan>() == 1232
        && size_of::<ReconHead>() == 88
        && size_of::<Output>() == 40
);

/// Code of a voxel type.
pub(super) fn dtype_code(dtype: DType) -> u32 {
    match dtype {
        DType::Uint8 => 0,
        DType::Int8 => 1,
        DType::Uint16 => 2,
        DType::Int16 => 3,
        DType::Float32 => 4,
    }
}

impl ReconPlan {
    /// For blocks that begin as integers: constant ones, and those of other models.
    pub(super) fn of_integers(residual: Residual) -> Self {
        let (flag, residual_step) = match residual {
            Residual::None => (0, 1),
            Residual::Step(1) => (EXACT, 1),
            Residual::Step(step) => (0, step),
            Residual::FloatBits => (FLOAT_BITS, 1),
        };
        Self {
            bands: Default::default(),
            curve_below: [0; SEGMENTS],
            curve_rise: [0; SEGMENTS],
            curve_start: 0,
            segment_log2: 4,
            curve_shift: 1,
            flags: flag,
            frac_bits: 0,
            residual_step,
            limits: [0; LIMITS.len()],
            weights: [0; 3 * REACH * LIMITS.len()],
            unused: 0,
        }
    }

    /// Of a model, at a quality, for blocks of a shape at a level of detail.
    pub(super) fn new(model: &BlockModel, quality: u8, shape: &BlockShape, lod: usize) -> Self {
        let mut plan = Self::of_integers(model.residual());
        match model {
            BlockModel::Wavelet(m) => plan.add_wavelet(m, quality, shape, lod),
            BlockModel::Grid(m) => plan.frac_bits = m.frac_bits.into(),
        }
        plan
    }

    fn add_wavelet(&mut self, model: &WaveletModel, quality: u8, shape: &BlockShape, lod: usize) {
        self.frac_bits = model.frac_bits.into();
        let quantiser = Quantiser::new(model, quality);
        let of = |band: &Band| {
            let step = quantiser.step(shape, band);
            BandStep::new(step, quantiser.pull(step, band), model.precision)
        };
        for (depth, bands) in self.bands.iter_mut().enumerate().take(shape.depth) {
            for (index, step) in bands.iter_mut().enumerate().skip(1) {
                *step = of(&shape.band(depth, index));
            }
        }
        if let Some(bands) = self.bands.get_mut(shape.depth.wrapping_sub(1)) {
            bands[0] = of(&shape.coarsest());
        }
        if model.reversible {
            self.flags |= REVERSIBLE;
        }
        if model.ranks {
            self.flags |= RANKED;
        }
        let filter = (model.filters.as_ref()).filter(|_| lod == 0);
        if let Some(filters) = filter {
            self.add_filter(filters.of(quality), model.precision);
        }
        if let Some(curve) = &model.curve {
            self.add_curve(curve, if filter.is_some() { model.frac_bits } else { 0 });
        }
    }

    fn add_filter(&mut self, filter: &Filter, precision: Precision) {
        self.flags |= HAS_FILTER;
        self.limits = filter.limits(precision);
        let weights = filter.weights.as_flattened().as_flattened();
        self.weights.copy_from_slice(weights);
    }

    /// With `frac_bits` more fractional bits, if that is over 0.
    fn add_curve(&mut self, curve: &Curve, frac_bits: i8) {
        self.flags |= HAS_CURVE;
        self.curve_start = curve.start;
        self.segment_log2 = curve.segment_log2.into();
        let shift = i32::from(curve.segment_log2) + i32::from(curve.fraction);
        self.curve_shift = (shift - i32::from(frac_bits.max(0))).max(1).unsigned_abs();
        let mut below = 0;
        for (i, &rise) in curve.rises.iter().enumerate() {
            self.curve_below[i] = below << curve.segment_log2;
            self.curve_rise[i] = rise.into();
            below += i64::from(rise);
        }
    }
}

impl ReconHead {
    /// Where the working values of a block lie.
    pub(super) fn set_range(&mut self, model: &BlockModel, range: ValueRange) {
        let BlockModel::Wavelet(model) = model else {
            return;
        };
        if let Some(curve) = &model.curve {
            self.curve_centre = curve.centre(range.lo, range.hi);
        }
        let ends = crate::backend::cpu::Ends::new(model, range);
        (self.low, self.high) = (ends.0, ends.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel's arithmetic.
    fn dequantise(band: &BandStep, k: i64, most: i64) -> i64 {
        let size = k.abs();
        let magnitude = match size {
            0 => 0,
            1 => i64::from(band.one),
            _ => (size.min(band.cap.into()) * band.step + band.offset) >> 8,
        };
        (if k < 0 { -magnitude } else { magnitude }).clamp(-most - 1, most)
    }

    /// The definition, in integers without bounds.
    fn defined(step: i128, (one, more): (i128, i128), k: i128, most: i128) -> i128 {
        let pull = if k.abs() == 1 { one } else { more };
        let magnitude = if k == 0 {
            0
        } else {
            (k.abs() * step - pull + 128) >> 8
        };
        (if k < 0 { -magnitude } else { magnitude }).clamp(-most - 1, most)
    }

    #[test]
    fn steps_give_what_the_definition_gives() {
        let steps = (0..55).flat_map(|b| [(1i64 << b) - 1, 1 << b, (1 << b) + 1, 3 << b]);
        for step in steps.filter(|s| (1..=1 << 54).contains(s)) {
            for recon in [(0, 0), (8, 5), (127, 127), (127, 0)] {
                let pulls = ((step * recon.0) >> 8, (step * recon.1) >> 8);
                let wanted = |k: i64, most: i64| {
                    let pulls = (i128::from(pulls.0), i128::from(pulls.1));
                    defined(step.into(), pulls, k.into(), most.into()) as i64
                };
                let narrow = BandStep::new(step, pulls, Precision::I16);
                assert!(i64::from(narrow.cap) * narrow.step < 1 << 30, "{step}");
                for k in -32_768..=32_767 {
                    let most = i16::MAX.into();
                    assert_eq!(dequantise(&narrow, k, most), wanted(k, most), "{step} {k}");
                }
                let wide = BandStep::new(step, pulls, Precision::I32);
                for k in (0..32).flat_map(|b| [-(1i64 << b), (1 << b) - 1, 3 << b]) {
                    let (k, most) = (k.clamp(i32::MIN.into(), i32::MAX.into()), i32::MAX.into());
                    assert_eq!(dequantise(&wide, k, most), wanted(k, most), "{step} {k}");
                }
            }
        }
    }
}
