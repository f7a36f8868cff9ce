//! A volume of any number of blocks that exists only as functions of place.
//!
//! Blocks are those of a [`Profile`], chosen by a field of noise so that neighbours are alike and the
//! outside is air. Pages, keys and the order of bytes are those of a real file; clusters lie a fixed
//! stride apart, so that no prefix over all clusters is needed. Memory is that of loaded pages only.

use std::collections::HashMap;
use std::sync::Arc;

use hgv::format::key::Pages;
use hgv::format::tier;
use hgv::stream::schedule::{BlockFacts, BlockId, Catalogue, LayerFacts, PageId, TierFacts};
use hgv::{Error, Result};

use super::mix;
use super::profile::{Profile, Sample};

/// Bytes that opening a file reads.
pub const FIRST_READ: u64 = 65_536;
/// Most entries of the root before nodes are needed.
const ROOT_ENTRIES: u64 = 512;
/// Where the clusters of the last tier start.
const HEAD: u64 = 4096;

/// A made-up volume.
#[derive(Debug)]
pub struct VirtualVolume {
    profile: Profile,
    extent: [u64; 3],
    tiers: Vec<TierFacts>,
    pages: Vec<Pages>,
    starts: Vec<u64>,
    stride: u64,
    seed: u64,
    loaded: HashMap<PageId, Vec<Arc<BlockFacts>>>,
    /// How many blocks loaded pages name.
    named: usize,
}

impl VirtualVolume {
    /// A cube of about `blocks` blocks, with the page of its last tier loaded, as opening leaves it.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if there are none, or more than pages can be named.
    pub fn new(profile: Profile, blocks: u64, seed: u64) -> Result<Self> {
        if !(1..=1 << 33).contains(&blocks) {
            return Err(Error::argument(format!(
                "{blocks} blocks, 1..=2^33 are allowed"
            )));
        }
        let side = (blocks as f64).cbrt().round().max(1.0) as u64;
        let log2 = profile.block_log2;
        let extent = [side << log2; 3];
        let planned = tier::plan(extent, log2);
        // As the writer: larger pages over 2^19 blocks.
        let page_log2 = if side.pow(3) <= 1 << 19 { 3 } else { 4 };
        let pages: Vec<Pages> = (planned.iter())
            .map(|t| Pages::new(t.blocks, page_log2))
            .collect::<Result<_>>()?;
        let longest = profile
            .blocks
            .iter()
            .map(|s| s.bytes.iter().map(|b| u64::from(*b)).sum());
        let longest: u64 = longest.max().unwrap_or(0);
        let stride = page_bytes(&profile, 1 << (3 * page_log2)) + (longest << (3 * page_log2));
        let mut starts = vec![HEAD; planned.len()];
        for t in (1..planned.len()).rev() {
            // Keys may leave holes: a cube's go up to the next power of two.
            let keys = pages[t]
                .grid()
                .iter()
                .map(|n| n.next_power_of_two())
                .product::<u64>();
            starts[t - 1] = starts[t] + keys * stride;
        }
        let tiers = planned.iter().map(|t| TierFacts {
            base_lod: u32::from(t.base_lod),
            blocks: t.blocks.map(|b| b as u32),
        });
        let mut volume = Self {
            tiers: tiers.collect(),
            profile,
            extent,
            pages,
            starts,
            stride,
            seed,
            loaded: HashMap::new(),
            named: 0,
        };
        let last = volume.tiers.len() - 1;
        for page in volume.pages[last].iter().collect::<Vec<_>>() {
            volume.load(volume.page_id(last, page));
        }
        Ok(volume)
    }

    /// Blocks that there are and bytes of their requests when opened: one read of the head, and one of
    /// the nodes of the index if there are many pages.
    pub fn opening(&self) -> Vec<u64> {
        let entries: u64 = self.pages.iter().map(Pages::count).sum();
        let mut reads = vec![FIRST_READ];
        if entries > ROOT_ENTRIES {
            reads.push(entries * 24 + entries.div_ceil(ROOT_ENTRIES) * 20);
        }
        reads
    }

    /// Blocks of the finest tier.
    pub fn blocks(&self) -> u64 {
        self.tiers[0].blocks.iter().map(|b| u64::from(*b)).product()
    }

    /// Blocks that loaded pages name.
    pub fn named(&self) -> usize {
        self.named
    }

    /// The profile of its blocks.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    fn page_id(&self, tier: usize, page: [u64; 3]) -> PageId {
        let [x, y, z] = page;
        PageId((tier as u64) << 60 | z << 40 | y << 20 | x)
    }

    /// Takes a page into the catalogue.
    pub fn load(&mut self, id: PageId) {
        let tier = (id.0 >> 60) as usize;
        let page = [0, 20, 40].map(|shift| id.0 >> shift & ((1 << 20) - 1));
        let Some(pages) = self.pages.get(tier) else {
            return;
        };
        let key = pages.key(page);
        let facts = self.facts_of(tier, page, key);
        self.named += facts.len();
        self.loaded.insert(id, facts);
    }

    /// Whether a page is loaded.
    pub fn has(&self, id: PageId) -> bool {
        self.loaded.contains_key(&id)
    }

    /// The blocks of a page by slot, their layers laid out as the writer does: the layers of coarse levels
    /// of detail layer by layer, the rest block by block.
    fn facts_of(&self, tier: usize, page: [u64; 3], key: u64) -> Vec<Arc<BlockFacts>> {
        let slots = self.pages[tier].slots(page);
        let mut at =
            self.starts[tier] + key * self.stride + page_bytes(&self.profile, slots as u64);
        let found: Vec<(Sight, &Sample)> = (0..slots)
            .map(|slot| {
                let block = self.pages[tier].block(page, slot).map(|b| b as u32);
                let sight = self.sight(BlockId {
                    tier: tier as u8,
                    block,
                });
                (sight, &self.profile.blocks[sight.most])
            })
            .collect();
        let layers = &self.profile.layers;
        let base = layers.iter().take_while(|l| l[0] > 0).count();
        let mut offsets = vec![0; slots * layers.len()];
        let base_run = (0..base).flat_map(|l| (0..slots).map(move |s| (s, l)));
        let detail_run = (0..slots).flat_map(|s| (base..layers.len()).map(move |l| (s, l)));
        for (slot, layer) in base_run.chain(detail_run) {
            offsets[slot * layers.len() + layer] = at;
            at += found[slot].1.bytes.get(layer).map_or(0, |b| u64::from(*b));
        }
        let facts = found.iter().enumerate().map(|(slot, (sight, sample))| {
            let list = sample
                .bytes
                .iter()
                .enumerate()
                .map(|(l, bytes)| LayerFacts {
                    offset: offsets[slot * layers.len() + l],
                    bytes: *bytes,
                    lod: layers[l][0],
                    error: indexed_error(sample, layers[l]),
                });
            Arc::new(BlockFacts {
                range: [self.profile.blocks[sight.least].range[0], sample.range[1]],
                layers: list.collect(),
            })
        });
        facts.collect()
    }

    /// What lies in a block, which nobody knows before its page is loaded: place in the profile.
    pub fn sample(&self, id: BlockId) -> usize {
        self.sight(id).most
    }

    fn sight(&self, id: BlockId) -> Sight {
        let tier = usize::from(id.tier);
        let shift = u32::from(self.profile.block_log2) + self.tiers[tier].base_lod;
        let side = (1u64 << shift) as f64 / self.extent[0] as f64;
        let steps = if tier == 0 { 1 } else { 3 };
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        for step in 0..steps * steps * steps {
            let inner = [step % steps, step / steps % steps, step / steps / steps];
            let at = |a: usize| {
                let place = (f64::from(inner[a] as u32) + 0.5) / steps as f64;
                ((f64::from(id.block[a]) + place) * side).min(1.0)
            };
            let value = self.field([at(0), at(1), at(2)]);
            (least, most) = (least.min(value), most.max(value));
        }
        Sight {
            least: self.index(least),
            most: self.index(most),
        }
    }

    fn index(&self, value: f64) -> usize {
        let count = self.profile.blocks.len();
        ((value * count as f64) as usize).min(count - 1)
    }

    /// 0 outside of a body with a rough surface, up to 1 inside.
    fn field(&self, at: [f64; 3]) -> f64 {
        let radius = at.map(|c| (c - 0.5).powi(2)).iter().sum::<f64>().sqrt() * 2.0;
        let mut value = 1.05 - radius;
        for (octave, (cells, weight)) in [(5.0, 0.7), (19.0, 0.4), (83.0, 0.3)].iter().enumerate() {
            value += weight * (self.noise(at.map(|c| c * cells), octave as u64) - 0.5);
        }
        value.clamp(0.0, 1.0)
    }

    /// Smooth noise in 0..1 with one random value for each unit cell.
    fn noise(&self, at: [f64; 3], octave: u64) -> f64 {
        let cell = at.map(|c| c.floor() as u64);
        let part = [0, 1, 2].map(|a| at[a] - cell[a] as f64);
        let part = part.map(|t| t * t * (3.0 - 2.0 * t));
        let mut sum = 0.0;
        for corner in 0..8u64 {
            let bit = |a: usize| corner >> a & 1;
            let key = [0, 1, 2].iter().fold(self.seed ^ octave << 60, |k, &a| {
                (k.rotate_left(20)).wrapping_add(cell[a] + bit(a))
            });
            let weight = (0..3).map(|a| if bit(a) == 1 { part[a] } else { 1.0 - part[a] });
            sum += weight.product::<f64>() * super::share(mix(key));
        }
        sum
    }
}

/// Places in the profile of the lowest and the highest that a block holds.
#[derive(Debug, Clone, Copy)]
struct Sight {
    least: usize,
    most: usize,
}

/// Bytes of a page whose blocks all have payload.
fn page_bytes(profile: &Profile, slots: u64) -> u64 {
    let block = 2 + 2 * profile.levels() as u64 + 6 * profile.layers.len() as u64;
    40 + slots.div_ceil(4) + slots * block
}

/// The error that an index tells for a layer.
fn indexed_error(sample: &Sample, [lod, quality]: [u8; 2]) -> f32 {
    let coded = sample
        .errors
        .get(usize::from(quality))
        .copied()
        .unwrap_or(0.0);
    let lost = sample
        .averaged
        .get(usize::from(lod))
        .copied()
        .unwrap_or(0.0);
    coded.hypot(lost)
}

impl Catalogue for VirtualVolume {
    fn extent(&self) -> [u64; 3] {
        self.extent
    }
    fn block_log2(&self) -> u32 {
        u32::from(self.profile.block_log2)
    }
    fn tiers(&self) -> &[TierFacts] {
        &self.tiers
    }
    fn block(&self, id: BlockId) -> Option<Arc<BlockFacts>> {
        let tier = usize::from(id.tier);
        let (page, slot) = self.pages[tier].locate(id.block.map(u64::from)).ok()?;
        self.loaded
            .get(&self.page_id(tier, page))?
            .get(slot)
            .cloned()
    }
    fn page_of(&self, id: BlockId) -> (PageId, u64, u32) {
        let tier = usize::from(id.tier);
        let page = id.block.map(|b| u64::from(b) >> self.pages[tier].page_log2);
        let slots = self.pages[tier].slots(page) as u64;
        let key = self.pages[tier].key(page);
        let bytes = page_bytes(&self.profile, slots) as u32;
        (
            self.page_id(tier, page),
            self.starts[tier] + key * self.stride,
            bytes,
        )
    }
}
