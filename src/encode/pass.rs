//! One encode pass: every block of every tier at one step, written.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::Progress;
use super::block::{BlockPlan, EncodeScratch, EncodedBlock};
use super::code::{Coded, TierSource, plan_depth};
use super::job::Job;
use super::overview::TierVoxels;
use super::plan::{Models, layer_steps};
use super::scan::report;
use super::totals::Totals;
use crate::format::key::Pages;
use crate::format::tier::Tier;
use crate::volume::{BlockGrid, Region};
use crate::writer::{BlockPayload, BlockRecord, FilePlan, HgvWriter, WriterOptions, with_suffix};
use crate::{Error, Result};

/// One tier of a pass.
pub(super) struct TierWork<'a> {
    models: &'a Models,
    pub(super) index: u8,
    pub(super) plan: BlockPlan<'a>,
    pub(super) grid: BlockGrid,
    pub(super) pages: Pages,
    source: &'a TierSource<'a>,
    above: Option<&'a TierVoxels>,
    /// Voxels so far.
    done: AtomicU64,
}

impl Job<'_> {
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
            // What has no loss to spare may need all that its voxels take.
            overview: self.options.target.binds_every_voxel().then_some(u64::MAX),
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
        plan.models = models.records(self.ranks());
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
        let work = TierWork {
            models,
            index,
            plan: self.block_plan(models, index, &steps, &range, above.is_some()),
            grid: self.grid(tier.extent),
            pages: *writer.shape().tier_pages(index)?,
            source,
            above,
            done: AtomicU64::new(0),
        };
        match self.device {
            Some(device) => self.write_on_device(device, &work, writer, totals),
            None => self.write_on_cpu(&work, writer, totals),
        }
    }

    fn write_on_cpu(
        &self,
        work: &TierWork<'_>,
        writer: &mut HgvWriter,
        totals: &mut Totals,
    ) -> Result<()> {
        let flight = self.flight();
        for page in self.pages_of(work) {
            writer.begin_cluster(work.index, page)?;
            let rows = rows_of(&work.pages, page, flight.row);
            for chunk in rows.chunks(flight.rows) {
                let coded = self.pool.install(|| {
                    chunk
                        .par_iter()
                        .map_init(EncodeScratch::default, |scratch, row| {
                            self.code_row(work, row, scratch)
                        })
                        .collect::<Result<Vec<_>>>()
                })?;
                self.put(work, coded.into_iter().flatten(), writer, totals)?;
            }
            writer.finish_cluster()?;
        }
        Ok(())
    }

    /// The pages of a tier that this encode writes, in order.
    pub(super) fn pages_of<'w>(
        &self,
        work: &'w TierWork<'_>,
    ) -> impl Iterator<Item = [u64; 3]> + use<'w, '_> {
        let shard = self.options.shard;
        let mine = move |n: u64| shard.is_none_or(|(i, of)| n % u64::from(of) == u64::from(i));
        let pages = (0..).zip(work.pages.iter());
        pages.filter(move |(n, _)| mine(*n)).map(|(_, page)| page)
    }

    /// Writes blocks of the cluster that was begun, in order.
    pub(super) fn put(
        &self,
        work: &TierWork<'_>,
        coded: impl Iterator<Item = Coded>,
        writer: &mut HgvWriter,
        totals: &mut Totals,
    ) -> Result<()> {
        for c in coded {
            totals.add(&c, work.index, &work.grid);
            if let Some(above) = work.above {
                let place = halved(&work.grid, c.block, plan_depth(self.block_log2));
                above.put(&place, &c.coarsest)?;
            }
            let block = c.block;
            writer.put_block(block, &self.record(c, work.models, work.index)?)?;
        }
        Ok(())
    }

    /// Tells the caller that so many voxels more are done.
    pub(super) fn report_done(&self, work: &TierWork<'_>, voxels: u64) -> Result<()> {
        let done = work.done.fetch_add(voxels, Ordering::Relaxed) + voxels;
        let phase = if work.index == 0 {
            "encode"
        } else {
            "overview"
        };
        let total = Region::whole(work.grid.extent).voxels();
        report(self.progress, Progress { phase, done, total })
    }

    /// Encodes a row of blocks along x; their voxels are read at once.
    fn code_row(
        &self,
        work: &TierWork<'_>,
        row: &[[u64; 3]],
        scratch: &mut EncodeScratch,
    ) -> Result<Vec<Coded>> {
        let mut coded = Vec::new();
        self.read_row(work, row, |block, values| {
            self.report_done(work, values.len() as u64)?;
            coded.push(self.code(&work.plan, &work.grid, block, values, scratch)?);
            Ok(())
        })?;
        Ok(coded)
    }

    /// Hands out the values of a row of blocks along x, which are read at once.
    pub(super) fn read_row(
        &self,
        work: &TierWork<'_>,
        row: &[[u64; 3]],
        mut each: impl FnMut([u64; 3], &[f32]) -> Result<()>,
    ) -> Result<()> {
        let grid = &work.grid;
        let (Some(&first), Some(&last)) = (row.first(), row.last()) else {
            return Ok(());
        };
        let whole = Region {
            start: grid.region(first).start,
            end: grid.region(last).end,
        };
        let (mut line, mut values) = (Vec::new(), Vec::new());
        self.read(work.source, &whole, &mut line)?;
        for &block in row {
            let region = grid.region(block);
            values.clear();
            let (from, width) = (
                (region.start[0] - whole.start[0]) as usize,
                region.extent()[0] as usize,
            );
            for l in line.chunks_exact(whole.extent()[0] as usize) {
                values.extend_from_slice(&l[from..from + width]);
            }
            each(block, &values)?;
        }
        Ok(())
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
pub(super) fn rows_of(pages: &Pages, page: [u64; 3], longest: usize) -> Vec<Vec<[u64; 3]>> {
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
