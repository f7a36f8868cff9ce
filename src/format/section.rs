//! The section table: where TIER, LAYR, MODL, META, STAT and private sections lie.
//!
//! Entry (24 bytes): `fourcc 4 | flags u16 | version u16 | offset u64 | length u32 | crc32 u32`.

use crate::format::bytes::Fields;
use crate::format::constant::SECTION_ENTRY_LEN;
use crate::{Error, Result};

const WHAT: &str = "section table";

/// A reader that does not know the section must refuse the file.
pub const CRITICAL: u16 = 1;
/// A tool that does not know the section may copy it into a changed file.
pub const SAFE_TO_COPY: u16 = 2;
/// The section belongs to one program and is not in the registry.
pub const PRIVATE: u16 = 4;

/// Tiers.
pub const TIER: [u8; 4] = *b"TIER";
/// Layers.
pub const LAYR: [u8; 4] = *b"LAYR";
/// Model records.
pub const MODL: [u8; 4] = *b"MODL";
/// Descriptive metadata (JSON).
pub const META: [u8; 4] = *b"META";
/// Measured statistics (JSON).
pub const STAT: [u8; 4] = *b"STAT";

/// Known sections with their flags.
const KNOWN: [([u8; 4], u16); 5] = [
    (LAYR, CRITICAL),
    (TIER, CRITICAL),
    (MODL, CRITICAL),
    (META, SAFE_TO_COPY),
    (STAT, 0),
];

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    /// Four ASCII characters.
    pub fourcc: [u8; 4],
    /// [`CRITICAL`], [`SAFE_TO_COPY`], [`PRIVATE`].
    pub flags: u16,
    /// Version of the section's layout: 1.
    pub version: u16,
    /// Absolute offset.
    pub offset: u64,
    /// Length in bytes.
    pub length: u32,
    /// CRC-32 of the section.
    pub crc: u32,
}

impl Section {
    /// An entry of a known kind.
    pub fn known(fourcc: [u8; 4], offset: u64, length: u32, crc: u32) -> Self {
        let flags = KNOWN
            .iter()
            .find(|k| k.0 == fourcc)
            .map_or(PRIVATE, |k| k.1);
        Self {
            fourcc,
            flags,
            version: 1,
            offset,
            length,
            crc,
        }
    }

    /// Appends the 24 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.fourcc);
        out.extend_from_slice(&self.flags.to_le_bytes());
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.length.to_le_bytes());
        out.extend_from_slice(&self.crc.to_le_bytes());
    }

    /// The name for error messages.
    pub fn name(&self) -> &'static str {
        match self.fourcc {
            TIER => "section TIER",
            LAYR => "section LAYR",
            MODL => "section MODL",
            META => "section META",
            STAT => "section STAT",
            _ => "private section",
        }
    }

    /// One past the last byte; saturates.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(u64::from(self.length))
    }
}

/// Reads the table, which lies at absolute offset `at` of a file of `file_len` bytes.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::Truncated`] or [`Error::Unsupported`].
pub fn parse(bytes: &[u8], at: u64, file_len: u64) -> Result<Vec<Section>> {
    let mut f = Fields::new(WHAT, at, bytes);
    let mut out = Vec::with_capacity(bytes.len() / SECTION_ENTRY_LEN);
    while f.remaining() > 0 {
        let entry = Section {
            fourcc: f.array()?,
            flags: f.u16()?,
            version: f.u16()?,
            offset: f.u64()?,
            length: f.u32()?,
            crc: f.u32()?,
        };
        check(&entry, &out, at, file_len)?;
        out.push(entry);
    }
    for (fourcc, _) in KNOWN.iter().filter(|k| k.1 & CRITICAL != 0) {
        find(&out, *fourcc).ok_or_else(|| {
            let detail = format!("section {} is missing", show(*fourcc));
            Error::corrupt(WHAT, at, detail)
        })?;
    }
    Ok(out)
}

/// The entry with this fourcc.
pub fn find(table: &[Section], fourcc: [u8; 4]) -> Option<&Section> {
    table.iter().find(|s| s.fourcc == fourcc)
}

fn check(entry: &Section, before: &[Section], at: u64, file_len: u64) -> Result<()> {
    let name = show(entry.fourcc);
    let corrupt = |detail: String| Err(Error::corrupt(WHAT, at, detail));
    if find(before, entry.fourcc).is_some() {
        return corrupt(format!("section {name} appears twice"));
    }
    if entry.flags & !(CRITICAL | SAFE_TO_COPY | PRIVATE) != 0 {
        return corrupt(format!(
            "section {name} has unknown flags {:#x}",
            entry.flags
        ));
    }
    if entry.end() > file_len {
        return corrupt(format!(
            "section {name} ends at byte {}, the file at {file_len}",
            entry.end()
        ));
    }
    let known = KNOWN.iter().find(|k| k.0 == entry.fourcc);
    match known {
        Some(k) if k.1 != entry.flags => corrupt(format!(
            "section {name} has flags {:#x}, not {:#x}",
            entry.flags, k.1
        )),
        Some(_) if entry.version != 1 => unsupported(entry, &name),
        None if entry.flags & CRITICAL != 0 => unsupported(entry, &name),
        _ => Ok(()),
    }
}

fn unsupported(entry: &Section, name: &str) -> Result<()> {
    Err(Error::Unsupported(format!(
        "critical section {name} version {}",
        entry.version
    )))
}

fn show(fourcc: [u8; 4]) -> String {
    fourcc.escape_ascii().to_string()
}
