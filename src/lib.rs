//! hgv: block-seekable, progressive compression of very large 3-D volumes.
//!
//! A volume is cut into blocks; each block becomes a small model whose integer weights are
//! entropy-coded in layers. A prefix of the layers is a level of detail or a quality level. Blocks
//! are gathered in clusters, each with an index page in front:
//!
//! ```text
//! ┌──────── head ────────┬──────────────── cluster ────────────────┬─ cluster ─┬─ …
//! │ header tables root   │ page │ L0 of all │ L1 of all │ L2.. of  │ page …    │
//! │ metadata  overview   │      │ blocks    │ blocks    │ each     │           │
//! └──────────────────────┴──────┴───────────┴───────────┴──────────┴───────────┘
//! ```
//!
//! # Quick start
//!
//! ```
//! use hgv::encode::{EncodeOptions, Target, encode};
//! use hgv::volume::{MemoryVolume, Metadata, Region};
//! use std::ops::ControlFlow;
//!
//! # fn main() -> hgv::Result<()> {
//! let voxels: Vec<f32> = (0..40 * 30 * 20).map(|i| (i % 40) as f32 * 0.5).collect();
//! let source = MemoryVolume::new([40, 30, 20], &voxels, Metadata::default())?;
//! let path = std::env::temp_dir().join(format!("hgv-quick-start-{}.hgv", std::process::id()));
//! let options = EncodeOptions::default().with_target(Target::Psnr(60.0));
//! let report = encode(&source, &path, &options, &|_| ControlFlow::Continue(()))?;
//! assert!(report.psnr.is_none_or(|db| db >= 60.0));
//!
//! let volume = hgv::Volume::open(&path)?;
//! let region = Region::new([8, 0, 0], [24, 16, 16])?;
//! let mut out = vec![0f32; 16 * 16 * 16];
//! volume.read_region(0, volume.levels() - 1, &region, &mut out)?;
//! assert!((out[0] - 4.0).abs() < 0.2);
//! # std::fs::remove_file(&path).ok();
//! # Ok(())
//! # }
//! ```
//!
//! # Costs
//!
//! | action | reads | memory |
//! |---|---|---|
//! | [`Volume::open`] | one, at most 64 KiB; one more round trip for very large tables | head |
//! | first region of a cluster | its index page, once | 64 MiB of pages at most |
//! | [`Volume::read_region`] | the layers it needs of the blocks it touches, near ones merged | 8 blocks a thread and the caller's buffer |
//! | [`Volume::sample`], [`Volume::gradient`] | the same, each block once a call | the same, and about 60 bytes a point |
//! | [`encode::encode`] | the source once to scan, once a pass | `options.memory` |
//!
//! # Layers
//!
//! `format` (bytes only) ← [`io`] ← [`reader`], [`writer`]; [`model`] ← [`codec`] ← [`backend`] ←
//! [`decode`], [`encode`]; [`stream`] reads what a view needs, also from web servers, and [`render`] draws it. Most programs need [`Volume`], [`encode::encode`] and [`volume`] only.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `cuda` | yes | NVIDIA GPUs, through their driver if there is one when the program runs |
//! | `ndarray` | yes | [`Volume::read_array`] |
//! | `http` | no | `stream::HttpSource`, `stream::HttpVolume`: files on web servers |
//!
//! Index order is `[x, y, z]` for triples and `[z][y][x]` in memory: x is fastest.

#![deny(unsafe_code)]

#[cfg(target_endian = "big")]
compile_error!(
    "voxels are handed out as little-endian memory; big-endian machines are not supported yet"
);

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

pub mod analyze;
pub mod predict;

pub mod decode;
pub mod encode;
pub mod quality;
pub mod render;
pub mod stream;

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

/// The README's program is a test too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
