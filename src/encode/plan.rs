//! From what is asked for to what every block does: layers, models, steps.

use super::curve::CurveShape;
use super::filter::FilterShape;
use super::options::Preset;
use crate::backend::LayerStep;
use crate::format::model::ModelRecord;
use crate::model::{
    BlockModel, Coder, GridModel, Precision, Ranks, Residual, SEGMENTS, WaveletModel,
};
use crate::{Error, Result};

/// Layers of a file with `levels` quality levels: coarse bands first, then refinements.
pub(crate) fn layer_steps(levels: u8) -> Vec<LayerStep> {
    let coarse = [2, 1].map(|lod| LayerStep { lod, quality: 0 });
    coarse
        .into_iter()
        .chain((0..levels).map(|quality| LayerStep { lod: 0, quality }))
        .collect()
}

/// Slope of distortion over rate of a uniform quantiser of step 1 at high rate, where a bit less
/// makes four times the error `1/12`: `2 ln 2 / 12`.
const LAMBDA: f64 = 0.1155;

/// Squared error that a bit is worth at a step, in the square of its units.
pub(crate) fn lambda(step: f64) -> f64 {
    LAMBDA * step * step
}

/// The entropy coder of a preset.
pub(crate) fn coder(preset: Preset) -> Coder {
    match preset {
        Preset::Best => Coder::M,
        Preset::Fast | Preset::Balanced => Coder::R,
    }
}

/// Half the range of values, in working units, that 16-bit arithmetic has room for: the gain of
/// a merge (1.86), the sum of two neighbours (2) and overshoot (2.1) stay under 32768.
const NARROW_HALF_RANGE: f64 = 4096.0;
/// The same for a reversible transform, whose low-pass values grow by up to 1.86 a split.
const EXACT_HALF_RANGE: f64 = 1024.0;
/// The same for 32 bits, leaving room for coefficient sums.
const WIDE_HALF_RANGE: f64 = (1u64 << 26) as f64;
/// Rounding inside the 16-bit transform has an RMS of about this many working units; steps over
/// `NARROW_MIN_STEP` of them make it invisible.
const NARROW_MIN_STEP: f64 = 8.0;

/// What wavelet models depend on beside values and step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WaveletWanted<'a> {
    /// Quality levels.
    pub(crate) levels: u8,
    pub(crate) residual: Residual,
    /// Integers come back without their residual; asks for a step of 1.
    pub(crate) reversible: bool,
    pub(crate) coder: Coder,
    pub(crate) curve: Option<&'a CurveShape>,
    pub(crate) filter: Option<&'a FilterShape>,
}

/// The model of a volume whose integers span `q_min..=q_max`, and its 32-bit twin for blocks that
/// overflow it. `step` is in units of `q`.
pub(crate) fn wavelet_models(
    q_min: i32,
    q_max: i32,
    step: f64,
    wanted: WaveletWanted<'_>,
) -> (WaveletModel, WaveletModel) {
    let WaveletWanted {
        levels,
        residual,
        reversible,
        coder,
        curve,
        filter,
    } = wanted;
    let half = ((f64::from(q_max) - f64::from(q_min)) / 2.0).max(1.0);
    let bits = |room: f64| (room / half).log2().floor().clamp(-16.0, 24.0) as i8;
    let model = |precision, frac_bits: i8| WaveletModel {
        coder,
        precision,
        frac_bits,
        qualities: levels,
        step_q16: ((step * f64::from(frac_bits).exp2() * 65_536.0).round() as u64)
            .clamp(1, 1 << 48),
        recon_one: 8,
        recon_more: 5,
        residual,
        mask: false,
        curve: None,
        reversible: false,
        filters: None,
        ranks: false,
    };
    if reversible {
        let exact = |precision| WaveletModel {
            step_q16: 1 << 16,
            reversible,
            ..model(precision, 0)
        };
        let narrow = half <= EXACT_HALF_RANGE;
        let wide = exact(Precision::I32);
        return (if narrow { exact(Precision::I16) } else { wide }, wide);
    }
    let wide = model(Precision::I32, bits(WIDE_HALF_RANGE).min(12));
    let narrow_bits = bits(NARROW_HALF_RANGE);
    let fine_enough = step * f64::from(narrow_bits).exp2() >= NARROW_MIN_STEP;
    let narrow = if fine_enough {
        model(Precision::I16, narrow_bits)
    } else {
        wide
    };
    let along = |m| curve.map_or(m, |shape| along(m, shape, (q_min, q_max)));
    let (narrow, wide) = (along(narrow), along(wide));
    let filtered = |m: WaveletModel| WaveletModel {
        filters: filter
            .map(|f| f.filters(&m))
            .filter(|_| m.has_room_for_filters()),
        ..m
    };
    if narrow == wide || filter.is_some_and(|f| f.twin) {
        (filtered(narrow), filtered(wide))
    } else {
        (filtered(narrow), wide)
    }
}

/// The model along a curve over the range of values, which takes the place that the range has in
/// working units.
fn along(model: WaveletModel, shape: &CurveShape, (q_min, q_max): (i32, i32)) -> WaveletModel {
    let span = (f64::from(q_max) - f64::from(q_min)).max(1.0);
    let units = span * f64::from(model.frac_bits).exp2();
    let segment = (units / SEGMENTS as f64).log2().ceil().clamp(4.0, 24.0);
    let stretch = SEGMENTS as f64 * segment.exp2() / units;
    WaveletModel {
        curve: Some(shape.curve(q_min, q_max, segment as u8)),
        ..model.scaled(stretch * shape.gain)
    }
}

/// Which of a tier's models a block uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ModelUse {
    /// The wavelet model, or its 32-bit twin.
    Wavelet { wide: bool },
    /// The same of the reversible models, where blocks choose.
    Reversible { wide: bool },
    /// One of the grid models, in their order.
    Grid(usize),
}

/// When blocks have a reversible transform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reversible {
    Never,
    Always,
    /// Where it takes fewer bytes than a residual.
    Cheaper,
}

/// Where a file may have blocks under wavelet models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wavelets {
    Everywhere,
    /// In overview tiers only.
    Overview,
    Nowhere,
}

/// The models of a file: wavelets for the volume and for its overview tiers, each with a 32-bit
/// twin, and grids for the volume.
#[derive(Debug, Clone)]
pub(crate) struct Models {
    grids: Vec<GridModel>,
    wavelets: Wavelets,
    lambda: f64,
    volume: (WaveletModel, WaveletModel),
    /// Reversible models for blocks of the volume that are cheaper with one.
    reversible: Option<(WaveletModel, WaveletModel)>,
    overview: (WaveletModel, WaveletModel),
    /// Whether blocks with a mask may occur; they have models of their own.
    masked: bool,
}

impl Models {
    /// Models for a step in units of `q`. Overviews have no residual.
    pub(crate) fn new(
        q_min: i32,
        q_max: i32,
        step: f64,
        wanted: WaveletWanted<'_>,
        masked: bool,
    ) -> Self {
        let overview = WaveletWanted {
            residual: Residual::None,
            reversible: false,
            filter: None,
            ..wanted
        };
        Self {
            grids: Vec::new(),
            wavelets: Wavelets::Everywhere,
            lambda: lambda(step),
            masked,
            reversible: None,
            volume: wavelet_models(q_min, q_max, step, wanted),
            overview: wavelet_models(q_min, q_max, step, overview),
        }
    }

    /// The models of a file that was written before.
    ///
    /// # Errors
    /// As reading the records; [`Error::Unsupported`] if there is none for overviews.
    pub(crate) fn from_records(records: &[ModelRecord]) -> Result<Self> {
        let models = crate::decode::parse_models(records)?;
        let masked = models.values().any(BlockModel::mask);
        let (mut list, mut grids) = (Vec::new(), Vec::new());
        for model in models.into_values().filter(|m| !m.mask()) {
            match model {
                BlockModel::Wavelet(m) => list.push(m),
                BlockModel::Grid(m) => grids.push(m),
            }
        }
        // Overviews have neither residual nor filters; a volume with filters may share their 32-bit twin.
        let find = |of_volume| {
            let of_kind = |m: &&WaveletModel| {
                (m.residual.is_some() || m.filters.is_some() || m.ranks) == of_volume
            };
            let mut of_kind = list.iter().filter(of_kind);
            let wide = (of_kind.clone()).find(|m| m.precision == Precision::I32);
            let first = of_kind.find(|m| m.precision == Precision::I16).or(wide);
            first.map(|m| (*m, wide.copied()))
        };
        let (narrow, wide) = find(false)
            .ok_or_else(|| Error::Unsupported("the file has no model for overviews".into()))?;
        let overview = (narrow, wide.unwrap_or(narrow));
        let volume = find(true).map(|(m, wide)| (m, wide.unwrap_or(overview.1)));
        Ok(Self {
            grids,
            wavelets: Wavelets::Everywhere,
            lambda: 0.0,
            reversible: None,
            volume: volume.unwrap_or(overview),
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

    /// Reversible models of a tier, for blocks that choose.
    pub(crate) fn reversible(&self, tier: u8) -> Option<(WaveletModel, WaveletModel)> {
        self.reversible.filter(|_| tier == 0)
    }

    /// The same with reversible models for blocks of the volume that are cheaper with one.
    pub(crate) fn or_reversible(
        self,
        (q_min, q_max): (i32, i32),
        wanted: WaveletWanted<'_>,
    ) -> Self {
        let wanted = WaveletWanted {
            reversible: true,
            ..wanted
        };
        let ranks = self.volume.0.ranks;
        let of_kind = |m| WaveletModel { ranks, ..m };
        let (narrow, wide) = wavelet_models(q_min, q_max, 1.0, wanted);
        Self {
            reversible: Some((of_kind(narrow), of_kind(wide))),
            ..self
        }
    }

    /// The distinct models in order of their ids.
    fn list(&self) -> Vec<BlockModel> {
        let wavelets = [
            self.volume.0,
            self.volume.1,
            self.overview.0,
            self.overview.1,
        ];
        let unused = match self.wavelets {
            Wavelets::Everywhere => 0,
            Wavelets::Overview => 2,
            Wavelets::Nowhere => 4,
        };
        let reversible = self.reversible.map(|(narrow, wide)| [narrow, wide]);
        let wavelets = wavelets.into_iter().skip(unused);
        let wavelets = wavelets.chain(reversible.into_iter().flatten());
        let wavelets = wavelets.map(BlockModel::Wavelet);
        let grids = self.grids.iter().cloned().map(BlockModel::Grid);
        let mut list: Vec<BlockModel> = Vec::new();
        for model in wavelets.chain(grids) {
            if !list.contains(&model) {
                list.push(model);
            }
        }
        if self.masked {
            let masked: Vec<_> = list.iter().cloned().map(with_mask).collect();
            list.extend(masked);
        }
        list
    }

    /// Records for the file; `ranks` is the map that blocks of the volume store ranks in, if they do.
    pub(crate) fn records(&self, ranks: Option<&Ranks>) -> Vec<ModelRecord> {
        let record = |(id, m): (usize, &BlockModel)| {
            let (kind, payload) = m.record();
            ModelRecord {
                id: id as u16,
                kind,
                payload,
            }
        };
        let list = self.list();
        let mut records: Vec<_> = list.iter().enumerate().map(record).collect();
        records.extend(ranks.map(|ranks| ModelRecord {
            id: list.len() as u16,
            kind: Ranks::KIND,
            payload: ranks.to_bytes(),
        }));
        records
    }

    /// The same with blocks of the volume that store ranks among `count` values, for a step in ranks.
    pub(crate) fn with_ranks(
        self,
        count: usize,
        step: f64,
        wanted: WaveletWanted<'_>,
        (q_min, q_max): (i32, i32),
    ) -> Self {
        let last = count as i32 - 1;
        let ranked = |m| WaveletModel { ranks: true, ..m };
        let (narrow, wide) = wavelet_models(0, last, step, wanted);
        // A rank is that many values wide on average.
        let width = (f64::from(q_max) - f64::from(q_min)) / f64::from(last.max(1));
        let overview = WaveletWanted {
            residual: Residual::None,
            reversible: false,
            ..wanted
        };
        Self {
            volume: (ranked(narrow), ranked(wide)),
            overview: wavelet_models(q_min, q_max, step * width, overview),
            ..self
        }
    }

    /// Whether blocks with a mask may occur.
    pub(crate) fn masked(&self) -> bool {
        self.masked
    }

    /// Squared error, in units of `q`, that a bit is worth at this step.
    pub(crate) fn lambda(&self) -> f64 {
        self.lambda
    }

    /// Grid models of tier 0.
    pub(crate) fn grids(&self) -> &[GridModel] {
        &self.grids
    }

    /// The same with grid models for tier 0, and wavelets where blocks may still have them.
    pub(crate) fn with_grids(self, grids: Vec<GridModel>, wavelets: Wavelets) -> Self {
        Self {
            grids,
            wavelets,
            ..self
        }
    }

    /// Id of a model of a tier, for blocks with or without a mask.
    pub(crate) fn id(&self, tier: u8, model: ModelUse, mask: bool) -> u16 {
        let (narrow, wide) = match model {
            ModelUse::Reversible { .. } => self.reversible.unwrap_or(self.volume),
            _ => self.of_tier(tier),
        };
        let wanted = match model {
            ModelUse::Wavelet { wide: true } | ModelUse::Reversible { wide: true } => {
                BlockModel::Wavelet(wide)
            }
            ModelUse::Wavelet { .. } | ModelUse::Reversible { .. } => BlockModel::Wavelet(narrow),
            ModelUse::Grid(i) => BlockModel::Grid(self.grids[i].clone()),
        };
        let wanted = if mask { with_mask(wanted) } else { wanted };
        self.list().iter().position(|m| *m == wanted).unwrap_or(0) as u16
    }
}

/// The twin for blocks with a mask.
fn with_mask(model: BlockModel) -> BlockModel {
    match model {
        BlockModel::Wavelet(m) => BlockModel::Wavelet(WaveletModel { mask: true, ..m }),
        BlockModel::Grid(m) => BlockModel::Grid(GridModel { mask: true, ..m }),
    }
}
