//! The closed loop: a guess, a look at a sample, an encode, and corrections until the decoder's
//! own output meets the target.

use std::path::Path;

use super::super::EncodeReport;
use super::super::job::Job;
use super::super::totals::Totals;
use super::fit::{Bracket, Corrections, Figures, minus, plus};
use super::spectrum::DEPTHS;
use super::trial::Trial;
use crate::Result;

/// Share of the volume that one look at a sample codes, and of one of few blocks until there are `ENOUGH`.
const SAMPLE_SHARE: f64 = 0.05;
const SAMPLE_OF_FEW: f64 = 1.0 / 16.0;
const ENOUGH: f64 = 4.0;
/// Looks at samples.
const LOOKS: usize = 2;
/// A second look is not worth it within this many octaves, nor at this cost.
const NEAR: f64 = 0.3;
const DEAR: f64 = 0.1;
/// What a modelled change of a figure may be off by, as a share of it.
const DOUBT: f64 = 0.08;
/// Most encodes of the whole volume.
const PASSES: u32 = 12;

/// A measurement of the whole volume.
pub(super) struct Found {
    pub(super) figures: Figures,
    /// 0 or more: the target is met.
    pub(super) margin: f64,
    /// Whether the target is met within its tolerance.
    pub(super) within: bool,
    /// Whether it is met by so much more than need be that one encode more is worth its time.
    pub(super) wasteful: bool,
}

/// What a closed loop aims for.
pub(super) trait Goal {
    /// Figures as the spectrum has them at log2(step) = x.
    fn modelled(&self, x: f64) -> Figures;

    /// Codes a sample at log2(step) = x. `None` if the volume is too small for one.
    fn sample(&mut self, job: &Job<'_>, path: &Path, x: f64) -> Result<Option<Look>>;

    /// Figures of a finished encode.
    fn measure(&mut self, job: &Job<'_>, made: &Made<'_>) -> Result<Found>;

    /// Whether such figures are where a search should end.
    fn reached(&self, figures: &Figures) -> bool;

    /// By how much figures may be better than [`Goal::reached`] asks for without that being too much.
    fn room(&self) -> Figures;

    /// Whether coarse steps meet it, else fine ones.
    fn coarse_meets(&self) -> bool;
}

/// What a sample says.
pub(super) struct Look {
    /// log2(step) that it was coded at.
    pub(super) x: f64,
    /// Its figures less what the spectrum says of it.
    pub(super) correction: Figures,
    /// How far the search goes from its first guess to where this sends it, 0 to 1.
    pub(super) trust: f64,
    /// What it cost, and what the next will, in encodes of the volume.
    pub(super) cost: f64,
    pub(super) next: f64,
}

/// An encode of the whole volume.
pub(super) struct Made<'a> {
    pub(super) path: &'a Path,
    pub(super) totals: &'a Totals,
    pub(super) bytes: u64,
}

/// Where a loop stands.
struct Search<'a> {
    job: &'a Job<'a>,
    path: &'a Path,
    corrections: Corrections,
    bracket: Bracket,
    cost: f64,
}

/// Encodes until `goal` is met. `Ok(None)` if no step does.
pub(super) fn closed_loop(
    job: &Job<'_>,
    path: &Path,
    goal: &mut dyn Goal,
    start: f64,
) -> Result<Option<EncodeReport>> {
    let mut search = Search {
        job,
        path,
        corrections: Corrections::default(),
        bracket: Bracket::new(job.limits(), goal.coarse_meets()),
        cost: job.spent,
    };
    let x = search.look(goal, start)?;
    search.encode(goal, x)
}

impl Search<'_> {
    /// The step at which the goal should be reached, by all that is known.
    fn next(&self, goal: &dyn Goal) -> f64 {
        self.bracket.solve(|x| {
            let modelled = goal.modelled(x);
            let expected = plus(&modelled, &self.corrections.at(x));
            let near = self.corrections.nearest(x).map(|x| goal.modelled(x));
            let change = minus(&modelled, &near.unwrap_or(modelled));
            let room = goal.room();
            // What is known of a sample is doubtful anyhow.
            let doubt = if self.corrections.whole {
                std::array::from_fn(|i| (DOUBT * change[i].abs()).min(room[i]))
            } else {
                room
            };
            goal.reached(&plus(&expected, &doubt))
        })
    }

    /// Looks at samples from `start` on.
    fn look(&mut self, goal: &mut dyn Goal, start: f64) -> Result<f64> {
        let start = start.clamp(self.bracket.limits.0, self.bracket.limits.1);
        let mut x = start;
        for _ in 0..LOOKS {
            let Some(look) = goal.sample(self.job, self.path, x)? else {
                break;
            };
            self.cost += look.cost;
            self.corrections.sampled(look.x, look.correction);
            x = start + look.trust * (self.next(goal) - start);
            if (x - look.x).abs() < NEAR || look.next > DEAR {
                break;
            }
        }
        Ok(x)
    }

    /// Encodes everything from `x` on, until it is good.
    fn encode(&mut self, goal: &mut dyn Goal, x: f64) -> Result<Option<EncodeReport>> {
        let (job, mut x) = (self.job, x);
        let mut best: Option<(Trial, EncodeReport, f64)> = None;
        let (mut passes, mut within) = (0, false);
        while passes < PASSES {
            // Written beside the output: only a file that meets the target gets its name.
            let trial = Trial::new(self.path);
            let (totals, bytes) = job.write(x.exp2(), trial.path(), self.path, true)?;
            passes += 1;
            let made = Made {
                path: trial.path(),
                totals: &totals,
                bytes,
            };
            let found = goal.measure(job, &made)?;
            let met = found.margin >= 0.0;
            if met && best.as_ref().is_none_or(|b| found.margin < b.2) {
                // The one before goes first: it has the name that this one gets.
                drop(best.take());
                let report = job.report(&totals, bytes);
                best = Some((trial.set_aside(self.path)?, report, found.margin));
            }
            self.bracket.take(x, met);
            within |= found.within;
            let enough = within && (passes > 1 || !found.wasteful);
            if enough || self.bracket.at_end(x, met) || self.bracket.closed() {
                break;
            }
            let modelled = goal.modelled(x);
            self.corrections
                .measured(x, minus(&found.figures, &modelled));
            x = self.next(goal);
        }
        let Some((trial, report, _)) = best else {
            return Ok(None);
        };
        trial.keep_as(self.path, job.options.force)?;
        Ok(Some(EncodeReport {
            passes,
            cost: self.cost + f64::from(passes),
            ..report
        }))
    }
}

/// How many of `all` parts of a volume are a sample; 0 if there are too few.
pub(super) fn sample_of(all: f64) -> u64 {
    (SAMPLE_SHARE * all).max((SAMPLE_OF_FEW * all).min(ENOUGH)) as u64
}

/// Figures of which only the first counts.
pub(super) fn only(figure: f64) -> Figures {
    let mut figures = [0.0; DEPTHS];
    figures[0] = figure;
    figures
}
