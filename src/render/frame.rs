//! From a scene to a picture.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::atlas::{BrickAtlas, Sight};
use super::cuda::DeviceMarcher;
use super::march::{Gathered, Look, Marcher, Ray};
use super::scene::{Background, Mode};
use super::transfer::Table;
use super::vector::{along, unit};
use super::{Image, Scene, ToneMapping};
use crate::backend::Backend;
use crate::backend::cpu::{CpuBackend, CpuLevel};
use crate::backend::cuda::Device;
use crate::stream::Bricks;
use crate::stream::schedule::{Camera, View};
use crate::{Error, Result};

/// Pixels along the side of what a thread draws at a time.
const TILE: u32 = 16;
/// Most pixels of a picture.
const MAX_PIXELS: u64 = 1 << 28;

/// How values between voxels are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sampling {
    /// The same everywhere.
    #[default]
    Exact,
    /// On a CUDA device by its textures, which round the place between two voxels to 1/256: faster, and in the
    /// mean of a picture at most 2/255 off. On the CPU as [`Self::Exact`].
    Fast,
}

/// How a picture is drawn.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RenderOptions {
    /// Distance of samples along a ray in voxels of the level of detail that is shown there, over 0.
    pub step: f32,
    /// A ray ends where less than this part of the light from behind comes through, 0..1.
    pub cutoff: f32,
    /// Vector instructions.
    pub level: CpuLevel,
    /// How values between voxels are found.
    pub sampling: Sampling,
}

impl Default for RenderOptions {
    fn default() -> Self {
        Self {
            step: 0.5,
            cutoff: 1.0 / 512.0,
            level: CpuLevel::best(),
            sampling: Sampling::default(),
        }
    }
}

/// What a picture took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RenderStats {
    /// Bricks in sight that are not transparent.
    pub bricks: usize,
    /// Of these, bricks that got their apron for this picture.
    pub made: usize,
    /// Bytes of all bricks that are kept.
    pub bytes: u64,
    /// Bytes of bricks that a device holds.
    pub device_bytes: u64,
    /// Bytes of bricks that were copied to the device for this picture.
    pub uploaded: u64,
}

/// Draws pictures, and keeps bricks with aprons from one to the next.
#[derive(Debug)]
pub struct Renderer {
    atlas: BrickAtlas,
    stats: RenderStats,
    stop: Arc<AtomicBool>,
    device: Option<DeviceMarcher>,
}

/// Draws a picture of `size` pixels, width and height. For many pictures of one volume a [`Renderer`] is
/// faster.
///
/// # Errors
/// As [`Renderer::render`].
pub fn render(
    bricks: &Bricks,
    scene: &Scene,
    size: [u32; 2],
    options: &RenderOptions,
) -> Result<Image> {
    Renderer::new(0).render(bricks, scene, size, options)
}

impl Renderer {
    /// Keeps bricks that are out of sight while all together take at most `budget` bytes.
    pub fn new(budget: u64) -> Self {
        Self {
            atlas: BrickAtlas::new(budget),
            stats: RenderStats::default(),
            stop: Arc::default(),
            device: None,
        }
    }

    /// Draws on a CUDA device from now on, in at most `memory` bytes of it. Pictures are those of the CPU, but
    /// for roundings of highlights. Bricks stay on the device while there is room, and only new ones are copied.
    ///
    /// # Errors
    /// [`Error::Device`] if the device fails.
    pub fn with_device(mut self, device: &Arc<dyn Device>, memory: u64) -> Result<Self> {
        self.device = Some(DeviceMarcher::new(device, memory)?);
        Ok(self)
    }

    /// What draws, for people, such as `cpu (avx2)` or `cuda (NVIDIA H200)`.
    pub fn backend(&self) -> String {
        match &self.device {
            Some(device) => format!("cuda ({})", device.name()),
            None => CpuBackend::new().name(),
        }
    }

    /// While it is `true`, [`Self::render`] gives up: another thread sets it when nobody wants the picture any more.
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// What the last picture took.
    pub fn stats(&self) -> RenderStats {
        self.stats
    }

    /// Draws a picture of `size` pixels, width and height, on the threads of the current rayon pool or on a
    /// device.
    ///
    /// Costs a look at each block that is known, a copy of each brick that is new or has a new neighbour, and
    /// then time by samples.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if there are no pixels or more than 2^28, or if an option, the spacing or the
    /// camera makes no sense; [`Error::Cancelled`] if the [stop flag](Self::stop_flag) is set meanwhile. On a
    /// device, [`Error::DeviceMemory`] if picture and bricks in sight take more than it may use, and
    /// [`Error::Device`] if it fails; another renderer can still draw the picture on the CPU.
    pub fn render(
        &mut self,
        bricks: &Bricks,
        scene: &Scene,
        size: [u32; 2],
        options: &RenderOptions,
    ) -> Result<Image> {
        let stop = Arc::clone(&self.stop);
        self.with_marcher(
            bricks,
            scene,
            size,
            options,
            |device, marcher, view| match device {
                Some(device) => device.draw(marcher, view, scene, size, options.sampling),
                None => draw(marcher, view, scene, size, &stop),
            },
        )
    }

    /// The same picture as bytes for a screen: what [`Image::to_rgb8`] gives, on a device up to a rounding, and
    /// much faster there.
    ///
    /// # Errors
    /// As [`Self::render`].
    pub fn render_rgb8(
        &mut self,
        bricks: &Bricks,
        scene: &Scene,
        size: [u32; 2],
        options: &RenderOptions,
        (exposure, tone): (f32, ToneMapping),
    ) -> Result<Vec<u8>> {
        let stop = Arc::clone(&self.stop);
        self.with_marcher(bricks, scene, size, options, |device, marcher, view| {
            let Some(device) = device else {
                let image = draw(marcher, view, scene, size, &stop)?;
                return Ok(image.to_rgb8(exposure, tone));
            };
            device.draw_rgb8(
                marcher,
                view,
                scene,
                size,
                options.sampling,
                (exposure, tone),
            )
        })
    }

    /// Makes all ready for a picture and has it drawn.
    fn with_marcher<R>(
        &mut self,
        bricks: &Bricks,
        scene: &Scene,
        size: [u32; 2],
        options: &RenderOptions,
        draw: impl FnOnce(Option<&mut DeviceMarcher>, &Marcher<'_>, &View) -> Result<R>,
    ) -> Result<R> {
        check(scene, size, options)?;
        let opacity = scene.opacity();
        let voxel_view = View::new(&Camera {
            pixels: size,
            ..scene.voxel_camera()
        });
        // With different distances along the axes that view is only near the true one.
        let is_exact = scene.spacing.iter().all(|&s| s == scene.spacing[0]);
        let stage = self.atlas.stage(
            bricks,
            Sight {
                view: is_exact.then_some(&voxel_view),
                bound: &*opacity,
                bound_name: name(scene),
            },
        );
        self.stats = RenderStats {
            bricks: stage.shown.iter().filter(|s| s.values.is_some()).count(),
            made: stage.made,
            bytes: self.atlas.bytes(),
            ..RenderStats::default()
        };
        let view = View::new(&Camera {
            pixels: size,
            ..scene.camera
        });
        let least = scene.spacing.iter().copied().fold(f32::INFINITY, f32::min);
        let look = look(scene, &view, options);
        let marcher = Marcher {
            stage: &stage,
            look: &look,
            clip: &scene.clip,
            step: f64::from(options.step * least),
            spacing: scene.spacing,
            level: options.level,
        };
        // A device is not interrupted: its pictures take milliseconds.
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        let drawn = draw(self.device.as_mut(), &marcher, &view)?;
        if let Some(device) = &self.device {
            self.stats.device_bytes = device.bytes();
            self.stats.uploaded = device.uploaded();
        }
        Ok(drawn)
    }
}

/// Place of the first pixel of a tile, and its pixels, row by row.
type Tile = (u32, u32, Vec<[f32; 4]>);

fn draw(
    marcher: &Marcher<'_>,
    view: &View,
    scene: &Scene,
    size: [u32; 2],
    stop: &AtomicBool,
) -> Result<Image> {
    let [width, height] = size;
    let across = width.div_ceil(TILE);
    let tiles: Option<Vec<Tile>> = (0..across * height.div_ceil(TILE))
        .into_par_iter()
        .map(|tile| {
            if stop.load(Ordering::Relaxed) {
                return None;
            }
            let (x0, y0) = (tile % across * TILE, tile / across * TILE);
            let mut out = Vec::with_capacity((TILE * TILE) as usize);
            for y in y0..(y0 + TILE).min(height) {
                for x in x0..(x0 + TILE).min(width) {
                    let at = [x as f32 + 0.5, y as f32 + 0.5];
                    let gathered = marcher.gather(&ray(view, scene, at));
                    out.push(over(scene.background, at[1] / height as f32, gathered));
                }
            }
            Some((x0, y0, out))
        })
        .collect();
    let mut pixels = vec![[0.0; 4]; width as usize * height as usize];
    for (x0, y0, tile) in tiles.ok_or(Error::Cancelled)? {
        let wide = (width - x0).min(TILE) as usize;
        for (y, row) in (y0 as usize..).zip(tile.chunks(wide)) {
            let first = y * width as usize + x0 as usize;
            pixels[first..first + wide].copy_from_slice(row);
        }
    }
    Ok(Image { size, pixels })
}

fn ray(view: &View, scene: &Scene, at: [f32; 2]) -> Ray {
    let (from, direction) = view.ray(at[0], at[1]);
    let spacing = scene.spacing.map(f64::from);
    Ray {
        // The middle of the first voxel is half a voxel from the corner of the volume.
        from: [0, 1, 2].map(|a| f64::from(from[a]) / spacing[a] - 0.5),
        along: [0, 1, 2].map(|a| f64::from(direction[a]) / spacing[a]),
        direction,
    }
}

/// A pixel: what a ray gathered, over the background at a part of the height of the picture.
fn over(background: Background, height: f32, gathered: Gathered) -> [f32; 4] {
    let behind = match background {
        Background::Transparent => {
            let [r, g, b] = gathered.rgb;
            return [r, g, b, 1.0 - gathered.left];
        }
        Background::Colour(colour) => colour,
        Background::Gradient(top, bottom) => {
            [0, 1, 2].map(|c| top[c] + height * (bottom[c] - top[c]))
        }
    };
    let [r, g, b] = along(gathered.rgb, gathered.left, behind);
    [r, g, b, 1.0]
}

fn look(scene: &Scene, view: &View, options: &RenderOptions) -> Look {
    let light = &scene.light;
    let direction = if light.follows_camera {
        let [right, up, forward] = view.axes();
        let d = light.direction;
        [0, 1, 2].map(|a| d[0] * right[a] + d[1] * up[a] + d[2] * forward[a])
    } else {
        light.direction
    };
    let [lo, hi] = scene.transfer.span();
    Look {
        mode: scene.mode,
        table: Table::new(&scene.transfer),
        material: scene.material,
        surface: match scene.mode {
            Mode::Surface(_) => 0.0,
            _ => scene.material.surface.max(0.0) * (hi - lo),
        },
        to_light: unit(direction).map(|c| -c),
        light: light.colour,
        cutoff: options.cutoff,
    }
}

/// Names the opacities of a scene.
fn name(scene: &Scene) -> u64 {
    let mut hash = DefaultHasher::new();
    match scene.mode {
        Mode::Medium => 0u8.hash(&mut hash),
        Mode::Maximum | Mode::Mean => 1u8.hash(&mut hash),
        Mode::Surface(value) => (2u8, value.to_bits()).hash(&mut hash),
    }
    for point in scene.transfer.opacity_points() {
        (point.value.to_bits(), point.opacity.to_bits()).hash(&mut hash);
    }
    hash.finish()
}

fn check(scene: &Scene, size: [u32; 2], options: &RenderOptions) -> Result<()> {
    let pixels = u64::from(size[0]) * u64::from(size[1]);
    if pixels == 0 || pixels > MAX_PIXELS {
        return Err(Error::argument(format!(
            "a picture of {} x {} pixels; 1 to {MAX_PIXELS} pixels can be drawn",
            size[0], size[1]
        )));
    }
    let step = options.step;
    if !(step.is_finite() && step >= 1.0 / 64.0 && (0.0..1.0).contains(&options.cutoff)) {
        return Err(Error::argument(format!(
            "step {step} and cutoff {}; steps must be 1/64 or more and the cutoff within 0..1",
            options.cutoff
        )));
    }
    if !scene.spacing.iter().all(|&s| s.is_finite() && s > 0.0) {
        return Err(Error::argument(format!(
            "voxels at distances {:?}; they must be positive numbers",
            scene.spacing
        )));
    }
    let camera = &scene.camera;
    let numbers = [camera.eye, camera.forward, camera.up];
    if !numbers.as_flattened().iter().all(|c| c.is_finite()) {
        return Err(Error::argument(
            "the camera has a place or direction that is not a number",
        ));
    }
    Ok(())
}
