//! Thousands of small block models trained at once: the weights of grids, and networks.
//!
//! Owns the kernels of `cuda/train_*` and their memory. What blocks and models are in numbers comes from the
//! encoder; what is trained goes back to it as plain numbers. A block of threads owns a block of voxels from
//! the first step to the last, so nothing goes to the host on the way, and the same numbers come out whatever
//! else is in the batch.

mod layout;

pub use layout::{
    AdamStep, DENSE_LEVEL, FitResult, FitTask, JointResult, JointStep, JointTask, MAX_TRAIN_LEVELS,
    NetworkResult, NetworkTask, SAMPLE_TILE, TrainLevel, TrainShape, samples,
};
use layout::{FitParams, JointParams, NetworkParams};

use std::sync::Arc;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{Buffer, Device, Kernel, Stream};
use crate::codec::tables::{TableSet, tables};
use crate::model::grid::NetworkShape;
use crate::{Error, Result};

const THREADS: u32 = 256;
/// Fits grids.
pub static FIT: Kernel = Kernel::new::<FitParams>("train_fit", "hgv_train_fit", THREADS);
/// Trains networks.
pub static NETWORK: Kernel =
    Kernel::new::<NetworkParams>("train_network", "hgv_train_network", THREADS);
/// Trains grids and networks together.
pub static JOINT: Kernel = Kernel::new::<JointParams>("train_joint", "hgv_train_joint", THREADS);

/// Blocks of threads that a multiprocessor works on at a time.
const AT_A_TIME: u32 = 2;
/// Shared memory of a block of threads that still leaves room for others.
const SHARED: usize = 48 << 10;
/// Shared memory that kernels have beside what a launch asks for, at most.
const FIXED_SHARED: usize = 2 << 10;

/// What all blocks of a batch have in common: shapes and what belongs to them.
#[derive(Debug, Default, Clone)]
pub struct Geometry {
    /// A model over an extent each.
    pub shapes: Vec<TrainShape>,
    /// Levels of all shapes.
    pub levels: Vec<TrainLevel>,
    /// Products of basis functions.
    pub grams: Vec<f32>,
    /// Lists of hashed levels.
    pub lists: Vec<u32>,
}

impl Geometry {
    /// Numbers of the largest block, and of the largest coarse lattice or table.
    fn sizes(&self) -> (usize, usize) {
        let large = self.shapes.iter().map(TrainShape::voxels).max();
        let small = self.shapes.iter().flat_map(|shape| {
            let levels = shape.first_level as usize..(shape.first_level + shape.levels) as usize;
            let lattice = |level: &TrainLevel| -> usize {
                let along =
                    |n: &u32| crate::model::grid::vertices(*n as usize, level.spacing as u8);
                shape.dims.iter().map(along).product()
            };
            let of = move |level: &TrainLevel| match level.spacing {
                0 if level.table_log2 == DENSE_LEVEL => 0,
                0 => level.entries as usize,
                _ => lattice(level).max(level.entries as usize),
            };
            self.levels[levels].iter().map(of)
        });
        // A dense level of voxels writes nothing there, but its colours count too.
        (large.unwrap_or(0), small.max().unwrap_or(0).max(1))
    }
}

/// How grids are fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FitOptions {
    /// Most sweeps over all levels.
    pub sweeps: u32,
    /// A sweep that changes under one in this many of the weights that are not 0 is the last one.
    pub settled: u32,
}

/// How networks are trained: all blocks begin with the same numbers.
#[derive(Debug, Clone)]
pub struct NetworkOptions {
    /// Layers and width.
    pub shape: NetworkShape,
    /// Numbers that it reads.
    pub inputs: usize,
    /// Parameters to start from, for inputs and target of unit size; layer by layer, weights
    /// `[input][output]`, then biases.
    pub start: Vec<f32>,
    /// Steps of each shape, `[epoch][batch]`.
    pub steps: Vec<AdamStep>,
    /// Tiles of each shape, `[epoch][tile]`.
    pub orders: Vec<u32>,
    /// Most passes over the samples.
    pub epochs: usize,
    /// Training ends when an epoch brings the error down by less than this share.
    pub tolerance: f32,
}

/// How all parameters are trained together.
#[derive(Debug, Clone)]
pub struct JointOptions {
    /// Layers and width of the network; `None`: there is none.
    pub shape: Option<NetworkShape>,
    /// Numbers that it reads.
    pub inputs: usize,
    /// Steps in which everything moves, then those in which the network alone does.
    pub steps: Vec<JointStep>,
    /// How many of them are of the first kind.
    pub moving: usize,
    /// Gradients of grid weights far under this share of the typical one of their list take steps that are
    /// shorter in proportion.
    pub damping: f32,
    /// A phase ends when the mean objective of 16 steps falls by less than this share twice in a row.
    pub tolerance: f32,
    /// Whether the gradients of the first step are wanted.
    pub tell_gradients: bool,
}

/// All parameters of a block.
#[derive(Debug, Clone, PartialEq)]
pub struct JointBlock {
    /// In units of their steps, `[level][feature][entry]`.
    pub weights: Vec<f32>,
    /// Of the network, layer by layer, weights `[input][output]`, then biases; in units of the values.
    pub network: Vec<f32>,
}

/// What training made of a block.
#[derive(Debug, Clone, PartialEq)]
pub struct JointTrained {
    /// How it went.
    pub result: JointResult,
    /// Whole grid weights, and the network.
    pub block: JointBlock,
    /// If they were asked for: of grid weights, then of the network, in units of the root mean square of the
    /// block for values, network outputs and errors.
    pub gradients: Vec<f32>,
}

/// A trained network.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainedNetwork {
    /// How it went.
    pub result: NetworkResult,
    /// Parameters as in [`NetworkOptions::start`].
    pub parameters: Vec<f32>,
    /// Unit of each input: its root mean square.
    pub units: Vec<f32>,
}

/// A device that trains, with what all batches need.
#[derive(Debug)]
pub struct GridTrainer {
    device: Arc<dyn Device>,
    stream: Stream,
    map: Buffer,
    costs: Buffer,
    next: Buffer,
}

/// Blocks on the device.
#[derive(Debug)]
pub struct TrainBatch<'a> {
    trainer: &'a mut GridTrainer,
    geometry: &'a Geometry,
    values: Buffer,
    shapes: Buffer,
    levels: Buffer,
    grams: Buffer,
    lists: Buffer,
    weights: Option<Buffer>,
}

impl GridTrainer {
    /// On a device.
    ///
    /// # Errors
    /// [`Error::Device`] and [`Error::DeviceMemory`].
    pub fn new(device: &Arc<dyn Device>) -> Result<Self> {
        let tables = tables(TableSet::Grid)?;
        let mut stream = Stream::new(device)?;
        let map = put(device, &mut stream, tables.map.concat().as_slice())?;
        let costs = put(device, &mut stream, tables.costs.as_flattened())?;
        stream.recycle()?;
        Ok(Self {
            next: Buffer::new(device, 4)?,
            device: Arc::clone(device),
            stream,
            map,
            costs,
        })
    }

    /// Brings blocks to the device.
    ///
    /// # Errors
    /// [`Error::Device`] and [`Error::DeviceMemory`].
    pub fn begin<'a>(
        &'a mut self,
        values: &[f32],
        geometry: &'a Geometry,
    ) -> Result<TrainBatch<'a>> {
        self.stream.recycle()?;
        let (device, stream) = (&self.device, &mut self.stream);
        Ok(TrainBatch {
            values: put(device, stream, values)?,
            shapes: put(device, stream, geometry.shapes.as_slice())?,
            levels: put(device, stream, geometry.levels.as_slice())?,
            grams: put(device, stream, geometry.grams.as_slice())?,
            lists: put(device, stream, geometry.lists.as_slice())?,
            weights: None,
            geometry,
            trainer: self,
        })
    }

    /// How many blocks of threads have room, `bytes` each, and their memory.
    fn room(&self, tasks: usize, bytes: usize) -> Result<(u32, Buffer)> {
        let limits = self.device.limits();
        let most = (limits.multiprocessors * AT_A_TIME)
            .min(tasks as u32)
            .max(1);
        let mut blocks = most
            .min((limits.memory / 2 / bytes.max(1) as u64) as u32)
            .max(1);
        loop {
            match Buffer::new(&self.device, blocks as usize * bytes) {
                Ok(planes) => return Ok((blocks, planes)),
                Err(Error::DeviceMemory(_)) if blocks > 1 => blocks = blocks.div_ceil(2),
                Err(e) => return Err(e),
            }
        }
    }

    fn begin_counting(&mut self) -> Result<()> {
        self.stream.fill(&self.next, 0..4, 0)
    }
}

impl TrainBatch<'_> {
    /// Fits the weights of every task; `weights` is how many there are in all. They stay on the device,
    /// too, for [`Self::networks`].
    ///
    /// # Errors
    /// [`Error::Device`] and [`Error::DeviceMemory`].
    pub fn fit(
        &mut self,
        tasks: &[FitTask],
        weights: usize,
        options: FitOptions,
    ) -> Result<(Vec<i32>, Vec<FitResult>)> {
        let (large, small) = self.geometry.sizes();
        let (blocks, planes) = self.trainer.room(tasks.len(), 4 * 3 * (large + small))?;
        let device = Arc::clone(&self.trainer.device);
        self.trainer.begin_counting()?;
        let stream = &mut self.trainer.stream;
        let list = put(&device, stream, tasks)?;
        let stored = Buffer::new(&device, 4 * weights)?;
        let results = Buffer::new(&device, size_of_val(tasks))?;
        let params = FitParams {
            values: self.values.address(),
            shapes: self.shapes.address(),
            levels: self.levels.address(),
            grams: self.grams.address(),
            lists: self.lists.address(),
            map: self.trainer.map.address(),
            costs: self.trainer.costs.address(),
            tasks: list.address(),
            weights: stored.address(),
            results: results.address(),
            planes: planes.address(),
            next: self.trainer.next.address(),
            count: tasks.len() as u32,
            large: large as u32,
            small: small as u32,
            sweeps: options.sweeps,
            settled: options.settled,
            first_again: FIRST_AGAIN,
        };
        stream.launch(&FIT, blocks, 0, &params)?;
        let fitted = take(stream, &stored, weights)?;
        let results = take(stream, &results, tasks.len())?;
        self.weights = Some(stored);
        Ok((fitted, results))
    }

    /// Trains a network for every task, on the weights that were fitted before.
    ///
    /// # Errors
    /// [`Error::Device`] and [`Error::DeviceMemory`]; [`Error::InvalidArgument`] before a fit.
    pub fn networks(
        &mut self,
        tasks: &[NetworkTask],
        options: &NetworkOptions,
    ) -> Result<Vec<TrainedNetwork>> {
        let weights = (self.weights.as_ref())
            .ok_or_else(|| Error::argument("networks are trained after a fit"))?;
        let (large, _) = self.geometry.sizes();
        let room = 4 * large + (options.inputs + 1) * samples(large);
        let (blocks, planes) = self.trainer.room(tasks.len(), 4 * room)?;
        let parameters = options.start.len();
        let stride = parameters + options.inputs;
        let device = Arc::clone(&self.trainer.device);
        let (chunk, shared) =
            shared_memory(&device, Some(options.shape), options.inputs, parameters)?;
        self.trainer.begin_counting()?;
        let stream = &mut self.trainer.stream;
        let list = put(&device, stream, tasks)?;
        let start = put(&device, stream, options.start.as_slice())?;
        let steps = put(&device, stream, options.steps.as_slice())?;
        let orders = put(&device, stream, options.orders.as_slice())?;
        let trained = Buffer::new(&device, 4 * stride * tasks.len())?;
        let results = Buffer::new(&device, size_of::<NetworkResult>() * tasks.len())?;
        let params = NetworkParams {
            values: self.values.address(),
            shapes: self.shapes.address(),
            levels: self.levels.address(),
            weights: weights.address(),
            tasks: list.address(),
            start: start.address(),
            steps: steps.address(),
            orders: orders.address(),
            parameters: trained.address(),
            results: results.address(),
            planes: planes.address(),
            next: self.trainer.next.address(),
            room: room as u64,
            count: tasks.len() as u32,
            large: large as u32,
            stride: stride as u32,
            inputs: options.inputs as u32,
            hidden: u32::from(options.shape.hidden),
            width: u32::from(options.shape.width),
            epochs: options.epochs as u32,
            chunk,
            tolerance: options.tolerance,
            unused: 0,
        };
        stream.launch(&NETWORK, blocks, shared, &params)?;
        let numbers: Vec<f32> = take(stream, &trained, stride * tasks.len())?;
        let results: Vec<NetworkResult> = take(stream, &results, tasks.len())?;
        let networks = numbers.chunks_exact(stride).zip(results);
        Ok(networks
            .map(|(numbers, result)| TrainedNetwork {
                result,
                parameters: numbers[..parameters].to_vec(),
                units: numbers[parameters..].to_vec(),
            })
            .collect())
    }

    /// Trains all parameters of every block together, from where `blocks` stand.
    ///
    /// # Errors
    /// [`Error::Device`] and [`Error::DeviceMemory`]; [`Error::InvalidArgument`] for blocks that are not as
    /// their shapes and the options say.
    pub fn joint(
        &mut self,
        tasks: &[JointTask],
        blocks: &[JointBlock],
        options: &JointOptions,
    ) -> Result<Vec<JointTrained>> {
        let of_network = options.parameters();
        let shape = |task: &JointTask| self.geometry.shapes.get(task.shape as usize);
        let mut next = 0;
        for (task, block) in tasks.iter().zip(blocks) {
            let count = block.weights.len() as u64;
            let fits = shape(task).is_some_and(|s| u64::from(s.weights) == count)
                && task.weights == next
                && block.network.len() == of_network;
            if !fits {
                return Err(Error::argument("a block that does not fit its model"));
            }
            next += count;
        }
        let most = tasks
            .iter()
            .filter_map(shape)
            .map(|s| s.weights as usize)
            .max()
            .unwrap_or(0);
        let (large, _) = self.geometry.sizes();
        let room = (5 + options.inputs) * large + 3 * most;
        let (blocks_at_once, planes) = self.trainer.room(tasks.len(), 4 * room)?;
        let device = Arc::clone(&self.trainer.device);
        let (chunk, shared) = shared_memory(&device, options.shape, options.inputs, of_network)?;
        self.trainer.begin_counting()?;
        let stream = &mut self.trainer.stream;
        let stride = of_network.max(1);
        let told = if options.tell_gradients {
            most + stride
        } else {
            0
        };
        let list = put(&device, stream, tasks)?;
        let steps = put(&device, stream, options.steps.as_slice())?;
        let all: Vec<f32> = blocks.iter().flat_map(|b| &b.weights).copied().collect();
        let weights = put(&device, stream, all.as_slice())?;
        let mut all_networks: Vec<f32> = blocks.iter().flat_map(|b| &b.network).copied().collect();
        all_networks.resize(stride * tasks.len(), 0.0);
        let networks = put(&device, stream, all_networks.as_slice())?;
        let gradients = Buffer::new(&device, 4 * told * tasks.len())?;
        let results = Buffer::new(&device, size_of::<JointResult>() * tasks.len())?;
        let (hidden, width) = options.shape.map_or((0, 0), |s| (s.hidden, s.width));
        let params = JointParams {
            values: self.values.address(),
            shapes: self.shapes.address(),
            levels: self.levels.address(),
            lists: self.lists.address(),
            tasks: list.address(),
            steps: steps.address(),
            weights: weights.address(),
            networks: networks.address(),
            gradients: if told > 0 { gradients.address() } else { 0 },
            results: results.address(),
            planes: planes.address(),
            next: self.trainer.next.address(),
            room: room as u64,
            count: tasks.len() as u32,
            large: large as u32,
            most: most as u32,
            stride: stride as u32,
            inputs: options.inputs as u32,
            hidden: u32::from(hidden),
            width: u32::from(width),
            chunk,
            moving: options.moving as u32,
            settling: options.steps.len().saturating_sub(options.moving) as u32,
            damping: options.damping,
            tolerance: options.tolerance,
        };
        stream.launch(&JOINT, blocks_at_once, shared, &params)?;
        let weights: Vec<f32> = take(stream, &weights, all.len())?;
        let networks: Vec<f32> = take(stream, &networks, stride * tasks.len())?;
        let gradients: Vec<f32> = take(stream, &gradients, told * tasks.len())?;
        let results: Vec<JointResult> = take(stream, &results, tasks.len())?;
        let trained = results.into_iter().zip(tasks).zip(blocks).enumerate();
        Ok(trained
            .map(|(i, ((result, task), block))| {
                let first = task.weights as usize;
                let count = block.weights.len();
                let gradients = gradients.get(i * told..(i + 1) * told).unwrap_or_default();
                JointTrained {
                    result,
                    block: JointBlock {
                        weights: weights[first..first + count].to_vec(),
                        network: networks[i * stride..][..of_network].to_vec(),
                    },
                    gradients: gradients.iter().take(count + of_network).copied().collect(),
                }
            })
            .collect())
    }
}

impl JointOptions {
    /// Parameters of the network.
    fn parameters(&self) -> usize {
        let matrices = self
            .shape
            .map_or_else(Vec::new, |s| s.matrices(self.inputs));
        matrices
            .iter()
            .map(|[outputs, inputs]| outputs * (inputs + 1))
            .sum()
    }
}

/// Coarse grids cost nothing and converge slowly.
const FIRST_AGAIN: u32 = 3;

/// Columns of samples at a time, and the shared memory that they take.
fn shared_memory(
    device: &Arc<dyn Device>,
    shape: Option<NetworkShape>,
    inputs: usize,
    parameters: usize,
) -> Result<(u32, u32)> {
    let most = (device.limits().shared as usize).saturating_sub(FIXED_SHARED);
    let Some(shape) = shape else {
        return Ok((THREADS, 0));
    };
    let (width, hidden) = (usize::from(shape.width), usize::from(shape.hidden));
    let lists = 5 * parameters.next_multiple_of(4);
    let rows = inputs + 2 * hidden * width + 1;
    let bytes = |chunk: usize| 4 * (lists + rows * (chunk + 4));
    [256, 128, 64, 32]
        .into_iter()
        .find(|&chunk| bytes(chunk) <= SHARED)
        .or(Some(32).filter(|&chunk| bytes(chunk) <= most))
        .map(|chunk| (chunk as u32, bytes(chunk) as u32))
        .ok_or_else(|| Error::argument("a network that is too large to train on a device"))
}

/// A new buffer with these contents.
fn put<T: IntoBytes + Immutable>(
    device: &Arc<dyn Device>,
    stream: &mut Stream,
    data: &[T],
) -> Result<Buffer> {
    let buffer = Buffer::new(device, size_of_val(data))?;
    stream.upload(&buffer, 0, data)?;
    Ok(buffer)
}

/// The first `count` elements of a buffer, when all that was queued is done.
fn take<T: FromBytes + Immutable + Clone>(
    stream: &mut Stream,
    from: &Buffer,
    count: usize,
) -> Result<Vec<T>> {
    let ticket = stream.download(from, 0, size_of::<T>() * count)?;
    stream.synchronise()?;
    Ok(stream.elements::<T>(&ticket)?.to_vec())
}
