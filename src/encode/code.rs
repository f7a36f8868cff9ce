//! One block of a pass: its voxels as they are read, in the way that the volume wants them coded.

use byteorder::{ByteOrder, LittleEndian as Le};

use super::block::{BlockPlan, EncodeScratch, EncodedBlock, LevelError, encode_block};
use super::job::Job;
use super::masked::filled;
use super::overview::TierVoxels;
use crate::Result;
use crate::codec::bands::BlockShape;
use crate::model::Residual;
use crate::volume::{BlockGrid, Region, VoxelSource};

/// A block of a tier as the pass made it.
pub(super) struct Coded {
    pub(super) block: [u64; 3],
    pub(super) encoded: EncodedBlock,
    pub(super) errors: Vec<LevelError>,
    pub(super) coarsest: Vec<i32>,
    /// Whether the first layer begins with a mask.
    pub(super) masked: bool,
    /// Voxels that are finite: those that errors are shared out over.
    pub(super) finite: u64,
}

/// Where the voxels of a tier come from.
pub(super) enum TierSource<'a> {
    Volume(&'a dyn VoxelSource),
    Overview(&'a TierVoxels),
}

impl Job<'_> {
    pub(super) fn code(
        &self,
        plan: &BlockPlan<'_>,
        grid: &BlockGrid,
        block: [u64; 3],
        values: &[f32],
        scratch: &mut EncodeScratch,
    ) -> Result<Coded> {
        let region = grid.region(block);
        let dims = region.extent().map(|n| n as usize);
        let plan = &BlockPlan {
            search: (plan.search).map(|effort| effort.beside(neighbours(grid, &region))),
            ..*plan
        };
        let shape = BlockShape {
            dims,
            depth: plan_depth(self.block_log2),
        };
        if let Some(ranks) = self.ranks().filter(|_| plan.model.ranks) {
            return self.code_ranks(ranks, plan, shape, block, values, scratch);
        }
        if plan.model.residual == Residual::FloatBits {
            return self.code_bits(plan, shape, block, values, scratch);
        }
        if self.scan.masked && values.iter().any(|v| !v.is_finite()) {
            return self.code_masked(plan, shape, block, values, scratch);
        }
        self.code_units(plan, shape, block, (values, &[]), scratch)
    }

    /// A block of float32 voxels that must come back bit for bit.
    fn code_bits(
        &self,
        plan: &BlockPlan<'_>,
        shape: BlockShape,
        block: [u64; 3],
        voxels: &[f32],
        scratch: &mut EncodeScratch,
    ) -> Result<Coded> {
        let mut units = Vec::new();
        let bytes: Vec<u8> = voxels.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.scan.values.to_units(&bytes, &mut units);
        if self.scan.masked {
            units = filled(&units, self.scan.q_min);
        }
        let coded = self.code_units(plan, shape, block, (&units, voxels), scratch)?;
        Ok(Coded {
            finite: voxels.iter().filter(|v| v.is_finite()).count() as u64,
            ..coded
        })
    }

    /// A block of finite values in units of `q`, and the voxels if every bit of them must come back.
    pub(super) fn code_units(
        &self,
        plan: &BlockPlan<'_>,
        shape: BlockShape,
        block: [u64; 3],
        (values, exact): (&[f32], &[f32]),
        scratch: &mut EncodeScratch,
    ) -> Result<Coded> {
        let (encoded, errors) = encode_block(plan, shape, values, exact, scratch)?;
        let coarsest = if plan.want_coarsest {
            scratch.coarsest(&encoded, &shape)
        } else {
            Vec::new()
        };
        Ok(Coded {
            block,
            encoded,
            errors,
            coarsest,
            masked: false,
            finite: values.len() as u64,
        })
    }

    /// Values of a box in units of `q`; those of the volume are ranks where ranks are coded, and its
    /// voxels if every bit of them must come back otherwise.
    pub(super) fn read(
        &self,
        source: &TierSource<'_>,
        region: &Region,
        out: &mut Vec<f32>,
    ) -> Result<()> {
        out.clear();
        match source {
            TierSource::Overview(voxels) => voxels.read(region, out),
            TierSource::Volume(volume) => {
                let mut bytes = vec![0; region.voxels() as usize * self.scan.values.dtype.size()];
                volume.read(region, &mut bytes)?;
                if let Some(ranks) = self.ranks() {
                    ranks.of_voxels(&bytes, out)?;
                } else if self.residual == Residual::FloatBits {
                    out.extend(bytes.chunks_exact(4).map(Le::read_f32));
                } else {
                    self.scan.values.to_units(&bytes, out);
                }
                Ok(())
            }
        }
    }
}

/// Whether there is a block before and after this one, along x, y and z.
fn neighbours(grid: &BlockGrid, region: &Region) -> [[bool; 2]; 3] {
    [0, 1, 2].map(|a| [region.start[a] > 0, region.end[a] < grid.extent[a]])
}

/// Transform levels of a block.
pub(super) fn plan_depth(block_log2: u32) -> usize {
    (block_log2 - 2) as usize
}
