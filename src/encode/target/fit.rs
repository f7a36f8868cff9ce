//! From a formula that is wrong by a slowly changing factor, and a few measurements, to the step
//! that meets a target.

/// Natural logarithms of up to four figures that a target is about.
pub(super) type Figures = [f64; 4];

/// How fast a correction may change, per octave of the step, beyond what was measured; and beyond two
/// measurements of the whole volume.
const STEEPEST: f64 = 0.4;
const STEEPEST_WHOLE: f64 = 0.8;
/// Measurements nearer to each other than this say nothing about that, in octaves.
const APART: f64 = 0.1;
/// How far from the ends of a bracket a search stays, as a share of it; and once it should have ended.
const INSIDE: f64 = 0.06;
const HALVING: f64 = 0.3;
/// Encodes after which it should have.
const USUAL: u32 = 2;
/// The same in octaves, while only one end is known.
const ASIDE: f64 = 0.01;

/// What has to be added to modelled figures, at the steps where they were measured.
#[derive(Debug, Default)]
pub(super) struct Corrections {
    /// log2(step) and what to add, in order.
    points: Vec<(f64, Figures)>,
    /// Whether the whole volume was measured.
    pub(super) whole: bool,
    /// Where, if only once.
    first: Option<f64>,
}

impl Corrections {
    /// Takes a measurement of a sample.
    pub(super) fn sampled(&mut self, x: f64, correction: Figures) {
        self.points.retain(|p| p.0 != x);
        self.points.push((x, correction));
        self.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }

    /// Takes a measurement of the whole volume. With the first, all that samples said moves along; from the
    /// second on, samples do not count.
    pub(super) fn measured(&mut self, x: f64, correction: Figures) {
        if !self.whole {
            let before = self.at(x);
            for point in &mut self.points {
                point.1 = plus(&point.1, &minus(&correction, &before));
            }
            self.first = Some(x);
        } else if let Some(first) = self.first.take() {
            self.points.retain(|p| p.0 == first);
        }
        self.whole = true;
        self.sampled(x, correction);
    }

    /// The measured step that is nearest to 2^x.
    pub(super) fn nearest(&self, x: f64) -> Option<f64> {
        let measured = self.points.iter().map(|p| p.0);
        measured.min_by(|a, b| (a - x).abs().total_cmp(&(b - x).abs()))
    }

    /// What to add at 2^x.
    pub(super) fn at(&self, x: f64) -> Figures {
        let after = self.points.partition_point(|p| p.0 <= x);
        let (a, b, inside) = match (self.points.len(), after) {
            (0, _) => return [0.0; 4],
            (1, _) => return self.points[0].1,
            (n, 0) => (0, n.min(2) - 1, false),
            (n, i) if i == n => (n - 1, n - 2, false),
            (_, i) => (i - 1, i, true),
        };
        let (near, far) = (&self.points[a], &self.points[b]);
        let width = far.0 - near.0;
        if width.abs() < APART && !inside {
            return near.1;
        }
        let only_whole = self.whole && self.first.is_none();
        let steepest = if only_whole { STEEPEST_WHOLE } else { STEEPEST };
        std::array::from_fn(|i| {
            let slope = (far.1[i] - near.1[i]) / width;
            let slope = if inside {
                slope
            } else {
                slope.clamp(-steepest, steepest)
            };
            near.1[i] + slope * (x - near.0)
        })
    }
}

/// Sum, figure by figure.
pub(super) fn plus(a: &Figures, b: &Figures) -> Figures {
    std::array::from_fn(|i| a[i] + b[i])
}

/// Difference, figure by figure.
pub(super) fn minus(a: &Figures, b: &Figures) -> Figures {
    std::array::from_fn(|i| a[i] - b[i])
}

/// Where the answer lies: between a step that meets the target and one that misses it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bracket {
    /// Smallest and largest log2(step).
    pub(super) limits: (f64, f64),
    /// Whether steps that are coarse enough meet the target, else those that are fine enough.
    pub(super) coarse_meets: bool,
    met: Option<f64>,
    missed: Option<f64>,
    /// Number of measurements.
    taken: u32,
}

impl Bracket {
    pub(super) fn new(limits: (f64, f64), coarse_meets: bool) -> Self {
        Self {
            limits,
            coarse_meets,
            met: None,
            missed: None,
            taken: 0,
        }
    }

    /// Takes a measurement of the whole volume.
    pub(super) fn take(&mut self, x: f64, met: bool) {
        let nearer = |old: f64| (x < old) == (met == self.coarse_meets);
        self.taken += 1;
        let side = if met { &mut self.met } else { &mut self.missed };
        if side.is_none_or(nearer) {
            *side = Some(x);
        }
    }

    /// Whether nothing is left to try beyond `x`, where the target was met or not.
    pub(super) fn at_end(&self, x: f64, met: bool) -> bool {
        let end = if met == self.coarse_meets {
            self.limits.0
        } else {
            self.limits.1
        };
        (x - end).abs() < 1e-9
    }

    /// Whether both sides are so near that the figures jump between them.
    pub(super) fn closed(&self) -> bool {
        matches!((self.met, self.missed), (Some(a), Some(b)) if (a - b).abs() < 0.003)
    }

    /// The step nearest to missing the target at which `reached` still holds, within the bracket.
    pub(super) fn solve(&self, reached: impl Fn(f64) -> bool) -> f64 {
        let (mut low, mut high) = self.range();
        let (first, last) = (low, high);
        for _ in 0..40 {
            let middle = (low + high) / 2.0;
            if reached(middle) == self.coarse_meets {
                high = middle;
            } else {
                low = middle;
            }
        }
        // The ends themselves are no limits of the search that bisection would come upon.
        match (low + high) / 2.0 {
            x if x - first < 1e-6 => first,
            x if last - x < 1e-6 => last,
            x => x,
        }
    }

    fn range(&self) -> (f64, f64) {
        let (fine, coarse) = if self.coarse_meets {
            (self.missed, self.met)
        } else {
            (self.met, self.missed)
        };
        let (low, high) = (
            fine.unwrap_or(self.limits.0),
            coarse.unwrap_or(self.limits.1),
        );
        // What was measured is not measured again.
        let inside = if fine.is_some() && coarse.is_some() {
            let share = if self.taken > USUAL { HALVING } else { INSIDE };
            share * (high - low)
        } else {
            ASIDE
        };
        let step = |known: bool| if known { inside } else { 0.0 };
        (low + step(fine.is_some()), high - step(coarse.is_some()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wrong factor that drifts is found from two measurements.
    #[test]
    fn a_drifting_factor_is_learned() {
        let truth = |x: f64| 1.3 * x + 0.2 * (x - 4.0) + 0.7;
        let mut corrections = Corrections::default();
        for x in [3.0, 5.0] {
            corrections.sampled(x, [truth(x) - 0.3 - 1.3 * x; 4]);
        }
        corrections.measured(5.0, [truth(5.0) - 6.5; 4]);
        let bracket = Bracket::new((-3.0, 20.0), false);
        let x = bracket.solve(|x| 1.3 * x + corrections.at(x)[0] <= truth(6.2));
        assert!((x - 6.2).abs() < 1e-6, "{x}");
    }

    #[test]
    fn ends_are_reached_and_brackets_kept() {
        let mut bracket = Bracket::new((0.0, 10.0), true);
        assert_eq!(bracket.solve(|_| true), 0.0);
        assert_eq!(bracket.solve(|_| false), 10.0);
        bracket.take(2.0, false);
        bracket.take(4.0, true);
        bracket.take(6.0, true);
        // Three measurements: time to halve what is left.
        assert!((2.5..2.7).contains(&bracket.solve(|_| true)));
        assert!((3.3..3.5).contains(&bracket.solve(|_| false)));
        assert!(!bracket.at_end(4.0, true) && bracket.at_end(0.0, true));
        assert!(bracket.at_end(10.0, false));
    }
}
