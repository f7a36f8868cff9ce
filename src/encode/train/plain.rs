//! Small loops over whole planes.

use super::mlp::Mlp;
#[cfg(feature = "bench")]
use crate::backend::cpu::{FloatLoops, Floats, fma};

/// Errors of a model without a network: the sum of their squares and the gradient.
#[cfg(feature = "bench")]
#[derive(Debug)]
pub(crate) struct BaseErrors<'a> {
    /// What the model gives.
    pub(crate) base: &'a [f32],
    /// What it should give.
    pub(crate) target: &'a [f32],
    /// The gradient is this times the error.
    pub(crate) factor: f32,
    /// Replaced.
    pub(crate) gradient: &'a mut [f32],
}

#[cfg(feature = "bench")]
impl FloatLoops for BaseErrors<'_> {
    type Output = f64;
    #[inline(always)]
    fn run<F: Floats>(self, _: F) -> f64 {
        let mut squares = 0.0;
        let values = self.base.chunks(128).zip(self.target.chunks(128));
        for ((base, target), gradient) in values.zip(self.gradient.chunks_mut(128)) {
            let mut errors = [0.0f32; 128];
            for ((e, b), t) in errors.iter_mut().zip(base).zip(target) {
                *e = b - t;
            }
            for (g, e) in gradient.iter_mut().zip(&errors) {
                *g = e * self.factor;
            }
            squares += f64::from(square_sum::<F>(&errors));
        }
        squares
    }
}

/// Sum of squares of 128 values, in 16 lanes.
#[cfg(feature = "bench")]
#[inline(always)]
fn square_sum<F: Floats>(values: &[f32; 128]) -> f32 {
    let mut sums = [0.0f32; 16];
    for chunk in values.as_chunks::<16>().0 {
        for (s, v) in sums.iter_mut().zip(chunk) {
            *s = fma::<F>(*v, *v, *s);
        }
    }
    sums.iter().sum()
}

/// Root mean square; 1 if that is 0 or no number.
pub(crate) fn root_mean_square(values: &[f32]) -> f32 {
    let squares: f64 = values.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
    let root = (squares / values.len().max(1) as f64).sqrt() as f32;
    if root.is_normal() { root } else { 1.0 }
}

/// Scales what a network gives.
pub(crate) fn scale_output(mlp: Option<&mut Mlp>, factor: f32) {
    let Some(mlp) = mlp else { return };
    if let Some(last) = mlp.shape.layers().last() {
        for parameter in &mut mlp.parameters[last.start..] {
            *parameter *= factor;
        }
    }
}

/// Scales what comes in by input `i` by `factors[i]`.
pub(crate) fn scale_inputs(mlp: &mut Mlp, factors: &[f32]) {
    let Some(&first) = mlp.shape.layers().first() else {
        return;
    };
    let rows = mlp.parameters[first.start..first.biases()].chunks_exact_mut(first.inputs);
    for row in rows {
        for (weight, factor) in row.iter_mut().zip(factors) {
            *weight *= factor;
        }
    }
}
