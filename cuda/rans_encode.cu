// Encodes the layers of all blocks of a batch with coder R, a warp for each block.
#include "rans_encode.cuh"

enum : u32 { kEncodeWarps = 8 };

struct RansEncodeParams {
    const BlockHead* heads;
    LayerHead* layers;       // level of detail and quality of each are given, place and length are found
    const void* planes[8];   // of indices at each quality, of the width that a block's flags say
    const u32* order;        // numbers of the blocks, longest first
    u32* status;             // a word for each head
    u32* next;               // 0 at first: how many of `order` are taken
    RansWorkspace workspace;
    ByteSink sink;
    RansTables tables;
    u32 count;               // of `order`
    u32 unused;
};

struct RansEncodeShared {
    RansBounds bounds;
    RansWarp warps[kEncodeWarps];
    RansCosts costs[kEncodeWarps];
    const void* planes[8];
};

HGV_DEVICE RansJob encode_job(const RansEncodeParams& p, RansEncodeShared& shared) {
    RansJob job;
    job.notes = notes_of(p.workspace, block_index() * kEncodeWarps + warp_index(), job.flags);
    job.planes = shared.planes;
    job.warp = &shared.warps[warp_index()];
    job.costs = &shared.costs[warp_index()];
    job.bounds = shared.bounds.words;
    job.tables = p.tables;
    job.sink = p.sink;
    return job;
}

HGV_KERNEL(hgv_rans_encode, RansEncodeParams, 256, 2) {
    HGV_SHARED(RansEncodeShared, shared);
    if (thread_index() < 8u) {
        shared.planes[thread_index()] = p.planes[thread_index()];
    }
    rans_load(p.tables, shared.bounds);
    const RansJob job = encode_job(p, shared);
    for (u32 i = next_block(p.next); i < p.count; i = next_block(p.next)) {
        const u32 number = p.order[i];
        const BlockHead head = p.heads[number];
        const u32 status = (head.flags & kWide) != 0 ? encode_layers<i32>(head, p.layers, job)
                                                     : encode_layers<i16>(head, p.layers, job);
        if (status != kGood && lane_index() == 0) {
            p.status[number] = status;
        }
    }
}
