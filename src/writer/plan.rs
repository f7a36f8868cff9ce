//! What a writer is told before the first block.

use std::path::PathBuf;

use crate::Result;
use crate::format::layer::Layers;
use crate::format::model::ModelRecord;
use crate::format::shape::Shape;
use crate::format::tier::{self, Tier};
use crate::volume::{DType, Extent, Metadata};

/// Blocks of tier 0 up to which a page is 8^3 blocks; 16^3 above.
const SMALL_PAGES: u64 = 1 << 19;

/// The plan of a file. Shards of one volume share it, metadata aside.
#[derive(Debug, Clone)]
pub struct FilePlan {
    /// Extent of the volume in voxels, x, y, z.
    pub extent: Extent,
    /// Voxel type.
    pub dtype: DType,
    /// log2 of the side of a block: 5, 6 or 7.
    pub block_log2: u8,
    /// Smallest coded value of the volume.
    pub q_min: i32,
    /// Largest coded value of the volume.
    pub q_max: i32,
    /// A voxel's value is `q * 2^value_exp`; 0 for integer types.
    pub value_exp: i16,
    /// Block grids ([`tier::plan`]).
    pub tiers: Vec<Tier>,
    /// Layers of every block, and with them the quality levels.
    pub layers: Layers,
    /// Model records, ids rising.
    pub models: Vec<ModelRecord>,
    /// Spacing, orientation, units.
    pub metadata: Metadata,
}

impl FilePlan {
    /// A plan with the usual tiers and layers, no models and default metadata.
    ///
    /// # Errors
    /// [`crate::Error::InvalidArgument`] if `levels` is not 1..=8.
    pub fn new(
        extent: Extent,
        dtype: DType,
        block_log2: u8,
        levels: u8,
        (q_min, q_max): (i32, i32),
    ) -> Result<Self> {
        Ok(Self {
            extent,
            dtype,
            block_log2,
            q_min,
            q_max,
            value_exp: 0,
            tiers: tier::plan(extent, block_log2),
            layers: Layers::standard(levels)?,
            models: Vec::new(),
            metadata: Metadata::default(),
        })
    }

    /// The plan as a checked shape; `page_log2` of `None` chooses by the number of blocks.
    ///
    /// # Errors
    /// [`crate::Error::InvalidArgument`] or [`crate::Error::LimitExceeded`].
    pub fn shape(&self, page_log2: Option<u8>) -> Result<Shape> {
        let blocks = self.tiers.first().map_or(0, tier::count);
        let usual = if blocks <= SMALL_PAGES { 3 } else { 4 };
        Shape::new(
            self.extent,
            self.dtype,
            self.block_log2,
            page_log2.unwrap_or(usual),
            (self.q_min, self.q_max),
            self.value_exp,
            self.layers.clone(),
            self.tiers.clone(),
            self.models.clone(),
        )
    }

    /// The plan of an existing file.
    pub(crate) fn of(shape: &Shape, metadata: &Metadata) -> Self {
        Self {
            extent: shape.extent,
            dtype: shape.dtype,
            block_log2: shape.block_log2,
            q_min: shape.q_min,
            q_max: shape.q_max,
            value_exp: shape.value_exp,
            tiers: shape.tiers.clone(),
            layers: shape.layers.clone(),
            models: shape.models.clone(),
            metadata: metadata.clone(),
        }
    }
}

/// How a writer works. None of it changes a decoded voxel.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// Replace an existing output and an old `.partial`.
    pub force: bool,
    /// Heap bytes for the payload of the open cluster, and again for waiting overview clusters;
    /// more goes to a scratch file. Default 64 MiB.
    pub memory: usize,
    /// Folder of scratch files; `None` = beside the output, or the system's for a plain sink.
    pub scratch: Option<PathBuf>,
    /// log2 of the side of a page in blocks, 1..=5; `None` = 3, or 4 over 2^19 blocks.
    pub page_log2: Option<u8>,
    /// Most entries of the root before a level of nodes is added, and most entries of a node.
    /// Default 512.
    pub root_entries: usize,
    /// Clusters start at multiples of 2^align_log2, 0..=12. Default 0.
    pub align_log2: u8,
    /// Bytes kept free in front of the blocks for the coarsest tier, so that the first request for
    /// the file brings its first picture; more than its voxels take has no effect. `None` = half
    /// of what its voxels take. Files that are written again need none.
    pub overview: Option<u64>,
    /// Files under this many bytes are written again without reserved space. Default 256 MiB.
    pub compact_under: u64,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            force: false,
            memory: 64 << 20,
            scratch: None,
            page_log2: None,
            root_entries: 512,
            align_log2: 0,
            overview: None,
            compact_under: 256 << 20,
        }
    }
}
