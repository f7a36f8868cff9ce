//! Shards and their merge; recovery of whole and damaged files; verification that fails.

use serde_json::json;

use crate::support::Work;

/// Blocks of 32 make clusters of 256 voxels: two of them along x.
const TWO_CLUSTERS: [u64; 3] = [300, 40, 40];

#[test]
fn merged_shards_decode_like_one_encode() {
    let work = Work::new();
    let volume = work.raw("v", TWO_CLUSTERS, "uint8");
    work.ok(&format!("encode {volume} -o whole.hgv --block 32"));
    for part in 0..2 {
        work.ok(&format!(
            "encode {volume} -o part{part}.hgv --block 32 --shard {part}/2"
        ));
    }
    let merged = work.json("merge part0.hgv part1.hgv -o merged.hgv");
    assert_eq!(merged["parts"], 2);
    work.ok("verify merged.hgv");
    assert_eq!(work.json("compare whole.hgv merged.hgv")["identical"], true);
    let line = work.refused("decode part0.hgv -o d.raw");
    assert!(line.contains("merge"), "{line}");
    work.ok(&format!(
        "encode {volume} -o other.hgv --block 64 --shard 1/2"
    ));
    work.refused("merge part0.hgv other.hgv -o wrong.hgv");
    work.refused("merge part0.hgv part0.hgv -o twice.hgv");
}

#[test]
fn recovery_of_a_whole_file_loses_nothing() {
    let work = Work::new();
    let volume = work.raw("v", TWO_CLUSTERS, "uint8");
    work.ok(&format!("encode {volume} -o v.hgv --block 32"));
    let recovered = work.json("recover v.hgv -o r.hgv");
    assert_eq!(
        (&recovered["complete"], &recovered["missing_blocks"]),
        (&json!(true), &json!(0))
    );
    work.ok("verify r.hgv");
    assert_eq!(work.json("compare v.hgv r.hgv")["identical"], true);
}

#[test]
fn recovery_of_a_cut_file_says_what_is_lost() {
    let work = Work::new();
    let volume = work.raw("v", TWO_CLUSTERS, "uint8");
    work.ok(&format!("encode {volume} -o v.hgv --block 32"));
    let bytes = work.read("v.hgv");
    work.write("cut.hgv", &bytes[..bytes.len() - 100]);
    let run = work.hgv("recover cut.hgv -o r.hgv --json");
    assert_eq!(run.status, Some(1), "{run:?}");
    let recovered = run.json();
    assert_eq!(recovered["complete"], false);
    assert!(
        recovered["missing_blocks"].as_u64() > Some(0),
        "{recovered}"
    );
    work.ok("verify r.hgv");
    work.ok("decode r.hgv -o d.raw --region 0:256,:,:");
    work.refused("decode r.hgv -o e.raw");
}

#[test]
fn verify_fails_on_a_changed_byte() {
    let work = Work::new();
    let volume = work.raw("v", [64, 64, 20], "uint8");
    work.ok(&format!("encode {volume} -o v.hgv"));
    let mut bytes = work.read("v.hgv");
    let last = bytes.len() - 3;
    bytes[last] ^= 0x10;
    work.write("bad.hgv", bytes);
    let run = work.hgv("verify bad.hgv --json");
    assert_eq!(run.status, Some(1), "{run:?}");
    let verified = run.json();
    assert_eq!(verified["ok"], false);
    assert!(!verified["problems"].as_array().unwrap().is_empty());
    assert!(
        run.stderr.starts_with("hgv: error: bad.hgv: "),
        "{}",
        run.stderr
    );
}

#[test]
fn verify_against_another_volume_fails() {
    let work = Work::new();
    let volume = work.raw("v", [64, 64, 20], "uint8");
    work.ok(&format!("encode {volume} -o v.hgv"));
    work.ok(&format!("verify v.hgv --against {volume}"));
    let mut other = work.read(&volume);
    for value in &mut other[5000..6000] {
        *value = 255;
    }
    work.write("w_64x64x20_uint8.raw", other);
    let run = work.hgv("verify v.hgv --against w_64x64x20_uint8.raw");
    assert_eq!(run.status, Some(1), "{run:?}");
}
