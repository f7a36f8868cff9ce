// Bands in a block's box (section 5), and indices as their neighbours see them (section 25, "Cells").
#pragma once

#include "mixing.cuh"

// The box of a block that a warp works on; all members are the same in every lane.
struct Box {
    u32 dims[3];
    u32 depth;  // splits
    u32 sy;     // strides of y and z
    u32 sz;
};

// One split: the box that it cuts, and the low part on each axis.
struct Split {
    u32 whole[3];
    u32 low[3];
    u32 depth;
};

struct Band {
    u32 first;    // place of its first coefficient in the box
    u32 dims[3];
};

HGV_DEVICE Split split_of(const Box& box, u32 depth) {
    Split split;
    for (u32 a = 0; a < 3; a++) {
        split.whole[a] = halved(box.dims[a], depth);
        split.low[a] = halved(box.dims[a], depth + 1);
    }
    split.depth = depth;
    return split;
}

// Band 1..=7 of a split, or 0, its low part.
HGV_DEVICE Band band_of(const Box& box, const Split& split, u32 index) {
    const u32 strides[3] = {1, box.sy, box.sz};
    Band band;
    band.first = 0;
    for (u32 a = 0; a < 3; a++) {
        const bool high = bit_of(index, a) != 0;
        band.first += high ? split.low[a] * strides[a] : 0u;
        band.dims[a] = high ? split.whole[a] - split.low[a] : split.low[a];
    }
    return band;
}

HGV_DEVICE bool is_empty(const Band& band) { return band.dims[0] * band.dims[1] * band.dims[2] == 0; }

// An index as its neighbours see it.
HGV_DEVICE i32 seen(i32 k) { return clamped(k, -255, 255); }
// The same of the index of a quality before, which is worth four times as much now.
HGV_DEVICE i32 seen_before(i32 k) { return seen(clamped(k, -64, 64) * 4); }

// The index at a position of a band, 0 outside of it; coordinates below 0 wrap around.
HGV_DEVICE i32 index_at(const Indices& indices, const Box& box, const Band& band, u32 x, u32 y, u32 z) {
    if (x < band.dims[0] && y < band.dims[1] && z < band.dims[2]) {
        return load_index(indices, band.first + z * box.sz + y * box.sy + x);
    }
    return 0;
}

HGV_DEVICE i32 cell_at(const Indices& indices, const Box& box, const Band& band, u32 x, u32 y, u32 z) {
    return seen(index_at(indices, box, band, x, y, z));
}

// Calls `row(first place, length)` for every row of a band.
template <class Row> HGV_DEVICE void for_each_row(const Box& box, const Band& band, Row row) {
    for (u32 z = 0; z < band.dims[2]; z++) {
        for (u32 y = 0; y < band.dims[1]; y++) {
            row(band.first + z * box.sz + y * box.sy, band.dims[0]);
        }
    }
}

// One bit for each 4^3 group of the bands of a split: whether it has an index that is not zero. A word is a row of
// at most 16 groups.
struct GroupFlags {
    u16* rows;    // [band - 1][z][y]
    u32 dims[3];  // groups of the largest band
};

HGV_DEVICE GroupFlags flags_of(u16* rows, const Split& split) {
    GroupFlags flags;
    flags.rows = rows;
    for (u32 a = 0; a < 3; a++) {
        flags.dims[a] = ceil_div(split.low[a], 4);
    }
    return flags;
}

HGV_DEVICE u32 flag_rows(const GroupFlags& flags) { return flags.dims[1] * flags.dims[2]; }

HGV_DEVICE u16* flag_row(const GroupFlags& flags, u32 band, u32 y, u32 z) {
    return flags.rows + (band - 1) * flag_rows(flags) + z * flags.dims[1] + y;
}

// A flag, 0 outside; coordinates below 0 wrap around.
HGV_DEVICE u32 flag_at(const GroupFlags& flags, u32 band, u32 x, u32 y, u32 z) {
    if (x < flags.dims[0] && y < flags.dims[1] && z < flags.dims[2]) {
        return bit_of(*flag_row(flags, band, y, z), x);
    }
    return 0;
}

// Clears the flags of a split.
HGV_DEVICE void clear_flags(const GroupFlags& flags) {
    for (u32 i = lane_index(); i < 7 * flag_rows(flags); i += 32) {
        flags.rows[i] = 0;
    }
    HGV_WARP_SYNC();
}

// Bit g of the result is set if any of bits 4 g to 4 g + 3 is.
HGV_DEVICE u32 any_of_fours(u32 bits) {
    u32 any = (bits | bits >> 1 | bits >> 2 | bits >> 3) & 0x11111111u;
    any = (any | any >> 3) & 0x03030303u;
    any = (any | any >> 6) & 0x000f000fu;
    return (any | any >> 12) & 0xffu;
}

// Sets the flags of the groups of a band that have an index that is not zero.
HGV_DEVICE void load_flags(const GroupFlags& flags, const Indices& indices, const Box& box, const Band& band, u32 index) {
    for (u32 gz = 0; 4 * gz < band.dims[2]; gz++) {
        for (u32 gy = 0; 4 * gy < band.dims[1]; gy++) {
            u32 row = 0;
            for (u32 start = 0; start < band.dims[0]; start += 32) {
                i32 any = 0;
                for (u32 i = 0; i < 16; i++) {
                    any |= index_at(indices, box, band, start + lane_index(), 4 * gy + (i & 3u), 4 * gz + (i >> 2));
                }
                row |= any_of_fours(HGV_BALLOT(any != 0)) << (start / 4);
            }
            if (lane_index() == 0) {
                *flag_row(flags, index, gy, gz) = static_cast<u16>(row);
            }
        }
    }
    HGV_WARP_SYNC();
}

// Whether any group of a band has its flag set.
HGV_DEVICE bool any_flag(const GroupFlags& flags, u32 band) {
    u32 any = 0;
    for (u32 i = lane_index(); i < flag_rows(flags); i += 32) {
        any |= flag_row(flags, band, 0, 0)[i];
    }
    return HGV_ANY(any != 0);
}
