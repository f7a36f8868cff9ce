//! The bytes at the start of a file: header, section table, sections.

use crate::Result;
use crate::format::constant::{FIRST_READ, HEADER_LEN, SECTION_ENTRY_LEN, TIER_BLOCKS};
use crate::format::crc::crc32;
use crate::format::header::{Header, State};
use crate::format::section::{self, Section};
use crate::format::shape::Shape;
use crate::format::{metadata, model, tier};
use crate::volume::Metadata;
use crate::writer::plan::WriterOptions;

/// Space kept free behind the tables when they alone nearly fill the first read.
const SLACK: usize = 32 << 10;
/// Space for the coarsest tier, as a share of what its voxels take: 1 in so many bytes. What needs
/// more goes to the end of the file, where the first picture takes two requests more.
const OVERVIEW_SHARE: u64 = 2;
/// Most space that is kept for it.
const MOST_OVERVIEW: u64 = 32 << 20;

/// The sections of a file that do not depend on its blocks.
#[derive(Debug, Clone)]
pub(crate) struct Tables {
    parts: Vec<([u8; 4], Vec<u8>)>,
}

impl Tables {
    pub(crate) fn new(shape: &Shape, meta: &Metadata) -> Result<Self> {
        Ok(Self {
            parts: vec![
                (section::LAYR, shape.layers.encode()),
                (section::TIER, tier::encode(&shape.tiers)?),
                (section::MODL, model::encode(&shape.models)?),
                (section::META, metadata::encode(meta)?),
            ],
        })
    }

    /// Sections placed one after the other from `at`, and their bytes.
    pub(crate) fn place(&self, at: usize) -> (Vec<Section>, Vec<u8>) {
        let mut bytes = Vec::new();
        let mut sections = Vec::new();
        for (fourcc, part) in &self.parts {
            let offset = (at + bytes.len()) as u64;
            sections.push(Section::known(
                *fourcc,
                offset,
                part.len() as u32,
                crc32(part),
            ));
            bytes.extend_from_slice(part);
        }
        (sections, bytes)
    }

    /// Bytes of the sections in the order of the table.
    pub(crate) fn bytes(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().map(|p| p.1.as_slice())
    }

    pub(crate) fn count(&self) -> usize {
        self.parts.len()
    }
}

/// The bytes of a section table.
pub(crate) fn encode_table(sections: &[Section]) -> Vec<u8> {
    let mut out = Vec::with_capacity(sections.len() * SECTION_ENTRY_LEN);
    for s in sections {
        s.encode(&mut out);
    }
    out
}

/// The head that a file starts with before its first cluster is written: everything that
/// `recover` needs. None of these bytes but the header ever changes.
#[derive(Debug, Clone)]
pub(crate) struct OpenHead {
    /// Header, table, sections, and zeros up to the reserved length.
    pub(crate) bytes: Vec<u8>,
    /// Sections that are in place.
    pub(crate) sections: Vec<Section>,
    /// One past the last byte in use.
    pub(crate) used: usize,
}

impl OpenHead {
    /// `reserve` keeps room for what comes later, and one free entry in the section table;
    /// without it the head is exact.
    pub(crate) fn new(
        shape: &Shape,
        tables: &Tables,
        options: &WriterOptions,
        reserve: bool,
    ) -> Self {
        let entries = tables.count() + usize::from(reserve);
        let at = HEADER_LEN + entries * SECTION_ENTRY_LEN;
        let (sections, body) = tables.place(at);
        let table = encode_table(&sections);
        let state = if reserve {
            State::Open
        } else {
            State::SeeTrailer
        };
        let header = Header {
            section_offset: HEADER_LEN as u64,
            section_count: sections.len() as u32,
            section_crc: crc32(&table),
            align_log2: options.align_log2,
            state,
            ..shape.header()
        };
        let mut bytes = header.encode().to_vec();
        bytes.extend_from_slice(&table);
        bytes.resize(at, 0);
        bytes.extend_from_slice(&body);
        let used = bytes.len();
        if reserve {
            let room = options.overview.unwrap_or(overview(shape) / OVERVIEW_SHARE);
            let room = room.min(overview(shape)).min(MOST_OVERVIEW) as usize;
            bytes.resize((used + SLACK + room).next_multiple_of(FIRST_READ), 0);
        }
        Self {
            bytes,
            sections,
            used,
        }
    }
}

/// Bytes of the voxels of the coarsest tier, 0 if that is the volume itself. It has 64 blocks at
/// most, unless a caller planned fewer tiers than usual: then it counts for none.
fn overview(shape: &Shape) -> u64 {
    match shape.tiers.last() {
        Some(last) if shape.tiers.len() > 1 && tier::count(last) <= TIER_BLOCKS => {
            let size = shape.dtype.size() as u64;
            last.extent.iter().fold(size, |n, &e| n.saturating_mul(e))
        }
        _ => 0,
    }
}
