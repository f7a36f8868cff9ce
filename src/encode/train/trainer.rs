//! Gradient descent on a whole block: squared error plus the price of the bits.
//!
//! First all parameters move while rounding hardens; then grid weights are whole numbers for good
//! and the network alone settles on them. One thread, fixed order of sums: the same seed gives the
//! same model.

use super::adam::{Adam, Update, cosine};
use super::field::Field;
use super::net::Net;
use super::pass::{Pass, Samples, VoxelGradients, Work, tiles};
use super::plain::{self, BaseErrors};
use super::random::Random;
use super::rate::{Measure, Rate};
use super::relax::{Chain, Relaxed, Values};
use crate::backend::cpu::{CpuLevel, with_floats};

/// Steps whose mean decides whether training still pays.
const WINDOW: usize = 16;

/// How to train.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TrainOptions {
    /// Most steps; each sees every voxel.
    pub(crate) steps: usize,
    /// Share of the steps, at the end, in which grid weights stand still.
    pub(crate) settle: f32,
    /// Longest usual move of a grid weight in a step of training, in quantiser steps.
    pub(crate) grid_rate: f32,
    /// The same for the network's weights.
    pub(crate) mlp_rate: f32,
    /// See [`Update::damping`]; for grid weights.
    pub(crate) damping: f32,
    /// Price of a bit in squared units of the target.
    pub(crate) lambda: f64,
    /// Rounding at the end of the first phase ([`Relaxed::hardness`]).
    pub(crate) hardness: f32,
    /// Noise at its start ([`Relaxed::noise`]).
    pub(crate) noise: f32,
    /// A phase ends when the mean loss of 16 steps falls by less than this share twice in a row.
    pub(crate) tolerance: f64,
    /// Of the noise.
    pub(crate) seed: u64,
    /// Vectors to use.
    pub(crate) cpu: CpuLevel,
}

/// What a step saw, before it moved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Loss {
    /// Mean squared error, in squared units of the target.
    pub(crate) error: f64,
    /// Bits that the grid weights are expected to take.
    pub(crate) bits: f64,
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TrainReport {
    /// Steps taken.
    pub(crate) steps: usize,
    /// Before the first step.
    pub(crate) before: Loss,
    /// Of what is handed back: whole grid weights, the last network.
    pub(crate) after: Loss,
}

/// Trains `net` to give `target`, `[z][y][x]` over `net.dims`; `None` if their extents differ.
/// Afterwards grid weights are whole numbers.
pub(crate) fn train_block(
    net: Net,
    target: &[f32],
    options: TrainOptions,
) -> Option<(Net, TrainReport)> {
    let mut trainer = Trainer::new(net, target, options)?;
    let before = trainer.loss();
    let settle = (options.steps as f32 * options.settle.clamp(0.0, 1.0)) as usize;
    let moving = options.steps - settle;
    let mut steps = descend(&mut trainer, moving, Trainer::step);
    let mut net = trainer.harden();
    if net.net.mlp.is_some() {
        steps += descend(&mut net, settle, Trainer::settle);
    }
    let after = net.loss();
    Some((
        net.finish(),
        TrainReport {
            steps,
            before,
            after,
        },
    ))
}

/// Steps until `most` or until they no longer pay; returns how many.
fn descend(trainer: &mut Trainer, most: usize, step: impl Fn(&mut Trainer, f32) -> Loss) -> usize {
    let (mut sum, mut best, mut stalls) = (0.0, f64::INFINITY, 0);
    for i in 0..most {
        let loss = step(trainer, i as f32 / most as f32);
        sum += trainer.objective(loss);
        if (i + 1) % WINDOW > 0 {
            continue;
        }
        stalls = match sum < best * (1.0 - trainer.options.tolerance) {
            true => 0,
            false => stalls + 1,
        };
        best = best.min(sum);
        sum = 0.0;
        if stalls == 2 {
            return i + 1;
        }
    }
    most
}

/// A model on its way. Values are in units of the target's root mean square, so that rates mean
/// the same for every block.
#[derive(Debug)]
pub(crate) struct Trainer {
    net: Net,
    options: TrainOptions,
    unit: f32,
    target: Vec<f32>,
    field: Field,
    scales: Vec<f32>,
    tiles: Vec<u32>,
    work: Option<Work>,
    values: Vec<Vec<Vec<f32>>>,
    rates: Vec<Vec<Rate>>,
    bits: f64,
    grid: Vec<Vec<Adam>>,
    mlp: Adam,
    mlp_gradient: Vec<f32>,
    random: Random,
}

impl Trainer {
    /// Before the first step; `None` if the target is not one value a voxel.
    pub(crate) fn new(mut net: Net, target: &[f32], options: TrainOptions) -> Option<Self> {
        if target.len() != net.voxels() {
            return None;
        }
        let unit = plain::root_mean_square(target);
        plain::scale_output(net.mlp.as_mut(), 1.0 / unit);
        let parameters = net.mlp.as_ref().map_or(0, |m| m.parameters.len());
        let values: Vec<Vec<Vec<f32>>> = net.levels.iter().map(|l| l.weights.clone()).collect();
        let of_lists = |list: &Vec<Vec<f32>>| list.iter().map(|w| Adam::new(w.len())).collect();
        Some(Self {
            options,
            unit,
            target: target.iter().map(|t| t / unit).collect(),
            field: Field::new(&net, options.cpu),
            scales: scales(&net, unit),
            tiles: (0..tiles(target.len())).collect(),
            work: net.mlp.as_ref().map(|m| Work::new(m.shape)),
            grid: values.iter().map(of_lists).collect(),
            rates: Vec::new(),
            bits: 0.0,
            values,
            mlp: Adam::new(parameters),
            mlp_gradient: vec![0.0; parameters],
            random: Random::new(options.seed),
            net,
        })
    }

    /// One step of everything; `progress` in 0..1 of the phase.
    pub(crate) fn step(&mut self, progress: f32) -> Loss {
        let relaxed = Relaxed {
            hardness: self.options.hardness * progress,
            noise: self.options.noise * (1.0 - progress),
            seed: self.random.bits() as u32,
        };
        let loss = self.gradients(relaxed);
        let fall = cosine(progress);
        self.move_grid(self.options.grid_rate * fall);
        self.move_mlp(self.options.mlp_rate * cosine(progress * (1.0 - self.options.settle)));
        loss
    }

    /// One step of the network alone, on whole grid weights.
    fn settle(&mut self, progress: f32) -> Loss {
        let squares = self.pass(true, false);
        let moved = 1.0 - self.options.settle;
        let fall = cosine(moved + progress * self.options.settle);
        self.move_mlp(self.options.mlp_rate * fall);
        self.seen(squares, self.bits)
    }

    /// The loss with weights as they are.
    fn loss(&mut self) -> Loss {
        self.load(Relaxed {
            hardness: 0.0,
            noise: 0.0,
            seed: 0,
        });
        let squares = self.pass(false, false);
        let bits = self.measure();
        self.seen(squares, bits)
    }

    fn seen(&self, squares: f64, bits: f64) -> Loss {
        let unit = f64::from(self.unit);
        Loss {
            error: squares * unit * unit / self.target.len() as f64,
            bits,
        }
    }

    /// What is made small.
    fn objective(&self, loss: Loss) -> f64 {
        loss.error + self.options.lambda * loss.bits / self.target.len() as f64
    }

    /// Fills the gradients of the objective by every parameter; grid gradients take the place of
    /// values.
    fn gradients(&mut self, relaxed: Relaxed) -> Loss {
        self.load(relaxed);
        let squares = self.pass(true, true);
        self.field.backward(&mut self.values);
        let bits = self.measure();
        let unit = f64::from(self.unit);
        let per_bit = self.options.lambda / (unit * unit * self.target.len() as f64);
        for (l, level) in self.net.levels.iter().enumerate() {
            for (f, weights) in level.weights.iter().enumerate() {
                let chain = Chain {
                    relaxed,
                    step: level.spec.steps[f] / self.unit,
                    rate: self.rates[l][f],
                    per_bit: per_bit as f32,
                    weights,
                    gradient: &mut self.values[l][f],
                };
                with_floats(self.options.cpu, chain);
            }
        }
        self.seen(squares, bits)
    }

    fn load(&mut self, relaxed: Relaxed) {
        for (level, values) in self.net.levels.iter().zip(&mut self.values) {
            let lists = level.weights.iter().zip(&level.spec.steps);
            for ((weights, step), values) in lists.zip(values) {
                let step = step / self.unit;
                let values = Values {
                    relaxed,
                    step,
                    weights,
                    values,
                };
                with_floats(self.options.cpu, values);
            }
        }
        self.field.forward(&self.values);
    }

    /// Squared errors of all voxels; gradients by the network, and by the planes, if asked.
    fn pass(&mut self, learn: bool, learn_grid: bool) -> f64 {
        let factor = 2.0 / self.target.len() as f32;
        let (Some(mlp), Some(work)) = (&self.net.mlp, &mut self.work) else {
            let errors = BaseErrors {
                base: &self.field.base,
                target: &self.target,
                factor,
                gradient: &mut self.field.base_gradient,
            };
            return with_floats(self.options.cpu, errors);
        };
        let inputs: Vec<&[f32]> = self.field.planes.iter().map(Vec::as_slice).collect();
        let samples = Samples {
            inputs: &inputs,
            scales: &self.scales,
            base: Some(&self.field.base),
            target: &self.target,
            tiles: &self.tiles,
        };
        let voxels = VoxelGradients {
            inputs: &mut self.field.plane_gradients,
            base: &mut self.field.base_gradient,
        };
        let pass = Pass {
            cpu: self.options.cpu,
            mlp,
            samples,
            factor,
            work,
            gradient: learn.then_some(self.mlp_gradient.as_mut_slice()),
            voxels: learn_grid.then_some(voxels),
        };
        pass.run()
    }

    /// Fits the rate of every list to its weights; returns the bits of all.
    fn measure(&mut self) -> f64 {
        self.rates.clear();
        self.bits = 0.0;
        for level in &self.net.levels {
            let mut rates = Vec::with_capacity(level.weights.len());
            for weights in &level.weights {
                let sums = with_floats(self.options.cpu, Measure(weights));
                let rate = Rate::new((sums.sum / weights.len().max(1) as f64) as f32);
                self.bits += rate.bits(weights.len(), sums.knees);
                rates.push(rate);
            }
            self.rates.push(rates);
        }
        self.bits
    }

    fn move_grid(&mut self, rate: f32) {
        let levels = self.net.levels.iter_mut().zip(&mut self.grid);
        for ((level, adams), gradients) in levels.zip(&self.values) {
            let lists = level.weights.iter_mut().zip(adams);
            for ((parameters, adam), gradient) in lists.zip(gradients) {
                let damping = self.options.damping;
                let update = Update {
                    adam,
                    parameters,
                    gradient,
                    rate,
                    damping,
                };
                with_floats(self.options.cpu, update);
            }
        }
    }

    fn move_mlp(&mut self, rate: f32) {
        if let Some(mlp) = &mut self.net.mlp {
            let update = Update {
                adam: &mut self.mlp,
                parameters: &mut mlp.parameters,
                gradient: &self.mlp_gradient,
                rate,
                damping: 0.0,
            };
            with_floats(self.options.cpu, update);
        }
    }

    /// Makes grid weights whole and loads them.
    fn harden(mut self) -> Self {
        self.net.round();
        self.loss();
        self
    }

    /// The model in units of the target.
    fn finish(mut self) -> Net {
        plain::scale_output(self.net.mlp.as_mut(), self.unit);
        self.net
    }

    /// Loss and gradients of the mean squared error by all parameters, grid lists first.
    pub(crate) fn gradients_for_tests(&mut self) -> (Loss, Vec<Vec<f32>>) {
        let still = Relaxed {
            hardness: 0.0,
            noise: 0.0,
            seed: 0,
        };
        let loss = self.gradients(still);
        let square = self.unit * self.unit;
        let by_unit = |list: &[f32], factor: f32| list.iter().map(|g| g * factor).collect();
        let lists = self.values.iter().flatten();
        let mut all: Vec<Vec<f32>> = lists.map(|g| by_unit(g, square)).collect();
        if let Some(mlp) = &self.net.mlp {
            let last = mlp.shape.layers()[mlp.shape.hidden].start;
            let mut own = by_unit(&self.mlp_gradient, square);
            own[last..].iter_mut().for_each(|g| *g /= self.unit);
            all.push(own);
        }
        (loss, all)
    }

    /// Multiply-adds of one step: refinement and network, forward and backward.
    pub(crate) fn multiply_adds(&self) -> usize {
        let network: usize = self.net.mlp.as_ref().map_or(0, |m| {
            let layers = m.shape.layers();
            layers.iter().map(|l| 3 * l.inputs * l.outputs).sum()
        });
        2 * self.field.multiply_adds() + network * self.target.len()
    }
}

/// Factors on the planes, which are in units of the target's root mean square.
fn scales(net: &Net, unit: f32) -> Vec<f32> {
    let of = |l: &super::net::Level| {
        let scale = l.spec.input_scale.map(|s| s * unit);
        scale
            .into_iter()
            .flat_map(|s| vec![s; l.weights.len()])
            .collect::<Vec<_>>()
    };
    net.levels.iter().flat_map(of).collect()
}
