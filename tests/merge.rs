//! Shards: merge(a, b) is the file that one writer would have made.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::path::{Path, PathBuf};

use common::{Sample, Style, check, file_bytes, layers, open, put, sample};
use hgv::writer::{HgvWriter, merge};

fn shard(s: &Sample, path: &Path, keep: impl Fn(u8, u64) -> bool) {
    let mut writer = HgvWriter::create(path, &s.plan, s.options.clone()).unwrap();
    put(s, &mut writer, false, keep).unwrap();
    writer.finish().unwrap();
}

fn volume() -> Sample {
    sample([170, 160, 160], 5, layers(5), Style::default())
}

#[test]
fn merge_is_the_whole() {
    let s = volume();
    let dir = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = (0..3)
        .map(|i| dir.path().join(format!("{i}.hgv")))
        .collect();
    for (i, path) in paths.iter().enumerate() {
        // The last shard has the overview.
        shard(&s, path, |tier, key| {
            if tier == 0 {
                key % 3 == i as u64
            } else {
                i == 2
            }
        });
    }
    let inputs: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let out = dir.path().join("all.hgv");
    let report = merge(&inputs, &out, false, None).unwrap();
    assert_eq!(
        (report.missing_pages, report.missing_overview.len()),
        (0, 0)
    );
    assert_eq!(std::fs::read(&out).unwrap(), file_bytes(&s));
    // Order of shards does not matter.
    merge(&[inputs[2], inputs[0], inputs[1]], &out, true, None).unwrap();
    assert_eq!(std::fs::read(&out).unwrap(), file_bytes(&s));
    let twice = merge(&[inputs[0], inputs[1], inputs[0]], &out, true, None).unwrap_err();
    assert!(
        twice.to_string().contains("shards must not overlap"),
        "{twice}"
    );
    // A failed merge leaves the old file.
    assert_eq!(std::fs::read(&out).unwrap(), file_bytes(&s));
}

#[test]
fn the_overview_is_built_by_the_callback() {
    let s = volume();
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a.hgv"), dir.path().join("b.hgv"));
    shard(&s, &a, |tier, key| tier == 0 && key < 9);
    shard(&s, &b, |tier, key| tier == 0 && key >= 9);
    let out = dir.path().join("all.hgv");
    let report = merge(&[&a, &b], &out, false, None).unwrap();
    assert_eq!(
        (report.missing_pages, report.missing_overview),
        (0, vec![1])
    );
    let report = merge(
        &[&a, &b],
        &out,
        true,
        Some(&mut |shards, writer| {
            assert_eq!(shards.len(), 2);
            put(&s, writer, false, |tier, _| tier > 0)
        }),
    )
    .unwrap();
    assert!(report.missing_overview.is_empty());
    check(&open(std::fs::read(&out).unwrap()).unwrap(), &s);
    assert_eq!(std::fs::read(&out).unwrap(), file_bytes(&s));
}

#[test]
fn shards_of_different_plans_are_refused() {
    let s = volume();
    let dir = tempfile::tempdir().unwrap();
    let a = dir.path().join("a.hgv");
    shard(&s, &a, |_, key| key == 0);
    let layered = sample(s.plan.extent, 5, layers(4), Style::default());
    let mut models = s.clone();
    models.plan.models[1].payload.push(0);
    let mut range = s.clone();
    range.plan.q_max += 1;
    let extent = sample([171, 160, 160], 5, layers(5), Style::default());
    for (what, other) in [
        ("layers", layered),
        ("models", models),
        ("value range", range),
        ("extent", extent),
    ] {
        let b = dir.path().join("b.hgv");
        let mut writer = HgvWriter::create(&b, &other.plan, other.options.clone()).unwrap();
        put(&other, &mut writer, false, |_, key| key == 1).unwrap();
        writer.finish().unwrap();
        let error = merge(&[&a, &b], &dir.path().join("c.hgv"), false, None).unwrap_err();
        assert!(error.to_string().starts_with(what), "{error}");
        std::fs::remove_file(&b).unwrap();
    }
}
