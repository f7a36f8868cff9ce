//! From what a page asks for to what a renderer draws.

use hgv::render::{Background, Clip, Light, Material, Orbit, Scene};
use hgv::stream::schedule::{Camera, Caps, Projection};

use super::protocol::{CameraState, Lighting, Look};
use crate::subject::Subject;

/// Vertical field of view in radians.
pub(crate) const FIELD: f32 = 0.52;

/// What is to be drawn.
pub(crate) fn scene(subject: &Subject, camera: &CameraState, look: &Look) -> Scene {
    let spacing = subject.spacing;
    let corner = |p: [f32; 3]| [0, 1, 2].map(|a| p[a] * spacing[a]);
    let whole =
        (0..3).all(|a| look.clip[0][a] <= 0.0 && look.clip[1][a] >= subject.extent[a] as f32);
    let (light, material) = lighting(&look.lighting);
    Scene {
        spacing,
        mode: look.mode,
        clip: Clip {
            within: (!whole).then(|| look.clip.map(corner)),
            planes: Vec::new(),
        },
        lights: vec![light],
        material,
        background: Background::Colour(look.background.map(from_srgb)),
        ..Scene::new(place(subject, camera), look.transfer.clone())
    }
}

/// Bounds of what is fetched and shown.
pub(crate) fn caps(look: &Look) -> Caps {
    Caps {
        finest_lod: look.lod,
        highest_level: look.level,
    }
}

fn place(subject: &Subject, state: &CameraState) -> Camera {
    let orbit = Orbit {
        azimuth: state.azimuth,
        elevation: state.elevation,
        ..Orbit::default()
    };
    let turned = orbit.camera(subject.extent, subject.spacing, state.size);
    let projection = if state.orthographic {
        Projection::Orthographic(2.0 * state.distance * (FIELD / 2.0).tan())
    } else {
        Projection::Perspective(FIELD)
    };
    // Without perspective the distance is a matter of size only: from far enough, nothing lies behind the eye.
    let size = [0, 1, 2].map(|a| subject.extent[a] as f32 * subject.spacing[a]);
    let away = if state.orthographic {
        state.distance.max(2.0 * size.iter().sum::<f32>())
    } else {
        state.distance
    };
    Camera {
        eye: [0, 1, 2].map(|a| state.target[a] - away * turned.forward[a]),
        projection,
        ..turned
    }
}

fn lighting(state: &Lighting) -> (Light, Material) {
    let (azimuth, elevation) = (state.azimuth.to_radians(), state.elevation.to_radians());
    let light = Light::Directional {
        // Where it goes: right, up and forward of the camera.
        direction: [
            -azimuth.sin() * elevation.cos(),
            -elevation.sin(),
            azimuth.cos() * elevation.cos(),
        ],
        colour: [1.0; 3],
        follows_camera: true,
    };
    let material = Material {
        ambient: state.ambient,
        diffuse: state.diffuse,
        specular: state.specular,
        ..Material::default()
    };
    (light, material)
}

/// A channel of an sRGB picture as light, both 0..=1.
fn from_srgb(channel: f32) -> f32 {
    if channel <= 0.04045 {
        channel / 12.92
    } else {
        ((channel + 0.055) / 1.055).powf(2.4)
    }
}
