//! The header of an NPY file in C order, `a[z, y, x]`, little-endian.

use hgv::volume::{DType, Extent};

/// Magic, version 1.0, length and dictionary, padded so that voxels start at a multiple of 64.
pub(crate) fn header([x, y, z]: Extent, dtype: DType) -> Vec<u8> {
    let descr = match dtype {
        DType::Uint8 => "|u1",
        DType::Int8 => "|i1",
        DType::Uint16 => "<u2",
        DType::Int16 => "<i2",
        _ => "<f4",
    };
    let mut text =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({z}, {y}, {x}), }}");
    let padded = (10 + text.len() + 1).next_multiple_of(64);
    while 10 + text.len() + 1 < padded {
        text.push(' ');
    }
    text.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}
