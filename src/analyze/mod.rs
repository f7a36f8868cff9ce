//! How hard a volume is to code: a complexity metric and cheap statistics of a sample of it.
//!
//! Owns what is measured and over which voxels; must not know what is made of it (that is
//! [`crate::predict`]), nor codecs and files. Nothing here is part of the file format.
//!
//! # Complexity
//!
//! How much the direction of the gradient changes from one voxel to the next, between 0 and 1.
//! With values scaled to `(v - min) / (max - min)` of the whole volume, let `g` be the gradient by
//! central differences per voxel, `|g|` its length, and `a(p)` the angle between the gradients of a
//! pair `p` of voxels that share a face. Over all pairs whose gradients are both at least
//! [`NOISE_THRESHOLD`] long,
//!
//! ```text
//! complexity = sum w(p) a(p) / (pi * sum w(p)),   w(p) = |g| of one + |g| of the other
//! ```
//!
//! and 0 if there is no such pair. A ramp or a flat volume has 0, white noise 0.5: directions without
//! relation are 90 degrees apart in the mean. It has no unit and depends on voxels alone: never on their spacing,
//! nor on a linear change of the values. It is also given for levels of detail 1, 2 and 3, whose voxels are means of 2^3, 4^3
//! and 8^3: noise has 0.5 at level 0 and leaves the coarser ones, structure stays.
//!
//! # Expected loss
//!
//! [`LossCurves`] say what a wavelet coder with one step for all bands should do to the volume, from local
//! energies alone: see there. They need no encode, and a small network corrects them.
//!
//! # Cost
//!
//! One pass over the volume for its range (none if [`AnalyzeOptions::range`] is given), then at most
//! [`AnalyzeOptions::patches`] patches of 64^3 voxels: about 30 ns of a core for each voxel of them, and
//! 10 MB of memory a thread.

mod direction;
mod loss;
mod map;
mod patch;
mod pool;
mod sample;

use std::sync::Arc;

use rayon::prelude::*;
use serde::Serialize;

pub use direction::NOISE_THRESHOLD;
pub use loss::{EXPONENTS, LossCurves};
pub use map::{ComplexityMap, complexity_map};
pub use pool::{Features, HISTOGRAM_BINS};

use crate::backend::cuda::Device;
use crate::progress::{Progress, ProgressFn};
use crate::quality::{Scale, Statistics, value_range, workers};
use crate::volume::{DType, Extent, Region, VoxelSource};
use crate::{Error, Result};
use direction::Turning;
use patch::Patch;
use pool::Pool;

/// Levels of detail that are measured: 0 is the full resolution.
pub const LODS: usize = 4;

/// How to analyze.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct AnalyzeOptions {
    /// Worker threads; 0 = all cores. Never changes a result.
    pub threads: usize,
    /// Patches of 64^3 voxels that are looked at, at most; at least 1. Default 64.
    pub patches: u32,
    /// Smallest and largest finite value, if known: spares a pass over the volume.
    pub range: Option<(f64, f64)>,
}

impl Default for AnalyzeOptions {
    fn default() -> Self {
        Self {
            threads: 0,
            patches: 64,
            range: None,
        }
    }
}

impl AnalyzeOptions {
    /// Works on this many threads; 0 = all cores.
    #[must_use]
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// Looks at this many patches at most.
    #[must_use]
    pub fn with_patches(self, patches: u32) -> Self {
        Self { patches, ..self }
    }

    /// Takes these as the smallest and largest finite value.
    #[must_use]
    pub fn with_range(self, min: f64, max: f64) -> Self {
        Self {
            range: Some((min, max)),
            ..self
        }
    }
}

/// What is known of a volume before it is encoded.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Analysis {
    /// Lengths of the axes x, y, z in voxels.
    pub extent: Extent,
    /// Type of the voxels.
    pub dtype: DType,
    /// Smallest finite value.
    pub min: f64,
    /// Largest finite value.
    pub max: f64,
    /// Patches looked at.
    pub patches: u64,
    /// Voxels of them.
    pub sampled_voxels: u64,
    /// What was found.
    pub features: Features,
    /// Voxels of the sample in [`HISTOGRAM_BINS`] equal steps from `min` to `max`.
    pub histogram: Vec<u64>,
}

/// Measures complexity and statistics of `source`: see [the module](self).
///
/// The result is the same for any number of threads. Voxels that are not finite count as `min`.
///
/// # Errors
/// [`Error::InvalidArgument`] for an empty volume, no patches or a range that is none,
/// [`Error::Cancelled`], and whatever the source returns.
pub fn analyze(
    source: &dyn VoxelSource,
    options: &AnalyzeOptions,
    progress: &ProgressFn,
) -> Result<Analysis> {
    check(source, options)?;
    let of_patches = |patches: &[Patch]| Ok(patches.par_iter().map(Pool::of).collect());
    workers(options.threads)?.install(|| run(source, options, progress, of_patches))
}

/// The same with the directions of gradients summed up on a device: complexity may differ in its seventh
/// digit.
///
/// # Errors
/// As [`analyze`], and [`Error::Device`] and [`Error::DeviceMemory`].
pub fn analyze_on(
    device: &Arc<dyn Device>,
    source: &dyn VoxelSource,
    options: &AnalyzeOptions,
    progress: &ProgressFn,
) -> Result<Analysis> {
    check(source, options)?;
    let mut statistics = Statistics::new(device)?;
    let of_patches = |patches: &[Patch]| {
        let pools: Vec<Pool> = patches.par_iter().map(Pool::without_turning).collect();
        let pairs = pools.into_iter().zip(patches);
        pairs
            .map(|(pool, patch)| Ok(pool.with_turning(turning_on(&mut statistics, patch)?)))
            .collect()
    };
    workers(options.threads)?.install(|| run(source, options, progress, of_patches))
}

fn turning_on(statistics: &mut Statistics, patch: &Patch) -> Result<[Turning; LODS]> {
    let mut turning = [Turning::default(); LODS];
    for (turning, layer) in turning.iter_mut().zip(&patch.layers) {
        *turning = Turning::of_device(&statistics.turning(&layer.values, layer.extent)?);
    }
    Ok(turning)
}

fn check(source: &dyn VoxelSource, options: &AnalyzeOptions) -> Result<()> {
    if source.extent().contains(&0) {
        return Err(Error::argument(format!(
            "the volume has an empty axis: {:?} voxels",
            source.extent()
        )));
    }
    if options.patches == 0 {
        return Err(Error::argument(
            "0 patches to analyze, at least 1 is needed",
        ));
    }
    match options.range {
        Some((min, max)) if !(min <= max && (max - min).is_finite()) => Err(Error::argument(
            format!("a range from {min} to {max} is none"),
        )),
        _ => Ok(()),
    }
}

fn run(
    source: &dyn VoxelSource,
    options: &AnalyzeOptions,
    progress: &ProgressFn,
    mut of_patches: impl FnMut(&[Patch]) -> Result<Vec<Pool>> + Send,
) -> Result<Analysis> {
    let report = |phase| move |done, total| progress(Progress { phase, done, total });
    let (min, max) = match options.range {
        Some(range) => range,
        None => value_range(source, &report("scan"))?,
    };
    let regions = sample::regions(source.extent(), u64::from(options.patches));
    let total = regions.iter().map(Region::voxels).sum();
    let scale = Scale::new(min, max - min);
    let (mut sums, mut done) = (Pool::default(), 0);
    // A few at a time: memory stays small, and the sums are merged in the order of the patches.
    for some in regions.chunks(4 * rayon::current_num_threads()) {
        let patches: Vec<Patch> = some
            .par_iter()
            .map(|region| Patch::read(source, region, scale))
            .collect::<Result<_>>()?;
        of_patches(&patches)?
            .iter()
            .for_each(|part| sums.merge(part));
        done += some.iter().map(Region::voxels).sum::<u64>();
        if report("analyze")(done, total).is_break() {
            return Err(Error::Cancelled);
        }
    }
    Ok(Analysis {
        extent: source.extent(),
        dtype: source.dtype(),
        min,
        max,
        patches: regions.len() as u64,
        sampled_voxels: total,
        features: sums.features(depth(source.dtype(), max - min)),
        histogram: sums.histogram(),
    })
}

/// log2 of the number of values that the range can hold: bits of the data, at most 16.
fn depth(dtype: DType, range: f64) -> f64 {
    if dtype.is_float() {
        16.0
    } else {
        (range + 1.0).log2().min(16.0)
    }
}
