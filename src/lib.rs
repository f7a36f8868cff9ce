//! hgv: block-seekable, progressive compression of very large 3-D volumes.

#![deny(unsafe_code)]

pub mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod limits;
pub mod quality;
pub mod volume;

pub use error::{Error, Result};
pub use limits::Limits;
pub mod decode;
pub mod encode;
pub use decode::Volume;
pub mod backend;
pub mod codec;
pub mod model;

#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench_api;
