//! Scenes as files.

use serde::{Deserialize, Serialize};

use super::{
    AmbientOcclusion, Background, Clip, Environment, Light, Material, Mode, Scene, TransferFunction,
};

/// All of a scene but the camera and the volume. As JSON with the words of [`Scene`]; what is missing stays
/// as it is:
///
/// ```json
/// {
///   "transfer": {"opacity": [{"value": 0, "opacity": 0}, {"value": 200, "opacity": 0.5}],
///                "colour": [{"value": 0, "rgb": [1, 0.9, 0.7]}]},
///   "mode": "medium",
///   "clip": {"within": [[0, 0, 0], [100, 100, 50]], "planes": [[0, 1, 0, -20]]},
///   "lights": [{"kind": "directional", "direction": [0.5, -0.7, 1], "follows_camera": true},
///              {"kind": "point", "position": [50, -80, 120], "range": 100, "colour": [1, 0.8, 0.6]}],
///   "environment": {"kind": "gradient", "top": [0.8, 0.9, 1], "bottom": [0.3, 0.25, 0.2]},
///   "material": {"ambient": 0.3, "specular": 0.04, "roughness": 0.4, "anisotropy": 0.2},
///   "background": {"colour": [0.02, 0.02, 0.03]},
///   "shadows": true,
///   "ambient_occlusion": {"strength": 0.8, "radius": 20}
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SceneDescription {
    /// Opacity and colour of values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transfer: Option<TransferFunction>,
    /// What a ray makes of values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// What is cut away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<Clip>,
    /// The lights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lights: Option<Vec<Light>>,
    /// Light from all sides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// How what is seen answers light.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub material: Option<Material>,
    /// What is seen where the volume is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub background: Option<Background>,
    /// Whether the lights are dimmed by what they come through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadows: Option<bool>,
    /// Whether the light of the environment is dimmed by what is near.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ambient_occlusion: Option<AmbientOcclusion>,
}

impl SceneDescription {
    /// All of a scene.
    pub fn of(scene: &Scene) -> Self {
        Self {
            transfer: Some(scene.transfer.clone()),
            mode: Some(scene.mode),
            clip: Some(scene.clip.clone()),
            lights: Some(scene.lights.clone()),
            environment: Some(scene.environment),
            material: Some(scene.material),
            background: Some(scene.background),
            shadows: Some(scene.shadows),
            ambient_occlusion: scene.ambient_occlusion,
        }
    }

    /// Gives a scene what is described.
    pub fn apply(&self, scene: &mut Scene) {
        fn set<T: Clone>(to: &mut T, from: Option<&T>) {
            if let Some(from) = from {
                to.clone_from(from);
            }
        }
        set(&mut scene.transfer, self.transfer.as_ref());
        set(&mut scene.mode, self.mode.as_ref());
        set(&mut scene.clip, self.clip.as_ref());
        set(&mut scene.lights, self.lights.as_ref());
        set(&mut scene.environment, self.environment.as_ref());
        set(&mut scene.material, self.material.as_ref());
        set(&mut scene.background, self.background.as_ref());
        set(&mut scene.shadows, self.shadows.as_ref());
        if self.ambient_occlusion.is_some() {
            scene.ambient_occlusion = self.ambient_occlusion;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::render::Orbit;

    #[test]
    fn scenes_come_back_and_missing_parts_stay() {
        let camera = Orbit::default().camera([9; 3], [1.0; 3], [8, 8]);
        let mut scene = Scene::new(camera, TransferFunction::ramp([0.0, 9.0], 0.5));
        scene.material.roughness = Some(0.3);
        scene.ambient_occlusion = Some(AmbientOcclusion::default());
        scene.shadows = true;
        scene.mode = Mode::Surface(4.5);
        scene.clip.planes.push([0.0, 1.0, 0.0, -2.0]);
        scene.lights.push(Light::Point {
            position: [1.0, 2.0, 3.0],
            colour: [1.0, 0.5, 0.25],
            range: 7.0,
            follows_camera: false,
        });
        scene.background = Background::Gradient([1.0; 3], [0.5; 3]);
        let text = serde_json::to_string(&SceneDescription::of(&scene)).unwrap();
        let mut other = Scene::new(camera, TransferFunction::ramp([1.0, 2.0], 0.1));
        let read: SceneDescription = serde_json::from_str(&text).unwrap();
        read.apply(&mut other);
        assert_eq!(other, scene);
        let some = r#"{"lights": [{"kind": "directional", "direction": [0, 0, 1]}],
            "material": {"roughness": 0.4}, "environment": {"kind": "constant", "colour": [0, 0, 1]}}"#;
        let read: SceneDescription = serde_json::from_str(some).unwrap();
        read.apply(&mut other);
        assert_eq!(other.transfer, scene.transfer);
        assert_eq!(other.lights.len(), 1);
        assert_eq!(other.material.roughness, Some(0.4));
        for bad in [
            r#"{"light": []}"#,
            r#"{"lights": [{"kind": "lamp"}]}"#,
            r#"{"lights": [{"kind": "point", "position": [0, 0, 0]}]}"#,
            r#"{"material": {"rough": 1}}"#,
            r#"{"transfer": {"opacity": [], "colour": []}}"#,
        ] {
            assert!(
                serde_json::from_str::<SceneDescription>(bad).is_err(),
                "{bad}"
            );
        }
    }
}
