//! The dense wavelet model: one dense grid level at voxel resolution whose weights are stored as
//! quantised CDF 9/7 coefficients, linear to the output (specification, "Model kind 1").

use byteorder::{ByteOrder, LittleEndian as Le};

use super::{Curve, Filter, Filters, Residual};
use crate::{Error, Result};

/// Width of the integers of the inverse transform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 16-bit working values, products `(a * c + 2^14) >> 15`.
    I16,
    /// 32-bit working values, products `(a * c + 2^30) >> 31`.
    I32,
}

/// How coefficients become bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Coder {
    /// Static tables, many lanes.
    #[default]
    R,
    /// Adaptive mixing of contexts, bit by bit: the fewest bytes.
    M,
}

/// Parameters of the dense wavelet model; one record serves all blocks that name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaveletModel {
    /// Entropy coder of the coefficients.
    pub coder: Coder,
    /// Width of the working values.
    pub precision: Precision,
    /// Fractional bits of the working values, -16..=24: `w = (q - centre) * 2^frac_bits`.
    pub frac_bits: i8,
    /// Quality indices stored, 1..=8. Each next one has a quarter of the step.
    pub qualities: u8,
    /// Step of the last quality index in the value domain, in 1/65536 of a working unit.
    pub step_q16: u64,
    /// How far a reconstructed coefficient of index 1 lies below its index, in 1/256 of a step.
    pub recon_one: u8,
    /// The same for indices over 1.
    pub recon_more: u8,
    /// What ends the last layer so that voxels keep a bound.
    pub residual: Residual,
    /// Whether the first layer begins with a mask of non-finite voxels.
    pub mask: bool,
    /// What makes voxels of working values; `None`: they are proportional.
    pub curve: Option<Curve>,
    /// Whether integers come back exactly: every band has a step of one working unit, and no gain
    /// is applied between splits.
    pub reversible: bool,
    /// What decoded voxels take over from their neighbours, at full resolution.
    pub filters: Option<Filters>,
    /// Whether the integers are ranks in the file's map.
    pub ranks: bool,
}

impl WaveletModel {
    /// Kind of the record in the model section.
    pub const KIND: u8 = 1;
    /// Bytes of the record without a curve, filters and a step of the residual.
    pub const BYTES: usize = 16;
    /// Flag of a curve.
    const CURVE: u8 = 1 << 2;
    /// Flag of a reversible transform.
    const REVERSIBLE: u8 = 1 << 5;
    /// Flag of filters.
    const FILTERS: u8 = 1 << 6;
    /// Flag of ranks.
    const RANKS: u8 = 1 << 7;

    /// The same with a step `factor` times as large, within what a record can say.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        let step_q16 = ((self.step_q16 as f64 * factor).round() as u64).clamp(1, 1 << 48);
        Self { step_q16, ..self }
    }

    /// Value of a working unit, at most, in units of `q`.
    pub fn unit(&self) -> f64 {
        match &self.curve {
            Some(curve) => curve.steepest(),
            None => (-f64::from(self.frac_bits)).exp2(),
        }
    }

    /// Whether a filter can work on values of its curve.
    pub(crate) fn has_room_for_filters(&self) -> bool {
        (self.curve.as_ref()).is_none_or(|c| c.has_room_for(self.frac_bits))
    }

    /// The record as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut b = vec![0; Self::BYTES];
        b[0] = self.coder as u8;
        b[1] = u8::from(self.precision == Precision::I32);
        b[2] = self.frac_bits.to_le_bytes()[0];
        b[3] = self.qualities;
        b[4] = self.recon_one;
        b[5] = self.recon_more;
        b[6] = self.residual.flags()
            | u8::from(self.mask) << 1
            | u8::from(self.curve.is_some()) << 2
            | u8::from(self.reversible) << 5
            | u8::from(self.filters.is_some()) << 6
            | u8::from(self.ranks) << 7;
        Le::write_u64(&mut b[8..16], self.step_q16);
        b.extend(self.curve.iter().flat_map(Curve::to_bytes));
        b.extend(self.filters.iter().flat_map(|f| f.to_bytes(self.qualities)));
        b.extend(self.residual.tail().into_iter().flatten());
        b
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a field is out of range, [`Error::Unsupported`] for another coder.
    pub fn from_bytes(b: &[u8]) -> Result<Self> {
        let bad = |detail: String| Error::corrupt("model record", 0, detail);
        let flags = b.get(6).copied().unwrap_or(0);
        let (residual, b) = Residual::read(flags, b)?;
        let with = |flag, bytes| if flags & flag == 0 { 0 } else { bytes };
        let qualities = b.get(3).copied().unwrap_or(0);
        let curve_end = Self::BYTES + with(Self::CURVE, Curve::BYTES);
        let needed = curve_end + with(Self::FILTERS, Filter::BYTES * usize::from(qualities));
        if b.len() != needed {
            return Err(bad(format!("{} bytes, {needed} are needed", b.len())));
        }
        let coder = match b[0] {
            0 => Coder::R,
            1 => Coder::M,
            other => {
                return Err(Error::Unsupported(format!(
                    "entropy coder {other} of a newer version"
                )));
            }
        };
        let model = Self {
            coder,
            precision: match b[1] {
                0 => Precision::I16,
                1 => Precision::I32,
                p => return Err(bad(format!("precision {p}, 0 or 1 is allowed"))),
            },
            frac_bits: i8::from_le_bytes([b[2]]),
            qualities: b[3],
            recon_one: b[4],
            recon_more: b[5],
            residual,
            mask: b[6] & 2 != 0,
            step_q16: Le::read_u64(&b[8..16]),
            curve: match &b[Self::BYTES..curve_end] {
                [] => None,
                curve => Some(Curve::from_bytes(curve)?),
            },
            reversible: flags & Self::REVERSIBLE != 0,
            filters: match &b[curve_end..] {
                [] => None,
                filters => Some(Filters::from_bytes(filters)?),
            },
            ranks: flags & Self::RANKS != 0,
        };
        let known =
            Residual::FLAGS | Self::CURVE | Self::REVERSIBLE | Self::FILTERS | Self::RANKS | 2;
        if flags & !known != 0 || b[7] != 0 {
            return Err(bad("reserved bits are set".into()));
        }
        if !(-16..=24).contains(&model.frac_bits) || !(1..=8).contains(&model.qualities) {
            return Err(bad(format!(
                "{} fractional bits or {} qualities",
                model.frac_bits, model.qualities
            )));
        }
        if model.step_q16 == 0
            || model.step_q16 > 1 << 48
            || model.recon_one > 127
            || model.recon_more > 127
        {
            return Err(bad("step or reconstruction point out of range".into()));
        }
        if model.filters.is_some() && !model.has_room_for_filters() {
            return Err(bad("filters in finer units than the curve has".into()));
        }
        let beside = !(Self::RANKS | Self::REVERSIBLE | Residual::Step(1).flags());
        if model.ranks && flags & beside != 0 {
            return Err(bad(
                "ranks with a mask, a curve, filters or another residual".into(),
            ));
        }
        let plain = model.frac_bits == 0 && model.step_q16 == 1 << 16;
        if model.reversible && !(plain && flags & (Self::CURVE | Self::FILTERS) == 0) {
            return Err(bad(
                "a reversible transform with fractional bits, another step than 1, a curve or \
                 filters"
                    .into(),
            ));
        }
        Ok(model)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn records_keep_their_coder_and_newer_ones_are_refused() {
        let mut record = [0, 0, 3, 1, 8, 5, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0];
        for coder in [Coder::R, Coder::M] {
            record[0] = coder as u8;
            let model = WaveletModel::from_bytes(&record).unwrap();
            assert_eq!((model.coder, model.to_bytes()), (coder, record.to_vec()));
        }
        record[0] = 2;
        let error = WaveletModel::from_bytes(&record).unwrap_err();
        assert!(matches!(error, Error::Unsupported(_)), "{error}");
    }
}
