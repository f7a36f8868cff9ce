//! Raw bits at the end of a layer, read backwards (specification, "Raw bits").
//!
//! Escapes and signs carry no exploitable statistics; they are packed least significant bit first
//! into bytes that run from the end of the layer towards its start, so no length is stored.

use crate::{Error, Result};

/// Collects raw bits.
#[derive(Debug, Default)]
pub struct BitWriter {
    bytes: Vec<u8>,
    acc: u64,
    filled: u32,
}

impl BitWriter {
    /// Appends the low `count` bits of `value`, `count <= 32`.
    pub fn put(&mut self, value: u32, count: u32) {
        self.acc |= (u64::from(value) & ((1 << count) - 1)) << self.filled;
        self.filled += count;
        while self.filled >= 8 {
            self.bytes.push(self.acc as u8);
            self.acc >>= 8;
            self.filled -= 8;
        }
    }

    /// The bytes in reading order (the last byte of the layer first).
    pub fn finish(mut self) -> Vec<u8> {
        if self.filled > 0 {
            self.bytes.push(self.acc as u8);
        }
        self.bytes
    }
}

/// Reads raw bits from the end of a layer.
#[derive(Debug)]
pub struct BitReader<'a> {
    bytes: &'a [u8],
    acc: u64,
    filled: u32,
}

impl<'a> BitReader<'a> {
    /// Reads `bytes` from their end.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            acc: 0,
            filled: 0,
        }
    }

    /// The next `count` bits, `count <= 32`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the layer has no more bytes.
    pub fn take(&mut self, count: u32) -> Result<u32> {
        while self.filled < count {
            let Some((&last, rest)) = self.bytes.split_last() else {
                return Err(Error::corrupt("layer", 0, "raw bits end early"));
            };
            self.bytes = rest;
            self.acc |= u64::from(last) << self.filled;
            self.filled += 8;
        }
        let value = (self.acc & ((1 << count) - 1)) as u32;
        self.acc >>= count;
        self.filled -= count;
        Ok(value)
    }

    /// Whether the bits of the last touched byte that were not taken are 0.
    pub fn rest_is_zero(&self) -> bool {
        self.acc == 0
    }

    /// Bytes not touched yet, counted from the start of the layer.
    pub fn untouched(&self) -> usize {
        self.bytes.len()
    }
}
