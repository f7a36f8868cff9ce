// From working values to voxels (specification, "Voxels", "Residual", "Mask"): curves, rounding, what a
// residual, a mask or ranks do, and voxels of a type in their place.
//
// Shared by wavelets, which round what the last split gives, and by everything that starts from integers.
#pragma once

#include "block.cuh"
#include "wavelet.cuh"

enum : u32 {
    kMostDepth = 5,      // transform levels of the largest block
    kSegments = 16,      // of a curve
    kFilterTaps = 36,    // [axis][distance - 1][limit]
    kFilterLimits = 4,
    kFilterReach = 3,
};

// Bits of ReconPlan::flags.
enum : u32 {
    kHasCurve = 1u << 0,
    kHasFilter = 1u << 1,    // and the level of detail is 0
    kReversible = 1u << 2,
    kRanked = 1u << 3,       // integers are ranks
    kExact = 1u << 4,        // a residual in steps of 1: no voxel may leave the range
    kFloatBits = 1u << 5,    // a residual of the bits of float32
};

// What the blocks of one model, quality and shape have in common. src/backend/cuda/plan.rs says the same.
struct ReconPlan {
    BandStep bands[kMostDepth][8];  // [split][band]; band 0 of the last split is the coarsest band
    i64 curve_below[kSegments];     // value where a segment begins, in units of 2^-curve_shift
    u32 curve_rise[kSegments];      // in the same units, a position
    i32 curve_start;
    u32 segment_log2;
    u32 curve_shift;
    u32 flags;
    i32 frac_bits;
    u32 residual_step;              // 1 for bits of floats
    i32 limits[kFilterLimits];
    alignas(4) i8 weights[kFilterTaps];
    u32 unused;
};
static_assert(sizeof(ReconPlan) == 1232, "as in plan.rs");

// What reconstruction knows of one block beside its BlockHead. Boxes are x, y, z of the block at its level of detail.
struct ReconHead {
    i64 curve_centre;  // position that working values are relative to
    i64 low, high;     // working values that the range lies between, for filters
    i64 out;           // element of the output where voxel (0, 0, 0) lies, which may be outside of it
    u64 classes;       // of its classes in the plane of bytes, [z][y][x] over the whole block
    u64 pitch_z;       // elements from plane to plane of the output
    u32 pitch_y;       // from row to row
    u32 plan;          // in the table of plans
    u32 from[3];       // first voxel that is wanted
    u32 to[3];         // first one past them
    u32 direct;        // 1 if integers are voxels as they are: all wanted, no residual, mask or ranks
    u32 unused;
};
static_assert(sizeof(ReconHead) == 88, "as in plan.rs");

// Types of voxels; src/backend/cuda/plan.rs says the same.
enum : u32 { kUint8 = 0, kInt8 = 1, kUint16 = 2, kInt16 = 3, kFloat32 = 4, kIntegers = 5 };

// Where voxels of a batch go, and as what.
struct Output {
    u8* voxels;
    const u8* classes;   // planes of masks: 0 finite, 1 NaN, 2 and 3 the infinities
    const i32* ranks;    // values of the ranks of the file; bits of floats if `rank_bits`
    u32 rank_count;
    u32 rank_bits;
    u32 dtype;
    i32 exponent;        // power of two of a unit of float32
};
static_assert(sizeof(Output) == 40, "as in plan.rs");

// Bits of 2^exponent as float32, -149..=127.
HGV_DEVICE u32 power_of_two(i32 exponent) {
    return exponent < -126 ? 1u << (exponent + 149) : static_cast<u32>(exponent + 127) << 23;
}

// Bits of the float32 that q stands for. |q| <= 2^24 and every multiple of 2^-149 are exact, so nothing rounds.
HGV_DEVICE u32 float_of(i32 q, i32 exponent) {
    const u32 size = q < 0 ? 0u - static_cast<u32>(q) : static_cast<u32>(q);
    if (size <= 1u << 25) {
        return float_bits(static_cast<float>(q) * bits_float(power_of_two(exponent)));
    }
    // Integers that stand for what is not finite.
    switch (q) {
        case 2147483647: return 0x7FC00000u;
        case 2147483646: return 0x7F800000u;
        case -2147483647 - 1: return 0xFF800000u;
        default: return float_bits(static_cast<float>(q));
    }
}

// Place of a float32 in the order of all, by its bits, and back.
HGV_DEVICE u32 ordered(u32 bits) { return bits >> 31 == 0 ? bits | 0x80000000u : ~bits; }
HGV_DEVICE u32 unordered(u32 place) { return place >> 31 == 1 ? place & 0x7FFFFFFFu : ~place; }

// Value of a curve, less its start, at a position; 2^-curve_shift rounds to nearest, halves up.
HGV_DEVICE i64 curve_rise_to(const ReconPlan& plan, i64 position) {
    const u32 t = plan.segment_log2;
    const i64 at = clamped<i64>(position, 0, static_cast<i64>(kSegments) << t);
    const u32 i = smaller(static_cast<u32>(at >> t), kSegments - 1u);
    const i64 inside = at - (static_cast<i64>(i) << t);
    const i64 half = i64(1) << (plan.curve_shift - 1);
    return (plan.curve_below[i] + half + static_cast<i64>(plan.curve_rise[i]) * inside) >> plan.curve_shift;
}

HGV_DEVICE i64 centre_of(const BlockHead& head) { return (static_cast<i64>(head.lo) + head.hi) >> 1; }

// From a position on a curve to the value that a filter works on.
template <class P>
HGV_DEVICE i32 straighten(const ReconPlan& plan, const ReconHead& recon, i64 centre, i32 w) {
    const i32 up = larger(plan.frac_bits, 0), down = larger(-plan.frac_bits, 0);
    const i64 start = (static_cast<i64>(plan.curve_start) - centre) << up;
    const i64 value = curve_rise_to(plan, static_cast<i64>(w) + recon.curve_centre) + start;
    return P::saturate((value + ((i64(1) << down) >> 1)) >> down);
}

// How the working values of a block become integers; made once for many of them.
struct Rounding {
    i64 centre;  // or the position on the curve that values are relative to
    i32 lo, hi;
    i32 up, down;
    bool curved;
    bool narrow;  // 32 bits hold every step
};

template <class P> HGV_DEVICE Rounding rounding_of(const BlockHead& head, const ReconPlan& plan, const ReconHead& recon) {
    Rounding r;
    r.curved = (plan.flags & (kHasCurve | kHasFilter)) == kHasCurve;
    r.centre = r.curved ? recon.curve_centre : centre_of(head);
    r.lo = head.lo;
    r.hi = head.hi;
    r.up = larger(-plan.frac_bits, 0);
    r.down = larger(plan.frac_bits, 0);
    r.narrow = sizeof(typename P::Element) == 2 && r.up <= 8 && r.centre < (1 << 30) && r.centre > -(1 << 30);
    return r;
}

// The integer of a working value.
HGV_DEVICE i32 round_value(const Rounding& r, const ReconPlan& plan, i32 w) {
    if (r.curved) {
        const i64 q = curve_rise_to(plan, static_cast<i64>(w) + r.centre) + plan.curve_start;
        return static_cast<i32>(clamped<i64>(q, r.lo, r.hi));
    }
    if (r.narrow) {
        const i32 q = (((w + ((1 << r.down) >> 1)) >> r.down) << r.up) + static_cast<i32>(r.centre);
        return clamped(q, r.lo, r.hi);
    }
    const i64 q = (((static_cast<i64>(w) + ((i64(1) << r.down) >> 1)) >> r.down) << r.up) + r.centre;
    return static_cast<i32>(clamped<i64>(q, r.lo, r.hi));
}

HGV_DEVICE bool is_wanted(const ReconHead& recon, u32 x, u32 y, u32 z) {
    return x >= recon.from[0] && x < recon.to[0] && y >= recon.from[1] && y < recon.to[1] && z >= recon.from[2] &&
           z < recon.to[2];
}

HGV_DEVICE void store_voxel(const Output& to, i64 at, i32 q) {
    switch (to.dtype) {
        case kUint8: to.voxels[at] = static_cast<u8>(clamped(q, 0, 255)); break;
        case kInt8: to.voxels[at] = static_cast<u8>(clamped(q, -128, 127)); break;
        case kUint16: reinterpret_cast<u16*>(to.voxels)[at] = static_cast<u16>(clamped(q, 0, 65535)); break;
        case kInt16: reinterpret_cast<i16*>(to.voxels)[at] = static_cast<i16>(clamped(q, -32768, 32767)); break;
        case kFloat32: reinterpret_cast<u32*>(to.voxels)[at] = float_of(q, to.exponent); break;
        default: reinterpret_cast<i32*>(to.voxels)[at] = q; break;
    }
}

// Puts the voxel of an integer (`bits`: of the bits of a float32) in its place, if it is wanted.
HGV_DEVICE void place_voxel(const Output& to, const BlockHead& head, const ReconHead& recon, u32 flags, u32 x, u32 y,
                            u32 z, i32 q, bool bits) {
    if (!is_wanted(recon, x, y, z)) {
        return;
    }
    const i64 at = recon.out + static_cast<i64>(z * recon.pitch_z + static_cast<u64>(y) * recon.pitch_y + x);
    if ((flags & kRanked) != 0 && to.dtype != kIntegers) {
        q = to.ranks[clamped(q, 0, static_cast<i32>(to.rank_count) - 1)];
        bits = to.rank_bits != 0;
    }
    if ((head.flags & kMasked) != 0) {
        const u64 row = static_cast<u64>(z << head.lod) * head.dims[1] + (y << head.lod);
        const u32 kind = to.classes[recon.classes + row * head.dims[0] + (x << head.lod)];
        if (kind != 0) {
            q = kind == 1 ? 2147483647 : kind == 2 ? 2147483646 : -2147483647 - 1;
            bits = false;
        }
    }
    if (bits && to.dtype == kFloat32) {
        reinterpret_cast<i32*>(to.voxels)[at] = q;
    } else {
        store_voxel(to, at, q);
    }
}
