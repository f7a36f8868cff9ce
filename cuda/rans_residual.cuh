// The residual of a block, a number for each voxel (format-spec/payload.md, section 14), for decoders and
// encoders alike. One warp walks through a block.
#pragma once

#include "rans_coder.cuh"

enum : u32 { kTopResidual = 1u << 20 };

// A block whose voxels are known but for their residuals. The same in all lanes.
struct ResidualWalk {
    u32 dims[3];
    const i32* integers;  // the voxels, [z][y][x]
    const i32* now;       // residuals as far as they are coded, likewise; 0 where they are not yet
    u8* flags;            // a byte for each group of the block
    u32* queue;
    u32 texture_shift;
};

HGV_DEVICE u32 apart(i32 a, i32 b) {
    return a < b ? static_cast<u32>(b) - static_cast<u32>(a) : static_cast<u32>(a) - static_cast<u32>(b);
}

// Sum of the absolute differences of a voxel to its face neighbours in the block.
HGV_DEVICE u32 texture_at(const u32* dims, const i32* integers, u32 x, u32 y, u32 z) {
    const u32 row = dims[0];
    const u32 plane = dims[0] * dims[1];
    const u32 place = z * plane + y * row + x;
    const i32 own = integers[place];
    u64 sum = 0;
    sum += x > 0 ? apart(own, integers[place - 1u]) : 0u;
    sum += y > 0 ? apart(own, integers[place - row]) : 0u;
    sum += z > 0 ? apart(own, integers[place - plane]) : 0u;
    sum += x + 1u < dims[0] ? apart(own, integers[place + 1u]) : 0u;
    sum += y + 1u < dims[1] ? apart(own, integers[place + row]) : 0u;
    sum += z + 1u < dims[2] ? apart(own, integers[place + plane]) : 0u;
    return static_cast<u32>(smaller(sum, 0xffffffffull));
}

// Steps of texture, as a shift, from its mean over the block.
HGV_DEVICE u32 texture_shift(const u32* dims, const i32* integers) {
    const u32 voxels = dims[0] * dims[1] * dims[2];
    u64 sum = 0;
    for (u32 i = lane_index(); i < voxels; i += 32u) {
        const u32 at = position_in(dims, i);
        sum += texture_at(dims, integers, at & 0xffu, at >> 8 & 0xffu, at >> 16);
    }
    const u32 eighth = static_cast<u32>(HGV_WARP_SUM(sum) / voxels / 8u);
    return eighth == 0 ? 0u : 31u - leading_zeros(eighth);
}

// Largest texture in a group, in steps, and whether a residual of it is not 0.
HGV_DEVICE u32 group_texture(const ResidualWalk& walk, u32 group, bool& any) {
    u32 top = 0;
    any = false;
    for (u32 i = 0; i < 64u; i++) {
        const u32 x = 4u * (group & 0xffu) + (i & 3u);
        const u32 y = 4u * (group >> 8 & 0xffu) + (i >> 2 & 3u);
        const u32 z = 4u * (group >> 16) + (i >> 4);
        if (x < walk.dims[0] && y < walk.dims[1] && z < walk.dims[2]) {
            top = larger(top, texture_at(walk.dims, walk.integers, x, y, z) >> walk.texture_shift);
            any = any || walk.now[(z * walk.dims[1] + y) * walk.dims[0] + x] != 0;
        }
    }
    return top;
}

// The groups of a block as if they were those of a band.
HGV_DEVICE RansBand block_groups(const u32* dims) {
    RansBand band = {{{dims[0], dims[1], dims[2]}, 0}, {{0, 0, 0}, 0}, false, 0, 0, {0, 0, 0}, 0, {0, 0, 0}};
    for (u32 a = 0; a < 3; a++) {
        band.groups[a] = ceil_shift(dims[a], 2);
        band.flag_dims[a] = band.groups[a];
    }
    return band;
}

template <class Coder> HGV_DEVICE void code_residual_flags(const ResidualWalk& walk, const RansBand& groups, Coder& coder) {
    HGV_ROLLED
    for (u32 pass = 0; pass < kPasses; pass++) {
        coder_restart(coder);
        each_open_group(walk.flags, groups, pass, walk.queue, [&](u32 at, u32 n) {
            const bool mine = lane_index() < n;
            bool any = false;
            u32 context = kResidualFlagContext;
            if (mine) {
                const u32 faces = flag_faces(walk.flags, groups, at & 0xffu, at >> 8 & 0xffu, at >> 16);
                context = residual_flag_context(pass, faces, group_texture(walk, at, any));
            }
            if (coder_symbols(coder, context, any ? 1u : 0u, n) != 0 && mine) {
                walk.flags[flag_place(groups, at & 0xffu, at >> 8 & 0xffu, at >> 16)] = 1;
            }
        });
        HGV_WARP_SYNC();
    }
}

// Calls f(position, count) for the voxels of a pass in active groups, 32 at a time, in raster order.
template <class F> HGV_DEVICE void each_residual(const ResidualWalk& walk, const RansBand& groups, u32 pass, F f) {
    u32 y = 0;
    u32 z = 0;
    u32 base = 0;
    u32 pending = 0;
    for (;;) {
        u32 at = 0;
        u32 n = 0;
        if (z < walk.dims[2]) {
            // The parity of y and z decides that of x.
            const u32 odd = (y & 1u) + (z & 1u);
            const u32 parity = pass == 0 ? 0u : pass == 1u ? odd & 1u : (odd & 1u) ^ 1u;
            const bool crosses = pass == 2u || (pass == 0 ? odd == 0 : odd != 0);
            const u32 x = parity + 2u * (base + lane_index());
            at = packed(smaller(x, walk.dims[0]), y, z);
            const bool valid = crosses && x < walk.dims[0] && flag_at(walk.flags, groups, x / 4u, y / 4u, z / 4u) != 0;
            base += 32u;
            if (!crosses || parity + 2u * base >= walk.dims[0]) {
                base = 0;
                y = y + 1u < walk.dims[1] ? y + 1u : 0u;
                z += y == 0 ? 1u : 0u;
            }
            n = enqueue(walk.queue, pending, valid, at);
        } else if (pending > 0) {
            n = drain(walk.queue, pending, at);
        } else {
            break;
        }
        if (n > 0) {
            f(at, n);
        }
    }
}

// Up to 32 residuals of a pass, one in each of the first n lanes.
template <class Coder>
HGV_DEVICE void code_residual_batch(const ResidualWalk& walk, Coder& coder, u32 pass, u32 base_shift, u32 at, u32 n) {
    const bool mine = lane_index() < n;
    const u32 x = at & 0xffu;
    const u32 y = at >> 8 & 0xffu;
    const u32 z = at >> 16;
    const u32 place = mine ? (z * walk.dims[1] + y) * walk.dims[0] + x : 0u;
    u32 neighbours = 0;
    u32 texture = 0;
    if (mine) {
        const auto magnitude = [&](u32 i, u32 j, u32 k) {
            if (i >= walk.dims[0] || j >= walk.dims[1] || k >= walk.dims[2]) {
                return 0u;
            }
            return smaller(absolute(walk.now[(k * walk.dims[1] + j) * walk.dims[0] + i]), static_cast<u32>(kTopResidual));
        };
        neighbours = pass == 0 ? 0u : pass == 1u ? 3u * diagonal_sum(x, y, z, magnitude) : 2u * face_sum(x, y, z, magnitude);
        texture = texture_at(walk.dims, walk.integers, x, y, z) >> walk.texture_shift;
    }
    const u32 context = residual_context(pass, neighbours, texture);
    const u32 shift = pass == 0 ? base_shift : residual_shift(neighbours);
    i32 wanted = 0;
    if constexpr (Coder::kEncodes) {
        wanted = mine ? walk.now[place] : 0;
    }
    const u32 magnitude = coder_magnitudes(coder, mine, context, shift, absolute(wanted), n);
    coder_fail(coder, mine && magnitude > 1u << 31);
    if constexpr (!Coder::kEncodes) {
        if (mine && magnitude != 0) {
            coder_put(coder, place, static_cast<i32>(magnitude));
        }
    }
    coder_signs(coder, mine && magnitude != 0, wanted < 0);
}

// All symbols of a residual but its signs. The flags are 0 before.
template <class Coder> HGV_DEVICE void code_residual(const ResidualWalk& walk, Coder& coder, u32 wanted_shift) {
    const RansBand groups = block_groups(walk.dims);
    const u32 shift = coder_raw(coder, wanted_shift, 5);
    coder_begin_band(coder, variant_context(0));
    code_residual_flags(walk, groups, coder);
    HGV_ROLLED
    for (u32 pass = 0; pass < kPasses && coder_bad(coder) == 0; pass++) {
        coder_restart(coder);
        each_residual(walk, groups, pass, [&](u32 at, u32 n) { code_residual_batch(walk, coder, pass, shift, at, n); });
        HGV_WARP_SYNC();
    }
    coder_end_band(coder);
}

// Signs of the residuals that are not 0: the same walk once more, for places only.
HGV_DEVICE void apply_residual_signs(const ResidualWalk& walk, const RansPlayer<i32>& player) {
    const RansBand groups = block_groups(walk.dims);
    u32 batch = 0;
    u32 sign = 0;
    HGV_ROLLED
    for (u32 pass = 0; pass < kPasses; pass++) {
        each_residual(walk, groups, pass, [&](u32 at, u32) {
            const u32 mask = player.marks[batch++];
            if (mask == 0) {
                return;
            }
            const bool mine = (mask >> lane_index() & 1u) != 0;
            if (rans_sign(player.decoder, sign + popcount(mask & lanes_before())) && mine) {
                i32& r = player.indices[((at >> 16) * walk.dims[1] + (at >> 8 & 0xffu)) * walk.dims[0] + (at & 0xffu)];
                r = static_cast<i32>(0u - static_cast<u32>(r));
            }
            sign += popcount(mask);
        });
    }
    HGV_WARP_SYNC();
}
