//! Lights as seen from the places that they light.

use crate::render::light::{Light, MAX_LIGHTS};
use crate::render::vector::{dot, unit};
use crate::stream::schedule::View;

/// A light, wherever the camera is.
#[derive(Debug, Clone, Copy)]
pub(in crate::render) enum Lamp {
    /// Far away in a direction of length 1 or 0.
    Far {
        to_light: [f32; 3],
        colour: [f32; 3],
    },
    /// At a place in units of length.
    Near {
        place: [f32; 3],
        colour: [f32; 3],
        range: f32,
    },
}

/// What a lamp does to a place.
#[derive(Debug, Clone, Copy)]
pub(in crate::render) struct Lit {
    /// Direction to the lamp, of length 1 or 0.
    pub(in crate::render) to_light: [f32; 3],
    /// What a white surface that faces it shows, red, green, blue.
    pub(in crate::render) colour: [f32; 3],
    /// How far away it is.
    pub(in crate::render) distance: f32,
}

/// The lights of a scene that are lamps; all of them, up to the limit that was checked.
pub(in crate::render) fn lamps(lights: &[Light], view: &View, eye: [f32; 3]) -> Vec<Lamp> {
    let [right, up, forward] = view.axes();
    let turned =
        |d: [f32; 3]| [0, 1, 2].map(|a| d[0] * right[a] + d[1] * up[a] + d[2] * forward[a]);
    let lamp = |light: &Light| match *light {
        Light::Directional {
            direction,
            colour,
            follows_camera,
        } => {
            let direction = if follows_camera {
                turned(direction)
            } else {
                direction
            };
            Lamp::Far {
                to_light: unit(direction).map(|c| -c),
                colour,
            }
        }
        Light::Point {
            position,
            colour,
            range,
            follows_camera,
        } => {
            let place = if follows_camera {
                let away = turned(position);
                [0, 1, 2].map(|a| eye[a] + away[a])
            } else {
                position
            };
            Lamp::Near {
                place,
                colour,
                range,
            }
        }
    };
    lights.iter().take(MAX_LIGHTS).map(lamp).collect()
}

impl Lamp {
    /// What it does to a place in units of length.
    #[inline(always)]
    pub(in crate::render) fn at(&self, place: [f32; 3]) -> Lit {
        match *self {
            Self::Far { to_light, colour } => Lit {
                to_light,
                colour,
                distance: f32::INFINITY,
            },
            Self::Near {
                place: lamp,
                colour,
                range,
            } => {
                let way = [0, 1, 2].map(|a| lamp[a] - place[a]);
                let distance = dot(way, way).sqrt();
                let part = range / distance.max(0.01 * range);
                Lit {
                    to_light: unit(way),
                    colour: colour.map(|c| c * part * part),
                    distance,
                }
            }
        }
    }
}
