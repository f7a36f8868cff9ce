//! Joining shards, overview included: its voxels come from the blocks that the shards hold.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::job::Job;
use super::overview::TierVoxels;
use super::pass::halved;
use super::plan::{self, Models};
use super::scan::{Scan, report};
use super::totals::Totals;
use super::{EncodeOptions, Progress, ProgressFn};
use crate::backend::cpu::{CpuBackend, Scratch};
use crate::decode::BlockDecoder;
use crate::io::{FileSource, RangeSource};
use crate::model::{Residual, ValueMap};
use crate::reader::{BlockEntry, HgvReader};
use crate::volume::{BlockGrid, DType, Extent, Metadata, Region, VoxelSource};
use crate::writer::{self, HgvWriter, MergeReport};
use crate::{Error, Limits, Result};

/// Joins shards of one volume into a new file at `output`: clusters byte for byte, and a new
/// overview made from what they decode to. One finished or recovered file may stand alone: it
/// gets a new overview.
///
/// # Errors
/// [`Error::InvalidArgument`] if the shards do not belong together or overlap; what is wrong with
/// one of them; [`Error::Exists`], [`Error::Cancelled`], [`Error::Io`].
pub fn merge(
    inputs: &[PathBuf],
    output: &Path,
    options: &EncodeOptions,
    progress: &ProgressFn,
) -> Result<MergeReport> {
    let open = |p: &PathBuf| Ok(Arc::new(FileSource::open(p)?) as Arc<dyn RangeSource>);
    let sources = inputs.iter().map(open).collect::<Result<Vec<_>>>()?;
    merge_sources(&sources, output, options, progress)
}

/// [`merge`] from any sources.
///
/// # Errors
/// As [`merge`].
pub fn merge_sources(
    sources: &[Arc<dyn RangeSource>],
    output: &Path,
    options: &EncodeOptions,
    progress: &ProgressFn,
) -> Result<MergeReport> {
    let pool = crate::quality::workers(options.threads)?;
    let mut build = |readers: &[HgvReader], out: &mut HgvWriter| {
        overviews(readers, out, output, options, &pool, progress)
    };
    writer::merge_sources(sources, output, options.force, Some(&mut build))
}

fn overviews(
    readers: &[HgvReader],
    out: &mut HgvWriter,
    output: &Path,
    options: &EncodeOptions,
    pool: &rayon::ThreadPool,
    progress: &ProgressFn,
) -> Result<()> {
    let shape = out.shape().clone();
    let Some(first) = readers.first().filter(|_| shape.tiers.len() > 1) else {
        return Ok(());
    };
    let values = ValueMap {
        dtype: shape.dtype,
        exponent: shape.value_exp,
    };
    let source = NoVoxels {
        extent: shape.extent,
        dtype: shape.dtype,
        metadata: first.metadata().clone(),
    };
    let options = EncodeOptions {
        levels: u32::from(shape.layers.levels()),
        shard: None,
        ..options.clone()
    };
    let unit = values.unit();
    let models = Models::from_records(&shape.models)?;
    let job = Job {
        source: &source,
        options: &options,
        scan: Scan {
            values,
            min: f64::from(shape.q_min) * unit,
            max: f64::from(shape.q_max) * unit,
            masked: models.masked(),
            q_min: shape.q_min,
            q_max: shape.q_max,
        },
        coder: shape.coder,
        cpu: CpuBackend::new(),
        device: None,
        pool,
        progress,
        block_log2: u32::from(shape.block_log2),
        residual: Residual::None,
        entropy: plan::coder(options.preset),
        reversible: plan::Reversible::Never,
        rough: false,
        curve: None,
        filter: None,
        spectrum: None,
        few_values: None,
        ranked: false,
        predicted: None,
        spent: 0.0,
    };
    let decoder = BlockDecoder::new(&shape, job.cpu, &Limits::default())?;
    let voxels = job.tier_voxels(&shape.tiers[1], output)?;
    for reader in readers {
        coarsest(reader, &decoder, &voxels, pool, progress)?;
    }
    job.write_overviews(
        &models,
        &shape.tiers,
        voxels,
        out,
        output,
        &mut Totals::default(),
    )
}

/// Decodes the coarsest band of every block of tier 0 that a shard holds.
fn coarsest(
    reader: &HgvReader,
    decoder: &BlockDecoder,
    voxels: &TierVoxels,
    pool: &rayon::ThreadPool,
    progress: &ProgressFn,
) -> Result<()> {
    let (tier, layers) = (reader.tiers()[0], reader.layers().len());
    let grid = BlockGrid {
        extent: tier.extent,
        block_log2: u32::from(reader.shape().block_log2),
    };
    let total = Region::whole(tier.extent).voxels();
    let mut done = 0;
    let mut entries = reader.blocks(0)?.peekable();
    while entries.peek().is_some() {
        let batch: Vec<BlockEntry> = entries.by_ref().take(32).collect::<Result<_>>()?;
        let decoded: Vec<Vec<i32>> = pool.install(|| {
            batch
                .par_iter()
                .map_init(Scratch::default, |scratch, entry| {
                    let shape = decoder.shape(&grid, entry.block);
                    let mut q = Vec::new();
                    decoder.decode(
                        entry,
                        &reader.read_layers(entry, layers)?,
                        shape,
                        shape.depth,
                        scratch,
                        &mut q,
                    )?;
                    Ok(q)
                })
                .collect::<Result<_>>()
        })?;
        for (entry, q) in batch.iter().zip(&decoded) {
            let depth = decoder.shape(&grid, entry.block).depth;
            voxels.put(&halved(&grid, entry.block, depth), q)?;
            done += grid.region(entry.block).voxels();
        }
        report(
            progress,
            Progress {
                phase: "overview",
                done,
                total,
            },
        )?;
    }
    Ok(())
}

/// Stands for a volume whose voxels are only in its shards.
struct NoVoxels {
    extent: Extent,
    dtype: DType,
    metadata: Metadata,
}

impl VoxelSource for NoVoxels {
    fn extent(&self) -> Extent {
        self.extent
    }
    fn dtype(&self) -> DType {
        self.dtype
    }
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
    fn read(&self, _region: &Region, _out: &mut [u8]) -> Result<()> {
        Err(Error::argument("a merge has no original voxels"))
    }
}
