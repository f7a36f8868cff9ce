//! From what is asked for to what every block does: layers, models, steps.

use crate::backend::LayerStep;
use crate::model::{Precision, WaveletModel};

/// Layers of a file with `levels` quality levels: coarse bands first, then refinements.
pub(crate) fn layer_steps(levels: u8) -> Vec<LayerStep> {
    let coarse = [2, 1].map(|lod| LayerStep { lod, quality: 0 });
    coarse.into_iter().chain((0..levels).map(|quality| LayerStep { lod: 0, quality })).collect()
}

/// Half the range of values, in working units, that 16-bit arithmetic has room for: the gain of
/// a merge (1.86), the sum of two neighbours (2) and overshoot (2.1) stay under 32768.
const NARROW_HALF_RANGE: f64 = 4096.0;
/// The same for 32 bits, leaving room for coefficient sums.
const WIDE_HALF_RANGE: f64 = (1u64 << 26) as f64;
/// Rounding inside the 16-bit transform has an RMS of about this many working units; steps over
/// `NARROW_MIN_STEP` of them make it invisible.
const NARROW_MIN_STEP: f64 = 8.0;

/// The model of a volume whose integers span `q_min..=q_max`, and its 32-bit twin for blocks that
/// overflow it. `step` is in units of `q`.
pub(crate) fn wavelet_models(q_min: i32, q_max: i32, step: f64, levels: u8, lossless: bool) -> (WaveletModel, WaveletModel) {
    let half = ((f64::from(q_max) - f64::from(q_min)) / 2.0).max(1.0);
    let bits = |room: f64| (room / half).log2().floor().clamp(-16.0, 24.0) as i8;
    let model = |precision, frac_bits: i8| WaveletModel {
        precision,
        frac_bits,
        qualities: levels,
        step_q16: ((step * f64::from(frac_bits).exp2() * 65_536.0).round() as u64).clamp(1, 1 << 48),
        recon_one: 8,
        recon_more: 5,
        lossless,
        mask: false,
    };
    let wide = model(Precision::I32, bits(WIDE_HALF_RANGE).min(12));
    let narrow_bits = bits(NARROW_HALF_RANGE);
    let fine_enough = step * f64::from(narrow_bits).exp2() >= NARROW_MIN_STEP;
    (if fine_enough { model(Precision::I16, narrow_bits) } else { wide }, wide)
}
