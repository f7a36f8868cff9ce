// Kernels that break the rules, to show that the emulator notices. No GPU ever sees them.
#include "../device.cuh"

struct FaultParams {
    u32* output;
    u32 kind;
    u32 unused;
};

HGV_KERNEL(hgv_fault, FaultParams, 64, 1) {
    HGV_SHARED(u32, shared);
    const u32 thread = thread_index();
    switch (p.kind) {
        case 0:  // barriers at two places
            if (thread < 32) {
                HGV_SYNC();
            } else {
                HGV_SYNC();
            }
            break;
        case 1:  // a lane that leaves its warp
            if (thread == 7) {
                return;
            }
            p.output[thread] = HGV_SHFL(thread, 0);
            break;
        case 2:  // a hand-over without a barrier
            if (thread == 0) {
                shared = 42;
            }
            p.output[thread] = shared;
            break;
        case 3:  // half a warp at a barrier, half in a collective
            if ((thread & 1u) != 0) {
                HGV_SYNC();
            } else {
                p.output[thread] = HGV_BALLOT(true);
            }
            break;
        default:  // past the end of a buffer of 64 words
            p.output[thread + p.kind] = thread;
    }
}
