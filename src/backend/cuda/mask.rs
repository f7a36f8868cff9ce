//! The masks of a batch of blocks, from bytes to a class for each voxel and back. Kernels: `cuda/mask.cu` and
//! `cuda/mask_encode.cu`.

use zerocopy::{Immutable, IntoBytes};

use super::sink::SinkAddresses;
use super::{Buffer, ByteSink, Kernel, Stream};
use crate::Result;

#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
struct MaskParams {
    heads: u64,
    bytes: u64,
    order: u64,
    places: u64,
    classes: u64,
    status: u64,
    count: u32,
    unused: u32,
}

static MASK: Kernel = Kernel::new::<MaskParams>("mask", "hgv_mask", 128);

/// Warps of a thread block; each works on a block of its own.
const WARPS: u32 = 4;

/// The blocks of a batch whose masks are to be decoded.
#[derive(Debug, Clone, Copy)]
pub struct MaskBatch<'a> {
    /// Heads of the blocks.
    pub heads: &'a Buffer,
    /// The bytes that the heads speak of.
    pub bytes: &'a Buffer,
    /// Numbers of the blocks, u32 each.
    pub order: &'a Buffer,
    /// For each of `order` a u64: where its classes begin in the plane, `[z][y][x]` over its `dims`.
    pub places: &'a Buffer,
    /// How many of `order`.
    pub count: u32,
    /// Plane of classes, a byte each, numbered as [`crate::codec::mask::Class`].
    pub classes: &'a Buffer,
    /// A status word for each head; those of damaged blocks are set, the others left alone.
    pub status: &'a Buffer,
}

/// Queues the decoding of the masks of a batch.
///
/// # Errors
/// Those of the device.
pub fn decode_masks(stream: &mut Stream, batch: &MaskBatch<'_>) -> Result<()> {
    let params = MaskParams {
        heads: batch.heads.address(),
        bytes: batch.bytes.address(),
        order: batch.order.address(),
        places: batch.places.address(),
        classes: batch.classes.address(),
        status: batch.status.address(),
        count: batch.count,
        unused: 0,
    };
    stream.launch(&MASK, batch.count.div_ceil(WARPS), 0, &params)
}

#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
struct MaskEncodeParams {
    heads: u64,
    order: u64,
    places: u64,
    classes: u64,
    status: u64,
    next: u64,
    workspace: u64,
    sink: SinkAddresses,
    words: u32,
    count: u32,
}

static MASK_ENCODE: Kernel = Kernel::new::<MaskEncodeParams>("mask_encode", "hgv_mask_encode", 128);

/// Thread blocks that a multiprocessor may get.
const BLOCKS_PER_MULTIPROCESSOR: u32 = 8;

/// The blocks of a batch whose masks are to be encoded.
#[derive(Debug, Clone, Copy)]
pub struct MaskEncodeBatch<'a> {
    /// Heads of the blocks: `dims` are given, `mask_offset` in the sink and `mask_bytes` are found.
    pub heads: &'a Buffer,
    /// Numbers of the blocks, u32 each.
    pub order: &'a Buffer,
    /// For each of `order` a u64: where its classes begin in the plane, `[z][y][x]` over its `dims`.
    pub places: &'a Buffer,
    /// How many of `order`.
    pub count: u32,
    /// Plane of classes, a byte each.
    pub classes: &'a Buffer,
    /// A status word for each head; [`super::STATUS_FULL`] is set where the sink is too small.
    pub status: &'a Buffer,
    /// Where the bytes go.
    pub sink: &'a ByteSink,
    /// Log2 of the side of a block.
    pub block_log2: u32,
}

/// Encodes masks. One for each stream: its workspace is used by one launch at a time.
#[derive(Debug)]
pub struct MaskEncoder {
    workspace: Buffer,
    next: Buffer,
}

impl MaskEncoder {
    /// An encoder for the work of a stream.
    ///
    /// # Errors
    /// Those of the device.
    pub fn new(stream: &Stream) -> Result<Self> {
        Ok(Self {
            workspace: Buffer::new(stream.device(), 0)?,
            next: Buffer::new(stream.device(), 4)?,
        })
    }

    /// Queues the encoding of the masks of a batch.
    ///
    /// # Errors
    /// Those of the device.
    pub fn encode(&mut self, stream: &mut Stream, batch: &MaskEncodeBatch<'_>) -> Result<()> {
        let most = stream.device().limits().multiprocessors * BLOCKS_PER_MULTIPROCESSOR;
        let blocks = batch.count.div_ceil(WARPS).min(most);
        // A run of n voxels and the class behind it take no more than three bits for each of the n + 1; the
        // last run may take 2 log2(n) + 1.
        let words = (3usize << (3 * batch.block_log2)).div_ceil(32) + 2;
        self.workspace
            .reserve((blocks * WARPS) as usize * 4 * words)?;
        stream.fill(&self.next, 0..4, 0)?;
        let params = MaskEncodeParams {
            heads: batch.heads.address(),
            order: batch.order.address(),
            places: batch.places.address(),
            classes: batch.classes.address(),
            status: batch.status.address(),
            next: self.next.address(),
            workspace: self.workspace.address(),
            sink: batch.sink.addresses(),
            words: words as u32,
            count: batch.count,
        };
        stream.launch(&MASK_ENCODE, blocks, 0, &params)
    }
}
