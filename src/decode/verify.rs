//! Checking a whole file: every rule, every checksum, every payload, and, beside the original,
//! the error figures that the index states.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use super::volume::Volume;
use crate::backend::Numbers;
use crate::backend::cpu::Scratch;
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
    verify_source(
        Arc::new(FileSource::open(path)?),
        against,
        threads,
        progress,
    )
}

/// [`verify`] of a file that is open already, or that lies elsewhere.
///
/// # Errors
/// As [`verify`], and what the source says.
pub fn verify_source(
    source: Arc<dyn RangeSource>,
    against: Option<&dyn VoxelSource>,
    threads: usize,
    progress: &ProgressFn,
) -> Result<VerifyReport> {
    let mut report = VerifyReport::default();
    let opened =
        Volume::from_source(source, Limits::default()).and_then(|v| v.with_threads(threads));
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
                .take(8 * volume.pool.current_num_threads())
                .collect::<Result<_>>()?;
            let checked: Vec<Result<Vec<String>>> = volume.pool.install(|| {
                batch
                    .par_iter()
                    .map_init(Scratch::default, |s, e| {
                        check_block(volume, &grid, e, original, s)
                    })
                    .collect()
            });
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

/// Decodes a block at every level and compares its errors with the ones that the index states.
fn check_block(
    volume: &Volume,
    grid: &BlockGrid,
    entry: &BlockEntry,
    original: Option<&dyn VoxelSource>,
    scratch: &mut Scratch,
) -> Result<Vec<String>> {
    let (layers, shape) = (
        volume.reader.layers(),
        volume.decoder.shape(grid, entry.block),
    );
    let payload = volume.reader.read_layers(entry, layers.len())?;
    let mut decoded = Vec::new();
    let mut problems = Vec::new();
    let (Some(original), BlockState::Payload(stored)) = (original, &entry.state) else {
        volume
            .decoder
            .decode(entry, &payload, shape, 0, scratch, &mut decoded)?;
        return Ok(problems);
    };
    let mut bytes = vec![0; shape.voxels() * original.dtype().size()];
    original.read(&grid.region(entry.block), &mut bytes)?;
    let mut units = Vec::new();
    volume.values.to_units(&bytes, &mut units);
    let coder = volume.reader.shape().coder;
    for (level, codes) in stored.errors.iter().enumerate() {
        let prefix = layers.prefix(0, level as u8);
        let numbers =
            volume
                .decoder
                .decode(entry, &payload[..prefix], shape, 0, scratch, &mut decoded)?;
        if numbers == Numbers::FloatBits {
            problems.extend(differing_bits(entry, level, &bytes, &decoded));
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
