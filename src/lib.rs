//! hgv: block-seekable, progressive compression of very large 3-D volumes.

#![deny(unsafe_code)]

// Unit tests share helpers with the integration tests, which know the crate by its name.
#[cfg(test)]
extern crate self as hgv;

pub mod error;
pub mod limits;
pub mod progress;

pub mod volume;

pub mod format;
pub mod io;
pub mod reader;
pub mod writer;

pub mod backend;
pub mod codec;
pub mod model;

pub mod decode;
pub mod encode;
pub mod quality;

#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench_api;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;

pub use decode::Volume;
pub use error::{Error, Result};
pub use limits::Limits;
pub use progress::{Progress, ProgressFn};
