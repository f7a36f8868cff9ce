//! What is streamed: the index, the bytes and the decoded blocks of a volume, of this format or another.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use super::schedule::{BlockId, Catalogue, PageId};
use crate::io::RangeSource;
use crate::quality::to_f32;
use crate::volume::DType;
use crate::{Error, Result};

/// A decoded block at one of its levels of detail.
#[derive(Debug, Clone, PartialEq)]
pub struct Brick {
    /// Which block.
    pub block: BlockId,
    /// Level of detail inside the block (0 = the full resolution of its tier): a voxel is `2^lod` voxels
    /// of the tier wide.
    pub lod: u8,
    /// Layers that it was decoded from.
    pub layers: u8,
    /// Voxels along x, y, z.
    pub extent: [u32; 3],
    /// Voxel type.
    pub dtype: DType,
    /// Voxels, `[z][y][x]`, little-endian.
    pub voxels: Vec<u8>,
}

impl Brick {
    /// Voxels as numbers, `[z][y][x]`.
    pub fn values(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.voxels.len() / self.dtype.size()];
        to_f32(self.dtype, &self.voxels, &mut out);
        out
    }
}

/// The blocks that are decoded at one moment, and the index that says where blocks lie and what range
/// their values have. Cheap to clone.
#[derive(Clone)]
pub struct Bricks {
    /// The index, as far as it is loaded.
    pub catalogue: Arc<dyn Catalogue>,
    /// Decoded blocks.
    pub held: Arc<HashMap<BlockId, Arc<Brick>>>,
}

impl Debug for Bricks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bricks", self.held.len())
    }
}

/// A volume that can be shown while it is read.
pub trait Streamable: Send + Sync + Debug {
    /// The index, as far as it is loaded; grows with [`Self::take_page`].
    fn catalogue(&self) -> Arc<dyn Catalogue>;

    /// Where the bytes are.
    fn source(&self) -> &dyn RangeSource;

    /// Takes the bytes of a page of the index.
    ///
    /// # Errors
    /// What is wrong with them.
    fn take_page(&self, page: PageId, bytes: Vec<u8>) -> Result<()>;

    /// Checks the bytes of a layer.
    ///
    /// # Errors
    /// What is wrong with them.
    fn check_layer(&self, block: BlockId, layer: u8, bytes: &[u8]) -> Result<()>;

    /// Decodes a block from its first layers.
    ///
    /// # Errors
    /// What is wrong with them.
    fn decode(&self, block: BlockId, layers: &[Arc<Vec<u8>>]) -> Result<Brick>;

    /// Names this version of the file among all files, for caches on disk; `None` if they could confuse it
    /// with another.
    fn version(&self) -> Option<String> {
        None
    }

    /// Whether `error` says that the file has been replaced. May send a request.
    fn is_over(&self, error: &Error) -> bool {
        matches!(error.root(), Error::SourceChanged(_))
    }
}
