//! Pictures from the paths that light takes: every sample of a pixel follows one path from the eye from
//! scattering to scattering until it leaves the volume or is absorbed.
//!
//! Ways between scatterings are drawn by delta tracking under bounds of the extinction for each cell of each
//! brick ([`medium`]); lamps are looked for at every scattering, with what comes through estimated by ratio
//! tracking. Both are free of bias whatever the bounds, so a picture differs from the true one by noise alone,
//! which halves with every four times as many samples. The environment is met by paths that leave the
//! volume: it is smooth, so aiming at parts of it would gain little, and a white body in white light is white
//! without noise.

mod medium;
mod random;
mod scattering;
mod trace;

use std::ops::ControlFlow;

use self::medium::Medium;
use self::random::Random;
use self::trace::Tracer;
use super::frame::{over, ray};
use super::march::{Look, Marcher};
use super::scene::Mode;
use super::{Image, RenderOptions, Renderer, Scene, tiles};
use crate::stream::Bricks;
use crate::stream::schedule::{Camera, View};
use crate::{Error, Result};

/// How paths are traced.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PathOptions {
    /// Paths of each pixel, 1 to 2^20.
    pub samples: u32,
    /// Chooses the random numbers. Pictures of equal seeds are equal, whatever the threads.
    pub seed: u64,
    /// A path ends after so many scatterings, 1 or more. What light it has left is lost.
    pub scatterings: u32,
}

impl Default for PathOptions {
    fn default() -> Self {
        Self {
            samples: 64,
            seed: 0,
            scatterings: 256,
        }
    }
}

/// How far a picture is.
#[derive(Debug)]
pub struct PathProgress<'a> {
    /// Paths of each pixel that are done.
    pub samples: u32,
    /// Paths that were asked for.
    pub total: u32,
    scene: &'a Scene,
    size: [u32; 2],
    sums: &'a [[f32; 4]],
}

impl PathProgress<'_> {
    /// The picture so far.
    pub fn image(&self) -> Image {
        let [width, height] = self.size;
        let part = 1.0 / self.samples as f32;
        let rows = self.sums.chunks(width as usize).enumerate();
        let pixels = rows.flat_map(|(y, row)| {
            let at = (y as f32 + 0.5) / height as f32;
            row.iter().map(move |sum| {
                let [r, g, b, left] = sum.map(|c| c * part);
                over(self.scene.background, at, [r, g, b], left)
            })
        });
        Image {
            size: self.size,
            pixels: pixels.collect(),
        }
    }
}

impl Renderer {
    /// Draws a picture of `size` pixels, width and height, from the paths of light, on the threads of the
    /// current rayon pool. `progress` hears of every path that all pixels have got; with `Break` the picture
    /// is what it is by then.
    ///
    /// Lamps, environment, shadows and all light between parts of the volume are there, whatever `shadows`
    /// and `ambient_occlusion` of the scene say. The material's `ambient` and `diffuse` are factors of the
    /// environment's and the lamps' light, and colours are the parts of light that are scattered. Matter
    /// scatters as a surface or as a medium, by chance as the gradient is steep.
    ///
    /// # Errors
    /// As [`Renderer::render`]; [`Error::InvalidArgument`] if the mode of the scene is not [`Mode::Medium`] or
    /// numbers of the options are out of range; [`Error::Cancelled`] if the [stop flag](Self::stop_flag) is set.
    pub fn trace(
        &mut self,
        bricks: &Bricks,
        scene: &Scene,
        size: [u32; 2],
        options: &PathOptions,
        progress: &mut dyn FnMut(&PathProgress<'_>) -> ControlFlow<()>,
    ) -> Result<Image> {
        let marching = RenderOptions::default();
        super::frame::check(scene, size, &marching)?;
        check(scene, options)?;
        let stage = self.stage(bricks, scene, size, true);
        let view = View::new(&Camera {
            pixels: size,
            ..scene.camera
        });
        let look = Look::new(scene, &view, marching.cutoff);
        let marcher = Marcher::new(&stage, &look, scene, &marching);
        let medium = Medium::new(&marcher);
        let tracer = Tracer {
            medium: &medium,
            look: &look,
            scatterings: options.scatterings,
        };
        let mut sums = vec![[0.0; 4]; size[0] as usize * size[1] as usize];
        for sample in 0..options.samples {
            let path = |x: u32, y: u32| {
                let pixel = u64::from(y) * u64::from(size[0]) + u64::from(x);
                let mut random = Random::new([options.seed, pixel, sample.into()]);
                let at = [x, y].map(|c| c as f32 + random.uniform());
                tracer.path(ray(&view, scene, at), &mut random)
            };
            tiles::draw(size, &self.stop, &mut sums, path, |sum, new| {
                for (s, n) in sum.iter_mut().zip(new) {
                    *s += n;
                }
            })?;
            let now = PathProgress {
                samples: sample + 1,
                total: options.samples,
                scene,
                size,
                sums: &sums,
            };
            if progress(&now).is_break() || sample + 1 == options.samples {
                return Ok(now.image());
            }
        }
        Err(Error::argument("no paths were asked for"))
    }
}

fn check(scene: &Scene, options: &PathOptions) -> Result<()> {
    if scene.mode != Mode::Medium {
        return Err(Error::argument(format!(
            "paths through mode {:?}; they can be traced through a medium only",
            scene.mode
        )));
    }
    if !(1..=1 << 20).contains(&options.samples) || options.scatterings == 0 {
        return Err(Error::argument(format!(
            "{} paths of at most {} scatterings; 1 to {} paths and 1 or more scatterings can be had",
            options.samples,
            options.scatterings,
            1 << 20
        )));
    }
    Ok(())
}
