//! Volumes of few materials get a value curve and a filter, and everything holds with one: targets, every way to
//! the same voxels, values between voxels; and malformed curves are refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod volumes;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use common::{Sample, check_bad, file_bytes};
use hgv::encode::{EncodeOptions, ModelChoice, Preset, Target, encode, merge};
use hgv::format::model::ModelRecord;
use hgv::model::{Coder, Curve, Filter, Precision, Residual, SEGMENTS, WaveletModel};
use hgv::volume::{DType, MemoryVolume, Metadata, Region, VoxelSource};
use hgv::writer::{BlockPayload, BlockRecord, FilePlan, WriterOptions, recover};
use hgv::{Limits, Volume};
use volumes::{encode_file, memory, open, options, read_all};

/// Bytes of a record with a curve.
const WITH_CURVE: usize = WaveletModel::BYTES + Curve::BYTES;

/// Balls of two materials in clipped air, blurred and with noise.
fn materials(extent: [u64; 3]) -> MemoryVolume {
    let mut state = 7u64;
    let mut noise = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 40) as f64 / (1u64 << 24) as f64 - 0.5
    };
    let balls = [
        ([20.0, 22.0, 18.0], 15.0, 120.0),
        ([60.0, 30.0, 20.0], 17.0, 230.0),
        ([40.0, 12.0, 30.0], 9.0, 230.0),
        ([85.0, 20.0, 12.0], 10.0, 120.0),
    ];
    let mut bytes = Vec::new();
    for (z, y) in (0..extent[2]).flat_map(|z| (0..extent[1]).map(move |y| (z, y))) {
        for x in 0..extent[0] {
            let p = [x, y, z].map(|c| c as f64);
            let ball = |&(c, r, v): &([f64; 3], f64, f64)| {
                let d = (0..3).map(|a| (p[a] - c[a]).powi(2)).sum::<f64>().sqrt();
                v * ((r - d) / 1.5 + 0.5).clamp(0.0, 1.0)
            };
            let value = balls.iter().map(ball).fold(2.0, f64::max);
            bytes.push((value + 7.0 * noise()).clamp(0.0, 255.0) as u8);
        }
    }
    MemoryVolume::from_bytes(extent, DType::Uint8, bytes, Metadata::default()).unwrap()
}

const EXTENT: [u64; 3] = [96, 45, 40];

/// Records with a flag.
fn records(v: &Volume, flag: u8) -> usize {
    let records = v.reader().models().iter();
    records.filter(|r| r.payload[6] & flag != 0).count()
}

fn curves(v: &Volume) -> usize {
    records(v, 4)
}

fn filters(v: &Volume) -> usize {
    records(v, 64)
}

fn psnr(v: &Volume, source: &MemoryVolume) -> f64 {
    let decoded = volumes::read(v, 0, v.levels() - 1, &Region::whole(EXTENT)).unwrap();
    let mut original = vec![0; decoded.len()];
    source.read(&Region::whole(EXTENT), &mut original).unwrap();
    let pairs = decoded.iter().zip(&original);
    let sse: f64 = pairs
        .map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2))
        .sum();
    let span = f64::from(*original.iter().max().unwrap());
    10.0 * (span * span * decoded.len() as f64 / sse).log10()
}

fn encode_to(path: &Path, source: &MemoryVolume, options: &EncodeOptions) -> f64 {
    let report = encode(source, path, options, &|_| ControlFlow::Continue(())).unwrap();
    report.psnr.unwrap()
}

fn at(path: &Path) -> Volume {
    open(memory(&std::fs::read(path).unwrap())).unwrap()
}

#[test]
fn targets_hold_along_a_curve() {
    let (source, folder) = (materials(EXTENT), tempfile::tempdir().unwrap());
    let path = folder.path().join("v.hgv");
    for preset in [Preset::Balanced, Preset::Best] {
        for levels in [1, 3] {
            let options = options(|o| {
                (o.target, o.levels) = (Target::Psnr(38.0), levels);
                (o.preset, o.model, o.force) = (preset, ModelChoice::Dense, true);
            });
            let reported = encode_to(&path, &source, &options);
            let v = at(&path);
            assert!(curves(&v) > 0, "{preset:?}: no curve");
            assert!(filters(&v) > 0, "{preset:?}: no filter");
            let found = psnr(&v, &source);
            assert!((38.0..38.6).contains(&found), "{preset:?}: {found} dB");
            assert!((found - reported).abs() < 0.01, "{found} {reported}");
        }
    }
    let fast = options(|o| (o.preset, o.force) = (Preset::Fast, true));
    encode_to(&path, &source, &fast);
    assert_eq!(curves(&at(&path)) + filters(&at(&path)), 0);
}

#[test]
fn shards_and_recovery_have_the_voxels_of_the_whole() {
    let (source, folder) = (materials(EXTENT), tempfile::tempdir().unwrap());
    let path = |name: &str| folder.path().join(name);
    let base = options(|o| o.target = Target::Quality(40.0));
    encode_file(&source, &path("whole"), &base);
    let inputs: Vec<PathBuf> = (0..2)
        .map(|i| {
            let part = path(&format!("part{i}"));
            encode_file(&source, &part, &base.clone().with_shard(i, 2));
            part
        })
        .collect();
    merge(&inputs, &path("merged"), &base, &|_| {
        ControlFlow::Continue(())
    })
    .unwrap();
    recover(&path("whole"), &path("back"), false).unwrap();
    let whole = at(&path("whole"));
    assert!(curves(&whole) > 0 && filters(&whole) > 0);
    let voxels = read_all(&whole).unwrap();
    assert!(read_all(&at(&path("merged"))).unwrap() == voxels);
    assert!(read_all(&at(&path("back"))).unwrap() == voxels);
    // At voxels, the function between voxels is what is read.
    let points: Vec<[f64; 3]> = (0..40).map(|i| [f64::from(2 * i), 22.0, 18.0]).collect();
    let last = whole.levels() - 1;
    for (p, value) in points.iter().zip(whole.sample(0, last, &points).unwrap()) {
        let start = p.map(|c| c as u64);
        let one = Region {
            start,
            end: start.map(|c| c + 1),
        };
        let read = volumes::read(&whole, 0, last, &one).unwrap();
        assert_eq!(value, f32::from(read[0]), "{p:?}");
    }
}

/// The files whose records a curve makes bad, with their errors.
#[test]
fn malformed_curves_have_their_exact_errors() {
    let of = |at: usize, bytes: &[u8]| {
        let mut payload = record();
        payload[at..at + bytes.len()].copy_from_slice(bytes);
        payload
    };
    let reversible = |frac_bits: u8, step: u64| {
        let head = [0, 0, frac_bits, 1, 8, 5, 32, 0];
        [head.to_vec(), step.to_le_bytes().to_vec()].concat()
    };
    assert_eq!(error(&file(&reversible(0, 1 << 16))), None);
    let cut = record()[..WITH_CURVE - 1].to_vec();
    let filter_of = |limit: u32| {
        let mut payload = filtered();
        payload[WITH_CURVE..WITH_CURVE + 4].copy_from_slice(&limit.to_le_bytes());
        payload
    };
    // Segments of 2^9 with 4 fractional bits have room for 12 of working values.
    let mut no_room = filtered();
    no_room[2] = 13;
    let tail = &filtered()[WITH_CURVE..];
    let mut reversible_filter = [&reversible(0, 1 << 16), tail].concat();
    reversible_filter[6] |= 64;
    let cases = [
        ("4-curve-reserved-byte", of(7, &[1])),
        ("4-reversible-curve", of(2, &[0, 1, 8, 5, 32 | 4])),
        ("4-reversible-unit", reversible(1, 1 << 16)),
        ("4-reversible-step", reversible(0, 1 << 17)),
        ("4-curve-flag-alone", of(6, &[0])),
        ("4-curve-short", cut),
        ("4-curve-missing", record()[..WaveletModel::BYTES].to_vec()),
        ("4-curve-long", [record(), vec![0]].concat()),
        ("4-curve-segment-3", of(20, &[3])),
        ("4-curve-segment-25", of(20, &[25])),
        ("4-curve-fraction-17", of(21, &[17])),
        ("4-curve-fraction-low", of(21, &(-17i8).to_le_bytes())),
        ("4-curve-no-shift", of(21, &(-9i8).to_le_bytes())),
        ("4-curve-flat", of(22, &[0; 2 * SEGMENTS])),
        ("4-filter-missing", of(6, &[64 | 4])),
        ("4-filter-long", [filtered(), vec![0]].concat()),
        (
            "4-filter-short",
            filtered()[..filtered().len() - 1].to_vec(),
        ),
        ("4-filter-limit-0", filter_of(0)),
        ("4-filter-limit-high", filter_of((1 << 24) + 1)),
        ("4-filter-no-room", no_room),
        ("4-filter-reversible", reversible_filter),
    ];
    assert_eq!(error(&file(&record())), None);
    assert_eq!(error(&file(&filtered())), None);
    let made: Vec<_> = (cases.iter())
        .map(|(name, payload)| (*name, file(payload)))
        .collect();
    check_bad("curve", &made, usize::MAX, error);
}

/// A good record with a curve.
fn record() -> Vec<u8> {
    let model = WaveletModel {
        coder: Coder::R,
        precision: Precision::I16,
        frac_bits: 2,
        qualities: 1,
        step_q16: 1 << 20,
        recon_one: 8,
        recon_more: 5,
        residual: Residual::None,
        mask: false,
        reversible: false,
        filters: None,
        ranks: false,
        curve: Some(Curve {
            start: -1000,
            segment_log2: 9,
            fraction: 4,
            rises: [2000; SEGMENTS],
        }),
    };
    model.to_bytes()
}

/// The same with a filter.
fn filtered() -> Vec<u8> {
    let mut payload = [record(), Filter::NONE.to_bytes().to_vec()].concat();
    payload[6] |= 64;
    payload
}

/// A file of one block without coefficients.
fn file(payload: &[u8]) -> Vec<u8> {
    let mut plan = FilePlan::new([5, 4, 3], DType::Int16, 5, 1, (-1000, 1000)).unwrap();
    plan.models = vec![ModelRecord {
        id: 0,
        kind: WaveletModel::KIND,
        payload: payload.to_vec(),
    }];
    let block = BlockPayload {
        model: 0,
        range: [0, 255],
        errors: vec![[0; 2]],
        layers: vec![Vec::new(); 3],
    };
    file_bytes(&Sample {
        plan,
        options: WriterOptions::default(),
        blocks: BTreeMap::from([((0, [0; 3]), BlockRecord::Payload(block))]),
        stats: None,
    })
}

fn error(bytes: &[u8]) -> Option<String> {
    let read = |v: Volume| volumes::read(&v, 0, 0, &Region::whole([5, 4, 3]));
    let volume = Volume::from_source(memory(bytes), Limits::default());
    volume.and_then(read).err().map(|e| e.to_string())
}
