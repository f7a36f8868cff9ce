// Numbers of the contexts of grid weights (format-spec/payload.md, section 21); src/codec/grid/contexts.rs
// says the same.
#pragma once

#include "rans_walk.cuh"

enum : u32 {
    kGridClasses = 3,
    kGridFlagLevels = 5 * 5,
    kGridAgreements = 3,
    kGridParents = 6,
    kGridMagnitudes = 8 * kGridParents * kGridAgreements,
    kGridPulls = 6,
    kGridEmptyContext = 0,
    kGridVariantContext = kGridEmptyContext + kGridClasses,
    kGridFlagContext = kGridVariantContext + kGridClasses,
    kGridMagnitudeContext = kGridFlagContext + kGridClasses * kPasses * kGridFlagLevels,
    kGridSignContext = kGridMagnitudeContext + kGridClasses * kPasses * kGridMagnitudes,
    kHashFlagContext = kGridSignContext + kGridClasses * kPasses * kGridPulls * 2,
    kHashContext = kHashFlagContext + 5,
    kNetworkContext = kHashContext + 8,
    kBiasContext = kNetworkContext + 3,
};
static_assert(kBiasContext + 1 == 1652, "contexts of the tables");

// What is known around a weight.
struct GridAround {
    u32 activity;  // sum of the neighbours' magnitudes, weights 12 in all
    i32 pull;      // sum of the neighbours with their signs, weights 12 in all
    u32 parents;   // sum of the magnitudes of the parents, weights 8 in all
};

// The flag of a 4^3 group: vertices with an active parent, active faces.
HGV_DEVICE u32 grid_flag_context(u32 level_class, u32 pass, u32 parents, u32 faces) {
    const u32 p = reaches(parents, 1) + reaches(parents, 9) + reaches(parents, 25) + reaches(parents, 64);
    const u32 f = reaches(faces, 1) + reaches(faces, 2) + reaches(faces, 3) + reaches(faces, 5);
    return kGridFlagContext + ((level_class * kPasses + pass) * 5u + p) * 5u + f;
}

HGV_DEVICE u32 grid_magnitude_context(u32 level_class, u32 pass, const GridAround& around) {
    const u32 p = around.parents;
    const u32 parents = reaches(p, 1) + reaches(p, 2) + reaches(p, 4) + reaches(p, 9) + reaches(p, 25);
    const u32 pull = 3u * absolute(around.pull);
    const u32 agreement = around.activity == 0 ? 0u : reaches(pull, around.activity) + reaches(pull, 2u * around.activity);
    const u32 first = kGridMagnitudeContext + (level_class * kPasses + pass) * kGridMagnitudes;
    return first + (near_level(around.activity) * kGridParents + parents) * kGridAgreements + agreement;
}

// Low bits of a magnitude that are raw.
HGV_DEVICE u32 grid_shift(u32 pass, const GridAround& around) {
    const u32 expected = pass == 0 ? 3u * around.parents : 2u * around.activity;
    return expected < 192u ? 0u : 31u - leading_zeros(expected / 96u);
}

// The sign, relative to that of the pull, of a magnitude of 1; one more for larger ones.
HGV_DEVICE u32 grid_sign_context(u32 level_class, u32 pass, i32 pull) {
    const u32 t = absolute(pull);
    const u32 strength = reaches(t, 1) + reaches(t, 3) + reaches(t, 6) + reaches(t, 12) + reaches(t, 30);
    return kGridSignContext + ((level_class * kPasses + pass) * kGridPulls + strength) * 2u;
}

// The flag of 32 entries of a hash table: entries with an active parent.
HGV_DEVICE u32 hash_flag_context(u32 parents) {
    return kHashFlagContext + reaches(parents, 1) + reaches(parents, 5) + reaches(parents, 13) + reaches(parents, 32);
}

// The magnitude of an entry.
HGV_DEVICE u32 hash_context(u32 parents) {
    return kHashContext + reaches(parents, 1) + reaches(parents, 2) + reaches(parents, 4) + reaches(parents, 9) +
           reaches(parents, 25) + reaches(parents, 60) + reaches(parents, 120);
}
