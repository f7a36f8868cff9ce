//! What is resident: layers and voxels of blocks, what to decode, and what to forget.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::plan::Rank;
use super::queue::{Decode, Item, Scheduler};
use super::{BlockFacts, BlockId};

/// What is known of a block that has anything resident or under way.
#[derive(Debug, Default)]
pub(super) struct Resident {
    pub(super) facts: Option<Arc<BlockFacts>>,
    /// Layers, from the first on, that are here.
    pub(super) here: BTreeSet<u8>,
    pub(super) under_way: BTreeSet<u8>,
    pub(super) decoding: Option<u8>,
    /// Layers that the voxels were decoded from, and their bytes.
    pub(super) voxels: Option<(u8, u64)>,
    /// View in which it was wanted last.
    pub(super) wanted_in: u64,
}

impl Resident {
    /// Layers that can be decoded: those without a gap before them.
    pub(super) fn prefix(&self) -> u8 {
        (0..).take_while(|l| self.here.contains(l)).count() as u8
    }

    pub(super) fn bytes(&self, layer: u8) -> u64 {
        let layers = self.facts.as_ref().map(|f| &f.layers);
        layers
            .and_then(|l| l.get(usize::from(layer)))
            .map_or(0, |l| u64::from(l.bytes))
    }

    pub(super) fn is_idle(&self) -> bool {
        self.here.is_empty() && self.under_way.is_empty() && self.voxels.is_none()
    }
}

/// Resident layers by what is lost without them, least last; made when room is needed.
#[derive(Debug, Default)]
pub(super) struct Victims {
    pub(super) list: Vec<(Rank, u64, BlockId, u8)>,
    /// Whether layers have become resident, or ranks have changed, since the list was made.
    pub(super) stale: bool,
}

impl Scheduler {
    /// What decoding a block anew is worth, and from how many layers.
    pub(super) fn gain(&self, id: BlockId) -> Option<(Rank, u8)> {
        let (block, want) = (self.blocks.get(&id)?, self.plan.get(&id)?);
        let layers = block.prefix().min(want.layers as u8);
        let shown = block
            .voxels
            .map_or(0, |v| v.0)
            .max(block.decoding.unwrap_or(0));
        let gain = (usize::from(shown)..usize::from(layers))
            .map(|i| want.rank(i))
            .max()?;
        Some((gain, layers))
    }

    /// The wanted block whose new layers are worth most to decode; say [`Self::decoded`] afterwards.
    pub fn next_decode(&mut self) -> Option<Decode> {
        while let Some((_, id)) = self.decodes.pop() {
            if let Some((_, layers)) = self.gain(id) {
                self.blocks.get_mut(&id)?.decoding = Some(layers);
                return Some(Decode { block: id, layers });
            }
        }
        None
    }

    /// A block was decoded to `bytes` of voxels; `None` if that failed: its layers are
    /// forgotten then, and not asked for again until [`Self::forgive`].
    pub fn decoded(&mut self, decode: Decode, bytes: Option<u64>) {
        let Some(block) = self.blocks.get_mut(&decode.block) else {
            return;
        };
        block.decoding = block.decoding.filter(|l| *l > decode.layers);
        let Some(bytes) = bytes else {
            self.forget_layers(decode.block, 0);
            self.give_up(decode.block, decode.layers);
            return;
        };
        // A decode that a better one overtook changes nothing.
        if block
            .voxels
            .is_none_or(|(layers, _)| layers < decode.layers)
        {
            let before = block.voxels.map_or(0, |v| v.1);
            block.voxels = Some((decode.layers, bytes));
            self.decoded = self.decoded + bytes - before;
        }
    }

    /// Blocks whose voxels to forget so that decoded voxels fit their budget, least worth first.
    pub fn evictions(&mut self) -> Vec<BlockId> {
        if self.decoded <= self.budgets.decoded {
            return Vec::new();
        }
        let held = self.blocks.iter().filter_map(|(id, block)| {
            let (layers, bytes) = block.voxels?;
            let rank = self.rank(Item::Layer(*id, layers.max(1) - 1));
            Some((rank, block.wanted_in, *id, bytes))
        });
        let mut held: Vec<_> = held.collect();
        held.sort_unstable();
        let mut out = Vec::new();
        for (_, _, id, bytes) in held {
            if self.decoded <= self.budgets.decoded {
                break;
            }
            self.decoded -= bytes;
            if let Some(block) = self.blocks.get_mut(&id) {
                block.voxels = None;
                if block.is_idle() {
                    self.blocks.remove(&id);
                }
            }
            out.push(id);
        }
        out
    }

    /// Takes room for an item among the resident layers, by forgetting what is worth less.
    pub(super) fn take_room(&mut self, item: Item, bytes: u64, rank: Rank) -> bool {
        if matches!(item, Item::Page(_)) {
            return true;
        }
        while self.encoded + bytes > self.budgets.encoded {
            let Some((worst, id, layer)) = self.least_layer() else {
                return false;
            };
            if worst >= rank {
                return false;
            }
            self.forget_layers(id, layer);
        }
        self.encoded += bytes;
        true
    }

    /// The resident layer that is missed least.
    fn least_layer(&mut self) -> Option<(Rank, BlockId, u8)> {
        loop {
            while let Some((rank, _, id, layer)) = self.victims.list.last() {
                if self.holds(*id, *layer) {
                    return Some((*rank, *id, *layer));
                }
                self.victims.list.pop();
            }
            if !std::mem::take(&mut self.victims.stale) {
                return None;
            }
            self.list_victims();
        }
    }

    /// Lists resident layers so that the last one of a block goes before those that it needs.
    fn list_victims(&mut self) {
        let mut list = Vec::new();
        for (id, block) in &self.blocks {
            let mut most = Rank::default();
            for layer in block.here.iter().rev() {
                most = most.max(self.rank(Item::Layer(*id, *layer)));
                list.push((most, block.wanted_in, *id, *layer));
            }
        }
        list.sort_unstable_by(|a, b| (b.0, b.1, b.2, a.3).cmp(&(a.0, a.1, a.2, b.3)));
        self.victims.list = list;
    }

    /// Forgets layers of a block from `first` on. The driver keeps nothing that [`Self::holds`] denies.
    pub(super) fn forget_layers(&mut self, id: BlockId, first: u8) {
        let Some(block) = self.blocks.get_mut(&id) else {
            return;
        };
        let gone: Vec<u8> = block.here.range(first..).copied().collect();
        for layer in gone {
            block.here.remove(&layer);
            self.encoded -= block.bytes(layer);
        }
        if block.is_idle() {
            self.blocks.remove(&id);
        }
    }

    /// Whether a layer is resident.
    pub fn holds(&self, id: BlockId, layer: u8) -> bool {
        self.blocks
            .get(&id)
            .is_some_and(|b| b.here.contains(&layer))
    }

    /// Layers that the voxels of a block were decoded from; 0 if there are none.
    pub fn shown(&self, id: BlockId) -> u8 {
        let block = self.blocks.get(&id);
        block.and_then(|b| b.voxels).map_or(0, |v| v.0)
    }
}
