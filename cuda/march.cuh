// A ray on its way through the blocks: src/render/march/leaves.rs and frame.rs. The arithmetic is that of the
// CPU, in the same order, so that both draw the same picture.
#pragma once

#include "march_run.cuh"

constexpr u32 kNothing = 0xffffffffu;

// A node of the tree that says what is shown where.
struct MarchNode {
    u32 child;   // first of 8 children, x fastest; 0: it is a leaf
    u32 slot;    // what a leaf shows
};

// A block that is shown.
struct MarchSlot {
    u64 values;           // their address, with apron, [z][y][x], or a texture of them; 0: it is transparent
    double first[3];      // place of the first voxel in the full resolution
    u32 seen;             // first word of the bits that say which cells may be seen
    u32 lod;
    u32 dims[3];
    u32 cells[3];
    float end[3];
    u32 unused;
};

enum : u32 { kTransparent = 0, kColour = 1, kGradient = 2 };

// A camera, its axes right, up and forward.
struct MarchView {
    float eye[3];
    float right[3];
    float up[3];
    float forward[3];
    float half[2];
    float pixels_per_half;
    u32 perspective;
};

struct MarchParams {
    const MarchNode* nodes;
    const MarchSlot* slots;
    const u32* seen;
    const TableEntry* table;
    const float* planes;      // of clipping, four numbers each
    float* pixels;            // red, green, blue, opacity
    double step;              // length of an interval in blocks of the full resolution
    double end[3];            // upper corner of the volume
    double clip_lo[3];        // box of clipping, in voxels of the full resolution
    double clip_hi[3];
    float spacing[3];
    u32 size[2];              // of the picture
    u32 height;               // log2 of the side of the root in blocks of the finest tier
    u32 unit_log2;            // log2 of the side of such a block
    u32 clips;                // whether there is a box
    u32 plane_count;
    u32 background;
    float behind[3];          // or at the upper edge
    float below[3];           // at the lower edge
    float texel_factor;       // what a texel of 1 stands for, where blocks are textures
    float texel_offset;       // and one of 0
    MarchView view;
    MarchLook look;
};

struct Ray {
    double from[3];        // in voxels of the full resolution
    double along[3];       // way for a unit of length
    float direction[3];
};

struct Leaf {
    u32 slot;
    u32 level;
};

HGV_DEVICE double power_of_two(u32 exponent) { return static_cast<double>(1ull << exponent); }

// The ray through the middle of a pixel.
HGV_DEVICE Ray ray_of(const MarchParams& p, float x, float y) {
    const MarchView& view = p.view;
    const float across = x / view.pixels_per_half - view.half[0];
    const float height = view.half[1] - y / view.pixels_per_half;
    float from[3];
    Ray ray;
    HGV_UNROLL
    for (u32 a = 0; a < 3; a++) {
        const float aside = across * view.right[a] + height * view.up[a];
        from[a] = view.perspective != 0 ? view.eye[a] : view.eye[a] + aside;
        ray.direction[a] = view.perspective != 0 ? view.forward[a] + aside : view.forward[a];
    }
    if (view.perspective != 0) {
        make_unit(ray.direction, 1e-12f, view.forward);
    }
    HGV_UNROLL
    for (u32 a = 0; a < 3; a++) {
        const double spacing = static_cast<double>(p.spacing[a]);
        ray.from[a] = static_cast<double>(from[a]) / spacing - 0.5;
        ray.along[a] = static_cast<double>(ray.direction[a]) / spacing;
    }
    return ray;
}

// Narrows `enter` and `leave` to where a ray is in a box.
HGV_DEVICE void cross_box(const Ray& ray, const double (&lo)[3], const double (&hi)[3], double& enter, double& leave) {
    HGV_UNROLL
    for (u32 a = 0; a < 3; a++) {
        if (ray.along[a] == 0.0) {
            if (ray.from[a] < lo[a] || ray.from[a] > hi[a]) {
                leave = at_most(leave, 0.0);
            }
            continue;
        }
        const double t = (lo[a] - ray.from[a]) / ray.along[a], u = (hi[a] - ray.from[a]) / ray.along[a];
        enter = at_least(at_most(t, u), enter);
        leave = at_most(at_least(t, u), leave);
    }
}

// Narrows them to what planes leave.
HGV_DEVICE void cut_by_planes(const MarchParams& p, const Ray& ray, double& enter, double& leave) {
    for (u32 i = 0; i < p.plane_count; i++) {
        double height = 0.0, rise = 0.0;
        HGV_UNROLL
        for (u32 a = 0; a < 3; a++) {
            const double normal = static_cast<double>(p.planes[4 * i + a]) * static_cast<double>(p.spacing[a]);
            height += normal * (ray.from[a] + 0.5);
            rise += normal * ray.along[a];
        }
        height += static_cast<double>(p.planes[4 * i + 3]);
        if (rise > 0.0) {
            enter = at_least(-height / rise, enter);
        } else if (rise < 0.0) {
            leave = at_most(-height / rise, leave);
        } else if (height < 0.0) {
            leave = enter;
        }
    }
}

// What is shown in a block of the finest tier.
HGV_DEVICE Leaf leaf_of(const MarchParams& p, const u32 (&block)[3]) {
    if (block[0] >> p.height != 0 || block[1] >> p.height != 0 || block[2] >> p.height != 0) {
        return {kNothing, 0};
    }
    u32 level = p.height;
    MarchNode node = p.nodes[0];
    while (node.child != 0) {
        level--;
        const u32 x = block[0] >> level & 1u, y = block[1] >> level & 1u, z = block[2] >> level & 1u;
        node = p.nodes[node.child + x + 2 * y + 4 * z];
    }
    return {node.slot, level};
}

// Where a ray leaves the leaf of a level around a block.
HGV_DEVICE double exit_of(const Ray& ray, const u32 (&block)[3], u32 level, double unit) {
    const double side = unit * power_of_two(level);
    double exit = static_cast<double>(infinity());
    HGV_UNROLL
    for (u32 a = 0; a < 3; a++) {
        const u32 at = block[a] >> level;
        // What lies below the first voxel belongs to the first block.
        if (ray.along[a] > 0.0 || (ray.along[a] < 0.0 && at > 0)) {
            const double edge = (static_cast<double>(at) + (ray.along[a] > 0.0 ? 1.0 : 0.0)) * side;
            exit = at_most((edge - ray.from[a]) / ray.along[a], exit);
        }
    }
    return exit;
}

template <class T> HGV_DEVICE void set_grid(const MarchParams&, const MarchSlot& slot, Grid<T>& grid) {
    grid.values = reinterpret_cast<const T*>(slot.values);
    grid.row = slot.dims[0];
    grid.plane = slot.dims[0] * slot.dims[1];
    HGV_UNROLL
    for (u32 a = 0; a < 3; a++) {
        grid.dims[a] = slot.dims[a];
    }
}

HGV_DEVICE void set_grid(const MarchParams& p, const MarchSlot& slot, Smooth& grid) {
    grid.texture = slot.values;
    grid.factor = p.texel_factor;
    grid.offset = p.texel_offset;
}

// Gathers `count` intervals of a length from `start` on, all of one block.
template <class G>
HGV_DEVICE void add_intervals(const MarchParams& p, const Ray& ray, const MarchSlot& slot, double start, double length,
                              u32 count, Gathered& gathered) {
    const double scale = 1.0 / power_of_two(slot.lod);
    Run<G> run;
    set_grid(p, slot, run.grid);
    run.length = static_cast<float>(length);
    HGV_UNROLL
    for (u32 a = 0; a < 3; a++) {
        const double middle = ray.from[a] + (start + 0.5 * length) * ray.along[a];
        run.grid.end[a] = slot.end[a];
        run.from[a] = static_cast<float>(1.0 + (middle - slot.first[a]) * scale);
        run.step[a] = static_cast<float>(ray.along[a] * length * scale);
        run.per_length[a] = static_cast<float>(scale) / p.spacing[a];
        run.direction[a] = ray.direction[a];
    }
    u32 at = 0;
    while (at < count && gathered.left > p.look.cutoff) {
        const u32 end = next_seen(run, p.seen + slot.seen, slot.cells, at, count);
        if (p.look.mode == kMedium) {
            add_medium(p.look, p.table, run, at, end, gathered);
        } else if (p.look.mode == kSurface) {
            find_surface(p.look, p.table, run, at, end, gathered);
        } else {
            add_all(run, at, end, gathered);
        }
        at = end;
    }
}

// Gathers the intervals from `t` on whose middle lies before `exit`. The last one ends at `leave`. Returns the
// start of the next one.
template <class G>
HGV_DEVICE double cross_leaf(const MarchParams& p, const Ray& ray, double t, double exit, double leave, u32 slot,
                             Gathered& gathered) {
    const u32 lod = slot == kNothing ? 0 : p.slots[slot].lod;
    const double length = p.step * power_of_two(lod);
    const double whole = round_down((leave - t) / length + 1e-6);
    const double inside = round_up((exit - t) / length - 0.5);
    const bool is_last = exit >= leave || inside > whole;
    const double count = at_most(at_least(is_last ? whole : inside, 0.0), 16777216.0);
    const double next = t + count * length;
    const double rest = is_last ? leave - next : 0.0;
    if (slot != kNothing && p.slots[slot].values != 0) {
        // The last interval is shorter: one body for both, as it is large.
        const u32 runs = rest > 1e-6 * length ? 2 : 1;
        HGV_ROLLED
        for (u32 i = 0; i < runs; i++) {
            add_intervals<G>(p, ray, p.slots[slot], i == 0 ? t : next, i == 0 ? length : rest,
                             i == 0 ? static_cast<u32>(count) : 1, gathered);
        }
    }
    return is_last ? at_least(leave, next) : next;
}

// What a ray gathers.
template <class G> HGV_DEVICE void gather(const MarchParams& p, const Ray& ray, Gathered& gathered) {
    const double lo[3] = {-0.5, -0.5, -0.5};
    double enter = 0.0, leave = static_cast<double>(infinity());
    cross_box(ray, lo, p.end, enter, leave);
    if (p.clips != 0) {
        cross_box(ray, p.clip_lo, p.clip_hi, enter, leave);
    }
    cut_by_planes(p, ray, enter, leave);
    const double unit = power_of_two(p.unit_log2);
    const double size = leave < 0.0 ? -leave : leave;
    const double nudge = 1e-7 * at_least(at_most(size, 1e12), unit);
    double t = enter, seen_to = enter;
    while (seen_to < leave && gathered.left > p.look.cutoff) {
        u32 block[3];
        HGV_UNROLL
        for (u32 a = 0; a < 3; a++) {
            const double place = ray.from[a] + (seen_to + nudge) * ray.along[a];
            block[a] = static_cast<u32>(at_least(at_most(place, p.end[a]), 0.0) / unit);
        }
        const Leaf leaf = leaf_of(p, block);
        const double exit = at_most(exit_of(ray, block, leaf.level, unit), leave);
        t = cross_leaf<G>(p, ray, t, exit, leave, leaf.slot, gathered);
        seen_to = at_least(exit, seen_to + nudge);
    }
    finish(p.look, p.table, gathered);
}

// Draws one pixel: what a ray gathers, over the background.
template <class G> HGV_DEVICE void march_pixel(const MarchParams& p, u32 x, u32 y) {
    const float height = static_cast<float>(y) + 0.5f;
    const Ray ray = ray_of(p, static_cast<float>(x) + 0.5f, height);
    Gathered gathered = {{0.0f, 0.0f, 0.0f}, 1.0f, -infinity(), 0.0f, 0.0f};
    gather<G>(p, ray, gathered);
    float* out = p.pixels + 4 * (static_cast<u64>(y) * p.size[0] + x);
    const float part = height / static_cast<float>(p.size[1]);
    HGV_UNROLL
    for (u32 c = 0; c < 3; c++) {
        const float colour = p.background == kGradient ? p.behind[c] + part * (p.below[c] - p.behind[c]) : p.behind[c];
        out[c] = p.background == kTransparent ? gathered.rgb[c] : gathered.rgb[c] + gathered.left * colour;
    }
    out[3] = p.background == kTransparent ? 1.0f - gathered.left : 1.0f;
}
