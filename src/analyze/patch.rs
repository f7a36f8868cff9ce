//! One patch of voxels and its levels of detail, cut into cells of 8^3.

use super::LODS;
use crate::Result;
use crate::quality::{Scale, to_f32};
use crate::volume::{Region, VoxelSource};

/// Side of a cell in voxels of its level of detail: about the window of SSIM, and a cell of one level lies
/// in one cell of the next.
const CELL: usize = 8;
/// Variance of the detail signal of white noise of variance 1: 1 + 2 / 4.
const DETAIL_OF_NOISE: f32 = 1.5;

/// Values of a patch at one level of detail.
#[derive(Debug)]
pub(super) struct Layer {
    /// Scaled values, `[z][y][x]`.
    pub(super) values: Vec<f32>,
    /// Lengths of the axes x, y, z.
    pub(super) extent: [usize; 3],
}

/// A patch at all levels of detail that it has.
#[derive(Debug)]
pub(super) struct Patch {
    /// From level 0 on; at least one.
    pub(super) layers: Vec<Layer>,
}

/// Energies of a cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cell {
    /// Variance of the values.
    pub(super) variance: f64,
    /// Variance of what the neighbours of a voxel do not say about it, scaled so that white noise has its own.
    pub(super) detail: f64,
}

/// Scaled values of a region, `[z][y][x]`.
pub(super) fn read_scaled(
    source: &dyn VoxelSource,
    region: &Region,
    scale: Scale,
) -> Result<Vec<f32>> {
    let (dtype, voxels) = (source.dtype(), region.voxels() as usize);
    let mut bytes = vec![0; voxels * dtype.size()];
    source.read(region, &mut bytes)?;
    let mut values = vec![0.0; voxels];
    to_f32(dtype, &bytes, &mut values);
    scale.apply(&mut values);
    Ok(values)
}

impl Patch {
    /// Reads `region` and reduces it.
    pub(super) fn read(source: &dyn VoxelSource, region: &Region, scale: Scale) -> Result<Self> {
        let values = read_scaled(source, region, scale)?;
        let extent = region.extent().map(|e| e as usize);
        let mut layers = vec![Layer { values, extent }];
        while let Some(next) = layers.last().and_then(Layer::half)
            && layers.len() < LODS
        {
            layers.push(next);
        }
        Ok(Self { layers })
    }
}

impl Layer {
    /// Means of 2^3 voxels, an odd last one dropped; `None` where an axis has only one.
    fn half(&self) -> Option<Self> {
        let extent = self.extent.map(|e| e / 2);
        if extent.contains(&0) {
            return None;
        }
        let [w, h, _] = self.extent;
        let mut values = Vec::with_capacity(extent.iter().product());
        for z in 0..extent[2] {
            for y in 0..extent[1] {
                let row = |dy, dz| &self.values[((2 * z + dz) * h + 2 * y + dy) * w..][..w];
                let rows = [row(0, 0), row(1, 0), row(0, 1), row(1, 1)];
                values.extend((0..extent[0]).map(|x| {
                    let pair = |r: &[f32]| r[2 * x] + r[2 * x + 1];
                    0.125 * rows.iter().map(|r| pair(r)).sum::<f32>()
                }));
            }
        }
        Some(Self { values, extent })
    }

    /// Number of cells along each axis; what is left over at the end belongs to the last.
    pub(super) fn cells(&self) -> [usize; 3] {
        self.extent.map(|e| (e / CELL).max(1))
    }

    /// Energies of all cells, `[z][y][x]`.
    pub(super) fn energies(&self) -> Vec<Cell> {
        let n = self.cells();
        let span = |a: usize, i: usize| {
            let end = if i + 1 == n[a] {
                self.extent[a]
            } else {
                (i + 1) * CELL
            };
            i * CELL..end
        };
        let mut out = Vec::with_capacity(n.iter().product());
        for z in 0..n[2] {
            for y in 0..n[1] {
                for x in 0..n[0] {
                    out.push(self.cell([span(0, x), span(1, y), span(2, z)]));
                }
            }
        }
        out
    }

    fn cell(&self, [xs, ys, zs]: [std::ops::Range<usize>; 3]) -> Cell {
        let [w, h, d] = self.extent;
        let (mut sum, mut squares, mut count) = (0.0, 0.0, 0u32);
        let (mut detail, mut details) = (0.0, 0u32);
        for z in zs {
            for y in ys.clone() {
                let row = (z * h + y) * w;
                let part = &self.values[row + xs.start..row + xs.end];
                // Around the middle of the range, where 32-bit sums of a row lose nothing that matters.
                sum += f64::from(part.iter().map(|v| v - 0.5).sum::<f32>());
                squares += f64::from(part.iter().map(|v| (v - 0.5) * (v - 0.5)).sum::<f32>());
                count += part.len() as u32;
                if (1..h.max(2) - 1).contains(&y) && (1..d.max(2) - 1).contains(&z) {
                    let inner = xs.start.max(1)..xs.end.min(w - 1);
                    details += inner.len() as u32;
                    detail += f64::from(self.detail(row, inner));
                }
            }
        }
        let (count, details) = (f64::from(count.max(1)), f64::from(details.max(1)));
        let mean = sum / count;
        Cell {
            variance: (squares / count - mean * mean).max(0.0),
            detail: detail / details,
        }
    }

    /// Sum over voxels of a row, all with neighbours, of the squared difference to the mean of the two
    /// neighbours along an axis, averaged over axes.
    fn detail(&self, row: usize, xs: std::ops::Range<usize>) -> f32 {
        let strides = [1, self.extent[0], self.extent[0] * self.extent[1]];
        let mut sum = 0.0;
        for i in row + xs.start..row + xs.end {
            for s in strides {
                let d = self.values[i] - 0.5 * (self.values[i - s] + self.values[i + s]);
                sum += d * d;
            }
        }
        sum / (3.0 * DETAIL_OF_NOISE)
    }
}
