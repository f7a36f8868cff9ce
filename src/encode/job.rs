//! What every pass over one volume shares: the source, what was chosen, and the models that follow.

use super::block::BlockPlan;
use super::curve::CurveShape;
use super::device::BatchEncoder;
use super::filter::FilterShape;
use super::grid::{GridChoice, GridPlan, GridWanted, grid_models};
use super::plan::{Models, Reversible, WaveletWanted, Wavelets};
use super::scan::Scan;
use super::search::Effort;
use super::target::Spectrum;
use super::{EncodeOptions, ModelChoice, Preset, ProgressFn};
use crate::Result;
use crate::backend::ValueRange;
use crate::backend::cpu::CpuBackend;
use crate::format::range::RangeCoder;
use crate::format::tier;
use crate::model::{Coder, Ranks, Residual};
use crate::volume::{BlockGrid, Extent, VoxelSource};

/// What every pass over the same volume shares.
pub(crate) struct Job<'a> {
    pub(crate) source: &'a dyn VoxelSource,
    pub(crate) options: &'a EncodeOptions,
    pub(crate) scan: Scan,
    pub(crate) coder: RangeCoder,
    pub(crate) cpu: CpuBackend,
    /// What finds wavelet indices of whole batches, if there is a device.
    pub(crate) device: Option<&'a BatchEncoder>,
    pub(crate) pool: &'a rayon::ThreadPool,
    pub(crate) progress: &'a ProgressFn<'a>,
    pub(crate) block_log2: u32,
    pub(crate) residual: Residual,
    /// How coefficients become bytes.
    pub(crate) entropy: Coder,
    /// Whether blocks of tier 0 have a reversible transform.
    pub(crate) reversible: Reversible,
    /// Whether sizes need to be about right only: no search for better indices.
    pub(crate) rough: bool,
    /// Value curve of the wavelet models.
    pub(crate) curve: Option<CurveShape>,
    /// Filters of the wavelet models of tier 0.
    pub(crate) filter: Option<FilterShape>,
    /// Coefficients of the volume, for a target that is searched for.
    pub(crate) spectrum: Option<&'a Spectrum>,
    /// The distinct values of the volume if they are few.
    pub(crate) few_values: Option<&'a Ranks>,
    /// Whether blocks of tier 0 store ranks among them.
    pub(crate) ranked: bool,
    /// log2 of the step, in units of `q`, that the trained network expects to meet the target.
    pub(crate) predicted: Option<f64>,
    /// What was done before the first encode, in encodes of the volume.
    pub(crate) spent: f64,
}

impl Job<'_> {
    pub(super) fn levels(&self) -> u8 {
        self.options.levels as u8
    }

    pub(super) fn grid(&self, extent: Extent) -> BlockGrid {
        BlockGrid {
            extent,
            block_log2: self.block_log2,
        }
    }

    pub(super) fn models(&self, step: f64) -> Models {
        let (scan, levels) = (&self.scan, self.levels());
        let wanted = WaveletWanted {
            levels,
            residual: self.residual,
            reversible: self.reversible == Reversible::Always,
            coder: self.entropy,
            curve: self.curve.as_ref(),
            filter: self.filter.as_ref(),
        };
        let models = Models::new(
            scan.q_min,
            scan.q_max,
            step,
            wanted,
            scan.masked && self.residual != Residual::FloatBits,
        );
        let range = (scan.q_min, scan.q_max);
        let (models, range) = match self.ranks() {
            Some(ranks) => (
                models.with_ranks(ranks.count(), step, wanted, range),
                (0, ranks.count() as i32 - 1),
            ),
            None => (models, range),
        };
        let models = match self.reversible {
            Reversible::Cheaper => models.or_reversible(range, wanted),
            Reversible::Always | Reversible::Never => models,
        };
        if self.grid_choice() == GridChoice::Never {
            return models;
        }
        let wanted = GridWanted {
            levels,
            residual: self.residual,
            block_log2: self.block_log2,
            table_log2: self.options.table_log2,
        };
        let tiers = tier::plan(self.source.extent(), self.block_log2 as u8).len();
        let wavelets = match self.grid_choice() {
            GridChoice::Always if tiers == 1 => Wavelets::Nowhere,
            GridChoice::Always => Wavelets::Overview,
            GridChoice::Never | GridChoice::Cheaper => Wavelets::Everywhere,
        };
        let grids = grid_models((scan.q_min, scan.q_max), step, wanted);
        models.with_grids(grids, wavelets)
    }

    /// The map that blocks of tier 0 store ranks in.
    pub(super) fn ranks(&self) -> Option<&Ranks> {
        self.few_values.filter(|_| self.ranked)
    }

    /// When blocks of tier 0 get grid models.
    pub(super) fn grid_choice(&self) -> GridChoice {
        if self.ranked {
            return GridChoice::Never;
        }
        match (self.options.model, self.options.preset) {
            (ModelChoice::Hashgrid, _) => GridChoice::Always,
            (ModelChoice::Auto, Preset::Best) => GridChoice::Cheaper,
            (ModelChoice::Auto | ModelChoice::Dense, _) => GridChoice::Never,
        }
    }

    pub(super) fn block_plan<'p>(
        &self,
        models: &'p Models,
        tier: u8,
        steps: &'p [crate::backend::LayerStep],
        range: &'p (dyn Fn(i32, i32) -> Result<ValueRange> + Sync),
        want_coarsest: bool,
    ) -> BlockPlan<'p> {
        let (model, wide) = models.of_tier(tier);
        BlockPlan {
            model,
            wide,
            steps,
            preset: self.quantiser_preset(model.residual),
            search: Effort::of_preset(self.options.preset).filter(|_| !self.rough),
            cpu: self.cpu,
            range,
            want_coarsest,
            allow_constant: true,
            grid: if tier > 0 || models.grids().is_empty() {
                GridPlan::NONE
            } else {
                GridPlan {
                    choice: self.grid_choice(),
                    models: models.grids(),
                    lambda: models.lambda(),
                    seed: self.options.seed,
                    trained: None,
                }
            },
            map: self.scan.values,
            ranks: None,
            reversible: models.reversible(tier),
            found: &[],
        }
    }

    /// How indices are found. Under a residual they hardly take time beside it, so that none are rough.
    fn quantiser_preset(&self, residual: Residual) -> Preset {
        match self.options.preset {
            Preset::Fast if residual.is_some() => Preset::Balanced,
            preset => preset,
        }
    }

    /// The smallest range that the index can state and that holds `lo..=hi`.
    pub(super) fn range(&self, lo: i32, hi: i32) -> Result<ValueRange> {
        let bounds = self.scan.q_min..=self.scan.q_max;
        let within = |q: i32| q.clamp(*bounds.start(), *bounds.end());
        let (lo, hi) = self
            .coder
            .decode(self.coder.encode(within(lo), within(hi))?);
        Ok(ValueRange { lo, hi })
    }
}
