//! Quality targets: met within their tolerance by what the decoder gives back, at a bounded cost,
//! the same for any number of threads, and refused where nothing meets them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ops::ControlFlow;
use std::path::PathBuf;

use hgv::encode::{EncodeOptions, EncodeReport, FirstGuess, Preset, Target, encode};
use hgv::quality::{CompareOptions, Comparison, compare};
use hgv::volume::{DType, MemoryVolume, Metadata, VoxelSource};
use hgv::{Error, Volume};

const EXTENT: [u64; 3] = [128, 96, 64];
const SSIM: [f64; 4] = [0.9, 0.95, 0.98, 0.99];

/// Waves, an empty part, an edge and noise, 0 to 1.
fn field([w, h, d]: [u64; 3]) -> Vec<f64> {
    let mut state = 88_172_645_463_325_252u64;
    let mut out = Vec::new();
    for i in 0..w * h * d {
        let [x, y, z] = [i % w, i / w % h, i / (w * h)].map(|v| v as f64);
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let noise = (state >> 40) as f64 / (1 << 24) as f64 - 0.5;
        let wave = (x / 5.0).sin() * (y / 9.0).cos() + (z / 4.0 + x / 11.0).sin();
        let edge = if x + 2.0 * y > z + 90.0 { 0.3 } else { 0.0 };
        let inside = x > 30.0 || w < 30;
        let value = if inside {
            0.35 + wave * 0.12 + edge + noise * 0.06
        } else {
            0.0
        };
        out.push(value.clamp(0.0, 1.0));
    }
    out
}

fn volume(extent: [u64; 3], dtype: DType) -> MemoryVolume {
    let values = field(extent);
    let bytes: Vec<u8> = match dtype {
        DType::Uint8 => values.iter().map(|v| (v * 255.0) as u8).collect(),
        DType::Float32 => {
            let floats = values.iter().map(|v| (v * 7.0 - 2.0) as f32);
            floats.flat_map(f32::to_le_bytes).collect()
        }
        _ => {
            let shorts = values.iter().map(|v| (v * 4000.0) as u16);
            shorts.flat_map(u16::to_le_bytes).collect()
        }
    };
    MemoryVolume::from_bytes(extent, dtype, bytes, Metadata::default()).unwrap()
}

struct Encoded {
    report: EncodeReport,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

fn try_run(
    source: &dyn VoxelSource,
    target: Target,
    set: impl Fn(&mut EncodeOptions),
) -> Result<Encoded, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.hgv");
    let mut options = EncodeOptions::default().with_target(target).with_block(32);
    set(&mut options);
    let report = encode(source, &path, &options, &|_| ControlFlow::Continue(()))?;
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 1, "trials are left behind");
    Ok(Encoded {
        report,
        path,
        _folder: folder,
    })
}

fn run(source: &dyn VoxelSource, target: Target, preset: Preset) -> Encoded {
    try_run(source, target, |o| o.preset = preset).unwrap()
}

fn compared(source: &dyn VoxelSource, encoded: &Encoded) -> Comparison {
    let volume = Volume::open(&encoded.path).unwrap();
    let view = volume.view(0, volume.levels() - 1).unwrap();
    let go = |_, _| ControlFlow::Continue(());
    compare(source, &view, &CompareOptions::default(), &go).unwrap()
}

fn hold(dtype: DType, preset: Preset) {
    let source = volume(EXTENT, dtype);
    let raw = source.bytes().len() as f64;
    let mut costs = Vec::new();
    for db in [36.0, 43.0] {
        let encoded = run(&source, Target::Psnr(db), preset);
        let over = compared(&source, &encoded).psnr.unwrap() - db;
        eprintln!(
            "{db} dB, {dtype} {preset:?}: {over:.3}, {:.2}",
            encoded.report.cost
        );
        assert!((0.0..=0.3).contains(&over), "{over} dB, {dtype} {preset:?}");
        costs.push(encoded.report.cost);
    }
    for target in [Target::Ratio(12.0), Target::Bytes((raw / 40.0) as u64)] {
        let encoded = run(&source, target, preset);
        let most = if let Target::Ratio(r) = target {
            raw / r
        } else {
            (raw / 40.0).floor()
        };
        let size = std::fs::metadata(&encoded.path).unwrap().len();
        let short = 1.0 - size as f64 / most;
        assert!((0.0..=0.05).contains(&short), "{short}, {dtype} {preset:?}");
        costs.push(encoded.report.cost);
    }
    // A volume of 24 blocks has room for a sample of one; larger ones do better.
    let mean = costs.iter().sum::<f64>() / costs.len() as f64;
    let all = costs.iter().all(|c| *c <= 3.2);
    assert!(all && mean <= 2.2, "{costs:?}, {dtype} {preset:?}");
    let encoded = run(&source, Target::Ssim(SSIM), preset);
    let found = compared(&source, &encoded).ssim;
    let margins = found.iter().zip(SSIM).map(|(s, w)| s.unwrap() - w);
    let margin = margins.fold(1.0, f64::min);
    assert!(
        (0.0..=0.01).contains(&margin),
        "{found:?}, {dtype} {preset:?}"
    );
    assert!(encoded.report.cost <= 3.2, "{:?}", encoded.report);
}

#[test]
fn met_by_integers() {
    hold(DType::Uint8, Preset::Fast);
    hold(DType::Uint16, Preset::Balanced);
}

#[test]
fn met_by_floats() {
    hold(DType::Float32, Preset::Fast);
    hold(DType::Float32, Preset::Balanced);
}

#[test]
fn bounds_hold_in_one_encode() {
    for dtype in [DType::Uint8, DType::Float32] {
        let source = volume([70, 50, 40], dtype);
        for preset in [Preset::Fast, Preset::Balanced] {
            for share in [0.05, 0.001] {
                let encoded = run(&source, Target::MaxErrorRel(share), preset);
                let error = compared(&source, &encoded).max_rel_error.unwrap();
                assert!(error <= share, "{error} over {share}");
                assert_eq!(encoded.report.passes, 1);
            }
            let encoded = run(&source, Target::Lossless, preset);
            assert!(compared(&source, &encoded).identical);
        }
    }
}

/// Neither the file nor the cost depends on the number of threads.
#[test]
fn threads_change_nothing() {
    let source = volume(EXTENT, DType::Uint8);
    for target in [Target::Psnr(40.0), Target::Ratio(20.0), Target::Ssim(SSIM)] {
        let files = [1, 3].map(|threads| {
            let encoded = try_run(&source, target, |o| {
                (o.threads, o.preset) = (threads, Preset::Fast);
            });
            let encoded = encoded.unwrap();
            (std::fs::read(&encoded.path).unwrap(), encoded.report.cost)
        });
        assert!(files[0] == files[1], "{target:?}");
    }
}

#[test]
fn what_nothing_meets_is_refused() {
    let floats = volume([40, 36, 33], DType::Float32);
    for target in [
        Target::Psnr(400.0),
        Target::Ssim([1.0; 4]),
        Target::Bytes(300),
        Target::Ratio(1e6),
    ] {
        let found = try_run(&floats, target, |o| o.preset = Preset::Fast);
        assert!(matches!(found, Err(Error::Target(_))), "{target:?}");
    }
    // Integers come back exactly if nothing else will do.
    let integers = volume([40, 36, 33], DType::Uint8);
    for target in [Target::Psnr(400.0), Target::Ssim([1.0; 4])] {
        let encoded = run(&integers, target, Preset::Fast);
        assert!(compared(&integers, &encoded).identical, "{target:?}");
    }
}

/// Constant volumes, and those smaller than a block or a window.
#[test]
fn small_and_empty_volumes_end() {
    let flat = MemoryVolume::new([40, 33, 32], &[7u8; 40 * 33 * 32], Metadata::default()).unwrap();
    let tiny = volume([5, 4, 3], DType::Float32);
    for target in [Target::Psnr(40.0), Target::Ssim(SSIM), Target::Ratio(2.0)] {
        let encoded = run(&flat, target, Preset::Balanced);
        assert!(compared(&flat, &encoded).identical && encoded.report.passes <= 2);
    }
    let encoded = run(&tiny, Target::Psnr(40.0), Preset::Balanced);
    assert!(compared(&tiny, &encoded).psnr.unwrap() >= 40.0);
    run(&tiny, Target::Ssim(SSIM), Preset::Balanced);
}

#[test]
fn any_first_guess_ends_within_the_tolerance_and_all_work_is_counted() {
    let source = volume(EXTENT, DType::Uint8);
    let guesses = [
        FirstGuess::Predicted,
        FirstGuess::Survey,
        FirstGuess::Exponent(1.0),
        FirstGuess::Exponent(9.0),
    ];
    for guess in guesses {
        let encoded = try_run(&source, Target::Ssim(SSIM), |o| {
            o.preset = Preset::Fast;
            o.first_guess = guess;
        });
        let encoded = encoded.unwrap();
        let found = compared(&source, &encoded).ssim;
        let margins = found.iter().zip(SSIM).map(|(s, w)| s.unwrap() - w);
        let margin = margins.fold(1.0, f64::min);
        assert!((0.0..=0.01).contains(&margin), "{guess:?}: {found:?}");
        let report = &encoded.report;
        assert!(report.cost > f64::from(report.passes) + 0.05, "{report:?}");
    }
    let quality = Target::Quality(50.0);
    assert_eq!(run(&source, quality, Preset::Fast).report.cost, 1.0);
    // Choosing a curve and filters codes blocks of a sample.
    let balanced = run(&source, quality, Preset::Balanced).report;
    assert!((1.1..2.0).contains(&balanced.cost), "{balanced:?}");
}
