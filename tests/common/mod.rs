//! Synthetic files: plans and blocks with payload bytes that stand for nothing.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use hgv::Limits;
use hgv::format::layer::{Layer, Layers};
use hgv::format::model::ModelRecord;
use hgv::io::{MemorySink, MemorySource, RangeSource};
use hgv::reader::{BlockState, HgvReader};
use hgv::volume::{DType, Metadata};
use hgv::writer::{BlockPayload, BlockRecord, FilePlan, HgvWriter, WriteReport, WriterOptions};

/// Deterministic numbers (splitmix64).
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// A plan and every block that goes into the file, by (tier, block).
#[derive(Clone, Debug)]
pub struct Sample {
    pub plan: FilePlan,
    pub options: WriterOptions,
    pub blocks: BTreeMap<(u8, [u64; 3]), BlockRecord>,
    pub stats: Option<String>,
}

/// What a sample looks like.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub seed: u64,
    pub page_log2: u8,
    /// Of 100 blocks, this many are not written and this many are constant.
    pub absent: u64,
    pub constant: u64,
    /// Layers are shorter than this.
    pub longest: u64,
    pub q: (i32, i32),
    pub models: u16,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            seed: 1,
            page_log2: 1,
            absent: 0,
            constant: 20,
            longest: 40,
            q: (-1000, 20_000),
            models: 2,
        }
    }
}

/// `n` layers, 1..=16, in an order that the format allows.
pub fn layers(n: usize) -> Layers {
    let rounds = n.div_ceil(4).max(1);
    let mut list = Vec::new();
    for quality in 0..rounds as u8 {
        let left = n - list.len();
        let take = (left - (rounds - 1 - usize::from(quality))).min(4);
        list.extend((0..take as u8).rev().map(|lod| Layer { lod, quality }));
    }
    Layers::new(list, rounds as u8).unwrap()
}

pub fn sample(extent: [u64; 3], block_log2: u8, layers: Layers, style: Style) -> Sample {
    let mut plan = FilePlan::new(extent, DType::Int16, block_log2, 1, style.q).unwrap();
    plan.layers = layers;
    plan.models = (0..style.models)
        .map(|i| ModelRecord {
            id: i * 7 + 1,
            kind: 1,
            payload: vec![i as u8; usize::from(i) + 3],
        })
        .collect();
    plan.metadata = Metadata {
        spacing: [0.25, 0.25, 1.5],
        unit: Some("mm".into()),
        ..Metadata::default()
    };
    let mut out = Sample {
        options: WriterOptions {
            page_log2: Some(style.page_log2),
            ..WriterOptions::default()
        },
        plan,
        blocks: BTreeMap::new(),
        stats: None,
    };
    fill(&mut out, style);
    out
}

fn fill(sample: &mut Sample, style: Style) {
    let shape = sample.plan.shape(Some(style.page_log2)).unwrap();
    let mut numbers = Numbers(style.seed);
    for (tier, pages) in shape.pages.iter().enumerate() {
        for page in pages.iter() {
            for slot in 0..pages.slots(page) {
                let dice = numbers.below(100);
                let record = match dice {
                    d if d < style.absent => continue,
                    d if d < style.absent + style.constant || style.models == 0 => {
                        BlockRecord::Constant(
                            style.q.0 + numbers.below(5) as i32 % (style.q.1 - style.q.0 + 1),
                        )
                    }
                    _ => payload(&mut numbers, &shape, style),
                };
                sample
                    .blocks
                    .insert((tier as u8, pages.block(page, slot)), record);
            }
        }
    }
}

fn payload(numbers: &mut Numbers, shape: &hgv::format::shape::Shape, style: Style) -> BlockRecord {
    let codes = u64::from(shape.coder.max_code()) + 1;
    let (a, b) = (numbers.below(codes) as u16, numbers.below(codes) as u16);
    let layer = |n: &mut Numbers| {
        let length = n.below(style.longest);
        (0..length).map(|_| n.next() as u8).collect()
    };
    BlockRecord::Payload(BlockPayload {
        model: numbers.below(u64::from(style.models)) as u16 * 7 + 1,
        range: [a.min(b), a.max(b)],
        errors: (0..shape.layers.levels())
            .map(|_| [numbers.next() as u8; 2])
            .collect(),
        layers: (0..shape.layers.len()).map(|_| layer(numbers)).collect(),
    })
}

/// Puts the blocks whose page passes `keep` into a writer; later tiers first if `reverse`.
pub fn put(
    sample: &Sample,
    writer: &mut HgvWriter,
    reverse: bool,
    keep: impl Fn(u8, u64) -> bool,
) -> hgv::Result<()> {
    let shape = writer.shape().clone();
    let mut tiers: Vec<usize> = (0..shape.pages.len()).collect();
    if reverse {
        tiers.reverse();
    }
    for tier in tiers {
        let pages = &shape.pages[tier];
        let tier = tier as u8;
        for page in pages.iter().filter(|&p| keep(tier, pages.key(p))) {
            let blocks = (0..pages.slots(page)).map(|s| pages.block(page, s));
            let mut present: Vec<_> = blocks
                .filter_map(|b| Some((b, sample.blocks.get(&(tier, b))?)))
                .collect();
            if present.is_empty() {
                continue;
            }
            if reverse {
                present.reverse();
            }
            writer.begin_cluster(tier, page)?;
            for (block, record) in present {
                writer.put_block(block, record)?;
            }
            writer.finish_cluster()?;
        }
    }
    if let Some(stats) = &sample.stats {
        writer.set_stats_json(stats.clone())?;
    }
    Ok(())
}

pub fn write_file(sample: &Sample, path: &Path) -> hgv::Result<WriteReport> {
    let mut writer = HgvWriter::create(path, &sample.plan, sample.options.clone())?;
    put(sample, &mut writer, false, |_, _| true)?;
    writer.finish()
}

/// The bytes of the file that [`write_file`] makes.
pub fn file_bytes(sample: &Sample) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.hgv");
    write_file(sample, &path).unwrap();
    std::fs::read(path).unwrap()
}

/// The bytes of a file written to a sink in memory: reserved head, filled in place.
pub fn sink_bytes(sample: &Sample) -> Vec<u8> {
    let sink = MemorySink::default();
    let out = sink.clone();
    let mut writer =
        HgvWriter::to_sink(Box::new(sink), &sample.plan, sample.options.clone()).unwrap();
    put(sample, &mut writer, false, |_, _| true).unwrap();
    writer.finish().unwrap();
    out.bytes()
}

pub fn open(bytes: Vec<u8>) -> hgv::Result<HgvReader> {
    HgvReader::open(Arc::new(MemorySource::new(bytes)), Limits::default())
}

pub fn open_source(source: Arc<dyn RangeSource>) -> hgv::Result<HgvReader> {
    HgvReader::open(source, Limits::default())
}

/// What a reader says of every block: record or an error text.
pub type Contents = BTreeMap<(u8, [u64; 3]), BlockRecord>;

/// Reads a block back as the record that was written.
pub fn read_block(
    reader: &HgvReader,
    tier: u8,
    block: [u64; 3],
) -> hgv::Result<Option<BlockRecord>> {
    let entry = reader.block(tier, block)?;
    Ok(match &entry.state {
        BlockState::NotWritten => None,
        BlockState::Constant(q) => Some(BlockRecord::Constant(*q)),
        BlockState::Payload(p) => Some(BlockRecord::Payload(BlockPayload {
            model: p.model,
            range: p.range_codes,
            errors: p.errors.clone(),
            layers: reader.read_layers(&entry, usize::MAX)?,
        })),
    })
}

/// Every block of a file.
pub fn contents(reader: &HgvReader) -> hgv::Result<Contents> {
    let mut out = Contents::new();
    for tier in 0..reader.tiers().len() as u8 {
        for entry in reader.blocks(tier)? {
            let block = entry?.block;
            out.extend(read_block(reader, tier, block)?.map(|r| ((tier, block), r)));
        }
    }
    Ok(out)
}

/// Checks structure and payloads, and that every block is the one that was written.
pub fn check(reader: &HgvReader, sample: &Sample) {
    let report = reader.verify_structure().unwrap();
    assert_eq!(report.blocks, sample.blocks.len() as u64);
    let payloads = reader
        .verify_payloads(&mut |_, _| std::ops::ControlFlow::Continue(()))
        .unwrap();
    assert_eq!((payloads.good, payloads.faults.len()), (report.clusters, 0));
    assert_eq!(contents(reader).unwrap(), sample.blocks);
    assert_eq!(reader.metadata(), &sample.plan.metadata);
    assert_eq!(reader.models(), sample.plan.models);
    assert_eq!(reader.tiers(), sample.plan.tiers);
    assert_eq!(reader.layers(), &sample.plan.layers);
    assert_eq!(reader.stats_json(), sample.stats.as_deref());
}

/// Holds malformed files against `tests/bad/FOLDER` and the table of their errors there, which
/// HGV_WRITE_BAD=1 writes again. Files of over `longest` bytes are made, but not kept.
pub fn check_bad(
    folder: &str,
    made: &[(&str, Vec<u8>)],
    longest: usize,
    error: impl Fn(&[u8]) -> Option<String>,
) {
    let line = |(name, bytes): &(&str, Vec<u8>)| {
        let error = error(bytes).unwrap_or_else(|| "accepted".into());
        format!("{name}: {error}\n")
    };
    let table: String = made.iter().map(line).collect();
    assert!(!table.contains("accepted"), "{table}");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/bad")
        .join(folder);
    let path = |name: &str| folder.join(format!("{name}.hgv"));
    let kept = || made.iter().filter(|m| m.1.len() <= longest);
    if std::env::var_os("HGV_WRITE_BAD").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("expected.txt"), &table).unwrap();
        kept().for_each(|(name, bytes)| std::fs::write(path(name), bytes).unwrap());
    }
    let expected = std::fs::read_to_string(folder.join("expected.txt")).unwrap();
    for (want, got) in expected.lines().zip(table.lines()) {
        assert_eq!(want, got);
    }
    assert_eq!(expected, table);
    for (name, bytes) in kept() {
        assert_eq!(&std::fs::read(path(name)).unwrap(), bytes, "{name} changed");
    }
}
