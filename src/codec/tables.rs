//! The static tables of coder R: distributions, and which context uses which
//! (specification, "Tables of coder R"; normative file `format-spec/tables/coder-r.bin`).

use std::sync::LazyLock;

use byteorder::{ByteOrder, LittleEndian as Le};

use super::contexts;
use crate::{Error, Result};

/// Frequencies sum to `1 << PROBABILITY_BITS`.
pub const PROBABILITY_BITS: u32 = 12;
/// Symbols of every alphabet.
pub const SYMBOLS: usize = 16;
/// Ways to map the contexts of a band to distributions; each band names one.
pub const VARIANTS: usize = 4;

/// The contexts of a kind of model and the distributions trained for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableSet {
    /// Wavelet coefficients and residuals.
    Wavelet,
    /// Weights of grids and networks.
    Grid,
}

static WAVELET: &[u8] = include_bytes!("../../format-spec/tables/coder-r.bin");
static GRID: &[u8] = include_bytes!("../../format-spec/tables/coder-r-grid.bin");

/// One static distribution over 16 symbols.
#[derive(Debug, Clone)]
pub struct Distribution {
    /// `cumulative[s]..cumulative[s + 1]` are the slots of symbol `s`; the last entry is 4096.
    cumulative: [u16; SYMBOLS + 1],
}

impl Distribution {
    /// From frequencies; 0 for symbols outside the alphabet of the contexts that use it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if they do not sum to 4096.
    pub fn new(frequencies: &[u16; SYMBOLS]) -> Result<Self> {
        let mut cumulative = [0u16; SYMBOLS + 1];
        let mut sum = 0u32;
        for (i, &f) in frequencies.iter().enumerate() {
            sum += u32::from(f);
            cumulative[i + 1] = sum.min(1 << PROBABILITY_BITS) as u16;
        }
        if sum != 1 << PROBABILITY_BITS {
            return Err(Error::corrupt(
                "distribution",
                0,
                format!("frequencies sum to {sum}, not to 4096"),
            ));
        }
        Ok(Self { cumulative })
    }

    /// First slot and number of slots of a symbol.
    #[inline]
    pub fn interval(&self, symbol: u8) -> (u32, u32) {
        let s = usize::from(symbol) & (SYMBOLS - 1);
        let low = u32::from(self.cumulative[s]);
        (low, u32::from(self.cumulative[s + 1]) - low)
    }

    /// Symbol, first slot and number of slots of the symbol that owns `slot` (under 4096).
    #[inline(always)]
    pub fn find(&self, slot: u32) -> (u32, u32, u32) {
        let slot = slot as u16;
        if slot < self.cumulative[1] {
            return (0, 0, u32::from(self.cumulative[1]));
        }
        // Counting all bounds at once costs less than a branch that is hard to foresee.
        let above = self.cumulative[1..]
            .iter()
            .fold(0, |n, &bound| n + u16::from(slot >= bound));
        let s = usize::from(above) & (SYMBOLS - 1);
        let low = u32::from(self.cumulative[s]);
        (s as u32, low, u32::from(self.cumulative[s + 1]) - low)
    }

    /// Cost of a symbol in bits.
    pub fn cost(&self, symbol: u8) -> f32 {
        PROBABILITY_BITS as f32 - log2(self.interval(symbol).1)
    }
}

/// Without a library call: encoders that weigh costs must agree on all machines.
fn log2(n: u32) -> f32 {
    let Some(whole) = n.checked_ilog2() else {
        return f32::NEG_INFINITY;
    };
    let mut x = f64::from(n) / f64::from(1u32 << whole);
    let mut fraction = 0u32;
    for _ in 0..24 {
        x *= x;
        fraction <<= 1;
        if x >= 2.0 {
            x /= 2.0;
            fraction |= 1;
        }
    }
    whole as f32 + fraction as f32 / (1u32 << 24) as f32
}

/// All tables, parsed once.
#[derive(Debug)]
pub struct Tables {
    /// The distributions.
    pub distributions: Vec<Distribution>,
    /// `map[variant][context]` = index of the distribution.
    pub map: Vec<Vec<u8>>,
    /// `variants[context]` = index of the distribution in each variant.
    pub variants: Vec<[u8; VARIANTS]>,
    /// `costs[distribution][symbol]` in bits.
    pub costs: Vec<[f32; SYMBOLS]>,
}

impl Tables {
    /// Parses the table file of a set with `count_of_contexts` contexts: `HGVR`, u16 distributions, u16 variants, u32 contexts, then
    /// 16 u16 frequencies a distribution, then one u8 for each variant and context.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the file breaks a rule.
    pub fn parse(file: &[u8], count_of_contexts: usize) -> Result<Self> {
        let bad = |what: &str| Error::corrupt("coder tables", 0, what);
        let head = file.get(..12).ok_or_else(|| bad("no header"))?;
        let (count, variants) = (
            Le::read_u16(&head[4..]) as usize,
            Le::read_u16(&head[6..]) as usize,
        );
        let contexts = Le::read_u32(&head[8..]) as usize;
        let frequencies = 12..12 + count * SYMBOLS * 2;
        let size = frequencies.end + variants * contexts;
        if &head[..4] != b"HGVR"
            || variants != VARIANTS
            || contexts != count_of_contexts
            || file.len() != size
        {
            return Err(bad("another version"));
        }
        let distributions = file[frequencies.clone()]
            .chunks_exact(SYMBOLS * 2)
            .map(|row| {
                let mut f = [0; SYMBOLS];
                Le::read_u16_into(row, &mut f);
                Distribution::new(&f)
            })
            .collect::<Result<Vec<_>>>()?;
        let map: Vec<Vec<u8>> = file[frequencies.end..]
            .chunks_exact(contexts)
            .map(<[u8]>::to_vec)
            .collect();
        if map.iter().flatten().any(|&d| usize::from(d) >= count) {
            return Err(bad("a context names no distribution"));
        }
        let costs = distributions
            .iter()
            .map(|d| std::array::from_fn(|s| d.cost(s as u8)))
            .collect();
        let variants = (0..contexts)
            .map(|c| std::array::from_fn(|v| map[v][c]))
            .collect();
        Ok(Self {
            distributions,
            map,
            variants,
            costs,
        })
    }
}

/// The built-in tables.
///
/// # Errors
/// [`Error::Corrupt`] if the crate was built with a damaged table file.
pub fn tables(set: TableSet) -> Result<&'static Tables> {
    static TABLES: [LazyLock<Option<Tables>>; 2] = [
        LazyLock::new(|| Tables::parse(WAVELET, contexts::COUNT).ok()),
        LazyLock::new(|| Tables::parse(GRID, super::grid::COUNT).ok()),
    ];
    TABLES[set as usize]
        .as_ref()
        .ok_or_else(|| Error::corrupt("coder tables", 0, "the built-in table file is damaged"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn costs_are_logarithms() {
        for n in 1..=4096u32 {
            assert!((log2(n) - (n as f32).log2()).abs() < 2e-6, "{n}");
        }
    }

    /// What the encoder may send must have a slot, or it would divide by zero.
    #[test]
    fn every_context_can_code_its_alphabet() {
        every_alphabet(TableSet::Wavelet, contexts::alphabet);
        every_alphabet(TableSet::Grid, super::super::grid::alphabet);
    }

    fn every_alphabet(set: TableSet, alphabet: fn(usize) -> usize) {
        let tables = tables(set).unwrap();
        for map in &tables.map {
            for (context, &d) in map.iter().enumerate() {
                for symbol in 0..alphabet(context) {
                    assert!(
                        tables.distributions[usize::from(d)]
                            .interval(symbol as u8)
                            .1
                            > 0,
                        "context {context}"
                    );
                }
            }
        }
    }
}
