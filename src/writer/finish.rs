//! Completing a file: index, tables, header, and the order in which they reach the disk.
//!
//! Three ways. *Compact*: a small file is written again, without reserved space, under a second
//! temporary name. *In place*: what is left over is appended and synced, the reserved head is
//! filled and synced, and only then does the header say that the file is complete. *Trailer*: a
//! sink that cannot go back gets everything at its end.

use crate::Result;
use crate::format::constant::{ENTRY_LEN, HEADER_LEN, SECTION_ENTRY_LEN};
use crate::format::crc::crc32;
use crate::format::header::{Header, State};
use crate::format::root::{self, Entry, Root};
use crate::format::section::{self, Section};
use crate::io::{FileSource, Sink, zeroed};
use crate::writer::cluster::ClusterMeta;
use crate::writer::head::encode_table;
use crate::writer::spool::Spool;
use crate::writer::stream::{HgvWriter, WriteReport, copy};

/// Bytes copied at once.
const COPY: u64 = 1 << 20;

/// Where a cluster waits for its final place.
#[derive(Clone, Copy)]
enum Waiting {
    Spool(u64),
    Partial(u64),
}

/// The index of a file whose clusters have their places.
struct IndexBytes {
    root: Vec<u8>,
    nodes: Vec<u8>,
}

impl HgvWriter {
    /// Completes the file by the way that fits it.
    pub(super) fn commit(&mut self) -> Result<WriteReport> {
        // Coarsest tier first: the first bytes of a file give its first picture.
        self.overview
            .sort_by_key(|(m, _)| (u8::MAX - m.tier, m.key));
        if !self.sink.0.can_patch() {
            return self.commit_trailer();
        }
        let small = self.compact_len() < self.options.compact_under;
        if self.target.is_some() && small {
            return self.commit_compact();
        }
        let report = self.commit_in_place()?;
        if let Some(target) = &self.target {
            target.commit(false)?;
        }
        Ok(report)
    }

    fn clusters_in_order(&self) -> Vec<(ClusterMeta, Waiting)> {
        let overview = self.overview.iter().map(|&(m, at)| (m, Waiting::Spool(at)));
        let blocks = self
            .clusters
            .iter()
            .map(|&(m, at)| (m, Waiting::Partial(at)));
        overview.chain(blocks).collect()
    }

    /// Upper bound of the length of a compact file.
    fn compact_len(&self) -> u64 {
        let pad = 1u64 << self.options.align_log2;
        let clusters: u64 = self
            .clusters_in_order()
            .iter()
            .map(|c| c.0.cluster_len + pad)
            .sum();
        let stats = self.stats.as_ref().map_or(0, String::len) + SECTION_ENTRY_LEN;
        let index = self.root_len() + self.nodes_len();
        self.head.used as u64 + clusters + (stats + index) as u64
    }

    /// Root entries and, at depth 3, the pages of each node.
    fn depth(&self) -> u8 {
        let pages = self.clusters.len() + self.overview.len();
        if pages > self.options.root_entries {
            3
        } else {
            2
        }
    }

    fn pages_of(&self, tier: usize) -> usize {
        match tier {
            0 => self.clusters.len(),
            t => self
                .overview
                .iter()
                .filter(|c| usize::from(c.0.tier) == t)
                .count(),
        }
    }

    fn root_len(&self) -> usize {
        let per_node = if self.depth() == 3 {
            self.options.root_entries
        } else {
            1
        };
        let tiers = 0..self.shape.tiers.len();
        tiers
            .map(|t| 4 + ENTRY_LEN * self.pages_of(t).div_ceil(per_node))
            .sum()
    }

    fn nodes_len(&self) -> usize {
        if self.depth() == 2 {
            return 0;
        }
        let full = self.options.root_entries;
        let len = |n: usize| {
            let last = match n % full {
                0 => 0,
                rest => root::node_len(rest),
            };
            n / full * root::node_len(full) + last
        };
        (0..self.shape.tiers.len())
            .map(|t| len(self.pages_of(t)))
            .sum()
    }

    /// The index of clusters at `places`; nodes will lie at `nodes_at`.
    fn index(&self, places: &[(ClusterMeta, u64)], nodes_at: u64) -> IndexBytes {
        let mut pages: Root = vec![Vec::new(); self.shape.tiers.len()];
        for (meta, at) in places {
            pages[usize::from(meta.tier)].push(meta.entry(*at));
        }
        if self.depth() == 2 {
            return IndexBytes {
                root: root::encode(&pages),
                nodes: Vec::new(),
            };
        }
        let mut nodes = Vec::new();
        let top: Root = pages
            .iter()
            .enumerate()
            .map(|(tier, list)| {
                let groups = list.chunks(self.options.root_entries);
                groups
                    .map(|g| self.node(tier as u8, g, nodes_at, &mut nodes))
                    .collect()
            })
            .collect();
        let root = root::encode(&top);
        IndexBytes { root, nodes }
    }

    fn node(&self, tier: u8, pages: &[Entry], nodes_at: u64, nodes: &mut Vec<u8>) -> Entry {
        let bytes = root::encode_node(tier, self.shape.plan_crc, pages);
        let entry = Entry {
            offset: nodes_at + nodes.len() as u64,
            key: pages.first().map_or(0, |p| p.key),
            length: bytes.len() as u32,
            crc: crc32(&bytes[..bytes.len() - 4]),
        };
        nodes.extend_from_slice(&bytes);
        entry
    }

    fn stats_section(&self, at: u64) -> Option<Section> {
        let json = self.stats.as_ref()?.as_bytes();
        Some(Section::known(
            section::STAT,
            at,
            json.len() as u32,
            crc32(json),
        ))
    }

    /// The complete header of a file whose every other byte is known.
    fn header(
        &self,
        sections: &[Section],
        table_at: u64,
        root: &[u8],
        root_at: u64,
        file_len: u64,
    ) -> Header {
        let table = encode_table(sections);
        let all = || self.clusters.iter().chain(&self.overview).map(|c| c.0);
        let mut header = Header {
            file_len,
            root_offset: root_at,
            root_len: root.len() as u32,
            root_crc: crc32(root),
            blocks_present: all().map(|m| m.blocks).sum(),
            payload_bytes: all().map(|m| m.payload()).sum(),
            section_offset: table_at,
            section_count: sections.len() as u32,
            section_crc: crc32(&table),
            depth: self.depth(),
            align_log2: self.options.align_log2,
            state: State::Complete,
            ..self.shape.header()
        };
        let mut parts: Vec<&[u8]> = vec![&table];
        parts.extend(self.tables.bytes());
        parts.extend(self.stats.as_ref().map(|s| s.as_bytes()));
        parts.push(root);
        header.file_uuid = header.uuid(&parts);
        header
    }

    fn report(&self, header: &Header) -> WriteReport {
        WriteReport {
            file_len: header.file_len,
            payload_bytes: header.payload_bytes,
            clusters: (self.clusters.len() + self.overview.len()) as u64,
            blocks: header.blocks_present,
            file_uuid: header.file_uuid,
        }
    }

    /// A small file, written again without reserved space.
    fn commit_compact(&mut self) -> Result<WriteReport> {
        let Some(target) = &self.target else {
            return self.commit_in_place();
        };
        self.sink.0.sync()?;
        let partial = FileSource::open(target.partial())?;
        let mut out = target.create_compact()?;
        let entries = self.tables.count() + usize::from(self.stats.is_some());
        let tables_at = HEADER_LEN + entries * SECTION_ENTRY_LEN;
        let (mut sections, mut head) = self.tables.place(tables_at);
        sections.extend(self.stats_section((tables_at + head.len()) as u64));
        head.extend_from_slice(self.stats.as_deref().unwrap_or_default().as_bytes());
        let root_at = (tables_at + head.len()) as u64;
        let waiting = self.clusters_in_order();
        let (places, end) = self.pack(&waiting, root_at + self.root_len() as u64);
        let index = self.index(&places, end);
        let file_len = end + index.nodes.len() as u64;
        let header = self.header(&sections, HEADER_LEN as u64, &index.root, root_at, file_len);
        let mut first = header.encode().to_vec();
        first.extend_from_slice(&encode_table(&sections));
        first.extend_from_slice(&head);
        first.extend_from_slice(&index.root);
        out.append(&first)?;
        for ((meta, from), (_, at)) in waiting.iter().zip(&places) {
            pad_to(out.as_mut(), *at)?;
            match *from {
                Waiting::Spool(from) => unspool(&mut self.spool, from, meta, out.as_mut())?,
                Waiting::Partial(from) => {
                    copy(&partial, from, meta.cluster_len, &mut |b| out.append(b))?
                }
            }
        }
        out.append(&index.nodes)?;
        out.sync()?;
        target.commit(true)?;
        Ok(self.report(&header))
    }

    /// Places for clusters one after the other from `end` on, and where the last one ends.
    fn pack(
        &self,
        clusters: &[(ClusterMeta, Waiting)],
        mut end: u64,
    ) -> (Vec<(ClusterMeta, u64)>, u64) {
        let align = 1u64 << self.options.align_log2;
        let mut places = Vec::with_capacity(clusters.len());
        for (meta, _) in clusters {
            let at = end.next_multiple_of(align);
            places.push((*meta, at));
            end = at + meta.cluster_len;
        }
        (places, end)
    }

    /// A large file: the reserved head is filled in.
    fn commit_in_place(&mut self) -> Result<WriteReport> {
        let reserve = self.head.bytes.len() as u64;
        let mut used = self.head.used as u64;
        let mut head: Vec<(u64, Vec<u8>)> = Vec::new();
        let stats = self.stats.clone().unwrap_or_default().into_bytes();
        let stats_at = self.claim(&mut used, reserve, stats.len());
        let root_at = self.claim(&mut used, reserve, self.root_len());
        let mut places = self.clusters.clone();
        self.place_overview(used, reserve, &mut head, &mut places)?;
        let nodes_at = self.sink.0.position();
        let index = self.index(&places, nodes_at);
        self.sink.0.append(&index.nodes)?;
        let stats_at = self.put(stats_at, &stats, &mut head)?;
        let root_at = self.put(root_at, &index.root, &mut head)?;
        let mut sections = self.head.sections.clone();
        sections.extend(self.stats_section(stats_at));
        let table_at = HEADER_LEN as u64;
        head.push((table_at, encode_table(&sections)));
        let file_len = self.sink.0.position();
        let header = self.header(&sections, table_at, &index.root, root_at, file_len);
        self.sink.0.sync()?;
        for (at, bytes) in &head {
            self.sink.0.patch(*at, bytes)?;
        }
        self.sink.0.sync()?;
        self.sink.0.patch(0, &header.encode())?;
        self.sink.0.sync()?;
        Ok(self.report(&header))
    }

    /// A place in the reserved head for `n` bytes, if there is one.
    fn claim(&self, used: &mut u64, reserve: u64, n: usize) -> Option<u64> {
        let at = *used;
        let end = at + n as u64;
        if end > reserve {
            return None;
        }
        *used = end;
        Some(at)
    }

    /// Puts bytes into the head at `at`, or at the end of the file; returns where.
    fn put(
        &mut self,
        at: Option<u64>,
        bytes: &[u8],
        head: &mut Vec<(u64, Vec<u8>)>,
    ) -> Result<u64> {
        if let Some(at) = at {
            head.push((at, bytes.to_vec()));
            return Ok(at);
        }
        let end = self.sink.0.position();
        self.sink.0.append(bytes)?;
        Ok(end)
    }

    /// Overview clusters go into the head as long as they fit, the rest to the end of the file.
    fn place_overview(
        &mut self,
        mut used: u64,
        reserve: u64,
        head: &mut Vec<(u64, Vec<u8>)>,
        places: &mut Vec<(ClusterMeta, u64)>,
    ) -> Result<()> {
        let align = 1u64 << self.options.align_log2;
        let mut fits = true;
        for (meta, from) in self.overview.clone() {
            let at = used.next_multiple_of(align);
            fits &= at + meta.cluster_len <= reserve;
            if fits {
                let mut bytes = zeroed(meta.cluster_len as usize)?;
                self.spool.read(from, &mut bytes)?;
                head.push((at, bytes));
                places.push((meta, at));
                used = at + meta.cluster_len;
            } else {
                places.push((meta, self.align()?));
                unspool(&mut self.spool, from, &meta, self.sink.0.as_mut())?;
            }
        }
        Ok(())
    }

    /// A sink that cannot go back: everything follows the clusters, the header last.
    fn commit_trailer(&mut self) -> Result<WriteReport> {
        let mut places = self.clusters.clone();
        for (meta, from) in self.overview.clone() {
            places.push((meta, self.align()?));
            unspool(&mut self.spool, from, &meta, self.sink.0.as_mut())?;
        }
        let index = self.index(&places, self.sink.0.position());
        self.sink.0.append(&index.nodes)?;
        let stats = self.stats.clone().unwrap_or_default().into_bytes();
        let stats_at = self.put(None, &stats, &mut Vec::new())?;
        let root_at = self.put(None, &index.root, &mut Vec::new())?;
        let mut sections = self.head.sections.clone();
        sections.extend(self.stats_section(stats_at));
        let table_at = self.put(None, &encode_table(&sections), &mut Vec::new())?;
        let file_len = self.sink.0.position() + HEADER_LEN as u64;
        let header = self.header(&sections, table_at, &index.root, root_at, file_len);
        self.sink.0.append(&header.encode())?;
        self.sink.0.sync()?;
        Ok(self.report(&header))
    }
}

fn pad_to(sink: &mut dyn Sink, at: u64) -> Result<()> {
    let missing = at.saturating_sub(sink.position());
    if missing == 0 {
        return Ok(());
    }
    sink.append(&vec![0; missing as usize])
}

/// Copies a waiting overview cluster to a sink.
fn unspool(spool: &mut Spool, from: u64, meta: &ClusterMeta, sink: &mut dyn Sink) -> Result<()> {
    let mut done = 0;
    while done < meta.cluster_len {
        let n = (meta.cluster_len - done).min(COPY);
        let mut bytes = zeroed(n as usize)?;
        spool.read(from + done, &mut bytes)?;
        sink.append(&bytes)?;
        done += n;
    }
    Ok(())
}
