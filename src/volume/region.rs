//! Extents and boxes of voxels.

use crate::{Error, Result};

/// Lengths of the axes in voxels, `[x, y, z]`.
pub type Extent = [u64; 3];

/// A half-open box of voxels, `start <= v < end` on each axis `[x, y, z]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Region {
    /// First voxel of each axis.
    pub start: [u64; 3],
    /// One past the last voxel of each axis.
    pub end: [u64; 3],
}

impl Region {
    /// The whole of a volume.
    pub const fn whole(extent: Extent) -> Self {
        Self {
            start: [0; 3],
            end: extent,
        }
    }

    /// A checked box.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if an axis is empty or reversed.
    pub fn new(start: [u64; 3], end: [u64; 3]) -> Result<Self> {
        for a in 0..3 {
            if start[a] >= end[a] {
                return Err(Error::argument(format!(
                    "region {}:{} on axis {} is empty",
                    start[a],
                    end[a],
                    ["x", "y", "z"][a]
                )));
            }
        }
        Ok(Self { start, end })
    }

    /// Lengths of the axes.
    pub fn extent(&self) -> Extent {
        [0, 1, 2].map(|a| self.end[a].saturating_sub(self.start[a]))
    }

    /// Number of voxels; saturates at `u64::MAX`.
    pub fn voxels(&self) -> u64 {
        self.extent().iter().fold(1u64, |n, &e| n.saturating_mul(e))
    }

    /// Whether the box lies inside a volume of this extent.
    pub fn fits(&self, extent: Extent) -> bool {
        (0..3).all(|a| self.start[a] <= self.end[a] && self.end[a] <= extent[a])
    }

    /// The part that two boxes share, if any.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let start = [0, 1, 2].map(|a| self.start[a].max(other.start[a]));
        let end = [0, 1, 2].map(|a| self.end[a].min(other.end[a]));
        (0..3)
            .all(|a| start[a] < end[a])
            .then_some(Self { start, end })
    }
}
