//! Coefficients -> indices. The decoder only sees the result; what is tried here is free.

use crate::codec::bands::{Band, BlockShape};
use crate::codec::{Coefficient, Quantiser};
use crate::encode::Preset;

/// A coefficient becomes 1 only from this many steps on.
const FAST_THRESHOLD: f32 = 0.62;
/// The same where every neighbour is large; an empty neighbourhood raises it by `LONELY`.
const BALANCED_THRESHOLD: f32 = 0.56;
const LONELY: f32 = 0.25;
/// How much earlier than its midpoint's threshold an index over 1 begins.
const LATER: f32 = 0.04;
/// Neighbour magnitudes over this many steps say no more.
const NEIGHBOUR_CAP: f32 = 3.0;
/// Coefficients that are passed over together.
const CHUNK: usize = 8;

/// Quantises all bands: `out` gets indices in the block's box.
pub(crate) fn quantise<E: Coefficient>(
    coefficients: &[f32],
    shape: &BlockShape,
    quantiser: &Quantiser,
    preset: Preset,
    out: &mut Vec<E>,
) {
    out.clear();
    out.resize(shape.voxels(), E::default());
    let coarsest = shape.coarsest();
    let inverse = 256.0 / quantiser.step(shape, &coarsest) as f32;
    each_row(shape, &coarsest, |range, _| {
        for (o, &c) in out[range.clone()].iter_mut().zip(&coefficients[range]) {
            *o = E::saturate((c * inverse).round() as i64);
        }
    });
    for depth in 0..shape.depth {
        for index in 1..8 {
            let band = shape.band(depth, index);
            let inverse = 256.0 / quantiser.step(shape, &band) as f32;
            match preset {
                Preset::Fast => quantise_plain(coefficients, shape, &band, inverse, out),
                _ => quantise_neighbourly(coefficients, shape, &band, inverse, out),
            }
        }
    }
}

fn each_row(
    shape: &BlockShape,
    band: &Band,
    mut f: impl FnMut(std::ops::Range<usize>, [usize; 2]),
) {
    let [w, h, d] = band.dims;
    for z in 0..d {
        for y in 0..h {
            let start = shape.place(band, [0, y, z]);
            f(start..start + w, [y, z]);
        }
    }
}

/// Index of `steps` (signed, in units of the step) if 1 begins at `threshold`.
#[inline(always)]
fn index_of(steps: f32, threshold: f32) -> i64 {
    let magnitude = steps.abs();
    if magnitude < threshold {
        return 0;
    }
    let index = (magnitude + 1.0 - (threshold.min(FAST_THRESHOLD) - LATER)) as i64;
    let index = if magnitude < 1.5 {
        index.clamp(1, 1)
    } else {
        index
    };
    if steps < 0.0 { -index } else { index }
}

fn quantise_plain<E: Coefficient>(
    c: &[f32],
    shape: &BlockShape,
    band: &Band,
    inverse: f32,
    out: &mut [E],
) {
    each_row(shape, band, |range, _| {
        for (out, c) in out[range.clone()]
            .chunks_mut(CHUNK)
            .zip(c[range].chunks(CHUNK))
        {
            // Most stretches have nothing that counts.
            let peak = c
                .iter()
                .fold(0.0f32, |a, &c| if c.abs() > a { c.abs() } else { a });
            if peak * inverse < FAST_THRESHOLD {
                continue;
            }
            for (o, &c) in out.iter_mut().zip(c) {
                let steps = c * inverse;
                if steps.abs() >= FAST_THRESHOLD {
                    *o = E::saturate(index_of(steps, FAST_THRESHOLD));
                }
            }
        }
    });
}

/// A lone coefficient in an empty neighbourhood costs more bits than one among others, so its
/// threshold is higher: `BALANCED_THRESHOLD + LONELY exp(-2 e)`, `e` = mean neighbour magnitude.
fn quantise_neighbourly<E: Coefficient>(
    c: &[f32],
    shape: &BlockShape,
    band: &Band,
    inverse: f32,
    out: &mut [E],
) {
    let [nx, ny, _] = shape.dims;
    let strides = [1, nx, nx * ny];
    each_row(shape, band, |range, [y, z]| {
        for (x, i) in range.enumerate() {
            let steps = c[i] * inverse;
            if steps.abs() < BALANCED_THRESHOLD {
                continue;
            }
            let (mut sum, mut count) = (0.0f32, 0.0f32);
            for (at, n, stride) in [
                (x, band.dims[0], strides[0]),
                (y, band.dims[1], strides[1]),
                (z, band.dims[2], strides[2]),
            ] {
                if at > 0 {
                    sum += (c[i - stride] * inverse).abs().min(NEIGHBOUR_CAP);
                    count += 1.0;
                }
                if at + 1 < n {
                    sum += (c[i + stride] * inverse).abs().min(NEIGHBOUR_CAP);
                    count += 1.0;
                }
            }
            let threshold = BALANCED_THRESHOLD + LONELY * fade(sum / count.max(1.0));
            out[i] = E::saturate(index_of(steps, threshold));
        }
    });
}

/// `exp(-2 e)` to within one percent, without a library call: machines must agree.
#[inline(always)]
fn fade(e: f32) -> f32 {
    // (1 - e / 32)^64, six squarings.
    let mut p = (1.0 - e.min(32.0) / 32.0).max(0.0);
    for _ in 0..6 {
        p *= p;
    }
    p
}
