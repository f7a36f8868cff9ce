// A batch of blocks as the host describes it to every kernel; src/backend/cuda/layout.rs says the same.
#pragma once

#include "device.cuh"

// Bits of BlockHead::flags.
enum : u32 {
    kWide = 1u << 0,         // indices and working values are i32, else i16
    kCoderM = 1u << 1,       // coder M, else coder R
    kMasked = 1u << 2,       // has a mask of voxels that are not finite
    kResidual = 1u << 3,     // ends with a residual
    kGrid = 1u << 4,         // a grid model, else wavelets
};

// One block to decode or that was encoded. Offsets of planes count elements of the plane.
struct BlockHead {
    u64 indices;          // of its coefficient indices in the plane of its width, [z][y][x] over dims, bands nested
    u64 integers;         // of its decoded integers in the plane of i32, [z][y][x] over the extent at `lod`
    u64 mask_offset;      // of its mask in the bytes of the batch
    u64 residual_offset;  // of its residual
    u32 mask_bytes;
    u32 residual_bytes;
    u32 first_layer;      // in the layer heads of the batch
    u32 layers;           // how many
    u32 dims[3];          // voxels along x, y, z; 1..=128
    u32 depth;            // transform levels
    u32 lod;              // in-block level of detail that is wanted
    u32 flags;
    u32 model;            // in the table of models of the batch
    i32 lo;               // smallest integer of the block
    i32 hi;               // largest
    u32 quality;          // quality index that the last layer brings
};
static_assert(sizeof(BlockHead) == 88, "as in layout.rs");

// One layer of a block, without a mask before it or a residual behind it.
struct LayerHead {
    u64 offset;   // in the bytes of the batch
    u32 bytes;
    u8 lod;       // in-block level of detail that it completes
    u8 quality;   // index that it brings bands to
    u16 unused;
};
static_assert(sizeof(LayerHead) == 16, "as in layout.rs");

// Words of a status: 0 = as it should be.
enum : u32 {
    kGood = 0,
    kBad = 1,  // bytes that break a rule; the CPU says which
};

// Extent along an axis after `s` halvings.
HGV_DEVICE u32 halved(u32 extent, u32 s) { return ceil_shift(extent, s); }
