//! Files on web servers: good ones, slow ones, broken ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bricks;
#[path = "http/faults.rs"]
mod faults;
#[path = "http/huge.rs"]
mod huge;
#[path = "http/proxies.rs"]
mod proxies;
#[path = "http/requests.rs"]
mod requests;
#[path = "http/server.rs"]
mod server;
#[path = "http/streamer.rs"]
mod streamer;
#[path = "http/tls.rs"]
mod tls;
#[path = "http/versions.rs"]
mod versions;
mod volumes;
