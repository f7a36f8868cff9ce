//! Comparing two volumes.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use serde::Serialize;

use super::column::{Column, DEPTH, LODS, SIDE, Sums};
use super::device::Statistics;
use super::values::{Bounds, Scale, to_f32};
use crate::backend::cuda::Device;
use crate::volume::{Extent, Region, VoxelSource};
use crate::{Error, Result};

/// How to compare.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct CompareOptions {
    /// Worker threads; 0 = all cores. Never changes a result.
    pub threads: usize,
    /// Whether to compute SSIM and the PSNR of levels of detail 1 to 3. Default true.
    pub ssim: bool,
    /// Smallest and largest value of A, if known: spares one pass over A.
    pub range: Option<(f64, f64)>,
}

impl Default for CompareOptions {
    fn default() -> Self {
        Self {
            threads: 0,
            ssim: true,
            range: None,
        }
    }
}

impl CompareOptions {
    /// Uses this many threads; 0 = all cores.
    #[must_use]
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// Computes SSIM or leaves it out.
    #[must_use]
    pub fn with_ssim(self, ssim: bool) -> Self {
        Self { ssim, ..self }
    }

    /// Takes this as the smallest and largest value of A.
    #[must_use]
    pub fn with_range(self, min: f64, max: f64) -> Self {
        Self {
            range: Some((min, max)),
            ..self
        }
    }
}

/// Called now and then from worker threads with the voxels done and the total; `Break` cancels.
pub type CompareProgress<'a> = dyn Fn(u64, u64) -> ControlFlow<()> + Sync + 'a;

/// How much volume B differs from volume A. The definitions are those of [the module](super).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Comparison {
    /// Whether every voxel has the same value (two NaN are the same).
    pub identical: bool,
    /// PSNR in dB; `None` if identical or if A is constant.
    pub psnr: Option<f64>,
    /// SSIM at levels of detail 0 to 3; `None` where an axis is under 7 voxels, or if not asked for.
    pub ssim: [Option<f64>; LODS],
    /// PSNR at levels of detail 0 to 3; beyond 0 only together with SSIM.
    pub psnr_lod: [Option<f64>; LODS],
    /// Largest absolute error, in the unit of the voxels.
    pub max_abs_error: f64,
    /// Largest absolute error over the range; `None` if A is constant and B differs.
    pub max_rel_error: Option<f64>,
    /// Root of the mean squared error, in the unit of the voxels.
    pub rmse: f64,
    /// Largest minus smallest finite value of A.
    pub range: f64,
    /// Voxels of each volume.
    pub voxels: u64,
    /// Voxels that are NaN or infinite in one volume and not the same in the other.
    pub nonfinite_mismatches: u64,
}

/// Compares volume `b` with the reference `a`, out of core.
///
/// Voxel types may differ; values are compared. Time: about 20 ns of one core per voxel with
/// SSIM, 1 ns without.
///
/// # Errors
/// [`Error::InvalidArgument`] if the extents differ, [`Error::Cancelled`], and whatever the sources
/// return.
pub fn compare(
    a: &dyn VoxelSource,
    b: &dyn VoxelSource,
    options: &CompareOptions,
    progress: &CompareProgress,
) -> Result<Comparison> {
    let extent = common_extent(a, b)?;
    let measure = |scale, meter: &Meter<'_>| -> Result<Vec<Sums>> {
        starts(extent)
            .into_par_iter()
            .map(|start| Column::new([a, b], start, scale, options.ssim).run(&|n| meter.add(n)))
            .collect()
    };
    workers(options.threads)?.install(|| run(a, extent, options, progress, measure))
}

/// The same with the sums made on a device, box by box; they differ in their last digits at most.
///
/// # Errors
/// As [`compare`], and [`Error::Device`] and [`Error::DeviceMemory`].
pub fn compare_on(
    device: &Arc<dyn Device>,
    a: &dyn VoxelSource,
    b: &dyn VoxelSource,
    options: &CompareOptions,
    progress: &CompareProgress,
) -> Result<Comparison> {
    let extent = common_extent(a, b)?;
    let measure = |scale, meter: &Meter<'_>| {
        let mut statistics = Statistics::new(device)?;
        statistics.sums([a, b], scale, options.ssim, &|n| meter.add(n))
    };
    workers(options.threads)?.install(|| run(a, extent, options, progress, measure))
}

fn common_extent(a: &dyn VoxelSource, b: &dyn VoxelSource) -> Result<Extent> {
    let extent = a.extent();
    if extent == b.extent() {
        return Ok(extent);
    }
    Err(Error::argument(format!(
        "volumes of {extent:?} and {:?} voxels (x, y, z) cannot be compared; they must be of one size",
        b.extent()
    )))
}

/// Worker threads; 0 = as many as there are cores.
pub(crate) fn workers(count: usize) -> Result<rayon::ThreadPool> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build();
    pool.map_err(|e| Error::io("starting worker threads", std::io::Error::other(e)))
}

fn run(
    a: &dyn VoxelSource,
    extent: Extent,
    options: &CompareOptions,
    progress: &CompareProgress,
    measure: impl FnOnce(Scale, &Meter<'_>) -> Result<Vec<Sums>>,
) -> Result<Comparison> {
    let voxels = Region::whole(extent).voxels();
    let passes = if options.range.is_none() { 2 } else { 1 };
    let meter = Meter {
        done: AtomicU64::new(0),
        total: voxels.saturating_mul(passes),
        progress,
    };
    let (min, max) = match options.range {
        Some(range) => range,
        None => bounds(a, &meter)?,
    };
    let scale = Scale::new(min, max - min);
    let mut sums = Sums::default();
    measure(scale, &meter)?.iter().for_each(|c| sums.merge(c));
    Ok(Comparison::from_sums(&sums, max - min, voxels))
}

/// First voxel (x, y) of every column.
fn starts(extent: Extent) -> Vec<[u64; 2]> {
    let along = |axis: usize| (0..extent[axis]).step_by(SIDE as usize);
    along(1)
        .flat_map(|y| along(0).map(move |x| [x, y]))
        .collect()
}

/// Smallest and largest finite value of a volume, on the threads of the caller's pool; (0, 0) if there is none.
pub(crate) fn value_range(
    source: &dyn VoxelSource,
    progress: &CompareProgress,
) -> Result<(f64, f64)> {
    let meter = Meter {
        done: AtomicU64::new(0),
        total: Region::whole(source.extent()).voxels(),
        progress,
    };
    bounds(source, &meter)
}

/// Smallest and largest finite value; (0, 0) if there is none.
fn bounds(source: &dyn VoxelSource, meter: &Meter) -> Result<(f64, f64)> {
    let found = starts(source.extent())
        .into_par_iter()
        .map(|start| column_bounds(source, start, meter))
        .try_reduce(|| Bounds::EMPTY, |a, b| Ok(a.merge(b)))?;
    Ok(if found.min <= found.max {
        (f64::from(found.min), f64::from(found.max))
    } else {
        (0.0, 0.0)
    })
}

fn column_bounds(source: &dyn VoxelSource, start: [u64; 2], meter: &Meter) -> Result<Bounds> {
    let (extent, dtype) = (source.extent(), source.dtype());
    let end = [0, 1].map(|a| extent[a].min(start[a] + SIDE));
    let mut found = Bounds::EMPTY;
    let (mut bytes, mut values) = (Vec::new(), Vec::new());
    for z in (0..extent[2]).step_by(DEPTH as usize) {
        let region = Region {
            start: [start[0], start[1], z],
            end: [end[0], end[1], extent[2].min(z + DEPTH)],
        };
        values.resize(region.voxels() as usize, 0.0);
        bytes.resize(values.len() * dtype.size(), 0);
        source.read(&region, &mut bytes)?;
        to_f32(dtype, &bytes, &mut values);
        found = found.merge(Bounds::of(&values));
        meter.add(region.voxels())?;
    }
    Ok(found)
}

/// Counts voxels of all threads and asks the caller whether to go on.
struct Meter<'a> {
    done: AtomicU64,
    total: u64,
    progress: &'a CompareProgress<'a>,
}

impl Meter<'_> {
    fn add(&self, voxels: u64) -> Result<()> {
        let done = self.done.fetch_add(voxels, Ordering::Relaxed) + voxels;
        match (self.progress)(done, self.total) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Cancelled),
        }
    }
}

impl Comparison {
    fn from_sums(sums: &Sums, range: f64, voxels: u64) -> Self {
        let identical = sums.errors.identical();
        let psnr = sums.errors.psnr(range);
        // Without a range there is nothing to hold an error against.
        let defined = identical || range > 0.0;
        Self {
            identical,
            psnr,
            ssim: sums
                .ssim
                .map(|(sum, windows)| (defined && windows > 0).then(|| sum / windows as f64)),
            psnr_lod: std::array::from_fn(|lod| match lod {
                0 => psnr,
                _ => sums.scaled[lod].psnr(if range > 0.0 { 1.0 } else { 0.0 }),
            }),
            max_abs_error: sums.errors.max_abs,
            max_rel_error: if range > 0.0 {
                Some(sums.errors.max_abs / range)
            } else {
                identical.then_some(0.0)
            },
            rmse: sums.errors.rmse(),
            range,
            voxels,
            nonfinite_mismatches: sums.errors.nonfinite_mismatches,
        }
    }
}
