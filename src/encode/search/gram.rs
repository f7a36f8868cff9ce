//! Inner products of the basis functions of one axis of one split, borders included.

use crate::model::gains::LIFTING;

/// Products below this are left out: a search starts from exact ones again and again.
pub(super) const LEAST: f32 = 0.02;
/// Basis functions that are further apart have less than that in common.
const REACH: usize = 6;

/// A basis function: its product with itself and with others, low-pass and high-pass ones.
#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    pub(super) square: f32,
    pub(super) others: [Vec<(u32, f32)>; 2],
}

/// The basis functions of one axis of one split, in units of the norms that steps are made for.
#[derive(Debug, Clone)]
pub(super) struct Gram {
    rows: [Vec<Row>; 2],
}

impl Gram {
    /// For an axis of voxels that count as much as their weights say.
    pub(super) fn new(weights: &[f32], depth: usize) -> Self {
        let n = weights.len();
        if n.div_ceil(1 << depth) < 2 {
            let alone = Row {
                square: 1.0,
                others: [vec![(0, 1.0)], Vec::new()],
            };
            return Self {
                rows: [vec![alone], Vec::new()],
            };
        }
        let norms = [false, true].map(|high| norm(depth, high));
        let waves = [waves(n, depth, false), waves(n, depth, true)];
        let rows = [0, 1].map(|from| {
            let row = |at: usize| {
                let here: &Vec<f64> = &waves[from][at];
                let product = |to: usize, other: &Vec<f64>| {
                    (product_of(here, other, weights) / (norms[from] * norms[to])) as f32
                };
                Row {
                    square: product(from, here),
                    others: [0, 1].map(|to| {
                        let all = waves[to].iter().enumerate();
                        let near = all.skip(at.saturating_sub(REACH)).take(2 * REACH + 1);
                        near.map(|(i, w)| (i as u32, product(to, w)))
                            .filter(|(_, p)| p.abs() >= LEAST)
                            .collect()
                    }),
                }
            };
            (0..waves[from].len()).map(row).collect()
        });
        Self { rows }
    }

    #[inline]
    pub(super) fn row(&self, high: usize, at: usize) -> &Row {
        &self.rows[high][at]
    }
}

/// Squared norm of the basis function of a coefficient of band `index`.
#[inline(always)]
pub(super) fn square(grams: &[Gram; 3], index: usize, at: [usize; 3]) -> f32 {
    (0..3).fold(1.0, |p, a| p * grams[a].row(index >> a & 1, at[a]).square)
}

/// Basis functions that are further apart than this are not in [`lattice`].
const NEARBY: usize = 4;

/// What a device knows of the basis functions of an axis of `n` voxels that count the same: for each, low-pass ones first, its
/// products with the low-pass and high-pass functions at most [`NEARBY`] from it, and its values at
/// both ends of the axis. `cuda/lattice.cuh` reads it.
pub(crate) fn lattice(n: usize, depth: usize) -> Vec<f32> {
    const ROW: usize = 2 * (2 * NEARBY + 1) + 2;
    if n.div_ceil(1 << depth) < 2 {
        let mut alone = vec![0.0; ROW];
        alone[NEARBY] = 1.0;
        return alone;
    }
    let norms = [false, true].map(|high| norm(depth, high));
    let waves = [waves(n, depth, false), waves(n, depth, true)];
    let mut rows = Vec::new();
    for (from, norm) in [0, 1].into_iter().zip(norms) {
        for (at, here) in waves[from].iter().enumerate() {
            for to in [0, 1] {
                rows.extend((0..=2 * NEARBY).map(|i| {
                    let other = (at + i).checked_sub(NEARBY).and_then(|o| waves[to].get(o));
                    other.map_or(0.0, |o| (dot(here, o) / (norm * norms[to])) as f32)
                }));
            }
            let ends = [here.first(), here.last()];
            rows.extend(ends.map(|e| e.map_or(0.0, |v| (v / norm) as f32)));
        }
    }
    rows
}

/// Norm of a basis function away from borders.
fn norm(depth: usize, high: bool) -> f64 {
    let inner = waves(16 << (depth + 1), depth, high);
    dot(&inner[8], &inner[8]).sqrt()
}

fn product_of(a: &[f64], b: &[f64], weights: &[f32]) -> f64 {
    let pairs = a.iter().zip(b).zip(weights);
    pairs.map(|((a, b), &w)| a * b * f64::from(w)).sum()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// All low-pass or high-pass basis functions of a split of an axis of `n` voxels.
fn waves(n: usize, depth: usize, high: bool) -> Vec<Vec<f64>> {
    let size = |d: usize| n.div_ceil(1 << d);
    let (low, top) = (size(depth).div_ceil(2), size(depth) / 2);
    let wave = |at: usize| {
        let (mut s, mut d) = (vec![0.0; low], vec![0.0; top]);
        if high {
            d[at] = 1.0;
        } else {
            s[at] = 1.0;
        }
        let mut x = inverse(s, d);
        for depth in (0..depth).rev() {
            let scaled = x.iter().map(|v| v * LIFTING[4]).collect();
            x = inverse(scaled, vec![0.0; size(depth) / 2]);
        }
        x
    };
    (0..if high { top } else { low }).map(wave).collect()
}

/// Inverse lifting, borders mirrored.
fn inverse(mut s: Vec<f64>, mut d: Vec<f64>) -> Vec<f64> {
    let (low, high) = (s.len() - 1, d.len() - 1);
    let [a, b, g, e, _] = LIFTING;
    for (c, even) in [(e, true), (g, false), (b, true), (a, false)] {
        if even {
            for (i, s) in s.iter_mut().enumerate() {
                *s -= c * (d[i.saturating_sub(1)] + d[i.min(high)]);
            }
        } else {
            for (i, d) in d.iter_mut().enumerate() {
                *d -= c * (s[i] + s[(i + 1).min(low)]);
            }
        }
    }
    let odd = s.len() > d.len();
    let last = odd.then(|| s[low]);
    let pairs = s.iter().zip(&d).flat_map(|(&e, &o)| [e, o]);
    pairs.chain(last).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The norms are those that the steps of the bands are made for, away from borders.
    #[test]
    fn inner_functions_are_normalised() {
        for depth in 0..3 {
            let gram = Gram::new(&[1.0; 64], depth);
            for high in [0, 1] {
                let n = 64 >> (depth + 1);
                assert!((gram.row(high, n / 2).square - 1.0).abs() < 1e-3);
                // Even reflection makes the outermost functions differ.
                assert!((gram.row(high, n - 1).square - 1.0).abs() > 0.01);
            }
        }
        assert_eq!(Gram::new(&[1.0; 5], 3).row(0, 0).square, 1.0);
    }

    #[test]
    fn products_are_symmetric() {
        let mut weights = [1.0; 29];
        (weights[0], weights[28]) = (1.5, 1.5);
        let gram = Gram::new(&weights, 1);
        for (from, to) in [(0, 0), (0, 1), (1, 1)] {
            for at in 0..7 {
                for &(other, product) in &gram.row(from, at).others[to] {
                    let back = &gram.row(to, other as usize).others[from];
                    let same = back.iter().find(|b| b.0 as usize == at).map(|b| b.1);
                    assert_eq!(same, Some(product), "{from} {to} {at} {other}");
                }
            }
        }
    }
}
