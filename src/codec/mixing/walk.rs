//! The decisions of one band: group flags, then the coefficients of active groups in raster order
//! (specification, "A band of coder M").

use super::super::bands::{Band, BlockShape};
use super::super::state::Coefficient;
use super::layout::{
    BANDS, CLASSES, COEFFICIENT, COEFFICIENT_SETS, DEPTHS, FINE, FLAG, FLAG_SETS, MEDIUM, REFINE,
    REFINE_SETS, SIGN, SIGN_SETS, SIGNED,
};
use super::mixer::{Decider, exp_golomb};
use super::scales::{Room, Scale, seen};
use super::terms::{
    Around, Expected, HIGH_FACES, Known, LOW_FACES, NARROW_STEPS, PARENT, PARENT_FACES, Spot,
    level, predictions, signed_level,
};
use crate::{Error, Result};

/// Magnitudes from here on are followed by an Exp-Golomb number.
pub(super) const UNARY: u32 = 10;

/// Everything that the decisions of one band look at.
pub(super) struct Walk<'a, E> {
    pub(super) shape: &'a BlockShape,
    pub(super) band: &'a Band,
    pub(super) refines: bool,
    pub(super) scale: &'a mut Scale,
    pub(super) coarser: Option<&'a Scale>,
    pub(super) target: &'a [E],
    pub(super) indices: &'a mut [E],
}

/// What all decisions about one coefficient share.
struct Contexts {
    slots: [usize; 7],
    /// Expected magnitude, coarsely.
    fine: usize,
    set: usize,
}

impl<E: Coefficient> Walk<'_, E> {
    fn depth(&self) -> usize {
        self.band.depth.min(DEPTHS - 1)
    }

    /// Band and depth.
    fn class(&self) -> usize {
        (self.band.index - 1) * DEPTHS + self.depth()
    }

    fn around(&self) -> Around<'_> {
        Around {
            scale: self.scale,
            coarser: self.coarser,
        }
    }

    /// Codes the band.
    pub(super) fn run<D: Decider>(&mut self, decider: &mut D) -> Result<()> {
        let [gw, gh, gd] = self.band.dims.map(|n| n.div_ceil(4));
        for z in 0..gd {
            for y in 0..gh {
                for x in 0..gw {
                    self.code_flag(decider, [x, y, z]);
                }
            }
        }
        let [w, h, d] = self.band.dims;
        for z in 0..d {
            for y in 0..h {
                let groups = self.scale.groups.at(0, y / 4, z / 4);
                for group in 0..gw {
                    if self.scale.flags[self.band.index][groups + group] == 0 {
                        continue;
                    }
                    for x in 4 * group..w.min(4 * group + 4) {
                        self.code_coefficient(decider, [x, y, z])?;
                    }
                }
            }
        }
        Ok(())
    }

    fn code_flag<D: Decider>(&mut self, decider: &mut D, group: [usize; 3]) {
        let at = self.scale.groups.at(group[0], group[1], group[2]);
        if self.scale.flags[self.band.index][at] != 0 {
            return;
        }
        let (slots, sets) = self.flag_contexts(group, at);
        let any = D::ENCODES && self.group_has_any(group);
        let flag = decider.decide(slots, sets, any);
        self.scale.flags[self.band.index][at] = u8::from(flag);
    }

    fn group_has_any(&self, [gx, gy, gz]: [usize; 3]) -> bool {
        let [w, h, d] = self.band.dims;
        (4 * gz..d.min(4 * gz + 4)).any(|z| {
            (4 * gy..h.min(4 * gy + 4)).any(|y| {
                let row = self.shape.place(self.band, [4 * gx, y, z]);
                let end = row + 4.min(w - 4 * gx);
                self.target[row..end].iter().any(|&k| k.into() != 0)
            })
        })
    }

    fn flag_contexts(&self, group: [usize; 3], at: usize) -> ([usize; 6], [usize; 2]) {
        let (index, depth, refines) = (self.band.index, self.depth(), usize::from(self.refines));
        let near = Flags::around(&self.scale.flags[index], &self.scale.groups, at);
        let (parents, rim) = self.parent_sums(group);
        let others = (index as u32 - 1).max(1);
        let cousin_flags: u32 = (1..index)
            .map(|c| Flags::all_faces(&self.scale.flags[c], &self.scale.groups, at))
            .sum();
        let p = level(parents, &[1, 2, 3, 5, 8, 13, 24]);
        let r = level(rim, &[1, 3, 6, 12, 24]);
        let cousins = self.cousin_sum(group) * 2 / others as i32;
        let m = level(cousins, &[1, 2, 4, 7, 12, 20, 40, 80, 160]);
        let f = level((cousin_flags * 2 / others) as i32, &[1, 2, 4, 7, 12, 20]);
        let [faces, edges, far] = near;
        let slots = [
            FLAG[0] + (2 * faces + edges).min(12) * 8 + p,
            FLAG[1] + (self.class() * 4 + faces) * 4 + edges.min(3),
            FLAG[2] + (p * 6 + r) * DEPTHS + depth,
            FLAG[3] + (m * 7 + f) * BANDS + index - 1,
            FLAG[4] + (p.min(3) * 16 + m.min(7) / 2 * 4 + faces) * DEPTHS + depth,
            FLAG[5] + ((faces * 4 + far) * 7 + edges) * DEPTHS + depth,
        ];
        let sets = [
            FLAG_SETS[0] + refines * DEPTHS + depth,
            FLAG_SETS[1] + index - 1,
        ];
        (slots, sets)
    }

    /// Sums of parent magnitudes: those of the group, and those in the ring around them, each at
    /// most 3.
    fn parent_sums(&self, [gx, gy, gz]: [usize; 3]) -> (i32, i32) {
        let Some(coarser) = self.coarser else {
            return (0, 0);
        };
        let cells = &coarser.bands[self.band.index];
        let first = coarser.cells.at(2 * gx, 2 * gy, 2 * gz);
        let [_, sy, sz] = coarser.cells.strides;
        let corner = first - 1 - sy - sz;
        let (mut inside, mut ring) = (0, 0);
        for z in 0..4 {
            for y in 0..4 {
                let row = corner + z * sz + y * sy;
                for (x, k) in cells[row..row + 4].iter().enumerate() {
                    let m = i32::from(k.unsigned_abs());
                    if [x, y, z].iter().all(|c| (1..3).contains(c)) {
                        inside += m;
                    } else {
                        ring += m.min(3);
                    }
                }
            }
        }
        (inside, ring)
    }

    /// Magnitudes of the cousins in the group, each place at most 8.
    fn cousin_sum(&self, [gx, gy, gz]: [usize; 3]) -> i32 {
        if self.band.index == 1 {
            return 0;
        }
        let [w, h, d] = self.band.dims;
        let mut sum = 0;
        for z in 4 * gz..d.min(4 * gz + 4) {
            for y in 4 * gy..h.min(4 * gy + 4) {
                let row = self.scale.cells.at(4 * gx, y, z);
                let n = 4.min(w - 4 * gx);
                let row = &self.scale.sums[row..row + n];
                sum += row.iter().map(|&s| i32::from(s.min(8))).sum::<i32>();
            }
        }
        sum
    }

    #[inline(always)]
    fn code_coefficient<D: Decider>(&mut self, decider: &mut D, at: [usize; 3]) -> Result<()> {
        let place = self.shape.place(self.band, at);
        let spot = Spot {
            band: self.band.index,
            at,
            cell: self.scale.cells.at(at[0], at[1], at[2]),
            parent: self
                .coarser
                .map_or(0, |c| c.cells.at(at[0] / 2, at[1] / 2, at[2] / 2)),
        };
        let wanted: i32 = if D::ENCODES {
            self.target[place].into()
        } else {
            0
        };
        let before: i32 = if self.refines {
            self.indices[place].into()
        } else {
            0
        };
        let kind = usize::from(self.refines) * CLASSES + self.class();
        let known = self.around().known(&spot);
        let expected = known.expected(&decider.tables().magnitude[kind], spot.band);
        let index = if before == 0 {
            decider.watch_magnitude(kind, &known.terms, wanted);
            let contexts = self.contexts(&known, &expected);
            let magnitude = magnitude(decider, &contexts, wanted.unsigned_abs())?;
            if magnitude == 0 {
                return Ok(());
            }
            self.sign(decider, &spot, kind, &expected, (magnitude, wanted))
        } else {
            self.refine(decider, &expected, before, wanted)?
        };
        self.indices[place] = E::saturate(index);
        self.scale.bands[spot.band][spot.cell] = seen(self.indices[place].into());
        Ok(())
    }

    #[inline(always)]
    fn contexts(&self, known: &Known, expected: &Expected) -> Contexts {
        let t = &known.terms;
        let edges = (t[2] + t[3] + t[4] + 1) / 2;
        let others = (self.band.index as i32 - 1).max(1);
        let near = |value: i32| level(value, &[1, 2, 4, 7]);
        let parent = t[PARENT].min(5) as usize;
        let low = t[LOW_FACES].min(5) as usize;
        let high = t[HIGH_FACES].min(3) as usize;
        let faces = level(t[PARENT_FACES], &NARROW_STEPS);
        let cousins = near(2 * known.cousins / others);
        Contexts {
            slots: [
                COEFFICIENT[0] + expected.fine * 12,
                COEFFICIENT[1] + (expected.inner * MEDIUM + expected.outer) * 6,
                COEFFICIENT[2] + ((low * 4 + high) * 4 + edges.min(3) as usize) * 4,
                COEFFICIENT[3] + ((parent * 6 + faces) * 5 + cousins) * 4,
                COEFFICIENT[4] + (expected.wide_inner * MEDIUM + expected.wide_outer) * 4,
                COEFFICIENT[5] + (self.class() * 8 + (expected.fine / 3).min(7)) * 4,
                COEFFICIENT[6]
                    + ((near(2 * known.near_cousins) * 5 + near(known.far_cousins)) * 5
                        + parent.min(4))
                        * 4,
            ],
            fine: expected.fine,
            set: self.depth() * 2 + usize::from(self.refines),
        }
    }

    /// The sign of a coefficient of which the magnitude is known; returns its index.
    fn sign<D: Decider>(
        &self,
        decider: &mut D,
        spot: &Spot,
        kind: usize,
        expected: &Expected,
        (magnitude, wanted): (u32, i32),
    ) -> i64 {
        let terms = self.around().sign_terms(spot);
        decider.watch_sign(kind, &terms, expected.sum, wanted);
        let parts = predictions(&terms, &decider.tables().sign[kind]);
        let all = signed_level(parts.iter().sum());
        let [inner, parent, cousins] = parts.map(signed_level);
        let m = magnitude.min(4) as usize - 1;
        let pattern = [0, 3, 6].map(|t| (terms[t].signum() + 1) as usize);
        let index = self.band.index - 1;
        let slots = [
            SIGN[0] + all * 4 + m,
            SIGN[1] + all * CLASSES + self.class(),
            SIGN[2] + ((pattern[0] * 3 + pattern[1]) * 3 + pattern[2]) * CLASSES + self.class(),
            SIGN[3] + (inner / 2 * 11 + parent / 2) * 3 + m.min(2),
            SIGN[4] + (cousins * BANDS + index) * 4 + m,
        ];
        let sets = [
            SIGN_SETS[0] + usize::from(self.refines) * BANDS + index,
            SIGN_SETS[1] + all.abs_diff(SIGNED / 2).min(7),
        ];
        if decider.decide(slots, sets, wanted < 0) {
            -i64::from(magnitude)
        } else {
            i64::from(magnitude)
        }
    }

    /// Four times the index before, and up to 4 more or less; returns the index.
    fn refine<D: Decider>(
        &self,
        decider: &mut D,
        expected: &Expected,
        before: i32,
        wanted: i32,
    ) -> Result<i64> {
        let (base, sign) = (4 * i64::from(before), i64::from(before.signum()));
        let delta = (i64::from(wanted) - base) * sign;
        if D::ENCODES && !(-4..=4).contains(&delta) {
            return Err(Error::corrupt(
                "layer",
                0,
                format!("refinement by {delta}, -4..=4 is allowed"),
            ));
        }
        let b = before.unsigned_abs().min(3) as usize - 1;
        let mut node = |node: usize, bit: bool| {
            let slot = node * 3 + b;
            let slots = [
                REFINE[0] + (slot * 8 + (expected.fine / 3).min(7)) * DEPTHS + self.depth(),
                REFINE[1] + slot * BANDS + self.band.index - 1,
                REFINE[2] + slot * 14 + expected.fine / 2,
            ];
            let sets = [REFINE_SETS[0] + node, REFINE_SETS[1] + self.depth()];
            decider.decide(slots, sets, bit)
        };
        if !node(0, delta != 0) {
            return Ok(base);
        }
        let less = node(1, delta < 0);
        let first = if less { 5 } else { 2 };
        let mut size = 1;
        while size < 4 && node(first + size as usize - 1, delta.abs() > size) {
            size += 1;
        }
        Ok(base + sign * if less { -size } else { size })
    }
}

/// Group flags around one.
struct Flags;

impl Flags {
    /// Faces, edges and second neighbours that come before in raster order.
    fn around(flags: &[u8], room: &Room, at: usize) -> [usize; 3] {
        let [_, sy, sz] = room.strides;
        let sum = |back: &[usize]| back.iter().map(|b| usize::from(flags[at - b])).sum();
        [
            sum(&[1, sy, sz]),
            sum(&[1 + sy, sy - 1, 1 + sz, sz - 1, sy + sz, sz - sy]),
            sum(&[2, 2 * sy, 2 * sz]),
        ]
    }

    fn all_faces(flags: &[u8], room: &Room, at: usize) -> u32 {
        let faces = room.strides.iter();
        faces
            .map(|s| u32::from(flags[at - s]) + u32::from(flags[at + s]))
            .sum()
    }
}

/// A magnitude: is it over 0, over 1, ..., and from [`UNARY`] on an Exp-Golomb number.
#[inline(always)]
fn magnitude<D: Decider>(decider: &mut D, contexts: &Contexts, wanted: u32) -> Result<u32> {
    for k in 0..UNARY {
        if !over(decider, contexts, k as usize, wanted > k) {
            return Ok(k);
        }
    }
    let more = |d: &mut D, n: u32, bit| over(d, contexts, (UNARY + n) as usize, bit);
    Ok(exp_golomb(decider, wanted.wrapping_sub(UNARY), more)? + UNARY)
}

/// Whether a magnitude is over `k`.
#[inline(always)]
fn over<D: Decider>(decider: &mut D, contexts: &Contexts, k: usize, bit: bool) -> bool {
    let s = &contexts.slots;
    let [most, more, few] = [k.min(11), k.min(5), k.min(3)];
    let slots = [
        s[0] + most,
        s[1] + more,
        s[2] + few,
        s[3] + few,
        s[4] + few,
        s[5] + few,
        s[6] + few,
    ];
    let sets = [
        COEFFICIENT_SETS[0] + more * DEPTHS * 2 + contexts.set,
        COEFFICIENT_SETS[1] + k.min(2) * (FINE / 2) + contexts.fine / 2,
    ];
    decider.decide(slots, sets, bit)
}
