// The bands of a block, what is known around a coefficient or a group, and the order in which they are
// coded (format-spec/payload.md, sections 5 and 10). One warp walks through a block.
//
// Magnitudes are not kept beside the indices, as on the CPU: the magnitude of a coefficient is that of its
// index, and four times that where the layer has yet to refine it. What a pass looks at was coded before the
// pass, so the lanes of a batch never wait for each other.
#pragma once

#include "block.cuh"
#include "rans_contexts.cuh"

enum : u32 {
    kTopMagnitude = 255,
    kQueueEntries = 64,
};

// Where a band lies in the box of indices.
struct BandBox {
    u32 extent[3];
    u32 first;  // place of its first coefficient
};

// One of the seven bands of a split.
struct RansBand {
    BandBox box;
    BandBox parent;    // the band one split coarser
    u32 has_parent;    // 1 if it says anything
    u32 index;
    u32 depth;
    u32 groups[3];
    u32 flags;         // number of the first flag of the split
    u32 flag_dims[3];  // groups of the low part of the split, which hold those of every band
};

// What a warp keeps in shared memory: also what would take registers from all lanes and is the same in all.
struct RansWarp {
    RansBand band;             // that is coded
    BandBox bands[8];          // of its split
    u32 queue[kQueueEntries];  // positions that wait for a full warp
};

// A block and how far it is. The same in all lanes.
template <class T> struct RansWalk {
    u32 dims[3];
    u32 depth;        // splits
    u32 refines;      // 1 if the layer's quality is over 0
    u64 nonempty;     // bit 8 * split + band
    const T* now;     // indices of what is coded, [z][y][x] over dims, bands nested
    const T* before;  // those of the quality before, of what the layer has not refined yet
    u8* flags;        // of the groups of all splits: bit b = the group of band b has something
    RansWarp* warp;
};

// Number of flags of the splits before one.
HGV_DEVICE u32 flags_before(const u32* dims, u32 depth) {
    u32 sum = 0;
    for (u32 d = 1; d <= depth; d++) {
        sum += ceil_shift(halved(dims[0], d), 2) * ceil_shift(halved(dims[1], d), 2) * ceil_shift(halved(dims[2], d), 2);
    }
    return sum;
}

HGV_DEVICE u64 band_bit(u32 depth, u32 index) { return 1ull << (8u * depth + index); }

HGV_DEVICE BandBox band_box(const u32* dims, u32 depth, u32 index) {
    BandBox box;
    u32 origin[3];
    for (u32 a = 0; a < 3; a++) {
        const u32 low = halved(dims[a], depth + 1u);
        const bool high = (index >> a & 1u) != 0;
        origin[a] = high ? low : 0u;
        box.extent[a] = high ? halved(dims[a], depth) - low : low;
    }
    box.first = (origin[2] * dims[1] + origin[1]) * dims[0] + origin[0];
    return box;
}

// The coarsest band of a block of so many splits.
HGV_DEVICE BandBox coarsest_box(const u32* dims, u32 depth) {
    return {{halved(dims[0], depth), halved(dims[1], depth), halved(dims[2], depth)}, 0};
}

HGV_DEVICE u32 box_size(const BandBox& box) { return box.extent[0] * box.extent[1] * box.extent[2]; }

template <class T> HGV_DEVICE RansBand rans_band(const RansWalk<T>& walk, u32 depth, u32 index) {
    RansBand band;
    band.box = band_box(walk.dims, depth, index);
    band.has_parent = depth + 1u < walk.depth && (walk.nonempty & band_bit(depth + 1u, index)) != 0 ? 1u : 0u;
    band.parent = band_box(walk.dims, depth + 1u, index);
    band.index = index;
    band.depth = depth;
    band.flags = flags_before(walk.dims, depth);
    for (u32 a = 0; a < 3; a++) {
        band.groups[a] = ceil_shift(band.box.extent[a], 2);
        band.flag_dims[a] = ceil_shift(halved(walk.dims[a], depth + 1u), 2);
    }
    return band;
}

// Puts a band into the memory of its warp.
HGV_DEVICE const RansBand& share_band(RansWarp& warp, const RansBand& band) {
    HGV_WARP_SYNC();
    if (lane_index() == 0) {
        warp.band = band;
    }
    HGV_WARP_SYNC();
    return warp.band;
}

// Positions travel through the queue as one word.
HGV_DEVICE u32 packed(u32 x, u32 y, u32 z) { return x | y << 8 | z << 16; }

HGV_DEVICE u32 absolute(i32 v) { return v < 0 ? 0u - static_cast<u32>(v) : static_cast<u32>(v); }

// Place of a coefficient of a band.
HGV_DEVICE u32 place_in(const u32* dims, const BandBox& box, u32 at) {
    return box.first + ((at >> 16) * dims[1] + (at >> 8 & 0xffu)) * dims[0] + (at & 0xffu);
}

// Magnitude of an index of a band; 0 outside it.
template <class T>
HGV_DEVICE u32 magnitude_at(const u32* dims, const BandBox& box, const T* indices, u32 x, u32 y, u32 z) {
    if (x >= box.extent[0] || y >= box.extent[1] || z >= box.extent[2]) {
        return 0;
    }
    const i32 k = indices[box.first + (z * dims[1] + y) * dims[0] + x];
    return smaller(absolute(k), static_cast<u32>(kTopMagnitude));
}

// What a magnitude is worth at the next quality, until it is coded.
HGV_DEVICE u32 quadrupled(u32 magnitude) { return smaller(4u * magnitude, static_cast<u32>(kTopMagnitude)); }

// Sum of m over the six face neighbours.
template <class M> HGV_DEVICE u32 face_sum(u32 x, u32 y, u32 z, M m) {
    return m(x - 1u, y, z) + m(x + 1u, y, z) + m(x, y - 1u, z) + m(x, y + 1u, z) + m(x, y, z - 1u) + m(x, y, z + 1u);
}

// Sum of m over the four neighbours that differ in both odd coordinates, of which there are two.
template <class M> HGV_DEVICE u32 diagonal_sum(u32 x, u32 y, u32 z, M m) {
    const bool even_x = (x & 1u) == 0;
    const bool even_y = (y & 1u) == 0;
    const bool even_z = (z & 1u) == 0;
    u32 sum = 0;
    for (u32 corner = 0; corner < 4; corner++) {
        const u32 first = (corner & 1u) != 0 ? 1u : ~0u;
        const u32 second = (corner & 2u) != 0 ? 1u : ~0u;
        sum += m(even_x ? x : x + first, even_y ? y : even_x ? y + first : y + second, even_z ? z : z + second);
    }
    return sum;
}

// Mean magnitude, times 8, at the same place of the bands of the split before this one.
template <class T> HGV_DEVICE u32 cousin_mean(const RansWalk<T>& walk, const RansBand& band, u32 x, u32 y, u32 z) {
    u32 sum = 0;
    HGV_ROLLED
    for (u32 index = 1; index < band.index; index++) {
        if ((walk.nonempty & band_bit(band.depth, index)) != 0) {
            sum += magnitude_at(walk.dims, walk.warp->bands[index], walk.now, x, y, z);
        }
    }
    // A byte for each band from the second on: 128 / (bands before).
    const u64 weights = 0x151a202b4080ull;
    return band.index < 2u ? 0u : (sum * (static_cast<u32>(weights >> (8u * (band.index - 2u))) & 0xffu)) >> 4;
}

// All that the context of a coefficient looks at.
template <class T> HGV_DEVICE Around look_around(const RansWalk<T>& walk, const RansBand& band, u32 pass, u32 at) {
    const u32 x = at & 0xffu;
    const u32 y = at >> 8 & 0xffu;
    const u32 z = at >> 16;
    const auto coded = [&](u32 i, u32 j, u32 k) { return magnitude_at(walk.dims, band.box, walk.now, i, j, k); };
    const auto expected = [&](u32 i, u32 j, u32 k) {
        return quadrupled(magnitude_at(walk.dims, band.box, walk.before, i, j, k));
    };
    const auto parent = [&](u32 i, u32 j, u32 k) { return magnitude_at(walk.dims, band.parent, walk.now, i, j, k); };
    Around around = {0, 0, 0};
    if (pass == 2u) {
        around.neighbours = 2u * face_sum(x, y, z, coded);
    } else if (pass == 1u) {
        const u32 diagonals = diagonal_sum(x, y, z, coded);
        around.neighbours = walk.refines != 0 ? 2u * diagonals + face_sum(x, y, z, expected) : 3u * diagonals;
    } else if (walk.refines != 0) {
        around.neighbours = 2u * face_sum(x, y, z, expected);
    }
    if (band.has_parent != 0) {
        around.parent = 2u * parent(x / 2u, y / 2u, z / 2u) + face_sum(x / 2u, y / 2u, z / 2u, parent);
    }
    around.cousins = cousin_mean(walk, band, x, y, z);
    return around;
}

// Sum of the activity of the parent band over the eight positions that group x, y, z lies over. A position is
// its own activity twice and that of three others of the eight once; the rest are the faces outside.
template <class T> HGV_DEVICE u32 parent_sum(const RansWalk<T>& walk, const BandBox& box, u32 x, u32 y, u32 z) {
    u32 sum = 0;
    HGV_ROLLED
    for (u32 corner = 0; corner < 8; corner++) {
        const u32 cx = 2u * x + (corner & 1u);
        const u32 cy = 2u * y + (corner >> 1 & 1u);
        const u32 cz = 2u * z + (corner >> 2);
        sum += 5u * magnitude_at(walk.dims, box, walk.now, cx, cy, cz);
        sum += magnitude_at(walk.dims, box, walk.now, (corner & 1u) != 0 ? cx + 1u : cx - 1u, cy, cz);
        sum += magnitude_at(walk.dims, box, walk.now, cx, (corner & 2u) != 0 ? cy + 1u : cy - 1u, cz);
        sum += magnitude_at(walk.dims, box, walk.now, cx, cy, (corner & 4u) != 0 ? cz + 1u : cz - 1u);
    }
    return sum;
}

// Number of the flag of a group.
HGV_DEVICE u32 flag_place(const RansBand& band, u32 x, u32 y, u32 z) {
    return band.flags + (z * band.flag_dims[1] + y) * band.flag_dims[0] + x;
}

// Flag of a group of a band; 0 outside.
HGV_DEVICE u32 flag_at(const u8* flags, const RansBand& band, u32 x, u32 y, u32 z) {
    if (x >= band.flag_dims[0] || y >= band.flag_dims[1] || z >= band.flag_dims[2]) {
        return 0;
    }
    return flags[flag_place(band, x, y, z)] >> band.index & 1u;
}

// Active groups among the six face neighbours.
HGV_DEVICE u32 flag_faces(const u8* flags, const RansBand& band, u32 x, u32 y, u32 z) {
    return face_sum(x, y, z, [&](u32 i, u32 j, u32 k) { return flag_at(flags, band, i, j, k); });
}

// Position number i of a box, in raster order.
HGV_DEVICE u32 position_in(const u32* box, u32 i) {
    const u32 row = i / box[0];
    return packed(i - row * box[0], row % box[1], row / box[1]);
}

// A spot of a pass in a group of 4 x 4 x 4: its number in raster order -> x, y, z.
HGV_DEVICE u32 spot_of(u32 pass, u32 i) {
    if (pass == 0) {
        return packed(2u * (i & 1u), i & 2u, i >> 2 << 1);
    }
    if (pass == 2u) {
        const u32 y = i >> 1 & 3u;
        const u32 z = i >> 3;
        return packed(2u * (i & 1u) + (((y ^ z) & 1u) ^ 1u), y, z);
    }
    // Planes of even z have two rows with such spots, those of odd z four, two spots a row.
    const u32 z = i < 4u ? 0u : i < 12u ? 1u : i < 16u ? 2u : 3u;
    const u32 in_plane = i - (z == 0 ? 0u : z == 1u ? 4u : z == 2u ? 12u : 16u);
    const u32 y = (z & 1u) == 0 ? 1u + 2u * (in_plane >> 1) : in_plane >> 1;
    return packed(2u * (i & 1u) + ((y ^ z) & 1u), y, z);
}

// Queues the positions of the lanes that have one, in the order of lanes. Returns 32 if a whole warp of them is
// there, which are then taken out, one a lane, to `at`; else 0.
HGV_DEVICE u32 enqueue(u32* queue, u32& pending, bool valid, u32& at) {
    const u32 lane = lane_index();
    const u32 mask = HGV_BALLOT(valid);
    if (pending == 0 && mask == 0xffffffffu) {
        return 32;
    }
    if (valid) {
        queue[pending + popcount(mask & ((1u << lane) - 1u))] = at;
    }
    pending += popcount(mask);
    if (pending < 32u) {
        return 0;
    }
    HGV_WARP_SYNC();
    at = queue[lane];
    const u32 behind = queue[lane + 32u];
    HGV_WARP_SYNC();
    pending -= 32u;
    if (lane < pending) {
        queue[lane] = behind;
    }
    return 32;
}

// Takes out what is left, one position a lane; how many.
HGV_DEVICE u32 drain(const u32* queue, u32& pending, u32& at) {
    HGV_WARP_SYNC();
    at = queue[lane_index()];
    HGV_WARP_SYNC();
    const u32 count = pending;
    pending = 0;
    return count;
}

// Calls f(position, count) for the groups of a pass whose flags are 0, 32 at a time, in raster order.
template <class F> HGV_DEVICE void each_open_group(const u8* flags, const RansBand& band, u32 pass, u32* queue, F f) {
    const u32 count = band.groups[0] * band.groups[1] * band.groups[2];
    u32 pending = 0;
    for (u32 base = 0; base < count || pending > 0; base += 32u) {
        u32 at = 0;
        u32 n = 0;
        if (base < count) {
            at = position_in(band.groups, base + lane_index());
            const u32 x = at & 0xffu;
            const u32 y = at >> 8 & 0xffu;
            const u32 z = at >> 16;
            const bool open = base + lane_index() < count && pass_of(x, y, z) == pass && flag_at(flags, band, x, y, z) == 0;
            n = enqueue(queue, pending, open, at);
        } else {
            n = drain(queue, pending, at);
        }
        if (n > 0) {
            f(at, n);
        }
    }
}

// Drops the lowest set bits of a mask.
HGV_DEVICE u32 without_lowest(u32 mask, u32 count) {
    for (u32 i = 0; i < count; i++) {
        mask &= mask - 1u;
    }
    return mask;
}

// Calls f(position, count) for the coefficients of a pass in the active groups of a band, 32 at a time, in
// raster order of groups and in them.
template <class F> HGV_DEVICE void each_coefficient(const u8* flags, const RansBand& band, u32 pass, u32* queue, F f) {
    const u32 lane = lane_index();
    // Groups that the lanes share: four in pass 0, which has eight spots in each.
    const u32 share = pass == 0 ? lane >> 3 : 0u;
    const u32 spot = spot_of(pass, pass == 0 ? lane & 7u : lane);
    const bool has_spot = pass != 1u || lane < 24u;
    const u32 count = band.groups[0] * band.groups[1] * band.groups[2];
    u32 base = 0;
    u32 active = 0;
    u32 group = 0;
    u32 pending = 0;
    for (;;) {
        u32 at = 0;
        u32 n = 0;
        if (active != 0) {
            const u32 left = without_lowest(active, share);
            const u32 corner = HGV_SHFL(group, find_first(left) & 31u);
            at = 4u * corner + spot;
            const bool valid = left != 0 && has_spot && (at & 0xffu) < band.box.extent[0] &&
                               (at >> 8 & 0xffu) < band.box.extent[1] && at >> 16 < band.box.extent[2];
            active = without_lowest(active, pass == 0 ? 4u : 1u);
            n = enqueue(queue, pending, valid, at);
        } else if (base < count) {
            group = position_in(band.groups, base + lane);
            const u32 flag = flag_at(flags, band, group & 0xffu, group >> 8 & 0xffu, group >> 16);
            active = HGV_BALLOT(base + lane < count && flag != 0);
            base += 32u;
        } else if (pending > 0) {
            n = drain(queue, pending, at);
        } else {
            break;
        }
        if (n > 0) {
            f(at, n);
        }
    }
}
