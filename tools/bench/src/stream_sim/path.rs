//! Camera paths: key frames in units of the longest axis of the volume, joined by smooth curves.

use std::path::Path as FilePath;

use hgv::stream::schedule::{Camera, Projection};
use hgv::{Error, Result};
use serde::{Deserialize, Serialize};

/// A camera path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CameraPath {
    /// What to call it.
    pub name: String,
    /// Vertical field of view in degrees.
    pub field_of_view: f32,
    /// Width and height of the picture.
    pub pixels: [u32; 2],
    /// Pictures a second while the camera moves.
    pub rate: f32,
    /// Seconds that are looked at after the last key.
    pub rest: f32,
    /// Keys by rising time.
    pub keys: Vec<Key>,
}

/// Where the camera is at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Key {
    /// Seconds from the start.
    pub time: f32,
    /// Eye x, y, z; the volume lies at 0..1.
    pub eye: [f32; 3],
    /// What it looks at.
    pub target: [f32; 3],
    /// Whether the camera stands still at the key before until this one.
    #[serde(default)]
    pub jump: bool,
}

impl CameraPath {
    /// Reads a path.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] naming what is wrong.
    pub fn load(file: &FilePath) -> Result<Self> {
        let wrong = |detail: String| Error::argument(format!("path {}: {detail}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|e| wrong(e.to_string()))?;
        let path: Self = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        let rising = path.keys.windows(2).all(|w| w[0].time < w[1].time);
        let good = !path.keys.is_empty() && rising && path.keys[0].time >= 0.0;
        if !good || path.rate <= 0.0 || path.rest < 0.0 {
            return Err(wrong(
                "needs keys of rising time, a rate over 0 and a rest of 0 or more".into(),
            ));
        }
        Ok(path)
    }

    /// When the last key is reached.
    pub fn moves_until(&self) -> f64 {
        self.keys.last().map_or(0.0, |k| f64::from(k.time))
    }

    /// The camera at `time`, in voxels of a volume whose longest axis has `longest` of them.
    pub fn camera(&self, time: f64, longest: f64) -> Camera {
        let (eye, target) = self.place(time);
        Camera {
            eye: eye.map(|c| (c * longest) as f32),
            forward: [0, 1, 2].map(|a| (target[a] - eye[a]) as f32),
            up: [0.0, 1.0, 0.0],
            projection: Projection::Perspective(self.field_of_view.to_radians()),
            pixels: self.pixels,
        }
    }

    /// Velocity of the eye in voxels a second, as a viewer would know it: from the picture before.
    pub fn velocity(&self, time: f64, longest: f64) -> [f32; 3] {
        let step = 1.0 / f64::from(self.rate);
        let jumped = |k: &Key| k.jump && (time - step..=time).contains(&f64::from(k.time));
        if time > self.moves_until() || self.keys.iter().any(jumped) {
            return [0.0; 3];
        }
        let (before, now) = (self.place((time - step).max(0.0)).0, self.place(time).0);
        [0, 1, 2].map(|a| ((now[a] - before[a]) / step * longest) as f32)
    }

    /// Eye and target.
    fn place(&self, time: f64) -> ([f64; 3], [f64; 3]) {
        let after = self.keys.iter().position(|k| f64::from(k.time) > time);
        let after = after.unwrap_or(self.keys.len());
        let key = |i: usize| &self.keys[i.min(self.keys.len() - 1)];
        let from = after.saturating_sub(1);
        if after == 0 || after == self.keys.len() || key(after).jump {
            return (
                key(from).eye.map(f64::from),
                key(from).target.map(f64::from),
            );
        }
        let (a, b) = (key(from), key(after));
        let t = (time - f64::from(a.time)) / f64::from(b.time - a.time);
        // A curve through the keys; at a jump it has no further neighbour.
        let before = if a.jump { from } else { from.saturating_sub(1) };
        let beyond = if after + 1 < self.keys.len() && key(after + 1).jump {
            after
        } else {
            after + 1
        };
        let four = [before, from, after, beyond].map(key);
        let along = |get: fn(&Key) -> [f32; 3]| {
            [0, 1, 2].map(|x| curve(four.map(|k| f64::from(get(k)[x])), t))
        };
        (along(|k| k.eye), along(|k| k.target))
    }
}

/// Catmull-Rom between the second and the third of four values.
fn curve([a, b, c, d]: [f64; 4], t: f64) -> f64 {
    let (t2, t3) = (t * t, t * t * t);
    0.5 * (2.0 * b
        + (c - a) * t
        + (2.0 * a - 5.0 * b + 4.0 * c - d) * t2
        + (3.0 * (b - c) + d - a) * t3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(jump: bool) -> CameraPath {
        let key = |time: f32, x: f32, jump: bool| Key {
            time,
            eye: [x, 0.0, -1.0],
            target: [x, 0.0, 0.0],
            jump,
        };
        CameraPath {
            name: "test".into(),
            field_of_view: 60.0,
            pixels: [640, 480],
            rate: 30.0,
            rest: 1.0,
            keys: vec![
                key(0.0, 0.0, false),
                key(1.0, 1.0, jump),
                key(2.0, 2.0, false),
            ],
        }
    }

    #[test]
    fn passes_through_keys_and_stops_at_the_end() {
        let p = path(false);
        let x = |t: f64| f64::from(p.camera(t, 100.0).eye[0]);
        assert!(
            x(0.0).abs() < 1e-3 && (x(1.0) - 100.0).abs() < 1e-3 && (x(9.0) - 200.0).abs() < 1e-3
        );
        assert!(x(0.5) > 20.0 && x(0.5) < 80.0);
        assert!((p.velocity(1.0, 100.0)[0] - 100.0).abs() < 10.0);
        assert_eq!(p.velocity(3.0, 100.0), [0.0; 3]);
    }

    #[test]
    fn a_jump_stands_still_first_and_has_no_velocity() {
        let p = path(true);
        assert_eq!(p.camera(0.99, 100.0).eye[0], 0.0);
        assert_eq!(p.camera(1.0, 100.0).eye[0], 100.0);
        assert_eq!(p.velocity(1.0, 100.0), [0.0; 3]);
    }
}
