// Values and gradients between voxels: src/render/march/sample.rs.
#pragma once

#include "device.cuh"

// `v`, and `most` if it is more or not a number.
template <class T> HGV_DEVICE T at_most(T v, T most) { return v < most ? v : most; }
// `v`, and `least` if it is less or not a number.
template <class T> HGV_DEVICE T at_least(T v, T least) { return v > least ? v : least; }
HGV_DEVICE float mixed(float a, float b, float t) { return a + t * (b - a); }

// The whole part of a number that is not below 0; the largest one if it is too large.
HGV_DEVICE u32 whole_part(float v) { return v < 4294967040.0f ? static_cast<u32>(v) : 0xffffffffu; }

// A block with its apron.
template <class T> struct Grid {
    const T* values;   // [z][y][x]
    u32 dims[3];
    float end[3];      // farthest place
    u32 row;           // voxels from row to row
    u32 plane;
};

// Where a sample lies.
struct Place {
    u32 at;            // the voxel before it
    float part[3];     // way from there to the next voxels, 0..=1
};

// Place of sample `k`, held inside the grid: one voxel is left on each side for gradients.
template <class T>
HGV_DEVICE Place place_of(const Grid<T>& grid, const float (&from)[3], const float (&step)[3], float k) {
    Place place;
    u32 before[3];
    HGV_UNROLL
    for (u32 a = 0; a < 3; a++) {
        const float u = at_most(at_least(from[a] + k * step[a], 1.0f), grid.end[a]);
        before[a] = static_cast<u32>(at_most(u, static_cast<float>(grid.dims[a] - 3)));
        place.part[a] = u - static_cast<float>(before[a]);
    }
    place.at = before[0] + before[1] * grid.row + before[2] * grid.plane;
    return place;
}

template <class T> HGV_DEVICE float voxel(const Grid<T>& grid, u32 at) {
    return static_cast<float>(load_constant(grid.values + at));
}

// Between a voxel and the next along x.
template <class T> HGV_DEVICE float on_line(const Grid<T>& grid, u32 at, float x) {
    return mixed(voxel(grid, at), voxel(grid, at + 1), x);
}

template <class T> HGV_DEVICE float value_at(const Grid<T>& grid, const Place& place) {
    const float x = place.part[0], y = place.part[1], z = place.part[2];
    const u32 behind = place.at + grid.plane;
    const float near = mixed(on_line(grid, place.at, x), on_line(grid, place.at + grid.row, x), y);
    const float far = mixed(on_line(grid, behind, x), on_line(grid, behind + grid.row, x), y);
    return mixed(near, far, z);
}

// Four voxels in a row along x around a sample: their difference across it, and their value at it.
struct RowPart {
    float across;
    float middle;
};

template <class T> HGV_DEVICE RowPart row_part(const Grid<T>& grid, u32 at, float x) {
    const float before = voxel(grid, at - 1), a = voxel(grid, at), b = voxel(grid, at + 1), behind = voxel(grid, at + 2);
    return {mixed(b - before, behind - a, x), mixed(a, b, x)};
}

// Gradient for a unit of length: central differences at the voxels around, interpolated.
template <class T>
HGV_DEVICE void gradient_at(const Grid<T>& grid, const Place& place, const float (&per_length)[3], float (&out)[3]) {
    const float x = place.part[0], y = place.part[1], z = place.part[2];
    const u32 at = place.at, row = grid.row, plane = grid.plane;
    const RowPart r0 = row_part(grid, at, x), r1 = row_part(grid, at + row, x);
    const RowPart r2 = row_part(grid, at + plane, x), r3 = row_part(grid, at + plane + row, x);
    const float gx = mixed(mixed(r0.across, r1.across, y), mixed(r2.across, r3.across, y), z);
    const float below = mixed(on_line(grid, at - row, x), on_line(grid, at - row + plane, x), z);
    const float above = mixed(on_line(grid, at + 2 * row, x), on_line(grid, at + 2 * row + plane, x), z);
    const float low = mixed(r0.middle, r2.middle, z), high = mixed(r1.middle, r3.middle, z);
    const float gy = mixed(high - below, above - low, y);
    const float before = mixed(on_line(grid, at - plane, x), on_line(grid, at - plane + row, x), y);
    const float behind = mixed(on_line(grid, at + 2 * plane, x), on_line(grid, at + 2 * plane + row, x), y);
    const float near = mixed(r0.middle, r1.middle, y), far = mixed(r2.middle, r3.middle, y);
    const float gz = mixed(far - before, behind - near, z);
    out[0] = 0.5f * gx * per_length[0];
    out[1] = 0.5f * gy * per_length[1];
    out[2] = 0.5f * gz * per_length[2];
}

// The same block as a texture, interpolated by the device with weights of 8 bits.
struct Smooth {
    u64 texture;
    float end[3];
    float factor;   // what a texel of 1 stands for
    float offset;   // and one of 0
};

struct SmoothPlace {
    float at[3];
};

HGV_DEVICE SmoothPlace place_of(const Smooth& grid, const float (&from)[3], const float (&step)[3], float k) {
    SmoothPlace place;
    HGV_UNROLL
    for (u32 a = 0; a < 3; a++) {
        place.at[a] = at_most(at_least(from[a] + k * step[a], 1.0f), grid.end[a]) + 0.5f;
    }
    return place;
}

HGV_DEVICE float value_at(const Smooth& grid, const SmoothPlace& place) {
    return texture_value(grid.texture, place.at[0], place.at[1], place.at[2]) * grid.factor + grid.offset;
}

HGV_DEVICE void gradient_at(const Smooth& grid, const SmoothPlace& place, const float (&per_length)[3], float (&out)[3]) {
    const float x = place.at[0], y = place.at[1], z = place.at[2];
    const float half = 0.5f * grid.factor;
    const u64 t = grid.texture;
    out[0] = (texture_value(t, x + 1.0f, y, z) - texture_value(t, x - 1.0f, y, z)) * half * per_length[0];
    out[1] = (texture_value(t, x, y + 1.0f, z) - texture_value(t, x, y - 1.0f, z)) * half * per_length[1];
    out[2] = (texture_value(t, x, y, z + 1.0f) - texture_value(t, x, y, z - 1.0f)) * half * per_length[2];
}
