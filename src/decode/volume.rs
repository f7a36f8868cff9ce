//! The reader most people use.

use std::path::Path;

use crate::volume::{DType, Extent, Metadata, Region, Voxel, VoxelSource};
use crate::{Limits, Result};

/// An open `.hgv` volume. Cheap to share between threads by reference.
#[derive(Debug)]
pub struct Volume {
    metadata: Metadata,
}

/// What `hgv info --json` prints.
#[derive(Debug, Clone, serde::Serialize)]
#[non_exhaustive]
pub struct Info {
    /// Lengths of the axes in voxels, x, y, z.
    pub extent: Extent,
    /// Voxel type.
    pub dtype: DType,
    /// Voxel spacing x, y, z.
    pub spacing: [f64; 3],
    /// Unit of the spacing.
    pub unit: Option<String>,
    /// Size of the file.
    pub file_bytes: u64,
    /// Extent x dtype bytes / file bytes.
    pub ratio: f64,
    /// File bits per voxel.
    pub bits_per_voxel: f64,
    /// Blocks of the full-resolution grid.
    pub blocks: u64,
    /// Levels of detail.
    pub lods: u32,
    /// Quality levels, coarse to fine.
    pub levels: Vec<LevelInfo>,
    /// Blocks per kind of model.
    pub models: std::collections::BTreeMap<String, u64>,
}

/// One quality level.
#[derive(Debug, Clone, serde::Serialize)]
#[non_exhaustive]
pub struct LevelInfo {
    /// Payload bytes up to and including this level.
    pub bytes: u64,
    /// PSNR in dB as measured at encode; `None` if identical.
    pub psnr: Option<f64>,
    /// SSIM at levels of detail 0..3 as measured at encode, where it was.
    pub ssim: [Option<f64>; 4],
    /// Largest absolute error as measured at encode.
    pub max_abs_error: f64,
}

impl Volume {
    /// Opens a file. Reads the head only.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub fn open(_path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(_path, Limits::default())
    }

    /// Opens a file under limits of the caller's.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub fn open_with(_path: impl AsRef<Path>, _limits: Limits) -> Result<Self> {
        Err(crate::Error::Unsupported("scaffold".into()))
    }

    /// Uses this many threads for decoding; 0 = all cores.
    #[must_use]
    pub fn with_threads(self, _threads: usize) -> Self {
        self
    }

    /// Extent of a level of detail (0 = full resolution).
    ///
    /// # Errors
    /// [`crate::Error::InvalidArgument`] if the file has no such level of detail.
    pub fn lod_extent(&self, _lod: u32) -> Result<Extent> {
        Err(crate::Error::Unsupported("scaffold".into()))
    }

    /// Extent of the full resolution.
    pub fn extent(&self) -> Extent {
        [0; 3]
    }

    /// Voxel type.
    pub fn dtype(&self) -> DType {
        DType::Uint8
    }

    /// Spacing, orientation, units.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Levels of detail: 0 is the full resolution, each next one halves every axis.
    pub fn lods(&self) -> u32 {
        1
    }

    /// Quality levels: 0 is the coarsest, `levels() - 1` the one that meets the target.
    pub fn levels(&self) -> u32 {
        1
    }

    /// What the file says of itself. Reads every index page.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub fn info(&self) -> Result<Info> {
        Err(crate::Error::Unsupported("scaffold".into()))
    }

    /// Decodes `region` (voxels of level of detail `lod`) at quality `level` into `out`,
    /// `[z][y][x]`, x fastest. Reads only the bytes that it needs.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub fn read_region<T: Voxel>(
        &self,
        _lod: u32,
        _level: u32,
        _region: &Region,
        _out: &mut [T],
    ) -> Result<()> {
        Err(crate::Error::Unsupported("scaffold".into()))
    }

    /// [`Self::read_region`] into little-endian bytes of whatever type the file has.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub fn read_region_bytes(
        &self,
        _lod: u32,
        _level: u32,
        _region: &Region,
        _out: &mut [u8],
    ) -> Result<()> {
        Err(crate::Error::Unsupported("scaffold".into()))
    }

    /// One level of detail and quality as a source of voxels.
    ///
    /// # Errors
    /// [`crate::Error::InvalidArgument`] if the file has no such level.
    pub fn view(&self, _lod: u32, _level: u32) -> Result<VolumeView<'_>> {
        Err(crate::Error::Unsupported("scaffold".into()))
    }
}

/// One level of detail and quality of a [`Volume`], as a source of voxels.
#[derive(Debug)]
pub struct VolumeView<'a> {
    volume: &'a Volume,
    lod: u32,
    level: u32,
    extent: Extent,
    metadata: Metadata,
}

impl VoxelSource for VolumeView<'_> {
    fn extent(&self) -> Extent {
        self.extent
    }
    fn dtype(&self) -> DType {
        self.volume.dtype()
    }
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
    fn read(&self, region: &Region, out: &mut [u8]) -> Result<()> {
        self.volume
            .read_region_bytes(self.lod, self.level, region, out)
    }
}
