//! The plain method, to compare with: features and network trained for squared error alone, no skip,
//! weights rounded to 8 bits afterwards. Same model, same coder, same decoder.

use super::super::block::BlockPlan;
use super::super::train::{
    LevelSpec, Mlp, Net, TrainOptions, root_mean_square, scale_inputs, train_block,
};
use super::network::quantise;
use super::{Block, Candidate, EncodeScratch, Encoded, encode_layers, finish, relative};
use crate::backend::cpu::GridScratch;
use crate::codec::bands::BlockShape;
use crate::codec::grid::{BlockNetwork, GridWeights};
use crate::model::grid::{GridLevel, NetworkShape, Order};
use crate::model::{GridModel, Residual};
use crate::{Error, Result};

/// Size of a plain model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlainSize {
    /// Spacing exponents of the coarsest and the finest level.
    pub(crate) spacings: (u8, u8),
    /// Largest table of a level.
    pub(crate) table_log2: u8,
    /// Adam steps, each over all voxels.
    pub(crate) steps: usize,
}

/// Features of a vertex, as in the paper.
const FEATURES: usize = 2;
const SHAPE: NetworkShape = NetworkShape {
    hidden: 2,
    width: 16,
};
/// Working units of a feature as large as the root mean square of the block.
const FEATURE: f64 = 16_384.0;
/// What the network reads of them: 1024 for such a feature.
const INPUT_SHIFT: u8 = 4;

/// Encodes a block by the plain method. `plan.grid.models` of the block's plan are not used.
fn encode_plain(block: &Block<'_>, size: PlainSize) -> Result<Encoded> {
    let target = relative(block);
    let unit = root_mean_square(&target);
    let net = train(block, &target, unit, size)?;
    let (model, mut weights) = eight_bits(block, &net, unit, size);
    let mlp = net.mlp.as_ref().ok_or_else(refused)?;
    weights.network = BlockNetwork::Own(network(block, &model, &weights, mlp)?);
    let layers = encode_layers(&model, block.plan.steps.len(), &mut weights)?;
    let candidate = Candidate {
        model: 0,
        weights,
        layers,
    };
    let models = [model];
    let mut plan = *block.plan;
    plan.grid.models = &models;
    let block = Block {
        plan: &plan,
        ..*block
    };
    finish(&block, candidate, &mut EncodeScratch::default())
}

fn refused() -> Error {
    Error::argument("the plain model has no room for its weights")
}

/// Features are in units of the target's root mean square.
fn train(block: &Block<'_>, target: &[f32], unit: f32, size: PlainSize) -> Result<Net> {
    let fine = 1.0 / 4096.0;
    let (first, last) = size.spacings;
    let specs = (last..=first).rev().map(|k| LevelSpec {
        exponents: [k; 3],
        table_log2: size.table_log2,
        skip: 0,
        input_scale: Some(1.0 / unit),
        steps: vec![unit * fine; FEATURES],
    });
    let hidden = (usize::from(SHAPE.hidden), usize::from(SHAPE.width));
    let net = Net::new(
        block.shape.dims,
        Order::Linear,
        specs.collect(),
        Some(hidden),
        block.plan.grid.seed,
    )?;
    let options = TrainOptions {
        steps: size.steps,
        settle: 0.1,
        grid_rate: 0.02 / fine,
        mlp_rate: 0.01,
        damping: 0.0,
        lambda: 0.0,
        hardness: 0.0,
        noise: 0.0,
        tolerance: 1e-4,
        seed: block.plan.grid.seed,
        cpu: block.plan.cpu.level(),
    };
    let (net, _) = train_block(net, target, options).ok_or_else(refused)?;
    Ok(net)
}

/// One scale for each feature of each level: its largest weight becomes 127.
fn eight_bits(
    block: &Block<'_>,
    net: &Net,
    unit: f32,
    size: PlainSize,
) -> (GridModel, GridWeights) {
    let mut levels = Vec::new();
    let mut stored = Vec::new();
    for level in &net.levels {
        let features = level.weights.iter().zip(&level.spec.steps);
        let (mut steps, mut weights) = (Vec::new(), Vec::new());
        for (values, &step) in features {
            let top = values.iter().fold(1e-6f32, |m, w| m.max(w.abs()));
            weights.push(values.iter().map(move |w| (w * 127.0 / top).round() as i32));
            let scaled = f64::from(top / 127.0 * step / unit) * FEATURE;
            steps.push(((scaled * 65_536.0).round() as u64).max(1));
        }
        stored.push(weights.into_iter().map(Iterator::collect).collect());
        levels.push(GridLevel {
            spacing: level.spec.exponents,
            table_log2: size.table_log2,
            layer: 2,
            skip: 0,
            input_shift: Some(INPUT_SHIFT),
            steps,
        });
    }
    // All in one layer but the network, which the first layer holds.
    levels[0].layer = 0;
    let model = GridModel {
        order: Order::Linear,
        frac_bits: (12.0 - unit.log2()).floor().clamp(-16.0, 16.0) as i8,
        residual: Residual::None,
        mask: false,
        levels,
        network: Some(SHAPE),
        base: None,
    };
    let mut weights = GridWeights::default();
    weights.reset(&model, block.shape.dims);
    for (level, features) in weights.levels.iter_mut().zip(stored) {
        level.features = features;
    }
    (model, weights)
}

/// The trained network for inputs as the decoder has them.
fn network(
    block: &Block<'_>,
    model: &GridModel,
    weights: &GridWeights,
    mlp: &Mlp,
) -> Result<crate::model::grid::Network> {
    let mut scratch = GridScratch::default();
    scratch.weights.clone_from(weights);
    let cpu = block.plan.cpu;
    cpu.evaluate_grid_parts(model, &block.shape, 0, &mut scratch);
    let inputs: Vec<Vec<f32>> = (scratch.inputs().iter())
        .map(|plane| plane.iter().map(|&u| f32::from(u)).collect())
        .collect();
    let mut mlp = mlp.clone();
    let one = FEATURE as f32 / f32::from(1u16 << INPUT_SHIFT);
    scale_inputs(&mut mlp, &vec![1.0 / one; inputs.len()]);
    quantise(&mlp, &inputs, f32::from(model.frac_bits).exp2()).ok_or_else(refused)
}

/// A block of a plan on its own.
pub(crate) fn encode_plain_block(
    plan: &BlockPlan<'_>,
    shape: BlockShape,
    values: &[f32],
    size: PlainSize,
) -> Result<Encoded> {
    encode_plain(&super::block_of(plan, shape, values)?, size)
}
