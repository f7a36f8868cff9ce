// Layers of grid models: from bytes to weights and networks (format-spec/payload.md, section 20). One warp
// decodes a block.
#pragma once

#include "grid_walk.cuh"
#include "rans.cuh"

// A layer that is decoded. The same in all lanes.
struct GridLayer {
    RansDecoder coder;
    u32 signs;  // that follow at its end
};

// What is known of a weight before its turn, in one word: distributions of its magnitude (bits 0-7), of its sign
// if the magnitude is 1 (8-15) or more (16-23), low bits that are raw (24-27), and of the pull:
enum : u32 {
    kPulled = 1u << 28,      // it is not 0
    kPulledDown = 1u << 29,  // it is negative
};

HGV_DEVICE u32 distribution_of(const RansDecoder& d, u32 context) {
    return load_constant(d.maps + context) >> d.variant & 0xffu;
}

HGV_DEVICE u32 known_of(const GridWalk& walk, const RansDecoder& d, u32 pass, u32 at) {
    const GridAround around = look_around(walk, pass, at & 0xffu, at >> 8 & 0xffu, at >> 16);
    const u32 sign = grid_sign_context(walk.level_class, pass, around.pull);
    return distribution_of(d, grid_magnitude_context(walk.level_class, pass, around)) |
           distribution_of(d, sign) << 8 | distribution_of(d, sign + 1u) << 16 | grid_shift(pass, around) << 24 |
           (around.pull != 0 ? kPulled : 0u) | (around.pull < 0 ? kPulledDown : 0u);
}

// Symbols of up to n places, one in each of the first lanes, up to the first that something may follow: a
// token that is not 0, or raw bits. At most as many as the stream has states. Of a lane: what is known of its
// weight, its token. Returns how many.
HGV_DEVICE u32 tokens_until(RansDecoder& d, u32 known, u32 n, u32& token) {
    const u32 lane = lane_index();
    const u32 distribution = known & 0xffu;
    const u32* row = d.bounds + distribution * kBoundWords;
    const u32 slot = d.state & ((1u << kProbabilityBits) - 1u);
    token = rans_find(row, slot);
    const u32 most = smaller(n, d.lanes);
    const u32 ends = HGV_BALLOT(lane < most && (token != 0 || (known >> 24 & 15u) != 0));
    const u32 count = ends != 0 ? find_first(ends) + 1u : most;
    const u32 interval = rans_interval(d.bounds, distribution, token);
    const u32 low = interval & 0xffffu;
    u32 next = ((interval >> 16) - low) * (d.state >> kProbabilityBits) + slot - low;
    const bool mine = lane < count;
    const u32 needy = HGV_BALLOT(mine && next < kRansLower);
    if (mine) {
        if (next < kRansLower) {
            next = next << 16 | rans_word(d, d.at + 2u * popcount(needy & lanes_before()));
        }
        d.state = next;
    }
    d.at += 2u * popcount(needy);
    if (count != d.lanes) {
        d.state = HGV_SHFL(d.state, (lane + count) & (d.lanes - 1u));
        d.first = (d.first + count) & (d.lanes - 1u);
    }
    return count;
}

// The rest of one magnitude, in every lane.
HGV_DEVICE u32 magnitude_tail(RansDecoder& d, u32 token, u32 shift) {
    u32 high = token;
    if (token == kEscape) {
        u32 length = 0;
        high += rans_escape(d, d.bit, length);
        rans_take(d, length);
    }
    if (shift == 0) {
        return high;
    }
    d.bad |= high >> (32u - shift) != 0 ? 1u : 0u;
    return high << shift | rans_raw(d, shift);
}

// Up to 32 weights of a pass. Of a lane: what is known of its weight; the weight.
HGV_DEVICE u32 weights_of(GridLayer& layer, u32 known, u32 pass, u32 n) {
    RansDecoder& d = layer.coder;
    u32 mine = 0;
    for (u32 done = 0; done < n && d.bad == 0;) {
        u32 token = 0;
        const u32 own = HGV_SHFL(known, (done + lane_index()) & 31u);
        const u32 count = tokens_until(d, own, n - done, token);
        done += count;
        token = HGV_SHFL(token, count - 1u);
        const u32 about = HGV_SHFL(own, count - 1u);
        const u32 magnitude = magnitude_tail(d, token, about >> 24 & 15u);
        if (magnitude == 0) {
            continue;
        }
        d.bad |= magnitude > kMaxWeight ? 1u : 0u;
        u32 weight = magnitude & kMagnitude;
        if (pass == 2u && (about & kPulled) == 0) {
            // Nothing depends on this sign.
            weight |= kSignOpen;
            layer.signs++;
        } else {
            const u32 symbol = rans_symbols(d, about >> (magnitude > 1u ? 16 : 8) & 0xffu, 1);
            const bool differs = HGV_SHFL(symbol, 0) != 0;
            weight |= differs != ((about & kPulledDown) != 0) ? kNegative : 0u;
        }
        if (lane_index() == done - 1u) {
            mine = weight;
        }
    }
    return mine;
}

HGV_DEVICE void decode_flags(GridLayer& layer, const GridWalk& walk) {
    RansDecoder& d = layer.coder;
    for (u32 pass = 0; pass < kPasses; pass++) {
        rans_restart(d);
        each_group_of(walk, pass, [&](u32 at, u32 n) {
            u32 parents = 0;
            for (u32 i = 0; i < n && walk.parent.weights != nullptr; i++) {
                const u32 count = group_parents(walk, HGV_SHFL(at, i));
                parents = lane_index() == i ? count : parents;
            }
            const u32 x = at & 0xffu;
            const u32 y = at >> 8 & 0xffu;
            const u32 z = at >> 16;
            const bool valid = lane_index() < n;
            u32 context = 0;
            if (valid) {
                const u32 faces = group_active(walk, x - 1u, y, z) + group_active(walk, x + 1u, y, z) +
                                  group_active(walk, x, y - 1u, z) + group_active(walk, x, y + 1u, z) +
                                  group_active(walk, x, y, z - 1u) + group_active(walk, x, y, z + 1u);
                context = grid_flag_context(walk.level_class, pass, parents, faces);
            }
            const u32 flag = rans_context_symbols(d, context, n);
            if (valid && flag != 0) {
                walk.own.weights[vertex_index(walk, 4u * x, 4u * y, 4u * z)] = kGroupActive;
            }
        });
        HGV_WARP_SYNC();
    }
}

// The weights of a dense level, all 0 so far.
HGV_DEVICE void decode_dense(GridLayer& layer, const GridWalk& walk) {
    decode_flags(layer, walk);
    for (u32 pass = 0; pass < kPasses; pass++) {
        rans_restart(layer.coder);
        each_vertex_of(walk, pass, [&](u32 at, u32 n) {
            const u32 known = lane_index() < n ? known_of(walk, layer.coder, pass, at) : 0u;
            const u32 weight = weights_of(layer, known, pass, n);
            if (weight != 0) {
                walk.own.weights[vertex_index(walk, at & 0xffu, at >> 8 & 0xffu, at >> 16)] |= weight;
            }
        });
        HGV_WARP_SYNC();
    }
}

// Leaves the activity of the parents of every entry of a hash table in its place: the largest of the vertices
// that share it.
HGV_DEVICE void spread_parents(const GridWalk& walk) {
    const u32 vertices = walk.lattice[0] * walk.lattice[1] * walk.lattice[2];
    for (u32 i = lane_index(); i < vertices && walk.parent.weights != nullptr; i += 32u) {
        const u32 at = position_in(walk.lattice, i);
        const u32 x = at & 0xffu;
        const u32 y = at >> 8 & 0xffu;
        const u32 z = at >> 16;
        atomic_max(walk.own.weights + grid_entry(*walk.own.level, x, y, z), parents_of(walk, x, y, z));
    }
    HGV_WARP_SYNC();
}

HGV_DEVICE void decode_hash_flags(GridLayer& layer, const GridWalk& walk) {
    const u32 entries = walk.own.level->entries;
    const u32 groups = ceil_div(entries, 32);
    for (u32 base = 0; base < groups; base += 32u) {
        const u32 n = smaller(groups - base, 32u);
        u32 parents = 0;
        for (u32 i = 0; i < n; i++) {
            const u32 entry = 32u * (base + i) + lane_index();
            const u32 count = popcount(HGV_BALLOT(entry < entries && walk.own.weights[entry] != 0));
            parents = lane_index() == i ? count : parents;
        }
        const u32 flag = rans_context_symbols(layer.coder, hash_flag_context(parents), n);
        HGV_WARP_SYNC();
        if (lane_index() < n && flag != 0) {
            walk.own.weights[32u * (base + lane_index())] |= kGroupActive;
        }
    }
    HGV_WARP_SYNC();
}

// The entries of a hash table, all 0 so far.
HGV_DEVICE void decode_hashed(GridLayer& layer, const GridWalk& walk) {
    RansDecoder& d = layer.coder;
    const u32 entries = walk.own.level->entries;
    spread_parents(walk);
    rans_restart(d);
    decode_hash_flags(layer, walk);
    rans_restart(d);
    for (u32 base = 0; base < entries; base += 32u) {
        const u32 n = smaller(entries - base, 32u);
        u32* own = walk.own.weights + base + (lane_index() < n ? lane_index() : 0u);
        const u32 before = *own;
        u32 weight = 0;
        if ((HGV_SHFL(before, 0) & kGroupActive) != 0) {
            const u32 token = rans_context_symbols(d, hash_context(before & kMagnitude), n);
            const u32 magnitude = rans_tails(d, lane_index() < n, token, 0);
            const bool some = lane_index() < n && magnitude != 0;
            d.bad |= HGV_ANY(some && magnitude > kMaxWeight) ? 1u : 0u;
            weight = some ? (magnitude & kMagnitude) | kSignOpen : 0u;
            layer.signs += popcount(HGV_BALLOT(some));
            weight |= before & kGroupActive;
        }
        if (lane_index() < n) {
            *own = weight;
        }
    }
    HGV_WARP_SYNC();
}

// A feature of a level, if it has weights; sets its bit in `present`.
HGV_DEVICE void decode_feature(GridLayer& layer, const GridWalk& walk, u32 feature, u64& present) {
    RansDecoder& d = layer.coder;
    if (rans_fixed_symbol(d, kGridEmptyContext + walk.level_class) == 0) {
        return;
    }
    present |= 1ull << feature_bit(*walk.own.level, feature);
    rans_choose_variant(d, kGridVariantContext + walk.level_class);
    for (u32 i = lane_index(); i < walk.own.level->entries; i += 32u) {
        walk.own.weights[i] = 0;
    }
    HGV_WARP_SYNC();
    if (walk.own.level->hashed != 0) {
        decode_hashed(layer, walk);
    } else {
        decode_dense(layer, walk);
    }
}

// Gives open signs of 32 weights their turn. Of a lane: whether it has one of them, where.
HGV_DEVICE void close_signs(const RansDecoder& d, bool valid, u32* weight, u32& done) {
    const u32 before = valid ? *weight : 0u;
    const bool open = (before & kSignOpen) != 0;
    const u32 mask = HGV_BALLOT(open);
    if (mask == 0) {
        return;
    }
    const bool negative = rans_sign(d, done + popcount(mask & lanes_before()));
    if (open) {
        *weight = (before & ~kSignOpen) | (negative ? kNegative : 0u);
    }
    done += popcount(mask);
}

// The signs that end a layer, for a feature of it.
HGV_DEVICE void decode_signs(const RansDecoder& d, const GridWalk& walk, u32& done) {
    if (walk.own.level->hashed != 0) {
        const u32 entries = walk.own.level->entries;
        for (u32 base = 0; base < entries; base += 32u) {
            const u32 entry = base + lane_index();
            close_signs(d, entry < entries, walk.own.weights + smaller(entry, entries - 1u), done);
        }
        return;
    }
    const u32 spot = spot_of(2, lane_index());
    each_active_group(walk, [&](u32 corner) {
        const u32 at = corner + spot;
        const u32 x = at & 0xffu;
        const u32 y = at >> 8 & 0xffu;
        const u32 z = at >> 16;
        const bool valid = in_box(walk.lattice, x, y, z);
        close_signs(d, valid, walk.own.weights + (valid ? vertex_index(walk, x, y, z) : 0u), done);
    });
}

// Numbers of a network, each with a raw sign.
HGV_DEVICE void decode_numbers(RansDecoder& d, u32 context, u32 shift, u32 count, u32 limit, i16* to) {
    for (u32 base = 0; base < count && d.bad == 0; base += 32u) {
        const u32 n = smaller(count - base, 32u);
        bool negative = false;
        const u32 token = rans_context_symbols(d, context, n);
        const u32 magnitude = rans_signed_tails(d, token, shift, n, negative);
        const bool mine = lane_index() < n;
        d.bad |= HGV_ANY(mine && magnitude > limit) ? 1u : 0u;
        if (mine) {
            const i32 value = static_cast<i32>(smaller(magnitude, limit));
            to[base + lane_index()] = static_cast<i16>(negative ? -value : value);
        }
    }
}

// Which network a block has, and its own.
HGV_DEVICE u32 decode_network(RansDecoder& d, const GridPlan& plan, i16* to) {
    const u32 kind = rans_raw(d, 2);
    if (kind > kNetworkOwn || (kind == kNetworkBase && plan.base == kNoNetwork)) {
        d.bad = 1;
    }
    if (kind != kNetworkOwn) {
        return kind;
    }
    rans_choose_variant(d, kGridVariantContext);
    for (u32 j = 0; j <= plan.hidden && d.bad == 0; j++) {
        const u32 outputs = matrix_outputs(plan, j);
        const u32 weights = outputs * matrix_inputs(plan, j);
        const u32 shift = rans_raw(d, 5);
        d.bad |= shift < 1u || shift > 24u ? 1u : 0u;
        if (lane_index() == 0) {
            to[0] = static_cast<i16>(shift);
        }
        decode_numbers(d, kNetworkContext + smaller(j, 2u), 3, weights, 127, to + 1);
        decode_numbers(d, kBiasContext, 6, outputs, 32767, to + 1 + weights);
        to += 1 + weights + outputs;
    }
    return kind;
}

// Decodes a layer that is not empty; false if it breaks a rule.
HGV_DEVICE bool decode_grid_layer(const GridPlan& plan, u32 number, RansDecoder coder, u32* weights, i16* network,
                                  GridState& state, u32* queue) {
    GridLayer layer = {coder, 0};
    if (number == 0 && plan.hidden > 0) {
        state.network = decode_network(layer.coder, plan, network);
    }
    for (u32 i = 0; i < plan.levels; i++) {
        const GridLevel& level = plan.level[i];
        for (u32 f = 0; f < level.features && level.layer == number && layer.coder.bad == 0; f++) {
            const GridWalk walk = grid_walk(plan, i, f, weights, state.present, queue);
            decode_feature(layer, walk, f, state.present);
        }
    }
    if (layer.coder.bad == 0) {
        rans_finish(layer.coder, layer.signs);
    }
    if (layer.coder.bad != 0) {
        return false;
    }
    u32 done = 0;
    for (u32 i = 0; i < plan.levels && done < layer.signs; i++) {
        const GridLevel& level = plan.level[i];
        for (u32 f = 0; f < level.features && level.layer == number; f++) {
            if ((state.present >> feature_bit(level, f) & 1u) != 0) {
                decode_signs(layer.coder, grid_walk(plan, i, f, weights, state.present, queue), done);
            }
        }
    }
    HGV_WARP_SYNC();
    return true;
}
