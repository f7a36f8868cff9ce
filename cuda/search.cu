// Wavelet indices that minimise squared error plus lambda times bits: src/encode/search on a device.
//
// For each quality: `load`, `weigh`, and then for each round and each split, coarse to fine, `products` and
// `sweep`. A thread block of every kernel works on one block.
#include "choice.cuh"
#include "forward.cuh"

// An error at a face counts as much more as the squared step over it is over those inside, times this,
// within limits.
constexpr float kFaceShare = 0.7f;
constexpr float kFaceMost = 1.6f;

HGV_DEVICE u32 bands_of(const EncodeShape& shape) { return 7 * shape.depth; }

HGV_DEVICE u64 voxel_of(const Field& f, u64 first, u32 band, u32 x, u32 y, u32 z) {
    const SplitShape& s = f.shape->splits[depth_of(band)];
    const u32 index = index_in_split(band);
    const u32 at[3] = {x, y, z};
    u32 in_box[3];
    for (u32 a = 0; a < 3; a++) {
        in_box[a] = at[a] + ((index >> a & 1u) != 0 ? s.low[a] : 0u);
    }
    return first + (in_box[2] * f.shape->dims[1] + in_box[1]) * f.shape->dims[0] + in_box[0];
}

HGV_DEVICE u32 magnitude_of_index(i32 index) {
    return index < 0 ? 0u - static_cast<u32>(index) : static_cast<u32>(index);
}

// A cell takes its index, held to what a refinement of the quality before allows.
HGV_DEVICE void load_cell(const Field& f, u64 first, u32 band, u32 x, u32 y, u32 z) {
    const SearchParams& p = *f.p;
    const u64 cell = cell_at(f, band, x, y, z);
    const u64 voxel = voxel_of(f, first, band, x, y, z);
    const i32 index = load_index(p.indices, voxel);
    u32 magnitude = magnitude_of_index(index);
    u32 before = 0;
    bool negative = (p.marks[cell] & kNegative) != 0;
    if (f.refines != 0) {
        before = magnitude_of_index(load_index(p.previous, voxel));
        if (before > 0) {
            const u32 base = 4 * smaller(before, 0x1ffffffeu);
            magnitude = clamped(magnitude, base - 4, base + 4);
        }
    }
    if (before == 0) {
        negative = p.coefficients[voxel] < 0.0f;
    }
    const i32 kept = static_cast<i32>(smaller(magnitude, 0x7fffffffu));
    store_index(p.indices, voxel, negative ? -kept : kept);
    p.magnitudes[cell] = static_cast<u16>(smaller(magnitude, 0xffffu));
    p.befores[cell] = static_cast<u16>(smaller(before, 0xffffu));
    p.marks[cell] = negative ? kNegative : 0;
    p.cousins[cell] = 0;
}

// What cells of a band know of one that may lie outside it.
HGV_DEVICE u32 seen_at(const Field& f, u32 band, u32 x, u32 y, u32 z) {
    const SplitShape& s = f.shape->splits[depth_of(band)];
    const u32 index = index_in_split(band);
    const bool inside = x < band_dim(s, index, 0) && y < band_dim(s, index, 1) && z < band_dim(s, index, 2);
    return inside ? seen(f.p->magnitudes[cell_at(f, band, x, y, z)]) : 0u;
}

HGV_DEVICE u32 before_at(const Field& f, u32 band, u32 x, u32 y, u32 z) {
    const SplitShape& s = f.shape->splits[depth_of(band)];
    const u32 index = index_in_split(band);
    const bool inside = x < band_dim(s, index, 0) && y < band_dim(s, index, 1) && z < band_dim(s, index, 2);
    return inside ? smaller(4 * seen(f.p->befores[cell_at(f, band, x, y, z)]), 255u) : 0u;
}

HGV_DEVICE u32 faces_of(const Field& f, u32 band, u32 x, u32 y, u32 z, bool before) {
    u32 sum = 0;
    for (u32 i = 0; i < 6; i++) {
        i32 dx, dy, dz;
        face_of(i, &dx, &dy, &dz);
        sum += before ? before_at(f, band, x + dx, y + dy, z + dz) : seen_at(f, band, x + dx, y + dy, z + dz);
    }
    return sum;
}

// The four neighbours of a place of pass 1 that are of pass 0: both of its odd coordinates differ.
HGV_DEVICE u32 edges_of(const Field& f, u32 band, u32 x, u32 y, u32 z) {
    u32 sum = 0;
    for (u32 i = 0; i < 4; i++) {
        const i32 a = (i & 1u) != 0 ? 1 : -1, b = (i & 2u) != 0 ? 1 : -1;
        const i32 dx = (x & 1u) != 0 ? a : 0;
        const i32 dy = (y & 1u) != 0 ? ((x & 1u) != 0 ? b : a) : 0;
        const i32 dz = (z & 1u) != 0 ? b : 0;
        sum += seen_at(f, band, x + dx, y + dy, z + dz);
    }
    return sum;
}

HGV_DEVICE u32 near_of(const Field& f, u32 band, u32 x, u32 y, u32 z) {
    switch (pass_of(x, y, z)) {
        case 0: return f.refines != 0 ? 2 * faces_of(f, band, x, y, z, true) : 0u;
        case 1: {
            const u32 edges = edges_of(f, band, x, y, z);
            return f.refines != 0 ? 2 * edges + faces_of(f, band, x, y, z, true) : 3 * edges;
        }
        default: return 2 * faces_of(f, band, x, y, z, false);
    }
}

// A place of a padded box, from 0 on: two beyond the low-pass extent too.
struct Padded {
    u32 at[3];
    bool inside;  // of the band
};

HGV_DEVICE Padded padded_place(const SplitShape& s, u32 index, u32 e) {
    const u32 w = s.low[0] + 2, h = s.low[1] + 2;
    Padded place;
    place.at[0] = e % w;
    place.at[1] = e / w % h;
    place.at[2] = e / (w * h);
    place.inside = place.at[0] < band_dim(s, index, 0) && place.at[1] < band_dim(s, index, 1) &&
                   place.at[2] < band_dim(s, index, 2);
    return place;
}

HGV_DEVICE u32 padded_count(const SplitShape& s) { return (s.low[0] + 2) * (s.low[1] + 2) * (s.low[2] + 2); }

// What every cell knows of its neighbours and cousins, and its children of it.
HGV_DEVICE void count_cells(const Field& f, u32 band) {
    const SplitShape& s = f.shape->splits[depth_of(band)];
    const u32 index = index_in_split(band);
    for (u32 e = thread_index(); e < padded_count(s); e += thread_count()) {
        const Padded place = padded_place(s, index, e);
        const u32 x = place.at[0], y = place.at[1], z = place.at[2];
        const u64 cell = cell_at(f, band, x, y, z);
        // Two beyond a corner there may be no cell.
        if (x <= s.low[0] && y <= s.low[1] && z <= s.low[2]) {
            f.p->activity[cell] =
                static_cast<u16>(2 * seen_at(f, band, x, y, z) + faces_of(f, band, x, y, z, false));
        }
        u32 cousins = 0;
        for (u32 before = band - (index - 1); before < band; before++) {
            cousins += seen_at(f, before, x, y, z);
        }
        f.p->near[cell] = static_cast<u16>(place.inside ? near_of(f, band, x, y, z) : 0u);
        f.p->cousins[cell] = static_cast<u16>(cousins);
    }
}

HGV_DEVICE u32 group_count(const Field& f, u32 band) {
    return groups_along(f, band, 0) * groups_along(f, band, 1) * groups_along(f, band, 2);
}

HGV_DEVICE void group_place(const Field& f, u32 band, u32 e, u32* at) {
    at[0] = e % groups_along(f, band, 0);
    at[1] = e / groups_along(f, band, 0) % groups_along(f, band, 1);
    at[2] = e / (groups_along(f, band, 0) * groups_along(f, band, 1));
}

// Which groups of a band are active, and its cells are coded.
HGV_DEVICE void count_groups(const Field& f, u32 band) {
    for (u32 e = thread_index(); e < group_count(f, band); e += thread_count()) {
        u32 at[3];
        group_place(f, band, e, at);
        Group* group = f.p->groups + group_at(f, band, at[0], at[1], at[2]);
        const bool locked = f.refines != 0 && is_active(*group);
        const GroupBox box = box_of(f, band, at[0], at[1], at[2]);
        u32 count = 0;
        for (u32 z = box.first[2]; z < box.end[2]; z++) {
            for (u32 y = box.first[1]; y < box.end[1]; y++) {
                for (u32 x = box.first[0]; x < box.end[0]; x++) {
                    count += f.p->magnitudes[cell_at(f, band, x, y, z)] > 0 ? 1u : 0u;
                }
            }
        }
        group->count = static_cast<u8>(count);
        group->locked = locked ? 1 : 0;
        if (is_active(*group)) {
            mark_group(f, band, at, true);
        }
    }
}

// What flags know of their neighbours: later passes see this quality, earlier ones the one before.
HGV_DEVICE void count_neighbours(const Field& f, u32 band) {
    for (u32 e = thread_index(); e < group_count(f, band); e += thread_count()) {
        u32 at[3];
        group_place(f, band, e, at);
        const bool last = pass_of(at[0], at[1], at[2]) == 2;
        u32 sum = 0;
        for (u32 i = 0; i < 6; i++) {
            i32 dx, dy, dz;
            face_of(i, &dx, &dy, &dz);
            const Group near = f.p->groups[group_at(f, band, at[0] + dx, at[1] + dy, at[2] + dz)];
            sum += last ? (is_active(near) ? 1u : 0u) : (near.locked != 0 ? 1u : 0u);
        }
        f.p->groups[group_at(f, band, at[0], at[1], at[2])].neighbours = static_cast<u8>(sum);
    }
}

HGV_DEVICE void count_cousins(const Field& f, u32 band) {
    const u32 index = index_in_split(band);
    const SplitShape& s = f.shape->splits[depth_of(band)];
    const u32 w = ceil_div(s.low[0], 4), h = ceil_div(s.low[1], 4), d = ceil_div(s.low[2], 4);
    for (u32 e = thread_index(); e < w * h * d; e += thread_count()) {
        const u32 x = e % w, y = e / w % h, z = e / (w * h);
        u32 sum = 0;
        for (u32 before = band - (index - 1); before < band; before++) {
            sum += is_active(f.p->groups[group_at(f, before, x, y, z)]) ? 1u : 0u;
        }
        f.p->groups[group_at(f, band, x, y, z)].cousins = static_cast<u8>(sum);
    }
}

// How many groups of a band are active; the whole numbers of a float are exact here.
HGV_DEVICE u32 count_active(const Field& f, u32 band, BlockSum& room) {
    float active = 0.0f;
    for (u32 e = thread_index(); e < group_count(f, band); e += thread_count()) {
        u32 at[3];
        group_place(f, band, e, at);
        active += is_active(f.p->groups[group_at(f, band, at[0], at[1], at[2])]) ? 1.0f : 0.0f;
    }
    return static_cast<u32>(sum_of_block(room.values, active));
}

// Takes the indices of a quality to start from.
HGV_KERNEL(hgv_search_load, SearchParams, 256, 2) {
    HGV_SHARED(BlockSum, room);
    const Field f = field_of(p, block_index());
    const u64 first = p.blocks[block_index()].voxels;
    for (u32 band = 0; band < bands_of(*f.shape); band++) {
        const SplitShape& s = f.shape->splits[depth_of(band)];
        const u32 index = index_in_split(band);
        const u32 w = band_dim(s, index, 0), h = band_dim(s, index, 1), d = band_dim(s, index, 2);
        for (u32 e = thread_index(); e < w * h * d; e += thread_count()) {
            load_cell(f, first, band, e % w, e / w % h, e / (w * h));
        }
    }
    HGV_SYNC();
    for (u32 band = 0; band < bands_of(*f.shape); band++) {
        count_cells(f, band);
        count_groups(f, band);
    }
    HGV_SYNC();
    for (u32 band = 0; band < bands_of(*f.shape); band++) {
        count_neighbours(f, band);
        count_cousins(f, band);
        const u32 active = count_active(f, band, room);
        if (thread_index() == 0) {
            BandState* state = f.bands + band;
            state->locked = f.refines != 0 && is_coded(*state) ? 1 : 0;
            state->active = active;
            state->variant = f.refines != 0 ? state->variant : 0;
            state->frame = 0.0f;
        }
        HGV_SYNC();
    }
}

// What the indices of a quality leave of the coefficients.
HGV_DEVICE void find_errors(const SearchParams& p, const EncodeBlock& block, const EncodeShape& shape) {
    for (u32 i = thread_index(); i < shape.voxels; i += thread_count()) {
        const u32 x = i % shape.dims[0], y = i / shape.dims[0] % shape.dims[1], z = i / (shape.dims[0] * shape.dims[1]);
        const Spot spot = locate(shape, x, y, z);
        const float step = step_at(shape.steps[band_of(spot)], p.quality, p.qualities);
        const i32 index = load_index(p.indices, block.voxels + i);
        p.errors[block.voxels + i] =
            left_of(p.coefficients[block.voxels + i], index, spot, step, p.pull_one, p.pull_more);
    }
    HGV_SYNC();
}

// What an error in the outermost voxels of an axis counts, from squares there and squared steps inside.
HGV_DEVICE float face_weight(const float* box, const EncodeShape& shape, u32 axis, BlockSum& room) {
    const u32 n = shape.dims[axis];
    const u32 strides[3] = {1, shape.dims[0], shape.dims[0] * shape.dims[1]};
    float face = 0.0f, steps = 0.0f;
    for (u32 i = thread_index(); i < shape.voxels; i += thread_count()) {
        const u32 at = i / strides[axis] % n;
        const float error = box[i];
        face += at == 0 || at + 1 == n ? error * error : 0.0f;
        const float step = at + 1 < n ? box[i + strides[axis]] - error : 0.0f;
        steps += step * step;
    }
    const float lines = static_cast<float>(shape.voxels / n);
    const float mean_face = sum_of_block(room.values, face) / (2.0f * lines);
    const float mean_step = sum_of_block(room.values, steps) / (static_cast<float>(n - 1) * lines);
    // Over a face, the squares of two errors add up.
    const float steeper = mean_step > 0.0f ? 2.0f * mean_face / mean_step : 1.0f;
    return clamped(kFaceShare * steeper, 1.0f, kFaceMost);
}

// Decides what errors at faces to other blocks count, from those that the indices leave.
HGV_KERNEL(hgv_search_weigh, SearchParams, 256, 2) {
    HGV_SHARED(Tile, tile);
    HGV_SHARED(BlockSum, room);
    const EncodeBlock block = p.blocks[block_index()];
    const EncodeShape& shape = p.shapes[block.shape];
    find_errors(p, block, shape);
    inverse(p.errors + block.voxels, shape, tile);
    for (u32 axis = 0; axis < 3; axis++) {
        const u32 sides = block.sides >> 2 * axis & 3u;
        float weight = 1.0f;
        if (shape.dims[axis] > 2 && sides != 0) {
            weight = face_weight(p.errors + block.voxels, shape, axis, room);
        }
        if (thread_index() == 0) {
            float* weights = p.weights + 6ull * block_index() + 2 * axis;
            weights[0] = (sides & 1u) != 0 ? weight : 1.0f;
            weights[1] = (sides & 2u) != 0 ? weight : 1.0f;
        }
    }
}

HGV_DEVICE float weight_along(const float* weights, u32 n, u32 at) {
    return at == 0 ? weights[0] : at + 1 == n ? weights[1] : 1.0f;
}

// The products of the error of the block with the basis function of each coefficient.
HGV_KERNEL(hgv_search_products, SearchParams, 256, 2) {
    HGV_SHARED(Tile, tile);
    const EncodeBlock block = p.blocks[block_index()];
    const EncodeShape& shape = p.shapes[block.shape];
    float* box = p.errors + block.voxels;
    find_errors(p, block, shape);
    inverse(box, shape, tile);
    const float* weights = p.weights + 6ull * block_index();
    for (u32 i = thread_index(); i < shape.voxels; i += thread_count()) {
        const u32 x = i % shape.dims[0], y = i / shape.dims[0] % shape.dims[1], z = i / (shape.dims[0] * shape.dims[1]);
        box[i] *= weight_along(weights, shape.dims[0], x) * weight_along(weights + 2, shape.dims[1], y) *
                  weight_along(weights + 4, shape.dims[2], z);
    }
    HGV_SYNC();
    adjoint(box, shape, tile);
}

HGV_DEVICE AxisTable axis_of(const SearchParams& p, const EncodeShape& shape, u32 block, u32 depth, u32 axis) {
    const SplitShape& split = shape.splits[depth];
    const float* weights = p.weights + 6ull * block + 2 * axis;
    return {p.lattice + split.lattice[axis], split.low[axis], weights[0] - 1.0f, weights[1] - 1.0f};
}

// The ideal magnitudes of a split, given all indices as they are.
HGV_DEVICE void aim_band(const Field& f, const AxisTable* axes, u64 first, u32 band) {
    const SearchParams& p = *f.p;
    const SplitShape& s = f.shape->splits[depth_of(band)];
    const u32 index = index_in_split(band);
    const u32 w = band_dim(s, index, 0), h = band_dim(s, index, 1), d = band_dim(s, index, 2);
    const float step = step_at(f.shape->steps[band], p.quality, p.qualities);
    const float norm = p.value_step / step;
    const float scale = 1.0f / (norm * norm * step);
    for (u32 e = thread_index(); e < w * h * d; e += thread_count()) {
        const u32 x = e % w, y = e / w % h, z = e / (w * h);
        const u64 cell = cell_at(f, band, x, y, z);
        const float error = p.errors[voxel_of(f, first, band, x, y, z)] * scale / square_of(axes, index, x, y, z);
        const u32 magnitude = p.magnitudes[cell];
        const bool negative = (p.marks[cell] & kNegative) != 0;
        float target = value_in(f, magnitude) + (negative ? -error : error);
        if (magnitude == 0 && p.befores[cell] == 0 && target < 0.0f) {
            target = -target;
            p.marks[cell] = static_cast<u8>(p.marks[cell] ^ kNegative);
        }
        p.targets[cell] = static_cast<i32>(round_even(clamped(target, -16000.0f, 16000.0f) * kTargetUnit));
    }
}

// Hands out the indices of a band.
HGV_DEVICE void store_band(const Field& f, u64 first, u32 band) {
    const SearchParams& p = *f.p;
    const SplitShape& s = f.shape->splits[depth_of(band)];
    const u32 index = index_in_split(band);
    const u32 w = band_dim(s, index, 0), h = band_dim(s, index, 1), d = band_dim(s, index, 2);
    for (u32 e = thread_index(); e < w * h * d; e += thread_count()) {
        const u32 x = e % w, y = e / w % h, z = e / (w * h);
        const u64 cell = cell_at(f, band, x, y, z);
        const i32 magnitude = p.magnitudes[cell];
        // What does not fit a cell was not chosen anew.
        if (magnitude < 0xffff) {
            store_index(p.indices, voxel_of(f, first, band, x, y, z),
                        (p.marks[cell] & kNegative) != 0 ? -magnitude : magnitude);
        }
    }
}

struct VariantBits {
    float bits[64];    // cells and flags
    float frames[64];  // flags if no group were active
};

// What cells and flags of a group cost in a variant, added to what a thread has.
HGV_DEVICE void add_group_bits(const Field& f, const Rates& rates, u32 band, const u32* at, float* bits, float* frame) {
    const Group group = f.p->groups[group_at(f, band, at[0], at[1], at[2])];
    if (group.locked == 0) {
        *frame += flag_bits_if(f, rates, band, at[0], at[1], at[2], group.neighbours, group.cousins, false);
    }
    *bits += flag_bits_at(f, rates, band, at[0], at[1], at[2]);
    if (!is_active(group)) {
        return;
    }
    const GroupBox box = box_of(f, band, at[0], at[1], at[2]);
    for (u32 z = box.first[2]; z < box.end[2]; z++) {
        for (u32 y = box.first[1]; y < box.end[1]; y++) {
            for (u32 x = box.first[0]; x < box.end[0]; x++) {
                *bits += bits_at(f, rates, band, x, y, z);
            }
        }
    }
}

// Uses the variant of the tables that suits a band best, and works out what its header and flags cost. Every
// fourth thread counts for the same variant.
HGV_DEVICE void choose_variant(const Field& f, u32 band, VariantBits& room) {
    const u32 thread = thread_index();
    Rates rates = rates_at(f, band);
    rates.shift = 8 * (thread % kVariants);
    float bits = 0.0f, frame = 0.0f;
    for (u32 e = thread / kVariants; e < group_count(f, band); e += thread_count() / kVariants) {
        u32 at[3];
        group_place(f, band, e, at);
        add_group_bits(f, rates, band, at, &bits, &frame);
    }
    room.bits[thread] = bits;
    room.frames[thread] = frame;
    HGV_SYNC();
    for (u32 half = thread_count() / 2; half >= kVariants; half /= 2) {
        if (thread < half) {
            room.bits[thread] += room.bits[thread + half];
            room.frames[thread] += room.frames[thread + half];
        }
        HGV_SYNC();
    }
    if (thread == 0) {
        BandState* state = f.bands + band;
        u32 best = is_coded(*state) ? 0 : state->variant;
        for (u32 variant = 1; variant < kVariants && is_coded(*state); variant++) {
            best = room.bits[variant] < room.bits[best] ? variant : best;
        }
        state->variant = best;
        const Rates found = rates_at(f, band);
        state->frame = opening_bits(found, true) - opening_bits(found, false) + room.frames[best];
    }
    HGV_SYNC();
}

// Chooses all cells of a band, groups of one parity at a time.
HGV_DEVICE void sweep_band(const Sweep& s, BlockSum& room) {
    const Field& f = s.f;
    const u32 sides[3] = {groups_along(f, s.band, 0), groups_along(f, s.band, 1), groups_along(f, s.band, 2)};
    for (u32 parity = 0; parity < 8; parity++) {
        const u32 px = parity & 1u, py = parity >> 1 & 1u, pz = parity >> 2;
        const u32 w = (sides[0] + 1 - px) / 2, h = (sides[1] + 1 - py) / 2, d = (sides[2] + 1 - pz) / 2;
        for (u32 e = thread_index(); e < w * h * d; e += thread_count()) {
            Turn turn;
            turn.s = &s;
            turn.group[0] = e % w * 2 + px;
            turn.group[1] = e / w % h * 2 + py;
            turn.group[2] = e / (w * h) * 2 + pz;
            turn.was_active = is_active(f.p->groups[group_at(f, s.band, turn.group[0], turn.group[1], turn.group[2])]);
            choose_group(f, turn);
        }
        HGV_SYNC();
        count_neighbours(f, s.band);
        const u32 active = count_active(f, s.band, room);
        if (thread_index() == 0) {
            f.bands[s.band].active = active;
        }
        HGV_SYNC();
    }
}

// Chooses the coefficients of a split anew. The host leaves the deepest one as it is: it has few, which have
// most in common with all others.
HGV_KERNEL(hgv_search_sweep, SearchParams, 64, 4) {
    HGV_SHARED(BlockSum, room);
    HGV_SHARED(VariantBits, variants);
    HGV_SHARED(Sweep, s);
    if (thread_index() == 0) {
        s.params = p;
        s.f = field_of(s.params, block_index());
        for (u32 a = 0; a < 3; a++) {
            s.axes[a] = axis_of(p, *s.f.shape, block_index(), p.depth, a);
        }
    }
    HGV_SYNC();
    const u64 first = p.blocks[block_index()].voxels;
    for (u32 index = 1; index < 8; index++) {
        aim_band(s.f, s.axes, first, 7 * p.depth + index - 1);
    }
    HGV_SYNC();
    for (u32 index = 1; index < 8; index++) {
        const u32 band = 7 * p.depth + index - 1;
        if (group_count(s.f, band) == 0) {
            continue;
        }
        choose_variant(s.f, band, variants);
        if (thread_index() == 0) {
            s.band = band;
            s.rates = rates_at(s.f, band);
        }
        HGV_SYNC();
        sweep_band(s, room);
    }
    for (u32 index = 1; index < 8; index++) {
        store_band(s.f, first, 7 * p.depth + index - 1);
    }
}
