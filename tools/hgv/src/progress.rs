//! Progress bars on stderr: phase, voxels done, voxels per second, time left.
//!
//! Nothing is drawn where stderr is no terminal. Every update also polls for an interrupt, so
//! an action that reports progress can be stopped.

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use hgv::encode::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::interrupt;

const TEMPLATE: &str =
    "{msg:>8} {wide_bar} {percent:>3}%  {human_pos}/{human_len} voxels  {rate}  {eta} left";

/// The bar of the phase that runs now.
pub(crate) struct ProgressLine {
    visible: bool,
    current: Mutex<Option<Phase>>,
}

struct Phase {
    name: &'static str,
    /// How often this phase has begun: a search goes over the volume again and again.
    pass: u32,
    bar: ProgressBar,
}

impl ProgressLine {
    /// `quiet` hides it; so does a stderr that is no terminal.
    pub(crate) fn new(quiet: bool) -> Self {
        Self {
            visible: !quiet,
            current: Mutex::new(None),
        }
    }

    /// Shows `progress`. Callable from any thread.
    ///
    /// Returns `Break` once the user asked to stop.
    pub(crate) fn update(&self, progress: Progress) -> ControlFlow<()> {
        if self.visible {
            self.draw(progress);
        }
        interrupt::poll()
    }

    /// Shows what is being done where nobody knows how much there is to do. Callable from any thread.
    ///
    /// Returns `Break` once the user asked to stop.
    pub(crate) fn say(&self, phase: &'static str, text: &str) -> ControlFlow<()> {
        if self.visible {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            if current.as_ref().is_none_or(|p| p.name != phase) {
                if let Some(old) = current.take() {
                    old.bar.finish_and_clear();
                }
                *current = Some(Phase::words(phase));
            }
            if let Some(phase) = current.as_ref() {
                phase.bar.set_message(format!("{} {text}", phase.name));
                phase.bar.tick();
            }
        }
        interrupt::poll()
    }

    /// Removes the bar, so that result lines stand alone.
    pub(crate) fn clear(&self) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(phase) = current.take() {
            phase.bar.finish_and_clear();
        }
    }

    fn draw(&self, progress: Progress) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let pass = match current.as_ref() {
            Some(p) if p.name == progress.phase => p.pass + u32::from(p.is_over(progress)),
            _ => 1,
        };
        let goes_on = |p: &Phase| p.name == progress.phase && p.pass == pass;
        if !current.as_ref().is_some_and(goes_on) {
            if let Some(old) = current.take() {
                old.bar.finish_and_clear();
            }
            *current = Some(Phase::start(progress, pass));
        }
        if let Some(phase) = current.as_ref() {
            phase.bar.set_length(progress.total);
            // Reports of several threads may arrive out of order; a bar must not run backwards.
            phase
                .bar
                .set_position(progress.done.max(phase.bar.position()));
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Phase {
    fn start(progress: Progress, pass: u32) -> Self {
        let bar = ProgressBar::with_draw_target(Some(progress.total), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template(TEMPLATE)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .with_key(
                "rate",
                |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                    // The mean of the phase: the blocks of a moment say little.
                    let seconds = state.elapsed().as_secs_f64();
                    let _ = if seconds < 0.1 {
                        write!(out, "- Mvoxel/s")
                    } else {
                        write!(out, "{:.1} Mvoxel/s", state.pos() as f64 / 1e6 / seconds)
                    };
                },
            );
        bar.set_style(style);
        bar.set_message(match pass {
            1 => progress.phase.to_owned(),
            _ => format!("{} {pass}", progress.phase),
        });
        Self {
            name: progress.phase,
            pass,
            bar,
        }
    }

    /// A phase of unknown length.
    fn words(name: &'static str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{spinner} {msg}  {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        Self { name, pass: 1, bar }
    }

    /// Whether a report belongs to the next pass: reports come out of order by a few blocks only.
    fn is_over(&self, progress: Progress) -> bool {
        self.bar.position() == progress.total && progress.done <= progress.total / 2
    }
}

/// A time in seconds, as people read it.
pub(crate) fn seconds(time: f64) -> String {
    let mut text = String::new();
    let _ = if time < 60.0 {
        write!(text, "{time:.2} s")
    } else {
        write!(
            text,
            "{} min {:02.0} s",
            (time / 60.0) as u64,
            (time % 60.0).floor()
        )
    };
    text
}
