//! The same volume by other ways: encoded twice, recovered, cut into shards and merged.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod volumes;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use hgv::encode::{EncodeOptions, ModelChoice, Preset, Target, merge};
use hgv::volume::{DType, MemoryVolume, Region};
use hgv::writer::recover;
use hgv::{Error, Volume};
use proptest::prelude::*;
use volumes::{Field, MODELS, encode_file, encoded, memory, open, options, read, read_all};

fn parts(folder: &Path, source: &MemoryVolume, count: u32, base: &EncodeOptions) -> Vec<PathBuf> {
    (0..count)
        .map(|i| {
            let path = folder.join(format!("part{i}.hgv"));
            let options = EncodeOptions::clone(base);
            let options = shard(options, i, count);
            encode_file(source, &path, &options);
            path
        })
        .collect()
}

fn shard(mut options: EncodeOptions, i: u32, count: u32) -> EncodeOptions {
    options.shard = Some((i, count));
    options
}

fn at(path: &Path) -> Volume {
    open(memory(&std::fs::read(path).unwrap())).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever the options: two encodes are the same bytes, and a recovered whole file decodes
    /// to the same voxels at every level.
    #[test]
    fn encoding_repeats_and_recovery_keeps_everything(
        extent in [1u64..=70, 1u64..=70, 1u64..=40],
        wide in any::<bool>(),
        levels in 1u32..=4,
        fast in any::<bool>(),
        target in prop_oneof![
            Just(Target::Lossless),
            (10.0..80.0f64).prop_map(Target::Quality),
            (30.0..45.0f64).prop_map(Target::Psnr),
        ],
        threads in 1usize..=3,
        seed in any::<u64>(),
    ) {
        let models = [(ModelChoice::Auto, if fast { Preset::Fast } else { Preset::Balanced })];
        hold(extent, wide, levels, target, threads, seed, &models)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    /// The same with grids.
    #[test]
    fn encoding_grids_repeats_and_recovery_keeps_everything(
        extent in [1u64..=40, 1u64..=36, 1u64..=34],
        wide in any::<bool>(),
        levels in 1u32..=4,
        target in prop_oneof![
            Just(Target::Lossless),
            (10.0..80.0f64).prop_map(Target::Quality),
        ],
        threads in 1usize..=3,
        seed in any::<u64>(),
    ) {
        hold(extent, wide, levels, target, threads, seed, &MODELS[1..])?;
    }
}

/// Two encodes are the same bytes, and a recovered whole file has the same voxels.
fn hold(
    extent: [u64; 3],
    wide: bool,
    levels: u32,
    target: Target,
    threads: usize,
    seed: u64,
    models: &[(ModelChoice, Preset)],
) -> Result<(), TestCaseError> {
    let (dtype, span) = if wide {
        (DType::Uint16, 9000.0)
    } else {
        (DType::Uint8, 200.0)
    };
    let field = Field {
        span,
        seed,
        noise: 0.03,
        empty_to_x: seed % 40,
    };
    let source = field.volume(extent, dtype);
    for &model in models {
        let run = |threads| {
            encoded(&source, |o| {
                (o.levels, o.target, o.threads) = (levels, target, threads);
                (o.model, o.preset, o.seed) = (model.0, model.1, seed);
            })
        };
        let bytes = run(1);
        prop_assert!(run(threads) == bytes, "two encodes differ");
        let folder = tempfile::tempdir().unwrap();
        let (whole, back) = (
            folder.path().join("whole.hgv"),
            folder.path().join("back.hgv"),
        );
        std::fs::write(&whole, &bytes).unwrap();
        let report = recover(&whole, &back, false).unwrap();
        prop_assert_eq!(report.lost_blocks, Some(0));
        let voxels = read_all(&open(memory(&bytes)).unwrap()).unwrap();
        prop_assert!(read_all(&at(&back)).unwrap() == voxels);
    }
    Ok(())
}

/// Merged shards are the whole: tier 0 bit for bit, and an overview made from it.
#[test]
fn merged_shards_decode_like_the_whole() {
    // Three pages along x, two along y; over 64 blocks, so there is an overview.
    let dense = [32 * 17, 32 * 9, 20];
    // Thin, so that grids are fitted soon.
    let thin = [32 * 17, 32 * 9, 3];
    for (count, extent, (model, preset)) in [
        (1, dense, MODELS[0]),
        (2, dense, MODELS[0]),
        (4, dense, MODELS[0]),
        (2, thin, MODELS[1]),
        (3, thin, MODELS[2]),
    ] {
        let source = Field::default().volume(extent, DType::Uint8);
        let folder = tempfile::tempdir().unwrap();
        let base = options(|o| {
            (o.target, o.levels) = (Target::Quality(50.0), 2);
            (o.model, o.preset) = (model, preset);
        });
        let whole_path = folder.path().join("whole.hgv");
        encode_file(&source, &whole_path, &base);
        let inputs = parts(folder.path(), &source, count, &base);
        let merged_path = folder.path().join("merged.hgv");
        let report = merge(&inputs, &merged_path, &base, &|_| ControlFlow::Continue(())).unwrap();
        assert_eq!(
            (report.missing_pages, report.missing_overview.len()),
            (0, 0)
        );
        let (whole, merged) = (at(&whole_path), at(&merged_path));
        assert_eq!((whole.lods(), merged.lods()), (7, 7));
        // Tier 0 serves levels of detail 0, 1 and 2; the overview comes from the same voxels.
        assert!(
            read_all(&whole).unwrap() == read_all(&merged).unwrap(),
            "{count} shards, {model:?}"
        );
        merged.reader().verify_structure().unwrap();
    }
}

/// A shard says which blocks it does not have.
#[test]
fn a_shard_reads_what_it_has_and_names_what_it_has_not() {
    let extent = [32 * 10, 16, 16];
    let source = Field::default().volume(extent, DType::Uint8);
    let folder = tempfile::tempdir().unwrap();
    let base = options(|o| o.target = Target::Quality(40.0));
    let whole = open(memory(&encoded(&source, |o| *o = base.clone()))).unwrap();
    let paths = parts(folder.path(), &source, 2, &base);
    let halves = [
        Region::new([0, 0, 0], [256, 16, 16]).unwrap(),
        Region::new([256, 0, 0], extent).unwrap(),
    ];
    for (i, path) in paths.iter().enumerate() {
        let shard = at(path);
        let level = shard.levels() - 1;
        let (mine, other) = (&halves[i], &halves[1 - i]);
        assert!(read(&shard, 0, level, mine).unwrap() == read(&whole, 0, level, mine).unwrap());
        let error = read(&shard, 0, level, other).unwrap_err();
        assert!(
            matches!(error, Error::NotWritten { tier: 0, .. }),
            "{error}"
        );
    }
}
