//! Numbering and computation of the contexts of grid weights (specification, "Contexts of a grid
//! model").

use super::super::contexts::PASSES;

/// Classes of levels by their coarsest spacing: 1, 2, 4 voxels and more.
const CLASSES: usize = 3;
const ACTIVITIES: usize = 8;
const PARENTS: usize = 6;
const AGREEMENTS: usize = 3;
const PULLS: usize = 6;

const EMPTY: usize = 0;
const VARIANT: usize = EMPTY + CLASSES;
const FLAG: usize = VARIANT + CLASSES;
const MAGNITUDE: usize = FLAG + CLASSES * PASSES * 5 * 5;
const SIGN: usize = MAGNITUDE + CLASSES * PASSES * ACTIVITIES * PARENTS * AGREEMENTS;
const HASH_FLAG: usize = SIGN + CLASSES * PASSES * PULLS * 2;
const HASH: usize = HASH_FLAG + 5;
const NETWORK: usize = HASH + 8;

/// Number of contexts.
pub const COUNT: usize = NETWORK + 4;

/// Symbols that occur in a context.
pub const fn alphabet(context: usize) -> usize {
    match context {
        _ if context < VARIANT => 2,
        _ if context < FLAG => 4,
        _ if context < MAGNITUDE => 2,
        _ if context < SIGN => 16,
        _ if context < HASH => 2,
        _ => 16,
    }
}

/// A coarser class of contexts that should behave alike, to smooth rare ones when training.
pub const fn generalise(context: usize) -> usize {
    match context {
        _ if context < FLAG => context,
        _ if context < MAGNITUDE => FLAG + (context - FLAG) % (PASSES * 25),
        _ if context < SIGN => {
            MAGNITUDE + (context - MAGNITUDE) % (PASSES * ACTIVITIES * PARENTS * AGREEMENTS)
        }
        _ if context < HASH_FLAG => SIGN + (context - SIGN) % (PASSES * PULLS * 2),
        _ => context,
    }
}

/// Class of a level by its spacing exponents.
pub(crate) fn class(spacing: [u8; 3]) -> usize {
    let [x, y, z] = spacing;
    usize::from(x.max(y).max(z)).min(CLASSES - 1)
}

/// Whether a feature has any weight that is not zero.
pub(super) fn empty(class: usize) -> usize {
    EMPTY + class
}

/// Which variant of the tables a feature uses.
pub(super) fn variant(class: usize) -> usize {
    VARIANT + class
}

/// Weights of the network, by matrix.
pub(super) fn matrix(index: usize) -> usize {
    NETWORK + index.min(2)
}

/// Biases of the network.
pub(super) fn bias() -> usize {
    NETWORK + 3
}

/// Number of bounds that `value` has reached.
#[inline(always)]
fn level<const N: usize>(bounds: [u32; N], value: u32) -> usize {
    bounds.iter().map(|&b| usize::from(value >= b)).sum()
}

/// Whether a 4^3 group has any weight that is not zero. `parents`: vertices with an active parent,
/// of 64; `neighbours`: active face neighbours known so far.
pub(super) fn flag(class: usize, pass: usize, parents: u32, neighbours: u32) -> usize {
    let g = level([1, 9, 25, 64], parents);
    let n = [0, 1, 2, 3, 3, 4, 4][(neighbours as usize).min(6)];
    FLAG + ((class * PASSES + pass) * 5 + g) * 5 + n
}

/// What is known around a weight.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around {
    /// Sum of the neighbours' magnitudes, weights 12 in all.
    pub(super) activity: u32,
    /// Sum of the neighbours with their signs, weights 12 in all.
    pub(super) pull: i32,
    /// Sum of the magnitudes of the parents, weights 8 in all.
    pub(super) parents: u32,
}

impl Around {
    /// Low bits of the magnitude that are sent raw, from the expected magnitude.
    #[inline(always)]
    pub(super) fn shift(&self, pass: usize) -> u32 {
        // Expected magnitude times 24.
        let expected = if pass == 0 {
            3 * self.parents
        } else {
            2 * self.activity
        };
        if expected < 192 {
            0
        } else {
            (expected / 96).ilog2()
        }
    }

    /// Context of the magnitude, from the first one of the class and pass.
    #[inline(always)]
    pub(super) fn magnitude(&self, first: usize) -> usize {
        let a = level([1, 3, 5, 8, 13, 24, 48], self.activity);
        let p = level([1, 2, 4, 9, 25], self.parents);
        let pull = 3 * self.pull.unsigned_abs();
        let r = if self.activity == 0 || pull < self.activity {
            0
        } else {
            1 + usize::from(pull >= 2 * self.activity)
        };
        first + (a * PARENTS + p) * AGREEMENTS + r
    }

    /// Context of the sign relative to the sign of the pull.
    #[inline(always)]
    pub(super) fn sign(&self, class: usize, pass: usize, large: bool) -> usize {
        let t = level([1, 3, 6, 12, 30], self.pull.unsigned_abs());
        SIGN + ((class * PASSES + pass) * PULLS + t) * 2 + usize::from(large)
    }
}

/// First context of the magnitudes of a class and pass.
pub(super) fn magnitudes(class: usize, pass: usize) -> usize {
    MAGNITUDE + (class * PASSES + pass) * ACTIVITIES * PARENTS * AGREEMENTS
}

/// Whether 32 entries of a hash table have any weight that is not zero. `parents`: entries with an
/// active parent.
pub(super) fn hash_flag(parents: u32) -> usize {
    HASH_FLAG + level([1, 5, 13, 32], parents)
}

/// Magnitude of an entry of a hash table.
pub(super) fn hash_magnitude(parents: u32) -> usize {
    HASH + level([1, 2, 4, 9, 25, 60, 120], parents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_stay_in_their_ranges() {
        for class in 0..CLASSES {
            for pass in 0..PASSES {
                for n in [0, 1, 7, 60_000] {
                    let around = Around {
                        activity: n,
                        pull: -(n as i32),
                        parents: n,
                    };
                    let m = around.magnitude(magnitudes(class, pass));
                    assert!((MAGNITUDE..SIGN).contains(&m));
                    assert!((SIGN..HASH_FLAG).contains(&around.sign(class, pass, n > 0)));
                    assert!((FLAG..MAGNITUDE).contains(&flag(class, pass, n, n)));
                }
            }
        }
        assert!((HASH_FLAG..HASH).contains(&hash_flag(32)));
        assert!((HASH..NETWORK).contains(&hash_magnitude(u32::MAX)));
        assert_eq!((bias(), COUNT), (1651, 1652));
    }
}
