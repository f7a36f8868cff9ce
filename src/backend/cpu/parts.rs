//! What a grid model computes with at each voxel, in place of the voxels: for evaluation between
//! them.

use super::CpuBackend;
use super::block::{Scratch, decode_weights};
use super::grid::{fill_inputs, skip_sums};
use super::layers::{Mask, Parts, check_prefix};
use crate::Result;
use crate::backend::{BlockJob, ValueRange};
use crate::codec::grid::BlockNetwork;
use crate::codec::mask::Class;
use crate::model::BlockModel;
use crate::model::grid::Network;

/// The linear part of a block under a grid model, and what its network works on.
pub(crate) struct GridParts<'a> {
    /// Sums of the levels that add to the output, in working units, `[z][y][x]`; NaN where the
    /// block is masked.
    pub(crate) sums: Vec<f32>,
    /// The block's network and its inputs after shift and clamp, one plane of all voxels each.
    pub(crate) network: Option<(&'a Network, &'a [Vec<i16>])>,
    /// Fractional bits of the working values.
    pub(crate) frac_bits: i8,
    /// Smallest and largest integer of the block; the sums are relative to its centre.
    pub(crate) range: ValueRange,
}

impl CpuBackend {
    /// The parts of a block whose voxels are those of a grid model; `None` for other models, and
    /// where a residual has the last word.
    ///
    /// # Errors
    /// As [`crate::backend::Backend::decode_block`].
    pub(crate) fn grid_parts<'a>(
        &self,
        job: &BlockJob<'a>,
        scratch: &'a mut Scratch,
    ) -> Result<Option<GridParts<'a>>> {
        check_prefix(job)?;
        let BlockModel::Grid(model) = job.model else {
            return Ok(None);
        };
        if job.has_residual() {
            return Ok(None);
        }
        let mask = model.mask.then(|| Mask::split_off(job)).transpose()?;
        let layers = mask.as_ref().map_or(job.layers, |(_, layers)| layers);
        let grid = &mut scratch.grid;
        decode_weights(model, job, &Parts::new(job, layers)?, grid)?;
        skip_sums(self.level(), model, &job.shape, job.lod, grid);
        let mut sums: Vec<f32> = grid.sums().iter().map(|&s| s as f32).collect();
        if let Some((mask, _)) = &mask {
            let voxels = sums.iter_mut().zip(mask.classes(job));
            let masked = voxels.filter(|(_, class)| *class != Class::Finite);
            masked.for_each(|(sum, _)| *sum = f32::NAN);
        }
        if grid.weights.network != BlockNetwork::None {
            fill_inputs(self.level(), model, &job.shape, job.lod, grid);
        }
        Ok(Some(GridParts {
            sums,
            network: (grid.network(model)).map(|network| (network, grid.inputs())),
            frac_bits: model.frac_bits,
            range: job.range,
        }))
    }
}
