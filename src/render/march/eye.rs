//! A ray from the eye, and light on its way that has still to be looked at.

use super::leaves::{Gather, Marcher, Ray};
use super::look::{Gathered, Look, Sample, Source};
use super::run::{Run, Samples};
use super::secondary::Spot;
use crate::backend::cpu::with_floats;
use crate::render::atlas::Stored;
use crate::render::light::MAX_LIGHTS;
use crate::render::vector::along;

/// Share of a pixel's light that samples may have together and share one look at the lights.
const SHARED: f32 = 1.0 / 4.0;
/// The same for samples that are more than `WIDE` voxels apart.
const SHARED_WIDE: f32 = 1.0 / 32.0;
const WIDE: f32 = 6.0;

/// Light of samples near each other, by where it comes from: one look at what is in the way is for all of
/// them, at the middle of their weights.
#[derive(Debug, Default)]
pub(super) struct Pending {
    weight: f32,
    /// Distances and normals times weights.
    distance: f32,
    normal: [f32; 3],
    /// Distance of the first sample.
    first: f32,
    last: f32,
    /// Distance of voxels where the last sample is.
    voxel: f32,
    glow: [f32; 3],
    environment: [f32; 3],
    lamps: [[f32; 3]; MAX_LIGHTS],
}

impl Pending {
    /// Adds what a sample sends to the eye, at a distance along the ray.
    #[inline(always)]
    pub(super) fn add(
        &mut self,
        look: &Look,
        sample: &Sample,
        weight: f32,
        distance: f32,
        voxel: f32,
    ) {
        if self.weight == 0.0 {
            self.first = distance;
        }
        let normal = look.light(sample, |source, light| {
            let sum = match source {
                Source::Glow => &mut self.glow,
                Source::Environment => &mut self.environment,
                Source::Lamp(index) => &mut self.lamps[index],
            };
            *sum = along(*sum, weight, light);
        });
        self.weight += weight;
        self.distance += weight * distance;
        self.normal = along(self.normal, weight, normal);
        self.last = distance;
        self.voxel = voxel;
    }

    /// Whether it is time to look.
    #[inline(always)]
    pub(super) fn is_full(&self) -> bool {
        let is_wide = self.last - self.first > WIDE * self.voxel;
        self.weight > SHARED || (is_wide && self.weight > SHARED_WIDE)
    }
}

/// A ray from the eye.
pub(super) struct EyeRay<'a> {
    marcher: &'a Marcher<'a>,
    ray: &'a Ray,
    /// Where the ray begins in units of length.
    origin: [f32; 3],
    gathered: Gathered,
    /// If any light can be in the shade.
    pending: Option<Pending>,
}

impl Gather for EyeRay<'_> {
    fn is_over(&self) -> bool {
        self.gathered.left <= self.marcher.look.cutoff
    }

    fn length(&self, lod: u32) -> f64 {
        self.marcher.step * (1u64 << lod) as f64
    }

    fn take<T: Stored>(&mut self, samples: &Samples<'_, T>) -> u32 {
        let run = Run {
            samples,
            origin: self.origin,
            direction: self.ray.direction,
            look: self.marcher.look,
            gathered: &mut self.gathered,
            pending: self.pending.as_mut(),
        };
        let next = with_floats(self.marcher.level, run);
        if self.pending.as_ref().is_some_and(Pending::is_full) {
            self.flush();
        }
        next
    }
}

impl<'a> EyeRay<'a> {
    pub(super) fn new(marcher: &'a Marcher<'a>, ray: &'a Ray) -> Self {
        let is_shaded = marcher.shadows || marcher.occlusion.is_some();
        Self {
            marcher,
            ray,
            origin: [0, 1, 2].map(|a| (ray.from[a] as f32 + 0.5) * marcher.spacing[a]),
            gathered: Gathered::default(),
            pending: is_shaded.then(Pending::default),
        }
    }

    /// All that the ray has gathered.
    pub(super) fn end(mut self) -> Gathered {
        self.flush();
        self.gathered
    }

    /// Adds the light that has come through to where it is needed.
    fn flush(&mut self) {
        let Some(pending) = &mut self.pending else {
            return;
        };
        let light = std::mem::take(pending);
        if light.weight <= 0.0 {
            return;
        }
        let inverse = 1.0 / light.weight;
        let distance = light.distance * inverse;
        let spot = Spot {
            voxels: self.ray.at(f64::from(distance)),
            place: along(self.origin, distance, self.ray.direction),
            normal: light.normal.map(|c| c * inverse),
            voxel: light.voxel,
        };
        let open = self.marcher.openness(&spot);
        let mut rgb = along(self.gathered.rgb, 1.0, light.glow);
        rgb = along(rgb, open, light.environment);
        for (lamp, sum) in self.marcher.look.lamps.iter().zip(light.lamps) {
            if sum.iter().any(|&c| c > 0.0) {
                rgb = along(rgb, self.marcher.visible(&spot, lamp), sum);
            }
        }
        self.gathered.rgb = rgb;
    }
}
