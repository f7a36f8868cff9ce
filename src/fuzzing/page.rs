//! Arbitrary bytes as an index page under several plans.

use crate::format::crc::crc32;
use crate::format::layer::{Layer, Layers};
use crate::format::model::ModelRecord;
use crate::format::page::{BlockInfo, Page, Slot, SlotMeta, encode};
use crate::format::root::Entry;
use crate::format::shape::Shape;
use crate::format::tier;
use crate::volume::{DType, Extent};

/// Plan, tier and mode come before the page.
const HEAD: usize = 3;
/// Where the page pretends to lie.
const OFFSET: u64 = 65_536;

struct Plan {
    extent: Extent,
    dtype: DType,
    range: (i32, i32),
    page_log2: u8,
    levels: u8,
    models: &'static [u16],
}

/// Narrow and wide range codes, one and many levels, one page and several, with and without models.
const PLANS: [Plan; 4] = [
    Plan {
        extent: [64, 64, 64],
        dtype: DType::Uint8,
        range: (0, 255),
        page_log2: 1,
        levels: 1,
        models: &[0],
    },
    Plan {
        extent: [200, 100, 40],
        dtype: DType::Int16,
        range: (-1000, 2000),
        page_log2: 1,
        levels: 3,
        models: &[0, 3, 9],
    },
    Plan {
        extent: [1000, 700, 300],
        dtype: DType::Float32,
        range: (-(1 << 23), 1 << 23),
        page_log2: 2,
        levels: 8,
        models: &[5, 65_535],
    },
    Plan {
        extent: [1, 1, 900],
        dtype: DType::Int8,
        range: (7, 7),
        page_log2: 5,
        levels: 2,
        models: &[],
    },
];

impl Plan {
    fn shape(&self) -> Option<Shape> {
        let model = |&id| ModelRecord {
            id,
            kind: 1,
            payload: vec![1, 2, 3],
        };
        // The last plan has the fewest layers that its levels allow.
        let layers = match self.levels {
            2 => Layers::new([0, 1].map(|quality| Layer { lod: 0, quality }).to_vec(), 2),
            n => Layers::standard(n),
        };
        Shape::new(
            self.extent,
            self.dtype,
            5,
            self.page_log2,
            self.range,
            0,
            layers.ok()?,
            tier::plan(self.extent, 5),
            self.models.iter().map(model).collect(),
        )
        .ok()
    }
}

/// Parses a page; one that is accepted must be what the writer makes of its contents.
pub(super) fn run(data: &[u8]) {
    let (Some(head), Some(bytes)) = (data.get(..HEAD), data.get(HEAD..)) else {
        return;
    };
    let Some(shape) = PLANS[usize::from(head[0]) % PLANS.len()].shape() else {
        return;
    };
    let tier = head[1] % shape.tiers.len() as u8;
    let mut bytes = bytes.to_vec();
    if head[2] & 1 == 0 {
        mend(&mut bytes, &shape);
    }
    let key = bytes.get(16..24).and_then(|b| b.try_into().ok());
    let body = bytes.len().saturating_sub(4);
    let entry = Entry {
        offset: OFFSET,
        key: key.map_or(0, u64::from_le_bytes),
        length: bytes.len() as u32,
        crc: crc32(&bytes[..body]),
    };
    if let Ok(page) = Page::parse(&bytes, &entry, tier, &shape) {
        hold(&page, &bytes, &shape);
    }
}

/// Makes length, plan and checksum right, so that mutations reach the rules behind them.
fn mend(bytes: &mut [u8], shape: &Shape) {
    let n = bytes.len();
    if n < 40 {
        return;
    }
    bytes[4..8].copy_from_slice(&(n as u32).to_le_bytes());
    bytes[24..28].copy_from_slice(&shape.plan_crc.to_le_bytes());
    let crc = crc32(&bytes[..n - 4]);
    bytes[n - 4..].copy_from_slice(&crc.to_le_bytes());
}

/// The format has one form for each content, and memory in proportion to the bytes.
fn hold(page: &Page, bytes: &[u8], shape: &Shape) {
    let slots: Vec<SlotMeta> = (0..page.slots())
        .map(|i| content(page, page.slot(i)))
        .collect();
    let again = encode(shape, page.tier, page.key, &slots);
    assert!(again == bytes, "an accepted page has another form");
    assert!(
        page.memory() <= 1024 + 32 * bytes.len(),
        "{} bytes of memory for a page of {}",
        page.memory(),
        bytes.len()
    );
    let end = page
        .segments()
        .last()
        .map_or(u64::from(page.page_len), |s| s.offset + u64::from(s.length));
    assert_eq!(end, page.cluster_len);
}

fn content(page: &Page, slot: Slot) -> SlotMeta {
    match slot {
        Slot::NotWritten => SlotMeta::NotWritten,
        Slot::Constant(q) => SlotMeta::Constant(q),
        Slot::Payload(rank) => SlotMeta::Payload {
            info: page.info(rank).unwrap_or(BlockInfo {
                model: 0,
                range: [0; 2],
            }),
            errors: page.errors(rank).to_vec(),
            layers: page
                .layers(rank)
                .iter()
                .map(|s| (s.length, s.crc))
                .collect(),
        },
    }
}

/// Pages of every plan, as a writer makes them.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let all = (0..PLANS.len() as u8).flat_map(|plan| (0..3u32).map(move |style| (plan, style)));
    all.filter_map(|(plan, style)| {
        let shape = PLANS[usize::from(plan)].shape()?;
        let tier = (style % shape.tiers.len() as u32) as u8;
        let pages = shape.tier_pages(tier).ok()?;
        let page = pages.iter().last()?;
        let slots: Vec<SlotMeta> = (0..pages.slots(page) as u32)
            .map(|i| slot(&shape, i, style))
            .collect();
        let bytes = encode(&shape, tier, pages.key(page), &slots);
        Some([&[plan, tier, (style & 1) as u8][..], &bytes].concat())
    })
    .collect()
}

fn slot(shape: &Shape, i: u32, style: u32) -> SlotMeta {
    if shape.models.is_empty() || i % 5 == style {
        return SlotMeta::Constant(shape.q_min);
    }
    if i % 7 == 6 {
        return SlotMeta::NotWritten;
    }
    let top = shape.coder.max_code();
    let length = |l: u32| (i * 37 + l * 11) % 300 + if style == 2 { 65_500 } else { 0 };
    SlotMeta::Payload {
        info: BlockInfo {
            model: shape.models[(i * style) as usize % shape.models.len()].id,
            range: [top / 4, top / 2 + (i % 5) as u16],
        },
        errors: vec![[i as u8, 200]; usize::from(shape.layers.levels())],
        layers: (0..shape.layers.len() as u32)
            .map(|l| (length(l), if length(l) == 0 { 0 } else { i * 7919 + l }))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn seeds_are_pages_that_parse() {
        let seeds = seeds();
        assert_eq!(seeds.len(), 3 * PLANS.len());
        for seed in seeds {
            let shape = PLANS[usize::from(seed[0])].shape().unwrap();
            let (_, page) = seed.split_at(HEAD);
            let crc = crc32(&page[..page.len() - 4]);
            let key = u64::from_le_bytes(page[16..24].try_into().unwrap());
            let length = page.len() as u32;
            let entry = Entry {
                offset: OFFSET,
                key,
                length,
                crc,
            };
            Page::parse(page, &entry, seed[1], &shape).unwrap();
        }
    }
}
