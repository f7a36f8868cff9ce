// A tile of a block under a grid model: lattices refined to its voxels in shared memory
// (format-spec/payload.md, section 22).
//
// Each axis is refined on its own, so the vertices that a tile needs are, at every spacing, a range on each axis.
// A tile is at least 8 voxels long on each axis, or as long as the block, so that no range that leads to it is
// longer than the tile itself is at most.
#pragma once

#include "grid.cuh"

enum : u32 {
    kSpacings = 8,   // exponents 0..=7
    kTileSide = 8,   // of a tile along y and z; along x a multiple of it
    kMaxTile = 2048, // voxels
};

// Vertices along an axis at a spacing.
struct GridRange {
    u8 first;    // that the tile needs
    u8 count;
    u8 lattice;  // of the whole block
    u8 unused;
};

// The ranges of a tile, in shared memory.
struct GridTile {
    GridRange ranges[3][kSpacings];
};

// Vertices of a lattice that a tile needs.
struct GridBox {
    u32 spacing[3];
    u32 count[3];
};

// Work of a thread block.
struct GridWork {
    const GridPlan* plan;
    const u32* weights;  // of the block
    GridState state;
    u32 lod;
};

// Quotients of numbers under kMaxTile by a divisor of at most 32.
struct Divider {
    u32 divisor;
    u32 inverse;
};
HGV_DEVICE Divider divider(u32 divisor) { return Divider{divisor, (65535u + divisor) / divisor}; }
HGV_DEVICE u32 quotient(const Divider& by, u32 n) { return n * by.inverse >> 16; }

// Walks through a box by numbers of its vertices, x fastest.
struct BoxWalk {
    Divider x;
    Divider y;
    u32 size;
};
HGV_DEVICE BoxWalk box_walk(u32 x, u32 y, u32 z) { return BoxWalk{divider(x), divider(y), x * y * z}; }
HGV_DEVICE void place_of(const BoxWalk& walk, u32 number, u32 (&place)[3]) {
    const u32 row = quotient(walk.x, number);
    place[2] = quotient(walk.y, row);
    place[1] = row - place[2] * walk.y.divisor;
    place[0] = number - row * walk.x.divisor;
}

// Finds what an axis needs at every spacing for the samples first..=last at level of detail lod.
HGV_DEVICE void find_ranges(GridRange* ranges, u32 voxels, u32 lod, bool cubic, u32 first, u32 last) {
    for (u32 k = lod; k < kSpacings; k++) {
        const u32 lattice = ceil_shift(voxels - 1u, k) + 1u;
        if (k > lod) {
            // A new vertex lies between two old ones; the cubic looks one further on each side.
            const u32 reach = cubic ? 1u : 0u;
            first = larger(first >> 1, reach) - reach;
            last = smaller(((last + 1u) >> 1) + reach, lattice - 1u);
        }
        ranges[k] = GridRange{static_cast<u8>(first), static_cast<u8>(last - first + 1u), static_cast<u8>(lattice), 0};
    }
}

HGV_DEVICE GridBox box_at(const GridTile& tile, const u32* spacing) {
    GridBox box;
    for (u32 a = 0; a < 3; a++) {
        box.spacing[a] = spacing[a];
        box.count[a] = tile.ranges[a][spacing[a]].count;
    }
    return box;
}

HGV_DEVICE void spacing_of(const GridLevel& level, u32 (&spacing)[3]) {
    for (u32 a = 0; a < 3; a++) {
        spacing[a] = level.spacing[a];
    }
}

// Levels that a level of detail uses: the first ones, whose vertices lie as far apart as its samples or further.
HGV_DEVICE u32 used_levels(const GridPlan& plan, u32 lod) {
    u32 count = 0;
    while (count < plan.levels) {
        const GridLevel& level = plan.level[count];
        if (level.spacing[0] < lod || level.spacing[1] < lod || level.spacing[2] < lod) {
            break;
        }
        count++;
    }
    return count;
}

HGV_DEVICE bool has_weights(const GridWork& work, const GridLevel& level, u32 feature) {
    return (work.state.present >> (level.first_feature + feature) & 1u) != 0;
}

HGV_DEVICE i32 wrapping(u32 v) { return static_cast<i32>(v); }

// A weight in working units.
HGV_DEVICE i32 weight_value(u32 weight, u64 step) {
    const i64 product = static_cast<i64>(signed_weight(weight)) * static_cast<i64>(step);
    const i64 limit = 1ll << 27;
    return static_cast<i32>(clamped((product + 32768) >> 16, -limit, limit));
}

// Puts the values of a feature over a box, or adds them to what is there. All threads of the block.
HGV_DEVICE void put_feature(const GridWork& work, const GridTile& tile, const GridLevel& level, u32 feature,
                            bool adds, i32* values) {
    u32 spacing[3];
    spacing_of(level, spacing);
    const GridBox box = box_at(tile, spacing);
    const BoxWalk walk = box_walk(box.count[0], box.count[1], box.count[2]);
    const u32* weights = work.weights + level.weights + static_cast<u64>(feature) * level.entries;
    const u64 step = level.steps[feature];
    for (u32 i = thread_index(); i < walk.size; i += thread_count()) {
        u32 at[3];
        place_of(walk, i, at);
        for (u32 a = 0; a < 3; a++) {
            at[a] += tile.ranges[a][spacing[a]].first;
        }
        const i32 value = weight_value(weights[grid_entry(level, at[0], at[1], at[2])], step);
        values[i] = adds ? wrapping(static_cast<u32>(values[i]) + static_cast<u32>(value)) : value;
    }
}

// The vertex between b and c; `stride` apart from their neighbours, which may not be there.
HGV_DEVICE i32 between(const i32* b, u32 stride, bool cubic, bool has_before, bool has_after) {
    const u32 left = static_cast<u32>(b[0]);
    const u32 right = static_cast<u32>(b[stride]);
    if (!cubic) {
        return wrapping(left + right + 1u) >> 1;
    }
    const u32 before = has_before ? static_cast<u32>(*(b - stride)) : 2u * left - right;
    const u32 after = has_after ? static_cast<u32>(b[2u * stride]) : 2u * right - left;
    return wrapping(9u * (left + right) - (before + after) + 8u) >> 4;
}

// Refines a box on one axis from `from` to `to`. All threads of the block; the caller waits for them.
HGV_DEVICE void refine_axis(const GridTile& tile, GridBox& box, u32 axis, bool cubic, const i32* from, i32* to) {
    const GridRange old_range = tile.ranges[axis][box.spacing[axis]];
    const GridRange new_range = tile.ranges[axis][box.spacing[axis] - 1u];
    const u32 first = new_range.first;
    const u32 last = first + new_range.count - 1u;
    const u32 first_pair = first >> 1;
    // A pair is an old vertex and the new one behind it.
    u32 pairs[3] = {box.count[0], box.count[1], box.count[2]};
    pairs[axis] = (last >> 1) - first_pair + 1u;
    u32 count[3] = {box.count[0], box.count[1], box.count[2]};
    count[axis] = new_range.count;
    const u32 old_stride = axis == 0 ? 1u : axis == 1u ? box.count[0] : box.count[0] * box.count[1];
    const u32 new_stride = axis == 0 ? 1u : axis == 1u ? count[0] : count[0] * count[1];
    const BoxWalk walk = box_walk(pairs[0], pairs[1], pairs[2]);
    for (u32 i = thread_index(); i < walk.size; i += thread_count()) {
        u32 at[3];
        place_of(walk, i, at);
        const u32 along = at[axis] + first_pair;
        u32 place[3] = {at[0], at[1], at[2]};
        place[axis] = along - old_range.first;
        const i32* b = from + ((place[2] * box.count[1] + place[1]) * box.count[0] + place[0]);
        place[axis] = 0;
        i32* row = to + ((place[2] * count[1] + place[1]) * count[0] + place[0]);
        if (2u * along >= first) {
            row[(2u * along - first) * new_stride] = *b;
        }
        if (2u * along < last) {
            row[(2u * along + 1u - first) * new_stride] =
                between(b, old_stride, cubic, along > 0, along + 2u < old_range.lattice);
        }
    }
    box.count[axis] = new_range.count;
    box.spacing[axis]--;
}

// Refines a box until its vertices lie `spacing` apart, always on the axis that is furthest behind, x before y
// before z. `now` is where the values are, `other` as much room. All threads of the block.
HGV_DEVICE void refine(const GridTile& tile, GridBox& box, const u32* spacing, bool cubic, i32*& now, i32*& other) {
    for (;;) {
        u32 axis = 0;
        u32 most = box.spacing[0] - spacing[0];
        for (u32 a = 1; a < 3; a++) {
            const u32 behind = box.spacing[a] - spacing[a];
            axis = behind > most ? a : axis;
            most = larger(behind, most);
        }
        if (most == 0) {
            return;
        }
        // Constant axes make plain strides.
        if (axis == 0) {
            refine_axis(tile, box, 0, cubic, now, other);
        } else if (axis == 1u) {
            refine_axis(tile, box, 1, cubic, now, other);
        } else {
            refine_axis(tile, box, 2, cubic, now, other);
        }
        HGV_SYNC();
        i32* const values = now;
        now = other;
        other = values;
    }
}

// Sums of the levels that add to the output, at the samples of the tile. `now` and `other` have room for a tile;
// the sums are left in `now`. All threads of the block.
HGV_DEVICE void skip_sums(const GridWork& work, const GridTile& tile, i32*& now, i32*& other) {
    const GridPlan& plan = *work.plan;
    const u32 used = used_levels(plan, work.lod);
    const u32 end[3] = {work.lod, work.lod, work.lod};
    u32 spacing[3] = {work.lod, work.lod, work.lod};
    if (used > 0) {
        spacing_of(plan.level[0], spacing);
    }
    GridBox box = box_at(tile, spacing);
    for (u32 i = thread_index(); i < box.count[0] * box.count[1] * box.count[2]; i += thread_count()) {
        now[i] = 0;
    }
    for (u32 l = 0; l < used; l++) {
        const GridLevel& level = plan.level[l];
        spacing_of(level, spacing);
        HGV_SYNC();
        refine(tile, box, spacing, plan.cubic != 0, now, other);
        for (u32 f = 0; f < level.features; f++) {
            // A thread adds to the same vertices each time.
            if ((level.skip >> f & 1u) != 0 && has_weights(work, level, f)) {
                put_feature(work, tile, level, f, true, now);
            }
        }
    }
    HGV_SYNC();
    refine(tile, box, end, plan.cubic != 0, now, other);
}

// The integer of a sum: rounded, around the centre of the range, held in the range.
HGV_DEVICE i32 rounded(i32 sum, i32 frac_bits, i32 lo, i32 hi) {
    const u32 down = static_cast<u32>(larger(frac_bits, 0));
    const u32 up = static_cast<u32>(larger(-frac_bits, 0));
    const i64 half = (1ll << down) >> 1;
    const i64 centre = (static_cast<i64>(lo) + hi) >> 1;
    const i64 value = ((static_cast<i64>(sum) + half) >> down) * (1ll << up) + centre;
    return static_cast<i32>(clamped(value, static_cast<i64>(lo), static_cast<i64>(hi)));
}
