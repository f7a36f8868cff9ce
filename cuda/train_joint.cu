// Trains grids and networks of many blocks together by gradient descent: src/backend/cuda/train.
#include "train_joint.cuh"

// As many blocks of threads as there is room for; each takes one task after the other.
HGV_KERNEL(hgv_train_joint, JointParams, 256, 2) {
    HGV_SHARED(Joint, joint);
    HGV_DYNAMIC_SHARED(float, dynamic);
    if (thread_index() == 0) {
        joint.p = p;
    }
    for (;;) {
        const u32 task = next_task(p.next, &joint.next);
        if (task >= p.count) {
            break;
        }
        train_joint(joint, dynamic, task);
        HGV_SYNC();
    }
}
