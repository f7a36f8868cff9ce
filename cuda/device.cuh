// The language that kernels are written in: the only header that sees CUDA or its emulation.
//
// A kernel is compiled three ways: by NVRTC to PTX and to machine code, and as C++ for the emulator, which
// runs it on the CPU with one fiber a thread (emu/emu.h). Kernels see plain types, 1-D grids, barriers,
// collectives of whole warps, shared memory, atomics and a few integer instructions, all by the names here.
//
// Rules that both worlds share:
// * A kernel takes one parameter struct by value: plain data, widest members first, addresses as pointers.
// * HGV_KERNEL states the threads of a block, which are fixed, and the blocks that a multiprocessor should
//   hold at least.
// * All 32 lanes of a warp call a collective at the same place. What one lane writes to memory and another
//   reads is handed over by a barrier between them.
// * Floats are not contracted: a * b + c rounds twice, fused(a, b, c) once, as on the CPU.
#pragma once

#if defined(HGV_EMULATION)
#include "emu/emu.h"
#else

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char i8;
typedef short i16;
typedef int i32;
typedef long long i64;

#define HGV_DEVICE static __device__ __forceinline__
#define HGV_DEVICE_CALL static __device__ __noinline__
#define HGV_CONSTANT static __device__ const
#define HGV_KERNEL(name, Params, threads, blocks)                                                             \
    extern "C" __global__ void __launch_bounds__(threads, blocks) name(const Params p)

HGV_DEVICE u32 thread_index() { return threadIdx.x; }
HGV_DEVICE u32 thread_count() { return blockDim.x; }
HGV_DEVICE u32 block_index() { return blockIdx.x; }
HGV_DEVICE u32 block_count() { return gridDim.x; }

// Before a loop whose variable must not become an index into memory.
#define HGV_UNROLL _Pragma("unroll")

#define HGV_SHARED(Type, name) __shared__ Type name
#define HGV_DYNAMIC_SHARED(Type, name)                                                                        \
    extern __shared__ __align__(16) u8 hgv_dynamic_shared[];                                                  \
    Type* name = reinterpret_cast<Type*>(hgv_dynamic_shared)

// Before a loop: its body is large, one copy of it is enough.
#define HGV_ROLLED _Pragma("unroll 1")

#define HGV_SYNC() __syncthreads()
#define HGV_WARP_SYNC() __syncwarp()
#define HGV_SHFL(value, lane) __shfl_sync(0xffffffffu, (value), (lane))
#define HGV_SHFL_XOR(value, mask) __shfl_xor_sync(0xffffffffu, (value), (mask))
#define HGV_SHFL_UP(value, distance) __shfl_up_sync(0xffffffffu, (value), (distance))
#define HGV_SHFL_DOWN(value, distance) __shfl_down_sync(0xffffffffu, (value), (distance))
#define HGV_BALLOT(predicate) __ballot_sync(0xffffffffu, (predicate))
#define HGV_ANY(predicate) (__any_sync(0xffffffffu, (predicate)) != 0)

template <class T> HGV_DEVICE T atomic_add(T* to, T value) { return atomicAdd(to, value); }
template <class T> HGV_DEVICE T atomic_max(T* to, T value) { return atomicMax(to, value); }
template <class T> HGV_DEVICE T atomic_min(T* to, T value) { return atomicMin(to, value); }
HGV_DEVICE u32 atomic_or(u32* to, u32 value) { return atomicOr(to, value); }
HGV_DEVICE u32 atomic_cas(u32* to, u32 expected, u32 value) { return atomicCAS(to, expected, value); }

HGV_DEVICE u32 popcount(u32 v) { return static_cast<u32>(__popc(v)); }
HGV_DEVICE u32 leading_zeros(u32 v) { return static_cast<u32>(__clz(static_cast<i32>(v))); }
// Index of the lowest set bit; 32 of zero.
HGV_DEVICE u32 find_first(u32 v) { return v == 0 ? 32u : static_cast<u32>(__ffs(static_cast<i32>(v))) - 1u; }
HGV_DEVICE u32 mul_hi(u32 a, u32 b) { return __umulhi(a, b); }
// c plus the four products of the signed bytes of a and b.
HGV_DEVICE i32 dot4_i8(i32 a, i32 b, i32 c) {
    i32 sum;  // NVRTC declares __dp4a but has no body for it.
    asm("dp4a.s32.s32 %0, %1, %2, %3;" : "=r"(sum) : "r"(a), "r"(b), "r"(c));
    return sum;
}
HGV_DEVICE float fused(float a, float b, float c) { return __fmaf_rn(a, b, c); }
// Nearest integer, halves to even.
HGV_DEVICE float round_even(float v) { return rintf(v); }
HGV_DEVICE float square_root(float v) { return __fsqrt_rn(v); }
HGV_DEVICE float power(float base, float exponent) { return powf(base, exponent); }
HGV_DEVICE float round_up(float v) { return ceilf(v); }
HGV_DEVICE double round_up(double v) { return ceil(v); }
HGV_DEVICE double round_down(double v) { return floor(v); }
HGV_DEVICE u32 float_bits(float v) { return __float_as_uint(v); }
HGV_DEVICE float bits_float(u32 v) { return __uint_as_float(v); }
// Makes what this thread wrote visible to other blocks before what it writes next.
HGV_DEVICE void device_fence() { __threadfence(); }
// Reads memory that no thread writes during the kernel.
template <class T> HGV_DEVICE T load_constant(const T* from) { return __ldg(from); }

// The value of a texture of one channel at a place; the middle of texel i lies at i + 0.5.
HGV_DEVICE float texture_value(u64 texture, float x, float y, float z) {
    float value, green, blue, alpha;
    asm("tex.3d.v4.f32.f32 {%0, %1, %2, %3}, [%4, {%5, %6, %7, %7}];"
        : "=f"(value), "=f"(green), "=f"(blue), "=f"(alpha)
        : "l"(texture), "f"(x), "f"(y), "f"(z));
    return value;
}

// d += a * b on matrices of signed bytes, 16 x 16 times 16 x 8, spread over a warp. With g = lane / 4 and
// t = lane % 4: byte i of a[0] is row g, column 4t + i; a[1] is row g + 8; byte i of b is row 4t + i, column g;
// d[0], d[1] are row g, columns 2t and 2t + 1; d[2], d[3] row g + 8.
HGV_DEVICE void hgv_mma_k16(i32 (&d)[4], const u32 (&a)[2], u32 b) {
#if __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(b));
#else
    for (u32 half = 0; half < 2; half++) {
        asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0, %1}, {%2}, {%3}, {%0, %1};"
                     : "+r"(d[2 * half]), "+r"(d[2 * half + 1])
                     : "r"(a[half]), "r"(b));
    }
#endif
}
#define HGV_MMA_K16(d, a, b) hgv_mma_k16((d), (a), (b))

// The same with 32 columns of a: a[2] and a[3] are those from 16 on, b[1] the rows from 16 on.
HGV_DEVICE void hgv_mma_k32(i32 (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
#if __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    hgv_mma_k16(d, {a[0], a[1]}, b[0]);
    hgv_mma_k16(d, {a[2], a[3]}, b[1]);
#endif
}
#define HGV_MMA_K32(d, a, b) hgv_mma_k32((d), (a), (b))

#endif

HGV_DEVICE u32 lane_index() { return thread_index() & 31u; }
HGV_DEVICE u32 warp_index() { return thread_index() >> 5; }

template <class T> HGV_DEVICE T smaller(T a, T b) { return b < a ? b : a; }
template <class T> HGV_DEVICE T larger(T a, T b) { return a < b ? b : a; }
template <class T> HGV_DEVICE T clamped(T v, T lo, T hi) { return smaller(larger(v, lo), hi); }
HGV_DEVICE u32 ceil_div(u32 a, u32 b) { return (a + b - 1u) / b; }
HGV_DEVICE u32 ceil_shift(u32 a, u32 bits) { return (a + (1u << bits) - 1u) >> bits; }

// Sum over the lanes of a warp, in every lane; always in the same order.
#define HGV_WARP_SUM(value) hgv_warp_sum(value)
// Sum over the lanes up to and including this one.
#define HGV_WARP_SCAN(value) hgv_warp_scan(value)


template <class T> HGV_DEVICE T hgv_warp_sum(T value) {
    for (u32 mask = 16; mask > 0; mask >>= 1) {
        value += HGV_SHFL_XOR(value, mask);
    }
    return value;
}

template <class T> HGV_DEVICE T hgv_warp_scan(T value) {
    for (u32 distance = 1; distance < 32; distance <<= 1) {
        const T before = HGV_SHFL_UP(value, distance);
        value += lane_index() >= distance ? before : T(0);
    }
    return value;
}
