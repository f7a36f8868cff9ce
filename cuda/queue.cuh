// Warps that take blocks of voxels from a queue, until none is left.
#pragma once

#include "device.cuh"

// Takes the next block of a queue that all warps of a grid share.
HGV_DEVICE u32 next_block(u32* next) {
    u32 taken = 0;
    if (lane_index() == 0) {
        taken = atomic_add(next, 1u);
    }
    return HGV_SHFL(taken, 0);
}
