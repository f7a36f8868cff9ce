//! A transfer function as the marcher looks it up.

use super::TransferFunction;
use crate::render::atlas::grid::mix;

/// Steps of a table: 16 for each value of 8 bits.
pub(in crate::render) const STEPS: usize = 4096;
/// Steps of a table of factors.
const FACTORS: usize = 1024;
/// Opacity that counts as 1: what is left of the light is less than what 8 bits show.
const OPAQUE: f32 = 0.999_99;

/// Colour and extinction at equal steps of the value.
#[derive(Debug)]
pub(in crate::render) struct Table {
    /// Value of the first entry.
    pub(in crate::render) first: f32,
    /// Entries for each unit of value.
    pub(in crate::render) scale: f32,
    /// `STEPS + 2` times red, green, blue as light, and extinction for a voxel's length. The last stands
    /// twice, so that there is always a next one.
    pub(in crate::render) entries: Vec<[f32; 4]>,
    /// What gradients make of extinctions, if they matter.
    pub(in crate::render) factors: Option<Factors>,
}

/// Factors of extinctions at equal steps of the gradient, from 0 on.
#[derive(Debug)]
pub(in crate::render) struct Factors {
    /// Entries for each unit of the gradient.
    scale: f32,
    /// `FACTORS + 2`; the last stands twice.
    entries: Vec<f32>,
}

impl Factors {
    fn new(function: &TransferFunction) -> Option<Self> {
        let most = function.gradient_points().last()?.gradient.max(1e-20);
        let gradient = |i: usize| most * (i.min(FACTORS) as f32 / FACTORS as f32);
        Some(Self {
            scale: FACTORS as f32 / most,
            entries: (0..FACTORS + 2)
                .map(|i| function.gradient_factor(gradient(i)))
                .collect(),
        })
    }

    /// The factor for a gradient; 0 for NaN.
    #[inline(always)]
    pub(in crate::render) fn factor(&self, gradient: f32) -> f32 {
        if gradient.is_nan() {
            return 0.0;
        }
        let u = (gradient * self.scale).min(FACTORS as f32);
        let at = (u as usize).min(FACTORS);
        mix(self.entries[at], self.entries[at + 1], u - at as f32)
    }
}

impl Table {
    pub(in crate::render) fn new(function: &TransferFunction) -> Self {
        let [lo, hi] = super::usable(function.span());
        let value = |i: usize| lo + (hi - lo) * (i.min(STEPS) as f32 / STEPS as f32);
        Self {
            first: lo,
            scale: STEPS as f32 / (hi - lo),
            entries: (0..STEPS + 2)
                .map(|i| {
                    let [r, g, b] = function.colour(value(i));
                    [r, g, b, extinction(function.opacity(value(i)))]
                })
                .collect(),
            factors: Factors::new(function),
        }
    }
}

/// Extinction for a voxel's length of a medium that stops the part `opacity` in it.
pub(in crate::render) fn extinction(opacity: f32) -> f32 {
    -(-opacity.min(OPAQUE)).ln_1p()
}
