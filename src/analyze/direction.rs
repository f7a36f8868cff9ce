//! Changes of the direction of the gradient: the complexity metric of [the module](super).

use crate::quality::TurningSums;

/// Gradients shorter than this, in parts of the range per voxel, are taken for noise or nothing: one
/// grey level of 8-bit data.
pub const NOISE_THRESHOLD: f64 = 1.0 / 256.0;

/// Sums over pairs of neighbouring voxels.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Turning {
    /// Sum of weights.
    weight: f64,
    /// Sum of weight x angle in radians.
    turned: f64,
    /// Sum of squared gradient lengths.
    squares: f64,
    /// Voxels under the threshold, and all that have a gradient.
    flat: u64,
    voxels: u64,
}

impl Turning {
    /// Of values `[z][y][x]`. Voxels on the faces of the box have no central difference and are left out.
    pub(super) fn of(values: &[f32], extent: [usize; 3]) -> Self {
        let mut sums = Self::default();
        if extent.iter().any(|&e| e < 3) {
            return sums;
        }
        let field = directions(values, extent, &mut sums);
        let [w, h, d] = extent.map(|e| e - 2);
        let strides = [1, w, w * h];
        for z in 0..d {
            for y in 0..h {
                let at = (z * h + y) * w;
                let row = &field[at..at + w];
                sums.pairs(&row[..w - 1], &row[1..]);
                for (inside, stride) in [(y + 1 < h, strides[1]), (z + 1 < d, strides[2])] {
                    if inside {
                        sums.pairs(row, &field[at + stride..][..w]);
                    }
                }
            }
        }
        sums
    }

    /// What a device made of them.
    pub(super) fn of_device(sums: &TurningSums) -> Self {
        Self {
            weight: sums.weight,
            turned: sums.turned,
            squares: sums.squares,
            flat: sums.flat,
            voxels: sums.voxels,
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.weight += other.weight;
        self.turned += other.turned;
        self.squares += other.squares;
        self.flat += other.flat;
        self.voxels += other.voxels;
    }

    /// The metric, 0 to 1.
    pub(super) fn complexity(&self) -> f64 {
        if self.weight > 0.0 {
            self.turned / (std::f64::consts::PI * self.weight)
        } else {
            0.0
        }
    }

    /// Share of voxels whose gradient is under the threshold; 1 if there is no voxel.
    pub(super) fn flat_share(&self) -> f64 {
        if self.voxels == 0 {
            return 1.0;
        }
        self.flat as f64 / self.voxels as f64
    }

    /// Root of the mean squared length of the gradient, in parts of the range per voxel.
    pub(super) fn gradient_rms(&self) -> f64 {
        (self.squares / self.voxels.max(1) as f64).sqrt()
    }

    fn pairs(&mut self, a: &[[f32; 4]], b: &[[f32; 4]]) {
        let (mut weight, mut turned) = (0.0, 0.0);
        for (a, b) in a.iter().zip(b) {
            let dot = a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
            let both = a[3] > 0.0 && b[3] > 0.0;
            let w = if both { a[3] + b[3] } else { 0.0 };
            weight += w;
            turned += w * arc_cosine(dot);
        }
        self.weight += f64::from(weight);
        self.turned += f64::from(turned);
    }
}

/// Unit gradient and its length for every voxel that has neighbours on all sides, `[z][y][x]`; zeros
/// under the threshold.
fn directions(values: &[f32], extent: [usize; 3], sums: &mut Turning) -> Vec<[f32; 4]> {
    let [w, h, d] = extent;
    let slice = w * h;
    let mut out = Vec::with_capacity((w - 2) * (h - 2) * (d - 2));
    for z in 1..d - 1 {
        for y in 1..h - 1 {
            let at = (z * h + y) * w;
            let mut squares = 0.0;
            for x in at + 1..at + w - 1 {
                let g = [
                    values[x + 1] - values[x - 1],
                    values[x + w] - values[x - w],
                    values[x + slice] - values[x - slice],
                ]
                .map(|v| 0.5 * v);
                let square = g[0] * g[0] + g[1] * g[1] + g[2] * g[2];
                squares += square;
                out.push(direction(g, square));
            }
            sums.squares += f64::from(squares);
        }
    }
    sums.voxels += out.len() as u64;
    sums.flat += out.iter().filter(|g| g[3] <= 0.0).count() as u64;
    out
}

fn direction(g: [f32; 3], square: f32) -> [f32; 4] {
    let length = square.sqrt();
    if length < NOISE_THRESHOLD as f32 {
        return [0.0; 4];
    }
    let inverse = 1.0 / length;
    [g[0] * inverse, g[1] * inverse, g[2] * inverse, length]
}

/// Angle of a cosine in radians, within 0.0001 (Abramowitz and Stegun 4.4.45): the same everywhere, and fast.
fn arc_cosine(cosine: f32) -> f32 {
    let c = cosine.abs().min(1.0);
    let poly = 1.570_728_8 + c * (-0.212_114_4 + c * (0.074_261 - c * 0.018_729_3));
    let acute = (1.0 - c).sqrt() * poly;
    if cosine < 0.0 {
        std::f32::consts::PI - acute
    } else {
        acute
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(f: impl Fn([f32; 3]) -> f32) -> Turning {
        let mut values = Vec::new();
        for z in 0..40 {
            for y in 0..40 {
                for x in 0..40 {
                    values.push(f([x as f32, y as f32, z as f32]));
                }
            }
        }
        Turning::of(&values, [40; 3])
    }

    #[test]
    fn known_fields_have_known_complexity() {
        let ramp = field(|p| 0.01 * p[0] + 0.02 * p[1] - 0.005 * p[2]);
        assert!(ramp.complexity() < 1e-3, "{ramp:?}");
        assert!((ramp.gradient_rms() - 0.022_913).abs() < 1e-5);
        assert_eq!(field(|_| 0.5).complexity(), 0.0);
        assert_eq!(field(|p| p[0] * 0.003).flat_share(), 1.0);
        // Around an axis the direction turns by 1 / radius a voxel, across the radius only.
        let around = field(|p| 0.02 * ((p[0] + 30.0).powi(2) + p[1].powi(2)).sqrt());
        let (mut turns, mut places) = (0.0, 0.0);
        for (x, y) in
            (1..39).flat_map(|x| (1..39).map(move |y| (f64::from(x) + 30.0, f64::from(y))))
        {
            turns += (x + y) / (x * x + y * y);
            places += 1.0;
        }
        let expected = turns / places / std::f64::consts::PI / 3.0;
        let off = around.complexity() / expected - 1.0;
        assert!(off.abs() < 0.05, "{off} {around:?}");
    }

    #[test]
    fn noise_is_one_half() {
        let mut state = 1u64;
        let noise: Vec<f32> = (0..40 * 40 * 40)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 40) as f32 / (1 << 24) as f32
            })
            .collect();
        let c = Turning::of(&noise, [40; 3]).complexity();
        assert!((c - 0.5).abs() < 0.005, "{c}");
    }

    #[test]
    fn the_polynomial_is_the_arc_cosine() {
        for i in -1000..=1000 {
            let c = i as f32 / 1000.0;
            assert!((arc_cosine(c) - c.acos()).abs() < 1.5e-4, "{c}");
        }
    }
}
