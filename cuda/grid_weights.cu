// Layers of blocks under grid models -> weights and networks.
#include "grid_weights.cuh"

struct GridWeightsParams {
    const BlockHead* heads;
    const LayerHead* layers;
    const u8* bytes;
    const GridJob* jobs;
    const GridPlan* plans;
    u32* weights;
    i16* networks;
    GridState* states;  // of each job
    u32* status;        // of each head
    RansTables tables;
    u32 count;          // jobs
    u32 unused;
};

enum : u32 { kWeightThreads = 128, kWeightWarps = kWeightThreads / 32 };

struct GridWeightsShared {
    RansBounds bounds;
    u32 queues[kWeightWarps][kQueueEntries];
};

HGV_KERNEL(hgv_grid_weights, GridWeightsParams, 128, 4) {
    HGV_SHARED(GridWeightsShared, shared);
    rans_load(p.tables, shared.bounds);
    const u32 number = block_index() * kWeightWarps + warp_index();
    if (number >= p.count) {
        return;
    }
    const GridJob job = p.jobs[number];
    const BlockHead& head = p.heads[job.block];
    const GridPlan& plan = p.plans[job.plan];
    GridState state = {0, kNetworkNone, 0};
    bool good = true;
    for (u32 i = 0; i < head.layers && good; i++) {
        const LayerHead layer = p.layers[head.first_layer + i];
        if (layer.bytes > 0) {
            RansDecoder coder;
            rans_open(coder, shared.bounds.words, p.tables.maps, p.bytes + layer.offset, layer.bytes);
            good = coder.bad == 0 && decode_grid_layer(plan, i, coder, p.weights + job.weights, p.networks + job.network,
                                                       state, shared.queues[warp_index()]);
        }
    }
    if (lane_index() == 0) {
        p.states[number] = state;
        if (!good) {
            p.status[job.block] = kBad;
        }
    }
}
