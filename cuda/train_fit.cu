// Fits the grids of many blocks at once: src/backend/cuda/train.
#include "train_fit.cuh"

// As many blocks of threads as there is room for; each takes one task after the other.
HGV_KERNEL(hgv_train_fit, FitParams, 256, 2) {
    HGV_SHARED(FitShared, shared);
    const u64 large = p.large, small = p.small;
    float* planes = p.planes + block_index() * (3 * large + 3 * small);
    float* rest = planes + 3 * large;
    const FitRoom room = {planes, {planes + large, planes + 2 * large}, rest, rest + small,
                          reinterpret_cast<i32*>(rest + 2 * small)};
    for (;;) {
        const u32 task = next_task(p.next, &shared.task);
        if (task >= p.count) {
            break;
        }
        fit_block(p, shared, task, room);
        HGV_SYNC();
    }
}
