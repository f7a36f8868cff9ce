//! Files of grid models: what their index says, what their levels are worth, and that the encoder
//! takes them where they win.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod volumes;

use std::ops::ControlFlow;

use hgv::backend::cpu::{CpuBackend, CpuLevel};
use hgv::decode::{BlockKind, verify};
use hgv::encode::{ModelChoice, Preset, Target};
use hgv::volume::{DType, MemoryVolume, Metadata, Region};
use volumes::{Field, MODELS, encoded, memory, open, read, read_all};

const EXTENT: [u64; 3] = [45, 36, 34];

fn squared_error(a: &[u8], b: &[u8]) -> f64 {
    let each = a.iter().zip(b).map(|(a, b)| f64::from(*a) - f64::from(*b));
    each.map(|d| d * d).sum()
}

fn whole(v: &hgv::Volume, lod: u32, level: u32) -> Vec<u8> {
    read(v, lod, level, &Region::whole(v.lod_extent(lod).unwrap())).unwrap()
}

/// Means of boxes of `2^lod` voxels.
fn means(source: &MemoryVolume, [w, h, d]: [u64; 3], lod: u32) -> Vec<f64> {
    let side = 1 << lod;
    let bytes = source.bytes();
    let corners = |n: u64| (0..n.div_ceil(side)).map(move |i| i * side..((i + 1) * side).min(n));
    let mut out = Vec::new();
    for zs in corners(d) {
        for ys in corners(h) {
            for xs in corners(w) {
                let (mut sum, mut count) = (0.0, 0.0);
                for (z, y) in zs.clone().flat_map(|z| ys.clone().map(move |y| (z, y))) {
                    for x in xs.clone() {
                        sum += f64::from(bytes[((z * h + y) * w + x) as usize]);
                        count += 1.0;
                    }
                }
                out.push(sum / count);
            }
        }
    }
    out
}

/// Every stored figure is that of the decoded voxels, for every model, type and kind of table.
#[test]
fn figures_of_the_index_are_real() {
    for (dtype, span, table_log2, target) in [
        (DType::Uint8, 255.0, 22, Target::Quality(55.0)),
        (DType::Uint16, 50_000.0, 9, Target::Quality(75.0)),
        (DType::Uint16, 300.0, 22, Target::Lossless),
    ] {
        for (model, preset) in &MODELS[1..] {
            let source = Field {
                span,
                ..Field::default()
            }
            .volume(EXTENT, dtype);
            let bytes = encoded(&source, |o| {
                (o.target, o.levels, o.table_log2) = (target, 4, table_log2);
                (o.model, o.preset) = (*model, *preset);
            });
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), &bytes).unwrap();
            let go = |_| ControlFlow::Continue(());
            let report = verify(file.path(), Some(&source), 2, &go).unwrap();
            assert_eq!(report.problem_count, 0, "{model:?} {target:?}: {report:?}");
        }
    }
}

/// Each quality is better than the one before and takes more bytes; coarse levels of detail show
/// the volume as its means do.
#[test]
fn levels_and_lods_make_sense() {
    let source = Field::default().volume(EXTENT, DType::Uint8);
    for (model, preset) in MODELS {
        let bytes = encoded(&source, |o| {
            (o.target, o.levels) = (Target::Quality(60.0), 4);
            (o.model, o.preset) = (model, preset);
        });
        let v = open(memory(&bytes)).unwrap();
        let errors: Vec<f64> = (0..4)
            .map(|level| squared_error(source.bytes(), &whole(&v, 0, level)))
            .collect();
        assert!(
            errors.windows(2).all(|e| e[1] < e[0]),
            "{model:?}: {errors:?}"
        );
        let sizes: Vec<u64> = v.info().unwrap().levels.iter().map(|l| l.bytes).collect();
        assert!(sizes.is_sorted(), "{model:?}: {sizes:?}");
        for lod in 1..=2 {
            let means = means(&source, EXTENT, lod);
            for level in 0..4 {
                let coarse = whole(&v, lod, level);
                let sse: f64 = (coarse.iter().zip(&means))
                    .map(|(&c, m)| (f64::from(c) - m).powi(2))
                    .sum();
                let rmse = (sse / means.len() as f64).sqrt();
                eprintln!("{model:?} level of detail {lod}, level {level}: {rmse:.2}");
                // Coarse layers are coarse in value too; a wrong lattice would be off by 40.
                assert!(
                    rmse < 12.0,
                    "{model:?} level of detail {lod}, level {level}: {rmse}"
                );
            }
        }
    }
}

#[test]
fn every_vector_width_decodes_the_same() {
    let source = Field::default().volume(EXTENT, DType::Uint16);
    for table_log2 in [8, 22] {
        let bytes = encoded(&source, |o| {
            (o.target, o.model) = (Target::Quality(60.0), ModelChoice::Hashgrid);
            (o.preset, o.table_log2) = (Preset::Fast, table_log2);
        });
        let all: Vec<_> = CpuLevel::available()
            .into_iter()
            .map(|level| {
                let cpu = CpuBackend::with_level(level).unwrap();
                read_all(&open(memory(&bytes)).unwrap().with_cpu(cpu)).unwrap()
            })
            .collect();
        assert!(all.iter().all(|v| *v == all[0]));
        // A wrong lattice, hash or layer would show as noise.
        let v = open(memory(&bytes)).unwrap();
        assert!(v.info().unwrap().models["hashgrid"] > 0);
    }
}

/// Blocks along x: a smooth wave of few features, noise, and steps.
fn mixed() -> MemoryVolume {
    let extent = [96u64, 32, 32];
    let mut state = 7u64;
    let mut bytes = Vec::new();
    for (z, y) in (0..extent[2]).flat_map(|z| (0..extent[1]).map(move |y| (z, y))) {
        for x in 0..extent[0] {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let noise = (state >> 40) as f64 / (1u64 << 24) as f64;
            let [fx, fy, fz] = [x, y, z].map(|v| v as f64 - 16.0);
            let far = (fx * fx + fy * fy + fz * fz).sqrt();
            bytes.push(match x / 32 {
                0 => 128.0 + 100.0 * (-far * far / 90.0).exp(),
                1 => 100.0 + 60.0 * noise,
                _ => 60.0 + 120.0 * f64::from(u8::from((x + y + z) % 40 < 17)),
            } as u8);
        }
    }
    MemoryVolume::from_bytes(extent, DType::Uint8, bytes, Metadata::default()).unwrap()
}

/// The squared error that a bit is worth: `LAMBDA` of the encoder, for a step of quality `q` of
/// bytes that span `span`.
fn lambda(span: f64, quality: f64) -> f64 {
    let step = span * (-(0.5 + quality / 10.0)).exp2();
    0.1155 * step * step
}

/// Squared error plus lambda times bits, for all models at the same step.
#[test]
fn the_choice_per_block_is_never_worse_than_wavelets() {
    let volumes = [
        Field::default().volume(EXTENT, DType::Uint8),
        Field {
            noise: 0.3,
            ..Field::default()
        }
        .volume(EXTENT, DType::Uint8),
        mixed(),
    ];
    let mut grids = 0;
    for (i, source) in volumes.iter().enumerate() {
        let (min, max) = (source.bytes().iter().min(), source.bytes().iter().max());
        let span = f64::from(*max.unwrap()) - f64::from(*min.unwrap());
        for quality in [30.0, 55.0] {
            let cost = |model: ModelChoice| {
                let bytes = encoded(source, |o| {
                    (o.target, o.levels) = (Target::Quality(quality), 1);
                    (o.model, o.preset) = (model, Preset::Best);
                });
                let v = open(memory(&bytes)).unwrap();
                let kinds = v.info().unwrap().models;
                let sse = squared_error(source.bytes(), &whole(&v, 0, 0));
                let payload = v.reader().header().payload_bytes as f64;
                let cost = sse + lambda(span, quality) * 8.0 * payload;
                eprintln!(
                    "volume {i}, quality {quality}, {model:?}: {payload} bytes, {cost:.0}, {kinds:?}"
                );
                (
                    cost,
                    kinds.get(BlockKind::Hashgrid.name()).copied().unwrap_or(0),
                )
            };
            let (dense, none) = cost(ModelChoice::Dense);
            let (auto, some) = cost(ModelChoice::Auto);
            assert_eq!(none, 0);
            assert!(
                auto <= 1.01 * dense,
                "volume {i}, quality {quality}: {auto} {dense}"
            );
            grids += some;
        }
    }
    assert!(grids > 0, "grids never win");
}

/// The seed is the only thing random: the same one gives the same file.
#[test]
fn a_seed_decides_everything_random() {
    let source = mixed();
    let run = |seed| {
        encoded(&source, |o| {
            (o.target, o.model) = (Target::Quality(40.0), ModelChoice::Hashgrid);
            (o.seed, o.preset) = (seed, Preset::Fast);
        })
    };
    assert!(run(3) == run(3));
    let other = open(memory(&run(4))).unwrap();
    let first = open(memory(&run(3))).unwrap();
    let [a, b] = [first, other].map(|v| squared_error(source.bytes(), &whole(&v, 0, 2)));
    assert!((a / b - 1.0).abs() < 0.1, "{a} {b}");
}
