// What codes the symbols of a walk through a block, and the one that decodes them.
//
// A walk serves decoders and encoders alike. A Coder is one of both: RansPlayer reads values, RansRecorder
// (rans_record.cuh) is handed them. Overloads of these functions say what they do with a symbol; values and
// results are of a lane where n lanes have one each:
//
//   coder_restart(coder)                                  the next symbol is on lane 0
//   coder_fixed(coder, context, value)                    a symbol of variant 0
//   coder_begin_band(coder, context), coder_end_band      contexts of one variant
//   coder_symbols(coder, context, value, n)               n symbols
//   coder_magnitudes(coder, is, context, shift, value, n) the same, where `is`: a magnitude with its tail
//   coder_signed(coder, context, shift, value, n)         magnitudes with raw signs at once
//   coder_raw(coder, value, count)                        raw bits
//   coder_signs(coder, follows, negative)                 signs of a batch, for the end of the stream
//   coder_fail(coder, broken)                             of a lane: a rule is broken
//   coder_bad(coder)                                      whether one was, so that the walk may end early
#pragma once

#include "queue.cuh"
#include "rans.cuh"
#include "rans_walk.cuh"

// Decodes a stream into the numbers of its block.
template <class T> struct RansPlayer {
    static constexpr bool kEncodes = false;
    RansDecoder decoder;
    T* indices;
    u32* marks;    // for each batch of numbers: the lanes whose signs follow
    u32 batches;
    u32 signs;
};

template <class T>
HGV_DEVICE void player_open(RansPlayer<T>& c, const u32* bounds, const u32* maps, const u8* stream, u32 length, T* indices,
                            u32* marks) {
    rans_open(c.decoder, bounds, maps, stream, length);
    c.indices = indices;
    c.marks = marks;
    c.batches = 0;
    c.signs = 0;
}

template <class T> HGV_DEVICE u32 coder_bad(const RansPlayer<T>& c) { return c.decoder.bad; }
template <class T> HGV_DEVICE void coder_fail(RansPlayer<T>& c, bool broken) {
    c.decoder.bad |= HGV_ANY(broken) ? 1u : 0u;
}
template <class T> HGV_DEVICE void coder_restart(RansPlayer<T>& c) { rans_restart(c.decoder); }
template <class T> HGV_DEVICE u32 coder_fixed(RansPlayer<T>& c, u32 context, u32) {
    return rans_fixed_symbol(c.decoder, context);
}
template <class T> HGV_DEVICE void coder_begin_band(RansPlayer<T>& c, u32 context) {
    rans_choose_variant(c.decoder, context);
}
template <class T> HGV_DEVICE void coder_end_band(RansPlayer<T>&) {}
template <class T> HGV_DEVICE u32 coder_symbols(RansPlayer<T>& c, u32 context, u32, u32 n) {
    return rans_context_symbols(c.decoder, context, n);
}
template <class T>
HGV_DEVICE u32 coder_magnitudes(RansPlayer<T>& c, bool is, u32 context, u32 shift, u32, u32 n) {
    return rans_tails(c.decoder, is, rans_context_symbols(c.decoder, context, n), shift);
}
template <class T> HGV_DEVICE i64 coder_signed(RansPlayer<T>& c, u32 context, u32 shift, i64, u32 n) {
    bool negative = false;
    const u32 token = rans_context_symbols(c.decoder, context, n);
    const i64 magnitude = rans_signed_tails(c.decoder, token, shift, n, negative);
    return negative ? -magnitude : magnitude;
}
template <class T> HGV_DEVICE u32 coder_raw(RansPlayer<T>& c, u32, u32 count) { return rans_raw(c.decoder, count); }
template <class T> HGV_DEVICE void coder_signs(RansPlayer<T>& c, bool follows, bool) {
    const u32 mask = HGV_BALLOT(follows);
    if (lane_index() == 0) {
        c.marks[c.batches] = mask;
    }
    c.batches++;
    c.signs += popcount(mask);
}
template <class T> HGV_DEVICE void coder_put(RansPlayer<T>& c, u32 place, T value) { c.indices[place] = value; }
