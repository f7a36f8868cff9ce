//! Training of one block, for benchmarks.

use std::hint::black_box;

use crate::backend::cpu::{CpuLevel, FloatLoops, Floats, LANES, with_floats};
use crate::encode::train::{
    LevelSpec, Mlp, MlpOptions, MlpShape, Net, TrainOptions, Trainer, train_block, train_mlp,
};
use crate::model::grid::Order;
use crate::{Error, Result};

/// A grid level of a [`TrainLab`].
#[derive(Debug, Clone, Copy)]
pub struct LabLevel {
    /// Spacing of its vertices is `2^exponent` voxels.
    pub exponent: u8,
    /// Features.
    pub features: usize,
    /// Entries of its hash table.
    pub table_log2: u8,
    /// Whether its first feature is added to the output.
    pub skip: bool,
}

/// A block model to be timed.
#[derive(Debug, Clone)]
pub struct LabModel {
    /// Voxels along each axis.
    pub side: usize,
    /// Coarse to fine.
    pub levels: Vec<LabLevel>,
    /// Hidden layers and their width.
    pub hidden: Option<(usize, usize)>,
    /// Cubic refinement, else linear.
    pub cubic: bool,
}

impl LabModel {
    pub(super) fn net(&self, seed: u64) -> Result<Net> {
        let level = |l: &LabLevel| LevelSpec {
            exponents: [l.exponent; 3],
            table_log2: l.table_log2,
            skip: u8::from(l.skip),
            input_scale: self.hidden.map(|_| 0.05),
            steps: vec![2.0; l.features],
        };
        let order = if self.cubic {
            Order::Cubic
        } else {
            Order::Linear
        };
        let levels = self.levels.iter().map(level).collect();
        Net::new([self.side; 3], order, levels, self.hidden, seed)
    }
}

pub(super) fn options(steps: usize, lambda: f64, cpu: CpuLevel) -> TrainOptions {
    TrainOptions {
        steps,
        settle: 0.25,
        grid_rate: 0.2,
        mlp_rate: 0.01,
        damping: 0.1,
        lambda,
        hardness: 0.9,
        noise: 0.25,
        tolerance: 1e-4,
        seed: 1,
        cpu,
    }
}

pub(super) fn extents() -> Error {
    Error::InvalidArgument("the target is not one value a voxel".into())
}

/// A block in training.
#[derive(Debug)]
pub struct TrainLab(Trainer);

impl TrainLab {
    /// Before the first step; `target` is `[z][y][x]`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for models that no file can hold or targets of another extent.
    pub fn new(model: &LabModel, target: &[f32], cpu: CpuLevel) -> Result<Self> {
        let trainer = Trainer::new(model.net(1)?, target, options(100, 1e-6, cpu));
        trainer.map(Self).ok_or_else(extents)
    }

    /// One Adam step over all voxels; the mean squared error before it.
    pub fn step(&mut self) -> f64 {
        self.0.step(0.5).error
    }

    /// Multiply-adds of a step: refinement and network, forward and backward.
    pub fn multiply_adds(&self) -> usize {
        self.0.multiply_adds()
    }
}

/// Trains a block to the end; mean squared error and expected bits of the whole grid weights, and
/// the steps taken.
///
/// # Errors
/// As [`TrainLab::new`].
pub fn train_to_the_end(
    model: &LabModel,
    target: &[f32],
    steps: usize,
    lambda: f64,
    cpu: CpuLevel,
) -> Result<(f64, f64, usize)> {
    let trained = train_block(model.net(1)?, target, options(steps, lambda, cpu));
    let (_, report) = trained.ok_or_else(extents)?;
    Ok((report.after.error, report.after.bits, report.steps))
}

/// Trains a network on planes that stand still: mean squared errors without and with it.
///
/// # Errors
/// [`Error::InvalidArgument`] if the planes are not as long as the target.
pub fn fit_network(
    inputs: &[&[f32]],
    target: &[f32],
    hidden: (usize, usize),
    epochs: usize,
    cpu: CpuLevel,
) -> Result<(f64, f64)> {
    let shape = MlpShape {
        inputs: inputs.len(),
        hidden: hidden.0,
        width: hidden.1,
    };
    let options = MlpOptions {
        epochs,
        tolerance: f64::NEG_INFINITY,
        ..MlpOptions::new(1, cpu)
    };
    let report = train_mlp(&mut Mlp::new(shape, 1), inputs, target, options);
    report.map(|r| (r.without, r.with)).ok_or_else(extents)
}

/// `256 * rounds` independent multiply-adds in registers: twice as many operations are what the
/// machine can do at best in that time.
pub fn multiply_add_rounds(cpu: CpuLevel, rounds: usize) {
    black_box(with_floats(cpu, Rounds(rounds)));
}

struct Rounds(usize);

impl FloatLoops for Rounds {
    type Output = f32;
    #[inline(always)]
    fn run<F: Floats>(self, floats: F) -> f32 {
        if F::WIDE {
            chains::<F, 16>(floats, self.0)
        } else {
            chains::<F, 4>(floats, 4 * self.0)
        }
    }
}

#[inline(always)]
fn chains<F: Floats, const N: usize>(floats: F, rounds: usize) -> f32 {
    let factor = floats.splat(black_box(0.999));
    let term = floats.splat(1e-3);
    let mut values = [term; N];
    for _ in 0..rounds {
        for value in &mut values {
            *value = floats.multiply_add(*value, factor, term);
        }
    }
    let sum = values.into_iter().fold(term, |a, b| floats.add(a, b));
    let mut out = [0.0; LANES];
    floats.store(sum, &mut out);
    out.iter().sum()
}
