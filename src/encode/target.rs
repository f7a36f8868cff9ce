//! From a quality target to a step: open loop where a formula does, otherwise a search on the
//! decoder's own output.

use std::path::Path;

use super::pass::Job;
use super::totals::Totals;
use super::{EncodeReport, ModelChoice, Target};
use crate::model::Residual;
use crate::quality::{CompareOptions, compare};
use crate::volume::Region;
use crate::writer::with_suffix;
use crate::{Error, Result, Volume};

/// Blocks that a search codes at most; the whole volume is measured at the end in any case.
const SAMPLE_BLOCKS: u64 = 512;
/// Passes over the whole volume until a target that a sample promised is met.
const FULL_PASSES: u32 = 6;

/// Why a quality is out of reach.
const LESS: &str = "the coder cannot keep the voxels that exactly; ask for less";
/// log2 of a step below which every integer comes back as it was.
const EXACT: f64 = -3.0;
/// A step below which an exact residual takes fewer bytes than finer coefficients of integers.
const NEARLY_EXACT: f64 = 0.75;
/// The largest step that a model record can give a residual.
const LARGEST_RESIDUAL_STEP: f64 = 16_777_216.0;
/// log2 of range / step beyond which the indices of a layer leave the exact integers of float32.
const DEEPEST: f64 = 20.0;

/// One encode that meets `target`.
pub(crate) fn encode_to(job: &Job<'_>, target: Target, path: &Path) -> Result<EncodeReport> {
    let span = (f64::from(job.scan.q_max) - f64::from(job.scan.q_min)).max(1.0);
    match target {
        Target::Quality(q) => {
            let step = span * (-quality_exponent(q)).exp2();
            if step < NEARLY_EXACT && !job.source.dtype().is_float() {
                return lossless(job, path);
            }
            finish(job, step, path, 1)
        }
        Target::Lossless => lossless(job, path),
        Target::Psnr(db) => {
            let wanted = Goal {
                aim: 0.12,
                tolerance: 0.3,
                slope: -4.8,
                start: (span * (0.5 - (db - 8.0) / 5.5).exp2()).log2(),
                of_bytes: false,
            };
            let gap = |t: &Totals, _: u64| {
                job.psnr(t, t.errors.len() - 1)
                    .map_or(f64::INFINITY, |p| p - db)
            };
            closed_loop(job, path, &wanted, &gap, LESS)
        }
        Target::Ratio(r) => {
            let raw = Region::whole(job.source.extent()).voxels() as f64
                * job.source.dtype().size() as f64;
            to_bytes(job, path, raw / r)
        }
        Target::Bytes(n) => to_bytes(job, path, n as f64),
        Target::MaxError(e) => to_bound(job, path, e / job.scan.values.unit()),
        Target::MaxErrorRel(r) => to_bound(
            job,
            path,
            r * (job.scan.max - job.scan.min) / job.scan.values.unit(),
        ),
        Target::Ssim(wanted) => to_ssim(job, path, wanted, span),
    }
}

/// About the step that a target will end at, for choices that are made before.
pub(super) fn expected_step(job: &Job<'_>, target: Target) -> f64 {
    let span = (f64::from(job.scan.q_max) - f64::from(job.scan.q_min)).max(1.0);
    let voxels = Region::whole(job.source.extent()).voxels() as f64;
    let bytes = voxels * job.source.dtype().size() as f64;
    let octaves = match target {
        Target::Quality(q) => -quality_exponent(q),
        Target::Psnr(db) => 0.5 - (db - 8.0) / 5.5,
        Target::Ratio(r) => job.first_step_for(bytes / r) - span.log2(),
        Target::Bytes(n) => job.first_step_for(n as f64) - span.log2(),
        _ => -4.5,
    };
    span * octaves.clamp(-9.0, -2.5).exp2()
}

/// log2(range / step) of `--quality`: 0.5 at 0, 6.5 at 60, 16.5 at 100.
fn quality_exponent(q: f64) -> f64 {
    0.5 + q.min(60.0) / 10.0 + (q - 60.0).max(0.0) / 4.0
}

fn to_bytes(job: &Job<'_>, path: &Path, bytes: f64) -> Result<EncodeReport> {
    let goal = Goal {
        aim: 0.02,
        tolerance: 0.07,
        slope: 0.9,
        start: job.first_step_for(bytes),
        of_bytes: true,
    };
    closed_loop(
        job,
        path,
        &goal,
        &|_, file| (bytes / file as f64).log2(),
        "even the coarsest encode is larger; allow more bytes",
    )
}

/// No voxel is off by more than `bound`, in units of `q`: a residual sees to that. A bound that leaves
/// no room is lossless.
fn to_bound(job: &Job<'_>, path: &Path, bound: f64) -> Result<EncodeReport> {
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

/// How a gap (0 or more = met) depends on log2(step).
struct Goal {
    /// Where in the tolerance the search aims.
    aim: f64,
    /// Gaps up to here are good enough.
    tolerance: f64,
    /// Change of the gap with log2(step), roughly.
    slope: f64,
    /// First log2(step).
    start: f64,
    /// Whether the gap is about the size of the file.
    of_bytes: bool,
}

/// Searches on a sample (or on everything, if that is small), then encodes and, if the whole
/// volume misses what the sample promised, moves and encodes again.
fn closed_loop(
    job: &Job<'_>,
    path: &Path,
    goal: &Goal,
    gap: &dyn Fn(&Totals, u64) -> f64,
    what: &str,
) -> Result<EncodeReport> {
    let sample = job.sample(SAMPLE_BLOCKS)?;
    let search = |extra: u64, passes: &mut u32| {
        let estimate = |t: &Totals| gap(t, job.file_estimate(t) + extra);
        let found = search_sample(job, &sample, goal, &estimate, passes)?;
        found.ok_or_else(|| unreachable(what))
    };
    let (mut passes, mut extra) = (0, 0);
    let mut x = search(extra, &mut passes)?;
    for _ in 0..FULL_PASSES {
        // Written beside the output: only a file that meets the target gets its name.
        let trial = Trial::new(path);
        let (totals, bytes) = job.write(x.exp2(), trial.path(), path, true)?;
        passes += 1;
        let g = gap(&totals, bytes);
        if g >= 0.0 && (g <= 2.0 * goal.tolerance || g.is_infinite() || passes > FULL_PASSES) {
            trial.keep_as(path, job.options.force)?;
            return Ok(job.report(&totals, bytes, passes));
        }
        let beyond = bytes.saturating_sub(job.file_estimate(&totals));
        if goal.of_bytes && g < 0.0 && beyond > extra {
            // In a small file what is beside the blocks counts: the slope is not that of the blocks.
            extra = beyond;
            x = search(extra, &mut passes)?;
        } else {
            x = (x + (goal.aim - g) / goal.slope).max(job.finest());
        }
    }
    Err(unreachable(what))
}

/// log2(step) at which the sample just meets the goal; `None` if it never does. Counts passes.
fn search_sample(
    job: &Job<'_>,
    sample: &[[u64; 3]],
    goal: &Goal,
    gap: &dyn Fn(&Totals) -> f64,
    passes: &mut u32,
) -> Result<Option<f64>> {
    let mut bracket = Bracket::new(goal);
    let mut x = goal.start.max(job.finest());
    for _ in 0..12 {
        let totals = job.measure(x.exp2(), sample)?;
        *passes += 1;
        if bracket.done(x, gap(&totals)) {
            break;
        }
        let mut next = bracket.next().max(job.finest());
        if next == x && bracket.best().is_none() {
            // A choice of models makes steps in the curve; one lies here.
            next = (x + 0.3 * goal.slope.signum()).max(job.finest());
        }
        if next == x {
            break;
        }
        x = next;
    }
    Ok(bracket.best())
}

fn unreachable(what: &str) -> Error {
    Error::Target(what.into())
}

/// A guarded secant search for a gap in `0..=tolerance`.
struct Bracket<'a> {
    goal: &'a Goal,
    met: Option<(f64, f64)>,
    missed: Option<(f64, f64)>,
}

impl<'a> Bracket<'a> {
    fn new(goal: &'a Goal) -> Self {
        Self {
            goal,
            met: None,
            missed: None,
        }
    }

    /// Takes a measurement; true if it is good enough or nothing is left to try.
    fn done(&mut self, x: f64, gap: f64) -> bool {
        if gap >= 0.0 {
            if self.met.is_none_or(|m| gap < m.1) {
                self.met = Some((x, gap));
            }
        } else if self.missed.is_none_or(|m| gap > m.1) {
            self.missed = Some((x, gap));
        }
        let close =
            matches!((self.met, self.missed), (Some(a), Some(b)) if (a.0 - b.0).abs() < 0.004);
        let edge = (gap >= 0.0 && x > 40.0) || (gap.is_infinite() && x < -6.0);
        (0.0..=self.goal.tolerance).contains(&gap) || close || edge
    }

    fn next(&self) -> f64 {
        match (self.met, self.missed) {
            (Some(a), Some(b)) if a.1.is_finite() => {
                let t = ((self.goal.aim - b.1) / (a.1 - b.1)).clamp(0.08, 0.92);
                b.0 + (a.0 - b.0) * t
            }
            (Some(a), Some(b)) => (a.0 + b.0) / 2.0,
            (Some(p), None) | (None, Some(p)) => {
                let gap = p.1.clamp(-40.0, 40.0);
                p.0 + ((self.goal.aim - gap) / self.goal.slope).clamp(-6.0, 6.0) * 1.1
            }
            (None, None) => self.goal.start,
        }
    }

    fn best(&self) -> Option<f64> {
        self.met.map(|m| m.0)
    }
}

/// The paper's composite target: SSIM at four levels of detail, measured on the whole decode.
fn to_ssim(job: &Job<'_>, path: &Path, wanted: [f64; 4], span: f64) -> Result<EncodeReport> {
    let goal = Goal {
        aim: 0.002,
        tolerance: 0.009,
        slope: -0.02,
        start: (span / 64.0).log2(),
        of_bytes: false,
    };
    let mut bracket = Bracket::new(&goal);
    let (mut x, mut passes) = (goal.start.max(job.finest()), 0);
    let mut last = None;
    for _ in 0..14 {
        let trial = Trial::new(path);
        let (totals, bytes) = job.write(x.exp2(), trial.path(), path, true)?;
        passes += 1;
        let gap = ssim_gap(job, trial.path(), wanted)?;
        let stop = bracket.done(x, gap);
        if gap >= 0.0 && bracket.best() == Some(x) {
            // An earlier one goes first: it has the name that this one gets.
            drop(last.take());
            last = Some((trial.set_aside(path)?, totals, bytes));
        }
        if stop {
            break;
        }
        // SSIM bends too much for a secant far from the goal: halve there.
        let next = match (bracket.met, bracket.missed) {
            (Some(a), Some(b)) => (a.0 + b.0) / 2.0,
            _ => x + if gap >= 0.0 { 1.5 } else { -1.5 },
        };
        if next < job.finest() {
            break;
        }
        x = next;
    }
    let (trial, totals, bytes) = last.ok_or_else(|| unreachable(LESS))?;
    trial.keep_as(path, job.options.force)?;
    Ok(job.report(&totals, bytes, passes))
}

/// Smallest margin over the four targets; levels that have no SSIM do not count.
fn ssim_gap(job: &Job<'_>, path: &Path, wanted: [f64; 4]) -> Result<f64> {
    let volume = Volume::open(path)?.with_threads(job.options.threads)?;
    let view = volume.view(0, volume.levels() - 1)?;
    let options = CompareOptions::default()
        .with_threads(job.options.threads)
        .with_range(job.scan.min, job.scan.max);
    let report = |done, total| {
        (job.progress)(super::Progress {
            phase: "verify",
            done,
            total,
        })
    };
    let found = compare(job.source, &view, &options, &report)?.ssim;
    let margins = found
        .iter()
        .zip(wanted)
        .filter_map(|(s, w)| s.map(|s| s - w));
    Ok(margins.fold(f64::INFINITY, f64::min))
}

fn lossless(job: &Job<'_>, path: &Path) -> Result<EncodeReport> {
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
    let (bytes, step) = cheapest_step(job, size)?;
    let reversible = &Job {
        reversible: true,
        ..*job
    };
    // Grids have no reversible transform.
    let may = residual == Residual::Step(1) && job.options.model != ModelChoice::Hashgrid;
    if may && sample_bytes(reversible, 0.0)? < bytes {
        return finish(reversible, 1.0, path, 1);
    }
    finish(job, step, path, 1)
}

/// About the bytes of a sample at log2 of a step, with wavelets, which stand for grids: those take far
/// longer and end at much the same step. So do indices from a search.
fn sample_bytes(job: &Job<'_>, x: f64) -> Result<u64> {
    let options = job.options.clone().with_model(ModelChoice::Dense);
    let job = &Job {
        options: &options,
        rough: true,
        ..*job
    };
    let sample = job.sample(24)?;
    Ok(job.measure(x.exp2(), &sample)?.layer_bytes.iter().sum())
}

/// Octaves between the steps that [`cheapest_step`] tries first.
const OCTAVES: f64 = 2.0;

/// The step under a residual of steps of `size` that makes a sample smallest, and the bytes of that
/// sample.
fn cheapest_step(job: &Job<'_>, size: f64) -> Result<(u64, f64)> {
    let span = f64::from(job.scan.q_max) - f64::from(job.scan.q_min) + 3.0;
    let finest = (0.75 * size).log2().max(job.finest());
    let most = span.log2().max(finest);
    let bytes = |x: f64| sample_bytes(job, x);
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
    Ok((best.0, best.1.exp2()))
}

/// The one of fewer bytes; the first of equals.
fn smaller(a: (u64, f64), b: (u64, f64)) -> (u64, f64) {
    if b.0 < a.0 { b } else { a }
}

fn finish(job: &Job<'_>, step: f64, path: &Path, passes: u32) -> Result<EncodeReport> {
    let (totals, bytes) = job.write(step, path, path, job.options.force)?;
    Ok(job.report(&totals, bytes, passes))
}

/// A finished file beside the output that does not have its name yet; removed unless kept.
struct Trial {
    path: std::path::PathBuf,
}

impl Trial {
    fn new(output: &Path) -> Self {
        Self {
            path: with_suffix(output, ".trial.partial"),
        }
    }

    /// Makes room for the next trial.
    fn set_aside(self, output: &Path) -> Result<Self> {
        let best = Self {
            path: with_suffix(output, ".best.partial"),
        };
        self.rename(&best.path)?;
        Ok(best)
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn keep_as(self, path: &Path, force: bool) -> Result<()> {
        super::refuse_existing(path, force)?;
        self.rename(path)
    }

    fn rename(&self, to: &Path) -> Result<()> {
        std::fs::rename(&self.path, to).map_err(|e| Error::io(to.display().to_string(), e))
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        // Gone already if it was kept.
        std::fs::remove_file(&self.path).ok();
    }
}

impl Job<'_> {
    /// A file of these sums, roughly: payload scaled to the whole volume, index, head.
    fn file_estimate(&self, totals: &Totals) -> u64 {
        let whole =
            Region::whole(self.source.extent()).voxels() as f64 / totals.voxels.max(1) as f64;
        let layers = totals.layer_bytes.len() as u64;
        let row = 6 * layers + 3 + 2 * u64::from(self.options.levels);
        let payload: u64 = totals.layer_bytes.iter().sum();
        let index = totals.payload_blocks * row + (totals.blocks - totals.payload_blocks) * 4;
        // Header, sections, statistics; the length of the records does not depend on the step.
        let records = self.models(1.0).records();
        let records: usize = records.iter().map(|r| r.payload.len() + 8).sum();
        640 + records as u64 + ((payload + index) as f64 * whole) as u64
    }

    /// log2 of the smallest step that a search may try.
    fn finest(&self) -> f64 {
        let span = (f64::from(self.scan.q_max) - f64::from(self.scan.q_min)).max(1.0);
        EXACT.max(span.log2() - DEEPEST)
    }

    /// log2 of a step from which a search for a size starts.
    fn first_step_for(&self, bytes: f64) -> f64 {
        let bits = bytes * 8.0 / Region::whole(self.source.extent()).voxels() as f64;
        let span = (f64::from(self.scan.q_max) - f64::from(self.scan.q_min)).max(1.0);
        (span / 64.0).log2() - 1.2 * (bits / 0.3).log2()
    }

    fn report(&self, totals: &Totals, bytes: u64, passes: u32) -> EncodeReport {
        let voxels = Region::whole(self.source.extent()).voxels() as f64;
        EncodeReport {
            file_bytes: bytes,
            ratio: voxels * self.source.dtype().size() as f64 / bytes as f64,
            bits_per_voxel: bytes as f64 * 8.0 / voxels,
            psnr: self.psnr(totals, totals.errors.len() - 1),
            max_abs_error: totals.last().max * self.scan.values.unit(),
            passes,
            backend: crate::backend::Backend::name(&self.cpu),
        }
    }
}
