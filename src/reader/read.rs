//! The reader: blocks of a file by tier and coordinate.

use std::sync::{Arc, Mutex, PoisonError};

use crate::format::crc;
use crate::format::header::Header;
use crate::format::layer::Layers;
use crate::format::model::ModelRecord;
use crate::format::page::Page;
use crate::format::root::{self, Entry};
use crate::format::shape::Shape;
use crate::format::tier::Tier;
use crate::io::{RangeRead, RangeSource, coalesce};
use crate::reader::index::{BlockEntry, BlockState, Cache, Index, Loaded};
use crate::reader::opener;
use crate::volume::Metadata;
use crate::{Error, Limits, Result};

/// Heap bytes that loaded pages may take, unless [`HgvReader::with_cache`] says otherwise.
const CACHE_BYTES: usize = 64 << 20;

/// An open file. Shared between threads by reference; every method takes `&self`.
#[derive(Debug)]
pub struct HgvReader {
    pub(crate) source: Arc<dyn RangeSource>,
    pub(crate) index: Box<Index>,
    limits: Limits,
    cache: Mutex<Cache>,
}

impl HgvReader {
    /// Opens a file: one request of at most 64 KiB, one more round trip if the tables of a very
    /// large file do not fit.
    ///
    /// # Errors
    /// [`Error::Unfinished`] for a file that `recover` must bring back first, otherwise what
    /// [`crate::reader::Opener::step`] and the source say.
    pub fn open(source: Arc<dyn RangeSource>, limits: Limits) -> Result<Self> {
        let index = opener::open(source.as_ref(), limits)?;
        Ok(Self {
            source,
            index,
            limits,
            cache: Mutex::new(Cache::new(CACHE_BYTES)),
        })
    }

    /// Keeps at most `bytes` of loaded pages in memory (and always at least one).
    #[must_use]
    pub fn with_cache(mut self, bytes: usize) -> Self {
        self.cache = Mutex::new(Cache::new(bytes));
        self
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.index.header
    }

    /// Geometry, layers, models and value range.
    pub fn shape(&self) -> &Shape {
        &self.index.tables.shape
    }

    /// The block grids; tier 0 is the full resolution.
    pub fn tiers(&self) -> &[Tier] {
        &self.shape().tiers
    }

    /// The layers of every block.
    pub fn layers(&self) -> &Layers {
        &self.shape().layers
    }

    /// The model records, ids rising.
    pub fn models(&self) -> &[ModelRecord] {
        &self.shape().models
    }

    /// Spacing, orientation, units.
    pub fn metadata(&self) -> &Metadata {
        &self.index.tables.metadata
    }

    /// Section STAT: a JSON document as measured at encode, if there is one.
    pub fn stats_json(&self) -> Option<&str> {
        self.index.tables.stats.as_deref()
    }

    /// What the file is, for messages.
    pub fn identity(&self) -> String {
        self.source.identity()
    }

    /// The index entry of a block. Costs one request if its page is not in the cache, two at
    /// depth 3.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if there is no such block; otherwise the page is damaged or
    /// cannot be read.
    pub fn block(&self, tier: u8, block: [u64; 3]) -> Result<BlockEntry> {
        let mut found = self.blocks_at(tier, &[block])?;
        found
            .pop()
            .ok_or_else(|| Error::argument("no block asked for"))
    }

    /// The index entries of several blocks of a tier, in the order asked for. Pages that are not
    /// in the cache are read in one round trip.
    ///
    /// # Errors
    /// As [`Self::block`].
    pub fn blocks_at(&self, tier: u8, blocks: &[[u64; 3]]) -> Result<Vec<BlockEntry>> {
        let pages = self.shape().tier_pages(tier)?;
        let mut wanted: Vec<([u64; 3], Entry)> = Vec::new();
        let mut last = None;
        for &block in blocks {
            let (page, _) = pages.locate(block)?;
            if last == Some(page) || wanted.iter().any(|w| w.0 == page) {
                continue;
            }
            last = Some(page);
            wanted.extend(self.entry(tier, pages.key(page))?.map(|e| (page, e)));
        }
        let entries: Vec<Entry> = wanted.iter().map(|w| w.1).collect();
        let loaded = self.load_pages(tier, &entries)?;
        blocks
            .iter()
            .map(|&block| {
                let (page, slot) = pages.locate(block)?;
                let i = wanted.iter().position(|w| w.0 == page);
                Ok(match i {
                    Some(i) => {
                        let at = entries[i].offset;
                        BlockEntry::from_page(&loaded[i], at, block, slot, &self.index.tables)
                    }
                    None => BlockEntry {
                        tier,
                        block,
                        state: BlockState::NotWritten,
                    },
                })
            })
            .collect()
    }

    /// Every block of a tier that is in the file, page by page in key order. Costs one request a
    /// page; holds one page at a time.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if there is no such tier; the iterator returns an error for a
    /// page that is damaged or cannot be read, and goes on with the next one.
    pub fn blocks(&self, tier: u8) -> Result<impl Iterator<Item = Result<BlockEntry>> + '_> {
        let pages = *self.shape().tier_pages(tier)?;
        let entries = self.page_entries(tier)?;
        Ok(entries.into_iter().flat_map(move |entry| {
            let page = self.page(tier, &entry);
            let blocks = page.map(|p| self.blocks_of(&p, &entry, &pages));
            match blocks {
                Ok(list) => list.into_iter().map(Ok).collect::<Vec<_>>(),
                Err(e) => vec![Err(e)],
            }
        }))
    }

    fn blocks_of(
        &self,
        page: &Page,
        entry: &Entry,
        pages: &crate::format::key::Pages,
    ) -> Vec<BlockEntry> {
        let at = pages.page(entry.key).unwrap_or_default();
        (0..page.slots())
            .map(|slot| {
                let block = pages.block(at, slot);
                BlockEntry::from_page(page, entry.offset, block, slot, &self.index.tables)
            })
            .filter(|b| b.state != BlockState::NotWritten)
            .collect()
    }

    /// The first `layers` layers of a block, every checksum checked. A constant block has none.
    /// At most three requests in one round trip.
    ///
    /// # Errors
    /// [`Error::NotWritten`], [`Error::Corrupt`], [`Error::LimitExceeded`] or what the source
    /// says.
    pub fn read_layers(&self, entry: &BlockEntry, layers: usize) -> Result<Vec<Vec<u8>>> {
        let mut all = self.read_many(&[(entry, layers)])?;
        Ok(all.pop().unwrap_or_default())
    }

    /// The first layers of several blocks in one round trip; ranges with small gaps (at most
    /// 256 KiB and a quarter of the wanted bytes) are merged. Holds all bytes at once.
    ///
    /// # Errors
    /// As [`Self::read_layers`].
    pub fn read_many(&self, wanted: &[(&BlockEntry, usize)]) -> Result<Vec<Vec<Vec<u8>>>> {
        let mut ranges = Vec::new();
        for (entry, layers) in wanted {
            for s in self.segments(entry, *layers)? {
                ranges.push((s.offset, u64::from(s.length)));
            }
        }
        let mut bytes = self.read_ranges(&ranges)?.into_iter();
        wanted
            .iter()
            .map(|(entry, layers)| {
                let segments = self.segments(entry, *layers)?;
                segments
                    .iter()
                    .zip(bytes.by_ref())
                    .enumerate()
                    .map(|(layer, (s, bytes))| {
                        check_layer(entry, layer, s, &bytes)?;
                        Ok(bytes)
                    })
                    .collect()
            })
            .collect()
    }

    pub(super) fn segments<'e>(
        &self,
        entry: &'e BlockEntry,
        layers: usize,
    ) -> Result<&'e [crate::format::page::Segment]> {
        let BlockState::Payload(p) = &entry.state else {
            return match entry.state {
                BlockState::NotWritten => Err(Error::NotWritten {
                    tier: entry.tier,
                    block: entry.block,
                }),
                _ => Ok(&[]),
            };
        };
        let segments = &p.segments[..layers.min(p.segments.len())];
        for s in segments {
            Limits::check(
                "bytes of one layer",
                u64::from(s.length),
                self.limits.max_segment,
            )?;
        }
        Ok(segments)
    }

    /// Reads ranges in one round trip, merged; returns the bytes of each.
    fn read_ranges(&self, ranges: &[(u64, u64)]) -> Result<Vec<Vec<u8>>> {
        let merged = coalesce::merge(ranges, coalesce::gap(ranges));
        let mut reads = merged
            .iter()
            .map(|m| {
                let end = m.offset.saturating_add(m.length);
                if end > self.source.len() {
                    return Err(Error::corrupt(
                        "block payload",
                        m.offset,
                        "it leaves the file",
                    ));
                }
                RangeRead::new(m.offset, m.length as usize)
            })
            .collect::<Result<Vec<_>>>()?;
        if !reads.is_empty() {
            self.source.read_ranges(&mut reads)?;
        }
        let mut out = vec![Vec::new(); ranges.len()];
        for (m, read) in merged.iter().zip(reads) {
            if let [one] = m.members[..] {
                out[one] = read.bytes;
                continue;
            }
            for &i in &m.members {
                let (offset, length) = ranges[i];
                let start = (offset - m.offset) as usize;
                out[i] = read.bytes[start..start + length as usize].to_vec();
            }
        }
        Ok(out)
    }

    /// Every page of a tier in key order. Reads every node at depth 3.
    pub(crate) fn page_entries(&self, tier: u8) -> Result<Vec<Entry>> {
        self.shape().tier_pages(tier)?;
        let entries = &self.index.root[usize::from(tier)];
        if self.index.header.depth == 2 {
            return Ok(entries.clone());
        }
        let mut out: Vec<Entry> = Vec::new();
        for (i, entry) in entries.iter().enumerate() {
            out.extend_from_slice(&self.node(tier, i, entry)?);
        }
        Ok(out)
    }

    /// Where the page with this key lies, if it is in the file.
    fn entry(&self, tier: u8, key: u64) -> Result<Option<Entry>> {
        match self.page_entry(tier, key) {
            Ok(found) => Ok(found),
            Err((i, node)) => Ok(root::find(&self.node(tier, i, &node)?, key)),
        }
    }

    /// Node `i` of a tier; its keys end before those of the next one.
    fn node(&self, tier: u8, i: usize, entry: &Entry) -> Result<Arc<Vec<Entry>>> {
        if let Some(Loaded::Node(node)) = self.cached(entry.offset) {
            return Ok(node);
        }
        let bytes = self.read_index("bytes of an index node", entry)?;
        self.parse_node(tier, i, entry, &bytes)
    }

    /// Reads the bytes of node `i` of a tier and keeps what they say.
    pub(super) fn parse_node(
        &self,
        tier: u8,
        i: usize,
        entry: &Entry,
        bytes: &[u8],
    ) -> Result<Arc<Vec<Entry>>> {
        let plan_crc = self.shape().plan_crc;
        let list = root::parse_node(bytes, entry, tier, plan_crc, self.index.header.file_len)?;
        let next = self.index.root[usize::from(tier)].get(i + 1).map(|e| e.key);
        let pages = self.shape().tier_pages(tier)?;
        let last = list.last().map(|e| e.key);
        if next.is_some() && last >= next || list.iter().any(|e| pages.page(e.key).is_none()) {
            let detail = format!("keys leave the node's part of tier {tier}");
            return Err(Error::corrupt("index node", entry.offset, detail));
        }
        let node = Arc::new(list);
        self.keep(entry.offset, Loaded::Node(Arc::clone(&node)));
        Ok(node)
    }

    /// The page that `entry` points to.
    pub(crate) fn page(&self, tier: u8, entry: &Entry) -> Result<Arc<Page>> {
        if let Some(Loaded::Page(page)) = self.cached(entry.offset) {
            return Ok(page);
        }
        let bytes = self.read_index("bytes of an index page", entry)?;
        self.parse_page(tier, entry, &bytes)
    }

    /// Several pages of a tier; those not in the cache are read in one round trip.
    fn load_pages(&self, tier: u8, entries: &[Entry]) -> Result<Vec<Arc<Page>>> {
        let mut pages: Vec<Option<Arc<Page>>> = Vec::with_capacity(entries.len());
        let mut missing = Vec::new();
        for (i, entry) in entries.iter().enumerate() {
            pages.push(match self.cached(entry.offset) {
                Some(Loaded::Page(page)) => Some(page),
                _ => None,
            });
            if pages[i].is_none() {
                self.check_index("bytes of an index page", entry)?;
                missing.push(i);
            }
        }
        let ranges: Vec<_> = missing
            .iter()
            .map(|&i| (entries[i].offset, u64::from(entries[i].length)))
            .collect();
        for (&i, bytes) in missing.iter().zip(self.read_ranges(&ranges)?) {
            pages[i] = Some(self.parse_page(tier, &entries[i], &bytes)?);
        }
        Ok(pages.into_iter().flatten().collect())
    }

    /// Reads the bytes of a page and keeps what they say.
    pub(super) fn parse_page(&self, tier: u8, entry: &Entry, bytes: &[u8]) -> Result<Arc<Page>> {
        let page = Page::parse(bytes, entry, tier, self.shape())?;
        let end = entry.offset.saturating_add(page.cluster_len);
        let next = self.index.next_start(entry.offset);
        if end > next {
            let detail = format!(
                "the cluster ends at byte {end}, the next structure starts at {next} (tier {tier}, page key {})",
                entry.key
            );
            return Err(Error::corrupt("index page", entry.offset, detail));
        }
        let page = Arc::new(page);
        self.keep(entry.offset, Loaded::Page(Arc::clone(&page)));
        Ok(page)
    }

    fn read_index(&self, what: &'static str, entry: &Entry) -> Result<Vec<u8>> {
        self.check_index(what, entry)?;
        let mut bytes = crate::io::zeroed(entry.length as usize)?;
        self.source.read_at(entry.offset, &mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn check_index(&self, what: &'static str, entry: &Entry) -> Result<()> {
        Limits::check(what, u64::from(entry.length), self.limits.max_page)
    }

    pub(super) fn cached(&self, offset: u64) -> Option<Loaded> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.get(offset)
    }

    fn keep(&self, offset: u64, item: Loaded) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.put(offset, item);
    }
}

/// Holds the bytes of a layer against the checksum in the index.
pub(super) fn check_layer(
    entry: &BlockEntry,
    layer: usize,
    s: &crate::format::page::Segment,
    bytes: &[u8],
) -> Result<()> {
    let computed = crc::crc32(bytes);
    if computed == s.crc {
        return Ok(());
    }
    Err(Error::corrupt(
        "block payload",
        s.offset,
        format!(
            "checksum of layer {layer} of block {:?} of tier {} is {computed:#010x}, {:#010x} was stored",
            entry.block, entry.tier, s.crc
        ),
    ))
}
