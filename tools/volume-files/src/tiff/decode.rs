//! Compressed, tiled or scattered pages, decoded strip by strip into the scratch file.

use super::directory::{File, tag};
use super::page::Page;
use crate::element::Endian;
use crate::failure::{bad, system};
use crate::format::Packing;
use crate::spool::Spool;
use hgv::Result;
use std::io::BufReader;
use tiff::TiffError;
use tiff::decoder::Decoder;

/// Byte order of decoded numbers.
pub(super) const MACHINE: Endian = if cfg!(target_endian = "big") {
    Endian::Big
} else {
    Endian::Little
};

/// Most bytes of a strip, a tile, or a row of tiles.
const BAND: u64 = 256 << 20;

/// The strips or tiles of a page.
struct Grid {
    /// Side lengths of one in voxels; those at the border are cut.
    width: u64,
    height: u64,
    /// How many lie side by side.
    across: u64,
    /// More bytes than each can unpack to.
    most: Vec<u64>,
}

impl Grid {
    /// The grid of a page.
    fn new(file: &File, page: &Page) -> Result<Self> {
        let directory = file.directory(page.directory)?;
        file.check(&directory)?;
        let one = |tag: u16| file.one(&directory, tag);
        let (width, height, bytes) = match (one(tag::TILE_WIDTH)?, one(tag::TILE_HEIGHT)?) {
            (Some(width), Some(height)) => (width, height, tag::TILE_BYTES),
            _ => {
                let rows = one(tag::ROWS_PER_STRIP)?.unwrap_or(page.height);
                (page.width, rows.min(page.height), tag::STRIP_BYTES)
            }
        };
        let (width, height) = (width.max(1), height.max(1));
        let densest = densest(one(tag::COMPRESSION)?.unwrap_or(1));
        let packed = file.numbers(&directory, bytes)?.into_iter();
        Ok(Self {
            width,
            height,
            across: page.width.div_ceil(width),
            most: packed
                .map(|n| n.min(file.length).saturating_mul(densest))
                .collect(),
        })
    }

    /// Fails if `rows` of the page from row of chunks `band` on cannot come out of the file.
    fn check(&self, file: &File, page: &Page, band: u64, rows: u64) -> Result<()> {
        let want = rows * page.width * page.number.size() as u64;
        if want > BAND {
            return Err(bad(
                &file.path,
                "a strip or a row of tiles is over 256 MiB; save the TIFF with smaller ones",
            ));
        }
        let first = usize::try_from(band.saturating_mul(self.across)).unwrap_or(usize::MAX);
        let chunks = self.most.iter().skip(first).take(self.across as usize);
        if chunks.fold(0u64, |n, &m| n.saturating_add(m)) < want {
            return Err(bad(
                &file.path,
                format!(
                    "the packed bytes of a strip or of tiles are too few for {want} bytes of voxels; copy or download the file again"
                ),
            ));
        }
        Ok(())
    }
}

/// More bytes than one packed byte can unpack to.
fn densest(compression: u64) -> u64 {
    match compression {
        1 => 1,
        // PackBits repeats a byte 128 times by two bytes.
        0x8005 => 64,
        8 | 0x80b2 => Packing::Gzip.most(1),
        // The longest string of LZW has 3838 bytes and needs 12 bits.
        5 | 7 => 4096,
        // No other is denser than zstd.
        _ => Packing::Zstd.most(1),
    }
}

/// An open file and the decoder of its strips.
pub(super) struct Packed {
    pub(super) file: File,
    decoder: Decoder<BufReader<std::fs::File>>,
}

impl Packed {
    /// The decoder reads the first page at once.
    pub(super) fn open(file: File) -> Result<Self> {
        file.check(&file.directory(file.first)?)?;
        let again = std::fs::File::open(&file.path).map_err(|e| system(&file.path, e))?;
        let decoder = Decoder::new(BufReader::new(again)).map_err(|e| failure(&file, e))?;
        Ok(Self { file, decoder })
    }
}

/// Decodes one page into the scratch file.
///
/// # Errors
/// Strips that are broken or too large, [`hgv::Error::Io`].
pub(super) fn page(packed: &mut Packed, page: &Page, spool: &mut Spool) -> Result<()> {
    let file = &packed.file;
    if page.white_is_zero && !invertible(page) {
        return Err(bad(
            &file.path,
            format!(
                "white is zero in pages of {}; save them with black as zero",
                page.number
            ),
        ));
    }
    let grid = Grid::new(file, page)?;
    packed
        .decoder
        .seek_to_image(page.index)
        .map_err(|e| failure(&packed.file, e))?;
    for band in 0..page.height.div_ceil(grid.height) {
        let rows = grid.height.min(page.height - band * grid.height);
        grid.check(&packed.file, page, band, rows)?;
        let mut voxels = row_of_chunks(packed, page, &grid, band, rows)?;
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

/// The bytes of one strip or tile of `bytes` bytes.
fn chunk(packed: &mut Packed, index: u64, bytes: u64) -> Result<Vec<u8>> {
    let Packed { file, decoder } = packed;
    let index =
        u32::try_from(index).map_err(|_| bad(&file.path, "the TIFF has too many strips"))?;
    let layout = decoder
        .image_chunk_buffer_layout(index)
        .map_err(|e| failure(file, e))?;
    if layout.len as u64 != bytes {
        return Err(bad(
            &file.path,
            format!(
                "a strip or tile holds {} bytes instead of {bytes}; save the TIFF anew",
                layout.len
            ),
        ));
    }
    let mut voxels = vec![0; layout.len];
    decoder
        .read_chunk_bytes(index, &mut voxels)
        .map_err(|e| failure(file, e))?;
    Ok(voxels)
}

/// What the decoder says, as one line about the file.
fn failure(file: &File, error: TiffError) -> hgv::Error {
    match error {
        TiffError::IoError(e) if e.raw_os_error().is_some() => system(&file.path, e),
        TiffError::IoError(_) => bad(
            &file.path,
            "a strip or tile of the TIFF is broken; copy or download it again",
        ),
        other => bad(
            &file.path,
            format!("the TIFF is not read ({other}); save it anew"),
        ),
    }
}

/// Chunks side by side, as rows of the page.
fn row_of_chunks(
    packed: &mut Packed,
    page: &Page,
    grid: &Grid,
    band: u64,
    rows: u64,
) -> Result<Vec<u8>> {
    let size = page.number.size() as u64;
    let pitch = page.width * size;
    if grid.across == 1 {
        return chunk(packed, band, pitch * rows);
    }
    let mut voxels = vec![0; (pitch * rows) as usize];
    for i in 0..grid.across {
        let x = i * grid.width;
        let row = grid.width.min(page.width - x) * size;
        let tile = chunk(packed, band * grid.across + i, row * rows)?;
        let from = (x * size) as usize;
        for (line, part) in voxels
            .chunks_exact_mut(pitch as usize)
            .zip(tile.chunks_exact(row as usize))
        {
            line[from..from + row as usize].copy_from_slice(part);
        }
    }
    Ok(voxels)
}
