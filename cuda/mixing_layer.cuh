// Layers of a block under coder M (sections 6 and 25).
#pragma once

#include "mixing_walk.cuh"

// Units of a coarsest difference from which on an Exp-Golomb number follows.
enum : u32 { kCoarsestUnary = 15 };

// A block that a warp works on, between its layers.
struct BlockState {
    Indices indices;
    Indices target;        // to encode
    u16* flags;
    Box box;
    u32 reached;           // qualities that each split has reached, 4 bits each
    u32 coarsest_reached;  // qualities that the coarsest band has reached
};

HGV_DEVICE Box box_of(const BlockHead& head) {
    Box box;
    for (u32 a = 0; a < 3; a++) {
        box.dims[a] = head.dims[a];
    }
    box.depth = smaller(head.depth, 8u);
    box.sy = box.dims[0];
    box.sz = box.dims[0] * box.dims[1];
    return box;
}

// A block whose indices are to lie at `indices`; all are 0 at first.
HGV_DEVICE void start_block(BlockState& block, const BlockHead& head, void* indices, u16* flags) {
    block.indices.start = indices;
    block.indices.is_wide = (head.flags & kWide) != 0;
    block.target = block.indices;
    block.flags = flags;
    block.box = box_of(head);
    const u32 voxels = block.box.sz * block.box.dims[2];
    for (u32 i = lane_index(); i < voxels; i += 32) {
        store_index(block.indices, i, 0);
    }
    block.reached = 0;
    block.coarsest_reached = 0;
    HGV_WARP_SYNC();
}

HGV_DEVICE u32 reached_by(const BlockState& block, u32 depth) { return block.reached >> (4 * depth) & 15u; }

// Whether each split that a layer is about has reached its quality or the one before.
HGV_DEVICE bool may_come(const BlockState& block, u32 lod, u32 quality) {
    bool good = true;
    for (u32 depth = lod; depth < block.box.depth; depth++) {
        const u32 reached = reached_by(block, depth);
        good = good && (reached == quality + 1 || reached == quality);
    }
    return good;
}

HGV_DEVICE bool brings(const BlockState& block, u32 depth, u32 quality) {
    return reached_by(block, depth) == quality;
}

// The coarsest band as a band of its own.
HGV_DEVICE Band coarsest_of(const Box& box) {
    Band band;
    band.first = 0;
    for (u32 a = 0; a < 3; a++) {
        band.dims[a] = halved(box.dims[a], box.depth);
    }
    return band;
}

// Calls `visit(band)` for every band that a layer brings to its quality, until it says no; whether it never did.
template <class Visit>
HGV_DEVICE bool for_each_brought(const BlockState& block, u32 lod, u32 quality, Visit visit) {
    if (block.coarsest_reached <= quality && !visit(coarsest_of(block.box))) {
        return false;
    }
    for (u32 depth = lod; depth < block.box.depth; depth++) {
        const Split split = split_of(block.box, depth);
        for (u32 index = 1; index < 8 && brings(block, depth, quality); index++) {
            if (!visit(band_of(block.box, split, index))) {
                return false;
            }
        }
    }
    return true;
}

HGV_DEVICE void set_reached(BlockState& block, u32 lod, u32 quality) {
    for (u32 depth = lod; depth < block.box.depth; depth++) {
        block.reached = (block.reached & ~(15u << (4 * depth))) | (quality + 1) << (4 * depth);
    }
}

// An empty layer: what was zero stays zero, what was not becomes four times itself.
HGV_DEVICE void skip_layer(BlockState& block, u32 lod, u32 quality) {
    if (quality > 0) {
        for_each_brought(block, lod, quality, [&](const Band& band) {
            for_each_row(block.box, band, [&](u32 first, u32 length) {
                for (u32 x = lane_index(); x < length; x += 32) {
                    const i64 kept = 4 * static_cast<i64>(load_index(block.indices, first + x));
                    store_index(block.indices, first + x, saturated(block.indices, kept));
                }
            });
            return true;
        });
        HGV_WARP_SYNC();
    }
    set_reached(block, lod, quality);
    block.coarsest_reached = quality + 1;
}

// Whether a layer would change nothing: all that it adds is zero.
HGV_DEVICE bool is_idle(const BlockState& block, u32 lod, u32 quality) {
    return for_each_brought(block, lod, quality, [&](const Band& band) {
        bool differs = false;
        for_each_row(block.box, band, [&](u32 first, u32 length) {
            for (u32 x = lane_index(); x < length; x += 32) {
                const i64 kept = quality > 0 ? 4 * static_cast<i64>(load_index(block.indices, first + x)) : 0;
                differs = differs || load_index(block.target, first + x) != saturated(block.indices, kept);
            }
        });
        return !HGV_ANY(differs);
    });
}

// Mean, rounded towards minus infinity, of the neighbours before on each axis; 0 without any.
HGV_DEVICE i64 mean_before(const Indices& indices, const Box& box, u32 x, u32 y, u32 z) {
    const u32 at = z * box.sz + y * box.sy + x;
    i64 sum = 0;
    i64 count = 0;
    if (x > 0) {
        sum += load_index(indices, at - 1);
        count++;
    }
    if (y > 0) {
        sum += load_index(indices, at - box.sy);
        count++;
    }
    if (z > 0) {
        sum += load_index(indices, at - box.sz);
        count++;
    }
    const i64 divisor = larger<i64>(count, 1);
    const i64 quotient = sum / divisor;
    return quotient - (sum % divisor < 0 ? 1 : 0);
}

// Low bits of the differences that are best sent raw: half of the mean difference.
HGV_DEVICE u32 coarsest_units(const BlockState& block, const Band& band) {
    u64 sum = 0;
    for (u32 z = 0; z < band.dims[2]; z++) {
        for (u32 y = 0; y < band.dims[1]; y++) {
            for (u32 x = 0; x < band.dims[0]; x++) {
                const i64 k = load_index(block.target, z * block.box.sz + y * block.box.sy + x);
                const i64 difference = k - mean_before(block.target, block.box, x, y, z);
                sum += static_cast<u64>(difference < 0 ? -difference : difference);
            }
        }
    }
    const u64 half = sum / (band.dims[0] * band.dims[1] * band.dims[2]) / 2;
    const u32 high = static_cast<u32>(half >> 32);
    const u32 low = static_cast<u32>(half);
    return high != 0 ? 31u : low == 0 ? 0u : 31u - leading_zeros(low);
}

// A difference of the coarsest band; false if it breaks a rule.
template <class Bits>
HGV_DEVICE bool code_difference(MixingCoder<Bits>& coder, bool refines, u32 shift, i64 wanted, i64& difference) {
    const u64 size = static_cast<u64>(wanted < 0 ? -wanted : wanted);
    const u32 magnitude = static_cast<u32>(smaller<u64>(size, 0xffffffffu));
    u32 units = 0;
    while (units < kCoarsestUnary) {
        const u32 slot = kCoarsest + (refines ? 8u : 0u) + smaller(units, 7u);
        if (!decide_single(coder, slot, magnitude >> shift > units)) {
            break;
        }
        units++;
    }
    if (units == kCoarsestUnary) {
        const u32 beyond = (magnitude >> shift) - kCoarsestUnary;
        const u32 wanted_bits = golomb_bits(beyond);
        u32 bits = 0;
        while (code_bit(coder.bits, kEven, bits < wanted_bits)) {
            bits++;
            if (bits > kLongest) {
                return false;
            }
        }
        units += golomb_rest(coder.bits, bits, beyond);
    }
    const u32 low = raw_bits(coder.bits, shift, magnitude);
    const u64 all = (static_cast<u64>(units) << shift) + low;
    if (all > 0xffffffffu) {
        return false;
    }
    const bool negative = all != 0 && code_bit(coder.bits, kEven, wanted < 0);
    difference = negative ? -static_cast<i64>(all) : static_cast<i64>(all);
    return true;
}

// The coarsest band: differences to the mean of the neighbours before, or to four times the index of the quality
// before. At most 4^3 coefficients, so all lanes do the same.
template <class Bits> HGV_DEVICE bool code_coarsest(MixingCoder<Bits>& coder, BlockState& block, bool refines) {
    const Band band = coarsest_of(block.box);
    u32 shift = 0;
    if (!refines) {
        shift = raw_bits(coder.bits, 5, Bits::kEncodes ? coarsest_units(block, band) : 0u);
    }
    for (u32 z = 0; z < band.dims[2]; z++) {
        for (u32 y = 0; y < band.dims[1]; y++) {
            for (u32 x = 0; x < band.dims[0]; x++) {
                const u32 at = z * block.box.sz + y * block.box.sy + x;
                const i64 guess = refines ? 4 * static_cast<i64>(load_index(block.indices, at))
                                          : mean_before(block.indices, block.box, x, y, z);
                const i64 wanted = Bits::kEncodes ? load_index(block.target, at) - guess : 0;
                i64 difference = 0;
                if (!code_difference(coder, refines, shift, wanted, difference) || is_lost(coder.bits)) {
                    return false;
                }
                HGV_WARP_SYNC();
                if (lane_index() == 0) {
                    store_index(block.indices, at, saturated(block.indices, guess + difference));
                }
                HGV_WARP_SYNC();
            }
        }
    }
    return true;
}

HGV_DEVICE bool band_has_any(const BlockState& block, const Band& band) {
    bool any = false;
    for_each_row(block.box, band, [&](u32 first, u32 length) {
        for (u32 x = lane_index(); x < length; x += 32) {
            any = any || load_index(block.target, first + x) != 0;
        }
    });
    return HGV_ANY(any);
}

template <class Bits>
HGV_DEVICE bool code_band(MixingCoder<Bits>& coder, const BlockState& block, const GroupFlags& flags, Scene& scene) {
    if (!any_flag(flags, scene.index)) {
        const bool wanted = Bits::kEncodes && band_has_any(block, scene.band);
        if (!decide_single(coder, kEmpty + scene.tier * 2 + (scene.refines ? 1u : 0u), wanted)) {
            return true;
        }
    }
    const u32 kind = (scene.refines ? kClasses : 0u) + class_of(scene);
    scene.magnitude = coder.tables->magnitude[kind];
    scene.sign = coder.tables->sign[kind];
    return code_flags(coder, scene, flags, block.target) && code_coefficients(coder, scene, flags, block.target);
}

template <class Bits> HGV_DEVICE bool code_split(MixingCoder<Bits>& coder, BlockState& block, u32 depth, bool refines) {
    Scene scene;
    scene.indices = block.indices;
    scene.box = block.box;
    scene.split = split_of(block.box, depth);
    scene.has_coarser = depth + 1 < block.box.depth;
    scene.coarser = split_of(block.box, depth + 1);
    scene.refines = refines;
    scene.tier = smaller(depth, kDepths - 1);
    const GroupFlags flags = flags_of(block.flags, scene.split);
    clear_flags(flags);
    for (u32 index = 1; index < 8 && refines; index++) {
        load_flags(flags, block.indices, block.box, band_of(block.box, scene.split, index), index);
    }
    for (u32 index = 1; index < 8; index++) {
        scene.index = index;
        scene.band = band_of(block.box, scene.split, index);
        if (!is_empty(scene.band) && !code_band(coder, block, flags, scene)) {
            return false;
        }
    }
    return true;
}

// A layer that is not empty; false if it breaks a rule.
template <class Bits> HGV_DEVICE bool code_layer(MixingCoder<Bits>& coder, BlockState& block, u32 lod, u32 quality) {
    const bool refines = quality > 0;
    if (block.coarsest_reached <= quality) {
        if (!code_coarsest(coder, block, refines)) {
            return false;
        }
        block.coarsest_reached = quality + 1;
    }
    for (u32 depth = block.box.depth; depth > lod; depth--) {
        if (brings(block, depth - 1, quality) && !code_split(coder, block, depth - 1, refines)) {
            return false;
        }
    }
    set_reached(block, lod, quality);
    return finish(coder.bits);
}
