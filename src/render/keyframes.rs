//! Films: cameras and transfer functions that change from picture to picture.

use serde::{Deserialize, Serialize};

use super::vector::{dot, unit};
use super::{ColourPoint, OpacityPoint, Orbit, TransferFunction};
use crate::stream::schedule::{Camera, Projection};
use crate::{Error, Result};

/// Most pictures of a film.
const MAX_FRAMES: u32 = 100_000;
/// Vertical field of view of a camera that says none, in degrees.
const FIELD: f32 = 40.0;

/// A film: places on the way of a camera. As JSON:
///
/// ```json
/// {"frames": 120, "keys": [
///   {"time": 0, "orbit": [0, 20, 1.2]},
///   {"time": 1, "orbit": [180, 40, 0.8]},
///   {"time": 2, "eye": [10, -300, 80], "look_at": [64, 64, 64]}
/// ]}
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFrames {
    /// Pictures from the first key to the last, 1 to 100000, both among them.
    pub frames: u32,
    /// Keys in the order of their times; at least one.
    pub keys: Vec<KeyFrame>,
}

/// A place on the way of a camera: an orbit, or an eye.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFrame {
    /// When, in any unit.
    pub time: f32,
    /// Azimuth and elevation in degrees and distance, as of an [`Orbit`]. Between two orbits the camera turns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orbit: Option<[f32; 3]>,
    /// Where the camera is, in voxels of the full resolution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eye: Option<[f32; 3]>,
    /// Where it looks; without it the middle of the volume. Of an `eye` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look_at: Option<[f32; 3]>,
    /// What is up in the picture; without it z. Of an `eye` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up: Option<[f32; 3]>,
    /// Vertical field of view in degrees, over 0 to 170; without it 40. Of an `eye` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field_of_view: Option<f32>,
    /// Opacity and colour of values; without it those of the key before, or of the scene. Those of two keys
    /// with equally many points are mixed, else the first counts until the next key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer: Option<TransferFunction>,
}

/// A picture of a film.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// The camera, in units of the spacing.
    pub camera: Camera,
    /// Opacity and colour of values, if any key says so.
    pub transfer: Option<TransferFunction>,
}

impl KeyFrames {
    /// Whether the film makes sense.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] that says which key does not.
    pub fn check(&self) -> Result<()> {
        if self.keys.is_empty() || !(1..=MAX_FRAMES).contains(&self.frames) {
            return Err(Error::argument(format!(
                "a film of {} pictures and {} keys; it needs 1 to {MAX_FRAMES} pictures and a key",
                self.frames,
                self.keys.len()
            )));
        }
        let mut last = f32::NEG_INFINITY;
        for (index, key) in self.keys.iter().enumerate() {
            key.check()
                .map_err(|what| Error::argument(format!("key {index} of a film: {what}")))?;
            if key.time <= last {
                return Err(Error::argument(format!(
                    "key {index} of a film has the time {} behind {last}; times must grow",
                    key.time
                )));
            }
            last = key.time;
        }
        Ok(())
    }

    /// The picture of a number, from 0, of a volume of `extent` voxels at distances `spacing`: smooth curves
    /// (Catmull and Rom, with the times of the keys) through what the keys say. Numbers over the last show
    /// the last.
    pub fn frame(
        &self,
        number: u32,
        extent: [u64; 3],
        spacing: [f32; 3],
        pixels: [u32; 2],
    ) -> Frame {
        let (first, last) = match (self.keys.first(), self.keys.last()) {
            (Some(first), Some(last)) => (first.time, last.time),
            _ => (0.0, 0.0),
        };
        let part = number as f32 / (self.frames.max(2) - 1) as f32;
        let time = first + part.min(1.0) * (last - first);
        let behind = self.keys.partition_point(|k| k.time <= time).max(1);
        let around = [
            behind as i64 - 2,
            behind as i64 - 1,
            behind as i64,
            behind as i64 + 1,
        ];
        let ends = self.keys.len() as i64 - 1;
        let keys = around.map(|i| &self.keys[i.clamp(0, ends) as usize]);
        Frame {
            camera: camera(keys, time, extent, spacing, pixels),
            transfer: self.transfer(behind - 1, time),
        }
    }

    fn transfer(&self, key: usize, time: f32) -> Option<TransferFunction> {
        let of = |i: usize| {
            self.keys[..=i]
                .iter()
                .rev()
                .find_map(|k| k.transfer.as_ref())
        };
        let a = of(key)?;
        let Some(next) = self.keys.get(key + 1) else {
            return Some(a.clone());
        };
        let b = next.transfer.as_ref().unwrap_or(a);
        let t = (time - self.keys[key].time) / (next.time - self.keys[key].time);
        Some(mixed(a, b, smooth(t)).unwrap_or_else(|| a.clone()))
    }
}

impl KeyFrame {
    fn check(&self) -> std::result::Result<(), &'static str> {
        let finite = |v: Option<[f32; 3]>| v.is_none_or(|v| v.iter().all(|c| c.is_finite()));
        let numbers = [self.orbit, self.eye, self.look_at, self.up];
        if !self.time.is_finite() || !numbers.into_iter().all(finite) {
            return Err("its numbers must be finite");
        }
        if self.orbit.is_some() == self.eye.is_some() {
            return Err("it needs an orbit or an eye");
        }
        let fits = |[_, elevation, distance]: [f32; 3]| {
            (-90.0..=90.0).contains(&elevation) && (0.01..=1000.0).contains(&distance)
        };
        if !self.orbit.is_none_or(fits) {
            return Err("elevations are -90 to 90 degrees, distances 0.01 to 1000");
        }
        if !self.field_of_view.is_none_or(|f| f > 0.0 && f <= 170.0) {
            return Err("fields of view are over 0 to 170 degrees");
        }
        Ok(())
    }
}

/// From 0 to 1 without a bend at the ends.
fn smooth(t: f32) -> f32 {
    let t = t.clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// A smooth curve through four values at four times, between the second and the third.
fn curve(values: [f32; 4], times: [f32; 4], time: f32) -> f32 {
    let width = times[2] - times[1];
    if width <= 0.0 {
        return values[1];
    }
    // Slopes at both ends, for the whole width; at the end of the film the curve starts at rest.
    let slope = |i: usize| {
        let over = times[i + 1] - times[i - 1];
        if over > 0.0 && times[i] > times[i - 1] && times[i + 1] > times[i] {
            (values[i + 1] - values[i - 1]) / over * width
        } else {
            0.0
        }
    };
    let (a, b) = (slope(1), slope(2));
    let t = ((time - times[1]) / width).clamp(0.0, 1.0);
    let (t2, t3) = (t * t, t * t * t);
    values[1] * (2.0 * t3 - 3.0 * t2 + 1.0)
        + a * (t3 - 2.0 * t2 + t)
        + values[2] * (3.0 * t2 - 2.0 * t3)
        + b * (t3 - t2)
}

fn camera(
    keys: [&KeyFrame; 4],
    time: f32,
    extent: [u64; 3],
    spacing: [f32; 3],
    pixels: [u32; 2],
) -> Camera {
    let times = keys.map(|k| k.time);
    let curve3 = |of: [[f32; 3]; 4]| [0, 1, 2].map(|c| curve(of.map(|v| v[c]), times, time));
    if let [_, Some(_), Some(_), _] = keys.map(|k| k.orbit) {
        // A neighbour that is no orbit is passed at rest.
        let own = |i: usize, otherwise: usize| keys[i].orbit.or(keys[otherwise].orbit);
        let orbits = [own(0, 1), own(1, 1), own(2, 2), own(3, 2)].map(Option::unwrap_or_default);
        let [azimuth, elevation, distance] = curve3(orbits);
        let orbit = Orbit {
            azimuth,
            elevation: elevation.clamp(-90.0, 90.0),
            distance: distance.max(0.01),
            orthographic: false,
        };
        return orbit.camera(extent, spacing, pixels);
    }
    let placed = keys.map(|k| k.placed(extent, spacing));
    let eye = curve3(placed.map(|p| p.eye));
    let target = curve3(placed.map(|p| p.target));
    let up = curve3(placed.map(|p| p.up));
    let field = curve(placed.map(|p| p.field), times, time);
    let forward = [0, 1, 2].map(|a| target[a] - eye[a]);
    Camera {
        eye,
        forward: if dot(forward, forward) > 0.0 {
            forward
        } else {
            [0.0, 1.0, 0.0]
        },
        up: unit(up),
        projection: Projection::Perspective(field.clamp(0.01, 3.0)),
        pixels,
    }
}

/// A camera of a key, in units of the spacing.
#[derive(Clone, Copy)]
struct Placed {
    eye: [f32; 3],
    target: [f32; 3],
    up: [f32; 3],
    field: f32,
}

impl KeyFrame {
    fn placed(&self, extent: [u64; 3], spacing: [f32; 3]) -> Placed {
        let scaled = |p: [f32; 3]| [0, 1, 2].map(|a| p[a] * spacing[a]);
        let middle = scaled(extent.map(|e| e as f32 / 2.0));
        if let Some([azimuth, elevation, distance]) = self.orbit {
            let orbit = Orbit {
                azimuth,
                elevation,
                distance,
                orthographic: false,
            };
            let camera = orbit.camera(extent, spacing, [1, 1]);
            let field = match camera.projection {
                Projection::Perspective(field) | Projection::Orthographic(field) => field,
            };
            return Placed {
                eye: camera.eye,
                target: middle,
                up: camera.up,
                field,
            };
        }
        Placed {
            eye: scaled(self.eye.unwrap_or_default()),
            target: self.look_at.map_or(middle, scaled),
            up: self.up.unwrap_or([0.0, 0.0, 1.0]),
            field: self.field_of_view.unwrap_or(FIELD).to_radians(),
        }
    }
}

/// The points of two functions, mixed; `None` if there are not equally many.
fn mixed(a: &TransferFunction, b: &TransferFunction, t: f32) -> Option<TransferFunction> {
    let mix = |a: f32, b: f32| a + t * (b - a);
    let (opacity, colour) = (a.opacity_points(), a.colour_points());
    let fits = opacity.len() == b.opacity_points().len()
        && colour.len() == b.colour_points().len()
        && a.gradient_points() == b.gradient_points();
    if !fits {
        return None;
    }
    let opacity = opacity.iter().zip(b.opacity_points());
    let opacity = opacity.map(|(a, b)| OpacityPoint {
        value: mix(a.value, b.value),
        opacity: mix(a.opacity, b.opacity).clamp(0.0, 1.0),
    });
    let colour = colour.iter().zip(b.colour_points());
    let colour = colour.map(|(a, b)| ColourPoint {
        value: mix(a.value, b.value),
        rgb: [0, 1, 2].map(|c| mix(a.rgb[c], b.rgb[c]).clamp(0.0, 1.0)),
    });
    TransferFunction::new(opacity.collect(), colour.collect())
        .and_then(|f| f.with_gradient(a.gradient_points().to_vec()))
        .ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn film(text: &str) -> KeyFrames {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn cameras_pass_their_keys_smoothly() {
        let film = film(
            r#"{"frames": 101, "keys": [
                {"time": 0, "orbit": [0, 0, 1]}, {"time": 1, "orbit": [90, 30, 1]},
                {"time": 3, "eye": [200, 50, 50]}, {"time": 4, "eye": [50, 300, 50], "look_at": [50, 50, 0]}]}"#,
        );
        film.check().unwrap();
        let at = |n: u32| film.frame(n, [100; 3], [1.0; 3], [64, 48]).camera;
        let orbit = |azimuth, elevation| Orbit {
            azimuth,
            elevation,
            ..Orbit::default()
        };
        let same = |a: [f32; 3], b: [f32; 3]| (0..3).all(|i| (a[i] - b[i]).abs() < 1e-2);
        let expected = orbit(0.0, 0.0).camera([100; 3], [1.0; 3], [64, 48]);
        assert_eq!(at(0), expected);
        assert!(same(
            at(25).eye,
            orbit(90.0, 30.0).camera([100; 3], [1.0; 3], [64, 48]).eye
        ));
        assert!(same(at(75).eye, [200.0, 50.0, 50.0]));
        assert!(same(at(100).eye, [50.0, 300.0, 50.0]));
        assert!(same(at(100).forward, [0.0, -250.0, -50.0]));
        assert_eq!(at(100), at(500));
        // No jumps: no step is longer than a few of the mean.
        let steps: Vec<f32> = (0..100)
            .map(|n| {
                let way = [0, 1, 2].map(|a| at(n + 1).eye[a] - at(n).eye[a]);
                dot(way, way).sqrt()
            })
            .collect();
        let mean = steps.iter().sum::<f32>() / 100.0;
        assert!(steps.iter().all(|s| *s < 4.0 * mean), "{steps:?}");
    }

    #[test]
    fn transfer_functions_are_mixed() {
        let film = film(
            r#"{"frames": 3, "keys": [
                {"time": 0, "orbit": [0, 0, 1], "transfer": {"opacity": [{"value": 10, "opacity": 0}],
                    "colour": [{"value": 0, "rgb": [0, 0, 0]}]}},
                {"time": 2, "orbit": [0, 0, 1], "transfer": {"opacity": [{"value": 20, "opacity": 1}],
                    "colour": [{"value": 0, "rgb": [1, 0, 0]}]}}]}"#,
        );
        let middle = film.frame(1, [10; 3], [1.0; 3], [8, 8]).transfer.unwrap();
        let point = middle.opacity_points()[0];
        assert_eq!((point.value, point.opacity), (15.0, 0.5));
        let last = film.frame(2, [10; 3], [1.0; 3], [8, 8]).transfer;
        assert_eq!(last, film.keys[1].transfer);
    }

    #[test]
    fn bad_films_are_refused() {
        for (text, part) in [
            (r#"{"frames": 3, "keys": []}"#, "a key"),
            (
                r#"{"frames": 0, "keys": [{"time": 0, "orbit": [0, 0, 1]}]}"#,
                "pictures",
            ),
            (r#"{"frames": 3, "keys": [{"time": 0}]}"#, "orbit or an eye"),
            (
                r#"{"frames": 3, "keys": [{"time": 0, "orbit": [0, 91, 1]}]}"#,
                "degrees",
            ),
            (
                r#"{"frames": 3, "keys": [{"time": 1, "eye": [0, 0, 1]}, {"time": 1, "eye": [0, 0, 1]}]}"#,
                "grow",
            ),
        ] {
            let error = film(text).check().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
