// What is known around the coefficients of a row before the row is decoded (sections 27 and 28): all of it, a
// lane each, but for the two coefficients before each in the row. Packed in five words that the warp hands round.
#pragma once

#include "mixing_bands.cuh"

// The band that a warp works on; all members are the same in every lane.
struct Scene {
    Indices indices;
    Box box;
    Split split;
    Split coarser;
    bool has_coarser;
    bool refines;
    u32 index;             // 1..=7
    u32 tier;              // depth as contexts tell it apart
    Band band;
    const u8* magnitude;   // weights of the magnitude terms
    const i8* sign;        // of the sign terms
};

HGV_DEVICE u32 class_of(const Scene& scene) { return (scene.index - 1) * kDepths + scene.tier; }
HGV_DEVICE Band parent_of(const Scene& scene) { return band_of(scene.box, scene.coarser, scene.index); }
// What sums over the bands before are divided by.
HGV_DEVICE u32 others_of(const Scene& scene) { return larger(scene.index - 1, 1u); }
HGV_DEVICE i32 magnitude_weight(const Scene& scene, u32 term) {
    return load_constant(scene.magnitude + term);
}
HGV_DEVICE i32 sign_weight(const Scene& scene, u32 term) {
    return load_constant(scene.sign + term);
}

// Sums over the neighbours of a coefficient in its band, and what they say of its sign.
struct Inner {
    i32 sum;       // weighted
    i32 around;    // of all magnitudes
    i32 low;       // of the face neighbours on axes where the band is low
    i32 high;      // and where it is high
    i32 edges;
    i32 sign;      // weighted
    u32 pattern;   // signs of the neighbours before on y and z, 3 values each
};

// The same for the split one coarser and the bands before.
struct Outer {
    i32 sum;
    i32 parent;
    i32 parent_faces;
    i32 near;          // cousins whose orientation differs on one axis
    i32 far;           // and the others
    i32 cousin_faces;
    i32 parent_sign;   // weighted
    i32 cousin_sign;
};

HGV_DEVICE u32 sign_class(i32 v) { return v < 0 ? 0u : v == 0 ? 1u : 2u; }

// Adds up neighbours by what they are to the coefficient.
struct Neighbours {
    i32 faces[3];
    i32 edges[3];    // by the axis that their plane is across
    i32 corners;
    i32 seconds[3];
};

// The three cells of a row from x - 1 on; `after` if they come after the coefficient in raster order.
struct Three {
    i32 v[3];
};

HGV_DEVICE Three three_at(const Scene& scene, u32 x, u32 y, u32 z, bool after) {
    Three out;
    for (u32 i = 0; i < 3; i++) {
        const i32 k = index_at(scene.indices, scene.box, scene.band, x + i - 1, y, z);
        out.v[i] = after && scene.refines ? seen_before(k) : seen(k);
    }
    return out;
}

HGV_DEVICE i32 cell_after(const Scene& scene, u32 x, u32 y, u32 z) {
    const i32 k = index_at(scene.indices, scene.box, scene.band, x, y, z);
    return scene.refines ? seen_before(k) : seen(k);
}

HGV_DEVICE i32 ends(const Three& row) { return magnitude_of(row.v[0]) + magnitude_of(row.v[2]); }
HGV_DEVICE i32 centre(const Three& row) { return magnitude_of(row.v[1]); }

HGV_DEVICE Inner weigh(const Scene& scene, const Neighbours& n) {
    Inner inner = {};
    for (u32 a = 0; a < 3; a++) {
        const u32 high = bit_of(scene.index, a);
        const u32 across = bit_of(scene.index, (a + 1) % 3) + bit_of(scene.index, (a + 2) % 3);
        inner.sum += n.faces[a] * magnitude_weight(scene, high) + n.edges[a] * magnitude_weight(scene, 2 + across) +
                     n.seconds[a] * magnitude_weight(scene, 6 + high);
        inner.around += n.faces[a] + n.edges[a] + n.seconds[a];
        inner.low += high == 0 ? n.faces[a] : 0;
        inner.high += high == 0 ? 0 : n.faces[a];
        inner.edges += n.edges[a];
    }
    inner.sum += n.corners * magnitude_weight(scene, 5);
    inner.around += n.corners;
    return inner;
}

// Everything in the band but the two coefficients before this one in its row.
HGV_DEVICE Inner look_inside(const Scene& scene, u32 x, u32 y, u32 z) {
    const Three nn = three_at(scene, x, y - 1, z - 1, false);
    const Three nz = three_at(scene, x, y, z - 1, false);
    const Three ns = three_at(scene, x, y + 1, z - 1, false);
    const Three yn = three_at(scene, x, y - 1, z, false);
    const Three ys = three_at(scene, x, y + 1, z, true);
    const Three sn = three_at(scene, x, y - 1, z + 1, true);
    const Three pz = three_at(scene, x, y, z + 1, true);
    const Three ss = three_at(scene, x, y + 1, z + 1, true);
    const i32 next = cell_after(scene, x + 1, y, z);
    const i32 y2 = cell_at(scene.indices, scene.box, scene.band, x, y - 2, z);
    const i32 z2 = cell_at(scene.indices, scene.box, scene.band, x, y, z - 2);
    Neighbours n;
    n.faces[0] = magnitude_of(next);
    n.faces[1] = centre(yn) + centre(ys);
    n.faces[2] = centre(nz) + centre(pz);
    n.edges[0] = centre(nn) + centre(ns) + centre(sn) + centre(ss);
    n.edges[1] = ends(nz) + ends(pz);
    n.edges[2] = ends(yn) + ends(ys);
    n.corners = ends(nn) + ends(ns) + ends(sn) + ends(ss);
    n.seconds[0] = magnitude_of(cell_after(scene, x + 2, y, z));
    n.seconds[1] = magnitude_of(y2) + magnitude_of(cell_after(scene, x, y + 2, z));
    n.seconds[2] = magnitude_of(z2) + magnitude_of(cell_after(scene, x, y, z + 2));
    Inner inner = weigh(scene, n);
    const i32 signs[13] = {next,    yn.v[1], ys.v[1], y2,      nz.v[1], pz.v[1], z2,
                           yn.v[0], yn.v[2], nz.v[0], nz.v[2], nn.v[1], ns.v[1]};
    // Terms 0 and 2 are the two that are not known yet.
    for (u32 i = 0; i < 13; i++) {
        inner.sign += signs[i] * sign_weight(scene, i == 0 ? 1u : i + 2);
    }
    inner.pattern = sign_class(yn.v[1]) * 3 + sign_class(nz.v[1]);
    return inner;
}

// 1 where the coefficient is the second child of its parent on an axis, else -1.
HGV_DEVICE i32 side_of(u32 coordinate) { return (coordinate & 1u) != 0 ? 1 : -1; }

HGV_DEVICE void look_at_parents(const Scene& scene, u32 x, u32 y, u32 z, Outer& outer) {
    const Box& box = scene.box;
    const Band parents = parent_of(scene);
    const u32 at[3] = {x, y, z};
    const u32 j[3] = {x >> 1, y >> 1, z >> 1};
    const i32 parent = cell_at(scene.indices, box, parents, j[0], j[1], j[2]);
    i32 nearest = 0;
    for (u32 a = 0; a < 3; a++) {
        const u32 e[3] = {a == 0 ? 1u : 0u, a == 1 ? 1u : 0u, a == 2 ? 1u : 0u};
        const i32 below = cell_at(scene.indices, box, parents, j[0] - e[0], j[1] - e[1], j[2] - e[2]);
        const i32 above = cell_at(scene.indices, box, parents, j[0] + e[0], j[1] + e[1], j[2] + e[2]);
        const i32 side = side_of(at[a]);
        outer.parent_faces += magnitude_of(below) + magnitude_of(above);
        nearest += magnitude_of(side > 0 ? above : below);
        outer.parent_sign += (above - below) * (sign_weight(scene, 23 + 2 * a) + sign_weight(scene, 24 + 2 * a) * side);
    }
    i32 own_sign = 0;
    for (u32 flips = 0; flips < 8; flips++) {
        const i32 side = (bit_of(flips, 0) != 0 ? side_of(x) : 1) * (bit_of(flips, 1) != 0 ? side_of(y) : 1) *
                         (bit_of(flips, 2) != 0 ? side_of(z) : 1);
        own_sign += side * sign_weight(scene, 15 + flips);
    }
    i32 beside = 0;
    for (u32 c = 1; c < 8; c++) {
        const i32 v = cell_at(scene.indices, box, band_of(box, scene.coarser, c), j[0], j[1], j[2]);
        beside += c == scene.index ? 0 : magnitude_of(v);
    }
    outer.parent = magnitude_of(parent);
    outer.parent_sign += parent * own_sign;
    outer.sum += outer.parent * magnitude_weight(scene, 8) + outer.parent_faces * magnitude_weight(scene, 9) +
                 nearest * magnitude_weight(scene, 10) + beside * magnitude_weight(scene, 19);
}

// One band before, which differs from this one in the axes of `differs`.
HGV_DEVICE void look_at_cousin(const Scene& scene, u32 c, u32 x, u32 y, u32 z, Outer& outer) {
    const Box& box = scene.box;
    const Band band = band_of(box, scene.split, c);
    const u32 differs = c ^ scene.index;
    const i32 own = cell_at(scene.indices, box, band, x, y, z);
    const i32 m = magnitude_of(own);
    const bool is_near = popcount(differs) == 1;
    outer.near += is_near ? m : 0;
    outer.far += is_near ? 0 : m;
    outer.sum += m * magnitude_weight(scene, 10 + c);
    for (u32 a = 0; a < 3; a++) {
        const u32 e[3] = {a == 0 ? 1u : 0u, a == 1 ? 1u : 0u, a == 2 ? 1u : 0u};
        const i32 below = cell_at(scene.indices, box, band, x - e[0], y - e[1], z - e[2]);
        const i32 above = cell_at(scene.indices, box, band, x + e[0], y + e[1], z + e[2]);
        outer.cousin_faces += magnitude_of(below) + magnitude_of(above);
        // A band before that differs on one axis is low where this one is high.
        if (differs == 1u << a) {
            outer.cousin_sign += own * sign_weight(scene, 29 + 2 * a) + (above - below) * sign_weight(scene, 30 + 2 * a);
        }
    }
}

HGV_DEVICE Outer look_outside(const Scene& scene, u32 x, u32 y, u32 z) {
    Outer outer = {};
    if (scene.has_coarser) {
        look_at_parents(scene, x, y, z, outer);
    }
    for (u32 c = 1; c < 7; c++) {
        if (c < scene.index) {
            look_at_cousin(scene, c, x, y, z, outer);
        }
    }
    outer.sum += outer.cousin_faces * magnitude_weight(scene, 17) + magnitude_weight(scene, 18);
    return outer;
}

// Levels of a signed prediction, from the middle.
HGV_DEVICE u32 sign_level(i32 v) { return level(magnitude_of(v), 4, 10, 20, 36, 60, 96, 150, 230, 360, 600); }
HGV_DEVICE u32 signed_level(i32 v) { return v < 0 ? 10 - sign_level(v) : 10 + sign_level(v); }

// What a lane knows of its coefficient, packed; see `Spot` for what comes out.
struct Known {
    u32 words[3];
    u32 signs[2];
};

enum : i32 { kSignBias = 1 << 20, kPartsBias = 1 << 21 };

HGV_DEVICE Known look_around(const Scene& scene, u32 x, u32 y, u32 z) {
    const Inner inner = look_inside(scene, x, y, z);
    const Outer outer = look_outside(scene, x, y, z);
    const i32 others = static_cast<i32>(others_of(scene));
    const i32 all = outer.near + outer.far;
    const u32 parent = static_cast<u32>(smaller(outer.parent, 5));
    const u32 faces = level(outer.parent_faces, 1, 2, 4, 7, 13);
    const u32 slot3 = (parent * 6 + faces) * 5 + level(2 * all / others, 1, 2, 4, 7);
    const u32 slot6 = (level(2 * outer.near, 1, 2, 4, 7) * 5 + level(outer.far, 1, 2, 4, 7)) * 5 + smaller(parent, 4u);
    const i32 beyond = outer.parent_faces + 2 * outer.parent + outer.cousin_faces / others + all;
    const u32 medium = level(outer.sum >> 4, 1, 2, 4, 6, 11, 19, 35, 62, 111, 199, 358);
    const u32 wide = level(beyond, 1, 2, 3, 5, 8, 12, 18, 28, 44, 70, 120);
    const u32 edges = static_cast<u32>(smaller((inner.edges + 1) / 2, 3));
    Known known;
    known.words[0] = static_cast<u32>(inner.sum) | slot3 << 21;
    known.words[1] = static_cast<u32>(outer.sum) | slot6 << 22;
    known.words[2] = static_cast<u32>(inner.around) | static_cast<u32>(smaller(inner.low, 5)) << 13 |
                     static_cast<u32>(smaller(inner.high, 3)) << 16 | edges << 18 | medium << 20 | wide << 24;
    known.signs[0] = static_cast<u32>(inner.sign + kSignBias) | inner.pattern << 21 |
                     signed_level(outer.parent_sign) / 2 << 25;
    known.signs[1] = static_cast<u32>(outer.parent_sign + outer.cousin_sign + kPartsBias) |
                     signed_level(outer.cousin_sign) << 22;
    return known;
}
