//! The index without reads of its own: what is loaded of it, what is missing, and where that lies.
//!
//! For callers that decide themselves when which bytes are read, such as [`crate::stream`].

use crate::format::page::Segment;
use crate::format::root::{self, Entry};
use crate::reader::index::{BlockEntry, BlockState, Loaded};
use crate::reader::read::{HgvReader, check_layer};
use crate::{Error, Result};

/// A part of the index that is not loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexPart {
    tier: u8,
    /// Its place among the nodes of the tier, if it is a node.
    node: Option<usize>,
    entry: Entry,
}

impl IndexPart {
    /// Absolute offset of its bytes.
    pub(crate) fn offset(&self) -> u64 {
        self.entry.offset
    }

    /// Length of its bytes.
    pub(crate) fn length(&self) -> u32 {
        self.entry.length
    }
}

/// What the loaded index says of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// All that there is to know.
    Known(BlockEntry),
    /// This part has to be loaded first.
    Missing(IndexPart),
}

impl HgvReader {
    /// Looks a block up without reading.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if there is no such block.
    pub(crate) fn look_up(&self, tier: u8, block: [u64; 3]) -> Result<Lookup> {
        let pages = self.shape().tier_pages(tier)?;
        let (page, slot) = pages.locate(block)?;
        let absent = Lookup::Known(BlockEntry {
            tier,
            block,
            state: BlockState::NotWritten,
        });
        let entry = match self.page_entry(tier, pages.key(page)) {
            Ok(Some(entry)) => entry,
            Ok(None) => return Ok(absent),
            Err((i, entry)) => {
                let node = Some(i);
                return Ok(Lookup::Missing(IndexPart { tier, node, entry }));
            }
        };
        Ok(match self.cached(entry.offset) {
            Some(Loaded::Page(p)) => {
                let tables = &self.index.tables;
                Lookup::Known(BlockEntry::from_page(&p, entry.offset, block, slot, tables))
            }
            _ => Lookup::Missing(IndexPart {
                tier,
                node: None,
                entry,
            }),
        })
    }

    /// Where the page with this key lies, or the node that would tell and its place in the tier.
    pub(super) fn page_entry(
        &self,
        tier: u8,
        key: u64,
    ) -> std::result::Result<Option<Entry>, (usize, Entry)> {
        let entries = &self.index.root[usize::from(tier)];
        if self.index.header.depth == 2 {
            return Ok(root::find(entries, key));
        }
        let i = entries.partition_point(|e| e.key <= key).checked_sub(1);
        let Some((i, entry)) = i.and_then(|i| Some((i, *entries.get(i)?))) else {
            return Ok(None);
        };
        match self.cached(entry.offset) {
            Some(Loaded::Node(node)) => Ok(root::find(&node, key)),
            _ => Err((i, entry)),
        }
    }

    /// Takes the bytes of a part of the index.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn supply(&self, part: &IndexPart, bytes: &[u8]) -> Result<()> {
        self.check_index("bytes of a part of the index", &part.entry)?;
        match part.node {
            Some(i) => self
                .parse_node(part.tier, i, &part.entry, bytes)
                .map(|_| ()),
            None => self.parse_page(part.tier, &part.entry, bytes).map(|_| ()),
        }
    }

    /// The layers of a block that lie in the file and keep the limits; none of a block without payload.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] or [`Error::Corrupt`].
    pub(crate) fn layers_of<'e>(&self, entry: &'e BlockEntry) -> Result<&'e [Segment]> {
        if !matches!(entry.state, BlockState::Payload(_)) {
            return Ok(&[]);
        }
        let segments = self.segments(entry, usize::MAX)?;
        let leaves =
            |s: &&Segment| s.offset.saturating_add(u64::from(s.length)) > self.source.len();
        match segments.iter().find(leaves) {
            Some(s) => Err(Error::corrupt(
                "block payload",
                s.offset,
                "it leaves the file",
            )),
            None => Ok(segments),
        }
    }

    /// Holds bytes that were read elsewhere against the checksum of layer `layer` of a block.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::InvalidArgument`] if the block has no such layer.
    pub(crate) fn check_layer(&self, entry: &BlockEntry, layer: usize, bytes: &[u8]) -> Result<()> {
        let segment = match &entry.state {
            BlockState::Payload(p) => p.segments.get(layer),
            _ => None,
        };
        let none = || Error::argument(format!("block {:?} has no layer {layer}", entry.block));
        check_layer(entry, layer, segment.ok_or_else(none)?, bytes)
    }
}
