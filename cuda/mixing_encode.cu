// Encodes the layers of all blocks of a batch with coder M, a warp for each block.
#include "mixing_layer.cuh"
#include "queue.cuh"
#include "sink.cuh"

struct MixingEncodeParams {
    const BlockHead* heads;
    LayerHead* layers;     // level of detail and quality of each are given, place and length are found
    void* planes[8];       // of indices at each quality, of the width that a block's flags say
    const u32* order;      // numbers of the blocks, longest first
    u32* status;           // a word for each head
    u32* next;             // 0 at first: how many of `order` are taken
    const MixingTables* tables;
    u8* workspace;         // for each warp: the indices of a block, then the bytes of a layer
    u64 workspace_bytes;   // of a warp
    ByteSink sink;
    u32 count;             // of `order`
    u32 index_bytes;
};

// Moves the bytes of a layer to the sink.
HGV_DEVICE bool put_layer(const ByteSink& sink, const BitWriter& bits, LayerHead& layer) {
    u64 offset = 0;
    const bool fits = sink_take(sink, bits.done, offset);
    for (u32 i = lane_index(); i < bits.done && fits; i += 32) {
        sink.bytes[offset + i] = bits.bytes[i];
    }
    if (lane_index() == 0) {
        layer.offset = offset;
        layer.bytes = bits.done;
    }
    HGV_WARP_SYNC();
    return fits;
}

HGV_DEVICE void* plane_of(const MixingEncodeParams& p, const BlockHead& head, u32 quality) {
    u8* const plane = static_cast<u8*>(p.planes[quality & 7u]);
    return plane + head.indices * ((head.flags & kWide) != 0 ? 4u : 2u);
}

// Encodes the layers of a block. Its status is bad if an index is no refinement of the one before, or there is no
// room in the workspace.
HGV_DEVICE u32 encode_block(const MixingEncodeParams& p, const BlockHead& head, MixingModel& model, u16* flags) {
    u8* const workspace = p.workspace + block_index() * p.workspace_bytes;
    BlockState block;
    start_block(block, head, workspace, flags);
    MixingCoder<BitWriter> coder;
    coder.model = &model;
    coder.tables = p.tables;
    bool begun = false;
    bool fits = true;
    for (u32 i = 0; i < head.layers; i++) {
        LayerHead& layer = p.layers[head.first_layer + i];
        const u32 lod = layer.lod;
        const u32 quality = layer.quality;
        if (!may_come(block, lod, quality)) {
            return kBad;
        }
        block.target.start = plane_of(p, head, quality);
        begin(coder.bits, workspace + p.index_bytes, static_cast<u32>(p.workspace_bytes - p.index_bytes));
        if (is_idle(block, lod, quality)) {
            skip_layer(block, lod, quality);
        } else {
            if (!begun) {
                start_model(model, *p.tables);
                begun = true;
            }
            if (!code_layer(coder, block, lod, quality)) {
                return kBad;
            }
        }
        HGV_WARP_SYNC();
        fits = put_layer(p.sink, coder.bits, layer) && fits;
    }
    return fits ? u32{kGood} : u32{kFull};
}

HGV_KERNEL(hgv_mixing_encode, MixingEncodeParams, 32, 8) {
    HGV_SHARED(MixingModel, model);
    HGV_DYNAMIC_SHARED(u16, flags);
    for (u32 i = next_block(p.next); i < p.count; i = next_block(p.next)) {
        const u32 number = p.order[i];
        const u32 status = encode_block(p, p.heads[number], model, flags);
        if (status != kGood && lane_index() == 0) {
            p.status[number] = status;
        }
        HGV_WARP_SYNC();
    }
}
