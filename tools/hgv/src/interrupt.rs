//! Ctrl-C: the first one asks the running action to stop, the second one ends the program.
//!
//! Until [`cooperate`] is called nothing has a name on disk, and the first one ends the program.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

/// Exit status after an interrupt.
pub(crate) const EXIT_STATUS: u8 = 130;

static REQUESTED: AtomicBool = AtomicBool::new(false);
static COOPERATING: AtomicBool = AtomicBool::new(false);

/// Starts to listen. Without a handler an interrupt ends the program at once, which is safe too:
/// files get their final name only when they are whole.
pub(crate) fn listen() {
    let _ = ctrlc::set_handler(|| {
        let again = REQUESTED.swap(true, Ordering::SeqCst);
        if again || !COOPERATING.load(Ordering::SeqCst) {
            report();
            std::process::exit(EXIT_STATUS.into());
        }
    });
}

/// Says on stderr why the program ends.
pub(crate) fn report() {
    crate::output::error("interrupted");
}

/// From now on there are files to clean up, and the action polls.
pub(crate) fn cooperate() {
    COOPERATING.store(true, Ordering::SeqCst);
}

/// Whether an interrupt came.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

/// `Break` once an interrupt came.
pub(crate) fn poll() -> ControlFlow<()> {
    if requested() {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}
