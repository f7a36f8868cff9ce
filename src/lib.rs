//! hgv: block-seekable, progressive compression of very large 3-D volumes.

#![deny(unsafe_code)]

// Unit tests share helpers with the integration tests, which know the crate by its name.
#[cfg(test)]
extern crate self as hgv;

pub mod error;
pub mod format;
pub mod io;
pub mod limits;
pub mod reader;
pub mod volume;
pub mod writer;

pub use error::{Error, Result};
pub use limits::Limits;
pub mod decode;
pub mod encode;
pub use decode::Volume;
