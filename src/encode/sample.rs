//! Samples of a volume: which blocks, their voxels, and what they come to when they are encoded.

use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::Progress;
use super::block::EncodeScratch;
use super::code::{Coded, TierSource, plan_depth};
use super::curve::SampleBlock;
use super::device::Stage;
use super::job::Job;
use super::plan::layer_steps;
use super::scan::report;
use super::totals::Totals;
use crate::Result;
use crate::codec::bands::BlockShape;
use crate::format::key::Pages;
use crate::volume::Region;

/// Voxels that a choice before the encode looks at.
pub(super) struct SampleValues {
    /// Blocks without voxels that are masked, and where they are.
    pub(super) places: Vec<[u64; 3]>,
    pub(super) blocks: Vec<SampleBlock>,
    /// Share of the volume's blocks that was read.
    pub(super) share: f64,
}

impl Job<'_> {
    /// Blocks of tier 0 that a search looks at: all, or an even sample of at least `wanted`.
    pub(crate) fn sample(&self, wanted: u64) -> Result<Vec<[u64; 3]>> {
        let grid = self.grid(self.source.extent());
        let every = (grid.count() / wanted.max(1)).max(1);
        let pages = Pages::new(grid.blocks(), 3)?;
        let all = pages
            .iter()
            .flat_map(|p| (0..pages.slots(p)).map(move |s| (p, s)));
        // An odd stride does not stay on one plane of the page order.
        Ok(all
            .step_by(every as usize | usize::from(every > 1))
            .map(|(p, s)| pages.block(p, s))
            .collect())
    }

    /// Blocks of tier 0.
    pub(super) fn block_count(&self) -> u64 {
        self.grid(self.source.extent()).count()
    }

    /// Share of the volume's voxels that these blocks hold.
    pub(super) fn share_of(&self, blocks: &[[u64; 3]]) -> f64 {
        let grid = self.grid(self.source.extent());
        let voxels: u64 = blocks.iter().map(|&b| grid.region(b).voxels()).sum();
        voxels as f64 / Region::whole(self.source.extent()).voxels() as f64
    }

    /// Voxels of a sample of at least `wanted` blocks, or of all.
    pub(super) fn sample_values(&self, wanted: u64) -> Result<SampleValues> {
        let sample = self.sample(wanted)?;
        let finite = |place, shape, values: &[f32]| {
            let all = values.iter().all(|v| v.is_finite());
            all.then(|| (place, (shape, values.to_vec())))
        };
        let found = self.each_block(&sample, finite)?;
        let (places, blocks) = found.into_iter().flatten().unzip();
        Ok(SampleValues {
            places,
            blocks,
            share: sample.len() as f64 / self.block_count() as f64,
        })
    }

    /// What `of` makes of the place, extent and values, in units of `q`, of each of these blocks.
    pub(super) fn each_block<T: Send>(
        &self,
        blocks: &[[u64; 3]],
        of: impl Fn([u64; 3], BlockShape, &[f32]) -> T + Sync,
    ) -> Result<Vec<T>> {
        let grid = self.grid(self.source.extent());
        let one = |values: &mut Vec<f32>, &block: &[u64; 3]| {
            let region = grid.region(block);
            self.read(&TierSource::Volume(self.source), &region, values)?;
            let shape = BlockShape {
                dims: region.extent().map(|n| n as usize),
                depth: plan_depth(self.block_log2),
            };
            Ok(of(block, shape, values))
        };
        let voxels = |b: &[[u64; 3]]| b.iter().map(|&b| grid.region(b).voxels()).sum::<u64>();
        let (mut out, mut done, total) = (Vec::new(), 0, voxels(blocks));
        for chunk in blocks.chunks(self.flight().blocks) {
            let found: Result<Vec<T>> = self
                .pool
                .install(|| chunk.par_iter().map_init(Vec::new, one).collect());
            out.extend(found?);
            done += voxels(chunk);
            let phase = "survey";
            report(self.progress, Progress { phase, done, total })?;
        }
        Ok(out)
    }

    /// Encodes blocks of tier 0 and keeps only the sums.
    pub(crate) fn measure(&self, step: f64, blocks: &[[u64; 3]]) -> Result<Totals> {
        let models = self.models(step);
        let (steps, range) = (layer_steps(self.levels()), |lo, hi| self.range(lo, hi));
        let plan = self.block_plan(&models, 0, &steps, &range, false);
        let grid = self.grid(self.source.extent());
        let total: u64 = blocks.iter().map(|&b| grid.region(b).voxels()).sum();
        let done = AtomicU64::new(0);
        let report_done = |voxels: u64| {
            let done = done.fetch_add(voxels, Ordering::Relaxed) + voxels;
            let phase = "search";
            report(self.progress, Progress { phase, done, total })
        };
        if let Some(encoder) = self.device {
            let stage = Stage {
                encoder,
                plan: &plan,
                grid: &grid,
            };
            return self.measure_on_device(&stage, blocks, &report_done);
        }
        let mut totals = self.no_totals();
        for chunk in blocks.chunks(self.flight().blocks) {
            let coded: Vec<Coded> = self.pool.install(|| {
                chunk
                    .par_iter()
                    .map_init(EncodeScratch::default, |scratch, &block| {
                        let region = grid.region(block);
                        let mut values = Vec::new();
                        self.read(&TierSource::Volume(self.source), &region, &mut values)?;
                        report_done(region.voxels())?;
                        self.code(&plan, &grid, block, &values, scratch)
                    })
                    .collect::<Result<_>>()
            })?;
            coded.iter().for_each(|c| totals.add(c, 0, &grid));
        }
        Ok(totals)
    }
}
