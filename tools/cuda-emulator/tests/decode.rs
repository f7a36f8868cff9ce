//! Vectors and volumes decoded on a device: the voxels of the CPU at every level of detail and quality.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod vectors;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hgv::backend::cpu::{CpuBackend, Scratch};
use hgv::backend::cuda::{CudaBackend, Device};
use hgv::backend::{Backend, BlockJob};
use hgv::decode::{verify, verify_source};
use hgv::encode::{EncodeOptions, Preset, Target, encode};
use hgv::io::FileSource;
use hgv::volume::{MemoryVolume, Metadata, Region, Voxel, VoxelSource};
use hgv::{Error, Volume};
use hgv_cuda_emulator::{Emulator, Order, for_each_device, for_one_device};
use vectors::Vector;

fn cuda(device: &Arc<dyn Device>) -> CudaBackend {
    CudaBackend::new(Arc::clone(device), CpuBackend::new())
}

/// Decodes every prefix and level of detail of vectors in one batch.
fn check_vectors<'a>(device: &Arc<dyn Device>, vectors: impl Iterator<Item = &'a Vector>) {
    let jobs = vectors.flat_map(|v| v.jobs().map(|job| (&*v.name, job)));
    let (names, jobs): (Vec<&str>, Vec<BlockJob<'_>>) = jobs.unzip();
    assert!(jobs.iter().all(|job| cuda(device).covers(job)));
    let results = cuda(device).decode_blocks(&jobs).unwrap();
    for ((name, job), result) in names.iter().zip(&jobs).zip(results) {
        let mut wanted = Vec::new();
        CpuBackend::new()
            .decode_block(job, &mut Scratch::default(), &mut wanted)
            .unwrap();
        assert!(
            result.unwrap() == wanted,
            "{name}, {} layers, level of detail {}",
            job.layers.len(),
            job.lod
        );
    }
}

#[test]
fn payload_vectors_decode_to_the_integers_of_the_cpu() {
    let vectors = vectors::vectors();
    for_one_device(|device| check_vectors(device, vectors.iter()));
    // In every order of threads those that do not take long.
    for_each_device(|device| {
        let small = vectors.iter().filter(|v| v.shape.voxels() <= 40_000);
        check_vectors(device, small);
    });
}

/// Files of `format-spec/vectors/good`.
fn files() -> Vec<PathBuf> {
    let folder = hgv_cuda_emulator::repository().join("format-spec/vectors/good");
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "hgv"));
    paths.sort();
    assert!(paths.len() > 30);
    paths
}

fn on_device(path: &Path, device: &Arc<dyn Device>) -> Volume {
    let volume = Volume::open(path).unwrap().with_threads(2).unwrap();
    volume.with_backend(Arc::new(cuda(device)))
}

fn read(volume: &Volume, lod: u32, level: u32, region: &Region) -> hgv::Result<Vec<u8>> {
    let mut out = vec![0xee; region.voxels() as usize * volume.dtype().size()];
    volume.read_region_bytes(lod, level, region, &mut out)?;
    Ok(out)
}

/// The whole of a level of detail, and a box that begins and ends inside of blocks.
fn regions(volume: &Volume, lod: u32) -> [Region; 2] {
    let whole = Region::whole(volume.lod_extent(lod).unwrap());
    let start = whole.end.map(|n| n / 3);
    let end = [0, 1, 2].map(|a| (start[a] + 37).min(whole.end[a] - (whole.end[a] - start[a]) / 4));
    [whole, Region { start, end }]
}

#[test]
fn file_vectors_decode_to_the_voxels_of_the_cpu() {
    for_one_device(|device| {
        for path in files() {
            let (cpu, gpu) = (Volume::open(&path).unwrap(), on_device(&path, device));
            assert_eq!(gpu.backend(), format!("cuda ({})", device.name()));
            for lod in 0..cpu.lods() {
                for level in 0..cpu.levels() {
                    for region in regions(&cpu, lod) {
                        let [a, b] = [&cpu, &gpu].map(|v| read(v, lod, level, &region));
                        let place = format!("{} {lod} {level} {region:?}", path.display());
                        match (a, b) {
                            (Ok(a), Ok(b)) => assert!(a == b, "{place}"),
                            (Err(a), Err(b)) => assert_eq!(a.to_string(), b.to_string(), "{place}"),
                            (a, b) => panic!("{place}: {:?} and {:?}", a.err(), b.err()),
                        }
                    }
                }
            }
        }
    });
}

#[test]
fn file_vectors_pass_verification_on_a_device() {
    for_one_device(|device| {
        for path in files() {
            let backend: Arc<dyn Backend> = Arc::new(cuda(device));
            let go_on = |_| ControlFlow::Continue(());
            let on_device = {
                let source = Arc::new(FileSource::open(&path).unwrap());
                verify_source(source, None, 1, Some(backend), &go_on).unwrap()
            };
            assert_eq!(on_device, verify(&path, None, 1, &go_on).unwrap());
            assert_eq!(
                on_device.problems,
                Vec::<String>::new(),
                "{}",
                path.display()
            );
        }
    });
}

fn encoded_from(source: &dyn VoxelSource, options: &EncodeOptions) -> tempfile::TempPath {
    let file = tempfile::Builder::new().suffix(".hgv").tempfile().unwrap();
    let path = file.into_temp_path();
    let options = options.clone().with_force(true);
    encode(source, &path, &options, &|_| ControlFlow::Continue(())).unwrap();
    path
}

/// A wavy volume of odd extents, encoded to a file.
fn encoded<T: Voxel>(of: impl Fn(f32) -> T, options: &EncodeOptions) -> tempfile::TempPath {
    let [w, h, d] = [90u64, 70, 50];
    let voxels: Vec<T> = (0..w * h * d)
        .map(|i| {
            let [x, y, z] = [i % w, i / w % h, i / (w * h)].map(|v| v as f32);
            of((x * 0.11).sin()
                + (y * 0.07).cos() * (z * 0.13).sin()
                + ((i * 7919) % 97) as f32 * 1e-3)
        })
        .collect();
    let source = MemoryVolume::new([w, h, d], &voxels, Metadata::default()).unwrap();
    encoded_from(&source, options)
}

/// Many batches with clipped boxes, on a device with hardly any memory, which makes batches fall apart.
#[test]
fn little_memory_only_makes_batches_smaller() {
    let path = encoded(|v| (v * 9_000.0) as i16, &EncodeOptions::default());
    let cpu = Volume::open(&path).unwrap();
    let whole = Region::whole(cpu.extent());
    let wanted = read(&cpu, 0, cpu.levels() - 1, &whole).unwrap();
    for memory in [64 << 20, 8 << 20, 5 << 20] {
        let Some(emulator) = Emulator::with_memory(Order::Forward, memory) else {
            eprintln!("SKIPPED: emulator of CUDA kernels, no C++20 compiler");
            return;
        };
        let device: Arc<dyn Device> = Arc::new(emulator);
        let volume = on_device(&path, &device);
        let found = read(&volume, 0, cpu.levels() - 1, &whole).unwrap();
        assert!(found == wanted, "{memory} bytes");
    }
    let Some(tiny) = Emulator::with_memory(Order::Forward, 1 << 20) else {
        return;
    };
    let device: Arc<dyn Device> = Arc::new(tiny);
    let failed = read(&on_device(&path, &device), 0, 0, &whole);
    assert!(matches!(failed, Err(Error::DeviceMemory(_))), "{failed:?}");
}

/// Batches of one read on two devices.
#[test]
fn several_devices_share_a_region() {
    let path = encoded(|v| v * 0.25, &EncodeOptions::default());
    let (Some(first), Some(second)) = (
        Emulator::with_memory(Order::Forward, 16 << 20),
        Emulator::with_memory(Order::Reverse, 16 << 20),
    ) else {
        eprintln!("SKIPPED: emulator of CUDA kernels, no C++20 compiler");
        return;
    };
    let backend = CudaBackend::new(Arc::new(first), CpuBackend::new());
    let backend = backend.with_device(Arc::new(second));
    assert_eq!(
        backend.name(),
        "cuda (emulator (Forward), emulator (Reverse))"
    );
    let cpu = Volume::open(&path).unwrap();
    let both = Volume::open(&path).unwrap().with_backend(Arc::new(backend));
    for region in regions(&cpu, 0) {
        let [a, b] = [&cpu, &both].map(|v| read(v, 0, v.levels() - 1, &region).unwrap());
        assert!(a == b);
    }
}

/// Damaged layers among good ones: each block gives the error or the integers of the CPU.
#[test]
fn damaged_blocks_give_the_errors_of_the_cpu() {
    let vectors = vectors::vectors();
    let small = vectors.iter().filter(|v| v.shape.voxels() <= 10_000);
    let mut broken = Vec::new();
    for vector in small {
        let last = vector.layers.len() - 1;
        for cut in [1, 2, 5] {
            let mut layers = vector.layers.clone();
            let length = layers[last].len().saturating_sub(cut);
            layers[last].truncate(length);
            broken.push((vector, layers));
            let mut layers = vector.layers.clone();
            if let Some(byte) = layers[0].get_mut(cut) {
                *byte ^= 0x5a;
            }
            broken.push((vector, layers));
        }
    }
    let jobs: Vec<BlockJob<'_>> = (broken.iter())
        .map(|(vector, layers)| BlockJob {
            model: &vector.model,
            shape: vector.shape,
            range: vector.range,
            exponent: 0,
            steps: &vector.steps,
            layers,
            lod: 0,
        })
        .collect();
    let cpu = CpuBackend::new();
    for_each_device(|device| {
        let results = cuda(device).decode_blocks(&jobs).unwrap();
        for ((job, (vector, _)), result) in jobs.iter().zip(&broken).zip(results) {
            let mut wanted = Vec::new();
            let on_cpu = cpu.decode_block(job, &mut Scratch::default(), &mut wanted);
            match (on_cpu, result) {
                (Ok(()), Ok(found)) => assert!(found == wanted, "{}", vector.name),
                (Err(a), Err(b)) => assert_eq!(a.to_string(), b.to_string(), "{}", vector.name),
                (a, b) => panic!("{}: {a:?} and {:?}", vector.name, b.err()),
            }
        }
    });
}

/// Volumes of `tests/data` under every preset and kind of target: all levels, all levels of detail.
#[test]
fn bundled_volumes_decode_to_the_voxels_of_the_cpu() {
    let options = |preset, target| {
        let options = EncodeOptions::default().with_preset(preset);
        options.with_target(target).with_levels(2)
    };
    let cases = [
        (
            "porous.nrrd",
            options(Preset::Balanced, Target::Quality(50.0)),
        ),
        ("turbulence.npy", options(Preset::Fast, Target::Lossless)),
        (
            "turbulence.npy",
            options(Preset::Best, Target::Quality(60.0)),
        ),
        ("head.nii.gz", options(Preset::Fast, Target::MaxError(3.0))),
        ("head.nii.gz", options(Preset::Best, Target::Quality(40.0))),
        ("brain.nii.gz", options(Preset::Fast, Target::Quality(50.0))),
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data");
    for_one_device(|device| {
        for (name, options) in &cases {
            let opened = hgv_volume_files::open_volume(&folder.join(name), &Default::default());
            let path = encoded_from(&*opened.unwrap().source, options);
            let (cpu, gpu) = (Volume::open(&path).unwrap(), on_device(&path, device));
            for lod in 0..cpu.lods() {
                for level in 0..cpu.levels() {
                    let region = regions(&cpu, lod)[usize::from(lod == 0 && level == 0)];
                    let [a, b] = [&cpu, &gpu].map(|v| read(v, lod, level, &region).unwrap());
                    assert!(a == b, "{name} {options:?} {lod} {level}");
                }
            }
        }
    });
}
