// Where encoders of a batch put their bytes: one buffer, streams in the order in which they come.
#pragma once

#include "device.cuh"

enum : u32 {
    kFull = 2,  // status of a block whose bytes did not fit; `used` says what would have
};

struct ByteSink {
    u8* bytes;
    u64* used;     // 0 at first; what all streams took or would have taken
    u64 capacity;
};

// Takes room for a stream of a warp; `offset` becomes its place. False if there is none.
HGV_DEVICE bool sink_take(const ByteSink& sink, u64 bytes, u64& offset) {
    u64 start = 0;
    if (lane_index() == 0) {
        start = atomic_add(sink.used, bytes);
    }
    offset = HGV_SHFL(start, 0);
    return offset + bytes <= sink.capacity;
}
