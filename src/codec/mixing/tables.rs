//! Trained start of coder M (specification, "Tables of coder M"; normative file
//! `format-spec/tables/coder-m.bin`).

use std::sync::LazyLock;

use byteorder::{ByteOrder, LittleEndian as Le};

use super::layout::{CLASSES, SLOTS, WEIGHTS};
use crate::{Error, Result};

static FILE: &[u8] = include_bytes!("../../../format-spec/tables/coder-m.bin");

/// Entries of `stretch` and `squash`.
pub const CURVE: usize = 4096;
/// What the expected magnitude of a coefficient is a sum of.
pub const MAGNITUDE_TERMS: usize = 20;
/// What the signed prediction of a coefficient is a sum of.
pub const SIGN_TERMS: usize = 35;
/// Kinds of coefficients with weights of their own: fresh or refining, band, depth.
pub const KINDS: usize = 2 * CLASSES;

/// The trained numbers.
#[derive(Debug, Clone)]
pub struct Tables {
    /// `ln(p / (1 - p)) * 256` of the probability `(i + 1/2) / 4096`.
    pub stretch: Vec<i16>,
    /// Its inverse: `65536 / (1 + exp(-x / 256))` of `x = i - 2048`.
    pub squash: Vec<u16>,
    /// Weights of the expected magnitude, in 1/256.
    pub magnitude: Vec<[u8; MAGNITUDE_TERMS]>,
    /// Weights of the signed prediction, in 1/256.
    pub sign: Vec<[i8; SIGN_TERMS]>,
    /// Probability of a 1 in each slot at the start of a block, in 1/65536.
    pub probabilities: Vec<u16>,
    /// How many bits each of them is worth.
    pub counts: Vec<u8>,
    /// Mixing weights at the start of a block, in 1/65536.
    pub weights: Vec<i32>,
}

const MAGIC: &[u8; 4] = b"HGVM";
const BYTES: usize =
    4 + CURVE * 4 + KINDS * (MAGNITUDE_TERMS + SIGN_TERMS) + SLOTS * 3 + WEIGHTS * 4;

impl Tables {
    /// Reads the table file.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it is not one.
    pub fn parse(file: &[u8]) -> Result<Self> {
        if file.len() != BYTES || !file.starts_with(MAGIC) {
            return Err(Error::corrupt("coder tables", 0, "another version"));
        }
        let mut rest = &file[MAGIC.len()..];
        let mut take = |bytes: usize| {
            let (part, after) = rest.split_at(bytes);
            rest = after;
            part
        };
        let words = |part: &[u8]| part.chunks_exact(2).map(Le::read_u16).collect::<Vec<_>>();
        let tables = Self {
            stretch: words(take(2 * CURVE)).iter().map(|&v| v as i16).collect(),
            squash: words(take(2 * CURVE)),
            magnitude: take(KINDS * MAGNITUDE_TERMS)
                .chunks_exact(MAGNITUDE_TERMS)
                .map(|row| std::array::from_fn(|i| row[i]))
                .collect(),
            sign: take(KINDS * SIGN_TERMS)
                .chunks_exact(SIGN_TERMS)
                .map(|row| std::array::from_fn(|i| row[i] as i8))
                .collect(),
            probabilities: words(take(2 * SLOTS)),
            counts: take(SLOTS).to_vec(),
            weights: take(4 * WEIGHTS)
                .chunks_exact(4)
                .map(Le::read_i32)
                .collect(),
        };
        Ok(tables)
    }

    /// The table file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(self.stretch.iter().flat_map(|v| v.to_le_bytes()));
        out.extend(self.squash.iter().flat_map(|v| v.to_le_bytes()));
        out.extend(self.magnitude.iter().flatten());
        out.extend(self.sign.iter().flatten().map(|&v| v as u8));
        out.extend(self.probabilities.iter().flat_map(|v| v.to_le_bytes()));
        out.extend(&self.counts);
        out.extend(self.weights.iter().flat_map(|v| v.to_le_bytes()));
        out
    }
}

/// The built-in tables.
///
/// # Errors
/// [`Error::Corrupt`] if the crate was built with a damaged table file.
pub fn tables() -> Result<&'static Tables> {
    static TABLES: LazyLock<Option<Tables>> = LazyLock::new(|| Tables::parse(FILE).ok());
    TABLES
        .as_ref()
        .ok_or_else(|| Error::corrupt("coder tables", 0, "the built-in table file is damaged"))
}
