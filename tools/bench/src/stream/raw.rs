//! Raw bricks: one file, a header, then the bricks of each level, coarsest first, in Morton order.

use hgv::io::RangeSource;
use hgv::stream::schedule::{BlockId, PageId};
use hgv::{Error, Result};

use super::peer::{Format, Peer, Place};
use super::pyramid::{CHUNK, Morton, Pyramid};
use super::site::Site;

const MAGIC: &[u8; 8] = b"hgvbrick";
/// Bytes before the first brick.
const HEADER: u64 = 4096;
const FILE: &str = "bricks.bin";
/// Most voxels along an axis.
const MOST: u64 = 1 << 16;

/// Bricks as they are.
#[derive(Debug)]
pub struct Raw;

impl Raw {
    /// Reads the header: one request. Places of bricks follow from it.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or what the server says.
    pub fn open(site: Site) -> Result<Peer<Self>> {
        let (start, length) = site.place(FILE)?;
        let mut header = vec![0; HEADER as usize];
        site.read_at(start, &mut header)?;
        let word = |n: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&header[8 + 8 * n..16 + 8 * n]);
            u64::from_le_bytes(bytes)
        };
        let extent = [0, 1, 2].map(word);
        let sane = extent.iter().all(|n| (1..=MOST).contains(n));
        if &header[..8] != MAGIC || !sane || word(3) != u64::from(CHUNK) {
            return Err(Error::corrupt("header of bricks", 0, "not raw bricks"));
        }
        let pyramid = Pyramid::new(extent);
        let places = places(&pyramid, start, length)?;
        Peer::new(site, pyramid, Self, places)
    }
}

fn places(pyramid: &Pyramid, start: u64, length: u64) -> Result<Vec<Place>> {
    let mut places = Vec::new();
    let mut offset = HEADER;
    for (tier, facts) in pyramid.tiers.iter().enumerate().rev() {
        let order = Morton::new(facts.blocks);
        for block in (0..1 << order.len()).filter_map(|code| order.at(code)) {
            let tier = tier as u8;
            let id = BlockId { tier, block };
            if pyramid.has(id) {
                let bytes: u32 = pyramid.chunk_extent(id).iter().product();
                places.push((id, Some((start + offset, bytes))));
                offset += u64::from(bytes);
            }
        }
    }
    if offset != length {
        let what = format!("{length} bytes instead of {offset}");
        return Err(Error::corrupt("raw bricks", 0, what));
    }
    Ok(places)
}

impl Format for Raw {
    fn page_of(&self, _: BlockId) -> (PageId, u64, u32) {
        (PageId(0), 0, 0)
    }

    fn take_page(&self, page: PageId, _: &[u8]) -> Result<Vec<Place>> {
        Err(Error::argument(format!("raw bricks have no {page:?}")))
    }

    fn decode(&self, bytes: &[u8], _: [u32; 3]) -> Result<Vec<u8>> {
        Ok(bytes.to_vec())
    }
}
