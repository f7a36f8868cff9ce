//! Encode, info, decode, compare and verify of sound volumes.

use serde_json::{Value, json};

use crate::support::{DTYPES, Work, assert_keys, crop, number};

const EXTENT: [u64; 3] = [70, 66, 40];

#[test]
fn every_type_comes_back() {
    for dtype in DTYPES {
        let work = Work::new();
        let volume = work.raw("v", EXTENT, dtype);
        let encoded = work.json(&format!("encode {volume} -o v.hgv --psnr 40"));
        assert!(number(&encoded, "psnr") >= 40.0, "{dtype}: {encoded}");
        let info = work.json("info v.hgv");
        assert_eq!(info["dtype"], dtype);
        assert_eq!(info["extent"], json!(EXTENT));
        assert_eq!(number(&info, "file_bytes"), work.read("v.hgv").len() as f64);
        work.ok("decode v.hgv -o d.raw --quiet");
        assert_eq!(work.read("d.raw").len(), work.read(&volume).len());
        let direct = work.json(&format!("compare {volume} v.hgv"));
        assert!(number(&direct, "psnr") >= 40.0, "{dtype}: {direct}");
        assert!((number(&direct, "psnr") - number(&encoded, "psnr")).abs() < 0.01);
        work.ok("decode v.hgv -o d.npy");
        let written = work.json(&format!("compare {volume} d.npy"));
        assert_eq!(written["rmse"], direct["rmse"], "{dtype}");
        work.ok(&format!("verify v.hgv --against {volume}"));
    }
}

#[test]
fn lossless_volumes_are_identical() {
    for dtype in DTYPES {
        let work = Work::new();
        let volume = work.raw("v", [33, 20, 70], dtype);
        work.ok(&format!("encode {volume} -o v.hgv --lossless"));
        work.ok("decode v.hgv -o d.raw");
        assert!(work.read("d.raw") == work.read(&volume), "{dtype}");
        let compared = work.json(&format!("compare {volume} v.hgv"));
        assert_eq!(compared["psnr"], Value::Null);
        assert_eq!(compared["identical"], true);
        assert_eq!(number(&compared, "max_abs_error"), 0.0);
    }
}

/// Every voxel keeps the bound, and `verify` finds the figures of the file true.
#[test]
fn error_bounds_hold() {
    for dtype in DTYPES {
        let work = Work::new();
        let volume = work.raw("v", [70, 40, 33], dtype);
        for bound in ["0.02", "0.001", "1e-9"] {
            work.ok(&format!(
                "encode {volume} -o v.hgv --force --max-error-rel {bound}"
            ));
            let compared = work.json(&format!("compare {volume} v.hgv"));
            let (error, most) = (number(&compared, "max_rel_error"), bound.parse().unwrap());
            assert!(error <= most, "{dtype}: {error} over {most}");
            work.ok(&format!("verify v.hgv --against {volume}"));
        }
    }
}

/// What is not finite keeps its bits.
#[test]
fn lossless_floats_keep_every_bit() {
    let work = Work::new();
    let volume = work.raw("v", [33, 20, 12], "float32");
    let mut bytes = work.read(&volume);
    for (voxel, bits) in [
        (75, 0x7F80_0001u32),
        (200, 0xFF80_0000),
        (4000, 1 << 31),
        (5000, 1),
    ] {
        bytes[voxel * 4..voxel * 4 + 4].copy_from_slice(&bits.to_le_bytes());
    }
    work.write(&volume, &bytes);
    work.ok(&format!("encode {volume} -o v.hgv --lossless"));
    work.ok("decode v.hgv -o d.raw");
    assert!(work.read("d.raw") == bytes);
    work.ok(&format!("verify v.hgv --against {volume}"));
}

#[test]
fn json_has_the_keys_of_the_contract() {
    let work = Work::new();
    let volume = work.raw("v", EXTENT, "uint8");
    let encoded = work.json(&format!("encode {volume} -o v.hgv --levels 3"));
    assert_keys(
        &encoded,
        "output file_bytes ratio bits_per_voxel psnr max_abs_error backend seconds",
    );
    let info = work.json("info v.hgv");
    assert_keys(
        &info,
        "extent dtype spacing unit file_bytes ratio bits_per_voxel blocks lods levels models order",
    );
    assert_eq!(info["order"], "xyz");
    assert_eq!(info["blocks"], 4);
    let levels = info["levels"].as_array().unwrap();
    assert_eq!(levels.len(), 3);
    for level in levels {
        assert_keys(level, "bytes psnr ssim max_abs_error");
    }
    assert!(levels.is_sorted_by_key(|l| l["bytes"].as_u64()));
    let expected = EXTENT.iter().product::<u64>() as f64 / number(&info, "file_bytes");
    assert!((number(&info, "ratio") - expected).abs() < 1e-9);
    let listed = work.json("info v.hgv --blocks");
    assert_eq!(listed["block_list"].as_array().unwrap().len(), 4);
    let decoded = work.json("decode v.hgv -o d.npy --lod 1");
    assert_keys(
        &decoded,
        "output extent order dtype lod level backend seconds",
    );
    assert_eq!(decoded["extent"], json!([35, 33, 20]));
    let compared = work.json(&format!("compare {volume} v.hgv"));
    assert_keys(
        &compared,
        "psnr ssim max_abs_error max_rel_error rmse range voxels",
    );
    assert_eq!(compared["ssim"].as_array().unwrap().len(), 4);
    assert_eq!(
        compared["ssim"][3],
        Value::Null,
        "40 voxels are 5 at level of detail 3"
    );
    let verified = work.json("verify v.hgv");
    assert_eq!(
        (&verified["ok"], &verified["problems"]),
        (&json!(true), &json!([]))
    );
}

#[test]
fn results_are_readable_and_quiet_is_quiet() {
    let work = Work::new();
    let volume = work.raw("v", EXTENT, "uint8");
    let encoded = work.ok(&format!("encode {volume} -o v.hgv"));
    for word in ["70 x 66 x 40", ":1", "dB", "Mvoxel/s", "cpu"] {
        assert!(encoded.stdout.contains(word), "{}", encoded.stdout);
    }
    assert_eq!(encoded.stderr, "", "no bar where stderr is no terminal");
    assert!(work.ok("info v.hgv").stdout.contains("extent"));
    assert!(
        work.ok(&format!("compare {volume} v.hgv"))
            .stdout
            .contains("PSNR")
    );
    for words in [
        "verify v.hgv",
        "decode v.hgv -o d.nrrd",
        "recover v.hgv -o r.hgv",
    ] {
        assert_eq!(work.ok(&format!("{words} --quiet")).stdout, "", "{words}");
    }
}

#[test]
fn targets_are_met() {
    let work = Work::new();
    let volume = work.raw("v", EXTENT, "uint8");
    let voxels = EXTENT.iter().product::<u64>();
    let encode = |target: &str| work.json(&format!("encode {volume} -o v.hgv --force {target}"));
    assert!(number(&encode("--psnr 45"), "psnr") >= 45.0);
    assert!(number(&encode("--ratio 12"), "file_bytes") <= voxels as f64 / 12.0);
    assert!(number(&encode("--bytes 9k"), "file_bytes") <= 9000.0);
    let (coarse, fine) = (encode("--quality 30"), encode("--quality 50"));
    assert!(number(&coarse, "file_bytes") < number(&fine, "file_bytes"));
    assert!(number(&coarse, "psnr") < number(&fine, "psnr"));
    encode("--ssim 0.9,0.9,0.9,0.9");
    let compared = work.json(&format!("compare {volume} v.hgv"));
    for lod in 0..3 {
        assert!(compared["ssim"][lod].as_f64().unwrap() >= 0.9, "{compared}");
    }
}

#[test]
fn options_decide_the_bytes_and_threads_do_not() {
    let work = Work::new();
    let volume = work.raw("v", EXTENT, "int16");
    work.ok(&format!("encode {volume} -o a.hgv --threads 1"));
    work.ok(&format!("encode {volume} -o b.hgv --threads 2"));
    assert!(work.read("a.hgv") == work.read("b.hgv"));
    work.write("b.hgv", "old");
    work.ok(&format!("encode {volume} -o b.hgv --force --quality 60"));
    assert!(
        work.read("a.hgv") == work.read("b.hgv"),
        "--quality 60 is the default"
    );
    work.ok("decode a.hgv -o a.raw --threads 1");
    work.ok("decode a.hgv -o b.raw --threads 2 --memory 100k");
    assert!(work.read("a.raw") == work.read("b.raw"));
}

#[test]
fn a_region_is_a_crop_at_every_level_of_detail() {
    let work = Work::new();
    let volume = work.raw("v", EXTENT, "uint16");
    work.ok(&format!("encode {volume} -o v.hgv"));
    work.ok("decode v.hgv -o full.raw");
    work.ok("decode v.hgv -o part.raw --region 3:69,5:65,:30");
    let expected = crop(
        &work.read("full.raw"),
        [70, 66, 40],
        2,
        [3, 5, 0],
        [69, 65, 30],
    );
    assert!(work.read("part.raw") == expected);
    work.ok("decode v.hgv -o lod.raw --lod 1 --level 1");
    work.ok("decode v.hgv -o lodpart.raw --lod 1 --level 1 --region 30:,1:2,7:");
    let expected = crop(
        &work.read("lod.raw"),
        [35, 33, 20],
        2,
        [30, 1, 7],
        [35, 2, 20],
    );
    assert!(work.read("lodpart.raw") == expected);
    assert!(
        work.refused("decode v.hgv -o x.raw --lod 1 --region 0:36,:,:")
            .contains("35")
    );
    assert!(
        work.refused("decode v.hgv -o x.raw --lod 16")
            .contains("levels of detail")
    );
    assert!(
        work.refused("decode v.hgv -o x.raw --level 3")
            .contains("quality levels")
    );
    assert!(work.refused("decode v.hgv -o x.png").contains("png"));
}

#[test]
fn levels_grow_in_quality_and_lods_compare_with_the_reduced_original() {
    let work = Work::new();
    let volume = work.raw("v", EXTENT, "uint8");
    work.ok(&format!("encode {volume} -o v.hgv --levels 3 --psnr 44"));
    let psnr = |options: &str| {
        number(
            &work.json(&format!("compare {volume} v.hgv {options}")),
            "psnr",
        )
    };
    let levels = [psnr("--level 0"), psnr("--level 1"), psnr("--level 2")];
    assert!(levels.is_sorted() && levels[2] == psnr(""), "{levels:?}");
    assert!(psnr("--lod 1") > 35.0);
    assert!(psnr("--lod 2 --level 2") > 35.0);
    work.ok("decode v.hgv -o lod.npy --lod 1");
    let own = work.json("compare v.hgv lod.npy --lod 1");
    assert_eq!(own["identical"], true, "{own}");
    work.refused(&format!("compare {volume} {volume} --lod 1"));
    work.refused(&format!("compare {volume} lod.npy"));
    work.refused(&format!("compare {volume} v.hgv --lod 9"));
}

#[test]
fn metadata_travels_and_crops_move_it() {
    let work = Work::new();
    work.nrrd("v.nrrd", EXTENT, "int16");
    work.ok("encode v.nrrd -o v.hgv --lossless");
    let info = work.json("info v.hgv");
    assert_eq!(info["spacing"], json!([0.5, 1.0, 2.0]));
    assert_eq!(info["unit"], "mm");
    work.ok("encode v.nrrd -o crop.hgv --lossless --region 4:40,2:,10:12");
    let crop_info = work.json("info crop.hgv");
    assert_eq!(crop_info["extent"], json!([36, 64, 2]));
    assert_eq!(crop_info["metadata"]["origin"], json!([12.0, 22.0, 50.0]));
    work.ok("decode v.hgv -o part.nrrd --region 4:40,2:,10:12");
    let same = work.json("compare part.nrrd crop.hgv");
    assert_eq!(same["identical"], true);
    work.ok("encode part.nrrd -o again.hgv --lossless");
    assert_eq!(
        work.json("info again.hgv")["metadata"],
        crop_info["metadata"]
    );
    work.ok("decode v.hgv -o half.nrrd --lod 1");
    work.ok("encode half.nrrd -o half.hgv");
    assert_eq!(
        work.json("info half.hgv")["spacing"],
        json!([1.0, 2.0, 4.0])
    );
}

#[test]
fn every_format_comes_back_the_same() {
    let work = Work::new();
    work.nrrd("v.nrrd", [20, 12, 9], "int16");
    work.ok("encode v.nrrd -o v.hgv --lossless");
    for name in ["d.nrrd", "d.nii", "d.nii.gz", "d.mrc", "d.tif", "d.npy"] {
        work.ok(&format!("decode v.hgv -o {name}"));
        let same = work.json(&format!("compare v.nrrd {name}"));
        assert_eq!(same["identical"], true, "{name}");
    }
}

#[test]
fn raw_voxels_are_described_on_the_command_line() {
    let work = Work::new();
    let named = work.raw("v", [20, 10, 6], "uint16");
    let mut bytes = b"12345".to_vec();
    bytes.extend(work.read(&named).chunks(2).flat_map(|v| [v[1], v[0]]));
    work.write("v.bin", bytes);
    let raw = "--shape 20,10,6 --dtype u16 --endian be --skip 5 --spacing 1,2,3";
    work.ok(&format!("encode v.bin {raw} -o v.hgv --lossless"));
    assert_eq!(work.json("info v.hgv")["spacing"], json!([1.0, 2.0, 3.0]));
    assert_eq!(
        work.json(&format!("compare {named} v.hgv"))["identical"],
        true
    );
    assert_eq!(
        work.json(&format!("compare v.bin v.hgv {raw}"))["identical"],
        true
    );
    work.ok(&format!("encode {named} --cast float32 -o f.hgv"));
    assert_eq!(work.json("info f.hgv")["dtype"], "float32");
}

#[test]
fn any_extent_works() {
    for extent in [[1, 1, 1], [1, 1, 70], [200, 1, 1], [65, 64, 3]] {
        let work = Work::new();
        let volume = work.raw("v", extent, "uint8");
        work.ok(&format!("encode {volume} -o v.hgv --lossless"));
        assert_eq!(
            work.json(&format!("compare {volume} v.hgv"))["identical"],
            true
        );
        work.ok("verify v.hgv");
    }
}
