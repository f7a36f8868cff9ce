// Ray marching through bricks with aprons: a thread for each pixel, a warp for 8 x 4 of them.
#include "march.cuh"

constexpr u32 kTileWidth = 16;
constexpr u32 kTileHeight = 8;

template <class G> HGV_DEVICE void march_tile(const MarchParams& p) {
    const u32 across = ceil_div(p.size[0], kTileWidth);
    const u32 lane = lane_index(), warp = warp_index();
    const u32 x = block_index() % across * kTileWidth + (warp & 1u) * 8 + (lane & 7u);
    const u32 y = block_index() / across * kTileHeight + (warp >> 1) * 4 + (lane >> 3);
    if (x < p.size[0] && y < p.size[1]) {
        march_pixel<G>(p, x, y);
    }
}

HGV_KERNEL(hgv_march_u8, MarchParams, 128, 4) { march_tile<Grid<u8>>(p); }
HGV_KERNEL(hgv_march_i8, MarchParams, 128, 4) { march_tile<Grid<i8>>(p); }
HGV_KERNEL(hgv_march_u16, MarchParams, 128, 4) { march_tile<Grid<u16>>(p); }
HGV_KERNEL(hgv_march_i16, MarchParams, 128, 4) { march_tile<Grid<i16>>(p); }
HGV_KERNEL(hgv_march_f32, MarchParams, 128, 4) { march_tile<Grid<float>>(p); }
HGV_KERNEL(hgv_march_smooth, MarchParams, 128, 4) { march_tile<Smooth>(p); }

// Light as bytes of a screen: src/render/image.rs.
struct ToneParams {
    const float* pixels;   // red, green, blue, opacity
    u8* rgb;
    u32 count;
    float exposure;
    u32 tone;
    u32 unused;
};

enum : u32 { kCut = 0, kReinhard = 1, kFilmic = 2 };

HGV_DEVICE u8 shown(float light, u32 tone) {
    float x = at_least(light, 0.0f);
    if (tone == kReinhard) {
        x = x / (1.0f + x);
    } else if (tone == kFilmic) {
        x = x * (2.51f * x + 0.03f) / (x * (2.43f * x + 0.59f) + 0.14f);
    }
    x = at_most(x, 1.0f);
    const float stored = x <= 0.0031308f ? 12.92f * x : 1.055f * power(x, 1.0f / 2.4f) - 0.055f;
    return static_cast<u8>(stored * 255.0f + 0.5f);
}

HGV_KERNEL(hgv_tone, ToneParams, 128, 8) {
    const u32 i = block_index() * thread_count() + thread_index();
    if (i >= p.count) {
        return;
    }
    HGV_UNROLL
    for (u32 c = 0; c < 3; c++) {
        p.rgb[3 * static_cast<u64>(i) + c] = shown(load_constant(p.pixels + 4 * static_cast<u64>(i) + c) * p.exposure, p.tone);
    }
}
