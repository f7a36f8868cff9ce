//! Streaming of the same volume in several formats over a shaped link, by one client.
//!
//! Owns the link, what the client needs to know of the other formats, the flight of the camera and what is
//! measured. The client is hgv's own [`hgv::stream::Streamer`] for every format.

pub mod blosc;
pub mod contents;
pub mod flight;
pub mod link;
pub mod peer;
pub mod precomputed;
pub mod pyramid;
pub mod raw;
pub mod replay;
pub mod session;
pub mod site;
pub mod ssim;
pub mod zarr;
