//! Numbering and computation of contexts (specification, "Contexts").
//!
//! A context is a small integer made from what is already decoded: the parent coefficient, the
//! bands of the same scale decoded before ("cousins"), and the neighbours of earlier passes.

/// Passes over the voxels of a band: by parity, so that a pass never depends on itself.
/// Pass 0 has all coordinates even, pass 1 exactly two odd, pass 2 one or three odd.
pub(crate) const PASSES: usize = 3;

const DEPTHS: usize = 2;
const NEIGHBOUR_LEVELS: usize = 8;
const OUTER_LEVELS: usize = 7;
const FLAG_LEVELS: usize = 5 * 5 * 4;
const RESIDUAL_LEVELS: usize = 9 * 6;

const EMPTY: usize = 0;
const VARIANT: usize = EMPTY + 6;
const FLAG: usize = VARIANT + 3;
const COEFFICIENT: usize = FLAG + 2 * DEPTHS * PASSES * FLAG_LEVELS;
const REFINE: usize = COEFFICIENT + 7 * DEPTHS * PASSES * 2 * NEIGHBOUR_LEVELS * OUTER_LEVELS;
const COARSEST: usize = REFINE + 3 * 4 * PASSES;
const RESIDUAL_FLAG: usize = COARSEST + 2;
const RESIDUAL: usize = RESIDUAL_FLAG + PASSES * 7 * 6;

/// Number of contexts.
pub const COUNT: usize = RESIDUAL + PASSES * RESIDUAL_LEVELS;

/// Symbols that occur in a context.
pub const fn alphabet(context: usize) -> usize {
    match context {
        _ if context < VARIANT => 2,
        _ if context < FLAG => 4,
        _ if context < COEFFICIENT => 2,
        _ if context < REFINE => 16,
        _ if context < COARSEST => 9,
        _ if context < RESIDUAL_FLAG => 16,
        _ if context < RESIDUAL => 2,
        _ => 16,
    }
}

/// A coarser class of contexts that should behave alike, to smooth rare ones when training.
pub const fn generalise(context: usize) -> usize {
    const CELL: usize = NEIGHBOUR_LEVELS * OUTER_LEVELS;
    match context {
        _ if context < FLAG => context,
        _ if context < COEFFICIENT => FLAG + (context - FLAG) % (PASSES * FLAG_LEVELS),
        _ if context < REFINE => COEFFICIENT + (context - COEFFICIENT) % (PASSES * 2 * CELL),
        _ => context,
    }
}

/// Pass of a coefficient or group by the parity of its coordinates.
#[inline]
pub(crate) const fn pass_of(x: usize, y: usize, z: usize) -> usize {
    match (x & 1) + (y & 1) + (z & 1) {
        0 => 0,
        2 => 1,
        _ => 2,
    }
}

/// Whether a band has any coefficient that is not zero.
pub(crate) fn band_empty(depth: usize, refines: bool) -> usize {
    EMPTY + depth.min(2) * 2 + usize::from(refines)
}

/// Which variant of the tables a band uses.
pub(crate) fn variant(depth: usize) -> usize {
    VARIANT + depth.min(2)
}

/// Whether a 4^3 group has any coefficient that is not zero.
///
/// `parents`: sum of the parent magnitudes; `neighbours`: active face neighbours of earlier
/// passes; `cousins`: active groups at the same place in the bands before.
#[inline]
pub(crate) fn group_flag(
    depth: usize,
    refines: bool,
    pass: usize,
    parents: u32,
    neighbours: u32,
    cousins: u32,
) -> usize {
    let p = [0, 1, 2, 2, 3, 3, 3, 3][(parents as usize).min(7)] + usize::from(parents > 11);
    let n = [0, 1, 2, 3, 3, 4, 4][(neighbours as usize).min(6)];
    let c = [0, 1, 2, 2, 3, 3, 3][(cousins as usize).min(6)];
    let place = (usize::from(refines) * DEPTHS + depth.min(1)) * PASSES + pass;
    FLAG + place * FLAG_LEVELS + (p * 5 + n) * 4 + c
}

/// Sums up to here have a level of their own; above, the magnitude is coded in coarser units.
const TOP: usize = 1024;

const fn levels<const N: usize>(bounds: [u32; N]) -> [u8; TOP] {
    let mut table = [0; TOP];
    let mut i = 0;
    while i < TOP {
        let mut level = 0;
        while level < N && i as u32 >= bounds[level] {
            level += 1;
        }
        table[i] = level as u8;
        i += 1;
    }
    table
}

/// Sum over neighbours (weights 12 in all) -> level 0..8.
static NEIGHBOUR_LEVEL: [u8; TOP] = levels([1, 3, 5, 8, 13, 24, 48]);
/// Parent and cousin activity (weights 16 in all) -> level 0..7.
static OUTER_LEVEL: [u8; TOP] = levels([1, 4, 8, 15, 30, 72]);
/// Parent activity alone (weights 8) -> level 0..8.
static PARENT_LEVEL: [u8; TOP] = levels([1, 2, 4, 7, 12, 24, 56]);

#[inline]
fn level(table: &[u8; TOP], sum: u32) -> usize {
    usize::from(table[(sum as usize).min(TOP - 1)])
}

/// What is known around a coefficient.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Around {
    /// Weighted sum over the neighbours in the band, weights 12 in all.
    pub(crate) neighbours: u32,
    /// Parent and its face neighbours, weights 8 in all.
    pub(crate) parent: u32,
    /// Mean of the cousins, times 8.
    pub(crate) cousins: u32,
}

impl Around {
    /// Low bits of the magnitude that are sent raw, from the expected magnitude.
    #[inline]
    pub(crate) fn shift(&self, blind: bool) -> u32 {
        // Expected magnitude times 24.
        let expected = if blind {
            self.parent + self.cousins + (self.cousins >> 1)
        } else {
            self.neighbours * 2
        };
        if expected < 192 {
            0
        } else {
            (expected / 96).ilog2()
        }
    }

    /// Context of a coefficient that was zero so far, in the table [`coefficients`] of its band
    /// and pass. `blind` = its neighbours say nothing yet.
    #[inline]
    pub(crate) fn coefficient(&self, table: usize, blind: bool) -> usize {
        let (inner, outer) = if blind {
            (
                level(&PARENT_LEVEL, self.parent),
                level(&OUTER_LEVEL, self.cousins * 2),
            )
        } else {
            (
                level(&NEIGHBOUR_LEVEL, self.neighbours),
                level(&OUTER_LEVEL, self.parent + self.cousins),
            )
        };
        table + inner * OUTER_LEVELS + outer
    }

    /// Context of the refinement of a coefficient that had magnitude `before`.
    #[inline]
    pub(crate) fn refinement(&self, before: u32, pass: usize) -> usize {
        let b = (before.clamp(1, 3) - 1) as usize;
        REFINE + (b * 4 + level(&NEIGHBOUR_LEVEL, self.neighbours) / 2) * PASSES + pass
    }
}

/// First context of the coefficients of a band in a pass.
pub(crate) fn coefficients(band: usize, depth: usize, pass: usize, refines: bool) -> usize {
    let place = (((band - 1) * DEPTHS + depth.min(1)) * PASSES + pass) * 2 + usize::from(refines);
    COEFFICIENT + place * NEIGHBOUR_LEVELS * OUTER_LEVELS
}

/// The coarsest band.
pub(crate) fn coarsest(refines: bool) -> usize {
    COARSEST + usize::from(refines)
}

/// Whether a 4^3 group of the residual has any value that is not zero.
pub(crate) fn residual_flag(pass: usize, neighbours: u32, texture: u32) -> usize {
    RESIDUAL_FLAG + (pass * 7 + neighbours.min(6) as usize) * 6 + texture_level(texture)
}

/// A residual value: sum over neighbours (weights 12 in all), local texture of the decoded block.
#[inline]
pub(crate) fn residual(pass: usize, neighbours: u32, texture: u32) -> usize {
    let n = level(&NEIGHBOUR_LEVEL, neighbours) + usize::from(neighbours >= 96);
    RESIDUAL + (pass * 9 + n) * 6 + texture_level(texture)
}

/// Low bits of a residual that are sent raw.
#[inline]
pub(crate) fn residual_shift(neighbours: u32) -> u32 {
    if neighbours < 96 {
        0
    } else {
        (neighbours / 48).ilog2()
    }
}

/// Sum of absolute differences to the six face neighbours, in steps -> level 0..6.
#[inline]
fn texture_level(texture: u32) -> usize {
    match texture {
        0 => 0,
        1..=3 => 1,
        4..=9 => 2,
        10..=23 => 3,
        24..=63 => 4,
        _ => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_stay_in_their_ranges() {
        let mut top = 0;
        for band in 1..8 {
            for depth in 0..6 {
                for pass in 0..PASSES {
                    for big in [0, 1, 4000] {
                        let around = Around {
                            neighbours: big,
                            parent: big,
                            cousins: big,
                        };
                        for blind in [false, true] {
                            let c =
                                around.coefficient(coefficients(band, depth, pass, true), blind);
                            assert!((COEFFICIENT..REFINE).contains(&c));
                        }
                        assert!((REFINE..COARSEST).contains(&around.refinement(big, pass)));
                        assert!(
                            (FLAG..COEFFICIENT)
                                .contains(&group_flag(depth, true, pass, big, big, big))
                        );
                        assert!((RESIDUAL_FLAG..RESIDUAL).contains(&residual_flag(pass, big, big)));
                        top = top.max(residual(pass, big, big));
                    }
                }
            }
        }
        assert_eq!(top, COUNT - 1);
    }
}
