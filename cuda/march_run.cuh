// What a ray makes of its samples in one block, and which of them are worth a look: src/render/march/run.rs
// and cells.rs.
#pragma once

#include "march_look.cuh"

// Samples that the CPU looks at at once: it looks at its bounds between them.
constexpr u32 kLanes = 8;
// Share of a pixel's light below which nobody sees how a sample is shaded.
constexpr float kFaint = 1e-5f;
// Rounds in which a surface is looked for between two samples, each kLanes times as fine.
constexpr u32 kRefinements = 3;
// log2 of the side of a cell in voxels.
constexpr u32 kCellLog2 = 3;

// Samples of a ray in a block.
template <class G> struct Run {
    G grid;
    float from[3];        // place of sample 0 in voxels from the corner of the apron
    float step[3];        // way to the next sample
    float length;         // that a sample stands for
    float per_length[3];  // voxels in a unit of length
    float direction[3];   // of the ray, of length 1
};

// Whether the cell of a sample may be seen, of bits for `counts` cells [z][y][x], and the first sample behind the
// cell. Places in cells are made anew for each, as registers are dearer.
template <class G>
HGV_DEVICE bool cell_is_seen(const Run<G>& run, const u32* seen, const u32 (&counts)[3], u32 sample, u32& next) {
    constexpr float kSide = 1.0f / static_cast<float>(1u << kCellLog2);
    const float k = static_cast<float>(sample);
    u32 index = 0;
    float exit = infinity();
    HGV_UNROLL
    for (u32 i = 0; i < 3; i++) {
        const u32 a = 2 - i;
        const float step = run.step[a] * kSide, from = (run.from[a] - 1.0f) * kSide;
        const float v = from + k * step;
        const u32 c = smaller(whole_part(at_least(v, 0.0f)), counts[a] - 1);
        index = index * counts[a] + c;
        const u32 edge = step > 0.0f ? c + 1 : c;
        // What lies outside of the first and last cells belongs to them.
        if (step != 0.0f && edge != 0 && edge != counts[a]) {
            const float at = (static_cast<float>(edge) - from) * (1.0f / step);
            exit = at < exit ? at : exit;
        }
    }
    next = larger(whole_part(at_least(round_up(exit), 0.0f)), sample + 1);
    return (load_constant(seen + (index >> 5)) >> (index & 31u) & 1u) != 0;
}

// The next samples from `at` to `end` that may be seen: from `at` to the result.
template <class G>
HGV_DEVICE u32 next_seen(const Run<G>& run, const u32* seen_cells, const u32 (&counts)[3], u32& at, u32 end) {
    bool inside = false;
    u32 sample = at;
    while (sample < end) {
        u32 next = 0;
        const bool seen = cell_is_seen(run, seen_cells, counts, sample, next);
        if (inside && !seen) {
            return sample;
        }
        if (seen && !inside) {
            inside = true;
            at = sample;
        }
        sample = next;
    }
    if (!inside) {
        at = end;
    }
    return end;
}

// Adds the light of a medium.
template <class G>
HGV_DEVICE void add_medium(const MarchLook& look, const TableEntry* table, const Run<G>& run, u32 first, u32 end,
                           Gathered& gathered) {
    HGV_ROLLED
    for (u32 sample = first; sample < end; sample++) {
        if ((sample - first) % kLanes == 0 && !(gathered.left > look.cutoff)) {
            return;
        }
        const auto place = place_of(run.grid, run.from, run.step, static_cast<float>(sample));
        float alpha = 0.0f;
        const u32 at = classified(look, table, value_at(run.grid, place), run.length, alpha);
        const float weight = alpha * gathered.left;
        if (!(weight > 0.0f)) {
            continue;
        }
        const TableEntry entry = table[at];
        if (weight > kFaint) {
            float gradient[3];
            gradient_at(run.grid, place, run.per_length, gradient);
            add_shaded(look, entry, gradient, run.direction, weight, gathered);
        } else {
            HGV_UNROLL
            for (u32 c = 0; c < 3; c++) {
                gathered.rgb[c] = gathered.rgb[c] + weight * entry.rgb[c];
            }
        }
        gathered.left -= weight;
    }
}

// Takes note of all values. NaN counts for nothing.
template <class G> HGV_DEVICE void add_all(const Run<G>& run, u32 first, u32 end, Gathered& gathered) {
    HGV_ROLLED
    for (u32 sample = first; sample < end; sample++) {
        const float value = value_at(run.grid, place_of(run.grid, run.from, run.step, static_cast<float>(sample)));
        if (value == value) {
            gathered.peak = at_least(value, gathered.peak);
            gathered.sum += value * run.length;
            gathered.length += run.length;
        }
    }
}

// Shows the surface that the ray meets between the sample before `sample` and it.
template <class G>
HGV_DEVICE void hit_surface(const MarchLook& look, const TableEntry* table, const Run<G>& run, float sample,
                            Gathered& gathered) {
    float before = sample - 1.0f, width = 1.0f, from[3], fine[3];
    HGV_ROLLED
    for (u32 round = 0; round < kRefinements; round++) {
        width /= static_cast<float>(kLanes);
        HGV_UNROLL
        for (u32 a = 0; a < 3; a++) {
            fine[a] = run.step[a] * width;
            from[a] = run.from[a] + before * run.step[a];
        }
        u32 lane = 0;
        while (lane < kLanes - 1 &&
               !(value_at(run.grid, place_of(run.grid, from, fine, static_cast<float>(lane + 1))) >= look.value)) {
            lane++;
        }
        before += static_cast<float>(lane) * width;
    }
    HGV_UNROLL
    for (u32 a = 0; a < 3; a++) {
        fine[a] = 0.0f;
        from[a] = run.from[a] + (before + 0.5f * width) * run.step[a];
    }
    float gradient[3];
    gradient_at(run.grid, place_of(run.grid, from, fine, 0.0f), run.per_length, gradient);
    HGV_UNROLL
    for (u32 c = 0; c < 3; c++) {
        gathered.rgb[c] = 0.0f;
    }
    add_shaded(look, entry_of(look, table, look.value), gradient, run.direction, 1.0f, gathered);
    gathered.left = 0.0f;
}

// Ends the ray at the first place whose value is not under that of the surface.
template <class G>
HGV_DEVICE void find_surface(const MarchLook& look, const TableEntry* table, const Run<G>& run, u32 first, u32 end,
                             Gathered& gathered) {
    u32 sample = first;
    while (sample < end && !(value_at(run.grid, place_of(run.grid, run.from, run.step, static_cast<float>(sample))) >=
                             look.value)) {
        sample++;
    }
    if (sample < end) {
        hit_surface(look, table, run, static_cast<float>(sample), gathered);
    }
}
