//! In-block filters on the side of the encoder: the weights with which a sample comes nearest to its
//! source. Least squares; the decoder's own arithmetic is what counts in the end.

use rayon::prelude::*;

use super::block::{BlockPlan, EncodeScratch, EncodedBlock, encode_block};
use super::curve::{Positions, SampleBlock};
use super::grid::GridPlan;
use super::job::Job;
use super::plan::{ModelUse, layer_steps};
use super::{ModelChoice, Preset};
use crate::Result;
use crate::backend::cpu::Ends;
use crate::codec::bands::BlockShape;
use crate::model::{Filter, Filters, LIMITS, REACH, WEIGHT_BITS, WaveletModel};

/// Blocks of the sample: a share of the volume's, within limits, and voxels of them.
const SHARE: u64 = 6;
const LEAST: u64 = 4;
const VOXELS: u64 = 12 << 18;
/// Of so many voxels one enters the equations.
const EVERY: usize = 7;
/// Smallest limit, in RMS errors.
const LIMIT: f64 = 0.5;
/// Share of bytes that 1 dB is worth, at the least.
const WORTH: f64 = 0.12;
/// Numbers that are fitted.
const TAPS: usize = 3 * REACH * LIMITS.len();

/// Growth of the squared error, as a share, that taps may cause which are not computed.
fn spared(preset: Preset) -> f64 {
    match preset {
        Preset::Best => 0.0002,
        Preset::Fast | Preset::Balanced => 0.001,
    }
}

/// `[axis][distance - 1][limit]`, as in [`Filter`].
type Weights = [[[i8; LIMITS.len()]; REACH]; 3];

/// Filters before limits are brought to working units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct FilterShape {
    /// For each quality: limit in steps of that quality, and weights.
    each: [(f64, Weights); 8],
    /// Whether the 32-bit twin has filters too: it is used more than now and then.
    pub(crate) twin: bool,
}

impl FilterShape {
    /// The filters of a model.
    pub(crate) fn filters(&self, model: &WaveletModel) -> Filters {
        Filters::new(
            (0..model.qualities)
                .zip(&self.each)
                .map(|(quality, (limit, weights))| Filter {
                    limit: (limit * step(model, quality))
                        .round()
                        .clamp(1.0, 16_777_216.0) as u32,
                    weights: *weights,
                }),
        )
    }
}

/// Step of a quality in working units.
fn step(model: &WaveletModel, quality: u8) -> f64 {
    let coarser = f64::from(model.qualities) - 1.0 - f64::from(quality);
    model.step_q16 as f64 / 65_536.0 * (2.0 * coarser).exp2()
}

/// What encoding a sample came to.
pub(super) struct Tried {
    pub(super) places: Vec<[u64; 3]>,
    /// In units of `q`.
    pub(super) step: f64,
    /// Bytes of payload, and squared error in the square of `q`, of all of them.
    pub(super) bytes: f64,
    pub(super) sse: f64,
    pub(super) voxels: f64,
    /// Share of the volume's blocks.
    pub(super) share: f64,
}

/// What a choice found.
#[derive(Default)]
pub(super) struct FilterChoice {
    /// `None` if filters save too little.
    pub(super) shape: Option<FilterShape>,
    /// The sample, with these filters.
    pub(super) tried: Option<Tried>,
}

/// The filters of a volume, for a target that ends at about `step`.
pub(super) fn choose(job: &Job<'_>, step: f64) -> Result<FilterChoice> {
    let options = job.options;
    let unsuited = options.target.binds_every_voxel();
    if unsuited || options.preset == Preset::Fast || options.model == ModelChoice::Hashgrid {
        return Ok(FilterChoice::default());
    }
    // Values, aims and what each quality decodes to are kept, 4 bytes each.
    let room = options.memory / 8 / (8 + 4 * u64::from(options.levels));
    let most = (VOXELS.min(room) >> (3 * job.block_log2)).max(1);
    let wanted = (job.block_count() / SHARE).max(LEAST).min(most);
    let found = job.sample_values(wanted)?;
    let (steps, range) = (layer_steps(job.levels()), |lo, hi| job.range(lo, hi));
    let models = job.models(step);
    let plan = BlockPlan {
        grid: GridPlan::NONE,
        ..job.block_plan(&models, 0, &steps, &range, false)
    };
    let sample = FilterSample {
        plan,
        blocks: &found.blocks,
    };
    let fitted = job.pool.install(|| sample.choose(found.share))?;
    Ok(FilterChoice {
        shape: fitted.shape,
        tried: Some(Tried {
            step,
            bytes: fitted.bytes,
            sse: fitted.sse,
            voxels: found.blocks.iter().map(|b| b.1.len() as f64).sum(),
            share: found.share,
            places: found.places,
        }),
    })
}

/// What filters are fitted on.
pub(crate) struct FilterSample<'a> {
    pub(crate) plan: BlockPlan<'a>,
    pub(crate) blocks: &'a [SampleBlock],
}

/// Filters of a sample, and what it comes to with them.
pub(crate) struct Fitted {
    pub(crate) shape: Option<FilterShape>,
    bytes: f64,
    sse: f64,
}

/// What the decoder makes of a block, and what it should be.
struct Decoded {
    shape: BlockShape,
    bytes: usize,
    wide: bool,
    /// Within the ends of the block, for each quality.
    working: Vec<Vec<i32>>,
    aims: Vec<f32>,
}

impl FilterSample<'_> {
    /// The filters, if they save more than they take in a file of which the sample is `share`.
    pub(crate) fn choose(&self, share: f64) -> Result<Fitted> {
        let each = |scratch: &mut EncodeScratch, block: &SampleBlock| self.decode(block, scratch);
        let all: Vec<(f64, Option<Decoded>)> = (self.blocks.par_iter())
            .map_init(EncodeScratch::default, each)
            .collect::<Result<_>>()?;
        let sse: f64 = all.iter().map(|(sse, _)| sse).sum();
        let decoded: Vec<Decoded> = all.into_iter().filter_map(|(_, d)| d).collect();
        let bytes: usize = decoded.iter().map(|d| d.bytes).sum();
        let (shape, gain) = self.fit(&decoded, share);
        Ok(Fitted {
            shape,
            bytes: bytes as f64,
            sse: sse * (-gain / 10.0 * std::f64::consts::LN_10).exp(),
        })
    }

    /// The filters and the decibels that they gain.
    fn fit(&self, decoded: &[Decoded], share: f64) -> (Option<FilterShape>, f64) {
        let main = self.plan.model;
        let usual = |d: &&Decoded| d.wide == (self.plan.model == self.plan.wide);
        let twin = decoded.iter().any(|d| !usual(&d));
        let decoded: Vec<&Decoded> = decoded.iter().filter(usual).collect();
        let mut found = FilterShape {
            each: [(1.0, Filter::NONE.weights); 8],
            twin,
        };
        let mut gain = 0.0;
        for quality in 0..main.qualities {
            let limit = LIMIT * rms(&decoded, quality);
            let equations = Equations::of(&decoded, quality, limit);
            let weights = equations.solve(spared(self.plan.preset));
            gain = equations.gain(&weights);
            found.each[usize::from(quality)] = (limit / step(&main, quality), weights);
        }
        let bytes: usize = decoded.iter().map(|d| d.bytes).sum();
        let saved = gain * WORTH * bytes as f64 / share;
        let records = 1 + usize::from(twin);
        let cost = records * Filter::BYTES * usize::from(main.qualities);
        if saved > 2.0 * cost as f64 {
            (Some(found), gain)
        } else {
            (None, 0.0)
        }
    }

    /// Squared error before a filter, and what is decoded: nothing of a constant block.
    fn decode(
        &self,
        (shape, values): &SampleBlock,
        scratch: &mut EncodeScratch,
    ) -> Result<(f64, Option<Decoded>)> {
        let (encoded, errors) = encode_block(&self.plan, *shape, values, &[], scratch)?;
        let sse = errors.last().map_or(0.0, |e| e.sse);
        let EncodedBlock::Payload {
            model: ModelUse::Wavelet { wide },
            range,
            layers,
        } = encoded
        else {
            return Ok((sse, None));
        };
        let wide = wide || self.plan.model == self.plan.wide;
        let model = if wide {
            &self.plan.wide
        } else {
            &self.plan.model
        };
        let Ends(low, high) = Ends::new(model, range);
        let held = |w: i32| i64::from(w).clamp(low, high) as i32;
        let working = (0..model.qualities).map(|quality| {
            let mut working = scratch.unfiltered(&self.plan.cpu, model, quality, (*shape, range));
            working.iter_mut().for_each(|w| *w = held(*w));
            working
        });
        let working = working.collect();
        let positions = Positions::straight(model, range);
        let decoded = Decoded {
            shape: *shape,
            bytes: layers.iter().map(Vec::len).sum(),
            wide,
            working,
            aims: values.iter().map(|&v| positions.of(v)).collect(),
        };
        Ok((sse, Some(decoded)))
    }
}

/// RMS error before a filter.
fn rms(blocks: &[&Decoded], quality: u8) -> f64 {
    let error = |(&w, &aim): (&i32, &f32)| (f64::from(aim) - f64::from(w)).powi(2);
    let of_block = |b: &&Decoded| -> f64 {
        let working = &b.working[usize::from(quality)];
        working.iter().zip(&b.aims).map(error).sum()
    };
    let voxels: usize = blocks.iter().map(|b| b.aims.len()).sum();
    (blocks.iter().map(of_block).sum::<f64>() / voxels.max(1) as f64).sqrt()
}

/// Normal equations of the weights.
struct Equations {
    products: Vec<[f64; TAPS]>,
    with_error: [f64; TAPS],
    error: f64,
}

impl Equations {
    fn of(blocks: &[&Decoded], quality: u8, limit: f64) -> Self {
        let each: Vec<Self> = (blocks.par_iter())
            .map(|b| Self::of_block(b, quality, limit as f32))
            .collect();
        let mut all = Self::zero();
        each.iter().for_each(|e| all.add(e));
        all
    }

    fn zero() -> Self {
        Self {
            products: vec![[0.0; TAPS]; TAPS],
            with_error: [0.0; TAPS],
            error: 0.0,
        }
    }

    fn add(&mut self, other: &Self) {
        let products = other.products.as_flattened();
        let sums = self.products.as_flattened_mut();
        sums.iter_mut().zip(products).for_each(|(s, p)| *s += p);
        let with_error = self.with_error.iter_mut().zip(&other.with_error);
        with_error.for_each(|(s, p)| *s += p);
        self.error += other.error;
    }

    fn of_block(block: &Decoded, quality: u8, limit: f32) -> Self {
        let mut sums = Self::zero();
        let working = &block.working[usize::from(quality)];
        for place in (0..working.len()).step_by(EVERY) {
            let error = block.aims[place] - working[place] as f32;
            let taps = taps(working, block.shape.dims, place, limit);
            for (i, &a) in taps.iter().enumerate() {
                for (sum, &b) in sums.products[i][..=i].iter_mut().zip(&taps) {
                    *sum += f64::from(a * b);
                }
                sums.with_error[i] += f64::from(a * error);
            }
            sums.error += f64::from(error * error);
        }
        sums
    }

    /// Weights in 1/128. Taps of least use are left out as long as the squared error grows by no more
    /// than `spared` of it: a tap costs time wherever the volume is decoded.
    fn solve(&self, spared: f64) -> Weights {
        let mut used = vec![true; TAPS];
        let (mut x, mut uses) = self.solve_for(&used, &self.with_error);
        let gains = x.iter().zip(&self.with_error).map(|(x, e)| x * e);
        let mut left = spared * (self.error - gains.sum::<f64>());
        loop {
            let candidates = (0..TAPS).filter(|&i| used[i]);
            let Some(least) = candidates.min_by(|&a, &b| uses[a].total_cmp(&uses[b])) else {
                break;
            };
            left -= uses[least];
            if left < 0.0 {
                break;
            }
            used[least] = false;
            (x, uses) = self.solve_for(&used, &self.with_error);
        }
        self.rounded(used, x)
    }

    /// Weights of the taps in use, rounded one after the other, those first that count most: what is
    /// lost each time is left to the others to make up for.
    fn rounded(&self, mut used: Vec<bool>, mut x: [f64; TAPS]) -> Weights {
        let unit = f64::from(1 << WEIGHT_BITS);
        let mut weights = Filter::NONE.weights;
        let mut with_error = self.with_error;
        let mut order: Vec<usize> = (0..TAPS).filter(|&i| used[i]).collect();
        order.sort_by(|&a, &b| self.products[b][b].total_cmp(&self.products[a][a]));
        for i in order {
            let weight = (x[i] * unit).round().clamp(-127.0, 127.0);
            weights.as_flattened_mut().as_flattened_mut()[i] = weight as i8;
            for (j, e) in with_error.iter_mut().enumerate() {
                *e -= weight / unit * self.products[i.max(j)][i.min(j)];
            }
            used[i] = false;
            x = self.solve_for(&used, &with_error).0;
        }
        weights
    }

    /// Weights of the taps in use, 0 for others, and how much the squared error grows if one of them
    /// is left out too.
    fn solve_for(&self, used: &[bool], with_error: &[f64; TAPS]) -> ([f64; TAPS], [f64; TAPS]) {
        let active: Vec<usize> = (0..TAPS).filter(|&i| used[i]).collect();
        let entry = |i: usize, j: usize| self.products[active[i.max(j)]][active[i.min(j)]];
        let inverse = inverse(active.len(), |i, j| {
            let damping = if i == j {
                1e-4 * entry(i, i) + 1e-6
            } else {
                0.0
            };
            entry(i, j) + damping
        });
        let (mut x, mut uses) = ([0.0; TAPS], [0.0; TAPS]);
        for (at, (row, &i)) in inverse.iter().zip(&active).enumerate() {
            x[i] = row
                .iter()
                .zip(&active)
                .map(|(v, &j)| v * with_error[j])
                .sum();
            uses[i] = x[i] * x[i] / row[at].max(1e-30);
        }
        (x, uses)
    }

    /// Decibels that weights gain.
    fn gain(&self, weights: &Weights) -> f64 {
        let unit = f64::from(1 << WEIGHT_BITS);
        let weights = weights.as_flattened().as_flattened();
        let x: Vec<f64> = weights.iter().map(|&w| f64::from(w) / unit).collect();
        let mut after = self.error;
        for i in 0..TAPS {
            after -= 2.0 * x[i] * self.with_error[i] - self.products[i][i] * x[i] * x[i];
            for j in 0..i {
                after += 2.0 * self.products[i][j] * x[i] * x[j];
            }
        }
        10.0 * (self.error.max(1e-9) / after.max(1e-9)).log10()
    }
}

/// Inverse of a symmetric positive definite matrix, by Gauss and Jordan.
fn inverse(n: usize, entry: impl Fn(usize, usize) -> f64) -> Vec<Vec<f64>> {
    let unit = |i: usize| (0..n).map(move |j| f64::from(u8::from(i == j)));
    let row = |i: usize| (0..n).map(|j| entry(i, j)).chain(unit(i)).collect();
    let mut rows: Vec<Vec<f64>> = (0..n).map(row).collect();
    for pivot in 0..n {
        let scale = 1.0 / rows[pivot][pivot].max(1e-9);
        rows[pivot].iter_mut().for_each(|v| *v *= scale);
        let from = rows[pivot].clone();
        for (_, row) in rows.iter_mut().enumerate().filter(|(i, _)| *i != pivot) {
            let factor = row[pivot];
            row.iter_mut()
                .zip(&from)
                .for_each(|(v, f)| *v -= factor * f);
        }
    }
    rows.iter().map(|row| row[n..].to_vec()).collect()
}

/// Sums of the differences of a voxel to opposite neighbours, held within each limit.
fn taps(working: &[i32], [nx, ny, nz]: [usize; 3], place: usize, limit: f32) -> [f32; TAPS] {
    let at = [place % nx, place / nx % ny, place / nx / ny];
    let (extent, stride) = ([nx, ny, nz], [1, nx, nx * ny]);
    let mut taps = [0.0; TAPS];
    let here = working[place] as f32;
    for axis in 0..3 {
        for d in 1..=REACH {
            let ahead = place + (extent[axis] - 1 - at[axis]).min(d) * stride[axis];
            let behind = place - at[axis].min(d) * stride[axis];
            let (a, b) = (working[ahead] as f32 - here, working[behind] as f32 - here);
            let start = (axis * REACH + d - 1) * LIMITS.len();
            for (tap, l) in taps[start..].iter_mut().zip(LIMITS) {
                let limit = limit * l as f32;
                *tap = a.clamp(-limit, limit) + b.clamp(-limit, limit);
            }
        }
    }
    taps
}
