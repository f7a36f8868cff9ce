//! The grid model: a pyramid of feature grids, dense or hashed, with a linear skip to the output and
//! an optional small network (specification, "Model kind 2").

mod lattice;
mod network;
mod record;

pub use lattice::{Order, Refinement, hash_index, lattice, refine_line, stencil, vertices};
pub use network::{Matrix, Network, NetworkShape};

use super::Residual;
use crate::{Error, Result};

/// Most levels of a model.
pub const MAX_LEVELS: usize = 12;
/// Most features of a vertex.
pub const MAX_FEATURES: u8 = 4;
/// Most features that a network reads.
pub const MAX_INPUTS: usize = 32;
/// Largest product of network inputs and voxels of a block.
pub const MAX_INPUT_VALUES: usize = 1 << 24;
/// Largest step of a weight, in 1/65536 of a working unit. Times a weight it fits 63 bits.
pub const MAX_STEP: u64 = 1 << 42;
/// Largest magnitude of a weight as stored.
pub const MAX_WEIGHT: i32 = 1 << 20;
/// Largest magnitude of a weight in working units.
pub const MAX_VALUE: i64 = 1 << 27;

/// One grid of features.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GridLevel {
    /// Vertices lie `2^spacing` voxels apart, `[x, y, z]`, exponents 0..=7.
    pub spacing: [u8; 3],
    /// The level has a weight per vertex while there are at most `2^table_log2` vertices, and a
    /// hash table of that size otherwise. 0..=22.
    pub table_log2: u8,
    /// Layer of the file that holds the weights.
    pub layer: u8,
    /// Bit `f`: feature `f` adds to the output.
    pub skip: u8,
    /// Right shift of a feature before it enters the network; `None` = it does not enter.
    pub input_shift: Option<u8>,
    /// Step of each feature's weights, in 1/65536 of a working unit, 1..=2^42. 1..=4 features.
    pub steps: Vec<u64>,
}

impl GridLevel {
    /// Features of a vertex.
    pub fn features(&self) -> usize {
        self.steps.len()
    }

    /// Vertices of a block of `dims` voxels, `[x, y, z]`.
    pub fn lattice(&self, dims: [usize; 3]) -> [usize; 3] {
        lattice(dims, self.spacing)
    }

    /// Entries of the hash table for a block of `dims` voxels; `None` if the level is dense.
    pub fn table(&self, dims: [usize; 3]) -> Option<usize> {
        let entries = 1usize << self.table_log2;
        let vertices: usize = self.lattice(dims).iter().product();
        (vertices > entries).then_some(entries)
    }

    /// Weights stored for each feature of a block of `dims` voxels.
    pub fn weights(&self, dims: [usize; 3]) -> usize {
        self.table(dims)
            .unwrap_or_else(|| self.lattice(dims).iter().product())
    }

    /// Whether a block at in-block level of detail `lod` can have this level.
    pub fn reaches(&self, lod: usize) -> bool {
        self.spacing.iter().all(|&k| usize::from(k) >= lod)
    }
}

/// Parameters of the grid model; one record serves all blocks that name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GridModel {
    /// How vertices become voxels.
    pub order: Order,
    /// Fractional bits of the working values, -16..=24.
    pub frac_bits: i8,
    /// What ends the last layer so that voxels keep a bound.
    pub residual: Residual,
    /// Whether the first layer begins with a mask of non-finite voxels.
    pub mask: bool,
    /// Grids, coarse to fine.
    pub levels: Vec<GridLevel>,
    /// Shape of the network; `None` = the output is the skip alone.
    pub network: Option<NetworkShape>,
    /// The network of blocks that have none of their own.
    pub base: Option<Network>,
}

impl GridModel {
    /// Kind of the record in the model section.
    pub const KIND: u8 = 2;

    /// Features that enter the network.
    pub fn inputs(&self) -> usize {
        let entering = self.levels.iter().filter(|l| l.input_shift.is_some());
        entering.map(GridLevel::features).sum()
    }

    /// Sides of the matrices of the network, `[outputs, inputs]`; empty without one.
    pub fn matrices(&self) -> Vec<[usize; 2]> {
        self.network
            .map_or_else(Vec::new, |n| n.matrices(self.inputs()))
    }

    /// Checks that what a block of `dims` voxels stores and computes is in proportion to its voxels.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it is.
    pub fn check_block(&self, dims: [usize; 3]) -> Result<()> {
        let each = self.levels.iter();
        let weights: usize = each
            .map(|l| l.features() * l.lattice(dims).iter().product::<usize>())
            .sum();
        let voxels: usize = dims.iter().product();
        let inputs = self.network.map_or(0, |_| self.inputs());
        let detail = if weights > 4 * voxels + 4096 {
            format!("{weights} weights for {voxels} voxels")
        } else if inputs * voxels > MAX_INPUT_VALUES {
            format!("{inputs} network inputs for {voxels} voxels")
        } else {
            return Ok(());
        };
        Err(Error::corrupt("model record", 0, detail))
    }
}
