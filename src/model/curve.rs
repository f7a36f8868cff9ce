//! Value curves: voxels as a monotone function of what the wavelets store (specification, "Value
//! curves"). Integers only, so that every machine computes the same voxels.

use byteorder::{ByteOrder, LittleEndian as Le};

use crate::{Error, Result};

/// Segments of a curve.
pub const SEGMENTS: usize = 16;

/// A monotone piecewise-linear function from positions `0..=16 << segment_log2`, in working units,
/// to integers `q`. It is constant beyond its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Curve {
    /// Value at position 0, in units of `q`.
    pub start: i32,
    /// Segments are `2^segment_log2` working units long, 4..=24.
    pub segment_log2: u8,
    /// Rises are in units of `2^-fraction` of `q`, -16..=16.
    pub fraction: i8,
    /// How much each segment rises.
    pub rises: [u16; SEGMENTS],
}

impl Curve {
    /// Bytes of the curve in a model record.
    pub const BYTES: usize = 6 + 2 * SEGMENTS;

    /// The curve as bytes.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut b = [0; Self::BYTES];
        Le::write_i32(&mut b, self.start);
        b[4] = self.segment_log2;
        b[5] = self.fraction.to_le_bytes()[0];
        Le::write_u16_into(&self.rises, &mut b[6..]);
        b
    }

    /// Reads a curve.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for another length, a field out of range or a curve that nowhere rises.
    pub fn from_bytes(b: &[u8]) -> Result<Self> {
        let bad = |detail: String| Err(Error::corrupt("curve of a model record", 0, detail));
        if b.len() != Self::BYTES {
            return bad(format!("{} bytes, {} are needed", b.len(), Self::BYTES));
        }
        let mut curve = Self {
            start: Le::read_i32(b),
            segment_log2: b[4],
            fraction: i8::from_le_bytes([b[5]]),
            rises: [0; SEGMENTS],
        };
        Le::read_u16_into(&b[6..], &mut curve.rises);
        let (log2, fraction) = (curve.segment_log2, curve.fraction);
        let shift = i32::from(log2) + i32::from(fraction);
        if !(4..=24).contains(&log2) || !(-16..=16).contains(&fraction) || shift < 1 {
            return bad(format!(
                "segments of 2^{log2} with {fraction} fractional bits"
            ));
        }
        if curve.rises.iter().all(|&r| r == 0) {
            return bad("it nowhere rises".into());
        }
        Ok(curve)
    }

    /// Last position.
    pub fn end(&self) -> i64 {
        (SEGMENTS as i64) << self.segment_log2
    }

    /// What all segments rise together, in units of `2^-fraction` of `q`.
    fn total(&self) -> i64 {
        self.rises.iter().map(|&r| i64::from(r)).sum()
    }

    /// Largest slope, in units of `q` a working unit.
    pub fn steepest(&self) -> f64 {
        let most = self.rises.iter().max().map_or(0.0, |&r| f64::from(r));
        most * (-f64::from(self.segment_log2) - f64::from(self.fraction)).exp2()
    }

    /// Position of value `q`, rounded down; the end of the curve that is nearer if it has none.
    pub fn position(&self, q: i32) -> i64 {
        let above = i64::from(q) - i64::from(self.start);
        let rise = if self.fraction >= 0 {
            above << self.fraction
        } else {
            above >> -self.fraction
        };
        let mut left = rise.clamp(0, self.total());
        for (i, &r) in (0..).zip(&self.rises) {
            let r = i64::from(r);
            if left <= r {
                let inside = (left << self.segment_log2).checked_div(r).unwrap_or(0);
                return (i << self.segment_log2) + inside;
            }
            left -= r;
        }
        self.end()
    }

    /// Position that working values of a block are relative to.
    pub fn centre(&self, lo: i32, hi: i32) -> i64 {
        (self.position(lo) + self.position(hi)) >> 1
    }

    /// The curve as a table for evaluation.
    pub fn table(&self) -> CurveTable {
        self.table_of(i64::from(self.start), 0)
    }

    /// The curve from positions to `(q - centre) * 2^frac_bits`, for filters.
    pub fn working(&self, frac_bits: i8, centre: i32) -> WorkingTable {
        let up = u32::from(frac_bits.max(0).unsigned_abs());
        let above = i64::from(self.start) - i64::from(centre);
        WorkingTable {
            table: self.table_of(above << up, up),
            down: u32::from(frac_bits.min(0).unsigned_abs()),
        }
    }

    /// Whether [`Self::working`] has fractional bits that these values have room for.
    pub(crate) fn has_room_for(&self, frac_bits: i8) -> bool {
        i32::from(self.segment_log2) + i32::from(self.fraction) - i32::from(frac_bits) >= 1
    }

    /// With `up` more fractional bits, for curves that have room for them.
    fn table_of(&self, start: i64, up: u32) -> CurveTable {
        let shift = i32::from(self.segment_log2) + i32::from(self.fraction) - up as i32;
        let shift = shift.max(1).unsigned_abs();
        let mut below = 0;
        let segments = self.rises.map(|r| {
            let base = (below << self.segment_log2) + (1i64 << (shift - 1));
            below += i64::from(r);
            (base, i64::from(r))
        });
        CurveTable {
            start,
            end: self.end(),
            segment_log2: u32::from(self.segment_log2),
            shift,
            segments,
        }
    }
}

/// A curve prepared for many evaluations.
#[derive(Debug, Clone, Copy)]
pub struct CurveTable {
    start: i64,
    end: i64,
    segment_log2: u32,
    shift: u32,
    /// Value at the start of each segment with the half that rounds, and its rise, in units of
    /// `2^-shift` of `q` a working unit.
    segments: [(i64, i64); SEGMENTS],
}

impl CurveTable {
    /// Value at a position.
    #[inline(always)]
    pub fn value(&self, position: i64) -> i64 {
        let p = position.clamp(0, self.end);
        let i = (p >> self.segment_log2).min(SEGMENTS as i64 - 1);
        let (base, rise) = self.segments[(i & (SEGMENTS as i64 - 1)) as usize];
        ((base + rise * (p - (i << self.segment_log2))) >> self.shift) + self.start
    }

    /// Values at all positions, in order, within `lo..=hi`; `None` if they are over `most`.
    pub fn values(&self, lo: i32, hi: i32, most: usize) -> Option<Vec<i32>> {
        let fits = usize::try_from(self.end).is_ok_and(|end| end < most);
        let within = |p| self.value(p).clamp(i64::from(lo), i64::from(hi)) as i32;
        fits.then(|| (0..=self.end).map(within).collect())
    }
}

/// A curve from positions to working values.
#[derive(Debug, Clone, Copy)]
pub struct WorkingTable {
    table: CurveTable,
    down: u32,
}

impl WorkingTable {
    /// Working value at a position.
    #[inline(always)]
    pub fn value(&self, position: i64) -> i64 {
        (self.table.value(position) + ((1 << self.down) >> 1)) >> self.down
    }

    /// Last position that has a value of its own.
    pub fn end(&self) -> i64 {
        self.table.end
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn curve() -> impl Strategy<Value = Curve> {
        let rise = prop_oneof![Just(0u16), 0u16..300, any::<u16>()];
        (
            any::<i16>(),
            4u8..=24,
            -16i8..=16,
            proptest::array::uniform16(rise),
        )
            .prop_map(|(start, segment_log2, fraction, rises)| Curve {
                start: i32::from(start),
                segment_log2,
                fraction,
                rises,
            })
            .prop_filter("allowed", |c| Curve::from_bytes(&c.to_bytes()).is_ok())
    }

    proptest! {
        /// Monotone, constant beyond the ends, inverted to within a unit, the same from a list.
        #[test]
        fn curves_rise_and_invert(c in curve(), at in proptest::collection::vec(0.0f64..1.0, 40)) {
            prop_assert_eq!(Curve::from_bytes(&c.to_bytes()).unwrap(), c);
            let (table, end) = (c.table(), c.end());
            let mut at: Vec<i64> = at.iter().map(|t| (t * end as f64) as i64).collect();
            at.extend([-(1 << 40), -1, 0, end, end + 1, 1 << 40]);
            at.sort_unstable();
            let values: Vec<i64> = at.iter().map(|&p| table.value(p)).collect();
            prop_assert!(values.is_sorted());
            prop_assert_eq!(values[0], table.value(0));
            prop_assert_eq!(table.value(0), i64::from(c.start));
            for (p, q) in (0..).zip(table.values(-9, 700, 1 << 12).unwrap_or_default()) {
                prop_assert_eq!(i64::from(q), table.value(p).clamp(-9, 700));
            }
            for &v in &values {
                if let Ok(q) = i32::try_from(v) {
                    let back = c.position(q);
                    prop_assert!((0..=end).contains(&back));
                    // A step of position is at most this much of value.
                    let steep = c.rises.iter().max().map_or(0, |&r| i64::from(r));
                    let step = (steep >> table.shift) + 1;
                    let unit = if c.fraction < 0 { 1i64 << -c.fraction } else { 1 };
                    prop_assert!((table.value(back) - v).abs() <= step + unit + 1);
                }
            }
        }
    }

    #[test]
    fn bad_curves_are_refused() {
        let good = Curve {
            start: -5,
            segment_log2: 9,
            fraction: 4,
            rises: [256; SEGMENTS],
        };
        let refuse = |c: Curve| assert!(Curve::from_bytes(&c.to_bytes()).is_err(), "{c:?}");
        assert!(Curve::from_bytes(&good.to_bytes()[1..]).is_err());
        refuse(Curve {
            segment_log2: 3,
            ..good
        });
        refuse(Curve {
            segment_log2: 25,
            ..good
        });
        refuse(Curve {
            fraction: 17,
            ..good
        });
        refuse(Curve {
            fraction: -17,
            segment_log2: 24,
            ..good
        });
        refuse(Curve {
            fraction: -9,
            ..good
        });
        refuse(Curve {
            rises: [0; SEGMENTS],
            ..good
        });
    }
}
