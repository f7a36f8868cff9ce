//! Complexity in place: for pictures of it on a slice.

use rayon::prelude::*;

use super::direction::Turning;
use super::patch::read_scaled;
use crate::quality::Scale;
use crate::volume::{Region, VoxelSource};
use crate::{Error, Result};

/// Side of the box of voxels that one value of a map is measured in.
pub(super) const SIDE: u64 = 16;

/// Complexity at level of detail 0 over a plane of boxes of 16^3 voxels.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ComplexityMap {
    /// Values from 0 to 1, row by row; a row runs along the first axis of the plane.
    pub values: Vec<f32>,
    /// Boxes along the first and the second axis of the plane.
    pub size: [usize; 2],
    /// Voxels from one box to the next along these; boxes lie apart where the plane has more than `most` of them.
    pub stride: [u64; 2],
}

/// Complexity around the slice at `position` across `axis` (0 = x, 1 = y, 2 = z), at most `most` boxes
/// along each side. The plane's axes are the other two, in the order x, y, z. `range` is the smallest and
/// largest value of the volume. Costs a read of 18^3 voxels and about 0.3 ms of a core for each box.
///
/// # Errors
/// [`Error::InvalidArgument`] if axis, position or `most` make no sense, and whatever the source returns.
pub fn complexity_map(
    source: &dyn VoxelSource,
    axis: usize,
    position: u64,
    most: u32,
    range: (f64, f64),
) -> Result<ComplexityMap> {
    let extent = source.extent();
    if axis > 2 || position >= extent[axis.min(2)] || most == 0 {
        return Err(Error::argument(format!(
            "no map of at most {most} boxes at {position} across axis {axis} of {extent:?} voxels"
        )));
    }
    let plane = [[1, 2], [0, 2], [0, 1]][axis];
    let size = plane.map(|a| extent[a].div_ceil(SIDE).min(u64::from(most)));
    let stride = [0, 1].map(|i| SIDE.max(extent[plane[i]].div_ceil(size[i])));
    let scale = Scale::new(range.0, range.1 - range.0);
    let values = (0..size[0] * size[1])
        .into_par_iter()
        .map(|i| {
            let mut region = Region::whole(extent);
            let start = [i % size[0] * stride[0], i / size[0] * stride[1]];
            for (a, s) in [(plane[0], start[0]), (plane[1], start[1])] {
                (region.start[a], region.end[a]) = around(s, extent[a]);
            }
            let low = position.saturating_sub(SIDE / 2);
            (region.start[axis], region.end[axis]) = around(low, extent[axis]);
            complexity(source, &region, scale)
        })
        .collect::<Result<_>>()?;
    Ok(ComplexityMap {
        values,
        size: size.map(|s| s as usize),
        stride,
    })
}

/// A box from `start` on and one voxel more on each side, which gradients need.
fn around(start: u64, length: u64) -> (u64, u64) {
    let start = start.min(length.saturating_sub(1));
    (start.saturating_sub(1), (start + SIDE + 1).min(length))
}

fn complexity(source: &dyn VoxelSource, region: &Region, scale: Scale) -> Result<f32> {
    let values = read_scaled(source, region, scale)?;
    let turning = Turning::of(&values, region.extent().map(|e| e as usize));
    Ok(turning.complexity() as f32)
}
