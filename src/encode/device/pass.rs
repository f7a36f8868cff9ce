//! A tier of a pass by batches: one is read and one is coded while the device works on a third.

use std::borrow::Cow;

use rayon::prelude::*;

use super::super::block::{BlockPlan, EncodeScratch};
use super::super::code::{Coded, Kind, Ready, TierSource, neighbours};
use super::super::grid::GridChoice;
use super::super::job::Job;
use super::super::pass::{TierWork, rows_of};
use super::super::sums::MinMax;
use super::super::totals::Totals;
use super::grids;
use super::planes::bytes_a_voxel;
use super::{BatchEncoder, BlockInput, Found, Lane, UnderWay, Wanted};
use crate::backend::ValueRange;
use crate::model::Precision;
use crate::volume::BlockGrid;
use crate::writer::HgvWriter;
use crate::{Error, Result};

/// Batches under way at once: one on the device, one that the CPU reads or codes.
const LANES: u64 = 2;
/// Blocks beyond which a batch gains nothing.
const MOST: u64 = 4096;
/// Share of the memory of a device that batches take.
const SHARE: f64 = 0.8;

/// Blocks of one page that are worked on together.
struct Batch {
    page: [u64; 3],
    rows: Vec<Vec<[u64; 3]>>,
    /// Whether its page begins and ends with it.
    first: bool,
    last: bool,
}

/// A batch that was read, and what the device makes of it.
struct Reading {
    batch: Batch,
    blocks: Vec<Ready<'static>>,
    device: Device,
}

/// How far the device is with a batch.
#[derive(Default)]
struct Device {
    /// For each block its range; `None` if it needs no device.
    ranges: Vec<Option<ValueRange>>,
    /// For each block, which of the inputs it is.
    slots: Vec<Option<usize>>,
    under_way: Vec<UnderWay>,
    /// What came back already, for each model.
    done: Vec<Vec<Option<Found>>>,
}

/// What all batches of a tier or a sample share.
pub(in super::super) struct Stage<'a> {
    pub(in super::super) encoder: &'a BatchEncoder,
    pub(in super::super) plan: &'a BlockPlan<'a>,
    pub(in super::super) grid: &'a BlockGrid,
}

impl Job<'_> {
    /// Encodes a tier; batches are coded and written in the order of their blocks.
    pub(in super::super) fn write_on_device(
        &self,
        encoder: &BatchEncoder,
        work: &TierWork<'_>,
        writer: &mut HgvWriter,
        totals: &mut Totals,
    ) -> Result<()> {
        let stage = Stage {
            encoder,
            plan: &work.plan,
            grid: &work.grid,
        };
        let mut lanes = Vec::new();
        let mut before: Option<Reading> = None;
        for batch in self.batches(encoder, work) {
            let blocks = self.read_batch(work, &batch)?;
            let device = self.submit(&stage, &blocks, &mut lanes)?;
            let reading = Reading {
                batch,
                blocks,
                device,
            };
            if let Some(before) = before.replace(reading) {
                self.write_batch(&stage, work, before, &mut lanes, writer, totals)?;
            }
        }
        match before {
            Some(last) => self.write_batch(&stage, work, last, &mut lanes, writer, totals),
            None => Ok(()),
        }
    }

    fn batches(&self, encoder: &BatchEncoder, work: &TierWork<'_>) -> Vec<Batch> {
        let blocks = self.blocks_at_once(encoder, &work.plan) as usize;
        let row = self.flight().row.min(blocks);
        let of_page = |page| {
            let rows = rows_of(&work.pages, page, row);
            let chunks: Vec<_> = rows.chunks((blocks / row).max(1)).collect();
            let last = chunks.len();
            let batch = |(i, rows): (usize, &[Vec<[u64; 3]>])| Batch {
                page,
                rows: rows.to_vec(),
                first: i == 0,
                last: i + 1 == last,
            };
            chunks
                .into_iter()
                .enumerate()
                .map(batch)
                .collect::<Vec<_>>()
        };
        self.pages_of(work).flat_map(of_page).collect()
    }

    /// Blocks of a batch, so that what is under way fits the memory of host and device.
    fn blocks_at_once(&self, encoder: &BatchEncoder, plan: &BlockPlan<'_>) -> u64 {
        let voxels = 1u64 << (3 * self.block_log2);
        let wide = plan.model.precision == Precision::I32;
        let searches = plan.search.is_some();
        let grids = match plan.grid.choice {
            GridChoice::Never => 0,
            GridChoice::Always | GridChoice::Cheaper => grids::BYTES_A_VOXEL * voxels,
        };
        let on_device =
            bytes_a_voxel(plan.model.qualities, wide, searches) * voxels * LANES + grids;
        let memory = (encoder.device.limits().memory as f64 * SHARE) as u64;
        // Values, and what is page-locked: the values again, and indices on their way and as copied.
        let index = if wide { 4 } else { 2 } * u64::from(plan.model.qualities);
        let on_host = (8 + 2 * index) * voxels * LANES + grids;
        (memory / on_device)
            .min(self.options.memory / 2 / on_host)
            .clamp(1, MOST)
    }

    /// Reads a batch, row by row on all threads.
    fn read_batch(&self, work: &TierWork<'_>, batch: &Batch) -> Result<Vec<Ready<'static>>> {
        let read = |row: &Vec<[u64; 3]>| {
            let mut blocks = Vec::new();
            self.read_row(work, row, |block, values| {
                let values = Cow::Owned(values.to_vec());
                blocks.push(self.ready(&work.plan, block, values));
                Ok(())
            })?;
            Ok(blocks)
        };
        let rows: Vec<Vec<_>> =
            (self.pool).install(|| batch.rows.par_iter().map(read).collect::<Result<_>>())?;
        Ok(rows.into_iter().flatten().collect())
    }

    /// Hands blocks to the device, under each of the models of the plan.
    fn submit(
        &self,
        stage: &Stage<'_>,
        blocks: &[Ready<'_>],
        lanes: &mut Vec<Lane>,
    ) -> Result<Device> {
        let Stage {
            encoder,
            plan,
            grid,
        } = *stage;
        let ranges: Vec<Option<ValueRange>> = self.pool.install(|| {
            let range = |ready| self.range_of(plan, ready);
            blocks.par_iter().map(range).collect::<Result<_>>()
        })?;
        let mut device = Device::default();
        let mut inputs = Vec::new();
        for (ready, range) in blocks.iter().zip(&ranges) {
            device.slots.push(range.map(|_| inputs.len()));
            let region = grid.region(ready.block);
            inputs.extend(range.map(|range| BlockInput {
                shape: self.shape_of(grid, ready.block),
                range,
                values: &ready.values,
                sides: neighbours(grid, &region),
            }));
        }
        device.ranges = ranges;
        if inputs.is_empty() || plan.grid.choice == GridChoice::Always {
            return Ok(device);
        }
        let models = [Some(plan.model), plan.reversible.map(|r| r.0)];
        for model in models.into_iter().flatten() {
            let wanted = Wanted::new(plan, model);
            let lane = lanes.pop().map_or_else(|| encoder.lane(), Ok)?;
            match encoder.submit(lane, &wanted, &inputs) {
                Ok(under_way) => device.under_way.push(under_way),
                Err(Error::DeviceMemory(_)) => {
                    lanes.clear();
                    for earlier in device.under_way.drain(..) {
                        device.done.push(earlier.finish()?.0);
                    }
                    device.done.push(encoder.in_parts(&wanted, &inputs)?);
                }
                Err(other) => return Err(other),
            }
        }
        Ok(device)
    }

    /// Range of a block that needs a device; `None` of one value alone, which is a constant or takes no time.
    fn range_of(&self, plan: &BlockPlan<'_>, ready: &Ready<'_>) -> Result<Option<ValueRange>> {
        let (min, max) = self.cpu.with_vectors(MinMax(&ready.values));
        if min >= max {
            return Ok(None);
        }
        let (lo, hi) = (min.floor() as i32, max.ceil() as i32);
        let range = match (&ready.kind, self.ranks()) {
            (Kind::Ranks, Some(ranks)) => self.rank_range(ranks, lo, hi)?,
            _ => (plan.range)(lo, hi)?,
        };
        Ok(Some(range))
    }

    /// Codes a batch from what the device found, and writes it.
    fn write_batch(
        &self,
        stage: &Stage<'_>,
        work: &TierWork<'_>,
        reading: Reading,
        lanes: &mut Vec<Lane>,
        writer: &mut HgvWriter,
        totals: &mut Totals,
    ) -> Result<()> {
        let Reading {
            batch,
            blocks,
            device,
        } = reading;
        let done = |voxels| self.report_done(work, voxels);
        let coded = self.code_batch(stage, &blocks, device, lanes, &done)?;
        if batch.first {
            writer.begin_cluster(work.index, batch.page)?;
        }
        self.put(work, coded.into_iter(), writer, totals)?;
        if batch.last {
            writer.finish_cluster()?;
        }
        Ok(())
    }

    /// Codes blocks from what the device found; `done` hears the voxels of each.
    fn code_batch(
        &self,
        stage: &Stage<'_>,
        blocks: &[Ready<'_>],
        device: Device,
        lanes: &mut Vec<Lane>,
        done: &(dyn Fn(u64) -> Result<()> + Sync),
    ) -> Result<Vec<Coded>> {
        let trained = self.train_grids(stage, blocks, &device.ranges)?;
        let mut all = device.done;
        for under_way in device.under_way {
            let (found, lane) = under_way.finish()?;
            all.push(found);
            lanes.push(lane);
        }
        let code = |scratch: &mut EncodeScratch, (ready, slot): (&Ready<'_>, &Option<usize>)| {
            let of_block = |slot: usize| {
                all.iter()
                    .filter_map(move |a| a.get(slot).cloned().flatten())
            };
            let found: Vec<Found> = slot.map(of_block).into_iter().flatten().collect();
            let mut plan = BlockPlan {
                found: &found,
                ..*stage.plan
            };
            plan.grid.trained = slot.and_then(|s| trained.get(s)?.as_ref());
            done(ready.values.len() as u64)?;
            self.code_ready(&plan, stage.grid, ready, scratch)
        };
        self.pool.install(|| {
            let pairs = blocks.par_iter().zip(&device.slots);
            pairs
                .map_init(EncodeScratch::default, code)
                .collect::<Result<_>>()
        })
    }

    /// Encodes blocks of tier 0 and keeps only the sums.
    pub(in super::super) fn measure_on_device(
        &self,
        stage: &Stage<'_>,
        blocks: &[[u64; 3]],
        done: &(dyn Fn(u64) -> Result<()> + Sync),
    ) -> Result<Totals> {
        let Stage {
            encoder,
            plan,
            grid,
        } = *stage;
        let mut totals = self.no_totals();
        let mut lanes = Vec::new();
        let mut before: Option<(Vec<Ready<'static>>, Device)> = None;
        let mut take = |(blocks, device): (Vec<Ready<'static>>, Device), lanes: &mut Vec<Lane>| {
            let coded = self.code_batch(stage, &blocks, device, lanes, done)?;
            coded.iter().for_each(|c| totals.add(c, 0, grid));
            Ok::<(), Error>(())
        };
        for chunk in blocks.chunks(self.blocks_at_once(encoder, plan) as usize) {
            let read = |&block: &[u64; 3]| {
                let mut values = Vec::new();
                let source = TierSource::Volume(self.source);
                self.read(&source, &grid.region(block), &mut values)?;
                Ok(self.ready(plan, block, Cow::Owned(values)))
            };
            let blocks: Vec<Ready<'static>> =
                (self.pool).install(|| chunk.par_iter().map(read).collect::<Result<_>>())?;
            let device = self.submit(stage, &blocks, &mut lanes)?;
            if let Some(before) = before.replace((blocks, device)) {
                take(before, &mut lanes)?;
            }
        }
        if let Some(last) = before {
            take(last, &mut lanes)?;
        }
        Ok(totals)
    }
}
