// Coder M on the device (format-spec/payload.md, sections 23 to 28): slots, weight sets, tables and the model of a block.
//
// How the work is laid out. The decisions of a block are one chain: each needs the bit before it, so only blocks
// run side by side. The model of a block takes 16 KiB of shared memory, so a multiprocessor with 227 KiB holds 12
// blocks whatever their number of threads. A warp a block gives each of its four schedulers three warps to switch
// between; several blocks a warp would give them fewer, and a thread a block would diverge at every step. So:
// * a warp takes a block, and the range coder's state is the same in all lanes;
// * the neighbours of up to 32 coefficients of a row are gathered and weighed side by side, a lane each, for all
//   but the two that come before a coefficient in its row (mixing_terms.cuh);
// * a decision is spread over 16 lanes, one for each input and weight set (mixing_decide.cuh): two dependent
//   loads, three rounds of shuffles and an exchange, a look-up of the probability. Compiled for compute capability
//   9.0 that is about 130 instructions; with usual latencies of loads and shuffles, some 400 cycles from bit to bit;
// * bands lie in the block's own box, so indices are their own neighbourhood and need no copy with margins. The
//   only other memory is a bit for each group.
// Files near 30:1 have 0.4 (uint8) to 1.6 (float32) decisions a voxel. With 12 blocks on each of 132
// multiprocessors at 1.7 GHz, 2 Gvoxel/s leave 3300 to 800 cycles a decision. None of this was measured on a GPU.
#pragma once

#include "block.cuh"

enum : u32 {
    kFine = 28,     // levels of the expected magnitude
    kMedium = 12,   // of its two parts, and of sums of magnitudes
    kDepths = 3,    // splits and bands that contexts tell apart
    kBands = 7,
    kClasses = kDepths * kBands,
    kSigned = 21,   // levels of a signed prediction
    kKinds = 2 * kClasses,
    kMagnitudeTerms = 20,
    kSignTerms = 35,
    kCurve = 4096,  // entries of `stretch` and `squash`
};

// First slot of each input. Slots under kAdaptive learn.
enum : u32 {
    kCoefficient0 = 0,
    kCoefficient1 = kCoefficient0 + kFine * 12,
    kCoefficient2 = kCoefficient1 + kMedium * kMedium * 6,
    kCoefficient3 = kCoefficient2 + 6 * 4 * 4 * 4,
    kCoefficient4 = kCoefficient3 + 6 * 6 * 5 * 4,
    kSign0 = kCoefficient4 + kMedium * kMedium * 4,
    kSign1 = kSign0 + kSigned * 4,
    kSign2 = kSign1 + kSigned * kClasses,
    kFlag0 = kSign2 + 27 * kClasses,
    kEmpty = kFlag0 + 13 * 8,
    kCoarsest = kEmpty + 16,
    kAdaptive = kCoarsest + 16,
    kCoefficient5 = kAdaptive,
    kCoefficient6 = kCoefficient5 + kClasses * 8 * 4,
    kSign3 = kCoefficient6 + 5 * 5 * 5 * 4,
    kSign4 = kSign3 + 11 * 11 * 3,
    kFlag1 = kSign4 + kSigned * kBands * 4,
    kFlag2 = kFlag1 + kClasses * 4 * 4,
    kFlag3 = kFlag2 + 8 * 6 * kDepths,
    kFlag4 = kFlag3 + 10 * 7 * kBands,
    kFlag5 = kFlag4 + 64 * kDepths,
    kRefine0 = kFlag5 + 4 * 4 * 7 * kDepths,
    kRefine1 = kRefine0 + 8 * 3 * 8 * kDepths,
    kRefine2 = kRefine1 + 8 * 3 * kBands,
    kSlots = kRefine2 + 8 * 3 * 14,
};
static_assert(kAdaptive == 4108 && kSlots == 8809, "section 26");

// First weight set of each decision.
enum : u32 {
    kCoefficientSet0 = 0,
    kCoefficientSet1 = kCoefficientSet0 + 6 * kDepths * 2,
    kSignSet0 = kCoefficientSet1 + 3 * kFine / 2,
    kSignSet1 = kSignSet0 + 2 * kBands,
    kFlagSet0 = kSignSet1 + 8,
    kFlagSet1 = kFlagSet0 + 2 * kDepths,
    kRefineSet0 = kFlagSet1 + kBands,
    kRefineSet1 = kRefineSet0 + 8,
    kSingleSet = kRefineSet1 + kDepths,
    kSets = kSingleSet + 1,
    kSetStride = 8,
};
static_assert(kSets == 125, "section 26");

// The trained start, and what never changes.
struct MixingTables {
    i32 weights[kSets * kSetStride];
    u16 probabilities[kAdaptive];
    i16 stretch[kCurve];
    u16 squash[kCurve];
    i16 fixed[kSlots - kAdaptive];  // stretched probabilities of the slots that do not learn
    u16 rates[256];                 // share of the difference that a slot takes over after so many bits
    u8 counts[kAdaptive];
    u8 magnitude[kKinds][kMagnitudeTerms];
    i8 sign[kKinds][kSignTerms];
};
static_assert(sizeof(MixingTables) == 44932, "as in mixing.rs");

// What is known of the bits of a block so far.
struct MixingModel {
    i32 weights[kSets * kSetStride];
    u16 probabilities[kAdaptive];
    u8 counts[kAdaptive];
};
static_assert(sizeof(MixingModel) <= 16 << 10, "what learns must leave room for many blocks");

// Starts a block.
HGV_DEVICE void start_model(MixingModel& model, const MixingTables& tables) {
    for (u32 i = lane_index(); i < kSets * kSetStride; i += 32) {
        model.weights[i] = load_constant(tables.weights + i);
    }
    for (u32 i = lane_index(); i < kAdaptive; i += 32) {
        model.probabilities[i] = load_constant(tables.probabilities + i);
        model.counts[i] = load_constant(tables.counts + i);
    }
    HGV_WARP_SYNC();
}

// Number of thresholds that a value reaches.
template <class... T> HGV_DEVICE u32 level(i32 value, T... steps) {
    return (0u + ... + (value >= steps ? 1u : 0u));
}

HGV_DEVICE i32 magnitude_of(i32 v) { return v < 0 ? -v : v; }
HGV_DEVICE u32 bit_of(u32 word, u32 bit) { return word >> bit & 1u; }

// Indices of a block. One body of code serves both widths: a load of each kind, of which one is taken, costs less
// than a second copy of all that looks at indices.
struct Indices {
    void* start;
    bool is_wide;  // i32, else i16
};

HGV_DEVICE i32 load_index(const Indices& indices, u32 at) {
    return indices.is_wide ? static_cast<const i32*>(indices.start)[at]
                           : static_cast<i32>(static_cast<const i16*>(indices.start)[at]);
}

// The nearest value that fits.
HGV_DEVICE i32 saturated(const Indices& indices, i64 v) {
    const i64 top = indices.is_wide ? 0x7fffffff : 0x7fff;
    return static_cast<i32>(clamped<i64>(v, -top - 1, top));
}

HGV_DEVICE void store_index(const Indices& indices, u32 at, i32 v) {
    if (indices.is_wide) {
        static_cast<i32*>(indices.start)[at] = v;
    } else {
        static_cast<i16*>(indices.start)[at] = static_cast<i16>(v);
    }
}
