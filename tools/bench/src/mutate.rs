//! Seeded mutations of byte strings, for fuzzing without a fuzzer.

/// A small generator of random numbers (SplitMix64).
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// Stream `index` of `seed`.
    pub fn new(seed: u64, index: u64) -> Self {
        let mut rng = Self(seed ^ index.wrapping_mul(0xD134_2543_DE82_EF95));
        rng.word();
        rng
    }

    /// The next 64 random bits.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut h = self.0;
        h = (h ^ (h >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        h = (h ^ (h >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        h ^ (h >> 31)
    }

    /// A number below `n`; 0 if `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.word() % n.max(1) as u64) as usize
    }
}

/// Longest input that is made.
const LONGEST: usize = 1 << 20;

/// Replaces `out` by a mutation of an input of `corpus`: one to eight changes, each of the kinds that
/// break parsers (flipped bits, extreme numbers, cuts, copies, splices, random heads).
pub fn mutate(corpus: &[Vec<u8>], rng: &mut Rng, out: &mut Vec<u8>) {
    out.clear();
    if let Some(input) = corpus.get(rng.below(corpus.len())) {
        out.extend_from_slice(input);
    }
    for _ in 0..=rng.below(8) {
        change(corpus, rng, out);
    }
    out.truncate(LONGEST);
}

fn change(corpus: &[Vec<u8>], rng: &mut Rng, out: &mut Vec<u8>) {
    // Structure sits at the beginning: half of all changes go to the first 512 bytes.
    let reach = if rng.below(2) == 0 {
        out.len().min(512)
    } else {
        out.len()
    };
    let at = rng.below(reach);
    match rng.below(9) {
        0 | 1 => flip(rng, out, at),
        2 | 3 => number(rng, out, at),
        4 => out.truncate(at),
        5 => {
            let end = (at + 1 + rng.below(64)).min(out.len());
            out.drain(at..end);
        }
        6 => {
            let end = (at + 1 + rng.below(256)).min(out.len());
            let copy = out[at..end].to_vec();
            let to = rng.below(out.len() + 1);
            out.splice(to..to, copy);
        }
        7 => splice(corpus, rng, out, at),
        _ => {
            let len = 1 + rng.below(48);
            let noise: Vec<u8> = (0..len).map(|_| rng.word() as u8).collect();
            let end = (at + len).min(out.len());
            out.splice(at..end, noise);
        }
    }
}

fn flip(rng: &mut Rng, out: &mut [u8], at: usize) {
    if let Some(byte) = out.get_mut(at) {
        *byte ^= 1 << rng.below(8);
    }
}

/// Writes a number that lengths and offsets rarely expect, in 1, 2, 4 or 8 bytes.
fn number(rng: &mut Rng, out: &mut [u8], at: usize) {
    let value = match rng.below(8) {
        0 => 0,
        1 => u64::MAX,
        2 => u64::MAX >> 1,
        3 => 1 << rng.below(64),
        4 => (1u64 << rng.below(64)).wrapping_sub(1),
        5 => out.len() as u64,
        6 => rng.below(17) as u64,
        _ => rng.word(),
    };
    let size = 1 << rng.below(4);
    for (byte, v) in out.iter_mut().skip(at).zip(&value.to_le_bytes()[..size]) {
        *byte = *v;
    }
}

/// Puts a piece of another input in place of what follows `at`.
fn splice(corpus: &[Vec<u8>], rng: &mut Rng, out: &mut Vec<u8>, at: usize) {
    let Some(other) = corpus.get(rng.below(corpus.len())) else {
        return;
    };
    let from = rng.below(other.len());
    out.truncate(at);
    out.extend_from_slice(&other[from..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutations_repeat_and_differ() {
        let corpus = vec![vec![7; 300], (0..=255).collect(), Vec::new()];
        let make = |index| {
            let mut out = Vec::new();
            mutate(&corpus, &mut Rng::new(3, index), &mut out);
            out
        };
        let all: Vec<_> = (0..2000).map(make).collect();
        assert!((0..2000).all(|i| make(i) == all[i as usize]));
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        assert!(distinct.len() > 1000, "{}", distinct.len());
    }
}
