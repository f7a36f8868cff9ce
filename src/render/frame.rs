//! From a scene to a picture.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::atlas::{BrickAtlas, Sight, Stage};
use super::march::{Look, Marcher, Ray};
use super::scene::{Background, Mode};
use super::vector::along;
use super::{Image, Scene, tiles};
use crate::backend::cpu::CpuLevel;
use crate::stream::Bricks;
use crate::stream::schedule::{Camera, View};
use crate::{Error, Result};

/// Most pixels of a picture.
const MAX_PIXELS: u64 = 1 << 28;

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
}

impl Default for RenderOptions {
    fn default() -> Self {
        Self {
            step: 0.5,
            cutoff: 1.0 / 512.0,
            level: CpuLevel::best(),
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
}

/// Draws pictures, and keeps bricks with aprons from one to the next.
#[derive(Debug)]
pub struct Renderer {
    atlas: BrickAtlas,
    stats: RenderStats,
    pub(super) stop: Arc<AtomicBool>,
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
        }
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

    /// Draws a picture of `size` pixels, width and height, on the threads of the current rayon pool.
    ///
    /// Costs a look at each block that is known, a copy of each brick that is new or has a new neighbour, and
    /// then time by samples.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if there are no pixels or more than 2^28, or if an option, the spacing or the
    /// camera makes no sense; [`Error::Cancelled`] if the [stop flag](Self::stop_flag) is set meanwhile.
    pub fn render(
        &mut self,
        bricks: &Bricks,
        scene: &Scene,
        size: [u32; 2],
        options: &RenderOptions,
    ) -> Result<Image> {
        check(scene, size, options)?;
        let stage = self.stage(bricks, scene, size, scene.sees_aside());
        let view = View::new(&Camera {
            pixels: size,
            ..scene.camera
        });
        let look = Look::new(scene, &view, options.cutoff);
        let marcher = Marcher::new(&stage, &look, scene, options);
        draw(&marcher, &view, scene, size, &self.stop)
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
