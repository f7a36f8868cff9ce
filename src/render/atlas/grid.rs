//! The values of a block with an apron, as they are sampled.

use super::slot::Stored;
use crate::stream::schedule::OpacityBound;

/// log2 of the side of a cell, the unit of skipping inside a block, in voxels.
pub(in crate::render) const CELL_LOG2: u32 = 3;

/// Values of a block `[z][y][x]`, with an apron of one voxel on the low sides and two on the high ones: what
/// values and gradients between its voxels and those of its neighbours take.
#[derive(Debug)]
pub(in crate::render) struct Grid<T> {
    /// Values along x, y, z with apron.
    pub(in crate::render) dims: [usize; 3],
    pub(in crate::render) values: Vec<T>,
    /// Farthest place along x, y, z: the volume ends at its last voxel.
    pub(in crate::render) end: [f32; 3],
    /// Cells along x, y, z.
    pub(in crate::render) cells: [usize; 3],
    /// Smallest and largest value that trilinear interpolation finds in each cell, `[z][y][x]`.
    ranges: Vec<[f32; 2]>,
}

impl<T: Stored> Grid<T> {
    /// From values whose ranges are not known yet, and the axes along which the volume ends with the block.
    pub(super) fn new(dims: [usize; 3], values: Vec<T>, ends: [bool; 3]) -> Self {
        let cells = dims.map(|n| (n - 3).div_ceil(1 << CELL_LOG2));
        let mut grid = Self {
            dims,
            values,
            end: [0, 1, 2].map(|a| (dims[a] - if ends[a] { 3 } else { 2 }) as f32),
            cells,
            ranges: Vec::new(),
        };
        grid.ranges = grid.find_ranges();
        grid
    }

    /// Where the values that count in cell `c` of an axis lie.
    fn reach(&self, axis: usize, c: usize) -> std::ops::Range<usize> {
        let first = 1 + (c << CELL_LOG2);
        // Places below the first voxel count in the first cell.
        let start = if c == 0 { 0 } else { first };
        start..(first + (1 << CELL_LOG2) + 1).min(self.dims[axis] - 1)
    }

    fn find_ranges(&self) -> Vec<[f32; 2]> {
        let [cx, cy, cz] = self.cells;
        let mut out = vec![[f32::INFINITY, f32::NEG_INFINITY]; cx * cy * cz];
        for z in 0..cz {
            for y in 0..cy {
                let rows = &mut out[(z * cy + y) * cx..][..cx];
                for k in self.reach(2, z) {
                    for j in self.reach(1, y) {
                        let at = (k * self.dims[1] + j) * self.dims[0];
                        let row = &self.values[at..at + self.dims[0]];
                        for (x, range) in rows.iter_mut().enumerate() {
                            widen(range, &row[self.reach(0, x)]);
                        }
                    }
                }
            }
        }
        out
    }

    /// Which cells may be seen, `[z][y][x]`.
    pub(super) fn seen(&self, bound: &dyn OpacityBound) -> Vec<bool> {
        let opaque = |&range: &[f32; 2]| bound.most_opacity(range) > 0.0;
        self.ranges.iter().map(opaque).collect()
    }

    /// The value between voxels, at `u` voxels from the corner of the apron.
    pub(in crate::render) fn sample(&self, u: [f32; 3]) -> f32 {
        let mut at = [0; 3];
        let mut t = [0.0; 3];
        for a in 0..3 {
            let inside = u[a].clamp(0.0, (self.dims[a] - 1) as f32);
            at[a] = (inside as usize).min(self.dims[a] - 2);
            t[a] = inside - at[a] as f32;
        }
        let [dx, dy, _] = self.dims;
        let first = (at[2] * dy + at[1]) * dx + at[0];
        let line = |i: usize| mix(self.values[i].float(), self.values[i + 1].float(), t[0]);
        let face = |i: usize| mix(line(i), line(i + dx), t[1]);
        mix(face(first), face(first + dx * dy), t[2])
    }
}

/// `a + t * (b - a)`, and exactly `a` if both are the same.
#[inline(always)]
pub(in crate::render) fn mix(a: f32, b: f32, t: f32) -> f32 {
    a + t * (b - a)
}

fn widen<T: Stored>(range: &mut [f32; 2], values: &[T]) {
    for v in values {
        let v = v.float();
        *range = [range[0].min(v), range[1].max(v)];
    }
}

/// A grid of any voxel type.
#[derive(Debug)]
pub(in crate::render) enum AnyGrid {
    Uint8(Grid<u8>),
    Int8(Grid<i8>),
    Uint16(Grid<u16>),
    Int16(Grid<i16>),
    Float32(Grid<f32>),
}

/// Does the same with a grid of any type.
macro_rules! with_grid {
    ($any:expr, $grid:ident => $body:expr) => {
        match $any {
            AnyGrid::Uint8($grid) => $body,
            AnyGrid::Int8($grid) => $body,
            AnyGrid::Uint16($grid) => $body,
            AnyGrid::Int16($grid) => $body,
            AnyGrid::Float32($grid) => $body,
        }
    };
}
pub(in crate::render) use with_grid;

impl AnyGrid {
    pub(in crate::render) fn sample(&self, u: [f32; 3]) -> f32 {
        with_grid!(self, g => g.sample(u))
    }

    /// Cells along x, y, z.
    pub(in crate::render) fn cells(&self) -> [usize; 3] {
        with_grid!(self, g => g.cells)
    }

    /// Smallest and largest value of each cell, `[z][y][x]`.
    pub(in crate::render) fn ranges(&self) -> &[[f32; 2]] {
        with_grid!(self, g => &g.ranges)
    }

    /// Values along x, y, z with apron, farthest place, and cells.
    pub(in crate::render) fn frame(&self) -> ([usize; 3], [f32; 3], [usize; 3]) {
        with_grid!(self, g => (g.dims, g.end, g.cells))
    }

    /// Its values, `[z][y][x]`, little-endian.
    pub(in crate::render) fn voxels(&self) -> &[u8] {
        with_grid!(self, g => zerocopy::IntoBytes::as_bytes(&g.values[..]))
    }

    pub(super) fn seen(&self, bound: &dyn OpacityBound) -> Vec<bool> {
        with_grid!(self, g => g.seen(bound))
    }

    pub(super) fn bytes(&self) -> u64 {
        with_grid!(self, g => size_of_val(&g.values[..]) + size_of_val(&g.ranges[..])) as u64
    }
}
