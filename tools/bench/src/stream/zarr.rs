//! OME-Zarr 0.5: zarr v3 arrays with shards, an index at the start of each, and chunks of blosc-zstd.

use hgv::stream::schedule::{BlockId, PageId};
use hgv::{Error, Result};
use serde_json::Value;

use super::blosc;
use super::peer::{Format, MOST_BYTES, Peer, Place};
use super::pyramid::{CHUNK, Pyramid};
use super::site::Site;

/// Most voxels along an axis.
const MOST: u64 = 1 << 16;
/// Offset and length of a chunk that is not there.
const ABSENT: u64 = u64::MAX;

/// Where shards are.
#[derive(Debug)]
pub struct Zarr {
    levels: Vec<Level>,
    /// Chunks along each edge of a shard.
    side: u32,
}

#[derive(Debug)]
struct Level {
    /// Chunks along x, y, z.
    chunks: [u32; 3],
    /// Shards along x, y, z.
    shards: [u32; 3],
    /// Start of each shard in the site, x fastest; `None` where there is no file.
    starts: Vec<Option<(u64, u64)>>,
}

impl Zarr {
    /// Reads the metadata of the group, which hold those of all levels: one request.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::InvalidArgument`] for what is not understood.
    pub fn open(site: Site) -> Result<Peer<Self>> {
        let bytes = site.whole("zarr.json")?;
        let group: Value = serde_json::from_slice(&bytes)
            .map_err(|e| Error::corrupt("zarr.json", 0, e.to_string()))?;
        let datasets = &group["attributes"]["ome"]["multiscales"][0]["datasets"];
        let paths: Vec<&str> = datasets
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|d| d["path"].as_str())
            .collect();
        let arrays = &group["consolidated_metadata"]["metadata"];
        let first = arrays.get(paths.first().copied().unwrap_or_default());
        let first = first.ok_or_else(|| bad("no first level"))?;
        let extent = extent(first)?;
        let side = shard_side(first)?;
        let pyramid = Pyramid::new(extent);
        if paths.len() != pyramid.extents.len() {
            return Err(bad("not as many levels as expected"));
        }
        let mut levels = Vec::new();
        for (path, expected) in paths.iter().zip(&pyramid.extents) {
            let array = arrays.get(path).ok_or_else(|| bad("a level is missing"))?;
            if self::extent(array)? != *expected || shard_side(array)? != side {
                return Err(bad("a level has another shape than expected"));
            }
            levels.push(Level::new(&site, path, *expected, side));
        }
        let zarr = Self { levels, side };
        let zeros = zarr.zeros();
        Peer::new(site, pyramid, zarr, zeros)
    }

    /// Chunks of shards without a file. A client would learn of them from the server.
    fn zeros(&self) -> Vec<Place> {
        let mut zeros = Vec::new();
        for (tier, level) in self.levels.iter().enumerate() {
            let missing = (0u32..).zip(&level.starts).filter(|(_, s)| s.is_none());
            for (number, _) in missing {
                for entry in 0..self.side.pow(3) {
                    let id = self.chunk(tier, number, entry);
                    zeros.extend(id.map(|id| (id, None)));
                }
            }
        }
        zeros
    }

    /// The chunk of an entry of a shard; `None` if it lies outside the array.
    fn chunk(&self, tier: usize, shard: u32, entry: u32) -> Option<BlockId> {
        let level = &self.levels[tier];
        let split = |n: u32, grid: [u32; 3]| {
            let [x, y, _] = grid;
            [n % x, n / x % y, n / x / y]
        };
        let (at, within) = (split(shard, level.shards), split(entry, [self.side; 3]));
        let block = [0, 1, 2].map(|a| at[a] * self.side + within[a]);
        let inside = (0..3).all(|a| block[a] < level.chunks[a]);
        let tier = tier as u8;
        inside.then_some(BlockId { tier, block })
    }

    /// Level and number of the shard of a page.
    fn shard(&self, page: PageId) -> Result<(usize, usize, u64, u64)> {
        let (level, number) = ((page.0 >> 32) as usize, page.0 as u32 as usize);
        let place = self.levels.get(level).and_then(|l| l.starts.get(number));
        let (start, length) = place
            .copied()
            .flatten()
            .ok_or_else(|| Error::argument(format!("no shard {page:?}")))?;
        Ok((level, number, start, length))
    }
}

fn bad(what: &str) -> Error {
    Error::corrupt("zarr metadata", 0, what)
}

/// Three positive numbers of an array, turned from z, y, x to x, y, z.
fn three(value: &Value) -> Option<[u64; 3]> {
    let list: Option<Vec<u64>> = value.as_array()?.iter().map(Value::as_u64).collect();
    let mut list: [u64; 3] = list?.try_into().ok()?;
    list.reverse();
    list.iter().all(|n| (1..=MOST).contains(n)).then_some(list)
}

fn extent(array: &Value) -> Result<[u64; 3]> {
    three(&array["shape"]).ok_or_else(|| bad("no shape"))
}

/// Chunks along each edge of a shard, of an array with the codecs that are understood.
fn shard_side(array: &Value) -> Result<u32> {
    let codecs = array["codecs"].as_array().map_or(&[][..], Vec::as_slice);
    let [shards] = codecs else {
        return Err(bad("not sharded"));
    };
    let inner = &shards["configuration"];
    let names = |list: &Value| -> Vec<String> {
        let list = list.as_array().into_iter().flatten();
        let names = list.filter_map(|c| c["name"].as_str().map(str::to_owned));
        names.collect()
    };
    let understood = array["data_type"] == "uint8"
        && array["fill_value"] == 0
        && array["chunk_key_encoding"]["name"] == "default"
        && shards["name"] == "sharding_indexed"
        && inner["index_location"] == "start"
        && names(&inner["index_codecs"]) == ["bytes", "crc32c"]
        && names(&inner["codecs"]) == ["bytes", "blosc"]
        && three(&inner["chunk_shape"]) == Some([u64::from(CHUNK); 3]);
    let shape = three(&array["chunk_grid"]["configuration"]["chunk_shape"]);
    let side = shape.filter(|s| s.iter().all(|n| *n == s[0] && n % u64::from(CHUNK) == 0));
    match side {
        Some([side, ..]) if understood && side <= 4096 => Ok((side / u64::from(CHUNK)) as u32),
        _ => Err(bad("codecs or shapes that are not read here")),
    }
}

impl Level {
    fn new(site: &Site, path: &str, extent: [u64; 3], side: u32) -> Self {
        let edge = u64::from(side * CHUNK);
        let shards = extent.map(|n| n.div_ceil(edge) as u32);
        let all = (0..shards[2])
            .flat_map(|z| (0..shards[1]).flat_map(move |y| (0..shards[0]).map(move |x| (x, y, z))));
        let starts = all.map(|(x, y, z)| site.place(&format!("{path}/c/{z}/{y}/{x}")).ok());
        Self {
            chunks: extent.map(|n| n.div_ceil(u64::from(CHUNK)) as u32),
            shards,
            starts: starts.collect(),
        }
    }
}

impl Format for Zarr {
    fn page_of(&self, id: BlockId) -> (PageId, u64, u32) {
        let level = &self.levels[usize::from(id.tier)];
        let [x, y, z] = id.block.map(|n| n / self.side);
        let number = (z * level.shards[1] + y) * level.shards[0] + x;
        let start = level.starts[number as usize].map_or(0, |p| p.0);
        let page = PageId(u64::from(id.tier) << 32 | u64::from(number));
        (page, start, self.side.pow(3) * 16 + 4)
    }

    fn take_page(&self, page: PageId, bytes: &[u8]) -> Result<Vec<Place>> {
        let (level, number, start, length) = self.shard(page)?;
        let wrong = |what: &str| Error::corrupt("shard index", start, what);
        let (entries, checksum) = bytes.split_at(bytes.len().saturating_sub(4));
        if entries.len() != self.side.pow(3) as usize * 16 {
            return Err(wrong("its length is wrong"));
        }
        if checksum != crc32c(entries).to_le_bytes() {
            return Err(wrong("its checksum is wrong"));
        }
        let mut places = Vec::new();
        for (i, entry) in (0..).zip(entries.chunks_exact(16)) {
            let Some(id) = self.chunk(level, number as u32, i) else {
                continue;
            };
            let word = |at: usize| {
                let bytes = entry.get(at..).and_then(|b| b.first_chunk());
                u64::from_le_bytes(bytes.copied().unwrap_or_default())
            };
            let (offset, bytes) = (word(0), word(8));
            if (offset, bytes) == (ABSENT, ABSENT) {
                places.push((id, None));
                continue;
            }
            let end = offset.checked_add(bytes).filter(|e| *e <= length);
            if end.is_none() || bytes > MOST_BYTES {
                return Err(wrong("a chunk lies outside the shard"));
            }
            places.push((id, Some((start + offset, bytes as u32))));
        }
        Ok(places)
    }

    fn decode(&self, bytes: &[u8], extent: [u32; 3]) -> Result<Vec<u8>> {
        let side = CHUNK as usize;
        let whole = blosc::decode(bytes, side.pow(3))?;
        let [x, y, z] = extent.map(|n| n as usize);
        let rows = (0..z).flat_map(|z| (0..y).map(move |y| (z * side + y) * side));
        Ok(rows.flat_map(|row| &whole[row..row + x]).copied().collect())
    }
}

/// CRC-32C (Castagnoli), bit by bit: an index is short.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg())
        })
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn checksum_is_that_of_the_standard() {
        assert_eq!(super::crc32c(b"123456789"), 0xE306_9283);
    }
}
