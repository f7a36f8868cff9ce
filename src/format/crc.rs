//! CRC-32 (IEEE 802.3, reflected, as in zip and PNG): a guard against accidents, not attackers.

use crate::{Error, Result};

/// CRC-32 of `bytes`; 0 for none.
///
/// ```
/// assert_eq!(hgv::format::crc::crc32(b"123456789"), 0xCBF4_3926);
/// assert_eq!(hgv::format::crc::crc32(b""), 0);
/// ```
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// Checks `bytes`, which lie at absolute `offset`.
///
/// # Errors
/// [`Error::Checksum`] naming `what`.
pub fn check(what: &'static str, offset: u64, bytes: &[u8], expected: u32) -> Result<()> {
    let computed = crc32(bytes);
    if computed == expected {
        return Ok(());
    }
    Err(Error::Checksum {
        what,
        offset,
        expected,
        computed,
    })
}
