//! Values and gradients at any point: the block models as functions of the place.
//!
//! Inside a block its features are interpolated trilinearly between voxel positions and the model
//! is evaluated there: the voxels themselves, or for a grid model the inputs of its network. In the
//! gap of one voxel between two blocks both are evaluated at their ends and blended. Which blocks
//! count at a point is `place`, what a block is worth there `field`, for grid models `grid`.
//! Here points are grouped by block, so that each block is decoded once.

mod field;
mod grid;
mod place;

use rayon::prelude::*;
use zerocopy::IntoBytes;

use self::field::{ConstantField, Field, VoxelField};
use self::grid::{GridField, Units};
use self::place::{Geometry, Share};
use super::region::{self, Buffers, Place};
use super::volume::Volume;
use crate::backend::Numbers;
use crate::backend::cpu::GridParts;
use crate::model::ValueMap;
use crate::reader::{BlockEntry, BlockState};
use crate::{Error, Limits, Result};

/// Points of a block that one task evaluates at least.
const TASK: usize = 1024;

impl Volume {
    /// The values at any points, at level of detail `lod` and quality `level`.
    ///
    /// `points` are `[x, y, z]` in voxels of the **full resolution**, whatever `lod` is: the centre
    /// of voxel `(i, j, k)` is `[i, j, k]`. From a world position `w`, with orthogonal
    /// directions as nearly all volumes have, it is
    /// `x[a] = dot(w - origin, direction[a]) / spacing[a]` with the fields of
    /// [`Self::metadata`]. Points outside of the volume take the value of the
    /// nearest point of the box from the first to the last voxel centre of the level of detail.
    ///
    /// Between its voxels a block is what its model says:
    /// * **Wavelet models, constant blocks, and every block with a residual (`--lossless`,
    ///   `--max-error`) at full detail:** the
    ///   decoded voxels, interpolated trilinearly. At the voxels the values are the decoded ones,
    ///   exactly.
    /// * **Grid models** (`hashgrid`): the sum of the levels and the inputs of the block's network,
    ///   both as decoded at the voxels of the level of detail, are interpolated trilinearly; the
    ///   network is evaluated **at the point** and added, and the sum is held in the value range of
    ///   the block. This is done in floating point and rounds nothing, so at a voxel the value
    ///   differs from the decoded one by what decoding rounds: at most half a unit (0.5 for integer
    ///   voxels; for float32 half of the power of two that its integers count), and with a network
    ///   also half of each integer that it computes, times the weights behind that integer.
    ///   The network's part is small beside the quantisation: for networks that this library trains
    ///   less than half of the smallest step of the block's levels.
    ///
    /// In the gap of one voxel between two blocks both are evaluated at their ends and blended
    /// linearly. The function is
    /// continuous: across faces, edges and corners of blocks it differs by float32 rounding only
    /// (2^-22 of the largest magnitude around). A point is NaN if a voxel that is not finite takes
    /// part in it with a weight that is not zero. Values are not rounded to the voxel type.
    ///
    /// The result has the order of `points` and is the same with any number of threads. Each block
    /// that is touched is read and decoded once a call, so many points in one call are far cheaper
    /// than many calls; memory is about 60 bytes a point (up to 400 if all lie in corners between
    /// blocks) and the blocks in work, as in [`Self::read_region`].
    ///
    /// ```
    /// use hgv::encode::{EncodeOptions, Target, encode};
    /// use hgv::volume::{MemoryVolume, Metadata};
    /// # fn main() -> hgv::Result<()> {
    /// let voxels: Vec<u8> = (0..40 * 24 * 16u32).map(|i| (i % 40 * 5) as u8).collect();
    /// let metadata = Metadata { spacing: [0.5; 3], origin: [10.0, 0.0, 0.0], ..Metadata::default() };
    /// let source = MemoryVolume::new([40, 24, 16], &voxels, metadata)?;
    /// let path = std::env::temp_dir().join(format!("hgv-doc-sample-{}.hgv", std::process::id()));
    /// let options = EncodeOptions::default().with_target(Target::Lossless);
    /// encode(&source, &path, &options, &|_| std::ops::ControlFlow::Continue(()))?;
    ///
    /// let volume = hgv::Volume::open(&path)?;
    /// let best = volume.levels() - 1;
    /// // World position -> voxels.
    /// let (m, world) = (volume.metadata(), [15.125, 6.0, 4.0]);
    /// let point = [0, 1, 2].map(|a| {
    ///     let along: f64 = (0..3).map(|b| (world[b] - m.origin[b]) * m.direction[a][b]).sum();
    ///     along / m.spacing[a]
    /// });
    /// assert_eq!(point, [10.25, 12.0, 8.0]);
    /// assert_eq!(volume.sample(0, best, &[point])?, [51.25]);
    /// // Value per voxel; divided by the spacing, value per unit of length.
    /// assert_eq!(volume.gradient(0, best, &[point])?, [[5.0, 0.0, 0.0]]);
    /// # std::fs::remove_file(path).ok();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if a coordinate is NaN or a level does not exist;
    /// [`Error::LimitExceeded`] if the result would be over `max_output`;
    /// [`Error::NotWritten`] for a shard; otherwise what is wrong with the file.
    pub fn sample(&self, lod: u32, level: u32, points: &[[f64; 3]]) -> Result<Vec<f32>> {
        let query = Query {
            needs: |share| share.weight != 0.0,
            term: |field, share| [share.weight * field.value(share.local)],
        };
        let (values, _) = query.run(self, lod, level, points)?;
        Ok(values.iter().map(|&[v]| v as f32).collect())
    }

    /// The gradients at any points: the derivatives of [`Self::sample`] (not differences) along
    /// x, y, z, in **value per voxel of the full resolution**, whatever `lod` is. Divide by the
    /// spacing of each axis for value per unit of length along the axes of the volume.
    ///
    /// The derivative of a piecewise function jumps: on a plane of voxels it is that of the cell
    /// above the plane, at the last plane of the volume that of the cell below. A component is 0
    /// where the point lies outside of the volume on that axis, or the axis has one voxel; it is
    /// NaN if a voxel that is not finite takes part in it.
    ///
    /// Points, order and costs are as for [`Self::sample`].
    ///
    /// # Errors
    /// As [`Self::sample`].
    pub fn gradient(&self, lod: u32, level: u32, points: &[[f64; 3]]) -> Result<Vec<[f32; 3]>> {
        let query = Query {
            needs: |share| share.along != [0.0; 3],
            term: gradient_term,
        };
        let (gradients, scale) = query.run(self, lod, level, points)?;
        Ok(gradients
            .iter()
            .map(|g| g.map(|v| (v * scale) as f32))
            .collect())
    }
}

fn gradient_term(field: &dyn Field, share: &Share) -> [f64; 3] {
    let (value, gradient) = field.value_and_gradient(share.local);
    [0, 1, 2].map(|a| {
        let part = if share.gap[a] { value } else { gradient[a] };
        // NaN without weight takes no part.
        if share.along[a] == 0.0 {
            0.0
        } else {
            share.along[a] * part
        }
    })
}

/// What is asked for at each point: `N` sums over the blocks that count there.
struct Query<const N: usize> {
    /// Whether a block counts.
    needs: fn(&Share) -> bool,
    /// What it counts.
    term: fn(&dyn Field, &Share) -> [f64; N],
}

/// A block that counts at a point. Sorted by block, then by point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Touch {
    /// z, y, x.
    block: [u64; 3],
    point: usize,
}

impl<const N: usize> Query<N> {
    /// The sums in the order of the points, and the scale of the level of detail.
    fn run(
        &self,
        volume: &Volume,
        lod: u32,
        level: u32,
        points: &[[f64; 3]],
    ) -> Result<(Vec<[f64; N]>, f64)> {
        let (extent, place) = (volume.lod_extent(lod)?, volume.place(lod)?);
        volume.check_level(level)?;
        check(volume, points, N)?;
        let geometry = Geometry {
            extent,
            side_log2: place.grid.block_log2 - place.inner,
            scale: (-f64::from(lod)).exp2(),
        };
        let touches = volume.pool.install(|| self.touches(&geometry, points));
        let groups: Vec<&[Touch]> = touches.chunk_by(|a, b| a.block == b.block).collect();
        let blocks: Vec<_> = groups.iter().map(|g| reversed(g[0].block)).collect();
        let mut sums = vec![[0.0; N]; points.len()];
        region::over_blocks(
            volume,
            place,
            level,
            (&blocks, field_bytes(volume)),
            |i, entry, layers, buffers| {
                let field = field_of(volume, place, entry, layers, buffers)?;
                Ok(self.terms(&*field, &geometry, points, groups[i]))
            },
            // One thread, block after block: the order of additions is always the same.
            |i, terms: Vec<[f64; N]>| {
                for (touch, term) in groups[i].iter().zip(terms) {
                    let sum = &mut sums[touch.point];
                    sum.iter_mut().zip(term).for_each(|(s, t)| *s += t);
                }
            },
        )?;
        Ok((sums, geometry.scale))
    }

    fn touches(&self, geometry: &Geometry, points: &[[f64; 3]]) -> Vec<Touch> {
        let of_point = |(point, &at): (usize, &[f64; 3])| {
            let shares = geometry.shares(at).filter(self.needs);
            shares.map(move |share| Touch {
                block: reversed(share.block),
                point,
            })
        };
        let mut touches: Vec<Touch> = points
            .par_iter()
            .enumerate()
            .flat_map_iter(of_point)
            .collect();
        touches.par_sort_unstable();
        touches
    }

    /// What a block counts at each of its points.
    fn terms(
        &self,
        field: &dyn Field,
        geometry: &Geometry,
        points: &[[f64; 3]],
        group: &[Touch],
    ) -> Vec<[f64; N]> {
        let term = |touch: &Touch| {
            let block = reversed(touch.block);
            let mut shares = geometry.shares(points[touch.point]);
            let share = shares.find(|s| s.block == block);
            share.map_or([0.0; N], |s| (self.term)(field, &s))
        };
        group.par_iter().with_min_len(TASK).map(term).collect()
    }
}

fn reversed([a, b, c]: [u64; 3]) -> [u64; 3] {
    [c, b, a]
}

/// Points that can be answered, and not too many.
fn check(volume: &Volume, points: &[[f64; 3]], numbers: usize) -> Result<()> {
    Limits::check(
        "bytes of values at points",
        (points.len() as u64).saturating_mul((numbers * size_of::<f32>()) as u64),
        volume.limits.max_output,
    )?;
    match points.iter().position(|p| p.iter().any(|c| c.is_nan())) {
        Some(i) => Err(Error::argument(format!(
            "point {i} is {:?} (x, y, z): a coordinate must not be NaN",
            points[i]
        ))),
        None => Ok(()),
    }
}

/// Decodes a block into what can be evaluated.
fn field_of(
    volume: &Volume,
    place: Place,
    entry: &BlockEntry,
    layers: &[Vec<u8>],
    buffers: &mut Buffers,
) -> Result<Box<dyn Field>> {
    if let BlockState::Constant(q) = entry.state {
        let value = values(&volume.values, Numbers::Units, &[q])[0];
        return Ok(Box::new(ConstantField::new(value)));
    }
    if let Some((dims, parts)) = region::grid_parts(volume, place, entry, layers, buffers)? {
        return Ok(Box::new(grid_field(&volume.values, dims, parts)?));
    }
    let (dims, numbers) = region::decode_block(volume, place, entry, layers, buffers)?;
    let voxels = values(&volume.values, numbers, &buffers.integers);
    Ok(Box::new(VoxelField::new(dims, voxels)))
}

/// Bytes a voxel of the largest field of a block.
fn field_bytes(volume: &Volume) -> usize {
    size_of::<f32>() * (1 + volume.decoder.most_inputs().unwrap_or(0))
}

/// The continuous function of a block under a grid model.
fn grid_field(map: &ValueMap, dims: [usize; 3], parts: GridParts<'_>) -> Result<GridField> {
    let range = parts.range;
    // Integer voxels are held in the range of their type too.
    let (lo, hi) = map.dtype.integer_range().unwrap_or((i32::MIN, i32::MAX));
    let units = Units {
        scale: (-f64::from(parts.frac_bits)).exp2(),
        centre: range.centre().into(),
        range: [range.lo.clamp(lo, hi), range.hi.clamp(lo, hi)].map(f64::from),
        unit: map.unit(),
    };
    let (network, planes) = match parts.network {
        Some((network, planes)) => (
            Some(grid::Network::from_integers(network, planes.len())?),
            planes,
        ),
        None => (None, &[][..]),
    };
    let features = planes.iter().flatten().map(|&u| u.into()).collect();
    GridField::new(dims, parts.sums, features, network, units)
}

/// Voxels as floats, which hold every type exactly.
fn values(map: &ValueMap, numbers: Numbers, integers: &[i32]) -> Vec<f32> {
    match map.dtype.integer_range() {
        Some((lo, hi)) => integers.iter().map(|q| *q.clamp(&lo, &hi) as f32).collect(),
        None => {
            let mut out = vec![0f32; integers.len()];
            region::to_bytes(map, numbers, integers, out.as_mut_bytes());
            out
        }
    }
}
