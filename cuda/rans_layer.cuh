// Decodes the layers of a block of coder R: one warp a block (format-spec/payload.md, sections 6, 7.4 and 10).
#pragma once

#include "rans_band.cuh"

// A layer without bytes: what is not zero becomes four times itself.
template <class T> HGV_DEVICE void quadruple_box(const u32* dims, const BandBox& box, T* indices) {
    const u32 count = box_size(box);
    for (u32 i = lane_index(); i < count; i += 32u) {
        T& k = indices[place_in(dims, box, position_in(box.extent, i))];
        k = saturated<T>(4ll * k);
    }
}

template <class T> HGV_DEVICE void skip_layer(const RansWalk<T>& walk, T* indices, const Brought& brought) {
    if (walk.refines == 0) {
        return;
    }
    if (brought.coarsest) {
        quadruple_box(walk.dims, coarsest_box(walk.dims, walk.depth), indices);
    }
    HGV_ROLLED
    for (u32 split = 0; split < walk.depth; split++) {
        HGV_ROLLED
        for (u32 index = 1; index < 8u; index++) {
            if ((brought.splits >> split & 1u) != 0 && (walk.nonempty & band_bit(split, index)) != 0) {
                quadruple_box(walk.dims, band_box(walk.dims, split, index), indices);
            }
        }
    }
    HGV_WARP_SYNC();
}

// Signs of the coefficients that the layer made nonzero: the same walk once more, for places only.
template <class T> HGV_DEVICE void apply_signs(const RansWalk<T>& walk, const RansPlayer<T>& player, const Brought& brought) {
    u32 batch = 0;
    u32 sign = 0;
    HGV_ROLLED
    for (u32 split = walk.depth; split-- > 0;) {
        HGV_ROLLED
        for (u32 index = 1; index < 8u; index++) {
            if ((brought.splits >> split & 1u) == 0 || (walk.nonempty & band_bit(split, index)) == 0) {
                continue;
            }
            const RansBand& band = share_band(*walk.warp, rans_band(walk, split, index));
            HGV_ROLLED
            for (u32 pass = 0; pass < kPasses; pass++) {
                each_coefficient(walk.flags, band, pass, walk.warp->queue, [&](u32 at, u32) {
                    const u32 mask = player.marks[batch++];
                    if (mask == 0) {
                        return;
                    }
                    const bool mine = (mask >> lane_index() & 1u) != 0;
                    if (rans_sign(player.decoder, sign + popcount(mask & lanes_before())) && mine) {
                        T& k = player.indices[place_in(walk.dims, band.box, at)];
                        k = saturated<T>(-static_cast<i64>(k));
                    }
                    sign += popcount(mask);
                });
            }
        }
    }
    HGV_WARP_SYNC();
}

// Where a warp works on a block.
template <class T> struct RansPlace {
    T* indices;      // of the block, all 0
    u8* flags;       // all groups of all splits
    u32* marks;      // a word for each batch of a layer
    RansWarp* warp;  // in shared memory
};

// Decodes all layers of a block; false if its bytes break a rule.
template <class T>
HGV_DEVICE bool decode_layers(const BlockHead& head, const LayerHead* layers, const u8* bytes, const u32* bounds,
                              const u32* maps, const RansPlace<T>& to) {
    RansWalk<T> walk = {{head.dims[0], head.dims[1], head.dims[2]}, head.depth, 0, 0, to.indices, to.indices, to.flags, to.warp};
    const u32 flags = flags_before(walk.dims, walk.depth);
    for (u32 i = lane_index(); i < flags; i += 32u) {
        walk.flags[i] = 0;
    }
    HGV_WARP_SYNC();
    Reached reached = {-1, {-1, -1, -1, -1, -1}};
    for (u32 number = 0; number < head.layers; number++) {
        const LayerHead layer = layers[head.first_layer + number];
        const Brought brought = brought_by(reached, walk.depth, layer.lod, layer.quality);
        if (!brought.legal) {
            return false;
        }
        walk.refines = layer.quality > 0 ? 1u : 0u;
        mark_reached(reached, walk.depth, layer.lod, layer.quality);
        if (layer.bytes == 0) {
            skip_layer(walk, to.indices, brought);
            continue;
        }
        RansPlayer<T> player;
        player_open(player, bounds, maps, bytes + layer.offset, layer.bytes, to.indices, to.marks);
        if (player.decoder.bad == 0) {
            code_layer(walk, player, brought);
        }
        if (player.decoder.bad == 0) {
            rans_finish(player.decoder, player.signs);
        }
        if (player.decoder.bad != 0) {
            return false;
        }
        apply_signs(walk, player, brought);
    }
    return true;
}
