//! The transform is not orthogonal: what errors of coefficients have in common with the basis
//! function of each of them, by the inverse transform and its adjoint.

use super::border::Weights;
use crate::backend::cpu::Loops;
use crate::codec::bands::BlockShape;
use crate::model::gains::LIFTING;

/// Replaces errors of coefficients, bands nested, by the products of the error of the block that
/// they make with the basis function of each coefficient.
pub(super) struct Products<'a> {
    pub(super) values: &'a mut [f32],
    pub(super) scratch: &'a mut Vec<f32>,
    pub(super) shape: BlockShape,
    pub(super) weights: &'a Weights,
}

/// Replaces errors of coefficients, bands nested, by the errors of voxels that they make.
pub(super) struct Voxels<'a> {
    pub(super) values: &'a mut [f32],
    pub(super) scratch: &'a mut Vec<f32>,
    pub(super) shape: BlockShape,
}

impl Loops for Voxels<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let longest = self.shape.dims.iter().max().map_or(0, |n| *n);
        self.scratch.resize(longest * self.shape.dims[0], 0.0);
        for depth in (0..self.shape.depth).rev() {
            scale_low(self.values, &self.shape, depth);
            for axis in [2, 1, 0] {
                along::<true>(self.values, self.scratch, &self.shape, depth, axis);
            }
        }
    }
}

impl Loops for Products<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let voxels = Voxels {
            values: self.values,
            scratch: self.scratch,
            shape: self.shape,
        };
        voxels.run();
        self.weights.apply(self.values);
        for depth in 0..self.shape.depth {
            for axis in [0, 1, 2] {
                along::<false>(self.values, self.scratch, &self.shape, depth, axis);
            }
            scale_low(self.values, &self.shape, depth);
        }
    }
}

/// Multiplies the low-pass corner by the gain of the axes that are split.
#[inline(always)]
fn scale_low(values: &mut [f32], shape: &BlockShape, depth: usize) {
    let axes = shape.dims_at(depth).iter().filter(|&&n| n > 1).count();
    let gain = (0..axes).fold(1.0, |g, _| g * LIFTING[4]) as f32;
    let ([w, h, d], [nx, ny, _]) = (shape.dims_at(depth + 1), shape.dims);
    for z in 0..d {
        for y in 0..h {
            let row = &mut values[(z * ny + y) * nx..][..w];
            row.iter_mut().for_each(|v| *v *= gain);
        }
    }
}

/// `n` rows of `width` values, `stride` apart.
struct Rows {
    n: usize,
    width: usize,
    stride: usize,
}

/// Merges the two halves of every line of an axis, or splits lines by the adjoint of that.
#[inline(always)]
fn along<const MERGE: bool>(
    values: &mut [f32],
    scratch: &mut [f32],
    shape: &BlockShape,
    depth: usize,
    axis: usize,
) {
    let (dims, [nx, ny, _]) = (shape.dims_at(depth), shape.dims);
    let n = dims[axis];
    if n < 2 {
        return;
    }
    let (rows, starts) = match axis {
        0 => ((1, 1), (dims[1], nx, dims[2])),
        1 => ((dims[0], nx), (1, 0, dims[2])),
        _ => ((dims[0], nx * ny), (dims[1], nx, 1)),
    };
    let rows = Rows {
        n,
        width: rows.0,
        stride: rows.1,
    };
    let (ys, stride, zs) = starts;
    for z in 0..zs {
        for y in 0..ys {
            let lines = &mut values[z * nx * ny + y * stride..];
            if MERGE {
                merge(lines, &rows, scratch);
            } else {
                split(lines, &rows, scratch);
            }
        }
    }
}

/// Negated lifting constants: predict 1, update 1, predict 2, update 2.
#[inline(always)]
fn constants() -> [f32; 4] {
    [0, 1, 2, 3].map(|i| -LIFTING[i] as f32)
}

#[inline(always)]
fn merge(lines: &mut [f32], rows: &Rows, scratch: &mut [f32]) {
    let (low, w) = (rows.n.div_ceil(2), rows.width);
    let scratch = &mut scratch[..rows.n * w];
    if rows.stride == 1 {
        scratch.copy_from_slice(&lines[..rows.n]);
    } else {
        for (row, line) in scratch.chunks_exact_mut(w).zip(lines.chunks(rows.stride)) {
            row.copy_from_slice(&line[..w]);
        }
    }
    let (s, d) = scratch.split_at_mut(low * w);
    let [a, b, g, e] = constants();
    even(s, d, w, e);
    odd(s, d, w, g);
    even(s, d, w, b);
    odd(s, d, w, a);
    if rows.stride == 1 {
        let mut pairs = lines[..rows.n].chunks_exact_mut(2);
        for ((pair, s), d) in pairs.by_ref().zip(&*s).zip(&*d) {
            (pair[0], pair[1]) = (*s, *d);
        }
        if let Some(last) = pairs.into_remainder().first_mut() {
            *last = s[low - 1];
        }
        return;
    }
    for (i, line) in lines.chunks_mut(rows.stride).take(rows.n).enumerate() {
        let half = if i % 2 == 0 { &*s } else { &*d };
        line[..w].copy_from_slice(&half[i / 2 * w..][..w]);
    }
}

#[inline(always)]
fn split(lines: &mut [f32], rows: &Rows, scratch: &mut [f32]) {
    let (low, w) = (rows.n.div_ceil(2), rows.width);
    let scratch = &mut scratch[..rows.n * w];
    let (s, d) = scratch.split_at_mut(low * w);
    if rows.stride == 1 {
        let pairs = lines[..rows.n].chunks_exact(2);
        if let Some(last) = pairs.remainder().first() {
            s[low - 1] = *last;
        }
        for ((pair, s), d) in pairs.zip(&mut *s).zip(&mut *d) {
            (*s, *d) = (pair[0], pair[1]);
        }
    } else {
        for (i, line) in lines.chunks(rows.stride).take(rows.n).enumerate() {
            let half = if i % 2 == 0 { &mut *s } else { &mut *d };
            half[i / 2 * w..][..w].copy_from_slice(&line[..w]);
        }
    }
    let [a, b, g, e] = constants();
    odd_adjoint(s, d, w, a);
    even_adjoint(s, d, w, b);
    odd_adjoint(s, d, w, g);
    even_adjoint(s, d, w, e);
    if rows.stride == 1 {
        lines[..rows.n].copy_from_slice(scratch);
        return;
    }
    for (row, line) in scratch.chunks_exact(w).zip(lines.chunks_mut(rows.stride)) {
        line[..w].copy_from_slice(row);
    }
}

/// `s[i] += c (d[i - 1] + d[i])` over rows of `w`, border rows counting twice.
#[inline(always)]
fn even(s: &mut [f32], d: &[f32], w: usize, c: f32) {
    let high = d.len();
    add(&mut s[..high], d, c);
    add(&mut s[..w], &d[..w], c);
    let inner = s.len() - w;
    add(&mut s[w..], &d[..inner], c);
    if s.len() > high {
        add(&mut s[high..], &d[high - w..], c);
    }
}

/// `d[i] += c (s[i] + s[i + 1])`, the last row counting twice at the border.
#[inline(always)]
fn odd(s: &[f32], d: &mut [f32], w: usize, c: f32) {
    let high = d.len();
    add(d, &s[..high], c);
    let inner = s.len() - w;
    add(&mut d[..inner], &s[w..], c);
    if s.len() == high {
        add(&mut d[inner..], &s[inner..], c);
    }
}

/// The adjoint of [`even`]: every row goes where it came from.
#[inline(always)]
fn even_adjoint(s: &[f32], d: &mut [f32], w: usize, c: f32) {
    let high = d.len();
    add(d, &s[..high], c);
    add(&mut d[..w], &s[..w], c);
    let inner = s.len() - w;
    add(&mut d[..inner], &s[w..], c);
    if s.len() > high {
        add(&mut d[high - w..], &s[high..], c);
    }
}

/// The adjoint of [`odd`].
#[inline(always)]
fn odd_adjoint(s: &mut [f32], d: &[f32], w: usize, c: f32) {
    let high = d.len();
    add(&mut s[..high], d, c);
    let inner = s.len() - w;
    add(&mut s[w..], &d[..inner], c);
    if s.len() == high {
        add(&mut s[inner..], &d[inner..], c);
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
    use crate::backend::cpu::CpuBackend;
    use crate::encode::forward::forward;

    /// `(e, e)` by products is the squared length of the inverse transform of `e`.
    #[test]
    fn products_are_those_of_the_inverse_transform() {
        for dims in [[16, 16, 16], [17, 9, 5], [1, 12, 3], [2, 1, 1]] {
            let shape = BlockShape { dims, depth: 3 };
            let mut seed = 1u32;
            let block: Vec<f32> = (0..shape.voxels())
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (seed >> 16) as f32 / 65_536.0 - 0.5
                })
                .collect();
            let mut errors = block.clone();
            forward(&mut errors, &mut Vec::new(), &shape);
            let mut products = errors.clone();
            CpuBackend::new().with_vectors(Products {
                values: &mut products,
                scratch: &mut Vec::new(),
                shape,
                weights: &Weights::even(shape),
            });
            let sum = |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
            let (found, wanted) = (sum(&errors, &products), sum(&block, &block));
            assert!(
                (found / wanted - 1.0).abs() < 1e-3,
                "{dims:?}: {found}, not {wanted}"
            );
        }
    }
}
