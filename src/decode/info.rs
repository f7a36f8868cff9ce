//! What a file says of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::volume::{DType, Extent};

/// What `hgv info --json` prints.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Info {
    /// Lengths of the axes in voxels, x, y, z.
    pub extent: Extent,
    /// Voxel type.
    pub dtype: DType,
    /// Voxel spacing x, y, z.
    pub spacing: [f64; 3],
    /// Unit of the spacing.
    pub unit: Option<String>,
    /// Size of the file.
    pub file_bytes: u64,
    /// Extent x dtype bytes / file bytes.
    pub ratio: f64,
    /// File bits per voxel.
    pub bits_per_voxel: f64,
    /// Blocks of the full-resolution grid.
    pub blocks: u64,
    /// Levels of detail.
    pub lods: u32,
    /// Quality levels, coarse to fine.
    pub levels: Vec<LevelInfo>,
    /// Blocks of the full resolution per kind of model.
    pub models: BTreeMap<String, u64>,
}

/// One quality level.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LevelInfo {
    /// Payload bytes of all tiers up to and including this level.
    pub bytes: u64,
    /// PSNR in dB as measured at encode; `None` if identical, or not measured.
    pub psnr: Option<f64>,
    /// SSIM at levels of detail 0..3 as measured at encode, where it was.
    #[serde(default)]
    pub ssim: [Option<f64>; 4],
    /// Largest absolute error as measured at encode.
    pub max_abs_error: Option<f64>,
}

/// Section STAT: figures measured at encode, on the decoder's own output.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stats {
    /// Quality levels, coarse to fine.
    pub levels: Vec<LevelInfo>,
}
