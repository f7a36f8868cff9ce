//! Encodes with a device: files that verify, targets that are met, the same bytes for every order of threads,
//! and nearly the size that the CPU reaches at the same error.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use hgv::Volume;
use hgv::backend::cuda::Device;
use hgv::encode::{EncodeOptions, EncodeReport, Preset, Target, encode};
use hgv::quality::{CompareOptions, compare};
use hgv::volume::{DType, MemoryVolume, Metadata, Region, VoxelSource};
use hgv_cuda_emulator::{Emulator, ORDERS, for_one_device};

/// Numbers in 0..1.
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as f32 / (1 << 24) as f32
    }
}

/// A field with edges, waves, a flat part and noise, between 0 and 1.
fn field([nx, ny, nz]: [u64; 3]) -> Vec<f32> {
    let mut noise = Noise(3);
    let mut values = Vec::new();
    for z in 0..nz {
        for y in 0..ny {
            for x in 0..nx {
                let inside = (x * x + 2 * y * y + z * z) % 1500 < 700;
                let wave = (x as f32 * 0.3).sin() + (z as f32 * 0.21 + y as f32 * 0.1).cos();
                let v = 0.3 + 0.1 * wave + if inside { 0.4 } else { 0.0 } + 0.05 * noise.next();
                values.push(if x > 40 { 0.0 } else { v.clamp(0.0, 1.0) });
            }
        }
    }
    values
}

fn volume(dtype: DType, extent: [u64; 3]) -> MemoryVolume {
    let scaled = |low: f32, high: f32| {
        field(extent)
            .into_iter()
            .map(move |v| low + v * (high - low))
    };
    let meta = Metadata::default();
    let made = match dtype {
        DType::Uint8 => {
            let voxels: Vec<u8> = scaled(0.0, 255.0).map(|v| v as u8).collect();
            MemoryVolume::new(extent, &voxels, meta)
        }
        DType::Int8 => {
            let voxels: Vec<i8> = scaled(-128.0, 127.0).map(|v| v as i8).collect();
            MemoryVolume::new(extent, &voxels, meta)
        }
        DType::Uint16 => {
            let voxels: Vec<u16> = scaled(100.0, 60_000.0).map(|v| v as u16).collect();
            MemoryVolume::new(extent, &voxels, meta)
        }
        DType::Int16 => {
            let voxels: Vec<i16> = scaled(-1024.0, 3071.0).map(|v| v as i16).collect();
            MemoryVolume::new(extent, &voxels, meta)
        }
        DType::Float32 => {
            let voxels: Vec<f32> = scaled(-1.5, 1e3).collect();
            MemoryVolume::new(extent, &voxels, meta)
        }
        _ => panic!("another type of voxel: {dtype:?}"),
    };
    made.unwrap()
}

fn run(source: &MemoryVolume, path: &Path, options: &EncodeOptions) -> EncodeReport {
    let options = options.clone().with_force(true).with_threads(2);
    encode(source, path, &options, &|_| ControlFlow::Continue(())).unwrap()
}

fn small() -> EncodeOptions {
    EncodeOptions::default().with_block(32)
}

/// A file is whole and keeps its errors; returns its voxels at the last level.
fn decoded(path: &Path, source: &MemoryVolume) -> Vec<u8> {
    let goes_on = |_| ControlFlow::Continue(());
    let report = hgv::decode::verify(path, Some(source), 2, &goes_on).unwrap();
    assert!(report.problems.is_empty(), "{report:?}");
    let volume = Volume::open(path).unwrap();
    let view = volume.view(0, volume.levels() - 1).unwrap();
    let whole = Region::whole(view.extent());
    let mut bytes = vec![0; whole.voxels() as usize * view.dtype().size()];
    view.read(&whole, &mut bytes).unwrap();
    bytes
}

/// Relative size at the same error: 6.02 dB are worth what the CPU pays from one target to the next.
fn excess(cpu: [&EncodeReport; 2], device: &EncodeReport) -> f64 {
    let at = |r: &EncodeReport| (r.psnr.unwrap(), (r.file_bytes as f64).ln());
    let ((d0, b0), (d1, b1)) = (at(cpu[0]), at(cpu[1]));
    let (d, b) = at(device);
    (b - (b0 + (d - d0) / (d1 - d0) * (b1 - b0))).exp() - 1.0
}

/// A flow that is part of the repository: thin tubes, heavy tail.
fn turbulence() -> MemoryVolume {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/turbulence.npy");
    let bytes = std::fs::read(path).unwrap();
    let extent = [48; 3];
    let values = &bytes[bytes.len() - 4 * 48 * 48 * 48..];
    let voxels: Vec<f32> = (values.as_chunks().0.iter())
        .map(|b| f32::from_le_bytes(*b))
        .collect();
    MemoryVolume::new(extent, &voxels, Metadata::default()).unwrap()
}

#[test]
fn files_are_nearly_as_small_as_those_of_the_cpu() {
    for_one_device(|device| {
        let folder = tempfile::tempdir().unwrap();
        let synthetic = volume(DType::Uint8, [64, 40, 32]);
        let flow = turbulence();
        for (name, source, preset, most) in [
            ("field", &synthetic, Preset::Fast, 0.001),
            ("field", &synthetic, Preset::Balanced, 0.01),
            ("field", &synthetic, Preset::Best, 0.01),
            ("flow", &flow, Preset::Balanced, 0.01),
        ] {
            let options = |q| small().with_preset(preset).with_target(Target::Quality(q));
            let cpu = [45.0, 50.0].map(|q| {
                let path = folder.path().join("cpu.hgv");
                run(source, &path, &options(q))
            });
            let with = options(45.0).with_device(Some(Arc::clone(device)));
            let report = run(source, &folder.path().join("device.hgv"), &with);
            assert!(report.backend.starts_with("cuda"), "{}", report.backend);
            let excess = excess([&cpu[0], &cpu[1]], &report);
            let percent = 100.0 * excess;
            eprintln!("{name} {preset:?}: {percent:+.2} % at {:?} dB", report.psnr);
            assert!(excess < most, "{name} {preset:?}: {excess}");
        }
    });
}

#[test]
fn the_order_of_threads_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let source = volume(DType::Uint16, [40, 33, 20]);
    for preset in [Preset::Balanced, Preset::Best] {
        let files = ORDERS.map(|order| {
            let device = Arc::new(Emulator::new(order)?) as Arc<dyn Device>;
            let options = small()
                .with_preset(preset)
                .with_levels(2)
                .with_target(Target::Quality(55.0))
                .with_device(Some(device));
            let path = folder.path().join(format!("{order:?}.hgv"));
            run(&source, &path, &options);
            Some(std::fs::read(path).unwrap())
        });
        if files[0].is_none() {
            eprintln!("SKIPPED: emulator of CUDA kernels, no C++20 compiler");
        }
        assert!(files.iter().all(|f| *f == files[0]), "{preset:?}");
    }
}

#[test]
fn every_type_of_voxel_and_every_target() {
    for_one_device(|device| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.hgv");
        for (dtype, preset, target) in [
            (DType::Uint8, Preset::Fast, Target::Ratio(9.0)),
            (DType::Int8, Preset::Balanced, Target::Lossless),
            (DType::Uint16, Preset::Balanced, Target::Psnr(48.0)),
            (DType::Int16, Preset::Best, Target::MaxError(20.0)),
            (DType::Int16, Preset::Balanced, Target::Lossless),
            (DType::Float32, Preset::Balanced, Target::Lossless),
            (
                DType::Float32,
                Preset::Balanced,
                Target::Ssim([0.95, 0.0, 0.0, 0.0]),
            ),
        ] {
            let source = volume(dtype, [46, 34, 18]);
            let options = small()
                .with_preset(preset)
                .with_target(target)
                .with_device(Some(Arc::clone(device)));
            let report = run(&source, &path, &options);
            let bytes = decoded(&path, &source);
            let back = Volume::open(&path).unwrap();
            let view = back.view(0, back.levels() - 1).unwrap();
            let with = CompareOptions::default().with_threads(2);
            let found = compare(&source, &view, &with, &|_, _| ControlFlow::Continue(())).unwrap();
            match target {
                Target::Ratio(r) => assert!(report.ratio >= r, "{report:?}"),
                Target::Psnr(db) => assert!(found.psnr.unwrap() >= db, "{found:?}"),
                Target::MaxError(e) => assert!(found.max_abs_error <= e, "{found:?}"),
                Target::Ssim(s) => assert!(found.ssim[0].unwrap() >= s[0], "{found:?}"),
                _ => assert!(found.identical && !bytes.is_empty(), "{found:?}"),
            }
        }
    });
}

#[test]
fn blocks_with_a_mask_and_memory_for_few_blocks() {
    let Some(emulator) = Emulator::with_memory(ORDERS[0], 14 << 20) else {
        eprintln!("SKIPPED: emulator of CUDA kernels, no C++20 compiler");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let extent = [48, 34, 40];
    let mut voxels = field(extent);
    (voxels[0], voxels[40_000]) = (f32::NAN, f32::INFINITY);
    let source = MemoryVolume::new(extent, &voxels, Metadata::default()).unwrap();
    let options = small()
        .with_nan_mask(true)
        .with_target(Target::Quality(50.0))
        .with_device(Some(Arc::new(emulator)));
    let path = folder.path().join("masked.hgv");
    let first = run(&source, &path, &options);
    let bytes = decoded(&path, &source);
    let voxel = |i: usize| f32::from_le_bytes(bytes[4 * i..4 * i + 4].try_into().unwrap());
    assert!(voxel(0).is_nan() && voxel(40_000) == f32::INFINITY);
    let file = std::fs::read(&path).unwrap();
    // Batches of another size are the same blocks.
    let device = Emulator::new(ORDERS[0]).map(|e| Arc::new(e) as Arc<dyn Device>);
    let second = run(&source, &path, &options.with_device(device));
    assert_eq!(first.file_bytes, second.file_bytes);
    assert!(file == std::fs::read(&path).unwrap());
}

#[test]
fn overviews_are_those_of_the_cpu() {
    for_one_device(|device| {
        let folder = tempfile::tempdir().unwrap();
        let source = volume(DType::Uint8, [2100, 10, 9]);
        let options = small()
            .with_preset(Preset::Fast)
            .with_target(Target::Quality(60.0));
        let coarse = |name: &str, options: &EncodeOptions| {
            let path = folder.path().join(name);
            run(&source, &path, options);
            decoded(&path, &source);
            let volume = Volume::open(&path).unwrap();
            let view = volume.view(4, volume.levels() - 1).unwrap();
            let whole = Region::whole(view.extent());
            let mut bytes = vec![0; whole.voxels() as usize];
            view.read(&whole, &mut bytes).unwrap();
            bytes
        };
        let cpu = coarse("cpu.hgv", &options);
        let with = coarse("device.hgv", &options.with_device(Some(Arc::clone(device))));
        assert_eq!(cpu.len(), with.len());
        let off = cpu.iter().zip(&with).map(|(a, b)| a.abs_diff(*b));
        assert!(off.max().unwrap() <= 1);
        assert!(cpu.iter().any(|v| *v > 50));
    });
}
