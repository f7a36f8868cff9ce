//! The layers of a batch of blocks of coder M, from coefficient indices to the bytes that the CPU writes.

use zerocopy::{Immutable, IntoBytes};

use super::{flag_bytes, tables};
use crate::backend::cuda::rans::LayerEncodeBatch;
use crate::backend::cuda::sink::SinkAddresses;
use crate::backend::cuda::{Buffer, Kernel, Stream};
use crate::{Error, Result};

/// Most qualities of a block.
const QUALITIES: usize = 8;
/// Thread blocks that shared memory and registers of a multiprocessor have room for.
const BLOCKS_PER_MULTIPROCESSOR: u32 = 9;
/// Memory for all warps, unless a single one needs more.
const WORKSPACE: usize = 1 << 30;
/// Room for the bytes of a layer, beside what its indices take in memory.
const SPARE: usize = 4 << 10;

#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
struct Params {
    heads: u64,
    layers: u64,
    planes: [u64; QUALITIES],
    order: u64,
    status: u64,
    next: u64,
    tables: u64,
    workspace: u64,
    workspace_bytes: u64,
    sink: SinkAddresses,
    count: u32,
    index_bytes: u32,
}

static ENCODE: Kernel = Kernel::new::<Params>("mixing_encode", "hgv_mixing_encode", 32);

/// Encodes layers of coder M. One for each stream: its workspace is used by one launch at a time.
#[derive(Debug)]
pub struct MixingEncoder {
    tables: Buffer,
    memory: Buffer,
    next: Buffer,
}

impl MixingEncoder {
    /// An encoder for the work of a stream.
    ///
    /// # Errors
    /// Those of the device.
    pub fn new(stream: &mut Stream) -> Result<Self> {
        Ok(Self {
            tables: tables::upload(stream)?,
            memory: Buffer::new(stream.device(), 0)?,
            next: Buffer::new(stream.device(), 4)?,
        })
    }

    /// Queues the encoding of the layers of a batch.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] without a plane or with more than 8; those of the device.
    pub fn encode_layers(
        &mut self,
        stream: &mut Stream,
        batch: &LayerEncodeBatch<'_>,
    ) -> Result<()> {
        let Some(last) = (batch.planes.last()).filter(|_| batch.planes.len() <= QUALITIES) else {
            let count = batch.planes.len();
            return Err(Error::argument(format!("{count} planes of indices")));
        };
        let width = if batch.wide { 4 } else { 2 };
        let index_bytes = width << (3 * batch.block_log2);
        let workspace_bytes = 2 * index_bytes + SPARE;
        let fit = (WORKSPACE / workspace_bytes).max(1) as u32;
        let resident = stream.device().limits().multiprocessors * BLOCKS_PER_MULTIPROCESSOR;
        let blocks = batch.count.min(resident).min(fit);
        self.memory.reserve(blocks as usize * workspace_bytes)?;
        stream.fill(&self.next, 0..4, 0)?;
        let params = Params {
            heads: batch.heads.address(),
            layers: batch.layers.address(),
            planes: std::array::from_fn(|q| *batch.planes.get(q).unwrap_or(last)),
            order: batch.order.address(),
            status: batch.status.address(),
            next: self.next.address(),
            tables: self.tables.address(),
            workspace: self.memory.address(),
            workspace_bytes: workspace_bytes as u64,
            sink: batch.sink.addresses(),
            count: batch.count,
            index_bytes: index_bytes as u32,
        };
        stream.launch(&ENCODE, blocks, flag_bytes(batch.block_log2), &params)
    }
}
