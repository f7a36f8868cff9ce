//! Checking a whole file: every rule, every checksum, every payload, and, beside the original,
//! the error figures that the index states.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use super::blocks::{Decoded, Wanted};
use super::volume::Volume;
use crate::backend::{Backend, Numbers};
use crate::io::{FileSource, RangeSource};
use crate::progress::{Progress, ProgressFn};
use crate::reader::{BlockEntry, BlockState};
use crate::volume::{BlockGrid, VoxelSource};
use crate::{Error, Limits, Result};

/// Problems listed at most; more are only counted.
const LISTED: usize = 100;

/// What [`verify`] found.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Clusters of all tiers.
    pub clusters: u64,
    /// Blocks of all tiers.
    pub blocks: u64,
    /// Broken rules and checksums, one line each; the first hundred.
    pub problems: Vec<String>,
    /// Number of problems.
    pub problem_count: u64,
}

impl VerifyReport {
    fn add(&mut self, problem: String) {
        self.problem_count += 1;
        if self.problems.len() < LISTED {
            self.problems.push(problem);
        }
    }
}

/// Reads and decodes every byte of the file at `path`. With `against`, the original volume, also
/// checks that no block is off by more than the index says.
///
/// # Errors
/// [`Error::Io`], [`Error::Cancelled`], [`Error::Unsupported`] for a foreign file,
/// [`Error::InvalidArgument`] if the original has another extent. What is wrong with the file is
/// not an error but part of the report.
pub fn verify(
    path: &Path,
    against: Option<&dyn VoxelSource>,
    threads: usize,
    progress: &ProgressFn,
) -> Result<VerifyReport> {
    let source = Arc::new(FileSource::open(path)?);
    verify_source(source, against, threads, None, progress)
}

/// [`verify`] of a file that is open already, or that lies elsewhere, with a backend of the caller's.
///
/// # Errors
/// As [`verify`], and what the source or the backend's device says.
pub fn verify_source(
    source: Arc<dyn RangeSource>,
    against: Option<&dyn VoxelSource>,
    threads: usize,
    backend: Option<Arc<dyn Backend>>,
    progress: &ProgressFn,
) -> Result<VerifyReport> {
    let mut report = VerifyReport::default();
    let opened = Volume::from_source(source, Limits::default());
    let opened = opened.and_then(|v| v.with_threads(threads));
    let opened = opened.map(|v| match backend {
        Some(backend) => v.with_backend(backend),
        None => v,
    });
    let Some(volume) = finding(opened, &mut report)? else {
        return Ok(report);
    };
    if against.is_some_and(|a| a.extent() != volume.extent() || a.dtype() != volume.dtype()) {
        return Err(Error::argument(
            "the original has another extent or voxel type than the file",
        ));
    }
    if let Some(structure) = finding(volume.reader.verify_structure(), &mut report)? {
        (report.clusters, report.blocks) = (structure.clusters, structure.blocks);
    }
    let bytes = |done, total| {
        progress(Progress {
            phase: "checksums",
            done,
            total,
        })
    };
    if let Some(payloads) = finding(
        volume.reader.verify_payloads(&mut |d, t| bytes(d, t)),
        &mut report,
    )? {
        payloads
            .faults
            .into_iter()
            .for_each(|e| report.add(e.to_string()));
    }
    if report.problem_count == 0 {
        decode_all(&volume, against, progress, &mut report)?;
    }
    Ok(report)
}

/// Faults of the file become problems; everything else stays an error.
fn finding<T>(result: Result<T>, report: &mut VerifyReport) -> Result<Option<T>> {
    match result {
        Ok(v) => Ok(Some(v)),
        Err(
            e @ (Error::Corrupt { .. }
            | Error::Checksum { .. }
            | Error::Truncated { .. }
            | Error::Unfinished(_)),
        ) => {
            report.add(e.to_string());
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

fn decode_all(
    volume: &Volume,
    against: Option<&dyn VoxelSource>,
    progress: &ProgressFn,
    report: &mut VerifyReport,
) -> Result<()> {
    for (index, tier) in volume.reader.tiers().iter().enumerate() {
        let grid = BlockGrid {
            extent: tier.extent,
            block_log2: u32::from(volume.reader.shape().block_log2),
        };
        let original = against.filter(|_| index == 0);
        let (mut done, total) = (0, crate::volume::Region::whole(tier.extent).voxels());
        let mut entries = volume.reader.blocks(index as u8)?.peekable();
        while entries.peek().is_some() {
            let batch: Vec<BlockEntry> = entries
                .by_ref()
                .take(at_once(volume))
                .collect::<Result<_>>()?;
            let checked = check_batch(volume, &grid, &batch, original)?;
            for found in checked {
                finding(found, report)?
                    .into_iter()
                    .flatten()
                    .for_each(|p| report.add(p));
            }
            done += batch
                .iter()
                .map(|e| grid.region(e.block).voxels())
                .sum::<u64>();
            if let ControlFlow::Break(()) = progress(Progress {
                phase: "decode",
                done,
                total,
            }) {
                return Err(Error::Cancelled);
            }
        }
    }
    Ok(())
}

/// Blocks that are checked side by side.
fn at_once(volume: &Volume) -> usize {
    let threads = 8 * volume.pool.current_num_threads();
    let on_device = volume.decoder.backend.cuda().map(|cuda| {
        let voxels = 1 << (3 * u32::from(volume.reader.shape().block_log2));
        // Memory of the host is bounded by what a device takes at once, a few hundred megabytes.
        cuda.batch_blocks(voxels, 4, volume.decoder.models().values())
            .min(128)
    });
    on_device.map_or(threads, |blocks| blocks.max(threads))
}

/// Decodes blocks at every level and compares their errors with the ones that the index states.
fn check_batch(
    volume: &Volume,
    grid: &BlockGrid,
    batch: &[BlockEntry],
    original: Option<&dyn VoxelSource>,
) -> Result<Vec<Result<Vec<String>>>> {
    let layers = volume.reader.layers();
    volume.pool.install(|| {
        let payloads: Vec<Result<Vec<Vec<u8>>>> = (batch.par_iter())
            .map(|entry| volume.reader.read_layers(entry, layers.len()))
            .collect();
        let (mut wanted, mut of) = (Vec::new(), Vec::new());
        for (i, (entry, payload)) in batch.iter().zip(&payloads).enumerate() {
            let Ok(payload) = payload else { continue };
            for prefix in prefixes(volume, entry, original.is_some()) {
                of.push(i);
                wanted.push(Wanted {
                    entry,
                    layers: payload.get(..prefix).unwrap_or(payload),
                    shape: volume.decoder.shape(grid, entry.block),
                    lod: 0,
                });
            }
        }
        let mut decoded: Vec<Vec<Result<Decoded>>> = batch.iter().map(|_| Vec::new()).collect();
        for (i, result) in of.into_iter().zip(volume.decoder.decode_many(&wanted)?) {
            decoded[i].push(result);
        }
        let blocks = batch.par_iter().zip(payloads).zip(decoded);
        Ok(blocks
            .map(|((entry, payload), levels)| {
                payload?;
                let levels = levels.into_iter().collect::<Result<Vec<_>>>()?;
                judge(volume, grid, entry, original, &levels)
            })
            .collect())
    })
}

/// The prefixes of its layers that a block is decoded from: one for each level that the index states errors
/// of, or the whole.
fn prefixes(volume: &Volume, entry: &BlockEntry, compare: bool) -> Vec<usize> {
    let layers = volume.reader.layers();
    match &entry.state {
        BlockState::Payload(stored) if compare => (0..stored.errors.len())
            .map(|level| layers.prefix(0, level as u8))
            .collect(),
        _ => vec![layers.len()],
    }
}

/// Compares the errors of a block at every level with the ones that the index states.
fn judge(
    volume: &Volume,
    grid: &BlockGrid,
    entry: &BlockEntry,
    original: Option<&dyn VoxelSource>,
    levels: &[Decoded],
) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let (Some(original), BlockState::Payload(stored)) = (original, &entry.state) else {
        return Ok(problems);
    };
    let shape = volume.decoder.shape(grid, entry.block);
    let mut bytes = vec![0; shape.voxels() * original.dtype().size()];
    original.read(&grid.region(entry.block), &mut bytes)?;
    let mut units = Vec::new();
    volume.values.to_units(&bytes, &mut units);
    let coder = volume.reader.shape().coder;
    for (level, (codes, (decoded, numbers))) in stored.errors.iter().zip(levels).enumerate() {
        if *numbers == Numbers::FloatBits {
            problems.extend(differing_bits(entry, level, &bytes, decoded));
            continue;
        }
        let mut stats = crate::quality::ErrorStats::default();
        let voxels: Vec<f32> = decoded.iter().map(|&q| q as f32).collect();
        stats.add_f32(&units, &voxels);
        for (name, measured, code) in [
            ("RMSE", stats.rmse(), codes[0]),
            ("largest error", stats.max_abs, codes[1]),
        ] {
            // The encoder sums in another order.
            if measured > coder.decode_error(code) * (1.0 + 1e-5) {
                let unit = volume.values.unit();
                problems.push(format!(
                    "block {:?}, level {level}: {name} {} is over the {} that the index states",
                    entry.block,
                    measured * unit,
                    coder.decode_error(code) * unit
                ));
            }
        }
    }
    Ok(problems)
}

/// A complaint if voxels of a block differ from the bits of the original.
fn differing_bits(
    entry: &BlockEntry,
    level: usize,
    original: &[u8],
    bits: &[i32],
) -> Option<String> {
    let pairs = original.chunks_exact(4).zip(bits);
    let wrong = pairs.filter(|(o, b)| **o != b.to_le_bytes()).count();
    (wrong > 0).then(|| {
        format!(
            "block {:?}, level {level}: {wrong} voxels differ from the original's bits",
            entry.block
        )
    })
}
