//! From what is asked for to what every block does: layers, models, steps.

use crate::backend::LayerStep;
use crate::format::model::ModelRecord;
use crate::model::{Precision, WaveletModel};
use crate::{Error, Result};

/// Layers of a file with `levels` quality levels: coarse bands first, then refinements.
pub(crate) fn layer_steps(levels: u8) -> Vec<LayerStep> {
    let coarse = [2, 1].map(|lod| LayerStep { lod, quality: 0 });
    coarse
        .into_iter()
        .chain((0..levels).map(|quality| LayerStep { lod: 0, quality }))
        .collect()
}

/// Half the range of values, in working units, that 16-bit arithmetic has room for: the gain of
/// a merge (1.86), the sum of two neighbours (2) and overshoot (2.1) stay under 32768.
const NARROW_HALF_RANGE: f64 = 4096.0;
/// The same for 32 bits, leaving room for coefficient sums.
const WIDE_HALF_RANGE: f64 = (1u64 << 26) as f64;
/// Rounding inside the 16-bit transform has an RMS of about this many working units; steps over
/// `NARROW_MIN_STEP` of them make it invisible.
const NARROW_MIN_STEP: f64 = 8.0;

/// The model of a volume whose integers span `q_min..=q_max`, and its 32-bit twin for blocks that
/// overflow it. `step` is in units of `q`.
pub(crate) fn wavelet_models(
    q_min: i32,
    q_max: i32,
    step: f64,
    levels: u8,
    lossless: bool,
) -> (WaveletModel, WaveletModel) {
    let half = ((f64::from(q_max) - f64::from(q_min)) / 2.0).max(1.0);
    let bits = |room: f64| (room / half).log2().floor().clamp(-16.0, 24.0) as i8;
    let model = |precision, frac_bits: i8| WaveletModel {
        precision,
        frac_bits,
        qualities: levels,
        step_q16: ((step * f64::from(frac_bits).exp2() * 65_536.0).round() as u64)
            .clamp(1, 1 << 48),
        recon_one: 8,
        recon_more: 5,
        lossless,
        mask: false,
    };
    let wide = model(Precision::I32, bits(WIDE_HALF_RANGE).min(12));
    let narrow_bits = bits(NARROW_HALF_RANGE);
    let fine_enough = step * f64::from(narrow_bits).exp2() >= NARROW_MIN_STEP;
    (
        if fine_enough {
            model(Precision::I16, narrow_bits)
        } else {
            wide
        },
        wide,
    )
}

/// The models of a file: one for the volume, one for its overview tiers, each with a 32-bit twin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Models {
    volume: (WaveletModel, WaveletModel),
    overview: (WaveletModel, WaveletModel),
    /// Whether blocks with a mask may occur; they have models of their own.
    masked: bool,
}

impl Models {
    /// Models for a step in units of `q`. Overviews are never lossless.
    pub(crate) fn new(
        q_min: i32,
        q_max: i32,
        step: f64,
        levels: u8,
        lossless: bool,
        masked: bool,
    ) -> Self {
        Self {
            masked,
            volume: wavelet_models(q_min, q_max, step, levels, lossless),
            overview: wavelet_models(q_min, q_max, step, levels, false),
        }
    }

    /// The models of a file that was written before.
    ///
    /// # Errors
    /// As reading the records; [`Error::Unsupported`] if there is none for overviews.
    pub(crate) fn from_records(records: &[ModelRecord]) -> Result<Self> {
        let list: Vec<WaveletModel> = crate::decode::parse_models(records)?
            .into_values()
            .collect();
        let masked = list.iter().any(|m| m.mask);
        let list: Vec<WaveletModel> = list.into_iter().filter(|m| !m.mask).collect();
        let find = |lossless| {
            let first = list.iter().find(|m| m.lossless == lossless);
            let wide = list
                .iter()
                .find(|m| m.lossless == lossless && m.precision == Precision::I32);
            first.map(|m| (*m, *wide.unwrap_or(m)))
        };
        let overview = find(false)
            .ok_or_else(|| Error::Unsupported("the file has no model for overviews".into()))?;
        Ok(Self {
            volume: find(true).unwrap_or(overview),
            overview,
            masked,
        })
    }

    /// Model and 32-bit twin of a tier.
    pub(crate) fn of_tier(&self, tier: u8) -> (WaveletModel, WaveletModel) {
        if tier == 0 {
            self.volume
        } else {
            self.overview
        }
    }

    /// The distinct models in order of their ids.
    fn list(&self) -> Vec<WaveletModel> {
        let mut list: Vec<WaveletModel> = Vec::new();
        for model in [
            self.volume.0,
            self.volume.1,
            self.overview.0,
            self.overview.1,
        ] {
            if !list.contains(&model) {
                list.push(model);
            }
        }
        if self.masked {
            let masked: Vec<_> = list
                .iter()
                .map(|m| WaveletModel { mask: true, ..*m })
                .collect();
            list.extend(masked);
        }
        list
    }

    /// Records for the file.
    pub(crate) fn records(&self) -> Vec<ModelRecord> {
        let record = |(id, m): (usize, &WaveletModel)| ModelRecord {
            id: id as u16,
            kind: WaveletModel::KIND,
            payload: m.to_bytes().to_vec(),
        };
        self.list().iter().enumerate().map(record).collect()
    }

    /// Whether blocks with a mask may occur.
    pub(crate) fn masked(&self) -> bool {
        self.masked
    }

    /// Id of the model, or of its 32-bit twin, that a tier uses for blocks with or without a mask.
    pub(crate) fn id(&self, tier: u8, wide: bool, mask: bool) -> u16 {
        let (model, twin) = self.of_tier(tier);
        let wanted = WaveletModel {
            mask,
            ..if wide { twin } else { model }
        };
        self.list().iter().position(|m| *m == wanted).unwrap_or(0) as u16
    }
}
