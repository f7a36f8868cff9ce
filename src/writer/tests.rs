//! Failures at every call to the disk: nothing under the final name, every finished cluster back.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub
)]

#[path = "../../tests/common/mod.rs"]
mod common;

use std::sync::Arc;

use super::*;
use crate::Error;
use crate::io::fault::{Budget, FaultySink, FaultySource};
use crate::io::{MemorySink, MemorySource, WriteSink};
use common::{Contents, Sample, Style, contents, layers, open, put, sample};

fn small() -> Sample {
    let style = Style {
        absent: 5,
        ..Style::default()
    };
    // Two tiers (5 x 5 x 5 and 1 block), 27 + 1 clusters.
    let mut s = sample([160, 160, 160], 5, layers(5), style);
    s.options.root_entries = 4;
    s.stats = Some("{}".into());
    s
}

/// Writes until something fails; returns the tier-0 pages whose `finish_cluster` succeeded.
fn write(writer: &mut HgvWriter, s: &Sample) -> (Vec<u64>, crate::Result<()>) {
    let pages = writer.shape().pages[0];
    let result = put(s, writer, false, |_, _| true);
    let done: Vec<u64> = writer.clusters.iter().map(|c| c.0.key).collect();
    assert!(done.iter().all(|&k| pages.page(k).is_some()));
    (done, result)
}

/// The blocks of tier 0 in these pages, and all of the other tiers if `overview`.
fn expected(s: &Sample, pages: &[u64], overview: bool) -> Contents {
    let shape = s.plan.shape(s.options.page_log2).unwrap();
    let keep = |tier: u8, block: [u64; 3]| match tier {
        0 => pages.contains(&shape.pages[0].key(shape.pages[0].locate(block).unwrap().0)),
        _ => overview,
    };
    let kept = s.blocks.iter().filter(|((t, b), _)| keep(*t, *b));
    kept.map(|(k, v)| (*k, v.clone())).collect()
}

fn recovered(bytes: Vec<u8>) -> crate::Result<(Contents, RecoverReport)> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("back.hgv");
    let report = recover_source(Arc::new(MemorySource::new(bytes)), &path, false)?;
    let reader = open(std::fs::read(path).unwrap())?;
    reader.verify_structure()?;
    Ok((contents(&reader)?, report))
}

/// A sink that stops at any call leaves what was finished, recoverable, and never a file that
/// opens but lacks something.
fn stop_at_every_call(s: &Sample, make: impl Fn(MemorySink) -> Box<dyn crate::io::Sink>) {
    for calls in 0.. {
        let memory = MemorySink::default();
        let sink = FaultySink {
            inner: make(memory.clone()),
            budget: Budget::new(calls),
        };
        let Ok(mut writer) = HgvWriter::to_sink(Box::new(sink), &s.plan, s.options.clone()) else {
            assert!(open(memory.bytes()).is_err());
            continue;
        };
        let (done, result) = write(&mut writer, s);
        let finished = result.and_then(|()| writer.finish());
        let bytes = memory.bytes();
        match open(bytes.clone()) {
            Ok(reader) => common::check(&reader, s),
            Err(_) => assert!(finished.is_err()),
        }
        match recovered(bytes) {
            Ok((back, _)) => {
                let all = expected(s, &done, true);
                assert!(
                    back == expected(s, &done, false) || back == all,
                    "after {calls} calls"
                );
            }
            Err(e) => assert!(done.is_empty(), "after {calls} calls: {e}"),
        }
        if finished.is_ok() {
            assert!(calls > 30, "every cluster is a call");
            return;
        }
    }
}

#[test]
fn a_sink_that_stops_loses_nothing_finished() {
    stop_at_every_call(&small(), |memory| Box::new(memory));
}

#[test]
fn a_pipe_that_stops_loses_nothing_finished() {
    struct Pipe(MemorySink);
    impl std::io::Write for Pipe {
        fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
            crate::io::Sink::append(&mut self.0, buf).unwrap();
            Ok(buf.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    stop_at_every_call(&small(), |memory| Box::new(WriteSink::new(Pipe(memory))));
}

/// The whole protocol on disk, compact and in place: names appear only when complete.
#[test]
fn a_full_disk_never_leaves_a_broken_file() {
    for compact_under in [0, 16 << 20] {
        let mut s = small();
        s.options.compact_under = compact_under;
        let dir = tempfile::tempdir().unwrap();
        for calls in 0.. {
            let path = dir.path().join(format!("{calls}.hgv"));
            let budget = Budget::new(calls);
            let wrap = Box::new(move |inner| -> Box<dyn crate::io::Sink> {
                let budget = budget.clone();
                Box::new(FaultySink { inner, budget })
            });
            let partial = with_suffix(&path, ".partial");
            let created = HgvWriter::create_with(&path, &s.plan, s.options.clone(), partial, wrap);
            let mut done = Vec::new();
            let result = created.and_then(|mut writer| {
                let (pages, result) = write(&mut writer, &s);
                done = pages;
                result.and_then(|()| writer.finish())
            });
            let partial = path.with_extension("hgv.partial");
            if result.is_ok() {
                common::check(&open(std::fs::read(&path).unwrap()).unwrap(), &s);
                assert!(!partial.exists());
                break;
            }
            let Err(Error::Io { context, .. }) = result else {
                panic!("{result:?}");
            };
            assert!(!path.exists());
            assert_eq!(partial.exists(), !done.is_empty());
            assert_eq!(
                context.contains("hgv recover"),
                partial.exists(),
                "{context}"
            );
            if partial.exists() {
                let report = recover(&partial, &path, false).unwrap();
                assert_eq!(
                    report.written.clusters as usize - usize::from(report.missing[1] == 0),
                    done.len()
                );
                let reader = open(std::fs::read(&path).unwrap()).unwrap();
                let back = contents(&reader).unwrap();
                let without = expected(&s, &done, false);
                assert!(back == without || back == expected(&s, &done, true));
            }
        }
        // Only finished files and partials are left: no compact copies, no scratch files.
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(
                name.ends_with(".hgv") || name.ends_with(".hgv.partial"),
                "{name}"
            );
            assert!(!name.contains("compact"), "{name}");
        }
    }
}

#[test]
fn names_that_are_taken_are_refused_without_force() {
    let s = small();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.hgv");
    let partial = dir.path().join("a.hgv.partial");
    let create = |force| {
        let mut options = s.options.clone();
        options.force = force;
        HgvWriter::create(&path, &s.plan, options)
    };
    std::fs::write(&path, b"old").unwrap();
    let message = create(false).unwrap_err().to_string();
    assert!(
        message.ends_with("a.hgv exists; use --force to replace it"),
        "{message}"
    );
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&partial, b"old").unwrap();
    assert!(
        create(false)
            .unwrap_err()
            .to_string()
            .contains("hgv recover")
    );
    assert_eq!(std::fs::read(&partial).unwrap(), b"old");
    // With force the old output stays until the new one is complete.
    std::fs::write(&path, b"old").unwrap();
    let mut writer = create(true).unwrap();
    put(&s, &mut writer, false, |_, _| true).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    writer.finish().unwrap();
    common::check(&open(std::fs::read(&path).unwrap()).unwrap(), &s);
    // Giving up leaves nothing.
    let other = dir.path().join("b.hgv");
    let mut writer = HgvWriter::create(&other, &s.plan, s.options.clone()).unwrap();
    put(&s, &mut writer, false, |_, _| true).unwrap();
    writer.discard();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

/// A source that fails at any read: the error of the source, no file, no partial.
#[test]
fn a_source_that_fails_is_an_io_error() {
    let s = small();
    let inner: Arc<dyn crate::io::RangeSource> =
        Arc::new(MemorySource::new(common::file_bytes(&s)));
    let faulty = |reads| -> Arc<dyn crate::io::RangeSource> {
        Arc::new(FaultySource {
            inner: Arc::clone(&inner),
            budget: Budget::new(reads),
        })
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("back.hgv");
    for reads in (0..).step_by(6) {
        let result = common::open_source(faulty(reads)).and_then(|r| contents(&r));
        let read = match result {
            Ok(back) => back == s.blocks,
            Err(Error::Io { .. }) => false,
            Err(e) => panic!("{e}"),
        };
        let recovered = recover_source(faulty(reads), &path, true);
        if let Err(e) = &recovered {
            assert!(matches!(e, Error::Io { .. }), "{e}");
            assert!(!path.exists());
        }
        let merged = merge_sources(&[faulty(reads)], &path, true, None);
        assert!(merged.is_ok() || matches!(merged, Err(Error::Io { .. })));
        if read && recovered.is_ok() && merged.is_ok() {
            break;
        }
        for name in ["back.hgv", "back.hgv.partial", "back.hgv.recover.partial"] {
            drop(std::fs::remove_file(dir.path().join(name)));
        }
    }
}
