//! Where a point lies among the blocks of a level of detail, and what each block near it counts.
//!
//! Along an axis a point lies inside one block, or in the gap of one voxel between the last voxel
//! of a block and the first of the next. In a gap both blocks count, each at its own end, with
//! weights that fall and rise linearly. Knows nothing of what blocks hold.

use crate::volume::Extent;

/// The blocks of a level of detail, seen from points in full-resolution coordinates.
#[derive(Debug, Clone, Copy)]
pub(super) struct Geometry {
    /// Voxels of the level of detail along x, y, z; each at least 1.
    pub(super) extent: Extent,
    /// log2 of the side of a block in voxels of the level of detail.
    pub(super) side_log2: u32,
    /// Voxels of the level of detail in one voxel of the full resolution: `2^-lod`.
    pub(super) scale: f64,
}

/// One block's part in a point along one axis.
#[derive(Debug, Clone, Copy)]
struct Side {
    block: u64,
    /// Position in the block in voxels of the level of detail.
    local: f64,
    weight: f64,
    /// Derivative of the weight; `None` inside a block, where the weight is 1 and the block's own
    /// derivative counts.
    slope: Option<f64>,
}

/// A point along one axis: one block, or two with a gap between them.
#[derive(Debug, Clone, Copy)]
struct AxisPlace {
    sides: [Side; 2],
    count: usize,
    /// Whether the value can change along this axis: not outside of the volume.
    moves: bool,
}

/// What one block counts in the value and the gradient at a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Share {
    /// Block coordinate x, y, z.
    pub(super) block: [u64; 3],
    /// Position in the block, x, y, z, in voxels of the level of detail.
    pub(super) local: [f64; 3],
    /// Factor of the block's value in the value.
    pub(super) weight: f64,
    /// Factors in the components of the gradient: of the block's value where `gap` is set, of its
    /// own derivative elsewhere.
    pub(super) along: [f64; 3],
    /// Axes on which the point lies between two blocks.
    pub(super) gap: [bool; 3],
}

impl Geometry {
    /// The blocks that count at a point (no coordinate is NaN): 1, 2, 4 or 8, x fastest.
    pub(super) fn shares(&self, point: [f64; 3]) -> impl Iterator<Item = Share> {
        let axes = [0, 1, 2].map(|a| self.axis(a, point[a]));
        (0..8usize)
            .map(|k| [k & 1, k >> 1 & 1, k >> 2])
            .filter(move |pick| (0..3).all(|a| pick[a] < axes[a].count))
            .map(move |pick| share(&axes, pick))
    }

    fn axis(&self, axis: usize, coordinate: f64) -> AxisPlace {
        let last = self.extent[axis] - 1;
        let exact = coordinate * self.scale;
        let at = exact.clamp(0.0, last as f64);
        let moves = last > 0 && at == exact;
        // The cell to the right of the point; to its left at the end of the volume.
        let first = (at as u64).min(last.saturating_sub(1));
        let (low, high) = (
            first >> self.side_log2,
            last.min(first + 1) >> self.side_log2,
        );
        let local = |v: u64| v - (low << self.side_log2);
        let t = at - first as f64;
        let side = |block, local, weight, slope| Side {
            block,
            local,
            weight,
            slope,
        };
        let (sides, count) = if low == high {
            let only = side(low, local(first) as f64 + t, 1.0, None);
            ([only; 2], 1)
        } else {
            let before = side(low, local(first) as f64, 1.0 - t, Some(-1.0));
            ([before, side(high, 0.0, t, Some(1.0))], 2)
        };
        AxisPlace {
            sides,
            count,
            moves,
        }
    }
}

fn share(axes: &[AxisPlace; 3], pick: [usize; 3]) -> Share {
    let side = [0, 1, 2].map(|a| axes[a].sides[pick[a]]);
    let others = |a: usize| side[(a + 1) % 3].weight * side[(a + 2) % 3].weight;
    let along = |a: usize| match (axes[a].moves, side[a].slope) {
        (false, _) => 0.0,
        (true, slope) => slope.unwrap_or(1.0) * others(a),
    };
    Share {
        block: side.map(|s| s.block),
        local: side.map(|s| s.local),
        weight: side[0].weight * others(0),
        along: [0, 1, 2].map(along),
        gap: side.map(|s| s.slope.is_some()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use super::*;

    /// Blocks of 4 voxels over 10 x 4 x 1, one level of detail down.
    const GEOMETRY: Geometry = Geometry {
        extent: [10, 4, 1],
        side_log2: 2,
        scale: 0.5,
    };

    fn shares(point: [f64; 3]) -> Vec<Share> {
        GEOMETRY.shares(point).collect()
    }

    #[test]
    fn a_point_inside_a_block_belongs_to_it_alone() {
        let expected = Share {
            block: [1, 0, 0],
            local: [1.25, 2.0, 0.0],
            weight: 1.0,
            along: [1.0, 1.0, 0.0],
            gap: [false; 3],
        };
        assert_eq!(shares([10.5, 4.0, 0.0]), [expected]);
    }

    #[test]
    fn a_point_in_a_gap_belongs_to_both_blocks() {
        let [left, right] = shares([6.5, 2.0, 0.0])[..] else {
            panic!("two blocks");
        };
        assert_eq!((left.block[0], left.local[0], left.weight), (0, 3.0, 0.75));
        assert_eq!(
            (right.block[0], right.local[0], right.weight),
            (1, 0.0, 0.25)
        );
        assert_eq!(
            (left.along, right.along),
            ([-1.0, 0.75, 0.0], [1.0, 0.25, 0.0])
        );
    }

    #[test]
    fn points_outside_are_moved_to_the_border_and_do_not_change() {
        for (x, block, local) in [(-3.0, 0, 0.0), (f64::INFINITY, 2, 1.0), (18.5, 2, 1.0)] {
            let found: Vec<Share> = shares([x, -1e300, 7.0]);
            assert_eq!(found.len(), 1);
            assert_eq!((found[0].block[0], found[0].local[0]), (block, local));
            assert_eq!((found[0].weight, found[0].along), (1.0, [0.0; 3]));
        }
        // The end itself is inside.
        assert_eq!(shares([18.0, 6.0, 0.0])[0].along, [1.0, 1.0, 0.0]);
    }

    #[test]
    fn a_last_block_of_one_voxel_is_reached() {
        let narrow = Geometry {
            extent: [5, 1, 1],
            side_log2: 2,
            scale: 1.0,
        };
        let found: Vec<Share> = narrow.shares([4.0, 0.0, 0.0]).collect();
        assert_eq!([found[0].weight, found[1].weight], [0.0, 1.0]);
        assert_eq!([found[0].along[0], found[1].along[0]], [-1.0, 1.0]);
    }
}
