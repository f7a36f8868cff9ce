//! What a step will do to a volume, from the sizes of its coefficients: no voxel is coded for it.
//!
//! Owns counts of coefficients by magnitude and split, for some blocks or all, and formulas that
//! turn them into error, bytes and SSIM at any step. They are right in shape and wrong by a factor,
//! which [`super::fit`] learns from measurements.

use super::super::job::Job;
use super::super::masked::filled;
use crate::Result;
use crate::codec::Quantiser;
use crate::codec::bands::BlockShape;
use crate::encode::Preset;
use crate::encode::forward::forward;

/// Levels of detail that SSIM is about, and splits that are kept apart; the last one holds all
/// that are coarser.
pub(super) const DEPTHS: usize = 4;
/// Bins of magnitudes for each octave; they are equally wide within it.
const PER_OCTAVE: usize = 4;
/// log2 of the smallest magnitude that is counted, as a share of the range of values.
const LOWEST: i32 = -22;
const BINS: usize = 100;

/// Up to how many steps a magnitude surely becomes 0, and from where on it surely does not: without
/// a search for better indices, and with one, which gives up what costs more than it brings.
const DEAD: (f64, f64) = (0.5, 0.8);
const DEAD_SEARCHED: (f64, f64) = (0.6, 1.0);
/// Squared error of a coefficient that is coded, in squares of the step.
const LEFT: f64 = 0.095;
/// Bits of a coefficient that is coded, beside those that say where: sign and smallest magnitude.
const SIGN_BITS: f64 = 1.5;
/// What contexts of the coder leave of bits that say where coefficients are.
const CONTEXTS: f64 = 0.82;
/// Bits of a coefficient for each octave that it is over the smallest that is coded: a coder of
/// layers takes more than one.
const OCTAVE_BITS: f64 = 1.3;
/// What blocks that are not the same all over take from SSIM, beside a block that is.
const UNEVEN: f64 = 1.3;
/// C2 of SSIM for values of range 1.
const C2: f64 = 0.03 * 0.03;

type Counts = [[u32; BINS]; DEPTHS];

/// Magnitudes of one block.
struct BlockSpectrum {
    block: [u64; 3],
    voxels: f64,
    counts: Box<Counts>,
    /// Sum of squares for each split, in squares of the range.
    energy: [f64; DEPTHS],
}

/// What a step does to one block.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Outcome {
    /// Bytes of payload.
    pub(super) bytes: f64,
    /// Sum of squared errors in units of `q`.
    pub(super) sse: f64,
    /// 1 - SSIM at each level of detail, times voxels.
    dissimilarity: [f64; DEPTHS],
    voxels: f64,
}

/// Magnitudes of the coefficients of some blocks.
pub(crate) struct Spectrum {
    blocks: Vec<BlockSpectrum>,
    /// Range of values, in units of `q`.
    span: f64,
    integers: bool,
    dead: (f64, f64),
}

/// How coefficients of each bin fare at a step.
struct Fate {
    /// Share that is coded.
    coded: [f64; BINS],
    /// Squared error in squares of the range.
    error: [f64; BINS],
    /// Bits of one that is coded.
    bits: [f64; BINS],
}

/// Middle of a bin as a share of the range.
fn magnitude(bin: usize) -> f64 {
    let inside = 1.0 + ((bin % PER_OCTAVE) as f64 + 0.5) / PER_OCTAVE as f64;
    inside * f64::from(LOWEST + (bin / PER_OCTAVE) as i32).exp2()
}

impl Fate {
    /// For a step as a share of the range.
    fn new(step: f64, dead: (f64, f64)) -> Self {
        let mut fate = Self {
            coded: [0.0; BINS],
            error: [0.0; BINS],
            bits: [0.0; BINS],
        };
        for bin in 0..BINS {
            let steps = magnitude(bin) / step;
            let coded = ((steps - dead.0) / (dead.1 - dead.0)).clamp(0.0, 1.0);
            fate.coded[bin] = coded;
            fate.error[bin] = ((1.0 - coded) * steps * steps + coded * LEFT) * step * step;
            fate.bits[bin] = CONTEXTS * SIGN_BITS + OCTAVE_BITS * (steps / 0.7).max(1.0).log2();
        }
        fate
    }
}

/// Bits per event of a binary source of probability `p`.
fn entropy(p: f64) -> f64 {
    let part = |p: f64| if p > 0.0 { -p * p.log2() } else { 0.0 };
    part(p) + part(1.0 - p)
}

/// Chance that a normal variable of deviation 1 is over `x`, 0 or more.
fn tail(x: f64) -> f64 {
    // Abramowitz and Stegun, 26.2.17: right to 1e-7.
    let t = 1.0 / (1.0 + 0.231_641_9 * x);
    let sum = t
        * (0.319_381_530
            + t * (-0.356_563_782
                + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    sum * (-x * x / 2.0).exp() * 0.398_942_28
}

/// Mean squared error after rounding to integers, of normal errors of mean square `mse`.
fn rounded(mse: f64, integers: bool) -> f64 {
    if !integers || mse > 4.0 || mse <= 0.0 {
        return mse + if mse > 0.0 { 1.0 / 12.0 } else { 0.0 };
    }
    let deviation = mse.sqrt();
    let beyond = |k: f64| 2.0 * tail((k - 0.5) / deviation);
    (1..12)
        .map(|k| f64::from(2 * k - 1) * beyond(f64::from(k)))
        .sum()
}

impl BlockSpectrum {
    fn new(block: [u64; 3], shape: BlockShape, values: &[f32], norm: &Norm<'_>) -> Self {
        let mut coefficients = values.to_vec();
        forward(&mut coefficients, &mut Vec::new(), &shape);
        let mut out = Self {
            block,
            voxels: values.len() as f64,
            counts: Box::new([[0; BINS]; DEPTHS]),
            energy: [0.0; DEPTHS],
        };
        for depth in 0..shape.depth {
            for band in (1..8)
                .map(|i| shape.band(depth, i))
                .filter(|b| !b.is_empty())
            {
                let scale = norm.of(&shape, &band);
                for row in crate::codec::rows(&shape, &band) {
                    out.count(depth.min(DEPTHS - 1), &coefficients[row], scale);
                }
            }
        }
        for (energy, counts) in out.energy.iter_mut().zip(out.counts.iter()) {
            let squares = |(bin, &n): (usize, &u32)| f64::from(n) * magnitude(bin).powi(2);
            *energy = counts.iter().enumerate().map(squares).sum();
        }
        out
    }

    fn count(&mut self, depth: usize, coefficients: &[f32], scale: f32) {
        let first = (127 + LOWEST) << 2;
        for c in coefficients {
            let bin = ((c * scale).abs().to_bits() >> 21).cast_signed() - first;
            if bin >= 0 {
                self.counts[depth][(bin as usize).min(BINS - 1)] += 1;
            }
        }
    }

    fn outcome(&self, fate: &Fate, span: f64, integers: bool) -> Outcome {
        let (mut bits, mut errors) = (0.0, [0.0; DEPTHS]);
        for (depth, counts) in self.counts.iter().enumerate() {
            let (mut coded, mut all) = (0.0, 0.0);
            for (bin, &n) in counts.iter().enumerate().filter(|(_, n)| **n > 0) {
                let n = f64::from(n);
                all += n;
                coded += n * fate.coded[bin];
                bits += n * fate.coded[bin] * fate.bits[bin];
                errors[depth] += n * fate.error[bin];
            }
            bits += CONTEXTS * all * entropy((coded / f64::max(all, 1.0)).min(1.0));
        }
        let sum = |of: &[f64; DEPTHS], from: usize, to: usize| -> f64 {
            of[from..to.min(DEPTHS)].iter().sum::<f64>() / self.voxels
        };
        let mut dissimilarity = [0.0; DEPTHS];
        for (lod, out) in dissimilarity.iter_mut().enumerate() {
            let error = sum(&errors, lod, DEPTHS);
            let spread = 2.0 * sum(&self.energy, lod, lod + 3) - error;
            *out = self.voxels * UNEVEN * error / (spread.max(error) + C2);
        }
        Outcome {
            bytes: bits / 8.0,
            sse: self.voxels * rounded(sum(&errors, 0, DEPTHS) * span * span, integers),
            dissimilarity,
            voxels: self.voxels,
        }
    }
}

/// What makes a coefficient's magnitude that of a step in the value domain.
struct Norm<'a> {
    quantiser: &'a Quantiser,
    span: f64,
}

impl Norm<'_> {
    fn of(&self, shape: &BlockShape, band: &crate::codec::bands::Band) -> f32 {
        let step = self.quantiser.step(shape, band) as f64 / 256.0;
        (f64::from(self.quantiser.value_step()) / step / self.span) as f32
    }
}

impl Outcome {
    fn add(self, other: Self) -> Self {
        Self {
            bytes: self.bytes + other.bytes,
            sse: self.sse + other.sse,
            dissimilarity: std::array::from_fn(|i| self.dissimilarity[i] + other.dissimilarity[i]),
            voxels: self.voxels + other.voxels,
        }
    }

    /// Mean squared error in units of `q`.
    pub(super) fn mse(&self) -> f64 {
        self.sse / self.voxels.max(1.0)
    }

    /// Bytes for each voxel.
    pub(super) fn density(&self) -> f64 {
        self.bytes / self.voxels.max(1.0)
    }

    /// 1 - SSIM at each level of detail.
    pub(super) fn dissimilarity(&self) -> [f64; DEPTHS] {
        self.dissimilarity.map(|d| d / self.voxels.max(1.0))
    }
}

impl Spectrum {
    /// Transforms these blocks of tier 0 and counts.
    ///
    /// # Errors
    /// As reading the source; [`crate::Error::Cancelled`].
    pub(super) fn of(job: &Job<'_>, blocks: &[[u64; 3]]) -> Result<Self> {
        let span = job.span();
        let (model, _) = job.models(span).of_tier(0);
        let quantiser = Quantiser::new(&model, model.qualities - 1);
        let norm = Norm {
            quantiser: &quantiser,
            span,
        };
        let (masked, low) = (job.scan.masked, job.scan.q_min);
        let blocks = job.each_block(blocks, |block, shape, values| {
            if masked {
                BlockSpectrum::new(block, shape, &filled(values, low), &norm)
            } else {
                BlockSpectrum::new(block, shape, values, &norm)
            }
        })?;
        Ok(Self {
            blocks,
            span,
            integers: !job.source.dtype().is_float(),
            dead: match job.options.preset {
                Preset::Fast => DEAD,
                Preset::Balanced | Preset::Best => DEAD_SEARCHED,
            },
        })
    }

    /// What a step of 2^x, in units of `q`, does to each block.
    fn outcomes(&self, x: f64) -> impl Iterator<Item = Outcome> {
        let fate = Fate::new(x.exp2() / self.span, self.dead);
        let all = self.blocks.iter();
        all.map(move |b| b.outcome(&fate, self.span, self.integers))
    }

    /// What it does to all of them.
    pub(super) fn outcome(&self, x: f64) -> Outcome {
        self.outcomes(x).fold(Outcome::default(), Outcome::add)
    }

    /// About `wanted` of the blocks, those with a large share of what `of` adds up more likely;
    /// in order, without repetition.
    pub(super) fn weighty(
        &self,
        wanted: usize,
        x: f64,
        of: impl Fn(&Outcome) -> f64,
    ) -> Vec<[u64; 3]> {
        let weights: Vec<f64> = self.outcomes(x).map(|o| of(&o) + 1e-9 * o.voxels).collect();
        let every = weights.iter().sum::<f64>() / wanted.max(1) as f64;
        let (mut sum, mut next) = (0.0, every / 2.0);
        let mut out = Vec::new();
        for (spectrum, weight) in self.blocks.iter().zip(weights) {
            sum += weight;
            if sum > next {
                out.push(spectrum.block);
                next += ((sum - next) / every).ceil().max(1.0) * every;
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_under_half_a_unit_vanish_and_large_ones_grow_by_a_twelfth() {
        assert!(rounded(0.01, true) < 1e-5);
        assert!((rounded(3.0, true) - 3.0 - 1.0 / 12.0).abs() < 0.01);
        assert!((rounded(9.0, false) - 9.0 - 1.0 / 12.0).abs() < 1e-9);
        assert_eq!(rounded(0.0, true), 0.0);
    }

    #[test]
    fn bins_hold_their_magnitudes() {
        for bin in 0..BINS {
            let bits = (magnitude(bin) as f32).to_bits() >> 21;
            assert_eq!(bits as i32 - ((127 + LOWEST) << 2), bin as i32);
        }
    }
}
