//! Layers and residuals of a batch of blocks, from numbers to the bytes that the CPU writes for them.

use zerocopy::{Immutable, IntoBytes};

use super::tables::{DeviceTables, TableAddresses};
use super::{Shape, WARPS, resident_blocks};
use crate::backend::cuda::sink::SinkAddresses;
use crate::backend::cuda::{Address, Buffer, ByteSink, Kernel, Stream};
use crate::codec::tables::TableSet;
use crate::{Error, Result};

/// Most qualities of a block.
const QUALITIES: usize = 8;
/// Runs of symbols that a stream has at most, 8 bytes each.
const RUN_BYTES: usize = 256 * 8;
/// Memory for the notes of all warps, unless a single thread block needs more.
const WORKSPACE: usize = 1 << 30;

#[derive(Debug, Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
struct Workspace {
    memory: u64,
    bytes: u64,
    symbols: u32,
    raw_words: u32,
    sign_words: u32,
    flag_bytes: u32,
}

impl Workspace {
    /// What a warp needs for a block of this side: a word for each symbol, an average of 32 raw bits for each
    /// number of 16 bits or 64 for each of 32, a bit for each sign, and flags.
    fn of(block_log2: u32, wide: bool) -> Self {
        let shape = Shape::of(block_log2);
        let flag_bytes = shape.groups.max(shape.block_groups).next_multiple_of(4);
        let symbols = shape.voxels + 7 * shape.groups + 2 * shape.bands + 8;
        let raw_words = shape.voxels << u32::from(wide);
        let sign_words = shape.voxels / 32 + 1;
        let bytes = 4 * (symbols + raw_words + sign_words) + RUN_BYTES + 2 * flag_bytes;
        Self {
            memory: 0,
            bytes: bytes.next_multiple_of(8) as u64,
            symbols: symbols as u32,
            raw_words: raw_words as u32,
            sign_words: sign_words as u32,
            flag_bytes: flag_bytes as u32,
        }
    }
}

/// What encoders of a stream share: one launch at a time works with it.
#[derive(Debug)]
struct Desk {
    tables: DeviceTables,
    memory: Buffer,
    next: Buffer,
}

impl Desk {
    fn new(stream: &mut Stream) -> Result<Self> {
        Ok(Self {
            tables: DeviceTables::new(stream, TableSet::Wavelet)?,
            memory: Buffer::new(stream.device(), 0)?,
            next: Buffer::new(stream.device(), 4)?,
        })
    }

    /// Makes ready for `count` blocks: thread blocks to start, and their workspace.
    fn prepare(
        &mut self,
        stream: &mut Stream,
        count: u32,
        mut workspace: Workspace,
    ) -> Result<(u32, Workspace)> {
        let block_bytes = workspace.bytes as usize * WARPS;
        let fit = (WORKSPACE / block_bytes).max(1) as u32;
        let blocks = resident_blocks(stream, count).min(fit);
        self.memory.reserve(blocks as usize * block_bytes)?;
        stream.fill(&self.next, 0..4, 0)?;
        workspace.memory = self.memory.address();
        Ok((blocks, workspace))
    }
}

#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
struct LayerParams {
    heads: u64,
    layers: u64,
    planes: [u64; QUALITIES],
    order: u64,
    status: u64,
    next: u64,
    workspace: Workspace,
    sink: SinkAddresses,
    tables: TableAddresses,
    count: u32,
    unused: u32,
}

static LAYERS: Kernel = Kernel::new::<LayerParams>("rans_encode", "hgv_rans_encode", 256);

/// The blocks of a batch whose layers are to be encoded.
#[derive(Debug, Clone, Copy)]
pub struct LayerEncodeBatch<'a> {
    /// Heads of the blocks: `indices`, `dims`, `depth`, `first_layer`, `layers` and the width in `flags`.
    pub heads: &'a Buffer,
    /// Heads of their layers: `lod` and `quality` are given, `offset` in the sink and `bytes` are found. A layer
    /// that changes nothing has no bytes.
    pub layers: &'a Buffer,
    /// Addresses of planes of indices at each quality, lowest first, all of the width of the blocks; 1..=8.
    pub planes: &'a [Address],
    /// Whether any block has indices of 32 bits.
    pub wide: bool,
    /// Numbers of the blocks to encode, u32 each; the longest first keep the device busy to the end.
    pub order: &'a Buffer,
    /// How many of `order`.
    pub count: u32,
    /// A status word for each head. [`super::super::STATUS_BAD`] is set where numbers are beyond what a layer
    /// can hold, such as a refinement by more than 4, or take more memory than a warp has; the CPU tells.
    /// [`super::super::STATUS_FULL`] where the sink is too small. Others are left alone.
    pub status: &'a Buffer,
    /// Where the bytes go.
    pub sink: &'a ByteSink,
    /// Log2 of the side of a block.
    pub block_log2: u32,
}

#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
struct ResidualParams {
    heads: u64,
    order: u64,
    integers: u64,
    residuals: u64,
    status: u64,
    next: u64,
    workspace: Workspace,
    sink: SinkAddresses,
    tables: TableAddresses,
    count: u32,
    unused: u32,
}

static RESIDUAL: Kernel =
    Kernel::new::<ResidualParams>("rans_residual_encode", "hgv_rans_residual_encode", 256);

/// The blocks of a batch whose residuals are to be encoded.
#[derive(Debug, Clone, Copy)]
pub struct ResidualEncodeBatch<'a> {
    /// Heads of the blocks: `integers` and `dims` are given, `residual_offset` in the sink and `residual_bytes`
    /// are found. A residual that is 0 everywhere has no bytes.
    pub heads: &'a Buffer,
    /// Plane of decoded integers at full resolution.
    pub integers: &'a Buffer,
    /// Plane of residuals of the same layout.
    pub residuals: &'a Buffer,
    /// Numbers of the blocks to encode, u32 each.
    pub order: &'a Buffer,
    /// How many of `order`.
    pub count: u32,
    /// A status word for each head, as of [`LayerEncodeBatch`].
    pub status: &'a Buffer,
    /// Where the bytes go.
    pub sink: &'a ByteSink,
    /// Log2 of the side of a block.
    pub block_log2: u32,
}

/// Encodes with coder R. One for each stream: its workspace is used by one launch at a time.
#[derive(Debug)]
pub struct RansEncoder(Desk);

impl RansEncoder {
    /// An encoder for the work of a stream.
    ///
    /// # Errors
    /// Those of the device.
    pub fn new(stream: &mut Stream) -> Result<Self> {
        Ok(Self(Desk::new(stream)?))
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
        let workspace = Workspace::of(batch.block_log2, batch.wide);
        let (blocks, workspace) = self.0.prepare(stream, batch.count, workspace)?;
        let params = LayerParams {
            heads: batch.heads.address(),
            layers: batch.layers.address(),
            planes: std::array::from_fn(|q| *batch.planes.get(q).unwrap_or(last)),
            order: batch.order.address(),
            status: batch.status.address(),
            next: self.0.next.address(),
            workspace,
            sink: batch.sink.addresses(),
            tables: self.0.tables.addresses(),
            count: batch.count,
            unused: 0,
        };
        stream.launch(&LAYERS, blocks, 0, &params)
    }

    /// Queues the encoding of the residuals of a batch.
    ///
    /// # Errors
    /// Those of the device.
    pub fn encode_residuals(
        &mut self,
        stream: &mut Stream,
        batch: &ResidualEncodeBatch<'_>,
    ) -> Result<()> {
        let workspace = Workspace::of(batch.block_log2, true);
        let (blocks, workspace) = self.0.prepare(stream, batch.count, workspace)?;
        let params = ResidualParams {
            heads: batch.heads.address(),
            order: batch.order.address(),
            integers: batch.integers.address(),
            residuals: batch.residuals.address(),
            status: batch.status.address(),
            next: self.0.next.address(),
            workspace,
            sink: batch.sink.addresses(),
            tables: self.0.tables.addresses(),
            count: batch.count,
            unused: 0,
        };
        stream.launch(&RESIDUAL, blocks, 0, &params)
    }
}
