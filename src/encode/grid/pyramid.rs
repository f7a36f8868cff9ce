//! Refinement of lattices in floats, and its adjoint: what the fit and its gradients are made of.

use crate::backend::cpu::{CpuBackend, Loops};
use crate::model::grid::{Order, Refinement, lattice, stencil, vertices};

/// Values over the lattice of one spacing exponent, the same on all axes, of a block.
#[derive(Debug, Clone, Default)]
pub(super) struct Plane {
    /// `[z][y][x]`.
    pub(super) values: Vec<f32>,
    other: Vec<f32>,
    pub(super) lattice: [usize; 3],
    spacing: u8,
}

/// The block that lattices span.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) cpu: CpuBackend,
    pub(super) dims: [usize; 3],
    pub(super) order: Order,
}

impl Span {
    pub(super) fn lattice(&self, spacing: u8) -> [usize; 3] {
        lattice(self.dims, [spacing; 3])
    }
}

impl Plane {
    pub(super) fn set(&mut self, span: &Span, spacing: u8, values: impl Iterator<Item = f32>) {
        self.lattice = span.lattice(spacing);
        self.spacing = spacing;
        self.values.clear();
        self.values.extend(values);
    }

    /// Refines to a finer lattice.
    pub(super) fn refine(&mut self, span: &Span, to: u8) {
        for (axis, spacing) in Refinement::new([self.spacing; 3], [to; 3]) {
            let mut lattice = self.lattice;
            lattice[axis] = vertices(span.dims[axis], spacing);
            self.step::<false>(span, axis, lattice);
        }
        self.spacing = to;
    }

    /// The adjoint of refining from the coarser spacing exponent `to`.
    pub(super) fn gather(&mut self, span: &Span, to: u8) {
        let steps: Vec<_> = Refinement::new([to; 3], [self.spacing; 3]).collect();
        for &(axis, spacing) in steps.iter().rev() {
            let mut lattice = self.lattice;
            lattice[axis] = vertices(span.dims[axis], spacing + 1);
            self.step::<true>(span, axis, lattice);
        }
        self.spacing = to;
    }

    fn step<const ADJOINT: bool>(&mut self, span: &Span, axis: usize, lattice: [usize; 3]) {
        self.other.clear();
        self.other.resize(lattice.iter().product(), 0.0);
        span.cpu.with_vectors(Step::<ADJOINT> {
            inner: self.lattice[..axis].iter().product(),
            from: self.lattice[axis],
            to: lattice[axis],
            order: span.order,
            old: &self.values,
            new: &mut self.other,
        });
        std::mem::swap(&mut self.values, &mut self.other);
        self.lattice = lattice;
    }
}

/// One axis refined, or the adjoint of that.
struct Step<'a, const ADJOINT: bool> {
    /// Contiguous values of each vertex of the axis.
    inner: usize,
    from: usize,
    to: usize,
    order: Order,
    old: &'a [f32],
    new: &'a mut [f32],
}

impl<const ADJOINT: bool> Loops for Step<'_, ADJOINT> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (coarse, fine) = if ADJOINT {
            (self.to, self.from)
        } else {
            (self.from, self.to)
        };
        let olds = self.old.chunks_exact(self.inner * self.from);
        for (old, new) in olds.zip(self.new.chunks_exact_mut(self.inner * self.to)) {
            for i in 0..fine {
                let (taps, first) = stencil(i, coarse, self.order);
                for (j, &w) in taps.iter().enumerate().filter(|(_, w)| **w != 0.0) {
                    let (from, to) = if ADJOINT {
                        (i, first + j)
                    } else {
                        (first + j, i)
                    };
                    add(
                        &old[from * self.inner..][..self.inner],
                        &mut new[to * self.inner..][..self.inner],
                        w,
                    );
                }
            }
        }
    }
}

#[inline(always)]
fn add(from: &[f32], to: &mut [f32], weight: f32) {
    for (t, f) in to.iter_mut().zip(from) {
        *t += weight * f;
    }
}

/// Products of the columns of one axis with each other: `band[v][u - v + reach]` for vertices `u`
/// and `v`, zero beyond `reach`.
#[derive(Debug, Clone)]
pub(super) struct Gram {
    pub(super) reach: usize,
    band: Vec<f32>,
}

impl Gram {
    /// Of an axis of `voxels` at a spacing exponent.
    pub(super) fn new(voxels: usize, spacing: u8, order: Order) -> Self {
        let count = vertices(voxels, spacing);
        let columns: Vec<Vec<f32>> = (0..count)
            .map(|v| column(v, count, voxels, spacing, order))
            .collect();
        let reach = match (spacing, order) {
            (0, _) => 0,
            (_, Order::Linear) => 1,
            (_, Order::Cubic) => 5,
        };
        let width = 2 * reach + 1;
        let mut band = vec![0.0; count * width];
        for v in 0..count {
            for j in 0..width {
                let u = (v + j).wrapping_sub(reach);
                if let Some(other) = columns.get(u) {
                    band[v * width + j] = columns[v].iter().zip(other).map(|(a, b)| a * b).sum();
                }
            }
        }
        Self { reach, band }
    }

    /// Products of vertex `v` with `v - reach ..= v + reach`.
    pub(super) fn row(&self, v: usize) -> &[f32] {
        let width = 2 * self.reach + 1;
        &self.band[v * width..][..width]
    }

    pub(super) fn norm(&self, v: usize) -> f32 {
        self.row(v)[self.reach]
    }

    /// All rows.
    pub(super) fn band(&self) -> &[f32] {
        &self.band
    }
}

/// What vertex `v` of an axis adds to each voxel.
fn column(v: usize, count: usize, voxels: usize, spacing: u8, order: Order) -> Vec<f32> {
    let mut line = vec![0.0; count];
    line[v] = 1.0;
    for k in (0..spacing).rev() {
        let fine = vertices(voxels, k);
        line = (0..fine)
            .map(|i| {
                let (taps, first) = stencil(i, line.len(), order);
                let pairs = taps.iter().zip(&line[first..]);
                pairs.map(|(w, v)| w * v).sum()
            })
            .collect();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(n: usize, seed: u32) -> impl Iterator<Item = f32> {
        (0..n as u32).map(move |i| {
            let h = (i ^ seed).wrapping_mul(2_654_435_761);
            ((h ^ h >> 15).wrapping_mul(2_246_822_519) >> 8) as f32 / 8_388_608.0 - 1.0
        })
    }

    /// `<Ax, y> = <x, A'y>`, and the Gram matrix is `A'A`.
    #[test]
    fn gathering_is_the_adjoint_of_refining() {
        for order in [Order::Linear, Order::Cubic] {
            for dims in [[64, 64, 64], [5, 17, 33], [1, 2, 3]] {
                let span = Span {
                    cpu: CpuBackend::new(),
                    dims,
                    order,
                };
                for spacing in 1..6 {
                    let count: usize = span.lattice(spacing).iter().product();
                    let (mut x, mut y) = (Plane::default(), Plane::default());
                    x.set(&span, spacing, noise(count, 1));
                    let coarse = x.values.clone();
                    x.refine(&span, 0);
                    y.set(&span, 0, noise(dims.iter().product(), 2));
                    let dot = |a: &[f32], b: &[f32]| -> f64 {
                        a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum()
                    };
                    let forward = dot(&x.values, &y.values);
                    y.gather(&span, spacing);
                    let backward = dot(&coarse, &y.values);
                    let scale = (dims.iter().product::<usize>() as f64).sqrt();
                    assert!(
                        (forward - backward).abs() < 1e-4 * scale,
                        "{order:?} {dims:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn products_of_columns_reach_no_further_than_the_band() {
        for order in [Order::Linear, Order::Cubic] {
            for (voxels, spacing) in [(64, 1), (64, 3), (50, 2), (128, 5)] {
                let gram = Gram::new(voxels, spacing, order);
                let count = vertices(voxels, spacing);
                let columns: Vec<Vec<f32>> = (0..count)
                    .map(|v| column(v, count, voxels, spacing, order))
                    .collect();
                for u in 0..count {
                    for v in (0..count).filter(|v| v.abs_diff(u) > gram.reach) {
                        let product: f32 =
                            columns[u].iter().zip(&columns[v]).map(|(a, b)| a * b).sum();
                        assert!(
                            product.abs() < 1e-5,
                            "{order:?} {voxels} {u} {v}: {product}"
                        );
                    }
                }
            }
        }
    }
}
