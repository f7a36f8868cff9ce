//! Sources and sinks that fail on demand (tests only).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{RangeSource, Sink};
use crate::{Error, Result};

/// Calls that may still succeed, shared by every sink of one writer.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<AtomicU64>);

impl Budget {
    pub(crate) fn new(calls: u64) -> Self {
        Self(Arc::new(AtomicU64::new(calls)))
    }

    /// One more call, or the failure that a full disk reports.
    fn spend(&self) -> Result<()> {
        let spent = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        match spent {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::io("disk", std::io::ErrorKind::StorageFull.into())),
        }
    }
}

/// Disks write sectors of this size whole or not at all.
const SECTOR: u64 = 512;

/// A sink whose calls fail once a budget is spent. The failing append or patch still leaves part
/// of its bytes, as a torn write does: half of an append, the first sectors of a patch.
pub(crate) struct FaultySink {
    pub(crate) inner: Box<dyn Sink>,
    pub(crate) budget: Budget,
}

impl Sink for FaultySink {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        if let Err(e) = self.budget.spend() {
            self.inner.append(&bytes[..bytes.len() / 2])?;
            return Err(e);
        }
        self.inner.append(bytes)
    }

    fn position(&self) -> u64 {
        self.inner.position()
    }

    fn can_patch(&self) -> bool {
        self.inner.can_patch()
    }

    fn patch(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        if let Err(e) = self.budget.spend() {
            let half = (offset + bytes.len() as u64 / 2) / SECTOR * SECTOR;
            let torn = half.saturating_sub(offset) as usize;
            self.inner.patch(offset, &bytes[..torn])?;
            return Err(e);
        }
        self.inner.patch(offset, bytes)
    }

    fn sync(&mut self) -> Result<()> {
        self.budget.spend()?;
        self.inner.sync()
    }
}

/// A source whose reads fail once a budget is spent.
#[derive(Debug)]
pub(crate) struct FaultySource {
    pub(crate) inner: Arc<dyn RangeSource>,
    pub(crate) budget: Budget,
}

impl RangeSource for FaultySource {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        self.budget.spend()?;
        self.inner.read_at(offset, out)
    }

    fn identity(&self) -> String {
        self.inner.identity()
    }
}
