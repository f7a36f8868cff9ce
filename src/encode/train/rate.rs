//! What weights are expected to cost: a Laplace distribution per list, in units of the step.

use crate::backend::cpu::{FloatLoops, Floats, fma};

/// Mean magnitude that a list is taken to have at least: under it the coder gains no more.
const SMALLEST_SCALE: f32 = 0.2;
/// Where the cost turns from a square to a straight line.
const KNEE: f32 = 0.25;

/// Cost of the weights of one list, smooth in the weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate {
    /// Bits per step of magnitude.
    slope: f32,
    /// Bits of a zero.
    zero: f32,
}

impl Rate {
    /// For weights whose mean magnitude is `mean`.
    pub(crate) fn new(mean: f32) -> Self {
        let scale = mean + SMALLEST_SCALE;
        Self {
            slope: 1.0 / (scale * std::f32::consts::LN_2),
            zero: (1.0 + 2.0 * scale).log2() - (1.0 + 2.0 * SMALLEST_SCALE).log2(),
        }
    }

    /// Bits of all of `n` weights whose [`Magnitudes::knees`] is given.
    pub(crate) fn bits(self, n: usize, knees: f64) -> f64 {
        f64::from(self.slope) * knees + n as f64 * f64::from(self.zero)
    }

    /// Bits more per step more of one weight.
    #[inline(always)]
    pub(crate) fn derivative(self, weight: f32) -> f32 {
        self.slope * weight / (weight * weight + KNEE * KNEE).sqrt()
    }
}

/// Sums over a list of weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Magnitudes {
    /// Of magnitudes.
    pub(crate) sum: f64,
    /// Of magnitudes with a smooth start.
    pub(crate) knees: f64,
}

/// Computes [`Magnitudes`].
#[derive(Debug)]
pub(crate) struct Measure<'a>(pub(crate) &'a [f32]);

impl FloatLoops for Measure<'_> {
    type Output = Magnitudes;
    #[inline(always)]
    fn run<F: Floats>(self, _: F) -> Magnitudes {
        let (mut sum, mut knees) = (0.0f64, 0.0f64);
        for part in self.0.chunks(4096) {
            let (s, k) = measure::<F>(part);
            sum += f64::from(s);
            knees += f64::from(k);
        }
        Magnitudes { sum, knees }
    }
}

#[inline(always)]
fn measure<F: Floats>(weights: &[f32]) -> (f32, f32) {
    let (mut sums, mut knees) = ([0.0f32; 16], [0.0f32; 16]);
    let (chunks, rest) = weights.as_chunks::<16>();
    for chunk in chunks {
        for l in 0..16 {
            sums[l] += chunk[l].abs();
            knees[l] += knee::<F>(chunk[l]);
        }
    }
    let (mut sum, mut all) = (sums.iter().sum::<f32>(), knees.iter().sum::<f32>());
    for &w in rest {
        sum += w.abs();
        all += knee::<F>(w);
    }
    (sum, all)
}

#[inline(always)]
fn knee<F: Floats>(w: f32) -> f32 {
    fma::<F>(w, w, KNEE * KNEE).sqrt() - KNEE
}
