//! Binary range coder of coder M (specification, "Binary range coder").

use crate::{Error, Result};

/// Probability of a bit that nothing is known of.
pub(super) const EVEN: u32 = 1 << 15;

/// Codes one bit whose probability of being 1 is `one / 65536`, `0 < one < 65536`.
///
/// Encoders are handed the bit and hand it back; decoders ignore what they are handed.
pub(crate) trait Bits {
    /// Whether the traversal must work out the bits (encoders) or not (decoders).
    const ENCODES: bool;
    /// One bit.
    fn bit(&mut self, one: u32, bit: bool) -> bool;
}

/// The interval `low..=high` that numbers still lie in.
#[derive(Debug, Clone, Copy)]
struct Interval {
    low: u32,
    high: u32,
}

const WHOLE: Interval = Interval {
    low: 0,
    high: u32::MAX,
};

impl Interval {
    /// Last number of the part that stands for 1.
    #[inline(always)]
    fn split(self, one: u32) -> u32 {
        let range = u64::from(self.high - self.low);
        self.low + ((range * u64::from(one)) >> 16) as u32
    }

    /// Keeps the part of a bit.
    #[inline(always)]
    fn keep(&mut self, split: u32, bit: bool) {
        if bit {
            self.high = split;
        } else {
            self.low = split + 1;
        }
    }

    /// Whether the first byte of all numbers is the same.
    #[inline(always)]
    fn settled(self) -> bool {
        (self.low ^ self.high) >> 24 == 0
    }

    /// Forgets the first byte.
    #[inline(always)]
    fn shift(&mut self) {
        self.low <<= 8;
        self.high = self.high << 8 | 255;
    }

    /// The fewest bytes that, with zeros after them, lie in the interval; `before` bytes are
    /// written already, and a stream has at least one.
    fn tail(self, before: usize) -> Vec<u8> {
        for bytes in 0..4 {
            let unit = 1u64 << (32 - 8 * bytes);
            let number = u64::from(self.low).div_ceil(unit) * unit;
            if number <= u64::from(self.high) && before + bytes > 0 {
                return (number as u32).to_be_bytes()[..bytes].to_vec();
            }
        }
        self.low.to_be_bytes().to_vec()
    }
}

/// Writes bits.
#[derive(Debug)]
pub(super) struct Encoder {
    interval: Interval,
    bytes: Vec<u8>,
}

impl Encoder {
    pub(super) fn new() -> Self {
        Self {
            interval: WHOLE,
            bytes: Vec::new(),
        }
    }

    /// The finished stream.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let tail = self.interval.tail(self.bytes.len());
        self.bytes.extend(tail);
        self.bytes
    }
}

impl Bits for Encoder {
    const ENCODES: bool = true;

    #[inline]
    fn bit(&mut self, one: u32, bit: bool) -> bool {
        let split = self.interval.split(one);
        self.interval.keep(split, bit);
        while self.interval.settled() {
            self.bytes.push((self.interval.low >> 24) as u8);
            self.interval.shift();
        }
        bit
    }
}

/// Reads bits. Past the end of the stream there are zeros.
#[derive(Debug)]
pub(super) struct Decoder<'a> {
    interval: Interval,
    code: u32,
    bytes: &'a [u8],
    /// Bytes of the stream that have left `code`.
    done: usize,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let mut first = [0; 4];
        let n = bytes.len().min(4);
        first[..n].copy_from_slice(&bytes[..n]);
        Self {
            interval: WHOLE,
            code: u32::from_be_bytes(first),
            bytes,
            done: 0,
        }
    }

    /// Checks that the stream is exactly what an encoder writes: no byte missing, none left over.
    pub(super) fn finish(self) -> Result<()> {
        let tail = self.interval.tail(self.done);
        if self.bytes.get(self.done..) == Some(&tail[..]) {
            Ok(())
        } else {
            Err(Error::corrupt(
                "layer",
                0,
                "its bytes end elsewhere than its symbols",
            ))
        }
    }
}

impl Bits for Decoder<'_> {
    const ENCODES: bool = false;

    #[inline(always)]
    fn bit(&mut self, one: u32, _bit: bool) -> bool {
        let split = self.interval.split(one);
        let bit = self.code <= split;
        self.interval.keep(split, bit);
        while self.interval.settled() {
            self.interval.shift();
            let next = self.bytes.get(self.done + 4).copied().unwrap_or(0);
            self.code = self.code << 8 | u32::from(next);
            self.done += 1;
        }
        bit
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn encode(bits: &[(u32, bool)]) -> Vec<u8> {
        let mut encoder = Encoder::new();
        for &(one, bit) in bits {
            encoder.bit(one, bit);
        }
        encoder.finish()
    }

    fn decodes(bits: &[(u32, bool)], bytes: &[u8]) -> bool {
        let mut decoder = Decoder::new(bytes);
        bits.iter()
            .all(|&(one, bit)| decoder.bit(one, false) == bit)
            && decoder.finish().is_ok()
    }

    proptest! {
        #[test]
        fn bits_come_back_and_only_from_their_own_bytes(
            bits in proptest::collection::vec(
                (prop_oneof![1u32..65_536, 1u32..40, 65_500u32..65_536], any::<bool>()), 1..300),
            noise in any::<u8>(),
        ) {
            let bytes = encode(&bits);
            prop_assert!(decodes(&bits, &bytes));
            prop_assert!(!decodes(&bits, &[&bytes[..], &[noise]].concat()));
            prop_assert!(!decodes(&bits, &bytes[..bytes.len() - 1]));
        }
    }
}
