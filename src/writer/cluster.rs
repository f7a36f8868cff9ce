//! One cluster in the making: the blocks of a page in any order, laid out when all are there.

use std::path::PathBuf;

use crate::format::constant::MAX_SEGMENT;
use crate::format::crc::crc32;
use crate::format::page::{self, BlockInfo, SlotMeta};
use crate::format::root::Entry;
use crate::format::shape::Shape;
use crate::writer::spool::Spool;
use crate::{Error, Limits, Result};

/// Bytes handed to the output at once.
const CHUNK: usize = 1 << 20;

/// A block as the encoder made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockRecord {
    /// Every voxel has exactly this coded value.
    Constant(i32),
    /// Layers of payload.
    Payload(BlockPayload),
}

/// A block with payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockPayload {
    /// Id of its model record.
    pub model: u16,
    /// Codes `[lo, hi]` of the value range that decoding clamps to
    /// ([`crate::format::range::RangeCoder::encode`]).
    pub range: [u16; 2],
    /// `[rmse, max]` error codes, one pair for each quality level.
    pub errors: Vec<[u8; 2]>,
    /// The bytes of each layer of the plan, in order; may be empty.
    pub layers: Vec<Vec<u8>>,
}

/// A cluster that was laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClusterMeta {
    pub(crate) tier: u8,
    pub(crate) key: u64,
    pub(crate) page_len: u32,
    pub(crate) page_crc: u32,
    pub(crate) cluster_len: u64,
    pub(crate) blocks: u64,
}

impl ClusterMeta {
    /// Its index entry when it lies at `offset`.
    pub(crate) fn entry(&self, offset: u64) -> Entry {
        Entry {
            offset,
            key: self.key,
            length: self.page_len,
            crc: self.page_crc,
        }
    }

    pub(crate) fn payload(&self) -> u64 {
        self.cluster_len - u64::from(self.page_len)
    }
}

/// The cluster that blocks go into.
#[derive(Debug)]
pub(crate) struct Cluster {
    tier: u8,
    page: [u64; 3],
    key: u64,
    slots: Vec<SlotMeta>,
    /// Where the first layer of a slot's payload lies in the spool.
    places: Vec<u64>,
    spool: Spool,
}

impl Cluster {
    pub(crate) fn new(
        shape: &Shape,
        tier: u8,
        page: [u64; 3],
        memory: usize,
        scratch: Option<PathBuf>,
    ) -> Result<Self> {
        let pages = shape.tier_pages(tier)?;
        if (0..3).any(|a| page[a] >= pages.grid()[a]) {
            return Err(Error::argument(format!(
                "page {page:?} lies outside the {:?} pages of tier {tier}",
                pages.grid()
            )));
        }
        let slots = pages.slots(page);
        Ok(Self {
            tier,
            page,
            key: pages.key(page),
            slots: vec![SlotMeta::NotWritten; slots],
            places: vec![0; slots],
            spool: Spool::new(memory, scratch),
        })
    }

    pub(crate) fn tier(&self) -> u8 {
        self.tier
    }

    /// Takes a block of this page.
    pub(crate) fn put(
        &mut self,
        shape: &Shape,
        block: [u64; 3],
        record: &BlockRecord,
    ) -> Result<()> {
        let (page, slot) = shape.tier_pages(self.tier)?.locate(block)?;
        let place = format!("block {block:?} of tier {}", self.tier);
        if page != self.page {
            let open = self.page;
            return Err(Error::argument(format!(
                "{place} belongs to page {page:?}, page {open:?} is open"
            )));
        }
        if self.slots[slot] != SlotMeta::NotWritten {
            return Err(Error::argument(format!("{place} was put twice")));
        }
        check(shape, record).map_err(|e| Error::argument(format!("{place}: {e}")))?;
        self.places[slot] = self.spool.len();
        self.slots[slot] = match record {
            BlockRecord::Constant(q) => SlotMeta::Constant(*q),
            BlockRecord::Payload(p) => self.payload(p)?,
        };
        Ok(())
    }

    fn payload(&mut self, p: &BlockPayload) -> Result<SlotMeta> {
        let mut layers = Vec::with_capacity(p.layers.len());
        for bytes in &p.layers {
            self.spool.append(bytes)?;
            layers.push((bytes.len() as u32, crc32(bytes)));
        }
        Ok(SlotMeta::Payload {
            info: BlockInfo {
                model: p.model,
                range: p.range,
            },
            errors: p.errors.clone(),
            layers,
        })
    }

    /// Writes page, base run and detail run through `emit`; `None` if no block was put.
    pub(crate) fn finish(
        mut self,
        shape: &Shape,
        emit: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<Option<ClusterMeta>> {
        let blocks = self
            .slots
            .iter()
            .filter(|s| **s != SlotMeta::NotWritten)
            .count();
        if blocks == 0 {
            return Ok(None);
        }
        let page = page::encode(shape, self.tier, self.key, &self.slots);
        let pieces = self.pieces(shape.layers.base_count());
        let mut out = Chunks {
            buffer: Vec::new(),
            emit,
        };
        out.push(&page)?;
        for &(offset, length) in &pieces {
            let mut bytes = crate::io::zeroed(length as usize)?;
            self.spool.read(offset, &mut bytes)?;
            out.push(&bytes)?;
        }
        out.flush()?;
        let (body, _) = page.split_at(page.len() - 4);
        let payload: u64 = pieces.iter().map(|p| u64::from(p.1)).sum();
        Ok(Some(ClusterMeta {
            tier: self.tier,
            key: self.key,
            page_len: page.len() as u32,
            page_crc: crc32(body),
            cluster_len: page.len() as u64 + payload,
            blocks: blocks as u64,
        }))
    }

    /// Pieces of the spool `(offset, length)` in file order.
    fn pieces(&self, base: usize) -> Vec<(u64, u32)> {
        let blocks: Vec<(u64, &[(u32, u32)])> = self
            .slots
            .iter()
            .zip(&self.places)
            .filter_map(|(slot, &at)| match slot {
                SlotMeta::Payload { layers, .. } => Some((at, layers.as_slice())),
                _ => None,
            })
            .collect();
        let start = |at: u64, layers: &[(u32, u32)], n: usize| {
            at + layers.iter().take(n).map(|l| u64::from(l.0)).sum::<u64>()
        };
        let mut out = Vec::new();
        for layer in 0..base {
            out.extend(
                blocks
                    .iter()
                    .map(|&(at, l)| (start(at, l, layer), l[layer].0)),
            );
        }
        for &(at, l) in &blocks {
            // Layers of one block lie side by side in the spool: one piece. Each is under 2^24
            // bytes and there are at most 16.
            let fine = l.iter().skip(base).map(|l| l.0).sum();
            out.push((start(at, l, base), fine));
        }
        out
    }
}

/// Gathers small pieces into large writes.
struct Chunks<'a> {
    buffer: Vec<u8>,
    emit: &'a mut dyn FnMut(&[u8]) -> Result<()>,
}

impl Chunks<'_> {
    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if !self.buffer.is_empty() {
            (self.emit)(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }
}

fn check(shape: &Shape, record: &BlockRecord) -> Result<()> {
    let p = match record {
        BlockRecord::Constant(q) if (shape.q_min..=shape.q_max).contains(q) => return Ok(()),
        BlockRecord::Constant(q) => {
            return Err(Error::argument(format!(
                "constant {q} leaves the value range"
            )));
        }
        BlockRecord::Payload(p) => p,
    };
    let (layers, levels) = (shape.layers.len(), usize::from(shape.layers.levels()));
    if p.layers.len() != layers || p.errors.len() != levels {
        return Err(Error::argument(format!(
            "{} layers and {} error pairs, the plan has {layers} and {levels}",
            p.layers.len(),
            p.errors.len()
        )));
    }
    if !shape.has_model(p.model) {
        return Err(Error::argument(format!(
            "model id {} has no record",
            p.model
        )));
    }
    if !shape.coder.is_valid(p.range) {
        return Err(Error::argument(format!(
            "range codes {:?} are not valid",
            p.range
        )));
    }
    let longest = p.layers.iter().map(Vec::len).max().unwrap_or(0);
    Limits::check("bytes of one layer", longest as u64, u64::from(MAX_SEGMENT))
}
