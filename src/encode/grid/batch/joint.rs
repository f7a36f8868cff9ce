//! All parameters of many block models by gradient descent, on a device: the plain method's training.

use super::geometry::add_lists;
use super::networks::{by_input, by_output};
use crate::backend::cuda::train::{
    AdamStep, DENSE_LEVEL, Geometry, GridTrainer, JointBlock, JointOptions, JointStep, JointTask,
    JointTrained, TrainLevel, TrainShape,
};
use crate::encode::train::{Loss, Net, Random, TrainOptions, TrainReport, cosine};
use crate::model::grid::{NetworkShape, Order, lattice};
use crate::{Error, Result};

/// Blocks that are trained together; their models differ in weights only.
pub(crate) struct JointBatch<'a> {
    pub(crate) nets: Vec<Net>,
    /// `[z][y][x]`, one for each net.
    pub(crate) targets: &'a [Vec<f32>],
    pub(crate) options: TrainOptions,
}

impl JointBatch<'_> {
    /// Trains them; weights of grids are whole afterwards.
    ///
    /// # Errors
    /// [`Error::Device`] and [`Error::DeviceMemory`]; [`Error::InvalidArgument`] for models that no device
    /// trains.
    pub(crate) fn run(self, trainer: &mut GridTrainer) -> Result<Vec<(Net, TrainReport)>> {
        let trained = self.on_device(trainer, false)?;
        let pairs = self.nets.into_iter().zip(trained);
        Ok(pairs.map(|(net, trained)| filled(net, &trained)).collect())
    }

    /// The gradients of the first step, in units of the root mean square of each block: of grid weights, then
    /// of the network with weights `[input][output]`.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(crate) fn gradients(&self, trainer: &mut GridTrainer) -> Result<Vec<Vec<f32>>> {
        let trained = self.on_device(trainer, true)?;
        Ok(trained.into_iter().map(|t| t.gradients).collect())
    }

    fn on_device(
        &self,
        trainer: &mut GridTrainer,
        tell_gradients: bool,
    ) -> Result<Vec<JointTrained>> {
        let mut geometry = Geometry::default();
        let (mut tasks, mut blocks) = (Vec::new(), Vec::new());
        let (mut values, mut weights) = (0, 0);
        for (net, target) in self.nets.iter().zip(self.targets) {
            if target.len() != net.voxels() {
                return Err(Error::argument("a target that is not one value a voxel"));
            }
            let shape = add_shape(&mut geometry, net)?;
            tasks.push(JointTask {
                values,
                weights,
                shape,
                centre: 0.0,
                lambda: self.options.lambda as f32,
                unused: 0,
            });
            blocks.push(JointBlock {
                weights: (net.levels.iter().flat_map(|l| &l.weights))
                    .flatten()
                    .copied()
                    .collect(),
                network: net.mlp.as_ref().map_or_else(Vec::new, by_input),
            });
            values += target.len() as u64;
            weights += u64::from(geometry.shapes[shape as usize].weights);
        }
        let options = JointOptions {
            tell_gradients,
            ..self.schedule()
        };
        let mut device = trainer.begin(&self.targets.concat(), &geometry)?;
        device.joint(&tasks, &blocks, &options)
    }

    /// The steps that the CPU's trainer would take.
    fn schedule(&self) -> JointOptions {
        let o = &self.options;
        let settling = (o.steps as f32 * o.settle.clamp(0.0, 1.0)) as usize;
        let moving = o.steps - settling;
        let mut random = Random::new(o.seed);
        let mut steps = Vec::new();
        for i in 0..moving {
            let progress = i as f32 / moving as f32;
            let slower = cosine(progress * (1.0 - o.settle));
            steps.push(JointStep {
                grid: AdamStep::new(i, o.grid_rate * cosine(progress)),
                network: AdamStep::new(i, o.mlp_rate * slower),
                hardness: o.hardness * progress,
                noise: o.noise * (1.0 - progress),
                seed: random.bits() as u32,
                unused: 0,
            });
        }
        for i in 0..settling {
            let progress = 1.0 - o.settle + i as f32 / settling as f32 * o.settle;
            steps.push(JointStep {
                network: AdamStep::new(moving + i, o.mlp_rate * cosine(progress)),
                ..JointStep::default()
            });
        }
        let mlp = self.nets.first().and_then(|n| n.mlp.as_ref());
        JointOptions {
            shape: mlp.map(|m| NetworkShape {
                hidden: m.shape.hidden as u8,
                width: m.shape.width as u8,
            }),
            inputs: mlp.map_or(0, |m| m.shape.inputs),
            steps,
            moving,
            damping: o.damping,
            tolerance: o.tolerance as f32,
            tell_gradients: false,
        }
    }
}

fn add_shape(geometry: &mut Geometry, net: &Net) -> Result<u32> {
    let first_level = geometry.levels.len() as u32;
    let mut weights = 0;
    for level in &net.levels {
        let spec = &level.spec;
        let spacing = spec.exponents[0];
        if spec.exponents != [spacing; 3] {
            return Err(Error::argument("a grid model that no device trains"));
        }
        let vertices = lattice(net.dims, spec.exponents);
        let entries = spec.entries(net.dims);
        let hashed = vertices.iter().product::<usize>() > entries;
        let lists = geometry.lists.len() as u32;
        if hashed {
            add_lists(&mut geometry.lists, vertices, spec.table_log2, 1);
        }
        let mut steps = [0.0; 4];
        steps[..spec.steps.len()].copy_from_slice(&spec.steps);
        geometry.levels.push(TrainLevel {
            spacing: u32::from(spacing),
            table_log2: if hashed {
                spec.table_log2.into()
            } else {
                DENSE_LEVEL
            },
            entries: entries as u32,
            first: weights,
            lists,
            features: spec.steps.len() as u32,
            skip: u32::from(spec.skip),
            steps,
            to_input: spec
                .input_scale
                .filter(|_| net.mlp.is_some())
                .unwrap_or(0.0),
            ..TrainLevel::default()
        });
        weights += (entries * spec.steps.len()) as u32;
    }
    geometry.shapes.push(TrainShape {
        dims: net.dims.map(|n| n as u32),
        cubic: u32::from(net.order == Order::Cubic),
        first_level,
        levels: net.levels.len() as u32,
        weights,
        ..TrainShape::default()
    });
    Ok(geometry.shapes.len() as u32 - 1)
}

fn filled(mut net: Net, trained: &JointTrained) -> (Net, TrainReport) {
    let mut rest = trained.block.weights.as_slice();
    for list in net.levels.iter_mut().flat_map(|l| &mut l.weights) {
        let (these, others) = rest.split_at(list.len());
        list.copy_from_slice(these);
        rest = others;
    }
    if let Some(mlp) = &mut net.mlp {
        *mlp = by_output(mlp.shape, &trained.block.network);
    }
    let r = &trained.result;
    let loss = |error, bits| Loss { error, bits };
    let report = TrainReport {
        steps: r.steps as usize,
        before: loss(r.error_before, r.bits_before),
        after: loss(r.error_after, r.bits_after),
    };
    (net, report)
}
