//! Comparison of volumes: against numbers of the benchmark's metrics
//! (`tools/bench/reference_metrics.py`), and properties.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ops::ControlFlow;

use hgv::Error;
use hgv::quality::{CompareOptions, Comparison, compare};
use hgv::volume::{MemoryVolume, Metadata, Voxel, VoxelSource};

const EXTENT: [u64; 3] = [280, 60, 57];

fn hashed(x: u64, y: u64, z: u64, salt: u64) -> u64 {
    let h = (x * 73_856_093) ^ (y * 19_349_663) ^ (z * 83_492_791) ^ (salt * 2_654_435_761);
    let h = ((h & 0xFFFF_FFFF) * 2_246_822_519) & 0xFFFF_FFFF;
    (h ^ (h >> 15)) & 0xFFFF_FFFF
}

fn reference_pair() -> (Vec<u16>, Vec<u16>) {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for z in 0..EXTENT[2] {
        for y in 0..EXTENT[1] {
            for x in 0..EXTENT[0] {
                let step = 400 * ((x / 24 + y / 16 + z / 12) % 2);
                let v = 9 * x + 31 * y + 17 * z + step + hashed(x, y, z, 1) % 512;
                a.push(v as u16);
                b.push((v + hashed(x, y, z, 2) % 301 + 100 * ((x / 40) % 2)) as u16);
            }
        }
    }
    (a, b)
}

fn volume<T: Voxel>(extent: [u64; 3], voxels: &[T]) -> MemoryVolume {
    MemoryVolume::new(extent, voxels, Metadata::default()).unwrap()
}

fn run(a: &dyn VoxelSource, b: &dyn VoxelSource, options: CompareOptions) -> Comparison {
    compare(a, b, &options, &|_, _| ControlFlow::Continue(())).unwrap()
}

fn assert_near(found: [Option<f64>; 4], expected: [f64; 4], tolerance: f64) {
    for (f, e) in found.into_iter().zip(expected) {
        assert!((f.unwrap() - e).abs() < tolerance, "{found:?} {expected:?}");
    }
}

fn assert_reference(c: &Comparison, unit: f64) {
    assert!(!c.identical);
    assert_eq!(c.range, 5982.0 * unit);
    assert_eq!(c.max_abs_error, 400.0 * unit);
    assert_eq!(c.max_rel_error, Some(400.0 / 5982.0));
    assert!((c.rmse / unit - 217.300_905_081_1).abs() < 1e-9);
    assert!((c.psnr.unwrap() - 28.795_697_469_783).abs() < 1e-10);
    let psnr = [
        28.795_697_470_9,
        29.450_336_441_8,
        29.539_570_963_1,
        29.549_833_624_0,
    ];
    assert_near(c.psnr_lod, psnr, 1e-6);
    let ssim = [
        0.938_827_150_194,
        0.987_809_471_044,
        0.993_422_345_868,
        0.994_741_636_046,
    ];
    assert_near(c.ssim, ssim, 5e-9);
}

#[test]
fn figures_are_those_of_the_reference_whatever_the_threads() {
    let (a, b) = reference_pair();
    let (va, vb) = (volume(EXTENT, &a), volume(EXTENT, &b));
    let one = run(&va, &vb, CompareOptions::default().with_threads(1));
    assert_reference(&one, 1.0);
    for threads in [2, 5] {
        let many = run(&va, &vb, CompareOptions::default().with_threads(threads));
        assert_eq!(one, many);
    }
    let float = |v: &[u16]| {
        v.iter()
            .map(|&v| f32::from(v) / 8.0 - 100.0)
            .collect::<Vec<_>>()
    };
    let (fa, fb) = (volume(EXTENT, &float(&a)), volume(EXTENT, &float(&b)));
    assert_reference(&run(&fa, &fb, CompareOptions::default()), 0.125);
}

#[test]
fn without_ssim_the_error_figures_stay() {
    let (a, b) = reference_pair();
    let (va, vb) = (volume(EXTENT, &a), volume(EXTENT, &b));
    let full = run(&va, &vb, CompareOptions::default());
    let quick = run(&va, &vb, CompareOptions::default().with_ssim(false));
    assert_eq!(quick.ssim, [None; 4]);
    assert_eq!((quick.psnr, quick.rmse), (full.psnr, full.rmse));
    let (min, max) = (a.iter().min().unwrap(), a.iter().max().unwrap());
    let known = CompareOptions::default().with_range(f64::from(*min), f64::from(*max));
    assert_eq!(run(&va, &vb, known), full);
}

#[test]
fn identical_and_constant_volumes() {
    let a: Vec<i16> = (0..20 * 9 * 7).map(|i| (i % 313) as i16 - 100).collect();
    let va = volume([20, 9, 7], &a);
    let c = run(&va, &va, CompareOptions::default());
    assert!(c.identical && c.psnr.is_none() && c.max_rel_error == Some(0.0));
    assert_eq!(c.ssim, [Some(1.0), None, None, None]);

    let flat = volume([20, 9, 7], &vec![5i16; 20 * 9 * 7]);
    let c = run(&flat, &flat, CompareOptions::default());
    assert!(c.identical && c.psnr.is_none());
    assert_eq!(c.ssim[0], Some(1.0));
    let c = run(&flat, &va, CompareOptions::default());
    assert!(!c.identical && c.psnr.is_none() && c.max_rel_error.is_none());
    assert_eq!((c.ssim, c.range), ([None; 4], 0.0));
    assert!(c.max_abs_error > 100.0);
}

#[test]
fn thin_volumes_and_json_keys() {
    let a = volume([1, 1, 9], &[0u8, 1, 2, 3, 4, 5, 6, 7, 250]);
    let b = volume([1, 1, 9], &[0i16, 1, 2, 3, 4, 5, 6, 7, 245]);
    let c = run(&a, &b, CompareOptions::default());
    assert_eq!((c.max_abs_error, c.voxels, c.ssim), (5.0, 9, [None; 4]));
    let json = serde_json::to_value(&c).unwrap();
    for key in [
        "psnr",
        "ssim",
        "max_abs_error",
        "max_rel_error",
        "rmse",
        "range",
        "voxels",
        "identical",
    ] {
        assert!(json.get(key).is_some(), "{key}");
    }
    let same = serde_json::to_value(run(&a, &a, CompareOptions::default())).unwrap();
    assert!(same["psnr"].is_null() && same["identical"] == true);
}

#[test]
fn nan_in_the_same_place_is_no_error() {
    let mut a: Vec<f32> = (0..8 * 8 * 8).map(|i| (i as f32).sin()).collect();
    a[17] = f32::NAN;
    let mut b = a.clone();
    assert!(
        run(
            &volume([8; 3], &a),
            &volume([8; 3], &b),
            CompareOptions::default()
        )
        .identical
    );
    b[18] = f32::INFINITY;
    let c = run(
        &volume([8; 3], &a),
        &volume([8; 3], &b),
        CompareOptions::default(),
    );
    assert_eq!(
        (c.identical, c.nonfinite_mismatches, c.max_abs_error),
        (false, 1, 0.0)
    );
    assert!(c.ssim[0].unwrap().is_finite());
}

#[test]
fn wrong_extent_and_cancel() {
    let (a, b) = (volume([2, 2, 2], &[0u8; 8]), volume([2, 2, 1], &[0u8; 4]));
    let go = CompareOptions::default();
    let refused = compare(&a, &b, &go, &|_, _| ControlFlow::Continue(()));
    assert!(matches!(refused, Err(Error::InvalidArgument(_))));
    let stopped = compare(&a, &a, &go, &|_, _| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(Error::Cancelled)));
}
