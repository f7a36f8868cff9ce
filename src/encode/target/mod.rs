//! From a quality target to a step: open loop where a formula does, otherwise a search on the
//! decoder's own output.
//!
//! [`guess`] says where to start: the trained network for SSIM, else [`spectrum`], which says what a
//! step does to a volume, but for a slowly changing factor; [`fit`] learns that from a sample (with curves and
//! filters, the one that these were fitted on) and then from the encode itself, so that one encode of the
//! volume, or two, meet the target. Volumes of few blocks, which have no sample worth the name, may take more. Memory and choices do not depend on the number of threads.

mod bound;
mod fit;
mod guess;
mod patch;
mod search;
mod size;
mod spectrum;
mod ssim;
mod trial;

use std::path::Path;

use super::filter::Tried;
use super::job::Job;
use super::totals::Totals;
use super::{EncodeReport, Target};
use crate::volume::Region;
use crate::{Error, Result};
use bound::{lossless, to_bound};
pub(super) use guess::{expected_step, survey};
use guess::{first_guess, quality_exponent};
use search::closed_loop;
use size::Additive;
pub(super) use spectrum::Spectrum;
use ssim::Similar;

/// Why a quality is out of reach.
const LESS: &str = "the coder cannot keep the voxels that exactly; ask for less";
/// Why a size is out of reach.
const MORE: &str = "even the coarsest encode is larger; allow more bytes";
/// A step below which an exact residual takes fewer bytes than finer coefficients of integers.
const NEARLY_EXACT: f64 = 0.75;

/// One encode that meets `target`.
pub(super) fn encode_to(
    job: &Job<'_>,
    target: Target,
    tried: Option<&Tried>,
    path: &Path,
) -> Result<EncodeReport> {
    let bound = |e: f64| e / job.scan.values.unit();
    match target {
        Target::Quality(q) => to_quality(job, q, path),
        Target::Lossless => lossless(job, path),
        Target::MaxError(e) => to_bound(job, path, bound(e)),
        Target::MaxErrorRel(r) => to_bound(job, path, bound(r * (job.scan.max - job.scan.min))),
        Target::Psnr(_) | Target::Ratio(_) | Target::Bytes(_) | Target::Ssim(_) => {
            let spectrum = job
                .spectrum
                .ok_or_else(|| Error::argument("a search needs a survey of the volume"))?;
            to_goal(job, target, (spectrum, tried), path)
        }
    }
}

fn to_quality(job: &Job<'_>, q: f64, path: &Path) -> Result<EncodeReport> {
    let step = job.span() * (-quality_exponent(q)).exp2();
    if step < NEARLY_EXACT && !job.source.dtype().is_float() {
        return lossless(job, path);
    }
    finish(job, step, path)
}

/// Searches. Integers that no step brings near enough come back exactly.
fn to_goal(
    job: &Job<'_>,
    target: Target,
    (spectrum, tried): (&Spectrum, Option<&Tried>),
    path: &Path,
) -> Result<EncodeReport> {
    let start = first_guess(job, target);
    let to_bytes = |bytes| {
        let goal = &mut Additive::bytes(job, spectrum, bytes).having(tried);
        closed_loop(job, path, goal, start)?.ok_or_else(|| unreachable(MORE))
    };
    let found = match target {
        Target::Ratio(r) => return to_bytes(job.raw_bytes() / r),
        Target::Bytes(n) => return to_bytes(n as f64),
        Target::Psnr(db) => {
            let goal = &mut Additive::psnr(job, spectrum, db).having(tried);
            closed_loop(job, path, goal, start)?
        }
        Target::Ssim(s) => closed_loop(job, path, &mut Similar::new(job, spectrum, s), start)?,
        _ => None,
    };
    match found {
        Some(report) => Ok(report),
        None if job.source.dtype().is_float() => Err(unreachable(LESS)),
        None => lossless(job, path),
    }
}

fn unreachable(what: &str) -> Error {
    Error::Target(what.into())
}

fn finish(job: &Job<'_>, step: f64, path: &Path) -> Result<EncodeReport> {
    let (totals, bytes) = job.write(step, path, path, job.options.force)?;
    Ok(job.report(&totals, bytes))
}

impl Job<'_> {
    fn voxels(&self) -> f64 {
        Region::whole(self.source.extent()).voxels() as f64
    }

    fn raw_bytes(&self) -> f64 {
        self.voxels() * self.source.dtype().size() as f64
    }

    /// The report of one encode.
    fn report(&self, totals: &Totals, bytes: u64) -> EncodeReport {
        EncodeReport {
            file_bytes: bytes,
            ratio: self.raw_bytes() / bytes as f64,
            bits_per_voxel: bytes as f64 * 8.0 / self.voxels(),
            psnr: self.psnr(totals, totals.errors.len() - 1),
            max_abs_error: totals.last().max * self.scan.values.unit(),
            passes: 1,
            cost: self.spent + 1.0,
            backend: (self.device).map_or_else(
                || crate::backend::Backend::name(&self.cpu),
                super::device::BatchEncoder::name,
            ),
        }
    }
}
