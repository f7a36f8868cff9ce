//! One encode pass: every block of every tier at one step, written or only measured.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use byteorder::{ByteOrder, LittleEndian as Le};
use rayon::prelude::*;

use super::block::{BlockPlan, EncodeScratch, EncodedBlock, LevelError, encode_block};
use super::curve::{CurveShape, SampleBlock};
use super::filter::FilterShape;
use super::grid::{GridChoice, GridPlan, GridWanted, grid_models};
use super::masked::filled;
use super::overview::TierVoxels;
use super::plan::{Models, Reversible, WaveletWanted, Wavelets, layer_steps};
use super::scan::{Scan, report};
use super::search::Effort;
use super::target::Spectrum;
use super::totals::Totals;
use super::{EncodeOptions, ModelChoice, Preset, Progress, ProgressFn};
use crate::backend::ValueRange;
use crate::backend::cpu::CpuBackend;
use crate::codec::bands::BlockShape;
use crate::format::key::Pages;
use crate::format::range::RangeCoder;
use crate::format::tier::{self, Tier};
use crate::model::{Coder, Ranks, Residual};
use crate::volume::{BlockGrid, Extent, Region, VoxelSource};
use crate::writer::{BlockPayload, BlockRecord, FilePlan, HgvWriter, WriterOptions, with_suffix};
use crate::{Error, Result};

/// What every pass over the same volume shares.
pub(crate) struct Job<'a> {
    pub(crate) source: &'a dyn VoxelSource,
    pub(crate) options: &'a EncodeOptions,
    pub(crate) scan: Scan,
    pub(crate) coder: RangeCoder,
    pub(crate) cpu: CpuBackend,
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

/// A block of a tier as the pass made it.
pub(super) struct Coded {
    pub(super) block: [u64; 3],
    pub(super) encoded: EncodedBlock,
    pub(super) errors: Vec<LevelError>,
    pub(super) coarsest: Vec<i32>,
    /// Whether the first layer begins with a mask.
    pub(super) masked: bool,
    /// Voxels that are finite: those that errors are shared out over.
    pub(super) finite: u64,
}

/// What may be in the works at once, so that memory stays within its budget for any number of
/// threads and any block. Of the budget, half is for blocks in the works and an eighth for blocks
/// that wait to be written; the writer and the overview have the rest.
#[derive(Debug, PartialEq, Eq)]
struct Flight {
    /// Blocks of a row along x that are read at once.
    row: usize,
    /// Rows handed to the threads at once.
    rows: usize,
    /// Single blocks handed to the threads at once.
    blocks: usize,
}

/// Voxels that a choice before the encode looks at.
pub(super) struct SampleValues {
    /// Blocks without voxels that are masked, and where they are.
    pub(super) places: Vec<[u64; 3]>,
    pub(super) blocks: Vec<SampleBlock>,
    /// Share of the volume's blocks that was read.
    pub(super) share: f64,
}

/// Most blocks of a page along x.
const PAGE_ROW: u64 = 8;

impl Flight {
    fn new(memory: u64, threads: usize, block_voxels: u64, voxel_bytes: u64, work: u64) -> Self {
        let threads = threads.max(1) as u64;
        let work = block_voxels * work;
        // Bytes as read and values in units of `q`.
        let read = block_voxels * (voxel_bytes + 4);
        let at_once = (memory / 2 / (work + read)).clamp(1, threads);
        let row = ((memory / 2 / at_once).saturating_sub(work) / read).clamp(1, PAGE_ROW);
        let waiting = memory / 8 / (block_voxels * voxel_bytes);
        let rounds = |per_thread: u64| {
            if at_once < threads {
                at_once
            } else {
                per_thread * threads
            }
        };
        Self {
            row: row as usize,
            rows: rounds(2).min(waiting / row).max(1) as usize,
            blocks: rounds(16).min(waiting).max(1) as usize,
        }
    }
}

/// Where the voxels of a tier come from.
enum TierSource<'a> {
    Volume(&'a dyn VoxelSource),
    Overview(&'a TierVoxels),
}

impl Job<'_> {
    pub(super) fn levels(&self) -> u8 {
        self.options.levels as u8
    }

    fn grid(&self, extent: Extent) -> BlockGrid {
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
                models.with_ranks(ranks, step, wanted, range),
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
    fn grid_choice(&self) -> GridChoice {
        if self.ranked {
            return GridChoice::Never;
        }
        match (self.options.model, self.options.preset) {
            (ModelChoice::Hashgrid, _) => GridChoice::Always,
            (ModelChoice::Auto, Preset::Best) => GridChoice::Cheaper,
            (ModelChoice::Auto | ModelChoice::Dense, _) => GridChoice::Never,
        }
    }

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
        let mut totals = self.no_totals();
        for chunk in blocks.chunks(self.flight().blocks) {
            let coded: Vec<Coded> = self.pool.install(|| {
                chunk
                    .par_iter()
                    .map_init(EncodeScratch::default, |scratch, &block| {
                        let region = grid.region(block);
                        let mut values = Vec::new();
                        self.read(&TierSource::Volume(self.source), &region, &mut values)?;
                        let done =
                            done.fetch_add(region.voxels(), Ordering::Relaxed) + region.voxels();
                        report(
                            self.progress,
                            Progress {
                                phase: "search",
                                done,
                                total,
                            },
                        )?;
                        self.code(&plan, &grid, block, &values, scratch)
                    })
                    .collect::<Result<_>>()
            })?;
            coded.iter().for_each(|c| totals.add(c, 0, &grid));
        }
        Ok(totals)
    }

    /// Encodes the volume into a file at `path`; until it is whole it is the `.partial` of `output`.
    pub(crate) fn write(
        &self,
        step: f64,
        path: &Path,
        output: &Path,
        force: bool,
    ) -> Result<(Totals, u64)> {
        let models = self.models(step);
        let plan = self.file_plan(&models)?;
        let options = WriterOptions {
            force,
            memory: (self.options.memory / 8) as usize,
            scratch: self.options.scratch.clone(),
            ..WriterOptions::default()
        };
        let mut writer =
            HgvWriter::create_as(path, &plan, options, with_suffix(output, ".partial"))?;
        let mut totals = self.no_totals();
        let written = self.write_tiers(&models, &plan, &mut writer, path, &mut totals);
        let mut writer = writer.discarded_if_cancelled(written)?;
        let stats = serde_json::to_string(&self.stats(&totals));
        writer.set_stats_json(stats.map_err(|e| Error::argument(e.to_string()))?)?;
        Ok((totals, writer.finish()?.file_len))
    }

    fn file_plan(&self, models: &Models) -> Result<FilePlan> {
        let mut plan = FilePlan::new(
            self.source.extent(),
            self.source.dtype(),
            self.block_log2 as u8,
            self.levels(),
            (self.scan.q_min, self.scan.q_max),
        )?;
        plan.value_exp = self.scan.values.exponent;
        plan.models = models.records();
        plan.metadata = self.source.metadata().clone();
        Ok(plan)
    }

    fn write_tiers(
        &self,
        models: &Models,
        plan: &FilePlan,
        writer: &mut HgvWriter,
        path: &Path,
        totals: &mut Totals,
    ) -> Result<()> {
        // A shard has no overview: merging makes it.
        let next = plan.tiers.get(1).filter(|_| self.options.shard.is_none());
        let above = next.map(|t| self.tier_voxels(t, path)).transpose()?;
        let source = TierSource::Volume(self.source);
        self.write_tier(
            models,
            0,
            &plan.tiers[0],
            &source,
            above.as_ref(),
            writer,
            totals,
        )?;
        match above {
            Some(voxels) => self.write_overviews(models, &plan.tiers, voxels, writer, path, totals),
            None => Ok(()),
        }
    }

    /// Encodes the tiers above 0, each from the coarsest band of the one below.
    pub(crate) fn write_overviews(
        &self,
        models: &Models,
        tiers: &[Tier],
        voxels: TierVoxels,
        writer: &mut HgvWriter,
        path: &Path,
        totals: &mut Totals,
    ) -> Result<()> {
        let mut voxels = voxels;
        for index in 1..tiers.len() {
            let next = tiers.get(index + 1);
            let above = next.map(|t| self.tier_voxels(t, path)).transpose()?;
            let source = TierSource::Overview(&voxels);
            self.write_tier(
                models,
                index as u8,
                &tiers[index],
                &source,
                above.as_ref(),
                writer,
                totals,
            )?;
            match above {
                Some(next) => voxels = next,
                None => break,
            }
        }
        Ok(())
    }

    /// Room for the voxels of a tier, while the one below is encoded.
    pub(crate) fn tier_voxels(&self, tier: &Tier, path: &Path) -> Result<TierVoxels> {
        TierVoxels::new(tier.extent, self.options.memory / 4, &self.scratch(path))
    }

    fn scratch(&self, path: &Path) -> PathBuf {
        let beside = path
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        self.options
            .scratch
            .clone()
            .unwrap_or_else(|| beside.to_path_buf())
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one call, from the loop over tiers"
    )]
    fn write_tier(
        &self,
        models: &Models,
        index: u8,
        tier: &Tier,
        source: &TierSource<'_>,
        above: Option<&TierVoxels>,
        writer: &mut HgvWriter,
        totals: &mut Totals,
    ) -> Result<()> {
        let (steps, range) = (layer_steps(self.levels()), |lo, hi| self.range(lo, hi));
        let plan = self.block_plan(models, index, &steps, &range, above.is_some());
        let (grid, pages) = (self.grid(tier.extent), *writer.shape().tier_pages(index)?);
        let flight = self.flight();
        let total = Region::whole(tier.extent).voxels();
        let done = AtomicU64::new(0);
        for (n, page) in pages.iter().enumerate() {
            if self
                .options
                .shard
                .is_some_and(|(i, of)| n as u64 % u64::from(of) != u64::from(i))
            {
                continue;
            }
            writer.begin_cluster(index, page)?;
            let rows = rows_of(&pages, page, flight.row);
            for chunk in rows.chunks(flight.rows) {
                let coded = self.pool.install(|| {
                    chunk
                        .par_iter()
                        .map_init(EncodeScratch::default, |scratch, row| {
                            self.code_row(&plan, &grid, row, source, scratch, &|voxels| {
                                let done = done.fetch_add(voxels, Ordering::Relaxed) + voxels;
                                let phase = if index == 0 { "encode" } else { "overview" };
                                report(self.progress, Progress { phase, done, total })
                            })
                        })
                        .collect::<Result<Vec<_>>>()
                })?;
                for c in coded.into_iter().flatten() {
                    totals.add(&c, index, &grid);
                    if let Some(above) = above {
                        above.put(
                            &halved(&grid, c.block, plan_depth(self.block_log2)),
                            &c.coarsest,
                        )?;
                    }
                    let block = c.block;
                    writer.put_block(block, &self.record(c, models, index)?)?;
                }
            }
            writer.finish_cluster()?;
        }
        Ok(())
    }

    /// Encodes a row of blocks along x; their voxels are read at once.
    fn code_row(
        &self,
        plan: &BlockPlan<'_>,
        grid: &BlockGrid,
        row: &[[u64; 3]],
        source: &TierSource<'_>,
        scratch: &mut EncodeScratch,
        done: &dyn Fn(u64) -> Result<()>,
    ) -> Result<Vec<Coded>> {
        let (Some(&first), Some(&last)) = (row.first(), row.last()) else {
            return Ok(Vec::new());
        };
        let whole = Region {
            start: grid.region(first).start,
            end: grid.region(last).end,
        };
        let (mut line, mut values) = (Vec::new(), Vec::new());
        self.read(source, &whole, &mut line)?;
        row.iter()
            .map(|&block| {
                let region = grid.region(block);
                values.clear();
                let (from, width) = (
                    (region.start[0] - whole.start[0]) as usize,
                    region.extent()[0] as usize,
                );
                for l in line.chunks_exact(whole.extent()[0] as usize) {
                    values.extend_from_slice(&l[from..from + width]);
                }
                done(region.voxels())?;
                self.code(plan, grid, block, &values, scratch)
            })
            .collect()
    }

    fn code(
        &self,
        plan: &BlockPlan<'_>,
        grid: &BlockGrid,
        block: [u64; 3],
        values: &[f32],
        scratch: &mut EncodeScratch,
    ) -> Result<Coded> {
        let region = grid.region(block);
        let dims = region.extent().map(|n| n as usize);
        let plan = &BlockPlan {
            search: (plan.search).map(|effort| effort.beside(neighbours(grid, &region))),
            ..*plan
        };
        let shape = BlockShape {
            dims,
            depth: plan_depth(self.block_log2),
        };
        if let Some(ranks) = self.ranks().filter(|_| plan.model.ranks) {
            return self.code_ranks(ranks, plan, shape, block, values, scratch);
        }
        if plan.model.residual == Residual::FloatBits {
            return self.code_bits(plan, shape, block, values, scratch);
        }
        if self.scan.masked && values.iter().any(|v| !v.is_finite()) {
            return self.code_masked(plan, shape, block, values, scratch);
        }
        self.code_units(plan, shape, block, (values, &[]), scratch)
    }

    /// A block of float32 voxels that must come back bit for bit.
    fn code_bits(
        &self,
        plan: &BlockPlan<'_>,
        shape: BlockShape,
        block: [u64; 3],
        voxels: &[f32],
        scratch: &mut EncodeScratch,
    ) -> Result<Coded> {
        let mut units = Vec::new();
        let bytes: Vec<u8> = voxels.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.scan.values.to_units(&bytes, &mut units);
        if self.scan.masked {
            units = filled(&units, self.scan.q_min);
        }
        let coded = self.code_units(plan, shape, block, (&units, voxels), scratch)?;
        Ok(Coded {
            finite: voxels.iter().filter(|v| v.is_finite()).count() as u64,
            ..coded
        })
    }

    /// A block of finite values in units of `q`, and the voxels if every bit of them must come back.
    pub(super) fn code_units(
        &self,
        plan: &BlockPlan<'_>,
        shape: BlockShape,
        block: [u64; 3],
        (values, exact): (&[f32], &[f32]),
        scratch: &mut EncodeScratch,
    ) -> Result<Coded> {
        let (encoded, errors) = encode_block(plan, shape, values, exact, scratch)?;
        let coarsest = if plan.want_coarsest {
            scratch.coarsest(&encoded, &shape)
        } else {
            Vec::new()
        };
        Ok(Coded {
            block,
            encoded,
            errors,
            coarsest,
            masked: false,
            finite: values.len() as u64,
        })
    }

    /// Values of a box in units of `q`; those of the volume are ranks where ranks are coded, and its
    /// voxels if every bit of them must come back otherwise.
    fn read(&self, source: &TierSource<'_>, region: &Region, out: &mut Vec<f32>) -> Result<()> {
        out.clear();
        match source {
            TierSource::Overview(voxels) => voxels.read(region, out),
            TierSource::Volume(volume) => {
                let mut bytes = vec![0; region.voxels() as usize * self.scan.values.dtype.size()];
                volume.read(region, &mut bytes)?;
                if let Some(ranks) = self.ranks() {
                    ranks.of_voxels(&bytes, out)?;
                } else if self.residual == Residual::FloatBits {
                    out.extend(bytes.chunks_exact(4).map(Le::read_f32));
                } else {
                    self.scan.values.to_units(&bytes, out);
                }
                Ok(())
            }
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
                }
            },
            map: self.scan.values,
            ranks: None,
            reversible: models.reversible(tier),
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

    fn record(&self, coded: Coded, models: &Models, tier: u8) -> Result<BlockRecord> {
        Ok(match coded.encoded {
            EncodedBlock::Constant(q) => BlockRecord::Constant(q),
            EncodedBlock::Payload {
                model,
                range,
                layers,
            } => {
                let finite = coded.finite.max(1) as f64;
                BlockRecord::Payload(BlockPayload {
                    model: models.id(tier, model, coded.masked),
                    range: self.coder.encode(range.lo, range.hi)?,
                    errors: coded
                        .errors
                        .iter()
                        .map(|e| {
                            [(e.sse / finite).sqrt(), e.max].map(|v| self.coder.encode_error(v))
                        })
                        .collect(),
                    layers,
                })
            }
        })
    }

    /// How much may be in the works at once.
    fn flight(&self) -> Flight {
        let threads = self.pool.current_num_threads();
        Flight::new(
            self.options.memory,
            threads,
            1 << (3 * self.block_log2),
            self.scan.values.dtype.size() as u64,
            self.grid_choice().work_bytes(self.levels()) + Effort::work_bytes(self.options.preset),
        )
    }
}

/// Transform levels of a block.
/// Whether there is a block before and after this one, along x, y and z.
fn neighbours(grid: &BlockGrid, region: &Region) -> [[bool; 2]; 3] {
    [0, 1, 2].map(|a| [region.start[a] > 0, region.end[a] < grid.extent[a]])
}

fn plan_depth(block_log2: u32) -> usize {
    (block_log2 - 2) as usize
}

/// Where the coarsest band of a block lies in the next tier.
pub(crate) fn halved(grid: &BlockGrid, block: [u64; 3], depth: usize) -> Region {
    let region = grid.region(block);
    let start = region.start.map(|v| v >> depth);
    let end =
        [0, 1, 2].map(|a| start[a] + crate::volume::ceil_shift(region.extent()[a], depth as u32));
    Region { start, end }
}

/// The blocks of a page as rows along x of at most `longest`, in slot order.
fn rows_of(pages: &Pages, page: [u64; 3], longest: usize) -> Vec<Vec<[u64; 3]>> {
    let width = pages.sides(page)[0].max(1) as usize;
    let blocks: Vec<_> = (0..pages.slots(page))
        .map(|slot| pages.block(page, slot))
        .collect();
    blocks
        .chunks(width)
        .flat_map(|row| row.chunks(longest))
        .map(<[_]>::to_vec)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_works_fits_the_budget() {
        let memory = 768 << 20;
        assert_eq!(
            Flight::new(memory, 2, 1 << 18, 4, GridChoice::Never.work_bytes(3)),
            Flight {
                row: 8,
                rows: 4,
                blocks: 32
            }
        );
        for (threads, log2, bytes, levels, grid) in [
            (2, 21, 4, 8, GridChoice::Never),
            (64, 18, 4, 3, GridChoice::Never),
            (64, 18, 4, 3, GridChoice::Cheaper),
            (64, 21, 4, 8, GridChoice::Never),
            (256, 15, 1, 1, GridChoice::Always),
            (1, 21, 2, 8, GridChoice::Cheaper),
        ] {
            let work = grid.work_bytes(levels);
            let f = Flight::new(memory, threads, 1 << log2, bytes, work);
            let at_once = (f.rows.min(threads) as u64, f.blocks.min(threads) as u64);
            let work = work << log2;
            let read = (bytes + 4) << log2;
            assert!(
                at_once.0 * (work + f.row as u64 * read) <= memory / 2,
                "{threads} threads, blocks of 2^{log2}: {f:?}"
            );
            assert!(at_once.1 * (work + read) <= memory / 2);
            assert!((f.rows * f.row) as u64 * (bytes << log2) <= memory / 8);
        }
    }
}
