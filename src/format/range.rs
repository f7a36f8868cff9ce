//! Codes of value ranges (12 or 8 bits) and of errors (8 bits).
//!
//! A range code is a position 0..=M between `q_min` and `q_max` of the file. Codes are rounded
//! outward, so that the decoded range holds the true one; decoders clamp to it.

use crate::{Error, Result};

/// 2^(k/8) for k = 0..8, correctly rounded: the same on every machine, unlike `exp2`.
const ROOTS: [f64; 8] = [
    1.0,
    1.090_507_732_665_257_7,
    1.189_207_115_002_721,
    1.296_839_554_651_009_6,
    std::f64::consts::SQRT_2,
    1.542_210_825_407_940_7,
    1.681_792_830_507_429,
    1.834_008_086_409_342_4,
];

/// Converts between coded values and codes for the value range of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RangeCoder {
    q_min: i32,
    span: i64,
}

impl RangeCoder {
    /// A coder for a file whose coded values lie in `q_min..=q_max`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if `q_min > q_max`.
    pub fn new(q_min: i32, q_max: i32) -> Result<Self> {
        let span = i64::from(q_max) - i64::from(q_min);
        if span < 0 {
            return Err(Error::argument(format!("q_min {q_min} > q_max {q_max}")));
        }
        Ok(Self { q_min, span })
    }

    /// `q_max - q_min`.
    pub fn span(&self) -> i64 {
        self.span
    }

    /// Whether a code takes 8 bits (`span <= 255`) rather than 12.
    pub fn is_narrow(&self) -> bool {
        self.span <= 255
    }

    /// M: the number of steps between `q_min` and `q_max`.
    fn steps(&self) -> i64 {
        if self.is_narrow() { 255 } else { 4095 }
    }

    /// Largest code that a file may hold.
    pub fn max_code(&self) -> u16 {
        // At most 4095.
        self.span.min(self.steps()) as u16
    }

    /// Codes `[lo, hi]` of the smallest representable range that holds `lo..=hi`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if `lo..=hi` is empty or leaves the range of the file.
    pub fn encode(&self, lo: i32, hi: i32) -> Result<[u16; 2]> {
        let (d, e) = (self.distance(lo), self.distance(hi));
        if d < 0 || d > e || e > self.span {
            return Err(Error::argument(format!(
                "value range {lo}..={hi} is empty or leaves that of the file"
            )));
        }
        let m = self.steps();
        if self.span <= m {
            return Ok([d as u16, e as u16]);
        }
        let low = (((d + 1) * m - 1) / self.span).min(m);
        let high = if e == 0 {
            0
        } else {
            (e - 1) * m / self.span + 1
        };
        Ok([low.min(high) as u16, high as u16])
    }

    /// The range `(lo, hi)` of coded values that codes stand for.
    pub fn decode(&self, codes: [u16; 2]) -> (i32, i32) {
        let m = self.steps();
        let [lo, hi] = codes.map(i64::from);
        if self.span <= m {
            return (self.value(lo), self.value(hi));
        }
        let low = lo * self.span / m;
        let high = (hi * self.span + m - 1) / m;
        (self.value(low), self.value(high))
    }

    /// Whether codes obey the rules of the format.
    pub fn is_valid(&self, codes: [u16; 2]) -> bool {
        codes[0] <= codes[1] && codes[1] <= self.max_code()
    }

    /// The smallest code whose bound is not under `error` (in coded units).
    pub fn encode_error(&self, error: f64) -> u8 {
        if error <= 0.0 {
            return 0;
        }
        (1..255)
            .find(|&c| self.decode_error(c) >= error)
            .unwrap_or(255)
    }

    /// Upper bound, in coded units, of an error with this code: `span * 2^((code - 255) / 8)`,
    /// and exactly zero for code 0.
    pub fn decode_error(&self, code: u8) -> f64 {
        if code == 0 {
            return 0.0;
        }
        let eighths = i32::from(code) - 255;
        let power = f64::from_bits((1023 + i64::from(eighths.div_euclid(8))).unsigned_abs() << 52);
        self.span as f64 * power * ROOTS[eighths.rem_euclid(8) as usize]
    }

    fn distance(&self, q: i32) -> i64 {
        i64::from(q) - i64::from(self.q_min)
    }

    /// `d` is 0..=span, so the sum is a coded value again.
    fn value(&self, d: i64) -> i32 {
        (i64::from(self.q_min) + d.min(self.span)) as i32
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranges_round_outward(
            a in any::<i32>(), b in any::<i32>(), small in any::<bool>(), x in 0.0..=1.0f64, y in 0.0..=1.0f64
        ) {
            let (min, max) = if small { (a, a.saturating_add((b & 8191).abs())) } else { (a.min(b), a.max(b)) };
            let coder = RangeCoder::new(min, max).unwrap();
            let at = |t: f64| (f64::from(min) + t * coder.span() as f64) as i64;
            let clamp = |v: i64| v.clamp(i64::from(min), i64::from(max)) as i32;
            let (lo, hi) = (clamp(at(x.min(y))), clamp(at(x.max(y))));
            let codes = coder.encode(lo, hi).unwrap();
            prop_assert!(coder.is_valid(codes), "{codes:?}");
            let (l, h) = coder.decode(codes);
            prop_assert!(l <= lo && h >= hi && l >= min && h <= max);
            // No wider than one step on either side.
            let step = coder.span() / 4095 + 1;
            prop_assert!(coder.span() > 4095 || (l, h) == (lo, hi));
            prop_assert!(i64::from(lo) - i64::from(l) <= step && i64::from(h) - i64::from(hi) <= step);
        }

        #[test]
        fn errors_round_up(span in 1..=i32::MAX, share in 0.0..=1.0f64) {
            let coder = RangeCoder::new(0, span).unwrap();
            let error = share * f64::from(span);
            let code = coder.encode_error(error);
            prop_assert!(coder.decode_error(code) >= error);
            if code > 1 {
                prop_assert!(coder.decode_error(code - 1) < error);
            }
        }
    }

    #[test]
    fn error_codes_at_the_ends() {
        let coder = RangeCoder::new(-5, 250).unwrap();
        assert_eq!(coder.encode_error(0.0), 0);
        assert_eq!(coder.decode_error(255), 255.0);
        assert_eq!(coder.encode_error(1e9), 255);
        assert_eq!(coder.decode_error(247), 127.5);
        let zero = RangeCoder::new(7, 7).unwrap();
        assert_eq!(zero.decode_error(200), 0.0);
        assert!(RangeCoder::new(1, 0).is_err());
        assert!(coder.encode(-6, 0).is_err());
    }
}
