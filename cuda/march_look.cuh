// What values look like, and what a ray has seen of them: src/render/march/look.rs.
#pragma once

#include "march_sample.cuh"

enum : u32 { kMedium = 0, kMaximum = 1, kMean = 2, kSurface = 3 };

// Last entry of the transfer table that has a next one.
constexpr u32 kTableSteps = 4096;

// An entry of the transfer table.
struct alignas(16) TableEntry {
    float rgb[3];
    float extinction;
};

// How values look. What light does is all in `add_shaded`.
struct MarchLook {
    u32 mode;
    float value;        // of the surface
    float first;        // value of the first entry of the table
    float scale;        // entries for each unit of value
    float cutoff;       // rays end where less light than this comes through
    float diffuse;
    float specular;
    float shininess;
    float surface;      // gradient at which light counts half as on a surface
    float ambient[3];   // light of the environment that counts
    float to_light[3];  // of length 1 or 0
    float light[3];
};

struct Gathered {
    float rgb[3];
    float left;         // part of the light from behind that comes through
    float peak;
    float sum;          // values times lengths
    float length;
};

HGV_DEVICE float infinity() { return bits_float(0x7f800000u); }

HGV_DEVICE float dot(const float (&a)[3], const float (&b)[3]) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

// Gives `v` the length 1, unless it has next to none: then `otherwise`.
HGV_DEVICE void make_unit(float (&v)[3], float least, const float (&otherwise)[3]) {
    const float length = square_root(dot(v, v));
    const bool has = length > least && length < infinity();
    HGV_UNROLL
    for (u32 a = 0; a < 3; a++) {
        v[a] = has ? v[a] / length : otherwise[a];
    }
}

// What a sample sends to the eye, of one colour.
HGV_DEVICE float shown_light(const MarchLook& look, const TableEntry& entry, u32 c, float diffuse, float shine) {
    return entry.rgb[c] * look.ambient[c] + (entry.rgb[c] * diffuse + shine) * look.light[c];
}

// Adds the colour of a sample with a gradient, seen in a direction, times `weight`.
HGV_DEVICE void add_shaded(const MarchLook& look, const TableEntry& entry, const float (&gradient)[3],
                           const float (&direction)[3], float weight, Gathered& gathered) {
    const float size = square_root(dot(gradient, gradient));
    const float surface = size / (size + look.surface);
    // Not a number where the gradient is 0 and any gradient is a surface.
    if (!(surface > 0.0f)) {
        HGV_UNROLL
        for (u32 c = 0; c < 3; c++) {
            gathered.rgb[c] = gathered.rgb[c] + weight * shown_light(look, entry, c, look.diffuse, 0.0f);
        }
        return;
    }
    // Both sides of a surface are lit: turn the normal to the eye.
    const float turn = dot(gradient, direction) > 0.0f ? -1.0f : 1.0f;
    float normal[3], half[3];
    HGV_UNROLL
    for (u32 a = 0; a < 3; a++) {
        normal[a] = gradient[a] * turn / size;
        half[a] = look.to_light[a] - direction[a];
    }
    const float none[3] = {0.0f, 0.0f, 0.0f};
    make_unit(half, 1e-20f, none);
    const float facing = at_least(dot(normal, look.to_light), 0.0f);
    const float glint = look.specular * surface * power(at_least(dot(normal, half), 0.0f), look.shininess);
    // Where there is no surface, light comes from all sides.
    const float diffuse = look.diffuse * mixed(1.0f, facing, surface);
    const float shine = facing > 0.0f ? glint : 0.0f;
    HGV_UNROLL
    for (u32 c = 0; c < 3; c++) {
        gathered.rgb[c] = gathered.rgb[c] + weight * shown_light(look, entry, c, diffuse, shine);
    }
}

// Colour of a value.
HGV_DEVICE TableEntry entry_of(const MarchLook& look, const TableEntry* table, float value) {
    const float u = at_least((value - look.first) * look.scale, 0.0f);
    return table[smaller(whole_part(u), kTableSteps)];
}

// `1 - exp(-x)` for `x >= 0`, by the steps of the CPU.
HGV_DEVICE float stopped(float optical) {
    // Adding this leaves the nearest integer in the low bits.
    constexpr float kRound = 12582912.0f;
    const float x = -at_most(optical, 80.0f);
    const float shifted = x * 1.44269504088896340736f + kRound;
    const float whole = shifted - kRound;
    const float two_to = bits_float((float_bits(shifted) - float_bits(kRound) + 127u) << 23);
    const float f = x - whole * 0.6933594f - whole * -2.1219444e-4f;
    float series = 1.9875691e-4f;
    series = series * f + 1.3981999e-3f;
    series = series * f + 8.333452e-3f;
    series = series * f + 4.1665796e-2f;
    series = series * f + 1.6666666e-1f;
    series = series * f + 0.5f;
    const float less_one = series * f * f + f;
    return (1.0f - two_to) - less_one * two_to;
}

// Entry of the table that a value has, and the part of the light that a sample stops.
HGV_DEVICE u32 classified(const MarchLook& look, const TableEntry* table, float value, float length, float& alpha) {
    const float u = at_most(at_least((value - look.first) * look.scale, 0.0f), static_cast<float>(kTableSteps));
    const u32 at = smaller(static_cast<u32>(u), kTableSteps);
    const float extinction = mixed(table[at].extinction, table[at + 1].extinction, u - static_cast<float>(at));
    alpha = stopped(value == value ? extinction * length : 0.0f);
    return at;
}

// What a ray that is at its end shows.
HGV_DEVICE void finish(const MarchLook& look, const TableEntry* table, Gathered& gathered) {
    if (look.mode == kMedium || look.mode == kSurface) {
        return;
    }
    const float value = look.mode == kMaximum ? gathered.peak : gathered.sum / gathered.length;
    if (!(value < infinity() && value > -infinity())) {
        return;
    }
    const TableEntry entry = entry_of(look, table, value);
    HGV_UNROLL
    for (u32 c = 0; c < 3; c++) {
        gathered.rgb[c] = entry.rgb[c];
    }
    gathered.left = 0.0f;
}
