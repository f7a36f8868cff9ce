//! What the symbols of a band cost in bits where they stand, for an encoder that chooses them.
//! The same contexts and tables as the traversal in [`super::band`].

use super::band::COUSIN_WEIGHT;
use super::bands::Band;
use super::contexts::{self, Around, PASSES};
use super::symbols::{ESCAPE, escape_bits};
use super::tables::{TableSet, Tables, VARIANTS, tables};
use crate::Result;

/// Costs of the symbols of one band at one quality, in one variant of the tables.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BandRates {
    tables: &'static Tables,
    /// Of the variant in use.
    map: &'static [u8],
    depth: usize,
    refines: bool,
    /// First context of the coefficients of each pass.
    first: [usize; PASSES],
    cousin_weight: u32,
}

/// What is known around a coefficient when its turn comes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) pass: usize,
    /// Weighted sum over the neighbours in the band.
    pub(crate) near: u16,
    /// Parent activity.
    pub(crate) parent: u16,
    /// Sum over the cousins.
    pub(crate) cousins: u16,
    /// Magnitude at the quality before.
    pub(crate) before: u32,
}

impl BandRates {
    /// For a band, in the first variant.
    ///
    /// # Errors
    /// As [`tables`].
    pub(crate) fn new(band: &Band, refines: bool) -> Result<Self> {
        let tables = tables(TableSet::Wavelet)?;
        let first = |pass| contexts::coefficients(band.index, band.depth, pass, refines);
        Ok(Self {
            tables,
            map: &tables.map[0],
            depth: band.depth,
            refines,
            first: [0, 1, 2].map(first),
            cousin_weight: COUSIN_WEIGHT[band.index],
        })
    }

    /// The same in another variant.
    pub(crate) fn with_variant(self, variant: usize) -> Self {
        let map = &self.tables.map[variant % VARIANTS];
        Self { map, ..self }
    }

    #[inline(always)]
    fn cost(&self, context: usize, symbol: u32) -> f32 {
        let distribution = usize::from(self.map[context]);
        self.tables.costs[distribution][symbol as usize]
    }

    /// Bits of a magnitude and of the sign that it may need.
    #[inline(always)]
    pub(crate) fn coefficient(&self, place: &Place, magnitude: u32) -> f32 {
        let blind = place.pass == 0 && !self.refines;
        let around = Around {
            neighbours: u32::from(place.near),
            parent: u32::from(place.parent),
            cousins: (u32::from(place.cousins) * self.cousin_weight) >> 4,
        };
        if place.before > 0 {
            let context = around.refinement(place.before, place.pass);
            let delta = i64::from(magnitude) - 4 * i64::from(place.before);
            return self.cost(context, (delta + 4).clamp(0, 8) as u32);
        }
        let context = around.coefficient(self.first[place.pass], blind);
        let shift = around.shift(blind);
        if magnitude == 0 && shift == 0 {
            return self.cost(context, 0);
        }
        let high = magnitude >> shift;
        let bits = self.cost(context, high.min(ESCAPE)) + shift as f32;
        let sign = f32::from(u8::from(magnitude > 0));
        bits + sign + escape_bits(high) as f32
    }

    /// Bits of the flag of a 4^3 group. `parents`: sum of the activities of its eight parents.
    #[inline(always)]
    pub(crate) fn flag(
        &self,
        pass: usize,
        parents: u32,
        neighbours: u8,
        cousins: u8,
        active: bool,
    ) -> f32 {
        let context = contexts::group_flag(
            self.depth,
            self.refines,
            pass,
            parents.div_ceil(8),
            u32::from(neighbours),
            u32::from(cousins),
        );
        self.cost(context, u32::from(active))
    }

    /// Bits of whether a band that was empty so far stays so, and of the variant if it does not.
    pub(crate) fn opening(&self, any: bool) -> f32 {
        let fixed = |context: usize, symbol: u32| {
            let distribution = usize::from(self.tables.map[0][context]);
            self.tables.costs[distribution][symbol as usize]
        };
        let empty = contexts::band_empty(self.depth, self.refines);
        let bits = fixed(empty, u32::from(any));
        if any {
            // Variants differ little in what they cost to name.
            bits + fixed(contexts::variant(self.depth), 0)
        } else {
            bits
        }
    }
}
