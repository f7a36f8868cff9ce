//! Little-endian fields out of a byte slice, with errors that name the structure and the offset.

use crate::{Error, Result};

/// A cursor over the bytes of one structure.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    what: &'static str,
    at: u64,
    bytes: &'a [u8],
    pos: usize,
}

impl<'a> Fields<'a> {
    /// `at` is the absolute offset of `bytes[0]`.
    pub(crate) fn new(what: &'static str, at: u64, bytes: &'a [u8]) -> Self {
        Self {
            what,
            at,
            bytes,
            pos: 0,
        }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.pos
    }

    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let rest = self.bytes.get(self.pos..).unwrap_or_default();
        let Some(out) = rest.get(..n) else {
            return Err(Error::Truncated {
                what: self.what,
                offset: self.at + self.pos as u64,
                needed: n as u64,
                available: rest.len() as u64,
            });
        };
        self.pos += n;
        Ok(out)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn i16(&mut self) -> Result<i16> {
        Ok(i16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Reserved bytes, which must be zero.
    pub(crate) fn zeros(&mut self, n: usize) -> Result<()> {
        let at = self.at + self.pos as u64;
        if self.take(n)?.iter().any(|&b| b != 0) {
            return Err(Error::corrupt(
                self.what,
                at,
                "reserved bytes must be zero".to_owned(),
            ));
        }
        Ok(())
    }

    /// Fails if bytes are left over.
    pub(crate) fn end(&self) -> Result<()> {
        match self.remaining() {
            0 => Ok(()),
            n => Err(Error::corrupt(
                self.what,
                self.at + self.pos as u64,
                format!("{n} bytes follow the last field"),
            )),
        }
    }
}

/// Entry `i` of an array of little-endian `u32` that starts at byte 0; 0 past the end.
pub(crate) fn u32_at(bytes: &[u8], i: usize) -> u32 {
    u32::from_le_bytes(fixed(bytes, i * 4))
}

/// Entry `i` of an array of little-endian `u64` that starts at byte 0; 0 past the end.
pub(crate) fn u64_at(bytes: &[u8], i: usize) -> u64 {
    u64::from_le_bytes(fixed(bytes, i * 8))
}

/// Entry `i` of an array of little-endian `u16` that starts at byte 0; 0 past the end.
pub(crate) fn u16_at(bytes: &[u8], i: usize) -> u16 {
    u16::from_le_bytes(fixed(bytes, i * 2))
}

/// Entry `i` of an array of little-endian 24-bit numbers; 0 past the end.
pub(crate) fn u24_at(bytes: &[u8], i: usize) -> u32 {
    let [a, b, c] = fixed(bytes, i * 3);
    u32::from_le_bytes([a, b, c, 0])
}

/// `N` bytes from `at`; zeros where there are none (callers have checked the length).
fn fixed<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes
        .get(at..at + N)
        .and_then(|s| s.try_into().ok())
        .unwrap_or([0; N])
}
