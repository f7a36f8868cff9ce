//! How long actions tell how far they have come, and how they are stopped.

use std::ops::ControlFlow;

/// How far an action has come. `done` and `total` count voxels of the current phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done: `scan`, `encode`, `search`, `verify`, ...
    pub phase: &'static str,
    /// Voxels done in this phase.
    pub done: u64,
    /// Voxels of this phase.
    pub total: u64,
}

/// Called now and then from worker threads; `Break` cancels the action with [`crate::Error::Cancelled`].
pub type ProgressFn<'a> = dyn Fn(Progress) -> ControlFlow<()> + Sync + 'a;
