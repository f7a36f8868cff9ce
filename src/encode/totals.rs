//! Sums over the blocks of a pass, and the figures that follow from them.

use super::block::{EncodedBlock, LevelError};
use super::code::Coded;
use super::job::Job;
use super::plan::layer_steps;
use crate::decode::{LevelInfo, Stats};
use crate::volume::BlockGrid;

/// Sums over the blocks of a pass.
#[derive(Debug, Clone, Default)]
pub(crate) struct Totals {
    /// Errors of tier 0 for each quality level, in units of `q`.
    pub(crate) errors: Vec<LevelError>,
    /// Payload bytes of all tiers for each layer.
    pub(crate) layer_bytes: Vec<u64>,
    /// Voxels of tier 0 that were coded.
    pub(crate) voxels: u64,
    /// Those of them that are finite.
    pub(crate) finite: u64,
    /// Blocks of all tiers.
    pub(crate) blocks: u64,
    /// Blocks with payload.
    pub(crate) payload_blocks: u64,
}

impl Totals {
    pub(super) fn add(&mut self, coded: &Coded, tier: u8, grid: &BlockGrid) {
        self.blocks += 1;
        if let EncodedBlock::Payload { layers, .. } = &coded.encoded {
            self.payload_blocks += 1;
            self.layer_bytes
                .iter_mut()
                .zip(layers)
                .for_each(|(sum, l)| *sum += l.len() as u64);
        }
        if tier == 0 {
            self.voxels += grid.region(coded.block).voxels();
            self.finite += coded.finite;
            for (sum, e) in self.errors.iter_mut().zip(&coded.errors) {
                *sum = LevelError {
                    sse: sum.sse + e.sse,
                    max: sum.max.max(e.max),
                };
            }
        }
    }

    /// Largest error and squared error of the last level.
    pub(crate) fn last(&self) -> LevelError {
        self.errors.last().copied().unwrap_or_default()
    }
}

impl Job<'_> {
    pub(super) fn no_totals(&self) -> Totals {
        Totals {
            errors: vec![LevelError::default(); usize::from(self.levels())],
            layer_bytes: vec![0; layer_steps(self.levels()).len()],
            ..Totals::default()
        }
    }

    /// PSNR of a quality level; `None` if it is exact or the volume constant.
    pub(crate) fn psnr(&self, totals: &Totals, level: usize) -> Option<f64> {
        let range = (self.scan.max - self.scan.min) / self.scan.values.unit();
        let mse = totals.errors[level].sse / totals.finite.max(1) as f64;
        (mse > 0.0 && range > 0.0).then(|| 10.0 * (range * range / mse).log10())
    }

    pub(super) fn stats(&self, totals: &Totals) -> Stats {
        let coarse = layer_steps(self.levels())
            .iter()
            .filter(|s| s.lod > 0)
            .count();
        let levels = (0..usize::from(self.levels()))
            .map(|k| LevelInfo {
                bytes: totals.layer_bytes[..=coarse + k].iter().sum(),
                psnr: self.psnr(totals, k),
                max_abs_error: Some(totals.errors[k].max * self.scan.values.unit()),
                ..LevelInfo::default()
            })
            .collect();
        Stats { levels }
    }
}
