//! Blocks under grid models: which model, which weights, and what they cost.

mod batch;
mod fit;
mod network;
#[cfg(feature = "bench")]
mod plain;
mod plan;
mod pyramid;

use super::Preset;
use super::block::{Block, BlockPlan, EncodeScratch, EncodedBlock, LevelError, encode_wavelet};
use super::plan::ModelUse;
use super::sums::SquaredError;
use crate::Result;
use crate::backend::cpu::GridScratch;
use crate::codec::grid::{BlockNetwork, GridWeights, encode_grid_layer};
use crate::model::GridModel;
use crate::model::grid::Network;
#[cfg(feature = "bench")]
pub(crate) use batch::JointBatch;
pub(crate) use batch::{GridTraining, GridTrainingBlock, TrainedBlock, train_batch};
use fit::{Effort, Fit};
#[cfg(feature = "bench")]
pub(crate) use plain::{PlainSize, encode_plain_block};
pub(crate) use plan::{GridWanted, grid_models};
use pyramid::Span;

/// When a block gets a grid model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GridChoice {
    /// Never.
    Never,
    /// Always.
    Always,
    /// Where it beats the wavelet model at the slope of the volume.
    Cheaper,
}

impl GridChoice {
    /// Bytes that a thread works with for each voxel of a block of `levels` qualities.
    pub(crate) fn work_bytes(self, levels: u8) -> u64 {
        // Coefficients, indices of each level, working values and symbols of the wavelet encoder;
        // weights, products, symbols, features and samples of the grid encoder, of which a third
        // stays for the next block and the rest goes before wavelets are tried.
        let base = match self {
            Self::Never => 64,
            Self::Always | Self::Cheaper => 120,
        };
        base + 6 * u64::from(levels)
    }
}

/// What the blocks of a tier share of grid models.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GridPlan<'a> {
    pub(crate) choice: GridChoice,
    pub(crate) models: &'a [GridModel],
    /// Squared error, in units of `q`, that a bit is worth.
    pub(crate) lambda: f64,
    /// Of everything random.
    pub(crate) seed: u64,
    /// What a device has found for the block.
    pub(crate) trained: Option<&'a TrainedBlock>,
}

impl GridPlan<'_> {
    /// Wavelets only.
    pub(crate) const NONE: Self = Self {
        choice: GridChoice::Never,
        models: &[],
        lambda: 0.0,
        seed: 0,
        trained: None,
    };
}

/// Buffers that a thread keeps from block to block.
#[derive(Debug, Default)]
pub(crate) struct GridBuffers {
    evaluation: GridScratch,
    decoded: Vec<i32>,
}

type Encoded = (EncodedBlock, Vec<LevelError>);

/// Encodes a block with the model that the plan asks for.
pub(super) fn choose(block: &Block<'_>, scratch: &mut EncodeScratch) -> Result<Encoded> {
    let plan = block.plan.grid;
    if plan.choice == GridChoice::Never {
        return encode_wavelet(block, scratch);
    }
    if plan.choice == GridChoice::Always {
        return encode_grid(block, scratch);
    }
    let wavelet = encode_wavelet(block, scratch)?;
    let coarsest = std::mem::take(&mut scratch.coarsest);
    scratch.forget_wavelet();
    if let Some(grid) = cheaper_grid(block, &wavelet, scratch)? {
        return Ok(grid);
    }
    scratch.coarsest = coarsest;
    Ok(wavelet)
}

/// The block under a grid model where that beats `wavelet` at the slope of the volume.
fn cheaper_grid(
    block: &Block<'_>,
    wavelet: &Encoded,
    scratch: &mut EncodeScratch,
) -> Result<Option<Encoded>> {
    let GridPlan {
        lambda, trained, ..
    } = block.plan.grid;
    let roughly = match trained {
        Some(trained) => trained.cost,
        None => roughly(block)?,
    };
    if roughly > WITHIN * cost(lambda, wavelet) {
        return Ok(None);
    }
    let grid = encode_grid(block, scratch)?;
    let wins = |lambda| cost(lambda, &grid) < cost(lambda, wavelet);
    if !wins(lambda) {
        return Ok(None);
    }
    // The slope of the volume's curve lies about this one and the block's own. Where a grid wins at
    // the block's own slope, it is under the tangent to the wavelet's curve, so it also has fewer
    // bytes than wavelets of the same error.
    let coarsest = std::mem::take(&mut scratch.coarsest);
    let own = wavelet_slope(block, wavelet, scratch)?.unwrap_or(lambda);
    scratch.forget_wavelet();
    scratch.coarsest = coarsest;
    Ok(wins(own).then_some(grid))
}

/// Sweeps of a first look at a grid, and what its cost may be, relative to wavelets, for a longer one:
/// all later sweeps and a network take off a tenth at the most.
const FIRST_LOOK: usize = 3;
const WITHIN: f64 = 1.12;

/// Cost of the cheapest grid model after a first look.
fn roughly(block: &Block<'_>) -> Result<f64> {
    let mut least = f64::INFINITY;
    for index in 0..block.plan.grid.models.len() {
        let (error, candidate) = fit_model(block, index, Effort { sweeps: FIRST_LOOK })?;
        least = least.min(total(block.plan.grid.lambda, error, &candidate.layers));
    }
    Ok(least)
}

/// Step, relative to the plan's, of the second point that a slope is measured with.
const FINER: f64 = 0.7;

/// Squared error that a bit is worth to the wavelet model in this block, from its step to a finer
/// one. `None` where the finer step does not buy less error with more bytes.
fn wavelet_slope(
    block: &Block<'_>,
    wavelet: &Encoded,
    scratch: &mut EncodeScratch,
) -> Result<Option<f64>> {
    let finer = BlockPlan {
        model: block.plan.model.scaled(FINER),
        wide: block.plan.wide.scaled(FINER),
        want_coarsest: false,
        reversible: None,
        ..*block.plan
    };
    let finer = Block {
        plan: &finer,
        ..*block
    };
    let finer = encode_wavelet(&finer, scratch)?;
    let bits = 8.0 * (bytes(&finer) as f64 - bytes(wavelet) as f64);
    let gain = error(wavelet) - error(&finer);
    Ok((bits > 0.0 && gain > 0.0).then(|| gain / bits))
}

/// Squared error of the last quality plus lambda times bits.
fn cost(lambda: f64, block: &Encoded) -> f64 {
    error(block) + lambda * 8.0 * bytes(block) as f64
}

/// Squared error of the last quality.
fn error((_, errors): &Encoded) -> f64 {
    errors.last().map_or(0.0, |e| e.sse)
}

fn bytes((block, _): &Encoded) -> usize {
    match block {
        EncodedBlock::Constant(_) => 0,
        EncodedBlock::Payload { layers, .. } => layers.iter().map(Vec::len).sum(),
    }
}

/// A fitted model.
#[derive(Debug, Clone)]
struct Candidate {
    model: usize,
    weights: GridWeights,
    layers: Vec<Vec<u8>>,
}

fn encode_grid(block: &Block<'_>, scratch: &mut EncodeScratch) -> Result<Encoded> {
    let plan = block.plan.grid;
    if let Some(trained) = plan.trained {
        let TrainedBlock {
            candidate,
            cost,
            network,
        } = trained.clone();
        let candidate = with_network(block, cost, candidate, network, scratch)?;
        return finish(block, candidate, scratch);
    }
    let mut best: Option<(f64, Candidate)> = None;
    for index in 0..plan.models.len() {
        let (error, candidate) = fit_model(block, index, effort(block.plan.preset))?;
        let cost = total(plan.lambda, error, &candidate.layers);
        if best.as_ref().is_none_or(|(least, _)| cost < *least) {
            best = Some((cost, candidate));
        }
    }
    let Some((cost, candidate)) = best else {
        return encode_wavelet(block, scratch);
    };
    let model = &plan.models[candidate.model];
    let evaluation = &mut scratch.grid.evaluation;
    let network = train_network(block, model, &candidate.weights, evaluation);
    let candidate = with_network(block, cost, candidate, network, scratch)?;
    finish(block, candidate, scratch)
}

/// A network for weights that are fixed; `None` if it would not reduce the error.
fn train_network(
    block: &Block<'_>,
    model: &GridModel,
    weights: &GridWeights,
    scratch: &mut GridScratch,
) -> Option<Network> {
    let task = network::Task {
        cpu: block.plan.cpu,
        model,
        shape: &block.shape,
        target: &relative(block),
        seed: block.plan.grid.seed,
    };
    task.run(weights, scratch)
}

/// The candidate with a network of its own if that lowers its cost.
fn with_network(
    block: &Block<'_>,
    cost: f64,
    candidate: Candidate,
    network: Option<Network>,
    scratch: &mut EncodeScratch,
) -> Result<Candidate> {
    let plan = &block.plan.grid;
    let model = &plan.models[candidate.model];
    let buffers = &mut scratch.grid;
    let Some(network) = network else {
        return Ok(candidate);
    };
    let mut weights = candidate.weights.clone();
    weights.network = BlockNetwork::Own(network);
    let mut layers = candidate.layers.clone();
    layers[0] = encode_grid_layer(model, 0, &mut weights)?;
    let last = block.plan.steps.len() - 1;
    let error = prefix_error(block, model, &weights, last, buffers).sse;
    if total(plan.lambda, error, &layers) >= cost {
        return Ok(candidate);
    }
    // The coarser qualities must not pay for the last one.
    for layer in FIRST_QUALITY..last {
        let with = prefix_error(block, model, &weights, layer, buffers).sse;
        let without = prefix_error(block, model, &candidate.weights, layer, buffers).sse;
        if with > 1.01 * without {
            return Ok(candidate);
        }
    }
    Ok(Candidate {
        weights,
        layers,
        ..candidate
    })
}

/// Error of every quality level; leaves the output of the last in `decoded`.
fn level_errors(
    block: &Block<'_>,
    model: &GridModel,
    weights: &GridWeights,
    buffers: &mut GridBuffers,
) -> Vec<LevelError> {
    (FIRST_QUALITY..block.plan.steps.len())
        .map(|layer| prefix_error(block, model, weights, layer, buffers))
        .collect()
}

/// Layers before this one bring coarse levels of detail, each one from it on a quality.
const FIRST_QUALITY: usize = 2;

/// Squared error plus lambda times bits.
fn total(lambda: f64, sse: f64, layers: &[Vec<u8>]) -> f64 {
    let bytes: usize = layers.iter().map(Vec::len).sum();
    sse + lambda * 8.0 * bytes as f64
}

/// Bytes at equal error, against six sweeps: three take 3 % more, fourteen 1 % less.
fn effort(preset: Preset) -> Effort {
    let sweeps = match preset {
        Preset::Fast => 3,
        Preset::Balanced => 6,
        Preset::Best => 14,
    };
    Effort { sweeps }
}

/// Weights of one model for a block, with the squared error that they leave.
fn fit_model(block: &Block<'_>, index: usize, effort: Effort) -> Result<(f64, Candidate)> {
    let plan = block.plan.grid;
    let model = &plan.models[index];
    let span = Span {
        cpu: block.plan.cpu,
        dims: block.shape.dims,
        order: model.order,
    };
    let mut weights = GridWeights::default();
    weights.reset(model, block.shape.dims);
    let mut fit = Fit::new(span, model, plan.lambda as f32, relative(block))?;
    fit.run(&mut weights, effort);
    let error = fit.residual.iter().map(|&r| f64::from(r * r)).sum();
    let layers = encode_layers(model, block.plan.steps.len(), &mut weights)?;
    Ok((
        error,
        Candidate {
            model: index,
            weights,
            layers,
        },
    ))
}

/// Values relative to the centre of the block's range, which a model starts from.
fn relative(block: &Block<'_>) -> Vec<f32> {
    let centre = block.range.centre() as f32;
    block.values.iter().map(|&v| v - centre).collect()
}

fn encode_layers(
    model: &GridModel,
    layers: usize,
    weights: &mut GridWeights,
) -> Result<Vec<Vec<u8>>> {
    (0..layers)
        .map(|i| encode_grid_layer(model, i, weights))
        .collect()
}

/// Measures the candidate on the decoder's output and makes it a block.
fn finish(block: &Block<'_>, candidate: Candidate, scratch: &mut EncodeScratch) -> Result<Encoded> {
    let Candidate {
        model: index,
        weights,
        mut layers,
    } = candidate;
    let plan = block.plan;
    let model = &plan.grid.models[index];
    let levels = plan.steps.len() - FIRST_QUALITY;
    if layers.iter().all(Vec::is_empty)
        && let Some(flat) = block.flat(model.residual, levels)
    {
        return Ok(flat);
    }
    let mut errors = level_errors(block, model, &weights, &mut scratch.grid);
    if plan.want_coarsest {
        let GridBuffers { evaluation, .. } = &mut scratch.grid;
        let (shape, range) = (&block.shape, block.range);
        let cpu = &plan.cpu;
        cpu.evaluate_grid(
            model,
            shape,
            range,
            shape.depth,
            evaluation,
            &mut scratch.coarsest,
        );
    }
    let decoded = &scratch.grid.decoded;
    if let Some(residual) = block.residual(model.residual, decoded) {
        block.append_residual(&mut layers, decoded, &residual.values)?;
        errors[levels - 1] = residual.error;
    }
    let payload = EncodedBlock::Payload {
        model: ModelUse::Grid(index),
        range: block.range,
        layers,
    };
    Ok((payload, errors))
}

/// The weights of the layers up to `last`; zeros elsewhere.
fn prefix(model: &GridModel, weights: &GridWeights, last: usize, out: &mut GridWeights) {
    out.clone_from(weights);
    for (level, stored) in model.levels.iter().zip(&mut out.levels) {
        if usize::from(level.layer) > last {
            stored.clear();
        }
    }
}

/// Error of the decoder's output from the layers up to `last`; leaves that output in `decoded`.
fn prefix_error(
    block: &Block<'_>,
    model: &GridModel,
    weights: &GridWeights,
    last: usize,
    buffers: &mut GridBuffers,
) -> LevelError {
    let cpu = &block.plan.cpu;
    let GridBuffers {
        evaluation,
        decoded,
    } = buffers;
    prefix(model, weights, last, &mut evaluation.weights);
    cpu.evaluate_grid(model, &block.shape, block.range, 0, evaluation, decoded);
    cpu.with_vectors(SquaredError {
        values: block.values,
        decoded,
    })
}

/// A block on its own, without the rules for constant ones.
#[cfg(feature = "bench")]
fn block_of<'a>(
    plan: &'a BlockPlan<'a>,
    shape: crate::codec::bands::BlockShape,
    values: &'a [f32],
) -> Result<Block<'a>> {
    let (min, max) = plan.cpu.with_vectors(super::sums::MinMax(values));
    Ok(Block {
        plan,
        shape,
        values,
        exact: &[],
        range: (plan.range)(min.floor() as i32, max.ceil() as i32)?,
    })
}

/// Weights and networks of a block under every grid model of a plan, for statistics.
#[cfg(feature = "bench")]
pub(crate) fn fitted_weights<'a>(
    plan: &'a BlockPlan<'a>,
    shape: crate::codec::bands::BlockShape,
    values: &[f32],
) -> Result<Vec<(&'a GridModel, GridWeights)>> {
    let block = block_of(plan, shape, values)?;
    let models = plan.grid.models.iter().enumerate();
    let fitted = |(i, model)| {
        let mut weights = fit_model(&block, i, effort(block.plan.preset))?.1.weights;
        // Whether it pays or not.
        if let Some(own) = train_network(&block, model, &weights, &mut GridScratch::default()) {
            weights.network = BlockNetwork::Own(own);
        }
        Ok((model, weights))
    };
    models.map(fitted).collect()
}
