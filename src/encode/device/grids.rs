//! Grid models of the blocks of a batch, trained on the device.

use std::sync::PoisonError;

use super::super::code::Ready;
use super::super::grid::{GridChoice, GridTraining, GridTrainingBlock, TrainedBlock, train_batch};
use super::super::job::Job;
use super::pass::Stage;
use crate::backend::ValueRange;
use crate::backend::cuda::train::GridTrainer;
use crate::model::GridModel;
use crate::{Error, Result};

/// Bytes of host and of device memory a voxel: values on their way, weights of two models.
pub(super) const BYTES_A_VOXEL: u64 = 24;

impl Job<'_> {
    /// Trains the grid models of the plan for the blocks that have a range. `None` of a block that is left to
    /// the CPU, because the device has no room for it.
    pub(super) fn train_grids(
        &self,
        stage: &Stage<'_>,
        blocks: &[Ready<'_>],
        ranges: &[Option<ValueRange>],
    ) -> Result<Vec<Option<TrainedBlock>>> {
        let grid = &stage.plan.grid;
        if grid.choice == GridChoice::Never {
            return Ok(Vec::new());
        }
        let pairs = blocks.iter().zip(ranges);
        let wanted: Vec<_> = pairs
            .filter_map(|(ready, range)| {
                Some(GridTrainingBlock {
                    dims: self.shape_of(stage.grid, ready.block).dims,
                    values: &ready.values,
                    centre: range.as_ref()?.centre(),
                })
            })
            .collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let training = GridTraining::of(stage.plan);
        let mut trainer = (stage.encoder.trainer.lock()).unwrap_or_else(PoisonError::into_inner);
        let trainer = &mut *trainer;
        (self.pool).install(|| in_parts(trainer, &wanted, grid.models, training))
    }
}

/// A batch, in halves where it is too large for the device.
fn in_parts(
    trainer: &mut GridTrainer,
    blocks: &[GridTrainingBlock<'_>],
    models: &[GridModel],
    training: GridTraining,
) -> Result<Vec<Option<TrainedBlock>>> {
    match train_batch(trainer, blocks, models, training) {
        Ok(trained) => Ok(trained.into_iter().map(Some).collect()),
        Err(Error::DeviceMemory(_)) if blocks.len() < 2 => Ok(vec![None; blocks.len()]),
        Err(Error::DeviceMemory(_)) => {
            let (first, second) = blocks.split_at(blocks.len() / 2);
            let mut all = in_parts(trainer, first, models, training)?;
            all.extend(in_parts(trainer, second, models, training)?);
            Ok(all)
        }
        Err(other) => Err(other),
    }
}
