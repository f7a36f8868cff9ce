//! Probability of a bit from several contexts, and what is learnt from the bit
//! (specification, "Decisions").

use super::layout::{ADAPTIVE, STRIDE};
use super::range::{Bits, EVEN};
use super::tables::{CURVE, MAGNITUDE_TERMS, SIGN_TERMS, Tables};
use crate::{Error, Result};

/// Probabilities that slots and mixers keep to, in 1/65536.
const SLOT_MARGIN: i32 = 16;
/// Bits after which a slot learns no slower.
const COUNT_TOP: u8 = 254;
/// Share of the difference that a slot takes over after so many bits, in 1/65536.
pub(crate) static RATES: [u16; 256] = rates();

const fn rates() -> [u16; 256] {
    let (mut out, mut n) = ([0; 256], 0);
    while n < 256 {
        out[n] = (655_360 / (10 * n + 16)) as u16;
        n += 1;
    }
    out
}

/// What a decoder knows of the bits of a block so far.
#[derive(Debug, Clone, Default)]
pub struct Mixer {
    /// Probability of a 1 in each slot, in 1/65536.
    pub probabilities: Vec<u16>,
    /// How many bits each of them is worth.
    pub counts: Vec<u8>,
    /// Mixing weights, in 1/65536.
    pub weights: Vec<i32>,
}

/// Weighted sums of the stretched probabilities of a decision.
#[derive(Debug, Clone, Copy)]
struct Mixed {
    /// Zero after the inputs that there are.
    inputs: [i32; STRIDE],
    sums: [i32; 2],
}

impl Mixer {
    /// Starts a block.
    pub fn start(&mut self, tables: &Tables) {
        self.probabilities.clone_from(&tables.probabilities);
        self.counts.clone_from(&tables.counts);
        self.weights.clone_from(&tables.weights);
    }

    #[inline(always)]
    fn mix<const N: usize>(&self, tables: &Tables, slots: &[usize; N], sets: [usize; 2]) -> Mixed {
        let mut inputs = [0; STRIDE];
        for (input, &slot) in inputs.iter_mut().zip(slots) {
            *input = i32::from(tables.stretch[usize::from(self.probabilities[slot] >> 4)]);
        }
        let sums = sets.map(|set| {
            let weights = &self.weights[set * STRIDE..][..N];
            let pairs = inputs.iter().zip(weights);
            let sum: i64 = pairs.map(|(&s, &w)| i64::from(s) * i64::from(w)).sum();
            (sum >> 16).clamp(-2047, 2047) as i32
        });
        Mixed { inputs, sums }
    }

    /// Learns from a bit; `rate`, up to 15, is how fast weights follow.
    #[inline(always)]
    fn learn<const N: usize>(
        &mut self,
        tables: &Tables,
        mixed: &Mixed,
        (slots, sets): (&[usize; N], [usize; 2]),
        rate: i32,
        bit: bool,
    ) {
        for (set, sum) in sets.into_iter().zip(mixed.sums) {
            // Under 2^11 * 2^16 * 15.
            let pull = ((i32::from(bit) << 16) - squash(tables, sum)) * rate;
            let weights = &mut self.weights[set * STRIDE..][..STRIDE];
            for (w, &s) in weights.iter_mut().zip(&mixed.inputs) {
                *w = (*w + ((s * pull + (1 << 17)) >> 18)).clamp(-(1 << 24), 1 << 24);
            }
        }
        for &slot in slots {
            if slot < ADAPTIVE {
                self.follow(slot, bit);
            }
        }
    }

    #[inline(always)]
    fn follow(&mut self, slot: usize, bit: bool) {
        let (p, n) = (&mut self.probabilities[slot], &mut self.counts[slot]);
        *p = followed(*p, *n, bit);
        *n = (*n + 1).min(COUNT_TOP);
    }
}

/// A probability after a bit, if it was worth `count` bits.
#[inline(always)]
pub fn followed(p: u16, count: u8, bit: bool) -> u16 {
    let wanted = if bit { 65_535 } else { 0 };
    let step = (i64::from(wanted - i32::from(p)) * i64::from(RATES[usize::from(count)])) >> 16;
    (i32::from(p) + step as i32).clamp(SLOT_MARGIN, 65_535 - SLOT_MARGIN) as u16
}

#[inline(always)]
fn squash(tables: &Tables, x: i32) -> i32 {
    i32::from(tables.squash[(x + 2048) as usize & (CURVE - 1)])
}

/// What happens to the decisions of a traversal.
///
/// Encoders are handed the bit and hand it back; decoders ignore what they are handed.
pub trait Decider {
    /// Whether the traversal must work out the bits (encoders) or not (decoders).
    const ENCODES: bool;
    /// The tables in force.
    fn tables(&self) -> &Tables;
    /// A bit in a context for each input, with two weight sets.
    fn decide<const N: usize>(&mut self, slots: [usize; N], sets: [usize; 2], bit: bool) -> bool;
    /// A bit that nothing is known of.
    fn even(&mut self, bit: bool) -> bool;
    /// What is known around a coefficient, and the coefficient; for training only.
    #[inline(always)]
    fn watch_magnitude(&mut self, _kind: usize, _terms: &[i32; MAGNITUDE_TERMS], _index: i32) {}
    /// The same for the sign of one that is not zero, with its expected magnitude in 1/256.
    #[inline(always)]
    fn watch_sign(
        &mut self,
        _kind: usize,
        _terms: &[i32; SIGN_TERMS],
        _expected: i32,
        _index: i32,
    ) {
    }

    /// `count <= 32` bits that nothing is known of, the highest first.
    fn raw(&mut self, value: u32, count: u32) -> u32 {
        (0..count).rev().fold(0, |all, i| {
            all << 1 | u32::from(self.even(value >> i & 1 == 1))
        })
    }
}

/// Largest number of bits after the first of an Exp-Golomb number.
const LONGEST: u32 = 30;

/// As many times yes as the number plus one has bits after its first, a no, and those bits. `more`
/// decides whether there is a bit after the `n`th.
#[inline(always)]
pub(super) fn exp_golomb<D: Decider>(
    decider: &mut D,
    value: u32,
    more: impl Fn(&mut D, u32, bool) -> bool,
) -> Result<u32> {
    let number = value.wrapping_add(1);
    let bits = if D::ENCODES { number.max(1).ilog2() } else { 0 };
    let mut n = 0;
    while more(decider, n, n < bits) {
        n += 1;
        if n > LONGEST {
            return Err(Error::corrupt(
                "layer",
                0,
                "an escape is longer than 30 bits",
            ));
        }
    }
    Ok((1 << n | decider.raw(number & ((1 << n) - 1), n)) - 1)
}

/// Codes decisions.
pub(super) struct Coder<'a, B> {
    pub(super) tables: &'a Tables,
    pub(super) mixer: &'a mut Mixer,
    pub(super) bits: B,
}

/// How fast mixing weights follow in a block.
pub const RATE: i32 = 6;

impl<B: Bits> Decider for Coder<'_, B> {
    const ENCODES: bool = B::ENCODES;

    fn tables(&self) -> &Tables {
        self.tables
    }

    #[inline(always)]
    fn decide<const N: usize>(&mut self, slots: [usize; N], sets: [usize; 2], bit: bool) -> bool {
        let mixed = self.mixer.mix(self.tables, &slots, sets);
        let one = squash(self.tables, (mixed.sums[0] + mixed.sums[1]) >> 1);
        let bit = self.bits.bit(one as u32, bit);
        self.mixer
            .learn(self.tables, &mixed, (&slots, sets), RATE, bit);
        bit
    }

    #[inline(always)]
    fn even(&mut self, bit: bool) -> bool {
        self.bits.bit(EVEN, bit)
    }
}

/// Measures decisions and trains weights, without a stream.
pub struct Trainer<'a> {
    /// Where the traversal takes its weights of terms from.
    pub tables: &'a Tables,
    /// What it knows.
    pub mixer: &'a mut Mixer,
    /// How fast weights follow.
    pub rate: i32,
    /// Information of all decisions so far.
    pub bits: f64,
}

impl Decider for Trainer<'_> {
    const ENCODES: bool = true;

    fn tables(&self) -> &Tables {
        self.tables
    }

    fn decide<const N: usize>(&mut self, slots: [usize; N], sets: [usize; 2], bit: bool) -> bool {
        let mixed = self.mixer.mix(self.tables, &slots, sets);
        let one = f64::from(squash(self.tables, (mixed.sums[0] + mixed.sums[1]) >> 1)) / 65_536.0;
        self.bits -= if bit { one } else { 1.0 - one }.log2();
        self.mixer
            .learn(self.tables, &mixed, (&slots, sets), self.rate, bit);
        bit
    }

    fn even(&mut self, bit: bool) -> bool {
        self.bits += 1.0;
        bit
    }
}
