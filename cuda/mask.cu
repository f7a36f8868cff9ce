// Decodes the masks of all blocks of a batch that have one, a warp for each block.
#include "mask.cuh"

enum : u32 { kMaskWarps = 4 };

struct MaskParams {
    const BlockHead* heads;
    const u8* bytes;
    const u32* order;   // numbers of the blocks
    const u64* places;  // for each of `order`: of its classes in the plane, [z][y][x] over dims
    u8* classes;        // the plane
    u32* status;        // a word for each head
    u32 count;          // of `order`
    u32 unused;
};

HGV_KERNEL(hgv_mask, MaskParams, 128, 4) {
    const u32 i = block_index() * kMaskWarps + warp_index();
    if (i >= p.count) {
        return;
    }
    const u32 number = p.order[i];
    const BlockHead& head = p.heads[number];
    const bool good = mask_decode(head.dims, p.bytes + head.mask_offset, head.mask_bytes, p.classes + p.places[i]);
    if (!good && lane_index() == 0) {
        p.status[number] = kBad;
    }
}
