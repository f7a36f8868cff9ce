//! Coder R and masks on the device: the same numbers as on the CPU for every stream, a bad status for exactly
//! the streams that the CPU refuses, and the same bytes from encoders.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cases;
mod encode;
mod layers;
mod mask;
mod residual;
mod vectors;

use hgv::backend::cuda::{Buffer, Stream};
use zerocopy::{Immutable, IntoBytes};

/// A buffer of the device that holds this.
fn buffer<T: IntoBytes + Immutable>(stream: &mut Stream, data: &[T]) -> Buffer {
    let buffer = Buffer::new(stream.device(), size_of_val(data)).unwrap();
    stream.upload(&buffer, 0, data).unwrap();
    buffer
}
