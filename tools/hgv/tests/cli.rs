//! The `hgv` program from the outside: words, exit codes, JSON, files left behind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "cli/bad_input.rs"]
mod bad_input;
#[path = "cli/crash.rs"]
mod crash;
#[path = "cli/parts.rs"]
mod parts;
#[path = "cli/round_trip.rs"]
mod round_trip;
#[path = "cli/support.rs"]
mod support;
#[path = "cli/usage.rs"]
mod usage;

/// Whether encoding, decoding and volume files are linked into the program; tests that need
/// them print that they are skipped while they are not.
const LIBRARY_READY: bool = true;

/// Whether a test that encodes or decodes can run.
fn ready() -> bool {
    if !LIBRARY_READY {
        eprintln!("skipped: the library is not linked into the program yet");
    }
    LIBRARY_READY
}
