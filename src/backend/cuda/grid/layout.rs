//! Blocks under grid models as kernels see them; `cuda/grid.cuh` says the same.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::Result;
use crate::model::grid::{self, GridModel, Network, Order};

/// Input shift of features that the network does not read.
const NO_INPUT: u8 = 255;
/// Offset of the base network of a model that has none.
const NO_NETWORK: u32 = u32::MAX;

/// A level of a model over blocks of one extent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub(super) struct GridLevel {
    steps: [u64; grid::MAX_FEATURES as usize],
    lattice: [u32; 3],
    entries: u32,
    weights: u32,
    first_feature: u32,
    spacing: [u8; 3],
    features: u8,
    layer: u8,
    skip: u8,
    input_shift: u8,
    hashed: u8,
}

/// A model over blocks of one extent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub(super) struct GridPlan {
    levels: u32,
    cubic: u32,
    frac_bits: i32,
    hidden: u32,
    pub(super) width: u32,
    pub(super) inputs: u32,
    base: u32,
    unused: u32,
    level: [GridLevel; grid::MAX_LEVELS],
}

/// A block under a grid model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub(super) struct GridJob {
    pub(super) weights: u64,
    pub(super) network: u64,
    pub(super) block: u32,
    pub(super) plan: u32,
}

/// Bytes of what the layers of a block said beside the weights.
pub(super) const STATE_BYTES: usize = 16;

const _: () = assert!(
    size_of::<GridLevel>() == 64 && size_of::<GridPlan>() == 800 && size_of::<GridJob>() == 24
);

impl GridPlan {
    /// Of a model over blocks of `dims` voxels, whose base network lies at `base` among those of the batch.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] if the blocks are too small for so many weights or inputs.
    pub(super) fn new(model: &GridModel, dims: [usize; 3], base: Option<u32>) -> Result<Self> {
        model.check_block(dims)?;
        let mut plan = Self {
            levels: model.levels.len() as u32,
            cubic: u32::from(model.order == Order::Cubic),
            frac_bits: model.frac_bits.into(),
            hidden: model.network.map_or(0, |n| n.hidden.into()),
            width: model.network.map_or(0, |n| n.width.into()),
            inputs: model.network.map_or(0, |_| model.inputs() as u32),
            base: base.unwrap_or(NO_NETWORK),
            ..Self::default()
        };
        let (mut weights, mut features) = (0, 0);
        for (to, level) in plan.level.iter_mut().zip(&model.levels) {
            let entries = level.weights(dims) as u32;
            *to = GridLevel {
                steps: [0; 4],
                lattice: level.lattice(dims).map(|n| n as u32),
                entries,
                weights,
                first_feature: features,
                spacing: level.spacing,
                features: level.features() as u8,
                layer: level.layer,
                skip: level.skip,
                input_shift: level.input_shift.unwrap_or(NO_INPUT),
                hashed: level.table(dims).is_some().into(),
            };
            to.steps[..level.features()].copy_from_slice(&level.steps);
            weights += entries * level.features() as u32;
            features += level.features() as u32;
        }
        Ok(plan)
    }

    /// Weights of a block.
    pub(super) fn weights(&self) -> usize {
        let levels = self.level.iter();
        levels
            .map(|l| l.entries as usize * usize::from(l.features))
            .sum()
    }

    /// Whether its blocks may have networks.
    pub(super) fn has_network(&self) -> bool {
        self.hidden > 0
    }
}

/// Numbers of a network of a model.
pub(super) fn network_len(model: &GridModel) -> usize {
    let matrices = model.matrices().into_iter();
    matrices
        .map(|[outputs, inputs]| 1 + outputs * inputs + outputs)
        .sum()
}

/// A network as kernels read it: of each matrix the shift, the weights, the biases.
pub(super) fn network_numbers(network: &Network) -> impl Iterator<Item = i16> {
    network.matrices.iter().flat_map(|matrix| {
        let weights = matrix.weights.iter().map(|&w| i16::from(w));
        std::iter::once(i16::from(matrix.shift))
            .chain(weights)
            .chain(matrix.biases.iter().copied())
    })
}
