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
    i32* integers;      // planes of decoded integers, [z][y][x] over the level of detail
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

// How values at the level of detail end. Everything that a value needs is copied here, because what voxels are
// written through might be an alias of the heads.
template <class P> struct Ending {
    Rounding rounding;
    const ReconPlan* plan;
    typename P::Element* values;  // takes what a filter works on
    i32* integers;                // takes what is not direct
    i64 out;
    u64 pitch_z;
    u32 pitch_y;
    u32 width, height;            // of the level of detail
    u32 flags;
    u32 shrinks;                  // levels of detail of a reversible transform: axes cut by each split, 2 bits
    bool direct;
};

template <class P> HGV_DEVICE Ending<P> ending_of(const LiftParams& p, const Item& item) {
    const BlockHead& head = item.head;
    Ending<P> end;
    end.rounding = rounding_of<P>(head, item.plan, item.recon);
    end.plan = &item.plan;
    end.values = elements<P>(p.values, head);
    end.integers = p.integers + head.integers;
    end.out = item.recon.out;
    end.pitch_z = item.recon.pitch_z;
    end.pitch_y = item.recon.pitch_y;
    end.width = halved(head.dims[0], head.lod);
    end.height = halved(head.dims[1], head.lod);
    end.flags = item.plan.flags;
    end.shrinks = 0;
    for (u32 d = 0; d < head.lod && (end.flags & kReversible) != 0; d++) {
        const u32 axes = axes_cut(head, d);
        end.shrinks = axes == 0 ? end.shrinks : end.shrinks << 2 | axes;
    }
    end.direct = item.recon.direct != 0;
    return end;
}

// Ends an integer: as a voxel, or where a residual, a mask, ranks or a box are still to come.
template <class P> HGV_DEVICE void end_integer(const LiftParams& p, const Ending<P>& end, Spot at, i32 q) {
    if (end.direct) {
        const u64 row = at.z * end.pitch_z + static_cast<u64>(at.y) * end.pitch_y;
        store_voxel(p.to, end.out + static_cast<i64>(row + at.x), q);
    } else {
        end.integers[(at.z * end.height + at.y) * end.width + at.x] = q;
    }
}

// Ends a working value, or keeps it for a filter.
template <class P>
HGV_DEVICE void end_value(const LiftParams& p, const Item& item, const Ending<P>& end, Spot at, i32 w) {
    for (u32 left = end.shrinks; left != 0; left >>= 2) {
        w = P::multiply(w, P::shrink(left & 3u));
    }
    if ((end.flags & kHasFilter) == 0) {
        end_integer(p, end, at, round_value(end.rounding, *end.plan, w));
        return;
    }
    if ((end.flags & kHasCurve) != 0) {
        w = straighten<P>(*end.plan, item.recon, centre_of(item.head), w);
    }
    w = clamped(w, P::saturate(item.recon.low), P::saturate(item.recon.high));
    // Filters are for the full resolution, where the level of detail is the block.
    end.values[(at.z * end.height + at.y) * end.width + at.x] = static_cast<typename P::Element>(w);
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
        i32 v = load_constant(from + i * stride);
        v = indices ? P::dequantise(low_step, v) : v;
        return gains && axes > 0 ? P::add(v, P::multiply(v, gain)) : v;
    };
    const auto odd = [&](u32 i) { return P::dequantise(high_step, load_constant(from + (low + i) * stride)); };
    const auto put = [&](u32 i, i32 v) { to[i * stride] = static_cast<E>(v); };
    if (depth == 1) {
        put(0, even(0));
    } else {
        merge_line<P>(depth, even, odd, put);
    }
}

// Lines along x that lie one after the other in shared memory, and where they go.
struct Rows {
    u32 count;
    u32 width;
    u32 height;  // of a plane
    u32 first;   // plane
    u32 nx, ny;  // of the whole block
    bool last;   // whether this ends the inverse transform
};

// Merges rows, a warp a row or several.
template <class P, u32 N>
HGV_DEVICE void merge_rows(const LiftParams& p, const Item& item, const Rows& rows, const typename P::Element* shared) {
    const Ending<P> end = ending_of<P>(p, item);
    const u32 low = (rows.width + 1) / 2, high = rows.width / 2;
    u32 lanes = 1;  // of a row
    while (lanes * N < low) {
        lanes *= 2;
    }
    const u32 at_once = 32 / lanes;
    const u32 step = at_once * (kThreads / 32);
    // Every lane takes part in every turn; those past the last row do it again and keep nothing.
    for (u32 base = warp_index() * at_once; base < rows.count; base += step) {
        const u32 wanted = base + lane_index() / lanes;
        const u32 row = smaller(wanted, rows.count - 1);
        const typename P::Element* from = shared + row * rows.width;
        Pairs<N> pairs;
        pairs.first = (lane_index() % lanes) * N;
        pairs.low = low;
        pairs.high = high;
        HGV_UNROLL
        for (u32 j = 0; j < N; j++) {
            const u32 i = pairs.first + j;
            pairs.even[j] = from[smaller(i, low - 1)];
            pairs.odd[j] = high == 0 ? 0 : from[low + smaller(i, high - 1)];
        }
        if (rows.width > 1) {
            merge_pairs<P>(pairs);
        }
        const u32 y = row % rows.height, z = rows.first + row / rows.height;
        typename P::Element* kept = end.values + (z * rows.ny + y) * rows.nx;
        const auto keep = [&](u32 x, i32 w) {
            if (rows.last) {
                end_value<P>(p, item, end, Spot{x, y, z}, w);
            } else {
                kept[x] = static_cast<typename P::Element>(w);
            }
        };
        HGV_UNROLL
        for (u32 j = 0; j < N; j++) {
            const u32 i = pairs.first + j;
            if (wanted < rows.count && i < low) {
                keep(2 * i, pairs.even[j]);
            }
            if (wanted < rows.count && i < high) {
                keep(2 * i + 1, pairs.odd[j]);
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
        const auto even = [&](u32 i) { return static_cast<i32>(load_constant(from + i * stride)); };
        const auto odd = [&](u32 i) { return static_cast<i32>(load_constant(from + (low + i) * stride)); };
        const auto put = [&](u32 i, i32 v) { to[i * width] = static_cast<E>(v); };
        if (height == 1) {
            put(0, even(0));
        } else {
            merge_line<P>(height, even, odd, put);
        }
    }
    HGV_SYNC();
    const Rows rows = {count * height, width, height, first, stride, head.dims[1], p.split == head.lod};
    if (width > 64) {
        merge_rows<P, 2>(p, item, rows, shared);
    } else {
        merge_rows<P, 1>(p, item, rows, shared);
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
    const Ending<P> end = ending_of<P>(p, item);
    for (u32 i = thread_index(); i < count; i += kThreads) {
        const Spot at = spot_of(i, width, height);
        const u32 place = (at.z * head.dims[1] + at.y) * head.dims[0] + at.x;
        end_value<P>(p, item, end, at, P::dequantise(step, end.values[place]));
    }
}

// What the neighbours at a distance along an axis add to the sum of a filter, as differences.
template <class Sum> HGV_DEVICE Sum tap(const ReconPlan& plan, u32 number, Sum ahead, Sum behind) {
    Sum sum = 0;
    HGV_UNROLL
    for (u32 n = 0; n < kFilterLimits; n++) {
        const Sum limit = plan.limits[n];
        const Sum both = clamped<Sum>(ahead, -limit, limit) + clamped<Sum>(behind, -limit, limit);
        sum += both * plan.weights[number * kFilterLimits + n];
    }
    return sum;
}

// Filters values that lie within the range of their block, and rounds them.
template <class P> HGV_DEVICE void filter_block(const LiftParams& p) {
    typedef typename P::Sum Sum;
    const Item item = item_of(p);
    const BlockHead& head = item.head;
    if (p.status[item.block] != kGood) {
        return;
    }
    const Ending<P> end = ending_of<P>(p, item);
    const typename P::Element* values = end.values;
    const u32 voxels = head.dims[0] * head.dims[1] * head.dims[2];
    const u32 strides[3] = {1, head.dims[0], head.dims[0] * head.dims[1]};
    const u32* taps = reinterpret_cast<const u32*>(item.plan.weights);
    const u32 past = smaller(voxels, (item.tile + 1) * kThreads * kValuesPerThread);
    for (u32 i = item.tile * kThreads * kValuesPerThread + thread_index(); i < past; i += kThreads) {
        const Spot at = spot_of(i, head.dims[0], head.dims[1]);
        const u32 place[3] = {at.x, at.y, at.z};
        const Sum here = load_constant(values + i);
        Sum sum = 0;
        HGV_UNROLL
        for (u32 axis = 0; axis < 3; axis++) {
            for (u32 d = 1; d <= kFilterReach; d++) {
                const u32 number = axis * kFilterReach + d - 1;
                if (taps[number] == 0) {
                    continue;  // no weight at this distance
                }
                const u32 up = smaller(head.dims[axis] - 1 - place[axis], d) * strides[axis];
                const u32 down = smaller(place[axis], d) * strides[axis];
                sum += tap<Sum>(item.plan, number, load_constant(values + i + up) - here,
                                load_constant(values + i - down) - here);
            }
        }
        const i32 w = P::saturate(here + ((sum + 64) >> 7));
        end_integer(p, end, at, round_value(end.rounding, item.plan, w));
    }
}

HGV_KERNEL(hgv_lift_z_narrow, LiftParams, 128, 4) { lift_z<Narrow>(p); }
HGV_KERNEL(hgv_lift_z_wide, LiftParams, 128, 4) { lift_z<Wide>(p); }
HGV_KERNEL(hgv_lift_xy_narrow, LiftParams, 128, 6) { lift_xy<Narrow>(p); }
HGV_KERNEL(hgv_lift_xy_wide, LiftParams, 128, 6) { lift_xy<Wide>(p); }
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
    const BlockHead head = item.head;
    if (p.status[item.block] != kGood) {
        return;
    }
    const u32 width = halved(head.dims[0], head.lod), height = halved(head.dims[1], head.lod);
    const u32 voxels = width * height * halved(head.dims[2], head.lod);
    const u32 end = smaller(voxels, (item.tile + 1) * kThreads * kValuesPerThread);
    const ReconHead recon = item.recon;
    const u32 flags = item.plan.flags;
    const bool residual = (head.flags & kResidual) != 0;
    for (u32 i = item.tile * kThreads * kValuesPerThread + thread_index(); i < end; i += kThreads) {
        i32 q = load_constant(p.integers + head.integers + i);
        if (residual && !add_residual(item, p.to, q, load_constant(p.residuals + head.integers + i))) {
            p.status[item.block] = kBad;
            return;
        }
        const Spot at = spot_of(i, width, height);
        const bool bits = residual && (flags & kFloatBits) != 0;
        place_voxel(p.to, head, recon, flags, at.x, at.y, at.z, q, bits);
    }
}

// Voxels of blocks that have one value, `lo`.
HGV_KERNEL(hgv_constant, PlaceParams, 128, 4) {
    const Item item = item_of(p);
    const BlockHead head = item.head;
    const ReconHead recon = item.recon;
    const u32 flags = item.plan.flags;
    const u32 width = halved(head.dims[0], head.lod), height = halved(head.dims[1], head.lod);
    const u32 voxels = width * height * halved(head.dims[2], head.lod);
    const u32 end = smaller(voxels, (item.tile + 1) * kThreads * kValuesPerThread);
    for (u32 i = item.tile * kThreads * kValuesPerThread + thread_index(); i < end; i += kThreads) {
        const Spot at = spot_of(i, width, height);
        place_voxel(p.to, head, recon, flags, at.x, at.y, at.z, head.lo, false);
    }
}
