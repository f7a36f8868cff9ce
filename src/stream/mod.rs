//! Reading files that lie on web servers.
//!
//! Any server or object store that answers range requests will do. Opening is one request; every
//! answer is held against the version of the file that opening saw, so that bytes of two versions
//! never mix. Owns HTTP, retries and versions; knows nothing of blocks (container design, "Remote
//! reading").

#[cfg(feature = "http")]
mod answer;
#[cfg(feature = "http")]
mod client;
#[cfg(feature = "http")]
mod options;
#[cfg(feature = "http")]
mod retry;
#[cfg(feature = "http")]
mod source;
#[cfg(feature = "http")]
mod transfer;
#[cfg(feature = "http")]
mod volume;

#[cfg(feature = "http")]
pub use client::HttpClient;
#[cfg(feature = "http")]
pub use options::HttpOptions;
#[cfg(feature = "http")]
pub use source::HttpSource;
#[cfg(feature = "http")]
pub use volume::HttpVolume;
