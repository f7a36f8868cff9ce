//! Networks of many blocks: what they start from, the order of their samples, and the integers that come out.

use super::super::network::{ACTIVATION, quantise_layers};
use crate::backend::cpu::CpuLevel;
use crate::backend::cuda::train::{
    AdamStep, NetworkOptions, SAMPLE_TILE, TILES_OF_BATCH, TrainShape, TrainedNetwork, samples,
};
use crate::encode::train::{Mlp, MlpOptions, MlpShape, Random, cosine, scale_inputs, scale_output};
use crate::model::GridModel;
use crate::model::grid::{Network, NetworkShape};

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
        let count = tiles.div_ceil(TILES_OF_BATCH) * wanted.epochs;
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
fn by_input(mlp: &Mlp) -> Vec<f32> {
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

/// The network in units of its inputs and of the block's values.
fn in_units(shape: MlpShape, trained: &TrainedNetwork) -> Mlp {
    let mut parameters = Vec::with_capacity(trained.parameters.len());
    for at in shape.layers() {
        let weights = &trained.parameters[at.start..at.biases()];
        let row = |o: usize| weights.iter().skip(o).step_by(at.outputs);
        parameters.extend((0..at.outputs).flat_map(row));
        parameters.extend(&trained.parameters[at.biases()..at.end()]);
    }
    let mut mlp = Mlp { shape, parameters };
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
