//! The magnitude of vorticity in a turbulent flow, more or less.
//!
//! Octaves of lattice noise with the energy spectrum k^(-5/3) go through an exponential, which
//! makes strong events rare and clustered; thin tubes lie where two more fields are both zero.

use hgv::volume::{DType, Metadata};

use super::lattice::{Lattice, stream};
use super::{Brick, Kind};

/// Turbulence with structures up to `scale` voxels.
#[derive(Debug, Clone)]
pub struct Turbulence {
    /// Octaves and their amplitudes; variances add up to 1.
    octaves: Vec<(Lattice, f32)>,
    /// Pairs of fields whose common zeros are tubes, with the width and strength of the tubes.
    tubes: Vec<([Lattice; 2], f32, f32)>,
}

/// Strength of the exponential: larger is more intermittent.
const INTERMITTENCY: f32 = 0.75;
/// Typical value.
const TYPICAL: f32 = 6.0;

impl Turbulence {
    /// Turbulence whose largest structures span about `scale` voxels.
    pub fn new(seed: u64, scale: u32) -> Self {
        let field = |salt: u64, spacing: i64| Lattice {
            seed: stream(seed, salt),
            spacing,
            band: true,
        };
        let mut octaves = Vec::new();
        let mut spacing = i64::from(scale.max(8)) / 2;
        let mut salt = 1;
        while spacing >= 3 {
            // Energy k^(-5/3) per wave number is variance k^(-2/3) per octave.
            octaves.push((field(salt, spacing), (spacing as f32).cbrt()));
            spacing /= 2;
            salt += 1;
        }
        let total = octaves.iter().map(|(_, a)| a * a).sum::<f32>().sqrt();
        octaves.iter_mut().for_each(|(_, a)| *a /= total);
        let tubes = vec![
            ([field(101, 9), field(102, 9)], 0.55, 2.2),
            ([field(103, 5), field(104, 5)], 0.60, 1.6),
        ];
        Self { octaves, tubes }
    }
}

impl Kind for Turbulence {
    fn dtypes(&self) -> &'static [DType] {
        &[DType::Float32]
    }

    fn metadata(&self) -> Metadata {
        Metadata::default()
    }

    fn fill(&self, _dtype: DType, brick: &Brick, out: &mut [f32]) {
        let n = brick.voxels();
        let (mut a, mut b) = (vec![0f32; n], vec![0f32; n]);
        let mut log = vec![0f32; n];
        for (field, amplitude) in &self.octaves {
            field.fill(brick, &mut a);
            for (l, a) in log.iter_mut().zip(&a) {
                *l += amplitude * a;
            }
        }
        out.fill(0.45);
        for ([first, second], width, strength) in &self.tubes {
            first.fill(brick, &mut a);
            second.fill(brick, &mut b);
            let narrow = 1.0 / (width * width);
            for ((o, a), b) in out.iter_mut().zip(&a).zip(&b) {
                let core = 1.0 / (1.0 + (a * a + b * b) * narrow);
                *o += strength * core * core;
            }
        }
        for (o, l) in out.iter_mut().zip(&log) {
            *o *= TYPICAL * exp2(l * (INTERMITTENCY * std::f32::consts::LOG2_E));
        }
    }
}

/// 2^x for |x| < 120 with a relative error under 1e-5: plain arithmetic, the same on every
/// machine (the system's own function need not be).
fn exp2(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    let whole = (x + ROUND) - ROUND;
    let f = x - whole;
    let p = 1.333_356e-3;
    let p = p * f + 9.618_129e-3;
    let p = p * f + 5.550_411e-2;
    let p = p * f + 2.402_265e-1;
    let p = p * f + std::f32::consts::LN_2;
    let p = p * f + 1.0;
    p * f32::from_bits(((whole as i32 + 127) << 23) as u32)
}

#[cfg(test)]
mod tests {
    #[test]
    fn powers_of_two() {
        for i in -300..300 {
            let x = i as f32 * 0.1;
            let (found, exact) = (super::exp2(x), f64::from(x).exp2());
            assert!((f64::from(found) / exact - 1.0).abs() < 1e-5, "{x}");
        }
    }
}
