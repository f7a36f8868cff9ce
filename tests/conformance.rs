//! Every file vector of `format-spec/vectors/good` says what its description says and decodes to
//! the stated voxels with every vector unit of this machine, on one thread and on two.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use hgv::backend::cpu::{CpuBackend, CpuLevel};
use hgv::decode::verify;
use hgv::volume::Region;
use hgv::{Error, Volume};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("format-spec/vectors/good")
}

/// Names with this extension.
fn names(extension: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder()).unwrap();
    let paths = entries.map(|e| e.unwrap().path());
    paths
        .filter(|p| p.extension().is_some_and(|e| e == extension))
        .map(|p| p.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect()
}

fn path(name: &str) -> PathBuf {
    folder().join(format!("{name}.hgv"))
}

fn about(name: &str) -> Value {
    let text = std::fs::read(path(name).with_extension("json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn region(v: &Value) -> Region {
    let corner = |i: usize| [0, 1, 2].map(|a| v[i][a].as_u64().unwrap());
    Region::new(corner(0), corner(1)).unwrap()
}

fn read(volume: &Volume, lod: u32, level: u32, region: &Region) -> hgv::Result<Vec<u8>> {
    let mut out = vec![0; region.voxels() as usize * volume.dtype().size()];
    volume.read_region_bytes(lod, level, region, &mut out)?;
    Ok(out)
}

/// The volume on every vector unit with every number of threads.
fn machines(name: &str) -> Vec<Volume> {
    let all = CpuLevel::available().into_iter();
    all.flat_map(|cpu| [1, 2].map(|threads| (cpu, threads)))
        .map(|(cpu, threads)| {
            let volume = Volume::open(path(name)).unwrap();
            let cpu = CpuBackend::with_level(cpu).unwrap();
            volume.with_cpu(cpu).with_threads(threads).unwrap()
        })
        .collect()
}

#[test]
fn every_vector_has_a_file_and_a_description() {
    assert_eq!(names("hgv"), names("json"));
    assert_eq!(
        std::fs::read_dir(folder()).unwrap().count(),
        2 * names("hgv").len()
    );
    let kinds: BTreeSet<_> = names("json")
        .iter()
        .map(|n| about(n)["header"]["dtype"].to_string())
        .collect();
    assert_eq!(
        kinds.len(),
        hgv::volume::DType::ALL.len(),
        "every voxel type: {kinds:?}"
    );
}

/// Byte 0 of a record is the coder, byte 6 of wavelets and byte 3 of grids has the flags.
#[test]
fn vectors_have_every_coder_and_flag() {
    let mut seen = BTreeSet::new();
    for name in names("json") {
        for model in about(&name)["models"].as_array().unwrap() {
            let payload = model["payload"].as_str().unwrap();
            let byte = |i: usize| u8::from_str_radix(&payload[2 * i..2 * i + 2], 16).unwrap();
            let kind = model["kind"].as_u64().unwrap();
            let (coder, flags) = (byte(0), byte(if kind == 1 { 6 } else { 3 }));
            seen.insert((kind, format!("coder {coder}")));
            let set = (0..8).filter(|bit| flags >> bit & 1 == 1);
            seen.extend(set.map(|bit| (kind, format!("flag {bit}"))));
        }
    }
    let coders = [(1, 0), (1, 1), (2, 0)].map(|(kind, c)| (kind, format!("coder {c}")));
    let wavelets = [0, 1, 2, 3, 4, 5, 6, 7].map(|bit| (1, format!("flag {bit}")));
    let grids = [0, 1, 4].map(|bit| (2, format!("flag {bit}")));
    let wanted: Vec<_> = coders.into_iter().chain(wavelets).chain(grids).collect();
    let missing: Vec<_> = wanted.iter().filter(|w| !seen.contains(w)).collect();
    assert!(missing.is_empty(), "{missing:?} in no vector");
}

#[test]
fn files_say_what_is_stated() {
    for name in names("hgv") {
        let (about, bytes) = (about(&name), std::fs::read(path(&name)).unwrap());
        assert_eq!(hex(&Sha256::digest(&bytes)), about["file_sha256"], "{name}");
        let volume = Volume::open(path(&name)).unwrap();
        let (reader, h, want) = (volume.reader(), volume.reader().header(), &about["header"]);
        assert_eq!(hex(&h.file_uuid), want["uuid"], "{name}");
        assert_eq!(
            (json!(h.extent), json!(h.dtype.name())),
            (want["extent"].clone(), want["dtype"].clone())
        );
        let numbers = [
            ("file_len", json!(h.file_len)),
            ("value_exp", json!(h.value_exp)),
            ("q_min", json!(h.q_min)),
            ("q_max", json!(h.q_max)),
            ("block_log2", json!(h.block_log2)),
            ("page_log2", json!(h.page_log2)),
            ("depth", json!(h.depth)),
            ("align_log2", json!(h.align_log2)),
            ("lod_count", json!(h.lod_count)),
            ("layer_count", json!(h.layer_count)),
            ("level_count", json!(h.level_count)),
            ("tier_count", json!(h.tier_count)),
            ("blocks_present", json!(h.blocks_present)),
            ("payload_bytes", json!(h.payload_bytes)),
        ];
        for (field, value) in numbers {
            assert_eq!(value, want[field], "{name}: {field}");
        }
        let layers: Vec<_> = reader
            .layers()
            .as_slice()
            .iter()
            .map(|l| [l.lod, l.quality])
            .collect();
        let models: Vec<_> = reader
            .models()
            .iter()
            .map(|m| (m.id, m.kind, hex(&m.payload)))
            .collect();
        let stated = about["models"].as_array().unwrap().iter();
        let stated: Vec<_> = stated
            .map(|m| json!([m["id"], m["kind"], m["payload"]]))
            .collect();
        assert_eq!(json!(layers), about["layers"], "{name}");
        assert_eq!(json!(models), json!(stated), "{name}");
        assert_eq!(json!(reader.metadata()), about["metadata"], "{name}");
    }
}

#[test]
fn every_machine_decodes_the_stated_voxels() {
    for name in names("hgv") {
        let about = about(&name);
        let decoded = about["decoded"].as_array().unwrap();
        for volume in machines(&name) {
            assert_eq!(
                decoded.len() as u32,
                volume.lods() * volume.levels(),
                "{name}"
            );
            for want in decoded {
                let [lod, level] = ["lod", "level"].map(|f| want[f].as_u64().unwrap() as u32);
                let voxels = read(&volume, lod, level, &region(&want["region"])).unwrap();
                let digest = hex(&Sha256::digest(&voxels));
                assert_eq!(
                    digest,
                    want["sha256"],
                    "{name} {lod} {level} on {}",
                    volume.backend()
                );
            }
        }
    }
}

#[test]
fn every_vector_passes_verification() {
    for name in names("hgv") {
        let report = verify(&path(&name), None, 1, &|_| ControlFlow::Continue(())).unwrap();
        assert_eq!(report.problems, Vec::<String>::new(), "{name}");
        let missing = &about(&name)["not_written"];
        if !missing.is_null() {
            let volume = Volume::open(path(&name)).unwrap();
            let error = read(&volume, 0, 0, &region(missing)).unwrap_err();
            assert!(matches!(error, Error::NotWritten { .. }), "{name}: {error}");
        }
    }
}
