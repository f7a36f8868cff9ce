//! Rounding that a gradient passes through: from none to nearly hard, and noise that leaves small
//! weights alone.

use super::random::noise;
use super::rate::Rate;
use crate::backend::cpu::{FloatLoops, Floats};

/// How weights turn into values during a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Relaxed {
    /// 0: weights as they are; 1: flat at whole numbers.
    pub(crate) hardness: f32,
    /// Width of the uniform noise on weights of one step and more. It fades with the square of
    /// the magnitude under that: noise on weights that are nearly zero teaches the model to blur.
    pub(crate) noise: f32,
    /// Of the noise.
    pub(crate) seed: u32,
}

impl Relaxed {
    #[inline(always)]
    fn disturbed(self, i: usize, weight: f32) -> f32 {
        let fade = (weight * weight).min(1.0);
        weight + self.noise * fade * noise(self.seed, i as u32)
    }

    /// The soft rounding of a weight and its derivative.
    #[inline(always)]
    pub(crate) fn round(self, weight: f32) -> (f32, f32) {
        let whole = weight.round_ties_even();
        let rest = weight - whole;
        let square = 4.0 * rest * rest;
        let (soft, hard) = (1.0 - self.hardness, self.hardness * square * square);
        (whole + rest * (soft + hard), soft + 5.0 * hard)
    }
}

/// Values of a list of weights.
#[derive(Debug)]
pub(crate) struct Values<'a> {
    /// How they are rounded.
    pub(crate) relaxed: Relaxed,
    /// Quantiser step.
    pub(crate) step: f32,
    /// In units of the step.
    pub(crate) weights: &'a [f32],
    /// As many values, replaced.
    pub(crate) values: &'a mut [f32],
}

impl FloatLoops for Values<'_> {
    type Output = ();
    #[inline(always)]
    fn run<F: Floats>(self, _: F) {
        let pairs = self.values.iter_mut().zip(self.weights);
        for (i, (value, &weight)) in pairs.enumerate() {
            *value = self.step * self.relaxed.round(self.relaxed.disturbed(i, weight)).0;
        }
    }
}

/// Turns gradients by value into gradients by weight, the rate included.
#[derive(Debug)]
pub(crate) struct Chain<'a> {
    /// How the values were made.
    pub(crate) relaxed: Relaxed,
    /// Quantiser step.
    pub(crate) step: f32,
    /// What a weight costs.
    pub(crate) rate: Rate,
    /// Loss per bit.
    pub(crate) per_bit: f32,
    /// In units of the step.
    pub(crate) weights: &'a [f32],
    /// By value; by weight afterwards.
    pub(crate) gradient: &'a mut [f32],
}

impl FloatLoops for Chain<'_> {
    type Output = ();
    #[inline(always)]
    fn run<F: Floats>(self, _: F) {
        let pairs = self.gradient.iter_mut().zip(self.weights);
        for (i, (g, &weight)) in pairs.enumerate() {
            let disturbed = self.relaxed.disturbed(i, weight);
            let slope = self.step * self.relaxed.round(disturbed).1;
            *g = *g * slope + self.per_bit * self.rate.derivative(weight);
        }
    }
}
