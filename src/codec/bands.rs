//! Geometry of a block's wavelet bands (specification, "Bands").
//!
//! Bands lie in the block's own box in the usual nested order: at depth `d` (0 = finest split) the
//! box of `dims(d)` voxels splits into 8 parts, low before high on each axis. Band bit 0 = high on
//! x, bit 1 = high on y, bit 2 = high on z; band 0 is split again, or is the coarsest band.

use crate::model::gains::AxisPart;

/// Extent of a block and the depth of its transform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockShape {
    /// Voxels along x, y, z; each at least 1.
    pub dims: [usize; 3],
    /// Transform levels.
    pub depth: usize,
}

/// One band: where it lies in the block's box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Band {
    /// Split that made it, 0 = finest.
    pub depth: usize,
    /// Orientation, 1..=7, or 0 for the coarsest band.
    pub index: usize,
    /// First coefficient, x, y, z.
    pub origin: [usize; 3],
    /// Coefficients along x, y, z; an axis may be empty.
    pub dims: [usize; 3],
}

impl BlockShape {
    /// Extent after `s` halvings: `ceil(n / 2^s)` on each axis.
    pub fn dims_at(&self, s: usize) -> [usize; 3] {
        self.dims.map(|n| n.div_ceil(1 << s))
    }

    /// Number of voxels.
    pub fn voxels(&self) -> usize {
        self.dims.iter().product()
    }

    /// The coarsest band.
    pub fn coarsest(&self) -> Band {
        Band {
            depth: self.depth,
            index: 0,
            origin: [0; 3],
            dims: self.dims_at(self.depth),
        }
    }

    /// Band `index` (1..=7) of the split at `depth`.
    pub fn band(&self, depth: usize, index: usize) -> Band {
        let (whole, low) = (self.dims_at(depth), self.dims_at(depth + 1));
        let high = |a: usize| index >> a & 1 == 1;
        Band {
            depth,
            index,
            origin: [0, 1, 2].map(|a| if high(a) { low[a] } else { 0 }),
            dims: [0, 1, 2].map(|a| if high(a) { whole[a] - low[a] } else { low[a] }),
        }
    }

    /// Index in the block's box of coefficient `x, y, z` of a band.
    #[inline(always)]
    pub fn place(&self, band: &Band, [x, y, z]: [usize; 3]) -> usize {
        let ([nx, ny, _], [ox, oy, oz]) = (self.dims, band.origin);
        ((z + oz) * ny + y + oy) * nx + x + ox
    }

    /// How each axis of a band came about; decides its step.
    pub fn parts(&self, band: &Band) -> [AxisPart; 3] {
        // The coarsest band was made by the last split; an axis is whole if that left it alone.
        let split = if band.index == 0 {
            band.depth.saturating_sub(1)
        } else {
            band.depth
        };
        let whole = self.dims_at(split);
        [0, 1, 2].map(|a| match (whole[a], band.index) {
            (1, _) => AxisPart::Whole(self.dims[a]),
            (_, 0) => AxisPart::Coarsest,
            (_, i) if i >> a & 1 == 1 => AxisPart::High,
            _ => AxisPart::Low,
        })
    }

    /// Depth whose gains the band uses.
    pub fn gain_depth(&self, band: &Band) -> usize {
        if band.index == 0 {
            band.depth.saturating_sub(1)
        } else {
            band.depth
        }
    }
}

impl Band {
    /// Number of coefficients.
    pub fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Whether it has no coefficient at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_tile_any_box() {
        for dims in [[64, 64, 64], [1, 1, 9], [5, 33, 2], [3, 64, 1]] {
            let shape = BlockShape { dims, depth: 4 };
            let mut seen = vec![0u8; shape.voxels()];
            let bands = (0..4).flat_map(|d| (1..8).map(move |b| (d, b)));
            for band in bands
                .map(|(d, b)| shape.band(d, b))
                .chain([shape.coarsest()])
            {
                for z in 0..band.dims[2] {
                    for y in 0..band.dims[1] {
                        for x in 0..band.dims[0] {
                            let [ox, oy, oz] = band.origin;
                            seen[((z + oz) * dims[1] + y + oy) * dims[0] + x + ox] += 1;
                        }
                    }
                }
            }
            assert!(seen.iter().all(|&n| n == 1), "{dims:?}");
        }
    }
}
