//! Networks of many blocks: what they start from, the order of their samples, and the integers that come out.

use super::super::network::{ACTIVATION, quantise_layers};
use crate::backend::cpu::CpuLevel;
use crate::backend::cuda::train::{
    AdamStep, NetworkOptions, SAMPLE_TILE, TrainShape, TrainedNetwork, samples,
};
use crate::encode::train::{Mlp, MlpOptions, MlpShape, Random, cosine, scale_inputs, scale_output};
use crate::model::GridModel;
use crate::model::grid::{Network, NetworkShape};

/// Small blocks have smaller batches, for at least about so many steps in an epoch.
const STEPS_OF_EPOCH: usize = 16;

/// How the networks of a model are trained, as the encoder trains one on the CPU. Tells `shapes` where
/// theirs are.
pub(super) fn options(
    shape: NetworkShape,
    inputs: usize,
    shapes: &mut [TrainShape],
    seed: u64,
    cpu: CpuLevel,
) -> NetworkOptions {
    let wanted = MlpOptions::new(seed, cpu);
    let mlp = Mlp::new(
        MlpShape {
            inputs,
            hidden: usize::from(shape.hidden),
            width: usize::from(shape.width),
        },
        seed,
    );
    let (mut steps, mut orders) = (Vec::new(), Vec::new());
    for shape in shapes {
        (shape.order, shape.steps) = (orders.len() as u32, steps.len() as u32);
        let tiles = samples(shape.voxels()).div_ceil(SAMPLE_TILE);
        let most = wanted.batch / SAMPLE_TILE;
        let batch = tiles.div_ceil(STEPS_OF_EPOCH).clamp(1, most);
        shape.batch = batch as u32;
        let count = tiles.div_ceil(batch) * wanted.epochs;
        let rate = |i: usize| wanted.rate * cosine(i as f32 / count as f32);
        steps.extend((0..count).map(|i| AdamStep::new(i, rate(i))));
        let mut random = Random::new(seed);
        let mut order: Vec<u32> = (0..tiles as u32).collect();
        for _ in 0..wanted.epochs {
            random.shuffle(&mut order);
            orders.extend_from_slice(&order);
        }
    }
    NetworkOptions {
        shape,
        inputs,
        start: by_input(&mlp),
        steps,
        orders,
        epochs: wanted.epochs,
        tolerance: wanted.tolerance as f32,
    }
}

/// Parameters with weights `[input][output]`.
pub(super) fn by_input(mlp: &Mlp) -> Vec<f32> {
    let mut out = Vec::with_capacity(mlp.parameters.len());
    for i in 0..=mlp.shape.hidden {
        if let Some((weights, biases)) = mlp.layer(i) {
            let inputs = weights.len() / biases.len().max(1);
            let column = |i: usize| weights.iter().skip(i).step_by(inputs);
            out.extend((0..inputs).flat_map(column));
            out.extend(biases);
        }
    }
    out
}

/// The network whose parameters have weights `[input][output]`.
pub(super) fn by_output(shape: MlpShape, of_device: &[f32]) -> Mlp {
    let mut parameters = Vec::with_capacity(of_device.len());
    for at in shape.layers() {
        let weights = &of_device[at.start..at.biases()];
        let row = |o: usize| weights.iter().skip(o).step_by(at.outputs);
        parameters.extend((0..at.outputs).flat_map(row));
        parameters.extend(&of_device[at.biases()..at.end()]);
    }
    Mlp { shape, parameters }
}

/// The network in units of its inputs and of the block's values.
fn in_units(shape: MlpShape, trained: &TrainedNetwork) -> Mlp {
    let mut mlp = by_output(shape, &trained.parameters);
    scale_output(Some(&mut mlp), trained.result.unit);
    let scales: Vec<f32> = trained.units.iter().map(|u| 1.0 / u).collect();
    scale_inputs(&mut mlp, &scales);
    mlp
}

/// The integers of a trained network; `None` if it does not reduce the error, or they have no room.
pub(super) fn integers(model: &GridModel, trained: &TrainedNetwork) -> Option<Network> {
    let result = &trained.result;
    let good = result.with < result.without && trained.parameters.iter().all(|p| p.is_finite());
    let shape = model.network.filter(|_| good)?;
    let shape = MlpShape {
        inputs: model.inputs(),
        hidden: usize::from(shape.hidden),
        width: usize::from(shape.width),
    };
    let unit = f32::from(model.frac_bits).exp2();
    let mut activations = result.largest[..shape.hidden].to_vec();
    activations.push(ACTIVATION / unit);
    quantise_layers(&in_units(shape, trained), &activations)
}
