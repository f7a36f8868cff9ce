// Fits the grids of many blocks at once: src/backend/cuda/train.
#include "train_fit.cuh"

// As many blocks of threads as there is room for; each takes one task after the other.
HGV_KERNEL(hgv_train_fit, FitParams, 256, 2) {
    HGV_SHARED(Fit, fit);
    if (thread_index() == 0) {
        fit.p = p;
        cut_planes(fit);
    }
    for (;;) {
        const u32 task = next_task(p.next, &fit.next);
        if (task >= p.count) {
            break;
        }
        fit_block(fit, task);
        HGV_SYNC();
    }
}
