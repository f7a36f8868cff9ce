//! Which slot and which weights a decision uses (specification, "Slots and weight sets").
//!
//! A slot holds the probability of a bit in one context. Slots below [`ADAPTIVE`] learn while a
//! block is decoded; those above keep their trained probabilities.

/// Inputs of a group flag, a coefficient, a sign, a refinement.
pub(super) const FLAG_INPUTS: usize = 6;
pub(super) const COEFFICIENT_INPUTS: usize = 7;
pub(super) const SIGN_INPUTS: usize = 5;
pub(super) const REFINE_INPUTS: usize = 3;

/// First slot of each input, and the number of slots in all.
const fn firsts<const N: usize>(sizes: [usize; N], start: usize) -> ([usize; N], usize) {
    let (mut out, mut at, mut i) = ([0; N], start, 0);
    while i < N {
        out[i] = at;
        at += sizes[i];
        i += 1;
    }
    (out, at)
}

/// Levels of the expected magnitude, of its two parts, and of neighbourhood sums.
pub(super) const FINE: usize = 28;
pub(super) const MEDIUM: usize = 12;
/// Depths of splits and orientations of bands that contexts tell apart.
pub(super) const DEPTHS: usize = 3;
pub(super) const BANDS: usize = 7;
pub(super) const CLASSES: usize = DEPTHS * BANDS;
/// Levels of a signed prediction.
pub(super) const SIGNED: usize = 21;

const LEARN: ([usize; 11], usize) = firsts(
    [
        FINE * 12,
        MEDIUM * MEDIUM * 6,
        6 * 4 * 4 * 4,
        6 * 6 * 5 * 4,
        MEDIUM * MEDIUM * 4,
        SIGNED * 4,
        SIGNED * CLASSES,
        27 * CLASSES,
        13 * 8,
        16,
        16,
    ],
    0,
);
const FIXED: ([usize; 12], usize) = firsts(
    [
        CLASSES * 8 * 4,
        5 * 5 * 5 * 4,
        11 * 11 * 3,
        SIGNED * BANDS * 4,
        CLASSES * 4 * 4,
        8 * 6 * DEPTHS,
        10 * 7 * BANDS,
        64 * DEPTHS,
        4 * 4 * 7 * DEPTHS,
        8 * 3 * 8 * DEPTHS,
        8 * 3 * BANDS,
        8 * 3 * 14,
    ],
    LEARN.1,
);

/// Slots that learn.
pub const ADAPTIVE: usize = LEARN.1;
/// All slots.
pub const SLOTS: usize = FIXED.1;

pub(super) const COEFFICIENT: [usize; COEFFICIENT_INPUTS] = [
    LEARN.0[0], LEARN.0[1], LEARN.0[2], LEARN.0[3], LEARN.0[4], FIXED.0[0], FIXED.0[1],
];
pub(super) const SIGN: [usize; SIGN_INPUTS] =
    [LEARN.0[5], LEARN.0[6], LEARN.0[7], FIXED.0[2], FIXED.0[3]];
pub(super) const FLAG: [usize; FLAG_INPUTS] = [
    LEARN.0[8], FIXED.0[4], FIXED.0[5], FIXED.0[6], FIXED.0[7], FIXED.0[8],
];
pub(super) const REFINE: [usize; REFINE_INPUTS] = [FIXED.0[9], FIXED.0[10], FIXED.0[11]];
/// Whether a band has anything: depth and whether the layer refines.
pub(super) const EMPTY: usize = LEARN.0[9];
/// Units of a coarsest difference: how many so far, and whether the layer refines.
pub(super) const COARSEST: usize = LEARN.0[10];

const SETS: ([usize; 9], usize) = firsts(
    [
        6 * DEPTHS * 2,
        3 * FINE / 2,
        2 * BANDS,
        8,
        2 * DEPTHS,
        BANDS,
        8,
        DEPTHS,
        1,
    ],
    0,
);
/// Weights of a set; inputs use the first of them.
pub(super) const STRIDE: usize = 8;
/// Weight sets.
pub(super) const SET_COUNT: usize = SETS.1;
/// All weights.
pub const WEIGHTS: usize = SET_COUNT * STRIDE;

pub(super) const COEFFICIENT_SETS: [usize; 2] = [SETS.0[0], SETS.0[1]];
pub(super) const SIGN_SETS: [usize; 2] = [SETS.0[2], SETS.0[3]];
pub(super) const FLAG_SETS: [usize; 2] = [SETS.0[4], SETS.0[5]];
pub(super) const REFINE_SETS: [usize; 2] = [SETS.0[6], SETS.0[7]];
/// The set of decisions with one input.
pub(super) const SINGLE_SET: usize = SETS.0[8];

const _: () = assert!(
    ADAPTIVE * 3 + WEIGHTS * 4 <= 16 << 10,
    "what learns must fit the shared memory of a thread block"
);
