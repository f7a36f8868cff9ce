// Weights and networks of blocks under grid models -> integers of their voxels. A thread block works on a tile
// of a block.
#include "grid_network.cuh"

struct GridEvaluateParams {
    const BlockHead* heads;
    const GridJob* jobs;
    const u32* order;          // jobs to work on
    const GridPlan* plans;
    const u32* weights;
    const i16* networks;       // of blocks of their own
    const i16* bases;          // of models
    const GridState* states;   // of each job
    const u32* status;         // of each head
    i32* integers;
    u32 tiles;                 // of the largest block
    u32 side;                  // of a tile along x
    u32 words;                 // of the inputs of a layer that planes have room for
    u32 unused;
};

enum : u32 { kEvaluateThreads = 256 };

// Where the tile of a thread block lies; false if its block has none of this number.
struct TilePlace {
    u32 first[3];
    u32 count[3];
    u32 extent[3];  // samples of the whole block
};

HGV_DEVICE bool place_tile(const BlockHead& head, u32 number, u32 side, TilePlace& place) {
    const u32 sides[3] = {side, kTileSide, kTileSide};
    for (u32 a = 0; a < 3; a++) {
        place.extent[a] = halved(head.dims[a], head.lod);
        const u32 tiles = ceil_div(place.extent[a], sides[a]);
        const u32 at = a == 2 ? number : number % tiles;
        number /= tiles;
        if (at >= tiles) {
            return false;
        }
        place.first[a] = at * sides[a];
        place.count[a] = smaller(sides[a], place.extent[a] - place.first[a]);
    }
    return true;
}

// Rounds the sums and stores them.
HGV_DEVICE void store(const GridEvaluateParams& p, const BlockHead& head, const GridPlan& plan, const TilePlace& place,
                      const i32* sums) {
    const BoxWalk walk = box_walk(place.count[0], place.count[1], place.count[2]);
    i32* out = p.integers + head.integers;
    for (u32 i = thread_index(); i < walk.size; i += thread_count()) {
        u32 at[3];
        place_of(walk, i, at);
        const u32 row = (place.first[2] + at[2]) * place.extent[1] + place.first[1] + at[1];
        out[row * place.extent[0] + place.first[0] + at[0]] = rounded(sums[i], plan.frac_bits, head.lo, head.hi);
    }
}

enum : u32 { kNoNetworks = 0, kByDots = 1, kByMatrices = 2 };

struct GridEvaluateShared {
    GridTile tile;
    GridNetwork network;
};

struct GridSumsShared {
    GridTile tile;
};

// What all threads of a block share, and its dynamic memory: three lattices, two without networks, and planes.
template <u32 Way> HGV_DEVICE void evaluate(const GridEvaluateParams& p, GridTile& tile, GridNetwork* network, i32* room) {
    const u32 number = load_constant(p.order + block_index() / p.tiles);
    const GridJob job = p.jobs[number];
    const BlockHead& head = p.heads[job.block];
    TilePlace place;
    if (!place_tile(head, block_index() % p.tiles, p.side, place) || p.status[job.block] != kGood) {
        return;
    }
    const GridPlan& plan = p.plans[job.plan];
    const GridWork work = {&plan, p.weights + job.weights, p.states[number], head.lod};
    if (thread_index() < 3) {
        const u32 a = thread_index();
        find_ranges(tile.ranges[a], head.dims[a], head.lod, plan.cubic != 0, place.first[a],
                    place.first[a] + place.count[a] - 1u);
    }
    const u32 kind = work.state.network;
    if (Way != kNoNetworks && kind != kNetworkNone) {
        const i16* from = kind == kNetworkBase ? p.bases + plan.base : p.networks + job.network;
        load_network(plan, from, Way == kByMatrices, *network);
    }
    HGV_SYNC();
    const u32 most = p.side * kTileSide * kTileSide;
    i32* now = room;
    i32* other = room + most;
    skip_sums(work, tile, now, other);
    if (Way != kNoNetworks && kind != kNetworkNone) {
        const u32 samples = place.count[0] * place.count[1] * place.count[2];
        const u32 stride = most + kPlaneGap;
        u32* words = reinterpret_cast<u32*>(room) + 3u * most;
        const GridPlanes planes = {words, words + p.words * stride, stride};
        fill_inputs(work, tile, samples, planes, other, room + 2u * most);
        if (Way == kByDots) {
            add_network_by_dots(plan, *network, planes, samples, now);
        } else {
            add_network_by_matrices(plan, *network, planes, samples, now);
        }
        HGV_SYNC();
    }
    store(p, head, plan, place, now);
}

HGV_KERNEL(hgv_grid_sums, GridEvaluateParams, 256, 4) {
    HGV_SHARED(GridSumsShared, shared);
    HGV_DYNAMIC_SHARED(i32, room);
    evaluate<kNoNetworks>(p, shared.tile, nullptr, room);
}

HGV_KERNEL(hgv_grid_dots, GridEvaluateParams, 256, 3) {
    HGV_SHARED(GridEvaluateShared, shared);
    HGV_DYNAMIC_SHARED(i32, room);
    evaluate<kByDots>(p, shared.tile, &shared.network, room);
}

HGV_KERNEL(hgv_grid_matrices, GridEvaluateParams, 256, 2) {
    HGV_SHARED(GridEvaluateShared, shared);
    HGV_DYNAMIC_SHARED(i32, room);
    evaluate<kByMatrices>(p, shared.tile, &shared.network, room);
}
