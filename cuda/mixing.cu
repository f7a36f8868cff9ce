// Decodes the layers of all blocks of a batch with coder M, a warp for each block.
#include "mixing_layer.cuh"

struct MixingParams {
    const BlockHead* heads;
    const LayerHead* layers;
    const u8* bytes;
    const MixingTables* tables;
    const u32* order;  // numbers of the blocks, longest first
    i16* narrow;       // planes of indices
    i32* wide;
    u32* status;       // a word for each head; set if the bytes of a block break a rule
};

HGV_DEVICE void* plane_of(const MixingParams& p, const BlockHead& head) {
    return (head.flags & kWide) != 0 ? static_cast<void*>(p.wide + head.indices) : static_cast<void*>(p.narrow + head.indices);
}

// Decodes the layers of a block; false if they break a rule.
HGV_DEVICE bool decode_block(const MixingParams& p, const BlockHead& head, MixingModel& model, u16* flags) {
    BlockState block;
    start_block(block, head, plane_of(p, head), flags);
    MixingCoder<BitReader> coder;
    coder.model = &model;
    coder.tables = p.tables;
    bool begun = false;
    for (u32 i = 0; i < head.layers; i++) {
        const LayerHead layer = p.layers[head.first_layer + i];
        if (!may_come(block, layer.lod, layer.quality)) {
            return false;
        }
        if (layer.bytes == 0) {
            skip_layer(block, layer.lod, layer.quality);
            continue;
        }
        if (!begun) {
            start_model(model, *p.tables);
            begun = true;
        }
        begin(coder.bits, p.bytes + layer.offset, layer.bytes);
        if (!code_layer(coder, block, layer.lod, layer.quality)) {
            return false;
        }
    }
    return true;
}

HGV_KERNEL(hgv_mixing_layers, MixingParams, 32, 12) {
    HGV_SHARED(MixingModel, model);
    HGV_DYNAMIC_SHARED(u16, flags);
    const u32 number = p.order[block_index()];
    const bool good = decode_block(p, p.heads[number], model, flags);
    if (!good && lane_index() == 0) {
        p.status[number] = kBad;
    }
}
