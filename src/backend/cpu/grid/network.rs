//! The network of a block over all its voxels, on vectors.

use super::super::simd::Loops;
use crate::model::grid::{Matrix, Network};

/// Voxels whose activations are in the works at once: what fits vector registers.
const TILE: usize = 32;
/// Widest layer, hidden or of inputs.
const WIDEST: usize = 32;

type Tile = [[i32; TILE]; WIDEST];

/// Adds the network's output to the skip sums of all voxels.
pub(super) struct AddNetwork<'a> {
    pub(super) network: &'a Network,
    /// Inputs after shift and clamp, one plane of all voxels each.
    pub(super) inputs: &'a [Vec<i16>],
    pub(super) sums: &'a mut [i32],
}

impl Loops for AddNetwork<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (mut now, mut next) = ([[0; TILE]; WIDEST], [[0; TILE]; WIDEST]);
        for (t, sums) in self.sums.chunks_mut(TILE).enumerate() {
            for (row, plane) in now.iter_mut().zip(self.inputs) {
                let voxels = &plane[t * TILE..t * TILE + sums.len()];
                for (o, &u) in row.iter_mut().zip(voxels) {
                    *o = i32::from(u);
                }
            }
            let mut width = self.inputs.len();
            for matrix in &self.network.matrices {
                apply(matrix, &now[..width], &mut next);
                width = matrix.biases.len();
                let relu = |(n, v): (&mut i32, &i32)| *n = (*v).clamp(0, 32_767);
                for (n, v) in now.iter_mut().zip(&next).take(width) {
                    n.iter_mut().zip(v).for_each(relu);
                }
            }
            for (sum, &o) in sums.iter_mut().zip(&next[0]) {
                *sum = sum.wrapping_add(o);
            }
        }
    }
}

/// One layer of weights for a tile of voxels.
#[inline(always)]
fn apply(matrix: &Matrix, inputs: &[[i32; TILE]], out: &mut Tile) {
    let half = 1 << (matrix.shift - 1);
    let rows = matrix.weights.chunks_exact(inputs.len());
    for ((row, &bias), out) in rows.zip(&matrix.biases).zip(out) {
        let mut sums = [(i32::from(bias) << 8) + half; TILE];
        for (&w, u) in row.iter().zip(inputs) {
            let w = i32::from(w);
            for (s, &u) in sums.iter_mut().zip(u) {
                *s += w * u;
            }
        }
        for (o, s) in out.iter_mut().zip(sums) {
            *o = s >> matrix.shift;
        }
    }
}
