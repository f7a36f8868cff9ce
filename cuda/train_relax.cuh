// Rounding that a gradient passes through, and what weights are expected to cost: src/encode/train/relax.rs and
// rate.rs.
#pragma once

#include "train_model.cuh"

// How weights turn into values during a step.
struct Relaxed {
    float hardness;  // 0: weights as they are; 1: flat at whole numbers
    float noise;     // width of the uniform noise on weights of one step and more
    u32 seed;
};

// Uniform in -0.5..0.5 for a position.
HGV_DEVICE float noise_at(u32 seed, u32 position) {
    u32 h = (position * 0x9E3779B1u) ^ seed;
    h = (h ^ (h >> 16)) * 0x85EBCA6Bu;
    h = (h ^ (h >> 13)) * 0xC2B2AE35u;
    return static_cast<float>(h >> 8) * (1.0f / 16777216.0f) - 0.5f;
}

HGV_DEVICE float disturbed(const Relaxed& r, u32 at, float weight) {
    const float fade = smaller(weight * weight, 1.0f);
    return weight + r.noise * fade * noise_at(r.seed, at);
}

struct Rounded {
    float value;
    float slope;
};

// The soft rounding of a weight and its derivative.
HGV_DEVICE Rounded soft_round(const Relaxed& r, float weight) {
    const float whole = round_even(weight);
    const float rest = weight - whole;
    const float square = 4.0f * rest * rest;
    const float soft = 1.0f - r.hardness, hard = r.hardness * square * square;
    return Rounded{whole + rest * (soft + hard), soft + 5.0f * hard};
}

// Logarithm to the base 2 of a number over 0, the same on every machine.
HGV_DEVICE_CALL double log2_of_number(double v) {
    double whole = 0.0;
    for (; v >= 2.0; v *= 0.5) {
        whole += 1.0;
    }
    for (; v < 1.0; v *= 2.0) {
        whole -= 1.0;
    }
    double part = 0.5;
    for (u32 i = 0; i < 32; i++, part *= 0.5) {
        v *= v;
        if (v >= 2.0) {
            v *= 0.5;
            whole += part;
        }
    }
    return whole;
}

// Cost of the weights of one list, smooth in the weight: a Laplace distribution in units of the step.
struct Rate {
    float slope;  // bits per step of magnitude
    float zero;   // bits of a zero
};

// For weights whose mean magnitude is `mean`.
HGV_DEVICE Rate rate_of(float mean) {
    const float least = 0.2f, scale = mean + least;
    const double zero = log2_of_number(1.0 + 2.0 * static_cast<double>(scale)) -
                        log2_of_number(1.0 + 2.0 * static_cast<double>(least));
    return Rate{1.0f / (scale * 0.69314718f), static_cast<float>(zero)};
}

HGV_DEVICE float knee(float w) { return square_root(fused(w, w, 0.0625f)) - 0.25f; }
// Bits more per step more of one weight.
HGV_DEVICE float rate_slope(Rate r, float w) { return r.slope * w / square_root(w * w + 0.0625f); }
