//! A process that dies while it writes: nothing under the final name, every finished cluster
//! comes back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Sample, Style, contents, layers, open, sample};
use hgv::Error;
use hgv::writer::{HgvWriter, recover};

/// Set for the process that is meant to die: `CLUSTERS:PATH`.
const ORDER: &str = "HGV_TEST_DIE_AFTER";

fn volume() -> Sample {
    sample([200, 160, 170], 5, layers(5), Style::default())
}

/// Runs in the child only: writes some clusters, then ends like a killed process, without
/// cleaning up.
#[test]
fn die() {
    let Ok(order) = std::env::var(ORDER) else {
        return;
    };
    let (count, path) = order.split_once(':').unwrap();
    let mut left: u32 = count.parse().unwrap();
    let s = volume();
    let mut writer = HgvWriter::create(path, &s.plan, s.options.clone()).unwrap();
    let pages = writer.shape().pages[0];
    for page in pages.iter() {
        writer.begin_cluster(0, page).unwrap();
        for slot in 0..pages.slots(page) {
            let block = pages.block(page, slot);
            if let Some(record) = s.blocks.get(&(0, block)) {
                writer.put_block(block, record).unwrap();
            }
        }
        if left == 0 {
            std::process::abort();
        }
        writer.finish_cluster().unwrap();
        left -= 1;
    }
}

fn killed_after(count: u32, path: &Path) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["die", "--exact", "--quiet"])
        .env(ORDER, format!("{count}:{}", path.display()))
        .output()
        .unwrap()
        .status;
    assert!(!status.success());
}

#[test]
fn a_killed_writer_leaves_only_a_partial_that_recovers() {
    let s = volume();
    let dir = tempfile::tempdir().unwrap();
    for count in [0, 1, 7, 20] {
        let path: PathBuf = dir.path().join(format!("{count}.hgv"));
        let partial = dir.path().join(format!("{count}.hgv.partial"));
        killed_after(count, &path);
        assert!(!path.exists() && partial.exists());
        let bytes = std::fs::read(&partial).unwrap();
        let error = open(bytes).unwrap_err();
        assert!(matches!(error, Error::Unfinished(_)), "{error}");
        let error = HgvWriter::create(&path, &s.plan, s.options.clone()).unwrap_err();
        assert!(error.to_string().contains("hgv recover"), "{error}");
        match recover(&partial, &path, false) {
            Ok(report) => {
                assert_eq!(report.written.clusters, u64::from(count));
                assert_eq!(report.lost_blocks, None);
                let back = contents(&open(std::fs::read(&path).unwrap()).unwrap()).unwrap();
                assert_eq!(back.len() as u64, report.written.blocks);
                assert!(back.iter().all(|(k, v)| s.blocks.get(k) == Some(v)));
            }
            Err(e) => {
                assert_eq!(count, 0, "{e}");
                assert!(e.to_string().contains("no finished cluster"), "{e}");
                assert!(!path.exists());
            }
        }
        assert!(partial.exists(), "recovery changes nothing");
    }
}
