//! Random fields from hashed lattice noise, and white noise per voxel.

use super::Brick;

/// Scrambles 64 bits (the finaliser of SplitMix64).
#[inline]
pub(super) fn mix(mut h: u64) -> u64 {
    h ^= h >> 30;
    h = h.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    h ^= h >> 27;
    h = h.wrapping_mul(0x94D0_49BB_1331_11EB);
    h ^ (h >> 31)
}

/// A stream of its own for part `salt` of what `seed` makes.
pub(super) fn stream(seed: u64, salt: u64) -> u64 {
    mix(seed ^ mix(salt.wrapping_add(0x9E37_79B9_7F4A_7C15)))
}

#[inline]
fn hash(seed: u64, [x, y, z]: [i64; 3]) -> u64 {
    let h = (x as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ (y as u64).wrapping_mul(0xC2B2_AE3D_27D4_EB4F)
        ^ (z as u64).wrapping_mul(0x1656_67B1_9E37_79F9);
    mix(h ^ seed)
}

/// Two independent values of about normal distribution, mean 0, variance 1: sums and differences of
/// the four 16-bit parts of a hash.
#[inline]
fn normal_pair(h: u64) -> [f32; 2] {
    // Variance of a sum of four uniform 16-bit numbers: 4 * 65536^2 / 12.
    const SCALE: f32 = 1.0 / 37_837.2;
    let part = |i: u32| ((h >> (16 * i)) & 0xFFFF) as i32;
    let (a, b, c, d) = (part(0), part(1), part(2), part(3));
    [
        (a + b - c - d) as f32 * SCALE,
        (a - b + c - d) as f32 * SCALE,
    ]
}

/// One value of about normal distribution for an index.
pub(super) fn normal(seed: u64, index: [i64; 3]) -> f32 {
    normal_pair(hash(seed, index))[0]
}

/// Two independent fields of white noise, variance 1, `[z][y][x]`.
pub(super) fn white(seed: u64, brick: &Brick, first: &mut [f32], second: &mut [f32]) {
    let [w, h, _] = brick.size;
    for (line, (first, second)) in first
        .chunks_exact_mut(w)
        .zip(second.chunks_exact_mut(w))
        .enumerate()
    {
        let y = brick.start[1] + (line % h) as i64;
        let z = brick.start[2] + (line / h) as i64;
        let row = mix(seed ^ hash(seed, [0, y, z]));
        for (x, (a, b)) in first.iter_mut().zip(second).enumerate() {
            let x = (brick.start[0] + x as i64) as u64;
            let h = row.wrapping_add(x.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            [*a, *b] = normal_pair(mix(h));
        }
    }
}

/// A random field of mean 0 and variance 1: normal noise on a lattice, without its low
/// frequencies if `band`, interpolated by cubic B-splines.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lattice {
    pub(super) seed: u64,
    /// Voxels between nodes; features are about two to three of them wide.
    pub(super) spacing: i64,
    /// Whether to take out what is wider than some five nodes.
    pub(super) band: bool,
}

/// Integrals of a cubic B-spline times itself shifted by 0, 1, 2, 3 nodes.
const OVERLAP: [f64; 4] = [151.0 / 315.0, 397.0 / 1680.0, 1.0 / 42.0, 1.0 / 5040.0];
/// Low-pass along one axis of the lattice, subtracted for a band.
const SMOOTH: [f32; 5] = [0.0625, 0.25, 0.375, 0.25, 0.0625];

/// Where the samples of one axis lie between the nodes.
struct Axis {
    /// First node, with the border that the spline needs.
    first: i64,
    nodes: usize,
    /// Per sample: index of its first node, and four weights.
    samples: Vec<(usize, [f32; 4])>,
}

impl Axis {
    fn new(start: i64, size: usize, spacing: i64) -> Self {
        let cell = start.div_euclid(spacing);
        let samples: Vec<_> = (start..start + size as i64)
            .map(|v| {
                let t = (v.rem_euclid(spacing) as f32 + 0.5) / spacing as f32;
                ((v.div_euclid(spacing) - cell) as usize, spline(t))
            })
            .collect();
        Self {
            first: cell - 1,
            nodes: samples.last().map_or(0, |s| s.0) + 4,
            samples,
        }
    }
}

/// Weights of the nodes -1, 0, 1, 2 at `t` between 0 and 1.
fn spline(t: f32) -> [f32; 4] {
    let u = 1.0 - t;
    [
        u * u * u / 6.0,
        (4.0 - 6.0 * t * t + 3.0 * t * t * t) / 6.0,
        (4.0 - 6.0 * u * u + 3.0 * u * u * u) / 6.0,
        t * t * t / 6.0,
    ]
}

impl Lattice {
    /// Writes the field over `brick` into `out`, `[z][y][x]`.
    pub(super) fn fill(&self, brick: &Brick, out: &mut [f32]) {
        let axes = [0, 1, 2].map(|a| Axis::new(brick.start[a], brick.size[a], self.spacing));
        let [mx, my, mz] = [0, 1, 2].map(|a| axes[a].nodes);
        let [w, h, _] = brick.size;
        let nodes = self.nodes(&axes);
        let mut lines = vec![0f32; w * my * mz];
        for (line, nodes) in lines.chunks_exact_mut(w).zip(nodes.chunks_exact(mx)) {
            for (o, (i, k)) in line.iter_mut().zip(&axes[0].samples) {
                let c = &nodes[*i..*i + 4];
                *o = k[0] * c[0] + k[1] * c[1] + k[2] * c[2] + k[3] * c[3];
            }
        }
        let mut planes = vec![0f32; w * h * mz];
        for (plane, lines) in planes
            .chunks_exact_mut(w * h)
            .zip(lines.chunks_exact(w * my))
        {
            expand(&axes[1].samples, w, lines, plane);
        }
        expand(&axes[2].samples, w * h, &planes, out);
    }

    /// Node values, `[z][y][x]`, scaled so that the field has variance 1.
    fn nodes(&self, axes: &[Axis; 3]) -> Vec<f32> {
        let border = if self.band { 2 } else { 0 };
        let size = [0, 1, 2].map(|a| axes[a].nodes + 2 * border);
        let start = [0, 1, 2].map(|a| axes[a].first - border as i64);
        let mut raw = Vec::with_capacity(size.iter().product());
        for z in 0..size[2] as i64 {
            for y in 0..size[1] as i64 {
                for x in 0..size[0] as i64 {
                    let node = [start[0] + x, start[1] + y, start[2] + z];
                    raw.push(normal(self.seed, node) * self.gain());
                }
            }
        }
        if self.band {
            raw = without_low(&raw, size);
        }
        raw
    }

    /// One over the standard deviation of the interpolated field.
    fn gain(&self) -> f32 {
        let b = OVERLAP[0];
        if !self.band {
            return (1.0 / (b * b * b).sqrt()) as f32;
        }
        let g = SMOOTH.map(f64::from);
        let (mut bg, mut gg) = (0.0, 0.0);
        for (i, gi) in g.iter().enumerate() {
            bg += gi * OVERLAP[i.abs_diff(2).min(3)];
            for (j, gj) in g.iter().enumerate() {
                gg += gi * gj * OVERLAP.get(i.abs_diff(j)).copied().unwrap_or(0.0);
            }
        }
        (1.0 / (b.powi(3) - 2.0 * bg.powi(3) + gg.powi(3)).sqrt()) as f32
    }
}

/// Interpolates rows of `len` values along the slower axis.
fn expand(samples: &[(usize, [f32; 4])], len: usize, nodes: &[f32], out: &mut [f32]) {
    for (out, (i, k)) in out.chunks_exact_mut(len).zip(samples) {
        let row = |j: usize| &nodes[(i + j) * len..][..len];
        let (a, b, c, d) = (row(0), row(1), row(2), row(3));
        for x in 0..len {
            out[x] = k[0] * a[x] + k[1] * b[x] + k[2] * c[x] + k[3] * d[x];
        }
    }
}

/// Subtracts the low-pass; the result has two nodes less on every side.
fn without_low(raw: &[f32], size: [usize; 3]) -> Vec<f32> {
    let mut low = raw.to_vec();
    let strides = [1, size[0], size[0] * size[1]];
    for stride in strides {
        let source = low.clone();
        for i in 2 * stride..low.len() - 2 * stride {
            let tap = |j: usize| SMOOTH[j] * source[i + j * stride - 2 * stride];
            low[i] = tap(0) + tap(1) + tap(2) + tap(3) + tap(4);
        }
    }
    let mut out = Vec::with_capacity(raw.len());
    for z in 2..size[2] - 2 {
        for y in 2..size[1] - 2 {
            let at = z * strides[2] + y * strides[1];
            let row = at + 2..at + size[0] - 2;
            out.extend(raw[row.clone()].iter().zip(&low[row]).map(|(r, l)| r - l));
        }
    }
    out
}

/// Smooth step from 0 to 1 while `t` goes from -1 to 1.
#[inline]
pub(super) fn step(t: f32) -> f32 {
    let t = t.clamp(-1.0, 1.0);
    0.5 + t * (0.75 - 0.25 * t * t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_variance_one_and_no_seams() {
        for (spacing, band) in [(3, true), (4, false), (5, true)] {
            let field = Lattice {
                seed: 7,
                spacing,
                band,
            };
            let brick = Brick {
                start: [-20, 5, 90],
                size: [120, 100, 60],
            };
            let mut whole = vec![0f32; brick.voxels()];
            field.fill(&brick, &mut whole);
            let n = whole.len() as f32;
            let mean = whole.iter().sum::<f32>() / n;
            let variance = whole.iter().map(|v| v * v).sum::<f32>() / n - mean * mean;
            assert!(
                mean.abs() < 0.05 && (variance - 1.0).abs() < 0.1,
                "{mean} {variance}"
            );
            let part = Brick {
                start: [3, 40, 101],
                size: [9, 17, 4],
            };
            let mut cut = vec![0f32; part.voxels()];
            field.fill(&part, &mut cut);
            for (i, v) in cut.iter().enumerate() {
                let (x, y, z) = (i % 9 + 23, i / 9 % 17 + 35, i / 153 + 11);
                assert_eq!(*v, whole[(z * 100 + y) * 120 + x]);
            }
        }
    }

    #[test]
    fn white_noise_is_white() {
        let brick = Brick {
            start: [0; 3],
            size: [64, 64, 64],
        };
        let (mut a, mut b) = (vec![0f32; brick.voxels()], vec![0f32; brick.voxels()]);
        white(3, &brick, &mut a, &mut b);
        let n = a.len() as f32;
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>() / n;
        assert!((dot(&a, &a) - 1.0).abs() < 0.01 && (dot(&b, &b) - 1.0).abs() < 0.01);
        assert!(dot(&a, &b).abs() < 0.01 && dot(&a, &a[1..]).abs() < 0.01);
    }
}
