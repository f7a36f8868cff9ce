// Trains the networks of many blocks at once: src/backend/cuda/train.
#include "train_network.cuh"

// As many blocks of threads as there is room for; each takes one task after the other.
HGV_KERNEL(hgv_train_network, NetworkParams, 256, 2) {
    HGV_SHARED(NetworkShared, shared);
    HGV_DYNAMIC_SHARED(float, dynamic);
    for (;;) {
        const u32 task = next_task(p.next, &shared.task);
        if (task >= p.count) {
            break;
        }
        train_network(p, shared, dynamic, task);
        HGV_SYNC();
    }
}
