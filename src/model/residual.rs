//! What may follow the layers of a block so that every voxel keeps a bound (specification,
//! "Residual").

use crate::{Error, Result};

/// Largest step of a residual.
const MAX_STEP: u32 = 1 << 24;
/// Flags of a model record.
const PRESENT: u8 = 1;
const FLOAT_BITS: u8 = 1 << 3;
const STEPPED: u8 = 1 << 4;
/// Flag of a mask, beside which bits of floats make no sense: they hold what is not finite.
const MASK: u8 = 1 << 1;

/// The residual that ends the last layer of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Residual {
    /// There is none.
    #[default]
    None,
    /// The difference to the source in units of `q`, in multiples of a step, 1..=2^24. With step 1
    /// integers come back exactly; with step s no voxel is off by more than s / 2.
    Step(u32),
    /// The difference to the source's float32 as an ordered integer: every bit comes back.
    FloatBits,
}

impl Residual {
    /// Flag bits that a model record spends on a residual.
    pub const FLAGS: u8 = PRESENT | FLOAT_BITS | STEPPED;

    /// Whether the last layer ends with one.
    pub fn is_some(self) -> bool {
        self != Self::None
    }

    /// Whether it gives the source back bit for bit: float32 for [`Self::FloatBits`], integers for
    /// step 1.
    pub fn is_exact(self) -> bool {
        matches!(self, Self::Step(1) | Self::FloatBits)
    }

    /// Its flags in a model record; a step over 1 follows at the record's end.
    pub(super) fn flags(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Step(1) => PRESENT,
            Self::Step(_) => PRESENT | STEPPED,
            Self::FloatBits => PRESENT | FLOAT_BITS,
        }
    }

    /// The end of a model record.
    pub(super) fn tail(self) -> Option<[u8; 4]> {
        match self {
            Self::Step(step @ 2..) => Some(step.to_le_bytes()),
            _ => None,
        }
    }

    /// From the flags of a record; splits the tail off the bytes after its fixed part.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the flags or the step break a rule.
    pub(super) fn read(flags_of_all: u8, bytes: &[u8]) -> Result<(Self, &[u8])> {
        let bad = |detail: String| Error::corrupt("model record", 0, detail);
        match flags_of_all & Self::FLAGS {
            0 => Ok((Self::None, bytes)),
            PRESENT => Ok((Self::Step(1), bytes)),
            flags if flags == PRESENT | FLOAT_BITS => {
                if flags_of_all & MASK == 0 {
                    Ok((Self::FloatBits, bytes))
                } else {
                    Err(bad("a mask beside the bits of floats".into()))
                }
            }
            flags if flags == PRESENT | STEPPED => {
                let (rest, tail) = bytes
                    .split_last_chunk::<4>()
                    .ok_or_else(|| bad("it ends too early".into()))?;
                match u32::from_le_bytes(*tail) {
                    step @ 2..=MAX_STEP => Ok((Self::Step(step), rest)),
                    step => Err(bad(format!(
                        "a residual in steps of {step}, 2 to 2^24 are allowed"
                    ))),
                }
            }
            _ => Err(bad("flags of a residual that contradict each other".into())),
        }
    }
}

/// The place of a float32 in the order of all of them, by its bits: -NaN, -inf ... -0, 0 ... NaN.
pub fn ordered(bits: u32) -> u32 {
    if bits >> 31 == 0 {
        bits | 1 << 31
    } else {
        !bits
    }
}

/// The inverse of [`ordered`].
pub fn unordered(place: u32) -> u32 {
    if place >> 31 == 1 {
        place & !(1 << 31)
    } else {
        !place
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn order_is_that_of_floats(a in any::<f32>(), b in any::<f32>()) {
            prop_assert_eq!(unordered(ordered(a.to_bits())), a.to_bits());
            if a < b {
                prop_assert!(ordered(a.to_bits()) < ordered(b.to_bits()));
            }
        }
    }

    #[test]
    fn records_say_which() {
        for residual in [
            Residual::None,
            Residual::Step(1),
            Residual::Step(2),
            Residual::Step(MAX_STEP),
            Residual::FloatBits,
        ] {
            let tail = residual.tail();
            let bytes = tail.as_ref().map_or(&[][..], |t| &t[..]);
            assert_eq!(
                Residual::read(residual.flags(), bytes).unwrap(),
                (residual, &[][..])
            );
        }
        for (flags, bytes) in [
            (FLOAT_BITS, &[][..]),
            (PRESENT | FLOAT_BITS | MASK, &[]),
            (STEPPED, &[2, 0, 0, 0]),
            (Residual::FLAGS, &[2, 0, 0, 0]),
            (PRESENT | STEPPED, &[2, 0, 0]),
            (PRESENT | STEPPED, &[1, 0, 0, 0]),
            (PRESENT | STEPPED, &[1, 0, 0, 1]),
        ] {
            assert!(Residual::read(flags, bytes).is_err(), "{flags} {bytes:?}");
        }
    }
}
