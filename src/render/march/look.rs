//! What values look like, and what a ray has seen of them.

use super::lamp::{Lamp, lamps};
use super::sample::LANES;
use crate::render::Environment;
use crate::render::atlas::grid::mix;
use crate::render::scatter::{self, Facets, mirrored};
use crate::render::scene::{Material, Mode, Scene};
use crate::render::transfer::{STEPS, Table};
use crate::render::vector::{along, dot, unit};
use crate::stream::schedule::View;

/// What a ray has gathered so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::render) struct Gathered {
    /// Light, red, green, blue.
    pub(in crate::render) rgb: [f32; 3],
    /// Part of the light from behind that comes through, 0..=1.
    pub(in crate::render) left: f32,
    /// Largest value.
    pub(super) peak: f32,
    /// Values times lengths, and lengths.
    pub(super) sums: [f32; 2],
}

impl Default for Gathered {
    fn default() -> Self {
        Self {
            rgb: [0.0; 3],
            left: 1.0,
            peak: f32::NEG_INFINITY,
            sums: [0.0; 2],
        }
    }
}

/// How values look.
#[derive(Debug)]
pub(in crate::render) struct Look {
    pub(in crate::render) mode: Mode,
    pub(in crate::render) table: Table,
    pub(in crate::render) material: Material,
    /// Gradient at which light counts half as on a surface, for a unit of length.
    pub(in crate::render) surface: f32,
    pub(in crate::render) lamps: Vec<Lamp>,
    pub(in crate::render) environment: Environment,
    /// Rays end where less light than this comes through.
    pub(in crate::render) cutoff: f32,
}

/// A sample that is seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) colour: [f32; 3],
    /// For a unit of length.
    pub(super) gradient: [f32; 3],
    /// In which it is seen, of length 1.
    pub(super) direction: [f32; 3],
    /// Where it is in units of length.
    pub(super) place: [f32; 3],
}

/// Where light comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The sample itself.
    Glow,
    Environment,
    /// One of the lamps.
    Lamp(usize),
}

impl Look {
    pub(in crate::render) fn new(scene: &Scene, view: &View, cutoff: f32) -> Self {
        let [lo, hi] = scene.transfer.span();
        Self {
            mode: scene.mode,
            table: Table::new(&scene.transfer),
            material: scene.material,
            surface: match scene.mode {
                Mode::Surface(_) => 0.0,
                _ => scene.material.surface.max(0.0) * (hi - lo),
            },
            lamps: lamps(&scene.lights, view, scene.camera.eye),
            environment: scene.environment,
            cutoff,
        }
    }

    /// Normal of what has a gradient, turned to the eye, and how much of a surface it is, 0..=1.
    #[inline(always)]
    pub(in crate::render) fn normal(
        &self,
        gradient: [f32; 3],
        direction: [f32; 3],
    ) -> ([f32; 3], f32) {
        let size = dot(gradient, gradient).sqrt();
        let surface = size / (size + self.surface);
        // Not a number where the gradient is 0 and any gradient is a surface.
        if surface.is_nan() || surface <= 0.0 {
            return ([0.0; 3], 0.0);
        }
        // Both sides of a surface are lit: turn the normal to the eye.
        let turn = if dot(gradient, direction) > 0.0 {
            -1.0
        } else {
            1.0
        };
        (gradient.map(|g| g * turn / size), surface)
    }

    /// Tells what light a sample sends to the eye, by the source. Returns its normal, the shorter the less of
    /// a surface it is.
    #[inline(always)]
    pub(super) fn light(&self, sample: &Sample, mut add: impl FnMut(Source, [f32; 3])) -> [f32; 3] {
        let m = &self.material;
        let colour = sample.colour;
        let (normal, surface) = self.normal(sample.gradient, sample.direction);
        let part = normal.map(|c| c * surface);
        if m.emission > 0.0 {
            add(Source::Glow, colour.map(|c| c * m.emission));
        }
        let sky = self.environment.scattered(part);
        add(
            Source::Environment,
            [0, 1, 2].map(|c| colour[c] * m.ambient * sky[c]),
        );
        for (index, lamp) in self.lamps.iter().enumerate() {
            let lit = lamp.at(sample.place);
            let facing = dot(normal, lit.to_light).max(0.0);
            // Where there is no surface, light is scattered from all sides.
            let all_around = self.phase(dot(lit.to_light, sample.direction));
            let diffuse = m.diffuse * mix(all_around, facing, surface);
            let shine = if facing > 0.0 && m.specular > 0.0 {
                surface * self.highlight(normal, lit.to_light, sample.direction, facing)
            } else {
                0.0
            };
            let light = [0, 1, 2].map(|c| (colour[c] * diffuse + shine) * lit.colour[c]);
            add(Source::Lamp(index), light);
        }
        part
    }

    /// All the light that a sample sends to the eye.
    #[inline(always)]
    pub(super) fn shade(&self, sample: &Sample) -> [f32; 3] {
        let mut sum = [0.0; 3];
        self.light(sample, |_, light| sum = along(sum, 1.0, light));
        sum
    }

    /// How much more light goes by an angle than if it went to all sides alike.
    #[inline(always)]
    fn phase(&self, cos: f32) -> f32 {
        let g = self.material.anisotropy;
        if g == 0.0 {
            1.0
        } else {
            4.0 * std::f32::consts::PI * scatter::phase(g, cos)
        }
    }

    /// What a surface mirrors of a lamp to the eye.
    #[inline(always)]
    pub(in crate::render) fn highlight(
        &self,
        normal: [f32; 3],
        to_light: [f32; 3],
        direction: [f32; 3],
        facing: f32,
    ) -> f32 {
        let m = &self.material;
        let half = unit(along(to_light, -1.0, direction));
        let cos = dot(normal, half).max(0.0);
        let Some(roughness) = m.roughness else {
            return m.specular * cos.powf(m.shininess);
        };
        let eye = -dot(normal, direction);
        let facets = Facets::new(roughness);
        mirrored(m.specular, dot(half, to_light)) * facets.highlight(cos, facing, eye)
    }

    /// Colour of a value.
    pub(super) fn colour(&self, value: f32) -> [f32; 3] {
        let u = (value - self.table.first) * self.table.scale;
        let [r, g, b, _] = self.table.entries[(u.max(0.0) as usize).min(STEPS)];
        [r, g, b]
    }

    /// What a ray that is at its end shows.
    pub(in crate::render) fn finish(&self, gathered: Gathered) -> Gathered {
        let value = match self.mode {
            Mode::Medium | Mode::Surface(_) => return gathered,
            Mode::Maximum => gathered.peak,
            Mode::Mean => gathered.sums[0] / gathered.sums[1],
        };
        if !value.is_finite() {
            return gathered;
        }
        Gathered {
            rgb: self.colour(value),
            left: 0.0,
            ..gathered
        }
    }
}

/// Entries of the table that values have, and the optical depths of samples.
#[inline(always)]
pub(super) fn classify(
    table: &Table,
    values: &[f32; LANES],
    length: f32,
) -> ([usize; LANES], [f32; LANES]) {
    let mut entries = [0; LANES];
    let mut optical = [0.0; LANES];
    for l in 0..LANES {
        let v = values[l];
        // NaN becomes 0 here, and is made transparent below.
        let u = ((v - table.first) * table.scale).max(0.0).min(STEPS as f32);
        let at = (u as usize).min(STEPS);
        entries[l] = at;
        let (a, b) = (table.entries[at][3], table.entries[at + 1][3]);
        let extinction = mix(a, b, u - at as f32);
        optical[l] = if v.is_nan() { 0.0 } else { extinction * length };
    }
    (entries, optical)
}

/// `1 - exp(-x)` for `x >= 0`, exact to 2^-23 and for small `x` relative to it.
#[inline(always)]
pub(super) fn stopped(optical: &[f32; LANES]) -> [f32; LANES] {
    // Adding this leaves the nearest integer in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let mut out = [0.0; LANES];
    for l in 0..LANES {
        let x = -optical[l].min(80.0);
        let shifted = x * std::f32::consts::LOG2_E + ROUND;
        let whole = shifted - ROUND;
        let power = f32::from_bits(
            (shifted
                .to_bits()
                .wrapping_sub(ROUND.to_bits())
                .wrapping_add(127))
                << 23,
        );
        let f = x - whole * 0.693_359_4 - whole * -2.121_944_4e-4;
        let mut p = 1.987_569_1e-4;
        for c in [
            1.398_199_9e-3,
            8.333_452e-3,
            4.166_579_6e-2,
            1.666_666_6e-1,
            0.5,
        ] {
            p = p * f + c;
        }
        let less_one = p * f * f + f;
        out[l] = (1.0 - power) - less_one * power;
    }
    out
}
