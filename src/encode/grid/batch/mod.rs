//! Grids and networks of many blocks at once, trained on a device.
//!
//! The same search as [`super::fit`] and the same training as [`super::network`], which a device runs for
//! thousands of blocks together. What comes back are candidates like those that the CPU finds: the coder makes
//! layers of them here, and the decoder measures them as ever.

mod geometry;
#[cfg(feature = "bench")]
mod joint;
mod networks;

use rayon::prelude::*;

use super::super::block::BlockPlan;
#[cfg(feature = "bench")]
use super::super::sums::MinMax;
use super::{Candidate, encode_layers, total};
use crate::backend::cpu::CpuLevel;
use crate::backend::cuda::train::{
    FitOptions, FitResult, FitTask, GridTrainer, NetworkOptions, NetworkTask, TrainBatch,
};
use crate::codec::grid::GridWeights;
use crate::encode::Preset;
use crate::model::GridModel;
use crate::model::grid::Network;
use crate::{Error, Result};
use geometry::Shapes;
#[cfg(feature = "bench")]
pub(crate) use joint::JointBatch;

/// A block to train models for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GridTrainingBlock<'a> {
    /// Voxels along x, y, z.
    pub(crate) dims: [usize; 3],
    /// `[z][y][x]` in units of `q`.
    pub(crate) values: &'a [f32],
    /// What models are relative to.
    pub(crate) centre: i32,
}

#[cfg(feature = "bench")]
impl<'a> GridTrainingBlock<'a> {
    /// A block of a plan.
    ///
    /// # Errors
    /// As the range of the plan.
    pub(crate) fn new(plan: &BlockPlan<'_>, dims: [usize; 3], values: &'a [f32]) -> Result<Self> {
        let (min, max) = plan.cpu.with_vectors(MinMax(values));
        let range = (plan.range)(min.floor() as i32, max.ceil() as i32)?;
        Ok(Self {
            dims,
            values,
            centre: range.centre(),
        })
    }
}

/// How to train.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GridTraining {
    pub(crate) preset: Preset,
    /// Squared error that a bit is worth.
    pub(crate) lambda: f64,
    /// Of everything random.
    pub(crate) seed: u64,
    /// Layers of a block.
    pub(crate) layers: usize,
    /// Of the parts that the CPU does.
    pub(crate) cpu: CpuLevel,
}

impl GridTraining {
    /// As a plan says.
    pub(crate) fn of(plan: &BlockPlan<'_>) -> Self {
        Self {
            preset: plan.preset,
            lambda: plan.grid.lambda,
            seed: plan.grid.seed,
            layers: plan.steps.len(),
            cpu: plan.cpu.level(),
        }
    }
}

/// The best model of a block, its layers, and a network that may be worth its bytes.
#[derive(Debug, Clone)]
pub(crate) struct TrainedBlock {
    pub(super) candidate: Candidate,
    /// Squared error plus the price of the layers, as trained.
    pub(super) cost: f64,
    pub(super) network: Option<Network>,
}

#[cfg(feature = "bench")]
impl TrainedBlock {
    /// Bytes of the layers, without a network.
    pub(crate) fn bytes(&self) -> usize {
        self.candidate.layers.iter().map(Vec::len).sum()
    }
}

/// A sweep that changes under one in this many weights is the last one: the sweeps after it take off less than
/// a thousandth of the bytes.
const SETTLED: u32 = 200;

/// Trains every model for every block, and a network for the cheapest of each.
///
/// # Errors
/// [`crate::Error::Device`] and [`crate::Error::DeviceMemory`]; [`crate::Error::InvalidArgument`] for models
/// that no device trains.
pub(crate) fn train_batch(
    trainer: &mut GridTrainer,
    blocks: &[GridTrainingBlock<'_>],
    models: &[GridModel],
    training: GridTraining,
) -> Result<Vec<TrainedBlock>> {
    let batch = Batch {
        blocks,
        models,
        training,
    };
    batch.run(trainer)
}

struct Batch<'a> {
    blocks: &'a [GridTrainingBlock<'a>],
    models: &'a [GridModel],
    training: GridTraining,
}

impl Batch<'_> {
    fn run(&self, trainer: &mut GridTrainer) -> Result<Vec<TrainedBlock>> {
        let mut shapes = Shapes::default();
        let (tasks, count) = self.tasks(&mut shapes)?;
        let shape = self
            .models
            .first()
            .and_then(|m| Some((m.network?, m.inputs())));
        let options = shape.map(|(shape, inputs)| {
            let (seed, cpu) = (self.training.seed, self.training.cpu);
            networks::options(shape, inputs, &mut shapes.geometry.shapes, seed, cpu)
        });
        let values: Vec<f32> = self.blocks.iter().flat_map(|b| b.values).copied().collect();
        let mut device = trainer.begin(&values, &shapes.geometry)?;
        let sweeps = super::effort(self.training.preset).sweeps as u32;
        let settled = SETTLED;
        let (weights, results) = device.fit(&tasks, count, FitOptions { sweeps, settled })?;
        let mut trained = self.choose(&tasks, &weights, &results)?;
        if let Some(options) = options {
            self.add_networks(&mut device, &tasks, &mut trained, &options)?;
        }
        Ok(trained)
    }

    /// Every block under every model, block by block; and how many weights there are in all.
    fn tasks(&self, shapes: &mut Shapes) -> Result<(Vec<FitTask>, usize)> {
        let mut tasks = Vec::new();
        let (mut values, mut weights) = (0, 0);
        for block in self.blocks {
            for model in self.models.iter().enumerate() {
                let shape = shapes.find(model, block.dims)?;
                tasks.push(FitTask {
                    values,
                    weights,
                    shape,
                    lambda: self.training.lambda as f32,
                    centre: block.centre as f32,
                    unused: 0,
                });
                weights += u64::from(shapes.geometry.shapes[shape as usize].weights);
            }
            values += block.values.len() as u64;
        }
        Ok((tasks, weights as usize))
    }

    /// The cheapest model of each block.
    fn choose(
        &self,
        tasks: &[FitTask],
        weights: &[i32],
        results: &[FitResult],
    ) -> Result<Vec<TrainedBlock>> {
        let each = self.models.len().max(1);
        let fitted = tasks.par_chunks(each).zip(results.par_chunks(each));
        let of_block = |(block, (tasks, results)): (&GridTrainingBlock<'_>, Fitted<'_>)| {
            let mut best: Option<TrainedBlock> = None;
            for (index, (task, result)) in tasks.iter().zip(results).enumerate() {
                let model = &self.models[index];
                let mut weights =
                    weights_from(model, block.dims, &weights[task.weights as usize..]);
                let layers = encode_layers(model, self.training.layers, &mut weights)?;
                let cost = total(self.training.lambda, result.error, &layers);
                if best.as_ref().is_none_or(|b| cost < b.cost) {
                    best = Some(TrainedBlock {
                        candidate: Candidate {
                            model: index,
                            weights,
                            layers,
                        },
                        cost,
                        network: None,
                    });
                }
            }
            best.ok_or_else(|| Error::argument("a block to train without models"))
        };
        self.blocks.par_iter().zip(fitted).map(of_block).collect()
    }

    /// Trains a network for the model of each block.
    fn add_networks(
        &self,
        device: &mut TrainBatch<'_>,
        tasks: &[FitTask],
        trained: &mut [TrainedBlock],
        options: &NetworkOptions,
    ) -> Result<()> {
        let each = self.models.len().max(1);
        let chosen = tasks.chunks(each).zip(trained.iter());
        let tasks: Vec<NetworkTask> = chosen
            .map(|(tasks, block)| {
                let task = tasks[block.candidate.model];
                NetworkTask {
                    values: task.values,
                    weights: task.weights,
                    shape: task.shape,
                    centre: task.centre,
                }
            })
            .collect();
        let results = device.networks(&tasks, options)?;
        for (block, result) in trained.iter_mut().zip(&results) {
            let model = &self.models[block.candidate.model];
            block.network = networks::integers(model, result);
        }
        Ok(())
    }
}

type Fitted<'a> = (&'a [FitTask], &'a [FitResult]);

/// The weights of a block as the coder takes them, from those of all its levels in a row.
fn weights_from(model: &GridModel, dims: [usize; 3], mut numbers: &[i32]) -> GridWeights {
    let mut weights = GridWeights::default();
    weights.reset(model, dims);
    let features = weights.levels.iter_mut().flat_map(|l| &mut l.features);
    for feature in features {
        let (these, rest) = numbers.split_at(feature.len());
        feature.copy_from_slice(these);
        numbers = rest;
    }
    weights
}
