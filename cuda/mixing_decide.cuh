// Decisions of coder M (section 24), spread over the lanes of a warp: lane l works on input l % 8 with the first
// weight set where l / 8 is even, with the second where it is odd. Lanes 16 to 31 repeat lanes 0 to 15, so that
// every lane ends up with both sums and with the bit.
#pragma once

#include "mixing_bits.cuh"

// Codes the decisions of a block.
template <class Bits> struct MixingCoder {
    MixingModel* model;
    const MixingTables* tables;
    Bits bits;
};

HGV_DEVICE u32 input_index() { return lane_index() & 7u; }
// 0 or 1: which of the two weight sets a lane works on.
HGV_DEVICE u32 set_index() { return lane_index() >> 3 & 1u; }

// The argument of the lane's input; without a branch, as lanes differ.
HGV_DEVICE u32 by_input(u32 a, u32 b, u32 c, u32 d = 0, u32 e = 0, u32 f = 0, u32 g = 0) {
    const u32 input = input_index();
    const u32 low = input == 0 ? a : input == 1 ? b : input == 2 ? c : d;
    const u32 high = input == 4 ? e : input == 5 ? f : g;
    return input < 4 ? low : high;
}

HGV_DEVICE i32 squash(const MixingTables& tables, i32 x) {
    return static_cast<i32>(load_constant(tables.squash + (static_cast<u32>(x + 2048) & (kCurve - 1))));
}

// A weight after a decision; `pull` is six times the error.
HGV_DEVICE i32 pulled(i32 weight, i32 x, i32 pull) {
    return clamped(weight + ((x * pull + (1 << 17)) >> 18), -(1 << 24), 1 << 24);
}

// A weighted sum as the argument of `squash`.
HGV_DEVICE i32 bounded(i64 sum) { return static_cast<i32>(clamped<i64>(sum >> 16, -2047, 2047)); }

// Takes over a bit in a slot that learns.
HGV_DEVICE void follow(MixingModel& model, const MixingTables& tables, u32 slot, u32 p, u32 count, bool bit) {
    const i32 wanted = bit ? 65535 : 0;
    const i64 step = static_cast<i64>(wanted - static_cast<i32>(p)) * load_constant(tables.rates + count);
    const i32 after = static_cast<i32>(p) + static_cast<i32>(step >> 16);
    model.probabilities[slot] = static_cast<u16>(clamped(after, 16, 65519));
    model.counts[slot] = static_cast<u8>(smaller(count + 1, 254u));
}

// A bit from `inputs` contexts: each lane names the slot of its input and its weight set.
template <class Bits>
HGV_DEVICE bool decide(MixingCoder<Bits>& coder, u32 inputs, u32 slot, u32 set, bool wanted) {
    MixingModel& model = *coder.model;
    const MixingTables& tables = *coder.tables;
    const u32 input = input_index();
    const bool learns = input < inputs && slot < kAdaptive;
    const u32 p = learns ? model.probabilities[slot] : 0u;
    const u32 count = learns ? model.counts[slot] : 0u;
    const i16* const from = slot < kAdaptive ? tables.stretch + (p >> 4) : tables.fixed + (slot - kAdaptive);
    const i32 x = input < inputs ? load_constant(from) : 0;
    i32* const place = model.weights + set * kSetStride + input;
    const i32 weight = *place;
    i64 dot = static_cast<i64>(x) * weight;
    for (u32 mask = 1; mask < 8; mask <<= 1) {
        dot += HGV_SHFL_XOR(dot, mask);
    }
    const i32 sum = bounded(dot);
    const i32 other = HGV_SHFL_XOR(sum, 8u);
    const i32 one = squash(tables, (sum + other) >> 1);
    const i32 alone = squash(tables, sum);
    const bool bit = code_bit(coder.bits, static_cast<u32>(one), wanted);
    const i32 pull = ((bit ? 65536 : 0) - alone) * 6;
    if (lane_index() < 16 && input < inputs) {
        *place = pulled(weight, x, pull);
    }
    if (lane_index() < 8 && learns) {
        follow(model, tables, slot, p, count, bit);
    }
    HGV_WARP_SYNC();
    return bit;
}

// A bit from one context that learns.
template <class Bits> HGV_DEVICE bool decide_single(MixingCoder<Bits>& coder, u32 slot, bool wanted) {
    MixingModel& model = *coder.model;
    const MixingTables& tables = *coder.tables;
    const u32 p = model.probabilities[slot];
    const u32 count = model.counts[slot];
    const i32 weight = model.weights[kSingleSet * kSetStride];
    const i32 x = load_constant(tables.stretch + (p >> 4));
    const i32 one = squash(tables, bounded(static_cast<i64>(x) * weight));
    const bool bit = code_bit(coder.bits, static_cast<u32>(one), wanted);
    const i32 pull = ((bit ? 65536 : 0) - one) * 6;
    HGV_WARP_SYNC();
    if (lane_index() == 0) {
        // The set is both sets of the decision, so it learns twice.
        model.weights[kSingleSet * kSetStride] = pulled(pulled(weight, x, pull), x, pull);
        follow(model, tables, slot, p, count, bit);
    }
    HGV_WARP_SYNC();
    return bit;
}

enum : u32 { kLongest = 30 };  // most bits after the first of an Exp-Golomb number

// Bits after the first of a number that an Exp-Golomb code of `value` holds.
HGV_DEVICE u32 golomb_bits(u32 value) { return 31u - leading_zeros(larger(value + 1, 1u)); }

// The number from its bits after the first; `value` is the one to encode.
template <class Bits> HGV_DEVICE u32 golomb_rest(Bits& bits, u32 count, u32 value) {
    const u32 low = raw_bits(bits, count, (value + 1) & ((1u << count) - 1));
    return (1u << count | low) - 1;
}
