//! What is to be shown, and how.

use serde::{Deserialize, Serialize};

use super::TransferFunction;
use crate::stream::schedule::{Camera, Projection};

/// A light from far away.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Light {
    /// Where its light goes, x, y, z; need not have length 1. With `follows_camera` right, up and forward of
    /// the camera.
    pub direction: [f32; 3],
    /// Whether it moves with the camera.
    pub follows_camera: bool,
    /// Red, green, blue; 1 lights a white surface that faces it to white.
    pub colour: [f32; 3],
}

/// How what is seen answers light.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Material {
    /// Part of the colour that is seen without any light.
    pub ambient: f32,
    /// Part of light that is scattered to all sides by surfaces.
    pub diffuse: f32,
    /// Part of light that surfaces mirror.
    pub specular: f32,
    /// How sharp a highlight is: exponent of Blinn and Phong, 1 or more.
    pub shininess: f32,
    /// Where values change by this part of the transfer function's span from one voxel to the next, light
    /// counts half as on a surface; less where they change less, as there is no surface then.
    pub surface: f32,
}

/// What is seen where the volume is not.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Background {
    /// Nothing: the image keeps its opacity.
    Transparent,
    /// One colour as light, red, green, blue.
    Colour([f32; 3]),
    /// From the upper to the lower edge of the picture.
    Gradient([f32; 3], [f32; 3]),
}

/// What is to be shown, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// From where. Lengths are those of `spacing`: voxels of the full resolution where that is 1. Of its
    /// `pixels` the picture needs none.
    pub camera: Camera,
    /// Distance of neighbouring voxels of the full resolution along x, y, z, in units of the camera.
    /// Opacities are for the length 1. The volume starts at the origin.
    pub spacing: [f32; 3],
    /// Opacity and colour of values.
    pub transfer: TransferFunction,
    /// The light.
    pub light: Light,
    /// How what is seen answers light.
    pub material: Material,
    /// What is seen where the volume is not.
    pub background: Background,
}

impl Default for Light {
    /// From over the left shoulder.
    fn default() -> Self {
        Self {
            direction: [0.5, -0.7, 1.0],
            follows_camera: true,
            colour: [1.0; 3],
        }
    }
}

impl Default for Material {
    fn default() -> Self {
        Self {
            ambient: 0.25,
            diffuse: 0.75,
            specular: 0.2,
            shininess: 24.0,
            surface: 0.01,
        }
    }
}

impl Material {
    /// Colours as the transfer function has them, whatever the light.
    pub const FLAT: Self = Self {
        ambient: 1.0,
        diffuse: 0.0,
        specular: 0.0,
        shininess: 1.0,
        surface: 0.01,
    };
}

impl Scene {
    /// `transfer` seen from `camera`, with the usual light on black.
    pub fn new(camera: Camera, transfer: TransferFunction) -> Self {
        Self {
            camera,
            spacing: [1.0; 3],
            transfer,
            light: Light::default(),
            material: Material::default(),
            background: Background::Colour([0.0; 3]),
        }
    }

    /// The camera in voxels of the full resolution, as the scheduler takes it. Exact where the spacing is
    /// the same along all axes, else near enough to choose levels of detail.
    pub fn voxel_camera(&self) -> Camera {
        let voxels = |v: [f32; 3]| [0, 1, 2].map(|a| v[a] / self.spacing[a]);
        let mean = self.spacing.iter().product::<f32>().cbrt();
        Camera {
            eye: voxels(self.camera.eye),
            forward: voxels(self.camera.forward),
            up: voxels(self.camera.up),
            projection: match self.camera.projection {
                Projection::Orthographic(height) => Projection::Orthographic(height / mean),
                perspective @ Projection::Perspective(_) => perspective,
            },
            pixels: self.camera.pixels,
        }
    }
}
