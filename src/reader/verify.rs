//! Checking a whole file: structure first, then every payload byte.

use std::ops::ControlFlow;

use crate::format::crc;
use crate::format::page::Page;
use crate::format::root::Entry;
use crate::format::validate::{self, Piece};
use crate::io::{RangeSource, zeroed};
use crate::reader::opener;
use crate::reader::read::HgvReader;
use crate::{Error, Result};

/// Payload is checked in reads of at most this many bytes (more for one longer segment).
const READ: usize = 1 << 20;

/// What [`HgvReader::verify_structure`] saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StructureReport {
    /// Clusters.
    pub clusters: u64,
    /// Constant and payload blocks.
    pub blocks: u64,
    /// Payload bytes.
    pub payload_bytes: u64,
    /// Zero bytes between structures.
    pub padding: u64,
}

/// What [`HgvReader::verify_payloads`] saw.
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// Clusters whose payload is good.
    pub good: u64,
    /// The first fault of each other cluster.
    pub faults: Vec<Error>,
}

impl HgvReader {
    /// Reads every node and page and checks what opening cannot: that structures and clusters do
    /// not overlap, that bytes between them are zero, that totals and uuid are right.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn verify_structure(&self) -> Result<StructureReport> {
        let index = &self.index;
        let mut report = StructureReport::default();
        let mut pieces = opener::pieces(
            &index.header,
            index.leading.as_ref(),
            &index.sections,
            &index.root,
        );
        // Pages are parts of clusters, which follow.
        pieces.retain(|p| p.what != "index page");
        for tier in 0..self.tiers().len() as u8 {
            for entry in self.page_entries(tier)? {
                let page = self.page(tier, &entry)?;
                report.clusters += 1;
                report.blocks += page.present();
                report.payload_bytes += page.payload_len();
                pieces.push(Piece {
                    start: entry.offset,
                    end: entry.offset.saturating_add(page.cluster_len),
                    what: "cluster",
                });
                self.check_alignment(&entry)?;
            }
        }
        validate::check_disjoint(&mut pieces)?;
        report.padding = self.check_gaps(&pieces)?;
        self.check_totals(&report)?;
        self.check_uuid()?;
        Ok(report)
    }

    fn check_alignment(&self, entry: &Entry) -> Result<()> {
        let log2 = self.index.header.align_log2;
        if entry.offset.trailing_zeros() >= u32::from(log2) {
            return Ok(());
        }
        let detail = format!("it does not start at a multiple of 2^{log2}");
        Err(Error::corrupt("cluster", entry.offset, detail))
    }

    fn check_totals(&self, report: &StructureReport) -> Result<()> {
        let header = &self.index.header;
        for (what, stated, found) in [
            ("blocks", header.blocks_present, report.blocks),
            ("payload bytes", header.payload_bytes, report.payload_bytes),
        ] {
            if stated != found {
                let detail = format!("it states {stated} {what}, the pages have {found}");
                return Err(Error::corrupt("header", self.index.header_at(), detail));
            }
        }
        Ok(())
    }

    /// Bytes that belong to no structure are zero.
    fn check_gaps(&self, pieces: &[Piece]) -> Result<u64> {
        let (mut total, mut end) = (0, 0);
        let file = (self.index.header.file_len, self.index.header.file_len);
        for (start, stop) in pieces.iter().map(|p| (p.start, p.end)).chain([file]) {
            if start > end {
                self.check_zeros(end, start)?;
                total += start - end;
            }
            end = end.max(stop);
        }
        Ok(total)
    }

    fn check_zeros(&self, start: u64, end: u64) -> Result<()> {
        let mut at = start;
        while at < end {
            let n = (end - at).min(READ as u64);
            let mut bytes = zeroed(n as usize)?;
            self.source.read_at(at, &mut bytes)?;
            if let Some(i) = bytes.iter().position(|&b| b != 0) {
                let detail = "bytes that belong to no structure must be zero";
                return Err(Error::corrupt("padding", at + i as u64, detail));
            }
            at += n;
        }
        Ok(())
    }

    fn check_uuid(&self) -> Result<()> {
        let index = &self.index;
        let header = &index.header;
        let table_len = header.section_count as usize * crate::format::constant::SECTION_ENTRY_LEN;
        let mut ranges = vec![(header.section_offset, table_len)];
        ranges.extend(opener::known(&index.sections).map(|s| (s.offset, s.length as usize)));
        ranges.push((header.root_offset, header.root_len as usize));
        let mut parts = Vec::new();
        for (offset, length) in ranges {
            let mut bytes = zeroed(length)?;
            self.source.read_at(offset, &mut bytes)?;
            parts.push(bytes);
        }
        let refs: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        if header.uuid(&refs) == header.file_uuid {
            return Ok(());
        }
        let detail = "uuid is not the hash of header, tables and root";
        Err(Error::corrupt("header", index.header_at(), detail))
    }

    /// Reads every payload byte and checks every checksum. `progress` gets the bytes done and
    /// the bytes of the file, and may stop the check.
    ///
    /// # Errors
    /// [`Error::Cancelled`], or a page or range that cannot be read; damaged payloads are
    /// listed in the report.
    pub fn verify_payloads(
        &self,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<VerifyReport> {
        let mut report = VerifyReport::default();
        let (mut done, total) = (0, self.index.header.payload_bytes);
        for tier in 0..self.tiers().len() as u8 {
            for entry in self.page_entries(tier)? {
                let page = self.page(tier, &entry)?;
                match check_payload(self.source.as_ref(), entry.offset, &page) {
                    Ok(()) => report.good += 1,
                    Err(e @ Error::Corrupt { .. }) => report.faults.push(e),
                    Err(e) => return Err(e),
                }
                done += page.payload_len();
                if progress(done, total).is_break() {
                    return Err(Error::Cancelled);
                }
            }
        }
        Ok(report)
    }
}

/// Checks the checksum of every segment of the cluster at `at`.
pub(crate) fn check_payload(source: &dyn RangeSource, at: u64, page: &Page) -> Result<()> {
    let segments = page.segments();
    let mut first = 0;
    while first < segments.len() {
        let start = segments[first].offset;
        let fits = |s: &crate::format::page::Segment| {
            s.offset + u64::from(s.length) - start <= READ as u64
        };
        let n = segments[first..]
            .iter()
            .take_while(|s| fits(s))
            .count()
            .max(1);
        let run = &segments[first..first + n];
        let length: usize = run.iter().map(|s| s.length as usize).sum();
        let mut bytes = zeroed(length)?;
        source.read_at(at + start, &mut bytes)?;
        for (i, s) in run.iter().enumerate() {
            let from = (s.offset - start) as usize;
            let computed = crc::crc32(&bytes[from..from + s.length as usize]);
            if computed != s.crc {
                let detail = format!(
                    "checksum of segment {} of tier {}, page key {} is {computed:#010x}, {:#010x} was stored",
                    first + i,
                    page.tier,
                    page.key,
                    s.crc
                );
                return Err(Error::corrupt("block payload", at + s.offset, detail));
            }
        }
        first += n;
    }
    Ok(())
}
