// The inverse transform of wavelets (specification, "Dequantisation" and "Inverse transform").
//
// Working values live in i32 registers whatever their width; Narrow and Wide say how they wrap.
#pragma once

#include "device.cuh"

// How the indices of a band become working values; made so that every product fits and what is beyond the
// working type still is. src/backend/cuda/plan.rs says the same.
struct BandStep {
    i64 step;    // in 1/256 of a working unit
    i64 offset;  // what is added to |k| * step where |k| > 1: the half that rounds less the pull
    u32 cap;     // largest |k| that need be told apart, at least 2
    u32 one;     // magnitude of |k| = 1
};
static_assert(sizeof(BandStep) == 24, "as in plan.rs");

// 16-bit working values; constants have 15 fractional bits.
struct Narrow {
    typedef i16 Element;
    typedef i32 Sum;  // holds the sum of a filter
    static constexpr i32 kUpdate2 = 14533, kPredict2 = 28931, kUpdate1 = 1736, kPredict1 = 19206;

    // Low-pass gain of 1, 2 or 3 axes, beyond one, and one over it.
    HGV_DEVICE i32 gain(u32 axes) { return axes == 1 ? 7542 : axes == 2 ? 16821 : 28235; }
    HGV_DEVICE i32 shrink(u32 axes) { return axes == 1 ? 26637 : axes == 2 ? 21653 : 17602; }

    HGV_DEVICE i32 add(i32 a, i32 b) { return static_cast<i16>(a + b); }
    HGV_DEVICE i32 subtract(i32 a, i32 b) { return static_cast<i16>(a - b); }
    HGV_DEVICE i32 multiply(i32 v, i32 c) { return (v * c + (1 << 14)) >> 15; }
    HGV_DEVICE i32 saturate(i64 v) { return static_cast<i32>(clamped<i64>(v, -32768, 32767)); }

    HGV_DEVICE i32 dequantise(const BandStep& band, i32 k) {
        const u32 size = static_cast<u32>(k < 0 ? -k : k);
        const i32 product = static_cast<i32>(smaller(size, band.cap)) * static_cast<i32>(band.step);
        i32 magnitude = (product + static_cast<i32>(band.offset)) >> 8;
        magnitude = size == 1 ? static_cast<i32>(band.one) : magnitude;
        magnitude = size == 0 ? 0 : magnitude;
        return clamped(k < 0 ? -magnitude : magnitude, -32768, 32767);
    }
};

// 32-bit working values; constants have 31 fractional bits.
struct Wide {
    typedef i32 Element;
    typedef i64 Sum;
    static constexpr i32 kUpdate2 = 952423713, kPredict2 = 1896037097, kUpdate1 = 113773938,
                         kPredict1 = 1258713915;

    HGV_DEVICE i32 gain(u32 axes) { return axes == 1 ? 494295126 : axes == 2 ? 1102364191 : 1850395009; }
    HGV_DEVICE i32 shrink(u32 axes) { return axes == 1 ? 1745674567 : axes == 2 ? 1419046751 : 1153533265; }

    HGV_DEVICE i32 add(i32 a, i32 b) { return static_cast<i32>(static_cast<u32>(a) + static_cast<u32>(b)); }
    HGV_DEVICE i32 subtract(i32 a, i32 b) { return static_cast<i32>(static_cast<u32>(a) - static_cast<u32>(b)); }
    HGV_DEVICE i32 multiply(i32 v, i32 c) {
        return static_cast<i32>((static_cast<i64>(v) * c + (i64(1) << 30)) >> 31);
    }
    HGV_DEVICE i32 saturate(i64 v) { return static_cast<i32>(clamped<i64>(v, -2147483648ll, 2147483647)); }

    HGV_DEVICE i32 dequantise(const BandStep& band, i32 k) {
        const u32 size = k < 0 ? 0u - static_cast<u32>(k) : static_cast<u32>(k);
        i64 magnitude = (static_cast<i64>(smaller(size, band.cap)) * band.step + band.offset) >> 8;
        magnitude = size == 1 ? static_cast<i64>(band.one) : magnitude;
        magnitude = size == 0 ? 0 : magnitude;
        return saturate(k < 0 ? -magnitude : magnitude);
    }
};

template <class P> HGV_DEVICE i32 even_first(i32 e, i32 a, i32 b) {
    return P::subtract(e, P::multiply(P::add(a, b), P::kUpdate2));
}
template <class P> HGV_DEVICE i32 odd_first(i32 o, i32 a, i32 b) {
    return P::subtract(o, P::multiply(P::add(a, b), P::kPredict2));
}
template <class P> HGV_DEVICE i32 even_second(i32 e, i32 a, i32 b) {
    return P::add(e, P::multiply(P::add(a, b), P::kUpdate1));
}
template <class P> HGV_DEVICE i32 odd_second(i32 o, i32 a, i32 b) {
    const i32 sum = P::add(a, b);
    return P::add(P::add(o, sum), P::multiply(sum, P::kPredict1));
}

// Merges a line of n >= 2 values in one sweep, each read and written once: even(i) and odd(i) read its halves,
// put(i, v) takes the merged values, not in order. Borders mirror: the nearest value that exists counts twice.
template <class P, class Even, class Odd, class Put>
HGV_DEVICE void merge_line(u32 n, const Even& even, const Odd& odd, const Put& put) {
    const u32 low = (n + 1) / 2, high = n / 2;
    // o: odd as read; e1, o1, e2: after the first, second and third step; _before: at index i - 1.
    i32 o_before = odd(0);
    i32 e1_before = even_first<P>(even(0), o_before, o_before);
    i32 o1_before = o_before, e2_before = e1_before;
    for (u32 i = 1; i < low; i++) {
        const i32 o = i < high ? odd(i) : o_before;
        const i32 e1 = even_first<P>(even(i), o_before, o);
        const i32 o1 = odd_first<P>(o_before, e1_before, e1);
        const i32 e2 = even_second<P>(e1_before, i == 1 ? o1 : o1_before, o1);
        put(2 * i - 2, e2);
        if (i > 1) {
            put(2 * i - 3, odd_second<P>(o1_before, e2_before, e2));
        }
        o_before = o;
        e1_before = e1;
        o1_before = o1;
        e2_before = e2;
    }
    const u32 last = low - 1;
    const i32 o1 = high == low ? odd_first<P>(o_before, e1_before, e1_before) : o1_before;
    const i32 e2 = even_second<P>(e1_before, last == 0 ? o1 : o1_before, o1);
    put(2 * last, e2);
    if (last > 0) {
        put(2 * last - 1, odd_second<P>(o1_before, e2_before, e2));
    }
    if (high == low) {
        put(2 * last + 1, odd_second<P>(o1, e2, e2));
    }
}

// N pairs of an even and an odd value of a line that lies across the lanes of a warp.
template <u32 N> struct Pairs {
    i32 even[N], odd[N];
    u32 first;      // number of the first pair
    u32 low, high;  // even and odd values of the line
};

// One step that changes even values by the odd ones around them.
template <class P, u32 N, class Step> HGV_DEVICE void lift_even(Pairs<N>& pairs, const Step& step) {
    const i32 below = HGV_SHFL_UP(pairs.odd[N - 1], 1);
    HGV_UNROLL
    for (u32 j = 0; j < N; j++) {
        const u32 i = pairs.first + j;
        const i32 before = j == 0 ? below : pairs.odd[j == 0 ? 0 : j - 1];
        const i32 left = i == 0 ? pairs.odd[j] : before;
        const i32 right = i < pairs.high ? pairs.odd[j] : before;
        pairs.even[j] = step(pairs.even[j], left, right);
    }
}

// One step that changes odd values by the even ones around them.
template <class P, u32 N, class Step> HGV_DEVICE void lift_odd(Pairs<N>& pairs, const Step& step) {
    const i32 above = HGV_SHFL_DOWN(pairs.even[0], 1);
    HGV_UNROLL
    for (u32 j = 0; j < N; j++) {
        const i32 after = j + 1 == N ? above : pairs.even[j + 1 == N ? 0 : j + 1];
        const i32 right = pairs.first + j + 1 < pairs.low ? after : pairs.even[j];
        pairs.odd[j] = step(pairs.odd[j], pairs.even[j], right);
    }
}

// Merges lines that lie across lanes; all lanes of the warp call it. Pairs past the end of a line are garbage
// that no other sees.
template <class P, u32 N> HGV_DEVICE void merge_pairs(Pairs<N>& pairs) {
    lift_even<P>(pairs, [](i32 e, i32 a, i32 b) { return even_first<P>(e, a, b); });
    lift_odd<P>(pairs, [](i32 o, i32 a, i32 b) { return odd_first<P>(o, a, b); });
    lift_even<P>(pairs, [](i32 e, i32 a, i32 b) { return even_second<P>(e, a, b); });
    lift_odd<P>(pairs, [](i32 o, i32 a, i32 b) { return odd_second<P>(o, a, b); });
}
