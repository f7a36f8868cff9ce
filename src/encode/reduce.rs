//! A volume reduced to a level of detail by the filter of the format, without quantisation: what
//! a perfect encode would decode to there.

use super::forward::forward;
use crate::codec::bands::BlockShape;
use crate::model::ValueMap;
use crate::volume::{BlockGrid, DType, Extent, Metadata, Region, VoxelSource, ceil_shift};
use crate::{Error, Result};

/// `source` at level of detail `lod` of a file with blocks of side `block`: the CDF 9/7 low-pass
/// of each block, rounded to the voxel type (specification, "Levels of detail").
///
/// # Errors
/// [`Error::InvalidArgument`] if `block` is not 32, 64 or 128.
pub fn reduced<'a>(
    source: Box<dyn VoxelSource + 'a>,
    block: u32,
    lod: u32,
) -> Result<Box<dyn VoxelSource + 'a>> {
    if ![32, 64, 128].contains(&block) {
        return Err(Error::argument(format!(
            "blocks of {block} voxels; 32, 64 or 128 are possible"
        )));
    }
    let depth = block.ilog2() - 2;
    let mut source = source;
    let mut left = lod;
    while left > 0 {
        let now = left.min(depth);
        source = Box::new(Reduced::new(source, block.ilog2(), now));
        left -= now;
    }
    Ok(source)
}

struct Reduced<'a> {
    inner: Box<dyn VoxelSource + 'a>,
    grid: BlockGrid,
    lod: u32,
    extent: Extent,
    metadata: Metadata,
}

impl<'a> Reduced<'a> {
    fn new(inner: Box<dyn VoxelSource + 'a>, block_log2: u32, lod: u32) -> Self {
        Self {
            grid: BlockGrid {
                extent: inner.extent(),
                block_log2,
            },
            extent: inner.extent().map(|n| ceil_shift(n, lod)),
            metadata: inner.metadata().at_lod(lod),
            lod,
            inner,
        }
    }

    /// The low-pass of one block, in units of the voxel type.
    fn block(&self, block: [u64; 3]) -> Result<(Region, Vec<f32>)> {
        let region = self.grid.region(block);
        let mut bytes = vec![0; region.voxels() as usize * self.dtype().size()];
        self.inner.read(&region, &mut bytes)?;
        let mut values = Vec::new();
        ValueMap {
            dtype: self.dtype(),
            exponent: 0,
        }
        .to_units(&bytes, &mut values);
        let shape = BlockShape {
            dims: region.extent().map(|n| n as usize),
            depth: self.lod as usize,
        };
        forward(&mut values, &mut Vec::new(), &shape);
        let ([w, h, d], [nx, ny, _]) = (shape.dims_at(self.lod as usize), shape.dims);
        let rows = (0..d).flat_map(|z| (0..h).map(move |y| (z * ny + y) * nx));
        let low = rows
            .flat_map(|at| values[at..at + w].iter().copied())
            .collect();
        let start = region.start.map(|v| v >> self.lod);
        let end = [
            start[0] + w as u64,
            start[1] + h as u64,
            start[2] + d as u64,
        ];
        Ok((Region { start, end }, low))
    }
}

impl VoxelSource for Reduced<'_> {
    fn extent(&self) -> Extent {
        self.extent
    }
    fn dtype(&self) -> DType {
        self.inner.dtype()
    }
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
    fn read(&self, region: &Region, out: &mut [u8]) -> Result<()> {
        let size = self.dtype().size();
        if !region.fits(self.extent) || out.len() as u64 != region.voxels() * size as u64 {
            return Err(Error::argument(
                "the region does not fit the volume or the buffer",
            ));
        }
        let grid = BlockGrid {
            extent: self.extent,
            block_log2: self.grid.block_log2 - self.lod,
        };
        let touched = grid.touched(region);
        for z in touched.start[2]..touched.end[2] {
            for y in touched.start[1]..touched.end[1] {
                for x in touched.start[0]..touched.end[0] {
                    let (at, low) = self.block([x, y, z])?;
                    copy(self.dtype(), &low, &at, region, out);
                }
            }
        }
        Ok(())
    }
}

/// Rounds and stores the voxels that a block and a region have in common.
fn copy(dtype: DType, from: &[f32], at: &Region, region: &Region, out: &mut [u8]) {
    let Some(common) = at.intersect(region) else {
        return;
    };
    let size = dtype.size();
    let offset = |r: &Region, y: u64, z: u64| {
        let [w, h, _] = r.extent();
        (((z - r.start[2]) * h + y - r.start[1]) * w + common.start[0] - r.start[0]) as usize
    };
    let width = common.extent()[0] as usize;
    for z in common.start[2]..common.end[2] {
        for y in common.start[1]..common.end[1] {
            let line = &from[offset(at, y, z)..][..width];
            let to = &mut out[offset(region, y, z) * size..][..width * size];
            if dtype.is_float() {
                to.chunks_exact_mut(4)
                    .zip(line)
                    .for_each(|(o, v)| o.copy_from_slice(&v.to_le_bytes()));
            } else {
                let q: Vec<i32> = line.iter().map(|v| v.round() as i32).collect();
                ValueMap { dtype, exponent: 0 }.to_bytes(&q, to);
            }
        }
    }
}
