//! What a ray makes of its samples in one block.

use std::ops::Range;

use super::look::{Gathered, Look, classify};
use super::sample::{LANES, gradient, places, values};
use crate::backend::cpu::{FloatLoops, Floats};
use crate::render::atlas::Stored;
use crate::render::atlas::grid::Grid;
use crate::render::scene::Mode;
use crate::render::vector::along;

/// Share of a pixel's light below which nobody sees how a sample is shaded.
const FAINT: f32 = 1e-5;
/// Rounds in which a surface is looked for between two samples, each `LANES` times as fine.
const REFINEMENTS: usize = 3;

/// Samples of a ray in a block.
pub(super) struct Run<'a, T> {
    pub(super) grid: &'a Grid<T>,
    /// Place of sample 0 in voxels from the corner of the apron.
    pub(super) from: [f32; 3],
    /// Way to the next sample.
    pub(super) step: [f32; 3],
    pub(super) samples: Range<u32>,
    /// Length that a sample stands for.
    pub(super) length: f32,
    /// Voxels of the block in a unit of length, x, y, z.
    pub(super) per_length: [f32; 3],
    /// Direction of the ray, of length 1.
    pub(super) direction: [f32; 3],
    pub(super) look: &'a Look,
    pub(super) gathered: &'a mut Gathered,
}

impl<T: Stored> FloatLoops for Run<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<F: Floats>(mut self, _: F) {
        match self.look.mode {
            Mode::Medium => self.medium(),
            Mode::Maximum | Mode::Mean => self.all(),
            Mode::Surface(value) => self.surface(value),
        }
    }
}

impl<T: Stored> Run<'_, T> {
    /// Adds the light of a medium.
    #[inline(always)]
    fn medium(&mut self) {
        let look = self.look;
        let mut sample = self.samples.start;
        while sample < self.samples.end && self.gathered.left > look.cutoff {
            let count = ((self.samples.end - sample) as usize).min(LANES);
            let places = places(self.grid, self.from, self.step, sample as f32);
            let values = values(self.grid, &places);
            let (entries, alphas) = classify(&look.table, &values, self.length);
            if alphas.iter().any(|&a| a > 0.0) {
                for lane in 0..count {
                    let weight = alphas[lane] * self.gathered.left;
                    if weight > 0.0 {
                        let entry = &look.table.entries[entries[lane]];
                        let colour = [entry[0], entry[1], entry[2]];
                        let lit = if weight > FAINT {
                            let g = gradient(self.grid, &places, lane, self.per_length);
                            look.shade(colour, g, self.direction)
                        } else {
                            colour
                        };
                        self.gathered.rgb = along(self.gathered.rgb, weight, lit);
                        self.gathered.left -= weight;
                    }
                }
            }
            sample += LANES as u32;
        }
    }

    /// Takes note of all values. NaN counts for nothing.
    #[inline(always)]
    fn all(&mut self) {
        let mut sample = self.samples.start;
        while sample < self.samples.end {
            let count = ((self.samples.end - sample) as usize).min(LANES);
            let places = places(self.grid, self.from, self.step, sample as f32);
            let values = values(self.grid, &places);
            for &value in values[..count].iter().filter(|v| !v.is_nan()) {
                self.gathered.peak = self.gathered.peak.max(value);
                self.gathered.sums[0] += value * self.length;
                self.gathered.sums[1] += self.length;
            }
            sample += LANES as u32;
        }
    }

    /// Ends the ray at the first place whose value is not under `value`.
    #[inline(always)]
    fn surface(&mut self, value: f32) {
        let mut sample = self.samples.start;
        while sample < self.samples.end {
            let count = ((self.samples.end - sample) as usize).min(LANES);
            let places = places(self.grid, self.from, self.step, sample as f32);
            let values = values(self.grid, &places);
            if let Some(hit) = values[..count].iter().position(|&v| v >= value) {
                self.hit(value, sample as f32 + hit as f32);
                return;
            }
            sample += LANES as u32;
        }
    }

    /// Shows the surface that the ray meets between the sample before `sample` and it.
    #[inline(always)]
    fn hit(&mut self, value: f32, sample: f32) {
        let (mut before, mut width) = (sample - 1.0, 1.0);
        for _ in 0..REFINEMENTS {
            width /= LANES as f32;
            let fine = self.step.map(|s| s * width);
            let from = along(self.from, before, self.step);
            let values = values(self.grid, &places(self.grid, from, fine, 1.0));
            let hit = values.iter().position(|&v| v >= value);
            before += hit.unwrap_or(LANES - 1) as f32 * width;
        }
        let at = along(self.from, before + 0.5 * width, self.step);
        let places = places(self.grid, at, [0.0; 3], 0.0);
        let normal = gradient(self.grid, &places, 0, self.per_length);
        let colour = self.look.colour(value);
        self.gathered.rgb = self.look.shade(colour, normal, self.direction);
        self.gathered.left = 0.0;
    }
}
