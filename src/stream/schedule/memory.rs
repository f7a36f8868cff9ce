//! What is resident: layers and voxels of blocks, what to decode, and what to forget.

use std::sync::Arc;

use super::plan::{Rank, Want};
use super::queue::{Decode, Item, Scheduler};
use super::{BlockFacts, BlockId};

/// The bit of a layer in a set of layers.
pub(super) fn bit(layer: u8) -> u64 {
    1u64.checked_shl(u32::from(layer)).unwrap_or(0)
}

/// What is known of a block that has anything resident or under way.
#[derive(Debug, Default)]
pub(super) struct Resident {
    pub(super) facts: Option<Arc<BlockFacts>>,
    /// Layers that are here, one bit each.
    pub(super) here: u64,
    /// Layers that are under way, one bit each.
    pub(super) under_way: u64,
    pub(super) decoding: Option<u8>,
    /// Layers that the voxels were decoded from, and their bytes.
    pub(super) voxels: Option<(u8, u64)>,
    /// View in which it was wanted last.
    pub(super) wanted_in: u64,
}

impl Resident {
    /// Layers that can be decoded: those without a gap before them.
    pub(super) fn prefix(&self) -> u8 {
        self.here.trailing_ones() as u8
    }

    /// Layers that are here or under way.
    pub(super) fn held(&self) -> u64 {
        self.here | self.under_way
    }

    /// What decoding the block anew is worth to who wants it, and from how many layers.
    pub(super) fn gain(&self, want: &Want) -> Option<(Rank, u8)> {
        let layers = self.prefix().min(want.layers as u8);
        let shown = self.voxels.map_or(0, |v| v.0);
        let shown = shown.max(self.decoding.unwrap_or(0));
        (shown < layers).then(|| (want.rank(usize::from(shown)), layers))
    }

    pub(super) fn bytes(&self, layer: u8) -> u64 {
        let layers = self.facts.as_ref().map(|f| &f.layers);
        layers
            .and_then(|l| l.get(usize::from(layer)))
            .map_or(0, |l| u64::from(l.bytes))
    }

    pub(super) fn is_idle(&self) -> bool {
        self.held() == 0 && self.voxels.is_none()
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
        block.gain(want)
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
        let is_over = self.is_over_caps(decode.block, decode.layers);
        let Some(block) = self.blocks.get_mut(&decode.block) else {
            return;
        };
        block.decoding = block.decoding.filter(|l| *l > decode.layers);
        let Some(bytes) = bytes else {
            self.forget_layers(decode.block, 0);
            self.give_up(decode.block, decode.layers);
            return;
        };
        // A decode that a better one overtook changes nothing, nor does one that was wanted before the caps.
        let is_better = (block.voxels).is_none_or(|(layers, _)| layers < decode.layers);
        if is_better && !is_over {
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
            for layer in (0..64).rev().filter(|l| block.here & bit(*l) != 0) {
                most = most.max(self.rank(Item::Layer(*id, layer)));
                list.push((most, block.wanted_in, *id, layer));
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
        for layer in (first..64).filter(|l| block.here & bit(*l) != 0) {
            self.encoded -= block.bytes(layer);
        }
        block.here &= bit(first).wrapping_sub(1);
        if block.is_idle() {
            self.blocks.remove(&id);
        }
    }

    /// Whether a layer is resident.
    pub fn holds(&self, id: BlockId, layer: u8) -> bool {
        self.blocks
            .get(&id)
            .is_some_and(|b| b.here & bit(layer) != 0)
    }

    /// Layers that the voxels of a block were decoded from; 0 if there are none.
    pub fn shown(&self, id: BlockId) -> u8 {
        let block = self.blocks.get(&id);
        block.and_then(|b| b.voxels).map_or(0, |v| v.0)
    }
}
