//! The forward transform of reversible models: each step of the decoder's lifting undone, so that
//! integers come back exactly (specification, "Inverse transform").

use crate::backend::cpu::{Constant, PREDICT_1, PREDICT_2, UPDATE_1, UPDATE_2};
use crate::codec::bands::BlockShape;
use crate::model::Precision;

/// Splits integers, `[z][y][x]`, in place into nested bands. Exact as long as no value leaves the
/// working type, which the caller sees when it decodes.
pub(crate) fn split(values: &mut [i32], shape: &BlockShape, precision: Precision) {
    match precision {
        Precision::I16 => run(values, shape, |v, c| {
            v.wrapping_mul(c.q15.into()).wrapping_add(1 << 14) >> 15
        }),
        Precision::I32 => run(values, shape, |v, c| {
            ((i64::from(v) * i64::from(c.q31) + (1 << 30)) >> 31) as i32
        }),
    }
}

fn run(values: &mut [i32], shape: &BlockShape, mul: impl Fn(i32, Constant) -> i32 + Copy) {
    let [nx, ny, _] = shape.dims;
    let mut scratch = Vec::new();
    for depth in 0..shape.depth {
        let [w, h, d] = shape.dims_at(depth);
        for row in (0..d).flat_map(|z| (0..h).map(move |y| (z * ny + y) * nx)) {
            split_rows(&mut values[row..], (1, w, 1), &mut scratch, mul);
        }
        for z in 0..d {
            split_rows(&mut values[z * ny * nx..], (nx, h, w), &mut scratch, mul);
        }
        for y in 0..h {
            split_rows(&mut values[y * nx..], (ny * nx, d, w), &mut scratch, mul);
        }
    }
}

/// Splits `n` rows of `width` values, `stride` apart: low rows first. One row stays as it is.
fn split_rows(
    rows: &mut [i32],
    (stride, n, width): (usize, usize, usize),
    scratch: &mut Vec<i32>,
    mul: impl Fn(i32, Constant) -> i32,
) {
    if n < 2 {
        return;
    }
    let (low, high) = (n.div_ceil(2), n / 2);
    scratch.clear();
    for i in (0..n).step_by(2).chain((1..n).step_by(2)) {
        scratch.extend_from_slice(&rows[i * stride..][..width]);
    }
    let (e, o) = scratch.split_at_mut(low * width);
    let next = |i: usize| [i, (i + 1).min(low - 1)];
    let last = |i: usize| [i.saturating_sub(1), i.min(high - 1)];
    lift(o, e, width, next, |o, t| {
        o.wrapping_sub(t).wrapping_sub(mul(t, PREDICT_1))
    });
    lift(e, o, width, last, |e, t| e.wrapping_sub(mul(t, UPDATE_1)));
    lift(o, e, width, next, |o, t| o.wrapping_add(mul(t, PREDICT_2)));
    lift(e, o, width, last, |e, t| e.wrapping_add(mul(t, UPDATE_2)));
    for (i, row) in scratch.chunks_exact(width).enumerate() {
        rows[i * stride..][..width].copy_from_slice(row);
    }
}

/// `to[i] = f(to[i], from[a] + from[b])` for rows, `[a, b] = near(i)`.
fn lift(
    to: &mut [i32],
    from: &[i32],
    width: usize,
    near: impl Fn(usize) -> [usize; 2],
    f: impl Fn(i32, i32) -> i32,
) {
    for (i, to) in to.chunks_exact_mut(width).enumerate() {
        let [a, b] = near(i).map(|j| &from[j * width..][..width]);
        for ((t, &a), &b) in to.iter_mut().zip(a).zip(b) {
            *t = f(*t, a.wrapping_add(b));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::backend::ValueRange;
    use crate::backend::cpu::{CpuBackend, Filtered, Reconstruction};
    use crate::encode::plan::{WaveletWanted, wavelet_models};
    use crate::model::{Coder, Residual, WaveletModel};
    use proptest::prelude::*;

    fn decoded<E: Filtered>(
        model: &WaveletModel,
        shape: BlockShape,
        split: &[i32],
        (lo, hi): (i32, i32),
        lod: usize,
    ) -> Vec<i32> {
        let mut indices: Vec<E> = split.iter().map(|&k| E::saturate(k.into())).collect();
        let block = Reconstruction {
            shape,
            range: ValueRange { lo, hi },
            lod,
            indices: &mut indices,
            scratch: &mut Vec::new(),
            is_zero: &|_| false,
        };
        let mut out = Vec::new();
        CpuBackend::new().reconstruct(model, model.qualities - 1, block, &mut out);
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn integers_come_back(
            dims in [1usize..=37, 1usize..=33, 1usize..=20],
            seed in proptest::collection::vec(-1000i32..=1000, 1..60),
            levels in 1u8..=3,
        ) {
            let shape = BlockShape { dims, depth: 4 };
            let values: Vec<i32> = (0..shape.voxels()).map(|i| seed[(i / 3 + i) % seed.len()]).collect();
            let wanted = WaveletWanted {
                levels,
                residual: Residual::None,
                reversible: true,
                coder: Coder::R,
                curve: None,
                filter: None,
            };
            let (narrow, wide) = wavelet_models(-1000, 1000, 1.0, wanted);
            for model in [narrow, wide] {
                // Of larger values a block may overflow 16 bits; its encoder looks.
                let part = if model.precision == Precision::I16 { 4 } else { 1 };
                let values: Vec<i32> = values.iter().map(|v| v / part).collect();
                let mut bands = values.clone();
                split(&mut bands, &shape, model.precision);
                let back = if model.precision == Precision::I16 {
                    decoded::<i16>(&model, shape, &bands, (-1000, 1000), 0)
                } else {
                    decoded::<i32>(&model, shape, &bands, (-1000, 1000), 0)
                };
                prop_assert_eq!(&back, &values);
            }
        }
    }

    /// Voxels of every level of detail are means, whatever the block's shape.
    #[test]
    fn levels_of_detail_keep_the_mean() {
        for dims in [[32, 32, 32], [64, 9, 1], [1, 1, 40], [5, 33, 17]] {
            let shape = BlockShape { dims, depth: 4 };
            let wanted = WaveletWanted {
                levels: 1,
                residual: Residual::None,
                reversible: true,
                coder: Coder::R,
                curve: None,
                filter: None,
            };
            let model = wavelet_models(0, 60_000, 1.0, wanted).1;
            let mut bands = vec![20_000; shape.voxels()];
            split(&mut bands, &shape, model.precision);
            for lod in 0..=4 {
                let out = decoded::<i32>(&model, shape, &bands, (-50_000, 50_000), lod);
                assert!(
                    out.iter().all(|q| q.abs_diff(20_000) <= 8),
                    "{dims:?} {lod}: {:?}",
                    &out[..1]
                );
            }
        }
    }
}
