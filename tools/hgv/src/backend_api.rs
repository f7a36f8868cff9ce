//! The one place where the command line meets the libraries.
//!
//! Everything the commands need beyond `hgv::Volume` and `hgv::encode` goes through the functions
//! here, in the words of the command line.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hgv::analyze::{Analysis, AnalyzeOptions};
use hgv::encode::{EncodeOptions, EncodeReport, Progress};
use hgv::io::RangeSource;
use hgv::predict::Prediction;
use hgv::volume::{DType, Extent, Metadata, VoxelSource};
use hgv::{Result, Volume};
use serde::Serialize;

use crate::args::InputArgs;
use crate::{interrupt, polled};
use hgv::quality;
use hgv_volume_files as volume_files;

pub(crate) use volume_files::{Endian, NumberType};

/// A progress callback of the command line: `Break` cancels.
pub(crate) type OnProgress<'a> = &'a (dyn Fn(Progress) -> ControlFlow<()> + Sync);

/// An input volume and what is worth saying about it.
pub(crate) struct OpenVolume {
    /// Its voxels.
    pub(crate) source: Box<dyn VoxelSource>,
    /// What was assumed or changed, one line each.
    pub(crate) notices: Vec<String>,
    /// Whether the voxels lie in a scratch file.
    pub(crate) spooled: bool,
}

/// Opens a volume file that is not a .hgv file.
pub(crate) fn open_volume(
    path: &Path,
    raw: &InputArgs,
    cast: Option<DType>,
    scratch: Option<&Path>,
) -> Result<OpenVolume> {
    let options = volume_files::OpenOptions {
        shape: raw.shape,
        dtype: raw.dtype,
        endian: raw.endian,
        spacing: raw.spacing,
        skip: raw.skip,
        cast,
        scratch: scratch.map(Path::to_path_buf),
        region: None,
    };
    let opened = volume_files::open_volume(path, &options)?;
    Ok(OpenVolume {
        source: opened.source,
        notices: opened.notices,
        spooled: opened.spooled,
    })
}

/// A volume file under construction. It appears under its name only at [`Self::finish`]; a
/// writer that is dropped before leaves nothing behind.
pub(crate) struct VolumeFile(volume_files::VolumeWriter);

impl VolumeFile {
    pub(crate) fn create(
        path: &Path,
        extent: Extent,
        dtype: DType,
        metadata: &Metadata,
        force: bool,
    ) -> Result<Self> {
        interrupt::cooperate();
        volume_files::VolumeWriter::create(path, extent, dtype, metadata, force).map(Self)
    }

    /// Appends whole slices, little-endian, `[z][y][x]`.
    pub(crate) fn write(&mut self, slices: &[u8]) -> Result<()> {
        self.0.write_slab(slices)
    }

    /// Gives the file its name; returns what is worth saying, one line each.
    pub(crate) fn finish(self) -> Result<Vec<String>> {
        self.0.finish().map(|written| written.notices)
    }
}

/// Encodes `source` into `path`.
pub(crate) fn encode(
    source: &dyn VoxelSource,
    path: &Path,
    options: &EncodeOptions,
    progress: OnProgress<'_>,
) -> Result<EncodeReport> {
    interrupt::cooperate();
    hgv::encode::encode(source, path, options, progress)
}

/// One block, as `info --blocks` lists it.
#[derive(Debug, Serialize)]
pub(crate) struct BlockRow {
    /// Block coordinate x, y, z.
    pub(crate) block: [u64; 3],
    /// Kind of model, `constant` or `not written`.
    pub(crate) model: String,
    /// Payload bytes up to and including each quality level.
    pub(crate) bytes: Vec<u64>,
    /// Bounds of the decoded values.
    pub(crate) range: Option<[f64; 2]>,
}

/// Every block of the full resolution, in file order.
pub(crate) fn blocks(file: &Volume) -> Result<Vec<BlockRow>> {
    file.blocks(0)?
        .map(|block| {
            let block = block?;
            Ok(BlockRow {
                block: block.block,
                model: block.kind.name().into(),
                range: Some(block.range),
                bytes: block.bytes,
            })
        })
        .collect()
}

/// PSNR, SSIM and errors of `b` against `a`, with the JSON keys of the command line.
pub(crate) fn compare(
    a: &dyn VoxelSource,
    b: &dyn VoxelSource,
    threads: usize,
    progress: OnProgress<'_>,
) -> Result<serde_json::Value> {
    let options = quality::CompareOptions::default().with_threads(threads);
    let report = |done, total| {
        progress(Progress {
            phase: "compare",
            done,
            total,
        })
    };
    let comparison = quality::compare(a, b, &options, &report)?;
    serde_json::to_value(&comparison)
        .map_err(|e| hgv::Error::argument(format!("the comparison has no JSON form: {e}")))
}

/// Complexity and statistics of `source`, and what encodes of it should come to.
pub(crate) fn analyze(
    source: &dyn VoxelSource,
    options: AnalyzeOptions,
    progress: OnProgress<'_>,
) -> Result<(Analysis, Prediction)> {
    let analysis = hgv::analyze::analyze(source, &options, progress)?;
    let prediction = hgv::predict::predict(&analysis)?;
    Ok((analysis, prediction))
}

/// `source` reduced to level of detail `lod` by the filter that `file` states.
pub(crate) fn reduce_like<'a>(
    file: &Volume,
    source: Box<dyn VoxelSource + 'a>,
    lod: u32,
) -> Result<Box<dyn VoxelSource + 'a>> {
    let block = u32::try_from(file.block_side(0)?).unwrap_or(u32::MAX);
    hgv::encode::reduced(source, block, lod)
}

/// Checks a file; with `against`, its stored error figures too.
pub(crate) fn verify(
    source: Arc<dyn RangeSource>,
    against: Option<&dyn VoxelSource>,
    threads: usize,
    progress: OnProgress<'_>,
) -> Result<hgv::decode::VerifyReport> {
    hgv::decode::verify_source(source, against, threads, None, progress)
}

/// What `recover` brought back.
#[derive(Debug, Serialize)]
pub(crate) struct Recovered {
    /// Clusters in the new file.
    pub(crate) clusters: u64,
    /// Blocks in the new file.
    pub(crate) blocks: u64,
    /// Blocks of the volume that the new file lacks.
    pub(crate) missing_blocks: u64,
    /// Clusters that were found but are damaged.
    pub(crate) damaged_clusters: u64,
}

/// Writes every whole cluster of `input` to `output`.
pub(crate) fn recover(input: &Path, output: &Path, force: bool) -> Result<Recovered> {
    interrupt::cooperate();
    let report = hgv::writer::recover_source(polled::open(input)?, output, force)
        .map_err(|e| e.in_file(input.display()))?;
    let file = Volume::open(output)?;
    let all: u64 = file
        .reader()
        .tiers()
        .iter()
        .map(hgv::format::tier::count)
        .sum();
    Ok(Recovered {
        clusters: report.written.clusters,
        blocks: report.written.blocks,
        missing_blocks: all.saturating_sub(report.written.blocks),
        damaged_clusters: report.damaged,
    })
}

/// Writes the clusters of all `inputs` to `output`, with a new overview.
pub(crate) fn merge(
    inputs: &[PathBuf],
    output: &Path,
    options: &EncodeOptions,
    progress: OnProgress<'_>,
) -> Result<hgv::writer::MergeReport> {
    interrupt::cooperate();
    let sources = inputs
        .iter()
        .map(|p| polled::open(p))
        .collect::<Result<Vec<_>>>()?;
    hgv::encode::merge_sources(&sources, output, options, progress)
}
