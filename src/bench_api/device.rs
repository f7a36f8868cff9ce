//! Blocks whose models a device trains.

use super::train::{LabModel, extents, options};
use super::{BlockLab, LabBlock, LabKind, layer_bytes};
use crate::Result;
use crate::backend::cpu::CpuLevel;
use crate::backend::cuda::train::GridTrainer;
use crate::codec::bands::BlockShape;
use crate::encode::train::{
    Net, Random, TrainOptions, TrainReport, Trainer, root_mean_square, train_block,
};
use crate::encode::{
    BlockPlan, EncodeScratch, GridTraining, GridTrainingBlock, JointBatch, TrainedBlock,
    encode_block, train_batch,
};

impl BlockLab {
    /// Trains grids and networks for blocks (extent and values in units of `q`, `[z][y][x]`) and codes their
    /// layers; how many bytes these are, without the networks.
    ///
    /// # Errors
    /// As the encoder.
    pub fn train(
        &self,
        trainer: &mut GridTrainer,
        blocks: &[([usize; 3], Vec<f32>)],
    ) -> Result<usize> {
        let trained = self.train_blocks(trainer, blocks)?;
        Ok(trained.iter().map(TrainedBlock::bytes).sum())
    }

    fn train_blocks(
        &self,
        trainer: &mut GridTrainer,
        blocks: &[([usize; 3], Vec<f32>)],
    ) -> Result<Vec<TrainedBlock>> {
        let plan = self.plan();
        let wanted = blocks
            .iter()
            .map(|(dims, values)| GridTrainingBlock::new(&plan, *dims, values))
            .collect::<Result<Vec<_>>>()?;
        train_batch(trainer, &wanted, &self.grids, GridTraining::of(&plan))
    }

    /// Encodes blocks (extent and values in units of `q`, `[z][y][x]`) with what a device trains for all of
    /// them at once.
    ///
    /// # Errors
    /// As the encoder.
    pub fn encode_trained(
        &self,
        trainer: &mut GridTrainer,
        blocks: &[([usize; 3], Vec<f32>)],
    ) -> Result<Vec<LabBlock>> {
        let plan = self.plan();
        let trained = self.train_blocks(trainer, blocks)?;
        let mut scratch = EncodeScratch::default();
        let each = blocks.iter().zip(&trained);
        each.map(|((dims, values), trained)| {
            let shape = BlockShape {
                dims: *dims,
                depth: self.depth,
            };
            let mut plan = BlockPlan { ..plan };
            plan.grid.trained = Some(trained);
            let (block, errors) = encode_block(&plan, shape, values, &[], &mut scratch)?;
            Ok(LabBlock {
                kind: LabKind::of(&block),
                layers: layer_bytes(&block),
                errors,
            })
        })
        .collect()
    }
}

/// Blocks whose parameters are all trained together, by the CPU and on a device.
#[derive(Debug, Clone)]
pub struct JointLab {
    nets: Vec<Net>,
    targets: Vec<Vec<f32>>,
    options: TrainOptions,
}

/// How the training of a block went: objectives before and after, and steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LabTraining {
    /// Mean squared error plus the price of the bits for a voxel, before.
    pub before: f64,
    /// The same afterwards, with whole weights.
    pub after: f64,
    /// Mean squared error before.
    pub error_before: f64,
    /// Steps taken.
    pub steps: usize,
}

impl JointLab {
    /// A model for each target, `[z][y][x]`; all start from weights of their own.
    ///
    /// # Errors
    /// As [`super::TrainLab::new`].
    pub fn new(
        model: &LabModel,
        targets: Vec<Vec<f32>>,
        steps: usize,
        lambda: f64,
    ) -> Result<Self> {
        let nets = (1..).zip(&targets).map(|(seed, _)| model.net(seed));
        Ok(Self {
            nets: nets.collect::<Result<_>>()?,
            options: options(steps, lambda, CpuLevel::best()),
            targets,
        })
    }

    /// Makes every parameter of block `block` random, so that all of them have gradients.
    pub fn shake(&mut self, block: usize, seed: u64) {
        let mut random = Random::new(seed);
        let net = &mut self.nets[block];
        for w in net.levels.iter_mut().flat_map(|l| &mut l.weights).flatten() {
            *w = 2.0 * random.signed();
        }
        for p in net.mlp.iter_mut().flat_map(|m| &mut m.parameters) {
            *p += 0.3 * random.signed();
        }
    }

    /// Grid weights of a block, level by level, feature by feature.
    pub fn weights(&mut self, block: usize) -> Vec<&mut f32> {
        let levels = &mut self.nets[block].levels;
        levels
            .iter_mut()
            .flat_map(|l| &mut l.weights)
            .flatten()
            .collect()
    }

    /// Parameters of the network of a block, layer by layer, weights `[output][input]`, then biases.
    pub fn parameters(&mut self, block: usize) -> Vec<&mut f32> {
        self.nets[block]
            .mlp
            .iter_mut()
            .flat_map(|m| &mut m.parameters)
            .collect()
    }

    /// Gradients of the mean squared error by grid weights and by the network, by the CPU: in squared units of
    /// the target, and per unit of the network's parameters.
    ///
    /// # Errors
    /// As [`super::TrainLab::new`].
    pub fn cpu_gradients(&self, block: usize) -> Result<(Vec<f32>, Vec<f32>)> {
        let trainer = Trainer::new(self.nets[block].clone(), &self.targets[block], self.options);
        let (_, mut lists) = trainer.ok_or_else(extents)?.gradients_for_tests();
        let network = match self.nets[block].mlp {
            Some(_) => lists.pop().unwrap_or_default(),
            None => Vec::new(),
        };
        Ok((lists.concat(), network))
    }

    /// The same on a device, without noise and rounding.
    ///
    /// # Errors
    /// As the device.
    pub fn gradients(&self, trainer: &mut GridTrainer) -> Result<Vec<(Vec<f32>, Vec<f32>)>> {
        let options = TrainOptions {
            hardness: 0.0,
            noise: 0.0,
            settle: 0.0,
            steps: 1,
            ..self.options
        };
        let told = self.batch(options).gradients(trainer)?;
        let blocks = told.into_iter().zip(&self.nets).zip(&self.targets);
        Ok(blocks
            .map(|((g, net), target)| in_units(&g, net, target))
            .collect())
    }

    /// Milliseconds that a device takes for all steps of all blocks, none of which stops early.
    ///
    /// # Errors
    /// As the device.
    pub fn time(&self, trainer: &mut GridTrainer) -> Result<f64> {
        let options = TrainOptions {
            tolerance: f64::NEG_INFINITY,
            ..self.options
        };
        trainer.set_profile(true);
        self.batch(options).run(trainer)?;
        let times = trainer.take_profile()?;
        trainer.set_profile(false);
        Ok(times.iter().map(|t| t.milliseconds).sum())
    }

    /// Trains all blocks on a device.
    ///
    /// # Errors
    /// As the device.
    pub fn train(&self, trainer: &mut GridTrainer) -> Result<Vec<LabTraining>> {
        let trained = self.batch(self.options).run(trainer)?;
        Ok(trained
            .iter()
            .zip(&self.targets)
            .map(|((_, r), t)| self.told(r, t))
            .collect())
    }

    /// Trains a block by the CPU.
    ///
    /// # Errors
    /// As [`super::TrainLab::new`].
    pub fn train_on_cpu(&self, block: usize) -> Result<LabTraining> {
        let target = &self.targets[block];
        let trained = train_block(self.nets[block].clone(), target, self.options);
        let (_, report) = trained.ok_or_else(extents)?;
        Ok(self.told(&report, target))
    }

    fn told(&self, report: &TrainReport, target: &[f32]) -> LabTraining {
        let price = self.options.lambda / target.len() as f64;
        LabTraining {
            before: report.before.error + price * report.before.bits,
            after: report.after.error + price * report.after.bits,
            error_before: report.before.error,
            steps: report.steps,
        }
    }

    fn batch(&self, options: TrainOptions) -> JointBatch<'_> {
        JointBatch {
            nets: self.nets.clone(),
            targets: &self.targets,
            options,
        }
    }
}

/// Gradients of a device as [`JointLab::cpu_gradients`] gives them.
fn in_units(told: &[f32], net: &Net, target: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let unit = root_mean_square(target);
    let weights = net
        .levels
        .iter()
        .flat_map(|l| &l.weights)
        .map(Vec::len)
        .sum();
    let (grid, network) = told.split_at(weights);
    let square = |g: &[f32]| g.iter().map(|g| g * unit * unit).collect::<Vec<_>>();
    let mut by_output = Vec::new();
    if let Some(mlp) = &net.mlp {
        let network = square(network);
        for (i, at) in mlp.shape.layers().into_iter().enumerate() {
            let scale = if i == mlp.shape.hidden {
                1.0 / unit
            } else {
                1.0
            };
            let weights = &network[at.start..at.biases()];
            let row = |o: usize| weights.iter().skip(o).step_by(at.outputs);
            let rows = (0..at.outputs).flat_map(row);
            let all = rows.chain(&network[at.biases()..at.end()]);
            by_output.extend(all.map(|g| g * scale));
        }
    }
    (square(grid), by_output)
}
