// The coefficients of a band (section 28), one after the other; lane l of a warp holds coefficient l of a piece of
// a row, and hands round what it knows when its turn comes.
#pragma once

#include "mixing_flags.cuh"

enum : u32 {
    kUnary = 10,                     // magnitudes from here on are followed by an Exp-Golomb number
    kLastQuestion = 10 + kLongest,   // about a magnitude
};

// What all lanes know of the coefficient whose turn it is.
struct Spot {
    u32 words[3];
    i32 sum;       // expected magnitude in 1/256
    u32 fine;      // its level
    i32 before[2]; // cells at x - 1 and x - 2
};

// Constants of a lane, and of the band.
struct LaneSteps {
    i32 fine;      // threshold of the expected magnitude
    i32 part;      // lanes 0 to 10: of its inner part; 16 to 26: of the sum around
    i32 sign;      // lanes 0 to 9 and 16 to 25: of a signed prediction
    i32 face;      // weights of the two cells before in the row: magnitudes,
    i32 second;
    i32 signs[2];  // and signed
};

enum : i32 { kNever = 0x7fffffff };

HGV_CONSTANT i32 kFineSteps[32] = {1,  2,  3,  4,  5,   6,   7,   8,   9,   10,  11,  12,     16,     21,     28,     37,
                                   48, 64, 85, 113, 150, 200, 266, 353, 470, 625, 831, kNever, kNever, kNever, kNever, kNever};
HGV_CONSTANT i32 kPartSteps[32] = {1, 2, 4, 6, 11, 19, 35, 62, 111, 199, 358, kNever, kNever, kNever, kNever, kNever,
                                   1, 2, 3, 5, 8,  12, 18, 28, 44,  70,  120, kNever, kNever, kNever, kNever, kNever};
HGV_CONSTANT i32 kSignSteps[16] = {4, 10, 20, 36, 60, 96, 150, 230, 360, 600, kNever, kNever, kNever, kNever, kNever, kNever};

HGV_DEVICE LaneSteps lane_steps(const Scene& scene) {
    const u32 lane = lane_index();
    const u32 high = bit_of(scene.index, 0);
    LaneSteps steps;
    steps.fine = kFineSteps[lane];
    steps.part = kPartSteps[lane];
    steps.sign = kSignSteps[lane & 15u];
    steps.face = magnitude_weight(scene, high);
    steps.second = magnitude_weight(scene, 6 + high);
    steps.signs[0] = sign_weight(scene, 0);
    steps.signs[1] = sign_weight(scene, 2);
    return steps;
}

// Slot and weight set of the lane's input for "is the magnitude over 0"; `step` is how far later questions go on.
struct Question {
    u32 slot;
    u32 last;
    u32 set;
    u32 stride;
    u32 last_set;
};

HGV_DEVICE Question ask_magnitude(const Scene& scene, const LaneSteps& steps, const Spot& spot) {
    const i32 a = magnitude_of(spot.before[0]);
    const i32 b = magnitude_of(spot.before[1]);
    const i32 inner = static_cast<i32>(spot.words[0] & 0x1fffffu) + a * steps.face + b * steps.second;
    const i32 around = static_cast<i32>(spot.words[2] & 0x1fffu) + a + b;
    const u32 bits = HGV_BALLOT((lane_index() < 16 ? inner >> 4 : around) >= steps.part);
    const u32 medium = popcount(bits & 0xffffu);
    const u32 wide = popcount(bits >> 16);
    const bool is_high = bit_of(scene.index, 0) != 0;
    const u32 step = static_cast<u32>(a);
    const u32 low = smaller((spot.words[2] >> 13 & 7u) + (is_high ? 0u : step), 5u);
    const u32 high = smaller((spot.words[2] >> 16 & 3u) + (is_high ? step : 0u), 3u);
    const u32 edges = spot.words[2] >> 18 & 3u;
    const u32 outer_medium = spot.words[2] >> 20 & 15u;
    const u32 outer_wide = spot.words[2] >> 24 & 15u;
    Question question;
    question.slot = by_input(kCoefficient0 + spot.fine * 12,
                             kCoefficient1 + (medium * kMedium + outer_medium) * 6,
                             kCoefficient2 + ((low * 4 + high) * 4 + edges) * 4,
                             kCoefficient3 + (spot.words[0] >> 21) * 4,
                             kCoefficient4 + (wide * kMedium + outer_wide) * 4,
                             kCoefficient5 + (class_of(scene) * 8 + smaller(spot.fine / 3, 7u)) * 4,
                             kCoefficient6 + (spot.words[1] >> 22) * 4);
    question.last = by_input(11, 5, 3, 3, 3, 3, 3);
    const bool is_first = set_index() == 0;
    question.set = is_first ? kCoefficientSet0 + scene.tier * 2 + (scene.refines ? 1u : 0u)
                            : kCoefficientSet1 + spot.fine / 2;
    question.stride = is_first ? kDepths * 2 : kFine / 2;
    question.last_set = is_first ? 5u : 2u;
    return question;
}

// A magnitude after zero; false if it breaks a rule.
template <class Bits>
HGV_DEVICE bool code_magnitude(MixingCoder<Bits>& coder, const Question& question, u32 wanted, u32& magnitude) {
    const u32 beyond = golomb_bits(wanted - kUnary);
    const u32 ends = wanted < kUnary ? wanted : kUnary + beyond;
    u32 n = 0;
    for (;; n++) {
        if (n > kLastQuestion) {
            return false;
        }
        const u32 slot = question.slot + smaller(n, question.last);
        const u32 set = question.set + smaller(n, question.last_set) * question.stride;
        if (!decide(coder, 7, slot, set, n < ends)) {
            break;
        }
    }
    magnitude = n < kUnary ? n : kUnary + golomb_rest(coder.bits, n - kUnary, wanted - kUnary);
    return true;
}

// Whether a coefficient of this magnitude is negative.
template <class Bits>
HGV_DEVICE bool code_sign(MixingCoder<Bits>& coder, const Scene& scene, const LaneSteps& steps, const Spot& spot,
                          const u32 (&signs)[2], u32 magnitude, bool wanted) {
    const i32 own = static_cast<i32>(signs[0] & 0x1fffffu) - kSignBias + spot.before[0] * steps.signs[0] +
                    spot.before[1] * steps.signs[1];
    const i32 all = own + static_cast<i32>(signs[1] & 0x3fffffu) - kPartsBias;
    const u32 bits = HGV_BALLOT(magnitude_of(lane_index() < 16 ? own : all) >= steps.sign);
    const u32 own_level = popcount(bits & 0xffffu);
    const u32 all_level = popcount(bits >> 16);
    const u32 inner = own < 0 ? 10 - own_level : 10 + own_level;
    const u32 u = all < 0 ? 10 - all_level : 10 + all_level;
    const u32 m = smaller(magnitude, 4u) - 1;
    const u32 pattern = sign_class(spot.before[0]) * 9 + (signs[0] >> 21 & 15u);
    const u32 slot = by_input(kSign0 + u * 4 + m,
                              kSign1 + u * kClasses + class_of(scene),
                              kSign2 + pattern * kClasses + class_of(scene),
                              kSign3 + (inner / 2 * 11 + (signs[0] >> 25)) * 3 + smaller(m, 2u),
                              kSign4 + ((signs[1] >> 22) * kBands + scene.index - 1) * 4 + m);
    const u32 set = set_index() == 0 ? kSignSet0 + (scene.refines ? kBands : 0u) + scene.index - 1
                                     : kSignSet1 + smaller(all_level, 7u);
    return decide(coder, 5, slot, set, wanted);
}

// One decision of a refinement.
template <class Bits>
HGV_DEVICE bool code_node(MixingCoder<Bits>& coder, const Scene& scene, u32 fine, u32 before, u32 node, bool wanted) {
    const u32 l = node * 3 + before;
    const u32 slot = by_input(kRefine0 + (l * 8 + smaller(fine / 3, 7u)) * kDepths + scene.tier,
                              kRefine1 + l * kBands + scene.index - 1,
                              kRefine2 + l * 14 + fine / 2);
    return decide(coder, 3, slot, set_index() == 0 ? kRefineSet0 + node : kRefineSet1 + scene.tier, wanted);
}

// Four times the index before, and up to 4 more or less; false if the target is further away.
template <class Bits>
HGV_DEVICE bool code_refinement(MixingCoder<Bits>& coder, const Scene& scene, u32 fine, i32 before, i32 wanted, i64& index) {
    const i64 base = 4 * static_cast<i64>(before);
    const i64 delta = before < 0 ? base - wanted : wanted - base;
    if (Bits::kEncodes && (delta < -4 || delta > 4)) {
        return false;
    }
    const u32 size_before = smaller(static_cast<u32>(before < 0 ? -static_cast<i64>(before) : before), 3u) - 1;
    // Node 0: any; 1: less; then how many, nodes 2 to 4 of more and 5 to 7 of less.
    u32 node = 0;
    i64 size = 0;
    bool less = false;
    while (true) {
        const bool bit = node == 0 ? delta != 0 : node == 1 ? delta < 0 : (less ? -delta : delta) > size;
        const bool is_set = code_node(coder, scene, fine, size_before, node, bit);
        if (node == 1) {
            less = is_set;
            size = 1;
            node = less ? 5 : 2;
            continue;
        }
        if (!is_set) {
            break;
        }
        if (node == 0) {
            node = 1;
            continue;
        }
        size++;
        if (size == 4) {
            break;
        }
        node++;
    }
    const i64 change = less ? -size : size;
    index = before < 0 ? base - change : base + change;
    return true;
}

// A piece of a row as its lanes hold it.
struct Piece {
    Known known;
    i32 before;  // index of the quality before
    i32 wanted;  // index to encode
    i32 index;   // what it came to
};

// Where in a row the warp is.
struct RowState {
    u32 next;       // x of the coefficient after the last one
    i32 before[2];  // cells at next - 1 and next - 2
};

// Codes the coefficient of a lane; false if that breaks a rule.
template <class Bits>
HGV_DEVICE bool code_coefficient(MixingCoder<Bits>& coder, const Scene& scene, const LaneSteps& steps, Piece& piece,
                                 u32 lane, u32 x, RowState& row) {
    // What lies between active groups is zero.
    const bool follows = x == row.next;
    Spot spot;
    spot.before[0] = follows ? row.before[0] : 0;
    spot.before[1] = follows ? row.before[1] : 0;
    for (u32 i = 0; i < 3; i++) {
        spot.words[i] = HGV_SHFL(piece.known.words[i], lane);
    }
    const i32 before = scene.refines ? HGV_SHFL(piece.before, lane) : 0;
    const i32 wanted = Bits::kEncodes ? HGV_SHFL(piece.wanted, lane) : 0;
    spot.sum = static_cast<i32>((spot.words[0] & 0x1fffffu) + (spot.words[1] & 0x3fffffu)) +
               magnitude_of(spot.before[0]) * steps.face + magnitude_of(spot.before[1]) * steps.second;
    spot.fine = popcount(HGV_BALLOT((spot.sum >> 3) >= steps.fine));
    i64 index = 0;
    if (before == 0) {
        const Question question = ask_magnitude(scene, steps, spot);
        const u32 size = static_cast<u32>(wanted < 0 ? -static_cast<i64>(wanted) : wanted);
        u32 magnitude = 0;
        if (!code_magnitude(coder, question, size, magnitude)) {
            return false;
        }
        if (magnitude != 0) {
            const u32 signs[2] = {HGV_SHFL(piece.known.signs[0], lane), HGV_SHFL(piece.known.signs[1], lane)};
            const bool negative = code_sign(coder, scene, steps, spot, signs, magnitude, wanted < 0);
            index = negative ? -static_cast<i64>(magnitude) : static_cast<i64>(magnitude);
        }
    } else if (!code_refinement(coder, scene, spot.fine, before, wanted, index)) {
        return false;
    }
    const i32 fits = saturated(scene.indices, index);
    if (lane_index() == lane) {
        piece.index = fits;
    }
    row.next = x + 1;
    row.before[1] = spot.before[0];
    row.before[0] = seen(fits);
    return !is_lost(coder.bits);
}

// Codes the active coefficients among 32 of a row.
template <class Bits>
HGV_DEVICE bool code_piece(MixingCoder<Bits>& coder, const Scene& scene, const LaneSteps& steps, const Indices& target,
                           u32 active, u32 start, u32 y, u32 z, RowState& row) {
    const u32 x = start + lane_index();
    const bool is_active = bit_of(active, lane_index()) != 0;
    Piece piece = {};
    const u32 place = scene.band.first + z * scene.box.sz + y * scene.box.sy + x;
    if (is_active) {
        piece.known = look_around(scene, x, y, z);
        piece.before = load_index(scene.indices, place);
        piece.wanted = Bits::kEncodes ? load_index(target, place) : 0;
    }
    bool good = true;
    for (u32 rest = active; rest != 0 && good; rest &= rest - 1) {
        const u32 lane = find_first(rest);
        good = code_coefficient(coder, scene, steps, piece, lane, start + lane, row);
    }
    if (is_active) {
        store_index(scene.indices, place, piece.index);
    }
    HGV_WARP_SYNC();
    return good;
}

// A lane for each bit of 8 group flags, four lanes a group.
HGV_DEVICE u32 fours_of(u32 flags) {
    u32 bits = (flags | flags << 12) & 0x000f000fu;
    bits = (bits | bits << 6) & 0x03030303u;
    bits = (bits | bits << 3) & 0x11111111u;
    return bits * 15;
}

// Codes the coefficients of active groups.
template <class Bits>
HGV_DEVICE bool code_coefficients(MixingCoder<Bits>& coder, const Scene& scene, const GroupFlags& flags, const Indices& target) {
    const LaneSteps steps = lane_steps(scene);
    for (u32 z = 0; z < scene.band.dims[2]; z++) {
        for (u32 y = 0; y < scene.band.dims[1]; y++) {
            const u32 groups = *flag_row(flags, scene.index, y / 4, z / 4);
            RowState row = {};
            for (u32 start = 0; start < scene.band.dims[0]; start += 32) {
                const u32 left = scene.band.dims[0] - start;
                const u32 inside = left < 32 ? (1u << left) - 1 : 0xffffffffu;
                const u32 active = fours_of(groups >> (start / 4) & 0xffu) & inside;
                if (active != 0 && !code_piece(coder, scene, steps, target, active, start, y, z, row)) {
                    return false;
                }
            }
        }
    }
    return true;
}
