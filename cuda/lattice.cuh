// Inner products of the basis functions of one axis of one split, from a table that the host works out
// (src/encode/search/gram.rs): for each function, low-pass ones first, its products with the low-pass and the
// high-pass ones near it, and its values at both ends of the axis, where errors may count more.
#pragma once

#include "device.cuh"

// Basis functions that are further apart are taken to have nothing in common: groups that are chosen at the
// same time are further apart than this.
constexpr u32 kReach = 4;
constexpr u32 kNearby = 2 * kReach + 1;
// Floats of a row: products with low-pass and high-pass functions, then the values at the ends.
constexpr u32 kRow = 2 * kNearby + 2;
// Products below this are left out.
constexpr float kLeast = 0.02f;

// The functions of an axis of a block.
struct AxisTable {
    const float* rows;
    u32 low;       // functions that are low-pass
    float before;  // what errors at the first voxel count more than others
    float behind;  // the same at the last
};

HGV_DEVICE const float* row_of(const AxisTable& axis, u32 high, u32 at) {
    return axis.rows + (high != 0 ? axis.low + at : at) * kRow;
}

HGV_DEVICE float square_along(const AxisTable& axis, u32 high, u32 at) {
    const float* row = row_of(axis, high, at);
    const float first = row[2 * kNearby], last = row[2 * kNearby + 1];
    return row[high * kNearby + kReach] + axis.before * first * first + axis.behind * last * last;
}

// Squared norm of the basis function of a coefficient of band `index`.
HGV_DEVICE float square_of(const AxisTable* axes, u32 index, u32 x, u32 y, u32 z) {
    return square_along(axes[0], index & 1u, x) * square_along(axes[1], index >> 1 & 1u, y) *
           square_along(axes[2], index >> 2 & 1u, z);
}

// Product of two functions that are at most kReach apart.
HGV_DEVICE float product_along(const AxisTable& axis, u32 high, u32 at, u32 other_high, u32 other) {
    const float* row = row_of(axis, high, at);
    const float* far = row_of(axis, other_high, other);
    return row[other_high * kNearby + kReach + other - at] + axis.before * row[2 * kNearby] * far[2 * kNearby] +
           axis.behind * row[2 * kNearby + 1] * far[2 * kNearby + 1];
}

HGV_DEVICE bool magnitude_above(float product) { return product >= kLeast || product <= -kLeast; }

// Functions near a place.
struct Reach {
    u32 first;
    u32 end;
};

HGV_DEVICE Reach reach_of(u32 at, u32 count) { return {larger(at, kReach) - kReach, smaller(at + kReach + 1, count)}; }
