//! What a ray makes of its samples in one block.

use std::ops::Range;

use super::eye::Pending;
use super::look::{Gathered, Look, Sample, classify, stopped};
use super::sample::{LANES, Places, gradient, places, values};
use crate::backend::cpu::{FloatLoops, Floats};
use crate::render::atlas::Stored;
use crate::render::atlas::grid::Grid;
use crate::render::scene::Mode;
use crate::render::vector::{along, dot};

/// Share of a pixel's light below which nobody sees how a sample is shaded.
const FAINT: f32 = 1e-5;
/// Rounds in which a surface is looked for between two samples, each `LANES` times as fine.
const REFINEMENTS: usize = 3;

/// Samples of a ray in a block.
pub(super) struct Samples<'a, T> {
    pub(super) grid: &'a Grid<T>,
    /// Place of sample 0 in voxels from the corner of the apron.
    pub(super) from: [f32; 3],
    /// Way to the next sample.
    pub(super) step: [f32; 3],
    pub(super) range: Range<u32>,
    /// Where the interval of sample 0 begins, in units of length along the ray.
    pub(super) start: f64,
    /// Length that a sample stands for.
    pub(super) length: f32,
    /// Voxels of the block in a unit of length, x, y, z.
    pub(super) per_length: [f32; 3],
}

impl<T> Samples<'_, T> {
    /// Where a sample lies, in units of length along the ray.
    #[inline(always)]
    pub(super) fn distance(&self, sample: f32) -> f32 {
        self.start as f32 + (sample + 0.5) * self.length
    }

    /// Distance of voxels in units of length.
    #[inline(always)]
    fn voxel(&self) -> f32 {
        let [x, y, z] = self.per_length;
        1.0 / x.max(y).max(z)
    }
}

/// A ray from the eye among samples.
pub(super) struct Run<'a, 'b, T> {
    pub(super) samples: &'a Samples<'b, T>,
    /// Where the ray begins in units of length.
    pub(super) origin: [f32; 3],
    /// Direction of the ray, of length 1.
    pub(super) direction: [f32; 3],
    pub(super) look: &'a Look,
    pub(super) gathered: &'a mut Gathered,
    /// Takes the light if it has to be looked at where it comes from.
    pub(super) pending: Option<&'a mut Pending>,
}

impl<T: Stored> FloatLoops for Run<'_, '_, T> {
    /// The first sample that has not been taken.
    type Output = u32;

    #[inline(always)]
    fn run<F: Floats>(mut self, _: F) -> u32 {
        match self.look.mode {
            Mode::Medium => return self.medium(),
            Mode::Maximum | Mode::Mean => self.all(),
            Mode::Surface(value) => self.surface(value),
        }
        self.samples.range.end
    }
}

/// Lowers optical depths as the gradients say.
#[inline(always)]
pub(super) fn by_gradient<T: Stored>(
    look: &Look,
    samples: &Samples<'_, T>,
    places: &Places,
    optical: &mut [f32; LANES],
) {
    let Some(factors) = &look.table.factors else {
        return;
    };
    for (lane, depth) in optical.iter_mut().enumerate() {
        if *depth > 0.0 {
            let g = gradient(samples.grid, places, lane, samples.per_length);
            *depth *= factors.factor(dot(g, g).sqrt());
        }
    }
}

impl<T: Stored> Run<'_, '_, T> {
    /// Adds the light of a medium.
    #[inline(always)]
    fn medium(&mut self) -> u32 {
        let (look, samples) = (self.look, self.samples);
        let end = samples.range.end;
        let mut sample = samples.range.start;
        while sample < end && self.gathered.left > look.cutoff {
            let count = ((end - sample) as usize).min(LANES);
            let places = places(samples.grid, samples.from, samples.step, sample as f32);
            let values = values(samples.grid, &places);
            let (entries, mut optical) = classify(&look.table, &values, samples.length);
            if optical.iter().any(|&o| o > 0.0) {
                by_gradient(look, samples, &places, &mut optical);
                let alphas = stopped(&optical);
                for lane in 0..count {
                    let weight = alphas[lane] * self.gathered.left;
                    if weight > 0.0 {
                        let entry = &look.table.entries[entries[lane]];
                        let colour = [entry[0], entry[1], entry[2]];
                        self.add(weight, colour, sample as f32 + lane as f32, (&places, lane));
                        self.gathered.left -= weight;
                    }
                }
            }
            sample += LANES as u32;
            if self.pending.as_ref().is_some_and(|p| p.is_full()) {
                break;
            }
        }
        sample.min(end)
    }

    /// Adds the light of a sample.
    #[inline(always)]
    fn add(&mut self, weight: f32, colour: [f32; 3], at: f32, (places, lane): (&Places, usize)) {
        if weight <= FAINT {
            self.gathered.rgb = along(self.gathered.rgb, weight, colour);
            return;
        }
        let samples = self.samples;
        let distance = samples.distance(at);
        let sample = Sample {
            colour,
            gradient: gradient(samples.grid, places, lane, samples.per_length),
            direction: self.direction,
            place: along(self.origin, distance, self.direction),
        };
        let Some(pending) = &mut self.pending else {
            let lit = self.look.shade(&sample);
            self.gathered.rgb = along(self.gathered.rgb, weight, lit);
            return;
        };
        pending.add(self.look, &sample, weight, distance, samples.voxel());
    }

    /// Takes note of all values. NaN counts for nothing.
    #[inline(always)]
    fn all(&mut self) {
        let samples = self.samples;
        let mut sample = samples.range.start;
        while sample < samples.range.end {
            let count = ((samples.range.end - sample) as usize).min(LANES);
            let places = places(samples.grid, samples.from, samples.step, sample as f32);
            let values = values(samples.grid, &places);
            for &value in values[..count].iter().filter(|v| !v.is_nan()) {
                self.gathered.peak = self.gathered.peak.max(value);
                self.gathered.sums[0] += value * samples.length;
                self.gathered.sums[1] += samples.length;
            }
            sample += LANES as u32;
        }
    }

    /// Ends the ray at the first place whose value is not under `value`.
    #[inline(always)]
    fn surface(&mut self, value: f32) {
        let samples = self.samples;
        let mut sample = samples.range.start;
        while sample < samples.range.end {
            let count = ((samples.range.end - sample) as usize).min(LANES);
            let places = places(samples.grid, samples.from, samples.step, sample as f32);
            let values = values(samples.grid, &places);
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
        let samples = self.samples;
        let (mut before, mut width) = (sample - 1.0, 1.0);
        for _ in 0..REFINEMENTS {
            width /= LANES as f32;
            let fine = samples.step.map(|s| s * width);
            let from = along(samples.from, before, samples.step);
            let values = values(samples.grid, &places(samples.grid, from, fine, 1.0));
            let hit = values.iter().position(|&v| v >= value);
            before += hit.unwrap_or(LANES - 1) as f32 * width;
        }
        let sample = before + 0.5 * width;
        let at = along(samples.from, sample, samples.step);
        let places = places(samples.grid, at, [0.0; 3], 0.0);
        let colour = self.look.colour(value);
        self.add(1.0, colour, sample, (&places, 0));
        self.gathered.left = 0.0;
    }
}
