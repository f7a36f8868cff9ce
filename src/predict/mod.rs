//! What an encode should come to, before any voxel is coded: the paper's automatic parameters.
//!
//! Owns the trained network and what is made of its answers; must not know the codec, which it has only seen
//! from the outside: `tools/bench/predictor` encodes volumes, and trains. Nothing here is part of the file format;
//! a search that starts from a prediction still measures what it promises.
//!
//! The network has two hidden layers. It is asked once for each exponent `log2(range / step)` from 0 to 12 in
//! quarters, and corrects the expected losses of [`crate::analyze::LossCurves`]: SSIM at four levels of detail,
//! PSNR and bits per voxel. So four SSIM targets at once, a PSNR or a size are met by looking along a curve that only
//! rises.
//!
//! The model kind and the size of hash tables are not predicted, because there is nothing to choose: wavelets took
//! fewer bytes than grids on every volume measured, and dense grids fewer than hashed ones.

mod network;

use serde::Serialize;

use crate::Result;
use crate::analyze::{Analysis, EXPONENTS, Features, LODS, LossCurves};
use network::Network;

/// Weights, made by `tools/bench/predictor/train.py`.
const WEIGHTS: &str = include_str!("weights.json");

/// Exponents for which there is a prediction: 0 to 12 in quarters.
const STEPS: usize = 4 * (EXPONENTS - 1) + 1;
/// Numbers that the network is given, in the order of [`inputs`].
const INPUTS: usize = 20;
/// Numbers that it answers: SSIM at four levels of detail, PSNR, bits.
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
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Rows of [`OUTPUTS`] numbers, each at least as large as in the row before: `-log10(1 - SSIM)` at four
    /// levels of detail, PSNR in dB, log2 of bits per voxel.
    rows: Vec<[f64; OUTPUTS]>,
    /// Which levels of detail have SSIM.
    has_ssim: [bool; LODS],
}

/// Predicts what encodes of the volume with preset balanced come to. Takes well under a millisecond.
///
/// # Errors
/// [`crate::Error::Unsupported`] if the weights that were built in do not fit this version.
pub fn predict(analysis: &Analysis) -> Result<Prediction> {
    let network = Network::parse(WEIGHTS, INPUTS, OUTPUTS)?;
    let shortest = analysis.extent.into_iter().min().unwrap_or(0);
    Ok(Prediction::new(
        &network,
        &analysis.features,
        std::array::from_fn(|lod| shortest >> lod >= WINDOW),
    ))
}

impl Prediction {
    fn new(network: &Network, features: &Features, has_ssim: [bool; LODS]) -> Self {
        let mut rows: Vec<[f64; OUTPUTS]> = Vec::with_capacity(STEPS);
        for i in 0..STEPS {
            let mut row = expected(network, features, exponent_of(i));
            if let Some(last) = rows.last() {
                for (value, before) in row.iter_mut().zip(last) {
                    *value = value.max(*before);
                }
            }
            rows.push(row);
        }
        Self { rows, has_ssim }
    }

    /// The smallest exponent log2(range / step) whose SSIM meets all four targets, 0 to 12; targets of
    /// levels of detail that have no SSIM do not count. 12 if none does.
    pub fn exponent_for_ssim(&self, wanted: [f64; LODS]) -> f64 {
        let needed = |lod: usize| self.first(lod, decades(wanted[lod]));
        (0..LODS)
            .filter(|&lod| self.has_ssim[lod])
            .map(needed)
            .fold(0.0, f64::max)
    }

    /// The smallest exponent that has this PSNR in dB, 0 to 12.
    pub fn exponent_for_psnr(&self, db: f64) -> f64 {
        self.first(LODS, db)
    }

    /// The exponent that takes this many bits per voxel, 0 to 12.
    pub fn exponent_for_bits(&self, bits_per_voxel: f64) -> f64 {
        self.first(LODS + 1, bits_per_voxel.max(1e-6).log2())
    }

    /// What an encode at `exponent` comes to; outside 0 to 12 that at the nearer end.
    pub fn at(&self, exponent: f64) -> Expected {
        let exponent = exponent.clamp(0.0, exponent_of(STEPS - 1));
        let row: [f64; OUTPUTS] = {
            let i = (exponent * 4.0).floor().min(STEPS as f64 - 2.0);
            let (low, high) = (&self.rows[i as usize], &self.rows[i as usize + 1]);
            let t = exponent * 4.0 - i;
            std::array::from_fn(|o| low[o] + t * (high[o] - low[o]))
        };
        let ssim = |lod: usize| self.has_ssim[lod].then(|| 1.0 - 10f64.powf(-row[lod]));
        Expected {
            exponent,
            ssim: std::array::from_fn(ssim),
            psnr: row[LODS],
            bits_per_voxel: row[LODS + 1].exp2(),
        }
    }

    /// Where output `o` first reaches `value`.
    fn first(&self, o: usize, value: f64) -> f64 {
        let Some(i) = self.rows.iter().position(|row| row[o] >= value) else {
            return exponent_of(STEPS - 1);
        };
        if i == 0 {
            return 0.0;
        }
        let (low, high) = (self.rows[i - 1][o], self.rows[i][o]);
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
    let mut row = std::array::from_fn(|o| base[o] + correction[o]);
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
    let log = |v: f64| v.max(1.0 / 262_144.0).log2();
    let [c0, c1, c2, c3] = f.complexity;
    let slope = |lod: usize| log(f.detail[lod]) - log(f.detail[lod + 1]);
    let [b0, b1, b2, b3, psnr, bits] = *base;
    [
        exponent,
        c0,
        c1,
        c2,
        c3,
        f.flat,
        log(f.std),
        log(f.gradient),
        log(f.high_frequency),
        (log(f.noise) + exponent).clamp(-8.0, 8.0),
        (f.depth - exponent).clamp(-2.0, 6.0),
        slope(0),
        slope(1),
        slope(2),
        b0,
        b1,
        b2,
        b3,
        psnr,
        bits,
    ]
}

#[cfg(test)]
mod tests;
