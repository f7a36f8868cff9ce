//! MRC2014 and CCP4 maps: a header of 1024 bytes, an extended header, voxels. Lengths are in
//! angstrom.

mod read;
mod write;

pub(crate) use read::parse;
pub(crate) use write::{Statistics, header};

/// Start of the label that carries what the format has no field for.
const VALUES_LABEL: &str = "value =";
