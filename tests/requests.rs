//! How many requests and bytes reading takes: as few as the format promises, and none of the
//! layers that are not needed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod volumes;

use std::sync::OnceLock;

use hgv::Volume;
use hgv::encode::{ModelChoice, Preset, Target};
use hgv::format::root::{self, Entry};
use hgv::io::{CountingSource, Counts};
use hgv::reader::{BlockEntry, BlockState, HgvReader};
use hgv::volume::{DType, Region};
use volumes::{Field, MODELS, encoded, memory, open, read};

const EXTENT: [u64; 3] = [288, 288, 34];
/// A gap between wanted ranges is read if it is at most this and a quarter of the wanted bytes.
const LARGEST_GAP: u64 = 256 << 10;

/// A file of wavelets and one of grids.
fn files() -> &'static [Vec<u8>] {
    static FILES: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
    FILES.get_or_init(|| [MODELS[0], MODELS[1]].map(file))
}

/// Nine blocks along x and y: four clusters of tier 0, an overview tier, over 64 KiB.
fn file((model, preset): (ModelChoice, Preset)) -> Vec<u8> {
    let field = Field {
        noise: 0.1,
        ..Field::default()
    };
    let bytes = encoded(&field.volume(EXTENT, DType::Uint8), |o| {
        o.target = Target::Quality(75.0);
        (o.model, o.preset) = (model, preset);
    });
    assert!(bytes.len() > 300_000, "{} bytes", bytes.len());
    bytes
}

fn counted(bytes: &[u8]) -> (CountingSource, Volume) {
    let source = CountingSource::new(memory(bytes));
    let volume = open(std::sync::Arc::new(source.clone())).unwrap();
    (source, volume)
}

/// What a read needs, as the index of another reader says.
struct Needs {
    pages: Vec<(u64, u64)>,
    payload: Vec<(u64, u64)>,
    /// Segments of the same clusters that are not needed.
    others: Vec<(u64, u64)>,
}

/// Blocks of tier 0 that a region of level of detail `lod` touches.
fn touched(region: &Region, lod: u32, block_log2: u32) -> impl Fn(&BlockEntry) -> bool {
    let side = block_log2 - lod;
    let first = region.start.map(|v| v >> side);
    let last = region.end.map(|v| (v - 1) >> side);
    move |e| (0..3).all(|a| (first[a]..=last[a]).contains(&e.block[a]))
}

/// Pages of tier 0.
fn index(file: &[u8], reader: &HgvReader) -> Vec<Entry> {
    let h = reader.header();
    let at = h.root_offset as usize;
    let bytes = &file[at..at + h.root_len as usize];
    root::parse(bytes, h.root_offset, h.tier_count, h.file_len)
        .unwrap()
        .swap_remove(0)
}

fn needs(file: &[u8], layers: usize, wanted: impl Fn(&BlockEntry) -> bool) -> Needs {
    let other = open(memory(file)).unwrap();
    let reader = other.reader();
    let mut needs = Needs {
        pages: Vec::new(),
        payload: Vec::new(),
        others: Vec::new(),
    };
    let pages = reader.shape().tier_pages(0).unwrap();
    let mut keys = Vec::new();
    for entry in reader.blocks(0).unwrap() {
        let entry = entry.unwrap();
        let BlockState::Payload(p) = &entry.state else {
            continue;
        };
        let ranges = p.segments.iter().map(|s| (s.offset, u64::from(s.length)));
        let used = if wanted(&entry) { layers } else { 0 };
        needs.payload.extend(ranges.clone().take(used));
        needs.others.extend(ranges.skip(used));
        if used > 0 {
            keys.push(pages.key(pages.locate(entry.block).unwrap().0));
        }
    }
    let index = index(file, reader);
    let used = index.iter().filter(|e| keys.contains(&e.key));
    needs
        .pages
        .extend(used.map(|e| (e.offset, u64::from(e.length))));
    needs
}

fn total(ranges: &[(u64, u64)]) -> u64 {
    ranges.iter().map(|r| r.1).sum()
}

/// Bytes that two lists of ranges share; the ranges of each are disjoint.
fn shared(a: &[(u64, u64)], b: &[(u64, u64)]) -> u64 {
    let overlap =
        |x: &(u64, u64), y: &(u64, u64)| (x.0 + x.1).min(y.0 + y.1).saturating_sub(x.0.max(y.0));
    a.iter()
        .flat_map(|x| b.iter().map(move |y| overlap(x, y)))
        .sum()
}

/// Everything needed was read, nothing twice, and what else was read lies in small gaps.
fn hold(counts: &Counts, needs: &Needs) {
    let wanted = [&needs.pages[..], &needs.payload].concat();
    assert_eq!(
        shared(&counts.ranges, &wanted),
        total(&wanted),
        "all that is needed"
    );
    let gap = LARGEST_GAP.min(total(&wanted) / 4);
    for range in &counts.ranges {
        let mut at = range.0;
        let mut inside: Vec<_> = wanted
            .iter()
            .filter(|w| w.1 > 0 && shared(&[*range], &[**w]) > 0)
            .collect();
        inside.sort();
        for w in &inside {
            assert!(w.0 <= at + gap, "a gap of {} bytes is read", w.0 - at);
            at = w.0 + w.1;
        }
        let ends = inside
            .first()
            .map(|w| w.0)
            .zip(inside.last().map(|w| w.0 + w.1));
        assert_eq!(
            ends,
            Some((range.0, range.0 + range.1)),
            "a read ends in a gap"
        );
    }
    let gaps = counts.bytes - total(&wanted);
    assert!(gaps <= gap * counts.requests.max(1), "{gaps} bytes in vain");
}

#[test]
fn opening_is_one_small_request() {
    files().iter().for_each(|f| opens_at_once(f));
}

fn opens_at_once(bytes: &[u8]) {
    let (source, volume) = counted(bytes);
    let counts = source.counts();
    assert_eq!((counts.round_trips, counts.requests), (1, 1));
    assert!(counts.bytes <= 65_536);
    assert!(index(bytes, volume.reader()).len() == 4 && volume.reader().tiers().len() == 2);
}

#[test]
fn a_coarse_region_reads_its_own_layers_only() {
    files().iter().for_each(|f| coarse_region(f));
}

fn coarse_region(bytes: &[u8]) {
    let (source, volume) = counted(bytes);
    let other = open(memory(bytes)).unwrap();
    // Four blocks around the corner where four clusters meet; level of detail 2 of 32^3 is 8^3.
    let region = Region::new([60, 60, 0], [70, 70, 8]).unwrap();
    let prefix = volume.reader().layers().prefix(2, 0);
    assert_eq!(prefix, 1);
    let needs = needs(bytes, prefix, touched(&region, 2, 5));
    assert_eq!((needs.pages.len(), needs.payload.len()), (4, 4));
    source.reset();
    let voxels = read(&volume, 2, 0, &region).unwrap();
    let counts = source.counts();
    assert_eq!(counts.round_trips, 2, "pages, then payload");
    hold(&counts, &needs);
    assert!(shared(&counts.ranges, &needs.others) <= total(&needs.payload) / 4 * counts.requests);
    // Under a twentieth of the file.
    assert!(
        counts.bytes < bytes.len() as u64 / 20,
        "{} bytes",
        counts.bytes
    );
    assert_eq!(voxels, read(&other, 2, 0, &region).unwrap());
}

#[test]
fn a_region_at_a_quality_reads_no_finer_layers() {
    files().iter().for_each(|f| region_at_qualities(f));
}

fn region_at_qualities(bytes: &[u8]) {
    let region = Region::new([10, 40, 3], [90, 64, 20]).unwrap();
    let mut last = 0;
    for level in 0..3 {
        let (source, volume) = counted(bytes);
        let prefix = volume.reader().layers().prefix(0, level as u8);
        let needs = needs(bytes, prefix, touched(&region, 0, 5));
        source.reset();
        read(&volume, 0, level, &region).unwrap();
        let counts = source.counts();
        assert_eq!(counts.round_trips, 2);
        hold(&counts, &needs);
        assert!(counts.bytes > last, "a finer quality reads more");
        last = counts.bytes;
    }
}

#[test]
fn one_block_at_full_detail_takes_three_round_trips() {
    files().iter().for_each(|f| single_blocks(f));
}

fn single_blocks(bytes: &[u8]) {
    for block in [[0, 0, 0], [4, 4, 0], [8, 8, 1]] {
        let (source, volume) = counted(bytes);
        let start = block.map(|b| b * 32);
        let end = [0, 1, 2].map(|a| (start[a] + 32).min(EXTENT[a]));
        read(&volume, 0, 2, &Region::new(start, end).unwrap()).unwrap();
        let counts = source.counts();
        assert!(
            counts.round_trips <= 3,
            "{} round trips",
            counts.round_trips
        );
        assert!(counts.requests <= 5, "{} requests", counts.requests);
    }
}
