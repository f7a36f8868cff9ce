//! One block: what the index says of it, its layers, its integers.

use std::collections::BTreeMap;

use crate::backend::cpu::{CpuBackend, Scratch};
use crate::backend::{Backend, BlockJob, LayerStep, ValueRange};
use crate::codec::bands::BlockShape;
use crate::codec::mask::{Class, decode_mask};
use crate::format::model::ModelRecord;
use crate::format::shape::Shape;
use crate::model::{NON_FINITE, WaveletModel};
use crate::reader::{BlockEntry, BlockState};
use crate::volume::BlockGrid;
use crate::{Error, Limits, Result};

/// Models of a file by id.
pub(crate) type Models = BTreeMap<u16, WaveletModel>;

/// Reads the model records of a file.
///
/// # Errors
/// [`Error::Unsupported`] for a kind of a newer version, [`Error::Corrupt`] for a broken record.
pub(crate) fn parse_models(records: &[ModelRecord]) -> Result<Models> {
    records
        .iter()
        .map(|r| match r.kind {
            WaveletModel::KIND => Ok((r.id, WaveletModel::from_bytes(&r.payload)?)),
            kind => Err(Error::Unsupported(format!("model kind {kind} of a newer version; update hgv"))),
        })
        .collect()
}

/// Turns index entries and layers into integers.
#[derive(Debug, Clone)]
pub(crate) struct BlockDecoder {
    pub(crate) cpu: CpuBackend,
    models: Models,
    steps: Vec<LayerStep>,
    block_log2: u32,
}

impl BlockDecoder {
    /// For files of this shape.
    pub(crate) fn new(shape: &Shape, cpu: CpuBackend, limits: &Limits) -> Result<Self> {
        Limits::check("voxels of one block", 1 << (3 * u32::from(shape.block_log2)), limits.max_block_voxels)?;
        Ok(Self {
            cpu,
            models: parse_models(&shape.models)?,
            steps: shape.layers.as_slice().iter().map(|l| LayerStep { lod: l.lod, quality: l.quality }).collect(),
            block_log2: u32::from(shape.block_log2),
        })
    }

    /// The extent of a block of a grid, and its transform levels.
    pub(crate) fn shape(&self, grid: &BlockGrid, block: [u64; 3]) -> BlockShape {
        // A block side is at most 128.
        let dims = grid.region(block).extent().map(|n| n as usize);
        BlockShape { dims, depth: (self.block_log2 - 2) as usize }
    }

    /// Integers of a block, `[z][y][x]` over its extent at in-block level of detail `lod`.
    /// `layers` is the prefix that the level wants; empty for a constant block.
    pub(crate) fn decode(
        &self,
        entry: &BlockEntry,
        layers: &[Vec<u8>],
        shape: BlockShape,
        lod: usize,
        scratch: &mut Scratch,
        out: &mut Vec<i32>,
    ) -> Result<()> {
        match &entry.state {
            BlockState::NotWritten => Err(Error::NotWritten { tier: entry.tier, block: entry.block }),
            BlockState::Constant(q) => {
                out.clear();
                out.resize(shape.dims_at(lod).iter().product(), *q);
                Ok(())
            }
            BlockState::Payload(payload) => {
                let model = self.models.get(&payload.model);
                let model = model.ok_or_else(|| Error::corrupt("index page", 0, "a block names no model"))?;
                let range = ValueRange { lo: payload.range.0, hi: payload.range.1 };
                let job = BlockJob { model, shape, range, steps: &self.steps, layers, lod };
                let decoded = if model.mask { self.decode_masked(&job, scratch, out) } else { self.cpu.decode_block(&job, scratch, out) };
                decoded.map_err(|e| locate(e, entry))
            }
        }
    }
}

impl BlockDecoder {
    /// A block whose first layer begins with a mask: u32 length, mask, the layer proper.
    fn decode_masked(&self, job: &BlockJob<'_>, scratch: &mut Scratch, out: &mut Vec<i32>) -> Result<()> {
        let mut layers = job.layers.to_vec();
        let Some(first) = layers.first_mut() else {
            return Err(Error::corrupt("mask", 0, "the block has no layer"));
        };
        let (mask, rest) = split_mask(first)?;
        let classes = decode_mask(mask, job.shape.dims)?;
        *first = rest.to_vec();
        self.cpu.decode_block(&BlockJob { layers: &layers, ..*job }, scratch, out)?;
        let ([w, h, _], [nx, ny, _]) = (job.shape.dims_at(job.lod), job.shape.dims);
        for (i, q) in out.iter_mut().enumerate() {
            // A voxel of a level of detail lies on one of the full resolution and takes its class.
            let [x, y, z] = [i % w, i / w % h, i / (w * h)].map(|v| v << job.lod);
            match classes[(z * ny + y) * nx + x] {
                Class::Finite => {}
                class => *q = NON_FINITE[class as usize - 1],
            }
        }
        Ok(())
    }
}

fn split_mask(layer: &[u8]) -> Result<(&[u8], &[u8])> {
    let length = layer.get(..4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize);
    length
        .and_then(|n| layer[4..].split_at_checked(n))
        .ok_or_else(|| Error::corrupt("mask", 0, format!("{} bytes cannot hold mask and layer", layer.len())))
}

/// Names the block in an error of its payload.
fn locate(e: Error, entry: &BlockEntry) -> Error {
    match e {
        Error::Corrupt { what, detail, .. } => {
            let offset = match &entry.state {
                BlockState::Payload(p) => p.segments.first().map_or(0, |s| s.offset),
                _ => 0,
            };
            Error::corrupt(what, offset, format!("{detail} (block {:?} of tier {})", entry.block, entry.tier))
        }
        other => other,
    }
}
