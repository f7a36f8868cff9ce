//! The step that an encode starts from, before any voxel is coded.

use super::super::pass::Job;
use super::spectrum::Spectrum;
use super::{Target, size, ssim};
use crate::Result;

/// Most blocks whose coefficients are looked at, and fewest.
const MOST_BLOCKS: u64 = 1024;
const FEWEST_BLOCKS: u64 = 64;
/// Of this many blocks, one is looked at.
const SHARE: u64 = 8;
/// What looking at a voxel costs, relative to coding it.
const COST: f64 = 0.1;

/// log2 of a step below which every integer comes back as it was.
const EXACT: f64 = -3.0;
/// log2 of range / step beyond which the indices of a layer leave the exact integers of float32.
const DEEPEST: f64 = 20.0;
/// log2 of step / range from which on nothing is left of a block but its mean.
const COARSEST: f64 = 4.0;

/// log2(range / step) of `--quality`: 0.5 at 0, 6.5 at 60, 16.5 at 100.
pub(super) fn quality_exponent(q: f64) -> f64 {
    0.5 + q.min(60.0) / 10.0 + (q - 60.0).max(0.0) / 4.0
}

/// log2 of the step, in units of `q`, that a target will about end at.
pub(super) fn first_guess(job: &Job<'_>, target: Target) -> f64 {
    let span = job.span().log2();
    let modelled = |spectrum| match target {
        Target::Psnr(db) => Some(size::guess_psnr(job, spectrum, db)),
        Target::Ratio(r) => Some(size::guess_bytes(job, spectrum, job.raw_bytes() / r)),
        Target::Bytes(n) => Some(size::guess_bytes(job, spectrum, n as f64)),
        Target::Ssim(wanted) => Some(ssim::guess(job, spectrum, wanted)),
        _ => None,
    };
    match (target, job.spectrum.and_then(modelled)) {
        (_, Some(x)) => x,
        (Target::Quality(q), _) => span - quality_exponent(q),
        _ => span - 4.5,
    }
}

/// About the step that a target will end at, for choices that are made before.
pub(in super::super) fn expected_step(job: &Job<'_>, target: Target) -> f64 {
    let span = job.span();
    let octaves = first_guess(job, target) - span.log2();
    span * octaves.clamp(-9.0, -2.5).exp2()
}

/// What [`first_guess`] works with, where the target needs a search.
pub(in super::super) fn survey(job: &Job<'_>, target: Target) -> Result<Option<Spectrum>> {
    if !matches!(
        target,
        Target::Psnr(_) | Target::Ratio(_) | Target::Bytes(_) | Target::Ssim(_)
    ) {
        return Ok(None);
    }
    let blocks = job.block_count();
    let wanted = (blocks / SHARE).clamp(FEWEST_BLOCKS, MOST_BLOCKS);
    Ok(Some(Spectrum::of(job, &job.sample(wanted)?)?))
}

impl Job<'_> {
    /// Range of values in units of `q`, or of ranks where those are coded; 1 or more.
    pub(super) fn span(&self) -> f64 {
        if let Some(ranks) = self.ranks() {
            return (ranks.count() as f64 - 1.0).max(1.0);
        }
        (f64::from(self.scan.q_max) - f64::from(self.scan.q_min)).max(1.0)
    }

    /// log2 of the smallest and largest step that a search may try.
    pub(super) fn limits(&self) -> (f64, f64) {
        let span = self.span().log2();
        let finest = EXACT.max(span - DEEPEST);
        (finest, (span + COARSEST).max(finest))
    }

    /// Cost of [`survey`] in encodes of the volume.
    pub(super) fn survey_cost(&self) -> f64 {
        let looked_at = self.spectrum.map_or(0.0, |s| s.outcome(0.0).voxels());
        COST * looked_at / self.voxels()
    }
}
