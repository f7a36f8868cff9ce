// The reversible transform: integers to coefficients, exactly as the inverse undoes it.
#include "forward.cuh"

struct ReversibleParams {
    const EncodeBlock* blocks;
    const EncodeShape* shapes;
    const float* values;   // integers
    float* coefficients;   // integers while the kernel works
    u32 wide;              // 32-bit products
    u32 unused;
};

struct IntegerTile {
    i32 values[kLongest * kTilePitch];
};

// Lifting constants beyond one, in 1 / 2^15 and 1 / 2^31.
struct Factor {
    i32 narrow;
    i32 wide;
};

HGV_DEVICE i32 product(i32 value, Factor factor, bool wide) {
    if (wide) {
        return static_cast<i32>((static_cast<i64>(value) * factor.wide + (1ll << 30)) >> 31);
    }
    const u32 rounded = static_cast<u32>(value) * static_cast<u32>(factor.narrow) + (1u << 14);
    return static_cast<i32>(rounded) >> 15;
}

HGV_DEVICE i32 sum_of(i32 a, i32 b) { return static_cast<i32>(static_cast<u32>(a) + static_cast<u32>(b)); }

HGV_DEVICE i32 difference(i32 a, i32 b) { return static_cast<i32>(static_cast<u32>(a) - static_cast<u32>(b)); }

// What a step of the lifting does to one value whose neighbours add up to `t`.
HGV_DEVICE i32 lifted(i32 value, i32 t, u32 step, bool wide) {
    switch (step) {
        case 0: return difference(difference(value, t), product(t, {19206, 1258713915}, wide));
        case 1: return difference(value, product(t, {1736, 113773938}, wide));
        case 2: return sum_of(value, product(t, {28931, 1896037097}, wide));
        default: return sum_of(value, product(t, {14533, 952423713}, wide));
    }
}

HGV_DEVICE void split_tile(i32* tile, u32 n, bool wide) {
    const u32 low = (n + 1) / 2, high = n / 2;
    for (u32 step = 0; step < 4; step++) {
        const bool to_high = (step & 1u) == 0;
        const u32 rows = to_high ? high : low;
        const u32 to = to_high ? low : 0, from = to_high ? 0 : low;
        for (u32 e = thread_index(); e < rows * kTileLines; e += thread_count()) {
            const u32 i = e / kTileLines, column = e % kTileLines;
            const u32 before = to_high ? i : larger(i, 1u) - 1;
            const u32 after = to_high ? smaller(i + 1, low - 1) : smaller(i, high - 1);
            const i32 t = sum_of(tile[(from + before) * kTilePitch + column], tile[(from + after) * kTilePitch + column]);
            i32* value = tile + (to + i) * kTilePitch + column;
            *value = lifted(*value, t, step, wide);
        }
        HGV_SYNC();
    }
}

HGV_KERNEL(hgv_encode_reversible, ReversibleParams, 256, 2) {
    HGV_SHARED(IntegerTile, tile);
    const EncodeBlock block = p.blocks[block_index()];
    const EncodeShape& shape = p.shapes[block.shape];
    i32* box = reinterpret_cast<i32*>(p.coefficients + block.voxels);
    for (u32 i = thread_index(); i < shape.voxels; i += thread_count()) {
        box[i] = static_cast<i32>(p.values[block.voxels + i]) - static_cast<i32>(block.centre);
    }
    HGV_SYNC();
    for (u32 depth = 0; depth < shape.depth; depth++) {
        for (u32 axis = 0; axis < 3; axis++) {
            const Lines lines = lines_along(shape, shape.splits[depth].whole, axis);
            for (u32 first = 0; lines.n > 1 && first < lines.count; first += kTileLines) {
                load_tile(tile.values, box, lines, first, true);
                HGV_SYNC();
                split_tile(tile.values, lines.n, p.wide != 0);
                store_tile(tile.values, box, lines, first, false);
                HGV_SYNC();
            }
        }
    }
    for (u32 i = thread_index(); i < shape.voxels; i += thread_count()) {
        p.coefficients[block.voxels + i] = static_cast<float>(box[i]);
    }
}
