//! Inner products of the bands' basis functions with an error, for a transform that is not
//! orthogonal.

use crate::codec::bands::BlockShape;
use crate::model::gains::LIFTING;

/// Replaces errors of coefficients by their products with the basis functions of each:
/// the inverse transform, then its adjoint.
pub(super) fn products(values: &mut [f32], scratch: &mut Vec<f32>, shape: &BlockShape) {
    scratch.resize(shape.dims.iter().max().map_or(0, |n| n * shape.dims[0]), 0.0);
    for depth in (0..shape.depth).rev() {
        scale_low(values, shape, depth);
        for axis in [2, 1, 0] {
            along(values, scratch, shape, depth, axis, merge);
        }
    }
    for depth in 0..shape.depth {
        for axis in [0, 1, 2] {
            along(values, scratch, shape, depth, axis, adjoint);
        }
        scale_low(values, shape, depth);
    }
}

fn scale_low(values: &mut [f32], shape: &BlockShape, depth: usize) {
    let axes = shape.dims_at(depth).iter().filter(|&&n| n > 1).count();
    let gain = (0..axes).fold(1.0, |g, _| g * LIFTING[4]) as f32;
    let ([w, h, d], [nx, ny, _]) = (shape.dims_at(depth + 1), shape.dims);
    for z in 0..d {
        for y in 0..h {
            values[(z * ny + y) * nx..][..w]
                .iter_mut()
                .for_each(|v| *v *= gain);
        }
    }
}

/// `n` rows of `width` values, `stride` apart.
struct Rows {
    stride: usize,
    n: usize,
    width: usize,
}

fn along(
    values: &mut [f32],
    scratch: &mut [f32],
    shape: &BlockShape,
    depth: usize,
    axis: usize,
    f: fn(&mut [f32], &Rows, &mut [f32]),
) {
    let ([w, h, d], [nx, ny, _]) = (shape.dims_at(depth), shape.dims);
    let n = [w, h, d][axis];
    if n < 2 {
        return;
    }
    match axis {
        0 => {
            for z in 0..d {
                for y in 0..h {
                    let rows = Rows { stride: 1, n, width: 1 };
                    f(&mut values[(z * ny + y) * nx..], &rows, scratch);
                }
            }
        }
        1 => {
            for z in 0..d {
                let rows = Rows { stride: nx, n, width: w };
                f(&mut values[z * ny * nx..], &rows, scratch);
            }
        }
        _ => {
            for y in 0..h {
                let rows = Rows { stride: nx * ny, n, width: w };
                f(&mut values[y * nx..], &rows, scratch);
            }
        }
    }
}

fn merge(rows: &mut [f32], r: &Rows, scratch: &mut [f32]) {
    let (low, high, w) = (r.n.div_ceil(2), r.n / 2, r.width);
    for i in 0..r.n {
        scratch[i * w..][..w].copy_from_slice(&rows[i * r.stride..][..w]);
    }
    let (s, d) = scratch[..r.n * w].split_at_mut(low * w);
    let [a, b, g, e, _] = LIFTING.map(|c| -c as f32);
    for (c, odd) in [(e, false), (g, true), (b, false), (a, true)] {
        if odd {
            for i in 0..high {
                let next = (i + 1).min(low - 1);
                add(&mut d[i * w..][..w], &s[i * w..][..w], c);
                add(&mut d[i * w..][..w], &s[next * w..][..w], c);
            }
        } else {
            for i in 0..low {
                let (before, after) = (i.saturating_sub(1), i.min(high - 1));
                add(&mut s[i * w..][..w], &d[before * w..][..w], c);
                add(&mut s[i * w..][..w], &d[after * w..][..w], c);
            }
        }
    }
    for i in 0..r.n {
        let from = if i % 2 == 0 { i / 2 } else { low + i / 2 };
        rows[i * r.stride..][..w].copy_from_slice(&scratch[from * w..][..w]);
    }
}

fn adjoint(rows: &mut [f32], r: &Rows, scratch: &mut [f32]) {
    let (low, high, w) = (r.n.div_ceil(2), r.n / 2, r.width);
    for i in 0..r.n {
        let to = if i % 2 == 0 { i / 2 } else { low + i / 2 };
        scratch[to * w..][..w].copy_from_slice(&rows[i * r.stride..][..w]);
    }
    let (s, d) = scratch[..r.n * w].split_at_mut(low * w);
    let [a, b, g, e, _] = LIFTING.map(|c| -c as f32);
    for (c, odd) in [(a, true), (b, false), (g, true), (e, false)] {
        if odd {
            for i in 0..high {
                let next = (i + 1).min(low - 1);
                add(&mut s[i * w..][..w], &d[i * w..][..w], c);
                add(&mut s[next * w..][..w], &d[i * w..][..w], c);
            }
        } else {
            for i in 0..low {
                let (before, after) = (i.saturating_sub(1), i.min(high - 1));
                add(&mut d[before * w..][..w], &s[i * w..][..w], c);
                add(&mut d[after * w..][..w], &s[i * w..][..w], c);
            }
        }
    }
    for i in 0..r.n {
        rows[i * r.stride..][..w].copy_from_slice(&scratch[i * w..][..w]);
    }
}

#[inline(always)]
fn add(to: &mut [f32], from: &[f32], c: f32) {
    for (t, &f) in to.iter_mut().zip(from) {
        *t += c * f;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn diagonal() {
        let shape = BlockShape { dims: [64, 64, 64], depth: 4 };
        for depth in 0..4 {
            for index in 1..8 {
                let band = shape.band(depth, index);
                let mut v = vec![0.0f32; shape.voxels()];
                let o = band.origin;
                let at = [0, 1, 2].map(|a| o[a] + band.dims[a] / 2);
                let i = (at[2] * 64 + at[1]) * 64 + at[0];
                v[i] = 1.0;
                products(&mut v, &mut Vec::new(), &shape);
                let step = crate::model::gains::band_step(1 << 30, depth, shape.parts(&band)) as f64 / 256.0;
                let norm = 16384.0 / step;
                println!("{depth} {index} {} {}", v[i], norm * norm);
                let mut o: Vec<f32> = v.iter().enumerate().filter(|(j,_)| *j != i).map(|(_,v)| v / (norm*norm) as f32).collect();
                let s: f32 = o.iter().map(|v| v.abs()).sum();
                o.sort_by(|a, b| b.abs().total_cmp(&a.abs()));
                println!("   {:?} sum {}", &o[..8], s);
            }
        }
    }
}
