//! `hgv render`: a volume, or the part of it that a camera sees, as a picture.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hgv::backend::BackendChoice;
use hgv::render::{
    Image, PathOptions, PathProgress, RenderOptions, Renderer, Scene, ToneMapping,
    TransferFunction, picture_ssim,
};
use hgv::stream::schedule::View;
use hgv::stream::{Bricks, StreamProgress, Streamer};
use hgv::{Error, Result};
use serde::Serialize;

use super::{Context, Outcome};
use crate::exr_file;
use crate::machine;
use crate::output::human_bytes;
use crate::paths;
use crate::progress::seconds;
use crate::render_args::{CapArgs, LookArgs, RenderArgs};
use crate::render_scene::{Shape, scene};
use crate::report;
use crate::scene_files::SceneFiles;
use crate::subject::{Content, Subject, wait};

/// How much finer than the picture the levels of detail of a comparison are chosen.
const FINER: u32 = 64;
/// Time between pictures that are written while more comes.
const REFINED: Duration = Duration::from_millis(500);
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
    /// Paths of each pixel of the last picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    samples: Option<u32>,
    transfer: TransferFunction,
}

pub(crate) fn run(args: &RenderArgs, context: &Context) -> Result<Outcome> {
    let files = SceneFiles::read(args.light.scene.as_ref(), args.light.keyframes.as_ref())?;
    let inputs = [Some(&args.input), args.against.as_ref()];
    for output in outputs(args, &files) {
        let inputs = inputs.into_iter().flatten().map(PathBuf::as_path);
        paths::check_output(&output, inputs, context.force)?;
    }
    let kind = Kind::of(&args.output)?;
    if kind == Kind::Exr && args.against.is_some() {
        return Err(Error::argument(format!(
            "{}: pictures beside each other are written as .png only",
            args.output.display()
        )));
    }
    let json = draw_all(args, &files, context)?;
    context.progress.clear();
    context.output.result(&json, || text(&json))?;
    Ok(Outcome::Done)
}

/// A format of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Png,
    Exr,
}

impl Kind {
    fn of(path: &Path) -> Result<Self> {
        let name = path.to_string_lossy().to_ascii_lowercase();
        if name.ends_with(".png") {
            return Ok(Self::Png);
        }
        if name.ends_with(".exr") {
            return Ok(Self::Exr);
        }
        Err(Error::argument(format!(
            "{}: the name of the picture must end in .png or .exr",
            path.display()
        )))
    }
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
    let paths = json
        .samples
        .map_or_else(String::new, |n| format!(", {n} paths a pixel"));
    format!(
        "{names}: {} x {} pixels{ssim}{paths}, {} bricks, {} fetched in {}{whole}, drawn in {} on {}",
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
fn outputs(args: &RenderArgs, files: &SceneFiles) -> Vec<PathBuf> {
    let frames = files.film.as_ref().map(|f| f.frames);
    let Some(count) = args.turntable.or(frames) else {
        return vec![args.output.clone()];
    };
    let part = |of: Option<&std::ffi::OsStr>| of.unwrap_or_default().to_string_lossy().into_owned();
    let (stem, end) = (part(args.output.file_stem()), part(args.output.extension()));
    let name = |i: u32| args.output.with_file_name(format!("{stem}-{i:03}.{end}"));
    (0..count).map(name).collect()
}

fn draw_all(args: &RenderArgs, files: &SceneFiles, context: &Context) -> Result<Json> {
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
    let look = LookArgs {
        mode: files.description.mode.unwrap_or(args.look.mode),
        ..args.look.clone()
    };
    let transfer = match &files.description.transfer {
        Some(transfer) => transfer.clone(),
        None => original
            .as_ref()
            .unwrap_or(&subject)
            .transfer(&look, context)?,
    };
    let mut job = Job {
        args,
        context,
        renderer,
        percent: 0,
        written: false,
        json: Json {
            outputs: Vec::new(),
            size: args.size,
            complete: true,
            bricks: 0,
            fetched_bytes: 0,
            load_seconds: 0.0,
            render_seconds: 0.0,
            samples: None,
            backend: String::new(),
            ssim: None,
            transfer: transfer.clone(),
        },
    };
    let outputs = outputs(args, files);
    for (turn, output) in (0..).zip(&outputs) {
        let shape = Shape {
            extent: subject.extent,
            spacing: subject.spacing,
        };
        let scene = scene(args, files, shape, transfer.clone(), turn)?;
        job.percent = 100 * turn as usize / outputs.len();
        let image = job.image(&subject, &scene)?;
        match &original {
            Some(original) => {
                let left = job.image(original, &scene)?;
                let (left, right) = (job.picture(&left), job.picture(&image));
                job.json.ssim = picture_ssim(&left.rgb(), &right.rgb(), args.size);
                let beside = beside(&left, &right);
                job.json.size = beside.size;
                write(output, &beside, context.force)?;
            }
            None => job.write(&image, output)?,
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
    /// Part of the pictures that is done.
    percent: usize,
    /// Whether there is a picture that the next one replaces.
    written: bool,
    json: Json,
}

impl Job<'_> {
    /// What a scene looks like, once all is there or the time is up.
    fn image(&mut self, subject: &Subject, scene: &Scene) -> Result<Image> {
        let start = Instant::now();
        let bricks = self.bricks(subject, scene)?;
        self.json.load_seconds += start.elapsed().as_secs_f64();
        let start = Instant::now();
        let image = if self.args.light.path_trace {
            self.trace(&bricks, scene)?
        } else {
            self.march(&bricks, scene)?
        };
        self.json.render_seconds += start.elapsed().as_secs_f64();
        self.json.bricks = self.renderer.stats().bricks;
        self.json.backend = self.renderer.backend();
        Ok(image)
    }

    fn march(&mut self, bricks: &Bricks, scene: &Scene) -> Result<Image> {
        let text = format!(
            "picture {}, {} % done",
            self.json.outputs.len() + 1,
            self.percent
        );
        let _ = self.context.progress.say("drawing", &text);
        let mut options = RenderOptions::default();
        options.step = self.args.look.step as f32;
        options.sampling = self.args.sampling.into();
        self.draw(bricks, scene, &options)
    }

    fn trace(&mut self, bricks: &Bricks, scene: &Scene) -> Result<Image> {
        let light = &self.args.light;
        let mut options = PathOptions::default();
        options.samples = light.samples;
        options.seed = light.seed;
        let start = Instant::now();
        let mut shown = start;
        let (mut samples, mut failed) = (0, None);
        let (args, context, percent) = (self.args, self.context, self.percent);
        let is_first = !self.written;
        let mut step = |now: &PathProgress<'_>| {
            samples = now.samples;
            let text = format!(
                "{} of {} paths, {} %, of picture {}, {percent} % done",
                now.samples,
                now.total,
                100 * u64::from(now.samples) / u64::from(now.total),
                self.json.outputs.len() + 1
            );
            if context.progress.say("tracing", &text).is_break() {
                failed = Some(Error::Cancelled);
            }
            let is_last = now.samples == now.total;
            if light.progressive && !is_last && failed.is_none() && shown.elapsed() >= REFINED {
                let force = context.force || !(is_first && shown == start);
                shown = Instant::now();
                self.written = true;
                failed = write_image(&now.image(), args, &args.output, force).err();
            }
            let is_over = light
                .time_budget
                .is_some_and(|most| start.elapsed().as_secs_f64() >= most);
            if is_over || failed.is_some() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let image = self
            .renderer
            .trace(bricks, scene, args.size, &options, &mut step)?;
        self.json.samples = Some(samples);
        failed.map_or(Ok(image), Err)
    }

    fn picture(&self, image: &Image) -> Picture {
        picture(image, self.args)
    }

    /// Writes a picture, over the one that was there if this job wrote it.
    fn write(&mut self, image: &Image, output: &Path) -> Result<()> {
        let force = self.context.force || self.written;
        write_image(image, self.args, output, force)?;
        self.written = self.args.light.progressive;
        Ok(())
    }

    fn draw(&mut self, bricks: &Bricks, scene: &Scene, options: &RenderOptions) -> Result<Image> {
        let size = self.args.size;
        if let Some(part) = self.renderer.device_lacks(scene)
            && must_be_device(self.args)
        {
            return Err(not_on_device(part));
        }
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
        let progress = if self.args.light.progressive {
            self.refine(streamer, scene)?
        } else {
            wait(streamer, self.args.time, self.context)?
        };
        self.json.fetched_bytes = progress.fetched;
        self.json.complete &= progress.settled && progress.error.is_none();
        if let Some(error) = &progress.error {
            self.context
                .output
                .note(&format!("the picture is not whole: {error}"));
        }
        Ok(streamer.bricks())
    }

    /// Waits until a view has all, or for some seconds, and writes what there is meanwhile.
    fn refine(&mut self, streamer: &Streamer, scene: &Scene) -> Result<StreamProgress> {
        let start = Instant::now();
        let mut drawn = 0;
        loop {
            let gone = start.elapsed().as_secs_f64();
            let left = self.args.time.map_or(f64::INFINITY, |t| t - gone);
            let pause = left.min(REFINED.as_secs_f64());
            let progress = wait(streamer, Some(pause.max(0.0)), self.context)?;
            let is_stuck = progress.error.is_some() && progress.status.fetches == 0;
            if progress.settled || is_stuck || left <= pause {
                return Ok(progress);
            }
            if progress.bricks > drawn {
                drawn = progress.bricks;
                let image = self.march(&streamer.bricks(), scene)?;
                let output = self.args.output.clone();
                self.write(&image, &output)?;
            }
        }
    }
}

/// Draws on the first GPU, or on the CPU if there is none and none was asked for.
fn renderer(args: &RenderArgs, context: &Context) -> Result<Renderer> {
    let on_cpu = || Renderer::new(args.memory / 2);
    if args.light.path_trace {
        return if must_be_device(args) {
            Err(not_on_device("paths of light"))
        } else {
            Ok(on_cpu())
        };
    }
    let devices = machine::find(&args.machine, &context.output)?;
    let Some(device) = devices.first() else {
        return Ok(on_cpu());
    };
    match on_cpu().with_device(device, device.limits().memory) {
        Err(error) if may_fall_back(args, &error) => {
            context.output.remark(&format!("{error}; the CPU draws"));
            Ok(on_cpu())
        }
        other => other,
    }
}

/// Whether the CPU may draw what a device fails to.
fn may_fall_back(args: &RenderArgs, error: &Error) -> bool {
    !must_be_device(args) && matches!(error, Error::Device(_) | Error::DeviceMemory(_))
}

fn must_be_device(args: &RenderArgs) -> bool {
    BackendChoice::from(args.machine.backend) == BackendChoice::Cuda
}

fn not_on_device(part: &str) -> Error {
    Error::argument(format!(
        "GPUs do not draw {part}; use --backend auto or --backend cpu"
    ))
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

/// An image as a screen shows it.
fn picture(image: &Image, args: &RenderArgs) -> Picture {
    let look = &args.look;
    Picture {
        size: image.size,
        pixels: image.to_rgba8(look.exposure as f32, ToneMapping::from(look.tone)),
    }
}

fn write_image(image: &Image, args: &RenderArgs, output: &Path, force: bool) -> Result<()> {
    match Kind::of(output)? {
        Kind::Png => write(output, &picture(image, args), force),
        Kind::Exr => report::write(output, &exr_file::exr(image)?, force),
    }
}

fn write(path: &Path, picture: &Picture, force: bool) -> Result<()> {
    let bytes = report::picture::png_rgba(picture.size, &picture.pixels)?;
    report::write(path, &bytes, force)
}
