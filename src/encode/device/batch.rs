//! One batch of blocks on its way: what is uploaded, where planes lie, and the kernels in their order.

use std::collections::HashMap;

use zerocopy::IntoBytes;

use super::coding::Coding;
use super::kernels::{self, BlockLeft, ForwardParams, Indices, ReversibleParams, SearchParams};
use super::layout::{BANDS, EncodeBlock, EncodeShape};
use super::planes::{Planes, Sizes};
use super::{Lane, Wanted};
use crate::Result;
use crate::backend::ValueRange;
use crate::backend::cuda::{Address, Buffer, Stream, Ticket};
use crate::codec::Quantiser;
use crate::codec::bands::BlockShape;
use crate::encode::curve::Positions;
use crate::encode::plan::lambda;
use crate::encode::search::lattice;
use crate::model::{Precision, SEGMENTS};

/// A block to encode.
pub(crate) struct BlockInput<'a> {
    pub(crate) shape: BlockShape,
    pub(crate) range: ValueRange,
    /// In units of `q`, `[z][y][x]`, all finite.
    pub(crate) values: &'a [f32],
    /// Whether there is a neighbour before it and behind it along x, y and z.
    pub(crate) sides: [[bool; 2]; 3],
}

/// The description of a batch.
struct Described {
    blocks: Vec<EncodeBlock>,
    shapes: Vec<EncodeShape>,
    lattice: Vec<f32>,
    sizes: Sizes,
}

/// Blocks begin at multiples of this many elements.
const ALIGN: u64 = 64;

impl Described {
    fn new(wanted: &Wanted, inputs: &[BlockInput<'_>]) -> Self {
        let (mut shapes, mut known) = (Vec::new(), HashMap::new());
        let (mut rows, mut tables) = (Vec::new(), HashMap::new());
        let mut sizes = Sizes {
            blocks: inputs.len() as u64,
            qualities: u64::from(wanted.model.qualities),
            wide: wanted.model.precision == Precision::I32,
            searches: wanted.search.is_some(),
            follows: wanted.follows > 0,
            codes: wanted.codes,
            residual: wanted.codes && wanted.model.residual.is_some(),
            ..Sizes::default()
        };
        let blocks = inputs.iter().map(|input| {
            let shape = *known.entry(input.shape.dims).or_insert_with(|| {
                shapes.push(EncodeShape::new(&input.shape, &wanted.model, |n, depth| {
                    *tables.entry((n, depth)).or_insert_with(|| {
                        let first = rows.len() as u32;
                        rows.extend(lattice(n, depth));
                        first
                    })
                }));
                shapes.len() - 1
            });
            let block = EncodeBlock {
                voxels: sizes.voxels,
                cells: sizes.cells,
                groups: sizes.groups,
                shape: shape as u32,
                ..EncodeBlock::new(&wanted.model, input.range, input.sides)
            };
            let next = |n: u64| n.next_multiple_of(ALIGN);
            sizes.voxels += next(input.shape.voxels() as u64);
            sizes.cells += next(shapes[shape].cells());
            sizes.groups += next(shapes[shape].groups());
            block
        });
        let blocks = blocks.collect();
        Self {
            blocks,
            shapes,
            lattice: rows,
            sizes,
        }
    }
}

/// A batch whose work is queued.
pub(super) struct Queued {
    pub(super) wanted: Wanted,
    /// Of each block, where it begins in a plane, its voxels, and the extent of its coarsest band.
    pub(super) places: Vec<(usize, usize, [usize; 3])>,
    /// Indices of each quality, where the host codes them.
    pub(super) indices: Vec<Ticket>,
    /// What the last quality of each block leaves.
    pub(super) left: Ticket,
    /// Layers and errors, where the device codes.
    pub(super) coding: Option<Coding>,
}

/// Queues everything that a batch needs.
pub(super) fn queue(
    lane: &mut Lane,
    tables: &CostTables,
    wanted: &Wanted,
    inputs: &[BlockInput<'_>],
) -> Result<Queued> {
    let Lane {
        stream,
        planes,
        coders,
    } = lane;
    let described = Described::new(wanted, inputs);
    let sizes = described.sizes;
    planes.reserve(&sizes)?;
    planes.upload_heads(
        stream,
        [
            described.blocks.as_bytes(),
            described.shapes.as_bytes(),
            described.lattice.as_bytes(),
        ],
    )?;
    for (block, input) in described.blocks.iter().zip(inputs) {
        stream.upload(planes.values(), 4 * block.voxels as usize, input.values)?;
    }
    let mut work = Work {
        wanted,
        planes,
        tables,
        sizes,
        depth: inputs.first().map_or(0, |i| i.shape.depth),
    };
    work.transform(stream)?;
    work.search(stream)?;
    stream.launch(&kernels::LEFT, work.count(), 0, &work.forward())?;
    let left = stream.download(work.planes.left(), 0, size_of::<BlockLeft>() * inputs.len())?;
    let (mut indices, mut coding) = (Vec::new(), None);
    let starts: Vec<u64> = described.blocks.iter().map(|b| b.voxels).collect();
    if wanted.codes {
        coding = Some(coders.queue(stream, &mut work, inputs, &starts)?);
    } else {
        for plane in work.planes.indices(sizes.qualities) {
            indices.push(stream.download(plane, 0, sizes.index_bytes() as usize)?);
        }
    }
    let places = starts.iter().zip(inputs).map(|(&first, input)| {
        let coarsest = input.shape.dims_at(input.shape.depth);
        (first as usize, input.values.len(), coarsest)
    });
    Ok(Queued {
        wanted: *wanted,
        places: places.collect(),
        indices,
        left,
        coding,
    })
}

/// The static tables of coder R on the device.
pub(super) struct CostTables {
    pub(super) variants: Buffer,
    pub(super) costs: Buffer,
}

/// What the kernels of a batch share.
pub(super) struct Work<'a> {
    pub(super) wanted: &'a Wanted,
    pub(super) planes: &'a mut Planes,
    tables: &'a CostTables,
    pub(super) sizes: Sizes,
    pub(super) depth: usize,
}

impl Work<'_> {
    pub(super) fn count(&self) -> u32 {
        self.sizes.blocks as u32
    }

    /// Where the indices of a quality lie.
    pub(super) fn plane(&self, quality: u8) -> Indices {
        let planes = self.planes.indices(self.sizes.qualities);
        Indices {
            plane: planes.get(usize::from(quality)).map_or(0, Buffer::address),
            wide: u32::from(self.sizes.wide),
            unused: 0,
        }
    }

    /// What reconstruction takes off a magnitude of 1 and of more, in steps.
    fn pulls(&self) -> [f32; 2] {
        let model = &self.wanted.model;
        [model.recon_one, model.recon_more].map(|p| f32::from(p) / 256.0)
    }

    fn value_step(&self, quality: u8) -> f32 {
        Quantiser::new(&self.wanted.model, quality).value_step()
    }

    pub(super) fn forward(&self) -> ForwardParams {
        let (model, planes) = (&self.wanted.model, &*self.planes);
        // Scale and knots do not depend on the block.
        let positions = Positions::new(model, ValueRange { lo: 0, hi: 0 });
        let knots = positions.knots().map(|k| k.map(|v| v as f32));
        let [pull_one, pull_more] = self.pulls();
        let [blocks, shapes, _] = planes.heads();
        ForwardParams {
            blocks,
            shapes,
            values: planes.values().address(),
            aims: planes.aims().address(),
            coefficients: planes.coefficients(),
            spare: planes.spare(),
            forgives: planes.forgives(),
            left: planes.left().address(),
            integers: 0,
            errors: 0,
            residuals: 0,
            heads: 0,
            planes: std::array::from_fn(|quality| self.plane(quality as u8).plane),
            scale: positions.scale() as f32,
            value_step: self.value_step(model.qualities - 1),
            curved: u32::from(knots.is_some()),
            knots: knots.unwrap_or([0.0; SEGMENTS + 1]),
            pull_one,
            pull_more,
            qualities: u32::from(model.qualities),
            neighbourly: u32::from(self.wanted.neighbourly),
            forgiving: u32::from(self.wanted.follows > 0),
            residual_step: 1,
            wide: u32::from(self.sizes.wide),
            unused: 0,
        }
    }

    /// Voxels to the indices of all qualities.
    fn transform(&self, stream: &mut Stream) -> Result<()> {
        let (params, count) = (self.forward(), self.count());
        if self.wanted.model.reversible {
            let whole = ReversibleParams {
                blocks: params.blocks,
                shapes: params.shapes,
                values: params.values,
                coefficients: params.coefficients,
                wide: params.wide,
                unused: 0,
            };
            stream.launch(&kernels::REVERSIBLE, count, 0, &whole)?;
        } else {
            stream.launch(&kernels::AIMS, count, 0, &params)?;
            stream.launch(&kernels::TRANSFORM, count, 0, &params)?;
        }
        for _ in 0..self.wanted.follows {
            stream.launch(&kernels::FOLLOW, count, 0, &params)?;
        }
        stream.launch(&kernels::QUANTISE, count, 0, &params)
    }

    /// Better indices, quality by quality.
    fn search(&self, stream: &mut Stream) -> Result<()> {
        let Some((rounds, whole_groups)) = self.wanted.search else {
            return Ok(());
        };
        let count = self.count();
        self.planes.clear_field(stream, &self.sizes)?;
        for quality in 0..self.wanted.model.qualities {
            let params = self.search_params(quality, whole_groups);
            stream.launch(&kernels::LOAD, count, 0, &params)?;
            stream.launch(&kernels::WEIGH, count, 0, &params)?;
            for _ in 0..rounds {
                for depth in (0..self.depth.saturating_sub(1)).rev() {
                    let params = SearchParams {
                        depth: depth as u32,
                        ..params
                    };
                    stream.launch(&kernels::PRODUCTS, count, 0, &params)?;
                    stream.launch(&kernels::SWEEP, count, 0, &params)?;
                }
            }
        }
        Ok(())
    }

    fn search_params(&self, quality: u8, whole_groups: bool) -> SearchParams {
        let [blocks, shapes, lattice] = self.planes.heads();
        let [pull_one, pull_more] = self.pulls();
        let field = self.planes.field(&self.sizes);
        SearchParams {
            blocks,
            shapes,
            lattice,
            coefficients: self.planes.coefficients(),
            errors: self.planes.spare(),
            indices: self.plane(quality),
            previous: self.plane(quality.saturating_sub(1)),
            targets: field.targets,
            near: field.near,
            cousins: field.cousins,
            activity: field.activity,
            magnitudes: field.magnitudes,
            befores: field.befores,
            marks: field.marks,
            groups: field.groups,
            bands: field.bands,
            weights: field.weights,
            variants: self.tables.variants.address(),
            costs: self.tables.costs.address(),
            pull_one,
            pull_more,
            value_step: self.value_step(quality),
            lambda: lambda(1.0) as f32,
            quality: u32::from(quality),
            qualities: u32::from(self.wanted.model.qualities),
            depth: 0,
            whole_groups: u32::from(whole_groups),
        }
    }
}

/// Where the parts of the field of a batch lie.
pub(super) struct FieldPlaces {
    pub(super) targets: Address,
    pub(super) near: Address,
    pub(super) cousins: Address,
    pub(super) activity: Address,
    pub(super) magnitudes: Address,
    pub(super) befores: Address,
    pub(super) marks: Address,
    pub(super) groups: Address,
    pub(super) bands: Address,
    pub(super) weights: Address,
}

/// Bands of a block.
pub(super) const STATES: u64 = BANDS as u64;
