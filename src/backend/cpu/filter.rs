//! In-block filters on working values, scalar and on vectors (specification, "In-block filters").

use super::CpuLevel;
use super::rounding::LONGEST_LIST;
use super::simd::{self, Filtering, Loops, PaddedRows, Working};
use crate::backend::ValueRange;
use crate::model::{Curve, Filter, LIMITS, Precision, WEIGHT_BITS, WaveletModel};

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
            let (centre, end) = (centre as i32, end as i32);
            let narrow = E::MAX == i32::from(i16::MAX);
            for v in self.values {
                let v32: i32 = (*v).into();
                // 16-bit values cannot overflow, and need no code for it.
                let position = if narrow {
                    v32.wrapping_add(centre)
                } else {
                    v32.saturating_add(centre)
                };
                *v = list[position.clamp(0, end) as usize];
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
    /// How limits are capped.
    const PRECISION: Precision;
    /// Filters values between `ends`.
    fn filter(level: CpuLevel, work: Filtering<'_, Self>, ends: (Self, Self));
}

impl Filtered for i16 {
    const PRECISION: Precision = Precision::I16;

    fn filter(level: CpuLevel, work: Filtering<'_, Self>, _ends: (Self, Self)) {
        simd::filter_narrow(level, work);
    }
}

impl Filtered for i32 {
    const PRECISION: Precision = Precision::I32;

    fn filter(level: CpuLevel, work: Filtering<'_, Self>, (low, high): (Self, Self)) {
        let weights = work.filter.weights.as_flattened();
        let count =
            |(limit, weight): (i32, &i8)| 2 * i64::from(limit) * i64::from(weight.unsigned_abs());
        let of_pair =
            |w: &[i8; LIMITS.len()]| work.limits.into_iter().zip(w).map(count).sum::<i64>();
        let sum: i64 = weights.iter().map(of_pair).sum();
        let bounded = i64::from(high) - i64::from(low) <= i32::MAX.into()
            && sum + (1 << WEIGHT_BITS) <= i32::MAX.into();
        simd::filter_wide(level, work, bounded);
    }
}

/// Holds the working values of a block, `[z][y][x]`, within its ends and filters them.
pub(crate) struct ApplyFilter<'a, E> {
    pub(crate) filter: &'a Filter,
    pub(crate) ends: Ends,
    /// Extent x, y, z.
    pub(crate) dims: [usize; 3],
    pub(crate) values: &'a mut [E],
    pub(crate) scratch: &'a mut Vec<E>,
}

impl<E: Filtered> ApplyFilter<'_, E> {
    /// Filters in place.
    pub(crate) fn run(self, level: CpuLevel) {
        let ends = (E::saturate(self.ends.0), E::saturate(self.ends.1));
        let hold = Hold {
            values: &*self.values,
            dims: self.dims,
            ends,
            room: self.scratch,
        };
        let rows = simd::with_vectors(level, hold);
        let work = Filtering {
            filter: self.filter,
            limits: self.filter.limits(E::PRECISION),
            rows,
            out: self.values,
        };
        E::filter(level, work, ends);
    }
}

/// Pads the rows of a block, held within ends, into `room`.
struct Hold<'a, 'b, E> {
    values: &'a [E],
    dims: [usize; 3],
    ends: (E, E),
    room: &'b mut Vec<E>,
}

impl<'b, E: Filtered> Loops for Hold<'_, 'b, E> {
    type Output = PaddedRows<'b, E>;

    #[inline(always)]
    fn run(self) -> PaddedRows<'b, E> {
        PaddedRows::fill(self.values, self.dims, self.ends, self.room)
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

    fn run<E: Filtered>(
        level: CpuLevel,
        filter: &Filter,
        dims: [usize; 3],
        values: &[i64],
        ends: Ends,
    ) -> Vec<i64> {
        let mut values: Vec<E> = values.iter().map(|&v| E::saturate(v)).collect();
        ApplyFilter {
            filter,
            ends,
            dims,
            values: &mut values,
            scratch: &mut Vec::new(),
        }
        .run(level);
        values.iter().map(|&v| i64::from(v.into())).collect()
    }

    proptest! {
        #[test]
        fn filters_are_those_of_the_text(
            dims in [1usize..70, 1usize..7, 1usize..6],
            seed in proptest::collection::vec(prop_oneof![-300i64..300, -40_000i64..40_000], 1..60),
            limit in prop_oneof![1u32..100, 1u32..20_000, Just(1 << 24)],
            weights in proptest::collection::vec(prop_oneof![Just(0i8), any::<i8>()], 36),
            far in any::<bool>(),
            wide in any::<bool>(),
        ) {
            let mut filter = Filter { limit, ..Filter::NONE };
            filter.weights.as_flattened_mut().as_flattened_mut().copy_from_slice(&weights);
            prop_assert_eq!(Filter::from_bytes(&filter.to_bytes()).unwrap(), filter);
            let voxels = dims.iter().product();
            let values: Vec<i64> = (0..voxels).map(|i| seed[i * 7 % seed.len()]).collect();
            let stretch = if wide && far { 60_000 } else { 1 };
            let values: Vec<i64> = values.iter().map(|v| v * stretch).collect();
            let ends = Ends(-20_000 * stretch, 31_000 * stretch);
            let u: Vec<i64> = values.iter().map(|v| (*v).clamp(ends.0, ends.1)).collect();
            let (precision, most) = if wide {
                (Precision::I32, i64::from(i32::MAX))
            } else {
                (Precision::I16, i64::from(i16::MAX))
            };
            let expected = oracle(&filter, precision, dims, &u).into_iter();
            let expected: Vec<i64> = expected.map(|v| v.clamp(-most - 1, most)).collect();
            for level in CpuLevel::available() {
                let found = if wide {
                    run::<i32>(level, &filter, dims, &values, ends)
                } else {
                    run::<i16>(level, &filter, dims, &values, ends)
                };
                prop_assert_eq!(&found, &expected, "{}", level.name());
            }
        }
    }
}
