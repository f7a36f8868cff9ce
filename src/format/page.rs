//! The index page: the first bytes of a cluster, and all that is known of its blocks.
//!
//! ```text
//!  0 magic HGVC   8 cluster length u64  24 plan CRC-32  32 tier u8   34 model id u16
//!  4 page length  16 page key u64       28 slots u32    33 flags u8
//! 36 presence, 2 bits a slot, lowest bits first: 0 not written, 1 constant, 2 payload
//!    q i32 of each constant block
//!    model id u16 of each payload block               (flag 2: they differ)
//!    value range of each payload block: 2 x u8, or 3 bytes lo | hi << 12
//!    errors of each payload block: level_count x (rmse u8, max u8)
//!    segment lengths, u16 or u24 (flag 1): base run [layer][block], detail run [block][layer]
//!    segment CRC-32s, same order
//!    CRC-32 of everything before
//! ```
//! Segments follow the page in this order without gaps, so offsets are sums of lengths.

use crate::format::bytes::{Fields, u16_at, u24_at, u32_at};
use crate::format::constant::{PAGE_HEAD_LEN, PAGE_MAGIC};
use crate::format::root::{Entry, check_tail};
use crate::format::shape::Shape;
use crate::{Error, Result};

const WHAT: &str = "index page";
/// Lengths take 24 bits.
const WIDE_LENGTHS: u8 = 1;
/// Each payload block has its own model id.
const OWN_MODELS: u8 = 2;

/// What is in a slot of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// Nothing: another shard has it.
    NotWritten,
    /// Every voxel has this coded value.
    Constant(i32),
    /// Payload block with this rank among the payload blocks of the page.
    Payload(u32),
}

/// One layer of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Offset from the start of the cluster.
    pub offset: u64,
    /// Length in bytes.
    pub length: u32,
    /// CRC-32.
    pub crc: u32,
}

/// Model and value range of a payload block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockInfo {
    /// Id of its model record.
    pub model: u16,
    /// Codes `[lo, hi]` of its value range.
    pub range: [u16; 2],
}

/// A block as a writer hands it to [`encode`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotMeta {
    /// Not in this file.
    NotWritten,
    /// Constant block.
    Constant(i32),
    /// Payload block.
    Payload {
        /// Model and range.
        info: BlockInfo,
        /// `[rmse, max]` codes of each quality level.
        errors: Vec<[u8; 2]>,
        /// `(length, CRC-32)` of each layer.
        layers: Vec<(u32, u32)>,
    },
}

/// A page that obeys every rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Tier that it belongs to.
    pub tier: u8,
    /// Its key in the tier.
    pub key: u64,
    /// Bytes of the page itself.
    pub page_len: u32,
    /// Bytes of the cluster: page and payload.
    pub cluster_len: u64,
    slots: Vec<Slot>,
    blocks: Vec<BlockInfo>,
    errors: Vec<[u8; 2]>,
    segments: Vec<Segment>,
    base_count: usize,
    layer_count: usize,
    level_count: usize,
}

/// The first 36 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageHead {
    /// Bytes of the page.
    pub page_len: u32,
    /// Bytes of the cluster.
    pub cluster_len: u64,
    /// Page key.
    pub key: u64,
    /// Fingerprint of the plan.
    pub plan_crc: u32,
    /// Slots of the page.
    pub slots: u32,
    /// Tier.
    pub tier: u8,
    flags: u8,
    model: u16,
}

impl PageHead {
    /// Reads the head of a page that lies at absolute offset `at`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Truncated`].
    pub fn parse(bytes: &[u8], at: u64) -> Result<Self> {
        let mut f = Fields::new(WHAT, at, bytes);
        if f.array::<4>()? != PAGE_MAGIC {
            return Err(Error::corrupt(WHAT, at, "magic number is not HGVC"));
        }
        Ok(Self {
            page_len: f.u32()?,
            cluster_len: f.u64()?,
            key: f.u64()?,
            plan_crc: f.u32()?,
            slots: f.u32()?,
            tier: f.u8()?,
            flags: f.u8()?,
            model: f.u16()?,
        })
    }
}

impl Page {
    /// Reads the page of tier `tier` that `entry` points to.
    ///
    /// # Errors
    /// [`Error::Checksum`], [`Error::Corrupt`] or [`Error::Truncated`].
    pub fn parse(bytes: &[u8], entry: &Entry, tier: u8, shape: &Shape) -> Result<Self> {
        let body = check_tail(WHAT, entry.offset, bytes, entry.crc)?;
        let head = PageHead::parse(body, entry.offset)?;
        let parser = Parser {
            at: entry.offset,
            head,
            shape,
        };
        parser.check_head(bytes.len(), tier, entry.key)?;
        parser.page(body)
    }

    /// What is in slot `slot`; `NotWritten` past the end.
    pub fn slot(&self, slot: usize) -> Slot {
        self.slots.get(slot).copied().unwrap_or(Slot::NotWritten)
    }

    /// Number of slots.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Model and value range of payload block `rank`.
    pub fn info(&self, rank: u32) -> Option<BlockInfo> {
        self.blocks.get(rank as usize).copied()
    }

    /// `[rmse, max]` codes of payload block `rank`, one pair for each quality level.
    pub fn errors(&self, rank: u32) -> &[[u8; 2]] {
        let at = rank as usize * self.level_count;
        self.errors.get(at..at + self.level_count).unwrap_or(&[])
    }

    /// The layers of payload block `rank` in order.
    pub fn layers(&self, rank: u32) -> Vec<Segment> {
        (0..self.layer_count)
            .filter_map(|l| self.segments.get(self.index(rank as usize, l)).copied())
            .collect()
    }

    /// Every segment in the order of its offset.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Constant and payload blocks.
    pub fn present(&self) -> u64 {
        let absent = self
            .slots
            .iter()
            .filter(|s| **s == Slot::NotWritten)
            .count();
        (self.slots.len() - absent) as u64
    }

    /// Bytes behind the page.
    pub fn payload_len(&self) -> u64 {
        self.cluster_len - u64::from(self.page_len)
    }

    /// Heap bytes that the page holds.
    pub fn memory(&self) -> usize {
        size_of::<Self>()
            + self.slots.capacity() * size_of::<Slot>()
            + self.blocks.capacity() * size_of::<BlockInfo>()
            + self.errors.capacity() * size_of::<[u8; 2]>()
            + self.segments.capacity() * size_of::<Segment>()
    }

    /// Place of a layer in the segment arrays.
    fn index(&self, rank: usize, layer: usize) -> usize {
        if layer < self.base_count {
            return layer * self.blocks.len() + rank;
        }
        let detail = self.layer_count - self.base_count;
        self.base_count * self.blocks.len() + rank * detail + layer - self.base_count
    }
}

/// Reads one page whose CRC is good.
struct Parser<'a> {
    at: u64,
    head: PageHead,
    shape: &'a Shape,
}

impl Parser<'_> {
    /// A broken rule, with the page's place in the volume.
    fn corrupt<T>(&self, detail: impl std::fmt::Display) -> Result<T> {
        let PageHead { tier, key, .. } = self.head;
        let detail = format!("{detail} (tier {tier}, page key {key})");
        Err(Error::corrupt(WHAT, self.at, detail))
    }

    fn check_head(&self, length: usize, tier: u8, key: u64) -> Result<()> {
        let head = &self.head;
        if head.tier != tier || head.key != key {
            return self.corrupt(format!("the index names tier {tier}, page key {key}"));
        }
        if head.plan_crc != self.shape.plan_crc {
            return self.corrupt(format!(
                "plan {:#010x} is not the {:#010x} of the file",
                head.plan_crc, self.shape.plan_crc
            ));
        }
        if head.page_len as usize != length || head.cluster_len < length as u64 {
            return self.corrupt(format!(
                "page length {} and cluster length {} do not fit the {length} bytes of the index",
                head.page_len, head.cluster_len
            ));
        }
        let pages = self.shape.tier_pages(tier)?;
        let Some(page) = pages.page(key) else {
            return self.corrupt("the grid has no such page");
        };
        let slots = pages.slots(page);
        if head.slots as usize != slots {
            return self.corrupt(format!("{} slots, the grid has {slots}", head.slots));
        }
        if head.flags & !(WIDE_LENGTHS | OWN_MODELS) != 0 {
            return self.corrupt(format!("unknown flags {:#x}", head.flags));
        }
        Ok(())
    }

    fn page(&self, body: &[u8]) -> Result<Page> {
        let mut f = Fields::new(WHAT, self.at, body);
        f.take(PAGE_HEAD_LEN)?;
        let presence = f.take((self.head.slots as usize).div_ceil(4))?;
        let mut slots = self.presence(presence)?;
        self.constants(&mut f, &mut slots)?;
        let payloads = slots
            .iter()
            .filter(|s| matches!(s, Slot::Payload(_)))
            .count();
        let blocks = self.blocks(&mut f, payloads)?;
        let levels = usize::from(self.shape.layers.levels());
        let errors = f.take(payloads * levels * 2)?;
        let segments = self.segments(&mut f, payloads * self.shape.layers.len())?;
        f.end()?;
        Ok(Page {
            tier: self.head.tier,
            key: self.head.key,
            page_len: self.head.page_len,
            cluster_len: self.head.cluster_len,
            slots,
            blocks,
            errors: errors.chunks_exact(2).map(|e| [e[0], e[1]]).collect(),
            segments,
            base_count: self.shape.layers.base_count(),
            layer_count: self.shape.layers.len(),
            level_count: levels,
        })
    }

    /// Slots from the presence map; constants get their value later.
    fn presence(&self, map: &[u8]) -> Result<Vec<Slot>> {
        let n = self.head.slots as usize;
        let code = |i: usize| map.get(i / 4).map_or(0, |b| (b >> (2 * (i % 4))) & 3);
        if (n..map.len() * 4).any(|i| code(i) != 0) {
            return self.corrupt("bits behind the presence map must be zero");
        }
        let mut rank = 0;
        let mut slots = Vec::with_capacity(n);
        for i in 0..n {
            slots.push(match code(i) {
                0 => Slot::NotWritten,
                1 => Slot::Constant(0),
                2 => {
                    rank += 1;
                    Slot::Payload(rank - 1)
                }
                _ => return self.corrupt(format!("presence of slot {i} is 3, 0..=2 is allowed")),
            });
        }
        if slots.iter().all(|s| *s == Slot::NotWritten) {
            return self.corrupt("it holds no block");
        }
        Ok(slots)
    }

    fn constants(&self, f: &mut Fields<'_>, slots: &mut [Slot]) -> Result<()> {
        for slot in slots {
            if let Slot::Constant(q) = slot {
                *q = f.i32()?;
                let (min, max) = (self.shape.q_min, self.shape.q_max);
                if *q < min || *q > max {
                    return self.corrupt(format!("constant {q} leaves {min}..={max}"));
                }
            }
        }
        Ok(())
    }

    fn blocks(&self, f: &mut Fields<'_>, n: usize) -> Result<Vec<BlockInfo>> {
        let own = self.head.flags & OWN_MODELS != 0;
        let models = f.take(if own { n * 2 } else { 0 })?;
        let width = range_width(self.shape);
        let ranges = f.take(n * width)?;
        let blocks: Vec<BlockInfo> = (0..n)
            .map(|i| BlockInfo {
                model: if own {
                    u16_at(models, i)
                } else {
                    self.head.model
                },
                range: range_at(ranges, i, width),
            })
            .collect();
        let same = blocks.windows(2).all(|w| w[0].model == w[1].model);
        if (own && (same || self.head.model != 0)) || (n == 0 && self.head.model != 0) {
            return self.corrupt("model ids are not in their shortest form");
        }
        if let Some(b) = blocks.iter().find(|b| !self.shape.has_model(b.model)) {
            return self.corrupt(format!("model id {} has no record", b.model));
        }
        match blocks.iter().find(|b| !self.shape.coder.is_valid(b.range)) {
            Some(b) => self.corrupt(format!(
                "range codes {:?}, {} is the largest and lo <= hi",
                b.range,
                self.shape.coder.max_code()
            )),
            None => Ok(blocks),
        }
    }

    fn segments(&self, f: &mut Fields<'_>, n: usize) -> Result<Vec<Segment>> {
        let wide = self.head.flags & WIDE_LENGTHS != 0;
        let lengths = f.take(n * if wide { 3 } else { 2 })?;
        let crcs = f.take(n * 4)?;
        let length = |i| {
            if wide {
                u24_at(lengths, i)
            } else {
                u32::from(u16_at(lengths, i))
            }
        };
        let mut offset = u64::from(self.head.page_len);
        let mut longest = 0;
        let mut out = Vec::with_capacity(n);
        for i in 0..n {
            let segment = Segment {
                offset,
                length: length(i),
                crc: u32_at(crcs, i),
            };
            if segment.length == 0 && segment.crc != 0 {
                return self.corrupt(format!("empty segment {i} has a checksum"));
            }
            offset += u64::from(segment.length);
            longest = longest.max(segment.length);
            out.push(segment);
        }
        if wide && longest <= u32::from(u16::MAX) {
            return self.corrupt("lengths are not in their shortest form");
        }
        if offset != self.head.cluster_len {
            return self.corrupt(format!(
                "segments end at {offset}, the cluster at {}",
                self.head.cluster_len
            ));
        }
        Ok(out)
    }
}

/// Bytes of the two range codes of a block.
fn range_width(shape: &Shape) -> usize {
    if shape.coder.is_narrow() { 2 } else { 3 }
}

fn range_at(bytes: &[u8], i: usize, width: usize) -> [u16; 2] {
    if width == 2 {
        let both = u16_at(bytes, i);
        return [both & 0xFF, both >> 8];
    }
    let both = u24_at(bytes, i);
    [(both & 0xFFF) as u16, (both >> 12) as u16]
}

/// One payload block of [`encode`].
struct Payload<'a> {
    info: &'a BlockInfo,
    errors: &'a [[u8; 2]],
    layers: &'a [(u32, u32)],
}

/// The bytes of a page, CRC included, for slots that [`Page::parse`] accepts.
///
/// `slots` has one entry for each slot of the page; every payload has `levels` error pairs and
/// one `(length, CRC)` for each layer, lengths under 2^24: the caller checks this.
pub fn encode(shape: &Shape, tier: u8, key: u64, slots: &[SlotMeta]) -> Vec<u8> {
    let payloads: Vec<Payload<'_>> = slots.iter().filter_map(payload).collect();
    let order = segment_order(shape, &payloads);
    let wide = order.iter().any(|s| s.0 > u32::from(u16::MAX));
    let own = payloads
        .windows(2)
        .any(|w| w[0].info.model != w[1].info.model);
    let mut body = Vec::new();
    put_presence(slots, &mut body);
    for slot in slots {
        if let SlotMeta::Constant(q) = slot {
            body.extend_from_slice(&q.to_le_bytes());
        }
    }
    put_blocks(shape, &payloads, own, &mut body);
    let width = if wide { 3 } else { 2 };
    body.extend(
        order
            .iter()
            .flat_map(|s| s.0.to_le_bytes().into_iter().take(width)),
    );
    body.extend(order.iter().flat_map(|s| s.1.to_le_bytes()));
    let payload_len: u64 = order.iter().map(|s| u64::from(s.0)).sum();
    let page_len = (PAGE_HEAD_LEN + body.len() + 4) as u64;
    let mut page = Vec::with_capacity(page_len as usize);
    page.extend_from_slice(&PAGE_MAGIC);
    page.extend_from_slice(&(page_len as u32).to_le_bytes());
    page.extend_from_slice(&(page_len + payload_len).to_le_bytes());
    page.extend_from_slice(&key.to_le_bytes());
    page.extend_from_slice(&shape.plan_crc.to_le_bytes());
    page.extend_from_slice(&(slots.len() as u32).to_le_bytes());
    page.extend_from_slice(&[
        tier,
        u8::from(wide) * WIDE_LENGTHS + u8::from(own) * OWN_MODELS,
    ]);
    let model = payloads.first().map_or(0, |p| p.info.model);
    page.extend_from_slice(&(if own { 0 } else { model }).to_le_bytes());
    page.extend_from_slice(&body);
    let crc = crate::format::crc::crc32(&page);
    page.extend_from_slice(&crc.to_le_bytes());
    page
}

fn payload(slot: &SlotMeta) -> Option<Payload<'_>> {
    match slot {
        SlotMeta::Payload {
            info,
            errors,
            layers,
        } => Some(Payload {
            info,
            errors,
            layers,
        }),
        _ => None,
    }
}

/// `(length, CRC)` in file order: base run by layer, detail run by block.
fn segment_order(shape: &Shape, payloads: &[Payload<'_>]) -> Vec<(u32, u32)> {
    let base = shape.layers.base_count();
    let coarse = (0..base).flat_map(|l| payloads.iter().filter_map(move |p| p.layers.get(l)));
    let fine = payloads.iter().flat_map(|p| p.layers.iter().skip(base));
    coarse.chain(fine).copied().collect()
}

fn put_presence(slots: &[SlotMeta], out: &mut Vec<u8>) {
    for four in slots.chunks(4) {
        let code = |s: &SlotMeta| match s {
            SlotMeta::NotWritten => 0,
            SlotMeta::Constant(_) => 1,
            SlotMeta::Payload { .. } => 2,
        };
        out.push(four.iter().rev().fold(0, |byte, s| byte << 2 | code(s)));
    }
}

fn put_blocks(shape: &Shape, payloads: &[Payload<'_>], own: bool, out: &mut Vec<u8>) {
    if own {
        out.extend(payloads.iter().flat_map(|p| p.info.model.to_le_bytes()));
    }
    for p in payloads {
        let [lo, hi] = p.info.range.map(u32::from);
        if range_width(shape) == 2 {
            out.extend_from_slice(&[lo as u8, hi as u8]);
        } else {
            out.extend_from_slice(&(lo | hi << 12).to_le_bytes()[..3]);
        }
    }
    out.extend(payloads.iter().flat_map(|p| p.errors.iter().flatten()));
}
