//! In-block filters on working values, scalar and on vectors (specification, "In-block filters").

use super::block::LONGEST_LIST;
use super::simd::{Loops, MAX_SIDE, Working};
use crate::backend::ValueRange;
use crate::model::{Curve, Filter, LIMITS, Precision, REACH, WEIGHT_BITS, WaveletModel};

/// Working values between which a block's range lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends(pub(crate) i64, pub(crate) i64);

impl Ends {
    /// Of a model and the range of a block.
    pub(crate) fn new(model: &WaveletModel, range: ValueRange) -> Self {
        let from_centre = |q: i32| i64::from(q) - i64::from(range.centre());
        let (lo, hi) = (from_centre(range.lo), from_centre(range.hi));
        match u32::from(model.frac_bits.unsigned_abs()) {
            down if model.frac_bits < 0 => Self(lo >> down, (hi + (1 << down) - 1) >> down),
            up => Self(lo << up, hi << up),
        }
    }
}

/// Brings positions on a curve to working values in proportion to voxels.
pub(crate) struct FromCurve<'a, E> {
    pub(crate) curve: &'a Curve,
    pub(crate) frac_bits: i8,
    pub(crate) range: ValueRange,
    pub(crate) values: &'a mut [E],
}

impl<E: Working> Loops for FromCurve<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let ValueRange { lo, hi } = self.range;
        let table = self.curve.working(self.frac_bits, self.range.centre());
        let (centre, end) = (self.curve.centre(lo, hi), table.end());
        let at = |position| E::saturate(table.value(position));
        if end < LONGEST_LIST as i64 && end as usize <= self.values.len() {
            let list: Vec<E> = (0..=end).map(at).collect();
            for v in self.values {
                *v = list[(i64::from((*v).into()) + centre).clamp(0, end) as usize];
            }
        } else {
            for v in self.values {
                *v = at(i64::from((*v).into()) + centre);
            }
        }
    }
}

/// Working values that a filter works on.
pub(crate) trait Filtered: Working + Ord {
    /// Holds the sum over all neighbours.
    type Sum: Copy + Default;
    /// How limits are capped.
    const PRECISION: Precision;
    /// Adds weighted differences of two opposite neighbours to `here`, each held within limits.
    fn add(
        sum: &mut Self::Sum,
        here: Self,
        neighbours: [Self; 2],
        taps: &[(Self, i8); LIMITS.len()],
    );
    /// The value with the sum, rounded to nearest, halves up.
    fn moved(self, sum: Self::Sum) -> Self;
}

impl Filtered for i16 {
    type Sum = i32;
    const PRECISION: Precision = Precision::I16;

    #[inline(always)]
    fn add(sum: &mut i32, here: Self, [a, b]: [Self; 2], taps: &[(Self, i8); LIMITS.len()]) {
        // Saturation is beyond every limit.
        let (a, b) = (a.saturating_sub(here), b.saturating_sub(here));
        for &(limit, weight) in taps {
            let both = a.min(limit).max(-limit) + b.min(limit).max(-limit);
            *sum += i32::from(both) * i32::from(weight);
        }
    }

    #[inline(always)]
    fn moved(self, sum: i32) -> Self {
        let by = (sum + (1 << (WEIGHT_BITS - 1))) >> WEIGHT_BITS;
        (i32::from(self) + by).clamp(i32::from(Self::MIN), i32::from(Self::MAX)) as Self
    }
}

impl Filtered for i32 {
    type Sum = i64;
    const PRECISION: Precision = Precision::I32;

    #[inline(always)]
    fn add(sum: &mut i64, here: Self, neighbours: [Self; 2], taps: &[(Self, i8); LIMITS.len()]) {
        let [a, b] = neighbours.map(|n| i64::from(n) - i64::from(here));
        for &(limit, weight) in taps {
            let limit = i64::from(limit);
            let both = a.clamp(-limit, limit) + b.clamp(-limit, limit);
            *sum += both * i64::from(weight);
        }
    }

    #[inline(always)]
    fn moved(self, sum: i64) -> Self {
        let by = (sum + (1 << (WEIGHT_BITS - 1))) >> WEIGHT_BITS;
        (i64::from(self) + by).clamp(i64::from(Self::MIN), i64::from(Self::MAX)) as Self
    }
}

/// Holds the working values of a block, `[z][y][x]`, within its ends and filters them into `out`.
pub(crate) struct ApplyFilter<'a, E> {
    pub(crate) filter: &'a Filter,
    pub(crate) ends: Ends,
    /// Extent x, y, z.
    pub(crate) dims: [usize; 3],
    pub(crate) values: &'a mut [E],
    pub(crate) out: &'a mut [E],
}

/// A row with its ends repeated.
type Padded<E> = [E; MAX_SIDE + 2 * REACH];

impl<E: Filtered> Loops for ApplyFilter<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let [nx, ny, nz] = self.dims;
        let (low, high) = (E::saturate(self.ends.0), E::saturate(self.ends.1));
        (self.values.iter_mut()).for_each(|v| *v = (*v).max(low).min(high));
        let values = &*self.values;
        let limits = self.filter.limits(E::PRECISION);
        let taps = self.filter.weights.map(|axis| {
            axis.map(|weights| {
                let mut taps = [(E::default(), 0); LIMITS.len()];
                for ((tap, limit), weight) in taps.iter_mut().zip(limits).zip(weights) {
                    *tap = (E::saturate(i64::from(limit)), weight);
                }
                taps
            })
        });
        let row = |y: usize, z: usize| &values[(z * ny + y) * nx..][..nx];
        let mut padded: Padded<E> = [E::default(); MAX_SIDE + 2 * REACH];
        let mut sums = [E::Sum::default(); MAX_SIDE];
        for z in 0..nz {
            for y in 0..ny {
                let here = row(y, z);
                let sums = &mut sums[..nx];
                sums.fill(E::Sum::default());
                pad(here, &mut padded);
                for d in 1..=REACH {
                    let (ahead, behind) = (&padded[REACH + d..][..nx], &padded[REACH - d..][..nx]);
                    add_row(sums, here, ahead, behind, &taps[0][d - 1]);
                    let (ahead, behind) =
                        (row((y + d).min(ny - 1), z), row(y.saturating_sub(d), z));
                    add_row(sums, here, ahead, behind, &taps[1][d - 1]);
                    let (ahead, behind) =
                        (row(y, (z + d).min(nz - 1)), row(y, z.saturating_sub(d)));
                    add_row(sums, here, ahead, behind, &taps[2][d - 1]);
                }
                let out = &mut self.out[(z * ny + y) * nx..][..nx];
                for ((o, &v), &sum) in out.iter_mut().zip(here).zip(&*sums) {
                    *o = v.moved(sum);
                }
            }
        }
    }
}

/// Repeats the ends of a row on both sides.
#[inline(always)]
fn pad<E: Filtered>(row: &[E], padded: &mut Padded<E>) {
    let n = row.len();
    padded[REACH..REACH + n].copy_from_slice(row);
    padded[..REACH].fill(row[0]);
    padded[REACH + n..][..REACH].fill(row[n - 1]);
}

#[inline(always)]
fn add_row<E: Filtered>(
    sums: &mut [E::Sum],
    here: &[E],
    ahead: &[E],
    behind: &[E],
    taps: &[(E, i8); LIMITS.len()],
) {
    if taps.iter().all(|t| t.1 == 0) {
        return;
    }
    let neighbours = ahead.iter().zip(behind);
    for ((sum, &v), (&a, &b)) in sums.iter_mut().zip(here).zip(neighbours) {
        E::add(sum, v, [a, b], taps);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    /// The formula of the specification, voxel by voxel, in integers without bounds.
    fn oracle(filter: &Filter, precision: Precision, dims: [usize; 3], u: &[i64]) -> Vec<i64> {
        let limits = filter.limits(precision).map(i64::from);
        let stride = [1, dims[0], dims[0] * dims[1]];
        let at = |i: usize| [0, 1, 2].map(|a| i / stride[a] % dims[a]);
        let voxel = |i: usize| {
            let mut sum = 0;
            for (axis, by_distance) in filter.weights.iter().enumerate() {
                for (d, weights) in (1..).zip(by_distance) {
                    let p = at(i)[axis];
                    let ahead = i + (dims[axis] - 1 - p).min(d) * stride[axis];
                    let behind = i - p.min(d) * stride[axis];
                    for (&w, t) in weights.iter().zip(limits) {
                        let held = |j: usize| (u[j] - u[i]).clamp(-t, t);
                        sum += i64::from(w) * (held(ahead) + held(behind));
                    }
                }
            }
            u[i] + ((sum + 64) >> 7)
        };
        (0..u.len()).map(voxel).collect()
    }

    fn run<E: Filtered>(filter: &Filter, dims: [usize; 3], values: &[i64], ends: Ends) -> Vec<i64> {
        let mut values: Vec<E> = values.iter().map(|&v| E::saturate(v)).collect();
        let mut out = vec![E::default(); values.len()];
        ApplyFilter {
            filter,
            ends,
            dims,
            values: &mut values,
            out: &mut out,
        }
        .run();
        out.iter().map(|&v| i64::from(v.into())).collect()
    }

    proptest! {
        #[test]
        fn filters_are_those_of_the_text(
            dims in [1usize..9, 1usize..7, 1usize..6],
            seed in proptest::collection::vec(prop_oneof![-300i64..300, -40_000i64..40_000], 1..60),
            limit in prop_oneof![1u32..100, 1u32..20_000, Just(1 << 24)],
            weights in proptest::collection::vec(any::<i8>(), 36),
            wide in any::<bool>(),
        ) {
            let mut filter = Filter { limit, ..Filter::NONE };
            filter.weights.as_flattened_mut().as_flattened_mut().copy_from_slice(&weights);
            prop_assert_eq!(Filter::from_bytes(&filter.to_bytes()).unwrap(), filter);
            let voxels = dims.iter().product();
            let values: Vec<i64> = (0..voxels).map(|i| seed[i * 7 % seed.len()]).collect();
            let ends = Ends(-20_000, 31_000);
            let u: Vec<i64> = values.iter().map(|v| (*v).clamp(ends.0, ends.1)).collect();
            let (found, precision, most) = if wide {
                (run::<i32>(&filter, dims, &values, ends), Precision::I32, i64::from(i32::MAX))
            } else {
                (run::<i16>(&filter, dims, &values, ends), Precision::I16, i64::from(i16::MAX))
            };
            let expected = oracle(&filter, precision, dims, &u).into_iter();
            let expected: Vec<i64> = expected.map(|v| v.clamp(-most - 1, most)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
