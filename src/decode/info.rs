//! What a file says of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::GridModel;
use crate::model::grid::{GridLevel, Order};
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
    /// Distinct values of the volume, where blocks store ranks among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distinct_values: Option<u64>,
    /// Models of feature grids that blocks may name.
    pub grid_models: Vec<GridModelInfo>,
}

/// One model of feature grids.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct GridModelInfo {
    /// Its id in the index.
    pub id: u16,
    /// Blocks of the full resolution that it serves.
    pub blocks: u64,
    /// Order of interpolation: 1 linear, 3 cubic.
    pub order: u8,
    /// Whether an exact residual follows.
    pub lossless: bool,
    /// Whether a mask of non-finite voxels comes first.
    pub mask: bool,
    /// Grids, coarse to fine.
    pub levels: Vec<GridLevelInfo>,
    /// Shape of the network that a block may have.
    pub network: Option<NetworkInfo>,
}

/// One grid of a model, as a whole block has it.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct GridLevelInfo {
    /// Distance of vertices in voxels, x, y, z.
    pub spacing: [u32; 3],
    /// Vertices of a whole block.
    pub vertices: u64,
    /// Entries of the hash table; `None` = a weight for each vertex.
    pub table: Option<u64>,
    /// Weights of a vertex.
    pub features: u64,
    /// Layer that holds the weights.
    pub layer: u8,
}

/// A small network.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct NetworkInfo {
    /// Features that it reads.
    pub inputs: u64,
    /// Hidden layers.
    pub hidden: u8,
    /// Neurons of each.
    pub width: u8,
}

impl GridModelInfo {
    /// Of a model for blocks of `side` voxels.
    pub(super) fn new(id: u16, model: &GridModel, side: usize, blocks: u64) -> Self {
        let level = |l: &GridLevel| GridLevelInfo {
            spacing: l.spacing.map(|k| 1 << k),
            vertices: l.lattice([side; 3]).iter().product::<usize>() as u64,
            table: l.table([side; 3]).map(|entries| entries as u64),
            features: l.features() as u64,
            layer: l.layer,
        };
        Self {
            id,
            blocks,
            order: match model.order {
                Order::Linear => 1,
                Order::Cubic => 3,
            },
            lossless: model.residual.is_exact(),
            mask: model.mask,
            levels: model.levels.iter().map(level).collect(),
            network: model.network.map(|n| NetworkInfo {
                inputs: model.inputs() as u64,
                hidden: n.hidden,
                width: n.width,
            }),
        }
    }
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
