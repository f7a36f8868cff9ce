//! What a coder with one step should do to a volume, from local energies: no encode, no training.

use serde::{Deserialize, Serialize};

use super::LODS;
use super::patch::{Cell, Patch};

/// Points of the curves: log2(range / step) from 0 to 12.
pub const EXPONENTS: usize = 13;
/// Constant of SSIM that keeps flat windows finite, for a range of 1.
const C2: f64 = 0.03 * 0.03;
/// Losses below are not told apart.
const FLOOR: f64 = 1e-12;

/// Expected loss and bits of a wavelet coder with one step for all bands, against the exponent
/// log2(range / step) = 0, 1, .. 12.
///
/// In each cell of 8^3 voxels of each level of detail, a detail signal of variance `d` (what the neighbours of
/// a voxel do not say) is coded with an error of `d q / (d + q)`, where `q = step^2 / 12 / 8^lod` is that of a
/// uniform quantiser with orthonormal gains, and takes `log2(1 + d / q) / 2` bits for 7 of 8 voxels. The error
/// `D` of a cell is that of its own level and of the cells of coarser levels that it lies in; its SSIM is
/// `1 - D / (2 s + D + 0.0009)` with `s` the variance of its values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LossCurves {
    /// log10 of the expected `1 - SSIM`, `[lod][exponent]`.
    pub ssim: [[f64; EXPONENTS]; LODS],
    /// log10 of the expected mean squared error in parts of the squared range.
    pub mse: [f64; EXPONENTS],
    /// log2 of the expected bits per voxel.
    pub bits: [f64; EXPONENTS],
}

/// Sums over cells.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LossSums {
    /// Losses of SSIM and cells of each level of detail.
    ssim: [[f64; EXPONENTS]; LODS],
    cells: [u64; LODS],
    /// Errors of cells of level 0.
    mse: [f64; EXPONENTS],
    /// Bits per voxel of the full resolution, summed over the cells of each level.
    bits: [[f64; EXPONENTS]; LODS],
}

impl LossSums {
    /// Of the energies of all levels of a patch, finest first.
    pub(super) fn of(patch: &Patch, energies: &[Vec<Cell>]) -> Self {
        let mut sums = Self::default();
        let mut coarser = vec![std::array::from_fn(|e| noise(e, energies.len()))];
        let mut n = [1; 3];
        for (lod, cells) in energies.iter().enumerate().rev() {
            let own = patch.layers[lod].cells();
            let errors: Vec<_> = (0..cells.len())
                .map(|i| {
                    let above = coarser[parent(i, own, n)];
                    sums.add_cell(lod, &cells[i], &above)
                })
                .collect();
            (coarser, n) = (errors, own);
        }
        sums
    }

    /// Adds a cell that has the errors of the levels `above` already; returns those of all.
    fn add_cell(&mut self, lod: usize, cell: &Cell, above: &[f64; EXPONENTS]) -> [f64; EXPONENTS] {
        let mut all = *above;
        for (e, error) in all.iter_mut().enumerate() {
            let q = noise(e, lod);
            *error += cell.detail * q / (cell.detail + q);
            self.ssim[lod][e] += *error / (2.0 * cell.variance + *error + C2);
            self.bits[lod][e] +=
                0.875 * 0.5 * (1.0 + cell.detail / q).log2() * 8f64.powi(-(lod as i32));
            if lod == 0 {
                self.mse[e] += *error;
            }
        }
        self.cells[lod] += 1;
        all
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for lod in 0..LODS {
            add(&mut self.ssim[lod], &other.ssim[lod]);
            add(&mut self.bits[lod], &other.bits[lod]);
            self.cells[lod] += other.cells[lod];
        }
        add(&mut self.mse, &other.mse);
    }

    /// Means; a level that no patch has is like the next finer one.
    pub(super) fn curves(&self) -> LossCurves {
        let cells = |lod: usize| self.cells[lod].max(1) as f64;
        let ssim = std::array::from_fn(|lod| {
            let from = (0..=lod).rev().find(|&l| self.cells[l] > 0).unwrap_or(0);
            self.ssim[from].map(|s| (s / cells(from)).max(FLOOR).log10())
        });
        let bits = std::array::from_fn(|e| {
            let all: f64 = (0..LODS).map(|l| self.bits[l][e] / cells(l)).sum();
            all.max(1e-6).log2()
        });
        LossCurves {
            ssim,
            mse: self.mse.map(|s| (s / cells(0)).max(FLOOR).log10()),
            bits,
        }
    }
}

fn add(sums: &mut [f64; EXPONENTS], other: &[f64; EXPONENTS]) {
    for (s, o) in sums.iter_mut().zip(other) {
        *s += o;
    }
}

/// Variance of the error of a uniform quantiser at an exponent, in voxels of a level of detail.
fn noise(exponent: usize, lod: usize) -> f64 {
    4f64.powi(-(exponent as i32)) * 8f64.powi(-(lod as i32)) / 12.0
}

/// Index of the cell of the next coarser level that cell `i` lies in.
fn parent(i: usize, n: [usize; 3], coarser: [usize; 3]) -> usize {
    let place = [i % n[0], i / n[0] % n[1], i / n[0] / n[1]];
    let [x, y, z] = [0, 1, 2].map(|a| (place[a] / 2).min(coarser[a] - 1));
    (z * coarser[1] + y) * coarser[0] + x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_lie_in_their_parents() {
        assert_eq!(parent(7, [8, 8, 8], [4, 4, 4]), 3);
        assert_eq!(parent(8 * 8 * 8 - 1, [8, 8, 8], [4, 4, 4]), 63);
        // An odd number of cells: the last one is beside its parent, not behind it.
        assert_eq!(parent(2, [3, 1, 1], [1, 1, 1]), 0);
    }
}
