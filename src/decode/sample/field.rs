//! What a decoded block offers at any point between its voxels.
//!
//! Positions are in voxels of the decoded level of detail, `[x, y, z]`, each in `0..=n - 1`; values
//! are those of voxels, gradients values per voxel of the level of detail. A voxel that is not
//! finite is NaN, and so is all that it takes part in with a weight that is not zero.

/// A block as a function of the place.
pub(super) trait Field: Send + Sync {
    /// Value at a position.
    fn value(&self, at: [f64; 3]) -> f64;

    /// Value, and its derivatives along x, y, z: on a plane of voxels those of the cell above it,
    /// at the last plane those of the cell below it.
    fn value_and_gradient(&self, at: [f64; 3]) -> (f64, [f64; 3]);
}

/// The eight voxels around a position: index into `[z][y][x]`, weight, derivatives of the weight.
pub(super) struct Cell {
    corners: [(usize, [f64; 4]); 8],
}

impl Cell {
    /// The cell of a block of `dims` voxels that holds `at`.
    pub(super) fn new(dims: [usize; 3], at: [f64; 3]) -> Self {
        let axes = [0, 1, 2].map(|a| ends(dims[a], at[a]));
        let corner = |k: usize| {
            let [x, y, z] = [0, 1, 2].map(|a| axes[a][k >> a & 1]);
            let index = (z.index * dims[1] + y.index) * dims[0] + x.index;
            let weights = [
                x.weight * y.weight * z.weight,
                x.slope * y.weight * z.weight,
                x.weight * y.slope * z.weight,
                x.weight * y.weight * z.slope,
            ];
            (index, weights)
        };
        Self {
            corners: std::array::from_fn(corner),
        }
    }

    /// A plane of numbers at the position: its value (`N` = 1), and its derivatives (`N` = 4).
    pub(super) fn of<const N: usize>(&self, plane: &[f32]) -> [f64; N] {
        let mut sum = [0.0; N];
        for (index, weights) in &self.corners {
            let value = f64::from(plane[*index]);
            for (s, &w) in sum.iter_mut().zip(weights) {
                // NaN without weight takes no part.
                if w != 0.0 {
                    *s += w * value;
                }
            }
        }
        sum
    }
}

/// One end of a cell along one axis.
#[derive(Clone, Copy)]
struct End {
    index: usize,
    weight: f64,
    slope: f64,
}

fn ends(n: usize, at: f64) -> [End; 2] {
    let low = (at as usize).min(n.saturating_sub(2));
    let t = at - low as f64;
    let slope = if n > 1 { 1.0 } else { 0.0 };
    let end = |index, weight, slope| End {
        index,
        weight,
        slope,
    };
    [
        end(low, 1.0 - t, -slope),
        end((low + 1).min(n - 1), t, slope),
    ]
}

/// Every voxel has one value.
pub(super) struct ConstantField {
    value: f64,
}

impl ConstantField {
    /// Of this value.
    pub(super) fn new(value: f32) -> Self {
        Self {
            value: finite(value).into(),
        }
    }
}

impl Field for ConstantField {
    fn value(&self, _: [f64; 3]) -> f64 {
        self.value
    }
    fn value_and_gradient(&self, _: [f64; 3]) -> (f64, [f64; 3]) {
        // NaN stays NaN.
        (self.value, [self.value * 0.0; 3])
    }
}

/// Decoded voxels, interpolated trilinearly.
pub(super) struct VoxelField {
    dims: [usize; 3],
    values: Vec<f32>,
}

impl VoxelField {
    /// Voxels `[z][y][x]` of a block of `dims`, as many as it has.
    pub(super) fn new(dims: [usize; 3], mut values: Vec<f32>) -> Self {
        debug_assert_eq!(dims.iter().product::<usize>(), values.len());
        values.iter_mut().for_each(|v| *v = finite(*v));
        Self { dims, values }
    }
}

impl Field for VoxelField {
    fn value(&self, at: [f64; 3]) -> f64 {
        let [value] = Cell::new(self.dims, at).of(&self.values);
        value
    }
    fn value_and_gradient(&self, at: [f64; 3]) -> (f64, [f64; 3]) {
        let [value, x, y, z] = Cell::new(self.dims, at).of(&self.values);
        (value, [x, y, z])
    }
}

/// Infinities would cancel or win in a sum; they are NaN like all that is masked.
fn finite(value: f32) -> f32 {
    if value.is_finite() { value } else { f32::NAN }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 3 x 2 x 1 voxels.
    fn field() -> VoxelField {
        VoxelField::new([3, 2, 1], vec![0.0, 1.0, 5.0, 10.0, 12.0, f32::INFINITY])
    }

    #[test]
    fn trilinear_with_one_sided_derivatives() {
        let f = field();
        assert_eq!(f.value([0.5, 0.5, 0.0]), 5.75);
        assert_eq!(
            f.value_and_gradient([0.5, 0.5, 0.0]),
            (5.75, [1.5, 10.5, 0.0])
        );
        // From above on a plane of voxels, from below on the last.
        assert_eq!(f.value_and_gradient([1.0, 0.0, 0.0]).1, [4.0, 11.0, 0.0]);
        assert_eq!(f.value_and_gradient([2.0, 0.0, 0.0]).1[0], 4.0);
    }

    #[test]
    fn a_voxel_that_is_not_finite_counts_only_with_a_weight() {
        let f = field();
        assert!(f.value([2.0, 1.0, 0.0]).is_nan() && f.value([1.5, 0.5, 0.0]).is_nan());
        assert_eq!(
            (f.value([2.0, 0.0, 0.0]), f.value([1.0, 1.0, 0.0])),
            (5.0, 12.0)
        );
        // The value at a finite voxel is known where its derivative towards the other is not.
        let (value, [x, y, z]) = f.value_and_gradient([2.0, 0.0, 0.0]);
        assert!(value == 5.0 && x == 4.0 && y.is_nan() && z == 0.0);
        let nothing = ConstantField::new(f32::NEG_INFINITY);
        assert!(
            nothing
                .value_and_gradient([0.0; 3])
                .1
                .iter()
                .all(|g| g.is_nan())
        );
    }
}
