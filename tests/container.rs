//! What is written is what is read: all shapes of files, requests, overhead.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;

use common::{Style, check, file_bytes, layers, open, open_source, put, sample, sink_bytes};
use hgv::io::{CountingSource, MemorySource, WriteSink};
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
    let bytes = pipe.0.lock().unwrap().clone();
    bytes
}

#[test]
fn every_way_of_writing_reads_back() {
    let mut s = sample([300, 290, 310], 5, layers(5), Style::default());
    s.stats = Some(r#"{"levels":[1,2]}"#.into());
    assert_eq!(s.plan.tiers.len(), 2);
    for bytes in [file_bytes(&s), sink_bytes(&s), streamed(&s)] {
        check(&open(bytes).unwrap(), &s);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
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
