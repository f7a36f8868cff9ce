//! Pictures as light: OpenEXR.

use std::io::Cursor;

use exr::prelude::{Encoding, SpecificChannels, Vec2, WritableImage};
use hgv::render::Image;
use hgv::{Error, Result};

/// The bytes of an OpenEXR file: red, green, blue as linear light times opacity, and opacity, 32 bits each,
/// compressed without loss.
///
/// # Errors
/// [`Error::Io`] if the picture cannot be written.
pub(crate) fn exr(image: &Image) -> Result<Vec<u8>> {
    let [width, height] = image.size.map(|n| n as usize);
    let channels = SpecificChannels::rgba(|at: Vec2<usize>| {
        let [r, g, b, a] = image.pixels[at.y() * width + at.x()];
        (r, g, b, a)
    });
    let file = exr::prelude::Image::from_encoded_channels(
        (width, height),
        Encoding::SMALL_LOSSLESS,
        channels,
    );
    let mut out = Cursor::new(Vec::new());
    let written = file.write().to_buffered(&mut out);
    written.map_err(|e| Error::io("a picture", std::io::Error::other(e.to_string())))?;
    Ok(out.into_inner())
}
