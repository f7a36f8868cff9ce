//! Bounds on the error of every voxel, down to none: a residual keeps them, in one encode.

use std::path::Path;

use super::super::job::Job;
use super::super::plan::Reversible;
use super::super::{EncodeReport, ModelChoice};
use super::finish;
use super::patch::Patch;
use crate::Result;
use crate::model::{Coder, Ranks, Residual};
use crate::volume::{Extent, Region};

/// The largest step that a model record can give a residual.
const LARGEST_RESIDUAL_STEP: f64 = 16_777_216.0;
/// Octaves between the steps that [`cheapest`] tries first.
const OCTAVES: f64 = 2.0;
/// Share of the volume that all its trials together may code, and most blocks of one.
const SHARE: f64 = 0.2;
const BLOCKS: u64 = 24;
/// Share of the bytes without ranks that a volume may take with them, list included: estimates differ.
const RANKS_PAY: f64 = 0.97;
/// Under this share of the bytes of the other, a way is the better one for all blocks, not only for the sample.
const CLEAR: f64 = 0.95;
/// A volume of fewer blocks is tried in its middle third only, of at least so many voxels a side.
const FEW: u64 = 27;
const LEAST_SIDE: u64 = 16;

/// No voxel is off by more than `bound`, in units of `q`: a residual sees to that. A bound that leaves
/// no room is lossless.
pub(super) fn to_bound(job: &Job<'_>, path: &Path, bound: f64) -> Result<EncodeReport> {
    let step = if job.source.dtype().is_float() {
        // Rounding in the bound must not let a voxel out.
        (2.0 * bound * (1.0 - 1e-12)).floor()
    } else if bound < 1.0 {
        0.0
    } else {
        2.0 * bound.floor() + 1.0
    };
    if step < 1.0 {
        return lossless(job, path);
    }
    let step = step.min(LARGEST_RESIDUAL_STEP);
    with_residual(job, Residual::Step(step as u32), step, path)
}

pub(super) fn lossless(job: &Job<'_>, path: &Path) -> Result<EncodeReport> {
    let residual = if job.source.dtype().is_float() {
        Residual::FloatBits
    } else {
        Residual::Step(1)
    };
    with_residual(job, residual, 1.0, path)
}

/// One encode whose residual keeps the bound, whatever the step under it.
fn with_residual(
    job: &Job<'_>,
    residual: Residual,
    size: f64,
    path: &Path,
) -> Result<EncodeReport> {
    let job = &Job {
        residual,
        curve: None,
        filter: None,
        ..*job
    };
    let plain = cheapest_way(job, size)?;
    let found = match job.few_values.filter(|_| residual.is_exact()) {
        Some(ranks) => cheaper_with_ranks(job, ranks, plain)?,
        None => plain,
    };
    let job = &Job {
        residual: if found.ranked {
            Residual::Step(1)
        } else {
            residual
        },
        ranked: found.ranked,
        reversible: found.reversible,
        entropy: found.entropy,
        ..*job
    };
    let report = finish(job, found.step, path)?;
    Ok(EncodeReport {
        cost: report.cost + found.cost,
        ..report
    })
}

/// The best way with ranks if that is clearly better than `plain`, else `plain`.
fn cheaper_with_ranks(job: &Job<'_>, ranks: &Ranks, plain: Way) -> Result<Way> {
    let list = ranks.to_bytes().len() as f64;
    if list >= plain.bytes {
        return Ok(plain);
    }
    let job = &Job {
        residual: Residual::Step(1),
        ranked: true,
        ..*job
    };
    let ranked = cheapest_way(job, 1.0)?;
    let pays = ranked.bytes + list < RANKS_PAY * plain.bytes;
    Ok(Way {
        cost: plain.cost + ranked.cost,
        ..if pays { ranked } else { plain }
    })
}

/// How voxels keep a bound in the fewest bytes.
#[derive(Clone, Copy)]
struct Way {
    step: f64,
    ranked: bool,
    /// By a reversible transform, not a residual alone.
    reversible: Reversible,
    entropy: Coder,
    /// Bytes of blocks that the whole volume will take, about.
    bytes: f64,
    /// What finding it cost, in encodes of the volume.
    cost: f64,
}

/// The step under a residual of steps of `size` that makes a sample smallest, or a reversible transform
/// if that is smaller still. Wavelets stand for grids, and indices as they are for those of a search:
/// the others take far longer and end at much the same step.
fn cheapest_way(job: &Job<'_>, size: f64) -> Result<Way> {
    // Grids have no reversible transform.
    let may_reverse =
        job.residual == Residual::Step(1) && job.options.model != ModelChoice::Hashgrid;
    let options = job.options.clone().with_model(ModelChoice::Dense);
    let whole = job.voxels();
    let middle = Patch {
        inner: job.source,
        region: middle(job.source.extent()),
    };
    let few = job.block_count() < FEW;
    let job = &Job {
        options: &options,
        source: if few { &middle } else { job.source },
        rough: true,
        ..*job
    };
    let span = job.span() + 2.0;
    let finest = (0.75 * size).log2().max(job.limits().0);
    let most = span.log2().max(finest);
    let trials = ((most - finest) / OCTAVES).floor() + 7.0;
    let affordable = (SHARE / trials * job.block_count() as f64) as u64;
    let wanted = if few { BLOCKS } else { affordable };
    let sample = job.sample(wanted.clamp(1, BLOCKS))?;
    let share = job.share_of(&sample) * job.voxels() / whole;
    let mut cost = 0.0;
    let mut bytes = |job: &Job<'_>, x: f64| -> Result<u64> {
        cost += job.options.preset.rough_cost() * share;
        Ok(job.measure(x.exp2(), &sample)?.layer_bytes.iter().sum())
    };
    let (least, best) = cheapest(finest, most, |x| bytes(job, x))?;
    let exact = &Job {
        reversible: Reversible::Always,
        ..*job
    };
    let reversed = if may_reverse {
        bytes(exact, 0.0)?
    } else {
        u64::MAX
    };
    let reversible = choice(least, reversed);
    let mut least = least.min(reversed);
    let step = match reversible {
        Reversible::Always => 1.0,
        Reversible::Cheaper | Reversible::Never => best.exp2(),
    };
    let mut entropy = job.entropy;
    if entropy != Coder::R {
        let coded_by = |entropy| Job {
            entropy,
            reversible,
            ..*job
        };
        if reversible == Reversible::Cheaper {
            least = bytes(&coded_by(entropy), step.log2())?;
        }
        // Coefficients that are mostly noise teach a coder nothing.
        let other = bytes(&coded_by(Coder::R), step.log2())?;
        if other < least {
            (least, entropy) = (other, Coder::R);
        }
    }
    Ok(Way {
        step,
        ranked: job.ranked,
        entropy,
        bytes: least as f64 / share,
        reversible,
        cost,
    })
}

/// What to do about a reversible transform whose bytes are `reversed`, against `stepped`.
fn choice(stepped: u64, reversed: u64) -> Reversible {
    let (stepped, reversed) = (stepped as f64, reversed as f64);
    if reversed < CLEAR * stepped {
        Reversible::Always
    } else if stepped < CLEAR * reversed {
        Reversible::Never
    } else {
        Reversible::Cheaper
    }
}

/// The middle third along each axis.
fn middle(extent: Extent) -> Region {
    let side = extent.map(|n| (n / 3).max(LEAST_SIDE).min(n));
    let start = [0, 1, 2].map(|a| (extent[a] - side[a]) / 2);
    Region {
        start,
        end: [0, 1, 2].map(|a| start[a] + side[a]),
    }
}

/// The fewest `bytes` from `finest` to `most`, and where: looked for coarsely, then finely.
fn cheapest(
    finest: f64,
    most: f64,
    mut bytes: impl FnMut(f64) -> Result<u64>,
) -> Result<(u64, f64)> {
    let mut best = (bytes(finest)?, finest);
    let mut x = finest;
    while x + OCTAVES <= most {
        x += OCTAVES;
        best = smaller(best, (bytes(x)?, x));
    }
    for by in [OCTAVES / 2.0, OCTAVES / 4.0, OCTAVES / 8.0] {
        for x in [best.1 - by, best.1 + by] {
            if (finest..=most).contains(&x) {
                best = smaller(best, (bytes(x)?, x));
            }
        }
    }
    Ok(best)
}

/// The one of fewer bytes; the first of equals.
fn smaller(a: (u64, f64), b: (u64, f64)) -> (u64, f64) {
    if b.0 < a.0 { b } else { a }
}
