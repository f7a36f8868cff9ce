//! Samples along a ray in one block, several at a time.

use std::ops::Range;

use crate::backend::cpu::{FloatLoops, Floats};
use crate::render::atlas::Stored;
use crate::render::atlas::grid::{CELL_LOG2, Grid, mix};
use crate::render::scene::Material;
use crate::render::transfer::{STEPS, Table};
use crate::render::vector::{along, dot, unit};

/// Samples at a time.
const LANES: usize = 8;
/// Share of a pixel's light below which nobody sees how a sample is shaded.
const FAINT: f32 = 1e-5;

/// What a ray has gathered so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::render) struct Gathered {
    /// Light, red, green, blue.
    pub(in crate::render) rgb: [f32; 3],
    /// Part of the light from behind that comes through, 0..=1.
    pub(in crate::render) left: f32,
}

impl Default for Gathered {
    fn default() -> Self {
        Self {
            rgb: [0.0; 3],
            left: 1.0,
        }
    }
}

/// How values look.
#[derive(Debug)]
pub(in crate::render) struct Look {
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
    fn shade(&self, colour: [f32; 3], gradient: [f32; 3], direction: [f32; 3]) -> [f32; 3] {
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
}

/// Which samples of a ray in a block are worth a look: a walk over its cells.
pub(super) struct Cells<'a> {
    counts: [usize; 3],
    seen: &'a [bool],
    /// Place of sample 0 in cells, and way to the next sample.
    from: [f32; 3],
    step: [f32; 3],
    /// Samples for each cell along an axis.
    inverse: [f32; 3],
}

impl<'a> Cells<'a> {
    pub(super) fn new(
        counts: [usize; 3],
        seen: &'a [bool],
        from: [f32; 3],
        step: [f32; 3],
    ) -> Self {
        let side = 1.0 / (1 << CELL_LOG2) as f32;
        let step = step.map(|s| s * side);
        Self {
            counts,
            seen,
            from: from.map(|u| (u - 1.0) * side),
            step,
            inverse: step.map(|s| if s == 0.0 { 0.0 } else { 1.0 / s }),
        }
    }

    /// Whether the cell of a sample may be seen, and the first sample behind the cell.
    #[inline(always)]
    fn cell(&self, sample: u32) -> (bool, u32) {
        let k = sample as f32;
        let mut index = 0;
        let mut exit = f32::INFINITY;
        for a in [2, 1, 0] {
            let v = self.from[a] + k * self.step[a];
            let c = (v.max(0.0) as usize).min(self.counts[a] - 1);
            index = index * self.counts[a] + c;
            if self.inverse[a] != 0.0 {
                let edge = if self.step[a] > 0.0 { c + 1 } else { c };
                let at = (edge as f32 - self.from[a]) * self.inverse[a];
                // What lies outside of the first and last cells belongs to them.
                let is_end = edge == 0 || edge == self.counts[a];
                exit = if is_end { exit } else { exit.min(at) };
            }
        }
        let seen = self.seen.get(index).copied().unwrap_or(true);
        (seen, (exit.ceil() as u32).max(sample + 1))
    }

    /// The next samples from `at` to `end` that may be seen.
    pub(super) fn next_seen(&mut self, at: u32, end: u32) -> Range<u32> {
        let mut from = at;
        while from < end {
            let (seen, next) = self.cell(from);
            if seen {
                let mut to = next;
                while to < end {
                    let (seen, next) = self.cell(to);
                    if !seen {
                        break;
                    }
                    to = next;
                }
                return from..to.min(end);
            }
            from = next;
        }
        end..end
    }
}

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

/// Where samples lie in a grid.
struct Places {
    /// Index of the voxel before each sample.
    index: [u32; LANES],
    /// Way from there to the next voxels, 0..=1, by axis.
    part: [[f32; LANES]; 3],
}

impl<T: Stored> FloatLoops for Run<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<F: Floats>(self, _: F) {
        let mut sample = self.samples.start;
        let gathered = &mut *self.gathered;
        while sample < self.samples.end && gathered.left > self.look.cutoff {
            let count = ((self.samples.end - sample) as usize).min(LANES);
            let places = places(self.grid, self.from, self.step, sample);
            let values = values(self.grid, &places);
            let (entries, alphas) = classify(&self.look.table, &values, self.length);
            if alphas.iter().any(|&a| a > 0.0) {
                for lane in 0..count {
                    let weight = alphas[lane] * gathered.left;
                    if weight > 0.0 {
                        let entry = &self.look.table.entries[entries[lane]];
                        let colour = [entry[0], entry[1], entry[2]];
                        let lit = if weight > FAINT {
                            let g = gradient(self.grid, &places, lane, self.per_length);
                            self.look.shade(colour, g, self.direction)
                        } else {
                            colour
                        };
                        gathered.rgb = along(gathered.rgb, weight, lit);
                        gathered.left -= weight;
                    }
                }
            }
            sample += LANES as u32;
        }
    }
}

#[inline(always)]
fn places<T>(grid: &Grid<T>, from: [f32; 3], step: [f32; 3], sample: u32) -> Places {
    let dims = grid.dims;
    let mut index = [0u32; LANES];
    let mut part = [[0.0; LANES]; 3];
    let stride = [1, dims[0] as u32, (dims[0] * dims[1]) as u32];
    for a in 0..3 {
        // One voxel is left on each side for gradients.
        let most = (dims[a] - 3) as f32;
        for l in 0..LANES {
            let u = from[a] + (sample as f32 + l as f32) * step[a];
            let u = u.max(1.0).min(grid.end[a]);
            let before = u.min(most) as i32;
            index[l] += before as u32 * stride[a];
            part[a][l] = u - before as f32;
        }
    }
    Places { index, part }
}

/// Trilinear values.
#[inline(always)]
#[expect(
    clippy::needless_range_loop,
    reason = "lanes of several arrays at once"
)]
fn values<T: Stored>(grid: &Grid<T>, places: &Places) -> [f32; LANES] {
    let (dx, dxy) = (grid.dims[0], grid.dims[0] * grid.dims[1]);
    let mut corners = [[0.0; LANES]; 8];
    for l in 0..LANES {
        let at = places.index[l] as usize;
        for (row, offset) in [0, dx, dxy, dxy + dx].into_iter().enumerate() {
            if let Some([a, b]) = grid.values[at + offset..].first_chunk() {
                corners[2 * row][l] = a.float();
                corners[2 * row + 1][l] = b.float();
            }
        }
    }
    let mut out = [0.0; LANES];
    for l in 0..LANES {
        let [x, y, z] = [0, 1, 2].map(|a| places.part[a][l]);
        let line = |row: usize| mix(corners[2 * row][l], corners[2 * row + 1][l], x);
        out[l] = mix(mix(line(0), line(1), y), mix(line(2), line(3), y), z);
    }
    out
}

/// Entries of the table that values have, and what part of the light samples stop.
#[inline(always)]
fn classify(table: &Table, values: &[f32; LANES], length: f32) -> ([usize; LANES], [f32; LANES]) {
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

/// Gradient at a sample for a unit of length: central differences at the voxels around, interpolated.
#[inline(always)]
fn gradient<T: Stored>(
    grid: &Grid<T>,
    places: &Places,
    lane: usize,
    per_length: [f32; 3],
) -> [f32; 3] {
    let (dx, dxy) = (grid.dims[0], grid.dims[0] * grid.dims[1]);
    let at = places.index[lane] as usize;
    let [x, y, z] = [0, 1, 2].map(|a| places.part[a][lane]);
    let value = |i: usize| grid.values[i].float();
    // Four values in a row: along x before, both of the cell, behind.
    let row = |i: usize| [value(i - 1), value(i), value(i + 1), value(i + 2)];
    let inner = |i: usize| mix(value(i), value(i + 1), x);
    let rows = [row(at), row(at + dx), row(at + dxy), row(at + dxy + dx)];
    let across = rows.map(|r| mix(r[2] - r[0], r[3] - r[1], x));
    let middle = rows.map(|r| mix(r[1], r[2], x));
    let gx = mix(
        mix(across[0], across[1], y),
        mix(across[2], across[3], y),
        z,
    );
    let below = mix(inner(at - dx), inner(at - dx + dxy), z);
    let above = mix(inner(at + 2 * dx), inner(at + 2 * dx + dxy), z);
    let (low, high) = (mix(middle[0], middle[2], z), mix(middle[1], middle[3], z));
    let gy = mix(high - below, above - low, y);
    let before = mix(inner(at - dxy), inner(at - dxy + dx), y);
    let behind = mix(inner(at + 2 * dxy), inner(at + 2 * dxy + dx), y);
    let (near, far) = (mix(middle[0], middle[1], y), mix(middle[2], middle[3], y));
    let gz = mix(far - before, behind - near, z);
    [
        0.5 * gx * per_length[0],
        0.5 * gy * per_length[1],
        0.5 * gz * per_length[2],
    ]
}
