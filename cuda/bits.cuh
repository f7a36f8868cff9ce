// Bits that a warp appends to, several lanes at a time, kept as little-endian words.
#pragma once

#include "device.cuh"

// The same in all lanes.
struct BitSink {
    u32* words;
    u32 capacity;  // of `words`
    u32 bit;       // how many are there
    u32 clean;     // words that were set to 0 before bits were put into them
    u32 full;      // 1 if something did not fit
};

HGV_DEVICE BitSink bit_sink(u32* words, u32 capacity) { return {words, capacity, 0, 0, 0}; }

// Makes room for so many more bits; false if there is none.
HGV_DEVICE bool bits_reserve(BitSink& sink, u32 count) {
    const u32 end = (sink.bit + count + 31u) >> 5;
    if (sink.full != 0 || end > sink.capacity) {
        sink.full = 1;
        return false;
    }
    for (u32 i = sink.clean + lane_index(); i < end; i += 32u) {
        sink.words[i] = 0;
    }
    sink.clean = larger(sink.clean, end);
    HGV_WARP_SYNC();
    return true;
}

// Puts the lowest count <= 32 bits of a value at a bit for which there is room. Of a lane.
HGV_DEVICE void bits_put(const BitSink& sink, u32 at, u32 value, u32 count) {
    const u64 bits = static_cast<u64>(value) & ((1ull << count) - 1ull);
    const u64 shifted = bits << (at & 31u);
    if (static_cast<u32>(shifted) != 0) {
        atomic_or(sink.words + (at >> 5), static_cast<u32>(shifted));
    }
    if (shifted >> 32 != 0) {
        atomic_or(sink.words + (at >> 5) + 1, static_cast<u32>(shifted >> 32));
    }
}

// Appends bits that all lanes agree on.
HGV_DEVICE void bits_append(BitSink& sink, u32 value, u32 count) {
    if (bits_reserve(sink, count)) {
        if (lane_index() == 0) {
            bits_put(sink, sink.bit, value, count);
        }
        sink.bit += count;
    }
}

HGV_DEVICE u32 bits_bytes(const BitSink& sink) { return (sink.bit + 7u) >> 3; }

HGV_DEVICE u8 bits_byte(const BitSink& sink, u32 i) { return static_cast<u8>(sink.words[i >> 2] >> (8u * (i & 3u))); }
