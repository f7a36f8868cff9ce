// Integer weights of a pyramid of grids that minimise squared error plus lambda times bits, as
// src/encode/grid/fit.rs finds them: one weight at a time, level by level, each against the error that all
// others leave, with what the coder would charge for it where it stands.
//
// Here a block of threads has a block of voxels, and the vertices of a level are chosen by colour: those that
// agree in which coordinates are odd, at once. The coder's contexts look at earlier colours only, and so do
// the products of linear basis functions; those of cubic ones hardly reach from a vertex to the next of its
// colour, and what they miss is found in the next sweep. The error is known in a level by its products with the
// level's basis functions, which are corrected after each colour by the products of those with each other.
#pragma once

#include "train_rates.cuh"

// A block to fit under one model.
struct FitTask {
    u64 values;   // first voxel in the plane of values, [z][y][x] in units of q
    u64 weights;  // first of its weights
    u32 shape;
    float lambda;  // squared error that a bit is worth
    float centre;  // taken from the values
    u32 unused;
};
static_assert(sizeof(FitTask) == 32, "as in layout.rs");

struct FitResult {
    double error;  // sum of squares
    u32 sweeps;
    u32 changed;  // weights that the last sweep changed
};
static_assert(sizeof(FitResult) == 16, "as in layout.rs");

struct FitParams {
    const float* values;
    const TrainShape* shapes;
    const TrainLevel* levels;
    const float* grams;
    const u32* lists;
    const u8* map;
    const float* costs;
    const FitTask* tasks;
    i32* weights;
    FitResult* results;
    float* planes;  // of each block of threads: three of `large` numbers, then three of `small`
    u32* next;      // counts tasks that are taken
    u32 count;
    u32 large;
    u32 small;
    u32 sweeps;      // most of them
    u32 settled;     // no more sweeps once one changes under a share of 1 / settled of the weights that are not 0
    u32 first_again; // times that the first sweep goes over each coarse level
};

struct FitShared {
    float sums[kRateVariants + 1][kTrainWarps];
    double error[kTrainWarps];
    u32 counts[kTrainWarps];
    u32 variants[kMostTrainLevels];
    u32 task;
};

// What a block of threads works with.
struct FitRoom {
    float* residual;  // of the voxels
    Pair large;
    float* changes;   // of one colour or of a level
    float* spread;
    i32* before;      // weights of the level before they were chosen anew
};

struct FitLevel {
    TrainLevel level;
    Grid lattice;
    i32* weights;
    const i32* parent_weights;  // of the level before; null without one
    TrainLevel parent;
    Grid parent_lattice;
    u32 variant;
};

HGV_DEVICE u32 parent_magnitude(const FitLevel& l, u32 x, u32 y, u32 z) {
    const i32 w = l.parent_weights[entry_of(l.parent, l.parent_lattice, Cell{x, y, z})];
    return smaller(magnitude_of(w), static_cast<u32>(kNearLimit));
}

// How active the level before is around a vertex.
HGV_DEVICE u32 parents_of(const FitLevel& l, Cell c) {
    if (l.parent_weights == nullptr) {
        return 0;
    }
    const u32 down = l.parent.spacing - l.level.spacing;
    const Grid n = l.parent_lattice;
    const Cell a = {c.x >> down, c.y >> down, c.z >> down};
    const Cell b = {smaller(ceil_shift(c.x, down), n.x - 1u), smaller(ceil_shift(c.y, down), n.y - 1u),
                    smaller(ceil_shift(c.z, down), n.z - 1u)};
    return parent_magnitude(l, a.x, a.y, a.z) + parent_magnitude(l, b.x, a.y, a.z) +
           parent_magnitude(l, a.x, b.y, a.z) + parent_magnitude(l, b.x, b.y, a.z) +
           parent_magnitude(l, a.x, a.y, b.z) + parent_magnitude(l, b.x, a.y, b.z) +
           parent_magnitude(l, a.x, b.y, b.z) + parent_magnitude(l, b.x, b.y, b.z);
}

// Squared length of the basis function of a vertex.
HGV_DEVICE float norm_of(const float* grams, const TrainLevel& l, Cell c) {
    const u32 width = 2 * l.reach + 1;
    return load_constant(grams + l.gram[0] + c.x * width + l.reach) *
           load_constant(grams + l.gram[1] + c.y * width + l.reach) *
           load_constant(grams + l.gram[2] + c.z * width + l.reach);
}

// The whole number near `ideal` that costs least; `worth` is the squared error of a difference of 1.
template <class Bits> HGV_DEVICE i32 cheapest(float ideal, float worth, float lambda, Bits bits) {
    const i32 most = static_cast<i32>(kMostWeight);
    const float bound = static_cast<float>(kMostWeight);
    const float held = clamped(ideal, -bound, bound);
    i32 below = static_cast<i32>(held);
    below -= static_cast<float>(below) > held ? 1 : 0;
    i32 best = 0;
    float least = ideal * ideal * worth + lambda * bits(0);
    for (i32 w = below - 1; w <= below + 2; w++) {
        if (w == 0 || (w > 0) != (ideal > 0.0f) || w > most || w < -most) {
            continue;
        }
        const float d = ideal - static_cast<float>(w);
        const float cost = d * d * worth + lambda * bits(w);
        if (cost < least) {
            least = cost;
            best = w;
        }
    }
    return best;
}

// Chooses the weights of the vertices that agree with `colour` in which coordinates are odd. Writes what they
// change, over the lattice of the colour, or takes it from the error where no basis function meets another.
HGV_DEVICE u32 choose_colour(const FitParams& p, const FitTask& task, const FitLevel& l, u32 colour, Grid part,
                             float* products, float* changes) {
    const RateTables tables = {p.map, p.costs};
    const Walk walk = walk_over(part);
    const float step = l.level.step[0];
    u32 changed = 0;
    for (u32 at = thread_index(); at < count_of(part); at += thread_count()) {
        const Cell half = cell_at(walk, at);
        const Cell c = {2 * half.x + (colour & 1u), 2 * half.y + (colour >> 1 & 1u), 2 * half.z + (colour >> 2)};
        const u32 index = index_of(l.lattice, c);
        const i32 old = l.weights[index];
        const float norm = norm_of(p.grams, l.level, c);
        const float product = products[index];
        const float ideal = static_cast<float>(old) + product / (norm * step);
        float change = 0.0f;
        // Zero stays zero where rounding says so: its bits are hardly ever more.
        if (old != 0 || ideal > 0.5f || ideal < -0.5f) {
            const Place place =
                place_of(around(l.weights, l.lattice, c, parents_of(l, c)), l.level.level_class);
            const i32 chosen = cheapest(ideal, norm * step * step, task.lambda,
                                        [&](i32 w) { return weight_bits(tables, l.variant, place, w); });
            if (chosen != old) {
                l.weights[index] = chosen;
                change = static_cast<float>(chosen - old) * step;
                changed += 1;
            }
        }
        if (l.level.reach > 0) {
            changes[at] = change;
        } else if (change != 0.0f) {
            products[index] = product - change;
        }
    }
    return changed;
}

// What changes at vertices `first`, `first + every`, ... of an axis mean for the products at all of its
// vertices. Ends with a barrier.
template <u32 AXIS, class Store>
HGV_DEVICE void spread_axis(const float* from, Grid few, Grid all, const float* gram, u32 reach, u32 first, u32 every,
                            Store store) {
    const Walk walk = walk_over(all);
    const u32 n = along<AXIS>(all), stride = stride_of<AXIS>(few), shift = every - 1u;
    for (u32 at = thread_index(); at < count_of(all); at += thread_count()) {
        Cell c = cell_at(walk, at);
        const u32 v = along<AXIS>(c);
        (AXIS == 0 ? c.x : AXIS == 1 ? c.y : c.z) = 0;
        const float* line = from + index_of(few, c);
        const u32 low = v > reach ? v - reach : 0u;
        float sum = 0.0f;
        for (u32 u = low + ((first - low) & shift); u < n && u <= v + reach; u += every) {
            const float product = load_constant(gram + u * (2 * reach + 1) + (v + reach - u));
            sum = fused(product, line[((u - first) >> shift) * stride], sum);
        }
        store(at, sum);
    }
    HGV_SYNC();
}

// Corrects the products after changes at every `every`-th vertex from those of `colour` on; `every` is 1 or 2.
HGV_DEVICE void spread_changes(const FitParams& p, const FitLevel& l, const FitRoom& room, u32 colour, Grid part,
                               u32 every, float* products) {
    float* first = other_than(room.large, products);
    float* second = room.spread;
    const Grid all = l.lattice;
    const Grid wide = resized<0>(part, all.x), flat = resized<1>(wide, all.y);
    const u32 reach = l.level.reach;
    spread_axis<0>(room.changes, part, wide, p.grams + l.level.gram[0], reach, colour & 1u, every,
                   [=](u32 at, float v) { first[at] = v; });
    spread_axis<1>(first, wide, flat, p.grams + l.level.gram[1], reach, colour >> 1 & 1u, every,
                   [=](u32 at, float v) { second[at] = v; });
    spread_axis<2>(second, flat, all, p.grams + l.level.gram[2], reach, colour >> 2, every,
                   [=](u32 at, float v) { products[at] -= v; });
}

// Every weight of a dense level once; returns how many changed.
HGV_DEVICE u32 sweep_dense(const FitParams& p, FitShared& shared, const FitTask& task, const FitLevel& l,
                           const FitRoom& room, float* products) {
    // In the order of the coder's passes: bit 0 of a colour says that x is odd, bit 1 y, bit 2 z.
    const u32 colours = 0x74216530u;
    u32 changed = 0;
    for (u32 i = 0; i < 8; i++) {
        const u32 colour = colours >> (4 * i) & 7u;
        const Grid part = {(l.lattice.x + 1 - (colour & 1u)) >> 1, (l.lattice.y + 1 - (colour >> 1 & 1u)) >> 1,
                           (l.lattice.z + 1 - (colour >> 2)) >> 1};
        if (count_of(part) == 0) {
            continue;
        }
        const u32 here = block_sum(choose_colour(p, task, l, colour, part, products, room.changes), shared.counts);
        if (here > 0 && l.level.reach > 0) {
            spread_changes(p, l, room, colour, part, 2, products);
        }
        changed += here;
    }
    return changed;
}

// Lists of a hashed level: where the vertices of each entry end, vertices by entry, entries by class, where
// each class ends. Both kinds of ends have a 0 before them.
struct EntryLists {
    const u32* ends;
    const u32* vertices;
    const u32* order;
    const u32* class_ends;
};

HGV_DEVICE EntryLists lists_of(const FitParams& p, const FitLevel& l) {
    const u32* ends = p.lists + l.level.lists;
    const u32* vertices = ends + l.level.entries + 1;
    const u32* order = vertices + count_of(l.lattice);
    return EntryLists{ends, vertices, order, order + l.level.entries};
}

// Chooses one entry of a table; returns the change of its weight in units of q.
HGV_DEVICE float choose_entry(const FitParams& p, const FitTask& task, const FitLevel& l, const EntryLists& lists,
                              u32 entry, Walk walk, const float* products) {
    const RateTables tables = {p.map, p.costs};
    const float step = l.level.step[0];
    float norm = 0.0f, product = 0.0f;
    for (u32 i = lists.ends[entry]; i < lists.ends[entry + 1]; i++) {
        const u32 v = lists.vertices[i];
        norm += norm_of(p.grams, l.level, cell_at(walk, v));
        product += products[v];
    }
    const i32 old = l.weights[entry];
    if (norm == 0.0f) {
        return 0.0f;
    }
    const float ideal = static_cast<float>(old) + product / (norm * step);
    if (old == 0 && ideal <= 0.5f && ideal >= -0.5f) {
        return 0.0f;
    }
    u32 parents = 0;
    for (u32 i = lists.ends[entry]; i < lists.ends[entry + 1]; i++) {
        parents = larger(parents, parents_of(l, cell_at(walk, lists.vertices[i])));
    }
    const i32 chosen = cheapest(ideal, norm * step * step, task.lambda,
                                [&](i32 w) { return entry_bits(tables, l.variant, parents, w); });
    l.weights[entry] = chosen;
    return static_cast<float>(chosen - old) * step;
}

// Every entry of a hashed level once, in rounds of entries whose basis functions seldom meet.
HGV_DEVICE u32 sweep_hashed(const FitParams& p, FitShared& shared, const FitTask& task, const FitLevel& l,
                            const FitRoom& room, float* products) {
    const EntryLists lists = lists_of(p, l);
    const Walk walk = walk_over(l.lattice);
    u32 changed = 0;
    for (u32 round = 0; round < l.level.classes; round++) {
        for (u32 e = thread_index(); e < l.level.entries; e += thread_count()) {
            room.spread[e] = 0.0f;
        }
        HGV_SYNC();
        u32 mine = 0;
        for (u32 i = lists.class_ends[round] + thread_index(); i < lists.class_ends[round + 1]; i += thread_count()) {
            const u32 entry = lists.order[i];
            const float change = choose_entry(p, task, l, lists, entry, walk, products);
            room.spread[entry] = change;
            mine += change != 0.0f ? 1u : 0u;
        }
        const u32 here = block_sum(mine, shared.counts);
        changed += here;
        if (here == 0) {
            continue;
        }
        for (u32 v = thread_index(); v < count_of(l.lattice); v += thread_count()) {
            const float change = room.spread[hash_entry(cell_at(walk, v), l.level.table_log2)];
            if (l.level.reach > 0) {
                room.changes[v] = change;
            } else {
                products[v] -= change;
            }
        }
        HGV_SYNC();
        if (l.level.reach > 0) {
            spread_changes(p, l, room, 0, l.lattice, 1, products);
        }
    }
    return changed;
}

// The variant of the coder's tables that suits the weights of a dense level as they are, and how many are not 0.
HGV_DEVICE u32 survey(const FitParams& p, FitShared& shared, const FitLevel& l, u32& variant) {
    const RateTables tables = {p.map, p.costs};
    const Walk walk = walk_over(l.lattice);
    float bits[kRateVariants] = {};
    u32 some = 0;
    for (u32 at = thread_index(); at < l.level.entries; at += thread_count()) {
        const i32 w = l.weights[at];
        some += w != 0 ? 1u : 0u;
        // Most weights are zeros; some of them speak for all.
        if (w == 0 && at % 7u != 0) {
            continue;
        }
        const Cell c = cell_at(walk, at);
        const Place place = place_of(around(l.weights, l.lattice, c, parents_of(l, c)), l.level.level_class);
        const float times = w == 0 ? 7.0f : 1.0f;
        for (u32 v = 0; v < kRateVariants; v++) {
            bits[v] += times * weight_bits(tables, v, place, w);
        }
    }
    float least = 0.0f;
    for (u32 v = 0; v < kRateVariants; v++) {
        const float sum = block_sum(bits[v], shared.sums[v]);
        if (v == 0 || sum < least) {
            least = sum;
            variant = v;
        }
    }
    return block_sum(some, shared.counts);
}

// What the weights of a level add after they were chosen anew is taken from the error of the voxels.
HGV_DEVICE void subtract_change(const FitLevel& l, const FitRoom& room, Grid voxels, bool cubic) {
    const Walk walk = walk_over(l.lattice);
    for (u32 at = thread_index(); at < count_of(l.lattice); at += thread_count()) {
        const u32 entry = entry_of(l.level, l.lattice, cell_at(walk, at));
        room.changes[at] = static_cast<float>(l.weights[entry] - room.before[entry]) * l.level.step[0];
    }
    HGV_SYNC();
    float* residual = room.residual;
    refine_to(room.changes, voxels, l.level.spacing, 0, cubic, room.large,
              [=](u32 at, float v) { residual[at] -= v; });
}

struct Swept {
    u32 changed;
    u32 some;  // weights that are not 0
};

// Chooses the weights of one level anew, `again` times.
HGV_DEVICE Swept sweep_level(const FitParams& p, FitShared& shared, const FitTask& task, FitLevel& l, const FitRoom& room,
                             Grid voxels, bool cubic, u32 again) {
    const bool hashed = l.level.table_log2 != kDenseLevel;
    float* products = room.residual;
    if (l.level.spacing > 0) {
        products = gather_from(room.residual, voxels, l.level.spacing, cubic, room.large);
        for (u32 e = thread_index(); e < l.level.entries; e += thread_count()) {
            room.before[e] = l.weights[e];
        }
        HGV_SYNC();
    }
    u32 changed = 0;
    for (u32 i = 0; i < again; i++) {
        changed += hashed ? sweep_hashed(p, shared, task, l, room, products)
                          : sweep_dense(p, shared, task, l, room, products);
    }
    Swept swept = {changed, l.level.entries};
    if (!hashed) {
        swept.some = survey(p, shared, l, l.variant);
    }
    if (l.level.spacing > 0 && changed > 0) {
        subtract_change(l, room, voxels, cubic);
    }
    return swept;
}

HGV_DEVICE FitLevel fit_level(const FitParams& p, const FitShared& shared, const FitTask& task,
                              const TrainShape& shape, u32 index) {
    FitLevel l;
    const TrainLevel* levels = p.levels + shape.first_level;
    l.level = levels[index];
    l.lattice = lattice_of(voxels_of(shape), l.level.spacing);
    l.weights = p.weights + task.weights + l.level.first;
    l.parent = levels[index > 0 ? index - 1 : 0];
    l.parent_lattice = lattice_of(voxels_of(shape), l.parent.spacing);
    l.parent_weights = index > 0 ? p.weights + task.weights + l.parent.first : nullptr;
    l.variant = shared.variants[index];
    return l;
}

HGV_DEVICE void start_fit(const FitParams& p, FitShared& shared, const FitTask& task, const TrainShape& shape,
                          const FitRoom& room) {
    for (u32 i = thread_index(); i < count_of(voxels_of(shape)); i += thread_count()) {
        room.residual[i] = p.values[task.values + i] - task.centre;
    }
    for (u32 i = thread_index(); i < shape.weights; i += thread_count()) {
        p.weights[task.weights + i] = 0;
    }
    if (thread_index() < kMostTrainLevels) {
        shared.variants[thread_index()] = 0;
    }
    HGV_SYNC();
}

// Sweeps over all levels until they no longer pay.
HGV_DEVICE void fit_block(const FitParams& p, FitShared& shared, u32 index, const FitRoom& room) {
    const FitTask task = p.tasks[index];
    const TrainShape shape = p.shapes[task.shape];
    const Grid voxels = voxels_of(shape);
    start_fit(p, shared, task, shape, room);
    u32 sweep = 0, changed = 0;
    while (sweep < p.sweeps) {
        u32 some = 0;
        changed = 0;
        for (u32 i = 0; i < shape.levels; i++) {
            FitLevel l = fit_level(p, shared, task, shape, i);
            // Coarse grids cost nothing and converge slowly.
            const u32 again = sweep == 0 && l.level.spacing > 0 ? p.first_again : 1u;
            const Swept swept = sweep_level(p, shared, task, l, room, voxels, shape.cubic != 0, again);
            changed += swept.changed;
            some += swept.some;
            if (thread_index() == 0) {
                shared.variants[i] = l.variant;
            }
            HGV_SYNC();
        }
        sweep += 1;
        if (static_cast<u64>(changed) * p.settled <= some) {
            break;
        }
    }
    double squares = 0.0;
    for (u32 i = thread_index(); i < count_of(voxels); i += thread_count()) {
        squares += static_cast<double>(room.residual[i]) * static_cast<double>(room.residual[i]);
    }
    const double error = block_sum(squares, shared.error);
    if (thread_index() == 0) {
        p.results[index] = FitResult{error, sweep, changed};
    }
}
