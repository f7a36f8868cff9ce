//! Which bytes a view needs next: a state machine apart from any input or output.
//!
//! Owns what is wanted, under way, resident and decoded, and the order of it. Must not know sockets,
//! files, threads or clocks: whoever drives it carries out the [`Fetch`]es and [`Decode`]s that it hands
//! out and says how they went.
//!
//! The priority of a layer of a block is the error that it removes from the picture for each byte: pixels
//! that the block covers, times the most opacity that the transfer function gives to its value range, times
//! the error that the layer takes away, over its bytes. The first layer of every visible block of the
//! coarsest tier comes before all else, so that there is a whole picture at once. Layers that only together
//! are worth their bytes count together.
//!
//! A view may want millions of blocks. A plan names the best of them, as many as memory has room for and at
//! first some thousands; boxes of blocks that the transfer function makes clear are passed by.

mod caps;
mod hash;
mod memory;
mod order;
mod plan;
mod queue;
mod ranges;
#[cfg(test)]
mod tests;
mod view;

use std::sync::Arc;

pub use caps::Caps;
pub(super) use queue::gap;
pub use queue::{Budgets, Decode, Fetch, FetchId, Item, Scheduler, Status};
pub use view::{Camera, Projection, Seen, View};

/// A block of a file: its tier (0 = full resolution) and its coordinate x, y, z in the tier's grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockId {
    /// Tier.
    pub tier: u8,
    /// Coordinate x, y, z.
    pub block: [u32; 3],
}

/// One layer of a block as the index knows it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerFacts {
    /// Absolute offset of its bytes in the file.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u32,
    /// In-block level of detail that can be shown once it is there.
    pub lod: u8,
    /// Root of the mean squared error that is left then, in units of the values of the volume.
    pub error: f32,
}

/// What the index says of a block.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockFacts {
    /// Smallest and largest value that any voxel of it has.
    pub range: [f32; 2],
    /// Its layers in order; none for a block of one value.
    pub layers: Vec<LayerFacts>,
}

/// A piece of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PageId(pub u64);

/// The blocks of one resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TierFacts {
    /// Level of detail of the volume that is this tier's full resolution.
    pub base_lod: u32,
    /// Blocks along x, y, z.
    pub blocks: [u32; 3],
}

/// What is known of a file, as far as its index is loaded.
pub trait Catalogue: Send + Sync {
    /// Extent in voxels of the full resolution, x, y, z.
    fn extent(&self) -> [u64; 3];
    /// log2 of the side of a block.
    fn block_log2(&self) -> u32;
    /// The tiers, finest first.
    fn tiers(&self) -> &[TierFacts];
    /// A block; `None` if the page that names it is not loaded.
    fn block(&self, id: BlockId) -> Option<Arc<BlockFacts>>;
    /// The page that names a block, with the offset and length of its bytes.
    fn page_of(&self, id: BlockId) -> (PageId, u64, u32);
    /// Bytes of a decoded voxel.
    fn voxel_bytes(&self) -> u64 {
        1
    }

    /// How many of the first layers of a block of a tier show nothing beyond `caps`; by default all of them.
    fn layers_within(&self, _tier: u8, _caps: Caps) -> usize {
        usize::MAX
    }
}

/// The most opacity, 0..=1, that a transfer function gives to any value from `lo` to `hi`.
pub trait OpacityBound {
    /// The bound for `range`.
    fn most_opacity(&self, range: [f32; 2]) -> f32;
}

impl<F: Fn([f32; 2]) -> f32> OpacityBound for F {
    fn most_opacity(&self, range: [f32; 2]) -> f32 {
        self(range)
    }
}
