//! What is written is what is read: all shapes of files, requests, overhead.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;

use common::{Style, check, file_bytes, layers, open, open_source, put, sample, sink_bytes};
use hgv::io::{CountingSource, FileSource, MemorySource, MmapSource, RangeSource, WriteSink};
use hgv::reader::BlockState;
use hgv::writer::HgvWriter;
use proptest::prelude::*;

fn streamed(sample: &common::Sample) -> Vec<u8> {
    // A pipe that keeps what goes through it.
    #[derive(Clone, Default)]
    struct Pipe(Arc<std::sync::Mutex<Vec<u8>>>);
    impl std::io::Write for Pipe {
        fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(buf);
            Ok(buf.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let pipe = Pipe::default();
    let sink = Box::new(WriteSink::new(pipe.clone()));
    let mut writer = HgvWriter::to_sink(sink, &sample.plan, sample.options.clone()).unwrap();
    put(sample, &mut writer, false, |_, _| true).unwrap();
    writer.finish().unwrap();
    let written = pipe.0.lock().unwrap();
    written.clone()
}

#[test]
fn every_way_of_writing_reads_back() {
    let mut s = sample([300, 290, 310], 5, layers(5), Style::default());
    s.stats = Some(r#"{"levels":[1,2]}"#.into());
    assert_eq!(s.plan.tiers.len(), 2);
    for bytes in [file_bytes(&s), sink_bytes(&s), streamed(&s)] {
        check(&open(bytes).unwrap(), &s);
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.hgv");
    common::write_file(&s, &path).unwrap();
    let sources: [Arc<dyn RangeSource>; 2] = [
        Arc::new(FileSource::open(&path).unwrap()),
        Arc::new(MmapSource::open(&path).unwrap()),
    ];
    for source in sources {
        // A cache of one page gives the same answers.
        check(&open_source(source).unwrap().with_cache(0), &s);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn write_read_identity(
        extent in prop_oneof![
            [1..=200u64, 1..=200u64, 1..=200u64],
            (1..=3000u64).prop_map(|n| [1, 1, n]),
            (1..=3000u64).prop_map(|n| [n, 1, 33]),
        ],
        block_log2 in 5..=7u8, n in 1..=16usize, seed in any::<u64>(),
        page_log2 in 1..=3u8, absent in 0..60u64, constant in 0..40u64,
        q in prop_oneof![Just((0, 255)), Just((-32_768, 32_767)), Just((5, 5)), Just((0, 4095))],
        models in 0..=3u16, root_entries in prop_oneof![Just(512usize), 1..=4usize],
        align_log2 in prop_oneof![Just(0u8), 1..=12u8], memory in prop_oneof![Just(64 << 20), 0..500usize],
        stats in prop_oneof![Just(None), Just(Some("{\"a\":[]}".to_owned()))], way in 0..4,
    ) {
        let style = Style { seed, page_log2, absent, constant, q, models, ..Style::default() };
        let mut s = sample(extent, block_log2, layers(n), style);
        s.options.root_entries = root_entries;
        s.options.align_log2 = align_log2;
        s.options.memory = memory;
        s.stats = stats;
        let bytes = match way {
            0 => sink_bytes(&s),
            1 => streamed(&s),
            2 => {
                s.options.compact_under = 0;
                file_bytes(&s)
            }
            _ => file_bytes(&s),
        };
        check(&open(bytes).unwrap(), &s);
    }
}

/// Order of tiers, order of blocks, memory budget: the same bytes.
#[test]
fn the_same_blocks_give_the_same_bytes() {
    let s = sample([170, 160, 160], 5, layers(5), Style::default());
    let whole = file_bytes(&s);
    for memory in [0, 100, 64 << 20] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.hgv");
        let options = hgv::writer::WriterOptions {
            memory,
            ..s.options.clone()
        };
        let mut writer = HgvWriter::create(&path, &s.plan, options).unwrap();
        put(&s, &mut writer, true, |_, _| true).unwrap();
        writer.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }
}

fn counting(bytes: Vec<u8>) -> CountingSource {
    CountingSource::new(Arc::new(MemorySource::new(bytes)))
}

/// One request to open, three round trips and five requests to a block at full detail.
#[test]
fn requests_are_counted() {
    let style = Style {
        constant: 0,
        page_log2: 3,
        longest: 4000,
        ..Style::default()
    };
    let three = hgv::format::layer::Layers::standard(3).unwrap();
    let mut s = sample([512, 512, 512], 5, three, style);
    for (root_entries, trips) in [(512, 3), (2, 4)] {
        s.options.root_entries = root_entries;
        for bytes in [file_bytes(&s), sink_bytes(&s)] {
            assert!(bytes.len() > 4 << 20);
            let source = counting(bytes);
            let reader = open_source(Arc::new(source.clone())).unwrap();
            let opening = source.counts();
            assert_eq!((opening.round_trips, opening.requests), (1, 1));
            assert_eq!(opening.bytes, 65_536);
            let entry = reader.block(0, [9, 3, 14]).unwrap();
            let BlockState::Payload(p) = &entry.state else {
                panic!("no payload");
            };
            assert_eq!(p.segments.len(), 5);
            reader.read_layers(&entry, 5).unwrap();
            let counts = source.counts();
            assert!(counts.round_trips <= trips, "{counts:?}");
            assert!(counts.requests <= trips + 2, "{counts:?}");
            // A neighbour in the same page costs its payload only.
            source.reset();
            let entry = reader.block(0, [9, 4, 14]).unwrap();
            reader.read_layers(&entry, 1).unwrap();
            assert_eq!(source.counts().requests, 1);
            assert_eq!(source.counts().bytes, entry.bytes(1));
            // The coarsest layer of a whole page lies in one piece.
            source.reset();
            let blocks: Vec<[u64; 3]> = (0..512).map(|i| [i % 8, i / 8 % 8, i / 64]).collect();
            let entries = reader.blocks_at(0, &blocks).unwrap();
            source.reset();
            let wanted: Vec<_> = entries.iter().map(|e| (e, 1)).collect();
            reader.read_many(&wanted).unwrap();
            assert_eq!(source.counts().requests, 1);
        }
    }
}

/// Bytes beside the payload are a budget.
#[test]
fn overhead_stays_in_its_budget() {
    let style = Style {
        constant: 0,
        absent: 0,
        models: 1,
        page_log2: 3,
        ..Style::default()
    };
    let levels = hgv::format::layer::Layers::standard;
    let mut one = sample([64, 64, 64], 6, levels(3).unwrap(), style);
    one.plan.models[0].payload = vec![7; 32];
    one.plan.metadata.origin = [-12.5, 3.25, 1040.0];
    one.plan.metadata.space = hgv::volume::Space::Lps;
    one.plan.metadata.value_unit = Some("HU".into());
    let bytes = file_bytes(&one);
    let reader = open(bytes.clone()).unwrap();
    let beside = bytes.len() as u64 - reader.header().payload_bytes;
    assert!(
        beside <= 768,
        "{beside} bytes beside the payload of one block"
    );

    for (q, per_block) in [((0, 255), 23), ((0, 60_000), 24)] {
        let q = if q.1 > 32_767 { (-30_000, 30_000) } else { q };
        let style = Style { q, ..style };
        let many = sample([512, 512, 512], 6, levels(1).unwrap(), style);
        let bytes = file_bytes(&many);
        let reader = open(bytes.clone()).unwrap();
        assert_eq!(reader.header().blocks_present, 8 * 64 + 1);
        let empty = {
            let mut s = many.clone();
            s.blocks.clear();
            file_bytes(&s).len() as u64
        };
        let beside = bytes.len() as u64 - reader.header().payload_bytes - empty;
        assert!(
            beside <= per_block * 513 + 44,
            "{beside} bytes for 513 blocks"
        );
    }
}

/// Axes at the limit of the format: keys of 64 bits, one block at each end.
#[test]
fn keys_near_the_limit() {
    let extent = [1 << 32, 1 << 32, 1 << 30];
    let plan =
        hgv::writer::FilePlan::new(extent, hgv::volume::DType::Uint8, 7, 1, (0, 255)).unwrap();
    let sink = hgv::io::MemorySink::default();
    let out = sink.clone();
    let mut writer = HgvWriter::to_sink(Box::new(sink), &plan, Default::default()).unwrap();
    let pages = writer.shape().pages[0];
    assert_eq!(pages.grid(), [1 << 21, 1 << 21, 1 << 19]);
    let last = pages.blocks.map(|b| b - 1);
    for block in [[0; 3], last] {
        let (page, _) = pages.locate(block).unwrap();
        writer.begin_cluster(0, page).unwrap();
        writer
            .put_block(block, &hgv::writer::BlockRecord::Constant(9))
            .unwrap();
        writer.finish_cluster().unwrap();
    }
    writer.finish().unwrap();
    let reader = open(out.bytes()).unwrap();
    reader.verify_structure().unwrap();
    assert_eq!(
        reader.block(0, last).unwrap().state,
        BlockState::Constant(9)
    );
    assert_eq!(
        reader.block(0, [5, 5, 5]).unwrap().state,
        BlockState::NotWritten
    );
    assert_eq!(
        reader.block(0, [0, 0, 1 << 16]).unwrap().state,
        BlockState::NotWritten
    );
    let message = reader.block(0, [1 << 25, 0, 0]).unwrap_err().to_string();
    assert!(message.contains("outside the grid"), "{message}");
}

/// Tables, statistics and a root that do not fit the head: more requests, the same content.
#[test]
fn what_does_not_fit_the_head_lies_elsewhere() {
    let style = Style {
        constant: 100,
        ..Style::default()
    };
    let levels = hgv::format::layer::Layers::standard(1).unwrap();
    let mut s = sample([32 * 30, 32 * 30, 32 * 14], 5, levels, style);
    s.options.root_entries = 1 << 20;
    s.options.compact_under = 0;
    let text = |n: usize| "x".repeat(n);
    for (meta, stats) in [(9, 9), (200_000, 9), (9, 200_000), (200_000, 200_000)] {
        s.plan.metadata.description = Some(text(meta));
        s.stats = Some(format!("{{\"t\":\"{}\"}}", text(stats)));
        for bytes in [sink_bytes(&s), file_bytes(&s), streamed(&s)] {
            let source = counting(bytes);
            let reader = open_source(Arc::new(source.clone())).unwrap();
            let extra = u64::from(reader.header().section_offset > 256);
            assert!(
                source.counts().round_trips <= 2 + extra,
                "{:?}",
                source.counts()
            );
            check(&reader, &s);
        }
    }
    // A META as long as the format allows, and one byte more.
    s.plan.metadata.description = Some(text((1 << 20) - 60));
    check(&open(sink_bytes(&s)).unwrap(), &s);
    s.plan.metadata.description = Some(text(1 << 20));
    let sink = Box::new(hgv::io::MemorySink::default());
    assert!(HgvWriter::to_sink(sink, &s.plan, s.options.clone()).is_err());
}

/// Zeros are not kept.
#[derive(Clone, Debug, Default)]
struct Sparse(Arc<std::sync::Mutex<Pieces>>);

/// Length, and what is not zero by offset.
type Pieces = (u64, std::collections::BTreeMap<u64, Vec<u8>>);

impl hgv::io::Sink for Sparse {
    fn append(&mut self, bytes: &[u8]) -> hgv::Result<()> {
        let mut inner = self.0.lock().unwrap();
        let at = inner.0;
        inner.0 += bytes.len() as u64;
        // A megabyte of page or table in front of zeros is kept with them.
        let used = bytes.iter().rposition(|&b| b != 0).map_or(0, |i| i + 1);
        inner.1.insert(at, bytes[..used].to_vec());
        Ok(())
    }
    fn position(&self) -> u64 {
        self.0.lock().unwrap().0
    }
    fn can_patch(&self) -> bool {
        false
    }
    fn patch(&mut self, _: u64, _: &[u8]) -> hgv::Result<()> {
        Err(hgv::Error::argument("no patch"))
    }
    fn sync(&mut self) -> hgv::Result<()> {
        Ok(())
    }
}

impl hgv::io::RangeSource for Sparse {
    fn len(&self) -> u64 {
        self.0.lock().unwrap().0
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> hgv::Result<()> {
        let inner = self.0.lock().unwrap();
        let end = offset + out.len() as u64;
        assert!(end <= inner.0);
        out.fill(0);
        for (at, bytes) in inner.1.range(..end) {
            let (start, stop) = (offset.max(*at), end.min(at + bytes.len() as u64));
            if start < stop {
                let piece = &bytes[(start - at) as usize..(stop - at) as usize];
                out[(start - offset) as usize..(stop - offset) as usize].copy_from_slice(piece);
            }
        }
        Ok(())
    }
    fn identity(&self) -> String {
        "sparse".into()
    }
}

/// Offsets past 2^32: 55 blocks of five layers of the longest length.
#[test]
#[ignore = "handles 4.6 GB of zeros"]
fn files_over_four_gigabytes() {
    let levels = hgv::format::layer::Layers::standard(3).unwrap();
    let style = Style {
        models: 1,
        absent: 100,
        page_log2: 1,
        ..Style::default()
    };
    let s = sample([128, 128, 128 * 55], 7, levels, style);
    let sink = Sparse::default();
    let mut writer =
        HgvWriter::to_sink(Box::new(sink.clone()), &s.plan, s.options.clone()).unwrap();
    let payload = hgv::writer::BlockPayload {
        model: 1,
        range: [0, 1],
        errors: vec![[0; 2]; 3],
        layers: vec![vec![0; (1 << 24) - 1]; 5],
    };
    let record = hgv::writer::BlockRecord::Payload(payload.clone());
    for z in 0..55 {
        if z % 2 == 0 {
            writer.begin_cluster(0, [0, 0, z / 2]).unwrap();
        }
        writer.put_block([0, 0, z], &record).unwrap();
        if z % 2 == 1 || z == 54 {
            writer.finish_cluster().unwrap();
        }
    }
    let report = writer.finish().unwrap();
    assert!(report.file_len > 1 << 32);
    let reader = open_source(Arc::new(sink)).unwrap();
    assert_eq!(reader.verify_structure().unwrap().blocks, 55);
    let entry = reader.block(0, [0, 0, 54]).unwrap();
    let BlockState::Payload(p) = &entry.state else {
        panic!("no payload");
    };
    assert!(p.segments[0].offset > 1 << 32);
    assert!(reader.read_layers(&entry, 5).unwrap() == payload.layers);
    let mut long = payload;
    long.layers[0].push(0);
    let sink = Box::new(Sparse::default());
    let mut writer = HgvWriter::to_sink(sink, &s.plan, s.options.clone()).unwrap();
    writer.begin_cluster(0, [0; 3]).unwrap();
    let error = writer
        .put_block([0; 3], &hgv::writer::BlockRecord::Payload(long))
        .unwrap_err();
    assert!(
        error.to_string().contains("over the limit of 16777215"),
        "{error}"
    );
}
