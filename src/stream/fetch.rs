//! Bringing what the scheduler asks for: from the disk cache where it is there, else from the source.

use std::sync::atomic::AtomicBool;

use super::content::Streamable;
use super::disk::DiskCache;
use super::schedule::{self, BlockId, Fetch, Item};
use crate::Result;
use crate::io::{check_range, zeroed};

/// What a fetch brought. Its pages are in the catalogue already.
pub(super) struct Brought {
    pub(super) layers: Vec<(BlockId, u8, Vec<u8>)>,
    /// Bytes that came from the source, and from the disk cache.
    pub(super) fetched: u64,
    pub(super) cached: u64,
}

/// An item and its bytes, once they are known.
struct Part {
    item: Item,
    offset: u64,
    length: u64,
}

/// Brings every item of a fetch and checks it. `stop` ends it with [`crate::Error::Cancelled`].
///
/// # Errors
/// What the source says, or what is wrong with the bytes.
pub(super) fn bring(
    content: &dyn Streamable,
    fetch: &Fetch,
    cache: Option<&DiskCache>,
    stop: &AtomicBool,
) -> Result<Brought> {
    let version = content.version();
    let cache = cache.zip(version.as_deref());
    let mut brought = Brought {
        layers: Vec::new(),
        fetched: 0,
        cached: 0,
    };
    let mut missing = Vec::new();
    for &(item, offset, length) in &fetch.items {
        let part = Part {
            item,
            offset,
            length: u64::from(length),
        };
        if from_cache(content, &part, cache, &mut brought) {
            brought.cached += part.length;
        } else {
            missing.push(part);
        }
    }
    for run in runs(&missing) {
        read_run(content, run, cache, stop, &mut brought)?;
    }
    Ok(brought)
}

/// Parts that are to be read as one: those that lie together, with no more between them than the scheduler
/// left there.
fn runs(missing: &[Part]) -> impl Iterator<Item = &[Part]> {
    let places: Vec<_> = missing.iter().map(|p| (p.offset, p.length)).collect();
    let gap = schedule::gap(&places);
    missing.chunk_by(move |a, b| b.offset <= a.offset + a.length + gap)
}

/// Reads parts that lie together, in the order of their offsets.
fn read_run(
    content: &dyn Streamable,
    run: &[Part],
    cache: Option<(&DiskCache, &str)>,
    stop: &AtomicBool,
    brought: &mut Brought,
) -> Result<()> {
    let start = run.first().map_or(0, |p| p.offset);
    let end = run.iter().map(|p| p.offset + p.length).max();
    let length = end.map_or(0, |end| end - start);
    let source = content.source();
    check_range(start, length as usize, source.len())?;
    let mut bytes = zeroed(length as usize)?;
    // Layers without bytes need no read.
    if length > 0 {
        source.read_at_unless(start, &mut bytes, stop)?;
    }
    brought.fetched += length;
    for part in run {
        let first = (part.offset - start) as usize;
        let own = &bytes[first..first + part.length as usize];
        take(content, part, own.to_vec(), brought)?;
        if let Some((cache, version)) = cache.filter(|_| part.length > 0) {
            cache.put(version, part.offset, own);
        }
    }
    Ok(())
}

/// Whether the disk cache has a part, and all is well with it; a damaged one is forgotten.
fn from_cache(
    content: &dyn Streamable,
    part: &Part,
    cache: Option<(&DiskCache, &str)>,
    brought: &mut Brought,
) -> bool {
    if part.length == 0 {
        return take(content, part, Vec::new(), brought).is_ok();
    }
    let Some((cache, version)) = cache else {
        return false;
    };
    let Some(bytes) = cache.get(version, part.offset, part.length) else {
        return false;
    };
    if take(content, part, bytes, brought).is_ok() {
        return true;
    }
    cache.forget(version, part.offset, part.length);
    false
}

/// Checks the bytes of a part and puts them where they belong.
fn take(
    content: &dyn Streamable,
    part: &Part,
    bytes: Vec<u8>,
    brought: &mut Brought,
) -> Result<()> {
    match part.item {
        Item::Page(page) => content.take_page(page, bytes)?,
        Item::Layer(block, layer) => {
            content.check_layer(block, layer, &bytes)?;
            brought.layers.push((block, layer, bytes));
        }
    }
    Ok(())
}
