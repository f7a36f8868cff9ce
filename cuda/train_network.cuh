// The network of a block, trained on what its integer weights give: src/encode/grid/network.rs and
// src/encode/train/mlp_trainer.rs for many blocks at once, a block of threads each.
#pragma once

#include "train_field.cuh"
#include "train_mlp.cuh"

enum : u32 {
    kSampleTile = 128,    // samples that stay together when their order is shuffled
    kDropped = 2,         // finest levels that some samples go without in turn
    kDroppedEvery = 16,   // one in this many voxels is such a sample, each time
};

struct NetworkTask {
    u64 values;   // first voxel, [z][y][x] in units of q
    u64 weights;  // first of its weights
    u32 shape;
    float centre;  // taken from the values
};
static_assert(sizeof(NetworkTask) == 24, "as in layout.rs");

struct NetworkResult {
    double without;  // mean squared error of a network that adds nothing, in units of the target
    double with;
    float unit;      // of the target: its root mean square
    u32 epochs;
    float largest[kMostHidden];  // activation of each hidden layer
};
static_assert(sizeof(NetworkResult) == 32, "as in layout.rs");

struct NetworkParams {
    const float* values;
    const TrainShape* shapes;
    const TrainLevel* levels;
    const i32* weights;
    const NetworkTask* tasks;
    const float* start;      // parameters for inputs and target of unit size
    const AdamStep* steps;   // of each shape, [epoch][batch]
    const u32* orders;       // of each shape, [epoch][tile]
    float* parameters;       // for each task, `stride` numbers: parameters, then units of the inputs
    NetworkResult* results;
    float* planes;           // of each block of threads: `room` numbers
    u32* next;
    u64 room;
    u32 count;
    u32 large;               // numbers of the largest block
    u32 stride;
    u32 inputs;
    u32 hidden;
    u32 width;
    u32 epochs;
    u32 chunk;
    float tolerance;
    u32 unused;
};

struct NetworkShared {
    double squares[kTrainWarps];
    float largest[kTrainWarps];
    u32 counts[kTrainWarps];
    u32 task;
};

// Samples of a block and what they are made with.
struct SampleRoom {
    float* inputs;   // a plane for each input, `samples` apart
    float* missing;  // what the weights leave of the block
    FieldRoom field;
};

HGV_DEVICE u32 dropped_samples(u32 voxels) { return ceil_div(voxels, kDroppedEvery); }
HGV_DEVICE u32 samples_of(u32 voxels) { return voxels + kDropped * dropped_samples(voxels); }

HGV_DEVICE float as_input(float v) { return clamped(v, -32767.0f, 32767.0f); }

// The samples without the finest levels, behind those of all voxels.
HGV_DEVICE void fill_dropped(const TrainLevel& level, float* plane, u32 voxels) {
    const u32 part = dropped_samples(voxels);
    for (u32 i = thread_index(); i < kDropped * part; i += thread_count()) {
        const u32 dropped = 1 + i / part, at = i % part * kDroppedEvery;
        plane[voxels + i] = level.spacing < dropped ? 0.0f : plane[at];
    }
    HGV_SYNC();
}

HGV_DEVICE void fill_samples(const NetworkParams& p, const NetworkTask& task, const TrainShape& shape,
                             const SampleRoom& room) {
    const TrainLevel* levels = p.levels + shape.first_level;
    const i32* weights = p.weights + task.weights;
    const auto values = [=](const TrainLevel& level, u32 f, u32 entry) {
        return static_cast<float>(weights[level.first + f * level.entries + entry]) * level.step[f];
    };
    const u32 voxels = count_of(voxels_of(shape)), part = dropped_samples(voxels);
    float* plane = room.inputs;
    for (u32 l = 0; l < shape.levels; l++) {
        for (u32 f = 0; f < levels[l].features && levels[l].to_input != 0.0f; f++) {
            fill_plane(levels[l], shape, values, f, levels[l].to_input, room.field,
                       [=](u32 at, float v) { plane[at] = as_input(v); });
            fill_dropped(levels[l], plane, voxels);
            plane += samples_of(voxels);
        }
    }
    const float* target = p.values + task.values;
    float* missing = room.missing;
    const float centre = task.centre;
    for (u32 dropped = 0; dropped <= kDropped; dropped++) {
        sum_levels(levels, shape, values, dropped, room.field, [=](u32 at, float v) {
            const float rest = target[at] - centre - v;
            if (dropped == 0) {
                missing[at] = rest;
            } else if (at % kDroppedEvery == 0) {
                missing[voxels + (dropped - 1) * part + at / kDroppedEvery] = rest;
            }
        });
    }
}

// Divides a plane by its root mean square, 1 if that is nothing; returns it.
HGV_DEVICE float normalise(float* plane, u32 count, NetworkShared& shared) {
    double squares = 0.0;
    for (u32 i = thread_index(); i < count; i += thread_count()) {
        squares += static_cast<double>(plane[i]) * static_cast<double>(plane[i]);
    }
    const double mean = block_sum(squares, shared.squares) / static_cast<double>(count);
    const float root = square_root(static_cast<float>(mean));
    const float unit = root > 1e-30f ? root : 1.0f;
    const float scale = 1.0f / unit;
    for (u32 i = thread_index(); i < count; i += thread_count()) {
        plane[i] *= scale;
    }
    HGV_SYNC();
    return unit;
}

// A block whose samples are ready.
struct Samples {
    const float* inputs;
    const float* target;
    u32 count;
    u32 tiles;
};

// What a thread saw of the samples that it went through.
struct Seen {
    double squares;
    u32 count;
};

// Loads the sample at place `at` of an order of tiles into a column and goes forward; returns its error, 0 of
// places beyond the samples.
HGV_DEVICE float see(const MlpRoom& room, MlpShape s, const Samples& samples, const u32* order, u32 at, u32 column,
                     Seen& seen) {
    const u32 tile = at / kSampleTile;
    const u32 sample = tile < samples.tiles
                           ? (order != nullptr ? order[tile] : tile) * kSampleTile + at % kSampleTile
                           : samples.count;
    if (sample >= samples.count) {
        for (u32 i = 0; i < s.inputs; i++) {
            room.rows[i * room.stride + column] = 0.0f;
        }
        forward(room, s, column);
        return 0.0f;
    }
    for (u32 i = 0; i < s.inputs; i++) {
        room.rows[i * room.stride + column] = samples.inputs[i * samples.count + sample];
    }
    const float error = forward(room, s, column) - samples.target[sample];
    seen.squares += static_cast<double>(error * error);
    seen.count += 1;
    return error;
}

// One Adam step over the tiles `first ..= last - 1` of an order.
HGV_DEVICE double learn_batch(const MlpRoom& room, MlpShape s, const Samples& samples, const u32* order, u32 first,
                              u32 last, AdamStep step, NetworkShared& shared) {
    Seen seen = {0.0, 0};
    const u32 column = thread_index();
    for (u32 at = first * kSampleTile; at < last * kSampleTile; at += room.chunk) {
        if (column < room.chunk) {
            const bool inside = at + column < last * kSampleTile;
            const u32 place = inside ? at + column : samples.tiles * kSampleTile;
            const float error = see(room, s, samples, order, place, column, seen);
            backward(room, s, column, error);
        }
        HGV_SYNC();
        add_gradients(room, s);
        HGV_SYNC();
    }
    const double squares = block_sum(seen.squares, shared.squares);
    const u32 count = block_sum(seen.count, shared.counts);
    move_mlp(room, s, step, 2.0f / static_cast<float>(count));
    HGV_SYNC();
    return squares;
}

// Epochs until they no longer pay; returns how many.
HGV_DEVICE u32 learn(const NetworkParams& p, const MlpRoom& room, MlpShape s, const Samples& samples,
                     const TrainShape& shape, NetworkShared& shared) {
    const u32* orders = p.orders + shape.order;
    const u32 batches = ceil_div(samples.tiles, shape.batch);
    double best = 0.0;
    for (u32 epoch = 0; epoch < p.epochs; epoch++) {
        double squares = 0.0;
        for (u32 batch = 0; batch < batches; batch++) {
            const u32 first = batch * shape.batch;
            const AdamStep step = p.steps[shape.steps + epoch * batches + batch];
            squares += learn_batch(room, s, samples, orders + epoch * samples.tiles, first,
                                   smaller(first + shape.batch, samples.tiles), step, shared);
        }
        if (epoch > 0 && squares > best * (1.0 - static_cast<double>(p.tolerance))) {
            return epoch + 1;
        }
        best = epoch == 0 || squares < best ? squares : best;
    }
    return p.epochs;
}

// The largest of the values that threads hold.
HGV_DEVICE float block_largest(float value, float* room) {
    for (u32 mask = 16; mask > 0; mask >>= 1) {
        value = larger(value, HGV_SHFL_XOR(value, mask));
    }
    if (lane_index() == 0) {
        room[warp_index()] = value;
    }
    HGV_SYNC();
    float most = room[0];
    for (u32 w = 1; w < kTrainWarps; w++) {
        most = larger(most, room[w]);
    }
    HGV_SYNC();
    return most;
}

HGV_DEVICE float largest_of(const MlpRoom& room, MlpShape s, u32 layer, u32 column) {
    float most = 0.0f;
    for (u32 i = 0; i < s.width; i++) {
        most = larger(most, room.rows[(hidden_row(s, layer) + i) * room.stride + column]);
    }
    return most;
}

// Errors of all samples without and with the network, and how large its activations are.
HGV_DEVICE NetworkResult compare(const MlpRoom& room, MlpShape s, const Samples& samples, NetworkShared& shared) {
    Seen seen = {0.0, 0};
    float first = 0.0f, second = 0.0f;
    double without = 0.0;
    const u32 column = thread_index();
    for (u32 at = column; at < samples.tiles * kSampleTile && column < room.chunk; at += room.chunk) {
        see(room, s, samples, nullptr, at, column, seen);
        if (at >= samples.count) {
            continue;
        }
        without += static_cast<double>(samples.target[at]) * static_cast<double>(samples.target[at]);
        first = larger(first, largest_of(room, s, 0, column));
        second = s.hidden > 1 ? larger(second, largest_of(room, s, 1, column)) : 0.0f;
    }
    NetworkResult result = {};
    const double count = static_cast<double>(samples.count);
    result.without = block_sum(without, shared.squares) / count;
    result.with = block_sum(seen.squares, shared.squares) / count;
    result.largest[0] = block_largest(first, shared.largest);
    result.largest[1] = block_largest(second, shared.largest);
    return result;
}

HGV_DEVICE SampleRoom sample_room(const NetworkParams& p, u32 voxels) {
    float* planes = p.planes + block_index() * p.room;
    const u64 large = p.large;
    float* inputs = planes + 4 * large;
    const u64 samples = samples_of(voxels);
    return SampleRoom{inputs, inputs + p.inputs * samples, field_room(planes, large)};
}

HGV_DEVICE void train_network(const NetworkParams& p, NetworkShared& shared, float* dynamic, u32 index) {
    const NetworkTask task = p.tasks[index];
    const TrainShape shape = p.shapes[task.shape];
    const u32 voxels = count_of(voxels_of(shape)), count = samples_of(voxels);
    const SampleRoom planes = sample_room(p, voxels);
    fill_samples(p, task, shape, planes);
    const MlpShape s = {p.inputs, p.hidden, p.width};
    const MlpRoom room = mlp_room(dynamic, s, p.chunk);
    start_mlp(room, s, p.start);
    float* out = p.parameters + static_cast<u64>(index) * p.stride;
    for (u32 i = 0; i < p.inputs; i++) {
        const float unit = normalise(planes.inputs + static_cast<u64>(i) * count, count, shared);
        if (thread_index() == 0) {
            out[parameters_of(s) + i] = unit;
        }
    }
    const float unit = normalise(planes.missing, count, shared);
    const Samples samples = {planes.inputs, planes.missing, count, ceil_div(count, kSampleTile)};
    const u32 epochs = learn(p, room, s, samples, shape, shared);
    NetworkResult result = compare(room, s, samples, shared);
    result.unit = unit;
    result.epochs = epochs;
    for (u32 i = thread_index(); i < parameters_of(s); i += thread_count()) {
        out[i] = room.parameters[i];
    }
    if (thread_index() == 0) {
        p.results[index] = result;
    }
}
