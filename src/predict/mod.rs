//! What an encode should come to, before any voxel is coded: the paper's automatic parameters.
//!
//! Owns the trained network and what is made of its answers; must not know the codec, which it has only seen
//! from the outside: `tools/bench/predictor` encodes volumes, and trains. Nothing here is part of the file format;
//! the encoder's search for an SSIM starts from a prediction, but measures what it promises.
//!
//! Two small networks, each the mean of four that were trained from different random starts. One is asked once for
//! each exponent `log2(range / step)` from 0 to 12 in quarters, and corrects the expected losses of
//! [`crate::analyze::LossCurves`]: SSIM at four levels of detail, PSNR and bits per voxel, curves that only rise. The other is
//! given the four SSIM targets and the same description of the volume, and answers the exponent that meets them: on
//! volumes left out of training it was closer than a look along the curves (`tools/bench/results/predictor.md`).
//!
//! The model kind and the size of hash tables are not predicted, because there is nothing to choose: wavelets took
//! fewer bytes than grids on every volume measured, and dense grids fewer than hashed ones.

mod network;

use serde::{Deserialize, Serialize};

use crate::analyze::{Analysis, EXPONENTS, Features, LODS, LossCurves};
use crate::{Error, Result};
use network::Network;

/// Weights, made by `tools/bench/predictor/train.py`.
const WEIGHTS: &str = include_str!("weights.json");

/// Version of the weights file that this code reads.
const VERSION: u32 = 1;
/// Exponents for which there is a prediction: 0 to 12 in quarters.
const STEPS: usize = 4 * (EXPONENTS - 1) + 1;
/// Numbers that the first network is given, in the order of [`inputs`].
const INPUTS: usize = 13;
/// Numbers that the other network is given: the same where the uncorrected curves meet the targets, and these.
const AIMED_INPUTS: usize = INPUTS + LODS;
/// Numbers that the first answers: SSIM at four levels of detail, PSNR, bits.
const OUTPUTS: usize = LODS + 2;
/// `-log10(1 - SSIM)` beyond which nothing is told apart.
const FINEST: f64 = 6.0;
/// An axis needs this many voxels at a level of detail to have SSIM there.
const WINDOW: u64 = 7;

/// What to expect of an encode.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Expected {
    /// log2(range / step).
    pub exponent: f64,
    /// SSIM at levels of detail 0 to 3; `None` where an axis is too short for it.
    pub ssim: [Option<f64>; LODS],
    /// PSNR in dB.
    pub psnr: f64,
    /// Bits per voxel of a file with three quality levels.
    pub bits_per_voxel: f64,
}

/// Predicted quality and size of encodes with preset balanced, over the exponent.
#[derive(Debug, Clone)]
pub struct Prediction {
    features: Features,
    /// The expected losses as they are, and corrected.
    plain: Curves,
    corrected: Curves,
    networks: Networks,
    /// Which levels of detail have SSIM.
    has_ssim: [bool; LODS],
}

/// What is in the weights file.
#[derive(Debug, Clone, Deserialize)]
struct Networks {
    version: u32,
    /// Corrects the curves.
    curves: Network,
    /// Answers an exponent, less the one at which the plain curves meet the targets.
    exponent: Network,
}

/// Rows of [`OUTPUTS`] numbers for rising exponents, each at least as large as in the row before:
/// `-log10(1 - SSIM)` at four levels of detail, PSNR in dB, log2 of bits per voxel.
#[derive(Debug, Clone)]
struct Curves(Vec<[f64; OUTPUTS]>);

/// Predicts what encodes of the volume with preset balanced come to. Takes about a millisecond.
///
/// # Errors
/// [`crate::Error::Unsupported`] if the weights that were built in do not fit this version.
pub fn predict(analysis: &Analysis) -> Result<Prediction> {
    let networks = Networks::parse(WEIGHTS)?;
    let shortest = analysis.extent.into_iter().min().unwrap_or(0);
    let has_ssim = std::array::from_fn(|lod| shortest >> lod >= WINDOW);
    Ok(Prediction::new(networks, &analysis.features, has_ssim))
}

impl Networks {
    fn parse(text: &str) -> Result<Self> {
        let unfit = |why| Error::Unsupported(format!("the weights of the predictor have {why}"));
        let networks: Self =
            serde_json::from_str(text).map_err(|e| unfit(format!("no such form: {e}")))?;
        if networks.version != VERSION {
            return Err(unfit(format!(
                "version {}, not {VERSION}",
                networks.version
            )));
        }
        if networks.curves.fits(INPUTS, OUTPUTS) && networks.exponent.fits(AIMED_INPUTS, 1) {
            Ok(networks)
        } else {
            Err(unfit(
                "sizes that do not match, or numbers that are not finite".into(),
            ))
        }
    }
}

impl Prediction {
    fn new(networks: Networks, features: &Features, has_ssim: [bool; LODS]) -> Self {
        Self {
            plain: Curves::new(|exponent| clamped(base(&features.curves, exponent))),
            corrected: Curves::new(|exponent| expected(&networks.curves, features, exponent)),
            features: features.clone(),
            networks,
            has_ssim,
        }
    }

    /// The exponent log2(range / step) that meets four SSIM targets at once, 0 to 12; targets of levels of
    /// detail that have no SSIM do not count. It is as often a little too low as too high.
    pub fn exponent_for_ssim(&self, wanted: [f64; LODS]) -> f64 {
        let wanted = wanted.map(decades);
        let lods = (0..LODS).filter(|&lod| self.has_ssim[lod]);
        let plain = lods
            .map(|lod| self.plain.first(lod, wanted[lod]))
            .fold(0.0, f64::max);
        let based = base(&self.features.curves, plain);
        let mut given = inputs(&self.features, plain, &based).to_vec();
        given.extend(wanted.map(|w| w.clamp(0.0, FINEST)));
        let more: f64 = self.networks.exponent.run(&given).iter().sum();
        (plain + more).clamp(0.0, exponent_of(STEPS - 1))
    }

    /// The smallest exponent that has this PSNR in dB, 0 to 12.
    pub fn exponent_for_psnr(&self, db: f64) -> f64 {
        self.corrected.first(LODS, db)
    }

    /// The exponent that takes this many bits per voxel, 0 to 12.
    pub fn exponent_for_bits(&self, bits_per_voxel: f64) -> f64 {
        self.corrected
            .first(LODS + 1, bits_per_voxel.max(1e-6).log2())
    }

    /// What an encode at `exponent` comes to; outside 0 to 12 that at the nearer end.
    pub fn at(&self, exponent: f64) -> Expected {
        let exponent = exponent.clamp(0.0, exponent_of(STEPS - 1));
        let row = self.corrected.at(exponent);
        let ssim = |lod: usize| self.has_ssim[lod].then(|| 1.0 - 10f64.powf(-row[lod]));
        Expected {
            exponent,
            ssim: std::array::from_fn(ssim),
            psnr: row[LODS],
            bits_per_voxel: row[LODS + 1].exp2(),
        }
    }
}

impl Curves {
    fn new(row_at: impl Fn(f64) -> [f64; OUTPUTS]) -> Self {
        let mut rows: Vec<[f64; OUTPUTS]> = Vec::with_capacity(STEPS);
        for i in 0..STEPS {
            let mut row = row_at(exponent_of(i));
            if let Some(last) = rows.last() {
                for (value, before) in row.iter_mut().zip(last) {
                    *value = value.max(*before);
                }
            }
            rows.push(row);
        }
        Self(rows)
    }

    /// The row at an exponent from 0 to 12.
    fn at(&self, exponent: f64) -> [f64; OUTPUTS] {
        let i = (exponent * 4.0).floor().min(STEPS as f64 - 2.0);
        let (low, high) = (&self.0[i as usize], &self.0[i as usize + 1]);
        let t = exponent * 4.0 - i;
        std::array::from_fn(|o| low[o] + t * (high[o] - low[o]))
    }

    /// Where output `o` first reaches `value`; the last exponent if it never does.
    fn first(&self, o: usize, value: f64) -> f64 {
        let Some(i) = self.0.iter().position(|row| row[o] >= value) else {
            return exponent_of(STEPS - 1);
        };
        if i == 0 {
            return 0.0;
        }
        let (low, high) = (self.0[i - 1][o], self.0[i][o]);
        exponent_of(i - 1) + 0.25 * (value - low) / (high - low)
    }
}

/// `--quality` whose open loop has this exponent, 0 to 100.
pub fn quality_of(exponent: f64) -> f64 {
    let quality = if exponent <= 6.5 {
        (exponent - 0.5) * 10.0
    } else {
        60.0 + (exponent - 6.5) * 4.0
    };
    quality.clamp(0.0, 100.0)
}

fn exponent_of(step: usize) -> f64 {
    step as f64 / 4.0
}

/// `-log10(1 - SSIM)`.
fn decades(ssim: f64) -> f64 {
    -(1.0 - ssim).max(10f64.powf(-FINEST)).log10()
}

/// The curves corrected by the network.
fn expected(network: &Network, features: &Features, exponent: f64) -> [f64; OUTPUTS] {
    let base = base(&features.curves, exponent);
    let correction = network.run(&inputs(features, exponent, &base));
    clamped(std::array::from_fn(|o| base[o] + correction[o]))
}

/// SSIM from 0 to what is told apart.
fn clamped(mut row: [f64; OUTPUTS]) -> [f64; OUTPUTS] {
    for decades in &mut row[..LODS] {
        *decades = decades.clamp(0.0, FINEST);
    }
    row
}

/// The curves at an exponent, in the units of the outputs.
fn base(curves: &LossCurves, exponent: f64) -> [f64; OUTPUTS] {
    let i = (exponent.floor() as usize).min(EXPONENTS - 2);
    let t = exponent - i as f64;
    let at = |c: &[f64; EXPONENTS]| c[i] + t * (c[i + 1] - c[i]);
    let [a, b, c, d] = [0, 1, 2, 3].map(|lod| -at(&curves.ssim[lod]));
    [a, b, c, d, -10.0 * at(&curves.mse), at(&curves.bits)]
}

/// What the network is given, before it is normalised.
fn inputs(f: &Features, exponent: f64, base: &[f64; OUTPUTS]) -> [f64; INPUTS] {
    let [c0, c1, c2, c3] = f.complexity;
    let [b0, b1, b2, b3, psnr, bits] = *base;
    let spare = (f.depth - exponent).clamp(-2.0, 6.0);
    [
        exponent, c0, c1, c2, c3, f.flat, spare, b0, b1, b2, b3, psnr, bits,
    ]
}

#[cfg(test)]
mod tests;
