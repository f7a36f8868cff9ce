//! What is known around a coefficient: the terms of its expected magnitude and of its signed
//! prediction (specification, "Terms").

use super::layout::{FINE, MEDIUM, SIGNED};
use super::scales::Scale;
use super::tables::{MAGNITUDE_TERMS, SIGN_TERMS};

/// Thresholds of the expected magnitude, in 1/32.
const FINE_STEPS: [i32; FINE - 1] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 16, 21, 28, 37, 48, 64, 85, 113, 150, 200, 266, 353,
    470, 625, 831,
];
/// Thresholds of its parts, in 1/16.
const MEDIUM_STEPS: [i32; MEDIUM - 1] = [1, 2, 4, 6, 11, 19, 35, 62, 111, 199, 358];
/// Thresholds of sums of magnitudes.
const WIDE_STEPS: [i32; MEDIUM - 1] = [1, 2, 3, 5, 8, 12, 18, 28, 44, 70, 120];
pub(super) const NARROW_STEPS: [i32; 5] = [1, 2, 4, 7, 13];
/// Thresholds of signed predictions, in 1/256.
const SIGN_STEPS: [i32; SIGNED / 2] = [4, 10, 20, 36, 60, 96, 150, 230, 360, 600];

/// Number of thresholds that a value reaches.
#[inline(always)]
pub(super) fn level<const N: usize>(value: i32, steps: &[i32; N]) -> usize {
    steps.iter().map(|&s| usize::from(value >= s)).sum()
}

/// Level of a signed prediction, 10 in the middle.
#[inline(always)]
pub(super) fn signed_level(value: i32) -> usize {
    let l = level(value.abs(), &SIGN_STEPS);
    if value < 0 { 10 - l } else { 10 + l }
}

/// Where a coefficient is.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    /// Its band.
    pub(super) band: usize,
    pub(super) at: [usize; 3],
    /// Its cell.
    pub(super) cell: usize,
    /// The cell of its parent.
    pub(super) parent: usize,
}

/// The bands that contexts look at.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    pub(super) scale: &'a Scale,
    /// The split one coarser, if there is one.
    pub(super) coarser: Option<&'a Scale>,
}

/// Sums of magnitudes in the bands decoded before, and the terms of the expected magnitude.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) terms: [i32; MAGNITUDE_TERMS],
    pub(super) cousins: i32,
    /// Cousins whose orientation differs on one axis, and the others.
    pub(super) near_cousins: i32,
    pub(super) far_cousins: i32,
}

/// Positions of terms.
pub(super) const LOW_FACES: usize = 0;
pub(super) const HIGH_FACES: usize = 1;
pub(super) const PARENT: usize = 8;
pub(super) const PARENT_FACES: usize = 9;
pub(super) const COUSIN_FACES: usize = 17;
const CONSTANT: usize = 18;
/// Terms of the neighbours in the band.
const INNER: usize = 8;

#[inline(always)]
fn magnitude(cells: &[i16], at: usize) -> i32 {
    i32::from(cells[at].unsigned_abs())
}

/// Magnitudes of a cell and those before and after it.
#[inline(always)]
fn three(cells: &[i16], at: usize) -> [i32; 3] {
    match cells.get(at - 1..at + 2) {
        Some(&[a, b, c]) => [a, b, c].map(|k| i32::from(k.unsigned_abs())),
        _ => [0; 3],
    }
}

impl Around<'_> {
    /// What the magnitude of a coefficient is expected from.
    #[inline(always)]
    pub(super) fn known(&self, spot: &Spot) -> Known {
        let mut known = Known {
            terms: [0; MAGNITUDE_TERMS],
            cousins: 0,
            near_cousins: 0,
            far_cousins: 0,
        };
        known.terms[CONSTANT] = 1;
        self.add_neighbours(spot, &mut known.terms);
        self.add_parents(spot, &mut known.terms);
        if spot.band > 1 {
            self.add_cousins(spot, &mut known);
        }
        known
    }

    #[inline(always)]
    fn add_neighbours(&self, spot: &Spot, terms: &mut [i32; MAGNITUDE_TERMS]) {
        let (cells, c) = (&self.scale.bands[spot.band][..], spot.cell);
        let strides = self.scale.cells.strides;
        let [_, sy, sz] = strides;
        let m = |at: usize| magnitude(cells, at);
        // Rows of three around the coefficient, by y and z.
        let rows = [c - sz, c, c + sz].map(|z| [z - sy, z, z + sy].map(|y| three(cells, y)));
        let [[nn, nz, ns], [yn, own, ys], [sn, pz, ss]] = rows;
        let faces = [own[0] + own[2], yn[1] + ys[1], nz[1] + pz[1]];
        // Edges across the plane of the two axes after each axis.
        let edges = [
            nn[1] + ns[1] + sn[1] + ss[1],
            nz[0] + nz[2] + pz[0] + pz[2],
            yn[0] + yn[2] + ys[0] + ys[2],
        ];
        let high = |a: usize| spot.band >> a & 1;
        for a in 0..3 {
            terms[high(a)] += faces[a];
            terms[2 + high((a + 1) % 3) + high((a + 2) % 3)] += edges[a];
            terms[6 + high(a)] += m(c - 2 * strides[a]) + m(c + 2 * strides[a]);
        }
        terms[5] = [nn, ns, sn, ss].iter().map(|r| r[0] + r[2]).sum();
    }

    #[inline(always)]
    fn add_parents(&self, spot: &Spot, terms: &mut [i32; MAGNITUDE_TERMS]) {
        let Some(coarser) = self.coarser else { return };
        let (cells, p) = (&coarser.bands[spot.band][..], spot.parent);
        terms[PARENT] = magnitude(cells, p);
        for a in 0..3 {
            let s = coarser.cells.strides[a];
            let (below, above) = (magnitude(cells, p - s), magnitude(cells, p + s));
            terms[PARENT_FACES] += below + above;
            terms[10] += if spot.at[a] & 1 == 1 { above } else { below };
        }
        terms[19] = i32::from(coarser.sums[p]) - terms[PARENT];
    }

    #[inline(always)]
    fn add_cousins(&self, spot: &Spot, known: &mut Known) {
        for c in 1..spot.band {
            let m = magnitude(&self.scale.bands[c], spot.cell);
            known.terms[10 + c] = m;
            if (c ^ spot.band).count_ones() == 1 {
                known.near_cousins += m;
            } else {
                known.far_cousins += m;
            }
        }
        known.cousins = known.near_cousins + known.far_cousins;
        known.terms[COUSIN_FACES] = (self.scale.cells.strides.iter())
            .map(|s| {
                i32::from(self.scale.sums[spot.cell - s])
                    + i32::from(self.scale.sums[spot.cell + s])
            })
            .sum();
    }

    /// What the sign of a coefficient is predicted from.
    pub(super) fn sign_terms(&self, spot: &Spot) -> [i32; SIGN_TERMS] {
        let mut terms = [0; SIGN_TERMS];
        let (c, strides) = (spot.cell, self.scale.cells.strides);
        let own = &self.scale.bands[spot.band];
        let k = |at: usize| i32::from(own[at]);
        for a in 0..3 {
            let s = strides[a];
            terms[3 * a] = k(c - s);
            terms[3 * a + 1] = k(c + s);
            terms[3 * a + 2] = k(c - 2 * s);
        }
        let [_, sy, sz] = strides;
        let edges = [1 + sy, sy - 1, 1 + sz, sz - 1, sy + sz, sz - sy];
        for (term, back) in terms[9..15].iter_mut().zip(edges) {
            *term = k(c - back);
        }
        self.add_signed_parents(spot, &mut terms);
        for a in 0..3 {
            let cousin = spot.band ^ 1 << a;
            if spot.band >> a & 1 == 1 && cousin != 0 {
                let cells = &self.scale.bands[cousin];
                terms[29 + 2 * a] = i32::from(cells[c]);
                terms[30 + 2 * a] =
                    i32::from(cells[c + strides[a]]) - i32::from(cells[c - strides[a]]);
            }
        }
        terms
    }

    fn add_signed_parents(&self, spot: &Spot, terms: &mut [i32; SIGN_TERMS]) {
        let Some(coarser) = self.coarser else { return };
        let cells = &coarser.bands[spot.band];
        let side = spot.at.map(|n| if n & 1 == 1 { 1 } else { -1 });
        for flips in 0..8usize {
            let sign: i32 = (0..3)
                .filter(|a| flips >> a & 1 == 1)
                .map(|a| side[a])
                .product();
            terms[15 + flips] = sign * i32::from(cells[spot.parent]);
        }
        for a in 0..3 {
            let s = coarser.cells.strides[a];
            let slope = i32::from(cells[spot.parent + s]) - i32::from(cells[spot.parent - s]);
            terms[23 + 2 * a] = slope;
            terms[24 + 2 * a] = slope * side[a];
        }
    }
}

/// Levels of the expected magnitude of a coefficient.
#[derive(Clone, Copy)]
pub(super) struct Expected {
    /// In 1/256.
    pub(super) sum: i32,
    pub(super) fine: usize,
    pub(super) inner: usize,
    pub(super) outer: usize,
    pub(super) wide_inner: usize,
    pub(super) wide_outer: usize,
}

impl Known {
    #[inline(always)]
    pub(super) fn expected(&self, weights: &[u8; MAGNITUDE_TERMS], band: usize) -> Expected {
        let part = |range: std::ops::Range<usize>| -> i32 {
            let pairs = self.terms[range.clone()].iter().zip(&weights[range]);
            pairs.map(|(&t, &w)| t * i32::from(w)).sum()
        };
        let (inner, outer) = (part(0..INNER), part(INNER..MAGNITUDE_TERMS));
        let t = &self.terms;
        let around: i32 = t[..INNER].iter().sum();
        let others = (band as i32 - 1).max(1);
        let beyond = t[PARENT_FACES] + 2 * t[PARENT] + t[COUSIN_FACES] / others + self.cousins;
        Expected {
            sum: inner + outer,
            fine: level((inner + outer) >> 3, &FINE_STEPS),
            inner: level(inner >> 4, &MEDIUM_STEPS),
            outer: level(outer >> 4, &MEDIUM_STEPS),
            wide_inner: level(around, &WIDE_STEPS),
            wide_outer: level(beyond, &WIDE_STEPS),
        }
    }
}

/// The signed prediction of a coefficient, in 1/256: from its band, the parent band, cousins.
pub(super) fn predictions(terms: &[i32; SIGN_TERMS], weights: &[i8; SIGN_TERMS]) -> [i32; 3] {
    [0..15, 15..29, 29..SIGN_TERMS].map(|part| {
        let pairs = terms[part.clone()].iter().zip(&weights[part]);
        pairs.map(|(&t, &w)| t * i32::from(w)).sum()
    })
}
