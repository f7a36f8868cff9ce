//! Where voxels come from.

use super::{DType, Extent, Metadata, Region, Voxel};
use crate::{Error, Result};
use zerocopy::IntoBytes;

/// A volume whose voxels can be read box by box, larger than memory if need be.
///
/// Implementations must be safe to call from several threads at once.
pub trait VoxelSource: Send + Sync {
    /// Lengths of the axes in voxels.
    fn extent(&self) -> Extent;
    /// Type of the voxels.
    fn dtype(&self) -> DType;
    /// Spacing, orientation, units.
    fn metadata(&self) -> &Metadata;
    /// Reads `region` into `out`: little-endian voxels, `[z][y][x]`, x fastest, without gaps.
    /// `out` is exactly `region.voxels() * dtype().size()` bytes.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Input`] or [`Error::InvalidArgument`] if the region does not fit.
    fn read(&self, region: &Region, out: &mut [u8]) -> Result<()>;
}

/// A volume held in memory.
#[derive(Debug, Clone)]
pub struct MemoryVolume {
    extent: Extent,
    dtype: DType,
    metadata: Metadata,
    bytes: Vec<u8>,
}

impl MemoryVolume {
    /// Wraps voxels in `[z][y][x]` order.
    ///
    /// # Errors
    /// [`Error::Input`] if the number of voxels is not the product of the extent.
    pub fn new<T: Voxel>(extent: Extent, voxels: &[T], metadata: Metadata) -> Result<Self> {
        Self::from_bytes(extent, T::DTYPE, voxels.as_bytes().to_vec(), metadata)
    }

    /// Wraps little-endian voxel bytes in `[z][y][x]` order.
    ///
    /// # Errors
    /// [`Error::Input`] if the number of bytes does not fit extent and type.
    pub fn from_bytes(
        extent: Extent,
        dtype: DType,
        bytes: Vec<u8>,
        metadata: Metadata,
    ) -> Result<Self> {
        let need = Region::whole(extent)
            .voxels()
            .saturating_mul(dtype.size() as u64);
        if need != bytes.len() as u64 || need == 0 {
            return Err(Error::Input(format!(
                "{} x {} x {} {dtype} needs {need} bytes, {} are there",
                extent[0],
                extent[1],
                extent[2],
                bytes.len()
            )));
        }
        Ok(Self {
            extent,
            dtype,
            metadata,
            bytes,
        })
    }

    /// The voxel bytes, little-endian, `[z][y][x]`.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl VoxelSource for MemoryVolume {
    fn extent(&self) -> Extent {
        self.extent
    }
    fn dtype(&self) -> DType {
        self.dtype
    }
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
    fn read(&self, region: &Region, out: &mut [u8]) -> Result<()> {
        let size = self.dtype.size() as u64;
        if !region.fits(self.extent) || out.len() as u64 != region.voxels().saturating_mul(size) {
            return Err(Error::argument(format!(
                "region {region:?} does not fit the volume or the buffer"
            )));
        }
        let [w, h, _] = region.extent();
        let row = (w * size) as usize;
        if row == 0 {
            return Ok(());
        }
        for (i, line) in out.chunks_exact_mut(row).enumerate() {
            let (y, z) = (
                region.start[1] + i as u64 % h,
                region.start[2] + i as u64 / h,
            );
            let at =
                (((z * self.extent[1] + y) * self.extent[0] + region.start[0]) * size) as usize;
            line.copy_from_slice(&self.bytes[at..at + row]);
        }
        Ok(())
    }
}
