//! Pictures, cut into squares that threads draw.

use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::{Error, Result};

/// Pixels along the side of what a thread draws at a time.
const TILE: u32 = 16;

/// Joins what `pixel` says of every pixel to those of a picture of `size`, on the threads of the current pool.
///
/// # Errors
/// [`Error::Cancelled`] if `stop` is set meanwhile; then nothing is joined.
pub(super) fn draw(
    size: [u32; 2],
    stop: &AtomicBool,
    picture: &mut [[f32; 4]],
    pixel: impl Fn(u32, u32) -> [f32; 4] + Sync,
    mut join: impl FnMut(&mut [f32; 4], [f32; 4]),
) -> Result<()> {
    let [width, height] = size;
    let across = width.div_ceil(TILE);
    let corner = |tile: u32| [tile % across * TILE, tile / across * TILE];
    let drawn: Option<Vec<Vec<[f32; 4]>>> = (0..across * height.div_ceil(TILE))
        .into_par_iter()
        .map(|tile| {
            if stop.load(Ordering::Relaxed) {
                return None;
            }
            let [x0, y0] = corner(tile);
            let mut out = Vec::with_capacity((TILE * TILE) as usize);
            for y in y0..(y0 + TILE).min(height) {
                out.extend((x0..(x0 + TILE).min(width)).map(|x| pixel(x, y)));
            }
            Some(out)
        })
        .collect();
    for (tile, pixels) in (0..).zip(drawn.ok_or(Error::Cancelled)?) {
        let [x0, y0] = corner(tile);
        let wide = (width - x0).min(TILE) as usize;
        for (y, row) in (y0 as usize..).zip(pixels.chunks(wide)) {
            let first = y * width as usize + x0 as usize;
            for (old, &new) in picture[first..first + wide].iter_mut().zip(row) {
                join(old, new);
            }
        }
    }
    Ok(())
}
