//! The entropy decoders and models that a lane works with, and the orders in which they take blocks.

use std::cmp::Reverse;

use zerocopy::{Immutable, IntoBytes};

use super::batch::Batch;
use super::device::Buffer;
use super::grid::{GridDecoder, GridTarget};
use super::layout::{BlockFlags, BlockHead};
use super::mask::{MaskBatch, decode_masks};
use super::mixing::MixingDecoder;
use super::rans::{LayerBatch, LayerDecoder, ResidualBatch, ResidualDecoder};
use super::stream::Stream;
use crate::Result;

/// Memory of a batch that decoders read and write.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) heads: &'a Buffer,
    pub(super) layers: &'a Buffer,
    pub(super) bytes: &'a Buffer,
    pub(super) status: &'a Buffer,
    /// Planes of indices by the width of working values, all 0.
    pub(super) values: &'a [Buffer; 2],
    pub(super) integers: &'a Buffer,
    pub(super) residuals: &'a Buffer,
    pub(super) classes: &'a Buffer,
}

/// Decoders with their workspaces.
#[derive(Debug)]
pub(super) struct Decoders {
    layers: LayerDecoder,
    mixing: MixingDecoder,
    residuals: ResidualDecoder,
    grids: GridDecoder,
    layer_order: Buffer,
    mixing_order: Buffer,
    residual_order: Buffer,
    mask_order: Buffer,
    mask_places: Buffer,
}

impl Decoders {
    /// For the work of a stream.
    pub(super) fn new(stream: &mut Stream) -> Result<Self> {
        let none = |stream: &Stream| Buffer::new(stream.device(), 0);
        Ok(Self {
            layers: LayerDecoder::new(stream)?,
            mixing: MixingDecoder::new(stream)?,
            residuals: ResidualDecoder::new(stream)?,
            grids: GridDecoder::new(stream)?,
            layer_order: none(stream)?,
            mixing_order: none(stream)?,
            residual_order: none(stream)?,
            mask_order: none(stream)?,
            mask_places: none(stream)?,
        })
    }

    /// Queues everything before reconstruction: indices of blocks of wavelets, integers of grids, classes of
    /// masks.
    pub(super) fn decode(
        &mut self,
        stream: &mut Stream,
        batch: &Batch<'_>,
        to: &Target<'_>,
    ) -> Result<()> {
        self.decode_layers(stream, batch, to)?;
        self.decode_mixing(stream, batch, to)?;
        self.decode_masks(stream, batch, to)?;
        let grids = GridTarget {
            heads: to.heads,
            layers: to.layers,
            bytes: to.bytes,
            status: to.status,
            integers: to.integers,
        };
        self.grids.decode(stream, &batch.grids, &grids)
    }

    fn decode_layers(
        &mut self,
        stream: &mut Stream,
        batch: &Batch<'_>,
        to: &Target<'_>,
    ) -> Result<()> {
        let other = BlockFlags::GRID | BlockFlags::CODER_M;
        let order = order(batch, |head| head.flags & other == 0, layer_bytes);
        if order.is_empty() {
            return Ok(());
        }
        fill_order(stream, &mut self.layer_order, &order)?;
        let layers = layer_batch(batch, to, &self.layer_order, order.len());
        self.layers.decode(stream, &layers)
    }

    fn decode_mixing(
        &mut self,
        stream: &mut Stream,
        batch: &Batch<'_>,
        to: &Target<'_>,
    ) -> Result<()> {
        let mixed = |head: &BlockHead| head.flags & BlockFlags::CODER_M != 0;
        let order = order(batch, mixed, layer_bytes);
        if order.is_empty() {
            return Ok(());
        }
        fill_order(stream, &mut self.mixing_order, &order)?;
        let layers = layer_batch(batch, to, &self.mixing_order, order.len());
        self.mixing.decode(stream, &layers)
    }

    fn decode_masks(
        &mut self,
        stream: &mut Stream,
        batch: &Batch<'_>,
        to: &Target<'_>,
    ) -> Result<()> {
        let masked = |head: &BlockHead| head.flags & BlockFlags::MASKED != 0;
        let order = order(batch, masked, |_, head| head.mask_bytes.into());
        if order.is_empty() {
            return Ok(());
        }
        let place = |&i: &u32| batch.recon.get(i as usize).map_or(0, |r| r.classes);
        let places: Vec<u64> = order.iter().map(place).collect();
        fill_order(stream, &mut self.mask_order, &order)?;
        fill_order(stream, &mut self.mask_places, &places)?;
        let masks = MaskBatch {
            heads: to.heads,
            bytes: to.bytes,
            order: &self.mask_order,
            places: &self.mask_places,
            count: order.len() as u32,
            classes: to.classes,
            status: to.status,
        };
        decode_masks(stream, &masks)
    }

    /// Queues the residuals of blocks whose integers are there.
    pub(super) fn decode_residuals(
        &mut self,
        stream: &mut Stream,
        batch: &Batch<'_>,
        to: &Target<'_>,
    ) -> Result<()> {
        let with = |head: &BlockHead| head.flags & BlockFlags::RESIDUAL != 0;
        let order = order(batch, with, |_, head| head.residual_bytes.into());
        if order.is_empty() {
            return Ok(());
        }
        fill_order(stream, &mut self.residual_order, &order)?;
        let residuals = ResidualBatch {
            heads: to.heads,
            bytes: to.bytes,
            order: &self.residual_order,
            count: order.len() as u32,
            integers: to.integers,
            residuals: to.residuals,
            status: to.status,
            block_log2: block_log2(batch),
        };
        self.residuals.decode(stream, &residuals)
    }
}

/// Numbers of the blocks that are wanted, those of most bytes first, so that the device is busy to the end.
fn order(
    batch: &Batch<'_>,
    wanted: impl Fn(&BlockHead) -> bool,
    bytes: impl Fn(&Batch<'_>, &BlockHead) -> u64,
) -> Vec<u32> {
    let blocks = (0..).zip(&batch.heads).zip(&batch.jobs);
    let mut order: Vec<(u64, u32)> = blocks
        .filter(|((_, head), job)| job.is_some() && wanted(head))
        .map(|((i, head), _)| (bytes(batch, head), i))
        .collect();
    order.sort_by_key(|&(bytes, i)| (Reverse(bytes), i));
    order.into_iter().map(|(_, i)| i).collect()
}

/// Blocks whose layers are to be decoded.
fn layer_batch<'a>(
    batch: &Batch<'_>,
    to: &Target<'a>,
    order: &'a Buffer,
    count: usize,
) -> LayerBatch<'a> {
    LayerBatch {
        heads: to.heads,
        layers: to.layers,
        bytes: to.bytes,
        order,
        count: count as u32,
        narrow: &to.values[0],
        wide: &to.values[1],
        status: to.status,
        block_log2: block_log2(batch),
    }
}

fn layer_bytes(batch: &Batch<'_>, head: &BlockHead) -> u64 {
    let layers = batch.layers.iter().skip(head.first_layer as usize);
    let layers = layers.take(head.layers as usize);
    layers.map(|l| u64::from(l.bytes)).sum()
}

/// Log2 of the side of the smallest cube that holds any of the blocks. Blocks of files have sides of up to
/// `2^(depth + 2)`; a caller may hand over larger ones.
fn block_log2(batch: &Batch<'_>) -> u32 {
    let side = |h: &BlockHead| {
        let longest = h.dims.into_iter().max().unwrap_or(1);
        longest.next_power_of_two().ilog2().max(h.depth + 2)
    };
    batch.heads.iter().map(side).max().unwrap_or(5)
}

fn fill_order<T: IntoBytes + Immutable>(
    stream: &mut Stream,
    to: &mut Buffer,
    order: &[T],
) -> Result<()> {
    to.reserve(size_of_val(order))?;
    stream.upload(to, 0, order)
}
