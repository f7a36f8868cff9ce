//! Encoding: from a source of voxels to a finished file.

mod options;
pub use options::*;

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
