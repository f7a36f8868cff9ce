// CDF 9/7 over boxes of floats, forward, inverse, and the adjoint of the inverse; and the reversible transform.
//
// A thread block works on one box, a tile of 32 lines at a time in shared memory. Not normative: only the
// inverse of the decoder is.
#pragma once

#include "encode.cuh"

constexpr u32 kTileLines = 32;
constexpr u32 kTilePitch = kTileLines + 1;  // lines along x are read across: no two in one bank
constexpr u32 kLongest = 128;

// Lines of one axis of one split of a box.
struct Tile {
    float values[kLongest * kTilePitch];
};

// As for voxels, predict 1, update 1, predict 2, update 2.
#define HGV_LIFTING_1 -1.586134342f
#define HGV_LIFTING_2 -0.052980118f
#define HGV_LIFTING_3 0.882911075f
#define HGV_LIFTING_4 0.443506852f

// Lines of a box along an axis: where each begins.
struct Lines {
    u32 n;        // elements of a line
    u32 stride;   // from one to the next
    u32 count;    // lines
    u32 inner;    // lines along the faster of the other axes
    u32 step;     // from one of those to the next
    u32 jump;     // the same along the slower axis
};

HGV_DEVICE Lines lines_along(const EncodeShape& shape, const u32* dims, u32 axis) {
    const u32 strides[3] = {1, shape.dims[0], shape.dims[0] * shape.dims[1]};
    const u32 fast = axis == 0 ? 1u : 0u;
    const u32 slow = axis == 2 ? 1u : 2u;
    Lines lines;
    lines.n = dims[axis];
    lines.stride = strides[axis];
    lines.inner = dims[fast];
    lines.count = dims[fast] * dims[slow];
    lines.step = strides[fast];
    lines.jump = strides[slow];
    return lines;
}

HGV_DEVICE u32 line_start(const Lines& lines, u32 line) {
    return line % lines.inner * lines.step + line / lines.inner * lines.jump;
}

// Element e of the tile's lines: lines next to each other where they lie so, else elements.
HGV_DEVICE void element_of(const Lines& lines, u32 e, u32* i, u32* column) {
    if (lines.stride == 1) {
        *i = e % lines.n;
        *column = e / lines.n;
    } else {
        *i = e / kTileLines;
        *column = e % kTileLines;
    }
}

// Row of a tile that element i of a line has once it is split: low half first.
HGV_DEVICE u32 halves_row(const Lines& lines, u32 i) {
    return (i & 1u) == 0 ? i / 2 : (lines.n + 1) / 2 + i / 2;
}

template <class T>
HGV_DEVICE void load_tile(T* tile, const T* box, const Lines& lines, u32 first, bool halves) {
    for (u32 e = thread_index(); e < lines.n * kTileLines; e += thread_count()) {
        u32 i, column;
        element_of(lines, e, &i, &column);
        if (first + column < lines.count) {
            const u32 row = halves ? halves_row(lines, i) : i;
            tile[row * kTilePitch + column] = box[line_start(lines, first + column) + i * lines.stride];
        }
    }
}

template <class T>
HGV_DEVICE void store_tile(const T* tile, T* box, const Lines& lines, u32 first, bool halves) {
    for (u32 e = thread_index(); e < lines.n * kTileLines; e += thread_count()) {
        u32 i, column;
        element_of(lines, e, &i, &column);
        if (first + column < lines.count) {
            const u32 row = halves ? halves_row(lines, i) : i;
            box[line_start(lines, first + column) + i * lines.stride] = tile[row * kTilePitch + column];
        }
    }
}

// d[i] += c (s[i] + s[i + 1]), the last low value counting twice at the border.
HGV_DEVICE void lift_high(float* tile, u32 n, float c) {
    const u32 low = (n + 1) / 2;
    for (u32 e = thread_index(); e < n / 2 * kTileLines; e += thread_count()) {
        const u32 i = e / kTileLines, column = e % kTileLines;
        const float a = tile[i * kTilePitch + column];
        const float b = tile[smaller(i + 1, low - 1) * kTilePitch + column];
        tile[(low + i) * kTilePitch + column] += c * (a + b);
    }
    HGV_SYNC();
}

// s[i] += c (d[i - 1] + d[i]), border values counting twice.
HGV_DEVICE void lift_low(float* tile, u32 n, float c) {
    const u32 low = (n + 1) / 2, high = n / 2;
    for (u32 e = thread_index(); e < low * kTileLines; e += thread_count()) {
        const u32 i = e / kTileLines, column = e % kTileLines;
        const u32 before = i == 0 ? 0 : i - 1;
        const float a = tile[(low + before) * kTilePitch + column];
        const float b = tile[(low + smaller(i, high - 1)) * kTilePitch + column];
        tile[i * kTilePitch + column] += c * (a + b);
    }
    HGV_SYNC();
}

// The adjoint of lift_high: every low value gets back what it gave.
HGV_DEVICE void return_to_low(float* tile, u32 n, float c) {
    const u32 low = (n + 1) / 2, high = n / 2;
    for (u32 e = thread_index(); e < low * kTileLines; e += thread_count()) {
        const u32 i = e / kTileLines, column = e % kTileLines;
        const float* d = tile + low * kTilePitch + column;
        float sum = i < high ? d[i * kTilePitch] : 0.0f;
        sum += i > 0 ? d[(i - 1) * kTilePitch] : 0.0f;
        sum += low == high && i + 1 == low ? d[i * kTilePitch] : 0.0f;
        tile[i * kTilePitch + column] += c * sum;
    }
    HGV_SYNC();
}

// The adjoint of lift_low.
HGV_DEVICE void return_to_high(float* tile, u32 n, float c) {
    const u32 low = (n + 1) / 2, high = n / 2;
    for (u32 e = thread_index(); e < high * kTileLines; e += thread_count()) {
        const u32 i = e / kTileLines, column = e % kTileLines;
        const float* s = tile + column;
        float sum = s[i * kTilePitch];
        sum += i + 1 < low ? s[(i + 1) * kTilePitch] : 0.0f;
        sum += i == 0 ? s[0] : 0.0f;
        sum += low > high && i + 1 == high ? s[high * kTilePitch] : 0.0f;
        tile[(low + i) * kTilePitch + column] += c * sum;
    }
    HGV_SYNC();
}

// What is done to the lines of a box.
enum class Lift : u32 {
    kSplit,    // forward
    kMerge,    // inverse
    kAdjoint,  // of the inverse
};

HGV_DEVICE void lift_tile(float* tile, u32 n, Lift lift) {
    switch (lift) {
        case Lift::kSplit:
            lift_high(tile, n, HGV_LIFTING_1);
            lift_low(tile, n, HGV_LIFTING_2);
            lift_high(tile, n, HGV_LIFTING_3);
            lift_low(tile, n, HGV_LIFTING_4);
            break;
        case Lift::kMerge:
            lift_low(tile, n, -HGV_LIFTING_4);
            lift_high(tile, n, -HGV_LIFTING_3);
            lift_low(tile, n, -HGV_LIFTING_2);
            lift_high(tile, n, -HGV_LIFTING_1);
            break;
        case Lift::kAdjoint:
            return_to_low(tile, n, -HGV_LIFTING_1);
            return_to_high(tile, n, -HGV_LIFTING_2);
            return_to_low(tile, n, -HGV_LIFTING_3);
            return_to_high(tile, n, -HGV_LIFTING_4);
            break;
    }
}

HGV_DEVICE void lift_axis(float* box, const EncodeShape& shape, u32 depth, u32 axis, Lift lift, Tile& tile) {
    const Lines lines = lines_along(shape, shape.splits[depth].whole, axis);
    if (lines.n < 2) {
        return;
    }
    for (u32 first = 0; first < lines.count; first += kTileLines) {
        load_tile(tile.values, box, lines, first, lift != Lift::kMerge);
        HGV_SYNC();
        lift_tile(tile.values, lines.n, lift);
        store_tile(tile.values, box, lines, first, lift == Lift::kMerge);
        HGV_SYNC();
    }
}

// Multiplies the low-pass corner of a split.
HGV_DEVICE void scale_low(float* box, const EncodeShape& shape, u32 depth, float gain) {
    const u32* low = shape.splits[depth].low;
    for (u32 e = thread_index(); e < low[0] * low[1] * low[2]; e += thread_count()) {
        const u32 x = e % low[0], y = e / low[0] % low[1], z = e / (low[0] * low[1]);
        box[(z * shape.dims[1] + y) * shape.dims[0] + x] *= gain;
    }
    HGV_SYNC();
}

// Voxels to coefficients.
HGV_DEVICE void transform(float* box, const EncodeShape& shape, Tile& tile) {
    for (u32 depth = 0; depth < shape.depth; depth++) {
        for (u32 axis = 0; axis < 3; axis++) {
            lift_axis(box, shape, depth, axis, Lift::kSplit, tile);
        }
        scale_low(box, shape, depth, 1.0f / shape.gains[depth]);
    }
}

// Coefficients to voxels.
HGV_DEVICE void inverse(float* box, const EncodeShape& shape, Tile& tile) {
    for (u32 depth = shape.depth; depth-- > 0;) {
        scale_low(box, shape, depth, shape.gains[depth]);
        for (u32 axis = 3; axis-- > 0;) {
            lift_axis(box, shape, depth, axis, Lift::kMerge, tile);
        }
    }
}

// Voxels to their products with the basis functions of all coefficients.
HGV_DEVICE void adjoint(float* box, const EncodeShape& shape, Tile& tile) {
    for (u32 depth = 0; depth < shape.depth; depth++) {
        for (u32 axis = 0; axis < 3; axis++) {
            lift_axis(box, shape, depth, axis, Lift::kAdjoint, tile);
        }
        scale_low(box, shape, depth, shape.gains[depth]);
    }
}
