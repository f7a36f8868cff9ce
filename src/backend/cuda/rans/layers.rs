//! The layers of a batch of blocks of coder R, from bytes to coefficient indices.

use zerocopy::{Immutable, IntoBytes};

use super::tables::{DeviceTables, TableAddresses};
use super::{Shape, WARPS, resident_blocks};
use crate::Result;
use crate::backend::cuda::{Buffer, Kernel, Stream};
use crate::codec::tables::TableSet;

#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
struct LayerParams {
    heads: u64,
    layers: u64,
    bytes: u64,
    order: u64,
    narrow: u64,
    wide: u64,
    status: u64,
    next: u64,
    workspace: u64,
    tables: TableAddresses,
    count: u32,
    workspace_bytes: u32,
    flag_bytes: u32,
    unused: u32,
}

static LAYERS: Kernel = Kernel::new::<LayerParams>("rans_layer", "hgv_rans_layers", 256);

/// The blocks of a batch whose layers are to be decoded.
#[derive(Debug, Clone, Copy)]
pub struct LayerBatch<'a> {
    /// Heads of the blocks.
    pub heads: &'a Buffer,
    /// Heads of their layers.
    pub layers: &'a Buffer,
    /// The bytes that the heads speak of.
    pub bytes: &'a Buffer,
    /// Numbers of the blocks to decode, u32 each; the longest first keep the device busy to the end.
    pub order: &'a Buffer,
    /// How many of `order`.
    pub count: u32,
    /// Plane of i16 indices, filled with 0 where the blocks are. May be any buffer if no block is narrow.
    pub narrow: &'a Buffer,
    /// Plane of i32 indices, likewise.
    pub wide: &'a Buffer,
    /// A status word for each head; those of damaged blocks are set, the others left alone.
    pub status: &'a Buffer,
    /// Log2 of the side of a block.
    pub block_log2: u32,
}

/// Decodes layers of coder R. One for each stream: its workspace is used by one launch at a time.
#[derive(Debug)]
pub struct LayerDecoder {
    tables: DeviceTables,
    workspace: Buffer,
    next: Buffer,
}

impl LayerDecoder {
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

    /// Queues the decoding of the layers of a batch.
    ///
    /// # Errors
    /// Those of the device.
    pub fn decode(&mut self, stream: &mut Stream, batch: &LayerBatch<'_>) -> Result<()> {
        let shape = Shape::of(batch.block_log2);
        let blocks = resident_blocks(stream, batch.count);
        // A mark for each 32 coefficients, and one more for the rest of each pass of each band.
        let marks = shape.voxels.div_ceil(32) + 3 * shape.bands;
        let flag_bytes = shape.groups.next_multiple_of(4);
        let workspace_bytes = flag_bytes + 4 * marks;
        self.workspace
            .reserve(blocks as usize * WARPS * workspace_bytes)?;
        stream.fill(&self.next, 0..4, 0)?;
        let params = LayerParams {
            heads: batch.heads.address(),
            layers: batch.layers.address(),
            bytes: batch.bytes.address(),
            order: batch.order.address(),
            narrow: batch.narrow.address(),
            wide: batch.wide.address(),
            status: batch.status.address(),
            next: self.next.address(),
            workspace: self.workspace.address(),
            tables: self.tables.addresses(),
            count: batch.count,
            workspace_bytes: workspace_bytes as u32,
            flag_bytes: flag_bytes as u32,
            unused: 0,
        };
        stream.launch(&LAYERS, blocks, 0, &params)
    }
}
