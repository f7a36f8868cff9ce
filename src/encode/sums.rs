//! Extrema and sums over many values, in lanes that any machine can keep in vectors.
//!
//! All machines add in the same order, so that what is written down is the same everywhere. Knows
//! nothing of models.

use super::LevelError;
use crate::backend::cpu::Loops;
use crate::codec::bands::{Band, BlockShape};
use crate::codec::{Coefficient, rows};

/// Values worked on at once.
const LANES: usize = 16;
/// Values of one f32 sum. Their number is small, so nothing is lost.
const ROW: usize = 64;
/// Rows summed side by side, so that additions need not wait for each other.
const ROWS: usize = 8;

/// Smallest and largest finite value; infinities the wrong way round if there is none.
pub(super) struct MinMax<'a>(pub(super) &'a [f32]);

impl Loops for MinMax<'_> {
    type Output = (f32, f32);
    #[inline(always)]
    fn run(self) -> (f32, f32) {
        min_max(self.0)
    }
}

#[inline(always)]
fn min_max(values: &[f32]) -> (f32, f32) {
    let mut lanes = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
    let chunks = values.chunks_exact(LANES);
    for (&v, i) in chunks.remainder().iter().zip(0..) {
        (lanes.0[i], lanes.1[i]) = wider((lanes.0[i], lanes.1[i]), v);
    }
    for chunk in chunks {
        for ((&v, low), high) in chunk.iter().zip(&mut lanes.0).zip(&mut lanes.1) {
            (*low, *high) = wider((*low, *high), v);
        }
    }
    lanes
        .0
        .into_iter()
        .zip(lanes.1)
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), (low, high)| {
            (a.min(low), b.max(high))
        })
}

/// The range with `v` in it, if that is finite.
#[inline(always)]
fn wider((low, high): (f32, f32), v: f32) -> (f32, f32) {
    let finite = v.abs() < f32::INFINITY;
    (
        if finite & (v < low) { v } else { low },
        if finite & (v > high) { v } else { high },
    )
}

/// Squared and largest error: rows of [`ROW`] values in f32, one value after the other, rows in
/// f64.
pub(super) struct SquaredError<'a> {
    pub(super) values: &'a [f32],
    pub(super) decoded: &'a [i32],
}

impl Loops for SquaredError<'_> {
    type Output = LevelError;
    #[inline(always)]
    fn run(self) -> LevelError {
        squared_error(self.values, self.decoded)
    }
}

#[inline(always)]
fn squared_error(values: &[f32], decoded: &[i32]) -> LevelError {
    let (v, q) = (
        values.chunks_exact(ROW * ROWS),
        decoded.chunks_exact(ROW * ROWS),
    );
    let rest = (v.remainder().chunks(ROW), q.remainder().chunks(ROW));
    let (mut sse, mut max) = (0.0, 0.0f32);
    let mut squares = [[0.0; ROW]; ROWS];
    for (v, q) in v.zip(q) {
        for ((v, q), squares) in v
            .chunks_exact(ROW)
            .zip(q.chunks_exact(ROW))
            .zip(&mut squares)
        {
            max = max.max(squares_of(v, q, squares));
        }
        let mut sums = [0.0f32; ROWS];
        for i in 0..ROW {
            sums.iter_mut()
                .zip(&squares)
                .for_each(|(sum, row)| *sum += row[i]);
        }
        sse = sums.iter().fold(sse, |sse, &sum| sse + f64::from(sum));
    }
    for (v, q) in rest.0.zip(rest.1) {
        max = max.max(squares_of(v, q, &mut squares[0]));
        sse += f64::from(squares[0][..v.len()].iter().fold(0.0f32, |sum, &s| sum + s));
    }
    LevelError {
        sse,
        max: f64::from(max),
    }
}

/// Squared differences of a row; returns the largest absolute difference.
#[inline(always)]
fn squares_of(values: &[f32], decoded: &[i32], squares: &mut [f32; ROW]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    for ((v, q), s) in values
        .chunks(LANES)
        .zip(decoded.chunks(LANES))
        .zip(squares.chunks_exact_mut(LANES))
    {
        for (((&v, &q), s), max) in v.iter().zip(q).zip(s).zip(&mut lanes) {
            let d = v - q as f32;
            *s = d * d;
            *max = if d.abs() > *max { d.abs() } else { *max };
        }
    }
    lanes.iter().fold(0.0, |a: f32, &b| a.max(b))
}

/// Sum of `(c - k step)^2` over a band.
pub(super) struct BandError<'a, E> {
    pub(super) coefficients: &'a [f32],
    pub(super) indices: &'a [E],
    pub(super) shape: &'a BlockShape,
    pub(super) band: &'a Band,
    pub(super) step: f32,
}

impl<E: Coefficient> Loops for BandError<'_, E> {
    type Output = f64;
    #[inline(always)]
    fn run(self) -> f64 {
        let sum = |row: std::ops::Range<usize>| {
            row_sse(
                &self.coefficients[row.clone()],
                &self.indices[row],
                self.step,
            )
        };
        rows(self.shape, self.band).map(sum).sum()
    }
}

#[inline(always)]
fn row_sse<E: Coefficient>(coefficients: &[f32], indices: &[E], step: f32) -> f64 {
    let mut lanes = [0.0f32; LANES];
    for (c, k) in coefficients.chunks(LANES).zip(indices.chunks(LANES)) {
        for ((&c, &k), sum) in c.iter().zip(k).zip(&mut lanes) {
            let k: i32 = k.into();
            let d = c - k as f32 * step;
            *sum += d * d;
        }
    }
    f64::from(lanes.iter().sum::<f32>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize) -> (Vec<f32>, Vec<i32>) {
        let q: Vec<i32> = (0..count as i32).map(|i| i * 7919 % 4001 - 2000).collect();
        (
            q.iter()
                .enumerate()
                .map(|(i, &q)| q as f32 + (i % 13) as f32 * 0.37 - 2.0)
                .collect(),
            q,
        )
    }

    /// The definition: one row after the other, one value after the other.
    #[test]
    fn sums_keep_the_order_of_the_definition() {
        for count in [0, 1, 63, 64, 65, 511, 512, 513, 1900] {
            let (v, q) = numbers(count);
            let differences: Vec<f32> = v.iter().zip(&q).map(|(&v, &q)| v - q as f32).collect();
            let sse = differences.chunks(64).fold(0.0f64, |s, row| {
                s + f64::from(row.iter().fold(0.0f32, |s, d| s + d * d))
            });
            let max = differences.iter().fold(0.0f32, |m, d| m.max(d.abs()));
            assert_eq!(
                squared_error(&v, &q),
                LevelError {
                    sse,
                    max: f64::from(max)
                },
                "{count} values"
            );
            let all = row_sse(&v, &q, 1.0);
            assert!((all - sse).abs() <= 1e-5 * sse);
        }
    }

    #[test]
    fn extrema_pass_over_what_is_not_finite() {
        for count in [1, 15, 16, 17, 100] {
            let (mut v, q) = numbers(count);
            let (min, max) = v
                .iter()
                .fold((f32::MAX, f32::MIN), |(a, b), &v| (a.min(v), b.max(v)));
            v.extend([f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
            assert_eq!((min_max(&v), q.len()), ((min, max), count));
        }
        assert_eq!(min_max(&[f32::NAN]), (f32::INFINITY, f32::NEG_INFINITY));
    }
}
