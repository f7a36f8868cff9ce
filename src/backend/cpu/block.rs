//! From layers to integers: the whole decode of one block on the CPU.

use super::CpuLevel;
use super::filter::{ApplyFilter, Ends, Filtered, FromCurve};
use super::grid::{GridScratch, evaluate, fill_inputs, skip_sums};
use super::layers::{Mask, Parts, check_prefix};
use super::rounding::{RoundAll, Rounding, ToIntegers};
use super::simd::{self, Gain, Loops, Working};
use crate::backend::{Backend, BlockJob, ValueRange};
use crate::codec::bands::{Band, BlockShape};
use crate::codec::grid::decode_grid_layer;
use crate::codec::mask::Class;
use crate::codec::{CoefficientState, Quantiser, decode_layer, decode_residual, dequantise_band};
use crate::model::{
    BlockModel, GridModel, NON_FINITE, Precision, Residual, ValueMap, WaveletModel, ordered,
    unordered,
};
use crate::volume::DType;
use crate::{Error, Result};

/// Buffers that a thread keeps from block to block.
#[derive(Debug, Default)]
pub struct Scratch {
    narrow: Buffers<i16>,
    wide: Buffers<i32>,
    pub(super) grid: GridScratch,
}

#[derive(Debug, Default)]
struct Buffers<E> {
    state: CoefficientState<E>,
    other: Vec<E>,
}

/// Decodes on the CPU with the vectors of `level`.
#[derive(Debug, Clone, Copy)]
pub struct CpuBackend {
    level: CpuLevel,
}

impl CpuBackend {
    /// With the fastest instructions of this machine.
    pub fn new() -> Self {
        Self {
            level: CpuLevel::best(),
        }
    }

    /// With given instructions.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if this machine lacks them.
    pub fn with_level(level: CpuLevel) -> Result<Self> {
        if CpuLevel::available().contains(&level) {
            Ok(Self { level })
        } else {
            Err(Error::argument(format!(
                "this machine has no {}",
                level.name()
            )))
        }
    }

    /// Integers from coefficient indices at `quality`: dequantises and transforms `indices` in
    /// place (nested band order), then rounds and clamps the voxels of level of detail `lod`.
    pub(crate) fn reconstruct<E: Filtered>(
        &self,
        model: &WaveletModel,
        quality: u8,
        block: Reconstruction<'_, E>,
        out: &mut Vec<i32>,
    ) {
        let Reconstruction {
            shape,
            range,
            lod,
            indices,
            scratch,
            is_zero,
        } = block;
        self.synthesise(model, quality, (shape, lod), indices, scratch, is_zero);
        let filters = model.filters.as_ref().filter(|_| lod == 0);
        if let Some(filters) = filters {
            self.straighten(model, range, indices);
            let filter = ApplyFilter {
                filter: filters.of(quality),
                ends: Ends::new(model, range),
                dims: shape.dims,
                values: indices,
                scratch,
            };
            filter.run(self.level);
        }
        let values: &[E] = indices;
        // Every voxel is written: what lies there from another block may stay.
        out.resize(shape.dims_at(lod).iter().product(), 0);
        let rounding = match &model.curve {
            Some(curve) if filters.is_none() => {
                Rounding::along::<E>(curve, range, shape.dims_at(lod).iter().product())
            }
            _ => Rounding::new::<E>(model.frac_bits, range),
        };
        simd::with_vectors(
            self.level,
            ToIntegers {
                values,
                shape: &shape,
                lod,
                rounding: &rounding,
                out,
            },
        );
    }

    /// Brings working values that lie on a curve to those that a filter works on.
    pub(crate) fn straighten<E: Working>(
        &self,
        model: &WaveletModel,
        range: ValueRange,
        values: &mut [E],
    ) {
        if let Some(curve) = &model.curve {
            let from_curve = FromCurve {
                curve,
                frac_bits: model.frac_bits,
                range,
                values,
            };
            simd::with_vectors(self.level, from_curve);
        }
    }

    /// Working values at full resolution from coefficient indices, in place.
    pub(crate) fn working<'a, E: Working>(
        &self,
        model: &WaveletModel,
        quality: u8,
        shape: BlockShape,
        indices: &'a mut [E],
        scratch: &mut Vec<E>,
    ) -> &'a [E] {
        self.synthesise(model, quality, (shape, 0), indices, scratch, &|_| false);
        indices
    }

    /// Dequantises and transforms what level of detail `lod` needs, in place.
    fn synthesise<E: Working>(
        &self,
        model: &WaveletModel,
        quality: u8,
        (shape, lod): (BlockShape, usize),
        indices: &mut [E],
        scratch: &mut Vec<E>,
        is_zero: &dyn Fn(&Band) -> bool,
    ) {
        let quantiser = Quantiser::new(model, quality);
        let bands = (lod..shape.depth).flat_map(|depth| (1..8).map(move |b| shape.band(depth, b)));
        for band in std::iter::once(shape.coarsest()).chain(bands.filter(|b| !is_zero(b))) {
            simd::with_vectors(
                self.level,
                Dequantise {
                    indices: &mut *indices,
                    shape: &shape,
                    band: &band,
                    quantiser: &quantiser,
                },
            );
        }
        let gain = if model.reversible {
            Gain::LastOfAll
        } else {
            Gain::EachSplit
        };
        simd::inverse(self.level, indices, scratch, &shape, lod, gain);
    }

    /// Runs plain loops as built for the vectors of this machine. Same results.
    #[inline(always)]
    pub(crate) fn with_vectors<L: Loops>(&self, loops: L) -> L::Output {
        simd::with_vectors(self.level, loops)
    }
}

/// What [`CpuBackend::reconstruct`] works on.
pub(crate) struct Reconstruction<'a, E> {
    pub(crate) shape: BlockShape,
    pub(crate) range: ValueRange,
    pub(crate) lod: usize,
    pub(crate) indices: &'a mut [E],
    pub(crate) scratch: &'a mut Vec<E>,
    /// Bands that are known to hold nothing but zeros.
    pub(crate) is_zero: &'a dyn Fn(&Band) -> bool,
}

impl Default for CpuBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl Backend for CpuBackend {
    fn name(&self) -> String {
        format!("cpu ({})", self.level.name())
    }

    fn decode_block(
        &self,
        job: &BlockJob<'_>,
        scratch: &mut Scratch,
        out: &mut Vec<i32>,
    ) -> Result<()> {
        check_prefix(job)?;
        if job.model.mask() {
            return decode_masked(self, job, scratch, out);
        }
        self.decode_plain(job, job.layers, scratch, out)
    }
}

impl CpuBackend {
    /// A block whose `layers` begin without a mask.
    fn decode_plain(
        &self,
        job: &BlockJob<'_>,
        layers: &[Vec<u8>],
        scratch: &mut Scratch,
        out: &mut Vec<i32>,
    ) -> Result<()> {
        let mut parts = Parts::new(job, layers)?;
        match job.model {
            BlockModel::Wavelet(model) if model.precision == Precision::I16 => {
                decode(self, model, job, &parts, &mut scratch.narrow, out)?;
            }
            BlockModel::Wavelet(model) => {
                decode(self, model, job, &parts, &mut scratch.wide, out)?;
            }
            BlockModel::Grid(model) => {
                decode_grid(self, model, job, &parts, &mut scratch.grid, out)?;
            }
        }
        if !job.has_residual() {
            return Ok(());
        }
        add_residual(job, parts.residual.take().unwrap_or(&[]), out)
    }

    /// Integers of the voxels of a level of detail from the weights in `scratch`.
    pub(crate) fn evaluate_grid(
        &self,
        model: &GridModel,
        shape: &BlockShape,
        range: ValueRange,
        lod: usize,
        scratch: &mut GridScratch,
        out: &mut Vec<i32>,
    ) {
        evaluate(self.level, model, shape, lod, scratch);
        out.clear();
        out.resize(shape.dims_at(lod).iter().product(), 0);
        let rounding = Rounding::new::<i32>(model.frac_bits, range);
        simd::with_vectors(self.level, RoundAll(scratch.sums(), &rounding, out));
    }

    /// The linear part of the weights in `scratch`, and the inputs of their network, left there.
    pub(crate) fn evaluate_grid_parts(
        &self,
        model: &GridModel,
        shape: &BlockShape,
        lod: usize,
        scratch: &mut GridScratch,
    ) {
        skip_sums(self.level, model, shape, lod, scratch);
        fill_inputs(self.level, model, shape, lod, scratch);
    }

    /// The instructions that it uses.
    pub(crate) fn level(&self) -> CpuLevel {
        self.level
    }
}

/// Brings a block at full resolution to what its residual says.
fn add_residual(job: &BlockJob<'_>, bytes: &[u8], out: &mut [i32]) -> Result<()> {
    let residual = decode_residual(job.shape.dims, out, bytes)?;
    let ValueRange { lo, hi } = job.range;
    match job.model.residual() {
        Residual::None => {}
        Residual::Step(1) => {
            for (q, &r) in out.iter_mut().zip(&residual) {
                let exact = q.checked_add(r).filter(|q| (lo..=hi).contains(q));
                *q = exact.ok_or_else(leaves_range)?;
            }
        }
        Residual::Step(step) => {
            for (q, &r) in out.iter_mut().zip(&residual) {
                let near = i64::from(*q) + i64::from(step) * i64::from(r);
                *q = near.clamp(lo.into(), hi.into()) as i32;
            }
        }
        Residual::FloatBits => {
            let map = ValueMap {
                dtype: DType::Float32,
                exponent: job.exponent,
            };
            let residual = residual.into_iter().chain(std::iter::repeat(0));
            for (q, r) in out.iter_mut().zip(residual) {
                let place = ordered(map.float(*q).to_bits()).wrapping_add_signed(r);
                *q = unordered(place).cast_signed();
            }
        }
    }
    Ok(())
}

fn leaves_range() -> Error {
    Error::corrupt("residual", 0, "a voxel leaves the value range of its block")
}

/// A block whose first layer begins with a mask: u32 length, mask, the layer proper.
fn decode_masked(
    cpu: &CpuBackend,
    job: &BlockJob<'_>,
    scratch: &mut Scratch,
    out: &mut Vec<i32>,
) -> Result<()> {
    let (mask, layers) = Mask::split_off(job)?;
    cpu.decode_plain(job, &layers, scratch, out)?;
    for (q, class) in out.iter_mut().zip(mask.classes(job)) {
        match class {
            Class::Finite => {}
            class => *q = NON_FINITE[class as usize - 1],
        }
    }
    Ok(())
}

fn decode<E: Filtered>(
    cpu: &CpuBackend,
    model: &WaveletModel,
    job: &BlockJob<'_>,
    parts: &Parts<'_>,
    buffers: &mut Buffers<E>,
    out: &mut Vec<i32>,
) -> Result<()> {
    let Buffers { state, other } = buffers;
    state.reset(job.shape);
    let mut quality = 0;
    for (step, bytes) in job.steps.iter().zip(&parts.layers) {
        decode_layer(
            state,
            model.coder,
            usize::from(step.lod),
            step.quality,
            bytes,
        )?;
        quality = step.quality;
    }
    let mut values = std::mem::take(state.indices_mut());
    let known: &CoefficientState<E> = state;
    let block = Reconstruction {
        shape: job.shape,
        range: job.range,
        lod: job.lod,
        indices: &mut values,
        scratch: other,
        is_zero: &|band| known.band_is_zero(band),
    };
    cpu.reconstruct(model, quality, block, out);
    *state.indices_mut() = values;
    Ok(())
}

fn decode_grid(
    cpu: &CpuBackend,
    model: &GridModel,
    job: &BlockJob<'_>,
    parts: &Parts<'_>,
    scratch: &mut GridScratch,
    out: &mut Vec<i32>,
) -> Result<()> {
    decode_weights(model, job, parts, scratch)?;
    cpu.evaluate_grid(model, &job.shape, job.range, job.lod, scratch, out);
    Ok(())
}

/// The weights that the layers hold, into `scratch.weights`.
pub(super) fn decode_weights(
    model: &GridModel,
    job: &BlockJob<'_>,
    parts: &Parts<'_>,
    scratch: &mut GridScratch,
) -> Result<()> {
    model.check_block(job.shape.dims)?;
    scratch.weights.reset(model, job.shape.dims);
    for (i, bytes) in parts.layers.iter().enumerate() {
        decode_grid_layer(model, i, bytes, &mut scratch.weights)?;
    }
    Ok(())
}

/// [`dequantise_band`] on vectors.
struct Dequantise<'a, E> {
    indices: &'a mut [E],
    shape: &'a BlockShape,
    band: &'a Band,
    quantiser: &'a Quantiser,
}

impl<E: Working> Loops for Dequantise<'_, E> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        dequantise_band(self.indices, self.shape, self.band, self.quantiser);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::{Coder, Curve, Filter, Filters};
    use proptest::prelude::*;

    /// Steep at one end, flat at the other.
    const CURVE: Curve = Curve {
        start: -31_000,
        segment_log2: 9,
        fraction: 2,
        rises: [
            60_000, 40_000, 0, 1, 20_000, 17, 9_000, 3_000, 1_000, 7, 5, 3, 2, 1, 0, 0,
        ],
    };

    fn model(precision: Precision) -> WaveletModel {
        WaveletModel {
            coder: Coder::R,
            precision,
            frac_bits: 3,
            qualities: 1,
            step_q16: 5 << 19,
            recon_one: 12,
            recon_more: 5,
            residual: Residual::None,
            mask: false,
            curve: None,
            reversible: false,
            filters: None,
            ranks: false,
        }
    }

    fn run<E: Filtered>(
        level: CpuLevel,
        model: &WaveletModel,
        shape: BlockShape,
        lod: usize,
        seed: &[i16],
    ) -> Vec<i32> {
        let mut indices: Vec<E> = (0..shape.voxels())
            .map(|i| E::saturate(i64::from(seed[i % seed.len()])))
            .collect();
        let mut out = Vec::new();
        let range = ValueRange {
            lo: -30_000,
            hi: 29_999,
        };
        let block = Reconstruction {
            shape,
            range,
            lod,
            indices: &mut indices,
            scratch: &mut Vec::new(),
            is_zero: &|_| false,
        };
        CpuBackend::with_level(level)
            .unwrap()
            .reconstruct(model, 0, block, &mut out);
        out
    }

    proptest! {
        /// Every vector unit gives the voxels of the scalar oracle, whatever the numbers, wrapping
        /// included.
        #[test]
        fn vectors_equal_the_oracle(
            dims in [1usize..=70, 1usize..=66, 1usize..=40],
            lod in 0usize..5,
            seed in proptest::collection::vec(prop_oneof![-40i16..40, any::<i16>()], 1..97),
            limit in prop_oneof![1u32..4000, Just(1 << 24)],
            weights in proptest::collection::vec(any::<i8>(), 36),
        ) {
            let shape = BlockShape { dims, depth: 4 };
            let mut filter = Filter { limit, ..Filter::NONE };
            let taps = filter.weights.as_flattened_mut().as_flattened_mut();
            taps.copy_from_slice(&weights);
            let filters = Some(Filters::new([filter; 8]));
            for (curve, reversible, filters) in [
                (None, false, None),
                (Some(CURVE), false, None),
                (None, true, None),
                (None, false, filters),
                (Some(CURVE), false, filters),
            ] {
                let of = |precision| WaveletModel { curve, reversible, filters, ..model(precision) };
                let (narrow, wide) = (of(Precision::I16), of(Precision::I32));
                for level in CpuLevel::available() {
                    prop_assert_eq!(
                        run::<i16>(CpuLevel::Scalar, &narrow, shape, lod, &seed),
                        run::<i16>(level, &narrow, shape, lod, &seed)
                    );
                    prop_assert_eq!(
                        run::<i32>(CpuLevel::Scalar, &wide, shape, lod, &seed),
                        run::<i32>(level, &wide, shape, lod, &seed)
                    );
                }
            }
        }
    }
}
