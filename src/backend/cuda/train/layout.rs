//! Blocks in training as kernels see them; `cuda/train_*.cuh` say the same.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// [`TrainLevel::table_log2`] of a level that has a weight a vertex.
pub const DENSE_LEVEL: u32 = u32::MAX;
/// Most levels of a model.
pub const MAX_TRAIN_LEVELS: usize = 12;
/// Samples of a network that stay together when their order is shuffled.
pub const SAMPLE_TILE: usize = 128;
/// Finest levels that some samples go without in turn.
const DROPPED: usize = 2;
/// One in this many voxels is such a sample, each time.
const DROPPED_EVERY: usize = 16;

/// Samples that a network sees of a block of `voxels`: all, and some without the finest levels.
pub fn samples(voxels: usize) -> usize {
    voxels + DROPPED * voxels.div_ceil(DROPPED_EVERY)
}

/// One level of a model, over blocks of one extent. Vertices are as far apart on all axes.
#[derive(Debug, Clone, Copy, Default, PartialEq, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub struct TrainLevel {
    /// Exponent.
    pub spacing: u32,
    /// Class of its contexts.
    pub class: u32,
    /// Of its hash table, or [`DENSE_LEVEL`].
    pub table_log2: u32,
    /// Weights of a feature.
    pub entries: u32,
    /// First of its weights among those of the block, `[feature][entry]`.
    pub first: u32,
    /// Products of basis functions further apart are 0.
    pub reach: u32,
    /// First of the products of each axis, `[vertex][2 * reach + 1]`.
    pub gram: [u32; 3],
    /// Of a hashed level: first word of the lists of its entries.
    pub lists: u32,
    /// Of a hashed level: entries are chosen in as many rounds.
    pub classes: u32,
    /// Features of a vertex.
    pub features: u32,
    /// Bit f: feature f is added to the output.
    pub skip: u32,
    /// Step of the weights of each feature, in units of the values.
    pub steps: [f32; 4],
    /// The network reads features times this; 0: it does not read them.
    pub to_input: f32,
}

/// A model over blocks of one extent.
#[derive(Debug, Clone, Copy, Default, PartialEq, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub struct TrainShape {
    /// Voxels along x, y, z.
    pub dims: [u32; 3],
    /// Order of interpolation: 0 = linear, 1 = cubic.
    pub cubic: u32,
    /// First of its levels.
    pub first_level: u32,
    /// How many, coarse to fine.
    pub levels: u32,
    /// Weights of a block.
    pub weights: u32,
    /// First of its tiles in the orders of the samples of a network.
    pub order: u32,
    /// First of its steps in the schedules of a network.
    pub steps: u32,
    /// Tiles of samples in a step of a network.
    pub batch: u32,
}

impl TrainShape {
    /// Voxels of a block.
    pub fn voxels(&self) -> usize {
        self.dims.iter().map(|&n| n as usize).product()
    }
}

/// A block to fit under one model.
#[derive(Debug, Clone, Copy, Default, PartialEq, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub struct FitTask {
    /// First voxel among the values, `[z][y][x]`.
    pub values: u64,
    /// First of its weights.
    pub weights: u64,
    /// Which shape.
    pub shape: u32,
    /// Squared error that a bit is worth.
    pub lambda: f32,
    /// Taken from the values.
    pub centre: f32,
    /// 0.
    pub unused: u32,
}

/// How a fit ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub struct FitResult {
    /// Sum of squares.
    pub error: f64,
    /// Sweeps over all levels.
    pub sweeps: u32,
    /// Weights that the last one changed.
    pub changed: u32,
}

/// A block to train a network for.
#[derive(Debug, Clone, Copy, Default, PartialEq, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub struct NetworkTask {
    /// First voxel among the values, `[z][y][x]`.
    pub values: u64,
    /// First of its weights.
    pub weights: u64,
    /// Which shape.
    pub shape: u32,
    /// Taken from the values.
    pub centre: f32,
}

/// How the training of a network ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub struct NetworkResult {
    /// Mean squared error of a network that adds nothing, in squared units of the target.
    pub without: f64,
    /// Of the network.
    pub with: f64,
    /// Unit of the target: its root mean square.
    pub unit: f32,
    /// Passes over the samples.
    pub epochs: u32,
    /// Largest activation of each hidden layer.
    pub largest: [f32; 2],
}

/// A block to train all parameters of.
#[derive(Debug, Clone, Copy, Default, PartialEq, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub struct JointTask {
    /// First voxel among the values, `[z][y][x]`.
    pub values: u64,
    /// First of its weights, in units of their steps, `[level][feature][entry]`.
    pub weights: u64,
    /// Which shape.
    pub shape: u32,
    /// Taken from the values.
    pub centre: f32,
    /// Price of a bit in squared units of the values.
    pub lambda: f32,
    /// 0.
    pub unused: u32,
}

/// What happens in a step of training all parameters, the same for all blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub struct JointStep {
    /// Of grid weights; the rate is in units of their steps.
    pub grid: AdamStep,
    /// Of the network.
    pub network: AdamStep,
    /// Rounding of grid weights: 0 = none, 1 = flat at whole numbers.
    pub hardness: f32,
    /// Width of the noise on grid weights of one step and more.
    pub noise: f32,
    /// Of the noise.
    pub seed: u32,
    /// 0.
    pub unused: u32,
}

/// How the training of all parameters ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub struct JointResult {
    /// Mean squared error before the first step.
    pub error_before: f64,
    /// Bits that the grid weights were expected to take.
    pub bits_before: f64,
    /// Mean squared error with whole grid weights.
    pub error_after: f64,
    /// Bits that they are expected to take.
    pub bits_after: f64,
    /// Steps taken.
    pub steps: u32,
    /// 0.
    pub unused: u32,
}

/// What Adam does in a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub struct AdamStep {
    /// The rate with the correction of the first moments.
    pub rate: f32,
    /// The correction of the second moments.
    pub unbias: f32,
}

impl AdamStep {
    /// Step number `step`, from 0 on, at a learning rate.
    pub fn new(step: usize, rate: f32) -> Self {
        let unbias = |beta: f64| (1.0 / (1.0 - beta.powi(step as i32 + 1))) as f32;
        Self {
            rate: rate * unbias(0.9),
            unbias: unbias(0.99),
        }
    }
}

/// Parameters of `hgv_train_fit`.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct FitParams {
    pub(super) values: u64,
    pub(super) shapes: u64,
    pub(super) levels: u64,
    pub(super) grams: u64,
    pub(super) lists: u64,
    pub(super) map: u64,
    pub(super) costs: u64,
    pub(super) tasks: u64,
    pub(super) weights: u64,
    pub(super) results: u64,
    pub(super) planes: u64,
    pub(super) next: u64,
    pub(super) count: u32,
    pub(super) large: u32,
    pub(super) small: u32,
    pub(super) sweeps: u32,
    pub(super) settled: u32,
    pub(super) first_again: u32,
}

/// Parameters of `hgv_train_network`.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct NetworkParams {
    pub(super) values: u64,
    pub(super) shapes: u64,
    pub(super) levels: u64,
    pub(super) weights: u64,
    pub(super) tasks: u64,
    pub(super) start: u64,
    pub(super) steps: u64,
    pub(super) orders: u64,
    pub(super) parameters: u64,
    pub(super) results: u64,
    pub(super) planes: u64,
    pub(super) next: u64,
    pub(super) room: u64,
    pub(super) count: u32,
    pub(super) large: u32,
    pub(super) stride: u32,
    pub(super) inputs: u32,
    pub(super) hidden: u32,
    pub(super) width: u32,
    pub(super) epochs: u32,
    pub(super) chunk: u32,
    pub(super) tolerance: f32,
    pub(super) unused: u32,
}

/// Parameters of `hgv_train_joint`.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct JointParams {
    pub(super) values: u64,
    pub(super) shapes: u64,
    pub(super) levels: u64,
    pub(super) lists: u64,
    pub(super) tasks: u64,
    pub(super) steps: u64,
    pub(super) weights: u64,
    pub(super) networks: u64,
    pub(super) gradients: u64,
    pub(super) results: u64,
    pub(super) planes: u64,
    pub(super) next: u64,
    pub(super) room: u64,
    pub(super) count: u32,
    pub(super) large: u32,
    pub(super) most: u32,
    pub(super) stride: u32,
    pub(super) inputs: u32,
    pub(super) hidden: u32,
    pub(super) width: u32,
    pub(super) chunk: u32,
    pub(super) moving: u32,
    pub(super) settling: u32,
    pub(super) damping: f32,
    pub(super) tolerance: f32,
}
