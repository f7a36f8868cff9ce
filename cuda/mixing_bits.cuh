// Binary range coder of coder M (section 23). Its state is the same in all lanes.
#pragma once

#include "mixing.cuh"

enum : u32 { kEven = 1u << 15 };  // probability of a bit that nothing is known of

// The numbers low..=high that are still possible.
struct Interval {
    u32 low;
    u32 high;
};

// Last number of the part that stands for 1.
HGV_DEVICE u32 middle_of(const Interval& interval, u32 one) {
    const u64 range = interval.high - interval.low;
    return interval.low + static_cast<u32>(range * one >> 16);
}

HGV_DEVICE void keep(Interval& interval, u32 middle, bool bit) {
    interval.high = bit ? middle : interval.high;
    interval.low = bit ? interval.low : middle + 1;
}

// Whether the first byte of all numbers is the same.
HGV_DEVICE bool settled(const Interval& interval) { return (interval.low ^ interval.high) >> 24 == 0; }

// Forgets the first byte.
HGV_DEVICE void shift(Interval& interval) {
    interval.low <<= 8;
    interval.high = interval.high << 8 | 255u;
}

// The last bytes of a stream, the highest ones of `number`.
struct Tail {
    u32 number;
    u32 bytes;
};

// The fewest bytes that, with zeros after them, lie in the interval; a stream has at least one.
HGV_DEVICE Tail tail_of(const Interval& interval, u32 before) {
    for (u32 bytes = 0; bytes < 4; bytes++) {
        const u64 below = (1ull << (32 - 8 * bytes)) - 1;
        const u64 number = (interval.low + below) & ~below;
        if (number <= interval.high && before + bytes > 0) {
            return Tail{static_cast<u32>(number), bytes};
        }
    }
    return Tail{interval.low, 4};
}

// Reads bits. Past the end of the stream there are zeros.
struct BitReader {
    static constexpr bool kEncodes = false;
    const u8* bytes;
    u32 length;
    u32 done;   // bytes that have left `code`
    u32 code;
    u32 ahead;  // the next up to four bytes, the first one highest
    Interval interval;
};

HGV_DEVICE u32 four_bytes(const BitReader& bits, u32 at) {
    u32 word = 0;
    for (u32 i = 0; i < 4; i++) {
        const u32 byte = at + i < bits.length ? load_constant(bits.bytes + at + i) : 0u;
        word = word << 8 | byte;
    }
    return word;
}

HGV_DEVICE void begin(BitReader& bits, const u8* bytes, u32 length) {
    bits.bytes = bytes;
    bits.length = length;
    bits.done = 0;
    bits.code = four_bytes(bits, 0);
    bits.ahead = 0;
    bits.interval = Interval{0, 0xffffffffu};
}

HGV_DEVICE bool code_bit(BitReader& bits, u32 one, bool) {
    const u32 middle = middle_of(bits.interval, one);
    const bool bit = bits.code <= middle;
    keep(bits.interval, middle, bit);
    while (settled(bits.interval)) {
        shift(bits.interval);
        bits.ahead = (bits.done & 3u) == 0 ? four_bytes(bits, bits.done + 4) : bits.ahead << 8;
        bits.code = bits.code << 8 | bits.ahead >> 24;
        bits.done++;
    }
    return bit;
}

// Whether nothing that follows can make the stream right.
HGV_DEVICE bool is_lost(const BitReader& bits) { return bits.done > bits.length; }

// Whether the stream is exactly what an encoder writes.
HGV_DEVICE bool finish(const BitReader& bits) {
    const Tail tail = tail_of(bits.interval, bits.done);
    if (is_lost(bits) || bits.length - bits.done != tail.bytes) {
        return false;
    }
    return tail.bytes == 0 || four_bytes(bits, bits.done) == tail.number;
}

// Writes bits. Bytes for which there is no room are only counted.
struct BitWriter {
    static constexpr bool kEncodes = true;
    u8* bytes;
    u32 room;
    u32 done;
    Interval interval;
};

HGV_DEVICE void begin(BitWriter& bits, u8* bytes, u32 room) {
    bits.bytes = bytes;
    bits.room = room;
    bits.done = 0;
    bits.interval = Interval{0, 0xffffffffu};
}

HGV_DEVICE void put_byte(BitWriter& bits, u32 byte) {
    if (bits.done < bits.room && lane_index() == 0) {
        bits.bytes[bits.done] = static_cast<u8>(byte);
    }
    bits.done++;
}

HGV_DEVICE bool code_bit(BitWriter& bits, u32 one, bool bit) {
    keep(bits.interval, middle_of(bits.interval, one), bit);
    while (settled(bits.interval)) {
        put_byte(bits, bits.interval.low >> 24);
        shift(bits.interval);
    }
    return bit;
}

HGV_DEVICE bool is_lost(const BitWriter& bits) { return bits.done > bits.room; }

// Writes the last bytes; whether all had room.
HGV_DEVICE bool finish(BitWriter& bits) {
    const Tail tail = tail_of(bits.interval, bits.done);
    for (u32 i = 0; i < tail.bytes; i++) {
        put_byte(bits, tail.number >> (24 - 8 * i) & 255u);
    }
    return !is_lost(bits);
}

// Up to 32 bits that nothing is known of, the highest first.
template <class Bits> HGV_DEVICE u32 raw_bits(Bits& bits, u32 count, u32 wanted) {
    u32 all = 0;
    for (u32 i = count; i > 0; i--) {
        all = all << 1 | (code_bit(bits, kEven, bit_of(wanted, i - 1) != 0) ? 1u : 0u);
    }
    return all;
}
