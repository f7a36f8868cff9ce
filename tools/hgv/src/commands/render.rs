//! `hgv render`: a volume, or the part of it that a camera sees, as a picture.

use std::path::{Path, PathBuf};
use std::time::Instant;

use hgv::backend::BackendChoice;
use hgv::render::{
    Background, Clip, Image, Orbit, RenderOptions, Renderer, Scene, ToneMapping, TransferFunction,
    picture_ssim,
};
use hgv::stream::Bricks;
use hgv::stream::schedule::{Camera, Projection, View};
use hgv::{Error, Result};
use serde::Serialize;

use super::{Context, Outcome};
use crate::machine;
use crate::output::human_bytes;
use crate::paths;
use crate::progress::seconds;
use crate::render_args::{BackgroundArg, CameraArgs, CapArgs, RenderArgs};
use crate::report;
use crate::subject::{Content, Subject, wait};

/// How much finer than the picture the levels of detail of a comparison are chosen.
const FINER: u32 = 64;
/// Factor of differences that are shown.
const AMPLIFIED: i32 = 10;

#[derive(Serialize)]
struct Json {
    outputs: Vec<String>,
    size: [u32; 2],
    /// Whether all that the pictures can show was there.
    complete: bool,
    bricks: usize,
    fetched_bytes: u64,
    load_seconds: f64,
    render_seconds: f64,
    /// What drew the last picture.
    backend: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ssim: Option<f64>,
    transfer: TransferFunction,
}

pub(crate) fn run(args: &RenderArgs, context: &Context) -> Result<Outcome> {
    let inputs = [Some(&args.input), args.against.as_ref()];
    for output in outputs(args) {
        let inputs = inputs.into_iter().flatten().map(PathBuf::as_path);
        paths::check_output(&output, inputs, context.force)?;
    }
    if !args
        .output
        .to_string_lossy()
        .to_ascii_lowercase()
        .ends_with(".png")
    {
        return Err(Error::argument(format!(
            "{}: the name of the picture must end in .png",
            args.output.display()
        )));
    }
    let json = draw_all(args, context)?;
    context.progress.clear();
    context.output.result(&json, || text(&json))?;
    Ok(Outcome::Done)
}

fn text(json: &Json) -> String {
    let names = match &json.outputs[..] {
        [one] => one.clone(),
        [first, .., last] => format!("{first} to {last}"),
        [] => String::new(),
    };
    let ssim = json
        .ssim
        .map_or_else(String::new, |s| format!(", SSIM {s:.5}"));
    let whole = if json.complete {
        ""
    } else {
        ", not all fetched"
    };
    format!(
        "{names}: {} x {} pixels{ssim}, {} bricks, {} fetched in {}{whole}, drawn in {} on {}",
        json.size[0],
        json.size[1],
        json.bricks,
        human_bytes(json.fetched_bytes),
        seconds(json.load_seconds),
        seconds(json.render_seconds),
        json.backend
    )
}

/// Names of the pictures.
fn outputs(args: &RenderArgs) -> Vec<PathBuf> {
    let Some(count) = args.turntable else {
        return vec![args.output.clone()];
    };
    let stem = args
        .output
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy();
    let name = |i: u32| args.output.with_file_name(format!("{stem}-{i:03}.png"));
    (0..count).map(name).collect()
}

fn draw_all(args: &RenderArgs, context: &Context) -> Result<Json> {
    let renderer = renderer(args, context)?;
    let open =
        |path: &Path, caps: &CapArgs| Subject::open(path, &args.raw, caps, args.memory, context);
    let subject = open(&args.input, &args.caps)?;
    let whole = CapArgs::default();
    let original = args.against.as_ref().map(|path| open(path, &whole));
    let original = original.transpose()?;
    if let Some(original) = &original
        && original.extent != subject.extent
    {
        return Err(Error::Input(format!(
            "{} has {:?} voxels, {} has {:?}; only equal extents can be shown beside each other",
            args.input.display(),
            subject.extent,
            original_name(args),
            original.extent
        )));
    }
    // The original says what is to be seen.
    let transfer = original
        .as_ref()
        .unwrap_or(&subject)
        .transfer(&args.look, context)?;
    let mut job = Job {
        args,
        context,
        renderer,
        json: Json {
            outputs: Vec::new(),
            size: args.size,
            complete: true,
            bricks: 0,
            fetched_bytes: 0,
            load_seconds: 0.0,
            render_seconds: 0.0,
            backend: String::new(),
            ssim: None,
            transfer: transfer.clone(),
        },
    };
    for (turn, output) in outputs(args).iter().enumerate() {
        let scene = scene(args, &subject, transfer.clone(), turn as f32)?;
        let picture = job.picture(&subject, &scene)?;
        match &original {
            Some(original) => {
                let left = job.picture(original, &scene)?;
                job.json.ssim = picture_ssim(&left.rgb(), &picture.rgb(), args.size);
                let beside = beside(&left, &picture);
                job.json.size = beside.size;
                write(output, &beside, context.force)?;
            }
            None => write(output, &picture, context.force)?,
        }
        job.json.outputs.push(output.display().to_string());
    }
    Ok(job.json)
}

fn original_name(args: &RenderArgs) -> String {
    args.against
        .as_ref()
        .map_or_else(String::new, |p| p.display().to_string())
}

/// A picture of 8 bits.
struct Picture {
    size: [u32; 2],
    /// Red, green, blue, opacity, `[y][x]`.
    pixels: Vec<u8>,
}

impl Picture {
    fn rgb(&self) -> Vec<u8> {
        let pixels = self.pixels.as_chunks::<4>().0;
        pixels.iter().flat_map(|&[r, g, b, _]| [r, g, b]).collect()
    }
}

struct Job<'a> {
    args: &'a RenderArgs,
    context: &'a Context,
    renderer: Renderer,
    json: Json,
}

impl Job<'_> {
    fn picture(&mut self, subject: &Subject, scene: &Scene) -> Result<Picture> {
        let start = Instant::now();
        let bricks = self.bricks(subject, scene)?;
        self.json.load_seconds += start.elapsed().as_secs_f64();
        let done = self.json.outputs.len();
        let _ = self
            .context
            .progress
            .say("drawing", &format!("picture {}", done + 1));
        let look = &self.args.look;
        let mut options = RenderOptions::default();
        options.step = look.step as f32;
        options.sampling = self.args.sampling.into();
        let start = Instant::now();
        let image = self.draw(&bricks, scene, &options)?;
        self.json.render_seconds += start.elapsed().as_secs_f64();
        self.json.bricks = self.renderer.stats().bricks;
        self.json.backend = self.renderer.backend();
        Ok(Picture {
            size: self.args.size,
            pixels: image.to_rgba8(look.exposure as f32, ToneMapping::from(look.tone)),
        })
    }

    fn draw(&mut self, bricks: &Bricks, scene: &Scene, options: &RenderOptions) -> Result<Image> {
        let size = self.args.size;
        let error = match self.renderer.render(bricks, scene, size, options) {
            Err(error) if may_fall_back(self.args, &error) => error,
            other => return other,
        };
        let note = format!("{error}; the CPU draws");
        self.context.output.remark(&note);
        self.renderer = Renderer::new(self.args.memory / 2);
        self.renderer.render(bricks, scene, size, options)
    }

    /// What there is to draw a scene from, once all is there or the time is up.
    fn bricks(&mut self, subject: &Subject, scene: &Scene) -> Result<Bricks> {
        let streamer = match &subject.content {
            Content::Whole(bricks) => return Ok(bricks.clone()),
            Content::Streamed(streamer) => streamer,
        };
        // What is compared is compared at the full resolution.
        let finer = if self.args.against.is_some() {
            FINER
        } else {
            1
        };
        let mut near = scene.clone();
        near.camera.pixels = self.args.size.map(|n| n.saturating_mul(finer));
        let camera = near.voxel_camera();
        streamer.look(View::new(&camera), [0.0; 3], scene.opacity());
        let progress = wait(streamer, self.args.time, self.context)?;
        self.json.fetched_bytes = progress.fetched;
        self.json.complete &= progress.settled && progress.error.is_none();
        if let Some(error) = &progress.error {
            self.context
                .output
                .note(&format!("the picture is not whole: {error}"));
        }
        Ok(streamer.bricks())
    }
}

/// Draws on the first GPU, or on the CPU if there is none and none was asked for.
fn renderer(args: &RenderArgs, context: &Context) -> Result<Renderer> {
    let devices = machine::find(&args.machine, &context.output)?;
    let Some(device) = devices.first() else {
        return Ok(Renderer::new(args.memory / 2));
    };
    match Renderer::new(args.memory / 2).with_device(device, device.limits().memory) {
        Err(error) if may_fall_back(args, &error) => {
            context.output.remark(&format!("{error}; the CPU draws"));
            Ok(Renderer::new(args.memory / 2))
        }
        other => other,
    }
}

/// Whether the CPU may draw what a device cannot.
fn may_fall_back(args: &RenderArgs, error: &Error) -> bool {
    let choice = BackendChoice::from(args.machine.backend);
    choice == BackendChoice::Auto && matches!(error, Error::Device(_) | Error::DeviceMemory(_))
}

fn scene(
    args: &RenderArgs,
    subject: &Subject,
    transfer: TransferFunction,
    turn: f32,
) -> Result<Scene> {
    let spacing = subject.spacing;
    let camera = camera(&args.camera, subject, args.size, turn, args.turntable);
    let within = args.look.region.as_ref().map(|r| r.within(subject.extent));
    let corner = |p: [u64; 3]| [0, 1, 2].map(|a| p[a] as f32 * spacing[a]);
    let within = within
        .transpose()?
        .map(|r| [corner(r.start), corner(r.end)]);
    Ok(Scene {
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
    })
}

fn camera(
    args: &CameraArgs,
    subject: &Subject,
    pixels: [u32; 2],
    turn: f32,
    turns: Option<u32>,
) -> Camera {
    let spacing = subject.spacing;
    let scaled = |p: [f32; 3]| [0, 1, 2].map(|a| p[a] * spacing[a]);
    if let Some(eye) = args.eye {
        let middle = subject.extent.map(|e| e as f32 / 2.0);
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
    orbit.camera(subject.extent, spacing, pixels)
}

/// Two pictures and their difference, beside each other.
fn beside(left: &Picture, right: &Picture) -> Picture {
    let width = left.size[0] as usize * 4;
    let mut pixels = Vec::with_capacity(3 * left.pixels.len());
    for (a, b) in left.pixels.chunks(width).zip(right.pixels.chunks(width)) {
        pixels.extend_from_slice(a);
        pixels.extend_from_slice(b);
        for (a, b) in a.as_chunks::<4>().0.iter().zip(b.as_chunks::<4>().0) {
            let apart = |c: usize| (i32::from(a[c]) - i32::from(b[c])).abs() * AMPLIFIED;
            pixels.extend([0, 1, 2].map(|c| apart(c).min(255) as u8));
            pixels.push(255);
        }
    }
    Picture {
        size: [3 * left.size[0], left.size[1]],
        pixels,
    }
}

fn write(path: &Path, picture: &Picture, force: bool) -> Result<()> {
    let bytes = report::picture::png_rgba(picture.size, &picture.pixels)?;
    report::write(path, &bytes, force)
}
