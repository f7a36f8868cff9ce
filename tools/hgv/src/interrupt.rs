//! Ctrl-C: the first one asks the running action to stop, the second one ends the program.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

/// Exit status after an interrupt.
pub(crate) const EXIT_STATUS: u8 = 130;

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Starts to listen. Without a handler an interrupt ends the program at once, which is safe too:
/// files get their final name only when they are whole.
pub(crate) fn listen() {
    let _ = ctrlc::set_handler(|| {
        if REQUESTED.swap(true, Ordering::Relaxed) {
            std::process::exit(EXIT_STATUS.into());
        }
    });
}

/// `Break` once an interrupt came.
pub(crate) fn poll() -> ControlFlow<()> {
    if REQUESTED.load(Ordering::Relaxed) {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}
