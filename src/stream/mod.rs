//! Volumes over a network: reading files that lie on web servers, and what to read next.
//!
//! Any server or object store that answers range requests will do. Opening is one request; every
//! answer is held against the version of the file that opening saw, so that bytes of two versions
//! never mix. Owns HTTP, retries and versions, and in [`schedule`] the order in which a view gets its
//! blocks; the two know nothing of each other. A [`Streamer`] brings them together.

#[cfg(feature = "http")]
mod answer;
#[cfg(feature = "http")]
mod client;
mod content;
mod disk;
mod fetch;
mod file;
#[cfg(all(feature = "http", feature = "fuzzing"))]
pub(crate) mod fuzz;
#[cfg(feature = "http")]
mod options;
mod pace;
#[cfg(feature = "http")]
mod proxy;
#[cfg(feature = "http")]
mod remote;
#[cfg(feature = "http")]
mod retry;
pub mod schedule;
#[cfg(feature = "http")]
mod source;
#[cfg(feature = "object-store")]
mod store;
#[cfg(feature = "object-store")]
mod store_http;
mod streamer;
mod streaming;
#[cfg(feature = "http")]
mod transfer;
#[cfg(feature = "http")]
mod volume;
#[cfg(feature = "http")]
mod web;

#[cfg(feature = "http")]
pub use client::HttpClient;
pub use content::{Brick, Bricks, Streamable};
pub use disk::DiskCache;
pub use file::VolumeContent;
#[cfg(feature = "http")]
pub use options::{HttpOptions, ProxyRules};
#[cfg(feature = "http")]
pub use remote::RemoteSource;
#[cfg(feature = "http")]
pub use source::{HttpSource, is_address, open_remote};
#[cfg(feature = "object-store")]
pub use store::StoreSource;
pub use streamer::Streamer;
pub use streaming::{StreamEvent, StreamObserver, StreamOptions, StreamProgress};
#[cfg(feature = "http")]
pub use volume::HttpVolume;
