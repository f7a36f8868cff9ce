//! The forward CDF 9/7 transform of a block, in f32.
//!
//! Not normative: only the inverse is. It is the exact counterpart of the inverse's lifting, so
//! that the coefficients are what dequantisation should come close to. Multiplications and
//! additions are never fused, so every machine computes the same coefficients.

use crate::codec::bands::BlockShape;
use crate::model::gains::LIFTING;

/// Transforms `values`, `[z][y][x]`, in place into nested bands. `scratch` is any vector.
pub(crate) fn forward(values: &mut [f32], scratch: &mut Vec<f32>, shape: &BlockShape) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        #[expect(unsafe_code, reason = "the same code, built for wider registers")]
        // SAFETY: the CPU has just been asked.
        unsafe {
            return forward_avx2(values, scratch, shape);
        }
    }
    run(values, scratch, shape);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn forward_avx2(values: &mut [f32], scratch: &mut Vec<f32>, shape: &BlockShape) {
    run(values, scratch, shape);
}

#[inline(always)]
fn run(values: &mut [f32], scratch: &mut Vec<f32>, shape: &BlockShape) {
    scratch.resize(
        shape.dims.iter().max().map_or(0, |n| n * shape.dims[0]),
        0.0,
    );
    let [nx, ny, _] = shape.dims;
    for depth in 0..shape.depth {
        let [w, h, d] = shape.dims_at(depth);
        if w > 1 {
            for z in 0..d {
                for y in 0..h {
                    split_line(&mut values[(z * ny + y) * nx..][..w], scratch);
                }
            }
        }
        if h > 1 {
            for z in 0..d {
                split_rows(&mut values[z * ny * nx..], nx, h, w, scratch);
            }
        }
        if d > 1 {
            for y in 0..h {
                split_rows(&mut values[y * nx..], ny * nx, d, w, scratch);
            }
        }
        let axes = [w, h, d].iter().filter(|&&n| n > 1).count() as i32;
        scale_low(values, shape, depth, LIFTING[4].powi(-axes) as f32);
    }
}

/// Divides the low-pass corner by the gain of the axes that were split.
#[inline(always)]
fn scale_low(values: &mut [f32], shape: &BlockShape, depth: usize, gain: f32) {
    let ([w, h, d], [nx, ny, _]) = (shape.dims_at(depth + 1), shape.dims);
    for z in 0..d {
        for y in 0..h {
            values[(z * ny + y) * nx..][..w]
                .iter_mut()
                .for_each(|v| *v *= gain);
        }
    }
}

/// Splits one line: low half first.
#[inline(always)]
fn split_line(line: &mut [f32], scratch: &mut [f32]) {
    let n = line.len();
    let (low, high) = (n.div_ceil(2), n / 2);
    let (s, rest) = scratch[..n].split_at_mut(low);
    let d = &mut rest[..high];
    let pairs = line.chunks_exact(2);
    if let Some(&last) = pairs.remainder().first() {
        s[low - 1] = last;
    }
    for ((pair, s), d) in pairs.zip(s.iter_mut()).zip(d.iter_mut()) {
        (*s, *d) = (pair[0], pair[1]);
    }
    let [a, b, g, e, _] = LIFTING.map(|c| c as f32);
    lift_odd(d, s, a);
    lift_even(s, d, b);
    lift_odd(d, s, g);
    lift_even(s, d, e);
    line[..low].copy_from_slice(s);
    line[low..].copy_from_slice(d);
}

/// `d[i] += c (s[i] + s[i + 1])`, the last even value counting twice at the border.
#[inline(always)]
fn lift_odd(d: &mut [f32], s: &[f32], c: f32) {
    let inner = d.len().min(s.len() - 1);
    for ((d, &a), &b) in d[..inner].iter_mut().zip(&s[..inner]).zip(&s[1..]) {
        *d += c * (a + b);
    }
    if inner < d.len() {
        d[inner] += c * (s[inner] + s[inner]);
    }
}

/// `s[i] += c (d[i - 1] + d[i])`, border values counting twice.
#[inline(always)]
fn lift_even(s: &mut [f32], d: &[f32], c: f32) {
    s[0] += c * (d[0] + d[0]);
    for ((s, &a), &b) in s[1..].iter_mut().zip(d).zip(&d[1..]) {
        *s += c * (a + b);
    }
    if s.len() > d.len() && s.len() > 1 {
        let last = d[d.len() - 1];
        s[s.len() - 1] += c * (last + last);
    }
}

/// Splits `n` rows of `width` values, `stride` apart: low rows first.
#[inline(always)]
fn split_rows(rows: &mut [f32], stride: usize, n: usize, width: usize, scratch: &mut [f32]) {
    let (low, high) = (n.div_ceil(2), n / 2);
    let scratch = &mut scratch[..n * width];
    for i in 0..n {
        let to = if i % 2 == 0 { i / 2 } else { low + i / 2 };
        scratch[to * width..][..width].copy_from_slice(&rows[i * stride..][..width]);
    }
    let (s, d) = scratch.split_at_mut(low * width);
    let [a, b, g, e, _] = LIFTING.map(|c| c as f32);
    for (c, odd) in [(a, true), (b, false), (g, true), (e, false)] {
        if odd {
            for i in 0..high {
                add_pair(
                    &mut d[i * width..][..width],
                    &s[i * width..][..width],
                    &s[(i + 1).min(low - 1) * width..][..width],
                    c,
                );
            }
        } else {
            for i in 0..low {
                let (before, after) = (i.saturating_sub(1), i.min(high - 1));
                add_pair(
                    &mut s[i * width..][..width],
                    &d[before * width..][..width],
                    &d[after * width..][..width],
                    c,
                );
            }
        }
    }
    for i in 0..n {
        rows[i * stride..][..width].copy_from_slice(&scratch[i * width..][..width]);
    }
}

/// `to += c (a + b)` over a row.
#[inline(always)]
fn add_pair(to: &mut [f32], a: &[f32], b: &[f32], c: f32) {
    for ((t, &a), &b) in to.iter_mut().zip(a).zip(b) {
        *t += c * (a + b);
    }
}
