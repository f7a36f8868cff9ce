//! Trains the network alone, on planes that stand still: what the encoder does once the integer
//! weights of a block are fixed.

use super::adam::{Adam, Update, cosine};
use super::kernel::TILE;
use super::mlp::{Mlp, MlpShape};
use super::pass::{Pass, Samples, Work, tiles};
use super::plain;
use super::random::Random;
use crate::backend::cpu::{CpuLevel, with_floats};

/// How to train a network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MlpOptions {
    /// Most passes over the samples.
    pub(crate) epochs: usize,
    /// Samples of an Adam step.
    pub(crate) batch: usize,
    /// 1: every tile of 128 voxels; 2: every other; and so on.
    pub(crate) stride: usize,
    /// Longest usual move of a weight in a step, for inputs and targets of unit variance.
    pub(crate) rate: f32,
    /// Training ends when an epoch brings the error down by less than this share.
    pub(crate) tolerance: f64,
    /// Of the order of samples.
    pub(crate) seed: u64,
    /// Vectors to use.
    pub(crate) cpu: CpuLevel,
}

impl MlpOptions {
    /// What has worked: 8 epochs of batches of 16,384 over everything.
    pub(crate) fn new(seed: u64, cpu: CpuLevel) -> Self {
        Self {
            epochs: 8,
            batch: 16_384,
            stride: 1,
            rate: 0.02,
            tolerance: 1e-3,
            seed,
            cpu,
        }
    }
}

/// How it went: mean squared errors over the samples, in squared units of the target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MlpReport {
    /// Of a network that adds nothing.
    pub(crate) without: f64,
    /// Of the network handed back, never more.
    pub(crate) with: f64,
    /// Passes over the samples.
    pub(crate) epochs: usize,
}

/// A network to start from, for inputs of any units: hidden weights after He for inputs of unit
/// variance, output zero.
pub(crate) fn fresh_mlp(shape: MlpShape, seed: u64, inputs: &[&[f32]]) -> Mlp {
    let mut mlp = Mlp::new(shape, seed);
    let scales = inputs.iter().map(|p| 1.0 / plain::root_mean_square(p));
    plain::scale_inputs(&mut mlp, &scales.collect::<Vec<_>>());
    mlp
}

/// Trains `mlp`, from where it stands, to give `target` from `inputs[input][voxel]`, any units.
/// `None` if there are not as many planes as inputs, each as long as the target. A network that
/// would be no better than none is silenced.
pub(crate) fn train_mlp(
    mlp: &mut Mlp,
    inputs: &[&[f32]],
    target: &[f32],
    options: MlpOptions,
) -> Option<MlpReport> {
    let matched = inputs.len() == mlp.shape.inputs && !target.is_empty();
    if !matched || inputs.iter().any(|plane| plane.len() != target.len()) {
        return None;
    }
    let mut training = Training::new(mlp, inputs, target, options);
    let epochs = training.run();
    let (without, with) = training.compare();
    training.leave();
    if with < without {
        return Some(MlpReport {
            without,
            with,
            epochs,
        });
    }
    mlp.silence();
    Some(MlpReport {
        without,
        with: without,
        epochs,
    })
}

/// Inputs and target in units of their root mean squares, so that one rate fits all blocks.
struct Training<'a> {
    mlp: &'a mut Mlp,
    inputs: &'a [&'a [f32]],
    target: Vec<f32>,
    unit: f32,
    scales: Vec<f32>,
    tiles: Vec<u32>,
    work: Work,
    adam: Adam,
    gradient: Vec<f32>,
    options: MlpOptions,
}

impl<'a> Training<'a> {
    fn new(mlp: &'a mut Mlp, inputs: &'a [&'a [f32]], target: &[f32], options: MlpOptions) -> Self {
        let unit = plain::root_mean_square(target);
        let units: Vec<f32> = inputs.iter().map(|p| plain::root_mean_square(p)).collect();
        plain::scale_output(Some(mlp), 1.0 / unit);
        plain::scale_inputs(mlp, &units);
        Self {
            inputs,
            target: target.iter().map(|t| t / unit).collect(),
            unit,
            scales: units.iter().map(|u| 1.0 / u).collect(),
            tiles: (0..tiles(target.len()))
                .step_by(options.stride.max(1))
                .collect(),
            work: Work::new(mlp.shape),
            adam: Adam::new(mlp.parameters.len()),
            gradient: vec![0.0; mlp.parameters.len()],
            mlp,
            options,
        }
    }

    /// Epochs until they no longer pay; returns how many.
    fn run(&mut self) -> usize {
        let mut random = Random::new(self.options.seed);
        let mut best = f64::INFINITY;
        for epoch in 0..self.options.epochs {
            let mut order = std::mem::take(&mut self.tiles);
            random.shuffle(&mut order);
            let squares = self.epoch(epoch, &order);
            self.tiles = order;
            if squares > best * (1.0 - self.options.tolerance) {
                return epoch + 1;
            }
            best = best.min(squares);
        }
        self.options.epochs
    }

    fn epoch(&mut self, epoch: usize, order: &[u32]) -> f64 {
        let batch = (self.options.batch / TILE).max(1);
        let batches = order.len().div_ceil(batch);
        let mut squares = 0.0;
        for (i, tiles) in order.chunks(batch).enumerate() {
            squares += self.pass(tiles, true);
            let done = epoch * batches + i;
            let progress = done as f32 / (batches * self.options.epochs) as f32;
            let update = Update {
                adam: &mut self.adam,
                parameters: &mut self.mlp.parameters,
                gradient: &self.gradient,
                rate: self.options.rate * cosine(progress),
                damping: 0.0,
            };
            with_floats(self.options.cpu, update);
        }
        squares
    }

    /// Squared errors over tiles, and gradients of their mean if `learn`.
    fn pass(&mut self, tiles: &[u32], learn: bool) -> f64 {
        let pass = Pass {
            cpu: self.options.cpu,
            factor: 2.0 / self.count(tiles) as f32,
            mlp: self.mlp,
            samples: Samples {
                inputs: self.inputs,
                scales: &self.scales,
                base: None,
                target: &self.target,
                tiles,
            },
            work: &mut self.work,
            gradient: learn.then_some(self.gradient.as_mut_slice()),
            voxels: None,
        };
        pass.run()
    }

    fn range(&self, tile: u32) -> std::ops::Range<usize> {
        let start = tile as usize * TILE;
        start..(start + TILE).min(self.target.len())
    }

    fn count(&self, tiles: &[u32]) -> usize {
        tiles.iter().map(|&t| self.range(t).len()).sum()
    }

    /// Mean squared errors without and with the network.
    fn compare(&mut self) -> (f64, f64) {
        let mut tiles = std::mem::take(&mut self.tiles);
        tiles.sort_unstable();
        let values = tiles.iter().flat_map(|&t| &self.target[self.range(t)]);
        let without: f64 = values.map(|&v| f64::from(v) * f64::from(v)).sum();
        let with = self.pass(&tiles, false);
        let scale = f64::from(self.unit) * f64::from(self.unit) / self.count(&tiles) as f64;
        (without * scale, with * scale)
    }

    /// Puts the network back into the units of its inputs and target.
    fn leave(self) {
        plain::scale_output(Some(self.mlp), self.unit);
        plain::scale_inputs(self.mlp, &self.scales);
    }
}
