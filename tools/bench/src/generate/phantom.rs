//! A head as clinical CT sees it: ellipsoids in Hounsfield units, negative values included.

use hgv::volume::{DType, Metadata};

use super::lattice::{Lattice, step, stream, white};
use super::{Brick, Kind};

/// Centre and half axes in units of half the extent, and the value in Hounsfield units.
struct Ellipsoid {
    centre: [f32; 3],
    half: [f32; 3],
    value: f32,
}

const fn ellipsoid(centre: [f32; 3], half: [f32; 3], value: f32) -> Ellipsoid {
    Ellipsoid {
        centre,
        half,
        value,
    }
}

/// From the outside in; each replaces what it covers.
const PARTS: [Ellipsoid; 11] = [
    ellipsoid([0.0, 0.0, 0.0], [0.78, 0.90, 0.96], -90.0),
    ellipsoid([0.0, 0.0, 0.0], [0.75, 0.87, 0.93], 45.0),
    ellipsoid([0.0, 0.0, 0.0], [0.72, 0.84, 0.90], 1050.0),
    ellipsoid([0.0, 0.0, 0.0], [0.65, 0.77, 0.83], 8.0),
    ellipsoid([0.0, 0.02, 0.0], [0.62, 0.74, 0.80], 36.0),
    ellipsoid([-0.16, -0.05, 0.1], [0.09, 0.30, 0.25], 6.0),
    ellipsoid([0.16, -0.05, 0.1], [0.09, 0.30, 0.25], 6.0),
    ellipsoid([0.0, 0.78, -0.45], [0.20, 0.10, 0.25], -850.0),
    ellipsoid([-0.32, 0.70, -0.35], [0.15, 0.12, 0.20], 12.0),
    ellipsoid([0.32, 0.70, -0.35], [0.15, 0.12, 0.20], 12.0),
    ellipsoid([0.30, -0.35, 0.2], [0.12, 0.12, 0.20], 68.0),
];

/// A head of ellipsoids.
#[derive(Debug, Clone)]
pub struct Phantom {
    seed: u64,
    extent: [u64; 3],
    texture: Lattice,
    /// Standard deviation of the noise in Hounsfield units.
    noise: f32,
}

impl Phantom {
    /// A head that fills a volume of `extent` voxels, with noise of that many Hounsfield units.
    pub fn new(extent: [u64; 3], seed: u64, noise: f32) -> Self {
        let texture = Lattice {
            seed: stream(seed, 1),
            spacing: 4,
            band: true,
        };
        Self {
            seed,
            extent,
            texture,
            noise,
        }
    }

    fn value(&self, voxel: [i64; 3]) -> f32 {
        let place = [0, 1, 2].map(|a| {
            let half = self.extent[a] as f32 * 0.5;
            (voxel[a] as f32 + 0.5 - half) / half
        });
        // About one voxel of partial volume at the edges.
        let sharpness = self.extent[0] as f32 * 0.3;
        PARTS.iter().fold(-1000.0, |v, part| {
            let d = [0, 1, 2].map(|a| (place[a] - part.centre[a]) / part.half[a]);
            let r = (d[0] * d[0] + d[1] * d[1] + d[2] * d[2]).sqrt();
            v + step((1.0 - r) * sharpness * part.half[0]) * (part.value - v)
        })
    }
}

impl Kind for Phantom {
    fn dtypes(&self) -> &'static [DType] {
        &[DType::Int16]
    }

    fn metadata(&self) -> Metadata {
        let spacing = [2.5, 3.5, 4.5];
        Metadata {
            spacing,
            origin: [0, 1, 2].map(|a| -0.5 * spacing[a] * (self.extent[a] as f64 - 1.0)),
            unit: Some("mm".into()),
            value_unit: Some("HU".into()),
            ..Metadata::default()
        }
    }

    fn fill(&self, _dtype: DType, brick: &Brick, out: &mut [f32]) {
        let n = brick.voxels();
        let (mut texture, mut noise, mut spare) = (vec![0f32; n], vec![0f32; n], vec![0f32; n]);
        self.texture.fill(brick, &mut texture);
        white(stream(self.seed, 2), brick, &mut noise, &mut spare);
        let [w, h, _] = brick.size;
        for (i, o) in out.iter_mut().enumerate() {
            let at = [i % w, i / w % h, i / w / h];
            let voxel = [0, 1, 2].map(|a| brick.start[a] + at[a] as i64);
            let v = self.value(voxel);
            let grain = if v > -200.0 { 0.35 } else { 0.1 };
            *o = (v + self.noise * (noise[i] + grain * texture[i])).max(-1024.0);
        }
    }
}
