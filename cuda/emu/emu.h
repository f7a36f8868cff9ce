// The language of device.cuh on the CPU: kernels as plain C++, one fiber a thread, blocks one after the other.
//
// What it checks that a GPU would not: every thread of a block waits at the same barrier, every lane of a warp
// calls the same collective, shared memory and fresh device memory hold no zeros by luck, and, with the order
// of threads turned round or shuffled, that no result depends on it. Built with -fsanitize=address,undefined it
// also finds accesses out of bounds. What it does not model: caches, memory order between threads, timing.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

typedef std::uint8_t u8;
typedef std::uint16_t u16;
typedef std::uint32_t u32;
typedef unsigned long long u64;
typedef std::int8_t i8;
typedef std::int16_t i16;
typedef std::int32_t i32;
typedef long long i64;

#define HGV_DEVICE static inline __attribute__((unused))
#define HGV_DEVICE_CALL static __attribute__((noinline, unused))
#define HGV_CONSTANT static const

namespace emu {

// A place in the source where threads wait for each other.
struct Site {
    const char* file;
    int line;
};

// A thread that runs, and what it tells its warp.
struct Thread {
    void* stack_pointer;
    u32 index;
    bool done;
    const Site* waits;
    u64 said;
};

// A block that runs.
struct Block {
    u32 index;
    u32 count;
    u32 threads;
    u8* dynamic;
};

extern __thread __attribute__((tls_model("initial-exec"))) Thread* thread;
extern __thread __attribute__((tls_model("initial-exec"))) Block* block;

// Waits for all threads of the block.
void wait_for_block(const Site* site);
// Waits for all lanes of the warp; returns what each said.
const u64* wait_for_warp(const Site* site, u64 said);
// Memory of the block under `key`, the same for all its threads, filled with a pattern at first.
void* shared(const void* key, std::size_t bytes);

typedef void (*Body)(const void* params);

struct Kernel {
    const char* name;
    u32 threads;
    u32 params;
    Body body;
    Kernel* next;
    Kernel(const char* name, u32 threads, u32 params, Body body);
};

template <class T> u64 to_word(T value) {
    static_assert(sizeof(T) <= sizeof(u64), "a lane says at most 8 bytes");
    u64 word = 0;
    std::memcpy(&word, &value, sizeof value);
    return word;
}

template <class T> T from_word(u64 word) {
    T value;
    std::memcpy(&value, &word, sizeof value);
    return value;
}

template <class T> T said_by(const Site* site, T value, u32 lane) {
    return from_word<T>(wait_for_warp(site, to_word(value))[lane & 31u]);
}

template <class T> T said_above(const Site* site, T value, u32 distance) {
    const u32 lane = thread->index & 31u;
    return said_by(site, value, lane + distance > 31u ? lane : lane + distance);
}

template <class T> T said_below(const Site* site, T value, u32 distance) {
    const u32 lane = thread->index & 31u;
    return said_by(site, value, distance > lane ? lane : lane - distance);
}

inline u32 ballot(const Site* site, bool predicate) {
    const u64* said = wait_for_warp(site, predicate ? 1u : 0u);
    u32 bits = 0;
    for (u32 lane = 0; lane < 32; lane++) {
        bits |= static_cast<u32>(said[lane]) << lane;
    }
    return bits;
}

// Adds the products of signed bytes of two words, byte by byte.
inline void add_products(i32& sum, u32 a, u32 b) {
    for (u32 i = 0; i < 32; i += 8) {
        sum += static_cast<i8>(a >> i) * static_cast<i8>(b >> i);
    }
}

// Matrix products from the fragments that each lane holds, as device.cuh states them: `steps` times 16 columns.
inline void mma(const Site* site, i32 (&d)[4], const u32* a, const u32* b, u32 steps) {
    const u32 lane = thread->index & 31u;
    for (u32 step = 0; step < steps; step++) {
        u32 rows[2][4];
        u32 columns[2][4];
        const u64* said = wait_for_warp(site, a[2 * step] | static_cast<u64>(a[2 * step + 1]) << 32);
        for (u32 t = 0; t < 4; t++) {
            const u64 both = said[lane / 4 * 4 + t];
            rows[0][t] = static_cast<u32>(both);
            rows[1][t] = static_cast<u32>(both >> 32);
        }
        said = wait_for_warp(site, b[step]);
        for (u32 t = 0; t < 4; t++) {
            columns[0][t] = static_cast<u32>(said[lane % 4 * 8 + t]);
            columns[1][t] = static_cast<u32>(said[lane % 4 * 8 + 4 + t]);
        }
        for (u32 i = 0; i < 4; i++) {
            for (u32 t = 0; t < 4; t++) {
                add_products(d[i], rows[i / 2][t], columns[i % 2][t]);
            }
        }
    }
}

// A texture; its address is what kernels take.
struct Texture {
    u64 texels;       // address, [z][y][x]
    u32 dims[3];
    u32 texel_bytes;  // 1 and 2: integers as 0..=1; 4: floats
};

inline float texel(const Texture& texture, i32 x, i32 y, i32 z) {
    const i32 at[3] = {x, y, z};
    std::size_t index = 0;
    for (int a = 2; a >= 0; a--) {
        const i32 last = static_cast<i32>(texture.dims[a]) - 1;
        index = index * texture.dims[a] + static_cast<std::size_t>(at[a] < 0 ? 0 : at[a] > last ? last : at[a]);
    }
    const void* texels = reinterpret_cast<const void*>(static_cast<std::uintptr_t>(texture.texels));
    switch (texture.texel_bytes) {
        case 1: return static_cast<const u8*>(texels)[index] / 255.0f;
        case 2: return static_cast<const u16*>(texels)[index] / 65535.0f;
        default: return static_cast<const float*>(texels)[index];
    }
}

// Weights have 8 bits behind the point, as the CUDA C++ Programming Guide says of linear filtering.
inline float texture_value(u64 handle, float x, float y, float z) {
    const Texture& texture = *reinterpret_cast<const Texture*>(static_cast<std::uintptr_t>(handle));
    const float at[3] = {x - 0.5f, y - 0.5f, z - 0.5f};
    i32 first[3];
    float weight[3];
    for (int a = 0; a < 3; a++) {
        const float whole = std::floor(at[a]);
        first[a] = static_cast<i32>(whole);
        weight[a] = std::round((at[a] - whole) * 256.0f) / 256.0f;
    }
    float sum = 0.0f;
    for (int corner = 0; corner < 8; corner++) {
        const i32 i = corner & 1, j = corner >> 1 & 1, k = corner >> 2;
        const float part = (i ? weight[0] : 1.0f - weight[0]) * (j ? weight[1] : 1.0f - weight[1]) *
                           (k ? weight[2] : 1.0f - weight[2]);
        sum += part * texel(texture, first[0] + i, first[1] + j, first[2] + k);
    }
    return sum;
}

}  // namespace emu

// The site of a call, one object for each place in the source.
#define HGV_SITE                                                                                              \
    ([]() -> const emu::Site* {                                                                               \
        static const emu::Site site = {__FILE__, __LINE__};                                                   \
        return &site;                                                                                         \
    }())

#define HGV_KERNEL(name, Params, threads, blocks)                                                             \
    static void name(const Params& p);                                                                        \
    static emu::Kernel name##_registered(#name, threads, sizeof(Params), [](const void* params) {             \
        name(*static_cast<const Params*>(params));                                                            \
    });                                                                                                       \
    static void name([[maybe_unused]] const Params& p)

HGV_DEVICE u32 thread_index() { return emu::thread->index; }
HGV_DEVICE u32 thread_count() { return emu::block->threads; }
HGV_DEVICE u32 block_index() { return emu::block->index; }
HGV_DEVICE u32 block_count() { return emu::block->count; }

#define HGV_UNROLL

#define HGV_SHARED(Type, name)                                                                                \
    static const char name##_key = 0;                                                                         \
    Type& name = *static_cast<Type*>(emu::shared(&name##_key, sizeof(Type)))
#define HGV_DYNAMIC_SHARED(Type, name) Type* name = reinterpret_cast<Type*>(emu::block->dynamic)

#define HGV_ROLLED

#define HGV_SYNC() emu::wait_for_block(HGV_SITE)
#define HGV_WARP_SYNC() static_cast<void>(emu::wait_for_warp(HGV_SITE, 0))
#define HGV_SHFL(value, lane) emu::said_by(HGV_SITE, (value), (lane))
#define HGV_SHFL_XOR(value, mask) emu::said_by(HGV_SITE, (value), (emu::thread->index & 31u) ^ (mask))
#define HGV_SHFL_UP(value, distance) emu::said_below(HGV_SITE, (value), (distance))
#define HGV_SHFL_DOWN(value, distance) emu::said_above(HGV_SITE, (value), (distance))
#define HGV_BALLOT(predicate) emu::ballot(HGV_SITE, (predicate))
#define HGV_ANY(predicate) (emu::ballot(HGV_SITE, (predicate)) != 0)
#define HGV_MMA_K16(d, a, b) hgv_mma_k16(HGV_SITE, (d), (a), (b))
#define HGV_MMA_K32(d, a, b) hgv_mma_k32(HGV_SITE, (d), (a), (b))

template <class T> HGV_DEVICE T atomic_add(T* to, T value) {
    const T before = *to;
    *to = before + value;
    return before;
}
template <class T> HGV_DEVICE T atomic_max(T* to, T value) {
    const T before = *to;
    *to = before < value ? value : before;
    return before;
}
template <class T> HGV_DEVICE T atomic_min(T* to, T value) {
    const T before = *to;
    *to = value < before ? value : before;
    return before;
}
HGV_DEVICE u32 atomic_or(u32* to, u32 value) {
    const u32 before = *to;
    *to = before | value;
    return before;
}
HGV_DEVICE u32 atomic_cas(u32* to, u32 expected, u32 value) {
    const u32 before = *to;
    *to = before == expected ? value : before;
    return before;
}

HGV_DEVICE u32 popcount(u32 v) { return static_cast<u32>(__builtin_popcount(v)); }
HGV_DEVICE u32 leading_zeros(u32 v) { return v == 0 ? 32u : static_cast<u32>(__builtin_clz(v)); }
HGV_DEVICE u32 find_first(u32 v) { return v == 0 ? 32u : static_cast<u32>(__builtin_ctz(v)); }
HGV_DEVICE u32 mul_hi(u32 a, u32 b) { return static_cast<u32>((static_cast<u64>(a) * b) >> 32); }
HGV_DEVICE i32 dot4_i8(i32 a, i32 b, i32 c) {
    u32 sum = static_cast<u32>(c);
    for (int i = 0; i < 4; i++) {
        const i32 x = static_cast<i8>(static_cast<u32>(a) >> (8 * i));
        const i32 y = static_cast<i8>(static_cast<u32>(b) >> (8 * i));
        sum += static_cast<u32>(x * y);
    }
    return static_cast<i32>(sum);
}
HGV_DEVICE void hgv_mma_k16(const emu::Site* site, i32 (&d)[4], const u32 (&a)[2], u32 b) {
    emu::mma(site, d, a, &b, 1);
}
HGV_DEVICE void hgv_mma_k32(const emu::Site* site, i32 (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    emu::mma(site, d, a, b, 2);
}
HGV_DEVICE float fused(float a, float b, float c) { return std::fma(a, b, c); }
HGV_DEVICE float round_even(float v) { return std::rint(v); }
HGV_DEVICE float square_root(float v) { return std::sqrt(v); }
HGV_DEVICE float power(float base, float exponent) { return std::pow(base, exponent); }
HGV_DEVICE float round_up(float v) { return std::ceil(v); }
HGV_DEVICE double round_up(double v) { return std::ceil(v); }
HGV_DEVICE double round_down(double v) { return std::floor(v); }
HGV_DEVICE u32 float_bits(float v) { return emu::from_word<u32>(emu::to_word(v)); }
HGV_DEVICE float bits_float(u32 v) { return emu::from_word<float>(emu::to_word(v)); }
HGV_DEVICE float texture_value(u64 texture, float x, float y, float z) {
    return emu::texture_value(texture, x, y, z);
}
HGV_DEVICE void device_fence() {}
template <class T> HGV_DEVICE T load_constant(const T* from) { return *from; }
