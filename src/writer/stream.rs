//! The writer: clusters in, one pass, everything needed for recovery on disk at any time.

use std::path::{Path, PathBuf};

use crate::format::shape::Shape;
use crate::io::{RangeSource, Sink, zeroed};
use crate::writer::cluster::{BlockRecord, Cluster, ClusterMeta};
use crate::writer::head::{OpenHead, Tables};
use crate::writer::plan::{FilePlan, WriterOptions};
use crate::writer::spool::Spool;
use crate::writer::target::{Target, Wrap, with_suffix};
use crate::{Error, Result};

/// Bytes copied at once.
const COPY: u64 = 1 << 20;

/// Writes one file. Blocks arrive page by page: [`Self::begin_cluster`], [`Self::put_block`] in
/// any order, [`Self::finish_cluster`]. Pages of one tier arrive in rising key order
/// ([`crate::format::key::Pages::iter`]); tiers may alternate. The same blocks give the same
/// bytes whatever the order of tiers, the memory budget and the number of threads.
///
/// Clusters of tier 0 go to `NAME.partial` at once. Clusters of the other tiers wait in memory
/// or scratch until [`Self::finish`], because they belong in front of the file.
///
/// A writer that is dropped or fails keeps `NAME.partial` if it holds a finished cluster, so that
/// `recover` can bring it back, and removes it otherwise.
#[derive(Debug)]
pub struct HgvWriter {
    pub(super) shape: Shape,
    pub(super) options: WriterOptions,
    pub(super) tables: Tables,
    pub(super) head: OpenHead,
    pub(super) sink: SinkBox,
    pub(super) target: Option<Target>,
    pub(super) stats: Option<String>,
    /// Finished clusters of tier 0 with their offsets, keys rising.
    pub(super) clusters: Vec<(ClusterMeta, u64)>,
    /// Finished clusters of the other tiers with their offsets in the spool.
    pub(super) overview: Vec<(ClusterMeta, u64)>,
    pub(super) spool: Spool,
    open: Option<Cluster>,
    last_key: Vec<Option<u64>>,
    pub(super) finished: bool,
}

/// A sink with a `Debug` of its own.
pub(super) struct SinkBox(pub(super) Box<dyn Sink>);

impl std::fmt::Debug for SinkBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sink at {}", self.0.position())
    }
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteReport {
    /// Length of the file.
    pub file_len: u64,
    /// Sum of all layers of all blocks.
    pub payload_bytes: u64,
    /// Clusters of all tiers.
    pub clusters: u64,
    /// Constant and payload blocks of all tiers.
    pub blocks: u64,
    /// Identity of the file.
    pub file_uuid: [u8; 16],
}

impl HgvWriter {
    /// Starts `path.partial`. The output appears under `path` only when it is complete.
    ///
    /// # Errors
    /// [`Error::Exists`] if the output or an old `.partial` is there and `options.force` is not
    /// set; [`Error::InvalidArgument`] for a plan that makes no sense; [`Error::Io`].
    pub fn create(path: impl AsRef<Path>, plan: &FilePlan, options: WriterOptions) -> Result<Self> {
        let path = path.as_ref();
        Self::create_as(path, plan, options, with_suffix(path, ".partial"))
    }

    /// [`Self::create`] with another name for the unfinished file, in the folder of `path`.
    pub(crate) fn create_as(
        path: &Path,
        plan: &FilePlan,
        options: WriterOptions,
        partial: PathBuf,
    ) -> Result<Self> {
        Self::create_with(path, plan, options, partial, Box::new(|sink| sink))
    }

    pub(crate) fn create_with(
        path: &Path,
        plan: &FilePlan,
        options: WriterOptions,
        partial: PathBuf,
        wrap: Wrap,
    ) -> Result<Self> {
        // Before anything is created: a bad plan must not cost the caller an old file.
        let prepared = prepare(plan, &options)?;
        let target = Target::new(path, options.force, partial, wrap)?;
        let sink = target.create_partial()?;
        let mut options = options;
        options.scratch.get_or_insert_with(|| target.folder());
        let mut writer = Self::new(sink, Some(target), prepared, options);
        let started = writer.start().and_then(|()| writer.sink.0.sync());
        match started {
            Ok(()) => Ok(writer),
            Err(e) => Err(writer.explain(e)),
        }
    }

    /// Writes to a sink. One that can patch gets a file like [`Self::create`] does, with reserved
    /// space in the head; one that cannot gets a file that ends with a trailer.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a plan that makes no sense; [`Error::Io`].
    pub fn to_sink(sink: Box<dyn Sink>, plan: &FilePlan, options: WriterOptions) -> Result<Self> {
        let prepared = prepare(plan, &options)?;
        let mut writer = Self::new(sink, None, prepared, options);
        writer.start()?;
        Ok(writer)
    }

    fn new(
        sink: Box<dyn Sink>,
        target: Option<Target>,
        (shape, tables): (Shape, Tables),
        options: WriterOptions,
    ) -> Self {
        let head = OpenHead::new(&shape, &tables, &options, sink.can_patch());
        Self {
            spool: Spool::new(options.memory, options.scratch.clone()),
            last_key: vec![None; shape.tiers.len()],
            shape,
            options,
            tables,
            head,
            sink: SinkBox(sink),
            target,
            stats: None,
            clusters: Vec::new(),
            overview: Vec::new(),
            open: None,
            finished: false,
        }
    }

    fn start(&mut self) -> Result<()> {
        self.sink.0.append(&self.head.bytes)
    }

    /// Geometry, layers, models and value range.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Sets section STAT, a JSON document of at most 1 MiB.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if it is not JSON as META allows it.
    pub fn set_stats_json(&mut self, json: impl Into<String>) -> Result<()> {
        let json = json.into();
        crate::format::metadata::check_json("section STAT", json.as_bytes(), 0)
            .map_err(|e| Error::argument(format!("statistics cannot be stored: {e}")))?;
        self.stats = Some(json);
        Ok(())
    }

    /// Opens the cluster of a page (page coordinate x, y, z).
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if a cluster is open, the tier has no such page, or its key
    /// does not rise.
    pub fn begin_cluster(&mut self, tier: u8, page: [u64; 3]) -> Result<()> {
        if self.open.is_some() {
            return Err(Error::argument("finish the open cluster first"));
        }
        let scratch = self.options.scratch.clone();
        let cluster = Cluster::new(&self.shape, tier, page, self.options.memory, scratch)?;
        self.check_order(tier, self.shape.tier_pages(tier)?.key(page))?;
        self.open = Some(cluster);
        Ok(())
    }

    fn check_order(&mut self, tier: u8, key: u64) -> Result<()> {
        let last = &mut self.last_key[usize::from(tier)];
        if *last >= Some(key) {
            return Err(Error::argument(format!(
                "page key {key} of tier {tier} comes after {last:?}; keys must rise"
            )));
        }
        *last = Some(key);
        Ok(())
    }

    /// Puts a block (coordinate x, y, z in its tier's grid) into the open cluster.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] naming the block if it belongs to another page, was put before
    /// or does not fit the plan; [`Error::Io`] if the scratch file fails.
    pub fn put_block(&mut self, block: [u64; 3], record: &BlockRecord) -> Result<()> {
        let cluster = self.open.as_mut();
        let cluster = cluster.ok_or_else(|| Error::argument("no cluster is open"))?;
        cluster.put(&self.shape, block, record)
    }

    /// Writes the open cluster. Blocks that were not put are *not written*; a cluster without
    /// blocks leaves no trace.
    ///
    /// # Errors
    /// [`Error::Io`]; the message says if finished clusters can be recovered.
    pub fn finish_cluster(&mut self) -> Result<()> {
        let cluster = self.open.take();
        let cluster = cluster.ok_or_else(|| Error::argument("no cluster is open"))?;
        self.lay_out(cluster).map_err(|e| self.explain(e))
    }

    fn lay_out(&mut self, cluster: Cluster) -> Result<()> {
        if cluster.tier() > 0 {
            let at = self.spool.len();
            let spool = &mut self.spool;
            let meta = cluster.finish(&self.shape, &mut |b| spool.append(b).map(|_| ()))?;
            self.overview.extend(meta.map(|m| (m, at)));
            return Ok(());
        }
        let at = self.align()?;
        let sink = &mut self.sink.0;
        let meta = cluster.finish(&self.shape, &mut |b| sink.append(b))?;
        self.clusters.extend(meta.map(|m| (m, at)));
        Ok(())
    }

    /// Appends a finished cluster of another file with the same plan, byte for byte.
    pub(super) fn copy_cluster(
        &mut self,
        source: &dyn RangeSource,
        offset: u64,
        meta: ClusterMeta,
    ) -> Result<()> {
        self.check_order(meta.tier, meta.key)?;
        let overview = meta.tier > 0;
        let at = if overview {
            self.spool.len()
        } else {
            self.align()?
        };
        let (sink, spool) = (&mut self.sink.0, &mut self.spool);
        let copied = copy(source, offset, meta.cluster_len, &mut |b| {
            if overview {
                spool.append(b).map(|_| ())
            } else {
                sink.append(b)
            }
        });
        copied.map_err(|e| self.explain(e))?;
        let list = if overview {
            &mut self.overview
        } else {
            &mut self.clusters
        };
        list.push((meta, at));
        Ok(())
    }

    /// Pads to the next place where a cluster may start.
    pub(super) fn align(&mut self) -> Result<u64> {
        let at = self.sink.0.position();
        let start = at.next_multiple_of(1 << self.options.align_log2);
        if start > at {
            self.sink.0.append(&vec![0; (start - at) as usize])?;
        }
        Ok(start)
    }

    /// Completes the file and gives it its name.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if a cluster is open; [`Error::Exists`] if the name was taken
    /// meanwhile; [`Error::Io`]. The message says if finished clusters can be recovered.
    pub fn finish(mut self) -> Result<WriteReport> {
        if self.open.is_some() {
            return Err(Error::argument("finish the open cluster first"));
        }
        let report = self.commit().map_err(|e| self.explain(e))?;
        self.finished = true;
        Ok(report)
    }

    /// Pages of each tier that have no finished cluster.
    pub(super) fn missing_pages(&self) -> Vec<u64> {
        let of = |tier: usize| {
            let above = self
                .overview
                .iter()
                .filter(|c| usize::from(c.0.tier) == tier);
            let have = if tier == 0 {
                self.clusters.len()
            } else {
                above.count()
            };
            self.shape.pages[tier].count().saturating_sub(have as u64)
        };
        (0..self.shape.pages.len()).map(of).collect()
    }

    /// The writer, if `result` is good. Somebody who cancels wants no remains; after any other
    /// failure they are worth a recovery.
    pub(crate) fn discarded_if_cancelled(self, result: Result<()>) -> Result<Self> {
        match result {
            Ok(()) => Ok(self),
            Err(e) => {
                if matches!(e, Error::Cancelled) {
                    self.discard();
                }
                Err(e)
            }
        }
    }

    /// Gives up and removes everything that was written.
    pub fn discard(mut self) {
        self.clusters.clear();
    }

    /// The `.partial` that stays behind if the writer is dropped now.
    pub fn recoverable(&self) -> Option<PathBuf> {
        let target = self.target.as_ref()?;
        (!self.finished && !self.clusters.is_empty()).then(|| target.partial().to_path_buf())
    }

    /// Adds to an IO error what can be brought back.
    fn explain(&self, e: Error) -> Error {
        match (e, self.recoverable()) {
            (Error::Io { context, source }, Some(path)) => Error::Io {
                context: format!(
                    "{context} ({} holds {} finished clusters, `hgv recover` brings them back)",
                    path.display(),
                    self.clusters.len()
                ),
                source,
            },
            (e, _) => e,
        }
    }
}

/// Everything that can be wrong with a plan, before the first byte.
fn prepare(plan: &FilePlan, options: &WriterOptions) -> Result<(Shape, Tables)> {
    if options.align_log2 > 12 || options.root_entries == 0 {
        return Err(Error::argument(
            "align_log2 is 0..=12, root_entries at least 1",
        ));
    }
    let shape = plan.shape(options.page_log2)?;
    let tables = Tables::new(&shape, &plan.metadata)?;
    Ok((shape, tables))
}

impl Drop for HgvWriter {
    fn drop(&mut self) {
        if let (Some(target), false) = (&self.target, self.finished) {
            target.discard(!self.clusters.is_empty());
        }
    }
}

/// Copies a range in pieces.
pub(super) fn copy(
    source: &dyn RangeSource,
    offset: u64,
    length: u64,
    emit: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut done = 0;
    while done < length {
        let n = (length - done).min(COPY);
        let mut bytes = zeroed(n as usize)?;
        source.read_at(offset + done, &mut bytes)?;
        emit(&bytes)?;
        done += n;
    }
    Ok(())
}

/// The index entries that a reader has of a cluster.
pub(super) fn meta_of(
    entry: &crate::format::root::Entry,
    page: &crate::format::page::Page,
) -> ClusterMeta {
    ClusterMeta {
        tier: page.tier,
        key: page.key,
        page_len: page.page_len,
        page_crc: entry.crc,
        cluster_len: page.cluster_len,
        blocks: page.present(),
    }
}
