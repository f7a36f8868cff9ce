// Decodes the residuals of all blocks of a batch that have one, a warp for each block.
#include "rans_residual.cuh"

enum : u32 { kResidualWarps = 8 };

struct RansResidualParams {
    const BlockHead* heads;
    const u8* bytes;
    const u32* order;      // numbers of the blocks, longest first
    const i32* integers;   // plane of decoded integers
    i32* residuals;        // plane of the same layout
    u32* status;           // a word for each head
    u32* next;             // 0 at first: how many of `order` are taken
    u8* workspace;         // `workspace_bytes` for each warp of the grid
    RansTables tables;
    u32 count;             // of `order`
    u32 workspace_bytes;   // flags, then marks
    u32 flag_bytes;        // a multiple of 4
    u32 unused;
};

struct RansResidualShared {
    RansBounds bounds;
    RansWarp warps[kResidualWarps];
};

// Decodes the residual of a block; false if its bytes break a rule.
HGV_DEVICE bool decode_residual(const RansResidualParams& p, const BlockHead& head, RansResidualShared& shared) {
    u8* own = p.workspace + static_cast<u64>(block_index() * kResidualWarps + warp_index()) * p.workspace_bytes;
    i32* residuals = p.residuals + head.integers;
    const u32 voxels = head.dims[0] * head.dims[1] * head.dims[2];
    for (u32 i = lane_index(); i < voxels; i += 32u) {
        residuals[i] = 0;
    }
    if (head.residual_bytes == 0) {
        return true;
    }
    const u32 groups = ceil_shift(head.dims[0], 2) * ceil_shift(head.dims[1], 2) * ceil_shift(head.dims[2], 2);
    for (u32 i = lane_index(); i < groups; i += 32u) {
        own[i] = 0;
    }
    RansPlayer<i32> player;
    player_open(player, shared.bounds.words, p.tables.maps, p.bytes + head.residual_offset, head.residual_bytes, residuals,
                reinterpret_cast<u32*>(own + p.flag_bytes));
    if (player.decoder.bad != 0) {
        return false;
    }
    const i32* integers = p.integers + head.integers;
    const ResidualWalk walk = {{head.dims[0], head.dims[1], head.dims[2]}, integers, residuals, own,
                               shared.warps[warp_index()].queue, texture_shift(head.dims, integers)};
    HGV_WARP_SYNC();
    code_residual(walk, player, 0);
    if (player.decoder.bad == 0) {
        rans_finish(player.decoder, player.signs);
    }
    if (player.decoder.bad != 0) {
        return false;
    }
    apply_residual_signs(walk, player);
    return true;
}

HGV_KERNEL(hgv_rans_residual, RansResidualParams, 256, 2) {
    HGV_SHARED(RansResidualShared, shared);
    rans_load(p.tables, shared.bounds);
    for (u32 i = next_block(p.next); i < p.count; i = next_block(p.next)) {
        const u32 number = p.order[i];
        const BlockHead head = p.heads[number];
        // The integers of a block that failed before mean nothing.
        if (p.status[number] == kGood && !decode_residual(p, head, shared) && lane_index() == 0) {
            p.status[number] = kBad;
        }
    }
}
