//! Values and gradients between voxels, several places at a time.

use crate::render::atlas::Stored;
use crate::render::atlas::grid::{Grid, mix};

/// Places at a time.
pub(super) const LANES: usize = 8;

/// Where samples lie in a grid.
pub(in crate::render) struct Places {
    /// Index of the voxel before each sample.
    index: [u32; LANES],
    /// Way from there to the next voxels, 0..=1, by axis.
    part: [[f32; LANES]; 3],
}

/// Places of samples from `sample` on, each `step` from the one before; held inside the grid.
#[inline(always)]
pub(in crate::render) fn places<T>(
    grid: &Grid<T>,
    from: [f32; 3],
    step: [f32; 3],
    sample: f32,
) -> Places {
    let dims = grid.dims;
    let mut index = [0u32; LANES];
    let mut part = [[0.0; LANES]; 3];
    let stride = [1, dims[0] as u32, (dims[0] * dims[1]) as u32];
    for a in 0..3 {
        // One voxel is left on each side for gradients.
        let most = (dims[a] - 3) as f32;
        for l in 0..LANES {
            let u = from[a] + (sample + l as f32) * step[a];
            let u = u.max(1.0).min(grid.end[a]);
            let before = u.min(most) as i32;
            index[l] += before as u32 * stride[a];
            part[a][l] = u - before as f32;
        }
    }
    Places { index, part }
}

/// Trilinear values.
#[inline(always)]
#[expect(
    clippy::needless_range_loop,
    reason = "lanes of several arrays at once"
)]
pub(super) fn values<T: Stored>(grid: &Grid<T>, places: &Places) -> [f32; LANES] {
    let (dx, dxy) = (grid.dims[0], grid.dims[0] * grid.dims[1]);
    let mut corners = [[0.0; LANES]; 8];
    for l in 0..LANES {
        let at = places.index[l] as usize;
        for (row, offset) in [0, dx, dxy, dxy + dx].into_iter().enumerate() {
            if let Some([a, b]) = grid.values[at + offset..].first_chunk() {
                corners[2 * row][l] = a.float();
                corners[2 * row + 1][l] = b.float();
            }
        }
    }
    let mut out = [0.0; LANES];
    for l in 0..LANES {
        let [x, y, z] = [0, 1, 2].map(|a| places.part[a][l]);
        let line = |row: usize| mix(corners[2 * row][l], corners[2 * row + 1][l], x);
        out[l] = mix(mix(line(0), line(1), y), mix(line(2), line(3), y), z);
    }
    out
}

/// Gradient at a sample for a unit of length: central differences at the voxels around, interpolated.
#[inline(always)]
pub(in crate::render) fn gradient<T: Stored>(
    grid: &Grid<T>,
    places: &Places,
    lane: usize,
    per_length: [f32; 3],
) -> [f32; 3] {
    let (dx, dxy) = (grid.dims[0], grid.dims[0] * grid.dims[1]);
    let at = places.index[lane] as usize;
    let [x, y, z] = [0, 1, 2].map(|a| places.part[a][lane]);
    let value = |i: usize| grid.values[i].float();
    // Four values in a row: along x before, both of the cell, behind.
    let row = |i: usize| [value(i - 1), value(i), value(i + 1), value(i + 2)];
    let inner = |i: usize| mix(value(i), value(i + 1), x);
    let rows = [row(at), row(at + dx), row(at + dxy), row(at + dxy + dx)];
    let across = rows.map(|r| mix(r[2] - r[0], r[3] - r[1], x));
    let middle = rows.map(|r| mix(r[1], r[2], x));
    let gx = mix(
        mix(across[0], across[1], y),
        mix(across[2], across[3], y),
        z,
    );
    let below = mix(inner(at - dx), inner(at - dx + dxy), z);
    let above = mix(inner(at + 2 * dx), inner(at + 2 * dx + dxy), z);
    let (low, high) = (mix(middle[0], middle[2], z), mix(middle[1], middle[3], z));
    let gy = mix(high - below, above - low, y);
    let before = mix(inner(at - dxy), inner(at - dxy + dx), y);
    let behind = mix(inner(at + 2 * dxy), inner(at + 2 * dxy + dx), y);
    let (near, far) = (mix(middle[0], middle[1], y), mix(middle[2], middle[3], y));
    let gz = mix(far - before, behind - near, z);
    [
        0.5 * gx * per_length[0],
        0.5 * gy * per_length[1],
        0.5 * gz * per_length[2],
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use crate::render::BrickAtlas;
    use crate::render::atlas::Sight;
    use crate::render::atlas::grid::AnyGrid;
    use crate::render::tests::made::{Made, noise};
    use crate::render::tests::oracle::Dense;

    #[test]
    fn values_and_gradients_are_those_of_a_dense_array() {
        let made = Made::new([70, 45, 51], 4, false, noise);
        let dense = Dense {
            extent: made.extent,
            value: &noise,
        };
        let sight = Sight {
            view: None,
            bound: &|_: [f32; 2]| 1.0,
            bound_name: 1,
        };
        let stage = BrickAtlas::new(0).stage(&made.bricks(|_| Some(0)), sight);
        let mut turn = 1u64;
        for _ in 0..20_000 {
            let place = made.extent.map(|e| {
                turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let part = (turn >> 40) as f64 / (1u64 << 24) as f64;
                // From half a voxel outside to half a voxel outside.
                part * e as f64 - 0.5
            });
            let leaf = stage.tree.leaf(place.map(|p| (p.max(0.0) / 16.0) as u32));
            let shown = &stage.shown[leaf.slot().unwrap()];
            let Some((AnyGrid::Float32(grid), _)) = shown.values.as_ref().map(|v| (&*v.0, ()))
            else {
                panic!("no grid of floats");
            };
            let u = [0, 1, 2].map(|a| (place[a] - shown.first[a] + 1.0) as f32);
            let places = places(grid, u, [0.0; 3], 0.0);
            let value = values(grid, &places)[0];
            let expected = dense.value(place);
            assert!((f64::from(value) - expected).abs() < 1e-3, "{place:?}");
            let found = gradient(grid, &places, 0, [1.0; 3]).map(f64::from);
            let expected = dense.gradient(place, [1.0; 3]);
            let apart = (0..3)
                .map(|a| (found[a] - expected[a]).abs())
                .fold(0.0, f64::max);
            assert!(apart < 1e-3, "{place:?}: {found:?} {expected:?}");
        }
    }
}
