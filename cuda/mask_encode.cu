// Encodes the masks of all blocks of a batch that have one, a warp for each block.
#include "mask.cuh"
#include "queue.cuh"
#include "sink.cuh"

enum : u32 { kMaskWarps = 4 };

struct MaskEncodeParams {
    BlockHead* heads;    // place and length of each mask are found
    const u32* order;    // numbers of the blocks
    const u64* places;   // for each of `order`: of its classes in the plane, [z][y][x] over dims
    const u8* classes;   // the plane
    u32* status;         // a word for each head
    u32* next;           // 0 at first: how many of `order` are taken
    u32* workspace;      // `words` for each warp of the grid
    ByteSink sink;
    u32 words;
    u32 count;           // of `order`
};

HGV_KERNEL(hgv_mask_encode, MaskEncodeParams, 128, 4) {
    u32* words = p.workspace + static_cast<u64>(block_index() * kMaskWarps + warp_index()) * p.words;
    for (u32 i = next_block(p.next); i < p.count; i = next_block(p.next)) {
        const u32 number = p.order[i];
        BlockHead& head = p.heads[number];
        const u32 dims[3] = {head.dims[0], head.dims[1], head.dims[2]};
        BitSink bits = bit_sink(words, p.words);
        mask_encode(dims, p.classes + p.places[i], bits);
        const u32 length = bits_bytes(bits);
        u64 offset = 0;
        HGV_WARP_SYNC();
        if (bits.full != 0 || !sink_take(p.sink, length, offset)) {
            if (lane_index() == 0) {
                p.status[number] = bits.full != 0 ? static_cast<u32>(kBad) : static_cast<u32>(kFull);
            }
            continue;
        }
        for (u32 j = lane_index(); j < length; j += 32u) {
            p.sink.bytes[offset + j] = bits_byte(bits, j);
        }
        if (lane_index() == 0) {
            head.mask_offset = offset;
            head.mask_bytes = length;
        }
        HGV_WARP_SYNC();
    }
}
