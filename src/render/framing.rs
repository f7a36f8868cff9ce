//! Cameras and transfer functions for a volume that nobody has looked at yet.

use super::vector::unit;
use super::{ColourPoint, OpacityPoint, TransferFunction};
use crate::stream::schedule::{Camera, Projection};

/// Vertical field of view of a framing camera in radians.
const FIELD: f32 = 0.52;
/// Room around a volume.
const MARGIN: f32 = 1.06;
/// Places on the rim of a cylinder that must be in the picture.
const RIM: u32 = 64;
/// Bins of a histogram.
const BINS: usize = 256;

/// A camera on an orbit around the middle of a volume that shows all of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Orbit {
    /// Degrees around the z axis; 0 looks along y.
    pub azimuth: f32,
    /// Degrees over the x-y plane, -90..=90.
    pub elevation: f32,
    /// Distance as a part of the one from which the volume, turned around the z axis, fills the picture.
    pub distance: f32,
    /// Whether depth leaves sizes as they are.
    pub orthographic: bool,
}

impl Default for Orbit {
    fn default() -> Self {
        Self {
            azimuth: 30.0,
            elevation: 20.0,
            distance: 1.0,
            orthographic: false,
        }
    }
}

impl Orbit {
    /// The camera for a volume of `extent` voxels at distances `spacing`, in units of `spacing`.
    pub fn camera(&self, extent: [u64; 3], spacing: [f32; 3], pixels: [u32; 2]) -> Camera {
        let size = [0, 1, 2].map(|a| extent[a] as f32 * spacing[a]);
        let [width, height] = pixels.map(|n| n.max(1) as f32);
        let (distance, high) = self.fit(size, width / height);
        let (azimuth, elevation) = (self.azimuth.to_radians(), self.elevation.to_radians());
        let towards = [
            elevation.cos() * azimuth.sin(),
            -elevation.cos() * azimuth.cos(),
            elevation.sin(),
        ];
        // Over a pole, up is where the camera came from.
        let up = [
            -elevation.sin() * azimuth.sin(),
            elevation.sin() * azimuth.cos(),
            elevation.cos(),
        ];
        Camera {
            eye: [0, 1, 2].map(|a| size[a] / 2.0 + distance * towards[a]),
            forward: towards.map(|c| -c),
            up: unit(up),
            projection: if self.orthographic {
                Projection::Orthographic(high)
            } else {
                Projection::Perspective(FIELD)
            },
            pixels,
        }
    }
}

impl Orbit {
    /// Distance from the middle, and height of an orthographic picture, at which the cylinder that a box
    /// turns in fills the picture: the same at every azimuth.
    fn fit(&self, size: [f32; 3], aspect: f32) -> (f32, f32) {
        let radius = 0.5 * MARGIN * size[0].hypot(size[1]);
        let half = 0.5 * MARGIN * size[2];
        let (sin, cos) = self.elevation.to_radians().sin_cos();
        let slope = (FIELD / 2.0).tan();
        let (mut distance, mut high) = (0.0f32, 0.0f32);
        for step in 0..RIM {
            let angle = step as f32 * std::f32::consts::TAU / RIM as f32;
            let (x, y) = (radius * angle.cos(), radius * angle.sin());
            for z in [-half, half] {
                let above = y * sin + z * cos;
                let behind = y * cos - z * sin;
                let aside = above.abs().max(x.abs() / aspect);
                distance = distance.max(aside / slope - behind);
                high = high.max(2.0 * aside);
            }
        }
        let distance = if self.orthographic {
            2.0 * (radius + half)
        } else {
            distance * self.distance
        };
        (distance.max(1e-3), (high * self.distance).max(1e-3))
    }
}

impl TransferFunction {
    /// A transfer function from values of a volume, or of a part of it: what is below the threshold that parts
    /// the values best into two classes (Otsu) is transparent, what is above it the more opaque the higher.
    pub fn from_values(values: &[f32]) -> Self {
        let finite = || values.iter().copied().filter(|v| v.is_finite());
        let [lo, hi] = super::transfer::usable(
            finite().fold([f32::INFINITY, f32::NEG_INFINITY], |[lo, hi], v| {
                [lo.min(v), hi.max(v)]
            }),
        );
        let width = (hi - lo) / BINS as f32;
        let mut counts = [0u64; BINS];
        for v in finite() {
            counts[(((v - lo) / width) as usize).min(BINS - 1)] += 1;
        }
        let threshold = lo + width * otsu(&counts) as f32;
        let top = lo + width * upper(&counts) as f32;
        let top = top
            .max(threshold + 4.0 * width)
            .min(hi.max(threshold + 4.0 * width));
        let place = |part: f32| threshold + part * (top - threshold);
        let opacity = |value, opacity| OpacityPoint { value, opacity };
        let colour = |value, rgb| ColourPoint { value, rgb };
        let foot = (threshold - 2.0 * width).max(lo);
        let points = (
            vec![
                opacity(foot, 0.0),
                opacity(place(0.1), 0.05),
                opacity(place(0.5), 0.3),
                opacity(place(1.0), 0.7),
            ],
            vec![
                colour(foot, [0.45, 0.25, 0.20]),
                colour(place(0.25), [0.80, 0.55, 0.38]),
                colour(place(0.6), [0.94, 0.82, 0.62]),
                colour(place(1.0), [1.00, 0.98, 0.93]),
            ],
        );
        Self::new(points.0, points.1).unwrap_or_else(|_| Self::ramp([lo, hi], 0.5))
    }
}

/// The bin at which two classes of values differ most.
fn otsu(counts: &[u64; BINS]) -> usize {
    let all: f64 = counts.iter().map(|&c| c as f64).sum();
    let sum: f64 = (0..BINS).map(|i| i as f64 * counts[i] as f64).sum();
    let (mut below, mut below_sum, mut best) = (0.0, 0.0, (0.0, BINS / 2));
    for (i, &count) in counts.iter().enumerate() {
        below += count as f64;
        below_sum += i as f64 * count as f64;
        let above = all - below;
        if below == 0.0 || above == 0.0 {
            continue;
        }
        let apart = below_sum / below - (sum - below_sum) / above;
        let between = below * above * apart * apart;
        if between > best.0 {
            best = (between, i + 1);
        }
    }
    best.1
}

/// The bin over which one value in a thousand lies.
fn upper(counts: &[u64; BINS]) -> usize {
    let all: u64 = counts.iter().sum();
    let mut above = 0;
    for (i, count) in counts.iter().enumerate().rev() {
        above += count;
        if above * 1000 > all {
            return i + 1;
        }
    }
    BINS
}
