//! Bringing back the whole clusters of a file that was never finished or is damaged.
//!
//! Only header and tables must be whole; they lie at the start of a file before its first
//! cluster is written. Clusters are found by their magic number and believed when their plan,
//! page checksum and every payload checksum are right.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use crate::format::constant::{HEADER_LEN, PAGE_HEAD_LEN, PAGE_MAGIC, SECTION_ENTRY_LEN};
use crate::format::crc;
use crate::format::header::{Header, State};
use crate::format::page::{Page, PageHead};
use crate::format::root::Entry;
use crate::format::section::{self, Section};
use crate::format::shape::Shape;
use crate::format::validate::{self, Tables};
use crate::io::{FileSource, RangeSource, zeroed};
use crate::reader::check_payload;
use crate::writer::cluster::ClusterMeta;
use crate::writer::plan::{FilePlan, WriterOptions};
use crate::writer::stream::{HgvWriter, WriteReport, meta_of};
use crate::writer::target::with_suffix;
use crate::{Error, Limits, Result};

/// Bytes searched at once.
const WINDOW: usize = 1 << 20;

/// What [`recover`] brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoverReport {
    /// The new file.
    pub written: WriteReport,
    /// Clusters that were found but are not whole.
    pub damaged: u64,
    /// Pages of each tier that have no cluster in the new file.
    pub missing: Vec<u64>,
    /// Blocks that the header promises and the new file lacks; `None` if it was never finished.
    pub lost_blocks: Option<u64>,
}

/// Writes every whole cluster of `input` to a new file `output`. A whole file comes back with
/// the same content. `input` is not changed, even if it is `output.partial`.
///
/// Reads `input` once or twice; holds one page at a time.
///
/// # Errors
/// [`Error::Exists`] if `output` exists and `force` is not set; [`Error::Corrupt`] if there is
/// no finished cluster; what is wrong with header or tables if those are damaged.
pub fn recover(input: &Path, output: &Path, force: bool) -> Result<RecoverReport> {
    recover_source(Arc::new(FileSource::open(input)?), output, force)
}

/// [`recover`] from any source.
///
/// # Errors
/// As [`recover`].
pub fn recover_source(
    source: Arc<dyn RangeSource>,
    output: &Path,
    force: bool,
) -> Result<RecoverReport> {
    let limits = Limits::default();
    let (header, tables) = tables(source.as_ref(), &limits)?;
    let scan = Scan::run(source.as_ref(), &tables.shape, &limits)?;
    if scan.found.is_empty() {
        let detail = "it holds no finished cluster; there is nothing to recover";
        return Err(Error::corrupt("file", 0, detail));
    }
    let options = WriterOptions {
        force,
        page_log2: Some(header.page_log2),
        align_log2: header.align_log2,
        ..WriterOptions::default()
    };
    let plan = FilePlan::of(&tables.shape, &tables.metadata);
    let mut writer = HgvWriter::create_as(
        output,
        &plan,
        options,
        with_suffix(output, ".recover.partial"),
    )?;
    let mut found = scan.found.values();
    let copied = found.try_for_each(|(m, at)| writer.copy_cluster(source.as_ref(), *at, *m));
    let mut writer = writer.discarded_if_cancelled(copied)?;
    let blocks: u64 = scan.found.values().map(|(m, _)| m.blocks).sum();
    let complete = header.state == State::Complete;
    let lost_blocks = complete.then(|| header.blocks_present.saturating_sub(blocks));
    // Statistics describe the whole volume.
    if let (Some(0), Some(stats)) = (lost_blocks, tables.stats) {
        writer.set_stats_json(stats)?;
    }
    let missing = scan.missing(&tables.shape);
    Ok(RecoverReport {
        written: writer.finish()?,
        damaged: scan.damaged,
        missing,
        lost_blocks,
    })
}

/// Header and tables of a file in any state.
fn tables(source: &dyn RangeSource, limits: &Limits) -> Result<(Header, Tables)> {
    let header = header(source)?;
    let table_len = u64::from(header.section_count) * SECTION_ENTRY_LEN as u64;
    let sections = u64::from(header.section_count);
    Limits::check("number of sections", sections, limits.max_sections)?;
    let table = read(source, "section table", header.section_offset, table_len)?;
    crc::check(
        "section table",
        header.section_offset,
        &table,
        header.section_crc,
    )?;
    // The end of the file may be missing; what lies there is not needed.
    let mut sections = section::parse(&table, header.section_offset, u64::MAX)?;
    let mut bytes: HashMap<[u8; 4], Vec<u8>> = HashMap::new();
    for s in &sections {
        Limits::check("bytes of a section", u64::from(s.length), limits.max_head)?;
        match read(source, s.name(), s.offset, u64::from(s.length)) {
            Ok(b) if crc::crc32(&b) == s.crc || s.fourcc != section::STAT => {
                bytes.insert(s.fourcc, b);
            }
            Ok(_) => {}
            Err(Error::Truncated { .. }) if s.fourcc == section::STAT => {}
            Err(e) => return Err(e),
        }
    }
    sections.retain(|s| bytes.contains_key(&s.fourcc));
    let tables = validate::tables(&header, &sections, limits, |s: &Section| {
        let found = bytes.get(&s.fourcc).map(Vec::as_slice);
        found.ok_or_else(|| Error::corrupt(s.name(), s.offset, "its bytes are missing"))
    })?;
    Ok((header, tables))
}

/// The first header; the trailer if there is a complete one or the first is damaged.
fn header(source: &dyn RangeSource) -> Result<Header> {
    let at = |offset| Header::parse(&read(source, "header", offset, HEADER_LEN as u64)?, offset);
    let end = source.len().saturating_sub(HEADER_LEN as u64);
    match at(0) {
        Ok(first) if first.state == State::SeeTrailer => Ok(at(end)
            .ok()
            .filter(|h| h.state == State::Complete)
            .unwrap_or(first)),
        Ok(first) => Ok(first),
        Err(e @ Error::Checksum { .. }) => at(end).map_err(|_| e),
        Err(e) => Err(e),
    }
}

/// Reads a range after checking that it exists.
fn read(source: &dyn RangeSource, what: &'static str, offset: u64, length: u64) -> Result<Vec<u8>> {
    let available = source.len().saturating_sub(offset);
    if length > available {
        return Err(Error::Truncated {
            what,
            offset,
            needed: length,
            available,
        });
    }
    let mut bytes = zeroed(length as usize)?;
    source.read_at(offset, &mut bytes)?;
    Ok(bytes)
}

/// Clusters by (tier, key), each with its offset.
#[derive(Debug, Default)]
struct Scan {
    found: BTreeMap<(u8, u64), (ClusterMeta, u64)>,
    damaged: u64,
}

impl Scan {
    fn run(source: &dyn RangeSource, shape: &Shape, limits: &Limits) -> Result<Self> {
        let mut scan = Self::default();
        let mut finder = Finder {
            source,
            start: 0,
            window: Vec::new(),
        };
        let mut at = HEADER_LEN as u64;
        while let Some(start) = finder.next(at)? {
            at = match cluster(source, start, shape, limits)? {
                Found::Whole(meta) => {
                    scan.found
                        .entry((meta.tier, meta.key))
                        .or_insert((meta, start));
                    start + meta.cluster_len
                }
                Found::Damaged => {
                    scan.damaged += 1;
                    start + 1
                }
                Found::Nothing => start + 1,
            };
        }
        Ok(scan)
    }

    fn missing(&self, shape: &Shape) -> Vec<u64> {
        (0u8..)
            .zip(&shape.pages)
            .map(|(tier, pages)| {
                let found = self.found.range((tier, 0)..=(tier, u64::MAX)).count() as u64;
                pages.count().saturating_sub(found)
            })
            .collect()
    }
}

/// Looks for page magics, one window of the source at a time.
struct Finder<'a> {
    source: &'a dyn RangeSource,
    start: u64,
    window: Vec<u8>,
}

impl Finder<'_> {
    /// Offset of the next page magic at or behind `at`.
    fn next(&mut self, mut at: u64) -> Result<Option<u64>> {
        let magic = PAGE_MAGIC.len() as u64;
        while at + magic <= self.source.len() {
            if at < self.start || at + magic > self.start + self.window.len() as u64 {
                let n = (self.source.len() - at).min(WINDOW as u64);
                self.window = read(self.source, "source", at, n)?;
                self.start = at;
            }
            let rest = &self.window[(at - self.start) as usize..];
            let hit = rest.windows(PAGE_MAGIC.len()).position(|w| w == PAGE_MAGIC);
            if let Some(i) = hit {
                return Ok(Some(at + i as u64));
            }
            // The last bytes may be the start of a magic number.
            at += rest.len() as u64 - (magic - 1);
        }
        Ok(None)
    }
}

/// What lies behind a magic number.
enum Found {
    Whole(ClusterMeta),
    Damaged,
    Nothing,
}

fn cluster(source: &dyn RangeSource, at: u64, shape: &Shape, limits: &Limits) -> Result<Found> {
    let available = source.len() - at;
    if available < PAGE_HEAD_LEN as u64 {
        return Ok(Found::Nothing);
    }
    let head = PageHead::parse(&read(source, "index page", at, PAGE_HEAD_LEN as u64)?, at)?;
    if head.plan_crc != shape.plan_crc || usize::from(head.tier) >= shape.tiers.len() {
        return Ok(Found::Nothing);
    }
    let length = u64::from(head.page_len);
    if length > limits.max_page || length < 4 || head.cluster_len > available || length > available
    {
        return Ok(Found::Damaged);
    }
    let bytes = read(source, "index page", at, length)?;
    match whole(source, at, &bytes, &head, shape) {
        Ok(meta) => Ok(Found::Whole(meta)),
        Err(e @ (Error::Io { .. } | Error::SourceChanged(_))) => Err(e),
        Err(_) => Ok(Found::Damaged),
    }
}

fn whole(
    source: &dyn RangeSource,
    at: u64,
    bytes: &[u8],
    head: &PageHead,
    shape: &Shape,
) -> Result<ClusterMeta> {
    let entry = Entry {
        offset: at,
        key: head.key,
        length: head.page_len,
        crc: crc::crc32(&bytes[..bytes.len() - 4]),
    };
    let page = Page::parse(bytes, &entry, head.tier, shape)?;
    check_payload(source, at, &page)?;
    Ok(meta_of(&entry, &page))
}
