//! Coder R on the device: layers and residuals, decoded and encoded bit for bit as on the CPU.
//! Kernels: `cuda/rans_*.cu`.

mod encode;
mod layers;
mod residual;
mod tables;

pub use encode::{LayerEncodeBatch, RansEncoder, ResidualEncodeBatch};
pub use layers::{LayerBatch, LayerDecoder};
pub use residual::{ResidualBatch, ResidualDecoder};
pub use tables::{DeviceTables, TableAddresses};

use super::Stream;

/// Warps of a thread block of these kernels; each works on a block of its own.
const WARPS: usize = 8;
/// Thread blocks that a multiprocessor may get. More warps in flight hide more of the serial chain of
/// each, but need more workspace.
const BLOCKS_PER_MULTIPROCESSOR: u32 = 4;

/// Thread blocks to start for so many blocks of voxels.
fn resident_blocks(stream: &Stream, count: u32) -> u32 {
    let most = stream.device().limits().multiprocessors * BLOCKS_PER_MULTIPROCESSOR;
    count.div_ceil(WARPS as u32).min(most)
}

/// The largest numbers of a whole block, which workspaces are made for.
#[derive(Debug, Clone, Copy)]
struct Shape {
    voxels: usize,
    /// Bands of all splits.
    bands: usize,
    /// Groups of the low parts of all splits, which hold those of any band.
    groups: usize,
    /// Groups of the block itself.
    block_groups: usize,
}

impl Shape {
    fn of(block_log2: u32) -> Self {
        let splits = block_log2.saturating_sub(2);
        let cubes = (1..=splits).map(|split| ((1usize << block_log2 >> split).div_ceil(4)).pow(3));
        Self {
            voxels: 1 << (3 * block_log2),
            bands: 7 * splits as usize,
            groups: cubes.sum(),
            block_groups: 1 << (3 * splits),
        }
    }
}
