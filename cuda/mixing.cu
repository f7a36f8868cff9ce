// Coder M, layers of blocks: a warp a block, in both directions. Host side: src/backend/cuda/mixing.rs.
#include "mixing_layer.cuh"

struct MixingDecodeParams {
    const BlockHead* heads;
    const LayerHead* layers;
    const u8* bytes;
    const MixingTables* tables;
    const u32* order;  // blocks to decode
    i16* narrow;       // planes of indices
    i32* wide;
    u32* status;       // of each block of the batch; set if its bytes break a rule
};

struct MixingEncodeParams {
    const BlockHead* heads;
    LayerHead* layers;        // offsets and bytes are set
    u8* bytes;
    const MixingTables* tables;
    const u32* order;
    const u64* rooms;         // where the bytes of a block of the batch begin; they end where the next one's begin
    i16* narrow;              // planes of indices to work in
    i32* wide;
    i16* narrow_target;       // planes of indices to encode: quality 0, then quality 1, ...
    i32* wide_target;
    u64 narrow_stride;        // elements from one quality to the next
    u64 wide_stride;
    u32* status;
};

// The indices of a block in the plane of its width.
HGV_DEVICE Indices indices_of(const BlockHead& head, i16* narrow, i32* wide) {
    Indices indices;
    indices.is_wide = (head.flags & kWide) != 0;
    indices.start = indices.is_wide ? static_cast<void*>(wide + head.indices) : static_cast<void*>(narrow + head.indices);
    return indices;
}

HGV_DEVICE BlockState state_of(const BlockHead& head, const Indices& indices, u16* flags) {
    BlockState block;
    block.indices = indices;
    block.target = indices;
    block.flags = flags;
    block.box = box_of(head);
    start_block(block);
    return block;
}

// Decodes the layers of a block; false if they break a rule.
HGV_DEVICE bool decode_block(const MixingDecodeParams& p, const BlockHead& head, MixingModel& model, u16* flags) {
    BlockState block = state_of(head, indices_of(head, p.narrow, p.wide), flags);
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

HGV_KERNEL(hgv_mixing_decode, MixingDecodeParams, 32, 12) {
    HGV_SHARED(MixingModel, model);
    HGV_DYNAMIC_SHARED(u16, flags);
    const u32 number = p.order[block_index()];
    const bool good = decode_block(p, p.heads[number], model, flags);
    if (!good && lane_index() == 0) {
        p.status[number] = kBad;
    }
}

// Encodes the layers of a block; false if an index is no refinement of the one before, or there is no room.
HGV_DEVICE bool encode_block(const MixingEncodeParams& p, u32 number, MixingModel& model, u16* flags) {
    const BlockHead head = p.heads[number];
    BlockState block = state_of(head, indices_of(head, p.narrow, p.wide), flags);
    MixingCoder<BitWriter> coder;
    coder.model = &model;
    coder.tables = p.tables;
    bool begun = false;
    u64 offset = p.rooms[number];
    for (u32 i = 0; i < head.layers; i++) {
        LayerHead& layer = p.layers[head.first_layer + i];
        const u32 lod = layer.lod;
        const i32 quality = layer.quality;
        if (!may_come(block, lod, quality)) {
            return false;
        }
        const u64 step = static_cast<u64>(quality);
        block.target = indices_of(head, p.narrow_target + step * p.narrow_stride, p.wide_target + step * p.wide_stride);
        begin(coder.bits, p.bytes + offset, static_cast<u32>(smaller<u64>(p.rooms[number + 1] - offset, 0x7fffffffu)));
        if (is_idle(block, lod, quality)) {
            skip_layer(block, lod, quality);
        } else {
            if (!begun) {
                start_model(model, *p.tables);
                begun = true;
            }
            if (!code_layer(coder, block, lod, quality)) {
                return false;
            }
        }
        HGV_WARP_SYNC();
        if (lane_index() == 0) {
            layer.offset = offset;
            layer.bytes = coder.bits.done;
        }
        offset += coder.bits.done;
    }
    return true;
}

HGV_KERNEL(hgv_mixing_encode, MixingEncodeParams, 32, 8) {
    HGV_SHARED(MixingModel, model);
    HGV_DYNAMIC_SHARED(u16, flags);
    const u32 number = p.order[block_index()];
    const bool good = encode_block(p, number, model, flags);
    if (!good && lane_index() == 0) {
        p.status[number] = kBad;
    }
}
