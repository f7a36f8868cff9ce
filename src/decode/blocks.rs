//! One block: what the index says of it, its layers, its integers.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::backend::cpu::{CpuBackend, GridParts, Scratch};
use crate::backend::cuda::{Content, CudaBackend};
use crate::backend::{Backend, BlockJob, LayerStep, Numbers, ValueRange};
use crate::codec::bands::BlockShape;
use crate::format::model::ModelRecord;
use crate::format::shape::Shape;
use crate::model::{BlockModel, GridModel, Ranks, Residual, ValueMap, WaveletModel};
use crate::reader::{BlockEntry, BlockState, PayloadEntry};
use crate::volume::BlockGrid;
use crate::{Error, Limits, Result};

/// Models of a file by id.
pub(crate) type Models = BTreeMap<u16, BlockModel>;

/// Reads the model records of a file, but for a map of ranks.
///
/// # Errors
/// [`Error::Unsupported`] for a kind of a newer version, [`Error::Corrupt`] for a broken record.
pub(crate) fn parse_models(records: &[ModelRecord]) -> Result<Models> {
    let models = records.iter().filter(|r| r.kind != Ranks::KIND);
    models
        .map(|r| match r.kind {
            WaveletModel::KIND => {
                let model = WaveletModel::from_bytes(&r.payload)?;
                Ok((r.id, BlockModel::Wavelet(model)))
            }
            GridModel::KIND => Ok((r.id, BlockModel::Grid(GridModel::from_bytes(&r.payload)?))),
            kind => Err(Error::Unsupported(format!(
                "model kind {kind} of a newer version; update hgv"
            ))),
        })
        .collect()
}

/// Reads the map of ranks of a file, which has at most one.
///
/// # Errors
/// [`Error::Corrupt`] if it is broken or there are two.
fn parse_ranks(shape: &Shape) -> Result<Option<Ranks>> {
    let values = ValueMap {
        dtype: shape.dtype,
        exponent: shape.value_exp,
    };
    let mut maps = shape.models.iter().filter(|r| r.kind == Ranks::KIND);
    let (first, second) = (maps.next(), maps.next());
    if second.is_some() {
        return Err(Error::corrupt("map of ranks", 0, "the file has two"));
    }
    let read = |r: &ModelRecord| Ranks::from_bytes(values, (shape.q_min, shape.q_max), &r.payload);
    first.map(read).transpose()
}

/// Rules between the models and the tables of the container (payload specification, sections 4
/// and 6).
fn check_models(models: &Models, ranks: bool, shape: &Shape) -> Result<()> {
    let bad = |detail: String| Err(Error::corrupt("model record", 0, detail));
    for (id, model) in models {
        match model {
            BlockModel::Wavelet(m) if m.qualities != shape.layers.levels() => {
                return bad(format!(
                    "model {id} has {} qualities, the file {}",
                    m.qualities,
                    shape.layers.levels()
                ));
            }
            BlockModel::Wavelet(m) if m.ranks && !ranks => {
                return bad(format!(
                    "model {id} needs a map of ranks, the file has none"
                ));
            }
            BlockModel::Grid(m) => check_layers(*id, m, shape.layers.as_slice().len())?,
            BlockModel::Wavelet(_) => {}
        }
        if model.residual() == Residual::FloatBits && !shape.dtype.is_float() {
            return bad(format!(
                "model {id} has bits of floats, but voxels are {}",
                shape.dtype
            ));
        }
        if model.mask() && !shape.dtype.is_float() {
            return bad(format!(
                "model {id} has a mask, but {} voxels are always finite",
                shape.dtype
            ));
        }
    }
    let deepest = crate::format::tier::levels_in_block(shape.block_log2);
    match shape.layers.as_slice().iter().find(|l| l.lod > deepest) {
        Some(l) => Err(Error::corrupt(
            "section LAYR",
            0,
            format!("level of detail {} of a block that has {deepest}", l.lod),
        )),
        None => Ok(()),
    }
}

/// Every level lies in a layer that the file has.
fn check_layers(id: u16, model: &GridModel, layers: usize) -> Result<()> {
    match model.levels.iter().find(|l| usize::from(l.layer) >= layers) {
        Some(l) => Err(Error::corrupt(
            "model record",
            0,
            format!("model {id} has a level in layer {} of {layers}", l.layer),
        )),
        None => Ok(()),
    }
}

/// A block to decode, with arguments as for [`BlockDecoder::decode`].
pub(crate) struct Wanted<'a> {
    pub(crate) entry: &'a BlockEntry,
    pub(crate) layers: &'a [Vec<u8>],
    pub(crate) shape: BlockShape,
    pub(crate) lod: usize,
}

/// Integers of a block, and what they are.
pub(crate) type Decoded = (Vec<i32>, Numbers);

/// Turns index entries and layers into integers.
#[derive(Debug, Clone)]
pub(crate) struct BlockDecoder {
    /// What decodes batches of blocks.
    pub(crate) backend: Arc<dyn Backend>,
    /// What decodes blocks one by one, and what grid models are evaluated with between voxels.
    pub(crate) cpu: CpuBackend,
    models: Models,
    ranks: Option<Ranks>,
    float: bool,
    steps: Vec<LayerStep>,
    block_log2: u32,
    exponent: i16,
}

impl BlockDecoder {
    /// For files of this shape.
    pub(crate) fn new(shape: &Shape, cpu: CpuBackend, limits: &Limits) -> Result<Self> {
        Limits::check(
            "voxels of one block",
            1 << (3 * u32::from(shape.block_log2)),
            limits.max_block_voxels,
        )?;
        let models = parse_models(&shape.models)?;
        let ranks = parse_ranks(shape)?;
        check_models(&models, ranks.is_some(), shape)?;
        Ok(Self {
            backend: Arc::new(cpu),
            cpu,
            models,
            ranks,
            float: shape.dtype.is_float(),
            steps: shape
                .layers
                .as_slice()
                .iter()
                .map(|l| LayerStep {
                    lod: l.lod,
                    quality: l.quality,
                })
                .collect(),
            block_log2: u32::from(shape.block_log2),
            exponent: shape.value_exp,
        })
    }

    /// The models of the file.
    pub(crate) fn models(&self) -> &Models {
        &self.models
    }

    /// Distinct values of the volume, if blocks may store ranks among them.
    pub(crate) fn ranks(&self) -> Option<&Ranks> {
        self.ranks.as_ref()
    }

    /// The map of ranks that the integers of a block go through.
    fn ranks_of(&self, payload: &PayloadEntry) -> Option<&Ranks> {
        match self.models.get(&payload.model) {
            Some(BlockModel::Wavelet(m)) if m.ranks => self.ranks.as_ref(),
            _ => None,
        }
    }

    /// The extent of a block of a grid, and its transform levels.
    pub(crate) fn shape(&self, grid: &BlockGrid, block: [u64; 3]) -> BlockShape {
        // A block side is at most 128.
        let dims = grid.region(block).extent().map(|n| n as usize);
        BlockShape {
            dims,
            depth: (self.block_log2 - 2) as usize,
        }
    }

    /// Integers of a block, `[z][y][x]` over its extent at in-block level of detail `lod`, and what
    /// they are. `layers` is the prefix that the level wants; empty for a constant block.
    pub(crate) fn decode(
        &self,
        entry: &BlockEntry,
        layers: &[Vec<u8>],
        shape: BlockShape,
        lod: usize,
        scratch: &mut Scratch,
        out: &mut Vec<i32>,
    ) -> Result<Numbers> {
        match self.content(entry, layers, shape, lod)? {
            Content::Constant { q, .. } => {
                out.clear();
                out.resize(shape.dims_at(lod).iter().product(), q);
                Ok(Numbers::Units)
            }
            Content::Payload(job) => {
                let decoded = self.cpu.decode_block(&job, scratch, out);
                decoded.map_err(|e| locate(e, entry))?;
                Ok(self.finish(entry, &job, out))
            }
        }
    }

    /// Decodes many blocks as [`Self::decode`] does, with the backend of batches: a result for each.
    ///
    /// # Errors
    /// What fails for all alike.
    pub(crate) fn decode_many(&self, wanted: &[Wanted<'_>]) -> Result<Vec<Result<Decoded>>> {
        let contents = (wanted.iter()).map(|w| self.content(w.entry, w.layers, w.shape, w.lod));
        let contents: Vec<Result<Content<'_>>> = contents.collect();
        let jobs: Vec<BlockJob<'_>> = (contents.iter())
            .filter_map(|c| match c {
                Ok(Content::Payload(job)) => Some(*job),
                _ => None,
            })
            .collect();
        let mut integers = self.backend.decode_blocks(&jobs)?.into_iter();
        let each = wanted.iter().zip(contents);
        Ok(each
            .map(|(w, content)| match content? {
                Content::Constant { q, shape, lod } => {
                    let voxels = shape.dims_at(lod).iter().product();
                    Ok((vec![q; voxels], Numbers::Units))
                }
                Content::Payload(job) => {
                    let missing = || Err(Error::argument("a block was not decoded"));
                    let decoded = integers.next().unwrap_or_else(missing);
                    let mut decoded = decoded.map_err(|e| locate(e, w.entry))?;
                    let numbers = self.finish(w.entry, &job, &mut decoded);
                    Ok((decoded, numbers))
                }
            })
            .collect())
    }

    /// What a batch is to do with a block; arguments as for [`Self::decode`].
    pub(crate) fn content<'a>(
        &'a self,
        entry: &BlockEntry,
        layers: &'a [Vec<u8>],
        shape: BlockShape,
        lod: usize,
    ) -> Result<Content<'a>> {
        match &entry.state {
            BlockState::NotWritten => Err(Error::NotWritten {
                tier: entry.tier,
                block: entry.block,
            }),
            BlockState::Constant(q) => Ok(Content::Constant { q: *q, shape, lod }),
            BlockState::Payload(payload) => {
                Ok(Content::Payload(self.job(payload, layers, shape, lod)?))
            }
        }
    }

    /// The error of a block that kernels refused.
    ///
    /// # Errors
    /// Always.
    pub(crate) fn explain(
        &self,
        cuda: &CudaBackend,
        entry: &BlockEntry,
        layers: &[Vec<u8>],
        shape: BlockShape,
        lod: usize,
    ) -> Result<()> {
        match self.content(entry, layers, shape, lod)? {
            Content::Payload(job) => cuda.explain(&job).map_err(|e| locate(e, entry)),
            Content::Constant { .. } => Err(Error::Device("a constant block was refused".into())),
        }
    }

    /// Puts values in place of ranks, if the block has ranks; says what the integers are then.
    fn finish(&self, entry: &BlockEntry, job: &BlockJob<'_>, integers: &mut [i32]) -> Numbers {
        let ranks = match &entry.state {
            BlockState::Payload(payload) => self.ranks_of(payload),
            _ => None,
        };
        match ranks {
            Some(ranks) => self.unrank(ranks, job, integers),
            None => job.numbers(),
        }
    }

    /// What a block under a grid model is evaluated from between its voxels, with arguments as for
    /// [`Self::decode`]; `None` where the voxels themselves say all.
    pub(crate) fn grid_parts<'a>(
        &'a self,
        entry: &BlockEntry,
        layers: &'a [Vec<u8>],
        shape: BlockShape,
        lod: usize,
        scratch: &'a mut Scratch,
    ) -> Result<Option<GridParts<'a>>> {
        let BlockState::Payload(payload) = &entry.state else {
            return Ok(None);
        };
        let job = self.job(payload, layers, shape, lod)?;
        let parts = self.cpu.grid_parts(&job, scratch);
        parts.map_err(|e| locate(e, entry))
    }

    /// Most inputs that a network of a grid model has; `None` without a grid model.
    pub(crate) fn most_inputs(&self) -> Option<usize> {
        let models = self.models.values();
        let inputs = models.filter_map(|m| match m {
            BlockModel::Grid(m) => Some(m.network.map_or(0, |_| m.inputs())),
            BlockModel::Wavelet(_) => None,
        });
        inputs.max()
    }

    /// Values in place of ranks: bits of the voxels where the file gives them back, else integers.
    fn unrank(&self, ranks: &Ranks, job: &BlockJob<'_>, out: &mut [i32]) -> Numbers {
        if self.float && job.lod == 0 && job.layers.len() == job.steps.len() {
            out.iter_mut().for_each(|v| *v = ranks.float_bits(*v));
            Numbers::FloatBits
        } else {
            out.iter_mut().for_each(|v| *v = ranks.coded(*v));
            Numbers::Units
        }
    }

    /// What the integers of a block lie between.
    fn range(&self, payload: &PayloadEntry) -> Result<ValueRange> {
        let (lo, hi) = match self.ranks_of(payload) {
            None => payload.range,
            Some(ranks) => ranks
                .within(payload.range.0, payload.range.1)
                .ok_or_else(|| {
                    Error::corrupt("index page", 0, "no rank has a value in a block's range")
                })?,
        };
        Ok(ValueRange { lo, hi })
    }

    fn job<'a>(
        &'a self,
        payload: &PayloadEntry,
        layers: &'a [Vec<u8>],
        shape: BlockShape,
        lod: usize,
    ) -> Result<BlockJob<'a>> {
        let model = self.models.get(&payload.model);
        Ok(BlockJob {
            model: model
                .ok_or_else(|| Error::corrupt("index page", 0, "a block names no model"))?,
            shape,
            range: self.range(payload)?,
            exponent: self.exponent,
            steps: &self.steps,
            layers,
            lod,
        })
    }
}

/// Names the block in an error of its payload.
fn locate(e: Error, entry: &BlockEntry) -> Error {
    match e {
        Error::Corrupt { what, detail, .. } => {
            let offset = match &entry.state {
                BlockState::Payload(p) => p.segments.first().map_or(0, |s| s.offset),
                _ => 0,
            };
            Error::corrupt(
                what,
                offset,
                format!("{detail} (block {:?} of tier {})", entry.block, entry.tier),
            )
        }
        other => other,
    }
}
