//! A ray on its way through the blocks.
//!
//! The ray is cut into intervals from where it enters the volume, as long as the voxels of the block in which
//! their middle lies, times the step that was asked for. The middle is sampled for the whole interval, so the
//! lengths of all intervals add up to the way through the volume, whatever the levels of detail, and skipping
//! what is transparent changes no sample.

use super::cells::Cells;
use super::eye::EyeRay;
use super::look::{Gathered, Look};
use super::run::Samples;
use super::secondary::directions;
use crate::backend::cpu::CpuLevel;
use crate::render::RenderOptions;
use crate::render::atlas::grid::{AnyGrid, with_grid};
use crate::render::atlas::{Shown, Stage, Stored};
use crate::render::scene::{AmbientOcclusion, Clip, Scene};

/// A ray in voxels of the full resolution: the middle of voxel `i` is at `i`.
#[derive(Debug, Clone, Copy)]
pub(in crate::render) struct Ray {
    pub(in crate::render) from: [f64; 3],
    /// Way for a unit of length.
    pub(in crate::render) along: [f64; 3],
    /// Direction of length 1 in units of length.
    pub(in crate::render) direction: [f32; 3],
}

impl Ray {
    pub(in crate::render) fn at(&self, t: f64) -> [f64; 3] {
        [0, 1, 2].map(|a| self.from[a] + t * self.along[a])
    }

    /// Where it enters and leaves a box; the second is not over the first if it misses.
    fn crosses(&self, lo: [f64; 3], hi: [f64; 3]) -> [f64; 2] {
        let mut span = [0.0, f64::INFINITY];
        for a in 0..3 {
            if self.along[a] == 0.0 {
                if self.from[a] < lo[a] || self.from[a] > hi[a] {
                    return [0.0, 0.0];
                }
                continue;
            }
            let to = [lo[a], hi[a]].map(|b| (b - self.from[a]) / self.along[a]);
            span = [span[0].max(to[0].min(to[1])), span[1].min(to[0].max(to[1]))];
        }
        span
    }
}

/// What is made of the samples that a ray meets.
pub(super) trait Gather {
    /// Whether nothing more can matter.
    fn is_over(&self) -> bool;
    /// Length of an interval in units of length, where voxels have a level of detail.
    fn length(&self, lod: u32) -> f64;
    /// Takes samples of one block in their order. Returns the first one that it has not taken yet.
    fn take<T: Stored>(&mut self, samples: &Samples<'_, T>) -> u32;
}

/// Sends rays through what is shown.
pub(in crate::render) struct Marcher<'a> {
    pub(in crate::render) stage: &'a Stage,
    pub(in crate::render) look: &'a Look,
    pub(in crate::render) clip: &'a Clip,
    /// Length of an interval in units of length, in blocks of the full resolution.
    pub(in crate::render) step: f64,
    /// Distance of voxels along x, y, z in units of length.
    pub(in crate::render) spacing: [f32; 3],
    pub(in crate::render) level: CpuLevel,
    /// Whether lamps are dimmed by what is in the way.
    pub(in crate::render) shadows: bool,
    pub(in crate::render) occlusion: Option<AmbientOcclusion>,
    /// Directions in which is looked for what is near.
    pub(super) around: Vec<[f32; 3]>,
}

impl<'a> Marcher<'a> {
    pub(in crate::render) fn new(
        stage: &'a Stage,
        look: &'a Look,
        scene: &'a Scene,
        options: &RenderOptions,
    ) -> Self {
        let least = scene.spacing.iter().copied().fold(f32::INFINITY, f32::min);
        Self {
            stage,
            look,
            clip: &scene.clip,
            step: f64::from(options.step * least),
            spacing: scene.spacing,
            level: options.level,
            shadows: scene.shadows,
            occlusion: scene.ambient_occlusion,
            around: directions(),
        }
    }

    /// What a ray gathers.
    pub(in crate::render) fn gather(&self, ray: &Ray) -> Gathered {
        let mut eye = EyeRay::new(self, ray);
        self.walk(ray, self.span(ray), &mut eye);
        self.look.finish(eye.end())
    }

    /// Where a ray enters and leaves what is shown of the volume.
    pub(in crate::render) fn span(&self, ray: &Ray) -> [f64; 2] {
        let end = self.stage.tree.extent.map(|e| e as f64 - 0.5);
        self.cut(ray, ray.crosses([-0.5; 3], end))
    }

    /// Takes a ray from one place to another, block by block.
    pub(super) fn walk(&self, ray: &Ray, [enter, leave]: [f64; 2], to: &mut impl Gather) {
        let unit = (1u64 << self.stage.tree.unit_log2) as f64;
        let nudge = 1e-7 * unit.max(leave.abs().min(1e12));
        // Start of the next interval, and how far the leaves have been looked at.
        let (mut t, mut seen_to) = (enter, enter);
        while seen_to < leave && !to.is_over() {
            let (slot, exit) = self.leaf(ray, seen_to + nudge);
            let exit = exit.min(leave);
            let shown = slot.map(|s| &self.stage.shown[s]);
            t = self.cross(ray, [t, exit, leave], shown, to);
            seen_to = exit.max(seen_to + nudge);
        }
    }

    /// The slot that is shown at a place of a ray, and where the ray leaves it.
    #[inline]
    pub(in crate::render) fn leaf(&self, ray: &Ray, t: f64) -> (Option<usize>, f64) {
        let tree = &self.stage.tree;
        let unit = (1u64 << tree.unit_log2) as f64;
        let place = ray.at(t);
        let block = [0, 1, 2].map(|a| {
            let end = tree.extent[a] as f64 - 0.5;
            (place[a].min(end).max(0.0) / unit) as u32
        });
        let leaf = tree.leaf(block);
        (leaf.slot(), exit(ray, block, leaf.level, unit))
    }

    /// What clipping leaves of a way.
    fn cut(&self, ray: &Ray, [mut enter, mut leave]: [f64; 2]) -> [f64; 2] {
        let spacing = self.spacing.map(f64::from);
        // Places of rays are half a voxel from those of cameras.
        let voxels = |p: [f32; 3]| [0, 1, 2].map(|a| f64::from(p[a]) / spacing[a] - 0.5);
        if let Some([lo, hi]) = self.clip.within {
            let within = ray.crosses(voxels(lo), voxels(hi));
            (enter, leave) = (enter.max(within[0]), leave.min(within[1]));
        }
        for plane in &self.clip.planes {
            let [x, y, z, offset] = plane.map(f64::from);
            let normal = [x * spacing[0], y * spacing[1], z * spacing[2]];
            let product = |p: [f64; 3]| (0..3).map(|a| normal[a] * p[a]).sum::<f64>();
            let height = product(ray.from.map(|p| p + 0.5)) + offset;
            let rise = product(ray.along);
            if rise > 0.0 {
                enter = enter.max(-height / rise);
            } else if rise < 0.0 {
                leave = leave.min(-height / rise);
            } else if height < 0.0 {
                leave = enter;
            }
        }
        [enter, leave]
    }

    /// Gathers the intervals from `t` on whose middle lies before `exit`. The last one ends at `leave`.
    /// Returns the start of the next one.
    fn cross(
        &self,
        ray: &Ray,
        [t, exit, leave]: [f64; 3],
        shown: Option<&Shown>,
        to: &mut impl Gather,
    ) -> f64 {
        let lod = shown.map_or(0, |s| s.lod);
        let length = to.length(lod);
        let whole = ((leave - t) / length + 1e-6).floor();
        let inside = ((exit - t) / length - 0.5).ceil();
        let is_last = exit >= leave || inside > whole;
        let count = if is_last { whole } else { inside };
        let count = count.clamp(0.0, f64::from(1 << 24));
        let next = t + count * length;
        let rest = if is_last { leave - next } else { 0.0 };
        let end = if is_last { leave.max(next) } else { next };
        let Some(Shown {
            first,
            values: Some((grid, seen)),
            ..
        }) = shown
        else {
            return end;
        };
        let block = Crossed {
            grid,
            seen,
            first: *first,
            lod,
        };
        if count > 0.0 {
            self.intervals(ray, &block, [t, length], count as u32, to);
        }
        if rest > 1e-6 * length {
            self.intervals(ray, &block, [next, rest], 1, to);
        }
        end
    }

    /// Gathers `count` intervals of a length from `start` on, all of one block.
    fn intervals(
        &self,
        ray: &Ray,
        block: &Crossed<'_>,
        [start, length]: [f64; 2],
        count: u32,
        to: &mut impl Gather,
    ) {
        let scale = 1.0 / (1u64 << block.lod) as f64;
        let middle = ray.at(start + 0.5 * length);
        let from = [0, 1, 2].map(|a| (1.0 + (middle[a] - block.first[a]) * scale) as f32);
        let step = ray.along.map(|d| (d * length * scale) as f32);
        let per_length = self.spacing.map(|s| scale as f32 / s);
        with_grid!(block.grid, grid => {
            let mut cells = Cells::new(grid.cells, block.seen, from, step);
            let mut at = 0;
            while at < count && !to.is_over() {
                let range = cells.next_seen(at, count);
                if range.is_empty() {
                    break;
                }
                at = to.take(&Samples {
                    grid,
                    from,
                    step,
                    range,
                    start,
                    length: length as f32,
                    per_length,
                });
            }
        });
    }
}

/// A block that a ray crosses.
struct Crossed<'a> {
    grid: &'a AnyGrid,
    seen: &'a [bool],
    first: [f64; 3],
    lod: u32,
}

/// Where a ray leaves the leaf of a level around a block.
fn exit(ray: &Ray, block: [u32; 3], level: u32, unit: f64) -> f64 {
    let side = unit * (1u64 << level) as f64;
    let mut exit = f64::INFINITY;
    for (a, block) in block.into_iter().enumerate() {
        let at = block >> level;
        let edge = if ray.along[a] > 0.0 {
            (f64::from(at) + 1.0) * side
        } else if ray.along[a] < 0.0 && at > 0 {
            f64::from(at) * side
        } else {
            // What lies below the first voxel belongs to the first block.
            continue;
        };
        exit = exit.min((edge - ray.from[a]) / ray.along[a]);
    }
    exit
}
