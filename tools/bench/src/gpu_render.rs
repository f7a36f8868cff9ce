//! Pictures on a device: how many a second, and how far from those of the CPU.

use std::sync::Arc;
use std::time::Instant;

use hgv::Result;
use hgv::backend::cuda::{Device, Profiled};
use hgv::render::{
    Image, Orbit, RenderOptions, Renderer, Sampling, Scene, ToneMapping, TransferFunction,
    dense_bricks, render,
};
use hgv::stream::Bricks;
use hgv::volume::VoxelSource;

/// Size of the pictures that are timed, as bytes for a screen.
const SIZE: [u32; 2] = [1920, 1080];
/// Size of those that are compared.
const SMALL: [u32; 2] = [480, 270];

/// What drawing took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RenderSpeed {
    /// How values were sampled.
    pub sampling: Sampling,
    /// Seconds of the first picture, with copies of all bricks.
    pub first: f64,
    /// Seconds of each later one, from bricks to an image in memory.
    pub whole: f64,
    /// Of these, seconds of the kernels.
    pub kernel: f64,
    /// Largest and mean difference of a channel from the picture of the CPU, at most 1.
    pub apart: [f64; 2],
}

impl RenderSpeed {
    /// Whether the picture is near enough to that of the CPU.
    pub fn is_right(&self) -> bool {
        let [most, mean] = self.apart;
        match self.sampling {
            Sampling::Exact => most <= 1.0 / 255.0,
            Sampling::Fast => mean <= 2.0 / 255.0,
        }
    }
}

fn scene(source: &dyn VoxelSource, transfer: &TransferFunction, azimuth: f32) -> Scene {
    let orbit = Orbit {
        azimuth,
        ..Orbit::default()
    };
    let camera = orbit.camera(source.extent(), [1.0; 3], SIZE);
    Scene::new(camera, transfer.clone())
}

/// Draws a volume from `frames` sides.
///
/// # Errors
/// What the source or the device says.
pub fn render_speed(
    source: &dyn VoxelSource,
    device: &Arc<dyn Device>,
    frames: u32,
) -> Result<Vec<RenderSpeed>> {
    let bricks = dense_bricks(source)?;
    let some = bricks.held.values().step_by(bricks.held.len() / 64 + 1);
    let values: Vec<f32> = some.flat_map(|b| b.values()).collect();
    let transfer = TransferFunction::from_values(&values);
    let small = scene(source, &transfer, 30.0);
    let expected = render(&bricks, &small, SMALL, &RenderOptions::default())?;
    let one = |sampling| {
        let mut options = RenderOptions::default();
        options.sampling = sampling;
        let drawn = Drawn {
            bricks: &bricks,
            options,
            device,
        };
        drawn.measure(
            |i| scene(source, &transfer, 360.0 * i as f32 / frames as f32),
            frames,
            (&small, &expected),
        )
    };
    [Sampling::Exact, Sampling::Fast]
        .map(one)
        .into_iter()
        .collect()
}

struct Drawn<'a> {
    bricks: &'a Bricks,
    options: RenderOptions,
    device: &'a Arc<dyn Device>,
}

impl Drawn<'_> {
    fn measure(
        &self,
        scene: impl Fn(u32) -> Scene,
        frames: u32,
        (small, expected): (&Scene, &Image),
    ) -> Result<RenderSpeed> {
        let profiled = Arc::new(Profiled::new(Arc::clone(self.device)));
        let device: Arc<dyn Device> = profiled.clone();
        let mut renderer = Renderer::new(u64::MAX).with_device(&device, device.limits().memory)?;
        let mut draw = |scene: &Scene| {
            let start = Instant::now();
            let light = (1.0, ToneMapping::default());
            let drawn = renderer.render_rgb8(self.bricks, scene, SIZE, &self.options, light);
            drawn.map(|_| start.elapsed().as_secs_f64())
        };
        let first = draw(&scene(0))?;
        profiled.take()?;
        let mut whole = 0.0;
        for i in 0..frames {
            whole += draw(&scene(i))?;
        }
        let kernel: f64 = profiled.take()?.iter().map(|t| t.milliseconds).sum();
        let image = renderer.render(self.bricks, small, SMALL, &self.options)?;
        let each = f64::from(frames.max(1));
        Ok(RenderSpeed {
            sampling: self.options.sampling,
            first,
            whole: whole / each,
            kernel: kernel / 1e3 / each,
            apart: apart(&image, expected),
        })
    }
}

/// Largest and mean difference of a channel.
fn apart(a: &Image, b: &Image) -> [f64; 2] {
    let (a, b) = (a.pixels.as_flattened(), b.pixels.as_flattened());
    let differences = a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs()));
    let (most, sum) = differences.fold((0.0f64, 0.0), |(most, sum), d| (most.max(d), sum + d));
    [most, sum / a.len().max(1) as f64]
}

/// A table in Markdown.
pub fn render_table(speeds: &[RenderSpeed]) -> String {
    let [width, height] = SIZE;
    let mut out = format!(
        "{width} x {height} pixels, shaded, two samples a voxel, all bricks on the device; a picture ends as bytes\n\
         in memory of the host. Differences are of channels of 0..1 from the picture of the CPU.\n\n\
         | sampling | kernels, ms | kernels alone/s | pictures/s | first picture, s | largest difference | mean |\n\
         |---|---|---|---|---|---|---|\n"
    );
    for s in speeds {
        let [most, mean] = s.apart;
        out += &format!(
            "| {:?} | {:.2} | {:.0} | {:.0} | {:.2} | {most:.1e} | {mean:.1e} |\n",
            s.sampling,
            1e3 * s.kernel,
            1.0 / s.kernel,
            1.0 / s.whole,
            s.first,
        );
    }
    out
}
