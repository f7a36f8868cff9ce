//! What weights of a dense level cost in bits, for an encoder that chooses them.

use super::super::contexts::pass_of;
use super::super::state::Padded;
use super::super::symbols::{ESCAPE, escape_bits};
use super::super::tables::{TableSet, Tables, VARIANTS, tables};
use super::contexts::{self, Around};
use super::dense::sums;
use super::parents::LIMIT;
use crate::Result;

/// The weights of a dense level as their contexts see them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Neighbours {
    cells: Padded,
    near: Vec<i16>,
}

impl Neighbours {
    /// All zero.
    pub(crate) fn reset(&mut self, lattice: [usize; 3]) {
        self.cells = Padded::new(lattice);
        self.near.clear();
        self.near.resize(self.cells.len, 0);
    }

    /// Changes the weight at a vertex.
    #[inline]
    pub(crate) fn set(&mut self, [x, y, z]: [usize; 3], weight: i32) {
        self.near[self.cells.at(x, y, z)] = weight.clamp(-LIMIT, LIMIT) as i16;
    }

    /// What is known around a vertex when its turn comes.
    #[inline]
    pub(crate) fn around(&self, place: [usize; 3], parents: u16) -> Place {
        let [x, y, z] = place;
        let at = self.cells.at(x, y, z);
        let pass = pass_of(x, y, z);
        let (activity, pull) = match pass {
            0 => sums::<0>(&self.near, &self.cells, at, place),
            1 => sums::<1>(&self.near, &self.cells, at, place),
            _ => sums::<2>(&self.near, &self.cells, at, place),
        };
        Place {
            pass,
            around: Around {
                activity,
                pull,
                parents: u32::from(parents),
            },
        }
    }
}

/// The surroundings of a vertex.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pass: usize,
    around: Around,
}

/// Costs of the weights of one class of levels, in one variant of the tables.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rates {
    tables: &'static Tables,
    class: usize,
    variant: usize,
}

impl Rates {
    /// For levels of a spacing.
    ///
    /// # Errors
    /// As [`tables`].
    pub(crate) fn new(spacing: [u8; 3]) -> Result<Self> {
        Ok(Self {
            tables: tables(TableSet::Grid)?,
            class: contexts::class(spacing),
            variant: 0,
        })
    }

    fn cost(&self, variant: usize, context: usize, symbol: u32) -> f32 {
        let distribution = self.tables.map[variant][context];
        self.tables.costs[usize::from(distribution)][symbol as usize]
    }

    /// Bits of a weight.
    #[inline]
    pub(crate) fn bits(&self, place: &Place, weight: i32) -> f32 {
        self.bits_in(self.variant, place, weight)
    }

    #[inline]
    fn bits_in(&self, variant: usize, place: &Place, weight: i32) -> f32 {
        let Place { pass, around } = place;
        let magnitude = weight.unsigned_abs();
        let context = around.magnitude(contexts::magnitudes(self.class, *pass));
        let bits = self.magnitude_bits(variant, context, around.shift(*pass), magnitude);
        if magnitude == 0 {
            return bits;
        }
        if *pass == 2 && around.pull == 0 {
            return bits + 1.0;
        }
        let context = around.sign(self.class, *pass, magnitude > 1);
        let disagrees = (weight < 0) ^ (around.pull < 0);
        bits + self.cost(variant, context, u32::from(disagrees))
    }

    /// Bits of an entry of a hash table.
    pub(crate) fn hashed_bits(&self, parents: u16, weight: i32) -> f32 {
        let context = contexts::hash_magnitude(u32::from(parents));
        let bits = self.magnitude_bits(self.variant, context, 0, weight.unsigned_abs());
        bits + f32::from(u8::from(weight != 0))
    }

    /// Bits of a magnitude whose low `shift` bits are raw.
    #[inline]
    fn magnitude_bits(&self, variant: usize, context: usize, shift: u32, magnitude: u32) -> f32 {
        let high = magnitude >> shift;
        let bits = self.cost(variant, context, high.min(ESCAPE)) + shift as f32;
        bits + escape_bits(high) as f32
    }

    /// Starts to find the variant that suits weights best.
    pub(crate) fn survey(&self) -> Survey {
        Survey {
            rates: *self,
            bits: [0.0; VARIANTS],
        }
    }
}

/// Sums the cost of weights in every variant.
#[derive(Debug)]
pub(crate) struct Survey {
    rates: Rates,
    bits: [f32; VARIANTS],
}

impl Survey {
    /// Counts a weight `times` over.
    pub(crate) fn add(&mut self, place: &Place, weight: i32, times: f32) {
        for (variant, bits) in self.bits.iter_mut().enumerate() {
            *bits += times * self.rates.bits_in(variant, place, weight);
        }
    }

    /// The rates of the cheapest variant.
    pub(crate) fn cheapest(self) -> Rates {
        let best = (1..VARIANTS).fold(0, |b, v| if self.bits[v] < self.bits[b] { v } else { b });
        Rates {
            variant: best,
            ..self.rates
        }
    }
}
