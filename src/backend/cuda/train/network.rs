//! Networks on weights that stand still.

use std::sync::Arc;

use super::layout::{AdamStep, NetworkParams, NetworkResult, NetworkTask, samples};
use super::{THREADS, TrainBatch, columns, put, take};
use crate::backend::cuda::{Buffer, Kernel};
use crate::model::grid::NetworkShape;
use crate::{Error, Result};

/// Trains networks.
pub static NETWORK: Kernel =
    Kernel::new::<NetworkParams>("train_network", "hgv_train_network", THREADS);

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

impl TrainBatch<'_> {
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
        let (chunk, shared) = columns(&device, Some(options.shape), options.inputs, parameters)?;
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
}
