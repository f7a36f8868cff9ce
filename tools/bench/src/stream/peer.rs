//! A volume in another format as something that can be streamed.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, PoisonError, RwLock};

use hgv::io::RangeSource;
use hgv::stream::schedule::{BlockFacts, BlockId, Catalogue, LayerFacts, PageId, TierFacts};
use hgv::stream::{Brick, Streamable};
use hgv::volume::DType;
use hgv::{Error, Result};

use super::pyramid::{CHUNK_LOG2, Pyramid};
use super::site::Site;

/// Most bytes that a chunk of 64^3 bytes may take.
pub const MOST_BYTES: u64 = 1 << 20;

/// What a format says of a chunk: absolute offset and length, or nothing for one of zeros.
pub type Place = (BlockId, Option<(u64, u32)>);

/// How a format stores chunks. All volumes here are uint8.
pub trait Format: Debug + Send + Sync + 'static {
    /// The piece of the index to read next so that a chunk is found, with its offset and length.
    fn page_of(&self, id: BlockId) -> (PageId, u64, u32);

    /// The chunks that a piece of the index tells of.
    ///
    /// # Errors
    /// What is wrong with it.
    fn take_page(&self, page: PageId, bytes: &[u8]) -> Result<Vec<Place>>;

    /// Voxels `[z][y][x]` of a chunk of `extent` x, y, z.
    ///
    /// # Errors
    /// What is wrong with `bytes`.
    fn decode(&self, bytes: &[u8], extent: [u32; 3]) -> Result<Vec<u8>>;
}

/// A volume of a [`Format`]. Nothing is known of the values of a chunk before it is fetched.
#[derive(Debug)]
pub struct Peer<F> {
    site: Site,
    index: Arc<Index<F>>,
}

/// The index as far as it is loaded.
#[derive(Debug)]
struct Index<F> {
    pyramid: Pyramid,
    format: F,
    facts: RwLock<HashMap<BlockId, Arc<BlockFacts>>>,
}

impl<F: Format> Peer<F> {
    /// A volume whose metadata have been read; `known` chunks need no index.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a chunk that cannot be.
    pub fn new(site: Site, pyramid: Pyramid, format: F, known: Vec<Place>) -> Result<Self> {
        let index = Index {
            pyramid,
            format,
            facts: RwLock::default(),
        };
        index.learn(known)?;
        Ok(Self {
            site,
            index: Arc::new(index),
        })
    }
}

impl<F> Index<F> {
    fn learn(&self, places: Vec<Place>) -> Result<()> {
        let mut facts = self.facts.write().unwrap_or_else(PoisonError::into_inner);
        for (id, place) in places {
            if !self.pyramid.has(id) {
                let what = format!("no chunk {id:?}");
                return Err(Error::corrupt("an index", 0, what));
            }
            facts.insert(id, Arc::new(known(place)?));
        }
        Ok(())
    }
}

fn known(place: Option<(u64, u32)>) -> Result<BlockFacts> {
    let Some((offset, bytes)) = place else {
        return Ok(BlockFacts {
            range: [0.0; 2],
            layers: Vec::new(),
        });
    };
    if u64::from(bytes) > MOST_BYTES || bytes == 0 {
        let what = format!("a chunk of {bytes} bytes");
        return Err(Error::corrupt("an index", offset, what));
    }
    Ok(BlockFacts {
        range: [0.0, 255.0],
        layers: vec![LayerFacts {
            offset,
            bytes,
            lod: 0,
            error: 0.0,
        }],
    })
}

impl<F: Format> Catalogue for Index<F> {
    fn extent(&self) -> [u64; 3] {
        self.pyramid.extents[0]
    }

    fn block_log2(&self) -> u32 {
        CHUNK_LOG2
    }

    fn tiers(&self) -> &[TierFacts] {
        &self.pyramid.tiers
    }

    fn block(&self, id: BlockId) -> Option<Arc<BlockFacts>> {
        let facts = self.facts.read().unwrap_or_else(PoisonError::into_inner);
        facts.get(&id).cloned()
    }

    fn page_of(&self, id: BlockId) -> (PageId, u64, u32) {
        self.format.page_of(id)
    }
}

impl<F: Format> Streamable for Peer<F> {
    fn catalogue(&self) -> Arc<dyn Catalogue> {
        Arc::clone(&self.index) as _
    }

    fn source(&self) -> &dyn RangeSource {
        &self.site
    }

    fn take_page(&self, page: PageId, bytes: Vec<u8>) -> Result<()> {
        self.index.learn(self.index.format.take_page(page, &bytes)?)
    }

    fn check_layer(&self, _: BlockId, _: u8, _: &[u8]) -> Result<()> {
        // None of the formats has a checksum of a chunk beside what its codec has.
        Ok(())
    }

    fn decode(&self, block: BlockId, layers: &[Arc<Vec<u8>>]) -> Result<Brick> {
        let bytes = layers
            .first()
            .ok_or_else(|| Error::argument("a chunk without bytes"))?;
        let extent = self.index.pyramid.chunk_extent(block);
        let voxels = self.index.format.decode(bytes, extent)?;
        let want = extent.iter().map(|n| *n as usize).product::<usize>();
        if voxels.len() != want {
            let what = format!("{} voxels instead of {want}", voxels.len());
            return Err(Error::corrupt("a chunk", 0, what));
        }
        Ok(Brick {
            block,
            lod: 0,
            layers: 1,
            extent,
            dtype: DType::Uint8,
            voxels,
        })
    }
}
