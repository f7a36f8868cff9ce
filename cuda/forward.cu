// Voxels to indices: positions on the curve, wavelets, quantisation, and what clamping forgives.
#include "block.cuh"
#include "forward.cuh"
#include "quantise.cuh"

// What the last quality of a block leaves.
struct BlockLeft {
    float squares;  // of coefficients, in working units, as if the transform were orthogonal
    u32 indices;    // that are not zero
};

// Error of a quality of a block, in units of q.
struct BlockError {
    double squares;
    double largest;
};

// What blocks of a batch share. A thread block of every kernel here works on one block.
struct ForwardParams {
    const EncodeBlock* blocks;
    const EncodeShape* shapes;
    const float* values;      // in units of q
    float* aims;              // working values that coefficients are made from
    float* coefficients;
    float* spare;             // decoded working values
    u32* forgives;            // for each block, whether clamping forgives enough
    BlockLeft* left;          // for each block
    const i32* integers;      // what the decoder makes of a quality
    BlockError* errors;       // for each block, of that quality
    i32* residuals;           // what brings integers back
    const BlockHead* heads;
    void* planes[8];          // of indices, one for each quality
    float knots[kSegments + 1];  // of the curve, in units of q
    float scale;              // working units of a unit of q, or of a segment
    float value_step;         // of the last quality, working units
    float pull_one;
    float pull_more;
    u32 curved;
    u32 qualities;
    u32 neighbourly;
    u32 forgiving;            // whether clamping may forgive anything
    u32 residual_step;
    u32 wide;                 // indices of 32 bits
    u32 unused;
};

// Share of the voxels that must be forgiven before it pays to look for better ones.
constexpr u32 kFew = 64;
// How far targets move, as a share of the way to what is decoded: over 1, they arrive sooner.
constexpr float kEager = 1.7f;

HGV_DEVICE Indices indices_of(const ForwardParams& p, u32 quality) { return {p.planes[quality], p.wide, 0}; }

HGV_DEVICE float position_of(const ForwardParams& p, float centre, float value) {
    if (p.curved == 0) {
        return (value - centre) * p.scale;
    }
    u32 segment = 0;
    for (u32 i = 1; i < kSegments; i++) {
        segment = p.knots[i] < value ? i : segment;
    }
    const float from = p.knots[segment];
    const float inside = (value - from) / larger(p.knots[segment + 1] - from, 1e-9f);
    return (static_cast<float>(segment) + clamped(inside, 0.0f, 1.0f)) * p.scale - centre;
}

HGV_DEVICE bool at_an_end(const EncodeBlock& block, float value) { return value <= block.low || value >= block.high; }

// Values to working values, and whether many of them lie at the ends of the block's range.
HGV_KERNEL(hgv_encode_aims, ForwardParams, 256, 2) {
    HGV_SHARED(BlockSum, room);
    const EncodeBlock block = p.blocks[block_index()];
    const u32 voxels = p.shapes[block.shape].voxels;
    const float* values = p.values + block.voxels;
    float ends = 0.0f;
    for (u32 i = thread_index(); i < voxels; i += thread_count()) {
        const float value = values[i];
        const float aim = position_of(p, block.centre, value);
        p.aims[block.voxels + i] = aim;
        p.coefficients[block.voxels + i] = aim;
        ends += at_an_end(block, value) ? 1.0f : 0.0f;
    }
    const float count = sum_of_block(room.values, ends);
    if (thread_index() == 0) {
        const bool many = count >= static_cast<float>(voxels / kFew) && count > 0.0f;
        p.forgives[block_index()] = p.forgiving != 0 && many ? 1u : 0u;
    }
}

HGV_KERNEL(hgv_encode_transform, ForwardParams, 256, 2) {
    HGV_SHARED(Tile, tile);
    const EncodeBlock block = p.blocks[block_index()];
    transform(p.coefficients + block.voxels, p.shapes[block.shape], tile);
}

// Indices of all qualities.
HGV_KERNEL(hgv_encode_quantise, ForwardParams, 256, 2) {
    const EncodeBlock block = p.blocks[block_index()];
    const EncodeShape& shape = p.shapes[block.shape];
    const float* box = p.coefficients + block.voxels;
    for (u32 i = thread_index(); i < shape.voxels; i += thread_count()) {
        const u32 x = i % shape.dims[0], y = i / shape.dims[0] % shape.dims[1], z = i / (shape.dims[0] * shape.dims[1]);
        const Spot spot = locate(shape, x, y, z);
        const float step = shape.steps[band_of(spot)];
        for (u32 quality = 0; quality < p.qualities; quality++) {
            const float coarser = step_at(step, quality, p.qualities);
            const i32 index = quantised(box, shape, spot, i, coarser, p.neighbourly != 0);
            store_index(indices_of(p, quality), block.voxels + i, index);
        }
    }
}

// Lets working values that clamping forgives be what the decoder makes of the coefficients, as far as they
// are forgiven, and transforms them anew. Other blocks stay as they are.
HGV_KERNEL(hgv_encode_follow, ForwardParams, 256, 2) {
    HGV_SHARED(Tile, tile);
    if (p.forgives[block_index()] == 0) {
        return;
    }
    const EncodeBlock block = p.blocks[block_index()];
    const EncodeShape& shape = p.shapes[block.shape];
    float* box = p.coefficients + block.voxels;
    float* decoded = p.spare + block.voxels;
    for (u32 i = thread_index(); i < shape.voxels; i += thread_count()) {
        const u32 x = i % shape.dims[0], y = i / shape.dims[0] % shape.dims[1], z = i / (shape.dims[0] * shape.dims[1]);
        const Spot spot = locate(shape, x, y, z);
        const float step = shape.steps[band_of(spot)];
        const i32 index = quantised(box, shape, spot, i, step, p.neighbourly != 0);
        decoded[i] = -left_of(0.0f, index, spot, step, p.pull_one, p.pull_more);
    }
    HGV_SYNC();
    inverse(decoded, shape, tile);
    for (u32 i = thread_index(); i < shape.voxels; i += thread_count()) {
        const float value = p.values[block.voxels + i];
        float aim = p.aims[block.voxels + i];
        if (at_an_end(block, value)) {
            const float moved = aim + kEager * (decoded[i] - aim);
            aim = value >= block.high ? clamped(moved, block.high_at, block.high_at + block.room)
                                      : clamped(moved, block.low_at - block.room, block.low_at);
            p.aims[block.voxels + i] = aim;
        }
        box[i] = aim;
    }
    HGV_SYNC();
    transform(box, shape, tile);
}

HGV_KERNEL(hgv_encode_left, ForwardParams, 256, 2) {
    HGV_SHARED(BlockSum, room);
    const EncodeBlock block = p.blocks[block_index()];
    const EncodeShape& shape = p.shapes[block.shape];
    const Indices indices = indices_of(p, p.qualities - 1);
    float sum = 0.0f, count = 0.0f;
    for (u32 i = thread_index(); i < shape.voxels; i += thread_count()) {
        const u32 x = i % shape.dims[0], y = i / shape.dims[0] % shape.dims[1], z = i / (shape.dims[0] * shape.dims[1]);
        const Spot spot = locate(shape, x, y, z);
        const float step = shape.steps[band_of(spot)];
        const i32 index = load_index(indices, block.voxels + i);
        // A step in the band is the model's step in the value domain.
        const float gain = p.value_step / step;
        const float error = (p.coefficients[block.voxels + i] - static_cast<float>(index) * step) * gain;
        sum += error * error;
        count += index != 0 ? 1.0f : 0.0f;
    }
    const float squares = sum_of_block(room.values, sum);
    const float nonzero = sum_of_block(room.values, count);
    if (thread_index() == 0) {
        p.left[block_index()] = {squares, static_cast<u32>(nonzero)};
    }
}

struct ErrorRoom {
    double squares[256];
    double largest[256];
};

// Errors of all threads, in the first place.
HGV_DEVICE void sum_errors(ErrorRoom& room, double squares, double largest) {
    const u32 thread = thread_index();
    room.squares[thread] = squares;
    room.largest[thread] = largest;
    HGV_SYNC();
    for (u32 half = thread_count() / 2; half > 0; half /= 2) {
        if (thread < half) {
            room.squares[thread] += room.squares[thread + half];
            room.largest[thread] = larger(room.largest[thread], room.largest[thread + half]);
        }
        HGV_SYNC();
    }
}

// What a quality is off by.
HGV_KERNEL(hgv_encode_errors, ForwardParams, 256, 2) {
    HGV_SHARED(ErrorRoom, room);
    const EncodeBlock block = p.blocks[block_index()];
    const u32 voxels = p.shapes[block.shape].voxels;
    const u32 thread = thread_index();
    double squares = 0.0;
    float largest = 0.0f;
    for (u32 i = thread; i < voxels; i += thread_count()) {
        const float off = p.values[block.voxels + i] - static_cast<float>(p.integers[block.voxels + i]);
        squares += static_cast<double>(off * off);
        largest = larger(largest, magnitude_of(off));
    }
    sum_errors(room, squares, static_cast<double>(largest));
    if (thread == 0) {
        p.errors[block_index()] = {room.squares[0], room.largest[0]};
    }
}

// The steps of a residual that bring integers nearest to the values, and what is then left.
HGV_KERNEL(hgv_encode_residual, ForwardParams, 256, 2) {
    HGV_SHARED(ErrorRoom, room);
    const EncodeBlock block = p.blocks[block_index()];
    const u32 voxels = p.shapes[block.shape].voxels;
    const double lo = p.heads[block_index()].lo, hi = p.heads[block_index()].hi;
    const double size = p.residual_step;
    double squares = 0.0, largest = 0.0;
    for (u32 i = thread_index(); i < voxels; i += thread_count()) {
        const double value = p.values[block.voxels + i], decoded = p.integers[block.voxels + i];
        const double steps = clamped((value - decoded) / size, -2147483646.0, 2147483646.0);
        const i32 whole = static_cast<i32>(steps < 0 ? steps - 0.5 : steps + 0.5);
        p.residuals[block.voxels + i] = whole;
        const double left = value - clamped(decoded + size * whole, lo, hi);
        squares += left * left;
        largest = larger(largest, left < 0 ? -left : left);
    }
    sum_errors(room, squares, largest);
    if (thread_index() == 0) {
        p.errors[block_index()] = {room.squares[0], room.largest[0]};
    }
}
