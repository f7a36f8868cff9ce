//! Pass 0: the range of the values, whether they can be coded, and which they are if they are few.

use std::collections::HashSet;
use std::ops::ControlFlow;

use rayon::prelude::*;

use super::sums::MinMax;
use super::{Progress, ProgressFn};
use crate::backend::cpu::CpuBackend;
use crate::model::{Ranks, ValueMap, keys_of};
use crate::volume::{DType, Region, VoxelSource};
use crate::{Error, Result};

/// Bytes read at once by a thread.
const SLAB_BYTES: u64 = 8 << 20;

/// Most distinct floats that are kept count of.
const MOST_FLOATS: usize = 1 << 17;
/// A list of values is worth a trial if it has fewer than this share of the integers of the range.
const SPARSE: f64 = 0.75;

/// What a scan found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scan {
    pub(crate) values: ValueMap,
    /// Smallest and largest value.
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// Whether some voxel is not finite.
    pub(crate) masked: bool,
    /// Smallest and largest value as integers, rounded outward.
    pub(crate) q_min: i32,
    pub(crate) q_max: i32,
}

#[derive(Debug)]
struct Found {
    keys: Keys,
    min: f64,
    max: f64,
    nonfinite: u64,
    first: Option<[u64; 3]>,
}

impl Found {
    /// Of no voxel.
    fn none(dtype: DType, listed: bool) -> Self {
        Self {
            keys: Keys::none(dtype, listed),
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            nonfinite: 0,
            first: None,
        }
    }
}

/// Keys of distinct voxels.
#[derive(Debug)]
enum Keys {
    /// A bit for each key, for integers of up to 16 bits.
    Bits(Vec<u64>),
    Set(HashSet<u32>),
    /// Not wanted, or too many.
    Unknown,
}

impl Keys {
    fn none(dtype: DType, wanted: bool) -> Self {
        match dtype {
            _ if !wanted => Self::Unknown,
            DType::Float32 => Self::Set(HashSet::new()),
            _ => Self::Bits(vec![0; 1 << (8 * dtype.size() - 6)]),
        }
    }

    fn add(&mut self, dtype: DType, bytes: &[u8]) {
        match self {
            Self::Unknown => {}
            Self::Bits(bits) => {
                keys_of(dtype, bytes).for_each(|k| bits[(k >> 6) as usize] |= 1 << (k & 63));
            }
            Self::Set(set) => {
                let mut last = None;
                for key in keys_of(dtype, bytes) {
                    if last != Some(key) && set.insert(key) && set.len() > MOST_FLOATS {
                        *self = Self::Unknown;
                        return;
                    }
                    last = Some(key);
                }
            }
        }
    }

    fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::Bits(mut a), Self::Bits(b)) => {
                a.iter_mut().zip(b).for_each(|(a, b)| *a |= b);
                Self::Bits(a)
            }
            (Self::Set(mut a), Self::Set(b)) => {
                a.extend(b);
                if a.len() > MOST_FLOATS {
                    return Self::Unknown;
                }
                Self::Set(a)
            }
            _ => Self::Unknown,
        }
    }

    /// In rising order.
    fn list(self) -> Option<Vec<u32>> {
        match self {
            Self::Unknown => None,
            Self::Bits(bits) => {
                let all = 0..64 * bits.len() as u32;
                let has = |k: &u32| bits[(k >> 6) as usize] >> (k & 63) & 1 == 1;
                Some(all.filter(has).collect())
            }
            Self::Set(set) => {
                let mut keys: Vec<u32> = set.into_iter().collect();
                keys.sort_unstable();
                Some(keys)
            }
        }
    }
}

/// Reads the whole volume once. Also returns its distinct values if `listed` asks for them, and they
/// are few beside their range.
///
/// # Errors
/// [`Error::Input`] with a count and the first position if a value is not finite and `allow` is
/// not set.
pub(crate) fn scan(
    source: &dyn VoxelSource,
    (allow, listed): (bool, bool),
    pool: &rayon::ThreadPool,
    progress: &ProgressFn,
) -> Result<(Scan, Option<Ranks>)> {
    let (extent, dtype) = (source.extent(), source.dtype());
    let total = Region::whole(extent).voxels();
    let row = extent[0] * dtype.size() as u64;
    // Slabs of whole slices, or of rows where a slice is large.
    let rows_at_once = (SLAB_BYTES / row.max(1)).clamp(1, extent[1] * extent[2]);
    let slabs = slabs(extent, rows_at_once);
    let mut found = Found::none(dtype, listed);
    let mut done = 0;
    for chunk in slabs.chunks(4 * pool.current_num_threads().max(1)) {
        let listed = !matches!(found.keys, Keys::Unknown);
        let parts: Vec<Found> = pool.install(|| {
            chunk
                .par_iter()
                .map(|r| scan_slab(source, r, listed))
                .collect::<Result<_>>()
        })?;
        for part in parts {
            found.min = found.min.min(part.min);
            found.max = found.max.max(part.max);
            found.nonfinite += part.nonfinite;
            found.first = found.first.or(part.first);
            found.keys = found.keys.join(part.keys);
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
    let scan = Scan {
        values,
        min: found.min,
        max: found.max,
        masked: found.first.is_some(),
        q_min: (found.min / unit).floor() as i32,
        q_max: (found.max / unit).ceil() as i32,
    };
    let keys = found.keys.list().filter(|k| is_sparse(&scan, k.len()));
    let range = (scan.q_min, scan.q_max);
    let ranks = keys
        .map(|keys| Ranks::new(values, range, keys))
        .transpose()?;
    Ok((scan, ranks))
}

/// Whether so many distinct values are few beside their range.
fn is_sparse(scan: &Scan, count: usize) -> bool {
    let places = f64::from(scan.q_max) - f64::from(scan.q_min) + 1.0;
    !scan.masked && count > 1 && (count as f64) < SPARSE * places
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

fn scan_slab(source: &dyn VoxelSource, region: &Region, listed: bool) -> Result<Found> {
    let mut bytes = vec![0; (region.voxels() * source.dtype().size() as u64) as usize];
    source.read(region, &mut bytes)?;
    let mut found = Found::none(source.dtype(), listed);
    found.keys.add(source.dtype(), &bytes);
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
