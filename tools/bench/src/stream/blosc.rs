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

#[cfg(test)]
mod tests {
    use super::*;

    /// What c-blosc 1 (numcodecs 0.16, level 5, shuffle, blocks of 128) makes of `(i / 16) % 7`, 300 bytes.
    const FRAME: &str = "020191012c010000800000007e0000001c0000004000000064000000\
        2000000028b52ffd2080bd000048000001020304050600089810e0070010fecc07c78504\
        2000000028b52ffd2080bd000048010102030405060001089810e0070010fecc07c78504\
        1600000028b52ffd202c6d00002002020304031000867457c602";

    fn frame() -> Vec<u8> {
        let digits: Vec<u8> = FRAME.bytes().filter(u8::is_ascii_hexdigit).collect();
        let value = |d: u8| char::from(d).to_digit(16).unwrap_or(0) as u8;
        digits
            .chunks_exact(2)
            .map(|d| value(d[0]) << 4 | value(d[1]))
            .collect()
    }

    #[test]
    fn frames_of_the_library_are_read() -> Result<()> {
        let want: Vec<u8> = (0..300u32).map(|i| (i / 16 % 7) as u8).collect();
        assert_eq!(decode(&frame(), 300)?, want);
        let copied = [&[
            2, 1, 0x93, 1, 4, 0, 0, 0, 4, 0, 0, 0, 20, 0, 0, 0, 9, 8, 7, 6,
        ][..]]
        .concat();
        assert_eq!(decode(&copied, 4)?, [9, 8, 7, 6]);
        Ok(())
    }

    #[test]
    fn damaged_frames_are_refused() {
        let whole = frame();
        for cut in 0..whole.len() {
            assert!(decode(&whole[..cut], 300).is_err(), "{cut}");
        }
        assert!(decode(&whole, 299).is_err());
        let mut far = whole;
        far[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(decode(&far, 300).is_err());
    }
}
