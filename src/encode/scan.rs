//! Pass 0: the range of the values, and whether they can be coded.

use std::ops::ControlFlow;

use rayon::prelude::*;

use super::sums::MinMax;
use super::{Progress, ProgressFn};
use crate::backend::cpu::CpuBackend;
use crate::model::ValueMap;
use crate::volume::{DType, Region, VoxelSource};
use crate::{Error, Result};

/// Bytes read at once by a thread.
const SLAB_BYTES: u64 = 8 << 20;

/// What a scan found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scan {
    pub(crate) values: ValueMap,
    /// Smallest and largest value.
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// The same as integers, rounded outward.
    /// Whether some voxel is not finite.
    pub(crate) masked: bool,
    pub(crate) q_min: i32,
    pub(crate) q_max: i32,
}

#[derive(Debug, Clone, Copy)]
struct Found {
    min: f64,
    max: f64,
    nonfinite: u64,
    first: Option<[u64; 3]>,
}

/// Reads the whole volume once.
///
/// # Errors
/// [`Error::Input`] with a count and the first position if a value is not finite and `allow` is
/// not set.
pub(crate) fn scan(
    source: &dyn VoxelSource,
    allow: bool,
    pool: &rayon::ThreadPool,
    progress: &ProgressFn,
) -> Result<Scan> {
    let (extent, dtype) = (source.extent(), source.dtype());
    let total = Region::whole(extent).voxels();
    let row = extent[0] * dtype.size() as u64;
    // Slabs of whole slices, or of rows where a slice is large.
    let rows_at_once = (SLAB_BYTES / row.max(1)).clamp(1, extent[1] * extent[2]);
    let slabs = slabs(extent, rows_at_once);
    let mut found = Found {
        min: f64::INFINITY,
        max: f64::NEG_INFINITY,
        nonfinite: 0,
        first: None,
    };
    let mut done = 0;
    for chunk in slabs.chunks(4 * pool.current_num_threads().max(1)) {
        let parts: Vec<Found> = pool.install(|| {
            chunk
                .par_iter()
                .map(|r| scan_slab(source, r))
                .collect::<Result<_>>()
        })?;
        for part in parts {
            found.min = found.min.min(part.min);
            found.max = found.max.max(part.max);
            found.nonfinite += part.nonfinite;
            found.first = found.first.or(part.first);
        }
        done += chunk.iter().map(Region::voxels).sum::<u64>();
        report(
            progress,
            Progress {
                phase: "scan",
                done,
                total,
            },
        )?;
    }
    if let Some([x, y, z]) = found.first.filter(|_| !allow) {
        return Err(Error::Input(format!(
            "{} of {total} voxels are NaN or infinite, the first at {x}, {y}, {z}; replace them, or code them as a mask with --nan-mask",
            found.nonfinite
        )));
    }
    if found.min > found.max {
        // No voxel is finite.
        (found.min, found.max) = (0.0, 0.0);
    }
    let values = ValueMap::fitting(dtype, found.min, found.max);
    let unit = values.unit();
    Ok(Scan {
        values,
        min: found.min,
        max: found.max,
        masked: found.first.is_some(),
        q_min: (found.min / unit).floor() as i32,
        q_max: (found.max / unit).ceil() as i32,
    })
}

/// Hands a progress to the caller.
///
/// # Errors
/// [`Error::Cancelled`] if it says so.
pub(crate) fn report(progress: &ProgressFn, at: Progress) -> Result<()> {
    match progress(at) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Cancelled),
    }
}

/// Boxes of at most `rows` whole rows that cover the volume in order.
fn slabs(extent: [u64; 3], rows: u64) -> Vec<Region> {
    let [w, h, d] = extent;
    let mut out = Vec::new();
    if rows >= h {
        let thick = rows / h;
        for z in (0..d).step_by(thick as usize) {
            out.push(Region {
                start: [0, 0, z],
                end: [w, h, d.min(z + thick)],
            });
        }
        return out;
    }
    for z in 0..d {
        for y in (0..h).step_by(rows as usize) {
            out.push(Region {
                start: [0, y, z],
                end: [w, h.min(y + rows), z + 1],
            });
        }
    }
    out
}

fn scan_slab(source: &dyn VoxelSource, region: &Region) -> Result<Found> {
    let mut bytes = vec![0; (region.voxels() * source.dtype().size() as u64) as usize];
    source.read(region, &mut bytes)?;
    let mut found = Found {
        min: f64::INFINITY,
        max: f64::NEG_INFINITY,
        nonfinite: 0,
        first: None,
    };
    let raw = ValueMap {
        dtype: source.dtype(),
        exponent: 0,
    };
    let mut units = Vec::new();
    raw.to_units(&bytes, &mut units);
    let (min, max) = CpuBackend::new().with_vectors(MinMax(&units));
    if source.dtype() == DType::Float32 && units.iter().any(|v| !v.is_finite()) {
        count_nonfinite(&units, region, &mut found);
    }
    (found.min, found.max) = (f64::from(min), f64::from(max));
    Ok(found)
}

fn count_nonfinite(units: &[f32], region: &Region, found: &mut Found) {
    let [w, h, _] = region.extent();
    for (i, _) in units.iter().enumerate().filter(|(_, v)| !v.is_finite()) {
        let i = i as u64;
        found.nonfinite += 1;
        found.first.get_or_insert([
            i % w + region.start[0],
            i / w % h + region.start[1],
            i / (w * h) + region.start[2],
        ]);
    }
}
