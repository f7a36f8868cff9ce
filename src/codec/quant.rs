//! Coefficient index <-> working value (specification, "Dequantisation").

use super::bands::{Band, BlockShape};
use super::layer::rows;
use super::state::Coefficient;
use crate::model::WaveletModel;
use crate::model::gains::band_step;

/// Steps and reconstruction points of one quality index of a model.
#[derive(Debug, Clone, Copy)]
pub struct Quantiser {
    step_q16: u64,
    /// Each quality index before the last has four times the step of the next, exactly, so that
    /// refinements stay small.
    doublings: u32,
    recon_one: i64,
    recon_more: i64,
}

impl Quantiser {
    /// For quality index `quality` of `model`.
    pub fn new(model: &WaveletModel, quality: u8) -> Self {
        Self {
            step_q16: model.step_q16,
            doublings: 2 * u32::from(model.qualities.saturating_sub(1).saturating_sub(quality)),
            recon_one: i64::from(model.recon_one),
            recon_more: i64::from(model.recon_more),
        }
    }

    /// Step of a band in 1/256 of a working unit.
    pub fn step(&self, shape: &BlockShape, band: &Band) -> i64 {
        band_step(self.step_q16, shape.gain_depth(band), shape.parts(band)) << self.doublings
    }

    /// What to take off `|k| * step` for `|k|` = 1 and over 1. Nothing in the coarsest band.
    pub fn pull(&self, step: i64, band: &Band) -> (i64, i64) {
        if band.index == 0 { (0, 0) } else { ((step * self.recon_one) >> 8, (step * self.recon_more) >> 8) }
    }
}

/// Turns the indices of a band into working values in place:
/// `sign(k) * ((|k| * step - pull + 128) >> 8)`, saturated.
pub fn dequantise_band<E: Coefficient>(values: &mut [E], shape: &BlockShape, band: &Band, quantiser: &Quantiser) {
    let step = quantiser.step(shape, band);
    let (pull_one, pull_more) = quantiser.pull(step, band);
    for row in rows(shape, band) {
        for v in &mut values[row] {
            let k: i32 = (*v).into();
            if k != 0 {
                let pull = if k.unsigned_abs() == 1 { pull_one } else { pull_more };
                let magnitude = (i64::from(k.unsigned_abs()) * step - pull + 128) >> 8;
                *v = E::saturate(if k < 0 { -magnitude } else { magnitude });
            }
        }
    }
}
