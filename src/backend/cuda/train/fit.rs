//! Weights of grids.

use std::sync::Arc;

use super::layout::{FitParams, FitResult, FitTask};
use super::{THREADS, TrainBatch, put, take};
use crate::Result;
use crate::backend::cuda::{Buffer, Kernel};

/// Fits grids.
pub static FIT: Kernel = Kernel::new::<FitParams>("train_fit", "hgv_train_fit", THREADS);

/// Coarse grids cost nothing and converge slowly.
const FIRST_AGAIN: u32 = 3;

/// How grids are fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FitOptions {
    /// Most sweeps over all levels.
    pub sweeps: u32,
    /// A sweep that changes under one in this many of the weights that are not 0 is the last one.
    pub settled: u32,
}

impl TrainBatch<'_> {
    /// Fits the weights of every task; `weights` is how many there are in all. They stay on the device,
    /// too, for [`Self::networks`].
    ///
    /// # Errors
    /// [`crate::Error::Device`] and [`crate::Error::DeviceMemory`].
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
}
