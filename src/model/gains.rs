//! Synthesis gains of the CDF 9/7 bands (specification, "Step of a band").
//!
//! One step for the whole volume means one step *in the value domain*; a band whose synthesis
//! filter has a large norm needs a finer step. Only per-axis gains are stored: the transform is
//! separable, so the gain of a band is the product over its axes.

/// CDF 9/7 lifting constants: predict 1, update 1, predict 2, update 2, and the low-pass gain.
pub const LIFTING: [f64; 5] = [
    -1.586_134_342_059_924,
    -0.052_980_118_572_961,
    0.882_911_075_530_934,
    0.443_506_852_043_971,
    1.230_174_104_914_001,
];

/// `65536 / norm` of a low-pass input at depth 0..=5, fed unscaled to the lifting.
const LOW: [u64; 6] = [57_500, 39_707, 27_789, 19_591, 13_842, 9_786];
/// The same for a high-pass input.
const HIGH: [u64; 6] = [73_862, 54_169, 36_945, 25_689, 18_075, 12_764];
/// The same for the coarsest band, whose values are scaled by the low-pass gain first.
const COARSEST: [u64; 6] = [46_741, 32_278, 22_590, 15_925, 11_252, 7_955];

/// Whether an axis of a band is split, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AxisPart {
    /// The axis has one sample left of this many voxels and is not split any more.
    Whole(usize),
    /// Low-pass part of a band that is high-pass on another axis.
    Low,
    /// High-pass part.
    High,
    /// Part of the coarsest band.
    Coarsest,
}

/// Step of a band, in 1/256 of a working unit, from the value-domain step in 1/65536 of one.
///
/// `depth` counts transform levels from the finest (0). At least 1.
pub fn band_step(step_q16: u64, depth: usize, parts: [AxisPart; 3]) -> i64 {
    let depth = depth.min(LOW.len() - 1);
    let mut step = u128::from(step_q16);
    for part in parts {
        let gain = match part {
            // One sample stands for all n voxels: its norm is the root of n.
            AxisPart::Whole(n) => ((1u64 << 32) / n.max(1) as u64).isqrt(),
            AxisPart::Low => LOW[depth],
            AxisPart::High => HIGH[depth],
            AxisPart::Coarsest => COARSEST[depth],
        };
        step = (step * u128::from(gain)) >> 16;
    }
    i64::try_from(((step + 128) >> 8).clamp(1, 1 << 40)).unwrap_or(1 << 40)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Inverse lifting of `low` and `high` in f64, borders mirrored.
    fn inverse(low: &[f64], high: &[f64]) -> Vec<f64> {
        let [a, b, g, d, _] = LIFTING;
        let (mut s, mut h) = (low.to_vec(), high.to_vec());
        let at = |v: &[f64], i: isize| v[i.clamp(0, v.len() as isize - 1) as usize];
        for (c, even) in [(d, true), (g, false), (b, true), (a, false)] {
            if even {
                for (i, s) in s.iter_mut().enumerate() {
                    *s -= c * (at(&h, i as isize - 1) + at(&h, i as isize));
                }
            } else {
                for (i, h) in h.iter_mut().enumerate() {
                    *h -= c * (at(&s, i as isize) + at(&s, i as isize + 1));
                }
            }
        }
        s.iter().zip(&h).flat_map(|(&e, &o)| [e, o]).collect()
    }

    #[test]
    fn gains_are_the_norms_of_the_synthesis_filters() {
        for depth in 0..6 {
            for (part, table) in [
                (AxisPart::Low, LOW),
                (AxisPart::High, HIGH),
                (AxisPart::Coarsest, COARSEST),
            ] {
                let (mut low, mut high) = (vec![0.0; 64], vec![0.0; 64]);
                match part {
                    AxisPart::High => high[32] = 1.0,
                    AxisPart::Coarsest => low[32] = LIFTING[4],
                    _ => low[32] = 1.0,
                }
                let mut x = inverse(&low, &high);
                for _ in 0..depth {
                    let scaled: Vec<f64> = x.iter().map(|v| v * LIFTING[4]).collect();
                    x = inverse(&scaled, &vec![0.0; scaled.len()]);
                }
                let norm = x.iter().map(|v| v * v).sum::<f64>().sqrt();
                assert_eq!(
                    (65_536.0 / norm).round() as u64,
                    table[depth],
                    "{part:?} at depth {depth}"
                );
            }
        }
    }
}
