// The choice of one magnitude, and of none in a whole group, by what the block then costs.
#pragma once

#include "field.cuh"
#include "lattice.cuh"

// Magnitudes from here on are rounded: what their bits vary by is no match for the error.
constexpr float kLarge = 1000.0f;
// Bits that a change saves in the contexts of others for it to be worth a trial.
constexpr float kElsewhere = 0.5f;
// Below this many steps a coefficient that is zero stays so.
constexpr float kHopeless = 0.5f;
// Bits that a change of one index saves at most, or nearly so.
constexpr float kMostBits = 24.0f;
// Groups of more coefficients that are not zero are not tried without any.
constexpr u32 kMostZeroed = 6;

// The group that a thread works on.
struct Turn {
    u32 band;
    u32 group[3];
    bool was_active;  // when its parity began: its neighbours know it like that
    Rates rates;
    AxisTable axes[3];
};

// Offsets of the neighbours that share an edge: of a place with even coordinates, those are of pass 1.
HGV_DEVICE void edge_of(u32 i, i32* dx, i32* dy, i32* dz) {
    const i32 a = (i & 1u) != 0 ? 1 : -1, b = (i & 2u) != 0 ? 1 : -1;
    const u32 plane = i >> 2;
    *dx = plane == 2 ? 0 : a;
    *dy = plane == 0 ? b : plane == 1 ? 0 : a;
    *dz = plane == 0 ? 0 : b;
}

HGV_DEVICE void face_of(u32 i, i32* dx, i32* dy, i32* dz) {
    const i32 sign = (i & 1u) != 0 ? 1 : -1;
    *dx = i >> 1 == 0 ? sign : 0;
    *dy = i >> 1 == 1 ? sign : 0;
    *dz = i >> 1 == 2 ? sign : 0;
}

HGV_DEVICE u16 moved(u16 sum, i32 change) { return static_cast<u16>(static_cast<i32>(sum) + change); }

// Changes what a cell knows of its neighbours; returns what that costs.
HGV_DEVICE float tell_near(const Field& f, const Turn& t, u32 x, u32 y, u32 z, u32 pass, i32 change) {
    const u64 cell = cell_at(f, t.band, x, y, z);
    float bits = 0.0f;
    if ((f.p->marks[cell] & kCoded) != 0) {
        Place place = place_of(f, cell, pass, parent_activity(f, t.band, x, y, z));
        const u32 magnitude = f.p->magnitudes[cell];
        bits -= coefficient_bits(t.rates, place, magnitude);
        place.near = static_cast<u32>(static_cast<i32>(place.near) + change);
        bits += coefficient_bits(t.rates, place, magnitude);
    }
    f.p->near[cell] = moved(f.p->near[cell], change);
    return bits;
}

HGV_DEVICE float spread_near(const Field& f, const Turn& t, u32 x, u32 y, u32 z, i32 change) {
    const u32 pass = pass_of(x, y, z);
    float bits = 0.0f;
    i32 dx, dy, dz;
    if (pass == 0) {
        const i32 weight = f.refines != 0 ? 2 : 3;
        for (u32 i = 0; i < 12; i++) {
            edge_of(i, &dx, &dy, &dz);
            bits += tell_near(f, t, x + dx, y + dy, z + dz, 1, weight * change);
        }
    }
    if (pass < 2) {
        for (u32 i = 0; i < 6; i++) {
            face_of(i, &dx, &dy, &dz);
            bits += tell_near(f, t, x + dx, y + dy, z + dz, 2, 2 * change);
        }
    }
    return bits;
}

// The bands of the split that come later see the cell as a cousin.
HGV_DEVICE float spread_cousins(const Field& f, const Turn& t, u32 x, u32 y, u32 z, i32 change) {
    const u32 pass = pass_of(x, y, z);
    const u32 last = 7 * depth_of(t.band) + 6;
    float bits = 0.0f;
    for (u32 later = t.band + 1; later <= last; later++) {
        const u64 cell = cell_at(f, later, x, y, z);
        if ((f.p->marks[cell] & kCoded) != 0) {
            const Rates rates = rates_at(f, later);
            Place place = place_of(f, cell, pass, parent_activity(f, later, x, y, z));
            const u32 magnitude = f.p->magnitudes[cell];
            bits -= coefficient_bits(rates, place, magnitude);
            place.cousins = static_cast<u32>(static_cast<i32>(place.cousins) + change);
            bits += coefficient_bits(rates, place, magnitude);
        }
        f.p->cousins[cell] = moved(f.p->cousins[cell], change);
    }
    return bits;
}

// Changes the activity of one parent; returns what its eight children cost more.
HGV_DEVICE float tell_children(const Field& f, const Rates& rates, u32 children, u32 x, u32 y, u32 z, i32 change) {
    u16* activity = f.p->activity + cell_at(f, children + 7, x, y, z);
    const u32 before = *activity;
    *activity = moved(*activity, change);
    const u32 after = *activity;
    const SplitShape& parent = f.shape->splits[depth_of(children) + 1];
    // A place in front of the first wraps around to a large one.
    if (x >= parent.low[0] || y >= parent.low[1] || z >= parent.low[2]) {
        return 0.0f;
    }
    const SplitShape& s = f.shape->splits[depth_of(children)];
    const u64 first = cell_at(f, children, 2 * x, 2 * y, 2 * z);
    float bits = 0.0f;
    for (u32 corner = 0; corner < 8; corner++) {
        const u32 cx = corner & 1u, cy = corner >> 1 & 1u, cz = corner >> 2;
        const u64 cell = first + cx + cy * s.cell_y + cz * s.cell_z;
        if ((f.p->marks[cell] & kCoded) != 0) {
            Place place = place_of(f, cell, pass_of(cx, cy, cz), after);
            const u32 magnitude = f.p->magnitudes[cell];
            bits += coefficient_bits(rates, place, magnitude);
            place.parent = before;
            bits -= coefficient_bits(rates, place, magnitude);
        }
    }
    return bits;
}

// Flags of the groups of children that see the activity at a place or next to it.
HGV_DEVICE float child_flags(const Field& f, const Rates& rates, u32 children, u32 x, u32 y, u32 z) {
    const u32 at[3] = {x, y, z};
    const u32 own[3] = {x / 2, y / 2, z / 2};
    float bits = 0.0f;
    for (u32 i = 0; i < 4; i++) {
        u32 g[3] = {own[0], own[1], own[2]};
        if (i > 0) {
            g[i - 1] += (at[i - 1] & 1u) != 0 ? 1u : ~0u;
        }
        const bool inside = g[0] < groups_along(f, children, 0) && g[1] < groups_along(f, children, 1) &&
                            g[2] < groups_along(f, children, 2);
        bits += inside ? flag_bits_at(f, rates, children, g[0], g[1], g[2]) : 0.0f;
    }
    return bits;
}

HGV_DEVICE float spread_children(const Field& f, const Turn& t, u32 x, u32 y, u32 z, i32 change) {
    const u32 depth = depth_of(t.band);
    i32 dx, dy, dz;
    if (depth == 0 || !is_coded(f.bands[t.band - 7])) {
        const u64 cell = cell_at(f, t.band, x, y, z);
        f.p->activity[cell] = moved(f.p->activity[cell], 2 * change);
        for (u32 i = 0; i < 6; i++) {
            face_of(i, &dx, &dy, &dz);
            const u64 there = cell_at(f, t.band, x + dx, y + dy, z + dz);
            f.p->activity[there] = moved(f.p->activity[there], change);
        }
        return 0.0f;
    }
    const u32 children = t.band - 7;
    const Rates rates = rates_at(f, children);
    float bits = -child_flags(f, rates, children, x, y, z);
    bits += tell_children(f, rates, children, x, y, z, 2 * change);
    for (u32 i = 0; i < 6; i++) {
        face_of(i, &dx, &dy, &dz);
        bits += tell_children(f, rates, children, x + dx, y + dy, z + dz, change);
    }
    return bits + child_flags(f, rates, children, x, y, z);
}

HGV_DEVICE float group_bits(const Field& f, const Turn& t) {
    const GroupBox box = box_of(f, t.band, t.group[0], t.group[1], t.group[2]);
    float bits = 0.0f;
    for (u32 z = box.first[2]; z < box.end[2]; z++) {
        for (u32 y = box.first[1]; y < box.end[1]; y++) {
            for (u32 x = box.first[0]; x < box.end[0]; x++) {
                bits += bits_at(f, t.rates, t.band, x, y, z);
            }
        }
    }
    return bits;
}

HGV_DEVICE void mark_group(const Field& f, u32 band, const u32* group, bool coded) {
    const GroupBox box = box_of(f, band, group[0], group[1], group[2]);
    for (u32 z = box.first[2]; z < box.end[2]; z++) {
        for (u32 y = box.first[1]; y < box.end[1]; y++) {
            for (u32 x = box.first[0]; x < box.end[0]; x++) {
                u8* marks = f.p->marks + cell_at(f, band, x, y, z);
                *marks = static_cast<u8>(coded ? *marks | kCoded : *marks & ~kCoded);
            }
        }
    }
}

// What the flags of face neighbours cost more if the group is switched; they see it only if they come later.
HGV_DEVICE float switch_neighbours(const Field& f, const Turn& t, bool on) {
    if (pass_of(t.group[0], t.group[1], t.group[2]) == 2) {
        return 0.0f;
    }
    const u32 since = (on ? 0u : 1u) - (t.was_active ? 1u : 0u);
    float bits = 0.0f;
    for (u32 i = 0; i < 6; i++) {
        i32 dx, dy, dz;
        face_of(i, &dx, &dy, &dz);
        const u32 x = t.group[0] + dx, y = t.group[1] + dy, z = t.group[2] + dz;
        const bool inside = x < groups_along(f, t.band, 0) && y < groups_along(f, t.band, 1) &&
                            z < groups_along(f, t.band, 2);
        if (!inside) {
            continue;
        }
        const Group group = f.p->groups[group_at(f, t.band, x, y, z)];
        if (group.locked == 0) {
            const u32 before = group.neighbours + since;
            const u32 after = on ? before + 1 : before - 1;
            bits += flag_bits_if(f, t.rates, t.band, x, y, z, after, group.cousins, group.count > 0);
            bits -= flag_bits_if(f, t.rates, t.band, x, y, z, before, group.cousins, group.count > 0);
        }
    }
    return bits;
}

HGV_DEVICE float switch_cousins(const Field& f, const Turn& t, bool on) {
    const u32 last = 7 * depth_of(t.band) + 6;
    const u32 x = t.group[0], y = t.group[1], z = t.group[2];
    float bits = 0.0f;
    for (u32 later = t.band + 1; later <= last; later++) {
        const bool exists = x < groups_along(f, later, 0) && y < groups_along(f, later, 1) && z < groups_along(f, later, 2);
        const Rates rates = rates_at(f, later);
        bits -= exists ? flag_bits_at(f, rates, later, x, y, z) : 0.0f;
        u8* cousins = &f.p->groups[group_at(f, later, x, y, z)].cousins;
        *cousins = static_cast<u8>(on ? *cousins + 1 : *cousins - 1);
        bits += exists ? flag_bits_at(f, rates, later, x, y, z) : 0.0f;
    }
    return bits;
}

// Turns the flag of the group; returns by how many bits flags and headers grow.
HGV_DEVICE float switch_group(const Field& f, const Turn& t, bool on) {
    const u32 x = t.group[0], y = t.group[1], z = t.group[2];
    Group* group = f.p->groups + group_at(f, t.band, x, y, z);
    const BandState& band = f.bands[t.band];
    const u32 active_others = band.active - (t.was_active ? 1u : 0u);
    const bool alone = band.locked == 0 && active_others == 0;
    float bits = flag_bits_if(f, t.rates, t.band, x, y, z, group->neighbours, group->cousins, on) -
                 flag_bits_if(f, t.rates, t.band, x, y, z, group->neighbours, group->cousins, !on);
    bits += alone ? (on ? band.frame : -band.frame) : 0.0f;
    group->count = on ? 1 : 0;
    return bits + switch_neighbours(f, t, on) + switch_cousins(f, t, on);
}

// Changes a magnitude; returns by how many bits the block grows.
HGV_DEVICE_CALL float set_magnitude(const Field& f, const Turn& t, u32 x, u32 y, u32 z, u32 magnitude) {
    const u64 cell = cell_at(f, t.band, x, y, z);
    const u32 old = f.p->magnitudes[cell];
    if (old == magnitude) {
        return 0.0f;
    }
    Group* group = f.p->groups + group_at(f, t.band, t.group[0], t.group[1], t.group[2]);
    const bool opens = old == 0 && group->count == 0 && group->locked == 0;
    const bool closes = magnitude == 0 && group->count == 1 && group->locked == 0;
    float bits = 0.0f;
    if (closes) {
        bits -= group_bits(f, t);
        mark_group(f, t.band, t.group, false);
    } else if (!opens) {
        bits -= bits_at(f, t.rates, t.band, x, y, z);
    }
    f.p->magnitudes[cell] = static_cast<u16>(magnitude);
    const i32 change = static_cast<i32>(seen(magnitude)) - static_cast<i32>(seen(old));
    if (change != 0) {
        bits += spread_near(f, t, x, y, z, change);
        bits += spread_cousins(f, t, x, y, z, change);
        bits += spread_children(f, t, x, y, z, change);
    }
    if (opens) {
        mark_group(f, t.band, t.group, true);
        bits += group_bits(f, t);
    } else if (!closes) {
        bits += bits_at(f, t.rates, t.band, x, y, z);
    }
    if (opens || closes) {
        bits += switch_group(f, t, opens);
    } else if (old == 0) {
        group->count = static_cast<u8>(group->count + 1);
    } else if (magnitude == 0) {
        group->count = static_cast<u8>(group->count - 1);
    }
    return bits;
}

HGV_DEVICE float target_of(const Field& f, u64 cell) { return static_cast<float>(f.p->targets[cell]) / kTargetUnit; }

HGV_DEVICE float value_in(const Field& f, u32 magnitude) { return value_of(magnitude, f.p->pull_one, f.p->pull_more); }

// Squared error, in squares of the step, that another magnitude adds.
HGV_DEVICE float worse_by(const Field& f, const Turn& t, u32 x, u32 y, u32 z, u64 cell, u32 magnitude) {
    const float target = target_of(f, cell);
    const float now = target - value_in(f, f.p->magnitudes[cell]);
    const float then = target - value_in(f, magnitude);
    return square_of(t.axes, index_in_split(t.band), x, y, z) * (then * then - now * now);
}

// Moves the ideal magnitudes of the other coefficients of the split by what a change leaves to them.
HGV_DEVICE_CALL void tell_split(const Field& f, const Turn& t, u32 x, u32 y, u32 z, u32 before, u32 after) {
    if (before == after) {
        return;
    }
    const u64 cell = cell_at(f, t.band, x, y, z);
    const float grown = value_in(f, after) - value_in(f, before);
    const float change = (f.p->marks[cell] & kNegative) != 0 ? -grown : grown;
    const u32 index = index_in_split(t.band);
    const SplitShape& split = f.shape->splits[depth_of(t.band)];
    for (u32 other = 1; other < 8; other++) {
        const u32 band = t.band - index + other;
        const Reach rx = reach_of(x, band_dim(split, other, 0));
        const Reach ry = reach_of(y, band_dim(split, other, 1));
        const Reach rz = reach_of(z, band_dim(split, other, 2));
        for (u32 oz = rz.first; oz < rz.end; oz++) {
            const float along_z = product_along(t.axes[2], index >> 2 & 1u, z, other >> 2 & 1u, oz);
            for (u32 oy = ry.first; oy < ry.end && magnitude_above(along_z); oy++) {
                const float plane = along_z * product_along(t.axes[1], index >> 1 & 1u, y, other >> 1 & 1u, oy);
                for (u32 ox = rx.first; ox < rx.end && magnitude_above(plane); ox++) {
                    const float product = plane * product_along(t.axes[0], index & 1u, x, other & 1u, ox);
                    const u64 there = cell_at(f, band, ox, oy, oz);
                    if (!magnitude_above(product) || there == cell) {
                        continue;
                    }
                    const float left = product * change / square_of(t.axes, other, ox, oy, oz);
                    const float moved = (f.p->marks[there] & kNegative) != 0 ? left : -left;
                    atomic_add(f.p->targets + there, static_cast<i32>(round_even(moved * kTargetUnit)));
                }
            }
        }
    }
}

HGV_DEVICE void bounds_of(u32 before, u32* lowest, u32* highest) {
    *lowest = before == 0 ? 0u : 4 * before - 4;
    *highest = before == 0 ? 0xffffu : smaller(4 * before + 4, 0xffffu);
}

// What the bits of a cell itself grow by; false if its group opens or closes with it.
HGV_DEVICE bool own_bits(const Field& f, const Turn& t, u32 x, u32 y, u32 z, u64 cell, u32 magnitude, float* bits) {
    const Group group = f.p->groups[group_at(f, t.band, t.group[0], t.group[1], t.group[2])];
    const u32 now = f.p->magnitudes[cell];
    if (group.count == (now > 0 ? 1 : 0) && group.locked == 0) {
        return false;
    }
    const Place place = place_of(f, cell, pass_of(x, y, z), parent_activity(f, t.band, x, y, z));
    *bits = coefficient_bits(t.rates, place, magnitude) - coefficient_bits(t.rates, place, now);
    return true;
}

// The cheapest of the nearest magnitude, the one below, and none.
HGV_DEVICE void choose_cell(const Field& f, const Turn& t, u32 x, u32 y, u32 z) {
    const u64 cell = cell_at(f, t.band, x, y, z);
    const float target = target_of(f, cell);
    const u32 started = f.p->magnitudes[cell];
    const u32 before = f.p->befores[cell];
    if ((started == 0 && before == 0 && target <= kHopeless) || target > kLarge || started > 1100) {
        return;
    }
    u32 lowest, highest;
    bounds_of(before, &lowest, &highest);
    const u32 nearest = clamped(static_cast<u32>(larger(target + 0.5f + f.p->pull_more, 0.0f)), lowest, highest);
    const u32 below = larger(larger(nearest, 1u) - 1, lowest);
    const u32 tried[3] = {nearest, below, nearest < 4 ? lowest : below};
    for (u32 i = 0; i < 3; i++) {
        const u32 now = f.p->magnitudes[cell];
        const u32 k = tried[i];
        const float worse = worse_by(f, t, x, y, z, cell, k);
        float own;
        if (k == now || worse > kMostBits * f.p->lambda) {
            continue;
        }
        if (own_bits(f, t, x, y, z, cell, k, &own) && worse + f.p->lambda * (own - kElsewhere) > 0.0f) {
            continue;
        }
        const float bits = set_magnitude(f, t, x, y, z, k);
        if (worse + f.p->lambda * bits >= 0.0f) {
            set_magnitude(f, t, x, y, z, now);
        }
    }
    tell_split(f, t, x, y, z, started, f.p->magnitudes[cell]);
}

// All of a group at once: none of its few small magnitudes, if that is cheaper.
HGV_DEVICE void try_without(const Field& f, const Turn& t) {
    const GroupBox box = box_of(f, t.band, t.group[0], t.group[1], t.group[2]);
    u32 places[kMostZeroed];
    u32 magnitudes[kMostZeroed];
    u32 count = 0;
    for (u32 z = box.first[2]; z < box.end[2]; z++) {
        for (u32 y = box.first[1]; y < box.end[1]; y++) {
            for (u32 x = box.first[0]; x < box.end[0]; x++) {
                const u64 cell = cell_at(f, t.band, x, y, z);
                const u32 magnitude = f.p->magnitudes[cell];
                if (magnitude == 0) {
                    continue;
                }
                if (count == kMostZeroed || f.p->befores[cell] > 0 || magnitude > 2) {
                    return;
                }
                places[count] = x | y << 8 | z << 16;
                magnitudes[count] = magnitude;
                count++;
            }
        }
    }
    // One alone has been tried.
    if (count < 2) {
        return;
    }
    float cost = 0.0f;
    for (u32 i = 0; i < count; i++) {
        const u32 x = places[i] & 255u, y = places[i] >> 8 & 255u, z = places[i] >> 16;
        cost += worse_by(f, t, x, y, z, cell_at(f, t.band, x, y, z), 0);
        cost += f.p->lambda * set_magnitude(f, t, x, y, z, 0);
        tell_split(f, t, x, y, z, magnitudes[i], 0);
    }
    if (cost >= 0.0f) {
        for (u32 i = count; i-- > 0;) {
            const u32 x = places[i] & 255u, y = places[i] >> 8 & 255u, z = places[i] >> 16;
            set_magnitude(f, t, x, y, z, magnitudes[i]);
            tell_split(f, t, x, y, z, 0, magnitudes[i]);
        }
    }
}

// Chooses all cells of a group in raster order.
HGV_DEVICE void choose_group(const Field& f, const Turn& t) {
    const GroupBox box = box_of(f, t.band, t.group[0], t.group[1], t.group[2]);
    for (u32 z = box.first[2]; z < box.end[2]; z++) {
        for (u32 y = box.first[1]; y < box.end[1]; y++) {
            for (u32 x = box.first[0]; x < box.end[0]; x++) {
                choose_cell(f, t, x, y, z);
            }
        }
    }
    if (f.p->whole_groups != 0) {
        try_without(f, t);
    }
}
