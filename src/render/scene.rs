//! What is to be shown, and how.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::light::{MAX_LIGHTS, is_light};
use super::vector::dot;
use super::{Environment, Light, TransferFunction};
use crate::stream::schedule::{Camera, OpacityBound, Projection, View};
use crate::{Error, Result};

/// How what is seen answers light. As JSON what is missing is as in the default.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Material {
    /// Part of the environment's light that counts.
    pub ambient: f32,
    /// Part of the lights that is scattered.
    pub diffuse: f32,
    /// Part of light that surfaces mirror; with `roughness` where they face it, and more at an angle.
    pub specular: f32,
    /// How sharp a highlight is: exponent of Blinn and Phong, 1 or more. Counts without `roughness`.
    pub shininess: f32,
    /// Roughness of surfaces, 0 (a mirror) to 1: highlights are those of microfacets (GGX).
    pub roughness: Option<f32>,
    /// Where values change by this part of the transfer function's span from one voxel to the next, light
    /// counts half as on a surface; less where they change less, as there is no surface then.
    pub surface: f32,
    /// Mean cosine of the angles by which light is scattered where there is no surface, -1..1: 0 to all
    /// sides alike, over 0 forward (Henyey and Greenstein).
    pub anisotropy: f32,
    /// Part of their colour by which values glow.
    pub emission: f32,
}

/// What is seen where the volume is not.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Background {
    /// Nothing: the image keeps its opacity.
    Transparent,
    /// One colour as light, red, green, blue.
    Colour([f32; 3]),
    /// From the upper to the lower edge of the picture.
    Gradient([f32; 3], [f32; 3]),
}

/// What a ray makes of the values that it meets.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Light through a medium whose opacity and colour the transfer function gives.
    #[default]
    Medium,
    /// The largest value, in its colour. What is not known counts for nothing.
    Maximum,
    /// The mean value along the ray, in its colour: an X-ray picture.
    Mean,
    /// The surface where values reach this one, in its colour.
    Surface(f32),
}

/// What is cut away.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Clip {
    /// Lower and upper corner of a box outside of which nothing is shown, in units of the camera.
    pub within: Option<[[f32; 3]; 2]>,
    /// Planes: a place `p` is shown where `dot(plane[..3], p) + plane[3] >= 0` for all of them, in units of
    /// the camera.
    pub planes: Vec<[f32; 4]>,
}

/// Light of the environment is missing where matter is near.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AmbientOcclusion {
    /// Part of the light that can be missing, 0..=1.
    pub strength: f32,
    /// How far away matter counts, in units of the camera, over 0; the nearer the more.
    pub radius: f32,
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
    /// What a ray makes of values.
    pub mode: Mode,
    /// What is cut away.
    pub clip: Clip,
    /// The lights, at most [`MAX_LIGHTS`](super::MAX_LIGHTS).
    pub lights: Vec<Light>,
    /// Light from all sides.
    pub environment: Environment,
    /// Whether the lights are dimmed by what they come through. Blocks outside of the picture throw shadows
    /// too, as far as they are there. Path tracing always does.
    pub shadows: bool,
    /// Whether the light of the environment is dimmed by what is near. Path tracing always does.
    pub ambient_occlusion: Option<AmbientOcclusion>,
    /// How what is seen answers light.
    pub material: Material,
    /// What is seen where the volume is not.
    pub background: Background,
}

impl Default for AmbientOcclusion {
    fn default() -> Self {
        Self {
            strength: 1.0,
            radius: 16.0,
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
            roughness: None,
            surface: 0.01,
            anisotropy: 0.0,
            emission: 0.0,
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
        roughness: None,
        surface: 0.01,
        anisotropy: 0.0,
        emission: 0.0,
    };
}

impl Material {
    fn check(&self) -> Result<()> {
        let parts = [self.ambient, self.diffuse, self.emission];
        let fits = is_light(parts)
            && (0.0..=1.0).contains(&self.specular)
            && (0.0..=1e6).contains(&self.shininess)
            && self.roughness.is_none_or(|r| (0.0..=1.0).contains(&r))
            && self.surface.is_finite()
            && self.anisotropy.abs() < 1.0;
        if fits {
            return Ok(());
        }
        Err(Error::argument(format!(
            "{self:?}: parts of light are 0 or more, specular and roughness 0 to 1, shininess 0 to a million, anisotropy between -1 and 1"
        )))
    }
}

impl Scene {
    /// `transfer` seen from `camera`, with the usual light on black.
    pub fn new(camera: Camera, transfer: TransferFunction) -> Self {
        Self {
            camera,
            spacing: [1.0; 3],
            transfer,
            mode: Mode::default(),
            clip: Clip::default(),
            lights: vec![Light::default()],
            environment: Environment::default(),
            shadows: false,
            ambient_occlusion: None,
            material: Material::default(),
            background: Background::Colour([0.0; 3]),
        }
    }

    /// Whether all numbers make sense.
    pub(super) fn check(&self) -> Result<()> {
        if !self.spacing.iter().all(|&s| s.is_finite() && s > 0.0) {
            return Err(Error::argument(format!(
                "voxels at distances {:?}; they must be positive numbers",
                self.spacing
            )));
        }
        let camera = &self.camera;
        let numbers = [camera.eye, camera.forward, camera.up];
        if !numbers.as_flattened().iter().all(|c| c.is_finite()) {
            return Err(Error::argument(
                "the camera has a place or direction that is not a number",
            ));
        }
        if self.lights.len() > MAX_LIGHTS {
            return Err(Error::argument(format!(
                "{} lights; a scene has at most {MAX_LIGHTS}",
                self.lights.len()
            )));
        }
        self.lights.iter().try_for_each(Light::check)?;
        self.environment.check()?;
        self.material.check()?;
        if let Some(AmbientOcclusion { strength, radius }) = self.ambient_occlusion
            && !((0.0..=1.0).contains(&strength) && radius.is_finite() && radius > 0.0)
        {
            return Err(Error::argument(format!(
                "ambient occlusion of strength {strength} and radius {radius}; strengths are 0 to 1 and radii over 0"
            )));
        }
        Ok(())
    }

    /// Whether what is not in the picture changes it.
    pub(super) fn sees_aside(&self) -> bool {
        self.shadows || self.ambient_occlusion.is_some()
    }

    /// What may be seen of values: the most opacity that the scene gives to a range, as a scheduler takes it.
    pub fn opacity(&self) -> Arc<dyn OpacityBound + Send + Sync> {
        match self.mode {
            Mode::Medium => Arc::new(self.transfer.clone()),
            Mode::Maximum | Mode::Mean => Arc::new(|_: [f32; 2]| 1.0),
            Mode::Surface(value) => {
                Arc::new(move |[_, hi]: [f32; 2]| if hi < value { 0.0 } else { 1.0 })
            }
        }
    }

    /// The camera in voxels of the full resolution, as a scheduler takes it. Where distances differ by axis a
    /// picture has no such camera: then one that sees all of the picture, at least as finely.
    pub fn voxel_camera(&self) -> Camera {
        let camera = &self.camera;
        let voxels = |v: [f32; 3]| [0, 1, 2].map(|a| v[a] / self.spacing[a]);
        let straight = Camera {
            eye: voxels(camera.eye),
            forward: voxels(camera.forward),
            up: voxels(camera.up),
            ..*camera
        };
        let most = self.spacing.iter().copied().fold(0.0, f32::max);
        let [width, height] = camera.pixels.map(|n| n.max(1) as f32);
        // Corners of the picture as that camera sees them, a unit of length before the eye.
        let axes = View::new(&straight).axes();
        let (world, middle) = (View::new(camera), camera.eye);
        let mut half = 0.0f32;
        let mut nearer = 0.0f32;
        for [x, y] in [[0.0, 0.0], [width, 0.0], [0.0, height], [width, height]] {
            let (from, direction) = world.ray(x, y);
            let away = match camera.projection {
                Projection::Perspective(_) => direction,
                Projection::Orthographic(_) => [0, 1, 2].map(|a| from[a] - middle[a]),
            };
            let [aside, above, ahead] = axes.map(|axis| dot(axis, voxels(away)));
            let depth = match camera.projection {
                Projection::Perspective(_) => ahead.max(1e-3),
                Projection::Orthographic(_) => 1.0,
            };
            half = half.max((above.abs()).max(aside.abs() * height / width) / depth);
            nearer = nearer.max(dot(voxels(direction), voxels(direction)).sqrt());
        }
        // Pixels that a voxel is wide, along the axis of the widest, over what that camera thinks.
        let (projection, finer) = match camera.projection {
            Projection::Perspective(angle) => (
                Projection::Perspective((2.0 * half.atan()).min(3.0)),
                half / (angle / 2.0).tan() * most * nearer,
            ),
            Projection::Orthographic(height) => (
                Projection::Orthographic(2.0 * half),
                2.0 * half / height * most,
            ),
        };
        // What rounding adds to the same distances is no pixel.
        let pixels = |n: u32| (n.max(1) as f32 * finer.max(1.0) - 0.01).ceil() as u32;
        Camera {
            projection,
            pixels: camera.pixels.map(pixels),
            ..straight
        }
    }
}
