//! The last step of a decode: from working values to integers within the range of a block.

use super::simd::{Loops, Working};
use crate::backend::ValueRange;
use crate::codec::bands::BlockShape;
use crate::model::{Curve, CurveTable};

/// Positions of a curve that are listed at most, so that a list stays in a core's own cache.
pub(super) const LONGEST_LIST: usize = 1 << 14;

/// From working values to integers: `clamp(((v + half) >> down << up) + centre, lo, hi)`, or
/// `clamp(curve(v + centre), lo, hi)`, in as few bits as hold every step.
pub(super) enum Rounding {
    /// 16-bit values and a centre under 2^30.
    Narrow {
        half: i32,
        down: u32,
        up: u32,
        centre: i32,
        range: ValueRange,
    },
    /// At least two fractional bits and a centre under 2^30: one bit less is shifted off first, so
    /// that adding the half cannot overflow.
    Halved {
        down: u32,
        centre: i32,
        range: ValueRange,
    },
    /// Working values fit 32 bits, so with the centre they fit 34 and, shifted up by 16 at most, 50.
    Wide {
        half: i64,
        down: u32,
        up: u32,
        centre: i64,
        range: ValueRange,
    },
    /// Values within the range at all positions of a curve.
    List { values: Vec<i32>, centre: i32 },
    Curve {
        curve: Box<CurveTable>,
        centre: i64,
        range: ValueRange,
    },
}

impl Rounding {
    /// Along a curve, for this many voxels.
    pub(super) fn along<E: Working>(curve: &Curve, range: ValueRange, voxels: usize) -> Self {
        let (curve, centre) = (curve.table(), curve.centre(range.lo, range.hi));
        // A list pays where it has fewer entries than there are voxels.
        let most = LONGEST_LIST.min(voxels / 2);
        let narrow = E::MAX == i32::from(i16::MAX);
        match curve.values(range.lo, range.hi, most) {
            Some(values) if narrow => Self::List {
                values,
                centre: centre as i32,
            },
            _ => Self::Curve {
                curve: Box::new(curve),
                centre,
                range,
            },
        }
    }

    pub(super) fn new<E: Working>(frac_bits: i8, range: ValueRange) -> Self {
        let (down, up) = (
            u32::from(frac_bits.max(0).unsigned_abs()),
            u32::from(frac_bits.min(0).unsigned_abs()),
        );
        let centre = range.centre();
        let central = centre.unsigned_abs() < 1 << 30;
        let half = (1i64 << down) >> 1;
        if central && E::MAX == i32::from(i16::MAX) && up <= 8 && down <= 24 {
            Self::Narrow {
                half: half as i32,
                down,
                up,
                centre,
                range,
            }
        } else if central && up == 0 && (2..=24).contains(&down) {
            Self::Halved {
                down: down - 1,
                centre,
                range,
            }
        } else {
            Self::Wide {
                half,
                down,
                up,
                centre: i64::from(centre),
                range,
            }
        }
    }

    /// Rounds a row.
    #[inline(always)]
    fn row<E: Working>(&self, values: &[E], out: &mut [i32]) {
        let pairs = values.iter().map(|&v| v.into()).zip(out);
        match *self {
            Self::Narrow {
                half,
                down,
                up,
                centre,
                range,
            } => {
                pairs.for_each(|(v, o): (i32, _)| {
                    *o = ((((v + half) >> down) << up) + centre).clamp(range.lo, range.hi)
                });
            }
            Self::Halved {
                down,
                centre,
                range,
            } => {
                pairs.for_each(|(v, o): (i32, _)| {
                    *o = ((((v >> down) + 1) >> 1) + centre).clamp(range.lo, range.hi)
                });
            }
            Self::Wide {
                half,
                down,
                up,
                centre,
                range,
            } => pairs.for_each(|(v, o)| {
                let q = (((i64::from(v) + half) >> down) << up) + centre;
                *o = q.clamp(i64::from(range.lo), i64::from(range.hi)) as i32;
            }),
            Self::List { ref values, centre } => {
                let last = values.len() as i32 - 1;
                pairs.for_each(|(v, o): (i32, _)| {
                    *o = values[(v + centre).clamp(0, last) as usize];
                });
            }
            Self::Curve {
                ref curve,
                centre,
                range,
            } => pairs.for_each(|(v, o)| {
                let q = curve.value(i64::from(v) + centre);
                *o = q.clamp(i64::from(range.lo), i64::from(range.hi)) as i32;
            }),
        }
    }
}

/// Integers of the low-pass corner of a level of detail.
pub(super) struct ToIntegers<'a, E> {
    pub(super) values: &'a [E],
    pub(super) shape: &'a BlockShape,
    pub(super) lod: usize,
    pub(super) rounding: &'a Rounding,
    pub(super) out: &'a mut [i32],
}

impl<E: Working> Loops for ToIntegers<'_, E> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let [w, h, _] = self.shape.dims_at(self.lod);
        let [nx, ny, _] = self.shape.dims;
        for (i, row) in self.out.chunks_exact_mut(w).enumerate() {
            let start = (i / h * ny + i % h) * nx;
            self.rounding.row(&self.values[start..start + w], row);
        }
    }
}

/// Rounds working values that lie one after the other.
pub(super) struct RoundAll<'a>(
    pub(super) &'a [i32],
    pub(super) &'a Rounding,
    pub(super) &'a mut [i32],
);

impl Loops for RoundAll<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        self.1.row(self.0, self.2);
    }
}
