//! The network of a block: trained on the features that its integer weights give, then made
//! integer itself.

use super::super::train::{Mlp, MlpOptions, MlpShape, fresh_mlp, train_mlp};
use crate::backend::cpu::{CpuBackend, GridScratch};
use crate::codec::bands::BlockShape;
use crate::codec::grid::{BlockNetwork, GridWeights};
use crate::model::GridModel;
use crate::model::grid::{Matrix, Network};

/// Largest hidden activation, as an integer, of the voxels that were looked at.
pub(super) const ACTIVATION: f32 = 8192.0;
/// Finest levels that samples go without in turn, so that the network makes sense for coarser
/// qualities and levels of detail too.
const DROPPED: u8 = 2;
/// One in this many voxels is seen without finest levels, each time.
const DROPPED_EVERY: usize = 16;

/// What a network is trained from.
pub(super) struct Task<'a> {
    pub(super) cpu: CpuBackend,
    pub(super) model: &'a GridModel,
    pub(super) shape: &'a BlockShape,
    /// The block relative to its centre, `[z][y][x]` in units of `q`.
    pub(super) target: &'a [f32],
    pub(super) seed: u64,
}

/// Features and what is missing at each sample.
#[derive(Default)]
struct Samples {
    inputs: Vec<Vec<f32>>,
    missing: Vec<f32>,
}

impl Task<'_> {
    /// Trains a network for `weights`; `None` if it would not reduce the error.
    pub(super) fn run(&self, weights: &GridWeights, scratch: &mut GridScratch) -> Option<Network> {
        let samples = self.samples(weights, scratch);
        let shape = self.model.network?;
        let planes: Vec<&[f32]> = samples.inputs.iter().map(Vec::as_slice).collect();
        let shape = MlpShape {
            inputs: planes.len(),
            hidden: usize::from(shape.hidden),
            width: usize::from(shape.width),
        };
        let mut mlp = fresh_mlp(shape, self.seed, &planes);
        let options = MlpOptions::new(self.seed, self.cpu.level());
        let report = train_mlp(&mut mlp, &planes, &samples.missing, options)?;
        if report.with >= report.without {
            return None;
        }
        let unit = f32::from(self.model.frac_bits).exp2();
        quantise(&mlp, &samples.inputs, unit)
    }

    /// All voxels with all levels, and some without the finest.
    fn samples(&self, weights: &GridWeights, scratch: &mut GridScratch) -> Samples {
        let mut samples = Samples::default();
        samples.inputs.resize_with(self.model.inputs(), Vec::new);
        for dropped in 0..=DROPPED {
            scratch.weights.clone_from(weights);
            scratch.weights.network = BlockNetwork::None;
            let levels = self.model.levels.iter().zip(&mut scratch.weights.levels);
            for (_, stored) in levels.filter(|(l, _)| l.spacing.iter().all(|&k| k < dropped)) {
                stored.clear();
            }
            self.cpu
                .evaluate_grid_parts(self.model, self.shape, 0, scratch);
            samples.add(self, scratch, if dropped == 0 { 1 } else { DROPPED_EVERY });
        }
        samples
    }
}

impl Samples {
    fn add(&mut self, task: &Task<'_>, scratch: &GridScratch, every: usize) {
        let scale = (-f32::from(task.model.frac_bits)).exp2();
        let sums = scratch.sums().iter().zip(task.target);
        let missing = sums.map(|(&s, t)| t - s as f32 * scale);
        self.missing.extend(missing.step_by(every));
        for (all, plane) in self.inputs.iter_mut().zip(scratch.inputs()) {
            all.extend(plane.iter().step_by(every).map(|&u| f32::from(u)));
        }
    }
}

/// Integers that do what the network does, for inputs as the decoder has them and outputs in
/// working units, `unit` of them a unit of the float output. `None` if they have no room.
pub(super) fn quantise(mlp: &Mlp, inputs: &[Vec<f32>], unit: f32) -> Option<Network> {
    let mut activations = largest_activations(mlp, inputs);
    // The last matrix gives working units.
    *activations.last_mut()? = ACTIVATION / unit;
    quantise_layers(mlp, &activations)
}

/// The same from the largest activation of each layer; that of the last one says what its unit is.
pub(super) fn quantise_layers(mlp: &Mlp, activations: &[f32]) -> Option<Network> {
    let mut incoming = 1.0;
    let mut matrices = Vec::new();
    for (i, &largest) in activations.iter().enumerate() {
        let outgoing = ACTIVATION / largest.max(1e-20);
        matrices.push(quantise_matrix(
            mlp.layer(i)?,
            outgoing / incoming,
            outgoing,
        )?);
        incoming = outgoing;
    }
    Some(Network { matrices })
}

/// `scale` for the weights, `bias_scale` for the biases, both before the shift.
fn quantise_matrix(
    (weights, biases): (&[f32], &[f32]),
    scale: f32,
    bias_scale: f32,
) -> Option<Matrix> {
    let largest = |v: &[f32], scale: f32, limit: f32| {
        let top = v.iter().fold(0f32, |m, w| m.max((w * scale).abs()));
        (limit / top.max(1e-20)).log2().floor()
    };
    let weight_room = largest(weights, scale, 127.0);
    let bias_room = largest(biases, bias_scale, 32_767.0 * 256.0);
    let shift = weight_room.min(bias_room).min(24.0);
    if shift < 1.0 {
        return None;
    }
    let up = shift.exp2();
    Some(Matrix {
        shift: shift as u8,
        weights: (weights.iter())
            .map(|w| (w * scale * up).round() as i8)
            .collect(),
        biases: (biases.iter())
            .map(|b| (b * bias_scale * up / 256.0).round() as i16)
            .collect(),
    })
}

/// The largest activation of each layer over a part of the samples.
fn largest_activations(mlp: &Mlp, inputs: &[Vec<f32>]) -> Vec<f32> {
    let layers = mlp.shape.hidden + 1;
    let mut largest = vec![0f32; layers];
    let count = inputs.first().map_or(0, Vec::len);
    for sample in (0..count).step_by(37) {
        let mut now: Vec<f32> = inputs.iter().map(|p| p[sample]).collect();
        for (i, top) in largest.iter_mut().enumerate() {
            let Some((weights, biases)) = mlp.layer(i) else {
                break;
            };
            let rows = weights.chunks_exact(now.len()).zip(biases);
            let sums =
                rows.map(|(row, b)| row.iter().zip(&now).map(|(w, u)| w * u).sum::<f32>() + b);
            now = sums.map(|s| s.max(0.0)).collect();
            *top = now.iter().fold(*top, |m, &v| m.max(v));
        }
    }
    largest
}
