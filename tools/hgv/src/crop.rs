//! A box of a volume as a volume of its own: `encode --region`.

use hgv::volume::{DType, Extent, Metadata, Region, VoxelSource};
use hgv::{Error, Result};

/// `region` of `inner`; its voxel (0, 0, 0) is `region.start`, and the world position says so.
pub(crate) struct CroppedSource<'a> {
    inner: &'a dyn VoxelSource,
    region: Region,
    metadata: Metadata,
}

impl<'a> CroppedSource<'a> {
    /// # Errors
    /// [`Error::InvalidArgument`] if the box is empty or reaches over the border.
    pub(crate) fn new(inner: &'a dyn VoxelSource, region: Region) -> Result<Self> {
        let region = Region::new(region.start, region.end)?;
        if !region.fits(inner.extent()) {
            return Err(does_not_fit(&region));
        }
        Ok(Self {
            metadata: inner.metadata().cropped(region.start),
            inner,
            region,
        })
    }
}

impl VoxelSource for CroppedSource<'_> {
    fn extent(&self) -> Extent {
        self.region.extent()
    }

    fn dtype(&self) -> DType {
        self.inner.dtype()
    }

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn read(&self, region: &Region, out: &mut [u8]) -> Result<()> {
        if !region.fits(self.extent()) {
            return Err(does_not_fit(region));
        }
        // No overflow: both ends lie inside the box, which lies inside the volume.
        let moved = |v: [u64; 3]| [0, 1, 2].map(|a| v[a] + self.region.start[a]);
        let inner = Region {
            start: moved(region.start),
            end: moved(region.end),
        };
        self.inner.read(&inner, out)
    }
}

fn does_not_fit(region: &Region) -> Error {
    Error::argument(format!("region {region:?} does not fit the volume"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use hgv::volume::MemoryVolume;

    #[test]
    fn reads_the_box_and_moves_the_origin() {
        let voxels: Vec<u16> = (0..5 * 4 * 3).collect();
        let metadata = Metadata {
            spacing: [2.0, 3.0, 4.0],
            origin: [10.0, 20.0, 30.0],
            ..Metadata::default()
        };
        let whole = MemoryVolume::new([5, 4, 3], &voxels, metadata).unwrap();
        let region = Region::new([1, 2, 1], [4, 4, 3]).unwrap();
        let crop = CroppedSource::new(&whole, region).unwrap();
        assert_eq!(crop.extent(), [3, 2, 2]);
        assert_eq!(crop.metadata().origin, [12.0, 26.0, 34.0]);

        let part = Region::new([1, 0, 1], [3, 2, 2]).unwrap();
        let mut bytes = vec![0; 8];
        crop.read(&part, &mut bytes).unwrap();
        let read: Vec<u16> = bytes
            .chunks(2)
            .map(|b| u16::from_le_bytes([b[0], b[1]]))
            .collect();
        assert_eq!(read, [52, 53, 57, 58]);
        assert!(crop.read(&Region::whole([4, 1, 1]), &mut bytes).is_err());
        assert!(CroppedSource::new(&whole, Region::whole([6, 1, 1])).is_err());
    }
}
