//! `hgv::analyze` and `hgv::predict` from the outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};

use hgv::analyze::{Analysis, AnalyzeOptions, analyze, complexity_map};
use hgv::predict::{predict, quality_of};
use hgv::volume::{DType, Extent, MemoryVolume, Metadata, Region, VoxelSource};
use hgv::{Error, Result};

/// A volume that is computed where it is read, of any size; counts what is read.
struct Computed {
    extent: Extent,
    metadata: Metadata,
    noise: u64,
    voxels: AtomicU64,
    largest: AtomicU64,
}

impl Computed {
    fn new(extent: Extent, noise: u64) -> Self {
        Self {
            extent,
            metadata: Metadata::default(),
            noise,
            voxels: AtomicU64::new(0),
            largest: AtomicU64::new(0),
        }
    }

    /// A ball of waves, and noise.
    fn voxel(&self, [x, y, z]: [u64; 3]) -> u16 {
        let hash = ((x * 73_856_093) ^ (y * 19_349_663) ^ (z * 83_492_791))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let wave = (x as f64 / 9.0).sin() + (y as f64 / 14.0).sin() + (z as f64 / 11.0).sin();
        let noise = if self.noise > 0 {
            (hash >> 33) % self.noise
        } else {
            0
        };
        (3000.0 + 900.0 * wave) as u16 + noise as u16
    }
}

impl VoxelSource for Computed {
    fn extent(&self) -> Extent {
        self.extent
    }
    fn dtype(&self) -> DType {
        DType::Uint16
    }
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
    fn read(&self, r: &Region, out: &mut [u8]) -> Result<()> {
        self.voxels.fetch_add(r.voxels(), Ordering::Relaxed);
        self.largest.fetch_max(r.voxels(), Ordering::Relaxed);
        let mut voxels = out.as_chunks_mut::<2>().0.iter_mut();
        for z in r.start[2]..r.end[2] {
            for y in r.start[1]..r.end[1] {
                for x in r.start[0]..r.end[0] {
                    *voxels.next().unwrap() = self.voxel([x, y, z]).to_le_bytes();
                }
            }
        }
        Ok(())
    }
}

fn run(source: &dyn VoxelSource, options: AnalyzeOptions) -> Analysis {
    analyze(source, &options, &|_| ControlFlow::Continue(())).unwrap()
}

#[test]
fn threads_change_nothing_and_noise_shows() {
    let quiet = Computed::new([130, 128, 70], 0);
    let noisy = Computed::new([130, 128, 70], 600);
    let one = run(&noisy, AnalyzeOptions::default().with_threads(1));
    assert_eq!(one, run(&noisy, AnalyzeOptions::default().with_threads(3)));
    let calm = run(&quiet, AnalyzeOptions::default());
    assert!(one.features.complexity[0] > 4.0 * calm.features.complexity[0]);
    // Means of 8^3 voxels have next to no noise left.
    let gap = |lod: usize| one.features.complexity[lod] - calm.features.complexity[lod];
    assert!(gap(3) < 0.1 * gap(0), "{one:?}");
    assert!(one.features.noise > 10.0 * calm.features.noise);
    // Uniform noise over 600 steps has a deviation of 600 / sqrt(12).
    let noise = one.features.noise * (one.max - one.min);
    assert!((noise / 173.2 - 1.0).abs() < 0.15, "{noise}");
    assert_eq!(one.histogram.iter().sum::<u64>(), one.sampled_voxels);
    let json: serde_json::Value = serde_json::to_value(&one).unwrap();
    assert_eq!(
        json["features"]["curves"]["ssim"][3]
            .as_array()
            .unwrap()
            .len(),
        13
    );
}

#[test]
fn a_huge_volume_is_looked_at_in_a_few_places() {
    let huge = Computed::new([1 << 20, 1 << 19, 1 << 18], 50);
    let options = AnalyzeOptions::default()
        .with_patches(5)
        .with_range(300.0, 5800.0);
    let found = run(&huge, options);
    assert!(found.patches <= 5);
    assert_eq!(huge.voxels.load(Ordering::Relaxed), found.sampled_voxels);
    assert_eq!(huge.largest.load(Ordering::Relaxed), 64 * 64 * 64);
    let map = complexity_map(&huge, 2, 77, 6, (300.0, 5800.0)).unwrap();
    assert_eq!((map.size, map.values.len()), ([6, 6], 36));
    assert!(map.values.iter().all(|v| (0.0..=1.0).contains(v)));
}

#[test]
fn a_linear_change_of_the_values_changes_nothing() {
    let extent = [70, 66, 65];
    let source = Computed::new(extent, 300);
    let mut bytes = vec![0; 70 * 66 * 65 * 2];
    source.read(&Region::whole(extent), &mut bytes).unwrap();
    let floats: Vec<f32> = bytes
        .as_chunks()
        .0
        .iter()
        .map(|&b| f32::from(u16::from_le_bytes(b)) * 0.25 - 7.0)
        .collect();
    let scaled = MemoryVolume::new(extent, &floats, Metadata::default()).unwrap();
    let (a, b) = (
        run(&source, AnalyzeOptions::default()),
        run(&scaled, AnalyzeOptions::default()),
    );
    for lod in 0..4 {
        assert!((a.features.complexity[lod] - b.features.complexity[lod]).abs() < 1e-4);
    }
    assert!((a.features.std / b.features.std - 1.0).abs() < 1e-4);
}

#[test]
fn odd_volumes_are_analyzed_too() {
    for extent in [[1, 1, 1], [300, 2, 1], [9, 8, 7]] {
        let constant = MemoryVolume::new(
            extent,
            &vec![3u8; extent.iter().product::<u64>() as usize],
            Metadata::default(),
        )
        .unwrap();
        let found = run(&constant, AnalyzeOptions::default());
        assert_eq!(found.features.complexity, [0.0; 4]);
        let prediction = predict(&found).unwrap();
        let at = prediction.at(prediction.exponent_for_ssim([0.9; 4]));
        assert!(
            at.psnr.is_finite() && at.bits_per_voxel.is_finite() && quality_of(at.exponent) >= 0.0
        );
        assert_eq!(at.ssim[1], None);
    }
    let mut floats = vec![1.0f32; 20 * 20 * 20];
    (floats[5], floats[6], floats[7]) = (f32::NAN, f32::INFINITY, 2.0);
    let volume = MemoryVolume::new([20, 20, 20], &floats, Metadata::default()).unwrap();
    let found = run(&volume, AnalyzeOptions::default());
    assert_eq!((found.min, found.max), (1.0, 2.0));
    assert!(found.features.std.is_finite());
}

#[test]
fn wrong_options_are_refused_and_an_analysis_can_be_stopped() {
    let source = Computed::new([80, 80, 80], 1);
    let go = |o: AnalyzeOptions| analyze(&source, &o, &|_| ControlFlow::Continue(()));
    let options = AnalyzeOptions::default;
    assert!(matches!(
        go(options().with_patches(0)),
        Err(Error::InvalidArgument(_))
    ));
    assert!(matches!(
        go(options().with_range(2.0, 1.0)),
        Err(Error::InvalidArgument(_))
    ));
    assert!(matches!(
        go(options().with_range(f64::NAN, 1.0)),
        Err(Error::InvalidArgument(_))
    ));
    let stopped = analyze(&source, &options(), &|_| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(Error::Cancelled)));
    assert!(complexity_map(&source, 3, 0, 4, (0.0, 1.0)).is_err());
    assert!(complexity_map(&source, 0, 80, 4, (0.0, 1.0)).is_err());
}
