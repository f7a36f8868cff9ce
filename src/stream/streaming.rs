//! What a streamer is told, and what it tells.

use std::sync::Arc;

use super::content::Brick;
use super::disk::DiskCache;
use super::schedule::{BlockId, Budgets, Caps, Fetch, Status};
use crate::Error;

/// Called with everything that happens, on the threads of the streamer.
pub type StreamObserver = Arc<dyn Fn(&StreamEvent<'_>) + Send + Sync>;

/// Something that happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum StreamEvent<'a> {
    /// A range is asked for.
    Asked(&'a Fetch),
    /// A range is here; so many of its bytes came from the disk cache.
    Arrived(&'a Fetch, u64),
    /// A range is not wanted any more, or could not be had.
    Failed(&'a Fetch, &'a Error),
    /// A block was decoded and is shown from now on.
    Decoded(&'a Arc<Brick>),
    /// The voxels of a block were forgotten.
    Evicted(BlockId),
    /// The file was replaced and opened anew: everything begins again.
    Reopened,
}

/// How a [`Streamer`](super::Streamer) works.
#[derive(Clone)]
#[non_exhaustive]
pub struct StreamOptions {
    /// What it may use.
    pub budgets: Budgets,
    /// Error that nobody sees, in units of the values of the volume. Default 0: everything is fetched that
    /// the view can show.
    pub tolerance: f32,
    /// What is fetched and shown at most, until [`set_caps`](super::Streamer::set_caps). Default: all that there is.
    pub caps: Caps,
    /// How many seconds ahead the camera is thought at its velocity. Default 0.25.
    pub horizon: f32,
    /// Threads that decode; 0 = one a core.
    pub decoders: usize,
    /// Keeps what was fetched for the next session.
    pub cache: Option<Arc<DiskCache>>,
    /// Hears of everything that happens.
    pub observer: Option<StreamObserver>,
}

impl std::fmt::Debug for StreamOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamOptions")
            .field("budgets", &self.budgets)
            .field("tolerance", &self.tolerance)
            .field("caps", &self.caps)
            .field("horizon", &self.horizon)
            .field("decoders", &self.decoders)
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            budgets: Budgets::default(),
            tolerance: 0.0,
            caps: Caps::default(),
            horizon: 0.25,
            decoders: 0,
            cache: None,
            observer: None,
        }
    }
}

/// Where a streamer stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamProgress {
    /// What the scheduler says.
    pub status: Status,
    /// Grows with every change of the bricks or of this report.
    pub revision: u64,
    /// Grows with every change of the bricks.
    pub picture: u64,
    /// Ranges asked of the source.
    pub requests: u64,
    /// Bytes that the source gave.
    pub fetched: u64,
    /// Bytes that the disk cache gave.
    pub cached: u64,
    /// Blocks with voxels.
    pub bricks: usize,
    /// Whether every wanted block of the coarsest tier has voxels: there is a whole picture.
    pub first_picture: bool,
    /// Whether the view shows all it can: nothing wanted is missing, under way or not decoded.
    pub settled: bool,
    /// Times that the file was found replaced and opened anew.
    pub reopened: u32,
    /// What went wrong last, if the view is not whole because of it.
    pub error: Option<String>,
}
