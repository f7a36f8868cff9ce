//! A source that counts what is asked of another one.

use std::sync::{Arc, Mutex, PoisonError};

use super::{RangeRead, RangeSource};
use crate::Result;

/// What was asked of a [`CountingSource`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls, each of which costs one latency.
    pub round_trips: u64,
    /// Ranges, each of which is one request of a remote source.
    pub requests: u64,
    /// Bytes of all ranges.
    pub bytes: u64,
    /// Every range `(offset, length)` in order.
    pub ranges: Vec<(u64, u64)>,
}

/// Wraps a source and counts round trips, requests and bytes. Clones share the counts.
#[derive(Debug, Clone)]
pub struct CountingSource {
    inner: Arc<dyn RangeSource>,
    counts: Arc<Mutex<Counts>>,
}

impl CountingSource {
    /// Counts what is asked of `inner` from now on.
    pub fn new(inner: Arc<dyn RangeSource>) -> Self {
        Self {
            inner,
            counts: Arc::default(),
        }
    }

    /// The counts so far.
    pub fn counts(&self) -> Counts {
        self.lock().clone()
    }

    /// Starts again at zero.
    pub fn reset(&self) {
        *self.lock() = Counts::default();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, ranges: impl Iterator<Item = (u64, u64)>) {
        let mut counts = self.lock();
        counts.round_trips += 1;
        for range in ranges {
            counts.requests += 1;
            counts.bytes += range.1;
            counts.ranges.push(range);
        }
    }
}

impl RangeSource for CountingSource {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        self.note(std::iter::once((offset, out.len() as u64)));
        self.inner.read_at(offset, out)
    }

    fn read_ranges(&self, reads: &mut [RangeRead]) -> Result<()> {
        self.note(reads.iter().map(|r| (r.offset, r.bytes.len() as u64)));
        self.inner.read_ranges(reads)
    }

    fn identity(&self) -> String {
        self.inner.identity()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::io::{MemorySource, conformance};

    #[test]
    fn conforms_and_counts() {
        let data = conformance::sample(1000);
        let source = CountingSource::new(Arc::new(MemorySource::new(data.clone())));
        conformance::check_source(&source, &data).unwrap();
        source.reset();
        source.read_at(3, &mut [0; 7]).unwrap();
        source
            .read_ranges(&mut [RangeRead::new(0, 2).unwrap(), RangeRead::new(9, 1).unwrap()])
            .unwrap();
        let counts = source.counts();
        assert_eq!(
            (counts.round_trips, counts.requests, counts.bytes),
            (2, 3, 10)
        );
        assert_eq!(counts.ranges, [(3, 7), (0, 2), (9, 1)]);
    }
}
