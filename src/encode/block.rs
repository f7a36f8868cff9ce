//! One block: voxels in, layers out, with the errors that the decoder's own output has.

use super::curve::{Forgiven, Positions};
use super::device::{DeviceCoded, Found};
use super::exact;
use super::forward::forward;
use super::grid::{self, GridBuffers, GridPlan};
use super::plan::ModelUse;
use super::quantise::quantise;
use super::ranked;
use super::search;
use super::sums::{BandError, MinMax, SquaredError};
use crate::Result;
use crate::backend::cpu::{CpuBackend, Filtered, Reconstruction};
use crate::backend::{LayerStep, ValueRange};
use crate::codec::bands::{Band, BlockShape};
use crate::codec::{CoefficientState, Quantiser, encode_layer};
use crate::encode::Preset;
use crate::model::{Coder, Precision, Ranks, Residual, ValueMap, WaveletModel};

/// What all blocks of a tier share.
#[derive(Clone, Copy)]
pub(crate) struct BlockPlan<'a> {
    /// The model, and the same with 32-bit working values for blocks that overflow 16.
    pub(crate) model: WaveletModel,
    pub(crate) wide: WaveletModel,
    pub(crate) steps: &'a [LayerStep],
    pub(crate) preset: Preset,
    /// Search for better indices; not where they are exact.
    pub(crate) search: Option<search::Effort>,
    pub(crate) cpu: CpuBackend,
    /// Smallest representable range that holds `lo..=hi`.
    pub(crate) range: &'a (dyn Fn(i32, i32) -> Result<ValueRange> + Sync),
    /// Whether the coarsest band of the decoder's output is wanted afterwards.
    pub(crate) want_coarsest: bool,
    /// Whether a block may become a constant without payload.
    pub(crate) allow_constant: bool,
    /// Grid models and when to use them.
    pub(crate) grid: GridPlan<'a>,
    /// How voxels become integers.
    pub(crate) map: ValueMap,
    /// What the integers are ranks in, if they are.
    pub(crate) ranks: Option<&'a Ranks>,
    /// Reversible models, as those above, for a block that is cheaper with one.
    pub(crate) reversible: Option<(WaveletModel, WaveletModel)>,
    /// What a device found for this block, under some of the models.
    pub(crate) found: &'a [Found],
}

/// Error of one quality level of one block against its source, in units of `q`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LevelError {
    /// Sum of squares.
    pub sse: f64,
    /// Largest absolute value.
    pub max: f64,
}

/// An encoded block.
#[derive(Debug, Clone)]
pub(crate) enum EncodedBlock {
    /// Every voxel is this integer.
    Constant(i32),
    /// Coded.
    Payload {
        model: ModelUse,
        range: ValueRange,
        layers: Vec<Vec<u8>>,
    },
}

/// Buffers that a thread keeps from block to block.
#[derive(Debug, Default)]
pub(crate) struct EncodeScratch {
    coefficients: Vec<f32>,
    lines: Vec<f32>,
    narrow: Buffers<i16>,
    wide: Buffers<i32>,
    pub(super) coarsest: Vec<i32>,
    pub(super) grid: GridBuffers,
}

impl EncodeScratch {
    /// Working values, before a filter, that the decoder makes of the block that was encoded last, with
    /// one of its wavelet models.
    pub(super) fn unfiltered(
        &mut self,
        cpu: &CpuBackend,
        model: &WaveletModel,
        quality: u8,
        block: (BlockShape, ValueRange),
    ) -> Vec<i32> {
        match model.precision {
            Precision::I16 => self.narrow.unfiltered(cpu, model, quality, block),
            Precision::I32 => self.wide.unfiltered(cpu, model, quality, block),
        }
    }

    /// The coarsest band, as decoded, of the block that was encoded last.
    pub(crate) fn coarsest(&mut self, block: &EncodedBlock, shape: &BlockShape) -> Vec<i32> {
        match block {
            EncodedBlock::Constant(q) => vec![*q; shape.dims_at(shape.depth).iter().product()],
            EncodedBlock::Payload { .. } => std::mem::take(&mut self.coarsest),
        }
    }

    /// Gives back the buffers that only wavelets need, so that a grid never works beside them.
    pub(super) fn forget_wavelet(&mut self) {
        *self = Self {
            coarsest: std::mem::take(&mut self.coarsest),
            grid: std::mem::take(&mut self.grid),
            ..Self::default()
        };
    }
}

#[derive(Debug, Default)]
struct Buffers<E> {
    targets: Vec<Vec<E>>,
    working: Vec<E>,
    other: Vec<E>,
    state: CoefficientState<E>,
    decoded: Vec<i32>,
    /// Working values that the coefficients are made from.
    aims: Vec<f32>,
}

impl<E: Filtered> Buffers<E> {
    fn unfiltered(
        &mut self,
        cpu: &CpuBackend,
        model: &WaveletModel,
        quality: u8,
        (shape, range): (BlockShape, ValueRange),
    ) -> Vec<i32> {
        let Self {
            targets,
            working,
            other,
            ..
        } = self;
        working.clone_from(&targets[usize::from(quality)]);
        cpu.working(model, quality, shape, working, other);
        cpu.straighten(model, range, working);
        working.iter().map(|&v| v.into()).collect()
    }
}

/// Rounds that look for better working values where clamping forgives.
pub(super) const BALANCED_ROUNDS: usize = 2;
pub(super) const BEST_ROUNDS: usize = 6;

/// An error over this many steps and over this share of the block's range comes from wrapping.
const JUMP_STEPS: f64 = 8.0;
const JUMP: f64 = 0.4;

/// Encodes a block of values in units of `q`, `[z][y][x]`, all finite. Also returns the error of
/// each quality level. `exact` are the voxels themselves if every bit of them must come back, else
/// it is empty.
pub(crate) fn encode_block(
    plan: &BlockPlan<'_>,
    shape: BlockShape,
    values: &[f32],
    exact: &[f32],
    scratch: &mut EncodeScratch,
) -> Result<(EncodedBlock, Vec<LevelError>)> {
    let (min, max) = plan.cpu.with_vectors(MinMax(values));
    let levels = usize::from(plan.model.qualities);
    let block = Block {
        plan,
        shape,
        values,
        exact,
        range: (plan.range)(min.floor() as i32, max.ceil() as i32)?,
    };
    let q = min.round() as i32;
    if plan.allow_constant && min == max && block.constant_will_do(plan.model.residual, q) {
        return Ok((
            EncodedBlock::Constant(q),
            vec![constant_error(values, q); levels],
        ));
    }
    grid::choose(&block, scratch)
}

type Encoded = (EncodedBlock, Vec<LevelError>);

/// Encodes a block with the wavelet model, or with a reversible one where the plan allows that and it
/// takes fewer bytes.
pub(super) fn encode_wavelet(block: &Block<'_>, scratch: &mut EncodeScratch) -> Result<Encoded> {
    let done = encode_transform(block, scratch)?;
    let (Some((model, wide)), Some(bytes)) = (block.plan.reversible, payload_bytes(&done.0)) else {
        return Ok(done);
    };
    let coarsest = std::mem::take(&mut scratch.coarsest);
    let plan = &BlockPlan {
        model,
        wide,
        ..*block.plan
    };
    let (mut encoded, errors) = encode_transform(&Block { plan, ..*block }, scratch)?;
    if payload_bytes(&encoded).is_some_and(|n| n >= bytes) {
        scratch.coarsest = coarsest;
        return Ok(done);
    }
    if let EncodedBlock::Payload { model, .. } = &mut encoded
        && let ModelUse::Wavelet { wide } = *model
    {
        *model = ModelUse::Reversible { wide };
    }
    Ok((encoded, errors))
}

/// `None` of a constant block.
fn payload_bytes(encoded: &EncodedBlock) -> Option<usize> {
    match encoded {
        EncodedBlock::Constant(_) => None,
        EncodedBlock::Payload { layers, .. } => Some(layers.iter().map(Vec::len).sum()),
    }
}

/// Encodes a block with the models of the plan.
fn encode_transform(block: &Block<'_>, scratch: &mut EncodeScratch) -> Result<Encoded> {
    let plan = block.plan;
    let EncodeScratch {
        coefficients,
        lines,
        narrow,
        wide,
        coarsest,
        ..
    } = scratch;
    let floats = (coefficients, lines);
    if plan.model.precision == Precision::I16
        && let Some(done) =
            block.encode(&plan.model, (floats.0, floats.1), narrow, coarsest, false)?
    {
        return Ok(done);
    }
    let done = block.encode(&plan.wide, floats, wide, coarsest, true)?;
    done.ok_or_else(|| crate::Error::Input("a block overflows 32-bit working values".into()))
}

fn constant_error(values: &[f32], q: i32) -> LevelError {
    values.iter().fold(LevelError::default(), |e, &v| {
        let d = (f64::from(v) - f64::from(q)).abs();
        LevelError {
            sse: e.sse + d * d,
            max: e.max.max(d),
        }
    })
}

/// A block to encode.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    pub(super) plan: &'a BlockPlan<'a>,
    pub(super) shape: BlockShape,
    /// `[z][y][x]` in units of `q`.
    pub(super) values: &'a [f32],
    /// The voxels themselves if every bit of them must come back, else empty.
    pub(super) exact: &'a [f32],
    pub(super) range: ValueRange,
}

impl Block<'_> {
    /// Coefficients of the block in working units.
    fn transform<E: Filtered>(
        &self,
        model: &WaveletModel,
        coefficients: &mut Vec<f32>,
        lines: &mut Vec<f32>,
        buffers: &mut Buffers<E>,
    ) {
        if model.reversible {
            let centre = self.range.centre();
            let mut exact: Vec<i32> = self.values.iter().map(|&v| v as i32 - centre).collect();
            exact::split(&mut exact, &self.shape, model.precision);
            coefficients.clear();
            coefficients.extend(exact.iter().map(|&c| c as f32));
            return;
        }
        let positions = Positions::new(model, self.range);
        let mut aims = std::mem::take(&mut buffers.aims);
        aims.clear();
        aims.extend(self.values.iter().map(|&v| positions.of(v)));
        coefficients.clone_from(&aims);
        forward(coefficients, lines, &self.shape);
        let rounds = match self.plan.preset {
            Preset::Fast => 0,
            Preset::Balanced => BALANCED_ROUNDS,
            Preset::Best => BEST_ROUNDS,
        };
        let forgiven = match rounds {
            0 => None,
            _ => Forgiven::new(model, &positions, self.values, self.range),
        };
        if let Some(forgiven) = forgiven {
            for _ in 0..rounds {
                self.follow(model, &forgiven, &mut aims, coefficients, buffers);
                coefficients.clone_from(&aims);
                forward(coefficients, lines, &self.shape);
            }
        }
        buffers.aims = aims;
    }

    /// Lets working values that clamping forgives be what the decoder makes of the coefficients.
    fn follow<E: Filtered>(
        &self,
        model: &WaveletModel,
        forgiven: &Forgiven,
        aims: &mut [f32],
        coefficients: &[f32],
        buffers: &mut Buffers<E>,
    ) {
        let quality = model.qualities - 1;
        let Buffers { working, other, .. } = buffers;
        quantise(
            coefficients,
            &self.shape,
            &Quantiser::new(model, quality),
            self.plan.preset,
            working,
        );
        let decoded = self
            .plan
            .cpu
            .working(model, quality, self.shape, working, other);
        forgiven.follow(aims, |place| {
            let w: i32 = decoded[place].into();
            w as f32
        });
    }

    /// Finds indices, measures and codes with one model. `None` if its working values overflow.
    fn encode<E: Filtered>(
        &self,
        model: &WaveletModel,
        (coefficients, lines): (&mut Vec<f32>, &mut Vec<f32>),
        buffers: &mut Buffers<E>,
        coarsest: &mut Vec<i32>,
        wide: bool,
    ) -> Result<Option<Encoded>> {
        if let Some(found) = self.plan.found.iter().find(|f| f.model == *model) {
            if let Some(coded) = found.coded() {
                return Ok(self.coded(model, (found, coded), coarsest, wide));
            }
            found.copy_to(&mut buffers.targets);
            return self.finish(model, &|_| found.left, buffers, coarsest, wide);
        }
        self.transform(model, coefficients, lines, buffers);
        self.find_indices(model, coefficients, buffers)?;
        let left = |indices: &[E]| self.quantisation_sse(model, coefficients, indices);
        self.finish(model, &left, buffers, coarsest, wide)
    }

    /// What a device coded. `None` if working values overflow.
    fn coded(
        &self,
        model: &WaveletModel,
        (found, coded): (&Found, &DeviceCoded),
        coarsest: &mut Vec<i32>,
        wide: bool,
    ) -> Option<Encoded> {
        let flat = (found.empty).then(|| self.flat(model.residual, coded.errors.len()));
        if let Some(flat) = flat.flatten() {
            return Some(flat);
        }
        if !wide && self.wrapped(coded.under, model, &|| found.left) {
            return None;
        }
        coarsest.clone_from(&coded.coarsest);
        let block = EncodedBlock::Payload {
            model: ModelUse::Wavelet { wide },
            range: self.range,
            layers: coded.layers.clone(),
        };
        Some((block, coded.errors.clone()))
    }

    /// Indices of all qualities.
    fn find_indices<E: Filtered>(
        &self,
        model: &WaveletModel,
        coefficients: &[f32],
        buffers: &mut Buffers<E>,
    ) -> Result<()> {
        let levels = usize::from(model.qualities);
        buffers.targets.resize_with(levels, Vec::new);
        for (quality, target) in (0..model.qualities).zip(&mut buffers.targets) {
            quantise(
                coefficients,
                &self.shape,
                &Quantiser::new(model, quality),
                self.plan.preset,
                target,
            );
        }
        if let Some(effort) = self.plan.search.filter(|_| !model.reversible) {
            let task = search::Task {
                coefficients,
                shape: self.shape,
                model,
                cpu: self.plan.cpu,
            };
            task.run(effort, &mut buffers.targets)?;
        }
        Ok(())
    }

    /// Measures and codes the indices in `buffers`. `left` is the squared error of coefficients under those
    /// of the last quality.
    fn finish<E: Filtered>(
        &self,
        model: &WaveletModel,
        left: &dyn Fn(&[E]) -> f64,
        buffers: &mut Buffers<E>,
        coarsest: &mut Vec<i32>,
        wide: bool,
    ) -> Result<Option<Encoded>> {
        let levels = usize::from(model.qualities);
        let last = &buffers.targets[levels - 1];
        if last.iter().all(|&k| k.into() == 0)
            && let Some(flat) = self.flat(model.residual, levels)
        {
            return Ok(Some(flat));
        }
        if self.plan.want_coarsest {
            self.reconstruct(model, model.qualities - 1, self.shape.depth, buffers);
            coarsest.clone_from(&buffers.decoded);
        }
        let mut errors = Vec::with_capacity(levels);
        for quality in 0..model.qualities {
            let error = self.measure(model, quality, buffers);
            let last = quality + 1 == model.qualities;
            if last && !wide && self.wrapped(error, model, &|| left(&buffers.targets[levels - 1])) {
                return Ok(None);
            }
            let in_values = |r| ranked::error(r, self.values, &buffers.decoded);
            errors.push(self.plan.ranks.map_or(error, in_values));
        }
        let mut layers = self.layers(model.coder, buffers)?;
        if let Some(residual) = self.residual(model.residual, &buffers.decoded) {
            self.append_residual(&mut layers, &buffers.decoded, &residual.values)?;
            errors[levels - 1] = residual.error;
        }
        Ok(Some((
            EncodedBlock::Payload {
                model: ModelUse::Wavelet { wide },
                range: self.range,
                layers,
            },
            errors,
        )))
    }

    /// A block of which quantisation leaves nothing: its mean, if the plan allows that.
    pub(super) fn flat(
        &self,
        residual: Residual,
        levels: usize,
    ) -> Option<(EncodedBlock, Vec<LevelError>)> {
        let sum: f64 = self.values.iter().map(|&v| f64::from(v)).sum();
        let q =
            ((sum / self.values.len() as f64).round() as i32).clamp(self.range.lo, self.range.hi);
        let allowed = self.plan.allow_constant && self.constant_will_do(residual, q);
        allowed.then(|| {
            (
                EncodedBlock::Constant(q),
                vec![constant_error(self.values, q); levels],
            )
        })
    }

    /// Error of the decoder's output at `quality`; leaves that output in `buffers.decoded`.
    fn measure<E: Filtered>(
        &self,
        model: &WaveletModel,
        quality: u8,
        buffers: &mut Buffers<E>,
    ) -> LevelError {
        self.reconstruct(model, quality, 0, buffers);
        self.plan.cpu.with_vectors(SquaredError {
            values: self.values,
            decoded: &buffers.decoded,
        })
    }

    /// The decoder's output at a quality and level of detail, into `buffers.decoded`.
    fn reconstruct<E: Filtered>(
        &self,
        model: &WaveletModel,
        quality: u8,
        lod: usize,
        buffers: &mut Buffers<E>,
    ) {
        let Buffers {
            targets,
            working,
            other,
            decoded,
            ..
        } = buffers;
        working.clone_from(&targets[usize::from(quality)]);
        let block = Reconstruction {
            shape: self.shape,
            range: self.range,
            lod,
            indices: working,
            scratch: other,
            is_zero: &|_| false,
        };
        self.plan.cpu.reconstruct(model, quality, block, decoded);
    }

    /// Whether working values must have wrapped around: the squared error is far over what
    /// quantisation, were the transform orthogonal, and rounding make, or a voxel jumps from one end
    /// of the range towards the other.
    fn wrapped(
        &self,
        LevelError { sse, max }: LevelError,
        model: &WaveletModel,
        left: &dyn Fn() -> f64,
    ) -> bool {
        if model.reversible {
            return max > 0.0;
        }
        let unit = model.unit();
        let (step, range) = (model.step_q16 as f64 / 65_536.0 * unit, self.range);
        if max > JUMP_STEPS * step && max > JUMP * (f64::from(range.hi) - f64::from(range.lo)) {
            return true;
        }
        let rounding = self.values.len() as f64 * (4.0 * unit * unit + 0.5);
        sse > 4.0 * rounding && sse > 4.0 * (left() * unit * unit + rounding)
    }

    fn quantisation_sse<E: Filtered>(
        &self,
        model: &WaveletModel,
        coefficients: &[f32],
        indices: &[E],
    ) -> f64 {
        let quantiser = Quantiser::new(model, model.qualities - 1);
        let coarsest = [self.shape.coarsest()];
        let bands = (0..self.shape.depth)
            .flat_map(|d| (1..8).map(move |b| (d, b)))
            .map(|(d, b)| self.shape.band(d, b));
        let each = bands.chain(coarsest).filter(|b| !b.is_empty());
        each.map(|band| self.band_sse(&quantiser, model, &band, coefficients, indices))
            .sum()
    }

    fn band_sse<E: Filtered>(
        &self,
        quantiser: &Quantiser,
        model: &WaveletModel,
        band: &Band,
        coefficients: &[f32],
        indices: &[E],
    ) -> f64 {
        let step = quantiser.step(&self.shape, band) as f32 / 256.0;
        // A step in the band is the model's step in the value domain.
        let gain = model.step_q16 as f64 / 65_536.0 / f64::from(step);
        self.plan.cpu.with_vectors(BandError {
            coefficients,
            indices,
            shape: &self.shape,
            band,
            step,
        }) * gain
            * gain
    }

    fn layers<E: Filtered>(&self, coder: Coder, buffers: &mut Buffers<E>) -> Result<Vec<Vec<u8>>> {
        buffers.state.reset(self.shape);
        let Buffers { targets, state, .. } = buffers;
        self.plan
            .steps
            .iter()
            .map(|step| {
                encode_layer(
                    state,
                    coder,
                    usize::from(step.lod),
                    step.quality,
                    &targets[usize::from(step.quality)],
                )
            })
            .collect()
    }
}
