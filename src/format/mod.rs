//! The bytes of a file: turns `&[u8]` into checked values and back.
//!
//! Owns the byte layout and every structural rule of `format-spec/container.md`. Knows no files,
//! sockets, threads or codecs: payloads and model records are opaque bytes here.
//!
//! | module | part of the file |
//! |---|---|
//! | [`constant`] | magic numbers and sizes that never change |
//! | [`header`] | the 256-byte header and trailer |
//! | [`section`] | the section table |
//! | [`tier`], [`layer`], [`model`], [`metadata`] | sections TIER, LAYR, MODL, META |
//! | [`root`] | root and middle nodes of the index |
//! | [`page`] | the index page at the start of each cluster |
//! | [`key`] | page keys: compressed Morton codes |
//! | [`range`] | codes of value ranges and errors |
//! | [`shape`] | everything of a file that does not depend on its blocks |
//! | [`validate`] | rules that need more than one structure |

mod bytes;
pub mod constant;
pub mod crc;
pub mod header;
pub mod key;
pub mod layer;
pub mod metadata;
pub mod model;
pub mod page;
pub mod range;
pub mod root;
pub mod section;
pub mod shape;
pub mod tier;
pub mod validate;
