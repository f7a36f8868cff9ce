//! The root of the index and, in large files, a level of nodes between root and pages.
//!
//! Root: `entries of each tier u32 x tiers | offset u64[n] | key u64[n] | length u32[n] |
//! crc32 u32[n]`, entries sorted by tier, then by strictly rising key. At depth 2 an entry is a
//! page; at depth 3 it is a node, and its key is that of the node's first page.
//!
//! Node: `magic HGVN | tier u8 | reserved 3 | n u32 | plan CRC u32 | the four arrays | CRC-32`.

use crate::format::bytes::{Fields, u32_at, u64_at};
use crate::format::constant::{ENTRY_LEN, NODE_HEAD_LEN, NODE_MAGIC};
use crate::format::crc;
use crate::{Error, Result};

const ROOT: &str = "root";
const NODE: &str = "index node";

/// Where a page or a node lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Absolute offset.
    pub offset: u64,
    /// Key of the page, or of the first page of the node.
    pub key: u64,
    /// Length in bytes.
    pub length: u32,
    /// CRC-32 of all but the last 4 bytes, which hold the same value.
    pub crc: u32,
}

impl Entry {
    /// One past the last byte; saturates.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(u64::from(self.length))
    }
}

/// The entries of each tier, sorted by key.
pub type Root = Vec<Vec<Entry>>;

/// The entry with this key in a list that is sorted by key.
pub fn find(list: &[Entry], key: u64) -> Option<Entry> {
    let i = list.binary_search_by_key(&key, |e| e.key).ok()?;
    list.get(i).copied()
}

/// The bytes of the root.
pub fn encode(root: &Root) -> Vec<u8> {
    let all: Vec<Entry> = root.iter().flatten().copied().collect();
    let mut out = Vec::with_capacity(root.len() * 4 + all.len() * ENTRY_LEN);
    for tier in root {
        out.extend_from_slice(&(tier.len() as u32).to_le_bytes());
    }
    encode_arrays(&all, &mut out);
    out
}

/// Reads a root that lies at absolute offset `at` of a file of `file_len` bytes.
///
/// # Errors
/// [`Error::Corrupt`] or [`Error::Truncated`].
pub fn parse(bytes: &[u8], at: u64, tiers: u8, file_len: u64) -> Result<Root> {
    let mut f = Fields::new(ROOT, at, bytes);
    let counts = (0..tiers).map(|_| f.u32()).collect::<Result<Vec<_>>>()?;
    let total: u64 = counts.iter().map(|&n| u64::from(n)).sum();
    if total * ENTRY_LEN as u64 != f.remaining() as u64 {
        let detail = format!("{} bytes for {total} entries", f.remaining());
        return Err(Error::corrupt(ROOT, at, detail));
    }
    let arrays = f.take(f.remaining())?;
    let mut entries = decode_arrays(arrays, total as usize).into_iter();
    counts
        .iter()
        .enumerate()
        .map(|(tier, &n)| {
            let list: Vec<Entry> = entries.by_ref().take(n as usize).collect();
            check(&list, ROOT, at, tier, file_len)?;
            Ok(list)
        })
        .collect()
}

/// The bytes of a node, CRC included.
pub fn encode_node(tier: u8, plan_crc: u32, entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(node_len(entries.len()));
    out.extend_from_slice(&NODE_MAGIC);
    out.extend_from_slice(&[tier, 0, 0, 0]);
    out.extend_from_slice(&(entries.len() as u32).to_le_bytes());
    out.extend_from_slice(&plan_crc.to_le_bytes());
    encode_arrays(entries, &mut out);
    let crc = crc::crc32(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// Bytes of a node with `n` entries.
pub fn node_len(n: usize) -> usize {
    NODE_HEAD_LEN + n * ENTRY_LEN + 4
}

/// Reads the node that `parent` points to.
///
/// # Errors
/// [`Error::Checksum`], [`Error::Corrupt`] or [`Error::Truncated`].
pub fn parse_node(
    bytes: &[u8],
    parent: &Entry,
    tier: u8,
    plan_crc: u32,
    file_len: u64,
) -> Result<Vec<Entry>> {
    let at = parent.offset;
    let body = check_tail(NODE, at, bytes, parent.crc)?;
    let mut f = Fields::new(NODE, at, body);
    let corrupt = |detail: String| Err(Error::corrupt(NODE, at, detail));
    if f.array::<4>()? != NODE_MAGIC {
        return corrupt("magic number is not HGVN".into());
    }
    let own = f.u8()?;
    f.zeros(3)?;
    let (n, plan) = (f.u32()?, f.u32()?);
    if own != tier || plan != plan_crc {
        return corrupt(format!("it belongs to tier {own} of plan {plan:#010x}"));
    }
    if n == 0 || u64::from(n) * ENTRY_LEN as u64 != f.remaining() as u64 {
        return corrupt(format!("{} bytes for {n} entries", f.remaining()));
    }
    let list = decode_arrays(f.take(f.remaining())?, n as usize);
    check(&list, NODE, at, usize::from(tier), file_len)?;
    if list.first().is_some_and(|e| e.key != parent.key) {
        return corrupt(format!(
            "first key is not {}, which the root names",
            parent.key
        ));
    }
    Ok(list)
}

/// Checks that the last 4 bytes are the CRC of the rest and equal `stored`; returns the rest.
pub(crate) fn check_tail<'a>(
    what: &'static str,
    at: u64,
    bytes: &'a [u8],
    stored: u32,
) -> Result<&'a [u8]> {
    let Some((body, tail)) = bytes.split_last_chunk::<4>() else {
        return Err(Error::Truncated {
            what,
            offset: at,
            needed: 4,
            available: bytes.len() as u64,
        });
    };
    crc::check(what, at, body, stored)?;
    crc::check(what, at, body, u32::from_le_bytes(*tail))?;
    Ok(body)
}

fn encode_arrays(entries: &[Entry], out: &mut Vec<u8>) {
    out.extend(entries.iter().flat_map(|e| e.offset.to_le_bytes()));
    out.extend(entries.iter().flat_map(|e| e.key.to_le_bytes()));
    out.extend(entries.iter().flat_map(|e| e.length.to_le_bytes()));
    out.extend(entries.iter().flat_map(|e| e.crc.to_le_bytes()));
}

/// `bytes` hold exactly `n` entries.
fn decode_arrays(bytes: &[u8], n: usize) -> Vec<Entry> {
    let at = |array: usize| bytes.get(array * n..).unwrap_or_default();
    (0..n)
        .map(|i| Entry {
            offset: u64_at(at(0), i),
            key: u64_at(at(8), i),
            length: u32_at(at(16), i),
            crc: u32_at(at(20), i),
        })
        .collect()
}

/// Keys rise strictly and every range lies in the file.
fn check(list: &[Entry], what: &'static str, at: u64, tier: usize, file_len: u64) -> Result<()> {
    if let Some(i) = list.windows(2).position(|w| w[0].key >= w[1].key) {
        let detail = format!(
            "keys of tier {tier} do not rise: {} then {}",
            list[i].key,
            list[i + 1].key
        );
        return Err(Error::corrupt(what, at, detail));
    }
    match list.iter().find(|e| e.end() > file_len) {
        Some(e) => Err(Error::corrupt(
            what,
            at,
            format!(
                "entry with key {} of tier {tier} ends at byte {}, the file at {file_len}",
                e.key,
                e.end()
            ),
        )),
        None => Ok(()),
    }
}
