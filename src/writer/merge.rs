//! Joining shards: files with the same plan, each with its own clusters of the volume.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::format::root::Entry;
use crate::format::shape::Shape;
use crate::io::{FileSource, RangeSource};
use crate::reader::{HgvReader, check_payload};
use crate::writer::plan::{FilePlan, WriterOptions};
use crate::writer::stream::{HgvWriter, WriteReport, meta_of};
use crate::{Error, Limits, Result};

/// Writes the clusters of all tiers above 0, from the base layers of the shards.
pub type OverviewFn<'a> = dyn FnMut(&[HgvReader], &mut HgvWriter) -> Result<()> + 'a;

/// What [`merge`] wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeReport {
    /// The new file.
    pub written: WriteReport,
    /// Tiers above 0 that lack pages and must be built from the base layers.
    pub missing_overview: Vec<u8>,
    /// Pages of tier 0 that no shard has.
    pub missing_pages: u64,
}

/// Joins shards. Clusters of tier 0 are copied byte for byte, their checksums checked.
///
/// With `overview`, the other tiers are left to it; it is called once, after tier 0 and with no
/// cluster open. Without it, those of their clusters are copied that the shards agree on, and
/// the report names the tiers that stay incomplete. Metadata come from the first shard;
/// statistics are kept if all shards have the same.
///
/// # Errors
/// [`Error::InvalidArgument`] if plans differ or two shards have the same page;
/// [`Error::Exists`]; whatever is wrong with a shard.
pub fn merge(
    inputs: &[&Path],
    output: &Path,
    force: bool,
    overview: Option<&mut OverviewFn<'_>>,
) -> Result<MergeReport> {
    let sources = inputs
        .iter()
        .map(|p| Ok(Arc::new(FileSource::open(p)?) as Arc<dyn RangeSource>))
        .collect::<Result<Vec<_>>>()?;
    merge_sources(&sources, output, force, overview)
}

/// [`merge`] from any sources.
///
/// # Errors
/// As [`merge`].
pub fn merge_sources(
    sources: &[Arc<dyn RangeSource>],
    output: &Path,
    force: bool,
    overview: Option<&mut OverviewFn<'_>>,
) -> Result<MergeReport> {
    let readers = sources
        .iter()
        .map(|s| {
            HgvReader::open(Arc::clone(s), Limits::default()).map_err(|e| e.in_file(s.identity()))
        })
        .collect::<Result<Vec<_>>>()?;
    let first = readers
        .first()
        .ok_or_else(|| Error::argument("nothing to merge"))?;
    for other in &readers[1..] {
        check_same(first, other)?;
    }
    let blocks = gather(&readers, 0)?;
    let options = WriterOptions {
        force,
        page_log2: Some(first.header().page_log2),
        align_log2: first.header().align_log2,
        ..WriterOptions::default()
    };
    let plan = FilePlan::of(first.shape(), first.metadata());
    let mut writer = HgvWriter::create(output, &plan, options)?;
    let stats = first.stats_json();
    if let Some(stats) = stats.filter(|_| readers.iter().all(|r| r.stats_json() == stats)) {
        writer.set_stats_json(stats)?;
    }
    let filled = fill(&readers, &blocks, overview, &mut writer);
    let writer = writer.discarded_if_cancelled(filled)?;
    report(writer)
}

/// Completes the file and says what it lacks.
fn report(writer: HgvWriter) -> Result<MergeReport> {
    let missing = writer.missing_pages();
    Ok(MergeReport {
        written: writer.finish()?,
        missing_overview: (0u8..)
            .zip(&missing)
            .skip(1)
            .filter(|(_, n)| **n > 0)
            .map(|(tier, _)| tier)
            .collect(),
        missing_pages: missing.first().copied().unwrap_or(0),
    })
}

fn fill(
    readers: &[HgvReader],
    blocks: &Pages,
    overview: Option<&mut OverviewFn<'_>>,
    writer: &mut HgvWriter,
) -> Result<()> {
    copy_all(readers, 0, blocks, writer)?;
    if let Some(build) = overview {
        return build(readers, writer);
    }
    let tiers = readers.first().map_or(0, |r| r.tiers().len()) as u8;
    (1..tiers).try_for_each(|tier| copy_all(readers, tier, &gather(readers, tier)?, writer))
}

/// Pages of a tier by key: the shard and its entry.
type Pages = BTreeMap<u64, (usize, Entry)>;

/// In tier 0 a page may be in one shard only; above, pages on which shards differ are left out.
fn gather(readers: &[HgvReader], tier: u8) -> Result<Pages> {
    let mut out = Pages::new();
    let mut disputed = Vec::new();
    for (i, reader) in readers.iter().enumerate() {
        for entry in reader.page_entries(tier)? {
            let Some((other, old)) = out.insert(entry.key, (i, entry)) else {
                continue;
            };
            if tier == 0 {
                let page = reader.shape().tier_pages(0)?.page(entry.key);
                return Err(Error::argument(format!(
                    "page {:?} of tier 0 is in {} and in {}; shards must not overlap",
                    page.unwrap_or_default(),
                    readers[other].identity(),
                    reader.identity()
                )));
            }
            // The page's checksum covers those of its payload.
            if (old.crc, old.length) != (entry.crc, entry.length) {
                disputed.push(entry.key);
            }
        }
    }
    for key in disputed {
        out.remove(&key);
    }
    Ok(out)
}

fn copy_all(readers: &[HgvReader], tier: u8, pages: &Pages, writer: &mut HgvWriter) -> Result<()> {
    for (i, entry) in pages.values() {
        let reader = &readers[*i];
        let page = reader.page(tier, entry)?;
        check_payload(reader.source.as_ref(), entry.offset, &page)?;
        writer.copy_cluster(reader.source.as_ref(), entry.offset, meta_of(entry, &page))?;
    }
    Ok(())
}

fn check_same(first: &HgvReader, other: &HgvReader) -> Result<()> {
    let (a, b) = (first.shape(), other.shape());
    let range = |s: &Shape| (s.q_min, s.q_max, s.value_exp);
    let rules = [
        ("extent", a.extent == b.extent),
        ("voxel type", a.dtype == b.dtype),
        (
            "block shape",
            (a.block_log2, a.page_log2) == (b.block_log2, b.page_log2),
        ),
        ("value range", range(a) == range(b)),
        ("layers", a.layers == b.layers),
        ("tiers", a.tiers == b.tiers),
        ("models", a.models == b.models),
    ];
    match rules.iter().find(|r| !r.1) {
        Some((what, _)) => Err(Error::argument(format!(
            "{what} of {} and {} differ; shards need the same plan",
            first.identity(),
            other.identity()
        ))),
        None => Ok(()),
    }
}
