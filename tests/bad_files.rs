//! One malformed file for each rule of `format-spec/container.md`, section 6, with the exact
//! error. The files in `tests/bad/` are made here from good ones, by patching and sealing;
//! `HGV_WRITE_BAD=1 cargo test --test bad_files` writes them and `expected.txt` again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};

use common::{Sample, Style, check_bad, file_bytes, open, put, sample};
use hgv::format::constant::{ENTRY_LEN, NODE_HEAD_LEN};
use hgv::format::crc::crc32;
use hgv::format::header::Header;
use hgv::format::{root, section};
use hgv::io::WriteSink;
use hgv::writer::{BlockRecord, HgvWriter};

/// Files larger than this are made but not kept.
const KEEP: usize = 64 << 10;

/// A page or node, and where its parent keeps its length and CRC.
#[derive(Clone)]
struct Item {
    range: Range<usize>,
    length_at: usize,
    crc_at: usize,
}

/// A good file that is being made bad.
#[derive(Clone)]
struct Bad {
    bytes: Vec<u8>,
    header: Header,
    /// Offset of the header that counts.
    header_at: usize,
    pages: Vec<Item>,
    nodes: Vec<Item>,
}

fn items(base: usize, n: usize, entries: &[root::Entry]) -> Vec<Item> {
    let item = |(i, e): (usize, &root::Entry)| Item {
        range: e.offset as usize..e.end() as usize,
        length_at: base + 16 * n + 4 * i,
        crc_at: base + 20 * n + 4 * i,
    };
    entries.iter().enumerate().map(item).collect()
}

impl Bad {
    fn new(bytes: Vec<u8>) -> Self {
        let first = Header::parse(&bytes, 0).unwrap();
        let header_at = if first.state as u8 == 2 {
            bytes.len() - 256
        } else {
            0
        };
        let header = Header::parse(&bytes[header_at..], 0).unwrap();
        let at = header.root_offset as usize;
        let body = &bytes[at..at + header.root_len as usize];
        let tiers = root::parse(body, 0, header.tier_count, header.file_len).unwrap();
        let all: Vec<_> = tiers.concat();
        let base = at + 4 * tiers.len();
        let top = items(base, all.len(), &all);
        let mut bad = Self {
            bytes,
            header,
            header_at,
            pages: top.clone(),
            nodes: Vec::new(),
        };
        if bad.header.depth == 3 {
            bad.pages = top.iter().flat_map(|node| bad.pages_of(node)).collect();
            bad.nodes = top;
        }
        bad
    }

    fn pages_of(&self, node: &Item) -> Vec<Item> {
        let start = node.range.start + NODE_HEAD_LEN;
        let n = self.u32(node.range.start + 8) as usize;
        let u64_at = |at: usize| u64::from_le_bytes(self.bytes[at..at + 8].try_into().unwrap());
        let entries: Vec<root::Entry> = (0..n)
            .map(|i| root::Entry {
                offset: u64_at(start + 8 * i),
                key: u64_at(start + 8 * (n + i)),
                length: self.u32(start + 16 * n + 4 * i),
                crc: 0,
            })
            .collect();
        items(start, n, &entries)
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().unwrap())
    }

    fn set(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Sets bytes of the header that counts.
    fn head(&mut self, at: usize, bytes: &[u8]) {
        self.set(self.header_at + at, bytes);
    }

    fn table(&self) -> Range<usize> {
        let at = self.header.section_offset as usize;
        at..at + 24 * self.header.section_count as usize
    }

    /// Offset of a section's entry in the table.
    fn entry(&self, fourcc: [u8; 4]) -> usize {
        self.table()
            .step_by(24)
            .find(|&at| self.bytes[at..at + 4] == fourcc)
            .unwrap()
    }

    fn section(&self, fourcc: [u8; 4]) -> Range<usize> {
        let at = self.entry(fourcc);
        let start = self.u32(at + 8) as usize;
        start..start + self.u32(at + 16) as usize
    }

    /// Replaces META by a text that is not longer.
    fn meta(&mut self, text: &str) {
        let range = self.section(section::META);
        assert!(
            text.len() <= range.len(),
            "{} > {}",
            text.len(),
            range.len()
        );
        let padded = format!("{text:<width$}", width = range.len());
        self.set(range.start, padded.as_bytes());
    }

    fn root(&self) -> Range<usize> {
        let at = self.header.root_offset as usize;
        at..at + self.header.root_len as usize
    }

    /// Offset of the four arrays of the root.
    fn arrays(&self) -> usize {
        self.root().start + 4 * usize::from(self.header.tier_count)
    }

    fn entries(&self) -> usize {
        (self.root().end - self.arrays()) / ENTRY_LEN
    }

    /// The overview page: the last one of the root, one slot.
    fn small(&self) -> usize {
        self.pages.last().unwrap().range.start
    }

    /// Makes checksums right from the payload up, except those of payload.
    fn seal(&mut self) {
        for list in [self.pages.clone(), self.nodes.clone()] {
            for item in list {
                let body = item.range.start..item.range.end - 4;
                let crc = crc32(&self.bytes[body.clone()]).to_le_bytes();
                self.set(body.end, &crc);
                self.set(item.crc_at, &crc);
            }
        }
        self.seal_tables();
        let crc = crc32(&self.bytes[self.root()]).to_le_bytes();
        self.head(116, &crc);
        self.seal_header();
    }

    fn seal_tables(&mut self) {
        for at in self.table().step_by(24) {
            let start = self.u32(at + 8) as usize;
            if let Some(body) = self.bytes.get(start..start + self.u32(at + 16) as usize) {
                let crc = crc32(body).to_le_bytes();
                self.set(at + 20, &crc);
            }
        }
        let crc = crc32(&self.bytes[self.table()]).to_le_bytes();
        self.head(124, &crc);
    }

    fn seal_header(&mut self) {
        for at in [0, self.header_at] {
            let crc = crc32(&self.bytes[at..at + 252]).to_le_bytes();
            self.set(at + 252, &crc);
        }
    }

    /// The last page of the file with one extra byte at each of these places of the page.
    fn widen_last_page(&mut self, places: &[usize]) {
        let last = (0..self.pages.len())
            .max_by_key(|&i| self.pages[i].range.start)
            .unwrap();
        let item = self.pages[last].clone();
        for (i, place) in places.iter().enumerate() {
            self.bytes.insert(item.range.start + place + i, 0);
        }
        let n = places.len();
        self.pages[last].range.end += n;
        let length = (item.range.len() + n) as u32;
        self.set(item.range.start + 4, &length.to_le_bytes());
        self.set(item.length_at, &length.to_le_bytes());
        let cluster = self.u32(item.range.start + 8) + n as u32;
        self.set(item.range.start + 8, &cluster.to_le_bytes());
        let file_len = self.bytes.len() as u64;
        self.head(32, &file_len.to_le_bytes());
    }
}

/// Which good file a case starts from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Base {
    /// Depth 2, padding between clusters, statistics.
    Plain,
    /// Depth 3.
    Nodes,
    /// State 2.
    Trailer,
}

/// Two tiers, few blocks; the overview page has one constant block.
fn good(base: Base) -> Bad {
    let style = Style {
        seed: 3,
        absent: 75,
        constant: 3,
        longest: 30,
        page_log2: 2,
        ..Style::default()
    };
    let layers = hgv::format::layer::Layers::standard(2).unwrap();
    let mut s: Sample = sample([160, 160, 96], 5, layers, style);
    s.blocks.insert((1, [0; 3]), BlockRecord::Constant(7));
    for record in s.blocks.values_mut() {
        if let BlockRecord::Payload(p) = record {
            p.model = 1;
        }
    }
    let is_payload = |r: &&BlockRecord| matches!(r, BlockRecord::Payload(_));
    let last = s.blocks.values().find(is_payload).unwrap().clone();
    s.blocks.insert((0, [4, 4, 2]), last);
    s.plan.metadata.description = Some("d".repeat(60));
    s.stats = Some("{\"a\":1}".into());
    s.options.align_log2 = 4;
    s.options.root_entries = if base == Base::Nodes { 2 } else { 512 };
    if base != Base::Trailer {
        return Bad::new(file_bytes(&s));
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("streamed");
    let sink = WriteSink::new(std::fs::File::create(&path).unwrap());
    let mut writer = HgvWriter::to_sink(Box::new(sink), &s.plan, s.options.clone()).unwrap();
    put(&s, &mut writer, false, |_, _| true).unwrap();
    writer.finish().unwrap();
    Bad::new(std::fs::read(path).unwrap())
}

/// How a case is sealed after its patch.
#[derive(Clone, Copy)]
enum Seal {
    Not,
    Header,
    All,
}

struct Case {
    name: &'static str,
    base: Base,
    seal: Seal,
    patch: fn(&mut Bad),
}

const fn case(name: &'static str, base: Base, seal: Seal, patch: fn(&mut Bad)) -> Case {
    Case {
        name,
        base,
        seal,
        patch,
    }
}

use Base::{Nodes, Plain, Trailer};
use Seal::{All, Not};

/// The rule is the part of the name before the first dash.
const CASES: &[Case] = &[
    case("H1-text-mode", Plain, Not, |b| b.set(4, b"\n\x1a\n\0")),
    case("H2-major", Plain, Seal::Header, |b| b.head(8, &[2])),
    case("H3-crc", Plain, Not, |b| b.head(60, &[1])),
    case("H4-header-length", Plain, Seal::Header, |b| {
        b.head(12, &[64])
    }),
    case("H5-required-feature", Plain, Seal::Header, |b| {
        b.head(40, &[4])
    }),
    case("H6-reserved-1", Plain, Seal::Header, |b| b.head(143, &[1])),
    case("H6-reserved-2", Plain, Seal::Header, |b| b.head(251, &[1])),
    case("H7-state", Plain, Seal::Header, |b| b.head(157, &[3])),
    case("H8-open", Plain, Seal::Header, |b| b.head(157, &[0])),
    case("H9-dtype", Plain, Seal::Header, |b| b.head(146, &[99])),
    case("H10-channels", Plain, Seal::Header, |b| b.head(148, &[3])),
    case("H10-time-steps", Plain, Seal::Header, |b| b.head(136, &[2])),
    case("H11-extent", Plain, Seal::Header, |b| b.head(64, &[0; 8])),
    case("H12-block-side", Plain, Seal::Header, |b| b.head(150, &[8])),
    case("H12-depth", Plain, Seal::Header, |b| b.head(155, &[4])),
    case("H12-page-side", Plain, Seal::Header, |b| b.head(154, &[0])),
    case("H13-range", Plain, Seal::Header, |b| {
        b.head(132, &(-2000i32).to_le_bytes())
    }),
    case("H14-dtype-range", Plain, Seal::Header, |b| {
        b.head(132, &40_000i32.to_le_bytes())
    }),
    case("H15-short", Plain, Not, |b| {
        b.bytes.pop();
    }),
    case("H16-long", Plain, Not, |b| b.bytes.push(0)),
    case("H17-lods", Plain, Seal::Header, |b| b.head(151, &[9])),
    case("H18-no-trailer", Trailer, Not, |b| {
        let n = b.bytes.len();
        b.bytes.truncate(n - 256);
    }),
    case("H18-trailer-open", Trailer, Seal::Header, |b| {
        b.head(157, &[0])
    }),
    case("S1-table-outside", Plain, Seal::Header, |b| {
        b.head(104, &[0xFF; 4])
    }),
    case("S2-table-crc", Plain, Not, |b| {
        let at = b.entry(section::META);
        b.set(at + 6, &[2]);
    }),
    case("S3-twice", Plain, All, |b| {
        let at = b.entry(section::STAT);
        b.set(at, b"META");
    }),
    case("S4-flags", Plain, All, |b| {
        let at = b.entry(section::META);
        b.set(at + 4, &[10]);
    }),
    case("S5-outside", Plain, All, |b| {
        let at = b.entry(section::STAT);
        b.set(at + 16, &[0xFF; 3]);
    }),
    case("S6-not-critical", Plain, All, |b| {
        let at = b.entry(section::LAYR);
        b.set(at + 4, &[0]);
    }),
    case("S7-critical", Plain, All, |b| {
        let at = b.entry(section::STAT);
        b.set(at, b"NEWS\x01");
    }),
    case("S7-version", Plain, All, |b| {
        let at = b.entry(section::MODL);
        b.set(at + 6, &[2]);
    }),
    case("S8-missing", Plain, All, |b| {
        let at = b.entry(section::TIER);
        b.set(at, b"tier\x04");
    }),
    case("S9-crc", Plain, Not, |b| {
        let at = b.section(section::META).start;
        b.set(at + 1, b"'");
    }),
    case("S10-many", Plain, Seal::Header, |b| b.head(120, &[65])),
    case("Y1-count", Plain, All, |b| b.head(152, &[5])),
    case("Y2-order", Plain, All, |b| {
        let at = b.section(section::LAYR).start;
        b.set(at, &[1, 0, 2, 0]);
    }),
    case("Y3-level", Plain, All, |b| {
        let at = b.section(section::LAYR).end - 4;
        b.set(at, &[0, 0, 1, 1]);
    }),
    case("Y4-quality", Plain, All, |b| b.head(153, &[1])),
    case("T1-count", Plain, All, |b| {
        let at = b.entry(section::TIER);
        b.set(at + 16, &[40]);
    }),
    case("T2-extent", Plain, All, |b| {
        let at = b.section(section::TIER).start;
        b.set(at + 40, &[0x55]);
    }),
    case("T3-reserved", Plain, All, |b| {
        let at = b.section(section::TIER).end - 1;
        b.set(at, &[1]);
    }),
    case("M1-ids", Plain, All, |b| {
        let at = b.section(section::MODL).start;
        b.set(at, &[200]);
    }),
    case("M2-flags", Plain, All, |b| {
        let at = b.section(section::MODL).start;
        b.set(at + 3, &[1]);
    }),
    case("M3-length", Plain, All, |b| {
        let at = b.section(section::MODL).start;
        b.set(at + 4, &[0xFF; 4]);
    }),
    case("J1-syntax", Plain, All, |b| b.meta("{\"unit\":\"mm\"")),
    case("J1-stats", Plain, All, |b| {
        let at = b.section(section::STAT).start;
        b.set(at, b"[");
    }),
    case("J1-type", Plain, All, |b| b.meta("{\"origin\":\"here\"}")),
    case("J2-key", Plain, All, |b| {
        b.meta("{\"unit\":\"mm\",\"unit\":\"um\"}")
    }),
    case("J3-depth", Plain, All, |b| {
        let text = format!("{{\"x\":{}{}}}", "[".repeat(32), "]".repeat(32));
        b.meta(&text);
    }),
    case("J4-long", Plain, All, |b| {
        // The text goes to the end of the file, where nothing else is.
        let (at, start) = (b.entry(section::META), b.bytes.len() as u64);
        let n = (1usize << 20) + 1;
        b.bytes.resize(b.bytes.len() + n, b' ');
        b.set(at + 8, &start.to_le_bytes());
        b.set(at + 16, &(n as u32).to_le_bytes());
        let file_len = b.bytes.len() as u64;
        b.head(32, &file_len.to_le_bytes());
    }),
    case("J5-spacing", Plain, All, |b| {
        b.meta("{\"spacing\":[1,-1,1]}")
    }),
    case("R1-outside", Plain, Seal::Header, |b| {
        b.head(80, &[0xFF; 8])
    }),
    case("R2-crc", Plain, Not, |b| {
        let at = b.root().start;
        b.set(at, &[9]);
    }),
    case("R3-count", Plain, All, |b| {
        let at = b.root().start;
        b.set(at, &[200]);
    }),
    case("R4-order", Plain, All, |b| {
        let at = b.arrays() + 8 * b.entries();
        b.set(at, &[2]);
    }),
    case("R5-outside", Plain, All, |b| {
        let at = b.arrays();
        b.set(at + 7, &[0x7F]);
    }),
    case("R6-no-page", Plain, All, |b| {
        let at = b.arrays() + 16 * b.entries() - 8;
        b.set(at, &[77]);
    }),
    case("R7-overlap", Plain, All, |b| {
        let (at, inside) = (b.arrays(), b.section(section::MODL).start as u64);
        b.set(at, &inside.to_le_bytes());
        b.seal_later();
    }),
    case("N1-crc", Nodes, Not, |b| {
        let at = b.nodes[0].range.start + 5;
        b.set(at, &[1]);
    }),
    case("N2-magic", Nodes, All, |b| {
        let at = b.nodes[0].range.start;
        b.set(at, b"HGVM");
    }),
    case("N3-tier", Nodes, All, |b| {
        let at = b.nodes[0].range.start + 4;
        b.set(at, &[1]);
    }),
    case("N3-plan", Nodes, All, |b| {
        let at = b.nodes[0].range.start + 12;
        b.set(at, &[1, 2, 3, 4]);
    }),
    case("N4-count", Nodes, All, |b| {
        let at = b.nodes[0].range.start + 8;
        b.set(at, &[1]);
    }),
    case("N5-first-key", Nodes, All, |b| {
        let at = b.arrays() + 8 * b.entries();
        b.set(at, &[1]);
    }),
    case("N6-keys", Nodes, All, |b| {
        let at = b.nodes[0].range.start + NODE_HEAD_LEN + 24;
        b.set(at, &[2]);
    }),
    case("P1-crc", Plain, Not, |b| {
        let at = b.small() + 36;
        b.set(at, &[2]);
    }),
    case("P1-own-crc", Plain, All, |b| b.break_own_crc()),
    case("P2-magic", Plain, All, |b| {
        let at = b.small();
        b.set(at, b"HGVX");
    }),
    case("P3-tier", Plain, All, |b| {
        let at = b.small() + 32;
        b.set(at, &[0]);
    }),
    case("P3-key", Plain, All, |b| {
        let at = b.pages[0].range.start + 16;
        b.set(at, &[1]);
    }),
    case("P4-plan", Plain, All, |b| {
        let at = b.small() + 24;
        b.set(at, &[1, 2, 3, 4]);
    }),
    case("P5-page-length", Plain, All, |b| {
        let at = b.small() + 4;
        b.set(at, &[200]);
    }),
    case("P5-cluster-length", Plain, All, |b| {
        let at = b.small() + 8;
        b.set(at, &[1]);
    }),
    case("P6-slots", Plain, All, |b| {
        let at = b.small() + 28;
        b.set(at, &[2]);
    }),
    case("P7-flags", Plain, All, |b| {
        let at = b.small() + 33;
        b.set(at, &[4]);
    }),
    case("P8-presence", Plain, All, |b| {
        let at = b.small() + 36;
        b.set(at, &[3]);
    }),
    case("P9-presence-padding", Plain, All, |b| {
        let at = b.small() + 36;
        b.set(at, &[1 | 0x80]);
    }),
    case("P10-empty", Plain, All, |b| {
        let at = b.small() + 36;
        b.set(at, &[0]);
    }),
    case("P11-constant", Plain, All, |b| {
        let at = b.small() + 37;
        b.set(at, &(-1001i32).to_le_bytes());
    }),
    case("P12-model", Plain, All, |b| {
        let at = b.payload_page().start + 34;
        b.set(at, &[5]);
    }),
    case("P13-model-form", Plain, All, |b| {
        let at = b.small() + 34;
        b.set(at, &[1]);
    }),
    case("P14-range", Plain, All, |b| {
        let at = b.ranges_at();
        b.set(at, &[0xFF, 0x0F, 0]);
    }),
    case("P15-empty-crc", Plain, All, |b| {
        // The first length moves to the second segment; the first keeps its CRC.
        let at = b.lengths_at();
        let (a, c) = (b.bytes[at], b.bytes[at + 2]);
        b.set(at, &[0, 0, a + c]);
    }),
    case("P16-length-form", Plain, All, |b| b.widen_lengths()),
    case("P17-sum", Plain, All, |b| {
        let at = b.lengths_at();
        let n = b.bytes[at] + 1;
        b.set(at, &[n]);
    }),
    case("P18-left-over", Plain, All, |b| {
        let place = b.payload_page().len() - 4;
        b.widen_last_page(&[place]);
    }),
    case("P19-cluster", Plain, All, |b| b.grow_cluster(0)),
    case("D1-payload", Plain, Not, |b| {
        let at = b.payload_page().end;
        b.bytes[at] ^= 1;
    }),
    case("V1-alignment", Plain, Seal::Header, |b| b.head(156, &[12])),
    case("V2-padding", Plain, Not, |b| {
        let at = b
            .pages
            .iter()
            .map(|p| p.range.start)
            .filter(|&s| b.bytes[s - 1] == 0)
            .max();
        b.set(at.unwrap() - 1, &[1]);
    }),
    case("V3-clusters", Nodes, All, |b| b.grow_cluster(0)),
    case("V4-blocks", Plain, Seal::Header, |b| b.head(88, &[200])),
    case("V4-payload", Plain, Seal::Header, |b| b.head(96, &[1, 2])),
    case("V5-uuid", Plain, Seal::Header, |b| {
        b.head(16, b"another identity")
    }),
];

impl Bad {
    /// The page that lies last in the file: it has payload blocks of one model.
    fn payload_page(&self) -> Range<usize> {
        let last = self.pages.iter().max_by_key(|p| p.range.start).unwrap();
        last.range.clone()
    }

    /// Slots and numbers of constant and payload blocks of the last page.
    fn last_counts(&self) -> (usize, usize, usize) {
        let start = self.payload_page().start;
        let slots = self.u32(start + 28) as usize;
        let code = |i: usize| self.bytes[start + 36 + i / 4] >> (2 * (i % 4)) & 3;
        let count = |c| (0..slots).filter(|&i| code(i) == c).count();
        (slots, count(1), count(2))
    }

    fn ranges_at(&self) -> usize {
        let page = self.payload_page();
        let (slots, constants, payloads) = self.last_counts();
        assert!(payloads > 0 && self.bytes[page.start + 33] == 0);
        page.start + 36 + slots.div_ceil(4) + 4 * constants
    }

    fn lengths_at(&self) -> usize {
        let payloads = self.last_counts().2;
        self.ranges_at() + payloads * (3 + 2 * usize::from(self.header.level_count))
    }

    fn widen_lengths(&mut self) {
        let (start, at) = (
            self.payload_page().start,
            self.lengths_at() - self.payload_page().start,
        );
        let n = self.last_counts().2 * usize::from(self.header.layer_count);
        let places: Vec<usize> = (1..=n).map(|i| at + 2 * i).collect();
        self.widen_last_page(&places);
        self.set(start + 33, &[1]);
    }

    /// Lets the last segment of a page, and so its cluster, grow by 64 bytes.
    fn grow_cluster(&mut self, page: usize) {
        let item = self.pages[page].range.clone();
        assert_eq!(self.bytes[item.start + 33] & 1, 0, "short lengths");
        let layers = usize::from(self.header.layer_count);
        let slots = self.u32(item.start + 28) as usize;
        let code = |i: usize| self.bytes[item.start + 36 + i / 4] >> (2 * (i % 4)) & 3;
        let payloads = (0..slots).filter(|&i| code(i) == 2).count();
        assert!(payloads > 0);
        let last = item.end - 4 - 4 * payloads * layers - 2;
        self.bytes[last] += 64;
        let length = self.u32(item.start + 8) + 64;
        self.set(item.start + 8, &length.to_le_bytes());
    }

    /// The entry that was moved has no page of its own any more.
    fn seal_later(&mut self) {
        self.pages.remove(0);
    }

    /// A page whose parent has the right CRC and whose own copy is wrong.
    fn break_own_crc(&mut self) {
        let item = self.pages.pop().unwrap();
        self.bytes[item.range.end - 1] ^= 0x80;
    }
}

fn make(case: &Case, goods: &BTreeMap<Base, Bad>) -> Vec<u8> {
    let mut bad = goods[&case.base].clone();
    (case.patch)(&mut bad);
    match case.seal {
        Seal::Not => {}
        Seal::Header => bad.seal_header(),
        Seal::All => bad.seal(),
    }
    bad.bytes
}

/// The first error of opening, structure, payload.
fn error(bytes: Vec<u8>) -> Option<String> {
    let reader = match open(bytes) {
        Ok(reader) => reader,
        Err(e) => return Some(e.to_string()),
    };
    if let Err(e) = reader.verify_structure() {
        return Some(e.to_string());
    }
    let report = reader.verify_payloads(&mut |_, _| ControlFlow::Continue(()));
    report.unwrap().faults.first().map(ToString::to_string)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad")
}

fn goods() -> BTreeMap<Base, Bad> {
    [Plain, Nodes, Trailer]
        .into_iter()
        .map(|b| (b, good(b)))
        .collect()
}

#[test]
fn the_good_files_are_good() {
    for bad in goods().values() {
        assert_eq!(error(bad.bytes.clone()), None);
        let mut sealed = bad.clone();
        sealed.seal();
        assert_eq!(sealed.bytes, bad.bytes);
    }
}

#[test]
fn every_bad_file_has_its_exact_error() {
    let goods = goods();
    let made: Vec<(&str, Vec<u8>)> = CASES.iter().map(|c| (c.name, make(c, &goods))).collect();
    check_bad("", &made, KEEP, |bytes| error(bytes.to_vec()));
}

/// Every rule of the specification has a file, every file a case.
#[test]
fn rules_and_files_match() {
    let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join("format-spec/container.md");
    let spec = std::fs::read_to_string(spec).unwrap();
    let is_rule = |w: &str| {
        let (letter, number) = w.split_at_checked(1).unwrap_or_default();
        letter.chars().all(char::is_uppercase) && number.parse::<u32>().is_ok()
    };
    let rows = spec
        .lines()
        .filter_map(|l| l.strip_prefix("| ")?.split(" | ").next());
    let rules: BTreeSet<&str> = rows.filter(|w| is_rule(w)).collect();
    let cased: BTreeSet<&str> = CASES
        .iter()
        .filter_map(|c| c.name.split('-').next())
        .collect();
    assert_eq!(rules, cased);
    assert!(rules.len() > 60);
    let names: BTreeSet<&str> = CASES.iter().map(|c| c.name).collect();
    assert_eq!(names.len(), CASES.len());
    for entry in std::fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let known = name.strip_suffix(".hgv").is_some_and(|n| names.contains(n));
        let other = ["expected.txt", "curve", "grid", "ranks"].contains(&name.as_str());
        assert!(known || other, "{name} has no case");
    }
}
