// The network of a block at the samples of a tile, in integers (format-spec/payload.md, section 22).
//
// Activations u are split into signed bytes, u = 256 * high + low + 128, so that products are those of bytes; the
// 128 joins the biases. Two ways give the same numbers: a sample a thread, four products an instruction, for
// small networks; and products of matrices by a warp, 16 samples at a time.
#pragma once

#include "grid_tile.cuh"

enum : u32 {
    kMostWords = kWidest / 4,  // of the inputs of a layer, four to a word
    kPlaneGap = 8,             // words between planes beyond their samples, so that banks differ
};

// A network for use, in shared memory.
struct GridNetwork {
    u32 words[kMatrices][kWidest][kMostWords];  // weights of an output, four inputs to a word; 0 beyond the last
    i32 biases[kMatrices][kWidest];             // with all that is added to sums before the shift
    u32 shifts[kMatrices];
};

// Inputs of the network at the samples of a tile, in shared memory: [word of four inputs][sample].
struct GridPlanes {
    u32* low;
    u32* high;
    u32 stride;
};

// Input number i of a lane's word w in products of matrices. A lane holds columns 2t, 2t + 1 of every eight
// outputs of the layer before, in this order, so that it need not exchange them; any order will do that both
// factors share.
HGV_DEVICE u32 fragment_input(u32 word, u32 i) {
    const u32 t = word & 3u;
    return 8u * (2u * (word >> 2) + (i >> 1)) + 2u * t + (i & 1u);
}

// Unpacks a network. `fragments`: hidden layers are read by products of matrices. All threads of the block; the
// caller waits for them.
HGV_DEVICE void load_network(const GridPlan& plan, const i16* from, bool fragments, GridNetwork& to) {
    for (u32 j = 0; j <= plan.hidden; j++) {
        const u32 inputs = matrix_inputs(plan, j);
        const u32 outputs = matrix_outputs(plan, j);
        const u32 shift = static_cast<u32>(from[0]);
        const i16* weights = from + 1;
        for (u32 k = thread_index(); k < outputs * kMostWords; k += thread_count()) {
            const u32 output = k / kMostWords;
            const u32 number = k % kMostWords;
            u32 word = 0;
            for (u32 i = 0; i < 4; i++) {
                const u32 input = fragments && j > 0 ? fragment_input(number, i) : 4u * number + i;
                const u32 weight = input < inputs ? static_cast<u32>(weights[output * inputs + input]) : 0u;
                word |= (weight & 0xffu) << (8u * i);
            }
            to.words[j][output][number] = word;
        }
        for (u32 output = thread_index(); output < outputs; output += thread_count()) {
            i32 sum = 0;
            for (u32 i = 0; i < inputs; i++) {
                sum += weights[output * inputs + i];
            }
            to.biases[j][output] = weights[outputs * inputs + output] * 256 + (1 << (shift - 1u)) + 128 * sum;
        }
        if (thread_index() == 0) {
            to.shifts[j] = shift;
        }
        from += 1u + outputs * inputs + outputs;
    }
}

// Byte of a word of four inputs.
HGV_DEVICE u32 low_byte(i32 u) { return (static_cast<u32>(u) & 0xffu) ^ 0x80u; }
HGV_DEVICE u32 high_byte(i32 u) { return static_cast<u32>(u) >> 8 & 0xffu; }

HGV_DEVICE i32 activation(i32 sum, u32 shift) { return clamped(sum >> shift, 0, 32767); }

HGV_DEVICE void put_input(const GridPlanes& planes, u32 input, u32 sample, i32 u) {
    const u32 at = 4u * (input / 4u * planes.stride + sample) + input % 4u;
    reinterpret_cast<u8*>(planes.low)[at] = static_cast<u8>(low_byte(u));
    reinterpret_cast<u8*>(planes.high)[at] = static_cast<u8>(high_byte(u));
}

// What the network reads of a feature's value.
HGV_DEVICE i32 input_of(i32 value, u32 shift) {
    const u32 half = shift == 0 ? 0u : 1u << (shift - 1u);
    return clamped(wrapping(static_cast<u32>(value) + half) >> shift, -32767, 32767);
}

// One feature as input number `input`, 0 if it is not used. `now` and `other` have room for a tile. All threads of the block.
HGV_DEVICE void fill_input(const GridWork& work, const GridTile& tile, const GridLevel& level, u32 feature, bool used,
                           u32 samples, const GridPlanes& planes, u32 input, i32*& now, i32*& other) {
    if (used) {
        const u32 end[3] = {work.lod, work.lod, work.lod};
        u32 spacing[3];
        spacing_of(level, spacing);
        GridBox box = box_at(tile, spacing);
        put_feature(work, tile, level, feature, false, now);
        HGV_SYNC();
        refine(tile, box, end, work.plan->cubic != 0, now, other);
    }
    for (u32 i = thread_index(); i < samples; i += thread_count()) {
        put_input(planes, input, i, used ? input_of(now[i], level.input_shift) : 0);
    }
    HGV_SYNC();
}

// All inputs. All threads of the block.
HGV_DEVICE void fill_inputs(const GridWork& work, const GridTile& tile, u32 samples, const GridPlanes& planes,
                            i32* now, i32* other) {
    const u32 used = used_levels(*work.plan, work.lod);
    u32 input = 0;
    for (u32 l = 0; l < work.plan->levels; l++) {
        const GridLevel& level = work.plan->level[l];
        for (u32 f = 0; f < level.features && level.input_shift != kNoInput; f++) {
            fill_input(work, tile, level, f, l < used && has_weights(work, level, f), samples, planes, input, now, other);
            input++;
        }
    }
}

// The sums of an output from the words of its inputs.
HGV_DEVICE i32 dot_words(const u32 (&low)[kMostWords], const u32 (&high)[kMostWords], const u32* weights, u32 words,
                         i32 bias) {
    i32 lows = bias;
    i32 highs = 0;
    for (u32 k = 0; k < kMostWords; k++) {
        if (k < words) {
            lows = dot4_i8(static_cast<i32>(weights[k]), static_cast<i32>(low[k]), lows);
            highs = dot4_i8(static_cast<i32>(weights[k]), static_cast<i32>(high[k]), highs);
        }
    }
    return highs * 256 + lows;
}

// Adds the output of the network to the sums, a sample a thread. Planes have room for a layer's outputs.
HGV_DEVICE void add_network_by_dots(const GridPlan& plan, const GridNetwork& network, const GridPlanes& planes,
                                    u32 samples, i32* sums) {
    for (u32 i = thread_index(); i < samples; i += thread_count()) {
        for (u32 j = 0; j <= plan.hidden; j++) {
            const u32 words = ceil_div(matrix_inputs(plan, j), 4);
            u32 low[kMostWords];
            u32 high[kMostWords];
            for (u32 k = 0; k < kMostWords; k++) {
                low[k] = k < words ? planes.low[k * planes.stride + i] : 0u;
                high[k] = k < words ? planes.high[k * planes.stride + i] : 0u;
            }
            if (j == plan.hidden) {
                const i32 sum = dot_words(low, high, network.words[j][0], words, network.biases[j][0]);
                sums[i] = wrapping(static_cast<u32>(sums[i]) + static_cast<u32>(sum >> network.shifts[j]));
                continue;
            }
            for (u32 k = 0; k < plan.width / 4u; k++) {
                u32 next_low = 0;
                u32 next_high = 0;
                for (u32 o = 0; o < 4; o++) {
                    const u32 output = 4u * k + o;
                    const i32 sum = dot_words(low, high, network.words[j][output], words, network.biases[j][output]);
                    const i32 u = activation(sum, network.shifts[j]);
                    next_low |= low_byte(u) << (8u * o);
                    next_high |= high_byte(u) << (8u * o);
                }
                planes.low[k * planes.stride + i] = next_low;
                planes.high[k * planes.stride + i] = next_high;
            }
        }
    }
}

// Activations of 16 samples as the left factor of a product of matrices.
struct GridFragment {
    u32 low[4];
    u32 high[4];
};

// Sums of 16 samples times 8 outputs; `wide`: more than 16 inputs.
HGV_DEVICE void multiply(const GridFragment& u, const u32 (&weights)[2], bool wide, const i32 (&biases)[2],
                         i32 (&sums)[4]) {
    for (u32 i = 0; i < 4; i++) {
        sums[i] = 0;
    }
    if (wide) {
        HGV_MMA_K32(sums, u.high, weights);
    } else {
        const u32 high[2] = {u.high[0], u.high[1]};
        HGV_MMA_K16(sums, high, weights[0]);
    }
    for (u32 i = 0; i < 4; i++) {
        sums[i] = sums[i] * 256 + biases[i & 1u];
    }
    if (wide) {
        HGV_MMA_K32(sums, u.low, weights);
    } else {
        const u32 low[2] = {u.low[0], u.low[1]};
        HGV_MMA_K16(sums, low, weights[0]);
    }
}

// A matrix in the registers of a warp, as the right factor of products.
struct GridMatrix {
    u32 weights[kWidest / 8][2];  // of each eight outputs
    i32 biases[kWidest / 8][2];
    u32 shift;
    bool wide;
};

HGV_DEVICE GridMatrix load_matrix(const GridPlan& plan, const GridNetwork& network, u32 j) {
    const u32 g = lane_index() >> 2;
    const u32 t = lane_index() & 3u;
    GridMatrix matrix;
    for (u32 eight = 0; eight < kWidest / 8; eight++) {
        const bool there = 8u * eight < plan.width;
        const u32 output = there ? 8u * eight : 0u;
        for (u32 i = 0; i < 2; i++) {
            matrix.weights[eight][i] = there ? network.words[j][output + g][t + 4u * i] : 0u;
            matrix.biases[eight][i] = there ? network.biases[j][output + 2u * t + i] : 0;
        }
    }
    matrix.shift = network.shifts[j];
    matrix.wide = matrix_inputs(plan, j) > 16u;
    return matrix;
}

// The next hidden layer of 16 samples.
HGV_DEVICE GridFragment next_layer(const GridFragment& u, const GridMatrix& matrix, u32 width) {
    GridFragment next = {{0, 0, 0, 0}, {0, 0, 0, 0}};
    for (u32 eight = 0; eight < kWidest / 8; eight++) {
        if (8u * eight < width) {
            i32 sums[4];
            multiply(u, matrix.weights[eight], matrix.wide, matrix.biases[eight], sums);
            for (u32 i = 0; i < 4; i++) {
                const i32 v = activation(sums[i], matrix.shift);
                const u32 at = eight / 2u * 2u + i / 2u;
                const u32 bits = 16u * (eight & 1u) + 8u * (i & 1u);
                next.low[at] |= low_byte(v) << bits;
                next.high[at] |= high_byte(v) << bits;
            }
        }
    }
    return next;
}

// The part of the last sum of a row that a lane holds.
HGV_DEVICE i32 last_products(const GridFragment& u, const u32 (&weights)[2], u32 row) {
    i32 lows = 0;
    i32 highs = 0;
    for (u32 i = 0; i < 2; i++) {
        lows = dot4_i8(static_cast<i32>(weights[i]), static_cast<i32>(u.low[2u * i + row]), lows);
        highs = dot4_i8(static_cast<i32>(weights[i]), static_cast<i32>(u.high[2u * i + row]), highs);
    }
    return highs * 256 + lows;
}

HGV_DEVICE GridFragment load_samples(const GridPlanes& planes, u32 first, u32 words) {
    const u32 g = lane_index() >> 2;
    const u32 t = lane_index() & 3u;
    GridFragment u;
    for (u32 i = 0; i < 4; i++) {
        const u32 word = t + 4u * (i / 2u);
        const u32 at = word * planes.stride + first + g + 8u * (i & 1u);
        u.low[i] = word < words ? planes.low[at] : 0u;
        u.high[i] = word < words ? planes.high[at] : 0u;
    }
    return u;
}

// Adds the output of the network to the sums, 16 samples a warp at a time. All threads of the block. Planes and
// sums have room for a multiple of 16 samples.
HGV_DEVICE void add_network_by_matrices(const GridPlan& plan, const GridNetwork& network, const GridPlanes& planes,
                                        u32 samples, i32* sums) {
    const GridMatrix first = load_matrix(plan, network, 0);
    // Without a second hidden layer this one is not used.
    const GridMatrix second = load_matrix(plan, network, plan.hidden > 1u ? 1u : 0u);
    const u32 t = lane_index() & 3u;
    const u32 last[2] = {network.words[plan.hidden][0][t], network.words[plan.hidden][0][t + 4u]};
    const u32 words = ceil_div(plan.inputs, 4);
    for (u32 at = 16u * warp_index(); at < samples; at += thread_count() / 2u) {
        GridFragment u = next_layer(load_samples(planes, at, words), first, plan.width);
        if (plan.hidden > 1u) {
            u = next_layer(u, second, plan.width);
        }
        for (u32 row = 0; row < 2; row++) {
            i32 sum = last_products(u, last, row);
            sum += HGV_SHFL_XOR(sum, 1);
            sum += HGV_SHFL_XOR(sum, 2);
            const u32 sample = at + 8u * row + (lane_index() >> 2);
            if (t == 0 && sample < samples) {
                const i32 output = (sum + network.biases[plan.hidden][0]) >> network.shifts[plan.hidden];
                sums[sample] = wrapping(static_cast<u32>(sums[sample]) + static_cast<u32>(output));
            }
        }
    }
}
