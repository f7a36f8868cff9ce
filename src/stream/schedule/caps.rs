//! What is fetched and shown at most.

use super::queue::Scheduler;
use super::{BlockId, Catalogue, TierFacts};

/// Bounds of what is fetched and shown, whatever a view could show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Finest level of detail, 0 = the full resolution. Past the last one there is the last one.
    pub finest_lod: u32,
    /// Highest quality level. Past the last one there is the last one.
    pub highest_level: u32,
}

impl Default for Caps {
    /// All that there is.
    fn default() -> Self {
        Self {
            finest_lod: 0,
            highest_level: u32::MAX,
        }
    }
}

impl Caps {
    /// Place of the tier that has the finest level of detail; those before it are not needed.
    fn finest_tier(self, tiers: &[TierFacts]) -> usize {
        let serves = |t: &TierFacts| t.base_lod <= self.finest_lod;
        tiers.iter().rposition(serves).unwrap_or(0)
    }

    /// Layers of a block that may be fetched, by tier.
    pub(super) fn by_tier(self, catalogue: &dyn Catalogue) -> Vec<usize> {
        let tiers = catalogue.tiers();
        let first = self.finest_tier(tiers);
        let layers = |tier: usize| {
            if tier < first {
                return 0;
            }
            // Something of each block is always shown.
            catalogue.layers_within(tier as u8, self).max(1)
        };
        (0..tiers.len()).map(layers).collect()
    }
}

impl Scheduler {
    /// Fetches and decodes within `caps` from the next view on. Returns the blocks whose voxels to forget because
    /// they show more.
    pub fn set_caps(&mut self, catalogue: &dyn Catalogue, caps: Caps) -> Vec<BlockId> {
        self.caps = caps;
        self.allowed = caps.by_tier(catalogue);
        let mut out = Vec::new();
        let mut idle = Vec::new();
        for (id, block) in &mut self.blocks {
            let most = self.allowed.get(usize::from(id.tier)).copied();
            let is_over = |layers: u8| most.is_some_and(|most| usize::from(layers) > most);
            // What is being decoded will not be shown.
            block.decoding = block.decoding.filter(|layers| !is_over(*layers));
            if let Some((layers, bytes)) = block.voxels
                && is_over(layers)
            {
                block.voxels = None;
                self.decoded -= bytes;
                out.push(*id);
                if block.is_idle() {
                    idle.push(*id);
                }
            }
        }
        for id in idle {
            self.blocks.remove(&id);
        }
        out.sort_unstable();
        out
    }

    /// Whether voxels from so many layers show more than is allowed.
    pub(super) fn is_over_caps(&self, id: BlockId, layers: u8) -> bool {
        let most = self.allowed.get(usize::from(id.tier));
        most.is_some_and(|most| usize::from(layers) > *most)
    }
}
