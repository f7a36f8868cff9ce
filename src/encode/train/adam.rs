//! Adam with bias correction, and how the learning rate falls.

use crate::backend::cpu::{FloatLoops, Floats, fma};

const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.99;
const EPSILON: f32 = 1e-12;

/// Moments of one list of parameters.
#[derive(Debug, Clone)]
pub(crate) struct Adam {
    first: Vec<f32>,
    second: Vec<f32>,
    steps: i32,
    /// Root mean square of the gradients of the last step, over all parameters.
    typical: f32,
}

impl Adam {
    /// Nothing seen yet.
    pub(crate) fn new(parameters: usize) -> Self {
        Self {
            first: vec![0.0; parameters],
            second: vec![0.0; parameters],
            steps: 0,
            typical: 0.0,
        }
    }
}

/// One step of [`Adam`].
#[derive(Debug)]
pub(crate) struct Update<'a> {
    /// Its moments.
    pub(crate) adam: &'a mut Adam,
    /// What moves.
    pub(crate) parameters: &'a mut [f32],
    /// Their gradients.
    pub(crate) gradient: &'a [f32],
    /// Longest usual step.
    pub(crate) rate: f32,
    /// Gradients far under this share of the typical one of the list take steps that are shorter
    /// in proportion: without it, thousands of weights that hardly matter move as far as those
    /// that do. 0: the textbook's Adam.
    pub(crate) damping: f32,
}

impl FloatLoops for Update<'_> {
    type Output = ();
    #[inline(always)]
    fn run<F: Floats>(self, _: F) {
        let adam = self.adam;
        adam.steps += 1;
        let unbias_1 = 1.0 / (1.0 - BETA_1.powi(adam.steps));
        let unbias_2 = 1.0 / (1.0 - BETA_2.powi(adam.steps));
        if adam.steps == 1 {
            adam.typical = root_mean_square::<F>(self.gradient);
        }
        let floor = EPSILON + self.damping * adam.typical;
        let rate = self.rate * unbias_1;
        let moments = adam.first.iter_mut().zip(&mut adam.second);
        let values = self.parameters.iter_mut().zip(self.gradient);
        for ((p, &g), (m, v)) in values.zip(moments) {
            *m = fma::<F>(BETA_1, *m, (1.0 - BETA_1) * g);
            *v = fma::<F>(BETA_2, *v, (1.0 - BETA_2) * g * g);
            *p -= rate * *m / ((*v * unbias_2).sqrt() + floor);
        }
        if self.damping > 0.0 {
            adam.typical = root_mean_square::<F>(self.gradient);
        }
    }
}

#[inline(always)]
fn root_mean_square<F: Floats>(values: &[f32]) -> f32 {
    let mut sum = [0.0f32; 16];
    let (chunks, rest) = values.as_chunks::<16>();
    for chunk in chunks {
        for (s, v) in sum.iter_mut().zip(chunk) {
            *s = fma::<F>(*v, *v, *s);
        }
    }
    let total = sum.iter().sum::<f32>() + rest.iter().map(|v| v * v).sum::<f32>();
    (total / values.len().max(1) as f32).sqrt()
}

/// Falls from 1 to 0 along half a cosine; `progress` in 0..=1.
pub(crate) fn cosine(progress: f32) -> f32 {
    0.5 + 0.5 * (std::f32::consts::PI * progress.clamp(0.0, 1.0)).cos()
}
