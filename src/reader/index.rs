//! The open index: header, tables, root, and lookup in pages that were loaded.

use std::collections::HashMap;
use std::sync::Arc;

use crate::format::constant::HEADER_LEN;
use crate::format::header::Header;
use crate::format::page::{Page, Segment, Slot};
use crate::format::root::{Entry, Root};
use crate::format::section::Section;
use crate::format::validate::Tables;

/// Everything that opening reads.
#[derive(Debug)]
pub struct Index {
    /// The header that counts.
    pub header: Header,
    /// The first header, if the one that counts is the trailer.
    pub leading: Option<Header>,
    /// Section table.
    pub sections: Vec<Section>,
    /// What the sections say.
    pub tables: Tables,
    /// Entries of each tier: pages at depth 2, nodes at depth 3.
    pub root: Root,
    /// Offsets of everything that header, section table and root name, sorted.
    pub(crate) starts: Vec<u64>,
}

impl Index {
    /// Absolute offset of the header that counts.
    pub fn header_at(&self) -> u64 {
        let trailer = self.header.file_len.saturating_sub(HEADER_LEN as u64);
        self.leading.as_ref().map_or(0, |_| trailer)
    }

    /// Offset of the structure behind the one at `offset`, or the end of the file.
    pub(crate) fn next_start(&self, offset: u64) -> u64 {
        let i = self.starts.partition_point(|&s| s <= offset);
        self.starts.get(i).copied().unwrap_or(self.header.file_len)
    }
}

/// What the index says of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockEntry {
    /// Tier.
    pub tier: u8,
    /// Block coordinate x, y, z in the tier's grid.
    pub block: [u64; 3],
    /// Whether it is there, and how.
    pub state: BlockState,
}

/// How a block is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockState {
    /// Not in this file: another shard has it.
    NotWritten,
    /// Every voxel has this coded value.
    Constant(i32),
    /// Layers of payload.
    Payload(PayloadEntry),
}

/// A block with payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadEntry {
    /// Id of its model record.
    pub model: u16,
    /// Smallest and largest coded value that decoding may return; decoders clamp to it.
    pub range: (i32, i32),
    /// The codes that `range` comes from.
    pub range_codes: [u16; 2],
    /// `[rmse, max]` error codes of each quality level
    /// ([`crate::format::range::RangeCoder::decode_error`]).
    pub errors: Vec<[u8; 2]>,
    /// Layers in order, with absolute offsets.
    pub segments: Vec<Segment>,
}

impl BlockEntry {
    /// The entry of slot `slot` of a page whose cluster starts at `at`.
    pub(crate) fn from_page(
        page: &Page,
        at: u64,
        block: [u64; 3],
        slot: usize,
        tables: &Tables,
    ) -> Self {
        let state = match page.slot(slot) {
            Slot::NotWritten => BlockState::NotWritten,
            Slot::Constant(q) => BlockState::Constant(q),
            Slot::Payload(rank) => payload(page, at, rank, tables),
        };
        Self {
            tier: page.tier,
            block,
            state,
        }
    }

    /// Bytes of its first `layers` layers.
    pub fn bytes(&self, layers: usize) -> u64 {
        match &self.state {
            BlockState::Payload(p) => p
                .segments
                .iter()
                .take(layers)
                .map(|s| u64::from(s.length))
                .sum(),
            _ => 0,
        }
    }
}

fn payload(page: &Page, at: u64, rank: u32, tables: &Tables) -> BlockState {
    // Pages that parse have an info for each payload slot.
    let Some(info) = page.info(rank) else {
        return BlockState::NotWritten;
    };
    let mut segments = page.layers(rank);
    for s in &mut segments {
        s.offset += at;
    }
    BlockState::Payload(PayloadEntry {
        model: info.model,
        range: tables.shape.coder.decode(info.range),
        range_codes: info.range,
        errors: page.errors(rank).to_vec(),
        segments,
    })
}

/// A loaded part of the index.
#[derive(Debug, Clone)]
pub(crate) enum Loaded {
    Page(Arc<Page>),
    Node(Arc<Vec<Entry>>),
}

impl Loaded {
    fn memory(&self) -> usize {
        match self {
            Self::Page(p) => p.memory(),
            Self::Node(n) => n.capacity() * size_of::<Entry>(),
        }
    }
}

/// Loaded pages and nodes by offset; the one used longest ago goes first.
#[derive(Debug)]
pub(crate) struct Cache {
    budget: usize,
    used: usize,
    clock: u64,
    items: HashMap<u64, (u64, Loaded)>,
}

impl Cache {
    pub(crate) fn new(budget: usize) -> Self {
        Self {
            budget,
            used: 0,
            clock: 0,
            items: HashMap::new(),
        }
    }

    pub(crate) fn get(&mut self, offset: u64) -> Option<Loaded> {
        self.clock += 1;
        let (used_at, item) = self.items.get_mut(&offset)?;
        *used_at = self.clock;
        Some(item.clone())
    }

    pub(crate) fn put(&mut self, offset: u64, item: Loaded) {
        self.clock += 1;
        self.used += item.memory();
        if let Some((_, old)) = self.items.insert(offset, (self.clock, item)) {
            self.used -= old.memory();
        }
        while self.used > self.budget && self.items.len() > 1 {
            let oldest = self.items.iter().min_by_key(|(_, v)| v.0).map(|(k, _)| *k);
            let Some((_, old)) = oldest.and_then(|k| self.items.remove(&k)) else {
                return;
            };
            self.used -= old.memory();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_stays_in_its_budget_and_keeps_what_is_used() {
        let node = || Loaded::Node(Arc::new(Vec::with_capacity(10)));
        let one = node().memory();
        let mut cache = Cache::new(one * 3);
        for offset in 0..10 {
            cache.put(offset, node());
            assert!(cache.get(0).is_some(), "used all the time");
            assert!(cache.used <= one * 3);
        }
        assert!(cache.get(9).is_some() && cache.get(5).is_none());
        cache.put(9, node());
        assert_eq!(cache.used, one * 3);
    }
}
