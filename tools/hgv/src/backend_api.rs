//! The one place where the command line meets the libraries.
//!
//! Everything the commands need beyond `hgv::Volume` and `hgv::encode` goes through the functions
//! here, in the words of the command line. Module `standin` has the shape of the parts that are
//! not linked yet and refuses every call.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use hgv::encode::{EncodeOptions, EncodeReport, Progress};
use hgv::volume::{DType, Extent, Metadata, VoxelSource};
use hgv::{Result, Volume};
use serde::Serialize;

use crate::args::InputArgs;
use standin::{quality, reader, volume_files, writer};

pub(crate) use volume_files::{Endian, NumberType};

/// A progress callback of the command line: `Break` cancels.
pub(crate) type OnProgress<'a> = &'a (dyn Fn(Progress) -> ControlFlow<()> + Sync);

/// An input volume and what is worth saying about it.
pub(crate) struct OpenVolume {
    /// Its voxels.
    pub(crate) source: Box<dyn VoxelSource>,
    /// One line each, such as "spooled to a scratch file".
    pub(crate) notices: Vec<String>,
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
    hgv::encode::encode(source, path, options, progress)
}

/// Name of the backend that decodes this file, such as `cpu (avx2)`.
pub(crate) fn decode_backend(_file: &Volume) -> String {
    "cpu".into()
}

/// Side of a block in voxels of level of detail `lod`: reads of aligned multiples of it decode
/// every block once.
pub(crate) fn block_side(_file: &Volume, _lod: u32) -> u64 {
    64
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
    standin::blocks(file)
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

/// `source` reduced to level of detail `lod` by the filter that `file` states.
pub(crate) fn reduce_like<'a>(
    file: &Volume,
    source: &'a dyn VoxelSource,
    lod: u32,
) -> Result<Box<dyn VoxelSource + 'a>> {
    standin::reduce_like(file, source, lod)
}

/// What `verify` found.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Verified {
    /// Clusters checked.
    pub(crate) clusters: u64,
    /// Blocks checked.
    pub(crate) blocks: u64,
    /// Broken rules and checksums, one line each.
    pub(crate) problems: Vec<String>,
}

/// Checks a file; with `against`, its stored error figures too.
pub(crate) fn verify(
    path: &Path,
    against: Option<&dyn VoxelSource>,
    progress: OnProgress<'_>,
) -> Result<Verified> {
    let report = reader::verify(path, against, progress)?;
    Ok(Verified {
        clusters: report.clusters,
        blocks: report.blocks,
        problems: report.problems,
    })
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
}

/// Writes every whole cluster of `input` to `output`.
pub(crate) fn recover(input: &Path, output: &Path, force: bool) -> Result<Recovered> {
    let report = writer::recover(input, output, force)?;
    Ok(Recovered {
        clusters: report.clusters,
        blocks: report.blocks,
        missing_blocks: report.missing_blocks,
    })
}

/// Writes the clusters of all `inputs` to `output`.
pub(crate) fn merge(inputs: &[PathBuf], output: &Path, force: bool) -> Result<()> {
    writer::merge(inputs, output, force)
}

/// Signatures of the parts that are not linked yet. Every call says so.
#[allow(
    dead_code,
    reason = "the fields are read by the parts that are not linked yet"
)]
mod standin {
    use super::{BlockRow, Volume, VoxelSource};
    use hgv::{Error, Result};

    fn missing<T>(part: &str) -> Result<T> {
        Err(Error::Unsupported(format!(
            "{part} is not part of this build"
        )))
    }

    pub(super) fn blocks(_: &Volume) -> Result<Vec<BlockRow>> {
        missing("the list of blocks")
    }

    pub(super) fn reduce_like<'a>(
        _: &Volume,
        _: &'a dyn VoxelSource,
        _: u32,
    ) -> Result<Box<dyn VoxelSource + 'a>> {
        missing("comparison at a level of detail")
    }

    pub(super) mod volume_files {
        use super::missing;
        use hgv::volume::{DType, Extent, Metadata, VoxelSource};
        use hgv::{Error, Result};
        use std::path::{Path, PathBuf};

        #[derive(Debug, Clone, Copy)]
        pub(crate) struct NumberType(DType);

        impl NumberType {
            pub(crate) fn parse(word: &str) -> Option<Self> {
                DType::parse(word).map(Self)
            }
        }

        #[derive(Debug, Clone, Copy)]
        pub(crate) enum Endian {
            Little,
            Big,
        }

        impl Endian {
            pub(crate) fn parse(word: &str) -> Option<Self> {
                match word {
                    "le" => Some(Self::Little),
                    "be" => Some(Self::Big),
                    _ => None,
                }
            }
        }

        pub(crate) struct OpenOptions {
            pub(crate) shape: Option<[u64; 3]>,
            pub(crate) dtype: Option<NumberType>,
            pub(crate) endian: Option<Endian>,
            pub(crate) spacing: Option<[f64; 3]>,
            pub(crate) skip: Option<u64>,
            pub(crate) cast: Option<DType>,
            pub(crate) scratch: Option<PathBuf>,
            pub(crate) region: Option<hgv::volume::Region>,
        }

        pub(crate) struct OpenedVolume {
            pub(crate) source: Box<dyn VoxelSource>,
            pub(crate) notices: Vec<String>,
        }

        pub(crate) fn open_volume(path: &Path, _: &OpenOptions) -> Result<OpenedVolume> {
            std::fs::metadata(path).map_err(|e| Error::io(path.display().to_string(), e))?;
            missing("reading volume files")
        }

        pub(crate) struct Written {
            pub(crate) notices: Vec<String>,
        }

        pub(crate) struct VolumeWriter;

        impl VolumeWriter {
            pub(crate) fn create(
                _: &Path,
                _: Extent,
                _: DType,
                _: &Metadata,
                _: bool,
            ) -> Result<Self> {
                missing("writing volume files")
            }

            pub(crate) fn write_slab(&mut self, _: &[u8]) -> Result<()> {
                missing("writing volume files")
            }

            pub(crate) fn finish(self) -> Result<Written> {
                missing("writing volume files")
            }
        }
    }

    pub(super) mod quality {
        use super::missing;
        use hgv::Result;
        use hgv::volume::VoxelSource;
        use std::ops::ControlFlow;

        #[derive(serde::Serialize)]
        pub(crate) struct Comparison {
            psnr: Option<f64>,
        }

        #[derive(Default)]
        pub(crate) struct CompareOptions {
            threads: usize,
        }

        impl CompareOptions {
            pub(crate) fn with_threads(self, threads: usize) -> Self {
                Self { threads }
            }
        }

        pub(crate) fn compare(
            _: &dyn VoxelSource,
            _: &dyn VoxelSource,
            _: &CompareOptions,
            _: &(dyn Fn(u64, u64) -> ControlFlow<()> + Sync),
        ) -> Result<Comparison> {
            missing("comparison")
        }
    }

    pub(super) mod reader {
        use super::missing;
        use crate::backend_api::OnProgress;
        use hgv::Result;
        use hgv::volume::VoxelSource;
        use std::path::Path;

        pub(crate) fn verify(
            _: &Path,
            _: Option<&dyn VoxelSource>,
            _: OnProgress<'_>,
        ) -> Result<crate::backend_api::Verified> {
            missing("verification")
        }
    }

    pub(super) mod writer {
        use super::missing;
        use hgv::Result;
        use std::path::{Path, PathBuf};

        pub(crate) fn recover(
            _: &Path,
            _: &Path,
            _: bool,
        ) -> Result<crate::backend_api::Recovered> {
            missing("recovery")
        }

        pub(crate) fn merge(_: &[PathBuf], _: &Path, _: bool) -> Result<()> {
            missing("merging")
        }
    }
}
