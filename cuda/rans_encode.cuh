// Encodes the layers of a block with coder R: one warp a block. Indices are given, in `now` of the walk.
#pragma once

#include "rans_band.cuh"
#include "rans_record.cuh"

// Whether a group of a band has an index that is not 0.
template <class T> HGV_DEVICE bool group_has_any(const RansWalk<T>& walk, const BandBox& box, u32 group) {
    for (u32 i = 0; i < 64u; i++) {
        const u32 x = 4u * (group & 0xffu) + (i & 3u);
        const u32 y = 4u * (group >> 8 & 0xffu) + (i >> 2 & 3u);
        const u32 z = 4u * (group >> 16) + (i >> 4);
        const bool inside = x < box.extent[0] && y < box.extent[1] && z < box.extent[2];
        if (inside && walk.now[place_in(walk.dims, box, packed(x, y, z))] != 0) {
            return true;
        }
    }
    return false;
}

// Notes which groups of a band have something; whether any has.
template <class T> HGV_DEVICE u32 find_groups(RansRecorder& r, const RansWalk<T>& walk, const RansBand& band) {
    const u32 count = band.groups[0] * band.groups[1] * band.groups[2];
    bool any = false;
    for (u32 i = lane_index(); i < count; i += 32u) {
        const u32 group = position_in(band.groups, i);
        const bool has = group_has_any(walk, band.box, group);
        r.notes.occupied[flag_place(band, group & 0xffu, group >> 8 & 0xffu, group >> 16)] = has ? 1 : 0;
        any = any || has;
    }
    const bool all = HGV_ANY(any);
    HGV_WARP_SYNC();
    return all ? 1u : 0u;
}

// Whether the group with this flag has something.
HGV_DEVICE u32 has_group(const RansRecorder& r, u32 flag) { return r.notes.occupied[flag]; }

// An index of the coarsest band less its guess.
template <class T> HGV_DEVICE i64 coarsest_difference(const RansWalk<T>& walk, u32 at) {
    const u32 place = place_in(walk.dims, coarsest_box(walk.dims, walk.depth), at);
    const i64 guess = walk.refines != 0 ? 4ll * walk.before[place]
                                        : coarsest_guess(walk.dims, walk.now, at & 0xffu, at >> 8 & 0xffu, at >> 16);
    return walk.now[place] - guess;
}

// Raw low bits of the differences of the coarsest band: half of their mean.
template <class T> HGV_DEVICE u32 coarsest_units(const RansWalk<T>& walk, const BandBox& box) {
    u64 sum = 0;
    for (u32 i = lane_index(); i < box_size(box); i += 32u) {
        const i64 difference = coarsest_difference(walk, position_in(box.extent, i));
        sum += static_cast<u64>(difference < 0 ? -difference : difference);
    }
    const u32 half = static_cast<u32>(HGV_WARP_SUM(sum) / box_size(box) / 2u);
    return half == 0 ? 0u : 31u - leading_zeros(half);
}

// Whether all indices of a band are what a layer without bytes leaves there. Of a lane: of those it looks at.
template <class T> HGV_DEVICE bool band_is_idle(const RansWalk<T>& walk, const BandBox& box) {
    for (u32 i = lane_index(); i < box_size(box); i += 32u) {
        const u32 place = place_in(walk.dims, box, position_in(box.extent, i));
        const T kept = walk.refines != 0 ? saturated<T>(4ll * walk.before[place]) : static_cast<T>(0);
        if (walk.now[place] != kept) {
            return false;
        }
    }
    return true;
}

// Whether a layer would change nothing.
template <class T> HGV_DEVICE bool layer_is_idle(const RansWalk<T>& walk, const Brought& brought) {
    bool idle = !brought.coarsest || band_is_idle(walk, coarsest_box(walk.dims, walk.depth));
    for (u32 split = 0; split < walk.depth; split++) {
        for (u32 index = 1; index < 8u && (brought.splits >> split & 1u) != 0; index++) {
            idle = idle && band_is_idle(walk, band_box(walk.dims, split, index));
        }
    }
    return !HGV_ANY(!idle);
}

// Where a warp encodes blocks.
struct RansJob {
    const void* const* planes;  // of indices at each quality; in shared memory, as the next three
    RansWarp* warp;
    RansCosts* costs;
    const u32* bounds;
    u8* flags;                  // of the groups of all splits
    RansNotes notes;
    RansTables tables;
    ByteSink sink;
};

// Encodes all layers of a block; its status.
template <class T> HGV_DEVICE u32 encode_layers(const BlockHead& head, LayerHead* layers, const RansJob& job) {
    RansWalk<T> walk = {{head.dims[0], head.dims[1], head.dims[2]}, head.depth, 0, 0, nullptr, nullptr, job.flags, job.warp};
    for (u32 i = lane_index(); i < flags_before(walk.dims, walk.depth); i += 32u) {
        walk.flags[i] = 0;
    }
    HGV_WARP_SYNC();
    Reached reached = {-1, {-1, -1, -1, -1, -1}};
    for (u32 number = 0; number < head.layers; number++) {
        LayerHead& layer = layers[head.first_layer + number];
        const u32 quality = layer.quality & 7u;
        const Brought brought = brought_by(reached, walk.depth, layer.lod, static_cast<i32>(quality));
        if (!brought.legal) {
            return kBad;
        }
        walk.refines = quality > 0 ? 1u : 0u;
        walk.now = static_cast<const T*>(job.planes[quality]) + head.indices;
        walk.before = static_cast<const T*>(job.planes[quality - walk.refines]) + head.indices;
        mark_reached(reached, walk.depth, layer.lod, static_cast<i32>(quality));
        u64 offset = 0;
        u32 length = 0;
        if (!layer_is_idle(walk, brought)) {
            RansRecorder recorder;
            recorder_open(recorder, job.tables, job.costs, job.notes);
            code_layer(walk, recorder, brought);
            const bool room = recorder_finish(recorder, job.bounds, job.sink, offset, length);
            if (!room) {
                return kFull;
            }
            if (coder_bad(recorder) != 0) {
                return kBad;
            }
        }
        if (lane_index() == 0) {
            layer.offset = offset;
            layer.bytes = length;
        }
    }
    return kGood;
}
