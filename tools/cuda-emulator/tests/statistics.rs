//! Figures of a comparison made on a device are those of the CPU.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ops::ControlFlow;

use hgv::analyze::{AnalyzeOptions, analyze, analyze_on};
use hgv::quality::{CompareOptions, Comparison, compare, compare_on};
use hgv::volume::{MemoryVolume, Metadata, Voxel};
use hgv_cuda_emulator::for_each_device;

/// A wave and noise, from 0 to 1.
fn values(extent: [u64; 3], noise: f32) -> Vec<f32> {
    let mut seed = 7u32;
    let [nx, ny, _] = extent;
    (0..extent.iter().product::<u64>())
        .map(|i| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (x, y, z) = ((i % nx) as f32, (i / nx % ny) as f32, (i / nx / ny) as f32);
            let wave = 0.5 + 0.3 * (0.2 * x + 0.1 * y).sin() * (0.15 * z).cos();
            (wave + noise * ((seed >> 8) as f32 / (1 << 24) as f32 - 0.5)).clamp(0.0, 1.0)
        })
        .collect()
}

fn volume<T: Voxel>(extent: [u64; 3], values: &[f32], of: impl Fn(f32) -> T) -> MemoryVolume {
    let voxels: Vec<T> = values.iter().map(|v| of(*v)).collect();
    MemoryVolume::new(extent, &voxels, Metadata::default()).unwrap()
}

fn near(a: Option<f64>, b: Option<f64>, name: &str) {
    match (a, b) {
        (Some(a), Some(b)) => assert!((a - b).abs() <= 1e-11 * b.abs(), "{name}: {a}, not {b}"),
        _ => assert_eq!(a, b, "{name}"),
    }
}

fn same(found: &Comparison, wanted: &Comparison) {
    assert_eq!(found.identical, wanted.identical);
    assert_eq!(found.max_abs_error, wanted.max_abs_error);
    assert_eq!(found.nonfinite_mismatches, wanted.nonfinite_mismatches);
    assert_eq!(found.voxels, wanted.voxels);
    near(Some(found.rmse), Some(wanted.rmse), "rmse");
    for lod in 0..4 {
        near(found.ssim[lod], wanted.ssim[lod], "ssim");
        near(found.psnr_lod[lod], wanted.psnr_lod[lod], "psnr");
    }
}

#[test]
fn comparisons_are_those_of_the_cpu() {
    for_each_device(|device| {
        for extent in [[70, 41, 65], [33, 9, 20], [12, 7, 6], [300, 9, 8]] {
            let (a, b) = (values(extent, 0.02), values(extent, 0.1));
            let options = CompareOptions::default().with_threads(1);
            let go = |_, _| ControlFlow::Continue(());
            let bytes = volume(extent, &a, |v| (v * 255.0) as u8);
            let shorts = volume(extent, &b, |v| (v * 250.0) as i16);
            let mut with_holes = a.clone();
            (with_holes[5], with_holes[77], with_holes[78]) = (f32::NAN, f32::INFINITY, f32::NAN);
            let floats = volume(extent, &with_holes, |v| v);
            with_holes[78] = 0.5;
            let other = volume(extent, &with_holes, |v| {
                v * if v > 0.5 { 1.0 } else { 0.98 }
            });
            for (a, b) in [(&bytes, &shorts), (&floats, &other), (&bytes, &bytes)] {
                let found = compare_on(device, a, b, &options, &go).unwrap();
                same(&found, &compare(a, b, &options, &go).unwrap());
                let plain = options.with_ssim(false);
                let found = compare_on(device, a, b, &plain, &go).unwrap();
                same(&found, &compare(a, b, &plain, &go).unwrap());
            }
        }
    });
}

#[test]
fn complexity_is_that_of_the_cpu() {
    for_each_device(|device| {
        let extent = [40, 34, 70];
        let source = volume(extent, &values(extent, 0.05), |v| (v * 255.0) as u8);
        let options = AnalyzeOptions::default().with_threads(1);
        let go = |_| ControlFlow::Continue(());
        let found = analyze_on(device, &source, &options, &go).unwrap();
        let wanted = analyze(&source, &options, &go).unwrap();
        let (f, w) = (&found.features, &wanted.features);
        for (a, b) in f.complexity.iter().zip(&w.complexity) {
            assert!((a - b).abs() < 1e-6, "{a}, not {b}");
        }
        assert_eq!(f.flat, w.flat);
        assert!((f.gradient / w.gradient - 1.0).abs() < 1e-6);
        assert_eq!(
            (f.noise, f.std, &found.histogram),
            (w.noise, w.std, &wanted.histogram)
        );
    });
}
