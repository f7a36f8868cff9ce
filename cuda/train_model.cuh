// Models of blocks in training as the host describes them; src/backend/cuda/train/layout.rs says the same.
#pragma once

#include "train_lattice.cuh"

enum : u32 {
    kTrainThreads = 256,
    kTrainWarps = kTrainThreads / 32,
    kMostTrainLevels = 12,
    kDenseLevel = 0xffffffffu,
};

// One level of a model, over blocks of one extent. Vertices are as far apart on all axes.
struct TrainLevel {
    u32 spacing;      // exponent
    u32 level_class;  // of its contexts
    u32 table_log2;   // of its hash table; kDenseLevel: a weight a vertex
    u32 entries;      // weights of a feature
    u32 first;        // first of its weights among those of the block, [feature][entry]
    u32 reach;        // products of basis functions further apart are 0
    u32 gram[3];      // first of the products of each axis, [vertex][2 * reach + 1]
    u32 lists;        // hashed: first word of the lists of its entries
    u32 classes;      // hashed: entries are chosen in as many rounds
    u32 features;
    u32 skip;         // bit f: feature f is added to the output
    float step[4];    // of the weights of each feature, in units of q
    float to_input;   // the network reads features times this; 0: it does not read them
};
static_assert(sizeof(TrainLevel) == 72, "as in layout.rs");

struct TrainShape {
    u32 dims[3];  // voxels along x, y, z
    u32 cubic;    // order of interpolation: 0 = linear
    u32 first_level;
    u32 levels;
    u32 weights;  // of a block
    u32 order;    // first tile in the orders of the samples of a network
    u32 steps;    // first of its steps in the schedules of a network
    u32 batch;    // tiles of samples in a step of a network
};
static_assert(sizeof(TrainShape) == 40, "as in layout.rs");

HGV_DEVICE Grid voxels_of(const TrainShape& s) { return Grid{s.dims[0], s.dims[1], s.dims[2]}; }

// Entry of a vertex in a table of 2^table_log2 entries.
HGV_DEVICE u32 hash_entry(Cell c, u32 table_log2) {
    const u32 hash = c.x ^ (c.y * 2654435761u) ^ (c.z * 805459861u);
    return hash & ((1u << table_log2) - 1u);
}

// Where a vertex has its weight.
HGV_DEVICE u32 entry_of(const TrainLevel& level, Grid lattice, Cell c) {
    return level.table_log2 == kDenseLevel ? index_of(lattice, c) : hash_entry(c, level.table_log2);
}

// Sums over the threads of a block, the same in all of them; always in the same order. `room` is shared.
template <class T> HGV_DEVICE T block_sum(T value, T* room) {
    value = HGV_WARP_SUM(value);
    if (lane_index() == 0) {
        room[warp_index()] = value;
    }
    HGV_SYNC();
    T sum = room[0];
    for (u32 w = 1; w < kTrainWarps; w++) {
        sum += room[w];
    }
    HGV_SYNC();
    return sum;
}

// The next task of a work list, the same in all threads.
HGV_DEVICE u32 next_task(u32* counter, u32* room) {
    if (thread_index() == 0) {
        *room = atomic_add(counter, 1u);
    }
    HGV_SYNC();
    const u32 task = *room;
    HGV_SYNC();
    return task;
}
