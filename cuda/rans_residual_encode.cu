// Encodes the residuals of all blocks of a batch, a warp for each block.
#include "rans_record.cuh"
#include "rans_residual.cuh"

enum : u32 { kEncodeWarps = 8 };

struct RansResidualEncodeParams {
    BlockHead* heads;        // place and length of each residual are found
    const u32* order;        // numbers of the blocks
    const i32* integers;     // plane of decoded integers
    const i32* residuals;    // plane of the same layout
    u32* status;             // a word for each head
    u32* next;               // 0 at first: how many of `order` are taken
    RansWorkspace workspace;
    ByteSink sink;
    RansTables tables;
    u32 count;               // of `order`
    u32 unused;
};

struct RansResidualEncodeShared {
    RansBounds bounds;
    RansWarp warps[kEncodeWarps];
    RansCosts costs[kEncodeWarps];
};

// Raw low bits of the residuals of the first pass: a quarter of their mean.
HGV_DEVICE u32 residual_units(u64 sum, u32 voxels) {
    const u32 quarter = static_cast<u32>(sum / voxels / 4u);
    return quarter == 0 ? 0u : 31u - leading_zeros(quarter);
}

// Encodes the residual of a block; its status.
HGV_DEVICE u32 encode_residual(const RansResidualEncodeParams& p, BlockHead& head, RansResidualEncodeShared& shared) {
    ResidualWalk walk = {{head.dims[0], head.dims[1], head.dims[2]}, p.integers + head.integers, p.residuals + head.integers,
                         nullptr, shared.warps[warp_index()].queue, 0};
    const RansNotes notes = notes_of(p.workspace, block_index() * kEncodeWarps + warp_index(), walk.flags);
    const u32 voxels = walk.dims[0] * walk.dims[1] * walk.dims[2];
    u64 sum = 0;
    for (u32 i = lane_index(); i < voxels; i += 32u) {
        sum += absolute(walk.now[i]);
    }
    sum = HGV_WARP_SUM(sum);
    u64 offset = 0;
    u32 length = 0;
    if (sum > 0) {
        const RansBand groups = block_groups(walk.dims);
        for (u32 i = lane_index(); i < groups.groups[0] * groups.groups[1] * groups.groups[2]; i += 32u) {
            walk.flags[i] = 0;
        }
        walk.texture_shift = texture_shift(walk.dims, walk.integers);
        RansRecorder recorder;
        recorder_open(recorder, p.tables, &shared.costs[warp_index()], notes);
        HGV_WARP_SYNC();
        code_residual(walk, recorder, residual_units(sum, voxels));
        const bool room = recorder_finish(recorder, shared.bounds.words, p.sink, offset, length);
        if (!room) {
            return kFull;
        }
        if (coder_bad(recorder) != 0) {
            return kBad;
        }
    }
    if (lane_index() == 0) {
        head.residual_offset = offset;
        head.residual_bytes = length;
    }
    return kGood;
}

HGV_KERNEL(hgv_rans_residual_encode, RansResidualEncodeParams, 256, 2) {
    HGV_SHARED(RansResidualEncodeShared, shared);
    rans_load(p.tables, shared.bounds);
    for (u32 i = next_block(p.next); i < p.count; i = next_block(p.next)) {
        const u32 number = p.order[i];
        const u32 status = encode_residual(p, p.heads[number], shared);
        if (status != kGood && lane_index() == 0) {
            p.status[number] = status;
        }
    }
}
