//! The `hgv` program from the outside: words, exit codes, JSON, files left behind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "cli/analyze.rs"]
mod analyze;
#[path = "cli/bad_input.rs"]
mod bad_input;
#[cfg(feature = "http")]
#[path = "cli/browser.rs"]
mod browser;
#[path = "cli/crash.rs"]
mod crash;
#[path = "cli/hashgrid.rs"]
mod hashgrid;
#[path = "cli/machine.rs"]
mod machine;
#[cfg(all(feature = "http", unix))]
#[path = "cli/nginx.rs"]
mod nginx;
#[path = "cli/parts.rs"]
mod parts;
#[cfg(feature = "http")]
#[path = "cli/remote.rs"]
mod remote;
#[path = "cli/render.rs"]
mod render;
#[path = "cli/round_trip.rs"]
mod round_trip;
#[cfg(feature = "object-store")]
#[path = "../../../tests/stores/s3.rs"]
mod s3;
#[cfg(feature = "http")]
#[path = "cli/serve.rs"]
mod serve;
#[cfg(feature = "object-store")]
#[path = "cli/stores.rs"]
mod stores;
#[path = "cli/support.rs"]
mod support;
#[path = "cli/usage.rs"]
mod usage;
#[cfg(feature = "http")]
#[path = "cli/view.rs"]
mod view;
