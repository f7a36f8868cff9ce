// Numbers of the contexts of coder R for wavelets and residuals (format-spec/payload.md, section 9);
// src/codec/contexts.rs says the same.
#pragma once

#include "device.cuh"

enum : u32 {
    kPasses = 3,
    kDepthClasses = 2,
    kFlagLevels = 5 * 5 * 4,
    kOuterLevels = 7,
    kCoefficientLevels = 8 * kOuterLevels,
    kTextureLevels = 6,
    kEmptyContext = 0,
    kVariantContext = kEmptyContext + 6,
    kFlagContext = kVariantContext + 3,
    kCoefficientContext = kFlagContext + 2 * kDepthClasses * kPasses * kFlagLevels,
    kRefineContext = kCoefficientContext + 7 * kDepthClasses * kPasses * 2 * kCoefficientLevels,
    kCoarsestContext = kRefineContext + 3 * 4 * kPasses,
    kResidualFlagContext = kCoarsestContext + 2,
    kResidualContext = kResidualFlagContext + kPasses * 7 * kTextureLevels,
};
static_assert(kResidualContext + kPasses * 9 * kTextureLevels == 6239, "contexts of the tables");

// 1 if v reaches the bound.
HGV_DEVICE u32 reaches(u32 v, u32 bound) { return v >= bound ? 1u : 0u; }

// Sum over neighbours, weights 12 in all.
HGV_DEVICE u32 near_level(u32 v) {
    return reaches(v, 1) + reaches(v, 3) + reaches(v, 5) + reaches(v, 8) + reaches(v, 13) + reaches(v, 24) +
           reaches(v, 48);
}

// Parent and cousins, weights 16 in all.
HGV_DEVICE u32 far_level(u32 v) {
    return reaches(v, 1) + reaches(v, 4) + reaches(v, 8) + reaches(v, 15) + reaches(v, 30) + reaches(v, 72);
}

// Parent alone, weights 8.
HGV_DEVICE u32 ancestor_level(u32 v) {
    return reaches(v, 1) + reaches(v, 2) + reaches(v, 4) + reaches(v, 7) + reaches(v, 12) + reaches(v, 24) +
           reaches(v, 56);
}

// Absolute differences to the face neighbours, in steps.
HGV_DEVICE u32 texture_level(u32 v) {
    return reaches(v, 1) + reaches(v, 4) + reaches(v, 10) + reaches(v, 24) + reaches(v, 64);
}

// Pass of a position by its parity: no coordinate is odd, two are, one or three are.
HGV_DEVICE u32 pass_of(u32 x, u32 y, u32 z) {
    const u32 odd = (x & 1u) + (y & 1u) + (z & 1u);
    return odd == 0 ? 0u : odd == 2u ? 1u : 2u;
}

// Whether a band has anything.
HGV_DEVICE u32 empty_context(u32 depth, u32 refines) { return kEmptyContext + smaller(depth, 2u) * 2u + refines; }

// Which variant a band uses.
HGV_DEVICE u32 variant_context(u32 depth) { return kVariantContext + smaller(depth, 2u); }

// First of the contexts of group flags of a depth and a pass.
HGV_DEVICE u32 flag_contexts(u32 depth, u32 refines, u32 pass) {
    return kFlagContext + ((refines * kDepthClasses + smaller(depth, 1u)) * kPasses + pass) * kFlagLevels;
}

// The context among them: eighths of the activity of the parents, active faces, active cousins.
HGV_DEVICE u32 flag_context(u32 contexts, u32 parents, u32 faces, u32 cousins) {
    const u32 p = reaches(parents, 1) + reaches(parents, 2) + reaches(parents, 4) + reaches(parents, 12);
    const u32 f = reaches(faces, 1) + reaches(faces, 2) + reaches(faces, 3) + reaches(faces, 5);
    const u32 c = reaches(cousins, 1) + reaches(cousins, 2) + reaches(cousins, 4);
    return contexts + (p * 5u + f) * 4u + c;
}

// First of the contexts of coefficients of a band and a pass.
HGV_DEVICE u32 coefficient_contexts(u32 band, u32 depth, u32 refines, u32 pass) {
    const u32 place = (((band - 1u) * kDepthClasses + smaller(depth, 1u)) * kPasses + pass) * 2u + refines;
    return kCoefficientContext + place * kCoefficientLevels;
}

// What is known around a coefficient.
struct Around {
    u32 neighbours;  // weighted sum over the band, weights 12 in all
    u32 parent;      // weights 8
    u32 cousins;     // mean, times 8
};

// The context of a coefficient that was 0 so far; blind = its neighbours say nothing yet.
HGV_DEVICE u32 coefficient_context(u32 contexts, const Around& around, bool blind) {
    const u32 inner = blind ? ancestor_level(around.parent) : near_level(around.neighbours);
    const u32 outer = far_level(blind ? 2u * around.cousins : around.parent + around.cousins);
    return contexts + inner * kOuterLevels + outer;
}

// Low bits of its magnitude that are raw, from 24 times the magnitude that is expected.
HGV_DEVICE u32 coefficient_shift(const Around& around, bool blind) {
    const u32 expected =
        blind ? around.parent + around.cousins + (around.cousins >> 1) : 2u * around.neighbours;
    return expected < 192u ? 0u : 31u - leading_zeros(expected / 96u);
}

// The context of the refinement of a coefficient that had a magnitude before.
HGV_DEVICE u32 refine_context(u32 before, u32 neighbours, u32 pass) {
    return kRefineContext + ((smaller(before, 3u) - 1u) * 4u + near_level(neighbours) / 2u) * kPasses + pass;
}

// The flag of a group of residuals: active faces, largest texture.
HGV_DEVICE u32 residual_flag_context(u32 pass, u32 faces, u32 texture) {
    return kResidualFlagContext + (pass * 7u + smaller(faces, 6u)) * kTextureLevels + texture_level(texture);
}

// A residual: sum over neighbours, weights 12 in all, and texture.
HGV_DEVICE u32 residual_context(u32 pass, u32 neighbours, u32 texture) {
    const u32 level = near_level(neighbours) + reaches(neighbours, 96);
    return kResidualContext + (pass * 9u + level) * kTextureLevels + texture_level(texture);
}

// Low bits of it that are raw.
HGV_DEVICE u32 residual_shift(u32 neighbours) {
    return neighbours < 96u ? 0u : 31u - leading_zeros(neighbours / 48u);
}
