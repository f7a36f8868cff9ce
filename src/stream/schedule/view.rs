//! What a camera sees of a box: whether, how large, and at which scale.

/// How depth becomes size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Projection {
    /// Vertical field of view in radians, 0..pi.
    Perspective(f32),
    /// Height of the picture in voxels.
    Orthographic(f32),
}

/// A camera. Lengths are voxels of the full resolution, x, y, z; the volume starts at the origin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Camera {
    /// Where it is.
    pub eye: [f32; 3],
    /// Where it looks; need not have length 1.
    pub forward: [f32; 3],
    /// What is up in the picture; need not be square to `forward`.
    pub up: [f32; 3],
    /// How depth becomes size.
    pub projection: Projection,
    /// Width and height of the picture in pixels.
    pub pixels: [u32; 2],
}

/// A camera, ready to measure boxes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View {
    eye: [f32; 3],
    /// Right, up and forward, of length 1 and square to each other.
    axes: [[f32; 3]; 3],
    /// Half the width and height of the picture at depth 1, or at any depth if orthographic.
    half: [f32; 2],
    perspective: bool,
    /// Pixels for each unit of `half`.
    pixels_per_half: f32,
    area: f32,
}

/// What a camera sees of a box.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// Pixels that it covers, at most those of the picture.
    pub pixels: f32,
    /// Pixels that a voxel of the full resolution is wide where the box is nearest.
    pub scale: f32,
}

/// Nearest depth, in voxels, that anything is measured at.
const NEAREST: f32 = 0.5;

fn dot(a: [f32; 3], b: [f32; 3]) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn minus(a: [f32; 3], b: [f32; 3]) -> [f32; 3] {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

fn cross(a: [f32; 3], b: [f32; 3]) -> [f32; 3] {
    [
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    ]
}

/// A vector of length 1, or `otherwise` if `v` has no direction.
fn unit(v: [f32; 3], otherwise: [f32; 3]) -> [f32; 3] {
    let length = dot(v, v).sqrt();
    if length.is_finite() && length > 1e-12 {
        v.map(|c| c / length)
    } else {
        otherwise
    }
}

impl View {
    /// What `camera` sees.
    pub fn new(camera: &Camera) -> Self {
        let forward = unit(camera.forward, [0.0, 0.0, 1.0]);
        // Any direction across will do where `up` has none.
        let side = if forward[0].abs() < 0.9 {
            [1.0, 0.0, 0.0]
        } else {
            [0.0, 1.0, 0.0]
        };
        let right = unit(
            cross(forward, camera.up),
            unit(cross(forward, side), [1.0, 0.0, 0.0]),
        );
        let [width, height] = camera.pixels.map(|n| n.max(1) as f32);
        let (perspective, half_height) = match camera.projection {
            Projection::Perspective(angle) => (true, (angle.clamp(1e-3, 3.1) / 2.0).tan()),
            Projection::Orthographic(height) => (false, height.max(1e-3) / 2.0),
        };
        Self {
            eye: camera.eye,
            axes: [right, cross(right, forward), forward],
            half: [half_height * width / height, half_height],
            perspective,
            pixels_per_half: height / (2.0 * half_height),
            area: width * height,
        }
    }

    /// The same view from somewhere else.
    #[must_use]
    pub fn moved(self, by: [f32; 3]) -> Self {
        Self {
            eye: [0, 1, 2].map(|a| self.eye[a] + by[a]),
            ..self
        }
    }

    /// The ray through a point of the picture, `x` and `y` in pixels from its left and upper edge: a point of
    /// the ray and its direction, of length 1.
    pub fn ray(&self, x: f32, y: f32) -> ([f32; 3], [f32; 3]) {
        let [right, up, forward] = self.axes;
        let across = x / self.pixels_per_half - self.half[0];
        let along = self.half[1] - y / self.pixels_per_half;
        let aside = [0, 1, 2].map(|a| across * right[a] + along * up[a]);
        if self.perspective {
            let direction = [0, 1, 2].map(|a| forward[a] + aside[a]);
            (self.eye, unit(direction, forward))
        } else {
            ([0, 1, 2].map(|a| self.eye[a] + aside[a]), forward)
        }
    }

    /// Right, up and forward, of length 1 and square to each other.
    pub fn axes(&self) -> [[f32; 3]; 3] {
        self.axes
    }

    /// Where it is.
    pub(crate) fn eye(&self) -> [f32; 3] {
        self.eye
    }

    /// Half the width and height of the picture at depth 1, or at any depth if orthographic.
    pub(crate) fn half(&self) -> [f32; 2] {
        self.half
    }

    /// Pixels for each unit of [`Self::half`].
    pub(crate) fn pixels_per_half(&self) -> f32 {
        self.pixels_per_half
    }

    /// Whether depth becomes size.
    pub(crate) fn is_perspective(&self) -> bool {
        self.perspective
    }

    /// What it sees of the box from `lo` to `hi`; `None` if that lies outside the picture.
    pub fn see(&self, lo: [f32; 3], hi: [f32; 3]) -> Option<Seen> {
        let centre = [0, 1, 2].map(|a| (lo[a] + hi[a]) / 2.0);
        let half = [0, 1, 2].map(|a| (hi[a] - lo[a]) / 2.0);
        let from_eye = minus(centre, self.eye);
        // Distance of the centre along an axis, and how far the box reaches on either side.
        let along = |axis: [f32; 3]| (dot(from_eye, axis), dot(half, axis.map(f32::abs)));
        let (depth, reach) = along(self.axes[2]);
        if depth + reach < 0.0 {
            return None;
        }
        for (axis, half_angle) in self.axes.iter().zip(self.half) {
            if self.misses(from_eye, half, *axis, half_angle) {
                return None;
            }
        }
        let near = self.scale_at(depth - reach);
        let radius = dot(half, half).sqrt() * self.scale_at(depth);
        Some(Seen {
            pixels: (std::f32::consts::PI * radius * radius).min(self.area),
            scale: near,
        })
    }

    /// Whether the box lies beyond one of the two edges of the picture across an axis.
    fn misses(&self, from_eye: [f32; 3], half: [f32; 3], axis: [f32; 3], edge: f32) -> bool {
        [1.0, -1.0].into_iter().any(|sign| {
            // The plane of the edge: what is outside has a positive product with its normal.
            let normal = [0, 1, 2].map(|a| {
                let slope = if self.perspective {
                    edge * self.axes[2][a]
                } else {
                    0.0
                };
                sign * axis[a] - slope
            });
            let offset = if self.perspective { 0.0 } else { edge };
            dot(from_eye, normal) - dot(half, normal.map(f32::abs)) > offset
        })
    }

    /// Pixels for each voxel at a depth.
    fn scale_at(&self, depth: f32) -> f32 {
        if self.perspective {
            self.pixels_per_half / depth.max(NEAREST)
        } else {
            self.pixels_per_half
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera(projection: Projection) -> Camera {
        Camera {
            eye: [50.0, 50.0, -100.0],
            forward: [0.0, 0.0, 2.0],
            up: [0.0, 1.0, 0.0],
            projection,
            pixels: [800, 600],
        }
    }

    #[test]
    fn boxes_outside_are_not_seen() {
        for projection in [
            Projection::Perspective(1.0),
            Projection::Orthographic(120.0),
        ] {
            let view = View::new(&camera(projection));
            let seen = |lo: [f32; 3]| view.see(lo, lo.map(|v| v + 10.0));
            assert!(seen([45.0, 45.0, 0.0]).is_some());
            assert!(seen([45.0, 45.0, -200.0]).is_none(), "behind");
            assert!(seen([400.0, 45.0, 0.0]).is_none(), "right");
            assert!(seen([-400.0, 45.0, 0.0]).is_none(), "left");
            assert!(seen([45.0, 400.0, 0.0]).is_none(), "above");
            assert!(seen([45.0, -400.0, 0.0]).is_none(), "below");
        }
    }

    #[test]
    fn scale_is_that_of_a_pinhole() {
        let view = View::new(&camera(Projection::Perspective(
            std::f32::consts::FRAC_PI_2,
        )));
        // At depth 100 the picture is 200 voxels high: 3 pixels each.
        let at = |z: f32| view.see([49.0, 49.0, z], [51.0, 51.0, z + 2.0]);
        let near = at(0.0).map_or(0.0, |s| s.scale);
        assert!((near - 3.0).abs() < 1e-4, "{near}");
        assert!(at(100.0).is_some_and(|s| (s.scale - 1.5).abs() < 1e-4));
        let flat = View::new(&camera(Projection::Orthographic(300.0)));
        assert!(
            flat.see([0.0; 3], [10.0; 3])
                .is_some_and(|s| (s.scale - 2.0).abs() < 1e-4)
        );
    }

    #[test]
    fn rays_go_through_what_is_seen() {
        for projection in [
            Projection::Perspective(1.0),
            Projection::Orthographic(120.0),
        ] {
            let view = View::new(&camera(projection));
            for (x, y) in [(1.0, 1.0), (799.0, 1.0), (1.0, 599.0), (400.0, 300.0)] {
                let (from, along) = view.ray(x, y);
                let at = |far: f32| [0, 1, 2].map(|a| from[a] + far * along[a]);
                let seen = |p: [f32; 3]| view.see(p, p.map(|v| v + 1e-3)).is_some();
                assert!(seen(at(200.0)), "{x} {y}");
            }
            let out = view.ray(-9.0, 300.0);
            let p = [0, 1, 2].map(|a| out.0[a] + 200.0 * out.1[a]);
            assert!(view.see(p, p).is_none());
        }
    }

    #[test]
    fn a_box_around_the_eye_fills_the_picture() {
        let view = View::new(&camera(Projection::Perspective(1.0)));
        let seen = view.see([-1e3; 3], [1e3; 3]);
        assert!(seen.is_some_and(|s| s.pixels >= 800.0 * 600.0));
    }
}
