// A kernel that uses every word of device.cuh, so that a machine shows that it means what the emulator means.
#include "device.cuh"

struct SelfTestParams {
    const u32* input;   // a word for each thread of all blocks
    u32* output;        // SELF_TEST_WORDS for each thread, [thread][word]
    u32* sums;          // what atomics make: sum, largest, smallest, or of the bits
    float* floats;      // a float for each thread
};

enum : u32 { kThreads = 128, kWords = 16 };

struct SelfTestShared {
    u32 words[kThreads];
};

HGV_KERNEL(hgv_self_test, SelfTestParams, 128, 1) {
    HGV_SHARED(SelfTestShared, shared);
    HGV_DYNAMIC_SHARED(u32, dynamic);
    const u32 thread = thread_index();
    const u32 at = block_index() * kThreads + thread;
    const u32 word = load_constant(p.input + at);
    shared.words[thread] = word;
    dynamic[thread] = ~word;
    HGV_SYNC();
    u32* out = p.output + static_cast<u64>(at) * kWords;
    out[0] = shared.words[kThreads - 1 - thread];
    out[1] = dynamic[(thread + 1) % kThreads];
    out[2] = HGV_SHFL(word, (lane_index() * 7 + 3) & 31u);
    out[3] = HGV_SHFL_XOR(word, 5);
    out[4] = HGV_SHFL_UP(word, 3);
    out[5] = HGV_SHFL_DOWN(word, 9);
    out[6] = HGV_BALLOT((word & 1u) != 0);
    out[7] = HGV_WARP_SUM(word & 0xffffu);
    out[8] = HGV_WARP_SCAN(word & 0xffffu);
    out[9] = popcount(word);
    out[10] = leading_zeros(word);
    out[11] = find_first(word);
    out[12] = mul_hi(word, 0x9E3779B9u);
    out[13] = static_cast<u32>(dot4_i8(static_cast<i32>(word), static_cast<i32>(~word * 3u), 77));
    out[14] = HGV_ANY(word == 0) ? 1u : 0u;
    out[15] = warp_index() + block_count() * thread_count();
    const float value = static_cast<float>(static_cast<i32>(word)) * 0.37f;
    p.floats[at] = round_even(fused(value, 1.7f, -3.25f)) + bits_float(float_bits(value));
    HGV_WARP_SYNC();
    atomic_add(p.sums + 0, word);
    atomic_max(p.sums + 1, word);
    atomic_min(p.sums + 2, word);
    atomic_or(p.sums + 3, word & 0x00ff00ffu);
}
