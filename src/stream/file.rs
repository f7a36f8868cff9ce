//! Files of this format as something that can be streamed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::content::{Brick, Streamable};
use super::schedule::{BlockFacts, BlockId, Caps, Catalogue, LayerFacts, PageId, TierFacts};
use crate::decode::{Volume, shown_by};
use crate::io::RangeSource;
use crate::reader::{BlockEntry, BlockState, HgvReader, IndexPart, Lookup};
use crate::volume::Extent;
use crate::{Error, Result};

/// Blocks whose facts are kept; all are made anew when there are more.
const FACTS: usize = 1 << 20;

/// Asked whether the file behind an open volume has been replaced.
type Changed = Box<dyn Fn() -> bool + Send + Sync>;

/// An open `.hgv` file, to be shown by a [`super::Streamer`].
pub struct VolumeContent {
    volume: Arc<Volume>,
    index: Arc<FileCatalogue>,
    changed: Option<Changed>,
}

impl std::fmt::Debug for VolumeContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "content of {}", self.volume.reader().identity())
    }
}

impl VolumeContent {
    /// The blocks of `volume`.
    pub fn new(volume: Volume) -> Self {
        let volume = Arc::new(volume);
        Self {
            index: Arc::new(FileCatalogue::new(Arc::clone(&volume))),
            volume,
            changed: None,
        }
    }

    /// Asks `changed` whether the file was replaced when its bytes do not fit together.
    #[must_use]
    pub fn with_changed(self, changed: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self {
            changed: Some(Box::new(changed)),
            ..self
        }
    }

    /// The volume.
    pub fn volume(&self) -> &Arc<Volume> {
        &self.volume
    }

    fn entry(&self, id: BlockId) -> Result<BlockEntry> {
        match self.index.known(id) {
            Some(known) => Ok(known.entry.clone()),
            None => self.volume.reader().block(id.tier, id.block.map(u64::from)),
        }
    }
}

impl Streamable for VolumeContent {
    fn catalogue(&self) -> Arc<dyn Catalogue> {
        Arc::clone(&self.index) as _
    }

    fn source(&self) -> &dyn RangeSource {
        self.volume.reader().source.as_ref()
    }

    fn take_page(&self, page: PageId, bytes: Vec<u8>) -> Result<()> {
        let part = self.index.part(page);
        let part = part.ok_or_else(|| Error::argument(format!("no page at byte {}", page.0)))?;
        self.volume.reader().supply(&part, &bytes)
    }

    fn check_layer(&self, block: BlockId, layer: u8, bytes: &[u8]) -> Result<()> {
        let entry = self.entry(block)?;
        self.volume
            .reader()
            .check_layer(&entry, usize::from(layer), bytes)
    }

    fn decode(&self, block: BlockId, layers: &[Arc<Vec<u8>>]) -> Result<Brick> {
        let entry = self.entry(block)?;
        let layers: Vec<Vec<u8>> = layers.iter().map(|l| l.to_vec()).collect();
        let decoded = self.volume.decode_layers(&entry, &layers)?;
        Ok(Brick {
            block,
            lod: decoded.lod,
            layers: decoded.layers as u8,
            extent: decoded.region.extent().map(|n| n as u32),
            dtype: self.volume.dtype(),
            voxels: decoded.voxels,
        })
    }

    fn version(&self) -> Option<String> {
        let header = self.volume.reader().header();
        let uuid: String = header
            .file_uuid
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        Some(format!("{uuid}-{:08x}", header.root_crc))
    }

    fn is_over(&self, error: &Error) -> bool {
        let changed = || self.changed.as_ref().is_some_and(|changed| changed());
        matches!(error.root(), Error::SourceChanged(_)) || error.may_be_change() && changed()
    }
}

/// What the index says of a block, for the scheduler and for the decoder.
struct Known {
    facts: Arc<BlockFacts>,
    entry: BlockEntry,
}

/// The index of a file as the scheduler wants it.
struct FileCatalogue {
    volume: Arc<Volume>,
    tiers: Vec<TierFacts>,
    /// Shown by a prefix of the layers: level of detail after each layer.
    lods: Vec<u8>,
    known: Mutex<HashMap<BlockId, Arc<Known>>>,
    parts: Mutex<HashMap<PageId, IndexPart>>,
}

impl FileCatalogue {
    fn new(volume: Arc<Volume>) -> Self {
        let shape = volume.reader().shape();
        let tiers = shape.tiers.iter().map(|t| TierFacts {
            base_lod: u32::from(t.base_lod),
            // Grids of a file fit 32 bits: section TIER stores them so.
            blocks: t.blocks.map(|n| n as u32),
        });
        let layers = shape.layers.as_slice();
        let shown = (1..=layers.len()).map(|n| shown_by(&layers[..n]).map_or(u8::MAX, |s| s.1));
        Self {
            tiers: tiers.collect(),
            lods: shown.collect(),
            known: Mutex::default(),
            parts: Mutex::default(),
            volume,
        }
    }

    fn reader(&self) -> &HgvReader {
        self.volume.reader()
    }

    fn part(&self, page: PageId) -> Option<IndexPart> {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.get(&page).copied()
    }

    fn look_up(&self, id: BlockId) -> Option<Lookup> {
        self.reader().look_up(id.tier, id.block.map(u64::from)).ok()
    }

    fn known(&self, id: BlockId) -> Option<Arc<Known>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(&id) {
            return Some(Arc::clone(found));
        }
        let Some(Lookup::Known(entry)) = self.look_up(id) else {
            return None;
        };
        let facts = Arc::new(self.facts(&entry));
        let found = Arc::new(Known { facts, entry });
        if known.len() >= FACTS {
            known.clear();
        }
        known.insert(id, Arc::clone(&found));
        Some(found)
    }

    fn facts(&self, entry: &BlockEntry) -> BlockFacts {
        let value = |q: i32| self.volume.value_of(q);
        match &entry.state {
            BlockState::NotWritten => BlockFacts {
                range: [0.0; 2],
                layers: Vec::new(),
            },
            BlockState::Constant(q) => BlockFacts {
                range: [value(*q); 2],
                layers: Vec::new(),
            },
            BlockState::Payload(p) => BlockFacts {
                range: [value(p.range.0), value(p.range.1)],
                layers: self.layers(entry, &p.errors, [value(p.range.0), value(p.range.1)]),
            },
        }
    }

    /// Facts of the layers of a block; none if they lie outside the file or over the limits, so that they
    /// are never asked for.
    fn layers(&self, entry: &BlockEntry, errors: &[[u8; 2]], range: [f32; 2]) -> Vec<LayerFacts> {
        let coder = self.reader().shape().coder;
        let unit = self.volume.value_unit();
        let rmse = |quality: usize| {
            let code = errors.get(quality).map_or(0, |e| e[0]);
            (coder.decode_error(code) * unit) as f32
        };
        let steps = self.reader().layers().as_slice();
        let base = steps.iter().position(|l| l.lod == 0).unwrap_or(0);
        let segments = self.reader().layers_of(entry).unwrap_or(&[]);
        let facts = segments.iter().zip(steps).zip(&self.lods).enumerate();
        facts
            .map(|(i, ((segment, step), &lod))| LayerFacts {
                offset: segment.offset,
                bytes: segment.length,
                lod,
                error: if i < base {
                    coarse_error(range, rmse(0), base - i)
                } else if step.lod == 0 {
                    rmse(usize::from(step.quality))
                } else {
                    rmse(usize::from(step.quality).saturating_sub(1))
                },
            })
            .collect()
    }
}

/// Error of a picture that lacks `missing` levels of detail, which no index tells: as if each of them
/// halved it, and at most a quarter of the range.
fn coarse_error(range: [f32; 2], whole: f32, missing: usize) -> f32 {
    let most = (range[1] - range[0]) / 4.0;
    (whole * (missing as f32).exp2())
        .max(most / 8.0)
        .min(most.max(whole))
}

impl Catalogue for FileCatalogue {
    fn extent(&self) -> Extent {
        self.volume.extent()
    }

    fn block_log2(&self) -> u32 {
        u32::from(self.reader().shape().block_log2)
    }

    fn tiers(&self) -> &[TierFacts] {
        &self.tiers
    }

    fn block(&self, id: BlockId) -> Option<Arc<BlockFacts>> {
        self.known(id).map(|k| Arc::clone(&k.facts))
    }

    fn page_of(&self, id: BlockId) -> (PageId, u64, u32) {
        let Some(Lookup::Missing(part)) = self.look_up(id) else {
            return (PageId(u64::MAX), 0, 0);
        };
        let page = PageId(part.offset());
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.insert(page, part);
        (page, part.offset(), part.length())
    }

    fn voxel_bytes(&self) -> u64 {
        self.volume.dtype().size() as u64
    }

    fn layers_within(&self, tier: u8, caps: Caps) -> usize {
        let base = self.tiers.get(usize::from(tier)).map_or(0, |t| t.base_lod);
        let inner = caps.finest_lod.saturating_sub(base);
        let steps = self.reader().layers().as_slice();
        let fits = |lod: u8, quality: u8| {
            u32::from(lod) >= inner && u32::from(quality) <= caps.highest_level
        };
        let within = steps.iter().take_while(|l| fits(l.lod, l.quality));
        within.count()
    }
}
