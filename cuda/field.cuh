// The magnitudes of a block as their contexts see them, for a search: src/encode/search/field.rs on a device.
//
// A thread block works on one block. What a cell knows of others is kept up to date by whoever changes a
// magnitude. Groups that work at the same time are of one parity in all three coordinates: no cell, and no
// parent's activity, is next to two of them, so that each sees what it would see if it worked alone. Only two
// things are shared, and made to not depend on order: what flags know of their neighbours is worked out anew
// between parities, and ideal magnitudes are moved by atomic sums of integers.
#pragma once

#include "encode.cuh"
#include "rates.cuh"

// Ideal magnitudes are in 1 / 2^16 of a step.
constexpr float kTargetUnit = 65536.0f;
// Bits of a cell's marks.
constexpr u8 kNegative = 1;
constexpr u8 kCoded = 2;

// A group of 4^3 cells.
struct Group {
    u8 count;       // of cells that are not zero
    u8 locked;      // active since an earlier quality: it has no flag
    u8 neighbours;  // active ones, as its flag sees them
    u8 cousins;
};

struct BandState {
    u32 active;   // groups
    u32 locked;   // coded since an earlier quality
    u32 variant;  // of the tables
    float frame;  // bits of its header and flags if none of its groups were active, over those of an empty band
};

// What a search works with, for all blocks of a batch.
struct SearchParams {
    const EncodeBlock* blocks;
    const EncodeShape* shapes;
    const float* lattice;        // basis functions of axes
    const float* coefficients;
    float* errors;
    Indices indices;             // of the quality
    Indices previous;            // of the one before
    i32* targets;                // planes of cells, from here on
    u16* near;
    u16* cousins;
    u16* activity;
    u16* magnitudes;
    u16* befores;
    u8* marks;
    Group* groups;
    BandState* bands;            // kBands of each block
    float* weights;              // what errors at the faces of each block count: before and behind it, by axis
    CostTables tables;
    float pull_one;
    float pull_more;
    float value_step;            // working units
    float lambda;                // squared steps that a bit is worth
    u32 quality;
    u32 qualities;
    u32 depth;                   // the split that is chosen
    u32 whole_groups;            // whether groups are tried without any
};

// The field of one block.
struct Field {
    const SearchParams* p;
    const EncodeShape* shape;
    u64 cells;
    u64 groups;
    BandState* bands;
    u32 refines;
};

HGV_DEVICE Field field_of(const SearchParams& p, u32 block) {
    Field f;
    f.p = &p;
    f.shape = &p.shapes[p.blocks[block].shape];
    f.cells = p.blocks[block].cells;
    f.groups = p.blocks[block].groups;
    f.bands = p.bands + static_cast<u64>(block) * kBands;
    f.refines = p.quality > 0 ? 1u : 0u;
    return f;
}

HGV_DEVICE u32 depth_of(u32 band) { return band / 7; }
HGV_DEVICE u32 index_in_split(u32 band) { return band % 7 + 1; }

HGV_DEVICE u32 band_dim(const SplitShape& split, u32 index, u32 axis) {
    return (index >> axis & 1u) != 0 ? split.whole[axis] - split.low[axis] : split.low[axis];
}

HGV_DEVICE u64 cell_at(const Field& f, u32 band, u32 x, u32 y, u32 z) {
    const SplitShape& s = f.shape->splits[depth_of(band)];
    const u32 first = s.first_cell + (index_in_split(band) - 1) * s.cells;
    return f.cells + (first + (z + 1) * s.cell_z + (y + 1) * s.cell_y + (x + 1));
}

HGV_DEVICE u64 group_at(const Field& f, u32 band, u32 x, u32 y, u32 z) {
    const SplitShape& s = f.shape->splits[depth_of(band)];
    const u32 first = s.first_group + (index_in_split(band) - 1) * s.groups;
    return f.groups + (first + (z + 1) * s.group_z + (y + 1) * s.group_y + (x + 1));
}

HGV_DEVICE u32 groups_along(const Field& f, u32 band, u32 axis) {
    return ceil_div(band_dim(f.shape->splits[depth_of(band)], index_in_split(band), axis), 4);
}

HGV_DEVICE u32 seen(u32 magnitude) { return smaller(magnitude, 255u); }

HGV_DEVICE bool is_active(const Group& group) { return group.locked != 0 || group.count > 0; }

HGV_DEVICE bool is_coded(const BandState& band) { return band.locked != 0 || band.active > 0; }

HGV_DEVICE Rates rates_at(const Field& f, u32 band) {
    return rates_of(f.p->tables, index_in_split(band), depth_of(band), f.refines, f.bands[band].variant);
}

// Activity of the parent of a cell, which lies in the same band of the next split.
HGV_DEVICE u32 parent_activity(const Field& f, u32 band, u32 x, u32 y, u32 z) {
    return depth_of(band) + 1 < f.shape->depth ? f.p->activity[cell_at(f, band + 7, x / 2, y / 2, z / 2)] : 0u;
}

HGV_DEVICE Place place_of(const Field& f, u64 cell, u32 pass, u32 parent) {
    return {pass, f.p->near[cell], parent, f.p->cousins[cell], f.p->befores[cell]};
}

// Bits of the cell at a place, as if its group were active.
HGV_DEVICE float bits_at(const Field& f, const Rates& rates, u32 band, u32 x, u32 y, u32 z) {
    const u64 cell = cell_at(f, band, x, y, z);
    const Place place = place_of(f, cell, pass_of(x, y, z), parent_activity(f, band, x, y, z));
    return coefficient_bits(rates, place, f.p->magnitudes[cell]);
}

// Ends of a group in its band.
struct GroupBox {
    u32 first[3];
    u32 end[3];
};

HGV_DEVICE GroupBox box_of(const Field& f, u32 band, u32 x, u32 y, u32 z) {
    const u32 at[3] = {x, y, z};
    GroupBox box;
    for (u32 a = 0; a < 3; a++) {
        box.first[a] = 4 * at[a];
        box.end[a] = smaller(band_dim(f.shape->splits[depth_of(band)], index_in_split(band), a), 4 * at[a] + 4);
    }
    return box;
}

// Sum of the activities of the eight parents of a group.
HGV_DEVICE u32 parents_of_group(const Field& f, u32 band, u32 x, u32 y, u32 z) {
    if (depth_of(band) + 1 >= f.shape->depth) {
        return 0;
    }
    const SplitShape& s = f.shape->splits[depth_of(band) + 1];
    const u16* first = f.p->activity + cell_at(f, band + 7, 2 * x, 2 * y, 2 * z);
    u32 sum = 0;
    for (u32 corner = 0; corner < 8; corner++) {
        sum += first[(corner & 1u) + (corner >> 1 & 1u) * s.cell_y + (corner >> 2) * s.cell_z];
    }
    return sum;
}

// Bits of the flag of a group if its neighbours and cousins were these and it were active or not.
HGV_DEVICE float flag_bits_if(const Field& f, const Rates& rates, u32 band, u32 x, u32 y, u32 z, u32 neighbours,
                              u32 cousins, bool active) {
    const u32 parents = parents_of_group(f, band, x, y, z);
    return flag_bits(rates, pass_of(x, y, z), parents, neighbours, cousins, active);
}

// Bits of the flag of a group as it is; nothing if it has none.
HGV_DEVICE float flag_bits_at(const Field& f, const Rates& rates, u32 band, u32 x, u32 y, u32 z) {
    const Group group = f.p->groups[group_at(f, band, x, y, z)];
    if (group.locked != 0 || !is_coded(f.bands[band])) {
        return 0.0f;
    }
    return flag_bits_if(f, rates, band, x, y, z, group.neighbours, group.cousins, group.count > 0);
}
