// Blocks to encode as the host describes them; src/encode/device/layout.rs says the same.
//
// All blocks of a batch share a model. Planes hold one element a voxel for every block, in its own box
// `[z][y][x]`, bands nested; the field of the search has padded cells for the seven bands of every split.
#pragma once

#include "device.cuh"

constexpr u32 kSplits = 5;                 // of blocks of 128 voxels
constexpr u32 kBands = 7 * kSplits + 1;    // the coarsest band comes last
constexpr u32 kSegments = 16;              // of a value curve

// One split of a box: geometry of its seven bands, of their cells and of their groups of 4^3 cells. Cells and
// groups are padded by one before and two behind, so that neighbours need no test.
struct SplitShape {
    u32 whole[3];       // extent before the split
    u32 low[3];         // extent of the low-pass part
    u32 cell_y;         // strides of cells
    u32 cell_z;
    u32 cells;          // of one band
    u32 first_cell;     // of band 1, in the field of the block
    u32 group_y;
    u32 group_z;
    u32 groups;
    u32 first_group;
    u32 lattice[3];     // rows of each axis in the table of basis functions
    u32 unused;
};
static_assert(sizeof(SplitShape) == 72, "as in src/encode/device/layout.rs");

// What blocks of one extent share.
struct EncodeShape {
    u32 dims[3];
    u32 depth;
    u32 voxels;
    float steps[kBands];   // of each band in working units, at the last quality
    float gains[kSplits];  // of the low-pass part of each split, for the axes that are split
    SplitShape splits[kSplits];
};
static_assert(sizeof(EncodeShape) == 544, "as in src/encode/device/layout.rs");

// One block.
struct EncodeBlock {
    u64 voxels;    // first element in a plane of voxels
    u64 cells;     // first cell of its field
    u64 groups;    // first group of its field
    u32 shape;
    u32 sides;     // bit 2 a: has a neighbour before it along axis a, bit 2 a + 1: behind it
    float low;     // ends of its range in units of q
    float high;
    float low_at;  // the same as working values
    float high_at;
    float centre;  // what working values are relative to, in units of q or of the curve
    float room;    // how far beyond its ends working values may go
};
static_assert(sizeof(EncodeBlock) == 56, "as in src/encode/device/layout.rs");

// Coefficient indices of one quality: i16, or i32 where the model has 32-bit working values.
struct Indices {
    void* plane;
    u32 wide;
    u32 unused;
};

HGV_DEVICE i32 load_index(const Indices& indices, u64 at) {
    return indices.wide != 0 ? static_cast<const i32*>(indices.plane)[at]
                             : static_cast<i32>(static_cast<const i16*>(indices.plane)[at]);
}

// Saturates, as the decoder would.
HGV_DEVICE void store_index(const Indices& indices, u64 at, i32 index) {
    if (indices.wide != 0) {
        static_cast<i32*>(indices.plane)[at] = index;
    } else {
        static_cast<i16*>(indices.plane)[at] = static_cast<i16>(clamped(index, -32768, 32767));
    }
}

// A coefficient of a box: which band it belongs to, and where in it.
struct Spot {
    u32 depth;   // of the split; the depth of the transform for the coarsest band
    u32 index;   // 1..=7, or 0 for the coarsest band
    u32 at[3];
    u32 dims[3]; // of the band
};

HGV_DEVICE Spot locate(const EncodeShape& shape, u32 x, u32 y, u32 z) {
    Spot spot;
    u32 at[3] = {x, y, z};
    for (u32 depth = 0; depth < shape.depth; depth++) {
        const SplitShape& split = shape.splits[depth];
        u32 index = 0;
        for (u32 a = 0; a < 3; a++) {
            index |= at[a] >= split.low[a] ? 1u << a : 0u;
        }
        if (index != 0) {
            spot.depth = depth;
            spot.index = index;
            for (u32 a = 0; a < 3; a++) {
                const bool high = (index >> a & 1u) != 0;
                spot.at[a] = high ? at[a] - split.low[a] : at[a];
                spot.dims[a] = high ? split.whole[a] - split.low[a] : split.low[a];
            }
            return spot;
        }
    }
    spot.depth = shape.depth;
    spot.index = 0;
    for (u32 a = 0; a < 3; a++) {
        spot.at[a] = at[a];
        spot.dims[a] = shape.splits[shape.depth - 1].low[a];
    }
    return spot;
}

HGV_DEVICE u32 band_of(const Spot& spot) { return 7 * spot.depth + (spot.index == 0 ? 0 : spot.index - 1); }

// Coarser qualities have four times the step of the next, exactly.
HGV_DEVICE float step_at(float step, u32 quality, u32 qualities) {
    return step * static_cast<float>(1u << (2 * (qualities - 1 - quality)));
}

// What a magnitude stands for, in steps; `one` and `more` are what reconstruction takes off.
HGV_DEVICE float value_of(u32 magnitude, float one, float more) {
    return magnitude == 0 ? 0.0f : magnitude == 1 ? 1.0f - one : static_cast<float>(magnitude) - more;
}

// What an index leaves of a coefficient.
HGV_DEVICE float left_of(float coefficient, i32 index, const Spot& spot, float step, float one, float more) {
    const u32 magnitude = static_cast<u32>(index < 0 ? -static_cast<i64>(index) : static_cast<i64>(index));
    const float value = (spot.index == 0 ? static_cast<float>(magnitude) : value_of(magnitude, one, more)) * step;
    return coefficient - (index < 0 ? -value : value);
}

// Room for a sum over the threads of a block.
struct BlockSum {
    float values[256];
};

// Sum over the threads of a block in a fixed order, in every thread; `room` has a place for each thread, and
// their number is a power of two.
HGV_DEVICE float sum_of_block(float* room, float value) {
    const u32 thread = thread_index();
    HGV_SYNC();
    room[thread] = value;
    HGV_SYNC();
    for (u32 half = thread_count() / 2; half > 0; half /= 2) {
        if (thread < half) {
            room[thread] += room[thread + half];
        }
        HGV_SYNC();
    }
    return room[0];
}
