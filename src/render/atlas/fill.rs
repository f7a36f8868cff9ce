//! How a block gets its apron, so that values are continuous over its faces.
//!
//! Levels of detail share their voxels' places: voxel `i` of level `l` lies at `i * 2^l` of the full
//! resolution. A block owns the places from its first voxel up to the first one of the next block, so the
//! face between two blocks is a plane of voxels of the higher one. Both blocks must agree on this plane:
//!
//! * of blocks of one level of detail, both take the voxels of the owner;
//! * of blocks of different levels, the finer one takes over what the coarser one interpolates there, and the
//!   coarser one takes those of the owner's voxels that lie on its lattice.
//!
//! On edges and corners the coarsest of all blocks that touch decides. So coarser blocks are filled first.

use std::ops::Range;

use super::grid::{AnyGrid, Grid};
use super::slot::{Slot, Stored};
use super::tree::Tree;
use crate::volume::DType;

/// What lies in one of the 26 directions from a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Side {
    /// Nothing that is known.
    Nothing,
    /// One slot, on all of the side.
    One(u32),
    /// Finer blocks; with the slot of the block itself, or of a coarser one that holds it, if there is one.
    Finer(Option<u32>),
}

impl Side {
    /// Its slot, if it is one.
    pub(super) fn slot(self) -> Option<u32> {
        match self {
            Self::One(slot) | Self::Finer(Some(slot)) => Some(slot),
            Self::Nothing | Self::Finer(None) => None,
        }
    }
}

/// Sides by direction, `[z][y][x]` from -1 to 1; the middle is the block itself.
pub(super) type Sides = [Side; 27];

pub(super) fn side_index(d: [i32; 3]) -> usize {
    ((d[2] + 1) * 9 + (d[1] + 1) * 3 + d[0] + 1) as usize
}

/// The sides of the block of a slot.
pub(super) fn sides(tree: &Tree, index: u32) -> Sides {
    let id = tree.slots[index as usize].id;
    let level = tree.tier_level(usize::from(id.tier));
    let blocks = tree.tier_blocks(id.tier);
    let mut out = [Side::Nothing; 27];
    for (k, side) in out.iter_mut().enumerate() {
        let d = [k % 3, k / 3 % 3, k / 9].map(|c| c as i64 - 1);
        // At the end of the volume its last voxels go on.
        let at = [0, 1, 2].map(|a| {
            let last = i64::from(blocks[a]) - 1;
            (i64::from(id.block[a]) + d[a]).clamp(0, last.max(0)) as u32
        });
        *side = if at == id.block {
            Side::One(index)
        } else {
            one_side(tree, id.tier, level, at)
        };
    }
    out
}

fn one_side(tree: &Tree, tier: u8, level: u32, block: [u32; 3]) -> Side {
    let leaf = tree.leaf(block.map(|c| c << level));
    if leaf.level < level {
        let id = crate::stream::schedule::BlockId { tier, block };
        return Side::Finer(tree.slot_around(id));
    }
    match leaf.slot() {
        Some(slot) => Side::One(slot as u32),
        None => Side::Nothing,
    }
}

/// A run of voxels along an axis, counted from the first one of the block, that the same blocks touch.
struct Run {
    voxels: Range<i64>,
    /// Directions of the blocks that touch; the highest is that of the owner.
    touching: Range<i32>,
}

fn runs(extent: usize, side: usize) -> Vec<Run> {
    let run = |voxels, touching| Run { voxels, touching };
    let n = extent as i64;
    let mut out = vec![run(-1..0, -1..0), run(0..1, -1..1)];
    if extent == side {
        out.push(run(1..n, 0..1));
        out.push(run(n..n + 1, 0..2));
        out.push(run(n + 1..n + 2, 1..2));
    } else {
        // The volume ends here: the last voxel goes on.
        out.push(run(1..n + 2, 0..1));
    }
    out
}

/// A block and what is around it.
#[derive(Clone, Copy)]
pub(super) struct Filling<'a> {
    pub(super) tree: &'a Tree,
    pub(super) slot: &'a Slot,
    pub(super) sides: &'a Sides,
    /// Grids by slot; those of all coarser slots that are seen are there.
    pub(super) done: &'a [Option<std::sync::Arc<AnyGrid>>],
}

impl Filling<'_> {
    /// The block with its apron.
    pub(super) fn fill(self) -> AnyGrid {
        match self.tree.dtype {
            DType::Uint8 => AnyGrid::Uint8(self.grid()),
            DType::Int8 => AnyGrid::Int8(self.grid()),
            DType::Uint16 => AnyGrid::Uint16(self.grid()),
            DType::Int16 => AnyGrid::Int16(self.grid()),
            DType::Float32 => AnyGrid::Float32(self.grid()),
        }
    }

    fn grid<T: Stored>(self) -> Grid<T> {
        let dims = self.slot.extent.map(|n| n + 3);
        let mut values = vec![T::default(); dims.iter().product()];
        let [xs, ys, zs] = self.slot.extent.map(|n| runs(n, self.slot.side));
        for z in &zs {
            for y in &ys {
                for x in &xs {
                    self.part([x, y, z], dims, &mut values);
                }
            }
        }
        let behind = self.place(self.slot.extent.map(|n| n as i64));
        let extent = self.tree.extent;
        Grid::new(
            dims,
            values,
            [0, 1, 2].map(|a| behind[a] >= extent[a] as i64),
        )
    }

    /// Fills the voxels of three runs.
    fn part<T: Stored>(self, runs: [&Run; 3], dims: [usize; 3], values: &mut [T]) {
        let [xs, ys, zs] = runs.map(|r| r.voxels.clone());
        if xs.is_empty() {
            return;
        }
        let coarser = self.coarsest(runs);
        let owners = self.owners(runs);
        let slot = |side: &Side| side.slot().map(|s| &*self.tree.slots[s as usize]);
        // Where nothing that touches is known, the block goes on with its last voxels.
        let owner = owners.first().map_or(Some(self.slot), slot);
        let otherwise = owners.iter().find_map(slot).unwrap_or(self.slot);
        for z in zs {
            for y in ys.clone() {
                let at = [xs.start, y, z];
                let [i, j, k] = at.map(|c| (c + 1) as usize);
                let first = (k * dims[1] + j) * dims[0] + i;
                let out = &mut values[first..first + (xs.end - xs.start) as usize];
                match (coarser, owner) {
                    (Some(coarser), _) => self.row_of_coarser(coarser, at, out),
                    (None, Some(owner)) => owner.row(self.place(at), 1 << self.slot.lod, out),
                    (None, None) => self.row_of_any(at, otherwise, out),
                }
            }
        }
    }

    /// Place of a voxel of the block's lattice.
    fn place(self, at: [i64; 3]) -> [i64; 3] {
        [0, 1, 2].map(|a| self.slot.first[a] + (at[a] << self.slot.lod))
    }

    /// The coarsest slot that touches the runs, if it is coarser than the block.
    fn coarsest(self, runs: [&Run; 3]) -> Option<u32> {
        let [xs, ys, zs] = runs.map(|r| r.touching.clone());
        let mut found = (self.slot.coarseness(), None);
        for z in zs {
            for y in ys.clone() {
                for x in xs.clone() {
                    let Some(slot) = self.sides[side_index([x, y, z])].slot() else {
                        continue;
                    };
                    let coarseness = self.tree.slots[slot as usize].coarseness();
                    if coarseness > found.0 {
                        found = (coarseness, Some(slot));
                    }
                }
            }
        }
        found.1
    }

    /// The known sides that touch the runs, the owner first. The order is the same for all of them, so that
    /// they agree on who stands in for an owner that is not known.
    fn owners(self, runs: [&Run; 3]) -> Vec<Side> {
        let [xs, ys, zs] = runs.map(|r| r.touching.clone().rev());
        let directions = zs.flat_map(|z| {
            let xs = xs.clone();
            ys.clone()
                .flat_map(move |y| xs.clone().map(move |x| [x, y, z]))
        });
        directions
            .map(|d| self.sides[side_index(d)])
            .filter(|&side| side != Side::Nothing)
            .collect()
    }

    fn row_of_coarser<T: Stored>(self, coarser: u32, at: [i64; 3], out: &mut [T]) {
        let slot = &self.tree.slots[coarser as usize];
        let grid = self.done[coarser as usize].as_deref();
        for (x, o) in (at[0]..).zip(out.iter_mut()) {
            let place = self.place([x, at[1], at[2]]);
            // A block that is not seen has no grid.
            let value = grid.map_or_else(|| slot.value(place), |g| interpolated(slot, g, place));
            *o = T::nearest(value);
        }
    }

    /// Values of whatever is shown there, else of `otherwise`.
    fn row_of_any<T: Stored>(self, at: [i64; 3], otherwise: &Slot, out: &mut [T]) {
        for (x, o) in (at[0]..).zip(out.iter_mut()) {
            let place = self.place([x, at[1], at[2]]);
            let leaf = self.tree.leaf_at(place);
            let slot = leaf.slot().map_or(otherwise, |s| &self.tree.slots[s]);
            *o = T::nearest(slot.value(place));
        }
    }
}

/// The value that a block has at a place.
fn interpolated(slot: &Slot, grid: &AnyGrid, place: [i64; 3]) -> f32 {
    let step = (slot.lod as f32).exp2();
    grid.sample([0, 1, 2].map(|a| 1.0 + (place[a] - slot.first[a]) as f32 / step))
}
