// Errors, structural similarity, levels of detail and complexity of boxes of values, as src/quality and
// src/analyze define them. Sums are doubles: products of floats are exact in them, so that sums over windows do
// not drift. Every block leaves a sum of its own; the host adds them in order.
#include "device.cuh"

constexpr u32 kThreads = 256;

// Sums of pairs of values.
struct ErrorSums {
    double sse;
    double largest;
    u64 count;       // pairs of finite values
    u64 nonfinite;   // other pairs
    u64 mismatches;  // those of them that are not the same in both
};

// A box of values and the part of it that counts.
struct BoxParams {
    const float* a;
    const float* b;
    void* sums;        // one for each block
    u32 extent[3];     // of the box, `[z][y][x]`
    u32 own[3];        // of the part that counts, from the first voxel on
};

HGV_DEVICE bool is_finite(float v) { return (float_bits(v) & 0x7f800000u) != 0x7f800000u; }

HGV_DEVICE bool is_nan(float v) { return (float_bits(v) & 0x7fffffffu) > 0x7f800000u; }

HGV_DEVICE void add_pair(ErrorSums& sums, float a, float b) {
    if (is_finite(a) && is_finite(b)) {
        const double d = static_cast<double>(a) - static_cast<double>(b);
        sums.sse += d * d;
        sums.largest = larger(sums.largest, d < 0 ? -d : d);
        sums.count += 1;
    } else {
        sums.nonfinite += 1;
        sums.mismatches += a == b || (is_nan(a) && is_nan(b)) ? 0 : 1;
    }
}

struct ErrorRoom {
    ErrorSums of[kThreads];
};

HGV_DEVICE void merge_errors(ErrorSums& to, const ErrorSums& from) {
    to.sse += from.sse;
    to.largest = larger(to.largest, from.largest);
    to.count += from.count;
    to.nonfinite += from.nonfinite;
    to.mismatches += from.mismatches;
}

// Errors of every slice of the part that counts: one block for each.
HGV_KERNEL(hgv_stat_errors, BoxParams, 256, 2) {
    HGV_SHARED(ErrorRoom, room);
    const u64 slice = static_cast<u64>(block_index()) * p.extent[1] * p.extent[0];
    ErrorSums sums = {};
    for (u32 e = thread_index(); e < p.own[0] * p.own[1]; e += thread_count()) {
        const u64 at = slice + static_cast<u64>(e / p.own[0]) * p.extent[0] + e % p.own[0];
        add_pair(sums, p.a[at], p.b[at]);
    }
    room.of[thread_index()] = sums;
    HGV_SYNC();
    for (u32 half = kThreads / 2; half > 0; half /= 2) {
        if (thread_index() < half) {
            merge_errors(room.of[thread_index()], room.of[thread_index() + half]);
        }
        HGV_SYNC();
    }
    if (thread_index() == 0) {
        static_cast<ErrorSums*>(p.sums)[block_index()] = room.of[0];
    }
}

// Voxels as they lie in a volume, and what becomes of them.
struct ConvertParams {
    const u8* voxels;
    float* values;
    u64 count;
    double min;
    double factor;  // 0: values stay as they are
    u32 kind;       // 0 = u8, 1 = i8, 2 = u16, 3 = i16, 4 = f32
    u32 unused;
};

HGV_DEVICE float voxel_value(const u8* voxels, u64 i, u32 kind) {
    const u32 low = kind < 2 ? voxels[i] : voxels[2 * i] | static_cast<u32>(voxels[2 * i + 1]) << 8;
    switch (kind) {
        case 0: return static_cast<float>(low);
        case 1: return static_cast<float>(static_cast<i8>(low));
        case 2: return static_cast<float>(low);
        default: return static_cast<float>(static_cast<i16>(low));
    }
}

HGV_DEVICE float scaled(float v, double min, double factor) {
    return is_finite(v) ? static_cast<float>((static_cast<double>(v) - min) * factor) : 0.0f;
}

// Voxels to values, `(v - min) factor` if they are to be scaled; then those that are not finite become 0.
HGV_KERNEL(hgv_stat_values, ConvertParams, 256, 2) {
    for (u64 i = static_cast<u64>(block_index()) * kThreads + thread_index(); i < p.count;
         i += static_cast<u64>(block_count()) * kThreads) {
        const float v = p.kind == 4 ? reinterpret_cast<const float*>(p.voxels)[i] : voxel_value(p.voxels, i, p.kind);
        p.values[i] = p.factor == 0 ? v : scaled(v, p.min, p.factor);
    }
}

// The same of values in place.
HGV_KERNEL(hgv_stat_scale, ConvertParams, 256, 2) {
    for (u64 i = static_cast<u64>(block_index()) * kThreads + thread_index(); i < p.count;
         i += static_cast<u64>(block_count()) * kThreads) {
        p.values[i] = scaled(p.values[i], p.min, p.factor);
    }
}

struct HalveParams {
    const float* from;
    float* to;
    u32 extent[3];  // of `from`; an odd last one is dropped
    u32 unused;
};

HGV_DEVICE float sum_of_four(const float* row, u32 width) { return (row[0] + row[1]) + (row[width] + row[width + 1]); }

// The next level of detail: means of 2^3 values.
HGV_KERNEL(hgv_stat_halve, HalveParams, 256, 2) {
    const u32 w = p.extent[0] / 2, h = p.extent[1] / 2, d = p.extent[2] / 2;
    const u64 slice = static_cast<u64>(p.extent[0]) * p.extent[1];
    const u64 count = static_cast<u64>(w) * h * d;
    for (u64 i = static_cast<u64>(block_index()) * kThreads + thread_index(); i < count;
         i += static_cast<u64>(block_count()) * kThreads) {
        const u32 x = static_cast<u32>(i % w), y = static_cast<u32>(i / w % h);
        const u64 z = i / (static_cast<u64>(w) * h);
        const float* from = p.from + 2 * z * slice + 2ull * y * p.extent[0] + 2ull * x;
        p.to[i] = (sum_of_four(from, p.extent[0]) + sum_of_four(from + slice, p.extent[0])) * 0.125f;
    }
}

// Windows of 7^3 values of equal weights.
constexpr u32 kWindow = 7;
constexpr u32 kTileX = 32;
constexpr u32 kTileY = 8;
constexpr u32 kWide = kTileX + kWindow - 1;
constexpr u32 kTall = kTileY + kWindow - 1;
constexpr u32 kSums = 5;  // of a, b, a a, b b, a b

struct SimilarityRoom {
    double columns[kSums][kWide * kTall];  // over the last seven slices
    double rows[kSums][kTileX * kTall];    // over seven columns along x
};

HGV_DEVICE void slide_column(double* sums, double a, double b, double sign) {
    sums[0] += sign * a;
    sums[1] += sign * b;
    sums[2] += sign * (a * a);
    sums[3] += sign * (b * b);
    sums[4] += sign * (a * b);
}

HGV_DEVICE double similarity(const double* sums) {
    constexpr double n = 1.0 / (kWindow * kWindow * kWindow);
    constexpr double covariance = 343.0 / 342.0;
    constexpr double c1 = 0.01 * 0.01, c2 = 0.03 * 0.03;
    const double ua = sums[0] * n, ub = sums[1] * n;
    const double va = covariance * (sums[2] * n - ua * ua);
    const double vb = covariance * (sums[3] * n - ub * ub);
    const double vab = covariance * (sums[4] * n - ua * ub);
    return ((2.0 * ua * ub + c1) * (2.0 * vab + c2)) / ((ua * ua + ub * ub + c1) * (va + vb + c2));
}

// Sum of SSIM over the windows that start in a tile of 32 x 8 places; blocks run over tiles along x, then y,
// then over pieces of 32 slices. `own` counts places where windows start.
constexpr u32 kPiece = 32;

HGV_KERNEL(hgv_stat_similarity, BoxParams, 256, 1) {
    HGV_SHARED(SimilarityRoom, room);
    const u32 across = ceil_div(p.own[0], kTileX), down = ceil_div(p.own[1], kTileY);
    const u32 x0 = block_index() % across * kTileX, y0 = block_index() / across % down * kTileY;
    const u32 z0 = block_index() / (across * down) * kPiece;
    const u32 z1 = smaller(z0 + kPiece, p.own[2]);
    const u64 slice = static_cast<u64>(p.extent[0]) * p.extent[1];
    // Columns of this thread: places of the tile and what windows reach beyond it.
    constexpr u32 kMine = (kWide * kTall + kThreads - 1) / kThreads;
    double mine[kMine][kSums] = {};
    const u32 tx = thread_index() % kTileX, ty = thread_index() / kTileX;
    const bool starts = x0 + tx < p.own[0] && y0 + ty < p.own[1];
    double total = 0.0;
    for (u32 z = z0; z < z1 + kWindow - 1; z++) {
        for (u32 m = 0; m < kMine; m++) {
            const u32 e = thread_index() + m * kThreads;
            const u32 x = x0 + e % kWide, y = y0 + e / kWide;
            if (e >= kWide * kTall || x >= p.extent[0] || y >= p.extent[1]) {
                continue;
            }
            const u64 at = z * slice + static_cast<u64>(y) * p.extent[0] + x;
            slide_column(mine[m], p.a[at], p.b[at], 1.0);
            if (z >= z0 + kWindow) {
                slide_column(mine[m], p.a[at - kWindow * slice], p.b[at - kWindow * slice], -1.0);
            }
            for (u32 s = 0; s < kSums; s++) {
                room.columns[s][e] = mine[m][s];
            }
        }
        if (z + 1 < z0 + kWindow) {
            continue;
        }
        HGV_SYNC();
        for (u32 e = thread_index(); e < kTileX * kTall; e += kThreads) {
            const u32 x = e % kTileX, y = e / kTileX;
            if (x0 + x < p.own[0] && y0 + y < smaller(p.own[1] + kWindow - 1, p.extent[1])) {
                for (u32 s = 0; s < kSums; s++) {
                    const double* from = room.columns[s] + y * kWide + x;
                    room.rows[s][e] = ((from[0] + from[1]) + (from[2] + from[3])) + ((from[4] + from[5]) + from[6]);
                }
            }
        }
        HGV_SYNC();
        if (starts) {
            double sums[kSums];
            for (u32 s = 0; s < kSums; s++) {
                const double* from = room.rows[s] + ty * kTileX + tx;
                sums[s] = 0.0;
                for (u32 i = 0; i < kWindow; i++) {
                    sums[s] += from[i * kTileX];
                }
            }
            total += similarity(sums);
        }
    }
    HGV_SYNC();
    room.columns[0][thread_index()] = total;
    HGV_SYNC();
    for (u32 half = kThreads / 2; half > 0; half /= 2) {
        if (thread_index() < half) {
            room.columns[0][thread_index()] += room.columns[0][thread_index() + half];
        }
        HGV_SYNC();
    }
    if (thread_index() == 0) {
        static_cast<double*>(p.sums)[block_index()] = room.columns[0][0];
    }
}

// What the direction of the gradient does: see src/analyze/direction.rs.
struct TurningSums {
    double weight;
    double turned;
    double squares;
    u64 flat;
    u64 voxels;
};

struct Direction {
    float unit[3];
    float length;
};

constexpr float kNoise = 1.0f / 256.0f;

HGV_DEVICE Direction direction_at(const BoxParams& p, u32 x, u32 y, u32 z, float* square) {
    const u64 row = p.extent[0], slice = row * p.extent[1];
    const float* v = p.a + z * slice + y * row + x;
    const float gx = 0.5f * (v[1] - v[-1]);
    const float gy = 0.5f * (v[row] - *(v - row));
    const float gz = 0.5f * (v[slice] - *(v - slice));
    *square = gx * gx + gy * gy + gz * gz;
    const float length = square_root(*square);
    if (length < kNoise) {
        return {{0.0f, 0.0f, 0.0f}, 0.0f};
    }
    const float inverse = 1.0f / length;
    return {{gx * inverse, gy * inverse, gz * inverse}, length};
}

// Angle of a cosine in radians, within 0.0001 (Abramowitz and Stegun 4.4.45).
HGV_DEVICE float arc_cosine(float cosine) {
    const float c = smaller(cosine < 0.0f ? -cosine : cosine, 1.0f);
    const float poly = 1.5707288f + c * (-0.2121144f + c * (0.074261f - c * 0.0187293f));
    const float acute = square_root(1.0f - c) * poly;
    return cosine < 0.0f ? 3.14159265f - acute : acute;
}

HGV_DEVICE void add_turn(TurningSums& sums, const Direction& a, const Direction& b) {
    if (a.length > 0.0f && b.length > 0.0f) {
        const float dot = a.unit[0] * b.unit[0] + a.unit[1] * b.unit[1] + a.unit[2] * b.unit[2];
        const float weight = a.length + b.length;
        sums.weight += static_cast<double>(weight);
        sums.turned += static_cast<double>(weight * arc_cosine(dot));
    }
}

struct TurningRoom {
    TurningSums of[kThreads];
};

// Of the inner voxels of every inner slice: one block for each. `own` is not used.
HGV_KERNEL(hgv_stat_turning, BoxParams, 256, 1) {
    HGV_SHARED(TurningRoom, room);
    const u32 w = p.extent[0] - 2, h = p.extent[1] - 2, z = block_index() + 1;
    TurningSums sums = {};
    for (u32 e = thread_index(); e < w * h; e += kThreads) {
        const u32 x = e % w + 1, y = e / w + 1;
        float square, other;
        const Direction here = direction_at(p, x, y, z, &square);
        sums.squares += static_cast<double>(square);
        sums.voxels += 1;
        sums.flat += here.length <= 0.0f ? 1 : 0;
        if (x < w) {
            add_turn(sums, here, direction_at(p, x + 1, y, z, &other));
        }
        if (y < h) {
            add_turn(sums, here, direction_at(p, x, y + 1, z, &other));
        }
        if (z + 2 < p.extent[2]) {
            add_turn(sums, here, direction_at(p, x, y, z + 1, &other));
        }
    }
    room.of[thread_index()] = sums;
    HGV_SYNC();
    for (u32 half = kThreads / 2; half > 0; half /= 2) {
        if (thread_index() < half) {
            TurningSums& to = room.of[thread_index()];
            const TurningSums& from = room.of[thread_index() + half];
            to.weight += from.weight;
            to.turned += from.turned;
            to.squares += from.squares;
            to.flat += from.flat;
            to.voxels += from.voxels;
        }
        HGV_SYNC();
    }
    if (thread_index() == 0) {
        static_cast<TurningSums*>(p.sums)[block_index()] = room.of[0];
    }
}
