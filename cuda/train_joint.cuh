// All parameters of a block model by gradient descent on squared error plus the price of the bits:
// src/encode/train/trainer.rs for many blocks at once, a block of threads each.
//
// First all parameters move while rounding hardens; then grid weights are whole numbers for good and the network
// alone settles on them. A step reads every voxel: values of the weights are refined to planes, the network goes
// forward and backward over tiles of voxels and leaves gradients in the place of the planes, and the adjoint of
// refinement brings those back to the weights.
#pragma once

#include "train_field.cuh"
#include "train_mlp.cuh"
#include "train_relax.cuh"

enum : u32 {
    kMostLists = kMostTrainLevels * 4,
    kJointWindow = 16,  // steps whose mean decides whether training still pays
};

struct JointTask {
    u64 values;   // first voxel, [z][y][x]
    u64 weights;  // first of its weights, in units of their steps, [level][feature][entry]
    u32 shape;
    float centre;  // taken from the values
    float lambda;  // price of a bit in squared units of the values
    u32 unused;
};
static_assert(sizeof(JointTask) == 32, "as in layout.rs");

// What happens in a step, the same for all blocks.
struct JointStep {
    AdamStep grid;
    AdamStep mlp;
    Relaxed relaxed;
    u32 unused;
};
static_assert(sizeof(JointStep) == 32, "as in layout.rs");

struct JointResult {
    double error_before;  // mean squared error, in squared units of the values
    double bits_before;   // that the weights are expected to take
    double error_after;   // with whole weights
    double bits_after;
    u32 steps;
    u32 unused;
};
static_assert(sizeof(JointResult) == 40, "as in layout.rs");

struct JointParams {
    const float* values;
    const TrainShape* shapes;
    const TrainLevel* levels;
    const u32* lists;
    const JointTask* tasks;
    const JointStep* steps;  // those in which all moves, then those in which the network does
    float* weights;
    float* networks;         // for each task, `stride` numbers: its parameters
    float* gradients;        // the same for gradients of the first step, after the weights; null: unwanted
    JointResult* results;
    float* planes;           // of each block of threads: `room` numbers
    u32* next;
    u64 room;
    u32 count;
    u32 large;    // numbers of the largest block
    u32 most;     // weights of the largest block
    u32 stride;
    u32 inputs;
    u32 hidden;   // 0: no network
    u32 width;
    u32 chunk;
    u32 moving;   // steps in which all moves
    u32 settling;
    float damping;
    float tolerance;
};

// A block in training, in shared memory.
struct Joint {
    JointParams p;
    JointTask task;
    TrainShape shape;
    const TrainLevel* levels;
    MlpRoom room;
    MlpShape mlp;
    u32 voxels;
    float unit;      // root mean square of the target; everything is in units of it
    float scale;     // 1 / unit
    float* weights;
    float* values;   // by weight: values, then gradients
    float* first;    // moments
    float* second;
    float* inputs;   // planes as the network reads them, then gradients by them
    float* base;     // sum of skipping features, then the gradient by it
    FieldRoom field;
    double sums[kTrainWarps];
    float typical[kMostLists];
    Rate rates[kMostLists];
    u32 next;
};

// A list of weights: one feature of one level.
struct WeightList {
    u32 index;
    u32 count;
    float step;  // in units of the target
    float* weights;
    float* values;
    float* first;
    float* second;
};

HGV_DEVICE WeightList list_of(const Joint& j, const TrainLevel& level, u32 l, u32 f) {
    const u32 at = level.first + f * level.entries;
    return WeightList{l * 4 + f,      level.entries, level.step[f] * j.scale, j.weights + at, j.values + at,
                      j.first + at, j.second + at};
}

// Calls `each` with every list, by all threads.
template <class Each> HGV_DEVICE void for_lists(const Joint& j, Each each) {
    for (u32 l = 0; l < j.shape.levels; l++) {
        const TrainLevel& level = j.levels[l];
        for (u32 f = 0; f < level.features; f++) {
            each(list_of(j, level, l, f));
        }
    }
}

// Values of all weights, then planes.
HGV_DEVICE_CALL void load_planes(const Joint& j, Relaxed relaxed) {
    for_lists(j, [&](const WeightList& list) {
        for (u32 i = thread_index(); i < list.count; i += thread_count()) {
            list.values[i] = list.step * soft_round(relaxed, disturbed(relaxed, i, list.weights[i])).value;
        }
    });
    HGV_SYNC();
    const float* all = j.values;
    const auto values = [=](const TrainLevel& level, u32 f, u32 entry) {
        return all[level.first + f * level.entries + entry];
    };
    const TrainShape shape = j.shape;
    float* plane = j.inputs;
    for (u32 l = 0; l < shape.levels && j.mlp.hidden > 0; l++) {
        const TrainLevel& level = j.levels[l];
        for (u32 f = 0; f < level.features && level.to_input != 0.0f; f++) {
            fill_plane(level, shape, values, f, level.to_input * j.unit, j.field,
                       [=](u32 at, float v) { plane[at] = v; });
            plane += j.voxels;
        }
    }
    float* base = j.base;
    sum_levels(j.levels, shape, values, 0, j.field, [=](u32 at, float v) { base[at] = v; });
}

HGV_DEVICE float target_at(const Joint& j, u32 voxel) {
    return (j.p.values[j.task.values + voxel] - j.task.centre) * j.scale;
}

// What a step learns.
struct Learn {
    bool network;
    bool grid;
};

// One voxel: its squared error; gradients by its activations and planes as far as they are wanted.
HGV_DEVICE double see_voxel(const Joint& j, u32 voxel, u32 column, Learn learn) {
    const u32 stride = j.room.stride;
    float output = 0.0f;
    if (j.mlp.hidden > 0) {
        for (u32 i = 0; i < j.mlp.inputs; i++) {
            j.room.rows[i * stride + column] = j.inputs[i * j.voxels + voxel];
        }
        output = forward(j.room, j.mlp, column);
    }
    const float error = output + j.base[voxel] - target_at(j, voxel);
    const float delta = error * (2.0f / static_cast<float>(j.voxels));
    if (j.mlp.hidden > 0 && learn.network) {
        backward(j.room, j.mlp, column, delta);
    }
    if (learn.grid) {
        j.base[voxel] = delta;
        const float* deltas = j.room.rows + delta_row(j.mlp, 0) * stride + column;
        for (u32 i = 0; i < j.mlp.inputs && j.mlp.hidden > 0; i++) {
            j.inputs[i * j.voxels + voxel] = inward(j.room.parameters, j.mlp.width, i, deltas, stride);
        }
    }
    return static_cast<double>(error * error);
}

// A column without a voxel adds nothing.
HGV_DEVICE void clear_column(const Joint& j, u32 column) {
    for (u32 row = 0; row <= output_row(j.mlp); row++) {
        j.room.rows[row * j.room.stride + column] = 0.0f;
    }
}

// Goes over all voxels; returns the sum of squared errors. Gradients by planes take the place of the planes.
HGV_DEVICE_CALL double see_voxels(Joint& j, Learn learn) {
    double squares = 0.0;
    const u32 column = thread_index();
    for (u32 first = 0; first < j.voxels; first += j.room.chunk) {
        if (column < j.room.chunk && first + column < j.voxels) {
            squares += see_voxel(j, first + column, column, learn);
        } else if (column < j.room.chunk && j.mlp.hidden > 0) {
            clear_column(j, column);
        }
        if (j.mlp.hidden > 0 && learn.network) {
            HGV_SYNC();
            add_gradients(j.room, j.mlp);
            HGV_SYNC();
        }
    }
    return block_sum(squares, j.sums);
}

// Brings gradients at the vertices of a level to the entries of one of its tables.
HGV_DEVICE void collect(const Joint& j, const TrainLevel& level, const float* gradient, float* table) {
    if (level.table_log2 == kDenseLevel) {
        for (u32 i = thread_index(); i < level.entries; i += thread_count()) {
            table[i] = gradient[i];
        }
    } else {
        const u32* ends = j.p.lists + level.lists;
        const u32* vertices = ends + level.entries + 1;
        for (u32 e = thread_index(); e < level.entries; e += thread_count()) {
            float sum = 0.0f;
            for (u32 i = ends[e]; i < ends[e + 1]; i++) {
                sum += gradient[vertices[i]];
            }
            table[e] = sum;
        }
    }
    HGV_SYNC();
}

// Gradients by the values of a level: what its planes say, and `summed`, the gradient by the sum over the levels
// at its vertices, where its features are added up.
HGV_DEVICE float* collect_level(const Joint& j, const TrainLevel& level, float* plane, const float* summed) {
    const Grid voxels = voxels_of(j.shape), lattice = lattice_of(voxels, level.spacing);
    const bool feeds = level.to_input != 0.0f && j.mlp.hidden > 0;
    for (u32 f = level.features; f-- > 0;) {
        float* gradient = j.field.pair.a;
        if (feeds) {
            plane -= j.voxels;
            gradient = plane;
            if (level.spacing > 0) {
                gradient = gather_from(plane, voxels, 0, level.spacing, j.shape.cubic != 0, j.field.pair);
            }
        }
        const float scale = level.to_input * j.unit;
        const bool skips = (level.skip >> f & 1u) != 0;
        for (u32 i = thread_index(); i < count_of(lattice); i += thread_count()) {
            gradient[i] = (feeds ? gradient[i] * scale : 0.0f) + (skips ? summed[i] : 0.0f);
        }
        HGV_SYNC();
        collect(j, level, gradient, j.values + level.first + f * level.entries);
    }
    return plane;
}

// Gradients by the values of all weights, from those by the planes.
HGV_DEVICE_CALL void gather_gradients(const Joint& j) {
    float* summed = j.base;
    float* plane = j.inputs + static_cast<u64>(j.mlp.inputs) * j.voxels;
    u32 spacing = 0;
    for (u32 l = j.shape.levels; l-- > 0;) {
        const TrainLevel& level = j.levels[l];
        if (level.spacing > spacing) {
            const Pair room = {j.field.sums, j.field.other};
            summed = gather_from(summed, voxels_of(j.shape), spacing, level.spacing, j.shape.cubic != 0, room);
            spacing = level.spacing;
        }
        plane = collect_level(j, level, plane, summed);
    }
}

// Fits the rate of every list to its weights; returns the bits of all.
HGV_DEVICE_CALL double measure(Joint& j) {
    double bits = 0.0;
    for_lists(j, [&](const WeightList& list) {
        double sum = 0.0, knees = 0.0;
        for (u32 i = thread_index(); i < list.count; i += thread_count()) {
            const float w = list.weights[i];
            sum += static_cast<double>(w < 0.0f ? -w : w);
            knees += static_cast<double>(knee(w));
        }
        const double count = static_cast<double>(list.count);
        const Rate rate = rate_of(static_cast<float>(block_sum(sum, j.sums) / count));
        bits += static_cast<double>(rate.slope) * block_sum(knees, j.sums) +
                count * static_cast<double>(rate.zero);
        if (thread_index() == 0) {
            j.rates[list.index] = rate;
        }
    });
    HGV_SYNC();
    return bits;
}

// Turns gradients by value into gradients by weight, the rate included.
HGV_DEVICE void chain_list(const Joint& j, const WeightList& list, const Relaxed& relaxed, float per_bit) {
    const Rate rate = j.rates[list.index];
    for (u32 i = thread_index(); i < list.count; i += thread_count()) {
        const float w = list.weights[i];
        const float slope = list.step * soft_round(relaxed, disturbed(relaxed, i, w)).slope;
        list.values[i] = list.values[i] * slope + per_bit * rate_slope(rate, w);
    }
}

// One step of Adam. Gradients far under the typical one of their list take steps that are shorter in proportion.
HGV_DEVICE void move_list(Joint& j, const WeightList& list, AdamStep step, bool begins) {
    double squares = 0.0;
    for (u32 i = thread_index(); i < list.count; i += thread_count()) {
        squares += static_cast<double>(list.values[i]) * static_cast<double>(list.values[i]);
    }
    const double mean = block_sum(squares, j.sums) / static_cast<double>(list.count);
    const float typical = square_root(static_cast<float>(mean));
    const float floor = 1e-12f + j.p.damping * (begins ? typical : j.typical[list.index]);
    for (u32 i = thread_index(); i < list.count; i += thread_count()) {
        list.weights[i] -= adam(list.first[i], list.second[i], list.values[i], step, floor);
    }
    HGV_SYNC();
    if (thread_index() == 0) {
        j.typical[list.index] = typical;
    }
    HGV_SYNC();
}

struct Loss {
    double error;  // mean squared error, in squared units of the target
    double bits;
};

// One step of everything.
HGV_DEVICE Loss joint_step(Joint& j, u32 index, float* told) {
    const JointStep step = j.p.steps[index];
    load_planes(j, step.relaxed);
    const double squares = see_voxels(j, Learn{true, true});
    gather_gradients(j);
    const Loss loss = {squares / static_cast<double>(j.voxels), measure(j)};
    const float per_bit = j.task.lambda * j.scale * j.scale / static_cast<float>(j.voxels);
    for_lists(j, [&](const WeightList& list) { chain_list(j, list, step.relaxed, per_bit); });
    HGV_SYNC();
    if (told != nullptr) {
        for (u32 i = thread_index(); i < j.shape.weights; i += thread_count()) {
            told[i] = j.values[i];
        }
        const u32 count = j.mlp.hidden > 0 ? parameters_of(j.mlp) : 0;
        for (u32 i = thread_index(); i < count; i += thread_count()) {
            told[j.shape.weights + i] = j.room.gradients[i] + j.room.gradients[padded(count) + i];
        }
        HGV_SYNC();
    }
    for_lists(j, [&](const WeightList& list) { move_list(j, list, step.grid, index == 0); });
    if (j.mlp.hidden > 0) {
        move_mlp(j.room, j.mlp, step.mlp, 1.0f);
    }
    HGV_SYNC();
    return loss;
}

// One step of the network alone, on planes of whole weights.
HGV_DEVICE Loss settle_step(Joint& j, u32 index, double bits) {
    const double squares = see_voxels(j, Learn{true, false});
    move_mlp(j.room, j.mlp, j.p.steps[j.p.moving + index].mlp, 1.0f);
    HGV_SYNC();
    return Loss{squares / static_cast<double>(j.voxels), bits};
}

// The loss with weights as they are.
HGV_DEVICE Loss joint_loss(Joint& j) {
    load_planes(j, Relaxed{0.0f, 0.0f, 0});
    const double squares = see_voxels(j, Learn{false, false});
    return Loss{squares / static_cast<double>(j.voxels), measure(j)};
}

// Whether training still pays, after each step.
struct Patience {
    double sum;
    double best;
    u32 seen;
    u32 stalls;
};

HGV_DEVICE bool gives_up(Patience& patience, double objective, float tolerance) {
    patience.sum += objective;
    patience.seen += 1;
    if (patience.seen % kJointWindow != 0) {
        return false;
    }
    const bool first = patience.seen == kJointWindow;
    const bool falls = first || patience.sum < patience.best * (1.0 - static_cast<double>(tolerance));
    patience.stalls = falls ? 0 : patience.stalls + 1;
    patience.best = first || patience.sum < patience.best ? patience.sum : patience.best;
    patience.sum = 0.0;
    return patience.stalls == 2;
}

HGV_DEVICE double objective_of(const Joint& j, Loss loss) {
    const double lambda = static_cast<double>(j.task.lambda * j.scale * j.scale);
    return loss.error + lambda * loss.bits / static_cast<double>(j.voxels);
}

// Steps until they no longer pay; returns how many.
HGV_DEVICE u32 descend(Joint& j, float* told) {
    Patience patience = {};
    u32 step = 0;
    while (step < j.p.moving) {
        const Loss loss = joint_step(j, step, step == 0 ? told : nullptr);
        step += 1;
        if (gives_up(patience, objective_of(j, loss), j.p.tolerance)) {
            break;
        }
    }
    for_lists(j, [&](const WeightList& list) {
        for (u32 i = thread_index(); i < list.count; i += thread_count()) {
            list.weights[i] = round_even(list.weights[i]);
        }
    });
    HGV_SYNC();
    if (j.mlp.hidden == 0) {
        return step;
    }
    load_planes(j, Relaxed{0.0f, 0.0f, 0});
    const double bits = measure(j);
    patience = Patience{};
    for (u32 i = 0; i < j.p.settling; i++) {
        const Loss loss = settle_step(j, i, bits);
        step += 1;
        if (gives_up(patience, objective_of(j, loss), j.p.tolerance)) {
            break;
        }
    }
    return step;
}

// Root mean square of the target.
HGV_DEVICE float joint_unit(Joint& j) {
    double squares = 0.0;
    for (u32 i = thread_index(); i < j.voxels; i += thread_count()) {
        const double v = static_cast<double>(j.p.values[j.task.values + i] - j.task.centre);
        squares += v * v;
    }
    const double mean = block_sum(squares, j.sums) / static_cast<double>(j.voxels);
    const float root = square_root(static_cast<float>(mean));
    return root > 1e-30f ? root : 1.0f;
}

// Fills in what a block is, by one thread.
HGV_DEVICE void describe(Joint& j, float* dynamic, u32 index) {
    const JointParams& p = j.p;
    j.task = p.tasks[index];
    j.shape = p.shapes[j.task.shape];
    j.levels = p.levels + j.shape.first_level;
    j.mlp = MlpShape{p.inputs, p.hidden, p.width};
    j.room = mlp_room(dynamic, j.mlp, p.chunk);
    j.voxels = count_of(voxels_of(j.shape));
    j.weights = p.weights + j.task.weights;
    float* planes = p.planes + block_index() * p.room;
    const u64 large = p.large, most = p.most;
    j.field = field_room(planes, large);
    j.values = planes + 4 * large;
    j.first = j.values + most;
    j.second = j.first + most;
    j.base = j.second + most;
    j.inputs = j.base + large;
}

// The output layer of the network in units of the target, or back.
HGV_DEVICE void scale_output(const Joint& j, float scale) {
    for (u32 i = last_layer(j.mlp) + thread_index(); i < parameters_of(j.mlp); i += thread_count()) {
        j.room.parameters[i] *= scale;
    }
    HGV_SYNC();
}

HGV_DEVICE void begin_joint(Joint& j, float* dynamic, u32 index) {
    if (thread_index() == 0) {
        describe(j, dynamic, index);
    }
    HGV_SYNC();
    const float unit = joint_unit(j);
    if (thread_index() == 0) {
        j.unit = unit;
        j.scale = 1.0f / unit;
    }
    for (u32 i = thread_index(); i < j.shape.weights; i += thread_count()) {
        j.first[i] = 0.0f;
        j.second[i] = 0.0f;
    }
    HGV_SYNC();
}

HGV_DEVICE void train_joint(Joint& j, float* dynamic, u32 index) {
    begin_joint(j, dynamic, index);
    float* network = j.p.networks + static_cast<u64>(index) * j.p.stride;
    if (j.mlp.hidden > 0) {
        start_mlp(j.room, j.mlp, network);
        HGV_SYNC();
        scale_output(j, j.scale);
    }
    const Loss before = joint_loss(j);
    float* told = j.p.gradients;
    const u32 steps = descend(j, told == nullptr ? told : told + static_cast<u64>(index) * (j.p.most + j.p.stride));
    const Loss after = joint_loss(j);
    if (j.mlp.hidden > 0) {
        scale_output(j, j.unit);
        for (u32 i = thread_index(); i < parameters_of(j.mlp); i += thread_count()) {
            network[i] = j.room.parameters[i];
        }
    }
    if (thread_index() == 0) {
        const double square = static_cast<double>(j.unit) * static_cast<double>(j.unit);
        j.p.results[index] =
            JointResult{before.error * square, before.bits, after.error * square, after.bits, steps, 0};
    }
}
