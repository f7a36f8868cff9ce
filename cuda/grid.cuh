// Blocks under a grid model as the host describes them to the kernels, and what their lattices have in
// common (format-spec/payload.md, sections 18 to 22); src/backend/cuda/grid/layout.rs says the same.
#pragma once

#include "block.cuh"

enum : u32 {
    kGridLevels = 12,      // most levels of a model
    kGridFeatures = 4,     // most features of a level
    kNoInput = 255,        // input shift of features that the network does not read
    kNoNetwork = ~0u,      // offset of the base network of a model that has none
    kMatrices = 3,         // most matrices of a network
    kWidest = 32,          // most inputs and most neurons of a layer
};

// A weight as kernels keep it: magnitude, sign, and what is open while its layer is decoded.
enum : u32 {
    kMagnitude = (1u << 21) - 1u,
    kNegative = 1u << 29,
    kSignOpen = 1u << 30,     // its sign follows at the end of the layer
    kGroupActive = 1u << 31,  // at the first place of a group: the group has weights
    kMaxWeight = 1u << 20,
};

// A level of a model over blocks of one extent.
struct GridLevel {
    u64 steps[kGridFeatures];  // of the weights of each feature, in 1/65536 of a working unit
    u32 lattice[3];            // vertices along x, y, z
    u32 entries;               // weights of a feature: a vertex each, or the entries of its hash table
    u32 weights;               // of its first feature in the weights of the block
    u32 first_feature;         // features of the levels before
    u8 spacing[3];             // vertices lie 2^spacing voxels apart
    u8 features;
    u8 layer;
    u8 skip;         // bit f: feature f adds to the output
    u8 input_shift;  // or kNoInput
    u8 hashed;
};
static_assert(sizeof(GridLevel) == 64, "as in layout.rs");

// A model over blocks of one extent.
struct GridPlan {
    u32 levels;
    u32 cubic;      // order of interpolation: cubic, else linear
    i32 frac_bits;
    u32 hidden;     // hidden layers of a network, 0 = none
    u32 width;
    u32 inputs;     // of the network
    u32 base;       // offset of the base network among those of the batch, or kNoNetwork
    u32 unused;
    GridLevel level[kGridLevels];
};
static_assert(sizeof(GridPlan) == 800, "as in layout.rs");

// A block under a grid model.
struct GridJob {
    u64 weights;  // of its weights in the plane of weights
    u64 network;  // of its own network in the plane of networks
    u32 block;    // in the heads and the statuses of the batch
    u32 plan;
};
static_assert(sizeof(GridJob) == 24, "as in layout.rs");

// What the layers of a block said, beside the weights.
struct GridState {
    u64 present;  // bit `first_feature + f` of a level: feature f has weights; others are not stored
    u32 network;  // kind of its network
    u32 unused;
};
static_assert(sizeof(GridState) == 16, "as in layout.rs");

// Kinds of networks as layers name them.
enum : u32 { kNetworkNone = 0, kNetworkBase = 1, kNetworkOwn = 2 };

// A network is stored matrix by matrix: its shift, weights [output][input], biases.

HGV_DEVICE u32 matrix_outputs(const GridPlan& plan, u32 matrix) { return matrix < plan.hidden ? plan.width : 1u; }
HGV_DEVICE u32 matrix_inputs(const GridPlan& plan, u32 matrix) { return matrix == 0 ? plan.inputs : plan.width; }

// Entry of a vertex in a hash table of mask + 1 entries.
HGV_DEVICE u32 hash_index(u32 x, u32 y, u32 z, u32 mask) {
    return (x ^ y * 2654435761u ^ z * 805459861u) & mask;
}

// Weight of a vertex among those of a feature.
HGV_DEVICE u32 grid_entry(const GridLevel& level, u32 x, u32 y, u32 z) {
    return level.hashed != 0 ? hash_index(x, y, z, level.entries - 1u)
                             : (z * level.lattice[1] + y) * level.lattice[0] + x;
}

HGV_DEVICE i32 signed_weight(u32 weight) {
    const i32 magnitude = static_cast<i32>(weight & kMagnitude);
    return (weight & kNegative) != 0 ? -magnitude : magnitude;
}
