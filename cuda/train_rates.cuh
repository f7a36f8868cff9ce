// What weights of a grid cost in bits, as src/codec/grid/rates.rs has it: the coder's own tables.
#pragma once

#include "train_model.cuh"

enum : u32 {
    kRateContexts = 1652,
    kRateVariants = 4,
    kRateMagnitude = 231,
    kRateSign = 1527,
    kRateHash = 1640,
    kRateEscape = 15,
    kMostWeight = 1u << 20,
    kNearLimit = 4095,
};

struct RateTables {
    const u8* map;       // [variant][context]: a distribution
    const float* costs;  // [distribution][symbol] in bits
};

// What is known around a weight when its turn comes.
struct Around {
    u32 activity;
    i32 pull;
    u32 parents;
    u32 pass;
};

HGV_DEVICE i32 near_value(i32 weight) {
    return clamped(weight, -static_cast<i32>(kNearLimit), static_cast<i32>(kNearLimit));
}
HGV_DEVICE u32 magnitude_of(i32 weight) { return static_cast<u32>(weight < 0 ? -weight : weight); }

HGV_DEVICE u32 log2_of(u32 v) { return 31u - leading_zeros(v); }

// Pass in which the coder reaches a vertex: those with an even number of odd coordinates first.
HGV_DEVICE u32 pass_at(Cell c) {
    const u32 odd = (c.x & 1u) + (c.y & 1u) + (c.z & 1u);
    return odd == 0 ? 0u : odd == 2 ? 1u : 2u;
}

// Weights of a level around a vertex.
struct Surroundings {
    const i32* weights;
    Grid lattice;
    u32 activity;
    i32 pull;
};

HGV_DEVICE void add_neighbour(Surroundings& s, u32 x, u32 y, u32 z) {
    // Coordinates under 0 wrap around and are over every lattice.
    if (x < s.lattice.x && y < s.lattice.y && z < s.lattice.z) {
        const i32 w = near_value(s.weights[index_of(s.lattice, Cell{x, y, z})]);
        s.activity += magnitude_of(w);
        s.pull += w;
    }
}

// Neighbours of earlier passes of the vertex `c`; weights 12 in all.
HGV_DEVICE Around around(const i32* weights, Grid lattice, Cell c, u32 parents) {
    Surroundings s = {weights, lattice, 0, 0};
    const u32 pass = pass_at(c);
    if (pass == 1) {
        const u32 dx = c.x & 1u, dy = c.y & 1u, dz = c.z & 1u;
        add_neighbour(s, c.x - dx, c.y - dy, c.z - dz);
        add_neighbour(s, c.x + dx, c.y + dy, c.z + dz);
        // The other diagonal of the plane of the two odd axes.
        const u32 flip = dx != 0 ? 0u : 2u * dy;
        add_neighbour(s, c.x + dx, c.y - dy + flip, c.z - dz);
        add_neighbour(s, c.x - dx, c.y + dy - flip, c.z + dz);
    } else if (pass == 2) {
        add_neighbour(s, c.x - 1, c.y, c.z);
        add_neighbour(s, c.x + 1, c.y, c.z);
        add_neighbour(s, c.x, c.y - 1, c.z);
        add_neighbour(s, c.x, c.y + 1, c.z);
        add_neighbour(s, c.x, c.y, c.z - 1);
        add_neighbour(s, c.x, c.y, c.z + 1);
    }
    const u32 scale = pass == 1 ? 3u : 2u;
    return Around{s.activity * scale, s.pull * static_cast<i32>(scale), parents, pass};
}

HGV_DEVICE u32 reached(u32 value, u32 bound) { return value >= bound ? 1u : 0u; }

HGV_DEVICE u32 activity_level(u32 v) {
    return reached(v, 1) + reached(v, 3) + reached(v, 5) + reached(v, 8) + reached(v, 13) + reached(v, 24) +
           reached(v, 48);
}
HGV_DEVICE u32 parent_level(u32 v) {
    return reached(v, 1) + reached(v, 2) + reached(v, 4) + reached(v, 9) + reached(v, 25);
}
HGV_DEVICE u32 sign_level(u32 v) {
    return reached(v, 1) + reached(v, 3) + reached(v, 6) + reached(v, 12) + reached(v, 30);
}
HGV_DEVICE u32 hash_level(u32 v) {
    return reached(v, 1) + reached(v, 2) + reached(v, 4) + reached(v, 9) + reached(v, 25) + reached(v, 60) +
           reached(v, 120);
}

// Contexts of a weight, so that several values of it can be priced.
struct Place {
    u32 magnitude;  // context
    u32 sign;       // context of a magnitude of 1; the next one is that of more
    u32 shift;      // low bits that are raw
    bool free_sign; // sent as a bit of its own
    bool pull_negative;
};

HGV_DEVICE Place place_of(Around a, u32 level_class) {
    const u32 expected = a.pass == 0 ? 3u * a.parents : 2u * a.activity;
    const u32 pull = static_cast<u32>(a.pull < 0 ? -a.pull : a.pull);
    const u32 agreement =
        a.activity == 0 || 3u * pull < a.activity ? 0u : 1u + (3u * pull >= 2u * a.activity ? 1u : 0u);
    const u32 band = level_class * 3u + a.pass;
    return Place{
        kRateMagnitude + band * 144u + (activity_level(a.activity) * 6u + parent_level(a.parents)) * 3u + agreement,
        kRateSign + (band * 6u + sign_level(pull)) * 2u,
        expected < 192u ? 0u : log2_of(expected / 96u),
        a.pass == 2 && a.pull == 0,
        a.pull < 0,
    };
}

HGV_DEVICE float cost_of(RateTables t, u32 variant, u32 context, u32 symbol) {
    const u32 distribution = load_constant(t.map + variant * kRateContexts + context);
    return load_constant(t.costs + distribution * 16u + symbol);
}

HGV_DEVICE float magnitude_bits(RateTables t, u32 variant, u32 context, u32 shift, u32 magnitude) {
    const u32 high = magnitude >> shift;
    u32 raw = shift;
    if (high >= kRateEscape) {
        raw += 2u * log2_of(high - kRateEscape + 1u) + 1u;
    }
    return cost_of(t, variant, context, smaller(high, static_cast<u32>(kRateEscape))) + static_cast<float>(raw);
}

HGV_DEVICE float weight_bits(RateTables t, u32 variant, Place place, i32 weight) {
    const u32 magnitude = magnitude_of(weight);
    const float bits = magnitude_bits(t, variant, place.magnitude, place.shift, magnitude);
    if (magnitude == 0) {
        return bits;
    }
    if (place.free_sign) {
        return bits + 1.0f;
    }
    const u32 differs = (weight < 0) != place.pull_negative ? 1u : 0u;
    return bits + cost_of(t, variant, place.sign + (magnitude > 1 ? 1u : 0u), differs);
}

// Bits of an entry of a hash table.
HGV_DEVICE float entry_bits(RateTables t, u32 variant, u32 parents, i32 weight) {
    const float sign = weight != 0 ? 1.0f : 0.0f;
    return magnitude_bits(t, variant, kRateHash + hash_level(parents), 0, magnitude_of(weight)) + sign;
}
