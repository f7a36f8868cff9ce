//! Where light comes from.

use serde::{Deserialize, Serialize};

use super::vector::{dot, unit};
use crate::{Error, Result};

/// Most lights of a scene.
pub const MAX_LIGHTS: usize = 8;

/// A light. As JSON: `{"kind": "directional", "direction": [0, 0, 1]}` or
/// `{"kind": "point", "position": [10, 20, -30], "range": 100}`, both also with `"colour": [1, 1, 1]` and
/// `"follows_camera": false`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Light {
    /// From far away.
    Directional {
        /// Where its light goes, x, y, z; need not have length 1. With `follows_camera` right, up and forward
        /// of the camera.
        direction: [f32; 3],
        /// Red, green, blue; 1 lights a white surface that faces it to white.
        #[serde(default = "white")]
        colour: [f32; 3],
        /// Whether it moves with the camera.
        #[serde(default)]
        follows_camera: bool,
    },
    /// From one place to all sides, falling with the square of the distance.
    Point {
        /// Where it is, in units of the camera. With `follows_camera` right, up and forward of the eye.
        position: [f32; 3],
        /// Red, green, blue; 1 lights a white surface that faces it from `range` away to white.
        #[serde(default = "white")]
        colour: [f32; 3],
        /// Distance from which it has its colour, over 0, in units of the camera. Nearer than a hundredth of
        /// it the light grows no more.
        range: f32,
        /// Whether it moves with the camera.
        #[serde(default)]
        follows_camera: bool,
    },
}

/// Light from all sides, of which the part `ambient` of the material counts. As JSON:
/// `{"kind": "constant", "colour": [1, 1, 1]}` or
/// `{"kind": "gradient", "top": [0.5, 0.7, 1], "bottom": [0.2, 0.2, 0.2], "up": [0, 0, 1]}`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Environment {
    /// The same from everywhere.
    Constant {
        /// Red, green, blue.
        colour: [f32; 3],
    },
    /// A sky: linear in the height over the horizon.
    Gradient {
        /// Light from straight above.
        top: [f32; 3],
        /// Light from straight below.
        bottom: [f32; 3],
        /// What is above; need not have length 1.
        #[serde(default = "upwards")]
        up: [f32; 3],
    },
}

fn white() -> [f32; 3] {
    [1.0; 3]
}

fn upwards() -> [f32; 3] {
    [0.0, 0.0, 1.0]
}

impl Default for Light {
    /// From over the left shoulder.
    fn default() -> Self {
        Self::Directional {
            direction: [0.5, -0.7, 1.0],
            colour: white(),
            follows_camera: true,
        }
    }
}

impl Default for Environment {
    /// White from everywhere.
    fn default() -> Self {
        Self::Constant { colour: white() }
    }
}

impl Light {
    pub(super) fn check(&self) -> Result<()> {
        let (place, colour, range) = match *self {
            Self::Directional {
                direction, colour, ..
            } => (direction, colour, 1.0),
            Self::Point {
                position,
                colour,
                range,
                ..
            } => (position, colour, range),
        };
        let fits = place.iter().all(|c| c.is_finite()) && range.is_finite() && range > 0.0;
        if !fits || !is_light(colour) {
            return Err(Error::argument(format!(
                "{self:?}: a light has finite numbers, colours of 0 or more and a range over 0"
            )));
        }
        Ok(())
    }
}

impl Environment {
    pub(super) fn check(&self) -> Result<()> {
        let fits = match *self {
            Self::Constant { colour } => is_light(colour),
            Self::Gradient { top, bottom, up } => {
                is_light(top) && is_light(bottom) && up.iter().all(|c| c.is_finite())
            }
        };
        if fits {
            return Ok(());
        }
        Err(Error::argument(format!(
            "{self:?}: an environment has finite numbers and colours of 0 or more"
        )))
    }

    /// Light from a direction of length 1.
    pub(super) fn light_from(&self, direction: [f32; 3]) -> [f32; 3] {
        match *self {
            Self::Constant { colour } => colour,
            Self::Gradient { top, bottom, up } => {
                between(bottom, top, 0.5 + 0.5 * dot(unit(up), direction))
            }
        }
    }

    /// What a white surface with a normal scatters of it, if nothing is in the way; with a normal shorter
    /// than 1 that part of what a surface scatters, and else of the light from all sides.
    pub(super) fn scattered(&self, normal: [f32; 3]) -> [f32; 3] {
        match *self {
            Self::Constant { colour } => colour,
            // The mean of the height over a half space, weighted with the cosine, is 2/3.
            Self::Gradient { top, bottom, up } => {
                between(bottom, top, 0.5 + dot(unit(up), normal) / 3.0)
            }
        }
    }
}

fn between(a: [f32; 3], b: [f32; 3], t: f32) -> [f32; 3] {
    [0, 1, 2].map(|c| a[c] + t * (b[c] - a[c]))
}

/// Whether light is finite and not less than nothing.
pub(super) fn is_light(colour: [f32; 3]) -> bool {
    colour.iter().all(|&c| c.is_finite() && c >= 0.0)
}
