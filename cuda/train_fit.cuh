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

// A block being fitted, in shared memory.
struct Fit {
    FitParams p;
    FitTask task;
    TrainShape shape;
    FitRoom room;
    FitLevel level;  // the one whose weights are being chosen
    float* products;
    float sums[kRateVariants + 1][kTrainWarps];
    double error[kTrainWarps];
    u32 counts[kTrainWarps];
    u32 variants[kMostTrainLevels];
    u32 next;
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
HGV_DEVICE_CALL u32 choose_colour(const Fit& f, u32 colour, Grid part) {
    const FitLevel l = f.level;
    const RateTables tables = {f.p.map, f.p.costs};
    const Walk walk = walk_over(part);
    const float* grams = f.p.grams;
    float* products = f.products;
    float* changes = f.room.changes;
    const float step = l.level.step[0], lambda = f.task.lambda;
    u32 changed = 0;
    for (u32 at = thread_index(); at < count_of(part); at += thread_count()) {
        const Cell half = cell_at(walk, at);
        const Cell c = {2 * half.x + (colour & 1u), 2 * half.y + (colour >> 1 & 1u), 2 * half.z + (colour >> 2)};
        const u32 index = index_of(l.lattice, c);
        const i32 old = l.weights[index];
        const float norm = norm_of(grams, l.level, c);
        const float product = products[index];
        const float ideal = static_cast<float>(old) + product / (norm * step);
        float change = 0.0f;
        // Zero stays zero where rounding says so: its bits are hardly ever more.
        if (old != 0 || ideal > 0.5f || ideal < -0.5f) {
            const Place place =
                place_of(around(l.weights, l.lattice, c, parents_of(l, c)), l.level.level_class);
            const i32 chosen = cheapest(ideal, norm * step * step, lambda,
                                        [=](i32 w) { return weight_bits(tables, l.variant, place, w); });
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
HGV_DEVICE_CALL void spread_changes(const Fit& f, u32 colour, Grid part, u32 every) {
    float* products = f.products;
    float* first = other_than(f.room.large, products);
    float* second = f.room.spread;
    const Grid all = f.level.lattice;
    const Grid wide = resized<0>(part, all.x), flat = resized<1>(wide, all.y);
    const u32 reach = f.level.level.reach;
    const u32* gram = f.level.level.gram;
    spread_axis<0>(f.room.changes, part, wide, f.p.grams + gram[0], reach, colour & 1u, every,
                   [=](u32 at, float v) { first[at] = v; });
    spread_axis<1>(first, wide, flat, f.p.grams + gram[1], reach, colour >> 1 & 1u, every,
                   [=](u32 at, float v) { second[at] = v; });
    spread_axis<2>(second, flat, all, f.p.grams + gram[2], reach, colour >> 2, every,
                   [=](u32 at, float v) { products[at] -= v; });
}

// Every weight of a dense level once; returns how many changed.
HGV_DEVICE_CALL u32 sweep_dense(Fit& f) {
    const Grid lattice = f.level.lattice;
    // In the order of the coder's passes: bit 0 of a colour says that x is odd, bit 1 y, bit 2 z.
    const u32 colours = 0x74216530u;
    u32 changed = 0;
    for (u32 i = 0; i < 8; i++) {
        const u32 colour = colours >> (4 * i) & 7u;
        const Grid part = {(lattice.x + 1 - (colour & 1u)) >> 1, (lattice.y + 1 - (colour >> 1 & 1u)) >> 1,
                           (lattice.z + 1 - (colour >> 2)) >> 1};
        if (count_of(part) == 0) {
            continue;
        }
        const u32 here = block_sum(choose_colour(f, colour, part), f.counts);
        if (here > 0 && f.level.level.reach > 0) {
            spread_changes(f, colour, part, 2);
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

HGV_DEVICE EntryLists lists_of(const Fit& f, const FitLevel& l) {
    const u32* ends = f.p.lists + l.level.lists;
    const u32* vertices = ends + l.level.entries + 1;
    const u32* order = vertices + count_of(l.lattice);
    return EntryLists{ends, vertices, order, order + l.level.entries};
}

// Chooses one entry of a table; returns the change of its weight in units of q.
HGV_DEVICE float choose_entry(const Fit& f, const FitLevel& l, const EntryLists& lists, u32 entry, Walk walk) {
    const RateTables tables = {f.p.map, f.p.costs};
    const float step = l.level.step[0];
    float norm = 0.0f, product = 0.0f;
    for (u32 i = lists.ends[entry]; i < lists.ends[entry + 1]; i++) {
        const u32 v = lists.vertices[i];
        norm += norm_of(f.p.grams, l.level, cell_at(walk, v));
        product += f.products[v];
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
    const i32 chosen = cheapest(ideal, norm * step * step, f.task.lambda,
                                [=](i32 w) { return entry_bits(tables, l.variant, parents, w); });
    l.weights[entry] = chosen;
    return static_cast<float>(chosen - old) * step;
}

// Every entry of one round once; returns how many changed. Their changes are in the plane `spread`.
HGV_DEVICE u32 choose_round(Fit& f, const FitLevel& l, const EntryLists& lists, u32 round) {
    const Walk walk = walk_over(l.lattice);
    for (u32 e = thread_index(); e < l.level.entries; e += thread_count()) {
        f.room.spread[e] = 0.0f;
    }
    HGV_SYNC();
    u32 changed = 0;
    for (u32 i = lists.class_ends[round] + thread_index(); i < lists.class_ends[round + 1]; i += thread_count()) {
        const u32 entry = lists.order[i];
        const float change = choose_entry(f, l, lists, entry, walk);
        f.room.spread[entry] = change;
        changed += change != 0.0f ? 1u : 0u;
    }
    return block_sum(changed, f.counts);
}

// Every entry of a hashed level once, in rounds of entries whose basis functions seldom meet.
HGV_DEVICE_CALL u32 sweep_hashed(Fit& f) {
    const FitLevel l = f.level;
    const EntryLists lists = lists_of(f, l);
    const Walk walk = walk_over(l.lattice);
    u32 changed = 0;
    for (u32 round = 0; round < l.level.classes; round++) {
        const u32 here = choose_round(f, l, lists, round);
        changed += here;
        if (here == 0) {
            continue;
        }
        for (u32 v = thread_index(); v < count_of(l.lattice); v += thread_count()) {
            const float change = f.room.spread[hash_entry(cell_at(walk, v), l.level.table_log2)];
            if (l.level.reach > 0) {
                f.room.changes[v] = change;
            } else {
                f.products[v] -= change;
            }
        }
        HGV_SYNC();
        if (l.level.reach > 0) {
            spread_changes(f, 0, l.lattice, 1);
        }
    }
    return changed;
}

// Finds the variant of the coder's tables that suits the weights of a dense level as they are; returns how many
// of them are not 0.
HGV_DEVICE_CALL u32 survey(Fit& f, u32 index) {
    const FitLevel l = f.level;
    const RateTables tables = {f.p.map, f.p.costs};
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
    u32 variant = 0;
    for (u32 v = 0; v < kRateVariants; v++) {
        const float sum = block_sum(bits[v], f.sums[v]);
        if (v == 0 || sum < least) {
            least = sum;
            variant = v;
        }
    }
    if (thread_index() == 0) {
        f.variants[index] = variant;
    }
    return block_sum(some, f.counts);
}

// What the weights of a level add after they were chosen anew is taken from the error of the voxels.
HGV_DEVICE_CALL void subtract_change(const Fit& f) {
    const FitLevel l = f.level;
    const Walk walk = walk_over(l.lattice);
    float* changes = f.room.changes;
    for (u32 at = thread_index(); at < count_of(l.lattice); at += thread_count()) {
        const u32 entry = entry_of(l.level, l.lattice, cell_at(walk, at));
        changes[at] = static_cast<float>(l.weights[entry] - f.room.before[entry]) * l.level.step[0];
    }
    HGV_SYNC();
    float* residual = f.room.residual;
    refine_to(changes, voxels_of(f.shape), l.level.spacing, 0, f.shape.cubic != 0, f.room.large,
              [=](u32 at, float v) { residual[at] -= v; });
}

struct Swept {
    u32 changed;
    u32 some;  // weights that are not 0
};

// Describes a level, by one thread.
HGV_DEVICE void take_level(Fit& f, u32 index) {
    const TrainLevel* levels = f.p.levels + f.shape.first_level;
    i32* weights = f.p.weights + f.task.weights;
    FitLevel& l = f.level;
    l.level = levels[index];
    l.lattice = lattice_of(voxels_of(f.shape), l.level.spacing);
    l.weights = weights + l.level.first;
    l.parent = levels[index > 0 ? index - 1 : 0];
    l.parent_lattice = lattice_of(voxels_of(f.shape), l.parent.spacing);
    l.parent_weights = index > 0 ? weights + l.parent.first : nullptr;
    l.variant = f.variants[index];
}

// Makes a level the one whose weights are chosen, with the products of the error with its basis functions.
HGV_DEVICE void begin_level(Fit& f, u32 index) {
    if (thread_index() == 0) {
        take_level(f, index);
    }
    HGV_SYNC();
    const u32 spacing = f.level.level.spacing;
    float* products = f.room.residual;
    if (spacing > 0) {
        products = gather_from(products, voxels_of(f.shape), 0, spacing, f.shape.cubic != 0, f.room.large);
        for (u32 e = thread_index(); e < f.level.level.entries; e += thread_count()) {
            f.room.before[e] = f.level.weights[e];
        }
    }
    if (thread_index() == 0) {
        f.products = products;
    }
    HGV_SYNC();
}

// Chooses the weights of one level anew.
HGV_DEVICE Swept sweep_level(Fit& f, u32 index, bool first) {
    begin_level(f, index);
    const bool hashed = f.level.level.table_log2 != kDenseLevel, coarse = f.level.level.spacing > 0;
    // Coarse grids cost nothing and converge slowly.
    const u32 again = first && coarse ? f.p.first_again : 1u;
    u32 changed = 0;
    for (u32 i = 0; i < again; i++) {
        changed += hashed ? sweep_hashed(f) : sweep_dense(f);
    }
    const Swept swept = {changed, hashed ? f.level.level.entries : survey(f, index)};
    if (coarse && changed > 0) {
        subtract_change(f);
    }
    HGV_SYNC();
    return swept;
}

// Gives a block of threads its planes, by one thread.
HGV_DEVICE void cut_planes(Fit& f) {
    const u64 large = f.p.large, small = f.p.small;
    float* planes = f.p.planes + block_index() * (3 * large + 3 * small);
    float* rest = planes + 3 * large;
    f.room.residual = planes;
    f.room.large.a = planes + large;
    f.room.large.b = planes + 2 * large;
    f.room.changes = rest;
    f.room.spread = rest + small;
    f.room.before = reinterpret_cast<i32*>(rest + 2 * small);
}

HGV_DEVICE void begin_fit(Fit& f, u32 index) {
    if (thread_index() == 0) {
        f.task = f.p.tasks[index];
        f.shape = f.p.shapes[f.task.shape];
    }
    if (thread_index() < kMostTrainLevels) {
        f.variants[thread_index()] = 0;
    }
    HGV_SYNC();
    for (u32 i = thread_index(); i < count_of(voxels_of(f.shape)); i += thread_count()) {
        f.room.residual[i] = f.p.values[f.task.values + i] - f.task.centre;
    }
    for (u32 i = thread_index(); i < f.shape.weights; i += thread_count()) {
        f.p.weights[f.task.weights + i] = 0;
    }
    HGV_SYNC();
}

// Sweeps over all levels until they no longer pay.
HGV_DEVICE void fit_block(Fit& f, u32 index) {
    begin_fit(f, index);
    u32 sweep = 0, changed = 0;
    while (sweep < f.p.sweeps) {
        u32 some = 0;
        changed = 0;
        for (u32 i = 0; i < f.shape.levels; i++) {
            const Swept swept = sweep_level(f, i, sweep == 0);
            changed += swept.changed;
            some += swept.some;
        }
        sweep += 1;
        if (static_cast<u64>(changed) * f.p.settled <= some) {
            break;
        }
    }
    double squares = 0.0;
    for (u32 i = thread_index(); i < count_of(voxels_of(f.shape)); i += thread_count()) {
        squares += static_cast<double>(f.room.residual[i]) * static_cast<double>(f.room.residual[i]);
    }
    const double error = block_sum(squares, f.error);
    if (thread_index() == 0) {
        f.p.results[index] = FitResult{error, sweep, changed};
    }
}
