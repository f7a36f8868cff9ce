//! Rays from what is seen to the light: shadows and ambient occlusion.

use super::lamp::Lamp;
use super::leaves::{Gather, Marcher, Ray};
use super::look::classify;
use super::run::{Samples, by_gradient};
use super::sample::{LANES, places, values};
use crate::backend::cpu::{FloatLoops, Floats, with_floats};
use crate::render::atlas::Stored;
use crate::render::scene::{AmbientOcclusion, Mode};
use crate::render::vector::dot;

/// Steps of a ray to a lamp, in those of a ray from the eye.
const SHADOW_STEP: f64 = 2.0;
/// Voxels over a place in which nothing takes its light: a surface is a few voxels thick, and its steps would
/// show as rings.
const OWN: f32 = 2.0;
const OVER: f32 = 1.0;
/// Least cosine at which a way to a lamp begins so far over a surface.
const STEEP: f32 = 0.25;
/// Optical depth behind which it is dark.
const DARK: f32 = 6.0;
/// Samples of a ray that looks for what is near.
const NEAR_SAMPLES: f32 = 8.0;
/// Share of the light of a direction that is not looked for.
const LITTLE: f32 = 0.02;

/// Directions in which is looked for what is near.
const DIRECTIONS: u32 = 16;

/// Directions of length 1 that are spread evenly, none of them along an axis: a Fibonacci lattice.
pub(super) fn directions() -> Vec<[f32; 3]> {
    let golden = std::f32::consts::PI * (3.0 - 5.0f32.sqrt());
    let direction = |i: u32| {
        let z = 1.0 - (2 * i + 1) as f32 / DIRECTIONS as f32;
        let (sin, cos) = (golden * i as f32 + 0.4).sin_cos();
        let across = (1.0 - z * z).sqrt();
        [across * cos, across * sin, z]
    };
    (0..DIRECTIONS).map(direction).collect()
}

/// A place that is lit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot {
    /// Where it is in voxels of the full resolution.
    pub(super) voxels: [f64; 3],
    /// Where it is in units of length.
    pub(super) place: [f32; 3],
    /// Normal to the eye, the shorter the less of a surface it is.
    pub(super) normal: [f32; 3],
    /// Distance of voxels there.
    pub(super) voxel: f32,
}

/// What comes through on a way.
struct Way<'a> {
    marcher: &'a Marcher<'a>,
    /// Length of an interval: this, but not less than a part of a voxel.
    length: f64,
    least: f64,
    /// What is farther than this does not count, and the less the farther it is; 0 = all counts alike.
    fade: f32,
    /// Optical depth so far.
    depth: f32,
    /// With `fade`: what does not come through.
    hidden: f32,
}

impl Gather for Way<'_> {
    fn is_over(&self) -> bool {
        self.depth > DARK
    }

    fn length(&self, lod: u32) -> f64 {
        self.length.max(self.least * (1u64 << lod) as f64)
    }

    fn take<T: Stored>(&mut self, samples: &Samples<'_, T>) -> u32 {
        let level = self.marcher.level;
        with_floats(level, WayRun { samples, way: self });
        samples.range.end
    }
}

struct WayRun<'a, 'b, 'c, T> {
    samples: &'a Samples<'b, T>,
    way: &'a mut Way<'c>,
}

impl<T: Stored> FloatLoops for WayRun<'_, '_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run<F: Floats>(self, _: F) {
        let (way, samples) = (self.way, self.samples);
        let look = way.marcher.look;
        let end = samples.range.end;
        let mut sample = samples.range.start;
        while sample < end && way.depth <= DARK {
            let count = ((end - sample) as usize).min(LANES);
            let places = places(samples.grid, samples.from, samples.step, sample as f32);
            let values = values(samples.grid, &places);
            let (_, mut optical) = classify(&look.table, &values, samples.length);
            if let Mode::Surface(value) = look.mode {
                optical = values.map(|v| if v >= value { 2.0 * DARK } else { 0.0 });
            } else if optical.iter().any(|&o| o > 0.0) {
                by_gradient(look, samples, &places, &mut optical);
            }
            if way.fade > 0.0 {
                way.hide(
                    &optical[..count],
                    samples.distance(sample as f32),
                    samples.length,
                );
            }
            way.depth += optical[..count].iter().sum::<f32>();
            sample += LANES as u32;
        }
    }
}

impl Way<'_> {
    /// Adds what samples hide, of which the first is at a distance.
    #[inline(always)]
    fn hide(&mut self, optical: &[f32], first: f32, length: f32) {
        let mut left = (-self.depth).exp();
        for (lane, depth) in optical.iter().enumerate() {
            if *depth > 0.0 {
                let distance = first + lane as f32 * length;
                let through = (-depth).exp();
                let near = (1.0 - distance / self.fade).max(0.0);
                self.hidden += left * (1.0 - through) * near;
                left *= through;
            }
        }
    }

    /// What comes through, 0..=1.
    fn open(&self) -> f32 {
        if self.fade > 0.0 {
            1.0 - self.hidden
        } else {
            (-self.depth).exp()
        }
    }
}

impl Marcher<'_> {
    /// The part of a lamp's light that comes through to a place, 0..=1.
    pub(super) fn visible(&self, spot: &Spot, lamp: &Lamp) -> f32 {
        if !self.shadows {
            return 1.0;
        }
        let lit = lamp.at(spot.place);
        // The way begins on the same line, whatever the angle: shadows do not move.
        let surface = dot(spot.normal, spot.normal).sqrt();
        let facing = dot(spot.normal, lit.to_light) / surface.max(1e-6);
        let own = OWN * (1.0 + surface * (1.0 / facing.max(STEEP) - 1.0));
        let way = Way {
            marcher: self,
            length: 0.0,
            least: SHADOW_STEP * self.step,
            fade: 0.0,
            depth: 0.0,
            hidden: 0.0,
        };
        self.through(spot, lit.to_light, [own, lit.distance], way)
    }

    /// The part of the environment's light that comes through to a place, 0..=1.
    pub(super) fn openness(&self, spot: &Spot) -> f32 {
        let Some(AmbientOcclusion { strength, radius }) = self.occlusion else {
            return 1.0;
        };
        // What there is besides a surface is lit from all sides alike; the mean of a cosine over all
        // directions is a quarter.
        let beside = 0.25 * (1.0 - dot(spot.normal, spot.normal).sqrt()).max(0.0);
        let (mut all, mut open) = (0.0, 0.0);
        let lift = f64::from(OVER * spot.voxel);
        let lifted = Spot {
            voxels: [0, 1, 2].map(|a| {
                spot.voxels[a] + lift * f64::from(spot.normal[a]) / f64::from(self.spacing[a])
            }),
            ..*spot
        };
        for &direction in &self.around {
            let weight = beside + dot(spot.normal, direction).max(0.0);
            if weight <= LITTLE {
                continue;
            }
            let way = Way {
                marcher: self,
                length: f64::from(radius / NEAR_SAMPLES),
                least: self.step,
                fade: radius,
                depth: 0.0,
                hidden: 0.0,
            };
            all += weight;
            open += weight * self.through(&lifted, direction, [OVER, radius], way);
        }
        if all > 0.0 {
            1.0 - strength * (1.0 - open / all)
        } else {
            1.0
        }
    }

    /// The part of the light from a direction that comes through from some distance, over a way that begins
    /// some voxels away.
    fn through(
        &self,
        spot: &Spot,
        direction: [f32; 3],
        [own, distance]: [f32; 2],
        mut way: Way<'_>,
    ) -> f32 {
        if direction == [0.0; 3] {
            return 1.0;
        }
        let ray = Ray {
            from: spot.voxels,
            along: [0, 1, 2].map(|a| f64::from(direction[a]) / f64::from(self.spacing[a])),
            direction,
        };
        let [enter, leave] = self.span(&ray);
        let own = f64::from(own * spot.voxel);
        let from_to = [enter.max(own), leave.min(distance.into())];
        self.walk(&ray, from_to, &mut way);
        way.open()
    }
}
