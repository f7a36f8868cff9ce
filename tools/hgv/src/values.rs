//! Values of command line options: sizes, regions, triples, shards and checked ranges.
//!
//! Owns the words that a person types and what they mean; knows nothing of files or codecs.
//! Every parser returns a message that says what was expected.

use std::str::FromStr;

use hgv::encode::FirstGuess;
use hgv::volume::{DType, Extent, Region};

use crate::backend_api::{Endian, NumberType};

/// Parses a voxel type word such as `uint8` or `f32`.
pub(crate) fn dtype(word: &str) -> Result<DType, String> {
    DType::parse(word).ok_or_else(|| {
        let known: Vec<_> = DType::ALL.iter().map(|d| d.name()).collect();
        format!(
            "not a supported voxel type; use one of {} (u8 i8 u16 i16 f32 are short for them)",
            known.join(", ")
        )
    })
}

/// Parses where a search starts.
pub(crate) fn first_guess(word: &str) -> Result<FirstGuess, String> {
    match (word, word.parse()) {
        ("predicted", _) => Ok(FirstGuess::Predicted),
        ("survey", _) => Ok(FirstGuess::Survey),
        (_, Ok(exponent)) if (-4.0..=32.0).contains(&exponent) => {
            Ok(FirstGuess::Exponent(exponent))
        }
        _ => Err("expected predicted, survey or log2(range / step)".into()),
    }
}

/// Parses the type of the numbers in a raw file, which may be more than the voxel types.
pub(crate) fn raw_type(word: &str) -> Result<NumberType, String> {
    NumberType::parse(word)
        .ok_or_else(|| "expected a type such as uint8, int16 or float32 (u8, i16, f32)".into())
}

/// Parses a byte order.
pub(crate) fn endian(word: &str) -> Result<Endian, String> {
    Endian::parse(word).ok_or_else(|| "use le (little endian) or be (big endian)".into())
}

/// Parses three positive axis lengths `X,Y,Z`.
pub(crate) fn shape(text: &str) -> Result<[u64; 3], String> {
    let axes = list::<u64, 3>(text, "X,Y,Z in voxels, such as 256,256,128")?;
    match axes.iter().position(|&n| n == 0) {
        Some(a) => Err(format!("the {} axis has no voxels", axis_name(a))),
        None => Ok(axes),
    }
}

/// Parses three positive voxel distances `X,Y,Z`.
pub(crate) fn spacing(text: &str) -> Result<[f64; 3], String> {
    let axes = list::<f64, 3>(text, "X,Y,Z, such as 0.5,0.5,1.2")?;
    if axes.iter().all(|s| s.is_finite() && *s > 0.0) {
        Ok(axes)
    } else {
        Err("each spacing must be a number over 0".into())
    }
}

/// SSIM targets at levels of detail 0 to 3.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SsimTarget(pub(crate) [f64; 4]);

impl FromStr for SsimTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let values = list::<f64, 4>(text, "S0,S1,S2,S3, such as 0.98,0.99,0.99,0.99")?;
        if values.iter().all(|s| (0.0..=1.0).contains(s)) {
            Ok(Self(values))
        } else {
            Err("each SSIM must be between 0 and 1".into())
        }
    }
}

/// Parses a number of bytes: `20000000`, `20M` and `20MB` (powers of 1000), `20MiB` (powers of 1024).
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    const EXPECTED: &str =
        "expected a size such as 20000000, 20M (= 20,000,000) or 20MiB (= 20 x 1,048,576)";
    let trimmed = text.trim();
    let split = trimmed
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(trimmed.len());
    let (digits, suffix) = trimmed.split_at(split);
    let unit = unit_bytes(suffix.trim()).ok_or(EXPECTED)?;
    let size = match digits.parse::<u64>() {
        Ok(n) => n.checked_mul(unit).ok_or("the size is too large")?,
        Err(_) => fractional_bytes(digits, unit).ok_or(EXPECTED)?,
    };
    if size == 0 {
        return Err("the size must be over 0".into());
    }
    Ok(size)
}

fn fractional_bytes(digits: &str, unit: u64) -> Option<u64> {
    let size = (digits.parse::<f64>().ok()? * unit as f64).round();
    (size < u64::MAX as f64).then_some(size as u64)
}

fn unit_bytes(suffix: &str) -> Option<u64> {
    let lower = suffix.to_ascii_lowercase();
    if lower.is_empty() || lower == "b" {
        return Some(1);
    }
    let power = "kmgt".find(lower.chars().next()?)? as u32 + 1;
    match &lower[1..] {
        "" | "b" => Some(1000u64.pow(power)),
        "ib" => Some(1024u64.pow(power)),
        _ => None,
    }
}

/// A box as typed: a missing side means the border of the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RegionArg([(Option<u64>, Option<u64>); 3]);

impl FromStr for RegionArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected X0:X1,Y0:Y1,Z0:Z1, half open, such as 0:64,:,128: (an empty side is the border)";
        let mut axes = [(None, None); 3];
        let mut parts = text.split(',');
        for axis in &mut axes {
            let (from, to) = parts
                .next()
                .and_then(|p| p.split_once(':'))
                .ok_or(EXPECTED)?;
            *axis = (side(from).ok_or(EXPECTED)?, side(to).ok_or(EXPECTED)?);
        }
        match parts.next() {
            None => Ok(Self(axes)),
            Some(_) => Err(EXPECTED.into()),
        }
    }
}

/// `Some(None)` for an empty side, `None` for something that is no number.
fn side(text: &str) -> Option<Option<u64>> {
    match text.trim() {
        "" => Some(None),
        digits => digits.parse().ok().map(Some),
    }
}

impl RegionArg {
    /// The box within a volume of this extent.
    ///
    /// # Errors
    /// [`hgv::Error::InvalidArgument`] if it is empty or reaches over the border.
    pub(crate) fn within(&self, extent: Extent) -> hgv::Result<Region> {
        let start = self.0.map(|(from, _)| from.unwrap_or(0));
        let end = [0, 1, 2].map(|a| self.0[a].1.unwrap_or(extent[a]));
        for a in 0..3 {
            if end[a] > extent[a] {
                return Err(hgv::Error::argument(format!(
                    "region {}:{} reaches over the {} axis, which has {} voxels; see `--region` in --help",
                    start[a],
                    end[a],
                    axis_name(a),
                    extent[a]
                )));
            }
        }
        Region::new(start, end)
    }
}

/// One part of several: `I/N` with `I` counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shard {
    /// Which part, from 0.
    pub(crate) index: u32,
    /// How many parts.
    pub(crate) count: u32,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (index, count) = text
            .split_once('/')
            .and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)))
            .ok_or("expected I/N, such as 0/4 for the first of four parts")?;
        if index >= count {
            return Err(format!("parts are counted from 0: I must be under {count}"));
        }
        Ok(Self { index, count })
    }
}

/// Parses a quality of 0 to 100.
pub(crate) fn quality(text: &str) -> Result<f64, String> {
    number(text)
        .filter(|q| (0.0..=100.0).contains(q))
        .ok_or_else(|| "expected a number between 0 and 100".into())
}

/// Parses the side of a block.
pub(crate) fn block(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(side @ (32 | 64 | 128)) => Ok(side),
        _ => Err("use 32, 64 or 128".into()),
    }
}

/// Parses a place or direction.
pub(crate) fn point(text: &str) -> Result<[f32; 3], String> {
    let numbers = list::<f32, 3>(text, "X,Y,Z, such as 100,-50,20.5")?;
    if numbers.iter().all(|n| n.is_finite()) {
        Ok(numbers)
    } else {
        Err("coordinates must be finite".into())
    }
}

/// Parses a finite number over 0.
pub(crate) fn positive(text: &str) -> Result<f64, String> {
    number(text)
        .filter(|v| *v > 0.0)
        .ok_or_else(|| "expected a number over 0".into())
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|v| v.is_finite())
}

fn list<T: FromStr, const N: usize>(text: &str, expected: &str) -> Result<[T; N], String> {
    let parsed: Option<Vec<T>> = text.split(',').map(|p| p.trim().parse().ok()).collect();
    parsed
        .and_then(|values| <[T; N]>::try_from(values).ok())
        .ok_or_else(|| format!("expected {expected}"))
}

fn axis_name(axis: usize) -> &'static str {
    ["x", "y", "z"][axis]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sizes_take_decimal_and_binary_suffixes() {
        for (text, size) in [
            ("1", 1),
            ("20M", 20_000_000),
            ("20MB", 20_000_000),
            ("20MiB", 20 << 20),
            ("768mib", 768 << 20),
            ("1.5G", 1_500_000_000),
            ("2k", 2000),
            ("3TiB", 3 << 40),
            ("7b", 7),
        ] {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for text in [
            "",
            "M",
            "0",
            "-1",
            "1.2.3",
            "20X",
            "20MiBB",
            "99999999999T",
            "1e3",
            "µ",
        ] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn regions_are_half_open_and_empty_sides_are_the_border() {
        let region = "2:5,:,7:".parse::<RegionArg>().unwrap();
        let found = region.within([10, 20, 30]).unwrap();
        assert_eq!((found.start, found.end), ([2, 0, 7], [5, 20, 30]));
        for text in [
            "",
            "1:2",
            "1:2,3:4",
            "1:2,3:4,5:6,7:8",
            "a:2,:,:",
            "1-2,:,:",
            "-1:2,:,:",
        ] {
            assert!(text.parse::<RegionArg>().is_err(), "{text}");
        }
        for text in ["5:5,:,:", "6:5,:,:", "0:11,:,:", ":,:,30:"] {
            let region = text.parse::<RegionArg>().unwrap();
            assert!(region.within([10, 20, 30]).is_err(), "{text}");
        }
    }

    #[test]
    fn shards_count_from_zero() {
        assert_eq!("0/4".parse(), Ok(Shard { index: 0, count: 4 }));
        assert_eq!("3/4".parse(), Ok(Shard { index: 3, count: 4 }));
        for text in ["4/4", "0/0", "1", "a/b", "-1/4", "1/2/3"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }

    #[test]
    fn ranges_are_checked() {
        assert!(quality("0").is_ok() && quality("100").is_ok());
        assert!(quality("100.1").is_err() && quality("-1").is_err() && quality("nan").is_err());
        assert!(positive("0").is_err() && positive("inf").is_err() && positive("1e-9").is_ok());
        assert!("1,1,1,1".parse::<SsimTarget>().is_ok());
        assert!("1,1,1".parse::<SsimTarget>().is_err());
        assert!("1,1,1,1.1".parse::<SsimTarget>().is_err());
        assert!(shape("1,2,3").is_ok() && shape("1,0,3").is_err() && shape("1,2").is_err());
        assert!(spacing("0.5,1,2").is_ok() && spacing("0,1,2").is_err());
        assert_eq!(dtype("i16"), Ok(DType::Int16));
        assert!(dtype("int32").is_err());
    }
}
