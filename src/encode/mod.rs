//! Encoding: from a source of voxels to a finished file.
//!
//! Mathematics (transform, quantisation, models) and bytes (the writer) meet here and in
//! [`crate::decode`] only. The encoder may search as it likes; what it promises is measured on the
//! decoder's own output.

mod block;
mod code;
mod curve;
mod device;
mod exact;
mod filter;
mod flight;
mod forward;
mod grid;
mod job;
mod masked;
mod merge;
mod options;
mod overview;
mod pass;
pub(crate) mod plan;
mod quantise;
mod ranked;
mod reduce;
mod residual;
mod sample;
mod scan;
mod search;
mod sums;
mod target;
mod totals;
pub(crate) mod train;

use std::path::Path;

pub use block::LevelError;
#[cfg(feature = "bench")]
pub(crate) use block::{BlockPlan, EncodeScratch, EncodedBlock, encode_block};
#[cfg(feature = "bench")]
pub(crate) use curve::{CurveSample, CurveShape};
#[cfg(feature = "bench")]
pub(crate) use filter::FilterSample;
#[cfg(feature = "bench")]
pub(crate) use forward::forward;
#[cfg(feature = "bench")]
pub(crate) use grid::{
    GridChoice, GridPlan, GridTraining, GridTrainingBlock, GridWanted, JointBatch, PlainSize,
    TrainedBlock, encode_plain_block, fitted_weights, grid_models, train_batch,
};
pub use merge::{merge, merge_sources};
pub use options::*;
#[cfg(feature = "bench")]
pub(crate) use quantise::quantise;
pub use reduce::reduced;
#[cfg(feature = "bench")]
pub(crate) use search::{Effort, Task};

use crate::backend::cpu::CpuBackend;
use crate::format::range::RangeCoder;
pub use crate::progress::{Progress, ProgressFn};
use crate::volume::VoxelSource;
use crate::writer::{UNFINISHED, with_suffix};
use crate::{Error, Result};

/// Encodes `source` into a new file at `path`, which appears only when it is complete.
///
/// Memory stays under `options.memory` whatever the size of the volume. The same source and
/// options give the same file for any number of threads.
///
/// # Errors
/// [`Error::InvalidArgument`] for options that make no sense, [`Error::Input`] for voxels that
/// cannot be coded, [`Error::Exists`], [`Error::Target`], [`Error::Cancelled`], [`Error::Io`].
pub fn encode(
    source: &dyn VoxelSource,
    path: &Path,
    options: &EncodeOptions,
    progress: &ProgressFn,
) -> Result<EncodeReport> {
    check(source, options)?;
    refuse_existing(path, options.force)?;
    refuse_partial(path, options.force)?;
    let pool = crate::quality::workers(options.threads)?;
    // Every bit comes back, also of what is not finite.
    let allow = options.nan_mask || options.target == Target::Lossless;
    let listed = options.may_have_ranks(source.dtype());
    let (scan, ranks) = scan::scan(source, (allow, listed), &pool, progress)?;
    let device = (options.device.as_ref()).map(device::BatchEncoder::new);
    let device = device.transpose()?;
    let mut job = job::Job {
        source,
        options,
        scan,
        coder: RangeCoder::new(scan.q_min, scan.q_max)?,
        cpu: CpuBackend::new(),
        device: device.as_ref(),
        pool: &pool,
        progress,
        block_log2: options.block.ilog2(),
        residual: crate::model::Residual::None,
        entropy: plan::coder(options.preset),
        reversible: plan::Reversible::Never,
        rough: false,
        curve: None,
        filter: None,
        spectrum: None,
        few_values: ranks.as_ref(),
        ranked: false,
        predicted: None,
        spent: 0.0,
    };
    let survey = target::survey(&job, options.target)?;
    job.spectrum = survey.spectrum.as_ref();
    job.predicted = survey.predicted;
    let step = target::expected_step(&job, options.target);
    let (curve, cost) = curve::choose(&job, step)?;
    job.curve = curve;
    let filter = filter::choose(&job, step)?;
    job.filter = filter.shape;
    let tried = filter.tried;
    job.spent = survey.cost + cost + tried.as_ref().map_or(0.0, |t| t.share);
    target::encode_to(&job, options.target, tried.as_ref(), path)
}

fn check(source: &dyn VoxelSource, options: &EncodeOptions) -> Result<()> {
    let bad = |message: String| Err(Error::InvalidArgument(message));
    if source.extent().contains(&0) {
        return Err(Error::Input(format!(
            "the volume has an empty axis: {:?} voxels",
            source.extent()
        )));
    }
    if !(1..=8).contains(&options.levels) {
        return bad(format!(
            "{} quality levels, 1..=8 are possible",
            options.levels
        ));
    }
    if ![32, 64, 128].contains(&options.block) {
        return bad(format!(
            "blocks of {} voxels; 32, 64 or 128 are possible",
            options.block
        ));
    }
    if !(4..=22).contains(&options.table_log2) {
        return bad(format!(
            "hash tables of 2^{} entries, 2^4 to 2^22 are possible",
            options.table_log2
        ));
    }
    if options.shard.is_some_and(|(i, n)| i >= n) {
        return bad("shard I/N needs I under N".into());
    }
    if options.shard.is_some() && !matches!(options.target, Target::Quality(_)) {
        return bad(
            "shards need --quality: a search would end at another step in each of them".into(),
        );
    }
    check_target(options.target)
}

fn check_target(target: Target) -> Result<()> {
    let fits = match target {
        Target::Quality(q) => (0.0..=100.0).contains(&q),
        Target::Psnr(v) | Target::Ratio(v) | Target::MaxError(v) | Target::MaxErrorRel(v) => {
            v > 0.0 && v.is_finite()
        }
        Target::Ssim(s) => s.iter().all(|v| (0.0..=1.0).contains(v)),
        Target::Bytes(n) => n > 0,
        Target::Lossless => true,
    };
    if fits {
        Ok(())
    } else {
        Err(Error::InvalidArgument(format!(
            "the target {target:?} is out of range"
        )))
    }
}

/// Fails if an earlier write of `path` was not finished, before a trial of this one replaces it.
fn refuse_partial(path: &Path, force: bool) -> Result<()> {
    let partial = with_suffix(path, ".partial");
    if !force && partial.exists() {
        return Err(Error::Exists {
            path: partial,
            hint: UNFINISHED,
        });
    }
    Ok(())
}

/// Fails if `path` exists and may not be replaced, before any work is done.
pub(crate) fn refuse_existing(path: &Path, force: bool) -> Result<()> {
    if !force && path.exists() {
        return Err(Error::Exists {
            path: path.to_path_buf(),
            hint: "use --force to replace it",
        });
    }
    Ok(())
}
