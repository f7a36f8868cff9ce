//! The residuals of a batch of blocks, from bytes to a number for each voxel.

use zerocopy::{Immutable, IntoBytes};

use super::tables::{DeviceTables, TableAddresses};
use super::{Shape, WARPS, resident_blocks};
use crate::Result;
use crate::backend::cuda::{Buffer, Kernel, Stream};
use crate::codec::tables::TableSet;

#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
struct ResidualParams {
    heads: u64,
    bytes: u64,
    order: u64,
    integers: u64,
    residuals: u64,
    status: u64,
    next: u64,
    workspace: u64,
    tables: TableAddresses,
    count: u32,
    workspace_bytes: u32,
    flag_bytes: u32,
    unused: u32,
}

static RESIDUAL: Kernel = Kernel::new::<ResidualParams>("rans_residual", "hgv_rans_residual", 256);

/// The blocks of a batch whose residuals are to be decoded.
#[derive(Debug, Clone, Copy)]
pub struct ResidualBatch<'a> {
    /// Heads of the blocks.
    pub heads: &'a Buffer,
    /// The bytes that the heads speak of.
    pub bytes: &'a Buffer,
    /// Numbers of the blocks, u32 each; the longest first keep the device busy to the end.
    pub order: &'a Buffer,
    /// How many of `order`.
    pub count: u32,
    /// Plane of decoded integers, those of these blocks at full resolution.
    pub integers: &'a Buffer,
    /// Plane of the same layout that takes the residuals; those of a block without bytes are 0.
    pub residuals: &'a Buffer,
    /// A status word for each head; blocks that are not good are left out, those that turn out damaged are set.
    pub status: &'a Buffer,
    /// Log2 of the side of a block.
    pub block_log2: u32,
}

/// Decodes residuals. One for each stream: its workspace is used by one launch at a time.
#[derive(Debug)]
pub struct ResidualDecoder {
    tables: DeviceTables,
    workspace: Buffer,
    next: Buffer,
}

impl ResidualDecoder {
    /// A decoder for the work of a stream.
    ///
    /// # Errors
    /// Those of the device.
    pub fn new(stream: &mut Stream) -> Result<Self> {
        Ok(Self {
            tables: DeviceTables::new(stream, TableSet::Wavelet)?,
            workspace: Buffer::new(stream.device(), 0)?,
            next: Buffer::new(stream.device(), 4)?,
        })
    }

    /// Queues the decoding of the residuals of a batch.
    ///
    /// # Errors
    /// Those of the device.
    pub fn decode(&mut self, stream: &mut Stream, batch: &ResidualBatch<'_>) -> Result<()> {
        let shape = Shape::of(batch.block_log2);
        let blocks = resident_blocks(stream, batch.count);
        // A mark for each 32 voxels, and one more for the rest of each pass.
        let flag_bytes = shape.block_groups.next_multiple_of(4);
        let workspace_bytes = flag_bytes + 4 * (shape.voxels.div_ceil(32) + 3);
        self.workspace
            .reserve(blocks as usize * WARPS * workspace_bytes)?;
        stream.fill(&self.next, 0..4, 0)?;
        let params = ResidualParams {
            heads: batch.heads.address(),
            bytes: batch.bytes.address(),
            order: batch.order.address(),
            integers: batch.integers.address(),
            residuals: batch.residuals.address(),
            status: batch.status.address(),
            next: self.next.address(),
            workspace: self.workspace.address(),
            tables: self.tables.addresses(),
            count: batch.count,
            workspace_bytes: workspace_bytes as u32,
            flag_bytes: flag_bytes as u32,
            unused: 0,
        };
        stream.launch(&RESIDUAL, blocks, 0, &params)
    }
}
