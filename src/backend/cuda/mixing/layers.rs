//! The layers of a batch of blocks of coder M, from bytes to coefficient indices.

use zerocopy::{Immutable, IntoBytes};

use super::{flag_bytes, tables};
use crate::Result;
use crate::backend::cuda::rans::LayerBatch;
use crate::backend::cuda::{Buffer, Kernel, Stream};

#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
struct Params {
    heads: u64,
    layers: u64,
    bytes: u64,
    tables: u64,
    order: u64,
    narrow: u64,
    wide: u64,
    status: u64,
}

static LAYERS: Kernel = Kernel::new::<Params>("mixing", "hgv_mixing_layers", 32);

/// Decodes layers of coder M. Serves any number of streams once it is there.
#[derive(Debug)]
pub struct MixingDecoder {
    tables: Buffer,
}

impl MixingDecoder {
    /// A decoder for the work that is queued on `stream` after it.
    ///
    /// # Errors
    /// Those of the device.
    pub fn new(stream: &mut Stream) -> Result<Self> {
        Ok(Self {
            tables: tables::upload(stream)?,
        })
    }

    /// Queues the decoding of the layers of a batch. Unlike those of coder R, planes may hold anything.
    ///
    /// # Errors
    /// Those of the device.
    pub fn decode(&self, stream: &mut Stream, batch: &LayerBatch<'_>) -> Result<()> {
        let params = Params {
            heads: batch.heads.address(),
            layers: batch.layers.address(),
            bytes: batch.bytes.address(),
            tables: self.tables.address(),
            order: batch.order.address(),
            narrow: batch.narrow.address(),
            wide: batch.wide.address(),
            status: batch.status.address(),
        };
        stream.launch(&LAYERS, batch.count, flag_bytes(batch.block_log2), &params)
    }
}
