//! Where bytes come from and go to: [`RangeSource`] and [`Sink`], and their implementations.
//!
//! Knows nothing of the format. Every implementation passes [`conformance`].

pub mod coalesce;
pub mod conformance;
mod counting;
#[cfg(test)]
pub(crate) mod fault;
mod file;
mod memory;
mod mmap;

pub use counting::{CountingSource, Counts};
pub use file::{FileSink, FileSource};
pub use memory::{MemorySink, MemorySource, WriteSink};
pub use mmap::MmapSource;

use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Error, Result};

/// One range of a [`RangeSource::read_ranges`] call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RangeRead {
    /// Absolute offset.
    pub offset: u64,
    /// Filled by the call; its length is the length of the range.
    pub bytes: Vec<u8>,
}

impl RangeRead {
    /// A range of `length` bytes, not read yet. The caller has bounded `length`.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] if the memory cannot be had.
    pub fn new(offset: u64, length: usize) -> Result<Self> {
        Ok(Self {
            offset,
            bytes: zeroed(length)?,
        })
    }
}

/// `length` zero bytes, or an error instead of an abort when memory is short.
pub(crate) fn zeroed(length: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(length)
        .map_err(|_| Error::LimitExceeded {
            what: "bytes of one read",
            requested: length as u64,
            limit: isize::MAX as u64,
        })?;
    bytes.resize(length, 0);
    Ok(bytes)
}

/// A file of fixed length whose bytes can be read in any order, from several threads at once.
pub trait RangeSource: Send + Sync + std::fmt::Debug {
    /// Length in bytes, constant while the source exists.
    fn len(&self) -> u64;

    /// Whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `out` from absolute `offset`: all of it, or an error.
    ///
    /// # Errors
    /// [`Error::Truncated`] if the range leaves the source, [`Error::Io`],
    /// [`Error::SourceChanged`].
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()>;

    /// [`Self::read_at`] that ends early with [`Error::Cancelled`] once `stop` is set, if the source can do
    /// that; others read on.
    ///
    /// # Errors
    /// As [`Self::read_at`], or [`Error::Cancelled`].
    fn read_at_unless(&self, offset: u64, out: &mut [u8], stop: &AtomicBool) -> Result<()> {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        self.read_at(offset, out)
    }

    /// Reads several ranges in one round trip; sources with latency override it to read them
    /// side by side.
    ///
    /// # Errors
    /// As [`Self::read_at`]; what was filled then is unspecified.
    fn read_ranges(&self, reads: &mut [RangeRead]) -> Result<()> {
        for read in reads {
            self.read_at(read.offset, &mut read.bytes)?;
        }
        Ok(())
    }

    /// What the source is, for messages: a path, an address.
    fn identity(&self) -> String;
}

/// Where a writer puts bytes.
pub trait Sink: Send {
    /// Appends all of `bytes`.
    ///
    /// # Errors
    /// [`Error::Io`].
    fn append(&mut self, bytes: &[u8]) -> Result<()>;

    /// Bytes appended so far.
    fn position(&self) -> u64;

    /// Whether [`Self::patch`] works.
    fn can_patch(&self) -> bool;

    /// Overwrites bytes that were appended before.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::InvalidArgument`] if the range was not appended yet or the
    /// sink cannot patch.
    fn patch(&mut self, offset: u64, bytes: &[u8]) -> Result<()>;

    /// Returns when everything written so far would survive a power cut.
    ///
    /// # Errors
    /// [`Error::Io`].
    fn sync(&mut self) -> Result<()>;
}

/// Checks that `length` bytes at `offset` lie within `available` bytes.
pub(crate) fn check_range(offset: u64, length: usize, available: u64) -> Result<()> {
    let end = offset.checked_add(length as u64);
    if end.is_some_and(|e| e <= available) {
        return Ok(());
    }
    Err(Error::Truncated {
        what: "source",
        offset,
        needed: length as u64,
        available: available.saturating_sub(offset),
    })
}
