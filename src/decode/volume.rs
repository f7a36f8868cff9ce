//! The reader most people use.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use zerocopy::IntoBytes;

use super::blocks::BlockDecoder;
use super::info::{GridModelInfo, Info, LevelInfo, Stats};
use super::region::{self, Place};
use crate::backend::Backend;
use crate::backend::cpu::CpuBackend;
use crate::format::tier;
use crate::io::{FileSource, RangeSource};
use crate::model::{BlockModel, ValueMap};
use crate::quality::workers;
use crate::reader::{BlockEntry, BlockState, HgvReader};
use crate::volume::{BlockGrid, DType, Extent, Metadata, Region, Voxel, VoxelSource, ceil_shift};
use crate::{Error, Limits, Result};

/// An open `.hgv` volume. Share it between threads by reference.
///
/// ```
/// use hgv::encode::{EncodeOptions, encode};
/// use hgv::volume::{MemoryVolume, Metadata, Region};
/// # fn main() -> hgv::Result<()> {
/// let voxels: Vec<u8> = (0..32 * 24 * 16u32).map(|i| (i % 32 * 7) as u8).collect();
/// let source = MemoryVolume::new([32, 24, 16], &voxels, Metadata::default())?;
/// let path = std::env::temp_dir().join("hgv-doc-volume.hgv");
/// let options = EncodeOptions::default().with_force(true);
/// encode(&source, &path, &options, &|_| std::ops::ControlFlow::Continue(()))?;
///
/// let volume = hgv::Volume::open(&path)?;
/// let region = Region::new([8, 0, 4], [24, 16, 12])?;
/// let mut out = vec![0u8; 16 * 16 * 8];
/// volume.read_region(0, volume.levels() - 1, &region, &mut out)?;
/// # std::fs::remove_file(path).ok();
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Volume {
    pub(super) reader: HgvReader,
    pub(super) decoder: BlockDecoder,
    pub(super) values: ValueMap,
    pub(super) limits: Limits,
    pub(super) pool: Arc<rayon::ThreadPool>,
    file_bytes: u64,
}

/// How a block is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockKind {
    /// Every voxel has one value; no payload.
    Constant,
    /// One dense grid level stored as wavelet coefficients.
    Dense,
    /// Feature grids, dense or hashed, and a network where it pays.
    Hashgrid,
    /// In another shard.
    NotWritten,
}

impl BlockKind {
    /// The word used in JSON and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Dense => "dense",
            Self::Hashgrid => "hashgrid",
            Self::NotWritten => "not written",
        }
    }
}

/// What the index says of one block.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BlockInfo {
    /// Block coordinate x, y, z.
    pub block: [u64; 3],
    /// Its voxels in the full resolution of its tier.
    pub region: Region,
    /// How it is stored.
    pub kind: BlockKind,
    /// Smallest and largest value that any voxel of it decodes to.
    pub range: [f64; 2],
    /// Payload bytes up to and including each quality level.
    pub bytes: Vec<u64>,
    /// Upper bounds of RMSE and largest error for each quality level; empty for constant blocks.
    pub errors: Vec<[f64; 2]>,
}

impl Volume {
    /// Opens a file. One read of at most 64 KiB, unless the file has very many blocks.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Unfinished`], or what is wrong with the file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, Limits::default())
    }

    /// Opens a file under limits of the caller's.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(path: impl AsRef<Path>, limits: Limits) -> Result<Self> {
        Self::from_source(Arc::new(FileSource::open(path.as_ref())?), limits)
    }

    /// Opens any source of bytes.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_source(source: Arc<dyn RangeSource>, limits: Limits) -> Result<Self> {
        let file_bytes = source.len();
        let reader = HgvReader::open(source, limits)?;
        let shape = reader.shape();
        let decoder = BlockDecoder::new(shape, CpuBackend::new(), &limits)?;
        let values = ValueMap {
            dtype: shape.dtype,
            exponent: shape.value_exp,
        };
        Ok(Self {
            decoder,
            values,
            limits,
            pool: Arc::new(workers(0)?),
            file_bytes,
            reader,
        })
    }

    /// Uses this many threads for decoding; 0 = all cores. Never changes a voxel.
    ///
    /// # Errors
    /// [`Error::Io`] if the threads cannot be started.
    pub fn with_threads(mut self, count: usize) -> Result<Self> {
        self.pool = Arc::new(workers(count)?);
        Ok(self)
    }

    /// Decodes with this backend. Never changes a voxel.
    #[must_use]
    pub fn with_cpu(mut self, cpu: CpuBackend) -> Self {
        self.decoder.cpu = cpu;
        self.decoder.backend = Arc::new(cpu);
        self
    }

    /// Decodes regions with this backend. Never changes a voxel. [`Self::sample`] and [`Self::gradient`]
    /// stay on the CPU: they want few blocks at a time.
    #[must_use]
    pub fn with_backend(mut self, backend: Arc<dyn Backend>) -> Self {
        self.decoder.backend = backend;
        self
    }

    /// Name of the backend that decodes, such as `cpu (avx2)`.
    pub fn backend(&self) -> String {
        self.decoder.backend.name()
    }

    /// The container below.
    pub fn reader(&self) -> &HgvReader {
        &self.reader
    }

    /// Extent of a level of detail (0 = full resolution): `ceil(extent / 2^lod)`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the file has no such level of detail.
    pub fn lod_extent(&self, lod: u32) -> Result<Extent> {
        self.check_lod(lod)?;
        Ok(self.extent().map(|n| ceil_shift(n, lod)))
    }

    /// Extent of the full resolution in voxels.
    pub fn extent(&self) -> Extent {
        self.reader.shape().extent
    }

    /// Voxel type.
    pub fn dtype(&self) -> DType {
        self.values.dtype
    }

    /// Value of a voxel with this coded value.
    pub(crate) fn value_of(&self, q: i32) -> f32 {
        self.values.float(q)
    }

    /// Value of a coded value of 1.
    pub(crate) fn value_unit(&self) -> f64 {
        self.values.unit()
    }

    /// Spacing, orientation, units.
    pub fn metadata(&self) -> &Metadata {
        self.reader.metadata()
    }

    /// Levels of detail: 0 is the full resolution, each next one halves every axis.
    pub fn lods(&self) -> u32 {
        u32::from(self.reader.shape().lod_count())
    }

    /// Quality levels: 0 is the coarsest, `levels() - 1` the one that meets the target.
    pub fn levels(&self) -> u32 {
        u32::from(self.reader.layers().levels())
    }

    /// Side of a block in voxels of level of detail `lod`. Reads that are aligned to it decode
    /// every block once.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the file has no such level of detail.
    pub fn block_side(&self, lod: u32) -> Result<u64> {
        let place = self.place(lod)?;
        Ok(1 << (place.grid.block_log2 - place.inner))
    }

    /// What the file says of itself. Reads every index page of the full resolution.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn info(&self) -> Result<Info> {
        let (mut models, mut by_id) = (BTreeMap::new(), BTreeMap::new());
        for block in self.reader.blocks(0)? {
            let block = block?;
            *models
                .entry(self.kind(&block).name().to_string())
                .or_insert(0) += 1;
            if let BlockState::Payload(p) = &block.state {
                *by_id.entry(p.model).or_insert(0) += 1;
            }
        }
        let extent = self.extent();
        let voxels = Region::whole(extent).voxels() as f64;
        let metadata = self.metadata();
        Ok(Info {
            extent,
            dtype: self.dtype(),
            spacing: metadata.spacing,
            unit: metadata.unit.clone(),
            file_bytes: self.file_bytes,
            ratio: voxels * self.dtype().size() as f64 / self.file_bytes as f64,
            bits_per_voxel: self.file_bytes as f64 * 8.0 / voxels,
            blocks: tier::count(&self.reader.tiers()[0]),
            lods: self.lods(),
            levels: self.level_infos()?,
            models,
            distinct_values: self.decoder.ranks().map(|r| r.count() as u64),
            grid_models: self.grid_infos(&by_id),
        })
    }

    /// The grid models, with the number of blocks that `by_id` says.
    fn grid_infos(&self, by_id: &BTreeMap<u16, u64>) -> Vec<GridModelInfo> {
        let models = self.decoder.models().iter();
        let side = 1 << self.reader.shape().block_log2;
        models
            .filter_map(|(&id, model)| match model {
                BlockModel::Grid(m) => {
                    let blocks = by_id.get(&id).copied().unwrap_or(0);
                    Some(GridModelInfo::new(id, m, side, blocks))
                }
                BlockModel::Wavelet(_) => None,
            })
            .collect()
    }

    fn kind(&self, entry: &BlockEntry) -> BlockKind {
        match &entry.state {
            BlockState::Constant(_) => BlockKind::Constant,
            BlockState::NotWritten => BlockKind::NotWritten,
            BlockState::Payload(p) => match self.decoder.models().get(&p.model) {
                Some(BlockModel::Grid(_)) => BlockKind::Hashgrid,
                _ => BlockKind::Dense,
            },
        }
    }

    /// Figures of the quality levels: as stored at encode, or at least the bytes.
    fn level_infos(&self) -> Result<Vec<LevelInfo>> {
        let stored = self
            .reader
            .stats_json()
            .and_then(|s| serde_json::from_str::<Stats>(s).ok());
        if let Some(stats) = stored.filter(|s| s.levels.len() as u32 == self.levels()) {
            return Ok(stats.levels);
        }
        let mut levels = vec![LevelInfo::default(); self.levels() as usize];
        for tier in 0..self.reader.tiers().len() as u8 {
            for block in self.reader.blocks(tier)? {
                let block = block?;
                for (k, level) in levels.iter_mut().enumerate() {
                    level.bytes += block.bytes(self.reader.layers().prefix(0, k as u8));
                }
            }
        }
        Ok(levels)
    }

    /// The blocks of the tier that serves level of detail `lod`, page by page. Costs one read a
    /// page; reads no payload.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the file has no such level of detail; items are errors where
    /// a page is damaged.
    pub fn blocks(&self, lod: u32) -> Result<impl Iterator<Item = Result<BlockInfo>> + '_> {
        let place = self.place(lod)?;
        Ok(self
            .reader
            .blocks(place.tier)?
            .map(move |entry| entry.map(|e| self.block_info(&place.grid, &e))))
    }

    fn block_info(&self, grid: &BlockGrid, entry: &BlockEntry) -> BlockInfo {
        let (coder, unit) = (self.reader.shape().coder, self.values.unit());
        let (range, errors) = match &entry.state {
            BlockState::Payload(p) => (
                p.range,
                p.errors
                    .iter()
                    .map(|e| e.map(|c| coder.decode_error(c) * unit))
                    .collect(),
            ),
            BlockState::Constant(q) => ((*q, *q), Vec::new()),
            BlockState::NotWritten => ((0, 0), Vec::new()),
        };
        BlockInfo {
            block: entry.block,
            region: grid.region(entry.block),
            kind: self.kind(entry),
            range: [range.0, range.1].map(|q| f64::from(q) * unit),
            bytes: (0..self.levels())
                .map(|k| entry.bytes(self.reader.layers().prefix(0, k as u8)))
                .collect(),
            errors,
        }
    }

    /// Decodes `region` (voxels of level of detail `lod`) at quality `level` into `out`,
    /// `[z][y][x]`, x fastest. Reads only the layers that it needs of the blocks it touches;
    /// ranges that lie close together are read as one.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if type, region, buffer or levels do not fit;
    /// [`Error::NotWritten`] for a shard; otherwise what is wrong with the file.
    pub fn read_region<T: Voxel>(
        &self,
        lod: u32,
        level: u32,
        region: &Region,
        out: &mut [T],
    ) -> Result<()> {
        if T::DTYPE != self.dtype() {
            return Err(Error::argument(format!(
                "the volume holds {}, the buffer {}",
                self.dtype(),
                T::DTYPE
            )));
        }
        self.read_region_bytes(lod, level, region, out.as_mut_bytes())
    }

    /// [`Self::read_region`] into little-endian bytes of whatever type the file has.
    ///
    /// # Errors
    /// As [`Self::read_region`].
    pub fn read_region_bytes(
        &self,
        lod: u32,
        level: u32,
        region: &Region,
        out: &mut [u8],
    ) -> Result<()> {
        let (extent, place) = (self.lod_extent(lod)?, self.place(lod)?);
        self.check_level(level)?;
        if !region.fits(extent) {
            return Err(Error::argument(format!(
                "region {:?}..{:?} leaves level of detail {lod}, which has {extent:?} voxels (x, y, z)",
                region.start, region.end
            )));
        }
        let need = region.voxels().saturating_mul(self.dtype().size() as u64);
        if out.len() as u64 != need {
            return Err(Error::argument(format!(
                "the buffer has {} bytes, the region {need}",
                out.len()
            )));
        }
        region::decode(self, place, level, region, out)
    }

    /// [`Self::read_region`] into a new array, indexed `[z, y, x]`.
    ///
    /// # Errors
    /// As [`Self::read_region`].
    #[cfg(feature = "ndarray")]
    pub fn read_array<T: Voxel>(
        &self,
        lod: u32,
        level: u32,
        region: &Region,
    ) -> Result<ndarray::Array3<T>> {
        let [x, y, z] = region.extent().map(|n| n as usize);
        Limits::check(
            "bytes of a decoded region",
            region.voxels().saturating_mul(size_of::<T>() as u64),
            self.limits.max_output,
        )?;
        if !region.fits(self.lod_extent(lod)?) {
            return Err(Error::argument(format!(
                "region {:?}..{:?} leaves the volume",
                region.start, region.end
            )));
        }
        let mut out = vec![T::default(); x * y * z];
        self.read_region(lod, level, region, &mut out)?;
        ndarray::Array3::from_shape_vec((z, y, x), out).map_err(|e| Error::argument(e.to_string()))
    }

    /// One level of detail and quality as a source of voxels.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the file has no such level.
    pub fn view(&self, lod: u32, level: u32) -> Result<VolumeView<'_>> {
        self.check_level(level)?;
        let (extent, metadata) = (self.lod_extent(lod)?, self.metadata().at_lod(lod));
        Ok(VolumeView {
            volume: self,
            lod,
            level,
            extent,
            metadata,
        })
    }

    fn check_lod(&self, lod: u32) -> Result<()> {
        if lod < self.lods() {
            return Ok(());
        }
        Err(Error::argument(format!(
            "level of detail {lod} does not exist; the file has 0..={}",
            self.lods() - 1
        )))
    }

    pub(super) fn check_level(&self, level: u32) -> Result<()> {
        if level < self.levels() {
            return Ok(());
        }
        Err(Error::argument(format!(
            "quality level {level} does not exist; the file has 0..={}",
            self.levels() - 1
        )))
    }

    /// The last tier that starts at or above this level of detail serves it.
    pub(super) fn place(&self, lod: u32) -> Result<Place> {
        self.check_lod(lod)?;
        let shape = self.reader.shape();
        let tiers = shape.tiers.iter().enumerate().rev();
        let (tier, found) = tiers
            .into_iter()
            .find(|(_, t)| u32::from(t.base_lod) <= lod)
            .ok_or_else(|| Error::argument(format!("no tier serves level of detail {lod}")))?;
        Ok(Place {
            tier: tier as u8,
            inner: lod - u32::from(found.base_lod),
            grid: BlockGrid {
                extent: found.extent,
                block_log2: u32::from(shape.block_log2),
            },
        })
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

impl VolumeView<'_> {
    /// [`Volume::sample`] at this level of detail and quality: `points` are in voxels of the
    /// **full resolution**, not of the view.
    ///
    /// # Errors
    /// As [`Volume::sample`].
    pub fn sample(&self, points: &[[f64; 3]]) -> Result<Vec<f32>> {
        self.volume.sample(self.lod, self.level, points)
    }

    /// [`Volume::gradient`] at this level of detail and quality: `points` are in voxels of the
    /// **full resolution**, gradients in value per voxel of it.
    ///
    /// # Errors
    /// As [`Volume::gradient`].
    pub fn gradient(&self, points: &[[f64; 3]]) -> Result<Vec<[f32; 3]>> {
        self.volume.gradient(self.lod, self.level, points)
    }
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
