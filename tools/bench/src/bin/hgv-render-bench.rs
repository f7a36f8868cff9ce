//! Frame times of the ray marcher on a volume that is in memory, without the first frame, which gives bricks
//! their aprons: `hgv-render-bench VOLUME.raw --shape X,Y,Z --transfer FILE.json`. Prints one line of JSON;
//! the camera in it lets another renderer draw the same view.

#![allow(clippy::print_stdout)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use hgv::render::{
    Image, Light, Orbit, RenderOptions, Renderer, Scene, ToneMapping, TransferFunction,
    dense_bricks,
};
use hgv::stream::schedule::Projection;
use hgv::volume::{DType, MemoryVolume, Metadata};
use hgv::{Error, Result};
use serde::Serialize;

#[derive(Parser)]
struct Args {
    /// Voxels, uint8, x fastest
    volume: PathBuf,
    #[arg(long, value_delimiter = ',', num_args = 3)]
    shape: Vec<u64>,
    /// Transfer function as `hgv render` takes it
    #[arg(long)]
    transfer: PathBuf,
    #[arg(long, value_delimiter = ',', num_args = 2, default_value = "1280,720")]
    size: Vec<u32>,
    /// Frames that are timed
    #[arg(long, default_value_t = 5)]
    frames: u32,
    /// Distance of samples in voxels
    #[arg(long, default_value_t = 0.5)]
    step: f32,
    /// With shadows
    #[arg(long)]
    shadows: bool,
    /// Where the last frame is written, as PPM
    #[arg(long)]
    picture: Option<PathBuf>,
}

#[derive(Serialize)]
struct Output {
    seconds: Vec<f64>,
    first_seconds: f64,
    eye: [f32; 3],
    forward: [f32; 3],
    up: [f32; 3],
    /// Vertical field of view in degrees.
    field: f32,
    ambient: f32,
    diffuse: f32,
    specular: f32,
    shininess: f32,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let extent = three(&args.shape)?;
    let size = [args.size[0], args.size[1]];
    let bytes = std::fs::read(&args.volume).map_err(|e| io(&args.volume, e))?;
    let volume = MemoryVolume::from_bytes(extent, DType::Uint8, bytes, Metadata::default())?;
    let bricks = dense_bricks(&volume)?;
    let text = std::fs::read_to_string(&args.transfer).map_err(|e| io(&args.transfer, e))?;
    let transfer: TransferFunction =
        serde_json::from_str(&text).map_err(|e| Error::Input(e.to_string()))?;
    let camera = Orbit::default().camera(extent, [1.0; 3], size);
    let mut scene = Scene::new(camera, transfer);
    // From the eye, as headlights of other renderers.
    scene.lights = vec![Light::Directional {
        direction: [0.0, 0.0, 1.0],
        colour: [1.0; 3],
        follows_camera: true,
    }];
    if args.shadows {
        // From over the left shoulder: headlights throw no shadow that can be seen.
        scene.lights = vec![Light::default()];
        scene.shadows = true;
    }
    let mut options = RenderOptions::default();
    options.step = args.step;
    let mut renderer = Renderer::new(u64::MAX);
    let mut seconds = Vec::new();
    let mut image = None;
    for _ in 0..=args.frames {
        let start = Instant::now();
        image = Some(renderer.render(&bricks, &scene, size, &options)?);
        seconds.push(start.elapsed().as_secs_f64());
    }
    if let (Some(path), Some(image)) = (&args.picture, &image) {
        write(path, image)?;
    }
    let output = Output {
        first_seconds: seconds.remove(0),
        seconds,
        eye: camera.eye,
        forward: camera.forward,
        up: camera.up,
        field: match camera.projection {
            Projection::Perspective(angle) => angle.to_degrees(),
            Projection::Orthographic(_) => 0.0,
        },
        ambient: scene.material.ambient,
        diffuse: scene.material.diffuse,
        specular: scene.material.specular,
        shininess: scene.material.shininess,
    };
    let line = serde_json::to_string(&output).map_err(|e| Error::Input(e.to_string()))?;
    println!("{line}");
    Ok(())
}

fn three(shape: &[u64]) -> Result<[u64; 3]> {
    shape
        .try_into()
        .map_err(|_| Error::InvalidArgument("--shape takes X,Y,Z".into()))
}

fn io(path: &Path, error: std::io::Error) -> Error {
    Error::io(path.display().to_string(), error)
}

fn write(path: &Path, image: &Image) -> Result<()> {
    let [width, height] = image.size;
    let mut bytes = format!("P6 {width} {height} 255\n").into_bytes();
    bytes.extend(image.to_rgb8(1.0, ToneMapping::default()));
    std::fs::File::create(path)
        .and_then(|mut file| file.write_all(&bytes))
        .map_err(|e| io(path, e))
}
