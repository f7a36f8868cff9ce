//! Grid models from the command line: round trips, what `info` says, refusals.

use serde_json::json;

use crate::support::{Work, number};

const EXTENT: [u64; 3] = [40, 36, 34];
const GRIDS: &str = "--block 32 --model hashgrid --preset fast";

#[test]
fn grids_come_back() {
    for (dtype, psnr, options) in [
        ("uint8", 38.0, GRIDS),
        // Tables this small cannot hold the noise.
        ("int16", 28.0, "--block 32 --model hashgrid --table-log2 9"),
        ("float32", 38.0, "--block 32 --model auto --preset best"),
    ] {
        let work = Work::new();
        let volume = work.raw("v", EXTENT, dtype);
        let encoded = work.json(&format!("encode {volume} -o v.hgv --psnr {psnr} {options}"));
        assert!(number(&encoded, "psnr") >= psnr, "{dtype}: {encoded}");
        work.ok(&format!("verify v.hgv --against {volume}"));
        let compared = work.json(&format!("compare {volume} v.hgv"));
        assert!((number(&compared, "psnr") - number(&encoded, "psnr")).abs() < 0.01);
        for (lod, level) in [(0, 2), (0, 0), (1, 1)] {
            let at = format!("--lod {lod} --level {level} --force");
            work.ok(&format!("decode v.hgv -o d.raw {at}"));
            work.ok(&format!("decode v.hgv -o d.npy {at} --threads 1"));
            let raw = work.read("d.raw");
            assert!(work.read("d.npy").ends_with(&raw), "{dtype} {at}");
        }
    }
}

#[test]
fn lossless_grids_are_identical() {
    for options in [GRIDS, "--block 32 --preset best"] {
        let work = Work::new();
        let volume = work.raw("v", EXTENT, "uint8");
        work.ok(&format!("encode {volume} -o v.hgv --lossless {options}"));
        work.ok("decode v.hgv -o d.raw");
        assert!(work.read("d.raw") == work.read(&volume), "{options}");
    }
}

#[test]
fn info_shows_kinds_levels_and_tables() {
    let work = Work::new();
    let volume = work.raw("v", EXTENT, "uint8");
    work.ok(&format!("encode {volume} -o v.hgv {GRIDS} --table-log2 12"));
    let info = work.json("info v.hgv --blocks");
    assert_eq!(info["models"], json!({"hashgrid": 8}));
    let blocks = info["block_list"].as_array().unwrap();
    assert!(blocks.iter().all(|b| b["model"] == "hashgrid"));
    let models = info["grid_models"].as_array().unwrap();
    let served: u64 = models.iter().map(|m| m["blocks"].as_u64().unwrap()).sum();
    assert_eq!(served, 8);
    assert_eq!(
        (&models[0]["order"], &models[1]["order"]),
        (&json!(1), &json!(3))
    );
    for model in models {
        assert_eq!(model["network"]["hidden"], 1, "{model}");
        let levels = model["levels"].as_array().unwrap();
        let spacings = levels.iter().map(|l| l["spacing"][0].as_u64().unwrap());
        assert_eq!(spacings.collect::<Vec<_>>(), [16, 8, 4, 2, 1]);
        // 32 voxels are 17 vertices two apart.
        assert_eq!(levels[3]["vertices"], 17 * 17 * 17);
        assert_eq!(
            (&levels[2]["table"], &levels[3]["table"]),
            (&json!(null), &json!(4096))
        );
    }
    let text = work.ok("info v.hgv").stdout;
    for word in [
        "8 hashgrid",
        "grid ",
        "network 5 16 1",
        "17^3 hashed to 4096",
        "9^3,",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    work.ok(&format!(
        "encode {volume} -o d.hgv --model dense --block 32"
    ));
    assert_eq!(work.json("info d.hgv")["grid_models"], json!([]));
    assert_eq!(work.json("info d.hgv")["models"], json!({"dense": 8}));
}

#[test]
fn tables_out_of_range_are_refused() {
    let work = Work::new();
    let volume = work.raw("v", [8, 8, 8], "uint8");
    for words in [
        "--table-log2 3",
        "--table-log2 23",
        "--table-log2 x",
        "--table-log2 -4",
        "--model hash",
        "--model",
    ] {
        work.refused(&format!("encode {volume} -o v.hgv {words}"));
    }
    let volume = work.raw("w", EXTENT, "float32");
    let small = format!("encode {volume} -o v.hgv {GRIDS} --table-log2 4 --psnr 45");
    let line = work.refused(&small);
    assert!(line.contains("target not reached"), "{line}");
}
