//! Models of many blocks trained on a device: as good as those that the CPU finds, and the same whatever else
//! is in the batch.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::sync::Arc;

use hgv::backend::cpu::CpuBackend;
use hgv::backend::cuda::train::GridTrainer;
use hgv::backend::cuda::{CudaBackend, Device};
use hgv::bench_api::{BlockLab, JointLab, LabBlock, LabLevel, LabModel};
use hgv::decode::{BlockKind, verify};
use hgv::encode::{EncodeOptions, EncodeReport, ModelChoice, Preset, Target, encode};
use hgv::volume::{DType, MemoryVolume, Metadata, Region, VoxelSource};
use hgv_cuda_emulator::{Emulator, Order, for_each_device, for_one_device};
use hgv_volume_files::{OpenOptions, open_volume};

type Block = ([usize; 3], Vec<f32>);

/// Cubes of a test volume in integer units, and the range of their values.
fn cubes(name: &str, side: u64, most: usize) -> (Vec<Block>, (i32, i32)) {
    let path = hgv_cuda_emulator::repository().join("tests/data");
    let volume = open_volume(&path.join(name), &OpenOptions::default()).unwrap();
    let source = volume.source.as_ref();
    let extent = source.extent();
    let starts = |n: u64| (0..n / side).map(move |i| i * side);
    let mut corners = Vec::new();
    for z in starts(extent[2]) {
        for y in starts(extent[1]) {
            corners.extend(starts(extent[0]).map(|x| [x, y, z]));
        }
    }
    let stride = corners.len().div_ceil(most);
    let mut blocks = Vec::new();
    for corner in corners.into_iter().skip(stride / 2).step_by(stride) {
        let region = Region::new(corner, corner.map(|v| v + side)).unwrap();
        let mut bytes = vec![0; region.voxels() as usize * source.dtype().size()];
        source.read(&region, &mut bytes).unwrap();
        let values = values(source.dtype(), &bytes);
        if values.iter().any(|v| *v != values[0]) {
            blocks.push(([side as usize; 3], values));
        }
    }
    let all = blocks.iter().flat_map(|(_, v)| v);
    let (min, max) = all.fold((f32::MAX, f32::MIN), |(a, b), &v| (a.min(v), b.max(v)));
    (blocks, (min.floor() as i32, max.ceil() as i32))
}

fn values(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    match dtype {
        DType::Uint8 => bytes.iter().map(|&b| f32::from(b)).collect(),
        DType::Int16 => bytes
            .chunks_exact(2)
            .map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])))
            .collect(),
        DType::Float32 => bytes
            .chunks_exact(4)
            .map(|b| 1000.0 * f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect(),
        other => panic!("{other:?} is not among the test volumes"),
    }
}

fn lab((min, max): (i32, i32), step: f64, block_log2: u32, table_log2: u8) -> BlockLab {
    BlockLab::new(min, max, step, 1, block_log2, Preset::Best, false)
        .with_model(ModelChoice::Hashgrid)
        .with_table_log2(table_log2)
}

fn bytes(blocks: &[LabBlock]) -> f64 {
    let all = blocks.iter().flat_map(|b| &b.layers);
    all.map(|&n| n as f64).sum()
}

fn psnr(blocks: &[LabBlock], voxels: usize, (min, max): (i32, i32)) -> f64 {
    let sse: f64 = blocks.iter().map(|b| b.errors.last().unwrap().sse).sum();
    let span = f64::from(max - min);
    10.0 * (span * span * voxels as f64 / sse).log10()
}

/// Mean difference of bytes, in percent, at the same PSNR; points are `(bytes, dB)`, by rising dB.
fn more_bytes(points: &[(f64, f64)], than: &[(f64, f64)]) -> f64 {
    let at = |curve: &[(f64, f64)], db: f64| {
        let pair = curve
            .windows(2)
            .find(|w| db <= w[1].1)
            .unwrap_or(&curve[curve.len() - 2..]);
        let share = (db - pair[0].1) / (pair[1].1 - pair[0].1);
        pair[0].0.ln() * (1.0 - share) + pair[1].0.ln() * share
    };
    let low = points[0].1.max(than[0].1);
    let high = points.last().unwrap().1.min(than.last().unwrap().1);
    let steps = 50;
    let each = (0..=steps).map(|i| {
        let db = low + (high - low) * f64::from(i) / f64::from(steps);
        at(points, db) - at(than, db)
    });
    100.0 * ((each.sum::<f64>() / f64::from(steps + 1)).exp() - 1.0)
}

/// Curves of bytes and dB of the CPU and of a device, and their mean difference.
fn compare(
    trainer: &mut GridTrainer,
    name: &str,
    most: usize,
    steps: &[f64],
    table_log2: u8,
) -> f64 {
    let (blocks, range) = cubes(name, 32, most);
    let voxels: usize = blocks.iter().map(|(_, v)| v.len()).sum();
    let (mut cpu, mut device) = (Vec::new(), Vec::new());
    for step in steps {
        let lab = lab(range, step * f64::from(range.1 - range.0), 5, table_log2);
        let each = blocks.iter().map(|(dims, v)| lab.encode(*dims, v).unwrap());
        let each: Vec<_> = each.collect();
        cpu.push((bytes(&each), psnr(&each, voxels, range)));
        let each = lab.encode_trained(trainer, &blocks).unwrap();
        device.push((bytes(&each), psnr(&each, voxels, range)));
    }
    let more = more_bytes(&device, &cpu);
    for (c, d) in cpu.iter().zip(&device) {
        eprintln!(
            "{name}: CPU {:.0} bytes {:.2} dB, device {:.0} bytes {:.2} dB",
            c.0, c.1, d.0, d.1
        );
    }
    eprintln!("{name}: device {more:+.2} % bytes at the same PSNR");
    more
}

/// Steps as shares of the range, coarse to fine.
const STEPS: [f64; 3] = [0.12, 0.06, 0.03];

#[test]
fn files_are_as_small_as_the_cpus() {
    for_one_device(|device| {
        let mut trainer = GridTrainer::new(device).unwrap();
        for name in [
            "brain.nii.gz",
            "head.nii.gz",
            "porous.nrrd",
            "turbulence.npy",
        ] {
            let more = compare(&mut trainer, name, 3, &STEPS, 22);
            assert!(more < 3.0, "{name}: {more}");
        }
    });
}

#[test]
fn hashed_levels_are_as_small_as_the_cpus() {
    for_one_device(|device| {
        let mut trainer = GridTrainer::new(device).unwrap();
        let more = compare(&mut trainer, "brain.nii.gz", 2, &STEPS, 11);
        assert!(more < 3.0, "{more}");
    });
}

/// Bytes and errors of every block, alone and in batches, in every order of threads.
#[test]
fn the_same_comes_out_whatever_else_is_trained() {
    let (mut blocks, range) = cubes("porous.nrrd", 16, 4);
    let (dims, values) = &blocks[0];
    blocks.push((
        [dims[0], dims[1], 7],
        values[..dims[0] * dims[1] * 7].to_vec(),
    ));
    let lab = lab(range, 12.0, 5, 10);
    let told = |b: LabBlock| (b.layers, b.errors);
    let first = RefCell::new(None);
    for_each_device(|device| {
        let mut trainer = GridTrainer::new(device).unwrap();
        let together = lab.encode_trained(&mut trainer, &blocks).unwrap();
        let together: Vec<_> = together.into_iter().map(told).collect();
        for (block, wanted) in blocks.iter().zip(&together) {
            let alone = std::slice::from_ref(block);
            let alone = lab.encode_trained(&mut trainer, alone).unwrap();
            assert_eq!(alone.into_iter().map(told).next().as_ref(), Some(wanted));
        }
        let mut first = first.borrow_mut();
        assert_eq!(*first.get_or_insert_with(|| together.clone()), together);
    });
}

/// Dense and hashed levels, features that skip, feed the network, or both.
fn joint_model(cubic: bool, hidden: Option<(usize, usize)>) -> LabModel {
    let level = |exponent, features, table_log2, skip| LabLevel {
        exponent,
        features,
        table_log2,
        skip,
    };
    LabModel {
        side: 11,
        levels: vec![
            level(3, 1, 22, true),
            level(2, 2, 4, false),
            level(1, 1, 22, true),
            level(0, 2, 7, true),
        ],
        hidden,
        cubic,
    }
}

/// A smooth field with an edge.
fn field(side: usize, seed: u32) -> Vec<f32> {
    let at = |i: usize| {
        let p = [i % side, i / side % side, i / side / side].map(|v| v as f32 / side as f32);
        let wave = (6.0 * p[0] + seed as f32).sin() + (5.0 * p[1]).cos() * p[2];
        20.0 * wave + if p[0] + p[2] > 1.1 { 30.0 } else { -10.0 }
    };
    (0..side * side * side).map(at).collect()
}

const NETWORKS: [Option<(usize, usize)>; 3] = [None, Some((1, 16)), Some((2, 24))];

/// Root mean square of the differences, relative to that of `b`.
fn difference(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let square = |v: f32| f64::from(v) * f64::from(v);
    let squares: f64 = a.iter().zip(b).map(|(a, b)| square(a - b)).sum();
    let all: f64 = b.iter().map(|&b| square(b)).sum();
    (squares / all.max(1e-30)).sqrt()
}

/// Gradients by every parameter are those of the CPU, to float precision.
#[test]
fn gradients_are_the_cpus() {
    for_each_device(|device| {
        let mut trainer = GridTrainer::new(device).unwrap();
        for (cubic, hidden) in [false, true].iter().flat_map(|&c| NETWORKS.map(|n| (c, n))) {
            let targets = vec![field(11, 1), field(11, 2)];
            let mut lab = JointLab::new(&joint_model(cubic, hidden), targets, 1, 0.0).unwrap();
            (0..2).for_each(|block| lab.shake(block, block as u64));
            let found = lab.gradients(&mut trainer).unwrap();
            for (block, (grid, network)) in found.iter().enumerate() {
                let wanted = lab.cpu_gradients(block).unwrap();
                assert!(difference(grid, &wanted.0) < 2e-5, "{cubic} {hidden:?}");
                assert!(network.is_empty() || difference(network, &wanted.1) < 2e-5);
            }
        }
    });
}

/// Gradients predict how the error of the device itself changes: central differences along a direction, for grid
/// weights and for the network.
#[test]
fn gradients_are_those_of_the_error() {
    for_one_device(|device| {
        let mut trainer = GridTrainer::new(device).unwrap();
        for (cubic, hidden) in [(false, NETWORKS[1]), (true, NETWORKS[2])] {
            let model = joint_model(cubic, hidden);
            let mut lab = JointLab::new(&model, vec![field(11, 3)], 0, 0.0).unwrap();
            lab.shake(0, 5);
            let (grid, network) = lab.gradients(&mut trainer).unwrap().remove(0);
            for (of_grid, gradient) in [(true, &grid), (false, &network)] {
                let length: f64 = gradient
                    .iter()
                    .map(|&g| f64::from(g * g))
                    .sum::<f64>()
                    .sqrt();
                let mut error = |by: f64| {
                    let mut moved = lab.clone();
                    let mut list = match of_grid {
                        true => moved.weights(0),
                        false => moved.parameters(0),
                    };
                    for (p, g) in list.iter_mut().zip(gradient) {
                        **p += (by * f64::from(*g) / length) as f32;
                    }
                    moved.train(&mut trainer).unwrap()[0].error_before
                };
                let step = 0.004;
                let slope = (error(step) - error(-step)) / (2.0 * step);
                assert!(
                    (slope / length - 1.0).abs() < 0.01,
                    "{of_grid}: {slope} {length}"
                );
            }
        }
    });
}

/// Training all parameters makes the objective as small as on the CPU, and the same in every order of threads.
#[test]
fn training_reduces_the_objective_as_on_the_cpu() {
    let first = RefCell::new(None);
    for_each_device(|device| {
        let mut trainer = GridTrainer::new(device).unwrap();
        let mut all = Vec::new();
        for hidden in [NETWORKS[0], NETWORKS[1]] {
            let model = joint_model(hidden.is_some(), hidden);
            let targets = vec![field(11, 1), field(11, 4)];
            let lab = JointLab::new(&model, targets, 80, 2.0).unwrap();
            let trained = lab.train(&mut trainer).unwrap();
            for (block, t) in trained.iter().enumerate() {
                let cpu = lab.train_on_cpu(block).unwrap();
                eprintln!("{hidden:?}: device {t:?}, CPU {cpu:?}");
                assert!((t.before / cpu.before - 1.0).abs() < 1e-4);
                assert!(t.after < 0.5 * t.before && t.after < 1.1 * cpu.after);
            }
            all.push(trained);
        }
        let mut first = first.borrow_mut();
        assert_eq!(*first.get_or_insert_with(|| all.clone()), all);
    });
}

/// A box of the brain as a volume of its own.
fn brain(extent: [u64; 3]) -> MemoryVolume {
    let path = hgv_cuda_emulator::repository().join("tests/data/brain.nii.gz");
    let volume = open_volume(&path, &OpenOptions::default()).unwrap();
    let start = [40, 40, 10];
    let region = Region::new(start, [0, 1, 2].map(|a| start[a] + extent[a])).unwrap();
    let mut bytes = vec![0; region.voxels() as usize * volume.source.dtype().size()];
    volume.source.read(&region, &mut bytes).unwrap();
    MemoryVolume::from_bytes(extent, volume.source.dtype(), bytes, Metadata::default()).unwrap()
}

fn goes_on(_: hgv::Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Voxels of the full resolution at the last quality level.
fn whole(volume: &hgv::Volume) -> Vec<u8> {
    let view = volume.view(0, volume.levels() - 1).unwrap();
    let region = Region::whole(view.extent());
    let mut bytes = vec![0; region.voxels() as usize * view.dtype().size()];
    view.read(&region, &mut bytes).unwrap();
    bytes
}

/// Encodes, and verifies the file with the CPU's decoder; the device gives the same voxels. Also how many of its
/// blocks are grids.
fn encoded(
    source: &MemoryVolume,
    options: EncodeOptions,
    device: Option<&Arc<dyn Device>>,
) -> (EncodeReport, Vec<u8>, usize) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.hgv");
    let options = options
        .with_block(32)
        .with_threads(2)
        .with_device(device.cloned());
    let report = encode(source, &path, &options, &goes_on).unwrap();
    let verified = verify(&path, Some(source), 2, &goes_on).unwrap();
    assert!(verified.problems.is_empty(), "{verified:?}");
    let volume = hgv::Volume::open(&path).unwrap();
    let kinds = volume.info().unwrap().models;
    if let Some(device) = device {
        let cuda = CudaBackend::new(Arc::clone(device), CpuBackend::new());
        let on_device = hgv::Volume::open(&path).unwrap();
        let on_device = on_device.with_backend(Arc::new(cuda));
        assert!(whole(&on_device) == whole(&volume));
    }
    let grids = kinds.get(BlockKind::Hashgrid.name()).copied().unwrap_or(0);
    (report, std::fs::read(path).unwrap(), grids as usize)
}

/// A file of the paper's model trained on a device is whole, and nearly as small as one of the CPU at the same
/// error.
#[test]
fn hashgrid_files_are_whole_and_small() {
    for_one_device(|device| {
        let source = brain([64, 48, 40]);
        let point = |quality, device| {
            let options = EncodeOptions::default().with_model(ModelChoice::Hashgrid);
            let options = options.with_levels(2).with_target(Target::Quality(quality));
            let (report, _, grids) = encoded(&source, options, device);
            assert!(grids > 0);
            (report.file_bytes as f64, report.psnr.unwrap())
        };
        let cpu = [40.0, 50.0].map(|quality| point(quality, None));
        let with = [40.0, 50.0].map(|quality| point(quality, Some(device)));
        let more = more_bytes(&with, &cpu);
        eprintln!("CPU {cpu:?}, device {with:?}: {more:+.2} %");
        assert!(more < 3.0, "{more}");
    });
}

/// Noise at the vertices of a lattice of 8 voxels, interpolated.
fn lattice_noise(p: [u64; 3]) -> f64 {
    let mut sum = 0.0;
    for corner in 0..8u64 {
        let mut weight = 1.0;
        let mut hash = 0u32;
        for (a, &v) in p.iter().enumerate() {
            let (low, share) = (v / 8, (v % 8) as f64 / 8.0);
            let up = corner >> a & 1;
            weight *= if up == 1 { share } else { 1.0 - share };
            hash = (hash ^ (low + up) as u32)
                .wrapping_mul(0x9E37_79B1)
                .rotate_left(13);
        }
        sum += weight * f64::from(hash >> 24);
    }
    sum
}

/// Blocks along x: interpolated noise, noise, and steps.
fn mixed() -> MemoryVolume {
    let extent = [96u64, 32, 32];
    let mut state = 7u32;
    let mut bytes = Vec::new();
    for (z, y) in (0..extent[2]).flat_map(|z| (0..extent[1]).map(move |y| (z, y))) {
        for x in 0..extent[0] {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            bytes.push(match x / 32 {
                0 => lattice_noise([x, y, z]),
                1 => 100.0 + 60.0 * f64::from(state >> 8) / f64::from(1 << 24),
                _ => 60.0 + 120.0 * f64::from(u8::from((x + y + z) % 40 < 17)),
            } as u8);
        }
    }
    MemoryVolume::from_bytes(extent, DType::Uint8, bytes, Metadata::default()).unwrap()
}

/// Where blocks may choose, some choose grids that the device trained, and the file is no larger than one of
/// wavelets at the same error.
#[test]
fn blocks_choose_grids_where_they_win() {
    for_one_device(|device| {
        let source = mixed();
        let options = |model, quality| {
            let options = EncodeOptions::default().with_model(model).with_levels(1);
            options
                .with_preset(Preset::Best)
                .with_target(Target::Quality(quality))
        };
        let mut grids = 0;
        let mut curve = |model| {
            [30.0, 45.0].map(|quality| {
                let (report, _, some) = encoded(&source, options(model, quality), Some(device));
                grids += some;
                (report.file_bytes as f64, report.psnr.unwrap())
            })
        };
        let dense = curve(ModelChoice::Dense);
        let auto = curve(ModelChoice::Auto);
        eprintln!("dense {dense:?}, auto {auto:?}, {grids} grids");
        assert!(grids > 0);
        assert!(more_bytes(&auto, &dense) < 1.0);
    });
}

/// The file is the same for every order of threads, and on a device that has room for a few blocks at a time only.
#[test]
fn neither_threads_nor_memory_change_a_file() {
    let source = brain([40, 36, 33]);
    let options = EncodeOptions::default()
        .with_model(ModelChoice::Hashgrid)
        .with_preset(Preset::Fast)
        .with_target(Target::Quality(45.0));
    let device = |order, memory| {
        Emulator::with_memory(order, memory).map(|e| Arc::new(e) as Arc<dyn Device>)
    };
    let Some(plenty) = device(Order::Forward, 1 << 30) else {
        eprintln!("SKIPPED: emulator of CUDA kernels, no C++20 compiler");
        return;
    };
    let (_, first, _) = encoded(&source, options.clone(), Some(&plenty));
    for (order, memory) in [(Order::Random(3), 1 << 30), (Order::Reverse, 3 << 20)] {
        let device = device(order, memory).unwrap();
        let (_, other, _) = encoded(&source, options.clone(), Some(&device));
        assert!(first == other, "{order:?}, {memory} bytes");
    }
}

/// Voxels that are not finite, and bounds on every voxel, are up to the encoder around the model.
#[test]
fn masks_and_bounds_hold_around_trained_models() {
    for_one_device(|device| {
        let values: Vec<f32> = (0..20 * 18 * 17)
            .map(|i| match i % 97 {
                0 => f32::NAN,
                _ => (i as f32 * 0.01).sin() * 50.0,
            })
            .collect();
        let masked = MemoryVolume::new([20, 18, 17], &values, Metadata::default()).unwrap();
        let options = EncodeOptions::default().with_model(ModelChoice::Hashgrid);
        let nan = options
            .clone()
            .with_nan_mask(true)
            .with_preset(Preset::Fast);
        encoded(&masked, nan, Some(device));
        let bound = options
            .with_preset(Preset::Fast)
            .with_target(Target::MaxError(3.0));
        let (report, _, _) = encoded(&brain([33, 20, 18]), bound, Some(device));
        assert!(report.max_abs_error <= 3.0);
    });
}
