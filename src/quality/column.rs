//! One column of 256 x 256 voxels marching along z: errors, and SSIM at four levels of detail.
//!
//! A column reads 48 voxels past its far sides (six windows' worth at the coarsest level), so
//! that it can finish every window that starts in it; errors are counted on its own part only.

use super::ssim::{SlidingSsim, WINDOW};
use super::stats::ErrorStats;
use super::values::{Scale, to_f32};
use crate::Result;
use crate::volume::{DType, Extent, Region, VoxelSource};

/// Side of a column in voxels of the full resolution.
pub(super) const SIDE: u64 = 256;
/// Slices read at once: the side of the usual block, so that each block is decoded once.
pub(super) const DEPTH: u64 = 64;
/// Levels of detail that are measured.
pub(super) const LODS: usize = 4;
pub(super) const HALO: u64 = ((WINDOW as u64) - 1) << (LODS - 1);

/// What a column (or, merged, a volume) has gathered.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    /// Errors of the voxels as stored.
    pub(super) errors: ErrorStats,
    /// Errors of the scaled values per level of detail.
    pub(super) scaled: [ErrorStats; LODS],
    /// Sum of SSIM over windows, and their number.
    pub(super) ssim: [(f64, u64); LODS],
}

impl Sums {
    pub(super) fn merge(&mut self, other: &Self) {
        self.errors.merge(&other.errors);
        for lod in 0..LODS {
            self.scaled[lod].merge(&other.scaled[lod]);
            self.ssim[lod].0 += other.ssim[lod].0;
            self.ssim[lod].1 += other.ssim[lod].1;
        }
    }
}

/// One level of detail of a column.
#[derive(Debug)]
struct Level {
    /// The current slice of A and B, `[y][x]` with rows of `width`.
    slice: [Vec<f32>; 2],
    width: usize,
    height: usize,
    /// The part that belongs to this column alone.
    own: [usize; 2],
    windows: Option<SlidingSsim>,
    /// Whether `slice` holds the first of a pair of finer slices, not yet averaged.
    half: bool,
}

impl Level {
    fn new(extent: Extent, start: [u64; 2], read: [u64; 2], lod: usize, ssim: bool) -> Self {
        let own = |axis: usize, margin: u64| {
            let left = (extent[axis] >> lod).saturating_sub((start[axis] >> lod) + margin);
            left.min(SIDE >> lod) as usize
        };
        let margin = WINDOW as u64 - 1;
        let starts = [own(0, margin), own(1, margin)];
        let deep = extent[2] >> lod >= WINDOW as u64;
        let windows = (ssim && deep && starts[0] > 0 && starts[1] > 0)
            .then(|| SlidingSsim::new(starts[0] + WINDOW - 1, starts[1] + WINDOW - 1));
        let [width, height] = read.map(|r| (r >> lod) as usize);
        Self {
            slice: [vec![0.0; width * height], vec![0.0; width * height]],
            width,
            height,
            own: [own(0, 0), own(1, 0)],
            windows,
            half: false,
        }
    }

    fn add_errors(&self, stats: &mut ErrorStats) {
        for y in 0..self.own[1] {
            let row = y * self.width..y * self.width + self.own[0];
            stats.add_f32(&self.slice[0][row.clone()], &self.slice[1][row]);
        }
    }

    fn push_windows(&mut self) {
        if let Some(windows) = &mut self.windows {
            windows.push(&self.slice[0], &self.slice[1], self.width);
        }
    }

    /// Takes the next finer slice; true when this completes a slice of this level.
    fn take(&mut self, finer: &Self) -> bool {
        for (own, fine) in self.slice.iter_mut().zip(&finer.slice) {
            for y in 0..self.height {
                let out = &mut own[y * self.width..][..self.width];
                let top = &fine[2 * y * finer.width..][..finer.width];
                let bottom = &fine[(2 * y + 1) * finer.width..][..finer.width];
                average_rows(out, top, bottom, self.half);
            }
        }
        self.half = !self.half;
        !self.half
    }
}

/// Sums of 2 x 2 values of two rows; the second slice of a pair is added and the mean taken.
fn average_rows(out: &mut [f32], top: &[f32], bottom: &[f32], second: bool) {
    let (top, bottom) = (top.as_chunks::<2>().0, bottom.as_chunks::<2>().0);
    for ((o, t), b) in out.iter_mut().zip(top).zip(bottom) {
        let sum = (t[0] + t[1]) + (b[0] + b[1]);
        *o = if second { (*o + sum) * 0.125 } else { sum };
    }
}

/// The work on one column.
pub(super) struct Column<'a> {
    sources: [&'a dyn VoxelSource; 2],
    /// The voxels read, own part and halo, over all slices.
    region: Region,
    scale: Scale,
    levels: Vec<Level>,
    sums: Sums,
    ssim: bool,
}

impl<'a> Column<'a> {
    /// The column whose first voxel is `start` (x, y), multiples of [`SIDE`].
    pub(super) fn new(
        sources: [&'a dyn VoxelSource; 2],
        start: [u64; 2],
        scale: Scale,
        ssim: bool,
    ) -> Self {
        let extent = sources[0].extent();
        let halo = if ssim { HALO } else { 0 };
        let read = [0, 1].map(|a| (extent[a] - start[a]).min(SIDE + halo));
        let region = Region {
            start: [start[0], start[1], 0],
            end: [start[0] + read[0], start[1] + read[1], extent[2]],
        };
        let levels = (0..if ssim { LODS } else { 1 })
            .map(|lod| Level::new(extent, start, read, lod, ssim))
            .collect();
        Self {
            sources,
            region,
            scale,
            levels,
            sums: Sums::default(),
            ssim,
        }
    }

    /// Marches through all slices. `done` hears the number of own voxels of each step and
    /// may fail to cancel.
    pub(super) fn run(mut self, done: &(dyn Fn(u64) -> Result<()> + Sync)) -> Result<Sums> {
        let [width, height, depth] = self.region.extent();
        let plane = (width * height) as usize;
        let types = self.sources.map(|s| s.dtype());
        let mut bytes = types.map(|t| vec![0u8; plane * DEPTH.min(depth) as usize * t.size()]);
        let own = (self.levels[0].own[0] * self.levels[0].own[1]) as u64;
        for z in (0..depth).step_by(DEPTH as usize) {
            let slices = DEPTH.min(depth - z);
            let mut region = self.region;
            (region.start[2], region.end[2]) = (z, z + slices);
            for ((source, bytes), t) in self.sources.iter().zip(&mut bytes).zip(types) {
                source.read(&region, &mut bytes[..plane * slices as usize * t.size()])?;
            }
            for i in 0..slices as usize {
                self.slice(
                    types,
                    [0, 1].map(|s| {
                        let size = plane * types[s].size();
                        &bytes[s][i * size..][..size]
                    }),
                );
            }
            done(own * slices)?;
        }
        for (lod, level) in self.levels.iter().enumerate() {
            if let Some(w) = &level.windows {
                self.sums.ssim[lod] = (w.sum, w.windows);
            }
        }
        Ok(self.sums)
    }

    fn slice(&mut self, types: [DType; 2], bytes: [&[u8]; 2]) {
        let first = &mut self.levels[0];
        for s in 0..2 {
            to_f32(types[s], bytes[s], &mut first.slice[s]);
        }
        first.add_errors(&mut self.sums.errors);
        if !self.ssim {
            return;
        }
        for slice in &mut first.slice {
            self.scale.apply(slice);
        }
        first.push_windows();
        for lod in 1..self.levels.len() {
            let (finer, own) = self.levels.split_at_mut(lod);
            if !own[0].take(&finer[lod - 1]) {
                break;
            }
            own[0].add_errors(&mut self.sums.scaled[lod]);
            own[0].push_windows();
        }
    }
}
