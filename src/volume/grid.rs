//! How a volume is cut into blocks.

use super::{Extent, Region};

/// `ceil(n / 2^shift)`: the extent of an axis `shift` levels of detail down.
pub const fn ceil_shift(n: u64, shift: u32) -> u64 {
    if shift >= 64 {
        return (n != 0) as u64;
    }
    (n >> shift) + (n & ((1u64 << shift) - 1) != 0) as u64
}

/// The grid of cubic blocks that covers a volume; blocks at the far border are cut, not padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockGrid {
    /// Extent of the volume in voxels.
    pub extent: Extent,
    /// log2 of the block's side in voxels (5, 6 or 7).
    pub block_log2: u32,
}

impl BlockGrid {
    /// Blocks along each axis.
    pub fn blocks(&self) -> [u64; 3] {
        self.extent.map(|e| ceil_shift(e, self.block_log2))
    }

    /// Number of blocks; saturates at `u64::MAX`.
    pub fn count(&self) -> u64 {
        self.blocks().iter().fold(1u64, |n, &b| n.saturating_mul(b))
    }

    /// The voxels of block `[bx, by, bz]`, cut at the border of the volume.
    pub fn region(&self, block: [u64; 3]) -> Region {
        let start = block.map(|b| b << self.block_log2);
        let end = [0, 1, 2].map(|a| self.extent[a].min((block[a] + 1) << self.block_log2));
        Region { start, end }
    }

    /// The blocks that a region of voxels touches, as a half-open box of block coordinates.
    pub fn touched(&self, region: &Region) -> Region {
        Region {
            start: region.start.map(|v| v >> self.block_log2),
            end: region.end.map(|v| ceil_shift(v, self.block_log2)),
        }
    }
}
