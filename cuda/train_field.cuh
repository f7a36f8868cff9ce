// From values at the vertices of all levels to planes over the voxels: the linear part of a block model.
#pragma once

#include "train_model.cuh"

// Planes as large as the block.
struct FieldRoom {
    float* sums;
    float* other;
    Pair pair;
};

HGV_DEVICE FieldRoom field_room(float* planes, u64 large) {
    return FieldRoom{planes, planes + large, {planes + 2 * large, planes + 3 * large}};
}

// What the features of a level that skip add at a vertex.
template <class Value> HGV_DEVICE float skip_sum(const TrainLevel& level, Value value, u32 entry) {
    float sum = 0.0f;
    for (u32 f = 0; f < level.features; f++) {
        if ((level.skip >> f & 1u) != 0) {
            sum += value(level, f, entry);
        }
    }
    return sum;
}

// The sum over the levels from spacing `dropped` on, refined to voxels; `store` takes it. Ends with a barrier.
template <class Value, class Store>
HGV_DEVICE void sum_levels(const TrainLevel* levels, const TrainShape& shape, Value value, u32 dropped,
                           const FieldRoom& room, Store store) {
    const Grid voxels = voxels_of(shape);
    float* now = room.sums;
    float* next = room.other;
    u32 spacing = levels[0].spacing;
    Grid lattice = lattice_of(voxels, spacing);
    for (u32 i = thread_index(); i < count_of(lattice); i += thread_count()) {
        now[i] = 0.0f;
    }
    HGV_SYNC();
    for (u32 l = 0; l < shape.levels; l++) {
        const TrainLevel& level = levels[l];
        if (level.spacing < spacing) {
            refine_to(now, voxels, spacing, level.spacing, shape.cubic != 0, room.pair,
                      [=](u32 at, float v) { next[at] = v; });
            float* swap = now;
            now = next;
            next = swap;
            spacing = level.spacing;
            lattice = lattice_of(voxels, spacing);
        }
        if (level.skip == 0 || spacing < dropped) {
            continue;
        }
        const Walk walk = walk_over(lattice);
        for (u32 at = thread_index(); at < count_of(lattice); at += thread_count()) {
            now[at] += skip_sum(level, value, entry_of(level, lattice, cell_at(walk, at)));
        }
        HGV_SYNC();
    }
    if (spacing > 0) {
        refine_to(now, voxels, spacing, 0, shape.cubic != 0, room.pair, store);
        return;
    }
    for (u32 at = thread_index(); at < count_of(voxels); at += thread_count()) {
        store(at, now[at]);
    }
    HGV_SYNC();
}

// One feature of a level times `scale`, at every voxel; `store` takes it. Ends with a barrier.
template <class Value, class Store>
HGV_DEVICE void fill_plane(const TrainLevel& level, const TrainShape& shape, Value value, u32 feature, float scale,
                           const FieldRoom& room, Store store) {
    const Grid voxels = voxels_of(shape), lattice = lattice_of(voxels, level.spacing);
    const Walk walk = walk_over(lattice);
    float* at_vertices = room.sums;
    for (u32 at = thread_index(); at < count_of(lattice); at += thread_count()) {
        const float v = value(level, feature, entry_of(level, lattice, cell_at(walk, at))) * scale;
        if (level.spacing == 0) {
            store(at, v);
        } else {
            at_vertices[at] = v;
        }
    }
    HGV_SYNC();
    if (level.spacing > 0) {
        refine_to(at_vertices, voxels, level.spacing, 0, shape.cubic != 0, room.pair, store);
    }
}
