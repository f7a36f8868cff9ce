//! Sums over patches, and the features that they give.

use serde::{Deserialize, Serialize};

use super::LODS;
use super::direction::Turning;
use super::loss::{LossCurves, LossSums};
use super::patch::Patch;

/// Bins of [`super::Analysis::histogram`].
pub const HISTOGRAM_BINS: usize = 64;
/// Bins of the detail of cells, a quarter of an octave of its root each, from 2^-18 on.
const NOISE_BINS: usize = 72;
const NOISE_FLOOR: f64 = -18.0;
/// Below, a root of a mean square counts as this much: 2^-18 of the range.
const SMALLEST: f64 = 1.0 / 262_144.0;

/// What describes a volume: numbers of a like meaning for every voxel type and unit of value. Values are in
/// parts of the range `max - min` of the volume. Where the volume is too thin for a level of detail, the
/// number of the next finer one stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Features {
    /// Complexity at levels of detail 0 to 3, 0 to 1: see [the module](super).
    pub complexity: [f64; LODS],
    /// Share of voxels whose gradient is under [`super::NOISE_THRESHOLD`].
    pub flat: f64,
    /// Standard deviation of the values.
    pub std: f64,
    /// Root mean square of the gradient, per voxel.
    pub gradient: f64,
    /// Root mean square of the detail (what its neighbours do not say about a voxel) at levels of detail 0 to 3.
    pub detail: [f64; LODS],
    /// Share of the detail in the variance at level of detail 0, 0 to 1: energy at high frequencies.
    pub high_frequency: f64,
    /// Standard deviation of the noise: that of the detail in the quietest tenth of the cells of 8^3 voxels
    /// that are not flat.
    pub noise: f64,
    /// Bits of the data: log2 of the number of values in the range, at most 16; 16 for floats.
    pub depth: f64,
    /// Expected loss and bits against the step.
    pub curves: LossCurves,
}

/// Sums of what patches have.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    turning: [Turning; LODS],
    /// Detail and number of cells of each level of detail.
    detail: [(f64, u64); LODS],
    /// Sum, sum of squares and number of the values, around one half.
    moments: [f64; 2],
    voxels: u64,
    histogram: [u64; HISTOGRAM_BINS],
    /// Cells of level 0 by their detail.
    noise: [u64; NOISE_BINS],
    loss: LossSums,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            turning: Default::default(),
            detail: Default::default(),
            moments: Default::default(),
            voxels: 0,
            histogram: [0; HISTOGRAM_BINS],
            noise: [0; NOISE_BINS],
            loss: LossSums::default(),
        }
    }
}

impl Pool {
    /// Of one patch.
    pub(super) fn of(patch: &Patch) -> Self {
        Self {
            turning: std::array::from_fn(|lod| {
                let layer = patch.layers.get(lod);
                layer.map_or_else(Turning::default, |l| Turning::of(&l.values, l.extent))
            }),
            ..Self::without_turning(patch)
        }
    }

    /// The same with what a device made of the directions of its levels of detail.
    pub(super) fn with_turning(self, turning: [Turning; LODS]) -> Self {
        Self { turning, ..self }
    }

    /// Of one patch, but for the directions of gradients.
    pub(super) fn without_turning(patch: &Patch) -> Self {
        let mut pool = Self::default();
        let energies: Vec<_> = patch.layers.iter().map(|l| l.energies()).collect();
        for (lod, cells) in energies.iter().enumerate() {
            let sum = cells.iter().map(|c| c.detail).sum();
            pool.detail[lod] = (sum, cells.len() as u64);
        }
        for cell in &energies[0] {
            let root = cell.detail.max(1e-30).log2() / 2.0;
            let bin = ((root - NOISE_FLOOR) * 4.0).clamp(0.0, NOISE_BINS as f64 - 1.0);
            pool.noise[bin as usize] += 1;
        }
        pool.loss = LossSums::of(patch, &energies);
        pool.add_values(&patch.layers[0].values);
        pool
    }

    fn add_values(&mut self, values: &[f32]) {
        for row in values.chunks(256) {
            let (mut sum, mut squares) = (0.0f32, 0.0f32);
            for v in row {
                sum += v - 0.5;
                squares += (v - 0.5) * (v - 0.5);
                let bin = (v * HISTOGRAM_BINS as f32) as usize;
                self.histogram[bin.min(HISTOGRAM_BINS - 1)] += 1;
            }
            self.moments[0] += f64::from(sum);
            self.moments[1] += f64::from(squares);
        }
        self.voxels += values.len() as u64;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for lod in 0..LODS {
            self.turning[lod].merge(&other.turning[lod]);
            self.detail[lod].0 += other.detail[lod].0;
            self.detail[lod].1 += other.detail[lod].1;
        }
        for (own, more) in self.moments.iter_mut().zip(other.moments) {
            *own += more;
        }
        self.voxels += other.voxels;
        for (own, more) in self.histogram.iter_mut().zip(other.histogram) {
            *own += more;
        }
        for (own, more) in self.noise.iter_mut().zip(other.noise) {
            *own += more;
        }
        self.loss.merge(&other.loss);
    }

    pub(super) fn features(&self, depth: f64) -> Features {
        let finest = |lod: usize| (0..=lod).rev().find(|&l| self.detail[l].1 > 0).unwrap_or(0);
        let detail: [f64; LODS] = std::array::from_fn(|lod| {
            let (sum, cells) = self.detail[finest(lod)];
            sum / cells.max(1) as f64
        });
        let n = self.voxels.max(1) as f64;
        let variance = (self.moments[1] / n - (self.moments[0] / n).powi(2)).max(0.0);
        Features {
            complexity: std::array::from_fn(|lod| self.turning[finest(lod)].complexity()),
            flat: self.turning[0].flat_share(),
            std: variance.sqrt(),
            gradient: self.turning[0].gradient_rms(),
            detail: detail.map(f64::sqrt),
            high_frequency: (detail[0] / variance.max(SMALLEST * SMALLEST)).min(1.0),
            noise: self.noise(),
            depth,
            curves: self.loss.curves(),
        }
    }

    /// The lowest decile of the details above the smallest bin, at the middle of its bin; 0 if there is none.
    fn noise(&self) -> f64 {
        let all: u64 = self.noise[1..].iter().sum();
        let mut below = 0;
        for (bin, count) in self.noise.iter().enumerate().skip(1) {
            below += count;
            if all > 0 && 10 * below >= all {
                return ((bin as f64 + 0.5) / 4.0 + NOISE_FLOOR).exp2();
            }
        }
        0.0
    }

    pub(super) fn histogram(&self) -> Vec<u64> {
        self.histogram.to_vec()
    }
}
