//! Where blocks are decoded: one trait, several machines, the same voxels everywhere
//! (specification, "Reconstruction").

mod choice;
pub mod cpu;
pub mod cuda;

use rayon::prelude::*;

pub use choice::{BackendChoice, Chosen};

use crate::Result;
use crate::codec::bands::BlockShape;
use crate::model::{BlockModel, Residual};

/// One step of the order in which a block's coefficients are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerStep {
    /// In-block level of detail that the layer completes.
    pub lod: u8,
    /// Quality index that it brings every band of that level of detail and coarser to.
    pub quality: u8,
}

/// Integers that decoded values are held between, `lo <= q <= hi`, as the index states them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueRange {
    /// Smallest value.
    pub lo: i32,
    /// Largest value.
    pub hi: i32,
}

impl ValueRange {
    /// What working values are relative to.
    pub fn centre(self) -> i32 {
        ((i64::from(self.lo) + i64::from(self.hi)) >> 1) as i32
    }
}

/// One block to decode.
#[derive(Debug, Clone, Copy)]
pub struct BlockJob<'a> {
    /// How the payload is to be read.
    pub model: &'a BlockModel,
    /// Extent of the block.
    pub shape: BlockShape,
    /// Value range from the index.
    pub range: ValueRange,
    /// Power of two of one unit of `q`; 0 for integers.
    pub exponent: i16,
    /// What each layer holds.
    pub steps: &'a [LayerStep],
    /// A prefix of the layers; not longer than `steps`.
    pub layers: &'a [Vec<u8>],
    /// In-block level of detail to stop at.
    pub lod: usize,
}

impl BlockJob<'_> {
    /// Whether the layers end with the residual of the model, and the voxels are those of the full
    /// resolution.
    pub(crate) fn has_residual(&self) -> bool {
        self.model.residual().is_some() && self.lod == 0 && self.layers.len() == self.steps.len()
    }

    /// What the numbers of the decoded block are.
    pub fn numbers(&self) -> Numbers {
        if self.has_residual() && self.model.residual() == Residual::FloatBits {
            Numbers::FloatBits
        } else {
            Numbers::Units
        }
    }
}

/// What decoded numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// Integers in units of `q`.
    Units,
    /// Bits of float32 voxels.
    FloatBits,
}

/// A machine that decodes blocks. Every implementation returns the same integers.
pub trait Backend: Send + Sync + std::fmt::Debug {
    /// Its name for people, such as `cpu (avx2)`.
    fn name(&self) -> String;

    /// Decodes a block to integers, `[z][y][x]` over `shape.dims_at(lod)`, into `out` (replaced):
    /// units of `q`, or what [`BlockJob::numbers`] says.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] if a layer breaks a rule.
    fn decode_block(
        &self,
        job: &BlockJob<'_>,
        scratch: &mut cpu::Scratch,
        out: &mut Vec<i32>,
    ) -> Result<()>;

    /// Decodes many blocks: integers, or an error, for each. Faster than one by one where a machine works on
    /// many at once.
    ///
    /// # Errors
    /// What fails for all blocks alike, such as a device.
    fn decode_blocks(&self, jobs: &[BlockJob<'_>]) -> Result<Vec<Result<Vec<i32>>>> {
        let decode = |scratch: &mut cpu::Scratch, job| {
            let mut out = Vec::new();
            self.decode_block(job, scratch, &mut out).map(|()| out)
        };
        Ok(jobs
            .par_iter()
            .map_init(cpu::Scratch::default, decode)
            .collect())
    }

    /// The backend, if it works on batches of blocks on a CUDA device.
    fn cuda(&self) -> Option<&cuda::CudaBackend> {
        None
    }
}
