//! What a header says: where the voxels are and what they mean.

use crate::element::{Endian, NumberType};
use crate::failure::bad;
use crate::format::Format;
use hgv::Result;
use hgv::volume::{Extent, Metadata};
use std::path::{Path, PathBuf};

/// The result of parsing a header.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) format: Format,
    pub(crate) extent: Extent,
    pub(crate) number: NumberType,
    pub(crate) endian: Endian,
    pub(crate) metadata: Metadata,
    pub(crate) start: Start,
    /// Files that hold the voxels in equal shares; empty if they are in the file of the header.
    pub(crate) detached: Vec<PathBuf>,
    pub(crate) notices: Vec<String>,
}

/// Where the voxels start in their file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Start {
    /// Unpacked bytes before them (or before the lines to skip).
    pub(crate) offset: u64,
    /// Lines to skip after that.
    pub(crate) lines: u64,
    /// Bytes to skip after that (and after unpacking).
    pub(crate) skip: Skip,
    /// Whether they are packed with gzip inside a file that is not.
    pub(crate) gzip: bool,
}

/// Bytes before the voxels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Skip {
    Bytes(u64),
    /// The voxels are the last bytes of the file.
    AllBefore,
}

impl Default for Skip {
    fn default() -> Self {
        Self::Bytes(0)
    }
}

impl Layout {
    pub(crate) fn new(format: Format, extent: Extent, number: NumberType) -> Self {
        Self {
            format,
            extent,
            number,
            endian: Endian::Little,
            metadata: Metadata::default(),
            start: Start::default(),
            detached: Vec::new(),
            notices: Vec::new(),
        }
    }

    /// Bytes of all voxels.
    ///
    /// # Errors
    /// An axis without voxels, or more bytes than any file has.
    pub(crate) fn bytes(&self, path: &Path) -> Result<u64> {
        voxel_bytes(path, self.extent, self.number)
    }

    /// Extent and type in words.
    pub(crate) fn shape(&self) -> String {
        let [x, y, z] = self.extent;
        format!("{x} x {y} x {z} {}", self.number)
    }
}

/// Bytes of a volume in a file.
///
/// # Errors
/// An axis without voxels, or more bytes than any file has.
pub(crate) fn voxel_bytes(path: &Path, extent: Extent, number: NumberType) -> Result<u64> {
    if let Some(axis) = extent.iter().position(|&n| n == 0) {
        return Err(bad(
            path,
            format!("axis {} has no voxels", ["x", "y", "z"][axis]),
        ));
    }
    extent
        .iter()
        .try_fold(number.size() as u64, |n, &e| n.checked_mul(e))
        .filter(|&n| i64::try_from(n).is_ok())
        .ok_or_else(|| {
            let [x, y, z] = extent;
            bad(
                path,
                format!("{x} x {y} x {z} voxels are more than any file holds; the header is wrong"),
            )
        })
}

/// Three axes out of those of a file, fastest first: axes of length 1 are dropped from the end
/// of longer lists, shorter ones are filled up.
///
/// # Errors
/// No axis at all, or more than three axes longer than 1.
pub(crate) fn three_axes(path: &Path, sizes: &[u64]) -> Result<Extent> {
    let mut left = sizes.to_vec();
    while left.len() > 3 {
        let Some(last) = left.iter().rposition(|&n| n == 1) else {
            return Err(too_many_axes(path, sizes));
        };
        left.remove(last);
    }
    if left.is_empty() {
        return Err(bad(path, "the array has no axes; a volume needs x, y, z"));
    }
    left.resize(3, 1);
    Ok([left[0], left[1], left[2]])
}

/// The error for more than three axes longer than 1.
pub(crate) fn too_many_axes(path: &Path, sizes: &[u64]) -> hgv::Error {
    let sizes: Vec<String> = sizes.iter().take(8).map(u64::to_string).collect();
    bad(
        path,
        format!(
            "the array has {} axes ({}); extract one scalar volume of three",
            sizes.len(),
            sizes.join(" x ")
        ),
    )
}
