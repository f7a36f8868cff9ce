// A feature of a level while its weights are decoded: what is known around a vertex or a group, and the order
// in which they come (format-spec/payload.md, section 20). One warp walks through a feature.
//
// What a pass looks at was coded before the pass, so contexts of many places are found at once. Flags of
// groups, and signs that are still open, live in bits of the weights that magnitudes leave free.
#pragma once

#include "grid.cuh"
#include "grid_contexts.cuh"

enum : u32 {
    kClipped = 4095,  // magnitudes beyond count as this where they are looked at
};

// The weights of a feature.
struct GridFeature {
    const GridLevel* level;
    u32* weights;
};

// A feature that is decoded. The same in all lanes.
struct GridWalk {
    GridFeature own;
    GridFeature parent;  // of the level before; no weights if there is none or all are 0
    u32 lattice[3];
    u32 groups[3];
    u32 level_class;
    u32* queue;          // kQueueEntries in shared memory
};

HGV_DEVICE GridFeature grid_feature(const GridLevel* level, u32 feature, u32* weights) {
    return GridFeature{level, weights + level->weights + static_cast<u64>(feature) * level->entries};
}

HGV_DEVICE u32 feature_bit(const GridLevel& level, u32 feature) { return level.first_feature + feature; }

// A feature of level `index` of a block, whose weights begin at `weights`.
HGV_DEVICE GridWalk grid_walk(const GridPlan& plan, u32 index, u32 feature, u32* weights, u64 present, u32* queue) {
    const GridLevel& level = plan.level[index];
    GridWalk walk;
    walk.own = grid_feature(&level, feature, weights);
    walk.parent = GridFeature{nullptr, nullptr};
    walk.queue = queue;
    u32 coarsest = 0;
    for (u32 a = 0; a < 3; a++) {
        walk.lattice[a] = level.lattice[a];
        walk.groups[a] = ceil_shift(level.lattice[a], 2);
        coarsest = larger(coarsest, static_cast<u32>(level.spacing[a]));
    }
    walk.level_class = smaller(coarsest, 2u);
    if (index > 0) {
        const GridLevel& before = plan.level[index - 1u];
        const u32 parent = smaller(feature, before.features - 1u);
        if ((present >> feature_bit(before, parent) & 1u) != 0) {
            walk.parent = grid_feature(&before, parent, weights);
        }
    }
    return walk;
}

HGV_DEVICE u32 clipped(u32 weight) { return smaller(weight & kMagnitude, static_cast<u32>(kClipped)); }

// Sum of the magnitudes of the eight vertices of the parent around a vertex.
HGV_DEVICE u32 parents_of(const GridWalk& walk, u32 x, u32 y, u32 z) {
    if (walk.parent.weights == nullptr) {
        return 0;
    }
    const GridLevel& level = *walk.parent.level;
    const u32 place[3] = {x, y, z};
    u32 around[3][2];
    for (u32 a = 0; a < 3; a++) {
        const u32 shift = level.spacing[a] - walk.own.level->spacing[a];
        around[a][0] = place[a] >> shift;
        around[a][1] = smaller(ceil_shift(place[a], shift), level.lattice[a] - 1u);
    }
    u32 sum = 0;
    for (u32 i = 0; i < 8; i++) {
        const u32 entry = grid_entry(level, around[0][i & 1u], around[1][i >> 1 & 1u], around[2][i >> 2]);
        sum += clipped(walk.parent.weights[entry]);
    }
    return sum;
}

HGV_DEVICE u32 vertex_index(const GridWalk& walk, u32 x, u32 y, u32 z) {
    return (z * walk.lattice[1] + y) * walk.lattice[0] + x;
}

HGV_DEVICE bool in_box(const u32* box, u32 x, u32 y, u32 z) { return x < box[0] && y < box[1] && z < box[2]; }

// Adds a weight of a dense level to what is known around another; nothing outside the lattice.
HGV_DEVICE void add_neighbour(const GridWalk& walk, u32 x, u32 y, u32 z, GridAround& around) {
    if (!in_box(walk.lattice, x, y, z)) {
        return;
    }
    const u32 weight = walk.own.weights[vertex_index(walk, x, y, z)];
    const u32 magnitude = clipped(weight);
    around.activity += magnitude;
    around.pull += (weight & kNegative) != 0 ? -static_cast<i32>(magnitude) : static_cast<i32>(magnitude);
}

// All that the contexts of a weight look at.
HGV_DEVICE GridAround look_around(const GridWalk& walk, u32 pass, u32 x, u32 y, u32 z) {
    GridAround around = {0, 0, parents_of(walk, x, y, z)};
    if (pass == 1u) {
        // The four that differ in both odd coordinates.
        const bool even_x = (x & 1u) == 0;
        const bool even_y = (y & 1u) == 0;
        const bool even_z = (z & 1u) == 0;
        for (u32 corner = 0; corner < 4; corner++) {
            const u32 first = (corner & 1u) != 0 ? 1u : ~0u;
            const u32 second = (corner & 2u) != 0 ? 1u : ~0u;
            add_neighbour(walk, even_x ? x : x + first, even_y ? y : even_x ? y + first : y + second,
                          even_z ? z : z + second, around);
        }
    } else if (pass == 2u) {
        for (u32 face = 0; face < 6; face++) {
            const u32 step = (face & 1u) != 0 ? 1u : ~0u;
            add_neighbour(walk, face < 2u ? x + step : x, face / 2u == 1u ? y + step : y, face >= 4u ? z + step : z,
                          around);
        }
    }
    const u32 weight = pass == 1u ? 3u : 2u;
    around.activity *= weight;
    around.pull *= static_cast<i32>(weight);
    return around;
}

// 1 if a group is known to have weights; 0 outside the lattice.
HGV_DEVICE u32 group_active(const GridWalk& walk, u32 x, u32 y, u32 z) {
    if (!in_box(walk.groups, x, y, z)) {
        return 0;
    }
    return walk.own.weights[vertex_index(walk, 4u * x, 4u * y, 4u * z)] >> 31;
}

// Vertices of a group that have an active parent, in every lane.
HGV_DEVICE u32 group_parents(const GridWalk& walk, u32 group) {
    u32 count = 0;
    for (u32 half = 0; half < 2; half++) {
        const u32 i = 32u * half + lane_index();
        const u32 x = 4u * (group & 0xffu) + (i & 3u);
        const u32 y = 4u * (group >> 8 & 0xffu) + (i >> 2 & 3u);
        const u32 z = 4u * (group >> 16) + (i >> 4);
        const bool active = in_box(walk.lattice, x, y, z) && parents_of(walk, x, y, z) > 0;
        count += popcount(HGV_BALLOT(active));
    }
    return count;
}

// Calls f(position, count) for the groups of a pass, up to 32 at a time, in raster order.
template <class F> HGV_DEVICE void each_group_of(const GridWalk& walk, u32 pass, F f) {
    const u32 count = walk.groups[0] * walk.groups[1] * walk.groups[2];
    u32 pending = 0;
    for (u32 base = 0; base < count || pending > 0; base += 32u) {
        u32 at = 0;
        u32 n = 0;
        if (base < count) {
            at = position_in(walk.groups, base + lane_index());
            const bool wanted =
                base + lane_index() < count && pass_of(at & 0xffu, at >> 8 & 0xffu, at >> 16) == pass;
            n = enqueue(walk.queue, pending, wanted, at);
        } else {
            n = drain(walk.queue, pending, at);
        }
        if (n > 0) {
            f(at, n);
        }
    }
}

// Calls f(corner) for the active groups, in raster order, with the position of their first vertex.
template <class F> HGV_DEVICE void each_active_group(const GridWalk& walk, F f) {
    const u32 count = walk.groups[0] * walk.groups[1] * walk.groups[2];
    for (u32 base = 0; base < count; base += 32u) {
        const u32 group = position_in(walk.groups, base + lane_index());
        const u32 flag = group_active(walk, group & 0xffu, group >> 8 & 0xffu, group >> 16);
        u32 active = HGV_BALLOT(base + lane_index() < count && flag != 0);
        for (; active != 0; active &= active - 1u) {
            f(4u * HGV_SHFL(group, find_first(active)));
        }
    }
}

// Calls f(position, count) for the vertices of a pass in the active groups, up to 32 at a time, in the order
// in which they are coded.
template <class F> HGV_DEVICE void each_vertex_of(const GridWalk& walk, u32 pass, F f) {
    const u32 spots = pass == 0 ? 8u : pass == 1u ? 24u : 32u;
    const u32 spot = spot_of(pass, lane_index() < spots ? lane_index() : 0u);
    u32 pending = 0;
    each_active_group(walk, [&](u32 corner) {
        u32 at = corner + spot;
        const bool valid = lane_index() < spots && in_box(walk.lattice, at & 0xffu, at >> 8 & 0xffu, at >> 16);
        const u32 n = enqueue(walk.queue, pending, valid, at);
        if (n > 0) {
            f(at, n);
        }
    });
    if (pending > 0) {
        u32 at = 0;
        const u32 n = drain(walk.queue, pending, at);
        f(at, n);
    }
}
