// The small network of a block in floats, forward and backward over chunks of samples.
//
// Activations and gradients of a chunk lie in shared memory, a row for each neuron, a column for each sample.
// A thread goes through the network with the sample of its column; then each sum over samples that is the
// gradient by one parameter belongs to a thread, so that no two threads ever add to the same number.
#pragma once

#include "train_model.cuh"

enum : u32 { kMostInputs = 32, kMostHidden = 2, kGradientParts = 2 };

struct MlpShape {
    u32 inputs;
    u32 hidden;  // layers, 1 or 2
    u32 width;   // of each: 8, 16, 24 or 32
};

// Parameters layer by layer: weights [input][output], then biases.
HGV_DEVICE u32 second_layer(MlpShape s) { return (s.inputs + 1) * s.width; }
HGV_DEVICE u32 last_layer(MlpShape s) {
    return second_layer(s) + (s.hidden > 1 ? (s.width + 1) * s.width : 0u);
}
HGV_DEVICE u32 parameters_of(MlpShape s) { return last_layer(s) + s.width + 1; }
HGV_DEVICE u32 padded(u32 n) { return (n + 3u) & ~3u; }

// Rows of a chunk: inputs, activations of each hidden layer, gradients by each of them, gradient by the output.
HGV_DEVICE u32 hidden_row(MlpShape s, u32 layer) { return s.inputs + layer * s.width; }
HGV_DEVICE u32 delta_row(MlpShape s, u32 layer) { return s.inputs + (s.hidden + layer) * s.width; }
HGV_DEVICE u32 output_row(MlpShape s) { return s.inputs + 2 * s.hidden * s.width; }

// Numbers that lie together, read at once.
struct alignas(16) Quad {
    float v[4];
};

HGV_DEVICE Quad quad_at(const float* from) { return *reinterpret_cast<const Quad*>(from); }

// Shared memory of a block of threads, cut up.
struct MlpRoom {
    float* parameters;
    float* first_moments;
    float* second_moments;
    float* gradients;  // kGradientParts lists
    float* rows;
    u32 stride;        // between rows
    u32 chunk;         // columns
};

HGV_DEVICE MlpRoom mlp_room(float* shared, MlpShape s, u32 chunk) {
    const u32 n = padded(parameters_of(s));
    return MlpRoom{shared, shared + n, shared + 2 * n, shared + 3 * n, shared + (3 + kGradientParts) * n, chunk + 4,
                   chunk};
}

// One layer of the sample in column `column`: `out = max(biases + weights * in, 0)`.
HGV_DEVICE void hidden_layer(const float* weights, u32 inputs, u32 width, const float* in, float* out, u32 stride) {
    const float* biases = weights + inputs * width;
    for (u32 o = 0; o < width; o += 8) {
        float sums[8];
        for (u32 k = 0; k < 8; k++) {
            sums[k] = biases[o + k];
        }
        for (u32 i = 0; i < inputs; i++) {
            const float x = in[i * stride];
            const Quad a = quad_at(weights + i * width + o), b = quad_at(weights + i * width + o + 4);
            for (u32 k = 0; k < 4; k++) {
                sums[k] = fused(x, a.v[k], sums[k]);
                sums[k + 4] = fused(x, b.v[k], sums[k + 4]);
            }
        }
        for (u32 k = 0; k < 8; k++) {
            out[(o + k) * stride] = larger(sums[k], 0.0f);
        }
    }
}

// Fills in the activations of a column whose inputs are there; returns the output.
HGV_DEVICE_CALL float forward(MlpRoom room, MlpShape s, u32 column) {
    float* rows = room.rows + column;
    const u32 stride = room.stride;
    hidden_layer(room.parameters, s.inputs, s.width, rows, rows + hidden_row(s, 0) * stride, stride);
    if (s.hidden > 1) {
        hidden_layer(room.parameters + second_layer(s), s.width, s.width, rows + hidden_row(s, 0) * stride,
                     rows + hidden_row(s, 1) * stride, stride);
    }
    const float* last = room.parameters + last_layer(s);
    const float* h = rows + hidden_row(s, s.hidden - 1) * stride;
    float sum = last[s.width];
    for (u32 i = 0; i < s.width; i++) {
        sum = fused(h[i * stride], last[i], sum);
    }
    return sum;
}

// Gradient by input `i` of a layer, from those by its outputs in the rows from `deltas` on.
HGV_DEVICE float inward(const float* weights, u32 width, u32 i, const float* deltas, u32 stride) {
    float sum = 0.0f;
    for (u32 o = 0; o < width; o += 4) {
        const Quad w = quad_at(weights + i * width + o);
        for (u32 k = 0; k < 4; k++) {
            sum = fused(deltas[(o + k) * stride], w.v[k], sum);
        }
    }
    return sum;
}

// Fills in the gradients by the activations of a column, from the one by the output.
HGV_DEVICE_CALL void backward(MlpRoom room, MlpShape s, u32 column, float delta) {
    float* rows = room.rows + column;
    const u32 stride = room.stride;
    rows[output_row(s) * stride] = delta;
    const u32 top = s.hidden - 1;
    const float* last = room.parameters + last_layer(s);
    for (u32 i = 0; i < s.width; i++) {
        const bool on = rows[(hidden_row(s, top) + i) * stride] > 0.0f;
        rows[(delta_row(s, top) + i) * stride] = on ? delta * last[i] : 0.0f;
    }
    if (top > 0) {
        for (u32 i = 0; i < s.width; i++) {
            const bool on = rows[(hidden_row(s, 0) + i) * stride] > 0.0f;
            const float sum = inward(room.parameters + second_layer(s), s.width, i,
                                     rows + delta_row(s, 1) * stride, stride);
            rows[(delta_row(s, 0) + i) * stride] = on ? sum : 0.0f;
        }
    }
}

// Rows whose products sum up to the gradient by a parameter; `in` is null of a bias.
struct Factors {
    const float* in;
    const float* delta;
};

HGV_DEVICE Factors layer_factors(const MlpRoom& room, u32 at, u32 inputs, u32 width, u32 in, u32 delta) {
    const u32 i = at / width, o = at - i * width;
    const float* rows = room.rows;
    return Factors{i < inputs ? rows + (in + i) * room.stride : nullptr, rows + (delta + o) * room.stride};
}

HGV_DEVICE Factors factors_of(const MlpRoom& room, MlpShape s, u32 parameter) {
    if (parameter < second_layer(s)) {
        return layer_factors(room, parameter, s.inputs, s.width, 0, delta_row(s, 0));
    }
    if (parameter < last_layer(s)) {
        return layer_factors(room, parameter - second_layer(s), s.width, s.width, hidden_row(s, 0),
                             delta_row(s, 1));
    }
    return layer_factors(room, parameter - last_layer(s), s.width, 1, hidden_row(s, s.hidden - 1), output_row(s));
}

// Adds what the columns of a chunk mean to the gradients. Needs a barrier before and after.
HGV_DEVICE_CALL void add_gradients(MlpRoom room, MlpShape s) {
    const u32 count = parameters_of(s), length = room.chunk / kGradientParts;
    for (u32 unit = thread_index(); unit < kGradientParts * count; unit += thread_count()) {
        const u32 part = unit / count, parameter = unit - part * count;
        const Factors f = factors_of(room, s, parameter);
        Quad sums = {};
        for (u32 c = part * length; c < (part + 1) * length; c += 4) {
            const Quad d = quad_at(f.delta + c);
            const Quad x = f.in != nullptr ? quad_at(f.in + c) : Quad{{1.0f, 1.0f, 1.0f, 1.0f}};
            for (u32 k = 0; k < 4; k++) {
                sums.v[k] = fused(d.v[k], x.v[k], sums.v[k]);
            }
        }
        room.gradients[part * padded(count) + parameter] += (sums.v[0] + sums.v[1]) + (sums.v[2] + sums.v[3]);
    }
}

// Starts from given parameters with nothing seen. Needs a barrier after.
HGV_DEVICE void start_mlp(const MlpRoom& room, MlpShape s, const float* from) {
    const u32 count = parameters_of(s), step = padded(count);
    for (u32 i = thread_index(); i < count; i += thread_count()) {
        room.parameters[i] = from[i];
        room.first_moments[i] = 0.0f;
        room.second_moments[i] = 0.0f;
        for (u32 part = 0; part < kGradientParts; part++) {
            room.gradients[part * step + i] = 0.0f;
        }
    }
}

// What Adam does in a step: the rate with its correction of the first moments, and the one of the second.
struct AdamStep {
    float rate;
    float unbias;
};

HGV_DEVICE float adam(float& m, float& v, float gradient, AdamStep step, float floor) {
    m = fused(0.9f, m, (1.0f - 0.9f) * gradient);
    v = fused(0.99f, v, (1.0f - 0.99f) * gradient * gradient);
    return step.rate * m / (square_root(v * step.unbias) + floor);
}

// Moves the parameters against `scale` times the gradients, which become 0. Needs a barrier before and after.
HGV_DEVICE void move_mlp(const MlpRoom& room, MlpShape s, AdamStep step, float scale) {
    const u32 count = parameters_of(s), list = padded(count);
    for (u32 i = thread_index(); i < count; i += thread_count()) {
        float gradient = 0.0f;
        for (u32 part = 0; part < kGradientParts; part++) {
            gradient += room.gradients[part * list + i];
            room.gradients[part * list + i] = 0.0f;
        }
        room.parameters[i] -=
            adam(room.first_moments[i], room.second_moments[i], gradient * scale, step, 1e-12f);
    }
}
