//! Blocks whose indices are on the device already, brought to integers: what an encoder measures itself by.

use std::collections::HashMap;
use std::sync::Arc;

use zerocopy::{Immutable, IntoBytes};

use super::batch::Lists;
use super::device::{Address, Buffer, Device};
use super::layout::{BlockFlags, BlockHead, STATUS_GOOD};
use super::plan::{HAS_FILTER, ReconHead, ReconPlan};
use super::reconstruct::{ListPlaces, Places, reconstruct};
use super::stream::Stream;
use crate::Result;
use crate::backend::ValueRange;
use crate::codec::bands::BlockShape;
use crate::model::{BlockModel, Precision, WaveletModel};

/// A block of a batch under one model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RebuildBlock {
    pub(crate) shape: BlockShape,
    pub(crate) range: ValueRange,
    /// First element of it in the planes of indices and of integers.
    pub(crate) first: u64,
}

/// Planes that blocks are rebuilt in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RebuildPlanes {
    /// Indices of one quality, of the width of the model; working values afterwards.
    pub(crate) values: Address,
    /// As large.
    pub(crate) scratch: Address,
    /// Takes the integers.
    pub(crate) integers: Address,
}

/// Rebuilds blocks. One for each stream: what it tells the kernels is used by one run at a time.
#[derive(Debug)]
pub(crate) struct Rebuilder {
    heads: Buffer,
    recon: Buffer,
    plans: Buffer,
    list: Buffer,
    status: Buffer,
}

impl Rebuilder {
    pub(crate) fn new(device: &Arc<dyn Device>) -> Result<Self> {
        let none = || Buffer::new(device, 0);
        Ok(Self {
            heads: none()?,
            recon: none()?,
            plans: none()?,
            list: none()?,
            status: none()?,
        })
    }

    /// Queues what brings indices of a quality to integers at an in-block level of detail, without a
    /// residual, a mask or ranks.
    pub(crate) fn run(
        &mut self,
        stream: &mut Stream,
        model: &WaveletModel,
        (quality, lod): (u8, usize),
        blocks: &[RebuildBlock],
        planes: &RebuildPlanes,
    ) -> Result<()> {
        let described = Described::new(model, (quality, lod), blocks);
        let good = vec![STATUS_GOOD; blocks.len()];
        let places = Places {
            heads: upload(stream, &mut self.heads, &described.heads)?,
            recon: upload(stream, &mut self.recon, &described.recon)?,
            plans: upload(stream, &mut self.plans, &described.plans)?,
            status: upload(stream, &mut self.status, &good)?,
            values: [planes.values; 2],
            scratch: [planes.scratch; 2],
            integers: planes.integers,
            ..Places::default()
        };
        // Every list that has a block has all of them.
        let all: Vec<u32> = (0..blocks.len() as u32).collect();
        let at = upload(stream, &mut self.list, &all)?;
        let at = ListPlaces {
            split: [at; 2],
            coarsest: [at; 2],
            filter: [at; 2],
            placed: at,
            constant: at,
        };
        reconstruct(stream, &places, &described.heads, &described.lists, &at)
    }
}

fn upload<T: IntoBytes + Immutable>(
    stream: &mut Stream,
    to: &mut Buffer,
    data: &[T],
) -> Result<Address> {
    to.reserve(size_of_val(data))?;
    stream.upload(to, 0, data)?;
    Ok(to.address())
}

/// What the kernels are told.
struct Described {
    heads: Vec<BlockHead>,
    recon: Vec<ReconHead>,
    plans: Vec<ReconPlan>,
    lists: Lists,
}

impl Described {
    fn new(model: &WaveletModel, (quality, lod): (u8, usize), blocks: &[RebuildBlock]) -> Self {
        let wide = model.precision == Precision::I32;
        let block_model = BlockModel::Wavelet(*model);
        let (mut plans, mut known) = (Vec::new(), HashMap::new());
        let (mut heads, mut recon) = (Vec::new(), Vec::new());
        for block in blocks {
            let plan = *known.entry(block.shape.dims).or_insert_with(|| {
                plans.push(ReconPlan::new(&block_model, quality, &block.shape, lod));
                plans.len() as u32 - 1
            });
            heads.push(BlockHead {
                indices: block.first,
                integers: block.first,
                dims: block.shape.dims.map(|n| n as u32),
                depth: block.shape.depth as u32,
                lod: lod as u32,
                flags: if wide { BlockFlags::WIDE } else { 0 },
                model: plan,
                lo: block.range.lo,
                hi: block.range.hi,
                quality: quality.into(),
                ..BlockHead::default()
            });
            let mut head = ReconHead {
                plan,
                ..ReconHead::default()
            };
            head.set_range(&block_model, block.range);
            recon.push(head);
        }
        let all: Vec<u32> = (0..blocks.len() as u32).collect();
        let mut lists = Lists::default();
        let splits = blocks.first().is_some_and(|b| lod < b.shape.depth);
        if plans.iter().any(|p: &ReconPlan| p.flags & HAS_FILTER != 0) {
            lists.filter[usize::from(wide)].clone_from(&all);
        }
        let list = if splits {
            &mut lists.split
        } else {
            &mut lists.coarsest
        };
        list[usize::from(wide)] = all;
        Self {
            heads,
            recon,
            plans,
            lists,
        }
    }
}
