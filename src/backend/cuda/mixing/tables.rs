//! The trained start of coder M in device memory, as `cuda/mixing.cuh` reads it.

use crate::Result;
use crate::backend::cuda::{Buffer, Stream};
use crate::codec::mixing::{ADAPTIVE, CURVE, KINDS, MAGNITUDE_TERMS, SIGN_TERMS, SLOTS, WEIGHTS};
use crate::codec::mixing::{RATES, Tables, tables};

const BYTES: usize = WEIGHTS * 4
    + ADAPTIVE * 3
    + CURVE * 4
    + (SLOTS - ADAPTIVE) * 2
    + RATES.len() * 2
    + KINDS * (MAGNITUDE_TERMS + SIGN_TERMS);
const _: () = assert!(BYTES == 44_932, "as in mixing.cuh");

/// Uploads the tables.
pub(super) fn upload(stream: &mut Stream) -> Result<Buffer> {
    let image = image(tables()?);
    let buffer = Buffer::new(stream.device(), image.len())?;
    stream.upload(&buffer, 0, image.as_slice())?;
    Ok(buffer)
}

/// The members of `MixingTables`, one behind the other.
fn image(tables: &Tables) -> Vec<u8> {
    let (learn, fixed) = tables.probabilities.split_at(ADAPTIVE);
    let stretched = |p: &u16| tables.stretch[usize::from(p >> 4)].to_le_bytes();
    let mut image = Vec::with_capacity(BYTES);
    image.extend(tables.weights.iter().flat_map(|w| w.to_le_bytes()));
    image.extend(learn.iter().flat_map(|p| p.to_le_bytes()));
    image.extend(tables.stretch.iter().flat_map(|v| v.to_le_bytes()));
    image.extend(tables.squash.iter().flat_map(|v| v.to_le_bytes()));
    image.extend(fixed.iter().flat_map(stretched));
    image.extend(RATES.iter().flat_map(|r| r.to_le_bytes()));
    image.extend(&tables.counts[..ADAPTIVE]);
    image.extend(tables.magnitude.iter().flatten());
    image.extend(tables.sign.iter().flatten().map(|&w| w.cast_unsigned()));
    image
}
