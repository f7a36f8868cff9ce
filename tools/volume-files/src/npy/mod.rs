//! NPY: a Python dictionary as text, then voxels. In C order the last axis of the array is x,
//! in Fortran order the first, so that the voxels of both lie with x fastest.

mod read;
mod write;

pub(crate) use read::parse;
pub(crate) use write::header;
