//! From the words of `hgv render` to a scene.

use hgv::Result;
use hgv::render::{AmbientOcclusion, Background, Clip, Orbit, Scene, TransferFunction};
use hgv::stream::schedule::{Camera, Projection};

use crate::render_args::{BackgroundArg, CameraArgs, RenderArgs};
use crate::scene_files::SceneFiles;

/// How far away matter takes light from all sides: a part of the longest side of the volume, and at least
/// so many of its smallest voxel distances.
const NEAR: f32 = 0.04;
const NEAR_LEAST: f32 = 8.0;

/// What a scene has to know of a volume.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) extent: [u64; 3],
    /// Distances of voxels, the least one 1.
    pub(crate) spacing: [f32; 3],
}

/// The scene of a picture of a number.
///
/// # Errors
/// [`Error::InvalidArgument`](hgv::Error) for a region that the volume does not have.
pub(crate) fn scene(
    args: &RenderArgs,
    files: &SceneFiles,
    volume: Shape,
    transfer: TransferFunction,
    turn: u32,
) -> Result<Scene> {
    let spacing = volume.spacing;
    let frame = files
        .film
        .as_ref()
        .map(|f| f.frame(turn, volume.extent, spacing, args.size));
    let camera = match &frame {
        Some(frame) => frame.camera,
        None => camera(&args.camera, volume, args.size, turn as f32, args.turntable),
    };
    let within = args.look.region.as_ref().map(|r| r.within(volume.extent));
    let corner = |p: [u64; 3]| [0, 1, 2].map(|a| p[a] as f32 * spacing[a]);
    let within = within
        .transpose()?
        .map(|r| [corner(r.start), corner(r.end)]);
    let mut scene = Scene {
        spacing,
        mode: args.look.mode,
        clip: Clip {
            within,
            planes: Vec::new(),
        },
        background: match args.look.background {
            BackgroundArg::Black => Background::Colour([0.0; 3]),
            BackgroundArg::White => Background::Colour([1.0; 3]),
            BackgroundArg::Clear => Background::Transparent,
        },
        ..Scene::new(camera, transfer)
    };
    files.description.apply(&mut scene);
    if let Some(transfer) = frame.and_then(|f| f.transfer) {
        scene.transfer = transfer;
    }
    scene.shadows |= args.light.shadows;
    if let Some(strength) = args.light.ambient_occlusion {
        let longest = (0..3).map(|a| volume.extent[a] as f32 * spacing[a]);
        let longest = longest.fold(0.0, f32::max);
        scene.ambient_occlusion = Some(AmbientOcclusion {
            strength,
            radius: (NEAR * longest).max(NEAR_LEAST),
        });
    }
    Ok(scene)
}

fn camera(
    args: &CameraArgs,
    volume: Shape,
    pixels: [u32; 2],
    turn: f32,
    turns: Option<u32>,
) -> Camera {
    let spacing = volume.spacing;
    let scaled = |p: [f32; 3]| [0, 1, 2].map(|a| p[a] * spacing[a]);
    if let Some(eye) = args.eye {
        let middle = volume.extent.map(|e| e as f32 / 2.0);
        let (eye, target) = (scaled(eye), scaled(args.look_at.unwrap_or(middle)));
        return Camera {
            eye,
            forward: [0, 1, 2].map(|a| target[a] - eye[a]),
            up: args.up,
            projection: Projection::Perspective(0.7),
            pixels,
        };
    }
    let orbit = args.orbit.unwrap_or_default();
    let orbit = Orbit {
        azimuth: orbit.azimuth + turns.map_or(0.0, |n| 360.0 * turn / n as f32),
        orthographic: args.orthographic,
        ..orbit
    };
    orbit.camera(volume.extent, spacing, pixels)
}
