//! Points in volumes, and decoded voxels interpolated by the textbook.

use hgv::Volume;
use hgv::volume::{DType, MemoryVolume, Metadata, Region, Voxel};

use super::read;

pub fn made<T: Voxel>(extent: [u64; 3], value: impl Fn([u64; 3]) -> T) -> MemoryVolume {
    let voxels: Vec<T> = positions(extent).map(value).collect();
    MemoryVolume::new(extent, &voxels, Metadata::default()).unwrap()
}

/// x fastest.
pub fn positions([w, h, d]: [u64; 3]) -> impl Iterator<Item = [u64; 3]> {
    (0..w * h * d).map(move |i| [i % w, i / w % h, i / (w * h)])
}

/// All voxels of a level of detail as floats, and where they lie in the full resolution.
pub struct Voxels {
    pub lod: u32,
    pub extent: [u64; 3],
    pub values: Vec<f32>,
}

impl Voxels {
    pub fn of(v: &Volume, lod: u32, level: u32) -> Self {
        let extent = v.lod_extent(lod).unwrap();
        let bytes = read(v, lod, level, &Region::whole(extent)).unwrap();
        let two = |b: &[u8]| [b[0], b[1]];
        let values = match v.dtype() {
            DType::Uint8 => bytes.iter().map(|&b| b.into()).collect(),
            DType::Uint16 => {
                let values = bytes.chunks(2).map(|b| u16::from_le_bytes(two(b)));
                values.map(f32::from).collect()
            }
            DType::Int16 => {
                let values = bytes.chunks(2).map(|b| i16::from_le_bytes(two(b)));
                values.map(f32::from).collect()
            }
            _ => {
                let four = |b: &[u8]| [b[0], b[1], b[2], b[3]];
                let values = bytes.chunks(4).map(|b| f32::from_le_bytes(four(b)));
                values.collect()
            }
        };
        Self {
            lod,
            extent,
            values,
        }
    }

    pub fn points(&self) -> Vec<[f64; 3]> {
        let scale = f64::from(self.lod).exp2();
        positions(self.extent)
            .map(|p| p.map(|c| c as f64 * scale))
            .collect()
    }

    pub fn voxel(&self, [x, y, z]: [u64; 3]) -> f64 {
        self.values[((z * self.extent[1] + y) * self.extent[0] + x) as usize].into()
    }

    /// Value and gradient by the textbook.
    pub fn at(&self, point: [f64; 3]) -> [f64; 4] {
        let scale = (-f64::from(self.lod)).exp2();
        let axes = [0, 1, 2].map(|a| {
            let last = self.extent[a] - 1;
            let c = (point[a] * scale).clamp(0.0, last as f64);
            let low = (c.floor() as u64).min(last.saturating_sub(1));
            let moves = last > 0 && (0.0..=last as f64).contains(&(point[a] * scale));
            let t = c - low as f64;
            let slope = if moves { scale } else { 0.0 };
            [(low, 1.0 - t, -slope), ((low + 1).min(last), t, slope)]
        });
        let mut sum = [0.0; 4];
        for k in 0..8 {
            let [x, y, z] = [0, 1, 2].map(|a| axes[a][k >> a & 1]);
            let value = self.voxel([x.0, y.0, z.0]);
            let weights = [
                x.1 * y.1 * z.1,
                x.2 * y.1 * z.1,
                x.1 * y.2 * z.1,
                x.1 * y.1 * z.2,
            ];
            for (s, w) in sum.iter_mut().zip(weights) {
                *s += if w == 0.0 { 0.0 } else { w * value };
            }
        }
        sum
    }
}

/// Some points: anywhere, on planes of voxels, in gaps between blocks, outside.
pub fn some_points(extent: [u64; 3], seed: u64) -> Vec<[f64; 3]> {
    let mut state = seed | 1;
    let mut unit = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut coordinate = |n: u64| match (unit() * 5.0) as u32 {
        0 => (unit() * n as f64).floor(),
        1 => 31.0 + 32.0 * (unit() * (n / 32) as f64).floor() + unit(),
        2 => unit() * (n + 20) as f64 - 10.0,
        _ => unit() * (n - 1) as f64,
    };
    (0..300).map(|_| extent.map(&mut coordinate)).collect()
}

/// Every direction to a neighbour.
fn directions() -> impl Iterator<Item = [f64; 3]> {
    positions([3; 3]).map(|d| d.map(|c| c as f64 - 1.0))
}

/// Asserts that values near blocks' faces, edges and corners, at blocks of 32, differ by no more than
/// `slope` times the distance along an axis, and `rounding`.
pub fn assert_continuous(v: &Volume, level: u32, slope: f32, rounding: f32) {
    // Both ends of the gap and its middle, on one, two and three axes.
    let places =
        positions([4; 3]).map(|k| [0, 1, 2].map(|a| [31.0, 31.5, 32.0, 20.25][k[a] as usize]));
    for at in places {
        for step in [1e-4, 1e-7, 1e-10] {
            let near = directions().map(|d| [0, 1, 2].map(|a| at[a] + d[a] * step));
            let points: Vec<_> = std::iter::once(at).chain(near).collect();
            let values = v.sample(0, level, &points).unwrap();
            let most = slope * step as f32 + rounding;
            for (p, value) in points.iter().zip(&values) {
                let jump = (value - values[0]).abs();
                assert!(jump <= most, "{at:?} {p:?}: {jump} over {most}");
            }
        }
    }
}
