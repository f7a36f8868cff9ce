//! The sums behind a comparison, and those of complexity, on a device: `cuda/statistics.cu`.
//!
//! A volume is looked at in boxes of 256^3 voxels and what windows reach beyond them, both volumes at once.

use std::sync::Arc;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::column::{HALO, LODS, SIDE, Sums};
use super::ssim::WINDOW;
use super::stats::ErrorStats;
use super::values::Scale;
use crate::Result;
use crate::backend::cuda::{Address, Buffer, Device, Kernel, Stream};
use crate::volume::{DType, Extent, Region, VoxelSource};

#[derive(Debug, Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
struct BoxParams {
    a: Address,
    b: Address,
    sums: Address,
    extent: [u32; 3],
    own: [u32; 3],
}

#[derive(Debug, Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
struct ConvertParams {
    voxels: Address,
    values: Address,
    count: u64,
    min: f64,
    factor: f64,
    kind: u32,
    unused: u32,
}

#[derive(Debug, Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
struct HalveParams {
    from: Address,
    to: Address,
    extent: [u32; 3],
    unused: u32,
}

#[derive(Debug, Clone, Copy, FromBytes, Immutable)]
#[repr(C)]
struct ErrorSums {
    sse: f64,
    largest: f64,
    count: u64,
    nonfinite: u64,
    mismatches: u64,
}

/// Sums over pairs of neighbouring voxels; see `analyze::direction`.
#[derive(Debug, Clone, Copy, Default, FromBytes, Immutable)]
#[repr(C)]
pub(crate) struct TurningSums {
    pub(crate) weight: f64,
    pub(crate) turned: f64,
    pub(crate) squares: f64,
    pub(crate) flat: u64,
    pub(crate) voxels: u64,
}

static ERRORS: Kernel = Kernel::new::<BoxParams>("statistics", "hgv_stat_errors", 256);
static VALUES: Kernel = Kernel::new::<ConvertParams>("statistics", "hgv_stat_values", 256);
static SCALE: Kernel = Kernel::new::<ConvertParams>("statistics", "hgv_stat_scale", 256);
static HALVE: Kernel = Kernel::new::<HalveParams>("statistics", "hgv_stat_halve", 256);
static SIMILARITY: Kernel = Kernel::new::<BoxParams>("statistics", "hgv_stat_similarity", 256);
static TURNING: Kernel = Kernel::new::<BoxParams>("statistics", "hgv_stat_turning", 256);

/// Tile and slices of a block of the similarity kernel.
const TILE: [u32; 3] = [32, 8, 32];
/// Values that a thread of a plain loop takes.
const EACH: u64 = 8;

/// Makes sums on a device.
#[derive(Debug)]
pub(crate) struct Statistics {
    stream: Stream,
    voxels: Buffer,
    /// Values of both volumes, and room for their next level of detail.
    values: [Buffer; 2],
    halved: [Buffer; 2],
    sums: Buffer,
}

/// A box of a volume at one level of detail.
#[derive(Clone, Copy)]
struct View {
    extent: [u32; 3],
    /// Of the part that belongs to this box alone.
    own: [u32; 3],
    /// Places where windows start in it.
    starts: [u32; 3],
}

impl View {
    fn new(extent: Extent, read: &Region, lod: usize) -> Self {
        let own = |axis: usize, margin: u64| {
            let start = read.start[axis] >> lod;
            let left = (extent[axis] >> lod).saturating_sub(start + margin);
            left.min(SIDE >> lod) as u32
        };
        let margin = WINDOW as u64 - 1;
        Self {
            extent: read.extent().map(|n| (n >> lod) as u32),
            own: [0, 1, 2].map(|a| own(a, 0)),
            starts: [0, 1, 2].map(|a| own(a, margin)),
        }
    }

    fn voxels(&self) -> u64 {
        self.extent.iter().map(|n| u64::from(*n)).product()
    }
}

fn blocks_for(values: u64) -> u32 {
    values.div_ceil(256 * EACH).clamp(1, 1 << 16) as u32
}

impl Statistics {
    pub(crate) fn new(device: &Arc<dyn Device>) -> Result<Self> {
        let empty = || Buffer::new(device, 0);
        Ok(Self {
            stream: Stream::new(device)?,
            voxels: empty()?,
            values: [empty()?, empty()?],
            halved: [empty()?, empty()?],
            sums: empty()?,
        })
    }

    /// Sums of all boxes of two volumes of one extent. `done` hears the voxels of each.
    pub(super) fn sums(
        &mut self,
        sources: [&dyn VoxelSource; 2],
        scale: Scale,
        ssim: bool,
        done: &dyn Fn(u64) -> Result<()>,
    ) -> Result<Vec<Sums>> {
        let extent = sources[0].extent();
        let halo = if ssim { HALO } else { 0 };
        let along = |axis: usize| (0..extent[axis]).step_by(SIDE as usize);
        let rows = along(2).flat_map(|z| along(1).map(move |y| (y, z)));
        let starts = rows.flat_map(|(y, z)| along(0).map(move |x| [x, y, z]));
        let mut all = Vec::new();
        for start in starts {
            let end = [0, 1, 2].map(|a| extent[a].min(start[a] + SIDE + halo));
            let region = Region { start, end };
            all.push(self.of_box(sources, &region, scale, ssim)?);
            let own = View::new(extent, &region, 0).own;
            done(own.iter().map(|n| u64::from(*n)).product())?;
        }
        Ok(all)
    }

    fn of_box(
        &mut self,
        sources: [&dyn VoxelSource; 2],
        region: &Region,
        scale: Scale,
        ssim: bool,
    ) -> Result<Sums> {
        let extent = sources[0].extent();
        let mut sums = Sums::default();
        for (i, source) in sources.into_iter().enumerate() {
            self.load(i, source, region)?;
        }
        let view = View::new(extent, region, 0);
        sums.errors = self.errors(&view)?;
        if !ssim {
            return Ok(sums);
        }
        for i in 0..2 {
            self.scale(i, view.voxels(), scale)?;
        }
        sums.ssim[0] = self.similarity(&view)?;
        for lod in 1..LODS {
            let finer = View::new(extent, region, lod - 1);
            let view = View::new(extent, region, lod);
            if view.extent.contains(&0) {
                break;
            }
            self.halve(&finer, &view)?;
            sums.scaled[lod] = self.errors(&view)?;
            sums.ssim[lod] = self.similarity(&view)?;
        }
        Ok(sums)
    }

    /// Reads a box of a volume into one of the two planes of values.
    fn load(&mut self, plane: usize, source: &dyn VoxelSource, region: &Region) -> Result<()> {
        let (dtype, count) = (source.dtype(), region.voxels());
        let bytes = count as usize * dtype.size();
        self.stream.recycle()?;
        self.voxels.reserve(bytes)?;
        self.values[plane].reserve(4 * count as usize)?;
        let mut read = Ok(());
        self.stream
            .upload_with(&self.voxels, 0, bytes, |to| read = source.read(region, to))?;
        read?;
        let params = ConvertParams {
            voxels: self.voxels.address(),
            values: self.values[plane].address(),
            count,
            min: 0.0,
            factor: 0.0,
            kind: kind_of(dtype),
            unused: 0,
        };
        self.stream.launch(&VALUES, blocks_for(count), 0, &params)
    }

    fn scale(&mut self, plane: usize, count: u64, scale: Scale) -> Result<()> {
        let (min, factor) = scale.parts();
        let params = ConvertParams {
            voxels: 0,
            values: self.values[plane].address(),
            count,
            min,
            factor,
            kind: 0,
            unused: 0,
        };
        self.stream.launch(&SCALE, blocks_for(count), 0, &params)
    }

    /// Puts the next level of detail of both planes in their place.
    fn halve(&mut self, finer: &View, view: &View) -> Result<()> {
        for plane in 0..2 {
            self.halved[plane].reserve(4 * view.voxels() as usize)?;
            let params = HalveParams {
                from: self.values[plane].address(),
                to: self.halved[plane].address(),
                extent: finer.extent,
                unused: 0,
            };
            self.stream
                .launch(&HALVE, blocks_for(view.voxels()), 0, &params)?;
            std::mem::swap(&mut self.values[plane], &mut self.halved[plane]);
        }
        Ok(())
    }

    fn params(&self, view: &View, own: [u32; 3]) -> BoxParams {
        BoxParams {
            a: self.values[0].address(),
            b: self.values[1].address(),
            sums: self.sums.address(),
            extent: view.extent,
            own,
        }
    }

    fn errors(&mut self, view: &View) -> Result<ErrorStats> {
        let slices = view.own[2];
        let bytes = size_of::<ErrorSums>() * slices as usize;
        self.sums.reserve(bytes)?;
        let params = self.params(view, view.own);
        self.stream.launch(&ERRORS, slices, 0, &params)?;
        let mut all = ErrorStats::default();
        for part in self.fetch::<ErrorSums>(bytes)? {
            all.merge(&ErrorStats {
                count: part.count,
                sse: part.sse,
                max_abs: part.largest,
                nonfinite: part.nonfinite,
                nonfinite_mismatches: part.mismatches,
            });
        }
        Ok(all)
    }

    /// Sum of SSIM over windows, and their number.
    fn similarity(&mut self, view: &View) -> Result<(f64, u64)> {
        if view.starts.contains(&0) {
            return Ok((0.0, 0));
        }
        let blocks = [0, 1, 2].map(|a| view.starts[a].div_ceil(TILE[a]));
        let blocks: u32 = blocks.iter().product();
        let bytes = 8 * blocks as usize;
        self.sums.reserve(bytes)?;
        let params = self.params(view, view.starts);
        self.stream.launch(&SIMILARITY, blocks, 0, &params)?;
        let sum = self.fetch::<f64>(bytes)?.iter().sum();
        Ok((sum, view.starts.iter().map(|n| u64::from(*n)).product()))
    }

    /// What the direction of the gradient does in a box of scaled values, `[z][y][x]`.
    pub(crate) fn turning(&mut self, values: &[f32], extent: [usize; 3]) -> Result<TurningSums> {
        if extent.iter().any(|n| *n < 3) {
            return Ok(TurningSums::default());
        }
        self.stream.recycle()?;
        self.values[0].reserve(4 * values.len())?;
        self.stream.upload(&self.values[0], 0, values)?;
        let slices = extent[2] - 2;
        let bytes = size_of::<TurningSums>() * slices;
        self.sums.reserve(bytes)?;
        let params = BoxParams {
            a: self.values[0].address(),
            b: 0,
            sums: self.sums.address(),
            extent: extent.map(|n| n as u32),
            own: [0; 3],
        };
        self.stream.launch(&TURNING, slices as u32, 0, &params)?;
        let parts = self.fetch::<TurningSums>(bytes)?;
        Ok(parts
            .iter()
            .fold(TurningSums::default(), |a, b| TurningSums {
                weight: a.weight + b.weight,
                turned: a.turned + b.turned,
                squares: a.squares + b.squares,
                flat: a.flat + b.flat,
                voxels: a.voxels + b.voxels,
            }))
    }

    fn fetch<T: FromBytes + Immutable + Copy>(&mut self, bytes: usize) -> Result<Vec<T>> {
        let ticket = self.stream.download(&self.sums, 0, bytes)?;
        self.stream.synchronise()?;
        Ok(self.stream.elements::<T>(&ticket)?.to_vec())
    }
}

fn kind_of(dtype: DType) -> u32 {
    match dtype {
        DType::Uint8 => 0,
        DType::Int8 => 1,
        DType::Uint16 => 2,
        DType::Int16 => 3,
        DType::Float32 => 4,
    }
}
