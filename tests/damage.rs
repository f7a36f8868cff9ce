//! Damage of every kind: a named error, or exactly what was written. Never something else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{
    Contents, Sample, Style, contents, file_bytes, open, open_source, sample, sink_bytes,
};
use hgv::io::{MemorySource, RangeSource};
use hgv::reader::HgvReader;
use hgv::writer::{BlockRecord, recover_source};
use hgv::{Error, Result};

/// Two tiers, three quality levels, few and short blocks.
fn tiny() -> Sample {
    let style = Style {
        absent: 80,
        constant: 5,
        longest: 25,
        page_log2: 2,
        ..Style::default()
    };
    let three = hgv::format::layer::Layers::standard(3).unwrap();
    let mut s = sample([32 * 5, 32 * 5, 32 * 3], 5, three, style);
    s.stats = Some(r#"{"psnr":[40.5,44,60]}"#.into());
    assert_eq!(s.plan.tiers.len(), 2);
    // The one block of the top tier must be there.
    s.blocks
        .entry((1, [0; 3]))
        .or_insert(BlockRecord::Constant(-3));
    s
}

/// Everything that a file says.
#[derive(PartialEq, Debug)]
struct Everything {
    blocks: Contents,
    metadata: hgv::volume::Metadata,
    stats: Option<String>,
    models: Vec<hgv::format::model::ModelRecord>,
}

fn everything(reader: &HgvReader) -> Result<Everything> {
    Ok(Everything {
        blocks: contents(reader)?,
        metadata: reader.metadata().clone(),
        stats: reader.stats_json().map(str::to_owned),
        models: reader.models().to_vec(),
    })
}

fn verify(reader: &HgvReader) -> Result<()> {
    reader.verify_structure()?;
    let mut report = reader.verify_payloads(&mut |_, _| ControlFlow::Continue(()))?;
    report.faults.pop().map_or(Ok(()), Err)
}

#[test]
fn every_bit_flip_is_detected_or_harmless() {
    let s = tiny();
    for root_entries in [512, 1] {
        let mut s = s.clone();
        s.options.root_entries = root_entries;
        s.options.align_log2 = 4;
        let good = file_bytes(&s);
        let want = everything(&open(good.clone()).unwrap()).unwrap();
        assert!(good.len() < 8000, "{} bytes", good.len());
        let mut harmless = 0;
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let result = open(bytes).and_then(|reader| {
                let got = everything(&reader)?;
                assert!(got == want, "bit {bit} changed what is read");
                harmless += 1;
                verify(&reader)
            });
            assert!(result.is_err(), "verify misses bit {bit}");
        }
        // Padding only, and the little that a header holds for verify.
        assert!(
            harmless < 8 * 200,
            "{harmless} flips change nothing that is read"
        );
    }
}

#[test]
fn every_truncation_is_refused_and_whole_clusters_come_back() {
    let s = tiny();
    let good = file_bytes(&s);
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("back.hgv");
    let mut last = 0;
    for n in 0..good.len() {
        let error = open(good[..n].to_vec()).unwrap_err();
        assert!(matches!(error, Error::Truncated { .. }), "{n}: {error}");
        if n % 7 != 0 {
            continue;
        }
        let source = Arc::new(MemorySource::new(good[..n].to_vec()));
        let Ok(report) = recover_source(source, &out, true) else {
            assert_eq!(last, 0, "a longer prefix recovers less");
            continue;
        };
        assert!(report.written.blocks >= last);
        last = report.written.blocks;
        let back = contents(&open(std::fs::read(&out).unwrap()).unwrap()).unwrap();
        assert!(back.iter().all(|(k, v)| s.blocks.get(k) == Some(v)));
        assert_eq!(
            report.lost_blocks,
            Some(s.blocks.len() as u64 - report.written.blocks)
        );
    }
    assert!(last > 0);
    let mut longer = good;
    longer.push(0);
    assert!(matches!(open(longer), Err(Error::Corrupt { .. })));
}

/// The same plan and the same lengths with other payload bytes: the worst neighbour.
fn sister(s: &Sample) -> Sample {
    let mut other = s.clone();
    for record in other.blocks.values_mut() {
        if let BlockRecord::Payload(p) = record {
            p.layers.iter_mut().flatten().for_each(|b| *b ^= 0x55);
        }
    }
    other
}

#[test]
fn parts_of_two_versions_never_mix() {
    let (a, b) = (tiny(), sister(&tiny()));
    let (bytes_a, bytes_b) = (file_bytes(&a), file_bytes(&b));
    assert_eq!(bytes_a.len(), bytes_b.len());
    for cut in (0..=bytes_a.len()).step_by(16) {
        for (x, y) in [(&bytes_a, &bytes_b), (&bytes_b, &bytes_a)] {
            let mixed = [&x[..cut], &y[cut..]].concat();
            if let Ok(reader) = open(mixed)
                && let Ok(got) = contents(&reader)
            {
                assert!(got == a.blocks || got == b.blocks, "cut at {cut}");
            }
        }
    }
}

/// Answers from one version for some reads, then from another.
#[derive(Debug)]
struct Swapped {
    versions: [MemorySource; 2],
    left: AtomicU64,
}

impl RangeSource for Swapped {
    fn len(&self) -> u64 {
        self.versions[0].len()
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let step = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        self.versions[usize::from(step.is_err())].read_at(offset, out)
    }
    fn identity(&self) -> String {
        "swapped".into()
    }
}

#[test]
fn a_file_that_is_swapped_between_requests_never_mixes() {
    let (a, b) = (tiny(), sister(&tiny()));
    let (bytes_a, bytes_b) = (sink_bytes(&a), sink_bytes(&b));
    let mut detected = 0;
    for left in 0..200 {
        let source = Swapped {
            versions: [
                MemorySource::new(bytes_a.clone()),
                MemorySource::new(bytes_b.clone()),
            ],
            left: AtomicU64::new(left),
        };
        match open_source(Arc::new(source)).and_then(|r| contents(&r)) {
            Ok(got) => assert!(got == a.blocks || got == b.blocks),
            Err(_) => detected += 1,
        }
    }
    assert!(detected > 0);
}

/// A damaged middle: every other cluster comes back.
#[test]
fn recover_skips_what_is_damaged() {
    let s = tiny();
    let good = file_bytes(&s);
    let reader = open(good.clone()).unwrap();
    let report = reader.verify_structure().unwrap();
    let entry = reader
        .blocks(0)
        .unwrap()
        .map(|b| b.unwrap())
        .find(|b| b.bytes(5) > 0)
        .unwrap();
    let hgv::reader::BlockState::Payload(p) = &entry.state else {
        panic!("no payload");
    };
    let mut bytes = good;
    let hit = p.segments.iter().find(|s| s.length > 0).unwrap();
    bytes[hit.offset as usize] ^= 1;
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("back.hgv");
    let back = recover_source(Arc::new(MemorySource::new(bytes)), &out, false).unwrap();
    assert_eq!(
        (back.damaged, back.written.clusters),
        (1, report.clusters - 1)
    );
    assert!(back.lost_blocks > Some(0));
    let reader = open(std::fs::read(&out).unwrap()).unwrap();
    verify(&reader).unwrap();
    assert_eq!(reader.stats_json(), None);
    let error =
        hgv::reader::HgvReader::read_layers(&reader, &reader.block(0, entry.block).unwrap(), 1);
    let message = error.unwrap_err().to_string();
    assert!(message.contains("is not in this file"), "{message}");
}

#[test]
fn recover_of_a_whole_file_is_the_whole_file() {
    let s = tiny();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("back.hgv");
    for bytes in [file_bytes(&s), sink_bytes(&s)] {
        let report = recover_source(Arc::new(MemorySource::new(bytes)), &out, true).unwrap();
        assert_eq!((report.damaged, report.lost_blocks), (0, Some(0)));
        assert_eq!(std::fs::read(&out).unwrap(), file_bytes(&s));
    }
    let nothing = hgv::writer::HgvWriter::to_sink(
        Box::new(hgv::io::MemorySink::default()),
        &s.plan,
        s.options.clone(),
    );
    nothing.unwrap().finish().unwrap();
}
