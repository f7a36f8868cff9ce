//! Interrupts and kills in the middle of an encode.

#![cfg(unix)]

use std::collections::BTreeSet;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::support::{Random, Run, Work, crop};

/// With blocks of 32, clusters of 256 voxels: six of them.
const EXTENT: [u64; 3] = [600, 264, 72];
const CLUSTER: u64 = 256;

fn spawn(work: &Work, volume: &str, target: &str) -> Child {
    work.command(&format!(
        "encode {volume} -o v.hgv --block 32 --force {target}"
    ))
    .spawn()
    .unwrap()
}

fn send(child: &Child, signal: &str) {
    let id = child.id().to_string();
    let sent = Command::new("kill").args([signal, &id]).status().unwrap();
    assert!(sent.success(), "kill {signal} {id}");
}

fn wait_for(child: &mut Child, sign: impl Fn() -> bool) {
    let begin = Instant::now();
    while !sign() && child.try_wait().unwrap().is_none() {
        assert!(
            begin.elapsed() < Duration::from_secs(120),
            "nothing happens"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn an_interrupt_leaves_nothing_and_exits_130() {
    for target in ["", "--psnr 40"] {
        interrupted_encode(target);
    }
}

fn interrupted_encode(target: &str) {
    let work = Work::new();
    let volume = work.raw("v", EXTENT, "uint16");
    let mut child = spawn(&work, &volume, target);
    wait_for(&mut child, || work.path("v.hgv.partial").exists());
    assert!(
        child.try_wait().unwrap().is_none(),
        "the encode was over too early to interrupt it"
    );
    send(&child, "-INT");
    let run = Run::from(child.wait_with_output().unwrap());
    assert_eq!(run.status, Some(130), "{run:?}");
    assert_eq!(run.stderr, "hgv: error: interrupted\n");
    assert_eq!(work.files(), [volume].into());
}

#[test]
fn an_interrupted_decode_leaves_nothing() {
    let work = Work::new();
    let volume = work.raw("v", EXTENT, "uint8");
    work.ok(&format!("encode {volume} -o v.hgv --preset fast"));
    let before = work.files();
    let mut child = work
        .command("decode v.hgv -o d.nrrd --memory 1k --threads 1")
        .spawn()
        .unwrap();
    wait_for(&mut child, || work.files() != before);
    assert!(
        child.try_wait().unwrap().is_none(),
        "the decode was over too early to interrupt it"
    );
    send(&child, "-INT");
    let run = Run::from(child.wait_with_output().unwrap());
    assert_eq!(run.status, Some(130), "{run:?}");
    assert_eq!(work.files(), before);
}

#[test]
fn kill_at_twenty_moments_never_breaks_a_file() {
    kills(EXTENT, 20, "");
}

/// Five clusters of grids.
#[test]
fn kills_in_an_encode_of_grids_never_break_a_file() {
    kills([1100, 40, 8], 10, "--model hashgrid --preset fast");
}

fn kills(extent: [u64; 3], times: u32, options: &str) {
    let work = Work::new();
    let volume = work.raw("v", extent, "uint8");
    let begin = Instant::now();
    assert!(spawn(&work, &volume, options).wait().unwrap().success());
    let full = begin.elapsed();
    work.ok("decode v.hgv -o whole.raw");
    let whole = work.read("whole.raw");
    let mut random = Random(20);
    let mut recovered = 0;
    for _ in 0..times {
        let _ = std::fs::remove_file(work.path("v.hgv"));
        let mut child = spawn(&work, &volume, options);
        std::thread::sleep(full * random.below(1000) as u32 / 1000);
        child.kill().unwrap();
        child.wait().unwrap();
        recovered += u32::from(check_remains(&work, extent, &whole));
    }
    eprintln!("{recovered} of {times} kills left finished clusters");
    assert!(recovered > 0, "no kill came after the first cluster");
}

/// A final name is a whole file; a partial one gives back what it holds, equal to the voxels of
/// the finished encode. Says whether it held anything.
fn check_remains(work: &Work, extent: [u64; 3], whole: &[u8]) -> bool {
    if work.path("v.hgv").exists() {
        work.ok("verify v.hgv");
        return false;
    }
    if !work.path("v.hgv.partial").exists() {
        return false;
    }
    let run = work.hgv("recover v.hgv.partial -o r.hgv --force --json");
    if run.status == Some(2) {
        assert!(run.stderr.contains("no finished cluster"), "{}", run.stderr);
        return false;
    }
    assert!(matches!(run.status, Some(0 | 1)), "{run:?}");
    assert!(run.json()["clusters"].as_u64() > Some(0), "{}", run.stdout);
    work.ok("verify r.hgv");
    let clusters = recovered_clusters(work);
    assert!(!clusters.is_empty());
    for cluster in clusters {
        check_cluster(work, extent, cluster, whole);
    }
    true
}

/// Clusters of the full resolution that `r.hgv` holds.
fn recovered_clusters(work: &Work) -> BTreeSet<[u64; 3]> {
    let info = work.json("info r.hgv --blocks");
    let blocks = info["block_list"].as_array().unwrap().iter();
    blocks
        .filter(|b| b["model"] != "not written")
        .map(|b| [0, 1, 2].map(|a| b["block"][a].as_u64().unwrap() * 32 / CLUSTER))
        .collect()
}

fn check_cluster(work: &Work, extent: [u64; 3], cluster: [u64; 3], whole: &[u8]) {
    let start = cluster.map(|c| c * CLUSTER);
    let end = [0, 1, 2].map(|a| extent[a].min(start[a] + CLUSTER));
    let region = [0, 1, 2]
        .map(|a| format!("{}:{}", start[a], end[a]))
        .join(",");
    work.ok(&format!("decode r.hgv -o r.raw --force --region {region}"));
    let [extent, start, end] = [extent, start, end].map(|v| v.map(|n| n as usize));
    assert!(
        work.read("r.raw") == crop(whole, extent, 1, start, end),
        "cluster {cluster:?} differs"
    );
}
