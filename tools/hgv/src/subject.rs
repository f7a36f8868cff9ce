//! Volumes that are to be shown: read as far as pictures need them, or whole.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hgv::render::{Mode, Orbit, TransferFunction, dense_bricks};
use hgv::stream::schedule::{Caps, View};
use hgv::stream::{Bricks, StreamOptions, StreamProgress, Streamer, VolumeContent};
use hgv::volume::Metadata;
use hgv::{Error, Result};

use crate::args::InputArgs;
use crate::commands::Context;
use crate::input::{self, Input};
use crate::output::human_bytes;
use crate::render_args::{CapArgs, LookArgs, TransferArg};
use crate::scene_files;

/// How often a wait looks for an interrupt.
const TICK: Duration = Duration::from_millis(100);
/// Values that say as much of a volume as all of them.
const SOME: usize = 4 << 20;

/// A volume that can be drawn.
pub(crate) struct Subject {
    pub(crate) extent: [u64; 3],
    /// Distances of voxels, the least one 1.
    pub(crate) spacing: [f32; 3],
    /// Levels of detail and quality levels that there are, for the viewer.
    #[cfg(feature = "http")]
    pub(crate) lods: u32,
    #[cfg(feature = "http")]
    pub(crate) levels: u32,
    pub(crate) content: Content,
}

/// Where the bricks of pictures come from.
pub(crate) enum Content {
    /// Read as far as pictures need it.
    Streamed(Box<Streamer>),
    /// All in memory.
    Whole(Bricks),
}

impl Subject {
    /// Opens a .hgv file to be read as far as pictures need it, with `memory` bytes for that and for drawing;
    /// any other volume file whole.
    ///
    /// # Errors
    /// What the file says; [`Error::InvalidArgument`] for caps that it does not have.
    pub(crate) fn open(
        path: &Path,
        raw: &InputArgs,
        caps: &CapArgs,
        memory: u64,
        context: &Context,
    ) -> Result<Self> {
        let input = Input::open(path, raw, None, None, context)?;
        let source = input.source()?;
        let (extent, spacing) = (source.extent(), spacing(source.metadata()));
        drop(source);
        let (lods, levels) = match &input {
            Input::Hgv(volume) => (volume.lods(), volume.levels()),
            Input::File(_) => (1, 1),
        };
        let mut options = stream_options(memory);
        options.caps = checked_caps(caps, lods, levels)?;
        let content = match input {
            Input::Hgv(volume) => {
                let content = Arc::new(VolumeContent::new(*volume));
                let streamer = Streamer::new(move || Ok(content.clone()), options)?;
                Content::Streamed(Box::new(streamer))
            }
            Input::File(file) => {
                let _ = context.progress.say("reading", &path.display().to_string());
                Content::Whole(dense_bricks(file.source.as_ref())?)
            }
        };
        Ok(Self {
            extent,
            spacing,
            #[cfg(feature = "http")]
            lods,
            #[cfg(feature = "http")]
            levels,
            content,
        })
    }

    /// The transfer function that was asked for, or one that suits the values.
    ///
    /// # Errors
    /// What a file with one says, or what reading the values says.
    pub(crate) fn transfer(&self, look: &LookArgs, context: &Context) -> Result<TransferFunction> {
        match &look.transfer {
            Some(TransferArg::File(path)) => scene_files::read(path),
            _ => transfer_from(&self.some_values(context)?, look),
        }
    }

    /// Values of all of the volume at a coarse level of detail, or of all voxels.
    ///
    /// # Errors
    /// What reading them says.
    pub(crate) fn some_values(&self, context: &Context) -> Result<Vec<f32>> {
        let bricks = match &self.content {
            Content::Whole(bricks) => bricks.clone(),
            Content::Streamed(streamer) => {
                let camera = Orbit::default().camera(self.extent, [1.0; 3], [64, 64]);
                streamer.look(View::new(&camera), [0.0; 3], Arc::new(|_: [f32; 2]| 1.0));
                if let Some(error) = wait(streamer, None, context)?.error {
                    return Err(Error::Input(format!("nothing can be shown: {error}")));
                }
                streamer.bricks()
            }
        };
        let count: usize = bricks
            .held
            .values()
            .map(|b| b.voxels.len() / b.dtype.size())
            .sum();
        let every = count / SOME + 1;
        let values = bricks
            .held
            .values()
            .flat_map(|b| b.values().into_iter().step_by(every));
        Ok(values.collect())
    }
}

/// The transfer function that was asked for, or one that suits some values of a volume.
///
/// # Errors
/// What a file with one says.
pub(crate) fn transfer_from(values: &[f32], look: &LookArgs) -> Result<TransferFunction> {
    Ok(match (&look.transfer, look.mode) {
        (Some(TransferArg::File(path)), _) => scene_files::read(path)?,
        (Some(TransferArg::Preset(preset)), _) => preset.transfer(range_of(values)),
        (_, Mode::Maximum | Mode::Mean) => TransferFunction::ramp(range_of(values), 1.0),
        _ => TransferFunction::from_values(values),
    })
}

/// Smallest and largest of the values that are numbers.
pub(crate) fn range_of(values: &[f32]) -> [f32; 2] {
    let finite = values.iter().copied().filter(|v| v.is_finite());
    finite.fold([f32::INFINITY, f32::NEG_INFINITY], |[lo, hi], v| {
        [lo.min(v), hi.max(v)]
    })
}

fn checked_caps(caps: &CapArgs, lods: u32, levels: u32) -> Result<Caps> {
    input::check_level("--lod", "levels of detail", caps.lod, lods)?;
    if let Some(level) = caps.level {
        input::check_level("--level", "quality levels", level, levels)?;
    }
    Ok(Caps {
        finest_lod: caps.lod,
        highest_level: caps.level.unwrap_or(u32::MAX),
    })
}

/// Waits until a view has all, or for some seconds.
///
/// # Errors
/// [`Error::Cancelled`] after an interrupt.
pub(crate) fn wait(
    streamer: &Streamer,
    time: Option<f64>,
    context: &Context,
) -> Result<StreamProgress> {
    let end = time.and_then(|t| Instant::now().checked_add(Duration::try_from_secs_f64(t).ok()?));
    loop {
        let progress = streamer.wait_until(TICK, |p| p.settled || p.error.is_some());
        let over = end.is_some_and(|end| Instant::now() >= end);
        let stuck = progress.error.is_some() && progress.status.fetches == 0;
        if progress.settled || over || stuck {
            return Ok(progress);
        }
        let text = format!(
            "{} bricks, {}",
            progress.bricks,
            human_bytes(progress.fetched + progress.cached)
        );
        if context.progress.say("reading", &text).is_break() {
            return Err(Error::Cancelled);
        }
    }
}

/// Distances of voxels, the least one 1.
fn spacing(metadata: &Metadata) -> [f32; 3] {
    let least = metadata
        .spacing
        .iter()
        .copied()
        .fold(f64::INFINITY, f64::min);
    metadata.spacing.map(|s| (s / least) as f32)
}

/// Half of the memory is for bricks to draw from; of the rest most is for voxels.
fn stream_options(memory: u64) -> StreamOptions {
    let mut options = StreamOptions::default();
    options.budgets.encoded = memory / 8;
    options.budgets.decoded = memory / 8 * 3;
    options
}
