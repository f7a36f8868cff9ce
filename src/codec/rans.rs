//! The entropy coder's engine: up to 32 interleaved rANS states over 12-bit static frequencies
//! (specification, "Coder R").
//!
//! State `x` lives in `[2^16, 2^32)`; a decode step that drops under `2^16` takes one 16-bit word.
//! The encoder works backwards, so its *initial* states are the decoder's *final* ones: 16 raw
//! bits ride in each of them, which pays back most of what a state costs.

use byteorder::{ByteOrder, LittleEndian as Le};

use super::bits::BitReader;
use super::tables::{Distribution, PROBABILITY_BITS};
use crate::{Error, Result};

/// Most states that a layer may interleave.
pub const MAX_LANES: usize = 32;
/// Raw bits carried by the final state of each lane.
pub const BITS_PER_LANE: u32 = 16;
const LOWER: u32 = 1 << 16;

/// One symbol to encode: its distribution and value, in decoding order.
#[derive(Debug, Clone, Copy)]
pub struct Symbol {
    /// Index of the distribution.
    pub distribution: u8,
    /// Value, 0..16.
    pub value: u8,
}

/// Encodes `symbols` (decoding order) on `1 << lanes_log2` lanes; the lane count restarts at every
/// index in `starts`. `seeds` are the 16-bit values that the final states carry.
/// Appends states and words to `out`.
pub fn encode(
    symbols: &[Symbol],
    starts: &[u32],
    tables: &[Distribution],
    lanes_log2: u32,
    seeds: &[u16],
    out: &mut Vec<u8>,
) {
    let lanes = 1usize << lanes_log2;
    let mut states = [0u32; MAX_LANES];
    for (state, seed) in states
        .iter_mut()
        .zip(seeds.iter().chain(std::iter::repeat(&0)))
    {
        *state = LOWER | u32::from(*seed);
    }
    let mut words = Vec::with_capacity(symbols.len() / 4);
    let mut end = symbols.len();
    for &start in starts.iter().rev() {
        let start = start as usize;
        for i in (start..end).rev() {
            let state = &mut states[(i - start) & (lanes - 1)];
            let table = &tables[usize::from(symbols[i].distribution)];
            let (low, frequency) = table.interval(symbols[i].value);
            if u64::from(*state) >= u64::from(frequency) << (32 - PROBABILITY_BITS) {
                words.push(*state as u16);
                *state >>= 16;
            }
            *state = ((*state / frequency) << PROBABILITY_BITS) + *state % frequency + low;
        }
        end = start;
    }
    for state in &states[..lanes] {
        out.extend_from_slice(&state.to_le_bytes());
    }
    for word in words.iter().rev() {
        out.extend_from_slice(&word.to_le_bytes());
    }
}

/// Decodes what [`encode`] wrote.
#[derive(Debug)]
pub struct Decoder<'a> {
    states: [u32; MAX_LANES],
    lane: usize,
    mask: usize,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Decoder<'a> {
    /// Starts at the states in `bytes`, the layer after its first byte.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the states do not fit or one is out of range.
    pub fn new(bytes: &'a [u8], lanes_log2: u32) -> Result<Self> {
        let lanes = 1usize << lanes_log2;
        let Some(stored) = bytes.get(..4 * lanes) else {
            return Err(Error::corrupt(
                "layer",
                0,
                format!("{} bytes cannot hold {lanes} coder states", bytes.len()),
            ));
        };
        let mut states = [LOWER; MAX_LANES];
        for (state, raw) in states.iter_mut().zip(stored.chunks_exact(4)) {
            *state = Le::read_u32(raw);
            if *state < LOWER {
                return Err(Error::corrupt("layer", 0, "a coder state is under 65536"));
            }
        }
        Ok(Self {
            states,
            lane: 0,
            mask: lanes - 1,
            bytes,
            at: 4 * lanes,
        })
    }

    /// The next symbol starts on lane 0.
    #[inline]
    pub fn restart(&mut self) {
        self.lane = 0;
    }

    /// The next symbol. Words past the end of the layer read as 0; [`Self::finish`] notices.
    #[inline(always)]
    pub fn next(&mut self, table: &Distribution) -> u32 {
        let state = &mut self.states[self.lane & (MAX_LANES - 1)];
        self.lane = (self.lane + 1) & self.mask;
        let slot = *state & ((1 << PROBABILITY_BITS) - 1);
        let (symbol, low, frequency) = table.find(slot);
        let mut x = frequency * (*state >> PROBABILITY_BITS) + slot - low;
        if x < LOWER {
            let word = match self.bytes.get(self.at..self.at + 2) {
                Some(w) => u32::from(w[0]) | u32::from(w[1]) << 8,
                None => 0,
            };
            self.at += 2;
            x = x << 16 | word;
        }
        *state = x;
        symbol
    }

    /// Checks that every lane came back to a legal initial state and that words and raw bits
    /// meet without a gap; returns the 16 bits that each lane carries.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if not.
    pub fn finish(&self) -> Result<Vec<u16>> {
        if self.at > self.bytes.len() {
            return Err(Error::corrupt("layer", 0, "coder words end early"));
        }
        self.states[..=self.mask]
            .iter()
            .map(|&x| {
                if x >> 17 == 0 {
                    Ok(x as u16)
                } else {
                    Err(Error::corrupt(
                        "layer",
                        0,
                        "a coder state does not end at its start",
                    ))
                }
            })
            .collect()
    }

    /// Checks that the words end exactly where the raw bits begin.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if bytes are left over or used twice.
    pub fn meets(&self, raw: &BitReader<'_>) -> Result<()> {
        if self.at == raw.untouched() {
            return Ok(());
        }
        Err(Error::corrupt(
            "layer",
            0,
            format!(
                "coder words end at {}, raw bits begin at {}",
                self.at,
                raw.untouched()
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            values in proptest::collection::vec((0u8..3, 0u8..16), 0..3000),
            lanes_log2 in 0u32..=5,
            seeds in proptest::collection::vec(any::<u16>(), 32),
            cut in 0usize..3000,
        ) {
            let mut skewed = [1u16; 16];
            skewed[0] = 4096 - 15;
            let mut steep = [16u16; 16];
            steep[0] = 4096 - 15 * 16;
            let tables = [[256u16; 16], skewed, steep].map(|f| Distribution::new(&f).unwrap());
            let symbols: Vec<_> = values.iter().map(|&(distribution, value)| Symbol { distribution, value }).collect();
            let starts = [0, (cut % (symbols.len() + 1)) as u32];
            let mut bytes = Vec::new();
            encode(&symbols, &starts, &tables, lanes_log2, &seeds, &mut bytes);
            let mut decoder = Decoder::new(&bytes, lanes_log2).unwrap();
            for (i, s) in symbols.iter().enumerate() {
                if i == starts[1] as usize {
                    decoder.restart();
                }
                prop_assert_eq!(decoder.next(&tables[usize::from(s.distribution)]), u32::from(s.value));
            }
            prop_assert_eq!(decoder.finish().unwrap(), &seeds[..1 << lanes_log2]);
            decoder.meets(&BitReader::new(&bytes)).unwrap();
        }
    }
}
