//! The layers of a batch of blocks of coder M, between bytes and coefficient indices.

use zerocopy::{Immutable, IntoBytes};

use super::tables;
use crate::Result;
use crate::backend::cuda::{Buffer, Kernel, Stream};

#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
struct DecodeParams {
    heads: u64,
    layers: u64,
    bytes: u64,
    tables: u64,
    order: u64,
    narrow: u64,
    wide: u64,
    status: u64,
}

#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
struct EncodeParams {
    heads: u64,
    layers: u64,
    bytes: u64,
    tables: u64,
    order: u64,
    rooms: u64,
    narrow: u64,
    wide: u64,
    narrow_target: u64,
    wide_target: u64,
    narrow_stride: u64,
    wide_stride: u64,
    status: u64,
}

static DECODE: Kernel = Kernel::new::<DecodeParams>("mixing", "hgv_mixing_decode", 32);
static ENCODE: Kernel = Kernel::new::<EncodeParams>("mixing", "hgv_mixing_encode", 32);

/// Blocks of a batch whose layers are to be decoded.
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
    /// Plane of i16 indices; those of the blocks are overwritten, whatever they hold. May be any buffer
    /// if no block is narrow.
    pub narrow: &'a Buffer,
    /// Plane of i32 indices, likewise.
    pub wide: &'a Buffer,
    /// A status word for each head; those of damaged blocks are set, the others left alone.
    pub status: &'a Buffer,
    /// Log2 of the side of a block.
    pub block_log2: u32,
}

/// Blocks of a batch whose layers are to be encoded.
#[derive(Debug, Clone, Copy)]
pub struct EncodeBatch<'a> {
    /// Heads, planes to work in, the order and the status, as for decoding. Of the layer heads, level of detail
    /// and quality say what to encode; offset and bytes are set. `bytes` receives the layers of a block one
    /// behind the other. After it the planes hold what a decoder would hold.
    ///
    /// The status of a block is bad if an index is no refinement of the one before, or the bytes have
    /// no room; the CPU encoder says which, or encodes it.
    pub layers: LayerBatch<'a>,
    /// Where in `bytes` those of each head may begin, and, one more, where the last one's must end; u64 each.
    pub rooms: &'a Buffer,
    /// Planes of i16 indices to encode, one for each quality, quality 0 first.
    pub narrow_target: &'a Buffer,
    /// Planes of i32 indices, likewise.
    pub wide_target: &'a Buffer,
    /// Elements between the planes of two qualities, i16.
    pub narrow_stride: u64,
    /// The same, i32.
    pub wide_stride: u64,
}

/// Decodes and encodes layers of coder M.
#[derive(Debug)]
pub struct LayerCoder {
    tables: Buffer,
}

impl LayerCoder {
    /// A coder for any stream of the device, once the work of `stream` so far is done.
    ///
    /// # Errors
    /// Those of the device.
    pub fn new(stream: &mut Stream) -> Result<Self> {
        Ok(Self {
            tables: tables::upload(stream)?,
        })
    }

    /// Queues the decoding of the layers of a batch.
    ///
    /// # Errors
    /// Those of the device.
    pub fn decode(&self, stream: &mut Stream, batch: &LayerBatch<'_>) -> Result<()> {
        let params = DecodeParams {
            heads: batch.heads.address(),
            layers: batch.layers.address(),
            bytes: batch.bytes.address(),
            tables: self.tables.address(),
            order: batch.order.address(),
            narrow: batch.narrow.address(),
            wide: batch.wide.address(),
            status: batch.status.address(),
        };
        stream.launch(&DECODE, batch.count, flag_bytes(batch.block_log2), &params)
    }

    /// Queues the encoding of the layers of a batch.
    ///
    /// # Errors
    /// Those of the device.
    pub fn encode(&self, stream: &mut Stream, encode: &EncodeBatch<'_>) -> Result<()> {
        let batch = &encode.layers;
        let params = EncodeParams {
            heads: batch.heads.address(),
            layers: batch.layers.address(),
            bytes: batch.bytes.address(),
            tables: self.tables.address(),
            order: batch.order.address(),
            rooms: encode.rooms.address(),
            narrow: batch.narrow.address(),
            wide: batch.wide.address(),
            narrow_target: encode.narrow_target.address(),
            wide_target: encode.wide_target.address(),
            narrow_stride: encode.narrow_stride,
            wide_stride: encode.wide_stride,
            status: batch.status.address(),
        };
        stream.launch(&ENCODE, batch.count, flag_bytes(batch.block_log2), &params)
    }
}

/// A bit for each group of the seven bands of the finest split, 16 bits a row.
fn flag_bytes(block_log2: u32) -> u32 {
    let groups = (1u32 << block_log2 >> 1).div_ceil(4);
    7 * groups * groups * 2
}
