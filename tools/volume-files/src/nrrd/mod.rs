//! NRRD: a text header, then voxels in the same file or in others.

mod geometry;
mod read;
mod write;

pub(crate) use read::parse;
pub(crate) use write::header;
