//! One traversal serves encoder, decoder and statistics: they differ only in what a symbol does.

use super::bits::{BitReader, BitWriter};
use super::rans::{self, BITS_PER_LANE, Decoder, Symbol};
use super::tables::{SYMBOLS, TableSet, Tables, VARIANTS, tables};
use crate::{Error, Result};

/// Largest value of the alphabet; a magnitude token of this value is followed by an escape.
pub(crate) const ESCAPE: u32 = SYMBOLS as u32 - 1;

/// Bits of the escape behind the token of a magnitude whose low bits are raw, `high` without them.
pub(crate) fn escape_bits(high: u32) -> u32 {
    match high.checked_sub(ESCAPE) {
        Some(beyond) => 2 * (beyond + 1).ilog2() + 1,
        None => 0,
    }
}

/// What happens to the symbols of a traversal.
///
/// Encoders are handed the value and hand it back; decoders ignore what they are handed.
pub(crate) trait SymbolCoder {
    /// Whether the traversal must work out the values (encoders) or not (decoders).
    const ENCODES: bool;
    /// Symbols after this restart at lane 0.
    fn restart(&mut self);
    /// A symbol under 16 in a context of the fixed part of the tables (variant 0).
    fn symbol(&mut self, context: usize, value: u32) -> u32;
    /// Begins the contexts of one band: they share a variant of the tables.
    fn begin_band(&mut self, variant_context: usize);
    /// A symbol under 16 in a context of the band.
    fn band_symbol(&mut self, context: usize, value: u32) -> u32;
    /// Ends the band.
    fn end_band(&mut self);
    /// `count <= 32` raw bits.
    fn raw(&mut self, value: u32, count: u32) -> Result<u32>;

    /// A magnitude: `value >> shift` as a token with escape, the low bits raw.
    #[inline(always)]
    fn magnitude(&mut self, context: usize, shift: u32, value: u32) -> Result<u32> {
        let token = self.band_symbol(context, (value >> shift).min(ESCAPE));
        if token == 0 && shift == 0 {
            return Ok(0);
        }
        self.magnitude_tail(token, shift, value)
    }

    /// The escape and the raw low bits of a magnitude.
    fn magnitude_tail(&mut self, token: u32, shift: u32, value: u32) -> Result<u32> {
        let mut high = token;
        if token == ESCAPE {
            high = ESCAPE.saturating_add(self.exp_golomb((value >> shift).wrapping_sub(ESCAPE))?);
        }
        let low = if shift > 0 {
            self.raw(value & ((1 << shift) - 1), shift)?
        } else {
            0
        };
        high.checked_shl(shift)
            .filter(|v| v >> shift == high)
            .map(|v| v | low)
            .ok_or_else(|| Error::corrupt("layer", 0, "a magnitude does not fit 32 bits"))
    }

    /// An Exp-Golomb number: as many zero bits as the number plus one has bits after its first.
    fn exp_golomb(&mut self, value: u32) -> Result<u32> {
        let bits = if Self::ENCODES {
            value.saturating_add(1).ilog2()
        } else {
            0
        };
        let mut n = 0;
        while self.raw(u32::from(n == bits), 1)? == 0 {
            n += 1;
            if n > 30 {
                return Err(Error::corrupt(
                    "layer",
                    0,
                    "an escape is longer than 30 bits",
                ));
            }
        }
        Ok((1 << n) - 1 + self.raw(value.wrapping_add(1) & ((1 << n) - 1), n)?)
    }
}

/// Collects symbols for [`rans::encode`].
#[derive(Debug)]
pub(crate) struct Recorder {
    tables: &'static Tables,
    symbols: Vec<Symbol>,
    starts: Vec<u32>,
    bits: BitWriter,
    /// Context and value of the band's symbols, until its variant is chosen.
    band: Vec<(u16, u8)>,
    variant_at: usize,
    variant_context: usize,
}

impl Recorder {
    pub(crate) fn new(set: TableSet) -> Result<Self> {
        Ok(Self {
            tables: tables(set)?,
            symbols: Vec::new(),
            starts: vec![0],
            bits: BitWriter::default(),
            band: Vec::new(),
            variant_at: 0,
            variant_context: 0,
        })
    }

    fn push(&mut self, distribution: u8, value: u32) {
        self.symbols.push(Symbol {
            distribution,
            value: value as u8,
        });
    }

    /// The cheapest variant for the symbols of the band.
    fn cheapest(&self) -> usize {
        let mut costs = [0.0f32; VARIANTS];
        for &(context, symbol) in &self.band {
            let distributions = self.tables.variants[usize::from(context)];
            for (cost, d) in costs.iter_mut().zip(distributions) {
                *cost += self.tables.costs[usize::from(d)][usize::from(symbol) & (SYMBOLS - 1)];
            }
        }
        (1..VARIANTS).fold(0, |best, v| if costs[v] < costs[best] { v } else { best })
    }

    /// The finished layer: lane count, states and words, raw bits from the end.
    ///
    /// `signs` come last in decoding order; the first of them ride in the coder states.
    pub(crate) fn finish(mut self, signs: &[bool]) -> Vec<u8> {
        // More lanes decode faster; about a byte a lane is what they cost.
        let lanes_log2 = match self.symbols.len() {
            0..1_500 => 0,
            1_500..4_000 => 1,
            4_000..10_000 => 2,
            10_000..24_000 => 3,
            24_000..60_000 => 4,
            _ => 5,
        };
        let (seeds, rest) = signs.split_at(signs.len().min((BITS_PER_LANE as usize) << lanes_log2));
        let seeds: Vec<u16> = seeds
            .chunks(BITS_PER_LANE as usize)
            .map(|c| {
                c.iter()
                    .enumerate()
                    .fold(0, |n, (i, &b)| n | u16::from(b) << i)
            })
            .collect();
        for &sign in rest {
            self.bits.put(u32::from(sign), 1);
        }
        let mut out = vec![lanes_log2 as u8];
        rans::encode(
            &self.symbols,
            &self.starts,
            &self.tables.distributions,
            lanes_log2,
            &seeds,
            &mut out,
        );
        out.extend(self.bits.finish().into_iter().rev());
        out
    }
}

impl SymbolCoder for Recorder {
    const ENCODES: bool = true;

    fn restart(&mut self) {
        self.starts.push(self.symbols.len() as u32);
    }

    fn symbol(&mut self, context: usize, value: u32) -> u32 {
        self.push(self.tables.map[0][context], value);
        value
    }

    fn begin_band(&mut self, variant_context: usize) {
        self.variant_at = self.symbols.len();
        self.variant_context = variant_context;
        self.push(self.tables.map[0][variant_context], 0);
        self.band.clear();
    }

    #[inline]
    fn band_symbol(&mut self, context: usize, value: u32) -> u32 {
        self.band.push((context as u16, value as u8));
        self.push(0, value);
        value
    }

    fn end_band(&mut self) {
        let variant = self.cheapest();
        self.symbols[self.variant_at].value = variant as u8;
        let map = &self.tables.map[variant];
        for (symbol, &(context, _)) in self.symbols[self.variant_at + 1..]
            .iter_mut()
            .zip(&self.band)
        {
            symbol.distribution = map[usize::from(context)];
        }
    }

    fn raw(&mut self, value: u32, count: u32) -> Result<u32> {
        self.bits.put(value, count);
        Ok(value)
    }
}

/// Reads symbols from a layer.
#[derive(Debug)]
pub(crate) struct Player<'a> {
    tables: &'static Tables,
    map: &'static [u8],
    rans: Decoder<'a>,
    bits: BitReader<'a>,
}

impl<'a> Player<'a> {
    /// Starts a layer that is not empty.
    pub(crate) fn new(bytes: &'a [u8], set: TableSet) -> Result<Self> {
        let (&lanes_log2, body) = bytes
            .split_first()
            .ok_or_else(|| Error::corrupt("layer", 0, "it has no bytes"))?;
        if lanes_log2 > 5 {
            return Err(Error::corrupt(
                "layer",
                0,
                format!("2^{lanes_log2} lanes, 32 are allowed"),
            ));
        }
        let tables = tables(set)?;
        Ok(Self {
            tables,
            map: &tables.map[0],
            rans: Decoder::new(body, u32::from(lanes_log2))?,
            bits: BitReader::new(body),
        })
    }

    /// Reads the signs and checks that the layer ends where it should.
    pub(crate) fn finish(mut self, signs: usize, mut negate: impl FnMut(usize)) -> Result<()> {
        let seeds = self.rans.finish()?;
        let carried = signs.min(seeds.len() * BITS_PER_LANE as usize);
        for i in 0..carried {
            if seeds[i / BITS_PER_LANE as usize] >> (i % BITS_PER_LANE as usize) & 1 == 1 {
                negate(i);
            }
        }
        let unused = (carried..seeds.len() * BITS_PER_LANE as usize)
            .any(|i| seeds[i / BITS_PER_LANE as usize] >> (i % BITS_PER_LANE as usize) & 1 == 1);
        for i in carried..signs {
            if self.bits.take(1)? == 1 {
                negate(i);
            }
        }
        if unused || !self.bits.rest_is_zero() {
            return Err(Error::corrupt("layer", 0, "unused bits are set"));
        }
        self.rans.meets(&self.bits)
    }
}

impl SymbolCoder for Player<'_> {
    const ENCODES: bool = false;

    fn restart(&mut self) {
        self.rans.restart();
    }

    #[inline]
    fn symbol(&mut self, context: usize, _value: u32) -> u32 {
        self.rans
            .next(&self.tables.distributions[usize::from(self.tables.map[0][context])])
    }

    fn begin_band(&mut self, variant_context: usize) {
        let variant = self.symbol(variant_context, 0) as usize % VARIANTS;
        self.map = &self.tables.map[variant];
    }

    #[inline(always)]
    fn band_symbol(&mut self, context: usize, _value: u32) -> u32 {
        self.rans
            .next(&self.tables.distributions[usize::from(self.map[context])])
    }

    fn end_band(&mut self) {}

    #[inline]
    fn raw(&mut self, _value: u32, count: u32) -> Result<u32> {
        self.bits.take(count)
    }
}

/// Counts how often each symbol occurs in each context of each band, to train tables.
#[derive(Debug, Default)]
pub struct Counter {
    /// Symbols outside bands and inside: `(context, value)` runs, one inner list a band; the
    /// first list holds what belongs to no band.
    pub bands: Vec<Vec<(u16, u8)>>,
}

impl SymbolCoder for Counter {
    const ENCODES: bool = true;
    fn restart(&mut self) {}
    fn symbol(&mut self, context: usize, value: u32) -> u32 {
        if self.bands.is_empty() {
            self.bands.push(Vec::new());
        }
        self.bands[0].push((context as u16, value as u8));
        value
    }
    fn begin_band(&mut self, _variant_context: usize) {
        if self.bands.is_empty() {
            self.bands.push(Vec::new());
        }
        self.bands.push(Vec::new());
    }
    fn band_symbol(&mut self, context: usize, value: u32) -> u32 {
        if let Some(band) = self.bands.last_mut() {
            band.push((context as u16, value as u8));
        }
        value
    }
    fn end_band(&mut self) {}
    fn raw(&mut self, value: u32, _count: u32) -> Result<u32> {
        Ok(value)
    }
}
