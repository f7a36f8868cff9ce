//! The calls of the CUDA driver: without one, with a damaged one, and with one that works over the emulator.
//!
//! The library is looked for once a process, so every case runs in a process of its own: a hidden test of
//! this file under another `LD_LIBRARY_PATH`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ops::ControlFlow;
use std::process::{Command, Output};
use std::sync::Arc;

use hgv::backend::BackendChoice;
use hgv::backend::cpu::CpuBackend;
use hgv::backend::cuda::{Buffer, CudaBackend, Device, Kernel, Stream, devices};
use hgv::encode::{EncodeOptions, encode};
use hgv::render::{
    Orbit, RenderOptions, Renderer, Sampling, Scene, TransferFunction, dense_bricks, render,
};
use hgv::volume::{MemoryVolume, Metadata, Region};
use hgv::{Error, Volume};
use hgv_cuda_emulator::driver_folder;
use zerocopy::{Immutable, IntoBytes};

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct SelfTestParams {
    input: u64,
    output: u64,
    sums: u64,
    floats: u64,
}

static SELF_TEST: Kernel = Kernel::new::<SelfTestParams>("selftest", "hgv_self_test", 128);
static WRONG_SIZE: Kernel = Kernel::new::<[u64; 3]>("selftest", "hgv_self_test", 128);
static WRONG_NAME: Kernel = Kernel::new::<SelfTestParams>("selftest", "hgv_self", 128);
static WRONG_MODULE: Kernel = Kernel::new::<SelfTestParams>("nothing", "hgv_self_test", 128);
const THREADS: usize = 128;
const WORDS: usize = 16;
const MIB: usize = 1 << 20;

/// Runs a hidden test of this file with a driver; `None` where there is no compiler to make one.
fn with_driver(folder: &str, test: &str, settings: &[(&str, &str)]) -> Option<Output> {
    let Some(folder) = driver_folder(folder) else {
        eprintln!("SKIPPED: no C++20 compiler to make a driver with");
        return None;
    };
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([test, "--exact", "--ignored", "--nocapture"])
        .env("LD_LIBRARY_PATH", folder)
        .envs(settings.iter().copied());
    Some(command.output().unwrap())
}

fn passes(folder: &str, test: &str, settings: &[(&str, &str)]) {
    if let Some(output) = with_driver(folder, test, settings) {
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{test} {settings:?}: {text}");
        assert!(text.contains("1 passed"), "{test}: {text}");
    }
}

fn refusal(memory: Option<u64>) -> String {
    match devices(memory) {
        Err(Error::Device(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_machine_without_a_driver_says_so() {
    match devices(None) {
        Ok(found) => eprintln!("SKIPPED: there is {}", found[0].name()),
        Err(e) => {
            assert!(matches!(e, Error::Device(_)), "{e:?}");
            assert!(e.to_string().contains("there is no device to use: "), "{e}");
        }
    }
}

#[test]
fn drivers_that_cannot_be_used_say_why() {
    passes("empty", "hidden::says_too_old_or_damaged", &[]);
    passes(
        "driver",
        "hidden::says_no_device",
        &[("HGV_FAKE_DEVICES", "0")],
    );
    passes(
        "driver",
        "hidden::says_driver_version",
        &[("HGV_FAKE_VERSION", "11040")],
    );
    passes(
        "driver",
        "hidden::says_compute_capability",
        &[("HGV_FAKE_COMPUTE", "70")],
    );
}

#[test]
fn kernels_run_through_the_driver() {
    for compute in ["75", "80", "90", "120"] {
        let settings = [("HGV_FAKE_DEVICES", "2"), ("HGV_FAKE_COMPUTE", compute)];
        passes("driver", "hidden::runs_kernels", &settings);
    }
}

#[test]
fn memory_of_the_driver_is_bounded_and_used_again() {
    let settings = [("HGV_FAKE_MEMORY", "67108864")];
    passes("driver", "hidden::bounds_memory", &settings);
}

#[test]
fn files_are_encoded_and_decoded_through_the_driver() {
    let settings = [("HGV_FAKE_DEVICES", "2")];
    passes("driver", "hidden::encodes_and_decodes", &settings);
}

#[test]
fn pictures_are_drawn_through_the_driver() {
    passes("driver", "hidden::draws", &[]);
}

#[test]
fn a_lost_device_is_a_clear_error() {
    let settings = [("HGV_FAKE_LOST_AFTER", "1")];
    passes("driver", "hidden::reports_a_lost_device", &settings);
}

/// Runs the self-test kernel; the sum of the input that it counted, and the sum that it should have.
fn run_self_test(
    device: &Arc<dyn Device>,
    stream: &mut Stream,
    blocks: usize,
) -> Result<(u32, u32), Error> {
    let input: Vec<u32> = (0..(blocks * THREADS) as u32)
        .map(|i| i.wrapping_mul(0x9E37_79B9))
        .collect();
    let count = input.len();
    let sizes = [4 * count, 4 * WORDS * count, 16, 4 * count];
    let buffers: Result<Vec<_>, _> = sizes.map(|n| Buffer::new(device, n)).into_iter().collect();
    let [from, to, sums, floats] = buffers?.try_into().unwrap();
    stream.upload(&from, 0, input.as_slice())?;
    stream.fill(&sums, 0..16, 0)?;
    let params = SelfTestParams {
        input: from.address(),
        output: to.address(),
        sums: sums.address(),
        floats: floats.address(),
    };
    // More than a kernel gets without asking.
    stream.launch(&SELF_TEST, blocks as u32, 64 << 10, &params)?;
    let ticket = stream.download(&sums, 0, 16)?;
    // Memory that is dropped here must not be used by others before the kernel is done.
    drop((from, to, floats));
    let other = Buffer::new(device, 4 * count)?;
    stream.fill(&other, 0..4 * count, 0xff)?;
    stream.synchronise()?;
    let sum = stream.elements::<u32>(&ticket)?[0];
    Ok((sum, input.iter().fold(0, |a: u32, b| a.wrapping_add(*b))))
}

/// Run by the tests above, each in a process with a driver.
mod hidden {
    use super::*;

    #[test]
    #[ignore = "needs a driver without functions"]
    fn says_too_old_or_damaged() {
        assert!(refusal(None).contains("too old or damaged"));
    }

    #[test]
    #[ignore = "needs a driver without devices"]
    fn says_no_device() {
        let reason = refusal(None);
        assert!(
            reason.contains("no CUDA-capable device is detected (CUDA_ERROR_NO_DEVICE)"),
            "{reason}"
        );
    }

    #[test]
    #[ignore = "needs an old driver"]
    fn says_driver_version() {
        assert!(refusal(None).contains("the driver knows CUDA 11.4, 12.0 is needed"));
    }

    #[test]
    #[ignore = "needs an old device"]
    fn says_compute_capability() {
        let reason = refusal(None);
        assert!(
            reason.contains("compute capability 7.0, 7.5 is needed"),
            "{reason}"
        );
    }

    #[test]
    #[ignore = "needs a driver with two devices"]
    fn runs_kernels() {
        let found = devices(None).unwrap();
        assert_eq!(found.len(), 2);
        for (i, device) in found.iter().enumerate() {
            assert_eq!(device.name(), format!("Emulated GPU {i}"));
            let limits = device.limits();
            assert_eq!(
                (limits.multiprocessors, limits.shared, limits.memory),
                (4, 99 << 10, 1 << 30)
            );
            let mut stream = Stream::new(device).unwrap();
            stream.set_profile(true);
            for blocks in [1, 3, 40] {
                let (sum, wanted) = run_self_test(device, &mut stream, blocks).unwrap();
                assert_eq!(sum, wanted);
                stream.recycle().unwrap();
            }
            let times = stream.take_profile().unwrap();
            assert_eq!(times.len(), 3);
            assert!(
                times
                    .iter()
                    .all(|t| t.kernel == "hgv_self_test" && t.milliseconds >= 0.0)
            );
            refuses_other_kernels(&mut stream);
        }
        // Threads that never saw the context.
        std::thread::scope(|scope| {
            for device in &found {
                scope.spawn(move || {
                    let mut stream = Stream::new(device).unwrap();
                    let (sum, wanted) = run_self_test(device, &mut stream, 5).unwrap();
                    assert_eq!(sum, wanted);
                });
            }
        });
    }

    fn refuses_other_kernels(stream: &mut Stream) {
        let nothing = [0u64; 3];
        let error = stream.launch(&WRONG_SIZE, 1, 0, &nothing).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("32 bytes of parameters, not 128 and 24"),
            "{error}"
        );
        for kernel in [&WRONG_NAME, &WRONG_MODULE] {
            let error = stream.launch(kernel, 1, 0, &[0u64; 4]).unwrap_err();
            assert!(error.to_string().contains("has no hgv_self"), "{error}");
        }
        let error = stream
            .launch(&SELF_TEST, 1, 100 << 10, &[0u64; 4])
            .unwrap_err();
        assert!(matches!(error, Error::Device(_)), "{error}");
    }

    #[test]
    #[ignore = "needs a driver with 64 MiB"]
    fn bounds_memory() {
        let whole = devices(None).unwrap().remove(0);
        let small = devices(Some(16 * MIB as u64)).unwrap().remove(0);
        assert_eq!(whole.limits().memory, 64 * MIB as u64);
        assert_eq!(small.limits().memory, 16 * MIB as u64);
        let first = Buffer::new(&small, 10 * MIB).unwrap();
        assert!(matches!(
            Buffer::new(&small, 8 * MIB),
            Err(Error::DeviceMemory(_))
        ));
        let address = first.address();
        drop(first);
        // The same memory again, and then another size in its place.
        let again = Buffer::new(&small, 9 * MIB).unwrap();
        assert_eq!(again.address(), address);
        drop(again);
        let other = Buffer::new(&small, 16 * MIB).unwrap();
        // What one does not use, the other may; what both want, one does not get.
        let _rest = Buffer::new(&whole, 48 * MIB).unwrap();
        assert!(matches!(
            Buffer::new(&whole, MIB),
            Err(Error::DeviceMemory(_))
        ));
        drop(other);
        let error = Buffer::new(&small, 17 * MIB).unwrap_err();
        assert!(error.to_string().contains("--gpu-memory"), "{error}");
    }

    #[test]
    #[ignore = "needs a driver with two devices"]
    fn encodes_and_decodes() {
        let extent = [70, 40, 33];
        let voxel = |i: u64| (i % 70 * 2 + i / 70 % 40 + (i * i) % 5) as u8;
        let voxels: Vec<u8> = (0..extent.iter().product()).map(voxel).collect();
        let source = MemoryVolume::new(extent, &voxels, Metadata::default()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.hgv");
        let devices = BackendChoice::Cuda.find(None).unwrap().devices;
        let options = EncodeOptions::default()
            .with_block(32)
            .with_device(Some(Arc::clone(&devices[0])));
        encode(&source, &path, &options, &|_| ControlFlow::Continue(())).unwrap();
        let read = |volume: Volume| {
            let mut out = vec![0u8; voxels.len()];
            let whole = Region::whole(extent);
            volume
                .read_region(0, volume.levels() - 1, &whole, &mut out)
                .unwrap();
            out
        };
        let on_cpu = read(Volume::open(&path).unwrap());
        let [first, second] = devices.try_into().unwrap();
        let both = CudaBackend::new(first, CpuBackend::new()).with_device(second);
        let on_device = read(Volume::open(&path).unwrap().with_backend(Arc::new(both)));
        assert!(on_device == on_cpu);
        let off = |(a, b): (&u8, &u8)| a.abs_diff(*b) > 30;
        assert!(!voxels.iter().zip(&on_cpu).any(off));
    }

    #[test]
    #[ignore = "needs a driver"]
    fn draws() {
        let extent = [70, 40, 33];
        let voxels: Vec<i16> = (0..extent.iter().product::<u64>())
            .map(|i| (i % 70 * 3 + i / 70 % 40 * 2) as i16 - 128)
            .collect();
        let source = MemoryVolume::new(extent, &voxels, Metadata::default()).unwrap();
        let bricks = dense_bricks(&source).unwrap();
        let device = devices(None).unwrap().remove(0);
        let size = [20, 16];
        let camera = Orbit::default().camera(extent, [1.0; 3], size);
        let scene = Scene::new(camera, TransferFunction::ramp([-128.0, 157.0], 0.2));
        let mut options = RenderOptions::default();
        let expected = render(&bricks, &scene, size, &options).unwrap();
        let renderer = Renderer::new(1 << 30);
        let mut renderer = renderer.with_device(&device, 16 << 20).unwrap();
        // Textures are given back when their turn is over.
        for sampling in [Sampling::Exact, Sampling::Fast, Sampling::Exact] {
            options.sampling = sampling;
            let image = renderer.render(&bricks, &scene, size, &options).unwrap();
            assert!(renderer.stats().uploaded >= 2 * voxels.len() as u64);
            for (a, b) in image.pixels.iter().zip(&expected.pixels) {
                let apart = (0..4).map(|c| (a[c] - b[c]).abs()).fold(0.0, f32::max);
                assert!(apart < 0.02, "{sampling:?}: {a:?}, not {b:?}");
            }
        }
    }

    #[test]
    #[ignore = "needs a driver whose device breaks"]
    fn reports_a_lost_device() {
        let device = devices(None).unwrap().remove(0);
        let mut stream = Stream::new(&device).unwrap();
        run_self_test(&device, &mut stream, 1).unwrap();
        for _ in 0..2 {
            let error = run_self_test(&device, &mut stream, 1)
                .map(|_| ())
                .unwrap_err();
            assert!(error.to_string().contains("lost"), "{error}");
        }
    }
}
