//! Blocks whose grid models a device trains.

use super::{BlockLab, LabBlock, LabKind, layer_bytes};
use crate::Result;
use crate::backend::cuda::train::GridTrainer;
use crate::codec::bands::BlockShape;
use crate::encode::{
    BlockPlan, EncodeScratch, GridTraining, GridTrainingBlock, encode_block, train_batch,
};

impl BlockLab {
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
        let wanted = blocks
            .iter()
            .map(|(dims, values)| GridTrainingBlock::new(&plan, *dims, values))
            .collect::<Result<Vec<_>>>()?;
        let training = GridTraining::of(&plan);
        let trained = train_batch(trainer, &wanted, &self.grids, training)?;
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
