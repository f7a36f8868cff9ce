// Refinement of lattices in floats, and its adjoint, by all threads of a block.
//
// Without the rounding of the decoder. Every number written is one short sum in a fixed order, made by one
// thread, so results depend on no order of threads.
#pragma once

#include "device.cuh"

// Vertices along each axis; stored [z][y][x].
struct Grid {
    u32 x, y, z;
};

struct Cell {
    u32 x, y, z;
};

HGV_DEVICE u32 count_of(Grid g) { return g.x * g.y * g.z; }
HGV_DEVICE u32 index_of(Grid g, Cell c) { return (c.z * g.y + c.y) * g.x + c.x; }

template <u32 AXIS> HGV_DEVICE u32 along(Grid g) { return AXIS == 0 ? g.x : AXIS == 1 ? g.y : g.z; }
template <u32 AXIS> HGV_DEVICE u32 along(Cell c) { return AXIS == 0 ? c.x : AXIS == 1 ? c.y : c.z; }
template <u32 AXIS> HGV_DEVICE u32 stride_of(Grid g) { return AXIS == 0 ? 1u : AXIS == 1 ? g.x : g.x * g.y; }
template <u32 AXIS> HGV_DEVICE Grid resized(Grid g, u32 n) {
    return Grid{AXIS == 0 ? n : g.x, AXIS == 1 ? n : g.y, AXIS == 2 ? n : g.z};
}

// Vertices, 2^spacing voxels apart, that span `voxels` voxels.
HGV_DEVICE u32 vertices_of(u32 voxels, u32 spacing) { return ceil_shift(voxels - 1u, spacing) + 1u; }
HGV_DEVICE Grid lattice_of(Grid voxels, u32 spacing) {
    return Grid{vertices_of(voxels.x, spacing), vertices_of(voxels.y, spacing), vertices_of(voxels.z, spacing)};
}

// Divides numbers under 2^24 by one up to 129.
struct Divider {
    u32 by, magic;
};

HGV_DEVICE Divider divider(u32 by) { return Divider{by, by > 1 ? 0xffffffffu / by + 1u : 0u}; }
HGV_DEVICE u32 divided(Divider d, u32 n) { return d.magic == 0 ? n : mul_hi(n, d.magic); }

// Turns places in a lattice into coordinates.
struct Walk {
    Divider x, y;
};

HGV_DEVICE Walk walk_over(Grid g) { return Walk{divider(g.x), divider(g.y)}; }
HGV_DEVICE Cell cell_at(Walk w, u32 index) {
    const u32 row = divided(w.x, index);
    const u32 z = divided(w.y, row);
    return Cell{index - row * w.x.by, row - z * w.y.by, z};
}

// The value of fine vertex `i` of a line of `n` coarse ones, `stride` apart from `line` on.
HGV_DEVICE float refined(const float* line, u32 stride, u32 n, u32 i, bool cubic) {
    const u32 h = i >> 1;
    const float b = line[h * stride];
    if ((i & 1u) == 0) {
        return b;
    }
    const float c = line[(h + 1) * stride];
    if (!cubic) {
        return 0.5f * (b + c);
    }
    const float before = h > 0 ? line[(h - 1) * stride] : 2.0f * b - c;
    const float after = h + 2 < n ? line[(h + 2) * stride] : 2.0f * c - b;
    return (9.0f * (b + c) - (before + after)) * 0.0625f;
}

// What coarse vertex `j` of `n` gives to odd fine vertex `i`.
HGV_DEVICE float tap(u32 i, u32 j, u32 n, bool cubic) {
    const u32 h = i >> 1;
    const u32 from_first = j + 1u - h;  // 0 = the vertex before the two neighbours, 3 = the one after
    const bool inner = from_first == 1 || from_first == 2;
    const bool has_before = h > 0, has_after = h + 2 < n;
    if (!cubic || (!has_before && !has_after)) {
        return inner ? 0.5f : 0.0f;
    }
    if (!inner) {
        return (from_first == 0 ? has_before : from_first == 3 && has_after) ? -0.0625f : 0.0f;
    }
    if (has_before && has_after) {
        return 0.5625f;
    }
    return (from_first == 1) == has_after ? 0.4375f : 0.625f;
}

// The adjoint: what coarse vertex `j` of `n` receives from a line of `fine` fine ones.
HGV_DEVICE float gathered(const float* line, u32 stride, u32 fine, u32 n, u32 j, bool cubic) {
    float sum = 2 * j < fine ? line[2 * j * stride] : 0.0f;
    const u32 reach = cubic ? 3u : 1u;
    for (u32 d = 1; d <= reach; d += 2) {
        if (2 * j >= d) {
            const u32 i = 2 * j - d;
            sum = i < fine ? fused(tap(i, j, n, cubic), line[i * stride], sum) : sum;
        }
        const u32 i = 2 * j + d;
        sum = i < fine ? fused(tap(i, j, n, cubic), line[i * stride], sum) : sum;
    }
    return sum;
}

// Refines one axis; `store(place, value)` takes each fine value. Ends with a barrier.
template <u32 AXIS, class Store>
HGV_DEVICE void refine_axis(const float* from, Grid coarse, Grid fine, bool cubic, Store store) {
    const Walk walk = walk_over(fine);
    const u32 total = count_of(fine), stride = stride_of<AXIS>(coarse), n = along<AXIS>(coarse);
    for (u32 at = thread_index(); at < total; at += thread_count()) {
        Cell c = cell_at(walk, at);
        const u32 i = along<AXIS>(c);
        (AXIS == 0 ? c.x : AXIS == 1 ? c.y : c.z) = 0;
        store(at, refined(from + index_of(coarse, c), stride, n, i, cubic));
    }
    HGV_SYNC();
}

template <u32 AXIS> HGV_DEVICE void refine_axis_to(const float* from, Grid coarse, float* to, Grid fine, bool cubic) {
    refine_axis<AXIS>(from, coarse, fine, cubic, [=](u32 at, float v) { to[at] = v; });
}

// The adjoint of one axis. Ends with a barrier.
template <u32 AXIS> HGV_DEVICE void gather_axis(const float* from, Grid fine, float* to, Grid coarse, bool cubic) {
    const Walk walk = walk_over(coarse);
    const u32 total = count_of(coarse), stride = stride_of<AXIS>(fine), n = along<AXIS>(coarse);
    const u32 lines = along<AXIS>(fine);
    for (u32 at = thread_index(); at < total; at += thread_count()) {
        Cell c = cell_at(walk, at);
        const u32 j = along<AXIS>(c);
        (AXIS == 0 ? c.x : AXIS == 1 ? c.y : c.z) = 0;
        to[at] = gathered(from + index_of(fine, c), stride, lines, n, j, cubic);
    }
    HGV_SYNC();
}

// Two planes that steps write to in turn.
struct Pair {
    float* a;
    float* b;
};

HGV_DEVICE float* other_than(Pair pair, const float* taken) { return taken == pair.a ? pair.b : pair.a; }

// All of refining from spacing `k` to the smaller `last` but its last step, which is along z; returns the plane
// that holds the result.
HGV_DEVICE_CALL float* refine_most(const float* from, Grid voxels, u32 k, u32 last, bool cubic, Pair room) {
    Grid now = lattice_of(voxels, k);
    for (;;) {
        k -= 1;
        const Grid end = lattice_of(voxels, k);
        const Grid wide = resized<0>(now, end.x), flat = resized<1>(wide, end.y);
        float* to = other_than(room, from);
        refine_axis_to<0>(from, now, to, wide, cubic);
        float* further = other_than(room, to);
        refine_axis_to<1>(to, wide, further, flat, cubic);
        if (k == last) {
            return further;
        }
        refine_axis_to<2>(further, flat, to, end, cubic);
        from = to;
        now = end;
    }
}

// Refines from spacing `k` to the smaller `last`; `store(place, value)` takes the values. Ends with a barrier.
template <class Store>
HGV_DEVICE void refine_to(const float* from, Grid voxels, u32 k, u32 last, bool cubic, Pair room, Store store) {
    const float* most = refine_most(from, voxels, k, last, cubic, room);
    const Grid end = lattice_of(voxels, last);
    refine_axis<2>(most, resized<2>(end, vertices_of(voxels.z, last + 1)), end, cubic, store);
}

// The adjoint of refining from spacing `k` to the smaller `last`; returns which plane of `room` holds the result.
HGV_DEVICE_CALL float* gather_from(const float* from, Grid voxels, u32 last, u32 k, bool cubic, Pair room) {
    Grid now = lattice_of(voxels, last);
    float* to = room.a;
    for (u32 done = last; done < k; done++) {
        const Grid end = lattice_of(voxels, done + 1);
        const Grid flat = resized<2>(now, end.z), wide = resized<1>(flat, end.y);
        to = other_than(room, from);
        gather_axis<2>(from, now, to, flat, cubic);
        float* further = other_than(room, to);
        gather_axis<1>(to, flat, further, wide, cubic);
        gather_axis<0>(further, wide, to, end, cubic);
        from = to;
        now = end;
    }
    return to;
}
