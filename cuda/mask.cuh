// The mask of a block: a class for each voxel, 0 = finite (format-spec/payload.md, section 15). One warp a block;
// runs are read one after the other and filled in by all lanes.
#pragma once

#include "bits.cuh"
#include "block.cuh"

enum : u32 { kMaxRunBits = 24 };

// Bits of a mask, from its first byte on, in each byte from bit 0 on. The same in all lanes.
struct MaskBits {
    const u8* bytes;
    u32 length;
    u32 bit;  // the next one
    u32 bad;  // 1 if a rule is broken
};

// The next 32 bits; zeros behind the end.
HGV_DEVICE u32 mask_peek(const MaskBits& bits) {
    u64 ahead = 0;
    for (u32 i = 0; i < 5u; i++) {
        const u32 byte = (bits.bit >> 3) + i;
        if (byte < bits.length) {
            ahead |= static_cast<u64>(load_constant(bits.bytes + byte)) << (8u * i);
        }
    }
    return static_cast<u32>(ahead >> (bits.bit & 7u));
}

// The next count < 32 bits.
HGV_DEVICE u32 mask_take(MaskBits& bits, u32 count) {
    const u32 value = mask_peek(bits) & ((1u << count) - 1u);
    bits.bit += count;
    bits.bad |= (bits.bit + 7u) >> 3 > bits.length ? 1u : 0u;
    return value;
}

// The next run.
HGV_DEVICE u32 mask_run(MaskBits& bits) {
    const u32 zeros = find_first(mask_peek(bits));
    if (zeros > kMaxRunBits) {
        bits.bad = 1;
        return 0;
    }
    mask_take(bits, zeros + 1u);
    return (1u << zeros) - 1u + mask_take(bits, zeros);
}

// The class that is expected of voxel i: that at y - 1, or at z - 1 in the first row, or finite.
HGV_DEVICE u32 mask_expected(const u32* dims, const u8* classes, u32 i) {
    const u32 row = dims[0];
    const u32 back = i / row % dims[1] > 0 ? row : row * dims[1];
    return i < back ? 0u : classes[i - back];
}

// Gives `count` voxels from `start` on the classes that are expected of them.
HGV_DEVICE void mask_fill(const u32* dims, u8* classes, u32 start, u32 count) {
    // What is expected of a row of voxels lies before all of them.
    for (u32 done = 0; done < count; done += dims[0]) {
        const u32 n = smaller(count - done, dims[0]);
        for (u32 i = lane_index(); i < n; i += 32u) {
            classes[start + done + i] = static_cast<u8>(mask_expected(dims, classes, start + done + i));
        }
        HGV_WARP_SYNC();
    }
}

// Decodes a mask; false if its bytes break a rule.
HGV_DEVICE bool mask_decode(const u32* dims, const u8* bytes, u32 length, u8* classes) {
    MaskBits bits = {bytes, length, 0, 0};
    const u32 voxels = dims[0] * dims[1] * dims[2];
    for (u32 i = 0; i < voxels;) {
        const u32 run = mask_run(bits);
        if (bits.bad != 0 || run > voxels - i) {
            return false;
        }
        mask_fill(dims, classes, i, run);
        i += run;
        if (i < voxels) {
            const u32 value = mask_take(bits, 2);
            if (lane_index() == 0) {
                classes[i] = static_cast<u8>(value);
            }
            HGV_WARP_SYNC();
            i++;
        }
    }
    return bits.bad == 0 && (bits.bit + 7u) >> 3 == length;
}

// Appends a run, and the class of the voxel that ends it unless it ends with the block.
HGV_DEVICE void mask_append(BitSink& bits, u32 run, bool ends, u32 value) {
    const u32 length = 31u - leading_zeros(run + 1u);
    bits_append(bits, 1u << length, length + 1u);
    const u32 low = (run + 1u) & ((1u << length) - 1u);
    bits_append(bits, low | value << length, length + (ends ? 2u : 0u));
}

// Encodes the classes of a block.
HGV_DEVICE void mask_encode(const u32* dims, const u8* classes, BitSink& bits) {
    const u32 voxels = dims[0] * dims[1] * dims[2];
    u32 start = 0;
    for (u32 base = 0; base < voxels; base += 32u) {
        const u32 i = base + lane_index();
        const u32 value = i < voxels ? classes[i] : 0u;
        u32 wrong = HGV_BALLOT(i < voxels && value != mask_expected(dims, classes, i));
        for (; wrong != 0; wrong &= wrong - 1u) {
            const u32 lane = find_first(wrong);
            mask_append(bits, base + lane - start, true, HGV_SHFL(value, lane));
            start = base + lane + 1u;
        }
    }
    if (start < voxels) {
        mask_append(bits, voxels - start, false, 0);
    }
}
