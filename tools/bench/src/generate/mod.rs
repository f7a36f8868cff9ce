//! Large realistic volumes from a seed, of any size, streamed to disk.
//!
//! A voxel depends on the seed, the kind and the size of the volume only, never on the order or the
//! number of threads in which bricks are made. Index order is `[x, y, z]`, x fastest in memory.

mod lattice;
mod phantom;
mod porous;
mod sink;
mod turbulence;

use std::path::{Path, PathBuf};

use hgv::volume::{DType, Metadata};
use hgv::{Error, Result};
use rayon::prelude::*;

pub use phantom::Phantom;
pub use porous::Porous;
pub use turbulence::Turbulence;

/// A box of voxels; `start` may be negative where a filter needs a border.
#[derive(Debug, Clone, Copy)]
pub struct Brick {
    /// First voxel x, y, z.
    pub start: [i64; 3],
    /// Voxels along x, y, z.
    pub size: [usize; 3],
}

impl Brick {
    /// Number of voxels.
    pub fn voxels(&self) -> usize {
        self.size.iter().product()
    }

    /// The box with `border` more voxels on every side.
    #[must_use]
    pub fn grown(&self, border: usize) -> Self {
        Self {
            start: self.start.map(|s| s - border as i64),
            size: self.size.map(|s| s + 2 * border),
        }
    }
}

/// A kind of volume: fills any box of voxels with values.
pub trait Kind: Sync {
    /// Voxel types that it can be stored as; the first is the default.
    fn dtypes(&self) -> &'static [DType];
    /// Spacing, units and meaning of the values.
    fn metadata(&self) -> Metadata;
    /// Fills `out` (`[z][y][x]`) with the values of `brick`, in units of voxels of type `dtype`
    /// but neither rounded nor clamped.
    fn fill(&self, dtype: DType, brick: &Brick, out: &mut [f32]);
}

/// Rows (y) and slices (z) of one job: small enough that its fields stay in the cache.
const BAND: usize = 32;
/// Voxels along x that are computed at once.
const RUN: usize = 128;

/// Writes a volume of `extent` voxels to `path` and returns the path written: a `.raw` name gets
/// the extent and the type if it lacks them (`name_XxYxZ_dtype.raw`).
///
/// `.raw` and `.npy` are streamed; `.nrrd`, `.nii` and `.nii.gz` are built in memory.
///
/// # Errors
/// [`Error::InvalidArgument`] for an extent, type or file name that cannot be, [`Error::Exists`],
/// [`Error::Io`].
pub fn write(
    kind: &dyn Kind,
    extent: [u64; 3],
    dtype: DType,
    path: &Path,
    force: bool,
) -> Result<PathBuf> {
    if !kind.dtypes().contains(&dtype) {
        let known: Vec<_> = kind.dtypes().iter().map(|d| d.name()).collect();
        return Err(Error::argument(format!(
            "this kind of volume is made as {}, not {dtype}",
            known.join(" or ")
        )));
    }
    let sink = sink::Sink::create(path, extent, dtype, &kind.metadata(), force)?;
    let slabs = (0..extent[2]).step_by(BAND);
    let bands = slabs.flat_map(|z| (0..extent[1]).step_by(BAND).map(move |y| (y, z)));
    let bands: Vec<(u64, u64)> = bands.collect();
    bands
        .into_par_iter()
        .try_for_each(|(y, z)| write_band(kind, extent, dtype, (y, z), &sink))?;
    sink.finish()
}

/// Computes all x of up to 32 x 32 rows and slices and writes them.
fn write_band(
    kind: &dyn Kind,
    extent: [u64; 3],
    dtype: DType,
    (y, z): (u64, u64),
    sink: &sink::Sink,
) -> Result<()> {
    let rows = (extent[1] - y).min(BAND as u64) as usize;
    let slices = (extent[2] - z).min(BAND as u64) as usize;
    let width = extent[0] as usize;
    let mut bytes = vec![0u8; width * rows * slices * dtype.size()];
    let mut values = vec![0f32; RUN * rows * slices];
    for x in (0..width).step_by(RUN) {
        let run = RUN.min(width - x);
        let brick = Brick {
            start: [x as i64, y as i64, z as i64],
            size: [run, rows, slices],
        };
        let values = &mut values[..brick.voxels()];
        kind.fill(dtype, &brick, values);
        for (line, row) in values.chunks_exact(run).enumerate() {
            let at = (line * width + x) * dtype.size();
            store(dtype, row, &mut bytes[at..at + run * dtype.size()]);
        }
    }
    let plane = rows * width * dtype.size();
    for (i, slice) in bytes.chunks_exact(plane).enumerate() {
        let voxel = ((z + i as u64) * extent[1] + y) * extent[0];
        sink.put(voxel * dtype.size() as u64, slice)?;
    }
    Ok(())
}

/// Rounds, clamps and stores values as little-endian voxels.
fn store(dtype: DType, values: &[f32], out: &mut [u8]) {
    match dtype {
        DType::Uint8 => {
            for (o, v) in out.iter_mut().zip(values) {
                *o = (v + 0.5) as u8;
            }
        }
        DType::Uint16 => {
            for (o, v) in out.as_chunks_mut().0.iter_mut().zip(values) {
                *o = ((v + 0.5) as u16).to_le_bytes();
            }
        }
        DType::Int16 => {
            for (o, v) in out.as_chunks_mut().0.iter_mut().zip(values) {
                *o = (v.round() as i16).to_le_bytes();
            }
        }
        _ => {
            for (o, v) in out.as_chunks_mut().0.iter_mut().zip(values) {
                *o = v.to_le_bytes();
            }
        }
    }
}
