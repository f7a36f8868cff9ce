//! Frames of blosc 1 with zstd inside, for values of one byte.

use hgv::{Error, Result};

const HEADER: usize = 16;
/// Version of the format that c-blosc 1 writes.
const VERSION: u8 = 2;
const FLAG_COPIED: u8 = 0x02;
const FLAG_BITSHUFFLE: u8 = 0x04;
/// Number of zstd among the codecs, in the upper three bits of the flags.
const ZSTD: u8 = 4;

/// Decodes a frame to exactly `length` bytes.
///
/// # Errors
/// [`Error::Corrupt`]; [`Error::InvalidArgument`] for frames of other codecs and types.
pub fn decode(frame: &[u8], length: usize) -> Result<Vec<u8>> {
    let bad = |what: &str| Error::corrupt("blosc frame", 0, what);
    let word = |at: usize| -> Result<usize> {
        let bytes = frame.get(at..).and_then(|b| b.first_chunk::<4>());
        Ok(u32::from_le_bytes(*bytes.ok_or_else(|| bad("it is cut off"))?) as usize)
    };
    let [version, _, flags, size] = *frame.first_chunk().ok_or_else(|| bad("it has no header"))?;
    let (bytes, block, packed) = (word(4)?, word(8)?, word(12)?);
    if version != VERSION || bytes != length || packed != frame.len() || block == 0 {
        return Err(bad("its header is not that of the chunk"));
    }
    if flags & FLAG_COPIED != 0 {
        let body = frame.get(HEADER..).filter(|b| b.len() == length);
        return Ok(body.ok_or_else(|| bad("its length is wrong"))?.to_vec());
    }
    // A shuffle of values of one byte changes nothing.
    if size != 1 || flags & FLAG_BITSHUFFLE != 0 || flags >> 5 != ZSTD {
        return Err(Error::argument(
            "only blosc frames of single bytes, zstd and no bit shuffle can be read",
        ));
    }
    let mut out = Vec::new();
    out.try_reserve_exact(length)
        .map_err(|_| bad("it is too long"))?;
    for number in 0..length.div_ceil(block) {
        let start = word(HEADER + 4 * number)?;
        let packed = word(start)?;
        let body = start + 4;
        let end = body.checked_add(packed);
        let body = end.and_then(|end| frame.get(body..end));
        let body = body.ok_or_else(|| bad("a block is cut off"))?;
        let want = block.min(length - out.len());
        if packed == want {
            out.extend_from_slice(body);
            continue;
        }
        let plain = zstd::bulk::decompress(body, want).map_err(|e| bad(&e.to_string()))?;
        if plain.len() != want {
            return Err(bad("a block has another length"));
        }
        out.extend_from_slice(&plain);
    }
    Ok(out)
}
