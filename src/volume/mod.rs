//! Volumes as the rest of the crate sees them: extent, voxel type, regions, the block grid,
//! descriptive metadata and sources of voxels. Knows nothing of files, codecs or models.
//!
//! Index order is always `[x, y, z]` for triples and `[z][y][x]` in memory: x is fastest.

mod dtype;
mod grid;
mod metadata;
mod region;
mod source;

pub use dtype::{DType, Voxel};
pub use grid::{BlockGrid, ceil_shift};
pub use metadata::{Metadata, Space};
pub use region::{Extent, Region};
pub use source::{MemoryVolume, VoxelSource};
