//! Bounds on the error of every voxel, down to none: a residual keeps them, in one encode.

use std::path::Path;

use super::super::pass::Job;
use super::super::{EncodeReport, ModelChoice};
use super::finish;
use super::patch::Patch;
use crate::Result;
use crate::model::Residual;
use crate::volume::{Extent, Region};

/// The largest step that a model record can give a residual.
const LARGEST_RESIDUAL_STEP: f64 = 16_777_216.0;
/// Octaves between the steps that [`cheapest`] tries first.
const OCTAVES: f64 = 2.0;
/// Share of the volume that all its trials together may code, and most blocks of one.
const SHARE: f64 = 0.2;
const BLOCKS: u64 = 24;
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
    let found = cheapest_way(job, size)?;
    let job = &Job {
        reversible: found.reversible,
        ..*job
    };
    let report = finish(job, found.step, path)?;
    Ok(EncodeReport {
        cost: report.cost + found.cost,
        ..report
    })
}

/// How voxels keep a bound in the fewest bytes.
struct Way {
    step: f64,
    /// By a reversible transform, not a residual.
    reversible: bool,
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
    let trials = ((most - finest) / OCTAVES).floor() + 5.0;
    let affordable = (SHARE / trials * job.block_count() as f64) as u64;
    let wanted = if few { BLOCKS } else { affordable };
    let sample = job.sample(wanted.clamp(1, BLOCKS))?;
    let mut cost = 0.0;
    let mut bytes = |job: &Job<'_>, x: f64| -> Result<u64> {
        cost += job.options.preset.rough_cost() * job.share_of(&sample) * job.voxels() / whole;
        Ok(job.measure(x.exp2(), &sample)?.layer_bytes.iter().sum())
    };
    let (least, best) = cheapest(finest, most, |x| bytes(job, x))?;
    let exact = &Job {
        reversible: true,
        ..*job
    };
    let reversible = may_reverse && bytes(exact, 0.0)? < least;
    Ok(Way {
        step: if reversible { 1.0 } else { best.exp2() },
        reversible,
        cost,
    })
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
    for by in [OCTAVES / 2.0, OCTAVES / 4.0] {
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
