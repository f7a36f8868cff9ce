// Coder R on the device: the 32 lanes of a warp decode successive symbols of one stream
// (format-spec/payload.md, sections 7 and 8).
//
// What is the same in all lanes: every field of a decoder but its state, and every argument but those that
// are said to be of a lane. All lanes call every function. A stream that breaks a rule makes `bad` 1; what is
// decoded from then on means nothing, but nothing is read beyond the stream and every loop ends.
#pragma once

#include "device.cuh"

enum : u32 {
    kRansLower = 1u << 16,   // states are at least this
    kProbabilityBits = 12,
    kSymbols = 16,
    kEscape = kSymbols - 1,  // a magnitude token of this value is followed by an escape
    kVariants = 4,
    kBoundWords = kSymbols / 2,
    kMaxDistributions = 256,
    kBitsPerLane = 16,       // raw bits that the final state of a lane carries
    kMaxEscape = 30,         // zeros that an escape may begin with
};

// The tables of a set of contexts; src/backend/cuda/rans/tables.rs lays them out.
struct RansTables {
    const u32* bounds;   // kBoundWords for each distribution: 16 x u16, the first slot behind each symbol
    const u32* maps;     // for each context: byte v = its distribution in variant v
    const float* costs;  // kSymbols for each distribution: bits of a symbol; encoders read them
    u32 distributions;
    u32 contexts;
};

// Bounds of all distributions, in shared memory.
struct RansBounds {
    alignas(16) u32 words[kMaxDistributions * kBoundWords];
};

struct RansDecoder {
    const u32* bounds;  // in shared memory
    const u32* maps;
    const u8* bytes;    // the stream behind its first byte
    u32 length;         // of these bytes
    u32 lanes;          // states of the stream, a power of two
    u32 state;          // of a lane i < lanes: the state of the lane of the stream (first + i) % lanes
    u32 first;          // current lane of the stream
    u32 at;             // next word
    u32 bit;            // raw bits taken
    u32 variant;        // bits to shift a word of `maps` by: 8 * the variant in force
    u32 bad;            // 1 if a rule is broken
};

// Lanes before this one.
HGV_DEVICE u32 lanes_before() { return (1u << lane_index()) - 1u; }

// Copies the bounds to shared memory; all threads of a block.
HGV_DEVICE void rans_load(const RansTables& tables, RansBounds& to) {
    for (u32 i = thread_index(); i < tables.distributions * kBoundWords; i += thread_count()) {
        to.words[i] = load_constant(tables.bounds + i);
    }
    HGV_SYNC();
}

// First slot of a symbol in the low half of the result, the slot behind its last in the high half.
HGV_DEVICE u32 rans_interval(const u32* bounds, u32 distribution, u32 symbol) {
    const u32* row = bounds + distribution * kBoundWords;
    const u32 own = row[symbol >> 1];
    if ((symbol & 1u) != 0) {
        return own;
    }
    return own << 16 | (symbol == 0 ? 0u : row[(symbol >> 1) - 1u] >> 16);
}

// The symbol that owns a slot.
HGV_DEVICE u32 rans_find(const u32* row, u32 slot) {
    // Both halves of a word at once: bit 15 of 2^15 + slot - bound says whether the slot reaches the bound.
    const u32 twice = slot * 0x00010001u + 0x80008000u;
    u32 reached = 0;
    for (u32 i = 0; i < kBoundWords; i++) {
        reached += (twice - row[i]) >> 15 & 0x00010001u;
    }
    return (reached + (reached >> 16)) & 0xffffu;
}

// Takes a symbol off a state, which may be too small then; `row` are the bounds of the distribution.
HGV_DEVICE u32 rans_step(const u32* bounds, u32 distribution, const u32* row, u32& state) {
    const u32 slot = state & ((1u << kProbabilityBits) - 1u);
    const u32 symbol = rans_find(row, slot);
    const u32 interval = rans_interval(bounds, distribution, symbol);
    const u32 low = interval & 0xffffu;
    state = ((interval >> 16) - low) * (state >> kProbabilityBits) + slot - low;
    return symbol;
}

// A word of the stream; zero beyond it, which the end notices.
HGV_DEVICE u32 rans_word(const RansDecoder& d, u32 at) {
    if (at + 1u >= d.length) {
        return 0;
    }
    return load_constant(d.bytes + at) | static_cast<u32>(load_constant(d.bytes + at + 1)) << 8;
}

// Begins a stream that has at least one byte.
HGV_DEVICE void rans_open(RansDecoder& d, const u32* bounds, const u32* maps, const u8* stream, u32 length) {
    const u32 lanes_log2 = load_constant(stream);
    d.bounds = bounds;
    d.maps = maps;
    d.bytes = stream + 1;
    d.length = length - 1u;
    d.lanes = 1u << smaller(lanes_log2, 5u);
    d.state = kRansLower;
    d.first = 0;
    d.at = 4u * d.lanes;
    d.bit = 0;
    d.variant = 0;
    d.bad = lanes_log2 > 5u || d.at > d.length ? 1u : 0u;
    if (d.bad == 0 && lane_index() < d.lanes) {
        const u32 at = 4u * lane_index();
        d.state = rans_word(d, at) | rans_word(d, at + 2u) << 16;
    }
    d.bad |= HGV_ANY(d.state < kRansLower) ? 1u : 0u;
}

// The next symbol is on lane 0 of the stream.
HGV_DEVICE void rans_restart(RansDecoder& d) {
    if (d.first != 0) {
        d.state = HGV_SHFL(d.state, (lane_index() - d.first) & (d.lanes - 1u));
        d.first = 0;
    }
}

// The next n <= 32 symbols, one in each of the first n lanes. Of a lane: its distribution, its symbol.
HGV_DEVICE u32 rans_symbols(RansDecoder& d, u32 distribution, u32 n) {
    const u32 lane = lane_index();
    const u32* shared_row = d.bounds + distribution * kBoundWords;
    u32 row[kBoundWords];
    for (u32 i = 0; i < kBoundWords; i++) {
        row[i] = shared_row[i];
    }
    u32 symbol = 0;
    // With fewer states than symbols, the states wander through the warp in rounds.
    for (u32 base = 0;;) {
        const bool mine = lane >= base && lane - base < d.lanes && lane < n;
        u32 next = d.state;
        const u32 found = rans_step(d.bounds, distribution, row, next);
        const u32 needy = HGV_BALLOT(mine && next < kRansLower);
        if (mine) {
            if (next < kRansLower) {
                next = next << 16 | rans_word(d, d.at + 2u * popcount(needy & lanes_before()));
            }
            d.state = next;
            symbol = found;
        }
        d.at += 2u * popcount(needy);
        base += d.lanes;
        if (base >= n) {
            break;
        }
        const u32 moved = HGV_SHFL_UP(d.state, d.lanes);
        if (lane >= base) {
            d.state = moved;
        }
    }
    if (n != d.lanes) {
        const u32 from = n > d.lanes ? n - d.lanes + lane : (n + lane) & (d.lanes - 1u);
        d.state = HGV_SHFL(d.state, from & 31u);
        d.first = (d.first + n) & (d.lanes - 1u);
    }
    return symbol;
}

// The next n symbols in contexts of the variant in force. Of a lane: its context, its symbol.
HGV_DEVICE u32 rans_context_symbols(RansDecoder& d, u32 context, u32 n) {
    const u32 word = load_constant(d.maps + (lane_index() < n ? context : 0u));
    return rans_symbols(d, word >> d.variant & 0xffu, n);
}

// One symbol in a context of variant 0.
HGV_DEVICE u32 rans_fixed_symbol(RansDecoder& d, u32 context) {
    const u32 distribution = load_constant(d.maps + context) & 0xffu;
    u32 next = HGV_SHFL(d.state, 0);
    const u32 symbol = rans_step(d.bounds, distribution, d.bounds + distribution * kBoundWords, next);
    if (next < kRansLower) {
        next = next << 16 | rans_word(d, d.at);
        d.at += 2u;
    }
    // The lane that had the state comes last now.
    const u32 behind = HGV_SHFL(d.state, (lane_index() + 1u) & 31u);
    d.state = lane_index() == d.lanes - 1u ? next : behind;
    d.first = (d.first + 1u) & (d.lanes - 1u);
    return symbol;
}

// Reads the variant of the contexts that follow.
HGV_DEVICE void rans_choose_variant(RansDecoder& d, u32 context) {
    d.variant = 8u * (rans_fixed_symbol(d, context) % kVariants);
}

// 32 raw bits from any bit on; zeros beyond the stream. Of a lane: the bit, the result.
HGV_DEVICE u32 rans_peek(const RansDecoder& d, u32 bit) {
    u64 bits = 0;
    for (u32 i = 0; i < 5; i++) {
        const u32 byte = (bit >> 3) + i;
        if (byte < d.length) {
            bits |= static_cast<u64>(load_constant(d.bytes + (d.length - 1u - byte))) << (8u * i);
        }
    }
    return static_cast<u32>(bits >> (bit & 7u));
}

// Moves behind raw bits that were looked at.
HGV_DEVICE void rans_take(RansDecoder& d, u32 count) {
    d.bit += count;
    d.bad |= (d.bit + 7u) >> 3 > d.length ? 1u : 0u;
}

// The next count < 32 raw bits.
HGV_DEVICE u32 rans_raw(RansDecoder& d, u32 count) {
    const u32 bits = rans_peek(d, d.bit) & ((1u << count) - 1u);
    rans_take(d, count);
    return bits;
}

// The Exp-Golomb number that begins at a bit; `length` becomes its bits.
HGV_DEVICE u32 rans_escape(RansDecoder& d, u32 bit, u32& length) {
    u32 zeros = find_first(rans_peek(d, bit));
    if (zeros > kMaxEscape) {
        d.bad = 1;
        zeros = 0;
    }
    const u32 mask = (1u << zeros) - 1u;
    length = 2u * zeros + 1u;
    return mask + (rans_peek(d, bit + zeros + 1u) & mask);
}

// The rest of magnitudes whose tokens are known: escapes and raw low bits. Of a lane: whether its symbol
// begins a magnitude at all, its token, its shift < 32; the magnitude, or the token where it is none.
HGV_DEVICE u32 rans_tails(RansDecoder& d, bool magnitude, u32 token, u32 shift) {
    const u32 raw = magnitude ? shift : 0u;
    u32 escapes = HGV_BALLOT(magnitude && token == kEscape);
    if (escapes == 0 && !HGV_ANY(raw != 0)) {
        return token;
    }
    const u32 ends = HGV_WARP_SCAN(raw);
    u32 at = d.bit + ends - raw;
    u32 total = HGV_SHFL(ends, 31);
    u32 high = token;
    // Where an escape begins depends on the lengths of those before it.
    for (; escapes != 0; escapes &= escapes - 1u) {
        const u32 lane = find_first(escapes);
        u32 length = 0;
        const u32 number = rans_escape(d, HGV_SHFL(at, lane), length);
        high += lane_index() == lane ? number : 0u;
        at += lane_index() >= lane ? length : 0u;
        total += length;
    }
    rans_take(d, total);
    d.bad |= HGV_ANY(raw != 0 && high >> (32u - raw) != 0) ? 1u : 0u;
    return raw == 0 ? high : high << raw | (rans_peek(d, at) & ((1u << raw) - 1u));
}

// The rest of n magnitudes, each followed by a raw sign unless it is 0. Of a lane: its token, its
// magnitude, whether it is negative. Where a lane begins depends on the magnitudes before it: one by one.
HGV_DEVICE u32 rans_signed_tails(RansDecoder& d, u32 token, u32 shift, u32 n, bool& negative) {
    u32 mine = 0;
    negative = false;
    for (u32 lane = 0; lane < n; lane++) {
        u32 magnitude = HGV_SHFL(token, lane);
        if (magnitude == kEscape) {
            u32 length = 0;
            magnitude += rans_escape(d, d.bit, length);
            rans_take(d, length);
        }
        if (shift > 0) {
            d.bad |= magnitude >> (32u - shift) != 0 ? 1u : 0u;
            magnitude = magnitude << shift | rans_raw(d, shift);
        }
        const bool minus = magnitude != 0 && rans_raw(d, 1) == 1u;
        if (lane_index() == lane) {
            mine = magnitude;
            negative = minus;
        }
    }
    return mine;
}

// Signs that ride in the final states.
HGV_DEVICE u32 rans_carried(const RansDecoder& d, u32 signs) { return smaller(signs, kBitsPerLane * d.lanes); }

// Checks the end of a stream that so many signs belong to: final states, unused bits, and that words and
// raw bits meet.
HGV_DEVICE void rans_finish(RansDecoder& d, u32 signs) {
    rans_restart(d);
    const u32 first = kBitsPerLane * lane_index();
    const u32 used = signs > first ? smaller(signs - first, static_cast<u32>(kBitsPerLane)) : 0u;
    const bool unclean = d.state >> 17 != 0 || (d.state & 0xffffu) >> used != 0;
    d.bad |= HGV_ANY(lane_index() < d.lanes && unclean) ? 1u : 0u;
    const u32 end = d.bit + signs - rans_carried(d, signs);
    const u32 touched = (end + 7u) >> 3;
    if (touched > d.length || d.at != d.length - touched) {
        d.bad = 1;
    } else if ((end & 7u) != 0) {
        d.bad |= load_constant(d.bytes + d.at) >> (end & 7u) != 0 ? 1u : 0u;
    }
}

// Sign number i of a stream whose end is checked, i under the number of its signs or meaningless. Of a lane.
HGV_DEVICE bool rans_sign(const RansDecoder& d, u32 i) {
    const u32 carried = kBitsPerLane * d.lanes;
    const u32 state = HGV_SHFL(d.state, i / kBitsPerLane & 31u);
    const u32 bits = i < carried ? state >> i % kBitsPerLane : rans_peek(d, d.bit + i - carried);
    return (bits & 1u) != 0;
}
