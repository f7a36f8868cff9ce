// What an encoder of coder R does with the symbols of a walk (rans_coder.cuh): it writes them down in decoding
// order, and codes them backwards at the end, as src/codec/symbols.rs and rans.rs do, to the same bytes.
#pragma once

#include "bits.cuh"
#include "rans_coder.cuh"
#include "sink.cuh"

enum : u32 {
    kMaxRuns = 256,  // of symbols between restarts
};

// What a warp keeps in shared memory to add up costs.
struct RansCosts {
    float bits[32 * kVariants];  // of a batch of symbols: of each in each variant
};

// Where a warp writes down symbols.
struct RansNotes {
    u32* symbols;   // context in the low half, value in the high half; room for those of any stream
    u32* runs;      // kMaxRuns x (first symbol, variant)
    u32* signs;     // a bit for each
    u8* occupied;   // a byte for each group: 1 if the band that is coded has something there
    u32* raw;
    u32 raw_words;
};

// Memory of all warps of a grid for their notes.
struct RansWorkspace {
    u8* memory;
    u64 bytes;       // of each warp
    u32 symbols;     // words
    u32 raw_words;
    u32 sign_words;
    u32 flag_bytes;  // of flags, which a walk needs, and of occupied groups
};

// The notes of a warp; `flags` becomes the memory for the flags of its walk.
HGV_DEVICE RansNotes notes_of(const RansWorkspace& workspace, u32 warp, u8*& flags) {
    RansNotes notes;
    notes.symbols = reinterpret_cast<u32*>(workspace.memory + warp * workspace.bytes);
    notes.raw = notes.symbols + workspace.symbols;
    notes.raw_words = workspace.raw_words;
    notes.signs = notes.raw + workspace.raw_words;
    notes.runs = notes.signs + workspace.sign_words;
    flags = reinterpret_cast<u8*>(notes.runs + 2u * kMaxRuns);
    notes.occupied = flags + workspace.flag_bytes;
    return notes;
}

// Writes down the symbols of a stream. The same in all lanes but for `cost`.
struct RansRecorder {
    static constexpr bool kEncodes = true;
    RansTables tables;
    RansCosts* costs;
    RansNotes notes;
    BitSink raw;
    u32 count;       // symbols so far
    u32 run;         // number of the current run
    u32 band_run;    // number of the first run of the band
    u32 variant_at;  // the symbol that says the variant of the band
    u32 signs;
    u32 sign_word;   // those that do not fill a word yet
    float cost;      // of a lane v < 4: what the band costs in variant v
    u32 bad;         // 1 if a number is beyond what a stream can hold
};

HGV_DEVICE void recorder_open(RansRecorder& r, const RansTables& tables, RansCosts* costs, const RansNotes& notes) {
    r.tables = tables;
    r.costs = costs;
    r.notes = notes;
    r.raw = bit_sink(notes.raw, notes.raw_words);
    r.count = 0;
    r.run = 0;
    r.band_run = 0;
    r.variant_at = 0;
    r.signs = 0;
    r.sign_word = 0;
    r.cost = 0.0f;
    r.bad = 0;
    if (lane_index() < 2u) {
        notes.runs[lane_index()] = 0;
    }
}

HGV_DEVICE u32 coder_bad(const RansRecorder& r) { return r.bad | r.raw.full; }

HGV_DEVICE void coder_fail(RansRecorder& r, bool broken) { r.bad |= HGV_ANY(broken) ? 1u : 0u; }

HGV_DEVICE void coder_restart(RansRecorder& r) {
    r.run++;
    if (lane_index() == 0) {
        r.notes.runs[2u * r.run] = r.count;
        r.notes.runs[2u * r.run + 1u] = 0;
    }
}

HGV_DEVICE u32 coder_fixed(RansRecorder& r, u32 context, u32 value) {
    if (lane_index() == 0) {
        r.notes.symbols[r.count] = context | value << 16;
    }
    r.count++;
    return value;
}

HGV_DEVICE void coder_begin_band(RansRecorder& r, u32 context) {
    r.variant_at = r.count;
    r.band_run = r.run + 1u;
    r.cost = 0.0f;
    coder_fixed(r, context, 0);
}

// The cheapest variant; the first of equals.
HGV_DEVICE u32 cheapest_variant(const RansRecorder& r) {
    u32 best = 0;
    float least = HGV_SHFL(r.cost, 0);
    for (u32 v = 1; v < kVariants; v++) {
        const float cost = HGV_SHFL(r.cost, v);
        best = cost < least ? v : best;
        least = cost < least ? cost : least;
    }
    return best;
}

HGV_DEVICE void coder_end_band(RansRecorder& r) {
    const u32 variant = cheapest_variant(r);
    HGV_WARP_SYNC();
    if (lane_index() == 0) {
        r.notes.symbols[r.variant_at] |= variant << 16;
    }
    for (u32 run = r.band_run + lane_index(); run <= r.run; run += 32u) {
        r.notes.runs[2u * run + 1u] = variant;
    }
    HGV_WARP_SYNC();
}

HGV_DEVICE u32 coder_symbols(RansRecorder& r, u32 context, u32 value, u32 n) {
    const u32 lane = lane_index();
    HGV_WARP_SYNC();
    if (lane < n) {
        r.notes.symbols[r.count + lane] = context | value << 16;
        const u32 map = load_constant(r.tables.maps + context);
        for (u32 v = 0; v < kVariants; v++) {
            r.costs->bits[lane * kVariants + v] = load_constant(r.tables.costs + (map >> (8u * v) & 0xffu) * kSymbols + value);
        }
    }
    HGV_WARP_SYNC();
    // In the order of the symbols, so that the sums round as on the CPU.
    if (lane < kVariants) {
        for (u32 i = 0; i < n; i++) {
            r.cost += r.costs->bits[i * kVariants + lane];
        }
    }
    r.count += n;
    return value;
}

// Escapes, raw low bits and raw signs of a batch of magnitudes.
HGV_DEVICE void record_tails(RansRecorder& r, bool is, u32 shift, u32 value, bool with_sign, bool negative) {
    const u32 high = value >> shift;
    const bool escaped = is && high >= kEscape;
    const u32 number = escaped ? high - kEscape + 1u : 1u;
    const u32 zeros = 31u - leading_zeros(number);
    coder_fail(r, zeros > kMaxEscape);
    const u32 escape = escaped ? 2u * zeros + 1u : 0u;
    const u32 low = is ? shift : 0u;
    const u32 sign = is && with_sign && value != 0 ? 1u : 0u;
    const u32 length = escape + low + sign;
    if (!HGV_ANY(length > 0) || coder_bad(r) != 0) {
        return;
    }
    const u32 ends = HGV_WARP_SCAN(length);
    const u32 total = HGV_SHFL(ends, 31);
    if (!bits_reserve(r.raw, total)) {
        return;
    }
    const u32 at = r.raw.bit + ends - length;
    if (escaped) {
        bits_put(r.raw, at, 1u << zeros, zeros + 1u);
        bits_put(r.raw, at + zeros + 1u, number, zeros);
    }
    bits_put(r.raw, at + escape, value, low);
    bits_put(r.raw, at + escape + low, negative ? 1u : 0u, sign);
    r.raw.bit += total;
}

HGV_DEVICE u32 coder_magnitudes(RansRecorder& r, bool is, u32 context, u32 shift, u32 value, u32 n) {
    const u32 token = is ? smaller(value >> shift, static_cast<u32>(kEscape)) : value;
    coder_symbols(r, context, token & kEscape, n);
    record_tails(r, is, shift, value, false, false);
    return value;
}

HGV_DEVICE i64 coder_signed(RansRecorder& r, u32 context, u32 shift, i64 value, u32 n) {
    const bool mine = lane_index() < n;
    const u64 magnitude = static_cast<u64>(value < 0 ? -value : value);
    coder_fail(r, mine && magnitude >> 32 != 0);
    const u32 low = static_cast<u32>(magnitude);
    coder_symbols(r, context, smaller(low >> shift, static_cast<u32>(kEscape)), n);
    record_tails(r, mine, shift, low, true, value < 0);
    return value;
}

HGV_DEVICE u32 coder_raw(RansRecorder& r, u32 value, u32 count) {
    bits_append(r.raw, value, count);
    return value;
}

HGV_DEVICE void coder_signs(RansRecorder& r, bool follows, bool negative) {
    const u32 mask = HGV_BALLOT(follows);
    const u32 rank = popcount(mask & lanes_before());
    const u32 bits = HGV_WARP_SUM(follows && negative ? 1u << rank : 0u);
    const u32 filled = r.signs & 31u;
    const u32 count = popcount(mask);
    r.sign_word |= bits << filled;
    if (filled + count >= 32u) {
        if (lane_index() == 0) {
            r.notes.signs[r.signs >> 5] = r.sign_word;
        }
        r.sign_word = filled == 0 ? 0u : bits >> (32u - filled);
    }
    r.signs += count;
}

// States of the stream for so many symbols; a byte or so is what each costs.
HGV_DEVICE u32 lanes_log2_for(u32 symbols) {
    return (symbols >= 1500u ? 1u : 0u) + (symbols >= 4000u ? 1u : 0u) + (symbols >= 10000u ? 1u : 0u) +
           (symbols >= 24000u ? 1u : 0u) + (symbols >= 60000u ? 1u : 0u);
}

// 32 signs from any one on; zeros behind the last.
HGV_DEVICE u32 signs_from(const RansRecorder& r, u32 first) {
    const u32 word = first >> 5;
    const u32 words = (r.signs + 31u) >> 5;
    const u64 low = word < words ? r.notes.signs[word] : 0u;
    const u64 high = word + 1u < words ? r.notes.signs[word + 1u] : 0u;
    return static_cast<u32>((low | high << 32) >> (first & 31u));
}

// Appends the signs that no state carries to the raw bits.
HGV_DEVICE void append_signs(RansRecorder& r, u32 carried) {
    const u32 rest = r.signs - carried;
    if (!bits_reserve(r.raw, rest)) {
        return;
    }
    for (u32 i = 32u * lane_index(); i < rest; i += 1024u) {
        bits_put(r.raw, r.raw.bit + i, signs_from(r, carried + i), smaller(rest - i, 32u));
    }
    r.raw.bit += rest;
}

// Codes up to 32 symbols backwards, one in each of the first n lanes; of a lane i < lanes: the state of lane i of
// the stream. `words` is where the words end that are there, in front of which more are put; how many.
HGV_DEVICE u32 code_backwards(u32& state, u32 lanes, u32 low, u32 frequency, u32 n, u32* words) {
    const u32 lane = lane_index();
    u32 written = 0;
    state = HGV_SHFL(state, lane & (lanes - 1u));
    for (u32 base = (n - 1u) & ~(lanes - 1u);; base -= lanes) {
        const bool mine = lane >= base && lane - base < lanes && lane < n;
        const bool spills = mine && state >> (32u - kProbabilityBits) >= frequency;
        const u32 mask = HGV_BALLOT(spills);
        const u32 above = popcount(mask & ~lanes_before());
        if (spills) {
            words[-static_cast<i32>(written + above)] = state & 0xffffu;
            state >>= 16;
        }
        written += popcount(mask);
        if (mine) {
            state = (state / frequency << kProbabilityBits) + state % frequency + low;
        }
        if (base == 0) {
            return written;
        }
        const u32 moved = HGV_SHFL_DOWN(state, lanes);
        state = lane < base ? moved : state;
    }
}

// Codes all symbols; the words come to lie at the end of the symbols, one in each u32. How many.
HGV_DEVICE u32 code_symbols(const RansRecorder& r, const u32* bounds, u32 lanes, u32& state) {
    const u32 lane = lane_index();
    u32 words = 0;
    u32 end = r.count;
    for (u32 run = r.run + 1u; run-- > 0;) {
        const u32 start = r.notes.runs[2u * run];
        const u32 variant = r.notes.runs[2u * run + 1u];
        for (u32 left = end - start; left > 0;) {
            const u32 n = (left - 1u) % 32u + 1u;
            left -= n;
            const u32 symbol = r.notes.symbols[start + left + smaller(lane, n - 1u)];
            const u32 context = symbol & 0xffffu;
            const u32 map = load_constant(r.tables.maps + context);
            const u32 interval = rans_interval(bounds, map >> (context < kFlagContext ? 0u : 8u * variant) & 0xffu, symbol >> 16);
            const u32 low = interval & 0xffffu;
            // Words are put where symbols lay that all lanes have read.
            HGV_WARP_SYNC();
            words += code_backwards(state, lanes, low, (interval >> 16) - low, n, r.notes.symbols + r.count - words);
            HGV_WARP_SYNC();
        }
        end = start;
    }
    return words;
}

// Writes the stream: lane count, states, words, raw bits from the end. False if there is no room.
HGV_DEVICE bool recorder_finish(RansRecorder& r, const u32* bounds, const ByteSink& sink, u64& offset, u32& length) {
    const u32 lane = lane_index();
    if (lane == 0 && (r.signs & 31u) != 0) {
        r.notes.signs[r.signs >> 5] = r.sign_word;
    }
    HGV_WARP_SYNC();
    const u32 lanes_log2 = lanes_log2_for(r.count);
    const u32 lanes = 1u << lanes_log2;
    append_signs(r, smaller(r.signs, kBitsPerLane * lanes));
    if (coder_bad(r) != 0) {
        return true;
    }
    u32 state = kRansLower | (signs_from(r, kBitsPerLane * lane) & 0xffffu);
    const u32 words = code_symbols(r, bounds, lanes, state);
    const u32 raw = bits_bytes(r.raw);
    length = 1u + 4u * lanes + 2u * words + raw;
    if (!sink_take(sink, length, offset)) {
        return false;
    }
    u8* out = sink.bytes + offset;
    if (lane == 0) {
        out[0] = static_cast<u8>(lanes_log2);
    }
    for (u32 i = 0; i < 4u && lane < lanes; i++) {
        out[1u + 4u * lane + i] = static_cast<u8>(state >> (8u * i));
    }
    u8* to = out + 1u + 4u * lanes;
    for (u32 i = lane; i < words; i += 32u) {
        const u32 word = r.notes.symbols[r.count - words + i];
        to[2u * i] = static_cast<u8>(word);
        to[2u * i + 1u] = static_cast<u8>(word >> 8);
    }
    for (u32 i = lane; i < raw; i += 32u) {
        out[length - 1u - i] = bits_byte(r.raw, i);
    }
    HGV_WARP_SYNC();
    return true;
}
