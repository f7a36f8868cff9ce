//! Volumes of few distinct values store ranks among them: every bit comes back on every way to the voxels, and a
//! file that breaks a rule about ranks has its exact error.
//! `HGV_WRITE_BAD=1 cargo test --test ranks` writes `tests/bad/ranks` again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod volumes;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::PathBuf;

use common::{Sample, check_bad, file_bytes};
use hgv::decode::verify;
use hgv::encode::{Preset, Target, merge};
use hgv::format::model::ModelRecord;
use hgv::model::{
    Coder, Curve, Filter, Precision, Ranks, Residual, SEGMENTS, ValueMap, WaveletModel,
};
use hgv::volume::{DType, MemoryVolume, Metadata, Region};
use hgv::writer::{BlockPayload, BlockRecord, FilePlan, WriterOptions, recover};
use hgv::{Limits, Volume};
use proptest::prelude::*;
use volumes::{encode_file, encoded, memory, open, options, read, read_all};

/// Bytes of the values of a palette.
type Palette = Vec<Vec<u8>>;

/// A palette of a type, from random numbers.
fn palette(dtype: DType, seeds: &[u32]) -> Palette {
    let value = |&s: &u32| match dtype {
        DType::Uint8 | DType::Int8 => vec![s as u8],
        DType::Uint16 | DType::Int16 => (s as u16).to_le_bytes().to_vec(),
        // Of all magnitudes and both signs, zeros among them.
        _ => {
            let f = f32::from_bits(s);
            let f = if f.is_finite() { f } else { -0.0 };
            f.to_le_bytes().to_vec()
        }
    };
    let all: BTreeSet<Vec<u8>> = seeds.iter().map(value).collect();
    let mut all: Vec<Vec<u8>> = all.into_iter().collect();
    // In the order of values, so that a smooth field of ranks is one of values.
    all.sort_by(|a, b| number(dtype, a).total_cmp(&number(dtype, b)));
    all
}

fn number(dtype: DType, b: &[u8]) -> f32 {
    match dtype {
        DType::Uint8 => b[0].into(),
        DType::Int8 => b[0].cast_signed().into(),
        DType::Uint16 => u16::from_le_bytes([b[0], b[1]]).into(),
        DType::Int16 => i16::from_le_bytes([b[0], b[1]]).into(),
        _ => f32::from_le_bytes([b[0], b[1], b[2], b[3]]),
    }
}

/// A smooth field with some noise that takes all values of the palette.
fn field(extent: [u64; 3], dtype: DType, palette: &Palette) -> (MemoryVolume, Vec<u8>) {
    let mut numbers = common::Numbers(3);
    let mut bytes = Vec::new();
    for (z, y) in (0..extent[2]).flat_map(|z| (0..extent[1]).map(move |y| (z, y))) {
        for x in 0..extent[0] {
            let wave = ((x as f64 / 15.0).sin() + (y as f64 / 9.0 + z as f64 / 7.0).cos()) / 4.0;
            let at = (wave + 0.5) * palette.len() as f64 + numbers.below(3) as f64 - 1.0;
            let rank = (at.max(0.0) as usize).min(palette.len() - 1);
            bytes.extend(&palette[rank]);
        }
    }
    let volume = MemoryVolume::from_bytes(extent, dtype, bytes.clone(), Metadata::default());
    (volume.unwrap(), bytes)
}

fn distinct(v: &Volume) -> Option<u64> {
    v.info().unwrap().distinct_values
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_bit_comes_back(
        dtype in proptest::sample::select(vec![
            DType::Uint8, DType::Int8, DType::Uint16, DType::Int16, DType::Float32,
        ]),
        seeds in proptest::collection::vec(any::<u32>(), 2..90),
        // The last one has an overview.
        extent in proptest::sample::select(vec![[41, 20, 9], [33, 33, 5], [2081, 3, 1]]),
        levels in 1u32..=2,
        preset in proptest::sample::select(vec![Preset::Fast, Preset::Balanced, Preset::Best]),
        start in [0.0f64..1.0, 0.0..1.0, 0.0..1.0],
    ) {
        let palette = palette(dtype, &seeds);
        let (source, bytes) = field(extent, dtype, &palette);
        let file = encoded(&source, |o| {
            (o.target, o.levels, o.preset) = (Target::Lossless, levels, preset);
        });
        let v = open(memory(&file)).unwrap();
        let last = levels - 1;
        prop_assert!(read(&v, 0, last, &Region::whole(extent)).unwrap() == bytes);
        let start = [0, 1, 2].map(|a| (start[a] * extent[a] as f64) as u64);
        let part = Region { start, end: [0, 1, 2].map(|a| (start[a] + 21).min(extent[a])) };
        let mut wanted = vec![0; part.voxels() as usize * dtype.size()];
        hgv::volume::VoxelSource::read(&source, &part, &mut wanted).unwrap();
        prop_assert!(read(&v, 0, last, &part).unwrap() == wanted);
        let mut stored = tempfile::NamedTempFile::new().unwrap();
        stored.write_all(&file).unwrap();
        let go_on = |_| ControlFlow::Continue(());
        let report = verify(stored.path(), Some(&source), 1, &go_on).unwrap();
        prop_assert!(report.problems.is_empty(), "{:?}", report.problems);
        // Coarser voxels are in the range of the values, whatever they are.
        let (low, high) = (number(dtype, &palette[0]), number(dtype, palette.last().unwrap()));
        for all in read_all(&v).unwrap() {
            let numbers = all.chunks_exact(dtype.size()).map(|b| number(dtype, b));
            let slack = (high - low) * 1e-6;
            prop_assert!(numbers.into_iter().all(|n| (low - slack..=high + slack).contains(&n)));
        }
    }
}

/// Multiples of 199, as ranks: far fewer bytes, and every file that can be made from it is the same.
#[test]
fn ranks_are_small_and_survive_shards_and_recovery() {
    let extent = [270, 40, 20];
    let spread: Palette = (0..300u16)
        .map(|i| (199 * i).to_le_bytes().to_vec())
        .collect();
    let dense: Palette = (0..300u16).map(|i| i.to_le_bytes().to_vec()).collect();
    let (source, bytes) = field(extent, DType::Uint16, &spread);
    let file = |p: &Palette| {
        let (source, _) = field(extent, DType::Uint16, p);
        encoded(&source, |o| (o.target, o.levels) = (Target::Lossless, 2))
    };
    let (ranked, plain) = (file(&spread), file(&dense));
    assert!(
        ranked.len() < plain.len() + 600,
        "{} {}",
        ranked.len(),
        plain.len()
    );
    let v = open(memory(&ranked)).unwrap();
    assert_eq!(distinct(&v), Some(300));
    assert_eq!(distinct(&open(memory(&plain)).unwrap()), None);
    // At the lower quality, voxels are values of the palette.
    let coarse = read(&v, 0, 0, &Region::whole(extent)).unwrap();
    assert!(coarse != bytes);
    assert!(
        coarse
            .chunks_exact(2)
            .all(|b| u16::from_le_bytes([b[0], b[1]]) % 199 == 0)
    );

    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let base = options(|o| o.target = Target::Quality(100.0));
    encode_file(&source, &path("whole"), &base);
    let parts: Vec<PathBuf> = (0..2)
        .map(|i| {
            encode_file(
                &source,
                &path(&format!("{i}")),
                &base.clone().with_shard(i, 2),
            );
            path(&format!("{i}"))
        })
        .collect();
    merge(&parts, &path("merged"), &base, &|_| {
        ControlFlow::Continue(())
    })
    .unwrap();
    recover(&path("whole"), &path("back"), false).unwrap();
    for name in ["whole", "merged", "back"] {
        let v = Volume::open(path(name)).unwrap();
        assert_eq!(distinct(&v), Some(300), "{name}");
        let last = v.levels() - 1;
        assert!(
            read(&v, 0, last, &Region::whole(extent)).unwrap() == bytes,
            "{name}"
        );
        let at = [133.0, 17.0, 9.0];
        let one = Region {
            start: [133, 17, 9],
            end: [134, 18, 10],
        };
        let voxel = number(DType::Uint16, &read(&v, 0, last, &one).unwrap());
        assert_eq!(v.sample(0, last, &[at]).unwrap(), [voxel]);
    }
}

/// Every bit of NaNs comes back, and of both zeros among few values.
#[test]
fn special_floats_keep_their_bits() {
    let bits = [
        0x7FC0_1234u32,
        0xFFC0_0001,
        0x7F80_0000,
        0x8000_0000,
        0,
        1,
        0x3F80_0000,
    ];
    let all: Palette = bits.iter().map(|b| b.to_le_bytes().to_vec()).collect();
    for palette in [all.clone(), all[3..].to_vec()] {
        let (source, bytes) = field([50, 20, 9], DType::Float32, &palette);
        let v = open(memory(&encoded(&source, |o| o.target = Target::Lossless))).unwrap();
        assert!(read(&v, 0, v.levels() - 1, &Region::whole([50, 20, 9])).unwrap() == bytes);
    }
}

const RANGE: (i32, i32) = (-1000, 1000);

/// A good record of blocks of ranks.
fn record() -> Vec<u8> {
    let model = WaveletModel {
        coder: Coder::R,
        precision: Precision::I16,
        frac_bits: 0,
        qualities: 1,
        step_q16: 1 << 16,
        recon_one: 8,
        recon_more: 5,
        residual: Residual::Step(1),
        mask: false,
        curve: None,
        reversible: true,
        filters: None,
        ranks: true,
    };
    model.to_bytes()
}

/// A good map: -1000, 0, 700 and 1000.
fn map() -> Vec<u8> {
    let values = ValueMap {
        dtype: DType::Int16,
        exponent: 0,
    };
    let keys = [-1000, 0, 700, 1000].map(|v: i32| (v + 32_768) as u32);
    Ranks::new(values, RANGE, keys.to_vec()).unwrap().to_bytes()
}

/// A file of one block without coefficients.
struct File {
    records: Vec<(u8, Vec<u8>)>,
    model: u16,
    range: [u16; 2],
}

impl File {
    fn good() -> Self {
        let records = vec![(WaveletModel::KIND, record()), (Ranks::KIND, map())];
        Self {
            records,
            model: 0,
            range: [0, 2000],
        }
    }

    fn with_map(map: Vec<u8>) -> Self {
        let mut file = Self::good();
        file.records[1].1 = map;
        file
    }

    fn with_flags(flags: u8, tail: &[u8]) -> Self {
        let mut file = Self::good();
        file.records[0].1[6] = flags;
        file.records[0].1.extend(tail);
        file
    }

    fn bytes(&self) -> Vec<u8> {
        let mut plan = FilePlan::new([5, 4, 3], DType::Int16, 5, 1, RANGE).unwrap();
        let record = |(id, (kind, payload)): (u16, &(u8, Vec<u8>))| ModelRecord {
            id,
            kind: *kind,
            payload: payload.clone(),
        };
        plan.models = (0..).zip(&self.records).map(record).collect();
        let block = BlockPayload {
            model: self.model,
            range: self.range,
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
}

fn read_file(bytes: &[u8]) -> hgv::Result<Vec<u8>> {
    let volume = Volume::from_source(memory(bytes), Limits::default())?;
    read(&volume, 0, 0, &Region::whole([5, 4, 3]))
}

#[test]
fn malformed_maps_have_their_exact_errors() {
    // The middle of four ranks, 1, is the value 0.
    assert!(
        read_file(&File::good().bytes())
            .unwrap()
            .iter()
            .all(|&b| b == 0)
    );
    let of = |at: usize, bytes: &[u8]| {
        let mut map = map();
        map[at..at + bytes.len()].copy_from_slice(bytes);
        File::with_map(map)
    };
    let without = File {
        records: File::good().records[..1].to_vec(),
        ..File::good()
    };
    let mut two = File::good();
    two.records.push((Ranks::KIND, map()));
    let long = [map(), vec![0]].concat();
    let short = map()[..map().len() - 1].to_vec();
    let curve = Curve {
        start: 0,
        segment_log2: 9,
        fraction: 4,
        rises: [2000; SEGMENTS],
    };
    let cases = [
        ("29-no-map", without),
        ("29-two-maps", two),
        (
            "29-block-names-map",
            File {
                model: 1,
                ..File::good()
            },
        ),
        (
            "29-no-value-in-range",
            File {
                range: [1001, 1600],
                ..File::good()
            },
        ),
        ("29-flag-mask", File::with_flags(128 | 32 | 2, &[])),
        (
            "29-flag-float-bits",
            File::with_flags(128 | 32 | 1 | 8, &[]),
        ),
        (
            "29-flag-stepped",
            File::with_flags(128 | 32 | 1 | 16, &[2, 0, 0, 0]),
        ),
        (
            "29-flag-curve",
            File::with_flags(128 | 4, &curve.to_bytes()),
        ),
        (
            "29-flag-filter",
            File::with_flags(128 | 64, &Filter::NONE.to_bytes()),
        ),
        ("29-count-0", of(0, &[0; 4])),
        ("29-count-high", of(0, &[1, 0, 16, 0])),
        ("29-count-over-bits", of(0, &[0, 0, 16, 0])),
        ("29-first-low", of(4, &[0; 4])),
        ("29-first-high", of(4, &[0xFF, 0xFF, 0, 0])),
        (
            "29-gap-0",
            File::with_map([&map()[..8], &[0, 0, 0, 0, 0, 0b0000_0111]].concat()),
        ),
        ("29-gap-high", of(8, &[255; 4])),
        ("29-order-32", of(12, &[32])),
        ("29-gaps-short", File::with_map(short)),
        ("29-gaps-long", File::with_map(long)),
        ("29-head-short", File::with_map(map()[..12].to_vec())),
        ("29-zeros", File::with_map([&map()[..13], &[0; 9]].concat())),
    ];
    let made = cases.map(|(name, file)| (name, file.bytes()));
    check_bad("ranks", &made, usize::MAX, |bytes| {
        read_file(bytes).err().map(|e| e.to_string())
    });
}
