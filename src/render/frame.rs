//! From a scene to a picture.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::atlas::{BrickAtlas, Sight, Stage};
use super::cuda::{self, DeviceMarcher};
use super::march::{Look, Marcher, Ray};
use super::scene::{Background, Mode};
use super::vector::along;
use super::{Image, Scene, ToneMapping, tiles};
use crate::backend::Backend;
use crate::backend::cpu::{CpuBackend, CpuLevel};
use crate::backend::cuda::Device;
use crate::stream::Bricks;
use crate::stream::schedule::{Camera, View};
use crate::{Error, Result};

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
    /// Whether the device drew it.
    pub on_device: bool,
}

/// Draws pictures, and keeps bricks with aprons from one to the next.
#[derive(Debug)]
pub struct Renderer {
    atlas: BrickAtlas,
    stats: RenderStats,
    pub(super) stop: Arc<AtomicBool>,
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
    /// for roundings. Bricks stay on the device while there is room, and only new ones are copied. Scenes with
    /// what the device [does not draw](Self::device_lacks), and [paths](Self::trace), are still the CPU's.
    ///
    /// # Errors
    /// [`Error::Device`] if the device fails.
    pub fn with_device(mut self, device: &Arc<dyn Device>, memory: u64) -> Result<Self> {
        self.device = Some(DeviceMarcher::new(device, memory)?);
        Ok(self)
    }

    /// What drew the last picture, for people, such as `cpu (avx2)` or `cuda (NVIDIA H200)`.
    pub fn backend(&self) -> String {
        match &self.device {
            Some(device) if self.stats.on_device => format!("cuda ({})", device.name()),
            _ => CpuBackend::new().name(),
        }
    }

    /// What a scene has that the device does not draw, such as `shadows`: the CPU draws it then. `None` if the
    /// device draws it, or if there is no device.
    pub fn device_lacks(&self, scene: &Scene) -> Option<&'static str> {
        self.device.as_ref().and_then(|_| cuda::lacks(scene))
    }

    /// While it is `true`, [`Self::render`] and [`Self::trace`] give up: another thread sets it when nobody
    /// wants the picture any more.
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
        let stage = self.stage(bricks, scene, size, scene.sees_aside());
        let view = View::new(&Camera {
            pixels: size,
            ..scene.camera
        });
        let look = Look::new(scene, &view, options.cutoff);
        let marcher = Marcher::new(&stage, &look, scene, options);
        if cuda::lacks(scene).is_some() || self.device.is_none() {
            return draw(None, &marcher, &view);
        }
        // A device is not interrupted: its pictures take milliseconds.
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        let drawn = draw(self.device.as_mut(), &marcher, &view)?;
        self.stats.on_device = true;
        self.stats.uploaded = self.device.as_ref().map_or(0, DeviceMarcher::uploaded);
        self.stats.device_bytes = self.device.as_ref().map_or(0, DeviceMarcher::bytes);
        Ok(drawn)
    }

    /// Makes ready what a scene shows; `aside` also what is not in the picture.
    pub(super) fn stage(
        &mut self,
        bricks: &Bricks,
        scene: &Scene,
        size: [u32; 2],
        aside: bool,
    ) -> Stage {
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
                view: (is_exact && !aside).then_some(&voxel_view),
                bound: &*opacity,
                bound_name: name(scene),
            },
        );
        self.stats = RenderStats {
            bricks: stage.shown.iter().filter(|s| s.values.is_some()).count(),
            made: stage.made,
            bytes: self.atlas.bytes(),
            device_bytes: self.device.as_ref().map_or(0, DeviceMarcher::bytes),
            ..RenderStats::default()
        };
        stage
    }
}

fn draw(
    marcher: &Marcher<'_>,
    view: &View,
    scene: &Scene,
    size: [u32; 2],
    stop: &AtomicBool,
) -> Result<Image> {
    let mut pixels = vec![[0.0; 4]; size[0] as usize * size[1] as usize];
    let pixel = |x: u32, y: u32| {
        let at = [x as f32 + 0.5, y as f32 + 0.5];
        let gathered = marcher.gather(&ray(view, scene, at));
        let height = at[1] / size[1] as f32;
        over(scene.background, height, gathered.rgb, gathered.left)
    };
    tiles::draw(size, stop, &mut pixels, pixel, |old, new| *old = new)?;
    Ok(Image { size, pixels })
}

pub(super) fn ray(view: &View, scene: &Scene, at: [f32; 2]) -> Ray {
    let (from, direction) = view.ray(at[0], at[1]);
    let spacing = scene.spacing.map(f64::from);
    Ray {
        // The middle of the first voxel is half a voxel from the corner of the volume.
        from: [0, 1, 2].map(|a| f64::from(from[a]) / spacing[a] - 0.5),
        along: [0, 1, 2].map(|a| f64::from(direction[a]) / spacing[a]),
        direction,
    }
}

/// A pixel: light that was gathered over the background at a part of the height of the picture, of which the
/// part `left` comes through.
pub(super) fn over(background: Background, height: f32, rgb: [f32; 3], left: f32) -> [f32; 4] {
    let behind = match background {
        Background::Transparent => {
            let [r, g, b] = rgb;
            return [r, g, b, 1.0 - left];
        }
        Background::Colour(colour) => colour,
        Background::Gradient(top, bottom) => {
            [0, 1, 2].map(|c| top[c] + height * (bottom[c] - top[c]))
        }
    };
    let [r, g, b] = along(rgb, left, behind);
    [r, g, b, 1.0]
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

pub(super) fn check(scene: &Scene, size: [u32; 2], options: &RenderOptions) -> Result<()> {
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
    scene.check()
}
