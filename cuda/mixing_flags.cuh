// Group flags of a band (section 28): the warp gathers what is known around a group, then decides its flag.
#pragma once

#include "mixing_decide.cuh"
#include "mixing_terms.cuh"

// What is known around a group.
struct GroupKnown {
    u32 faces;         // flags before it in the band
    u32 edges;
    u32 seconds;
    u32 cousin_flags;  // flags of the face neighbours in the bands before
    i32 parents;       // sum of parent magnitudes
    i32 rim;           // sum around them, each at most 3
    i32 cousins;       // sum over the bands before, each place at most 8
};

// Steps back to the flags before: three faces, six edges, three second neighbours; 2 bits for each of x, y, z, of
// which 3 is a step forward.
HGV_CONSTANT u32 kBack[12] = {0x01, 0x04, 0x10, 0x05, 0x07, 0x11, 0x13, 0x14, 0x1c, 0x02, 0x08, 0x20};

// Flags around a group: a lane looks at one or two.
HGV_DEVICE void look_at_flags(const GroupFlags& flags, u32 index, u32 x, u32 y, u32 z, GroupKnown& known) {
    const u32 lane = lane_index();
    u32 before = 0;
    if (lane < 12) {
        const u32 back = kBack[lane];
        const u32 step[3] = {back & 3u, back >> 2 & 3u, back >> 4};
        const u32 at[3] = {step[0] == 3 ? x + 1 : x - step[0], step[1] == 3 ? y + 1 : y - step[1], z - step[2]};
        before = flag_at(flags, index, at[0], at[1], at[2]);
    }
    const u32 bits = HGV_BALLOT(before != 0);
    known.faces = popcount(bits & 0x007u);
    known.edges = popcount(bits & 0x1f8u);
    known.seconds = popcount(bits & 0xe00u);
    // Five lanes a band: both neighbours on x, and the other four.
    const u32 band = lane / 5 + 1;
    const u32 row = lane % 5;
    u32 first = 0;
    u32 second = 0;
    if (band < index && lane < 30) {
        const u32 ry = row == 1 ? y - 1 : row == 2 ? y + 1 : y;
        const u32 rz = row == 3 ? z - 1 : row == 4 ? z + 1 : z;
        first = flag_at(flags, band, row == 0 ? x - 1 : x, ry, rz);
        second = row == 0 ? flag_at(flags, band, x + 1, y, z) : 0u;
    }
    const u32 firsts = HGV_BALLOT(first != 0);
    const u32 seconds = HGV_BALLOT(second != 0);
    known.cousin_flags = popcount(firsts) + popcount(seconds);
}

// Sums of magnitudes around a group: a lane adds two of the 64 places, and the warp its lanes.
HGV_DEVICE void look_at_places(const Scene& scene, u32 gx, u32 gy, u32 gz, GroupKnown& known) {
    // Three sums in one word: at most 2040, 168 and 512.
    const Band parents = parent_of(scene);
    u32 sums = 0;
    for (u32 half = 0; half < 2; half++) {
        const u32 place = lane_index() + 32 * half;
        const u32 q[3] = {place & 3u, place >> 2 & 3u, place >> 4};
        if (scene.has_coarser) {
            const u32 m = static_cast<u32>(magnitude_of(cell_at(scene.indices, scene.box, parents,
                                                                2 * gx + q[0] - 1, 2 * gy + q[1] - 1, 2 * gz + q[2] - 1)));
            const bool inside = q[0] - 1 < 2 && q[1] - 1 < 2 && q[2] - 1 < 2;
            sums += inside ? m : smaller(m, 3u) << 11;
        }
        const u32 at[3] = {4 * gx + q[0], 4 * gy + q[1], 4 * gz + q[2]};
        if (at[0] < scene.band.dims[0] && at[1] < scene.band.dims[1] && at[2] < scene.band.dims[2]) {
            i32 sum = 0;
            for (u32 c = 1; c < scene.index; c++) {
                const Band cousin = band_of(scene.box, scene.split, c);
                sum += magnitude_of(cell_at(scene.indices, scene.box, cousin, at[0], at[1], at[2]));
            }
            sums += static_cast<u32>(smaller(sum, 8)) << 20;
        }
    }
    sums = HGV_WARP_SUM(sums);
    known.parents = static_cast<i32>(sums & 0x7ffu);
    known.rim = static_cast<i32>(sums >> 11 & 0x1ffu);
    known.cousins = static_cast<i32>(sums >> 20);
}

template <class Bits>
HGV_DEVICE bool decide_flag(MixingCoder<Bits>& coder, const Scene& scene, const GroupKnown& known, bool wanted) {
    const u32 others = others_of(scene);
    const u32 p = level(known.parents, 1, 2, 3, 5, 8, 13, 24);
    const u32 o = level(known.rim, 1, 3, 6, 12, 24);
    const u32 m = level(2 * known.cousins / static_cast<i32>(others), 1, 2, 4, 7, 12, 20, 40, 80, 160);
    const u32 n = level(static_cast<i32>(2 * known.cousin_flags / others), 1, 2, 4, 7, 12, 20);
    const u32 f = known.faces;
    const u32 q = known.edges;
    const u32 t = scene.tier;
    const u32 slot = by_input(kFlag0 + smaller(2 * f + q, 12u) * 8 + p,
                              kFlag1 + (class_of(scene) * 4 + f) * 4 + smaller(q, 3u),
                              kFlag2 + (p * 6 + o) * kDepths + t,
                              kFlag3 + (m * 7 + n) * kBands + scene.index - 1,
                              kFlag4 + (smaller(p, 3u) * 16 + smaller(m, 7u) / 2 * 4 + f) * kDepths + t,
                              kFlag5 + ((f * 4 + known.seconds) * 7 + q) * kDepths + t);
    const u32 set = set_index() == 0 ? kFlagSet0 + (scene.refines ? kDepths : 0u) + t : kFlagSet1 + scene.index - 1;
    return decide(coder, 6, slot, set, wanted);
}

// Whether a group of the target has an index that is not zero.
HGV_DEVICE bool group_has_any(const Scene& scene, const Indices& target, u32 gx, u32 gy, u32 gz) {
    i32 any = 0;
    for (u32 place = lane_index(); place < 64; place += 32) {
        any |= index_at(target, scene.box, scene.band, 4 * gx + (place & 3u), 4 * gy + (place >> 2 & 3u),
                        4 * gz + (place >> 4));
    }
    return HGV_ANY(any != 0);
}

// Codes the flags that are not set yet.
template <class Bits>
HGV_DEVICE bool code_flags(MixingCoder<Bits>& coder, const Scene& scene, const GroupFlags& flags, const Indices& target) {
    const u32 dims[3] = {ceil_div(scene.band.dims[0], 4), ceil_div(scene.band.dims[1], 4), ceil_div(scene.band.dims[2], 4)};
    for (u32 z = 0; z < dims[2]; z++) {
        for (u32 y = 0; y < dims[1]; y++) {
            u16* const row = flag_row(flags, scene.index, y, z);
            for (u32 x = 0; x < dims[0]; x++) {
                if (bit_of(*row, x) != 0) {
                    continue;
                }
                GroupKnown known;
                look_at_flags(flags, scene.index, x, y, z, known);
                look_at_places(scene, x, y, z, known);
                const bool wanted = Bits::kEncodes && group_has_any(scene, target, x, y, z);
                const bool flag = decide_flag(coder, scene, known, wanted);
                if (flag && lane_index() == 0) {
                    *row = static_cast<u16>(*row | 1u << x);
                }
                HGV_WARP_SYNC();
                if (is_lost(coder.bits)) {
                    return false;
                }
            }
        }
    }
    return true;
}
