//! Thousands of small block models trained at once: the weights of grids, and networks.
//!
//! Owns the kernels of `cuda/train_*` and their memory. What blocks and models are in numbers comes from the
//! encoder; what is trained goes back to it as plain numbers. A block of threads owns a block of voxels from
//! the first step to the last, so nothing goes to the host on the way, and the same numbers come out whatever
//! else is in the batch.

mod fit;
mod joint;
mod layout;
mod network;

pub use fit::{FIT, FitOptions};
pub use joint::{JOINT, JointBlock, JointOptions, JointTrained};
pub use layout::{
    AdamStep, DENSE_LEVEL, FitResult, FitTask, JointResult, JointStep, JointTask, MAX_TRAIN_LEVELS,
    NetworkResult, NetworkTask, SAMPLE_TILE, TrainLevel, TrainShape, samples,
};
pub use network::{NETWORK, NetworkOptions, TrainedNetwork};

use std::sync::Arc;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{Buffer, Device, KernelTime, Stream};
use crate::codec::tables::{TableSet, tables};
use crate::model::grid::NetworkShape;
use crate::{Error, Result};

const THREADS: u32 = 256;
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

    /// Measures every kernel from now on, or no longer.
    pub fn set_profile(&mut self, on: bool) {
        self.stream.set_profile(on);
    }

    /// What the kernels took since the last call.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn take_profile(&mut self) -> Result<Vec<KernelTime>> {
        self.stream.take_profile()
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

/// Columns of samples at a time, and the shared memory that they take.
fn columns(
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
