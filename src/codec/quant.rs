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
    reversible: bool,
}

impl Quantiser {
    /// For quality index `quality` of `model`.
    pub fn new(model: &WaveletModel, quality: u8) -> Self {
        Self {
            step_q16: model.step_q16,
            doublings: 2 * u32::from(model.qualities.saturating_sub(1).saturating_sub(quality)),
            recon_one: i64::from(model.recon_one),
            recon_more: i64::from(model.recon_more),
            reversible: model.reversible,
        }
    }

    /// Step of a band in 1/256 of a working unit.
    pub fn step(&self, shape: &BlockShape, band: &Band) -> i64 {
        if self.reversible {
            return 256 << self.doublings;
        }
        band_step(self.step_q16, shape.gain_depth(band), shape.parts(band)) << self.doublings
    }

    /// The step in the value domain, in working units.
    pub fn value_step(&self) -> f32 {
        (self.step_q16 as f64 / 65_536.0) as f32 * (1u64 << self.doublings) as f32
    }

    /// What to take off `|k| * step` for `|k|` = 1 and over 1. Nothing in the coarsest band.
    pub fn pull(&self, step: i64, band: &Band) -> (i64, i64) {
        if band.index == 0 {
            (0, 0)
        } else {
            ((step * self.recon_one) >> 8, (step * self.recon_more) >> 8)
        }
    }
}

/// Turns the indices of a band into working values in place:
/// `sign(k) * ((|k| * step - pull + 128) >> 8)`, saturated.
#[inline(always)]
pub fn dequantise_band<E: Coefficient>(
    values: &mut [E],
    shape: &BlockShape,
    band: &Band,
    quantiser: &Quantiser,
) {
    let step = quantiser.step(shape, band);
    let pulls = quantiser.pull(step, band);
    let narrow = NarrowStep::new::<E>(step, pulls);
    for row in rows(shape, band) {
        match &narrow {
            Some(narrow) => values[row].iter_mut().for_each(|v| *v = narrow.value(*v)),
            None => wide_row(&mut values[row], step, pulls),
        }
    }
}

fn wide_row<E: Coefficient>(row: &mut [E], step: i64, (pull_one, pull_more): (i64, i64)) {
    for v in row {
        let k: i32 = (*v).into();
        if k != 0 {
            let pull = if k.unsigned_abs() == 1 {
                pull_one
            } else {
                pull_more
            };
            // Saturating, for hostile steps: such a product is past every working value anyway.
            let product = i64::from(k.unsigned_abs()).saturating_mul(step);
            let magnitude = product.saturating_sub(pull).saturating_add(128) >> 8;
            *v = E::saturate(if k < 0 { -magnitude } else { magnitude });
        }
    }
}

/// The same in 32 bits, for 16-bit values: magnitudes stop where the result saturates anyway, so
/// that no product is over 2^25.
struct NarrowStep {
    step: i32,
    pull_one: i32,
    pull_more: i32,
    cap: i32,
}

impl NarrowStep {
    /// `None` if the values or the step are wider.
    fn new<E: Coefficient>(step: i64, (pull_one, pull_more): (i64, i64)) -> Option<Self> {
        let fits = E::MAX == i32::from(i16::MAX)
            && (1..=1 << 23).contains(&step)
            && pull_one <= step
            && pull_more <= step;
        let cap = ((1 << 23) + pull_more) / step.max(1) + 2;
        fits.then_some(Self {
            step: step as i32,
            pull_one: pull_one as i32,
            pull_more: pull_more as i32,
            cap: cap as i32,
        })
    }

    #[inline(always)]
    fn value<E: Coefficient>(&self, k: E) -> E {
        let k: i32 = k.into();
        let magnitude = k.abs().min(self.cap);
        let pull = if magnitude == 1 {
            self.pull_one
        } else {
            self.pull_more
        };
        let value = if magnitude == 0 {
            0
        } else {
            (magnitude * self.step - pull + 128) >> 8
        };
        E::saturate_i32(if k < 0 { -value } else { value })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// 32 bits give what the definition in 64 bits gives, saturation included.
    #[test]
    fn narrow_equals_wide() {
        for step in [
            1i64,
            2,
            255,
            256,
            257,
            4_000,
            65_535,
            1 << 20,
            (1 << 23) - 1,
            1 << 23,
        ] {
            for pulls in [(0, 0), ((step * 8) >> 8, (step * 5) >> 8), (step, step)] {
                let narrow = NarrowStep::new::<i16>(step, pulls).unwrap();
                for k in i16::MIN..=i16::MAX {
                    let mut wide = [k];
                    wide_row(&mut wide, step, pulls);
                    assert_eq!(
                        narrow.value(k),
                        wide[0],
                        "index {k}, step {step}, pulls {pulls:?}"
                    );
                }
            }
        }
        assert!(
            NarrowStep::new::<i16>((1 << 23) + 1, (0, 0)).is_none()
                && NarrowStep::new::<i32>(1, (0, 0)).is_none()
        );
    }
}
