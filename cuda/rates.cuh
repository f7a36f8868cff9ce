// What symbols of coder R cost in bits where they stand, for an encoder that chooses them. The same contexts as
// src/codec/contexts.rs and rates.rs.
#pragma once

#include "device.cuh"

constexpr u32 kEmptyContext = 0;
constexpr u32 kVariantContext = 6;
constexpr u32 kFlagContext = 9;
constexpr u32 kFlagLevels = 5 * 5 * 4;
constexpr u32 kCoefficientContext = kFlagContext + 2 * 2 * 3 * kFlagLevels;
constexpr u32 kNearLevels = 8;
constexpr u32 kOuterLevels = 7;
constexpr u32 kRefineContext = kCoefficientContext + 7 * 2 * 3 * 2 * kNearLevels * kOuterLevels;
constexpr u32 kContexts = kRefineContext + 3 * 4 * 3 + 2 + 3 * 7 * 6 + 3 * 9 * 6;
constexpr u32 kEscape = 15;
constexpr u32 kVariants = 4;

// The static tables: the distributions of a context in each variant, one byte each, and what each of the 16
// symbols of a distribution costs.
struct CostTables {
    const u32* variants;
    const float* costs;
};

// The pass of a coefficient or group: 0 for even coordinates, 1 for exactly two odd ones, else 2.
HGV_DEVICE u32 pass_of(u32 x, u32 y, u32 z) {
    const u32 odd = (x & 1u) + (y & 1u) + (z & 1u);
    return odd == 0 ? 0u : odd == 2 ? 1u : 2u;
}

HGV_DEVICE u32 whole_log2(u32 v) { return 31u - leading_zeros(v); }

HGV_DEVICE u32 at_least(u32 v, u32 bound) { return v >= bound ? 1u : 0u; }

HGV_DEVICE u32 near_level(u32 s) {
    return at_least(s, 1) + at_least(s, 3) + at_least(s, 5) + at_least(s, 8) + at_least(s, 13) + at_least(s, 24) +
           at_least(s, 48);
}

HGV_DEVICE u32 outer_level(u32 s) {
    return at_least(s, 1) + at_least(s, 4) + at_least(s, 8) + at_least(s, 15) + at_least(s, 30) + at_least(s, 72);
}

HGV_DEVICE u32 parent_level(u32 s) {
    return at_least(s, 1) + at_least(s, 2) + at_least(s, 4) + at_least(s, 7) + at_least(s, 12) + at_least(s, 24) +
           at_least(s, 56);
}

// Turns a sum over the cousins of a band, of which there are `index - 1`, into eight times their mean, in 1/16.
HGV_DEVICE u32 cousin_weight(u32 index) { return index < 2 ? 0u : (256 / (index - 1) + 1) / 2; }

// Costs of one band at one quality in one variant.
struct Rates {
    CostTables tables;
    u32 index;
    u32 depth;
    u32 refines;
    u32 shift;   // of the variant
    u32 weight;  // of cousins
};

HGV_DEVICE Rates rates_of(const CostTables& tables, u32 index, u32 depth, u32 refines, u32 variant) {
    return {tables, index, depth, refines, 8 * variant, cousin_weight(index)};
}

HGV_DEVICE float symbol_cost(const Rates& r, u32 context, u32 symbol) {
    const u32 distribution = load_constant(r.tables.variants + context) >> r.shift & 255u;
    return load_constant(r.tables.costs + 16 * distribution + symbol);
}

// What is known around a coefficient when its turn comes.
struct Place {
    u32 pass;
    u32 near;
    u32 parent;
    u32 cousins;
    u32 before;
};

// The context of a magnitude, and its low bits that are sent raw.
struct MagnitudeContext {
    u32 context;
    u32 shift;
};

HGV_DEVICE MagnitudeContext magnitude_context(const Rates& r, const Place& at) {
    const bool blind = at.pass == 0 && r.refines == 0;
    const u32 cousins = at.cousins * r.weight >> 4;
    const u32 inner = blind ? parent_level(at.parent) : near_level(at.near);
    const u32 outer = outer_level(blind ? 2 * cousins : at.parent + cousins);
    const u32 expected = blind ? at.parent + cousins + (cousins >> 1) : 2 * at.near;
    const u32 table = (((r.index - 1) * 2 + smaller(r.depth, 1u)) * 3 + at.pass) * 2 + r.refines;
    MagnitudeContext found;
    found.context = kCoefficientContext + table * kNearLevels * kOuterLevels + inner * kOuterLevels + outer;
    found.shift = expected < 192 ? 0 : whole_log2(expected / 96);
    return found;
}

// Bits of a magnitude and of the sign that it may need.
HGV_DEVICE float coefficient_bits(const Rates& r, const Place& at, u32 magnitude) {
    if (at.before > 0) {
        const u32 b = clamped(at.before, 1u, 3u) - 1;
        const u32 context = kRefineContext + (b * 4 + near_level(at.near) / 2) * 3 + at.pass;
        const i32 delta = static_cast<i32>(magnitude) - 4 * static_cast<i32>(at.before);
        return symbol_cost(r, context, static_cast<u32>(clamped(delta + 4, 0, 8)));
    }
    const MagnitudeContext found = magnitude_context(r, at);
    if (magnitude == 0 && found.shift == 0) {
        return symbol_cost(r, found.context, 0);
    }
    const u32 high = magnitude >> found.shift;
    const float escape = high < kEscape ? 0.0f : static_cast<float>(2 * whole_log2(high - kEscape + 1) + 1);
    const float raw = static_cast<float>(found.shift) + (magnitude > 0 ? 1.0f : 0.0f);
    return symbol_cost(r, found.context, smaller(high, kEscape)) + raw + escape;
}

// Bits of the flag of a group; `parents` is the sum of the activities of its eight parents.
HGV_DEVICE float flag_bits(const Rates& r, u32 pass, u32 parents, u32 neighbours, u32 cousins, bool active) {
    const u32 mean = ceil_div(parents, 8);
    const u32 p = mean < 3 ? mean : mean < 4 ? 2u : mean < 12 ? 3u : 4u;
    const u32 n = neighbours < 4 ? neighbours : neighbours < 5 ? 3u : 4u;
    const u32 c = cousins < 3 ? cousins : cousins < 4 ? 2u : 3u;
    const u32 place = (r.refines * 2 + smaller(r.depth, 1u)) * 3 + pass;
    return symbol_cost(r, kFlagContext + place * kFlagLevels + (p * 5 + n) * 4 + c, active ? 1u : 0u);
}

// Bits of whether a band that was empty so far stays so, and of the variant if it does not.
HGV_DEVICE float opening_bits(const Rates& r, bool any) {
    Rates fixed = r;
    fixed.shift = 0;
    const float empty = symbol_cost(fixed, kEmptyContext + smaller(r.depth, 2u) * 2 + r.refines, any ? 1u : 0u);
    return any ? empty + symbol_cost(fixed, kVariantContext + smaller(r.depth, 2u), 0) : empty;
}
