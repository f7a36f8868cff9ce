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

// What all threads of a block share while they work on a band; in shared memory.
struct Sweep {
    SearchParams params;
    Field f;
    Rates rates;
    AxisTable axes[3];
    u32 band;
};

// The group that a thread works on.
struct Turn {
    const Sweep* s;
    u32 group[3];
    bool was_active;  // when its parity began: its neighbours know it like that
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
    const u64 cell = cell_at(f, t.s->band, x, y, z);
    float bits = 0.0f;
    if ((f.p->marks[cell] & kCoded) != 0) {
        Place place = place_of(f, cell, pass, parent_activity(f, t.s->band, x, y, z));
        const u32 magnitude = f.p->magnitudes[cell];
        bits -= coefficient_bits(t.s->rates, place, magnitude);
        place.near = static_cast<u32>(static_cast<i32>(place.near) + change);
        bits += coefficient_bits(t.s->rates, place, magnitude);
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
    const u32 last = 7 * depth_of(t.s->band) + 6;
    float bits = 0.0f;
    for (u32 later = t.s->band + 1; later <= last; later++) {
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
    const u32 depth = depth_of(t.s->band);
    i32 dx, dy, dz;
    if (depth == 0 || !is_coded(f.bands[t.s->band - 7])) {
        const u64 cell = cell_at(f, t.s->band, x, y, z);
        f.p->activity[cell] = moved(f.p->activity[cell], 2 * change);
        for (u32 i = 0; i < 6; i++) {
            face_of(i, &dx, &dy, &dz);
            const u64 there = cell_at(f, t.s->band, x + dx, y + dy, z + dz);
            f.p->activity[there] = moved(f.p->activity[there], change);
        }
        return 0.0f;
    }
    const u32 children = t.s->band - 7;
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
    const GroupBox box = box_of(f, t.s->band, t.group[0], t.group[1], t.group[2]);
    float bits = 0.0f;
    for (u32 z = box.first[2]; z < box.end[2]; z++) {
        for (u32 y = box.first[1]; y < box.end[1]; y++) {
            for (u32 x = box.first[0]; x < box.end[0]; x++) {
                bits += bits_at(f, t.s->rates, t.s->band, x, y, z);
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
        const bool inside = x < groups_along(f, t.s->band, 0) && y < groups_along(f, t.s->band, 1) &&
                            z < groups_along(f, t.s->band, 2);
        if (!inside) {
            continue;
        }
        const Group group = f.p->groups[group_at(f, t.s->band, x, y, z)];
        if (group.locked == 0) {
            const u32 before = group.neighbours + since;
            const u32 after = on ? before + 1 : before - 1;
            bits += flag_bits_if(f, t.s->rates, t.s->band, x, y, z, after, group.cousins, group.count > 0);
            bits -= flag_bits_if(f, t.s->rates, t.s->band, x, y, z, before, group.cousins, group.count > 0);
        }
    }
    return bits;
}

HGV_DEVICE float switch_cousins(const Field& f, const Turn& t, bool on) {
    const u32 last = 7 * depth_of(t.s->band) + 6;
    const u32 x = t.group[0], y = t.group[1], z = t.group[2];
    float bits = 0.0f;
    for (u32 later = t.s->band + 1; later <= last; later++) {
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
    Group* group = f.p->groups + group_at(f, t.s->band, x, y, z);
    const BandState& band = f.bands[t.s->band];
    const u32 active_others = band.active - (t.was_active ? 1u : 0u);
    const bool alone = band.locked == 0 && active_others == 0;
    float bits = flag_bits_if(f, t.s->rates, t.s->band, x, y, z, group->neighbours, group->cousins, on) -
                 flag_bits_if(f, t.s->rates, t.s->band, x, y, z, group->neighbours, group->cousins, !on);
    bits += alone ? (on ? band.frame : -band.frame) : 0.0f;
    group->count = on ? 1 : 0;
    return bits + switch_neighbours(f, t, on) + switch_cousins(f, t, on);
}

// Changes a magnitude; returns by how many bits the block grows.
HGV_DEVICE float set_magnitude(const Field& f, const Turn& t, u32 x, u32 y, u32 z, u32 magnitude) {
    const u64 cell = cell_at(f, t.s->band, x, y, z);
    const u32 old = f.p->magnitudes[cell];
    if (old == magnitude) {
        return 0.0f;
    }
    Group* group = f.p->groups + group_at(f, t.s->band, t.group[0], t.group[1], t.group[2]);
    const bool opens = old == 0 && group->count == 0 && group->locked == 0;
    const bool closes = magnitude == 0 && group->count == 1 && group->locked == 0;
    float bits = 0.0f;
    if (closes) {
        bits -= group_bits(f, t);
        mark_group(f, t.s->band, t.group, false);
    } else if (!opens) {
        bits -= bits_at(f, t.s->rates, t.s->band, x, y, z);
    }
    f.p->magnitudes[cell] = static_cast<u16>(magnitude);
    const i32 change = static_cast<i32>(seen(magnitude)) - static_cast<i32>(seen(old));
    if (change != 0) {
        bits += spread_near(f, t, x, y, z, change);
        bits += spread_cousins(f, t, x, y, z, change);
        bits += spread_children(f, t, x, y, z, change);
    }
    if (opens) {
        mark_group(f, t.s->band, t.group, true);
        bits += group_bits(f, t);
    } else if (!closes) {
        bits += bits_at(f, t.s->rates, t.s->band, x, y, z);
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
    return square_of(t.s->axes, index_in_split(t.s->band), x, y, z) * (then * then - now * now);
}

// Moves the ideal magnitudes of the other coefficients of the split by what a change leaves to them.
HGV_DEVICE void tell_split(const Field& f, const Turn& t, u32 x, u32 y, u32 z, u32 before, u32 after) {
    if (before == after) {
        return;
    }
    const u64 cell = cell_at(f, t.s->band, x, y, z);
    const float grown = value_in(f, after) - value_in(f, before);
    const float change = (f.p->marks[cell] & kNegative) != 0 ? -grown : grown;
    const u32 index = index_in_split(t.s->band);
    const SplitShape& split = f.shape->splits[depth_of(t.s->band)];
    for (u32 other = 1; other < 8; other++) {
        const u32 band = t.s->band - index + other;
        const Reach rx = reach_of(x, band_dim(split, other, 0));
        const Reach ry = reach_of(y, band_dim(split, other, 1));
        const Reach rz = reach_of(z, band_dim(split, other, 2));
        for (u32 oz = rz.first; oz < rz.end; oz++) {
            const float along_z = product_along(t.s->axes[2], index >> 2 & 1u, z, other >> 2 & 1u, oz);
            for (u32 oy = ry.first; oy < ry.end && magnitude_above(along_z); oy++) {
                const float plane = along_z * product_along(t.s->axes[1], index >> 1 & 1u, y, other >> 1 & 1u, oy);
                for (u32 ox = rx.first; ox < rx.end && magnitude_above(plane); ox++) {
                    const float product = plane * product_along(t.s->axes[0], index & 1u, x, other & 1u, ox);
                    const u64 there = cell_at(f, band, ox, oy, oz);
                    if (!magnitude_above(product) || there == cell) {
                        continue;
                    }
                    const float left = product * change / square_of(t.s->axes, other, ox, oy, oz);
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
    const Group group = f.p->groups[group_at(f, t.s->band, t.group[0], t.group[1], t.group[2])];
    const u32 now = f.p->magnitudes[cell];
    if (group.count == (now > 0 ? 1 : 0) && group.locked == 0) {
        return false;
    }
    const Place place = place_of(f, cell, pass_of(x, y, z), parent_activity(f, t.s->band, x, y, z));
    *bits = coefficient_bits(t.s->rates, place, magnitude) - coefficient_bits(t.s->rates, place, now);
    return true;
}

// What a pass over a group does to its cells.
enum class Pass : u32 {
    kChoose,   // each is given the cheapest magnitude
    kZero,     // all few small ones are taken away at once
    kRestore,  // and come back if that is not cheaper
};

// What a cell may become: up to three magnitudes, tried one after the other.
struct Tries {
    u32 nearest;
    u32 below;
    u32 none;
    u32 count;
};

HGV_DEVICE u32 try_of(const Tries& tries, u32 attempt) {
    return attempt == 0 ? tries.nearest : attempt == 1 ? tries.below : tries.none;
}

// The nearest magnitude, the one below, and none.
HGV_DEVICE Tries tries_of(const Field& f, u64 cell) {
    const float target = target_of(f, cell);
    const u32 started = f.p->magnitudes[cell];
    const u32 before = f.p->befores[cell];
    if ((started == 0 && before == 0 && target <= kHopeless) || target > kLarge || started > 1100) {
        return {0, 0, 0, 0};
    }
    u32 lowest, highest;
    bounds_of(before, &lowest, &highest);
    const u32 nearest = clamped(static_cast<u32>(larger(target + 0.5f + f.p->pull_more, 0.0f)), lowest, highest);
    const u32 below = larger(larger(nearest, 1u) - 1, lowest);
    return {nearest, below, nearest < 4 ? lowest : below, 3};
}

// Whether it may pay to change a cell, by what is quick to see.
HGV_DEVICE bool promises(const Field& f, const Turn& t, u32 x, u32 y, u32 z, u64 cell, u32 magnitude, float worse) {
    float own;
    if (worse > kMostBits * f.p->lambda) {
        return false;
    }
    return !own_bits(f, t, x, y, z, cell, magnitude, &own) || worse + f.p->lambda * (own - kElsewhere) <= 0.0f;
}

// Cells of a group that are taken away together: bit 4 (4 z + y) + x, and those of them that are 2.
struct Few {
    u64 cells;
    u64 twos;
};

// The cells of a group if they are few and small, and more than one: one alone has been tried.
HGV_DEVICE Few few_of(const Field& f, const Turn& t, const GroupBox& box) {
    Few few = {0, 0};
    u32 count = 0;
    for (u32 i = 0; i < 64; i++) {
        const u32 x = box.first[0] + (i & 3u), y = box.first[1] + (i >> 2 & 3u), z = box.first[2] + (i >> 4);
        if (x >= box.end[0] || y >= box.end[1] || z >= box.end[2]) {
            continue;
        }
        const u64 cell = cell_at(f, t.s->band, x, y, z);
        const u32 magnitude = f.p->magnitudes[cell];
        if (magnitude > 2 || f.p->befores[cell] > 0) {
            return {0, 0};
        }
        few.cells |= magnitude > 0 ? 1ull << i : 0ull;
        few.twos |= magnitude == 2 ? 1ull << i : 0ull;
        count += magnitude > 0 ? 1u : 0u;
    }
    return count >= 2 && count <= kMostZeroed ? few : Few{0, 0};
}

// Chooses all cells of a group in raster order, and then whether it is better without any. Every change of a
// magnitude is made at one place of this code, which keeps it small.
HGV_DEVICE void choose_group(const Field& f, const Turn& t) {
    const GroupBox box = box_of(f, t.s->band, t.group[0], t.group[1], t.group[2]);
    const float lambda = f.p->lambda;
    Few few = {0, 0};
    float cost = 0.0f;
    Pass pass = Pass::kChoose;
    for (u32 i = 0; i < 64; i++) {
        const u32 x = box.first[0] + (i & 3u), y = box.first[1] + (i >> 2 & 3u), z = box.first[2] + (i >> 4);
        const bool inside = x < box.end[0] && y < box.end[1] && z < box.end[2];
        const u64 cell = cell_at(f, t.s->band, x, y, z);
        Tries tries = {0, 0, 0, 0};
        if (pass == Pass::kChoose && inside) {
            tries = tries_of(f, cell);
        } else if ((few.cells >> i & 1u) != 0) {
            tries.nearest = pass == Pass::kZero ? 0u : (few.twos >> i & 1u) != 0 ? 2u : 1u;
            tries.count = 1;
        }
        const u32 started = tries.count > 0 ? f.p->magnitudes[cell] : 0u;
        u32 now = started;
        // An attempt that does not pay is followed by another that takes it back.
        u32 undo = 0;
        for (u32 attempt = 0; attempt < tries.count; attempt += undo == 0 ? 1u : 0u) {
            const u32 before = now;
            const u32 wanted = undo > 0 ? undo - 1 : try_of(tries, attempt);
            const float worse = worse_by(f, t, x, y, z, cell, wanted);
            const bool free = undo > 0 || pass != Pass::kChoose;
            if (wanted == before || (!free && !promises(f, t, x, y, z, cell, wanted, worse))) {
                continue;
            }
            const float grown = worse + lambda * set_magnitude(f, t, x, y, z, wanted);
            now = wanted;
            cost += grown;
            undo = free || grown < 0.0f ? 0 : before + 1;
        }
        if (now != started) {
            tell_split(f, t, x, y, z, started, now);
        }
        if (i < 63 || f.p->whole_groups == 0) {
            continue;
        }
        // The end of a pass: the next one begins again, if there is one.
        if (pass == Pass::kChoose) {
            few = few_of(f, t, box);
            pass = Pass::kZero;
            cost = 0.0f;
            i = few.cells != 0 ? ~0u : i;
        } else if (pass == Pass::kZero && cost >= 0.0f) {
            pass = Pass::kRestore;
            i = ~0u;
        }
    }
}
