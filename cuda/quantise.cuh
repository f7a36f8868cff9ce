// Coefficients to indices, one by one: a dead zone that is wider where a coefficient stands alone.
#pragma once

#include "encode.cuh"

// A coefficient becomes 1 only from this many steps on.
constexpr float kPlainThreshold = 0.62f;
// The same where every neighbour is large; an empty neighbourhood raises it.
constexpr float kNearThreshold = 0.56f;
constexpr float kLonely = 0.25f;
// How much earlier than its midpoint's threshold an index over 1 begins.
constexpr float kLater = 0.04f;
// Neighbour magnitudes over this many steps say no more.
constexpr float kNeighbourCap = 3.0f;

HGV_DEVICE float magnitude_of(float v) { return v < 0.0f ? -v : v; }

// Nearest integer, halves away from zero, held to 32 bits.
HGV_DEVICE i32 nearest(float v) {
    const float m = smaller(magnitude_of(v) + 0.5f, 2147483520.0f);
    const i32 whole = static_cast<i32>(m);
    return v < 0.0f ? -whole : whole;
}

// Index of `steps` if 1 begins at `threshold`.
HGV_DEVICE i32 index_of(float steps, float threshold) {
    const float magnitude = magnitude_of(steps);
    if (magnitude < threshold) {
        return 0;
    }
    const float shifted = magnitude + 1.0f - (smaller(threshold, kPlainThreshold) - kLater);
    i32 index = static_cast<i32>(smaller(shifted, 2147483520.0f));
    if (magnitude < 1.5f) {
        index = 1;
    }
    return steps < 0.0f ? -index : index;
}

// exp(-2 e) to within one percent, as (1 - e / 32)^64.
HGV_DEVICE float fade(float e) {
    float p = larger(1.0f - smaller(e, 32.0f) / 32.0f, 0.0f);
    for (u32 i = 0; i < 6; i++) {
        p *= p;
    }
    return p;
}

// Mean magnitude of the neighbours in the band, in steps.
HGV_DEVICE float neighbourhood(const float* box, const EncodeShape& shape, const Spot& spot, u32 place, float inverse) {
    const u32 strides[3] = {1, shape.dims[0], shape.dims[0] * shape.dims[1]};
    float sum = 0.0f, count = 0.0f;
    for (u32 a = 0; a < 3; a++) {
        if (spot.at[a] > 0) {
            sum += smaller(magnitude_of(box[place - strides[a]] * inverse), kNeighbourCap);
            count += 1.0f;
        }
        if (spot.at[a] + 1 < spot.dims[a]) {
            sum += smaller(magnitude_of(box[place + strides[a]] * inverse), kNeighbourCap);
            count += 1.0f;
        }
    }
    return sum / larger(count, 1.0f);
}

// The index of the coefficient at a place.
HGV_DEVICE i32 quantised(const float* box, const EncodeShape& shape, const Spot& spot, u32 place, float step,
                         bool neighbourly) {
    const float inverse = 1.0f / step;
    const float steps = box[place] * inverse;
    if (spot.index == 0) {
        return nearest(steps);
    }
    if (!neighbourly) {
        return index_of(steps, kPlainThreshold);
    }
    if (magnitude_of(steps) < kNearThreshold) {
        return 0;
    }
    const float threshold = kNearThreshold + kLonely * fade(neighbourhood(box, shape, spot, place, inverse));
    return index_of(steps, threshold);
}
