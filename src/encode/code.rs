//! One block of a pass: its voxels as they are read, in the way that the volume wants them coded.

use std::borrow::Cow;

use byteorder::{ByteOrder, LittleEndian as Le};

use super::block::{BlockPlan, EncodeScratch, EncodedBlock, LevelError, encode_block};
use super::job::Job;
use super::masked::filled;
use super::overview::TierVoxels;
use crate::Result;
use crate::codec::bands::BlockShape;
use crate::codec::mask::Class;
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

/// How the values of a block are to be taken.
pub(super) enum Kind {
    /// Units of `q`.
    Units,
    /// Ranks in the list of the volume.
    Ranks,
    /// Units of `q` of these voxels, of which every bit must come back.
    Bits(Vec<f32>),
    /// Units of `q`, filled in where these classes say so.
    Masked(Vec<Class>),
}

/// A block that is read and about to be coded.
pub(super) struct Ready<'v> {
    pub(super) block: [u64; 3],
    /// What is coded, `[z][y][x]`, all finite.
    pub(super) values: Cow<'v, [f32]>,
    pub(super) kind: Kind,
}

impl Job<'_> {
    /// Codes a block whose values are as [`Self::read`] leaves them.
    pub(super) fn code(
        &self,
        plan: &BlockPlan<'_>,
        grid: &BlockGrid,
        block: [u64; 3],
        values: &[f32],
        scratch: &mut EncodeScratch,
    ) -> Result<Coded> {
        let ready = self.ready(plan, block, Cow::Borrowed(values));
        self.code_ready(plan, grid, &ready, scratch)
    }

    /// What is to be coded of a block whose values are as [`Self::read`] leaves them.
    pub(super) fn ready<'v>(
        &self,
        plan: &BlockPlan<'_>,
        block: [u64; 3],
        values: Cow<'v, [f32]>,
    ) -> Ready<'v> {
        let (values, kind) = if plan.model.ranks && self.ranks().is_some() {
            (values, Kind::Ranks)
        } else if plan.model.residual == Residual::FloatBits {
            let units = self.units_of(&values);
            (Cow::Owned(units), Kind::Bits(values.into_owned()))
        } else if self.scan.masked && values.iter().any(|v| !v.is_finite()) {
            let classes = values.iter().map(|&v| Class::of(v)).collect();
            let values = filled(&values, self.scan.q_min);
            (Cow::Owned(values), Kind::Masked(classes))
        } else {
            (values, Kind::Units)
        };
        Ready {
            block,
            values,
            kind,
        }
    }

    pub(super) fn code_ready(
        &self,
        plan: &BlockPlan<'_>,
        grid: &BlockGrid,
        ready: &Ready<'_>,
        scratch: &mut EncodeScratch,
    ) -> Result<Coded> {
        let region = grid.region(ready.block);
        let plan = &BlockPlan {
            search: (plan.search).map(|effort| effort.beside(neighbours(grid, &region))),
            ..*plan
        };
        let shape = self.shape_of(grid, ready.block);
        match &ready.kind {
            Kind::Units => self.code_units(plan, shape, ready, &[], scratch),
            Kind::Ranks => self.code_ranks(plan, shape, ready, scratch),
            Kind::Bits(voxels) => Ok(Coded {
                finite: voxels.iter().filter(|v| v.is_finite()).count() as u64,
                ..self.code_units(plan, shape, ready, voxels, scratch)?
            }),
            Kind::Masked(classes) => self.code_masked(plan, shape, ready, classes, scratch),
        }
    }

    pub(super) fn shape_of(&self, grid: &BlockGrid, block: [u64; 3]) -> BlockShape {
        BlockShape {
            dims: grid.region(block).extent().map(|n| n as usize),
            depth: plan_depth(self.block_log2),
        }
    }

    /// Float32 voxels in units of `q`, filled in where they are not finite.
    fn units_of(&self, voxels: &[f32]) -> Vec<f32> {
        let mut units = Vec::new();
        let bytes: Vec<u8> = voxels.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.scan.values.to_units(&bytes, &mut units);
        if self.scan.masked {
            units = filled(&units, self.scan.q_min);
        }
        units
    }

    /// A block of finite values in units of `q`, and the voxels if every bit of them must come back.
    pub(super) fn code_units(
        &self,
        plan: &BlockPlan<'_>,
        shape: BlockShape,
        ready: &Ready<'_>,
        exact: &[f32],
        scratch: &mut EncodeScratch,
    ) -> Result<Coded> {
        let (encoded, errors) = encode_block(plan, shape, &ready.values, exact, scratch)?;
        let coarsest = if plan.want_coarsest {
            scratch.coarsest(&encoded, &shape)
        } else {
            Vec::new()
        };
        Ok(Coded {
            block: ready.block,
            encoded,
            errors,
            coarsest,
            masked: false,
            finite: ready.values.len() as u64,
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
pub(super) fn neighbours(grid: &BlockGrid, region: &Region) -> [[bool; 2]; 3] {
    [0, 1, 2].map(|a| [region.start[a] > 0, region.end[a] < grid.extent[a]])
}

/// Transform levels of a block.
pub(super) fn plan_depth(block_log2: u32) -> usize {
    (block_log2 - 2) as usize
}
