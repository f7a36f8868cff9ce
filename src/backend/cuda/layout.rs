//! A batch of blocks as kernels see it; `cuda/block.cuh` says the same.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Status word of a block that is as it should be.
pub const STATUS_GOOD: u32 = 0;
/// Status word of a block whose bytes break a rule; the CPU decoder says which.
pub const STATUS_BAD: u32 = 1;

/// Bits of [`BlockHead::flags`].
#[derive(Debug, Clone, Copy)]
pub struct BlockFlags;

impl BlockFlags {
    /// Indices and working values are i32, else i16.
    pub const WIDE: u32 = 1 << 0;
    /// Coder M, else coder R.
    pub const CODER_M: u32 = 1 << 1;
    /// Has a mask of voxels that are not finite.
    pub const MASKED: u32 = 1 << 2;
    /// Ends with a residual.
    pub const RESIDUAL: u32 = 1 << 3;
    /// A grid model, else wavelets.
    pub const GRID: u32 = 1 << 4;
}

/// One block to decode or that was encoded. Offsets of planes count elements of the plane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub struct BlockHead {
    /// Of its coefficient indices in the plane of its width, `[z][y][x]` over `dims`, bands nested.
    pub indices: u64,
    /// Of its decoded integers in the plane of i32, `[z][y][x]` over the extent at `lod`.
    pub integers: u64,
    /// Of its mask in the bytes of the batch.
    pub mask_offset: u64,
    /// Of its residual in the bytes of the batch.
    pub residual_offset: u64,
    /// Bytes of the mask.
    pub mask_bytes: u32,
    /// Bytes of the residual.
    pub residual_bytes: u32,
    /// Its first layer in the layer heads of the batch.
    pub first_layer: u32,
    /// Number of its layers.
    pub layers: u32,
    /// Voxels along x, y, z, each 1..=128.
    pub dims: [u32; 3],
    /// Transform levels.
    pub depth: u32,
    /// In-block level of detail that is wanted.
    pub lod: u32,
    /// Bits of [`BlockFlags`].
    pub flags: u32,
    /// Model in the table of the batch.
    pub model: u32,
    /// Smallest integer of the block.
    pub lo: i32,
    /// Largest integer of the block.
    pub hi: i32,
    /// Quality index that the last layer brings.
    pub quality: u32,
}

/// One layer of a block, without a mask before it or a residual behind it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub struct LayerHead {
    /// In the bytes of the batch.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u32,
    /// In-block level of detail that it completes.
    pub lod: u8,
    /// Quality index that it brings bands to.
    pub quality: u8,
    /// 0.
    pub unused: u16,
}

const _: () = assert!(size_of::<BlockHead>() == 88 && size_of::<LayerHead>() == 16);
