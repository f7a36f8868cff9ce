// The symbols of a layer in their order, for decoders and encoders alike (format-spec/payload.md, section 10).
#pragma once

#include "rans_coder.cuh"

// The nearest number of the working type.
HGV_DEVICE void saturate(i64 v, i16& to) { to = static_cast<i16>(clamped<i64>(v, -32768, 32767)); }
HGV_DEVICE void saturate(i64 v, i32& to) { to = static_cast<i32>(clamped<i64>(v, -2147483648ll, 2147483647ll)); }
template <class T> HGV_DEVICE T saturated(i64 v) {
    T to;
    saturate(v, to);
    return to;
}

// Which groups of a band are active, by parity of the group.
template <class T, class Coder>
HGV_DEVICE void code_flags(RansWalk<T>& walk, const RansBand& band, Coder& coder) {
    HGV_ROLLED
    for (u32 pass = 0; pass < kPasses; pass++) {
        coder_restart(coder);
        const u32 contexts = flag_contexts(band.depth, walk.refines, pass);
        each_open_group(walk.flags, band, pass, walk.warp->queue, [&](u32 at, u32 n) {
            const u32 x = at & 0xffu;
            const u32 y = at >> 8 & 0xffu;
            const u32 z = at >> 16;
            const bool mine = lane_index() < n;
            const u32 place = mine ? flag_place(band, x, y, z) : band.flags;
            const u32 known = mine ? walk.flags[place] : 0u;
            u32 context = contexts;
            if (mine) {
                const u32 parents = band.has_parent != 0 ? (parent_sum(walk, band.parent, x, y, z) + 7u) >> 3 : 0u;
                const u32 cousins = popcount(known & ((1u << band.index) - 1u));
                context = flag_context(contexts, parents, flag_faces(walk.flags, band, x, y, z), cousins);
            }
            u32 value = 0;
            if constexpr (Coder::kEncodes) {
                value = mine ? has_group(coder, place) : 0u;
            }
            if (coder_symbols(coder, context, value, n) != 0 && mine) {
                walk.flags[place] = static_cast<u8>(known | 1u << band.index);
            }
        });
        HGV_WARP_SYNC();
    }
}

// Up to 32 coefficients of a pass, one in each of the first n lanes.
template <class T, class Coder>
HGV_DEVICE void code_batch(RansWalk<T>& walk, const RansBand& band, Coder& coder, u32 pass, u32 at, u32 n) {
    const bool mine = lane_index() < n;
    const u32 place = mine ? place_in(walk.dims, band.box, at) : band.box.first;
    const i32 before = mine && walk.refines != 0 ? walk.before[place] : 0;
    Around around = {0, 0, 0};
    if (mine) {
        around = look_around(walk, band, pass, at);
    }
    const bool fresh = before == 0;
    const bool blind = pass == 0 && walk.refines == 0;
    const u32 contexts = coefficient_contexts(band.index, band.depth, walk.refines, pass);
    const u32 context = fresh ? coefficient_context(contexts, around, blind)
                              : refine_context(absolute(before), around.neighbours, pass);
    const u32 shift = fresh ? coefficient_shift(around, blind) : 0u;
    // A refined magnitude is four times the one before, and -4..=4.
    const i64 base = 4ll * absolute(before) - 4;
    u32 value = 0;
    bool negative = false;
    if constexpr (Coder::kEncodes) {
        const i32 wanted = mine ? walk.now[place] : 0;
        const i64 step = (before < 0 ? -static_cast<i64>(wanted) : static_cast<i64>(wanted)) - base;
        coder_fail(coder, mine && !fresh && (step < 0 || step > 8));
        value = fresh ? absolute(wanted) : static_cast<u32>(step);
        negative = wanted < 0;
    }
    const u32 read = coder_magnitudes(coder, mine && fresh, context, shift, value, n);
    if constexpr (!Coder::kEncodes) {
        const i64 magnitude = fresh ? static_cast<i64>(read) : larger<i64>(base + read, 0);
        if (mine && (read != 0 || !fresh)) {
            coder_put(coder, place, saturated<T>(before < 0 ? -magnitude : magnitude));
        }
    }
    coder_signs(coder, mine && fresh && read != 0, negative);
}

// One band of a split.
template <class T, class Coder>
HGV_DEVICE void code_band(RansWalk<T>& walk, Coder& coder, u32 depth, u32 index) {
    const RansBand& band = share_band(*walk.warp, rans_band(walk, depth, index));
    u32 any = 0;
    if constexpr (Coder::kEncodes) {
        any = find_groups(coder, walk, band);
    }
    if ((walk.nonempty & band_bit(depth, index)) == 0) {
        if (coder_fixed(coder, empty_context(depth, walk.refines), any) == 0) {
            return;
        }
        walk.nonempty |= band_bit(depth, index);
    }
    coder_begin_band(coder, variant_context(depth));
    code_flags(walk, band, coder);
    HGV_ROLLED
    for (u32 pass = 0; pass < kPasses; pass++) {
        coder_restart(coder);
        each_coefficient(walk.flags, band, pass, walk.warp->queue,
                         [&](u32 at, u32 n) { code_batch(walk, band, coder, pass, at, n); });
        HGV_WARP_SYNC();
    }
    coder_end_band(coder);
}

// Mean, rounded towards minus infinity, of the neighbours before on each axis; 0 without any.
template <class T> HGV_DEVICE i64 coarsest_guess(const u32* dims, const T* indices, u32 x, u32 y, u32 z) {
    const u32 place = (z * dims[1] + y) * dims[0] + x;
    i64 sum = 0;
    sum += x > 0 ? static_cast<i64>(indices[place - 1u]) : 0;
    sum += y > 0 ? static_cast<i64>(indices[place - dims[0]]) : 0;
    sum += z > 0 ? static_cast<i64>(indices[place - dims[0] * dims[1]]) : 0;
    const u32 count = (x > 0 ? 1u : 0u) + (y > 0 ? 1u : 0u) + (z > 0 ? 1u : 0u);
    if (count < 3u) {
        return sum >> (count == 2u ? 1 : 0);
    }
    const i64 quotient = sum / 3;
    return quotient - (quotient * 3 > sum ? 1 : 0);
}

// Adds differences to the guesses of a batch of the coarsest band, one after the other: guesses look at
// indices before. Of a lane: its position, its difference.
template <class T>
HGV_DEVICE void put_coarsest(RansWalk<T>& walk, RansPlayer<T>& coder, u32 at, i64 difference, u32 n) {
    for (u32 lane = 0; lane < n; lane++) {
        if (lane_index() == lane) {
            const u32 x = at & 0xffu;
            const u32 y = at >> 8 & 0xffu;
            const u32 z = at >> 16;
            const u32 place = (z * walk.dims[1] + y) * walk.dims[0] + x;
            const i64 guess = walk.refines != 0 ? 4ll * coder.indices[place] : coarsest_guess(walk.dims, walk.now, x, y, z);
            coder_put(coder, place, saturated<T>(guess + difference));
        }
        HGV_WARP_SYNC();
    }
}

// The coarsest band: differences to predictions, or to four times the quality before.
template <class T, class Coder> HGV_DEVICE void code_coarsest(RansWalk<T>& walk, Coder& coder) {
    const BandBox box = coarsest_box(walk.dims, walk.depth);
    const u32 count = box_size(box);
    coder_begin_band(coder, variant_context(2));
    coder_restart(coder);
    u32 shift = 0;
    if (walk.refines == 0) {
        u32 wanted = 0;
        if constexpr (Coder::kEncodes) {
            wanted = coarsest_units(walk, box);
        }
        shift = coder_raw(coder, wanted, 5);
    }
    for (u32 base = 0; base < count; base += 32u) {
        const u32 n = smaller(count - base, 32u);
        const u32 at = position_in(box.extent, smaller(base + lane_index(), count - 1u));
        i64 wanted = 0;
        if constexpr (Coder::kEncodes) {
            wanted = coarsest_difference(walk, at);
        }
        const i64 difference = coder_signed(coder, kCoarsestContext + walk.refines, shift, wanted, n);
        if constexpr (!Coder::kEncodes) {
            put_coarsest(walk, coder, at, difference, n);
        }
    }
    coder_end_band(coder);
}

// Which parts of a block have reached which quality.
struct Reached {
    i32 coarsest;   // -1 = none yet
    i32 splits[5];  // by depth
};

// What a layer does: whether it brings the coarsest band, and which splits, by bits.
struct Brought {
    bool coarsest;
    u32 splits;
    bool legal;
};

HGV_DEVICE Brought brought_by(const Reached& reached, u32 depth, u32 lod, i32 quality) {
    Brought b = {reached.coarsest < quality, 0, true};
    for (u32 d = 0; d < 5; d++) {
        if (d >= lod && d < depth) {
            b.splits |= reached.splits[d] == quality - 1 ? 1u << d : 0u;
            b.legal = b.legal && (reached.splits[d] == quality - 1 || reached.splits[d] == quality);
        }
    }
    return b;
}

HGV_DEVICE void mark_reached(Reached& reached, u32 depth, u32 lod, i32 quality) {
    reached.coarsest = quality;
    for (u32 d = 0; d < 5; d++) {
        reached.splits[d] = d >= lod && d < depth ? quality : reached.splits[d];
    }
}

// All symbols of a layer but its signs.
template <class T, class Coder> HGV_DEVICE void code_layer(RansWalk<T>& walk, Coder& coder, const Brought& brought) {
    if (brought.coarsest) {
        code_coarsest(walk, coder);
    }
    HGV_ROLLED
    for (u32 split = walk.depth; split-- > 0;) {
        if ((brought.splits >> split & 1u) == 0) {
            continue;
        }
        HGV_WARP_SYNC();
        if (lane_index() < 8u) {
            walk.warp->bands[lane_index()] = band_box(walk.dims, split, lane_index());
        }
        HGV_WARP_SYNC();
        HGV_ROLLED
        for (u32 index = 1; index < 8u && coder_bad(coder) == 0; index++) {
            if (box_size(walk.warp->bands[index]) > 0) {
                code_band(walk, coder, split, index);
            }
        }
    }
}
