//! Encoding: from a source of voxels to a finished file.

mod block;
mod forward;
mod options;
pub(crate) mod plan;
mod quantise;
pub use options::*;
pub use block::LevelError;
pub(crate) use block::{BlockPlan, EncodeScratch, EncodedBlock, encode_block};
#[cfg(feature = "bench")]
pub(crate) use {forward::forward, quantise::quantise};

use crate::Result;
use crate::volume::VoxelSource;
use std::path::Path;

/// Encodes `source` into a new file at `path`.
///
/// # Errors
/// See [`crate::Error`].
pub fn encode(
    _source: &dyn VoxelSource,
    _path: &Path,
    _options: &EncodeOptions,
    _progress: &ProgressFn,
) -> Result<EncodeReport> {
    Err(crate::Error::Unsupported("scaffold".into()))
}
