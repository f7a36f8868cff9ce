//! Maps of ranks: the distinct values of a volume that has few of them, in order, so that blocks can
//! store a voxel's place among them (specification, "Map of ranks").
//!
//! Owns the list, its bytes, and both ways between values and ranks. Knows nothing of blocks.

use super::{ValueMap, ordered, unordered};
use crate::volume::DType;
use crate::{Error, Result};

/// Most values of a list.
pub const MOST_RANKS: usize = 1 << 20;
/// Bytes before the gaps.
const HEAD: usize = 13;

/// The distinct values of a volume. A value's *key* is an unsigned number in the order of the values:
/// integers less the smallest of their type, and the ordered bits of float32.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranks {
    values: ValueMap,
    /// Rising strictly; not empty.
    keys: Vec<u32>,
    /// Coded value of each key.
    q: Vec<i32>,
}

impl Ranks {
    /// Kind of the record in the model section.
    pub const KIND: u8 = 3;

    /// The map of a list of keys that rises strictly, for a file whose coded values lie in
    /// `range.0..=range.1`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it has no value or too many, does not rise, or has a value that the file
    /// cannot have.
    pub fn new(values: ValueMap, range: (i32, i32), keys: Vec<u32>) -> Result<Self> {
        if keys.is_empty() || keys.len() > MOST_RANKS {
            return bad(format!("{} values, 1 to 2^20 are allowed", keys.len()));
        }
        if let Some(i) = keys.windows(2).position(|w| w[0] >= w[1]) {
            return bad(format!("value {} does not rise", i + 1));
        }
        let mut q = Vec::with_capacity(keys.len());
        for (rank, &key) in keys.iter().enumerate() {
            match coded(values, key).filter(|q| (range.0..=range.1).contains(q)) {
                Some(coded) => q.push(coded),
                None => return bad(format!("value {rank} is none that the file can have")),
            }
        }
        Ok(Self { values, keys, q })
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`Error::Corrupt`] as for [`Self::new`], and if the record ends early or has bytes left over.
    /// Takes memory for a gap only once its bits were read.
    pub fn from_bytes(values: ValueMap, range: (i32, i32), bytes: &[u8]) -> Result<Self> {
        let Some((head, gaps)) = bytes.split_first_chunk::<HEAD>() else {
            return bad(format!("{} bytes, at least {HEAD} are needed", bytes.len()));
        };
        let word = |i: usize| u32::from_le_bytes([head[i], head[i + 1], head[i + 2], head[i + 3]]);
        let (count, first, least, order) = (word(0), word(4), word(8), u32::from(head[12]));
        if count == 0 || count as usize > MOST_RANKS || order > 31 {
            return bad(format!("{count} values, gaps of order {order}"));
        }
        let mut bits = Bits { bytes: gaps, at: 0 };
        let mut keys = vec![first];
        let mut last = u64::from(first);
        for _ in 1..count {
            last += u64::from(least) + bits.gap(order)?;
            match u32::try_from(last) {
                Ok(key) => keys.push(key),
                Err(_) => return bad("a value is over 32 bits".into()),
            }
        }
        bits.end()?;
        Self::new(values, range, keys)
    }

    /// The record as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let gaps: Vec<u32> = self.keys.windows(2).map(|w| w[1] - w[0]).collect();
        let least = gaps.iter().copied().min().unwrap_or(1);
        let bits = |order: u32| -> u64 {
            let each = gaps.iter().map(|g| length(u64::from(g - least), order));
            each.sum()
        };
        let order = (0..32).min_by_key(|&k| bits(k)).unwrap_or(0);
        let mut out = Vec::with_capacity(HEAD + (bits(order) / 8) as usize + 1);
        for word in [self.keys.len() as u32, self.keys[0], least] {
            out.extend(word.to_le_bytes());
        }
        out.push(order as u8);
        let mut writer = Writer { out, free: 0 };
        gaps.iter()
            .for_each(|g| writer.gap(u64::from(g - least), order));
        writer.out
    }

    /// Number of values.
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// Coded value of a rank; the nearest rank's if there is none such.
    pub fn coded(&self, rank: i32) -> i32 {
        self.q[self.index(rank)]
    }

    /// Bits of the float32 value of a rank.
    pub fn float_bits(&self, rank: i32) -> i32 {
        unordered(self.keys[self.index(rank)]).cast_signed()
    }

    /// Value of a rank in units of `q`, not rounded.
    pub(crate) fn units(&self, rank: i32) -> f32 {
        if self.values.dtype.is_float() {
            let value = f32::from_bits(self.float_bits(rank).cast_unsigned());
            (f64::from(value) / self.values.unit()) as f32
        } else {
            self.coded(rank) as f32
        }
    }

    fn index(&self, rank: i32) -> usize {
        (rank.max(0) as usize).min(self.keys.len() - 1)
    }

    /// First and last rank whose coded values lie in `lo..=hi`, if there are any.
    pub fn within(&self, lo: i32, hi: i32) -> Option<(i32, i32)> {
        let first = self.q.partition_point(|&q| q < lo);
        let end = self.q.partition_point(|&q| q <= hi);
        (first < end).then(|| (first as i32, end as i32 - 1))
    }

    /// Whether the value of a rank is no other than that of its coded value.
    pub(crate) fn is_coded_exactly(&self, rank: i32) -> bool {
        !self.values.dtype.is_float()
            || self.values.float(self.coded(rank)).to_bits()
                == self.float_bits(rank).cast_unsigned()
    }

    /// Appends the rank of each little-endian voxel.
    ///
    /// # Errors
    /// [`Error::Input`] if the list lacks one.
    pub(crate) fn of_voxels(&self, bytes: &[u8], out: &mut Vec<f32>) -> Result<()> {
        let mut last = (self.keys[0], 0.0);
        for key in keys_of(self.values.dtype, bytes) {
            if key != last.0 {
                let found = self.keys.binary_search(&key);
                let rank = found
                    .map_err(|_| Error::Input("the volume changed while it was encoded".into()))?;
                last = (key, rank as f32);
            }
            out.push(last.1);
        }
        Ok(())
    }
}

/// Keys of little-endian voxels.
pub(crate) fn keys_of(dtype: DType, bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    bytes.chunks_exact(dtype.size()).map(move |b| match *b {
        [a] if dtype == DType::Uint8 => a.into(),
        [a] => u32::from(a ^ 0x80),
        [a, b] if dtype == DType::Uint16 => u16::from_le_bytes([a, b]).into(),
        [a, b] => u32::from(u16::from_le_bytes([a, b]) ^ 0x8000),
        [a, b, c, d] => ordered(u32::from_le_bytes([a, b, c, d])),
        _ => 0,
    })
}

/// The coded value of a key; `None` if no finite value of the type has it.
fn coded(values: ValueMap, key: u32) -> Option<i32> {
    let integer = |most: u32, least: i32| (key <= most).then(|| key.cast_signed() + least);
    match values.dtype {
        DType::Uint8 => integer(255, 0),
        DType::Int8 => integer(255, -128),
        DType::Uint16 => integer(65_535, 0),
        DType::Int16 => integer(65_535, -32_768),
        DType::Float32 => {
            // A division by a power of two, exact in f64.
            let units = f64::from(f32::from_bits(unordered(key))) / values.unit();
            units.is_finite().then(|| units.round_ties_even() as i32)
        }
    }
}

fn bad<T>(detail: String) -> Result<T> {
    Err(Error::corrupt("map of ranks", 0, detail))
}

/// Bits of an Exp-Golomb code of an order.
fn length(n: u64, order: u32) -> u64 {
    let top = u64::from(((n >> order) + 1).ilog2());
    2 * top + 1 + u64::from(order)
}

/// Bits from the lowest of the first byte on.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn bit(&mut self) -> Result<u64> {
        let Some(byte) = self.bytes.get(self.at / 8) else {
            return bad("its gaps end early".into());
        };
        let bit = byte >> (self.at % 8) & 1;
        self.at += 1;
        Ok(bit.into())
    }

    fn raw(&mut self, n: u32) -> Result<u64> {
        (0..n).try_fold(0, |sum, i| Ok(sum | self.bit()? << i))
    }

    fn gap(&mut self, order: u32) -> Result<u64> {
        let mut zeros = 0;
        while self.bit()? == 0 {
            zeros += 1;
            if zeros > 32 {
                return bad("a gap is over 32 bits".into());
            }
        }
        let high = (1 << zeros) - 1 + self.raw(zeros)?;
        Ok((high << order) + self.raw(order)?)
    }

    /// Nothing but zero bits of the last byte is left.
    fn end(mut self) -> Result<()> {
        let left = 8 * self.bytes.len() - self.at;
        if left >= 8 || self.raw(left as u32)? != 0 {
            return bad("bytes or bits are left over".into());
        }
        Ok(())
    }
}

struct Writer {
    out: Vec<u8>,
    /// Bits of the last byte that are free.
    free: u32,
}

impl Writer {
    fn raw(&mut self, value: u64, n: u32) {
        for i in 0..n {
            if self.free == 0 {
                self.out.push(0);
                self.free = 8;
            }
            if let Some(last) = self.out.last_mut() {
                *last |= ((value >> i & 1) as u8) << (8 - self.free);
            }
            self.free -= 1;
        }
    }

    fn gap(&mut self, n: u64, order: u32) {
        let high = (n >> order) + 1;
        let zeros = high.ilog2();
        self.raw(1 << zeros, zeros + 1);
        self.raw(high, zeros);
        self.raw(n, order);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const FLOATS: ValueMap = ValueMap {
        dtype: DType::Float32,
        exponent: -20,
    };
    const WORDS: ValueMap = ValueMap {
        dtype: DType::Int16,
        exponent: 0,
    };

    proptest! {
        /// Any list comes back, in as few bytes as promised, and ranks are in the order of values.
        #[test]
        fn lists_come_back(mut keys in proptest::collection::vec(any::<u16>(), 1..400)) {
            keys.sort_unstable();
            keys.dedup();
            let keys: Vec<u32> = keys.into_iter().map(u32::from).collect();
            let ranks = Ranks::new(WORDS, (-32_768, 32_767), keys.clone()).unwrap();
            let bytes = ranks.to_bytes();
            prop_assert!(bytes.len() <= HEAD + 2 * 17 * keys.len() / 8 + 1);
            prop_assert_eq!(&Ranks::from_bytes(WORDS, (-32_768, 32_767), &bytes).unwrap(), &ranks);
            for n in 0..bytes.len() {
                prop_assert!(Ranks::from_bytes(WORDS, (-32_768, 32_767), &bytes[..n]).is_err());
            }
            let (lo, hi) = (ranks.coded(0), ranks.coded(keys.len() as i32));
            prop_assert_eq!(ranks.within(lo, hi), Some((0, keys.len() as i32 - 1)));
            prop_assert_eq!(ranks.within(hi, lo), (lo == hi).then_some((0, 0)));
            let voxels: Vec<u8> = (0..keys.len() as i32)
                .flat_map(|r| (ranks.coded(r) as i16).to_le_bytes())
                .collect();
            let mut back = Vec::new();
            ranks.of_voxels(&voxels, &mut back).unwrap();
            prop_assert!((0..).zip(&back).all(|(i, &r)| r == i as f32));
        }
    }

    /// Multiples of 47.4 need two bits each.
    #[test]
    fn regular_lists_are_small() {
        let keys: Vec<u32> = (0..1231).map(|i| (f64::from(i) * 47.4) as u32).collect();
        let ranks = Ranks::new(WORDS, (-32_768, 32_767), keys).unwrap();
        assert!(ranks.to_bytes().len() < 400);
    }

    #[test]
    fn bad_lists_are_refused() {
        let refused = |bytes: &[u8], values: ValueMap, range: (i32, i32), text: &str| {
            let e = Ranks::from_bytes(values, range, bytes).unwrap_err();
            assert!(e.to_string().contains(text), "{e} / {text}");
        };
        let list = |count: u32, first: u32, least: u32, order: u8, gaps: &[u8]| {
            let mut b: Vec<u8> = [count, first, least]
                .iter()
                .flat_map(|w| w.to_le_bytes())
                .collect();
            b.push(order);
            b.extend(gaps);
            b
        };
        let all = (-32_768, 32_767);
        for (bytes, text) in [
            (list(3, 5, 0, 0, &[0b11]), "value 1 does not rise"),
            (list(0, 5, 1, 0, &[]), "0 values"),
            (list(1 << 21, 5, 1, 0, &[]), "2097152 values"),
            (list(2, 5, 1, 32, &[1]), "order 32"),
            (list(9, 5, 1, 0, &[255]), "bits are left over"),
            (list(10, 5, 1, 0, &[255]), "gaps end early"),
            (list(2, 5, 1, 0, &[1, 0]), "bits are left over"),
            (list(2, 5, 1, 0, &[3]), "bits are left over"),
            (list(2, 5, 1, 0, &[0; 9]), "over 32 bits"),
            (list(2, 5, u32::MAX, 0, &[1]), "over 32 bits"),
            (
                list(2, 65_535, 1, 0, &[1]),
                "value 1 is none that the file can have",
            ),
        ] {
            // 9 values need 8 bits: make that list right but for its length.
            let bytes = if bytes[0] == 9 {
                [bytes, vec![0]].concat()
            } else {
                bytes
            };
            refused(&bytes, WORDS, all, text);
        }
        refused(&list(1, 0, 1, 0, &[]), WORDS, (0, 9), "value 0 is none");
        refused(&[0; 12], WORDS, all, "12 bytes");
        let infinite = ordered(f32::INFINITY.to_bits());
        refused(
            &list(1, infinite, 1, 0, &[]),
            FLOATS,
            (-9, 9),
            "value 0 is none",
        );
    }
}
