//! The flight of the camera: half around the volume, then down to a part of it, where it rests.

use std::time::Duration;

use hgv::stream::schedule::{Camera, Projection};

/// Vertical field of view in radians.
const FIELD: f32 = 0.7;
/// Seconds around the volume, and on the way down.
const AROUND: f32 = 3.0;
const DOWN: f32 = 3.0;
/// Distance from the middle while around, as a share of the longest side.
const FAR: f32 = 1.7;
/// Angle that is flown around, in radians.
const ANGLE: f32 = 1.5;

/// A path over a volume of an extent in voxels, x, y, z.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flight {
    extent: [f32; 3],
    /// Distance from the middle at the end, as a share of the longest side.
    near: f32,
    /// Width and height of the pictures.
    pub pixels: [u32; 2],
}

impl Flight {
    /// Over a volume of `extent` voxels x, y, z, down to `near` of its longest side from the middle.
    pub fn new(extent: [u64; 3], near: f32, pixels: [u32; 2]) -> Self {
        Self {
            extent: extent.map(|n| n as f32),
            near,
            pixels,
        }
    }

    /// How long it takes.
    pub fn length() -> Duration {
        Duration::from_secs_f32(AROUND + DOWN)
    }

    /// The camera after some time; it rests at the end.
    pub fn camera(&self, after: Duration) -> Camera {
        let eye = self.eye(after.as_secs_f32());
        let middle = self.extent.map(|n| n / 2.0);
        Camera {
            eye,
            forward: [0, 1, 2].map(|a| middle[a] - eye[a]),
            up: [0.0, 0.0, 1.0],
            projection: Projection::Perspective(FIELD),
            pixels: self.pixels,
        }
    }

    /// Voxels a second along x, y, z.
    pub fn velocity(&self, after: Duration) -> [f32; 3] {
        let (now, step) = (after.as_secs_f32(), 0.02);
        let (from, to) = (self.eye(now - step), self.eye(now + step));
        [0, 1, 2].map(|a| (to[a] - from[a]) / (2.0 * step))
    }

    fn eye(&self, seconds: f32) -> [f32; 3] {
        let around = smooth(seconds / AROUND);
        let down = smooth((seconds - AROUND) / DOWN);
        let side = self.extent.iter().copied().fold(0.0, f32::max);
        let distance = side * (FAR + down * (self.near - FAR));
        let angle = -0.4 - ANGLE * (1.0 - around);
        let height: f32 = 0.35;
        let across = distance * height.cos();
        let middle = self.extent.map(|n| n / 2.0);
        [
            middle[0] + across * angle.cos(),
            middle[1] + across * angle.sin(),
            middle[2] + distance * height.sin(),
        ]
    }
}

/// From 0 to 1 without jerks; constant outside.
fn smooth(part: f32) -> f32 {
    let t = part.clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn velocity_is_that_of_the_path_and_ends() {
        let flight = Flight::new([100, 80, 60], 0.6, [64, 48]);
        let at = |s: f32| flight.camera(Duration::from_secs_f32(s)).eye;
        let v = flight.velocity(Duration::from_secs_f32(4.5));
        let (from, to) = (at(4.4), at(4.6));
        for a in 0..3 {
            let moved = (to[a] - from[a]) / 0.2;
            assert!((moved - v[a]).abs() < 0.02 * v[a].abs() + 0.1);
        }
        assert_eq!(at(7.0), at(100.0));
        assert_eq!(flight.velocity(Duration::from_secs(9)), [0.0; 3]);
    }
}
