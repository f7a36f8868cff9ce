//! NIfTI-1 and NIfTI-2: a binary header of 348 or 540 bytes, then voxels in the same file or in
//! an `.img` beside it. World axes point right, anterior, superior.

mod affine;
mod read;
mod write;

pub(crate) use read::parse;
pub(crate) use write::header;

/// NIfTI data type codes.
const TYPES: [(i16, crate::NumberType); 10] = {
    use crate::NumberType as N;
    [
        (2, N::U8),
        (256, N::I8),
        (512, N::U16),
        (4, N::I16),
        (768, N::U32),
        (8, N::I32),
        (1280, N::U64),
        (1024, N::I64),
        (16, N::F32),
        (64, N::F64),
    ]
};

/// Unit codes in `xyzt_units`.
const UNITS: [(u8, &str); 3] = [(1, "m"), (2, "mm"), (3, "um")];
