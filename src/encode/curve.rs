//! Value curves on the side of the encoder: voxels as positions on a curve, which curve a volume
//! gets, and the freedom that clamping leaves.

use std::cell::Cell;

use super::block::{BlockPlan, EncodeScratch, EncodedBlock, encode_block};
use super::job::Job;
use super::plan::{WaveletWanted, layer_steps, wavelet_models};
use super::{ModelChoice, Preset};
use crate::Result;
use crate::backend::ValueRange;
use crate::backend::cpu::CpuBackend;
use crate::codec::bands::BlockShape;
use crate::model::{Coder, Curve, Precision, Residual, SEGMENTS, ValueMap, WaveletModel};
use crate::volume::DType;
use rayon::prelude::*;

/// A curve before it is rounded for a record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct CurveShape {
    /// Share of the range of values that each segment rises; their sum is 1.
    pub(crate) rises: [f64; SEGMENTS],
    /// Step on the curve, relative to the step without one that makes the same error.
    pub(crate) gain: f64,
}

impl CurveShape {
    /// The curve over values `q_min..=q_max`, in segments of `2^segment_log2` working units.
    pub(crate) fn curve(&self, q_min: i32, q_max: i32, segment_log2: u8) -> Curve {
        let span = f64::from(q_max) - f64::from(q_min);
        let most = self.rises.iter().fold(0.0, |a: f64, &r| a.max(r)) * span;
        let fraction = (65_535.0 / most.max(1e-9)).log2().floor();
        let fraction = fraction
            .clamp(1.0 - f64::from(segment_log2), 12.0)
            .max(-16.0) as i8;
        let unit = f64::from(fraction).exp2();
        let (mut sum, mut at) = (0.0, 0u32);
        let rises = self.rises.map(|r| {
            sum += r * span;
            // Rounded up at the end, so that the curve reaches the largest value.
            let next = (sum * unit - 1e-6).ceil() as u32;
            let rise = (next - at).min(65_535) as u16;
            at = next;
            rise
        });
        Curve {
            start: q_min,
            segment_log2,
            fraction,
            rises,
        }
    }

    /// Slope proportional to the density of values to the power `p`, in 64 bins of the range.
    fn of_density(density: &[f64; BINS], p: f64) -> Self {
        let uniform = density.map(|d| (d * BINS as f64).max(1e-3).powf(p));
        let total: f64 = uniform.iter().sum();
        let mut knots = [0.0; SEGMENTS + 1];
        let (mut below, mut segment) = (0.0, 1);
        for (i, &slope) in uniform.iter().enumerate() {
            let share = slope / total;
            while segment < SEGMENTS && below + share >= segment as f64 / SEGMENTS as f64 {
                let inside = (segment as f64 / SEGMENTS as f64 - below) / share;
                knots[segment] = (i as f64 + inside) / BINS as f64;
                segment += 1;
            }
            below += share;
        }
        knots[SEGMENTS] = 1.0;
        let mut rises = [0.0; SEGMENTS];
        for (rise, pair) in rises.iter_mut().zip(knots.windows(2)) {
            *rise = pair[1] - pair[0];
        }
        Self { rises, gain: 1.0 }
    }

    /// The same with one segment `factor` times as steep, before all are brought back to their sum.
    fn bent(mut self, segment: usize, factor: f64) -> Self {
        self.rises[segment] *= factor;
        let total: f64 = self.rises.iter().sum();
        self.rises.iter_mut().for_each(|r| *r /= total);
        self
    }
}

/// Values as working values of a block: along a curve, or in proportion.
pub(super) struct Positions {
    centre: f64,
    scale: f64,
    knots: Option<[f64; SEGMENTS + 1]>,
}

impl Positions {
    pub(super) fn new(model: &WaveletModel, range: ValueRange) -> Self {
        let Some(curve) = &model.curve else {
            return Self::straight(model, range);
        };
        let unit = (-f64::from(curve.fraction)).exp2();
        let mut knots = [f64::from(curve.start); SEGMENTS + 1];
        for (i, &rise) in curve.rises.iter().enumerate() {
            knots[i + 1] = knots[i] + f64::from(rise) * unit;
        }
        Self {
            centre: curve.centre(range.lo, range.hi) as f64,
            scale: f64::from(curve.segment_log2).exp2(),
            knots: Some(knots),
        }
    }

    /// In proportion, whether or not there is a curve.
    pub(super) fn straight(model: &WaveletModel, range: ValueRange) -> Self {
        Self {
            centre: f64::from(range.centre()),
            scale: f64::from(model.frac_bits).exp2(),
            knots: None,
        }
    }

    /// What working values are relative to: in units of `q`, or along the curve.
    pub(super) fn centre(&self) -> f64 {
        self.centre
    }

    /// Working units of a unit of `q`, or of a segment of the curve.
    pub(super) fn scale(&self) -> f64 {
        self.scale
    }

    /// Values at the ends of the segments of the curve, if there is one.
    pub(super) fn knots(&self) -> Option<&[f64; SEGMENTS + 1]> {
        self.knots.as_ref()
    }

    #[inline(always)]
    pub(super) fn of(&self, value: f32) -> f32 {
        let Some(knots) = &self.knots else {
            return (value - self.centre as f32) * self.scale as f32;
        };
        let value = f64::from(value);
        let i = knots.partition_point(|&k| k < value).clamp(1, SEGMENTS) - 1;
        let inside = ((value - knots[i]) / (knots[i + 1] - knots[i]).max(1e-9)).clamp(0.0, 1.0);
        ((i as f64 + inside) * self.scale - self.centre) as f32
    }
}

/// Voxels at the ends of a block's value range, where clamping forgives whatever lies beyond.
pub(super) struct Forgiven {
    /// Place, and whether the voxel lies at the upper end.
    voxels: Vec<(u32, bool)>,
    low: f32,
    high: f32,
    room: f32,
}

/// Share of the voxels that must be forgiven before it pays to look for better ones.
const FEW: usize = 64;
/// How far targets move, as a share of the way to what is decoded: over 1, they arrive sooner.
const EAGER: f32 = 1.7;
/// How far beyond the ends working values of 16 bits may go.
const ROOM: f32 = 1024.0;

impl Forgiven {
    /// `None` if there are few.
    pub(super) fn new(
        model: &WaveletModel,
        positions: &Positions,
        values: &[f32],
        range: ValueRange,
    ) -> Option<Self> {
        let (lo, hi) = (range.lo as f32, range.hi as f32);
        let at_an_end = |v: f32| v <= lo || v >= hi;
        let count = values.iter().filter(|&&v| at_an_end(v)).count();
        if model.residual.is_some() || count < values.len() / FEW {
            return None;
        }
        let room = room_beyond(model, positions.of(hi) - positions.of(lo));
        let places = (0..).zip(values).filter(|&(_, &v)| at_an_end(v));
        Some(Self {
            voxels: places.map(|(i, &v)| (i, v >= hi)).collect(),
            low: positions.of(lo),
            high: positions.of(hi),
            room,
        })
    }

    /// Moves targets to where the decoder's working values are, as far as clamping forgives it.
    pub(super) fn follow(&self, targets: &mut [f32], decoded: impl Fn(usize) -> f32) {
        for &(place, upper) in &self.voxels {
            let place = place as usize;
            let aim = targets[place];
            let moved = aim + EAGER * (decoded(place) - aim);
            targets[place] = if upper {
                moved.clamp(self.high, self.high + self.room)
            } else {
                moved.clamp(self.low - self.room, self.low)
            };
        }
    }
}

/// How far beyond its ends working values of a block that spans `width` of them may go: what 16 bits have
/// room for beside values that fill their part.
pub(super) fn room_beyond(model: &WaveletModel, width: f32) -> f32 {
    match model.precision {
        Precision::I16 => ROOM,
        Precision::I32 => ROOM.max(width),
    }
}

/// Bins of the density of values.
const BINS: usize = 64;
/// Powers of the density that are tried.
const POWERS: [f64; 3] = [0.05, 0.1, 0.15];
/// Smallest range of values that gets a curve.
const LEAST_RANGE: u32 = 32;
/// Blocks that a choice looks at.
const BLOCKS: u64 = 8;
/// Steps that a curve is measured at, and those of what it is compared with, in octaves around the
/// step that is expected.
const TRIED: [f64; 2] = [-0.5, 0.5];
const PLAIN: [f64; 4] = [-1.5, -0.5, 0.5, 1.5];
/// What a curve must save, in logarithm of bytes, to be bent further, and to be kept.
const PROMISING: f64 = -0.003;
const WORTH: f64 = -0.01;
/// How much a segment is bent at once, coarsely, then finely.
const BENDS: [f64; 2] = [1.3, 1.15];

/// Logarithms of squared error and bytes.
type Point = (f64, f64);

/// What a choice found, and at what cost.
#[derive(Default)]
pub(crate) struct CurveChoice {
    /// `None` if no curve saves enough.
    pub(crate) shape: Option<CurveShape>,
    /// How often each block of the sample was coded.
    pub(crate) trials: u32,
}

/// The curve of a volume, for a target that ends at about `step`, and what choosing it cost in encodes of
/// the volume.
pub(super) fn choose(job: &Job<'_>, step: f64) -> Result<(Option<CurveShape>, f64)> {
    let unsuited = job.options.target.binds_every_voxel() || job.options.preset == Preset::Fast;
    if unsuited || job.options.model == ModelChoice::Hashgrid {
        return Ok((None, 0.0));
    }
    let found = job.sample_values(BLOCKS)?;
    let sample = CurveSample {
        blocks: found.blocks,
        share: found.share,
        q_min: job.scan.q_min,
        q_max: job.scan.q_max,
        range: &|lo, hi| job.range(lo, hi),
    };
    let choice = job
        .pool
        .install(|| sample.choose(job.options.preset, step))?;
    let cost = f64::from(choice.trials) * found.share * job.options.preset.rough_cost();
    Ok((choice.shape, cost))
}

/// Extent and values of a block.
pub(crate) type SampleBlock = (BlockShape, Vec<f32>);

/// Blocks that a choice is made on.
pub(crate) struct CurveSample<'a> {
    pub(crate) blocks: Vec<SampleBlock>,
    /// Share of the volume's blocks.
    pub(crate) share: f64,
    /// Range of the volume.
    pub(crate) q_min: i32,
    pub(crate) q_max: i32,
    /// Smallest representable range of a block.
    pub(crate) range: &'a (dyn Fn(i32, i32) -> Result<ValueRange> + Sync),
}

impl CurveSample<'_> {
    /// The curve that saves most at about `step`.
    pub(crate) fn choose(&self, preset: Preset, step: f64) -> Result<CurveChoice> {
        let narrow = self.q_max.abs_diff(self.q_min) < LEAST_RANGE;
        if preset == Preset::Fast || self.blocks.is_empty() || narrow {
            return Ok(CurveChoice::default());
        }
        let trial = Trial::new(self, step)?;
        let shape = self.best(&trial, preset)?;
        Ok(CurveChoice {
            shape,
            trials: trial.count.get(),
        })
    }

    fn best(&self, trial: &Trial<'_>, preset: Preset) -> Result<Option<CurveShape>> {
        let density = self.density();
        let mut best: Option<(f64, CurveShape)> = None;
        for power in POWERS {
            let shape = CurveShape::of_density(&density, power);
            let score = trial.score(&shape)?;
            if best.is_none_or(|(least, _)| score < least) {
                best = Some((score, shape));
            }
        }
        let Some((score, shape)) = best.filter(|(score, _)| *score < PROMISING) else {
            return Ok(None);
        };
        let (score, shape) = match preset {
            Preset::Best => trial.bend(score, shape)?,
            _ => (score, shape),
        };
        if score > WORTH || !trial.pays(score) {
            return Ok(None);
        }
        Ok(Some(trial.with_gain(shape)?))
    }

    fn density(&self) -> [f64; BINS] {
        let (low, high) = (self.q_min as f32, self.q_max as f32);
        let mut bins = [0.0; BINS];
        // Values at the ends are often clipped; many as they are, they need no resolution.
        let inner =
            (self.blocks.iter().flat_map(|(_, values)| values)).filter(|&&v| v > low && v < high);
        for v in inner {
            bins[(((v - low) / (high - low) * BINS as f32) as usize).min(BINS - 1)] += 1.0;
        }
        let total: f64 = bins.iter().sum();
        bins.map(|b| b / f64::max(total, 1.0))
    }
}

/// What is measured on a sample.
struct Trial<'a> {
    sample: &'a CurveSample<'a>,
    cpu: CpuBackend,
    step: f64,
    /// Points measured.
    count: Cell<u32>,
    /// Without a curve, from fine steps to coarse ones.
    plain: Vec<Point>,
}

impl<'a> Trial<'a> {
    fn new(sample: &'a CurveSample<'a>, step: f64) -> Result<Self> {
        let mut trial = Self {
            sample,
            cpu: CpuBackend::new(),
            step,
            count: Cell::new(0),
            plain: Vec::new(),
        };
        for octave in PLAIN {
            let point = trial.point(None, octave)?;
            trial.plain.push(point);
        }
        Ok(trial)
    }

    /// Error and bytes of the sample.
    fn point(&self, shape: Option<&CurveShape>, octave: f64) -> Result<Point> {
        self.count.set(self.count.get() + 1);
        let sample = self.sample;
        let step = self.step * octave.exp2();
        let wanted = WaveletWanted {
            reversible: false,
            levels: 1,
            residual: Residual::None,
            coder: Coder::R,
            curve: shape,
            filter: None,
        };
        let (model, wide) = wavelet_models(sample.q_min, sample.q_max, step, wanted);
        let steps = layer_steps(1);
        let plan = BlockPlan {
            model,
            wide,
            steps: &steps,
            preset: Preset::Balanced,
            search: None,
            cpu: self.cpu,
            range: sample.range,
            want_coarsest: false,
            allow_constant: true,
            grid: super::grid::GridPlan::NONE,
            map: ValueMap {
                dtype: DType::Float32,
                exponent: 0,
            },
            ranks: None,
            reversible: None,
            found: &[],
        };
        let each = |scratch: &mut EncodeScratch, (shape, values): &SampleBlock| {
            let (block, errors) = encode_block(&plan, *shape, values, &[], scratch)?;
            let bytes = match block {
                EncodedBlock::Constant(_) => 4,
                EncodedBlock::Payload { layers, .. } => layers.iter().map(Vec::len).sum(),
            };
            Ok((errors.last().map_or(0.0, |e| e.sse), bytes))
        };
        let all: Vec<(f64, usize)> = (sample.blocks.par_iter())
            .map_init(EncodeScratch::default, each)
            .collect::<Result<_>>()?;
        let sse: f64 = all.iter().map(|a| a.0).sum();
        let bytes: usize = all.iter().map(|a| a.1).sum();
        Ok((sse.max(1e-6).ln(), (bytes.max(1) as f64).ln()))
    }

    /// What `at(a)` is on the line through two points of `plain`, near `a`.
    fn on_plain(&self, a: f64, of: impl Fn(&(Point, f64)) -> (f64, f64)) -> f64 {
        let points: Vec<(f64, f64)> = self
            .plain
            .iter()
            .copied()
            .zip(PLAIN)
            .map(|p| of(&p))
            .collect();
        let last = points.len() - 2;
        let i = points.iter().rposition(|p| p.0 <= a).unwrap_or(0).min(last);
        let ((x0, y0), (x1, y1)) = (points[i], points[i + 1]);
        y0 + (a - x0) / (x1 - x0).max(1e-9) * (y1 - y0)
    }

    /// Mean logarithm of bytes over those without a curve at the same error.
    fn score(&self, shape: &CurveShape) -> Result<f64> {
        let mut sum = 0.0;
        for octave in TRIED {
            let (sse, bytes) = self.point(Some(shape), octave)?;
            sum += bytes - self.on_plain(sse, |&((sse, bytes), _)| (sse, bytes));
        }
        Ok(sum / TRIED.len() as f64)
    }

    /// Whether a file of the whole volume gets smaller by more than its curves take.
    fn pays(&self, score: f64) -> bool {
        let middle = (self.plain[1].1 + self.plain[2].1) / 2.0;
        let saved = (1.0 - score.exp()) * middle.exp() / self.sample.share;
        saved > 4.0 * Curve::BYTES as f64
    }

    /// Bends one segment after the other as long as that saves bytes.
    fn bend(&self, score: f64, shape: CurveShape) -> Result<(f64, CurveShape)> {
        let mut best = (score, shape);
        for factor in BENDS {
            for segment in 0..SEGMENTS {
                for f in [factor, 1.0 / factor] {
                    let before = best.0;
                    loop {
                        let shape = best.1.bent(segment, f);
                        let score = self.score(&shape)?;
                        if score >= best.0 - 5e-5 {
                            break;
                        }
                        best = (score, shape);
                    }
                    if best.0 < before {
                        break;
                    }
                }
            }
        }
        Ok(best)
    }

    /// The shape with the gain at which it makes the error that is made without it.
    fn with_gain(&self, shape: CurveShape) -> Result<CurveShape> {
        let mut octaves = 0.0;
        for octave in TRIED {
            let (sse, _) = self.point(Some(&shape), octave)?;
            octaves += octave - self.on_plain(sse, |&((sse, _), octave)| (sse, octave));
        }
        let gain = (octaves / TRIED.len() as f64).clamp(-2.0, 2.0).exp2();
        Ok(CurveShape { gain, ..shape })
    }
}
