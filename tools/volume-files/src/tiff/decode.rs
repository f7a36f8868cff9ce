//! Compressed, tiled or scattered pages, decoded strip by strip into the scratch file.

use super::page::{File, Page, failure};
use crate::element::Endian;
use crate::failure::bad;
use crate::spool::Spool;
use hgv::Result;
use tiff::decoder::DecodingResult;

/// Byte order of decoded numbers.
pub(super) const MACHINE: Endian = if cfg!(target_endian = "big") {
    Endian::Big
} else {
    Endian::Little
};

/// Most bytes of a row of tiles.
const BAND: u64 = 256 << 20;

/// Decodes one page into the scratch file.
pub(super) fn page(file: &mut File, number: usize, page: &Page, spool: &mut Spool) -> Result<()> {
    if page.white_is_zero && !invertible(page) {
        return Err(bad(
            &file.path,
            format!(
                "white is zero in pages of {}; save them with black as zero",
                page.number
            ),
        ));
    }
    file.decoder
        .seek_to_image(number)
        .map_err(|e| failure(&file.path, e))?;
    let (width, height) = file.decoder.chunk_dimensions();
    let (width, height) = (u64::from(width).max(1), u64::from(height).max(1));
    let across = page.width.div_ceil(width);
    for band in 0..page.height.div_ceil(height) {
        let rows = height.min(page.height - band * height);
        let mut voxels = if across == 1 {
            chunk(file, band)?
        } else {
            row_of_tiles(file, page, band * across, across, rows)?
        };
        let want = rows * page.width * page.number.size() as u64;
        if voxels.len() as u64 != want {
            return Err(bad(
                &file.path,
                format!(
                    "a strip holds {} bytes instead of {want}; save the TIFF anew",
                    voxels.len()
                ),
            ));
        }
        if page.white_is_zero {
            voxels.iter_mut().for_each(|b| *b = !*b);
        }
        spool.push(&mut voxels)?;
    }
    Ok(())
}

/// Whether turning every bit round undoes what the decoder does where white is zero.
fn invertible(page: &Page) -> bool {
    use crate::NumberType as N;
    matches!(page.number, N::U8 | N::U16 | N::U32 | N::U64)
}

/// The bytes of one strip or tile.
fn chunk(file: &mut File, index: u64) -> Result<Vec<u8>> {
    let index =
        u32::try_from(index).map_err(|_| bad(&file.path, "the TIFF has too many strips"))?;
    let mut decoded = file
        .decoder
        .read_chunk(index)
        .map_err(|e| failure(&file.path, e))?;
    Ok(match decoded {
        DecodingResult::U8(bytes) => bytes,
        ref mut other => other.as_buffer(0).as_bytes().to_vec(),
    })
}

/// Tiles side by side, as rows of the page.
fn row_of_tiles(
    file: &mut File,
    page: &Page,
    first: u64,
    across: u64,
    rows: u64,
) -> Result<Vec<u8>> {
    let size = page.number.size() as u64;
    let pitch = page.width * size;
    if pitch * rows > BAND {
        return Err(bad(
            &file.path,
            "a row of tiles is over 256 MiB; save the TIFF with smaller tiles",
        ));
    }
    let mut band = vec![0; (pitch * rows) as usize];
    let mut x = 0;
    for tile in first..first + across {
        let bytes = chunk(file, tile)?;
        let row = bytes.len() / rows as usize;
        if row == 0 || x + row > pitch as usize {
            return Err(bad(
                &file.path,
                "a tile has an impossible size; save the TIFF anew",
            ));
        }
        for (line, from) in band
            .chunks_exact_mut(pitch as usize)
            .zip(bytes.chunks_exact(row))
        {
            line[x..x + row].copy_from_slice(from);
        }
        x += row;
    }
    Ok(band)
}
