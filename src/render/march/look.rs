//! What values look like, and what a ray has seen of them.

use super::sample::LANES;
use crate::render::atlas::grid::mix;
use crate::render::scene::{Material, Mode};
use crate::render::transfer::{STEPS, Table};
use crate::render::vector::{along, dot, unit};

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
    /// Direction to the light, of length 1 or 0.
    pub(in crate::render) to_light: [f32; 3],
    pub(in crate::render) light: [f32; 3],
    /// Rays end where less light than this comes through.
    pub(in crate::render) cutoff: f32,
}

impl Look {
    /// Colour of a sample with a gradient, seen in a direction.
    #[inline(always)]
    pub(super) fn shade(
        &self,
        colour: [f32; 3],
        gradient: [f32; 3],
        direction: [f32; 3],
    ) -> [f32; 3] {
        let m = &self.material;
        let size = dot(gradient, gradient).sqrt();
        let surface = size / (size + self.surface);
        // Not a number where the gradient is 0 and any gradient is a surface.
        if surface.is_nan() || surface <= 0.0 {
            return colour.map(|c| c * (m.ambient + m.diffuse));
        }
        // Both sides of a surface are lit: turn the normal to the eye.
        let turn = if dot(gradient, direction) > 0.0 {
            -1.0
        } else {
            1.0
        };
        let normal = gradient.map(|g| g * turn / size);
        let facing = dot(normal, self.to_light).max(0.0);
        let half = unit(along(self.to_light, -1.0, direction));
        let glint = m.specular * surface * dot(normal, half).max(0.0).powf(m.shininess);
        // Where there is no surface, light comes from all sides.
        let diffuse = m.diffuse * mix(1.0, facing, surface);
        let shine = if facing > 0.0 { glint } else { 0.0 };
        [0, 1, 2].map(|c| colour[c] * (m.ambient + diffuse * self.light[c]) + shine * self.light[c])
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

/// Entries of the table that values have, and what part of the light samples stop.
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
    (entries, stopped(&optical))
}

/// `1 - exp(-x)` for `x >= 0`, exact to 2^-23 and for small `x` relative to it.
#[inline(always)]
fn stopped(optical: &[f32; LANES]) -> [f32; LANES] {
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
