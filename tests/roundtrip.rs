//! Encode and decode through the public API: any extent, every type, all levels.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ops::ControlFlow;
use std::path::PathBuf;

use hgv::Volume;
use hgv::encode::{EncodeOptions, EncodeReport, ModelChoice, Preset, Target, encode};
use hgv::volume::{DType, MemoryVolume, Metadata, Region, VoxelSource};
use proptest::prelude::*;

/// A smooth field with an edge and noise, `amplitude` high.
fn field(extent: [u64; 3], amplitude: f64, seed: u64) -> Vec<f64> {
    let [w, h, d] = extent;
    let mut state = seed | 1;
    let mut out = Vec::new();
    for z in 0..d {
        for y in 0..h {
            for x in 0..w {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let noise = (state >> 40) as f64 / (1 << 24) as f64 - 0.5;
                let (fx, fy, fz) = (x as f64 / 9.0, y as f64 / 13.0, z as f64 / 7.0);
                let smooth = (fx.sin() + fy.cos() + (fz + fx).sin()) / 6.0 + 0.5;
                let edge = if x + 2 * y > z + 20 { 0.25 } else { 0.0 };
                out.push((smooth * 0.7 + edge + noise * 0.03).clamp(0.0, 1.0) * amplitude);
            }
        }
    }
    out
}

fn volume(extent: [u64; 3], dtype: DType, seed: u64) -> MemoryVolume {
    let bytes: Vec<u8> = match dtype {
        DType::Uint8 => field(extent, 255.0, seed)
            .iter()
            .map(|&v| v as u8)
            .collect(),
        DType::Int8 => field(extent, 255.0, seed)
            .iter()
            .map(|&v| (v as i32 - 128) as i8 as u8)
            .collect(),
        DType::Uint16 => field(extent, 65535.0, seed)
            .iter()
            .flat_map(|&v| (v as u16).to_le_bytes())
            .collect(),
        DType::Int16 => field(extent, 4000.0, seed)
            .iter()
            .flat_map(|&v| (v as i16 - 1000).to_le_bytes())
            .collect(),
        _ => field(extent, 1e-3, seed)
            .iter()
            .flat_map(|&v| (v as f32 - 7e-4).to_le_bytes())
            .collect(),
    };
    MemoryVolume::from_bytes(extent, dtype, bytes, Metadata::default()).unwrap()
}

/// Block models with the preset that they are tried with.
const MODELS: [(ModelChoice, Preset); 3] = [
    (ModelChoice::Dense, Preset::Balanced),
    (ModelChoice::Hashgrid, Preset::Fast),
    (ModelChoice::Auto, Preset::Best),
];

struct Encoded {
    _folder: tempfile::TempDir,
    path: PathBuf,
    report: EncodeReport,
}

fn run(source: &MemoryVolume, change: impl FnOnce(&mut EncodeOptions)) -> Encoded {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.hgv");
    let mut options = EncodeOptions::default();
    change(&mut options);
    let report = encode(source, &path, &options, &|_| ControlFlow::Continue(())).unwrap();
    assert_eq!(
        std::fs::read_dir(&folder).unwrap().count(),
        1,
        "only the output is left"
    );
    Encoded {
        _folder: folder,
        path,
        report,
    }
}

fn read_all(v: &Volume, lod: u32, level: u32) -> Vec<u8> {
    let region = Region::whole(v.lod_extent(lod).unwrap());
    let mut out = vec![0; region.voxels() as usize * v.dtype().size()];
    v.read_region_bytes(lod, level, &region, &mut out).unwrap();
    out
}

fn values(bytes: &[u8], dtype: DType) -> Vec<f64> {
    match dtype {
        DType::Uint8 => bytes.iter().map(|&b| f64::from(b)).collect(),
        DType::Int8 => bytes.iter().map(|&b| f64::from(b as i8)).collect(),
        DType::Uint16 => bytes
            .chunks(2)
            .map(|b| f64::from(u16::from_le_bytes([b[0], b[1]])))
            .collect(),
        DType::Int16 => bytes
            .chunks(2)
            .map(|b| f64::from(i16::from_le_bytes([b[0], b[1]])))
            .collect(),
        _ => bytes
            .chunks(4)
            .map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])))
            .collect(),
    }
}

fn largest_error(a: &[u8], b: &[u8], dtype: DType) -> f64 {
    values(a, dtype)
        .iter()
        .zip(values(b, dtype))
        .map(|(x, y)| (x - y).abs())
        .fold(0.0, f64::max)
}

/// What an encode of any volume is tried with.
#[derive(Debug, Clone)]
struct Case {
    extent: [u64; 3],
    dtype: DType,
    levels: u32,
    block: u32,
    quality: f64,
    seed: u64,
    model: (ModelChoice, Preset),
    table_log2: u8,
}

impl Case {
    /// A third each: every bit, a bound on each voxel, a quality.
    fn target(&self) -> Target {
        match (self.seed % 3, self.dtype) {
            (0, _) => Target::Lossless,
            (1, DType::Float32) => Target::MaxErrorRel((-self.quality / 6.0).exp2()),
            (1, _) => Target::MaxError((self.quality / 6.0 - 4.0).exp2()),
            _ => Target::Quality(self.quality),
        }
    }

    fn encode(&self, source: &MemoryVolume) -> Encoded {
        run(source, |o| {
            (o.levels, o.block, o.table_log2) = (self.levels, self.block, self.table_log2);
            (o.model, o.preset) = self.model;
            o.target = self.target();
        })
    }

    /// The last level has the error that the encoder reports, every level of detail has its
    /// extent, regions equal the whole, and lossless comes back bit for bit.
    fn check(&self) -> Result<(), TestCaseError> {
        let Self {
            extent,
            dtype,
            levels,
            ..
        } = *self;
        let source = volume(extent, dtype, self.seed);
        let encoded = self.encode(&source);
        let v = Volume::open(&encoded.path).unwrap();
        prop_assert_eq!((v.extent(), v.dtype(), v.levels()), (extent, dtype, levels));
        let decoded = read_all(&v, 0, levels - 1);
        let error = largest_error(source.bytes(), &decoded, dtype);
        prop_assert!(
            (error - encoded.report.max_abs_error).abs() <= 1e-5 * (1.0 + error),
            "{error} {:?}",
            encoded.report
        );
        match self.target() {
            Target::Lossless => prop_assert_eq!(source.bytes(), &decoded[..]),
            Target::MaxError(bound) => prop_assert!(error <= bound, "{} over {}", error, bound),
            Target::MaxErrorRel(share) => {
                let all = values(source.bytes(), dtype);
                let (min, max) = all
                    .iter()
                    .fold((f64::MAX, f64::MIN), |(a, b), &v| (a.min(v), b.max(v)));
                prop_assert!(error <= share * (max - min), "{} over {}", error, share);
            }
            _ => {}
        }
        for lod in 0..v.lods() {
            let expected = extent.map(|n| n.div_ceil(1 << lod));
            prop_assert_eq!(v.lod_extent(lod).unwrap(), expected);
            let whole = read_all(&v, lod, 0);
            let middle = Region::new(
                expected.map(|n| n / 3),
                expected.map(|n| n / 3 + (n / 2).max(1)),
            )
            .unwrap();
            let mut part = vec![0; middle.voxels() as usize * dtype.size()];
            v.read_region_bytes(lod, 0, &middle, &mut part).unwrap();
            let memory =
                MemoryVolume::from_bytes(expected, dtype, whole, Metadata::default()).unwrap();
            let mut same = vec![0; part.len()];
            memory.read(&middle, &mut same).unwrap();
            prop_assert_eq!(part, same, "lod {}", lod);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_volume_comes_back(
        extent in [1u64..=90, 1u64..=70, 1u64..=50],
        dtype in proptest::sample::select(DType::ALL.to_vec()),
        levels in 1u32..=4,
        block in proptest::sample::select(vec![32u32, 64, 128]),
        quality in 20.0f64..95.0,
        seed in any::<u64>(),
    ) {
        let model = (ModelChoice::Dense, Preset::Balanced);
        Case { extent, dtype, levels, block, quality, seed, model, table_log2: 22 }.check()?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn any_volume_comes_back_from_grids(
        extent in [1u64..=40, 1u64..=36, 1u64..=34],
        dtype in proptest::sample::select(DType::ALL.to_vec()),
        levels in 1u32..=8,
        block in proptest::sample::select(vec![32u32, 64, 128]),
        quality in 20.0f64..95.0,
        seed in any::<u64>(),
        model in proptest::sample::select(MODELS[1..].to_vec()),
        table_log2 in proptest::sample::select(vec![4u8, 9, 22]),
    ) {
        Case { extent, dtype, levels, block, quality, seed, model, table_log2 }.check()?;
    }
}

/// Floats of every kind, NaN with payload, both zeros and subnormals among them, in smooth data and
/// in noise, with blocks that are constant but for the sign of a zero.
#[test]
fn lossless_float32_keeps_every_bit() {
    let smooth = values(
        volume([80, 50, 40], DType::Float32, 4).bytes(),
        DType::Float32,
    );
    let odd = [
        f32::NAN.to_bits(),
        0x7F80_0001,
        0xFFC1_2345,
        f32::INFINITY.to_bits(),
        f32::NEG_INFINITY.to_bits(),
        1 << 31,
        1,
        0x8000_0001,
        f32::MAX.to_bits(),
        f32::MIN.to_bits(),
    ];
    for (name, at) in [
        ("some", (|i| i % 97 == 5) as fn(usize) -> bool),
        ("all", |_| true),
        ("none", |_| false),
    ] {
        let bits = smooth.iter().enumerate().map(|(i, &v)| match i {
            _ if at(i) => odd[i / 97 % odd.len()],
            // Zeros of both signs fill the first block of 32 on x.
            _ if i % 80 < 32 && i % 7 == 0 => 1 << 31,
            _ if i % 80 < 32 => 0,
            _ => (v as f32).to_bits(),
        });
        let bytes = bits.flat_map(u32::to_le_bytes).collect();
        let source =
            MemoryVolume::from_bytes([80, 50, 40], DType::Float32, bytes, Metadata::default())
                .unwrap();
        for model in MODELS {
            let encoded = run(&source, |o| {
                (o.model, o.preset) = model;
                (o.target, o.levels, o.block) = (Target::Lossless, 2, 32);
            });
            let v = Volume::open(&encoded.path).unwrap();
            assert_eq!(source.bytes(), read_all(&v, 0, 1), "{name} {model:?}");
            // What is coarser has numbers everywhere.
            for (lod, level) in [(0, 0), (1, 1), (3, 1)] {
                let coarse = values(&read_all(&v, lod, level), DType::Float32);
                assert!(coarse.iter().all(|v| v.is_finite()), "{name} {model:?}");
            }
        }
    }
}

/// Whatever the model, also with a search for the target; a repeated run is the same too.
#[test]
fn threads_change_no_grid() {
    let source = volume([70, 40, 34], DType::Int16, 5);
    for (model, target) in [
        (MODELS[1], Target::Psnr(45.0)),
        (MODELS[2], Target::Quality(50.0)),
        (MODELS[2], Target::Lossless),
    ] {
        let files = [1, 1, 2, 5].map(|threads| {
            let encoded = run(&source, |o| {
                (o.model, o.preset) = model;
                (o.threads, o.target, o.block) = (threads, target, 32);
            });
            std::fs::read(encoded.path).unwrap()
        });
        assert!(files.iter().all(|f| *f == files[0]), "{model:?} {target:?}");
    }
}

#[test]
fn threads_change_neither_file_nor_voxels() {
    let source = volume([150, 90, 70], DType::Int16, 5);
    let one = run(&source, |o| o.threads = 1);
    let two = run(&source, |o| o.threads = 2);
    assert_eq!(
        std::fs::read(&one.path).unwrap(),
        std::fs::read(&two.path).unwrap()
    );
    let a = Volume::open(&one.path).unwrap().with_threads(1).unwrap();
    let b = Volume::open(&one.path).unwrap().with_threads(2).unwrap();
    assert_eq!(read_all(&a, 0, 2), read_all(&b, 0, 2));
}

/// Targets hold on the decoder's own output, and are not missed by much.
#[test]
fn targets_hold() {
    let source = volume([130, 70, 66], DType::Uint8, 9);
    for preset in [Preset::Fast, Preset::Balanced] {
        hold_targets(&source, (ModelChoice::Auto, preset), 64);
    }
}

#[test]
fn targets_hold_with_grids() {
    let source = volume([45, 36, 34], DType::Uint8, 9);
    for model in MODELS {
        hold_targets(&source, model, 32);
    }
}

fn hold_targets(source: &MemoryVolume, model: (ModelChoice, Preset), block: u32) {
    let raw = source.bytes().len() as f64;
    let report = |target| {
        let encoded = run(source, |o| {
            (o.model, o.preset) = model;
            (o.target, o.block) = (target, block);
        });
        encoded.report
    };
    let psnr = report(Target::Psnr(40.0)).psnr.unwrap();
    assert!((40.0..40.7).contains(&psnr), "{psnr}, {model:?}");
    let wanted = (raw / 30.0) as u64;
    let bytes = report(Target::Bytes(wanted)).file_bytes;
    assert!(
        (wanted * 9 / 10..=wanted).contains(&bytes),
        "{bytes}, {model:?}"
    );
    let ratio = report(Target::Ratio(20.0)).file_bytes as f64;
    assert!(
        (raw / 22.5..=raw / 20.0).contains(&ratio),
        "{ratio}, {model:?}"
    );
    let bound = report(Target::MaxError(6.0)).max_abs_error;
    assert!(bound <= 6.0, "{bound}, {model:?}");
}

/// Each level of detail is the low-pass of the one before: its mean stays, its error against the
/// source's own low-pass is small at high quality.
#[test]
fn levels_of_detail_keep_the_mean() {
    let source = volume([128, 128, 128], DType::Float32, 3);
    let encoded = run(&source, |o| o.target = Target::Quality(90.0));
    let v = Volume::open(&encoded.path).unwrap();
    let mean = |lod| {
        let all = values(&read_all(&v, lod, v.levels() - 1), DType::Float32);
        all.iter().sum::<f64>() / all.len() as f64
    };
    let full = mean(0);
    for lod in 1..v.lods() {
        assert!(
            (mean(lod) - full).abs() < 3e-5,
            "lod {lod}: {} {full}",
            mean(lod)
        );
    }
}

/// NaN and infinities come back where they were, at every level and level of detail, and in the
/// overview tiers; finite voxels keep their quality.
#[test]
fn masks_come_back() {
    hold_masks([200, 180, 170], MODELS[0]);
}

/// Also in blocks four voxels thick, and in a lattice that they barely fill.
#[test]
fn masks_come_back_beside_grids() {
    for model in &MODELS[1..] {
        hold_masks([260, 230, 4], *model);
    }
}

fn hold_masks(extent: [u64; 3], model: (ModelChoice, Preset)) {
    let mut v: Vec<f32> = field(extent, 10.0, 4).iter().map(|&v| v as f32).collect();
    let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    for (i, value) in v.iter_mut().enumerate() {
        let (x, y, z) = (
            i as u64 % extent[0],
            i as u64 / extent[0] % extent[1],
            i as u64 / (extent[0] * extent[1]),
        );
        if (x + y + z) % 97 == 3 || x < 70 && y < 70 && z < 70 {
            *value = special[(x / 8 % 3) as usize];
        }
    }
    let source = MemoryVolume::new(extent, &v, Metadata::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.hgv");
    let mut options = EncodeOptions::default();
    options.block = 32;
    (options.model, options.preset) = model;
    let refused = encode(&source, &path, &options, &|_| ControlFlow::Continue(()))
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("--nan-mask") && refused.contains("at 0, 0, 0"),
        "{refused}"
    );
    options.nan_mask = true;
    encode(&source, &path, &options, &|_| ControlFlow::Continue(())).unwrap();
    let file = Volume::open(&path).unwrap();
    assert!(file.reader().tiers().len() > 1);
    let class = |v: f32| {
        if v.is_finite() {
            0
        } else if v.is_nan() {
            1
        } else if v > 0.0 {
            2
        } else {
            3
        }
    };
    for lod in 0..file.lods() {
        let at = file.lod_extent(lod).unwrap();
        let mut out = vec![0f32; (at[0] * at[1] * at[2]) as usize];
        let level = lod % file.levels();
        file.read_region(lod, level, &Region::whole(at), &mut out)
            .unwrap();
        for (i, &got) in out.iter().enumerate() {
            let p = [
                i as u64 % at[0],
                i as u64 / at[0] % at[1],
                i as u64 / (at[0] * at[1]),
            ]
            .map(|c| c << lod);
            let was = v[((p[2] * extent[1] + p[1]) * extent[0] + p[0]) as usize];
            assert_eq!(class(got), class(was), "lod {lod} at {p:?}");
            assert!(
                lod > 0 || !was.is_finite() || (got - was).abs() < 5.0,
                "{got} {was}"
            );
        }
    }
}
