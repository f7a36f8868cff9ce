//! Where encoders of a batch put their bytes on the device; `cuda/sink.cuh` says the same.

use std::sync::Arc;

use zerocopy::{Immutable, IntoBytes};

use super::{Buffer, Device, Stream, Ticket};
use crate::{Error, Result};

/// Status word of a block whose bytes did not fit into the sink.
pub const STATUS_FULL: u32 = 2;

/// Addresses of a sink, for kernel parameters.
#[derive(Debug, Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
pub struct SinkAddresses {
    bytes: u64,
    used: u64,
    capacity: u64,
}

/// Bytes of many streams in one buffer, in the order in which encoders came to their ends. Heads say where
/// each stream lies; the bytes of a stream are the same from run to run, its place need not be.
#[derive(Debug)]
pub struct ByteSink {
    bytes: Buffer,
    used: Buffer,
}

impl ByteSink {
    /// A sink for so many bytes.
    ///
    /// # Errors
    /// Those of the device.
    pub fn new(device: &Arc<dyn Device>, capacity: usize) -> Result<Self> {
        Ok(Self {
            bytes: Buffer::new(device, capacity)?,
            used: Buffer::new(device, 8)?,
        })
    }

    /// Makes room for at least so many bytes; what it held is lost if it has to grow.
    ///
    /// # Errors
    /// Those of the device.
    pub fn reserve(&mut self, capacity: usize) -> Result<()> {
        self.bytes.reserve(capacity)
    }

    /// Queues emptying it.
    ///
    /// # Errors
    /// Those of the device.
    pub fn clear(&self, stream: &mut Stream) -> Result<()> {
        stream.fill(&self.used, 0..8, 0)
    }

    /// Bytes that it has room for.
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes, where heads say.
    pub fn bytes(&self) -> &Buffer {
        &self.bytes
    }

    /// Queues a copy of how much was asked for, which [`Self::read_used`] reads.
    ///
    /// # Errors
    /// Those of the device.
    pub fn used(&self, stream: &mut Stream) -> Result<Ticket> {
        stream.download(&self.used, 0, 8)
    }

    /// Bytes that all streams took, or would have taken had there been room.
    ///
    /// # Errors
    /// Those of [`Stream::elements`].
    pub fn read_used(stream: &Stream, ticket: &Ticket) -> Result<u64> {
        let words = stream.elements::<u64>(ticket)?;
        (words.first().copied()).ok_or_else(|| Error::argument("not the length of a sink"))
    }

    /// Addresses for kernel parameters.
    pub fn addresses(&self) -> SinkAddresses {
        SinkAddresses {
            bytes: self.bytes.address(),
            used: self.used.address(),
            capacity: self.bytes.len() as u64,
        }
    }
}
