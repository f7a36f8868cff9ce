//! Makes the checksums of a broken file right, so that mutations reach the rules behind them.

use std::ops::Range;

use crate::format::constant::{ENTRY_LEN, HEADER_LEN, SECTION_ENTRY_LEN};
use crate::format::crc::crc32;

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let raw = bytes.get(at..at.saturating_add(4));
    raw.and_then(|b| b.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at.saturating_add(4))) << 32
}

/// A range that exists.
fn range(bytes: &[u8], offset: u64, length: u64) -> Option<Range<usize>> {
    let end = offset
        .checked_add(length)
        .filter(|&e| e <= bytes.len() as u64)?;
    Some(offset as usize..end as usize)
}

fn put(bytes: &mut [u8], at: usize, crc: u32) {
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&crc.to_le_bytes());
    }
}

/// Corrects every checksum from the pages up to the header, where the ranges exist.
pub(super) fn seal(bytes: &mut [u8]) {
    if bytes.len() < HEADER_LEN {
        return;
    }
    let table = range(
        bytes,
        u64_at(bytes, 104),
        u64::from(u32_at(bytes, 120)) * SECTION_ENTRY_LEN as u64,
    );
    if let Some(table) = table {
        sections(bytes, table);
    }
    if let Some(root) = range(bytes, u64_at(bytes, 80), u64::from(u32_at(bytes, 112))) {
        pages(bytes, root.clone());
        let crc = crc32(&bytes[root]);
        put(bytes, 116, crc);
    }
    let crc = crc32(&bytes[..HEADER_LEN - 4]);
    put(bytes, HEADER_LEN - 4, crc);
}

fn sections(bytes: &mut [u8], table: Range<usize>) {
    for at in table.clone().step_by(SECTION_ENTRY_LEN) {
        if let Some(section) = range(
            bytes,
            u64_at(bytes, at + 8),
            u64::from(u32_at(bytes, at + 16)),
        ) {
            let crc = crc32(&bytes[section]);
            put(bytes, at + 20, crc);
        }
    }
    let crc = crc32(&bytes[table]);
    put(bytes, 124, crc);
}

/// Checksums of the pages that a root at depth 2 names.
fn pages(bytes: &mut [u8], root: Range<usize>) {
    let tiers = usize::from(bytes[158]);
    let n = root.len().saturating_sub(4 * tiers) / ENTRY_LEN;
    let arrays = root.start + 4 * tiers;
    for i in 0..n {
        let (offset, length) = (
            u64_at(bytes, arrays + 8 * i),
            u32_at(bytes, arrays + 16 * n + 4 * i),
        );
        let Some(page) = range(bytes, offset, u64::from(length)).filter(|p| p.len() > 4) else {
            continue;
        };
        let crc = crc32(&bytes[page.start..page.end - 4]);
        put(bytes, page.end - 4, crc);
        put(bytes, arrays + 20 * n + 4 * i, crc);
    }
}
