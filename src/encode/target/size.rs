//! PSNR, ratio and bytes: figures that add up over blocks.

use std::path::Path;

use super::super::filter::Tried;
use super::super::job::Job;
use super::super::totals::Totals;
use super::fit::{Bracket, Figures};
use super::guess::COST;
use super::search::{Found, Goal, Look, Made, only, sample_of};
use super::spectrum::{Outcome, Spectrum};
use crate::Result;

/// What a PSNR may be over its target, in dB, and where in that a search aims.
const DECIBELS: f64 = 0.3;
const AIM_DECIBELS: f64 = 0.13;
/// How much further it may aim where what it knows is doubtful, as logarithms of mean squared error and of
/// size: the middle of what is allowed.
const DOUBTED_ERROR: f64 = 0.005;
const DOUBTED_SIZE: f64 = 0.006;
/// A decoder's own arithmetic may differ from that of the encoder by less than this.
const SLACK_DECIBELS: f64 = 1e-4;
/// What a size may be under its target, as a share, and where in that a search aims.
const SHORT: f64 = 0.05;
const AIM_SHORT: f64 = 0.02;
/// Most blocks of a sample.
const MOST_BLOCKS: usize = 256;
/// A sample of this many blocks is trusted half: few blocks are not the volume. Less so where what they correct
/// is mostly what curves and filters do, which the survey does not know.
const TRUST: f64 = 3.0;
const TRUST_TRIED: f64 = 0.5;
/// Bytes of a file beside payload and models: header, sections, statistics.
const AROUND: f64 = 700.0;

/// Blocks that are coded before the rest.
struct Sample {
    blocks: Vec<[u64; 3]>,
    spectrum: Spectrum,
    share: f64,
}

/// Which of two figures a goal is about.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wanted {
    /// Mean squared error in units of `q`, at most; range of values.
    Psnr { db: f64, range: f64 },
    /// Size of the file, at most.
    Bytes { most: f64 },
}

/// A target of PSNR or size.
pub(super) struct Additive<'a> {
    wanted: Wanted,
    spectrum: &'a Spectrum,
    voxels: f64,
    /// Bytes of the file beside payload.
    fixed: f64,
    /// What was encoded before.
    tried: Option<&'a Tried>,
    sample: Option<Sample>,
}

impl<'a> Additive<'a> {
    pub(super) fn psnr(job: &Job<'_>, spectrum: &'a Spectrum, db: f64) -> Self {
        let range = (job.scan.max - job.scan.min) / job.scan.values.unit();
        Self::new(job, spectrum, Wanted::Psnr { db, range })
    }

    pub(super) fn bytes(job: &Job<'_>, spectrum: &'a Spectrum, most: f64) -> Self {
        Self::new(job, spectrum, Wanted::Bytes { most })
    }

    fn new(job: &Job<'_>, spectrum: &'a Spectrum, wanted: Wanted) -> Self {
        Self {
            wanted,
            spectrum,
            voxels: job.voxels(),
            fixed: job.bytes_around(),
            tried: None,
            sample: None,
        }
    }

    /// Takes an encode of some blocks as a first sample.
    pub(super) fn having(self, tried: Option<&'a Tried>) -> Self {
        Self { tried, ..self }
    }

    /// Logarithm of the figure, of blocks of which this is known.
    fn figure(&self, mse: f64, density: f64) -> f64 {
        match self.wanted {
            Wanted::Psnr { .. } => mse.max(1e-9).ln(),
            Wanted::Bytes { .. } => (density * self.voxels).max(1.0).ln(),
        }
    }

    fn figure_of(&self, spectrum: &Spectrum, x: f64) -> f64 {
        let outcome = spectrum.outcome(x);
        self.figure(outcome.mse(), outcome.density())
    }

    /// Where to sample for a step of 2^x, and what is known of it; `None` if the volume is too small.
    fn blocks_for(&self, job: &Job<'_>, x: f64) -> Option<(Vec<[u64; 3]>, Option<&'a Tried>)> {
        let wanted = sample_of(job.block_count() as f64) as usize;
        let tried = (self.tried).filter(|t| !t.places.is_empty() && t.places.len() >= wanted);
        if let Some(tried) = tried {
            return Some((tried.places.clone(), Some(tried)));
        }
        let bytes = matches!(self.wanted, Wanted::Bytes { .. });
        let of = |o: &Outcome| if bytes { o.bytes } else { o.sse };
        let blocks = || self.spectrum.weighty(wanted.min(MOST_BLOCKS), x, of);
        (wanted > 0).then(|| (blocks(), None))
    }

    /// What blocks of a sample came to at 2^x, against what the spectrum says of them.
    fn look(&self, sample: &Sample, x: f64, (mse, density): (f64, f64), cost: f64) -> Look {
        let (found, modelled) = (
            self.figure(mse, density),
            self.figure_of(&sample.spectrum, x),
        );
        let count = sample.blocks.len() as f64;
        let doubt = if self.tried.is_some() {
            TRUST_TRIED
        } else {
            TRUST
        };
        let trust = count / (count + doubt * (1.0 - sample.share));
        Look {
            x,
            correction: only((found - modelled) * trust),
            trust: 1.0,
            cost,
            next: sample.share,
        }
    }

    /// The first sample.
    fn first_look(&mut self, job: &Job<'_>, x: f64) -> Result<Option<Look>> {
        let Some((blocks, tried)) = self.blocks_for(job, x) else {
            return Ok(None);
        };
        let sample = Sample {
            spectrum: Spectrum::of(job, &blocks)?,
            share: job.share_of(&blocks),
            blocks,
        };
        let surveyed = COST * sample.share;
        let look = match tried {
            Some(t) => {
                let densities = (t.sse / t.voxels.max(1.0), t.bytes / t.voxels.max(1.0));
                self.look(&sample, t.step.log2(), densities, surveyed)
            }
            None => self.measured(job, &sample, x, surveyed)?,
        };
        self.sample = Some(sample);
        Ok(Some(look))
    }

    /// Codes the sample.
    fn measured(&self, job: &Job<'_>, sample: &Sample, x: f64, cost: f64) -> Result<Look> {
        let totals = job.measure(x.exp2(), &sample.blocks)?;
        let mse = totals.last().sse / totals.finite.max(1) as f64;
        let density = payload(&totals) / totals.voxels.max(1) as f64;
        Ok(self.look(sample, x, (mse, density), cost + sample.share))
    }

    /// How far PSNR is over its target, in dB; `None` without error.
    fn over(db: f64, range: f64, mse: f64) -> Option<f64> {
        (mse > 0.0 && range > 0.0).then(|| 10.0 * (range * range / mse).log10() - db)
    }

    /// The step that the spectrum alone promises.
    fn guess(&self, job: &Job<'_>) -> f64 {
        let bracket = Bracket::new(job.limits(), self.coarse_meets());
        bracket.solve(|x| self.reached(&self.modelled(x)))
    }
}

/// log2(step) for a PSNR, by the spectrum alone.
pub(super) fn guess_psnr(job: &Job<'_>, spectrum: &Spectrum, db: f64) -> f64 {
    Additive::psnr(job, spectrum, db).guess(job)
}

/// log2(step) for a size, by the spectrum alone.
pub(super) fn guess_bytes(job: &Job<'_>, spectrum: &Spectrum, bytes: f64) -> f64 {
    Additive::bytes(job, spectrum, bytes).guess(job)
}

fn payload(totals: &Totals) -> f64 {
    totals.layer_bytes.iter().sum::<u64>() as f64
}

impl Goal for Additive<'_> {
    fn modelled(&self, x: f64) -> Figures {
        only(self.figure_of(self.spectrum, x))
    }

    fn sample(&mut self, job: &Job<'_>, _: &Path, x: f64) -> Result<Option<Look>> {
        match &self.sample {
            Some(sample) => self.measured(job, sample, x, 0.0).map(Some),
            None => self.first_look(job, x),
        }
    }

    fn measure(&mut self, _: &Job<'_>, made: &Made<'_>) -> Result<Found> {
        let (totals, coded) = (made.totals, payload(made.totals));
        let mse = totals.last().sse / totals.finite.max(1) as f64;
        self.fixed = made.bytes as f64 - coded;
        let (margin, within) = match self.wanted {
            Wanted::Psnr { db, range } => match Self::over(db, range, mse) {
                Some(over) => (
                    over - SLACK_DECIBELS,
                    (SLACK_DECIBELS..=DECIBELS).contains(&over),
                ),
                None => (f64::INFINITY, range <= 0.0),
            },
            Wanted::Bytes { most } => {
                let short = 1.0 - made.bytes as f64 / most;
                (short, (0.0..=SHORT).contains(&short))
            }
        };
        Ok(Found {
            figures: only(self.figure(mse, coded / self.voxels)),
            margin,
            within,
            wasteful: false,
        })
    }

    fn reached(&self, figures: &Figures) -> bool {
        let value = figures[0].exp();
        match self.wanted {
            Wanted::Psnr { db, range } => {
                Self::over(db, range, value).is_none_or(|over| over >= AIM_DECIBELS)
            }
            Wanted::Bytes { most } => value + self.fixed <= most * (1.0 - AIM_SHORT),
        }
    }

    fn room(&self) -> Figures {
        only(match self.wanted {
            Wanted::Psnr { .. } => DOUBTED_ERROR,
            Wanted::Bytes { .. } => DOUBTED_SIZE,
        })
    }

    fn coarse_meets(&self) -> bool {
        matches!(self.wanted, Wanted::Bytes { .. })
    }
}

impl Job<'_> {
    /// Bytes of the file beside payload, roughly: index, models, head.
    fn bytes_around(&self) -> f64 {
        let layers = self.no_totals().layer_bytes.len() as u64;
        let row = 6 * layers + 3 + 2 * u64::from(self.options.levels);
        // The length of the records does not depend on the step.
        let records = self.models(1.0).records(self.ranks());
        let records: usize = records.iter().map(|r| r.payload.len() + 8).sum();
        AROUND + records as f64 + (row * self.block_count()) as f64
    }
}
