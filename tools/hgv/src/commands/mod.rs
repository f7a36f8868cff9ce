//! What each command does. A command parses nothing and draws nothing itself: it joins inputs,
//! the library and the output.

mod analyze;
mod compare;
mod decode;
mod devices;
mod encode;
mod info;
mod merge;
mod recover;
mod render;
#[cfg(feature = "http")]
mod serve;
mod verify;
#[cfg(feature = "http")]
mod view;

use std::time::Instant;

use hgv::{Error, Result};

use crate::args::{Command, Common};
use crate::output::Output;
use crate::progress::ProgressLine;
use crate::remote::Remotes;

/// How a command that ran to its end came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All well.
    Done,
    /// A check failed, or a recovery lost something.
    CheckFailed,
}

/// What every command needs to know of the common options.
pub(crate) struct Context {
    pub(crate) output: Output,
    pub(crate) progress: ProgressLine,
    /// Worker threads; 0 = all cores.
    pub(crate) threads: usize,
    pub(crate) force: bool,
    pub(crate) remotes: Remotes,
    started: Instant,
}

impl Context {
    /// # Errors
    /// [`Error::InvalidArgument`] if the threads cannot be started.
    pub(crate) fn new(common: &Common) -> Result<Self> {
        let threads = common.threads.map_or(0, usize::from);
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .map_err(|e| Error::argument(format!("cannot start {threads} threads: {e}")))?;
        Ok(Self {
            output: Output::new(common),
            progress: ProgressLine::new(common.quiet),
            threads,
            force: common.force,
            remotes: Remotes::default(),
            started: Instant::now(),
        })
    }

    /// Seconds since the command began.
    pub(crate) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }
}

/// Million voxels per second.
fn mvoxels_per_second(voxels: u64, seconds: f64) -> f64 {
    voxels as f64 / 1e6 / seconds.max(1e-9)
}

/// Runs one command; once more if a file on a server was replaced while it was read.
pub(crate) fn run(command: &Command, context: &Context) -> Result<Outcome> {
    match once(command, context) {
        Err(error) if context.remotes.forget_replaced(&error) => {
            context.progress.clear();
            context
                .output
                .note("the file on the server was replaced; beginning again with the new one");
            once(command, context)
        }
        result => result,
    }
}

fn once(command: &Command, context: &Context) -> Result<Outcome> {
    match command {
        Command::Encode(args) => encode::run(args, context),
        Command::Decode(args) => decode::run(args, context),
        Command::Info(args) => info::run(args, context),
        Command::Verify(args) => verify::run(args, context),
        Command::Compare(args) => compare::run(args, context),
        Command::Analyze(args) => analyze::run(args, context),
        Command::Render(args) => render::run(args, context),
        Command::Recover(args) => recover::run(args, context),
        Command::Merge(args) => merge::run(args, context),
        #[cfg(feature = "http")]
        Command::Serve(args) => serve::run(args, context),
        #[cfg(feature = "http")]
        Command::View(args) => view::run(args, context),
        Command::Devices(args) => devices::run(args, context),
    }
}
