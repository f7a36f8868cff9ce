// From coefficient indices to voxels, for batches of blocks: dequantisation and inverse transform split by
// split, then rounding or filters, then what a residual, a mask or ranks do.
//
// A split takes two kernels, so that every value is read and written twice: columns along z, a thread each,
// which also dequantise; then whole planes in shared memory, along y and along x. The last split makes voxels.
#include "voxels.cuh"

struct LiftParams {
    const BlockHead* heads;
    const ReconHead* recon;
    const ReconPlan* plans;
    const u32* list;    // blocks that the launch is about, `tiles` thread blocks each
    u32* status;
    u8* values;         // planes of indices and working values, [z][y][x] over whole blocks
    u8* scratch;        // as large
    i32* integers;      // planes of decoded integers
    Output to;
    u32 split;
    u32 tiles;
    u32 planes;         // that a thread block of lift_xy works on
    u32 unused;
};
static_assert(sizeof(LiftParams) == 120, "as in reconstruct.rs");

struct PlaceParams {
    const BlockHead* heads;
    const ReconHead* recon;
    const ReconPlan* plans;
    const u32* list;
    u32* status;
    const i32* integers;
    const i32* residuals;  // planes like those of integers
    Output to;
    u32 tiles;
    u32 unused;
};
static_assert(sizeof(PlaceParams) == 104, "as in reconstruct.rs");

enum : u32 { kThreads = 128, kValuesPerThread = 8 };

// What all threads of a thread block know of their block.
struct Item {
    u32 block;
    u32 tile;
    const BlockHead& head;
    const ReconHead& recon;
    const ReconPlan& plan;
};

template <class Params> HGV_DEVICE Item item_of(const Params& p) {
    const u32 block = p.list[block_index() / p.tiles];
    const ReconHead& recon = p.recon[block];
    return Item{block, block_index() % p.tiles, p.heads[block], recon, p.plans[recon.plan]};
}

// Whether the split is one of those that the block undoes.
HGV_DEVICE bool takes_part(const LiftParams& p, const Item& item) {
    return p.status[item.block] == kGood && p.split < item.head.depth && p.split >= item.head.lod;
}

template <class P> HGV_DEVICE typename P::Element* elements(u8* planes, const BlockHead& head) {
    return reinterpret_cast<typename P::Element*>(planes) + head.indices;
}

// Axes that a split cuts.
HGV_DEVICE u32 axes_cut(const BlockHead& head, u32 split) {
    u32 axes = 0;
    for (u32 a = 0; a < 3; a++) {
        axes += halved(head.dims[a], split) > 1 ? 1u : 0u;
    }
    return axes;
}

// Coordinates of voxel `i` of a box.
struct Spot {
    u32 x, y, z;
};

HGV_DEVICE Spot spot_of(u32 i, u32 width, u32 height) {
    const u32 row = i / width;
    return Spot{i - row * width, row % height, row / height};
}

// Ends a value of the level of detail: keeps it for a filter, keeps its integer for a residual, or makes a voxel.
template <class P> HGV_DEVICE void finish_value(const LiftParams& p, const Item& item, Spot at, i32 w) {
    const BlockHead& head = item.head;
    if ((item.plan.flags & kReversible) != 0) {
        for (u32 d = head.lod; d > 0; d--) {
            const u32 axes = axes_cut(head, d - 1);
            w = axes == 0 ? w : P::multiply(w, P::shrink(axes));
        }
    }
    if ((item.plan.flags & kHasFilter) != 0) {
        if ((item.plan.flags & kHasCurve) != 0) {
            w = straighten<P>(item.plan, item.recon, centre_of(head), w);
        }
        w = clamped(w, P::saturate(item.recon.low), P::saturate(item.recon.high));
        const u32 place = (at.z * head.dims[1] + at.y) * head.dims[0] + at.x;
        elements<P>(p.values, head)[place] = static_cast<typename P::Element>(w);
        return;
    }
    const i32 q = round_value(head, item.plan, item.recon, w);
    if ((head.flags & kResidual) != 0) {
        p.integers[head.integers + (at.z * head.dims[1] + at.y) * head.dims[0] + at.x] = q;
    } else {
        place_voxel(p.to, head, item.plan, item.recon, at.x, at.y, at.z, q, false);
    }
}

// Dequantises and merges along z, from `values` to `scratch`: a thread a column of the box of the split.
template <class P> HGV_DEVICE void lift_z(const LiftParams& p) {
    typedef typename P::Element E;
    const Item item = item_of(p);
    const BlockHead& head = item.head;
    if (!takes_part(p, item)) {
        return;
    }
    const u32 width = halved(head.dims[0], p.split), height = halved(head.dims[1], p.split);
    const u32 column = item.tile * kThreads + thread_index();
    if (column >= width * height) {
        return;
    }
    const u32 x = column % width, y = column / width;
    const u32 depth = halved(head.dims[2], p.split), low = halved(head.dims[2], p.split + 1);
    const u32 band = (x >= halved(head.dims[0], p.split + 1) ? 1u : 0u) +
                     (y >= halved(head.dims[1], p.split + 1) ? 2u : 0u);
    // The low part of all but the coarsest split holds working values already.
    const bool indices = band != 0 || p.split + 1 == head.depth;
    const bool gains = band == 0 && (item.plan.flags & kReversible) == 0;
    const u32 axes = axes_cut(head, p.split);
    const i32 gain = axes == 0 ? 0 : P::gain(axes);
    const BandStep low_step = item.plan.bands[p.split][band], high_step = item.plan.bands[p.split][band | 4u];
    const u32 stride = head.dims[0] * head.dims[1], place = y * head.dims[0] + x;
    const E* from = elements<P>(p.values, head) + place;
    E* to = elements<P>(p.scratch, head) + place;
    const auto even = [&](u32 i) {
        i32 v = from[i * stride];
        v = indices ? P::dequantise(low_step, v) : v;
        return gains && axes > 0 ? P::add(v, P::multiply(v, gain)) : v;
    };
    const auto odd = [&](u32 i) { return P::dequantise(high_step, from[(low + i) * stride]); };
    const auto put = [&](u32 i, i32 v) { to[i * stride] = static_cast<E>(v); };
    if (depth == 1) {
        put(0, even(0));
    } else {
        merge_line<P>(depth, even, odd, put);
    }
}

// Ends or keeps one value after the merges of a split.
template <class P> HGV_DEVICE void keep_value(const LiftParams& p, const Item& item, Spot at, i32 w) {
    if (p.split == item.head.lod) {
        finish_value<P>(p, item, at, w);
    } else {
        const u32 place = (at.z * item.head.dims[1] + at.y) * item.head.dims[0] + at.x;
        elements<P>(p.values, item.head)[place] = static_cast<typename P::Element>(w);
    }
}

// Merges rows of planes that lie one after the other in shared memory, a warp a row or several.
template <class P, u32 N>
HGV_DEVICE void merge_rows(const LiftParams& p, const Item& item, const typename P::Element* rows, u32 first_plane,
                           u32 count, u32 width, u32 height) {
    const u32 low = (width + 1) / 2, high = width / 2;
    u32 lanes = 1;  // of a row
    while (lanes * N < low) {
        lanes *= 2;
    }
    const u32 at_once = 32 / lanes;
    const u32 step = at_once * (kThreads / 32);
    // Every lane takes part in every turn; those past the last row do it again and keep nothing.
    for (u32 base = warp_index() * at_once; base < count; base += step) {
        const u32 wanted = base + lane_index() / lanes;
        const u32 row = smaller(wanted, count - 1);
        const typename P::Element* from = rows + row * width;
        Pairs<N> pairs;
        pairs.first = (lane_index() % lanes) * N;
        pairs.low = low;
        pairs.high = high;
        for (u32 j = 0; j < N; j++) {
            const u32 i = pairs.first + j;
            pairs.even[j] = from[smaller(i, low - 1)];
            pairs.odd[j] = high == 0 ? 0 : from[low + smaller(i, high - 1)];
        }
        if (width > 1) {
            merge_pairs<P>(pairs);
        }
        const Spot at = {0, row % height, first_plane + row / height};
        for (u32 j = 0; j < N; j++) {
            const u32 i = pairs.first + j;
            if (wanted < count && i < low) {
                keep_value<P>(p, item, Spot{2 * i, at.y, at.z}, pairs.even[j]);
            }
            if (wanted < count && i < high) {
                keep_value<P>(p, item, Spot{2 * i + 1, at.y, at.z}, pairs.odd[j]);
            }
        }
    }
}

// Merges along y and x, from `scratch` to `values` or to voxels: a thread block some planes.
template <class P> HGV_DEVICE void lift_xy(const LiftParams& p) {
    typedef typename P::Element E;
    HGV_DYNAMIC_SHARED(E, shared);
    const Item item = item_of(p);
    const BlockHead& head = item.head;
    const u32 depth = halved(head.dims[2], p.split), first = item.tile * p.planes;
    if (!takes_part(p, item) || first >= depth) {
        return;
    }
    const u32 count = smaller(p.planes, depth - first);
    const u32 width = halved(head.dims[0], p.split), height = halved(head.dims[1], p.split);
    const u32 low = (height + 1) / 2, stride = head.dims[0];
    for (u32 column = thread_index(); column < count * width; column += kThreads) {
        const u32 plane = column / width, x = column % width;
        const E* from = elements<P>(p.scratch, head) + (first + plane) * head.dims[1] * stride + x;
        E* to = shared + plane * height * width + x;
        const auto even = [&](u32 i) { return static_cast<i32>(from[i * stride]); };
        const auto odd = [&](u32 i) { return static_cast<i32>(from[(low + i) * stride]); };
        const auto put = [&](u32 i, i32 v) { to[i * width] = static_cast<E>(v); };
        if (height == 1) {
            put(0, even(0));
        } else {
            merge_line<P>(height, even, odd, put);
        }
    }
    HGV_SYNC();
    if (width > 64) {
        merge_rows<P, 2>(p, item, shared, first, count * height, width, height);
    } else {
        merge_rows<P, 1>(p, item, shared, first, count * height, width, height);
    }
}

// Blocks of which only the coarsest band is wanted.
template <class P> HGV_DEVICE void end_coarsest(const LiftParams& p) {
    const Item item = item_of(p);
    const BlockHead& head = item.head;
    if (p.status[item.block] != kGood || head.lod != head.depth) {
        return;
    }
    const u32 width = halved(head.dims[0], head.lod), height = halved(head.dims[1], head.lod);
    const u32 count = width * height * halved(head.dims[2], head.lod);
    const BandStep step = item.plan.bands[head.depth - 1][0];
    for (u32 i = thread_index(); i < count; i += kThreads) {
        const Spot at = spot_of(i, width, height);
        const u32 place = (at.z * head.dims[1] + at.y) * head.dims[0] + at.x;
        finish_value<P>(p, item, at, P::dequantise(step, elements<P>(p.values, head)[place]));
    }
}

// What the neighbours at a distance along an axis add to the sum of a filter.
HGV_DEVICE i64 tap(const ReconPlan& plan, u32 number, i64 ahead, i64 behind) {
    i64 sum = 0;
    for (u32 n = 0; n < kFilterLimits; n++) {
        const i64 limit = plan.limits[n];
        const i64 both = clamped(ahead, -limit, limit) + clamped(behind, -limit, limit);
        sum += both * plan.weights[number * kFilterLimits + n];
    }
    return sum;
}

// Filters values that lie within the range of their block, and rounds them.
template <class P> HGV_DEVICE void filter_block(const LiftParams& p) {
    const Item item = item_of(p);
    const BlockHead& head = item.head;
    if (p.status[item.block] != kGood || (item.plan.flags & kHasFilter) == 0) {
        return;
    }
    const typename P::Element* values = elements<P>(p.values, head);
    const u32 voxels = head.dims[0] * head.dims[1] * head.dims[2];
    const u32 strides[3] = {1, head.dims[0], head.dims[0] * head.dims[1]};
    const u32 end = smaller(voxels, (item.tile + 1) * kThreads * kValuesPerThread);
    for (u32 i = item.tile * kThreads * kValuesPerThread + thread_index(); i < end; i += kThreads) {
        const Spot at = spot_of(i, head.dims[0], head.dims[1]);
        const u32 place[3] = {at.x, at.y, at.z};
        const i64 here = values[i];
        i64 sum = 0;
        for (u32 axis = 0; axis < 3; axis++) {
            for (u32 d = 1; d <= kFilterReach; d++) {
                const u32 up = smaller(head.dims[axis] - 1 - place[axis], d) * strides[axis];
                const u32 down = smaller(place[axis], d) * strides[axis];
                sum += tap(item.plan, axis * kFilterReach + d - 1, values[i + up] - here, values[i - down] - here);
            }
        }
        const i32 w = P::saturate(here + ((sum + 64) >> 7));
        const i32 q = round_value(head, item.plan, item.recon, w);
        if ((head.flags & kResidual) != 0) {
            p.integers[head.integers + i] = q;
        } else {
            place_voxel(p.to, head, item.plan, item.recon, at.x, at.y, at.z, q, false);
        }
    }
}

HGV_KERNEL(hgv_lift_z_narrow, LiftParams, 128, 4) { lift_z<Narrow>(p); }
HGV_KERNEL(hgv_lift_z_wide, LiftParams, 128, 4) { lift_z<Wide>(p); }
HGV_KERNEL(hgv_lift_xy_narrow, LiftParams, 128, 4) { lift_xy<Narrow>(p); }
HGV_KERNEL(hgv_lift_xy_wide, LiftParams, 128, 4) { lift_xy<Wide>(p); }
HGV_KERNEL(hgv_coarsest_narrow, LiftParams, 128, 4) { end_coarsest<Narrow>(p); }
HGV_KERNEL(hgv_coarsest_wide, LiftParams, 128, 4) { end_coarsest<Wide>(p); }
HGV_KERNEL(hgv_filter_narrow, LiftParams, 128, 4) { filter_block<Narrow>(p); }
HGV_KERNEL(hgv_filter_wide, LiftParams, 128, 4) { filter_block<Wide>(p); }

// Brings the integer q of a voxel to what the residual r says; false if that breaks a rule.
HGV_DEVICE bool add_residual(const Item& item, const Output& to, i32& q, i32 r) {
    const BlockHead& head = item.head;
    if ((item.plan.flags & kFloatBits) != 0) {
        q = static_cast<i32>(unordered(ordered(float_of(q, to.exponent)) + static_cast<u32>(r)));
        return true;
    }
    const i64 sum = static_cast<i64>(q) + static_cast<i64>(item.plan.residual_step) * r;
    if ((item.plan.flags & kExact) != 0 && (sum < head.lo || sum > head.hi)) {
        return false;
    }
    q = static_cast<i32>(clamped<i64>(sum, head.lo, head.hi));
    return true;
}

// Voxels of integers at the level of detail, with the residual if the block has one.
HGV_KERNEL(hgv_place, PlaceParams, 128, 4) {
    const Item item = item_of(p);
    const BlockHead& head = item.head;
    if (p.status[item.block] != kGood) {
        return;
    }
    const u32 width = halved(head.dims[0], head.lod), height = halved(head.dims[1], head.lod);
    const u32 voxels = width * height * halved(head.dims[2], head.lod);
    const u32 end = smaller(voxels, (item.tile + 1) * kThreads * kValuesPerThread);
    const bool residual = (head.flags & kResidual) != 0;
    for (u32 i = item.tile * kThreads * kValuesPerThread + thread_index(); i < end; i += kThreads) {
        i32 q = p.integers[head.integers + i];
        if (residual && !add_residual(item, p.to, q, p.residuals[head.integers + i])) {
            p.status[item.block] = kBad;
            return;
        }
        const Spot at = spot_of(i, width, height);
        const bool bits = residual && (item.plan.flags & kFloatBits) != 0;
        place_voxel(p.to, head, item.plan, item.recon, at.x, at.y, at.z, q, bits);
    }
}

// Voxels of blocks that have one value, `lo`.
HGV_KERNEL(hgv_constant, PlaceParams, 128, 4) {
    const Item item = item_of(p);
    const BlockHead& head = item.head;
    const u32 width = halved(head.dims[0], head.lod), height = halved(head.dims[1], head.lod);
    const u32 voxels = width * height * halved(head.dims[2], head.lod);
    const u32 end = smaller(voxels, (item.tile + 1) * kThreads * kValuesPerThread);
    for (u32 i = item.tile * kThreads * kValuesPerThread + thread_index(); i < end; i += kThreads) {
        const Spot at = spot_of(i, width, height);
        place_voxel(p.to, head, item.plan, item.recon, at.x, at.y, at.z, head.lo, false);
    }
}
