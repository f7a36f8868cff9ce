//! Bytes in memory, and any `std::io::Write` as a sink.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use super::{RangeSource, Sink, check_range};
use crate::{Error, Result};

/// A source over shared bytes. Cloning is cheap.
#[derive(Clone)]
pub struct MemorySource {
    bytes: Arc<[u8]>,
}

impl std::fmt::Debug for MemorySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MemorySource({} bytes)", self.bytes.len())
    }
}

impl MemorySource {
    /// Wraps `bytes`.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self {
            bytes: bytes.into(),
        }
    }
}

impl RangeSource for MemorySource {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        check_range(offset, out.len(), self.len())?;
        let start = offset as usize;
        out.copy_from_slice(&self.bytes[start..start + out.len()]);
        Ok(())
    }

    fn identity(&self) -> String {
        format!("{} bytes in memory", self.bytes.len())
    }
}

/// A sink into memory; clones share the same bytes.
#[derive(Debug, Clone, Default)]
pub struct MemorySink {
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl MemorySink {
    /// What was written so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.lock().clone()
    }

    /// A writer that panicked cannot have left half a byte.
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for MemorySink {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.lock().extend_from_slice(bytes);
        Ok(())
    }

    fn position(&self) -> u64 {
        self.lock().len() as u64
    }

    fn can_patch(&self) -> bool {
        true
    }

    fn patch(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        check_patch(offset, bytes.len(), self.position())?;
        let start = offset as usize;
        self.lock()[start..start + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        Ok(())
    }
}

/// A sink into anything that takes bytes in order: a pipe, a socket.
#[derive(Debug)]
pub struct WriteSink<W> {
    inner: W,
    position: u64,
}

impl<W: Write + Send> WriteSink<W> {
    /// Wraps `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, position: 0 }
    }
}

impl<W: Write + Send> Sink for WriteSink<W> {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.inner
            .write_all(bytes)
            .map_err(|e| Error::io("output stream", e))?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn can_patch(&self) -> bool {
        false
    }

    fn patch(&mut self, offset: u64, _: &[u8]) -> Result<()> {
        Err(Error::argument(format!(
            "the output stream cannot go back to byte {offset}"
        )))
    }

    fn sync(&mut self) -> Result<()> {
        self.inner
            .flush()
            .map_err(|e| Error::io("output stream", e))
    }
}

/// Only bytes that exist can be overwritten.
pub(super) fn check_patch(offset: u64, length: usize, position: u64) -> Result<()> {
    match offset.checked_add(length as u64) {
        Some(end) if end <= position => Ok(()),
        _ => Err(Error::argument(format!(
            "{length} bytes at {offset} were not written yet; {position} were"
        ))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::io::conformance;

    #[test]
    fn conforms() {
        let data = conformance::sample(1000);
        conformance::check_source(&MemorySource::new(data.clone()), &data).unwrap();
        let sink = MemorySink::default();
        let copy = sink.clone();
        conformance::check_sink(Box::new(sink), move || Ok(copy.bytes())).unwrap();
        let mut out = Vec::new();
        let mut sink = WriteSink::new(&mut out);
        sink.append(b"abc").unwrap();
        assert!(!sink.can_patch() && sink.patch(0, b"x").is_err());
        sink.sync().unwrap();
        assert_eq!((sink.position(), out), (3, b"abc".to_vec()));
    }
}
