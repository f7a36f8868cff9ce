//! neuroglancer precomputed: sharded, an index of minishards at the start of each shard, indices of chunks
//! behind the chunks, and chunks of jpeg.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{PoisonError, RwLock};

use flate2::read::GzDecoder;
use hgv::stream::schedule::{BlockId, PageId};
use hgv::{Error, Result};
use serde_json::Value;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::peer::{Format, MOST_BYTES, Peer, Place};
use super::pyramid::{CHUNK, Morton, Pyramid};
use super::site::Site;

/// Most voxels along an axis.
const MOST: u64 = 1 << 16;
/// Most bytes of a packed index of a minishard.
const MOST_INDEX: u64 = 1 << 24;

/// Where shards are, and what is known of their minishards.
#[derive(Debug)]
pub struct Precomputed {
    levels: Vec<Level>,
    /// Absolute offset and length of the index of each minishard of a shard.
    minishards: RwLock<Minishards>,
}

/// By level and shard.
type Minishards = HashMap<(usize, u64), Vec<(u64, u32)>>;

#[derive(Debug)]
struct Level {
    number: usize,
    /// Chunks along x, y, z.
    blocks: [u32; 3],
    order: Morton,
    preshift: u32,
    minishard_bits: u32,
    /// Start and length of each shard in the site; none where all chunks are zeros.
    shards: Vec<Option<(u64, u64)>>,
}

impl Level {
    fn of(&self, code: u64) -> (u64, u64) {
        let hashed = code >> self.preshift;
        (
            hashed >> self.minishard_bits,
            hashed & ((1 << self.minishard_bits) - 1),
        )
    }

    /// The chunks that a minishard may tell of, by their codes.
    fn chunks(&self, shard: u64, minishard: u64) -> impl Iterator<Item = (u64, BlockId)> {
        let first = (shard << self.minishard_bits | minishard) << self.preshift;
        let all = (first..first + (1 << self.preshift)).map(|code| (code, self.order.at(code)));
        let tier = self.number as u8;
        all.filter_map(move |(code, block)| {
            let block = block.filter(|b| (0..3).all(|a| b[a] < self.blocks[a]))?;
            Some((code, BlockId { tier, block }))
        })
    }

    /// The same, all of zeros.
    fn zeros(&self, shard: u64, minishard: u64) -> impl Iterator<Item = Place> {
        self.chunks(shard, minishard).map(|(_, id)| (id, None))
    }

    /// Bytes of the index at the start of a shard.
    fn index_bytes(&self) -> u64 {
        16 << self.minishard_bits
    }
}

/// A piece of the index: all minishards of a shard, or the chunks of one of them.
#[derive(Debug, Clone, Copy)]
struct Piece {
    level: usize,
    shard: u64,
    minishard: Option<u64>,
}

impl Piece {
    fn page(self) -> PageId {
        let last = self.minishard.map_or(0, |m| m + 1);
        PageId((self.level as u64) << 48 | self.shard << 16 | last)
    }

    fn of(page: PageId) -> Self {
        Self {
            level: (page.0 >> 48) as usize,
            shard: page.0 >> 16 & 0xFFFF_FFFF,
            minishard: (page.0 & 0xFFFF).checked_sub(1),
        }
    }
}

fn bad(what: &str) -> Error {
    Error::corrupt("info of a precomputed volume", 0, what)
}

impl Precomputed {
    /// Reads `info`: one request.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for what is not understood, or what the server says.
    pub fn open(site: Site) -> Result<Peer<Self>> {
        let bytes = site.whole("info")?;
        let info: Value = serde_json::from_slice(&bytes).map_err(|e| bad(&e.to_string()))?;
        let scales = info["scales"].as_array().map_or(&[][..], Vec::as_slice);
        let first = scales.first().ok_or_else(|| bad("no scales"))?;
        let extent = three(&first["size"]).ok_or_else(|| bad("no size"))?;
        let pyramid = Pyramid::new(extent);
        if scales.len() != pyramid.extents.len() || info["data_type"] != "uint8" {
            return Err(bad("other levels or types than expected"));
        }
        let tiers = scales.iter().zip(&pyramid.extents).zip(&pyramid.tiers);
        let levels: Result<Vec<_>> = (0..)
            .zip(tiers)
            .map(|(n, ((scale, extent), tier))| level(&site, scale, *extent, (n, tier.blocks)))
            .collect();
        let format = Self {
            levels: levels?,
            minishards: RwLock::default(),
        };
        let mut zeros = Vec::new();
        for level in &format.levels {
            let missing = (0..).zip(&level.shards).filter(|(_, s)| s.is_none());
            for (shard, _) in missing {
                let minishards = 0..1 << level.minishard_bits;
                zeros.extend(minishards.flat_map(|m| level.zeros(shard, m)));
            }
        }
        Peer::new(site, pyramid, format, zeros)
    }

    /// Level and place of the shard of a piece.
    fn shard(&self, piece: Piece) -> Result<(&Level, u64, u64)> {
        let level = self.levels.get(piece.level);
        let found = level.and_then(|l| Some((l, (*l.shards.get(piece.shard as usize)?)?)));
        let (level, (start, length)) =
            found.ok_or_else(|| Error::argument(format!("no shard of {piece:?}")))?;
        Ok((level, start, length))
    }

    /// The chunks of minishards without an index are zeros.
    fn take_shard(&self, piece: Piece, bytes: &[u8]) -> Result<Vec<Place>> {
        let (level, start, length) = self.shard(piece)?;
        let wrong = |what: &str| Error::corrupt("shard index", start, what);
        if bytes.len() as u64 != level.index_bytes() {
            return Err(wrong("its length is wrong"));
        }
        let words: Vec<u64> = words(bytes).collect();
        let (mut list, mut zeros) = (Vec::new(), Vec::new());
        for (minishard, pair) in (0..).zip(words.chunks_exact(2)) {
            // Counted from the end of this index.
            let ends = [pair[0], pair[1]].map(|n| n.checked_add(level.index_bytes()));
            let [Some(from), Some(to)] = ends else {
                return Err(wrong("an offset is too large"));
            };
            if from > to || to > length || to - from > MOST_INDEX {
                return Err(wrong("an index lies outside the shard"));
            }
            if from == to {
                zeros.extend(level.zeros(piece.shard, minishard));
            }
            list.push((start + from, (to - from) as u32));
        }
        let known = self.minishards.write();
        let mut known = known.unwrap_or_else(PoisonError::into_inner);
        known.insert((piece.level, piece.shard), list);
        Ok(zeros)
    }

    fn take_minishard(&self, piece: Piece, minishard: u64, bytes: &[u8]) -> Result<Vec<Place>> {
        let (level, start, length) = self.shard(piece)?;
        let wrong = |what: &str| Error::corrupt("minishard index", start, what);
        // A minishard holds no more chunks than its share of the codes.
        let most = 24u64 << level.preshift;
        let mut plain = Vec::new();
        let unpacked = GzDecoder::new(bytes).take(most + 1).read_to_end(&mut plain);
        unpacked.map_err(|e| wrong(&e.to_string()))?;
        if plain.len() as u64 > most || plain.len() % 24 != 0 {
            return Err(wrong("its length is wrong"));
        }
        let count = plain.len() / 24;
        let words: Vec<u64> = words(&plain).collect();
        let (ids, rest) = words.split_at(count);
        let (gaps, sizes) = rest.split_at(count);
        // What it does not tell of is zeros.
        let chunks = level.chunks(piece.shard, minishard);
        let mut places: HashMap<u64, Place> = chunks.map(|(c, id)| (c, (id, None))).collect();
        let (mut code, mut offset) = (0u64, level.index_bytes());
        for ((id, gap), size) in ids.iter().zip(gaps).zip(sizes) {
            let next = code.checked_add(*id).zip(offset.checked_add(*gap));
            (code, offset) = next.ok_or_else(|| wrong("a number is too large"))?;
            let end = offset.checked_add(*size).filter(|e| *e <= length);
            let end = end.filter(|_| *size <= MOST_BYTES);
            let end = end.ok_or_else(|| wrong("a chunk lies outside the shard"))?;
            let place = places.get_mut(&code);
            let place = place.ok_or_else(|| wrong("a chunk of another shard"))?;
            place.1 = Some((start + offset, *size as u32));
            offset = end;
        }
        Ok(places.into_values().collect())
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let chunks = bytes.chunks_exact(8);
    chunks.map(|c| u64::from_le_bytes(c.first_chunk().copied().unwrap_or_default()))
}

/// Three positive numbers, x, y, z.
fn three(value: &Value) -> Option<[u64; 3]> {
    let list: Option<Vec<u64>> = value.as_array()?.iter().map(Value::as_u64).collect();
    let list: [u64; 3] = list?.try_into().ok()?;
    list.iter().all(|n| (1..=MOST).contains(n)).then_some(list)
}

fn level(
    site: &Site,
    scale: &Value,
    extent: [u64; 3],
    (number, blocks): (usize, [u32; 3]),
) -> Result<Level> {
    let sharding = &scale["sharding"];
    let bits = |name: &str, most: u64| {
        let bits = sharding[name].as_u64().filter(|n| *n <= most);
        bits.map(|n| n as u32)
            .ok_or_else(|| bad("bits of a sharding"))
    };
    let understood = three(&scale["size"]) == Some(extent)
        && scale["encoding"] == "jpeg"
        && three(&scale["chunk_sizes"][0]) == Some([u64::from(CHUNK); 3])
        && sharding["hash"] == "identity"
        && sharding["minishard_index_encoding"] == "gzip"
        && sharding["data_encoding"] == "raw";
    let key = scale["key"].as_str().filter(|_| understood);
    let key = key.ok_or_else(|| bad("a scale that is not read here"))?;
    let shard_bits = bits("shard_bits", 16)?;
    let digits = shard_bits.div_ceil(4).max(1) as usize;
    let shards = (0..1u64 << shard_bits).map(|n| site.place(&format!("{key}/{n:0digits$x}.shard")));
    let level = Level {
        number,
        blocks,
        order: Morton::new(blocks),
        preshift: bits("preshift_bits", 16)?,
        minishard_bits: bits("minishard_bits", 12)?,
        shards: shards.map(Result::ok).collect(),
    };
    if level.order.len() > level.preshift + level.minishard_bits + shard_bits {
        return Err(bad("more chunks than shards can hold"));
    }
    Ok(level)
}

impl Format for Precomputed {
    fn page_of(&self, id: BlockId) -> (PageId, u64, u32) {
        let number = usize::from(id.tier);
        let level = &self.levels[number];
        let (shard, minishard) = level.of(level.order.code(id.block));
        let start = level.shards.get(shard as usize).copied().flatten();
        let start = start.map_or(0, |s| s.0);
        let mut piece = Piece {
            level: number,
            shard,
            minishard: None,
        };
        let known = self.minishards.read();
        let known = known.unwrap_or_else(PoisonError::into_inner);
        let Some(list) = known.get(&(number, shard)) else {
            return (piece.page(), start, level.index_bytes() as u32);
        };
        piece.minishard = Some(minishard);
        let (offset, bytes) = list[minishard as usize];
        (piece.page(), offset, bytes)
    }

    fn take_page(&self, page: PageId, bytes: &[u8]) -> Result<Vec<Place>> {
        let piece = Piece::of(page);
        match piece.minishard {
            Some(minishard) => self.take_minishard(piece, minishard, bytes),
            None => self.take_shard(piece, bytes),
        }
    }

    fn decode(&self, bytes: &[u8], extent: [u32; 3]) -> Result<Vec<u8>> {
        let wrong = |what: String| Error::corrupt("jpeg chunk", 0, what);
        let most = extent.iter().map(|n| *n as usize).product();
        let options = DecoderOptions::default()
            .jpeg_set_out_colorspace(ColorSpace::Luma)
            .set_max_width(most)
            .set_max_height(most);
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
        decoder
            .decode_headers()
            .map_err(|e| wrong(format!("{e:?}")))?;
        let (width, height) = decoder.dimensions().unwrap_or_default();
        if width * height != most {
            return Err(wrong(format!("{width} x {height} pixels")));
        }
        decoder.decode().map_err(|e| wrong(format!("{e:?}")))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// A grid of 3 x 1 x 1 in one shard at byte 1000, with two chunks a minishard.
    fn format() -> Precomputed {
        let blocks = [3, 1, 1];
        let level = Level {
            number: 0,
            blocks,
            order: Morton::new(blocks),
            preshift: 1,
            minishard_bits: 1,
            shards: vec![Some((1000, 500))],
        };
        Precomputed {
            levels: vec![level],
            minishards: RwLock::default(),
        }
    }

    fn packed(words: &[u64]) -> Result<Vec<u8>> {
        let failed = |e| Error::io("gzip", e);
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        packer.write_all(&bytes).map_err(failed)?;
        packer.finish().map_err(failed)
    }

    fn chunk(x: u32) -> BlockId {
        BlockId {
            tier: 0,
            block: [x, 0, 0],
        }
    }

    #[test]
    fn chunks_are_found_in_two_steps() -> Result<()> {
        let format = format();
        let (first, offset, bytes) = format.page_of(chunk(1));
        assert_eq!((offset, bytes), (1000, 32));
        // The second minishard has no index: its only chunk is of zeros.
        let index: Vec<u8> = [100u64, 140, 0, 0].map(u64::to_le_bytes).concat();
        assert_eq!(format.take_page(first, &index)?, [(chunk(2), None)]);
        let (second, offset, bytes) = format.page_of(chunk(1));
        assert_eq!((offset, bytes), (1000 + 32 + 100, 40));
        // Chunks 0 and 1, 7 and 9 bytes, the second right behind the first.
        let mut places = format.take_page(second, &packed(&[0, 1, 5, 0, 7, 9])?)?;
        places.sort();
        let want = [
            (chunk(0), Some((1000 + 32 + 5, 7))),
            (chunk(1), Some((1000 + 32 + 12, 9))),
        ];
        assert_eq!(places, want);
        Ok(())
    }

    #[test]
    fn indices_that_lie_are_refused() -> Result<()> {
        let format = format();
        let (first, ..) = format.page_of(chunk(0));
        let beyond: Vec<u8> = [0u64, 469, 0, 0].map(u64::to_le_bytes).concat();
        assert!(format.take_page(first, &beyond).is_err());
        assert!(format.take_page(first, &beyond[..31]).is_err());
        let index: Vec<u8> = [0u64, 40, 0, 0].map(u64::to_le_bytes).concat();
        format.take_page(first, &index)?;
        let (second, ..) = format.page_of(chunk(0));
        for words in [
            // A chunk of the other minishard, one behind the shard, too many, not three words each.
            &[2, 0, 7][..],
            &[0, 400, 100],
            &[0, 0, 0, 0, 0, 0, 7, 7, 7],
            &[0, 0],
        ] {
            assert!(format.take_page(second, &packed(words)?).is_err());
        }
        assert!(format.take_page(second, b"no gzip").is_err());
        Ok(())
    }
}
