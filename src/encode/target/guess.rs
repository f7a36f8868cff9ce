//! The step that an encode starts from, before any voxel is coded.

use super::super::FirstGuess;
use super::super::job::Job;
use super::spectrum::Spectrum;
use super::{Target, size, ssim};
use crate::Result;
use crate::analyze::{AnalyzeOptions, LODS, analyze, analyze_on};
use crate::predict::predict;

/// Most blocks whose coefficients are looked at, and fewest.
const MOST_BLOCKS: u64 = 1024;
const FEWEST_BLOCKS: u64 = 64;
/// Of this many blocks, one is looked at.
const SHARE: u64 = 8;
/// What looking at a voxel costs, relative to coding it.
pub(super) const COST: f64 = 0.1;
/// Voxels of a patch of the analysis, of how many patches one is analyzed, and fewest and most patches.
const PATCH: f64 = 262_144.0;
const PATCH_SHARE: f64 = 16.0;
const FEWEST_PATCHES: f64 = 4.0;
const MOST_PATCHES: f64 = 64.0;
/// What a prediction may cost, in encodes of the volume: in small ones, the survey is enough.
const DEAREST: f64 = 0.1;
/// The smallest exponent in what the network was trained on: under it, the survey is the better guess.
const COARSEST_TRAINED: f64 = 1.5;
/// How much finer than predicted a search starts, in octaves: to miss a target costs another encode, to
/// meet it by a little too much does not.
const FINER: f64 = 0.1;

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
    let predicted = job.predicted;
    match (
        target,
        predicted.or_else(|| job.spectrum.and_then(modelled)),
    ) {
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

/// What [`first_guess`] works with; nothing where a target needs no search.
#[derive(Default)]
pub(in super::super) struct Survey {
    pub(in super::super) spectrum: Option<Spectrum>,
    /// log2(step) by the trained network.
    pub(in super::super) predicted: Option<f64>,
    /// In encodes of the volume.
    pub(in super::super) cost: f64,
}

/// Looks at a part of the volume, where the target needs a search.
pub(in super::super) fn survey(job: &Job<'_>, target: Target) -> Result<Survey> {
    if !matches!(
        target,
        Target::Psnr(_) | Target::Ratio(_) | Target::Bytes(_) | Target::Ssim(_)
    ) {
        return Ok(Survey::default());
    }
    let blocks = job.block_count();
    let wanted = (blocks / SHARE).clamp(FEWEST_BLOCKS, MOST_BLOCKS);
    let sample = job.sample(wanted)?;
    let mut survey = Survey {
        spectrum: Some(Spectrum::of(job, &sample)?),
        predicted: None,
        cost: COST * job.share_of(&sample),
    };
    if let Target::Ssim(wanted) = target {
        survey.predict(job, wanted)?;
    }
    Ok(survey)
}

impl Survey {
    fn predict(&mut self, job: &Job<'_>, wanted: [f64; LODS]) -> Result<()> {
        let scan = &job.scan;
        let exponent = match job.options.first_guess {
            FirstGuess::Survey => return Ok(()),
            FirstGuess::Exponent(exponent) => exponent,
            // A volume of one value has nothing to predict.
            FirstGuess::Predicted if scan.max <= scan.min => return Ok(()),
            FirstGuess::Predicted => {
                let patches = job.voxels() / PATCH / PATCH_SHARE;
                let patches = patches.clamp(FEWEST_PATCHES, MOST_PATCHES).floor();
                let share = (patches * PATCH / job.voxels()).min(1.0);
                if share * job.options.preset.analysis_cost() > DEAREST {
                    return Ok(());
                }
                let options = AnalyzeOptions::default()
                    .with_threads(job.options.threads)
                    .with_patches(patches as u32)
                    .with_range(scan.min, scan.max);
                let analysis = match &job.options.device {
                    Some(device) => analyze_on(device, job.source, &options, job.progress)?,
                    None => analyze(job.source, &options, job.progress)?,
                };
                let share = analysis.sampled_voxels as f64 / job.voxels();
                self.cost += share * job.options.preset.analysis_cost();
                let exponent = predict(&analysis)?.exponent_for_ssim(wanted);
                if exponent < COARSEST_TRAINED {
                    return Ok(());
                }
                exponent + FINER
            }
        };
        self.predicted = Some(job.span().log2() - exponent);
        Ok(())
    }
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
}
