//! The thread that draws.

use std::sync::Arc;
use std::time::Instant;

use hgv::render::{Image, RenderOptions, Renderer, Scene, ToneMapping};
use hgv::stream::Bricks;
use hgv::stream::schedule::View;
use hgv::{Error, Result};

use super::desk::{Desk, Job, Task, Took};
use super::pace::{Kind, Pace};
use super::protocol::{Frame, FrameKind, Tell};
use super::scene;
use crate::report::picture;
use crate::subject::{Content, Subject};

/// Quality of JPEG files of moving pictures and of those that stand still, 1 to 100.
const QUALITY: [u8; 2] = [78, 95];
/// How much longer the steps along a ray are while something moves.
const COARSER: f32 = 2.0;
/// A camera that did not move for this many seconds has no velocity.
const PAUSE: f32 = 0.3;

/// What the command line says of pictures, and no page changes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fixed {
    pub(crate) step: f32,
    pub(crate) exposure: f32,
    pub(crate) tone: ToneMapping,
}

/// Draws what a window wants.
pub(crate) struct Painter {
    pub(crate) subject: Arc<Subject>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) renderer: Renderer,
    pub(crate) fixed: Fixed,
    pace: Pace,
    /// Version that the streamer was told last.
    aimed: u64,
    eye: Option<(Instant, [f32; 3])>,
    frames: u32,
}

impl Painter {
    pub(crate) fn new(
        subject: Arc<Subject>,
        desk: Arc<Desk>,
        renderer: Renderer,
        fixed: Fixed,
    ) -> Self {
        Self {
            subject,
            desk,
            renderer,
            fixed,
            pace: Pace::default(),
            aimed: 0,
            eye: None,
            frames: 0,
        }
    }

    /// Draws until the end.
    pub(crate) fn run(mut self) {
        let desk = Arc::clone(&self.desk);
        let subject = Arc::clone(&self.subject);
        while let Some(job) = desk.next(|| state_of(&subject)) {
            match self.paint(&job) {
                Ok(picture) => desk.finish(&job, Some(picture)),
                Err(Error::Cancelled) => desk.finish(&job, None),
                Err(error) => {
                    let message = error.to_string();
                    desk.fail(&job, Tell::Error { message }.to_json());
                }
            }
        }
    }

    fn paint(&mut self, job: &Job) -> Result<(Vec<u8>, Took)> {
        let start = Instant::now();
        let scene = scene::scene(&self.subject, &job.camera, &job.look);
        self.aim(job, &scene);
        let (size, kind) = match job.task {
            Task::Show(kind @ (Kind::Moving | Kind::Interim)) => {
                (self.pace.size(kind, job.camera.size), FrameKind::Moving)
            }
            Task::Show(Kind::Whole) => (job.camera.size, FrameKind::Still),
            Task::Save => (job.camera.size, FrameKind::Saved),
        };
        let mut options = RenderOptions::default();
        options.step = self.fixed.step;
        if job.task == Task::Show(Kind::Moving) {
            options.step *= COARSER;
        }
        let bricks = self.bricks();
        let image = self.renderer.render(&bricks, &scene, size, &options)?;
        self.frames = self.frames.wrapping_add(1);
        let frame = Frame {
            kind,
            number: self.frames,
            size,
            file: self.file(kind, &image)?,
        };
        let took = Took {
            seconds: start.elapsed().as_secs_f32(),
            size,
            bricks: self.renderer.stats().bricks,
        };
        if job.task == Task::Show(Kind::Moving) {
            self.pace.took(took.seconds);
        }
        Ok((frame.to_bytes(), took))
    }

    /// Tells the streamer what is looked at, once for each version.
    fn aim(&mut self, job: &Job, scene: &Scene) {
        if self.aimed == job.version {
            return;
        }
        self.aimed = job.version;
        let camera = scene.voxel_camera();
        let velocity = self.velocity(camera.eye);
        let Content::Streamed(streamer) = &self.subject.content else {
            return;
        };
        streamer.set_caps(scene::caps(&job.look));
        streamer.look(View::new(&camera), velocity, scene.opacity());
    }

    /// Velocity of the camera in voxels a second.
    fn velocity(&mut self, eye: [f32; 3]) -> [f32; 3] {
        let now = Instant::now();
        let Some((then, old)) = self.eye.replace((now, eye)) else {
            return [0.0; 3];
        };
        let seconds = now.duration_since(then).as_secs_f32();
        if !(1e-3..=PAUSE).contains(&seconds) {
            return [0.0; 3];
        }
        [0, 1, 2].map(|a| (eye[a] - old[a]) / seconds)
    }

    fn bricks(&self) -> Bricks {
        match &self.subject.content {
            Content::Streamed(streamer) => streamer.bricks(),
            Content::Whole(bricks) => bricks.clone(),
        }
    }

    fn file(&self, kind: FrameKind, image: &Image) -> Result<Vec<u8>> {
        let pixels = image.to_rgb8(self.fixed.exposure, self.fixed.tone);
        match kind {
            FrameKind::Moving => jpeg(image.size, &pixels, QUALITY[0], false),
            FrameKind::Still => jpeg(image.size, &pixels, QUALITY[1], true),
            FrameKind::Saved => {
                let pixels = image.to_rgba8(self.fixed.exposure, self.fixed.tone);
                picture::png_rgba(image.size, &pixels)
            }
        }
    }
}

/// Revision of the bricks, and whether no more will come.
fn state_of(subject: &Subject) -> (u64, bool) {
    match &subject.content {
        Content::Streamed(streamer) => {
            let progress = streamer.progress();
            let stuck = progress.error.is_some() && progress.status.fetches == 0;
            (progress.picture, progress.settled || stuck)
        }
        Content::Whole(_) => (0, true),
    }
}

/// The bytes of a JPEG file; `sharp` keeps the full resolution of colours.
fn jpeg(size: [u32; 2], rgb: &[u8], quality: u8, sharp: bool) -> Result<Vec<u8>> {
    let [width, height] = size.map(|n| u16::try_from(n).unwrap_or(u16::MAX));
    let mut out = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut out, quality);
    encoder.set_sampling_factor(if sharp {
        jpeg_encoder::SamplingFactor::F_1_1
    } else {
        jpeg_encoder::SamplingFactor::F_2_2
    });
    encoder
        .encode(rgb, width, height, jpeg_encoder::ColorType::Rgb)
        .map_err(|e| Error::io("a picture", std::io::Error::other(e)))?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn pictures_are_jpeg_files() {
        let rgb = vec![200; 3 * 20 * 10];
        for sharp in [false, true] {
            let file = jpeg([20, 10], &rgb, 90, sharp).unwrap();
            assert_eq!(file[..3], [0xff, 0xd8, 0xff]);
            assert_eq!(file[file.len() - 2..], [0xff, 0xd9]);
        }
    }
}
