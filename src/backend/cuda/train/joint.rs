//! All parameters together, by gradient descent.

use std::sync::Arc;

use super::layout::{JointParams, JointResult, JointStep, JointTask};
use super::{THREADS, TrainBatch, columns, put, take};
use crate::backend::cuda::{Buffer, Kernel};
use crate::model::grid::NetworkShape;
use crate::{Error, Result};

/// Trains grids and networks together.
pub static JOINT: Kernel = Kernel::new::<JointParams>("train_joint", "hgv_train_joint", THREADS);

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

/// Blocks in training, in the memory of the device.
struct Joint {
    tasks: Buffer,
    steps: Buffer,
    weights: Buffer,
    networks: Buffer,
    gradients: Buffer,
    results: Buffer,
}

/// How much of each there is.
#[derive(Clone, Copy)]
struct Sizes {
    tasks: usize,
    weights: usize,
    /// Weights of the largest block.
    most: usize,
    of_network: usize,
    /// Between networks.
    stride: usize,
    /// Between gradients; 0: none.
    told: usize,
}

impl TrainBatch<'_> {
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
        let sizes = self.sizes_of_joint(tasks, blocks, options)?;
        let (large, _) = self.geometry.sizes();
        let room = (5 + options.inputs) * large + 3 * sizes.most;
        let (at_once, planes) = self.trainer.room(tasks.len(), 4 * room)?;
        let joint = self.upload_joint(tasks, blocks, options, sizes)?;
        let device = &self.trainer.device;
        let (chunk, shared) = columns(device, options.shape, options.inputs, sizes.of_network)?;
        let (hidden, width) = options.shape.map_or((0, 0), |s| (s.hidden, s.width));
        let params = JointParams {
            values: self.values.address(),
            shapes: self.shapes.address(),
            levels: self.levels.address(),
            lists: self.lists.address(),
            tasks: joint.tasks.address(),
            steps: joint.steps.address(),
            weights: joint.weights.address(),
            networks: joint.networks.address(),
            gradients: if sizes.told > 0 {
                joint.gradients.address()
            } else {
                0
            },
            results: joint.results.address(),
            planes: planes.address(),
            next: self.trainer.next.address(),
            room: room as u64,
            count: tasks.len() as u32,
            large: large as u32,
            most: sizes.most as u32,
            stride: sizes.stride as u32,
            inputs: options.inputs as u32,
            hidden: u32::from(hidden),
            width: u32::from(width),
            chunk,
            moving: options.moving as u32,
            settling: options.steps.len().saturating_sub(options.moving) as u32,
            damping: options.damping,
            tolerance: options.tolerance,
        };
        self.trainer.begin_counting()?;
        let stream = &mut self.trainer.stream;
        stream.launch(&JOINT, at_once, shared, &params)?;
        self.download_joint(tasks, &joint, sizes)
    }

    fn sizes_of_joint(
        &self,
        tasks: &[JointTask],
        blocks: &[JointBlock],
        options: &JointOptions,
    ) -> Result<Sizes> {
        let of_network = options.parameters();
        let (mut next, mut most) = (0, 0);
        for (task, block) in tasks.iter().zip(blocks) {
            let shape = self.geometry.shapes.get(task.shape as usize);
            let count = block.weights.len();
            let fits = shape.is_some_and(|s| s.weights as usize == count)
                && task.weights == next
                && block.network.len() == of_network;
            if !fits {
                return Err(Error::argument("a block that does not fit its model"));
            }
            next += count as u64;
            most = most.max(count);
        }
        let stride = of_network.max(1);
        Ok(Sizes {
            tasks: tasks.len(),
            weights: next as usize,
            most,
            of_network,
            stride,
            told: if options.tell_gradients {
                most + stride
            } else {
                0
            },
        })
    }

    fn upload_joint(
        &mut self,
        tasks: &[JointTask],
        blocks: &[JointBlock],
        options: &JointOptions,
        sizes: Sizes,
    ) -> Result<Joint> {
        let device = Arc::clone(&self.trainer.device);
        let stream = &mut self.trainer.stream;
        let weights: Vec<f32> = blocks.iter().flat_map(|b| &b.weights).copied().collect();
        let mut networks: Vec<f32> = blocks.iter().flat_map(|b| &b.network).copied().collect();
        networks.resize(sizes.stride * sizes.tasks, 0.0);
        Ok(Joint {
            tasks: put(&device, stream, tasks)?,
            steps: put(&device, stream, options.steps.as_slice())?,
            weights: put(&device, stream, weights.as_slice())?,
            networks: put(&device, stream, networks.as_slice())?,
            gradients: Buffer::new(&device, 4 * sizes.told * sizes.tasks)?,
            results: Buffer::new(&device, size_of::<JointResult>() * sizes.tasks)?,
        })
    }

    fn download_joint(
        &mut self,
        tasks: &[JointTask],
        joint: &Joint,
        sizes: Sizes,
    ) -> Result<Vec<JointTrained>> {
        let Sizes {
            of_network, stride, ..
        } = sizes;
        let stream = &mut self.trainer.stream;
        let weights: Vec<f32> = take(stream, &joint.weights, sizes.weights)?;
        let networks: Vec<f32> = take(stream, &joint.networks, stride * sizes.tasks)?;
        let gradients: Vec<f32> = take(stream, &joint.gradients, sizes.told * sizes.tasks)?;
        let results: Vec<JointResult> = take(stream, &joint.results, sizes.tasks)?;
        let mut trained = Vec::with_capacity(sizes.tasks);
        for (i, (result, task)) in results.into_iter().zip(tasks).enumerate() {
            let first = task.weights as usize;
            let count = self.geometry.shapes[task.shape as usize].weights as usize;
            let of_block = gradients.iter().skip(i * sizes.told);
            let told = sizes.told.min(count + of_network);
            trained.push(JointTrained {
                result,
                block: JointBlock {
                    weights: weights[first..first + count].to_vec(),
                    network: networks[i * stride..][..of_network].to_vec(),
                },
                gradients: of_block.take(told).copied().collect(),
            });
        }
        Ok(trained)
    }
}
