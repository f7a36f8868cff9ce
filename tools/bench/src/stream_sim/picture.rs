//! How wrong the picture of what is shown is, from a view's rays and what the blocks really hold.
//!
//! Points lie on rays through random pixels, evenly in the logarithm of depth: blocks of the level of
//! detail that a pixel needs grow with depth, so that every such block on a ray has the same share. The
//! error of the picture is the mean over points of opacity times remaining error, which is the sum over
//! visible blocks of pixels times opacity times error, over the sum of pixels times opacity.

use std::collections::BTreeMap;

use hgv::stream::schedule::{BlockId, Camera, Catalogue, OpacityBound, Projection};

use super::share;
use super::volume::VirtualVolume;

/// Rays of a view and points on each.
const RAYS: u64 = 256;
const POINTS: u64 = 16;

/// The blocks that a view's rays meet, each at the tier that its pixels need.
#[derive(Debug)]
pub struct Picture {
    places: Vec<Place>,
    weight: f64,
}

#[derive(Debug)]
struct Place {
    id: BlockId,
    /// What lies in it: place in the profile.
    sample: usize,
    /// Level of detail in the block that has a voxel for each pixel.
    lod: u32,
    /// Pixels that a voxel of the tier is wide.
    scale: f64,
    opacity: f64,
    /// Opacity times points.
    weight: f64,
}

/// What a picture is worth.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Quality {
    /// Weighted error of what is shown, in values.
    pub error: f64,
    /// The same with nothing shown.
    pub empty: f64,
    /// The same with everything shown.
    pub best: f64,
    /// Share of what is visible of which anything is shown, 0..=1.
    pub covered: f64,
}

impl Picture {
    /// What `camera` sees of a volume.
    pub fn new(volume: &VirtualVolume, opacity: &dyn OpacityBound, camera: &Camera) -> Self {
        let mut places: BTreeMap<(BlockId, u32), Place> = BTreeMap::new();
        let half = match camera.projection {
            Projection::Perspective(angle) => f64::from(angle / 2.0).tan(),
            Projection::Orthographic(_) => 0.5,
        };
        let pixels = camera.pixels.map(f64::from);
        let per_depth = pixels[1] / (2.0 * half);
        let [right, up, forward] = axes(camera);
        for ray in 0..RAYS {
            let across = (2.0 * share(ray * 2) - 1.0) * half * pixels[0] / pixels[1];
            let upward = (2.0 * share(ray * 2 + 1) - 1.0) * half;
            let toward = [0, 1, 2].map(|a| forward[a] + across * right[a] + upward * up[a]);
            let Some((near, far)) = clip(volume, camera.eye.map(f64::from), toward) else {
                continue;
            };
            for point in 0..POINTS {
                let along = (point as f64 + share(ray ^ point << 32)) / POINTS as f64;
                let depth = near * (far / near).powf(along);
                let at = [0, 1, 2].map(|a| f64::from(camera.eye[a]) + toward[a] * depth);
                add(volume, opacity, at, per_depth / depth, &mut places);
            }
        }
        let places: Vec<Place> = places.into_values().filter(|p| p.weight > 0.0).collect();
        Self {
            weight: places.iter().map(|p| p.weight).sum(),
            places,
        }
    }

    /// Blocks that it looks at.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether nothing is visible.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The error with `shown` layers of each block.
    pub fn quality(&self, volume: &VirtualVolume, shown: &dyn Fn(BlockId) -> u8) -> Quality {
        let mut sum = Quality::default();
        for place in &self.places {
            let (error, empty, best, covered) = place.errors(volume, shown);
            sum.error += place.weight * error;
            sum.empty += place.weight * empty;
            sum.best += place.weight * best;
            sum.covered += if covered { place.weight } else { 0.0 };
        }
        if self.weight > 0.0 {
            for v in [
                &mut sum.error,
                &mut sum.empty,
                &mut sum.best,
                &mut sum.covered,
            ] {
                *v /= self.weight;
            }
        } else {
            sum.covered = 1.0;
        }
        sum
    }
}

impl Place {
    /// Error as shown, with nothing shown and with everything shown; whether anything is shown.
    fn errors(
        &self,
        volume: &VirtualVolume,
        shown: &dyn Fn(BlockId) -> u8,
    ) -> (f64, f64, f64, bool) {
        let profile = volume.profile();
        let sample = &profile.blocks[self.sample];
        let longest = sample.averaged.len() - 1;
        let averaged = |lod: u32| {
            let kept = f64::from(sample.averaged[(lod as usize).min(longest)]);
            // Past the block its mean is averaged with its neighbours'.
            kept * (1.0 + 0.2 * f64::from(lod.saturating_sub(longest as u32)))
        };
        let fine = averaged(self.lod);
        let middle = f64::from(sample.range[0] + sample.range[1]) / 2.0;
        let empty = (middle - f64::from(profile.range[0])).hypot(averaged(longest as u32));
        let error = |lod: u32, quality: u8| {
            let coded = f64::from(sample.errors[usize::from(quality)]);
            let coded = coded * (self.scale * f64::from(lod).exp2()).min(1.0);
            let detail = (averaged(lod).powi(2) - fine.powi(2)).max(0.0).sqrt();
            detail.hypot(coded).min(empty)
        };
        let last = profile.levels() as u8 - 1;
        let best = error(0, last);
        let (mut id, mut above) = (self.id, 0);
        let tiers = volume.tiers();
        loop {
            let layers = usize::from(shown(id));
            if layers > 0 {
                let [lod, quality] = profile.layers[layers - 1];
                return (error(above + u32::from(lod), quality), empty, best, true);
            }
            let tier = usize::from(id.tier);
            let Some(coarser) = tiers.get(tier + 1) else {
                return (empty, empty, best, false);
            };
            let bits = coarser.base_lod - tiers[tier].base_lod;
            id = BlockId {
                tier: id.tier + 1,
                block: id.block.map(|b| b >> bits),
            };
            above += bits;
        }
    }
}

/// Right, up and forward of a camera, of length 1 and square to each other.
fn axes(camera: &Camera) -> [[f64; 3]; 3] {
    let unit = |v: [f64; 3]| {
        let length = v.iter().map(|c| c * c).sum::<f64>().sqrt().max(1e-12);
        v.map(|c| c / length)
    };
    let cross = |a: [f64; 3], b: [f64; 3]| {
        [
            a[1] * b[2] - a[2] * b[1],
            a[2] * b[0] - a[0] * b[2],
            a[0] * b[1] - a[1] * b[0],
        ]
    };
    let forward = unit(camera.forward.map(f64::from));
    let right = unit(cross(forward, camera.up.map(f64::from)));
    [right, cross(right, forward), forward]
}

/// Where a ray enters and leaves a volume, as multiples of `toward`.
fn clip(volume: &VirtualVolume, eye: [f64; 3], toward: [f64; 3]) -> Option<(f64, f64)> {
    let extent = volume.extent();
    let (mut near, mut far) = (1.0f64, f64::INFINITY);
    for a in 0..3 {
        let slope = if toward[a].abs() < 1e-12 {
            1e-12
        } else {
            toward[a]
        };
        let ends = [-eye[a] / slope, (extent[a] as f64 - eye[a]) / slope];
        near = near.max(ends[0].min(ends[1]));
        far = far.min(ends[0].max(ends[1]));
    }
    (near < far).then_some((near, far))
}

fn add(
    volume: &VirtualVolume,
    opacity: &dyn OpacityBound,
    at: [f64; 3],
    scale: f64,
    places: &mut BTreeMap<(BlockId, u32), Place>,
) {
    let lod = (-scale.log2()).floor().max(0.0) as u32;
    let tiers = volume.tiers();
    let tier = tiers.iter().rposition(|t| t.base_lod <= lod).unwrap_or(0);
    let shift = volume.block_log2() + tiers[tier].base_lod;
    let block =
        [0, 1, 2].map(|a| ((at[a].max(0.0) as u64 >> shift) as u32).min(tiers[tier].blocks[a] - 1));
    let id = BlockId {
        tier: tier as u8,
        block,
    };
    let lod = lod - tiers[tier].base_lod;
    let found = places.entry((id, lod)).or_insert_with(|| {
        let place = volume.sample(id);
        let sample = &volume.profile().blocks[place];
        let clear = sample.bytes.is_empty();
        let opacity = if clear {
            0.0
        } else {
            opacity.most_opacity(sample.range)
        };
        Place {
            id,
            sample: place,
            lod,
            scale: scale * f64::from(tiers[tier].base_lod).exp2(),
            opacity: f64::from(opacity),
            weight: 0.0,
        }
    });
    found.weight += found.opacity;
}
