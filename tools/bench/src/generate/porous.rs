//! A porous rock as micro-CT sees it.
//!
//! Band-passed random fields give pores, two minerals and bright inclusions with soft edges; then
//! come a small point-spread blur, noise and weak rings. The sample is a cylinder along z in noisy
//! air; beyond the field of view of the scanner there is nothing at all (zero).

use hgv::volume::{DType, Metadata};

use super::lattice::{Lattice, normal, step, stream, white};
use super::{Brick, Kind};

/// Grey values as a share of full scale.
const AIR: f32 = 0.09;
const MATRIX: f32 = 0.44;
const SECOND: f32 = 0.57;
const INCLUSION: f32 = 0.93;
/// Radii of the sample and of the field of view as a share of half the width.
const SAMPLE: f32 = 0.90;
const VIEW: f32 = 0.97;
/// Noise that the blur smooths, against the white noise that comes after it.
const INNER_NOISE: f32 = 1.6;

/// A porous medium.
#[derive(Debug, Clone)]
pub struct Porous {
    seed: u64,
    /// Centre of the cylinder and half its width in voxels.
    centre: [f32; 2],
    half: f32,
    /// Standard deviation of the noise as a share of full scale.
    noise: f32,
    /// The value under which there is a pore.
    threshold: f32,
    /// Half the width of an edge, in units of the pore field.
    softness: f32,
    pores: [Lattice; 2],
    rough: Lattice,
    drift: Lattice,
    mineral: Lattice,
    inclusions: Lattice,
}

impl Porous {
    /// A medium in a volume of `extent` voxels whose pores are about `feature` voxels wide, with
    /// noise of standard deviation `noise` (a share of full scale).
    pub fn new(extent: [u64; 3], seed: u64, feature: u32, noise: f32) -> Self {
        let field = |salt, spacing: u32, band| Lattice {
            seed: stream(seed, salt),
            spacing: i64::from(spacing.max(2)),
            band,
        };
        let spacing = (feature / 2).max(3);
        Self {
            seed,
            centre: [0, 1].map(|a| extent[a] as f32 * 0.5 - 0.5),
            half: extent[0].min(extent[1]) as f32 * 0.5,
            noise,
            threshold: -0.62,
            softness: 1.6 / spacing as f32,
            pores: [field(1, spacing, true), field(8, spacing * 3 / 4, true)],
            rough: field(2, spacing / 3, true),
            drift: field(3, spacing * 6, false),
            mineral: field(4, spacing * 2, true),
            inclusions: field(5, spacing * 2 / 3, true),
        }
    }

    fn radius2(&self, x: f32, y: f32) -> f32 {
        let (dx, dy) = (x - self.centre[0], y - self.centre[1]);
        dx * dx + dy * dy
    }

    /// Smallest and largest distance of a box from the axis.
    fn radii(&self, brick: &Brick) -> [f32; 2] {
        let mut near = [0f32; 2];
        let mut far = [0f32; 2];
        for a in 0..2 {
            let low = brick.start[a] as f32 - self.centre[a];
            let high = low + brick.size[a] as f32 - 1.0;
            far[a] = low.abs().max(high.abs());
            near[a] = if low <= 0.0 && high >= 0.0 {
                0.0
            } else {
                low.abs().min(high.abs())
            };
        }
        [near, far].map(|[x, y]| (x * x + y * y).sqrt())
    }

    /// The object itself, sharp but for its soft edges.
    fn object(&self, brick: &Brick, out: &mut [f32]) {
        let n = brick.voxels();
        let fields = [
            self.pores[0],
            self.pores[1],
            self.rough,
            self.drift,
            self.mineral,
            self.inclusions,
        ];
        let mut values = vec![0f32; n * fields.len()];
        for (field, values) in fields.iter().zip(values.chunks_exact_mut(n)) {
            field.fill(brick, values);
        }
        let field = |i: usize| &values[i * n..][..n];
        let (coarse, fine, rough) = (field(0), field(1), field(2));
        let (drift, mineral, inclusions) = (field(3), field(4), field(5));
        let edge = 1.0 / self.softness;
        for (i, o) in out[..n].iter_mut().enumerate() {
            // Two lattices of different spacing hide the direction of either.
            let pore = 0.8 * coarse[i] + 0.6 * fine[i] + 0.22 * rough[i] + 0.30 * drift[i];
            let solid = step((pore - self.threshold) * edge);
            let second = step((mineral[i] + 0.15 * rough[i] - 0.85) * 2.0 * edge);
            let bright = step((inclusions[i] + 0.4 * drift[i] - 2.75) * 0.6 * edge);
            let texture = 0.008 * rough[i] + 0.010 * drift[i];
            let mut v = MATRIX + texture + second * (SECOND - MATRIX);
            v += bright * (INCLUSION - v);
            *o = AIR + solid * (v - AIR);
        }
    }

    /// Cuts the object to the cylinder; solid parts are a little darker inside (beam hardening).
    fn cut(&self, brick: &Brick, out: &mut [f32]) {
        let radius = SAMPLE * self.half;
        for_rows(brick, out, |y, _, row| {
            for (x, v) in row.iter_mut().enumerate() {
                let r2 = self.radius2((brick.start[0] + x as i64) as f32, y as f32);
                let inside = step((radius - r2.sqrt()) * 0.8);
                let cupping = 0.95 + 0.05 * r2 / (radius * radius);
                *v = AIR + inside * (*v * cupping - AIR);
            }
        });
    }

    /// Amplitude of the ring at whole radius `r` in slice `z`: faulty detector pixels.
    fn ring(&self, r: i64, z: i64) -> f32 {
        let seed = stream(self.seed, 6);
        let row = z.div_euclid(48);
        let t = (z.rem_euclid(48) as f32 + 0.5) / 48.0;
        let weak = normal(seed, [r, row, 0]) * (1.0 - t) + normal(seed, [r, row + 1, 0]) * t;
        let strong = normal(seed, [r, row.div_euclid(8), 1]);
        let strong = if strong.abs() > 2.3 {
            1.5 * strong
        } else {
            0.0
        };
        0.4 * self.noise * (weak + strong)
    }

    /// Adds noise and rings and empties what is out of view. `out` and `noise` hold `brick`.
    fn finish(&self, brick: &Brick, out: &mut [f32], noise: &[f32], radii: [f32; 2], full: f32) {
        let first = radii[0] as i64;
        let [w, h, _] = brick.size;
        let view = (VIEW * self.half) * (VIEW * self.half);
        let mut rings = vec![0f32; radii[1] as usize - first as usize + 3];
        for_rows(brick, out, |y, z, row| {
            if y == brick.start[1] {
                for (i, ring) in rings.iter_mut().enumerate() {
                    *ring = self.ring(first + i as i64, z);
                }
            }
            let line = (z - brick.start[2]) as usize * h + (y - brick.start[1]) as usize;
            for (x, (v, n)) in row.iter_mut().zip(&noise[line * w..]).enumerate() {
                let r2 = self.radius2((brick.start[0] + x as i64) as f32, y as f32);
                let r = r2.sqrt() - first as f32;
                let (i, t) = (r as usize, r - r.floor());
                let ring = rings[i] + t * (rings[i + 1] - rings[i]);
                // Fewer photons come through dense parts.
                let sigma = self.noise * (0.8 + 0.45 * *v);
                let seen = (*v + ring + n * sigma) * full;
                *v = if r2 > view { 0.0 } else { seen.max(0.0) };
            }
        });
    }
}

impl Kind for Porous {
    fn dtypes(&self) -> &'static [DType] {
        &[DType::Uint8, DType::Uint16]
    }

    fn metadata(&self) -> Metadata {
        Metadata {
            spacing: [5.0; 3],
            unit: Some("um".into()),
            ..Metadata::default()
        }
    }

    fn fill(&self, dtype: DType, brick: &Brick, out: &mut [f32]) {
        let radii = self.radii(brick);
        if radii[0] > VIEW * self.half {
            out.fill(0.0);
            return;
        }
        let full = if dtype == DType::Uint8 {
            250.0
        } else {
            52_000.0
        };
        let wide = brick.grown(1);
        let mut sharp = vec![0f32; wide.voxels()];
        if radii[0] > SAMPLE * self.half + 4.0 {
            sharp.fill(AIR);
        } else {
            self.object(&wide, &mut sharp);
            if radii[1] > SAMPLE * self.half * 0.2 {
                self.cut(&wide, &mut sharp);
            }
        }
        let (mut inner, mut outer) = (vec![0f32; sharp.len()], vec![0f32; sharp.len()]);
        white(stream(self.seed, 7), &wide, &mut inner, &mut outer);
        for (s, n) in sharp.iter_mut().zip(&inner) {
            *s += n * INNER_NOISE * self.noise;
        }
        blur(&wide, &mut sharp, &mut inner, out);
        let noise = inside(&wide, &outer);
        self.finish(brick, out, &noise, radii, full);
    }
}

/// Calls `work(y, z, row)` for every row of a brick.
fn for_rows(brick: &Brick, values: &mut [f32], mut work: impl FnMut(i64, i64, &mut [f32])) {
    let [w, h, _] = brick.size;
    for (line, row) in values.chunks_exact_mut(w).enumerate() {
        let (y, z) = ((line % h) as i64, (line / h) as i64);
        work(brick.start[1] + y, brick.start[2] + z, row);
    }
}

/// Weights 1/4, 1/2, 1/4 along each axis; `out` has one voxel less than `wide` on every side.
fn blur(wide: &Brick, values: &mut [f32], scratch: &mut [f32], out: &mut [f32]) {
    let [w, h, _] = wide.size;
    let n = values.len();
    three(values, 1, &mut scratch[..n - 2]);
    three(&scratch[..n - 2], w, &mut values[..n - 2 - 2 * w]);
    let plane = w * h;
    for (line, row) in out.chunks_exact_mut(w - 2).enumerate() {
        let at = (line / (h - 2)) * plane + (line % (h - 2)) * w;
        let part = &values[at..at + 2 * plane + w - 2];
        three(part, plane, row);
    }
}

/// `out[i] = (v[i] + 2 v[i + stride] + v[i + 2 stride]) / 4`.
fn three(v: &[f32], stride: usize, out: &mut [f32]) {
    let n = out.len();
    let (a, b, c) = (&v[..n], &v[stride..][..n], &v[2 * stride..][..n]);
    for (i, o) in out.iter_mut().enumerate() {
        *o = 0.25 * (a[i] + c[i]) + 0.5 * b[i];
    }
}

/// The values without a border of one voxel.
fn inside(wide: &Brick, values: &[f32]) -> Vec<f32> {
    let [w, h, d] = wide.size;
    let mut out = Vec::with_capacity((w - 2) * (h - 2) * (d - 2));
    for z in 1..d - 1 {
        for y in 1..h - 1 {
            out.extend_from_slice(&values[(z * h + y) * w + 1..][..w - 2]);
        }
    }
    out
}
