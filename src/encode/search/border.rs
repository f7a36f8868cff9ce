//! How much more an error counts in the outermost voxels of a block than inside it, against seams.
//!
//! Errors of two blocks know nothing of each other, so that over their common face the error steps
//! by more than inside, where errors of neighbours are alike. Where that would show, the outermost
//! voxels count more in the search: it finds them a smaller error. Not normative.

use crate::codec::bands::BlockShape;

/// An error at a face counts as much more as the squared step over it is over those inside, times
/// this, within limits.
const SHARE: f32 = 0.7;
/// Nothing counts more than this: bits are better spent elsewhere.
const MOST: f32 = 1.6;

/// Weights of squared errors along x, y and z: a voxel's weight is the product of its three.
#[derive(Debug, Clone)]
pub(super) struct Weights(pub(super) [Vec<f32>; 3]);

impl Weights {
    /// All errors count the same.
    pub(super) fn even(shape: BlockShape) -> Self {
        Self(shape.dims.map(|n| vec![1.0; n]))
    }

    /// For a block with these errors, in voxels, that has neighbours before and after it
    /// along x, y and z.
    pub(super) fn new(errors: &[f32], shape: BlockShape, neighbours: [[bool; 2]; 3]) -> Self {
        Self([0, 1, 2].map(|axis| {
            let n = shape.dims[axis];
            let mut weights = vec![1.0; n];
            if n > 2 && neighbours[axis] != [false; 2] {
                let weight = weight(errors, shape.dims, axis);
                for (at, _) in [0, n - 1].into_iter().zip(neighbours[axis]).filter(|f| f.1) {
                    weights[at] = weight;
                }
            }
            weights
        }))
    }

    /// Multiplies every voxel, `[z][y][x]`, by its weight.
    pub(super) fn apply(&self, voxels: &mut [f32]) {
        let [along_x, along_y, along_z] = &self.0;
        let lines = along_z
            .iter()
            .flat_map(|z| along_y.iter().map(move |y| z * y));
        for (line, weight) in voxels.chunks_exact_mut(along_x.len()).zip(lines) {
            for (v, x) in line.iter_mut().zip(along_x) {
                *v *= weight * x;
            }
        }
    }
}

/// What an error in the outermost voxels of an axis counts.
fn weight(errors: &[f32], dims: [usize; 3], axis: usize) -> f32 {
    let (face, step) = squares(errors, dims, axis);
    // Over a face, the squares of two errors add up.
    let steeper = if step > 0.0 { 2.0 * face / step } else { 1.0 };
    (SHARE * steeper).clamp(1.0, MOST)
}

/// Mean squares of the errors in the outermost voxels of an axis, and of their steps along it.
fn squares(errors: &[f32], dims: [usize; 3], axis: usize) -> (f32, f32) {
    let stride: usize = dims[..axis].iter().product();
    let span = stride * dims[axis];
    let (mut face, mut steps) = (0.0, 0.0);
    for slab in errors.chunks_exact(span) {
        let (first, last) = (&slab[..stride], &slab[span - stride..]);
        face += sum(first.iter().chain(last).map(|e| e * e));
        steps += sum(slab
            .iter()
            .zip(&slab[stride..])
            .map(|(a, b)| (b - a) * (b - a)));
    }
    let lines = (errors.len() / dims[axis]) as f32;
    (
        face / (2.0 * lines),
        steps / ((dims[axis] - 1) as f32 * lines),
    )
}

fn sum(values: impl Iterator<Item = f32>) -> f32 {
    values.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only faces to neighbours count more, and only where errors inside are alike.
    #[test]
    fn smooth_errors_count_more_at_faces_to_neighbours() {
        let shape = BlockShape {
            dims: [32, 20, 8],
            depth: 3,
        };
        let smooth: Vec<f32> = (0..shape.voxels())
            .map(|i| ((i % 32) as f32 * 0.3).cos())
            .collect();
        let mut seed = 1u32;
        let noise: Vec<f32> = (0..shape.voxels())
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 8) as f32 / (1 << 24) as f32 - 0.5
            })
            .collect();
        let beside = [[true, false], [false, false], [true, true]];
        let [x, y, z] = Weights::new(&smooth, shape, beside).0;
        assert_eq!((x[0], x[1], x[31]), (MOST, 1.0, 1.0));
        assert!(y.iter().all(|&w| w == 1.0));
        // Nothing steps along z at all: there is nothing to compare a face with.
        assert_eq!((z[0], z[7]), (1.0, 1.0));
        let Weights(even) = Weights::new(&noise, shape, [[true; 2]; 3]);
        assert!(even.iter().flatten().all(|&w| w == 1.0));
        let mut voxels = vec![1.0; shape.voxels()];
        Weights([x, y, z]).apply(&mut voxels);
        assert_eq!((voxels[0], voxels[32], voxels[1]), (MOST, MOST, 1.0));
    }
}
