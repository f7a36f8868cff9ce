//! Boxes of a volume that are encoded and decoded on their own, to learn what a step does to SSIM.

use std::path::Path;

use super::super::Progress;
use super::super::job::Job;
use super::search::sample_of;
use super::spectrum::{DEPTHS, Spectrum};
use super::ssim::ssim_of;
use super::trial::Trial;
use crate::volume::{DType, Extent, Metadata, Region, VoxelSource};
use crate::{Error, Result};

/// Side of a patch in voxels; of a volume that has few of them, one block.
const SIDE: u64 = 128;
const FEW: u64 = 27;
/// Windows across faces of blocks see more error than others; patches of one block have none, of two blocks
/// along each axis half as many as the volume. As ln(1 - SSIM).
const FACES: f64 = 0.1;
/// Most patches.
const MOST: u64 = 24;

/// Patches spread over a volume.
pub(super) struct Patches {
    regions: Vec<Region>,
    /// Of all their blocks.
    pub(super) spectrum: Spectrum,
    /// Their share of the volume.
    pub(super) share: f64,
    /// What to add to ln(1 - SSIM) of them for that of the volume.
    pub(super) faces: f64,
}

/// Numbers that look random, the same on every machine (splitmix64).
fn mixed(n: u64) -> u64 {
    let z = n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Boxes of `side` on a grid, one at random in each of `count` equal parts of the grid's order.
fn spread(extent: Extent, side: u64, count: u64) -> Vec<Region> {
    let grid = extent.map(|n| n.div_ceil(side));
    let all: u64 = grid.iter().product();
    let place = |i: u64| {
        let (from, to) = (i * all / count, (i + 1) * all / count);
        let n = from + mixed(i) % (to - from).max(1);
        let at = [n % grid[0], n / grid[0] % grid[1], n / (grid[0] * grid[1])];
        // The last box of an axis is as large as the others, if the axis is long enough.
        let start = [0, 1, 2].map(|a| (at[a] * side).min(whole_from(extent[a], side)));
        Region {
            start,
            end: [0, 1, 2].map(|a| extent[a].min(start[a] + side)),
        }
    };
    let mut regions: Vec<Region> = (0..count).map(place).collect();
    regions.dedup();
    regions
}

/// The last multiple of `side` that has a whole box behind it, or 0.
fn whole_from(length: u64, side: u64) -> u64 {
    (length / side).saturating_sub(1) * side
}

impl Patches {
    /// `None` if the volume is too small.
    pub(super) fn of(job: &Job<'_>) -> Result<Option<Self>> {
        let extent = job.source.extent();
        let block = 1 << job.block_log2;
        let many = extent.iter().map(|n| n / SIDE).product::<u64>() >= FEW;
        let side = if many { SIDE.max(block) } else { block };
        let one = extent.map(|n| n.min(side) as f64).iter().product::<f64>();
        let count = sample_of(job.voxels() / one).min(MOST);
        if count == 0 {
            return Ok(None);
        }
        let regions = spread(extent, side, count);
        let blocks: Vec<[u64; 3]> = regions
            .iter()
            .flat_map(|r| blocks_of(r, job.block_log2))
            .collect();
        Ok(Some(Self {
            spectrum: Spectrum::of(job, &blocks)?,
            share: job.share_of(&blocks),
            faces: if side > block { FACES / 2.0 } else { FACES },
            regions,
        }))
    }

    /// Number of patches.
    pub(super) fn count(&self) -> f64 {
        self.regions.len() as f64
    }

    /// Mean SSIM over the windows of all patches, encoded at 2^x.
    pub(super) fn ssim(&self, job: &Job<'_>, path: &Path, x: f64) -> Result<[Option<f64>; DEPTHS]> {
        let mut sums = [(0.0, 0.0); DEPTHS];
        for &region in &self.regions {
            let extent = region.extent();
            for (lod, ssim) in encode_patch(job, region, path, x)?.iter().enumerate() {
                let windows: f64 = extent.map(|n| (n >> lod) as f64 - 6.0).iter().product();
                if let Some(ssim) = ssim {
                    sums[lod].0 += ssim * windows;
                    sums[lod].1 += windows;
                }
            }
        }
        Ok(sums.map(|(sum, windows)| (windows > 0.0).then(|| sum / windows)))
    }
}

fn blocks_of(region: &Region, block_log2: u32) -> Vec<[u64; 3]> {
    let first = region.start.map(|v| v >> block_log2);
    let last = region.end.map(|v| (v - 1) >> block_log2);
    let along = |a: usize| first[a]..=last[a];
    along(2)
        .flat_map(|z| along(1).flat_map(move |y| along(0).map(move |x| [x, y, z])))
        .collect()
}

fn encode_patch(
    job: &Job<'_>,
    region: Region,
    path: &Path,
    x: f64,
) -> Result<[Option<f64>; DEPTHS]> {
    let patch = Patch {
        inner: job.source,
        region,
    };
    let progress = |p: Progress| {
        (job.progress)(Progress {
            phase: "search",
            ..p
        })
    };
    let job = &Job {
        source: &patch,
        progress: &progress,
        ..*job
    };
    let trial = Trial::new(path);
    job.write(x.exp2(), trial.path(), path, true)?;
    ssim_of(job, &patch, trial.path())
}

/// A box of a volume as a volume.
pub(super) struct Patch<'a> {
    pub(super) inner: &'a dyn VoxelSource,
    pub(super) region: Region,
}

impl VoxelSource for Patch<'_> {
    fn extent(&self) -> Extent {
        self.region.extent()
    }

    fn dtype(&self) -> DType {
        self.inner.dtype()
    }

    fn metadata(&self) -> &Metadata {
        self.inner.metadata()
    }

    fn read(&self, region: &Region, out: &mut [u8]) -> Result<()> {
        if !region.fits(self.extent()) {
            return Err(Error::argument("the region does not fit the patch"));
        }
        let moved = |v: [u64; 3]| [0, 1, 2].map(|a| v[a] + self.region.start[a]);
        self.inner.read(
            &Region {
                start: moved(region.start),
                end: moved(region.end),
            },
            out,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_are_whole_blocks_inside_and_spread() {
        let extent = [1000, 512, 300];
        let regions = spread(extent, 128, 12);
        assert!(regions.len() >= 10);
        for r in &regions {
            assert!(r.fits(extent) && r.extent() == [128; 3]);
            assert!(r.start.iter().all(|v| v % 128 == 0));
        }
        assert!(regions.iter().any(|r| r.start[2] == 0));
        assert!(regions.iter().any(|r| r.start[2] == 128));
        assert_eq!(spread([70, 60, 9], 64, 1)[0].extent(), [64, 60, 9]);
        let blocks = blocks_of(
            &Region {
                start: [64; 3],
                end: [192, 128, 70],
            },
            6,
        );
        assert_eq!(blocks, [[1, 1, 1], [2, 1, 1]]);
    }
}
