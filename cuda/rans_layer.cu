// Decodes the layers of all blocks of coder R of a batch, a warp for each block.
#include "rans_layer.cuh"

enum : u32 { kLayerWarps = 8 };

struct RansLayerParams {
    const BlockHead* heads;
    const LayerHead* layers;
    const u8* bytes;
    const u32* order;     // numbers of the blocks to decode, longest first
    i16* narrow;          // planes of indices, all 0 where blocks are
    i32* wide;
    u32* status;          // a word for each head
    u32* next;            // 0 at first: how many of `order` are taken
    u8* workspace;        // `workspace_bytes` for each warp of the grid
    RansTables tables;
    u32 count;            // of `order`
    u32 workspace_bytes;  // flags, then marks
    u32 flag_bytes;       // a multiple of 4
    u32 unused;
};

struct RansLayerShared {
    RansBounds bounds;
    RansWarp warps[kLayerWarps];
};

template <class T> HGV_DEVICE bool decode_block(const RansLayerParams& p, const BlockHead& head, T* plane, RansLayerShared& shared) {
    u8* own = p.workspace + static_cast<u64>(block_index() * kLayerWarps + warp_index()) * p.workspace_bytes;
    const RansPlace<T> place = {plane + head.indices, own, reinterpret_cast<u32*>(own + p.flag_bytes),
                                &shared.warps[warp_index()]};
    return decode_layers(head, p.layers, p.bytes, shared.bounds.words, p.tables.maps, place);
}

HGV_KERNEL(hgv_rans_layers, RansLayerParams, 256, 2) {
    HGV_SHARED(RansLayerShared, shared);
    rans_load(p.tables, shared.bounds);
    for (u32 i = next_block(p.next); i < p.count; i = next_block(p.next)) {
        const u32 number = p.order[i];
        const BlockHead head = p.heads[number];
        const bool good = (head.flags & kWide) != 0 ? decode_block(p, head, p.wide, shared)
                                                    : decode_block(p, head, p.narrow, shared);
        if (!good && lane_index() == 0) {
            p.status[number] = kBad;
        }
    }
}
