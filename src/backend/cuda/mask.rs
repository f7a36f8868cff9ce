//! The masks of a batch of blocks, from bytes to a class for each voxel. Kernel: `cuda/mask.cu`.

use zerocopy::{Immutable, IntoBytes};

use super::{Buffer, Kernel, Stream};
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
