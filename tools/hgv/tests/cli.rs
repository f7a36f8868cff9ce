//! The `hgv` program from the outside: words, exit codes, JSON, files left behind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "cli/analyze.rs"]
mod analyze;
#[path = "cli/bad_input.rs"]
mod bad_input;
#[path = "cli/crash.rs"]
mod crash;
#[path = "cli/hashgrid.rs"]
mod hashgrid;
#[path = "cli/machine.rs"]
mod machine;
#[path = "cli/parts.rs"]
mod parts;
#[cfg(feature = "http")]
#[path = "cli/remote.rs"]
mod remote;
#[path = "cli/render.rs"]
mod render;
#[path = "cli/round_trip.rs"]
mod round_trip;
#[cfg(feature = "http")]
#[path = "cli/serve.rs"]
mod serve;
#[path = "cli/support.rs"]
mod support;
#[path = "cli/usage.rs"]
mod usage;
