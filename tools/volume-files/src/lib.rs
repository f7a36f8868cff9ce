//! Reading and writing volume files, out of core: NRRD, NIfTI, MRC, TIFF, NPY and raw.
//!
//! [`open_volume`] gives a [`hgv::volume::VoxelSource`] for a file of any of these formats and
//! [`VolumeWriter`] streams voxels into a new one. Neither ever holds a volume in memory:
//! uncompressed seekable files are read in place, box by box; compressed or piped ones are
//! unpacked once to a scratch file that vanishes when the source is dropped.
//!
//! Index order is `[x, y, z]` for triples and `[z][y][x]` for voxels: x is fastest. No reader or
//! writer changes the order of voxels; orientation is expressed in [`hgv::volume::Metadata`].
//!
//! This crate knows nothing of the hgv format, of codecs or of the command line. It prints
//! nothing: what a user should be told comes back as [`OpenedVolume::notices`] and
//! [`Written::notices`].

#![deny(unsafe_code)]

mod affine;
mod convert;
mod element;
mod failure;
mod format;
mod input;
mod layout;
mod locate;
mod mrc;
mod nifti;
mod npy;
mod nrrd;
mod open;
mod raw;
mod source;
mod spool;
mod store;
mod text;
mod tiff;
mod units;
mod write;

pub use element::{Endian, NumberType};
pub use format::Format;
pub use open::{OpenOptions, OpenedVolume, open_volume};
pub use write::{VolumeWriter, Written};
