//! Value ranges of boxes of blocks, so that a view passes by what is clear without looking at every block.

use super::hash::BlockMap;
use super::{BlockId, Catalogue};

/// Side in blocks of the boxes whose ranges are kept.
const SIDE: u32 = 8;
/// Boxes that are kept; all are looked at anew when there are more.
const MOST: usize = 1 << 18;

/// Ranges of boxes of the finest tier; `None` for a box in which no block has layers.
#[derive(Debug, Default)]
pub(super) struct Ranges(BlockMap<Option<[f32; 2]>>);

impl Ranges {
    /// The range of all blocks from `lo` up to `hi` that have layers, if they fill one of the boxes that are
    /// kept and the index of all of them is loaded.
    pub(super) fn of(
        &mut self,
        catalogue: &dyn Catalogue,
        lo: [u32; 3],
        hi: [u32; 3],
    ) -> Option<Option<[f32; 2]>> {
        let blocks = catalogue.tiers().first()?.blocks;
        let fills = |a: usize| lo[a].is_multiple_of(SIDE) && hi[a] == (lo[a] + SIDE).min(blocks[a]);
        if !(0..3).all(fills) {
            return None;
        }
        let id = BlockId { tier: 0, block: lo };
        if let Some(known) = self.0.get(&id) {
            return Some(*known);
        }
        let range = joined(catalogue, lo, hi)?;
        if self.0.len() >= MOST {
            self.0.clear();
        }
        self.0.insert(id, range);
        Some(range)
    }
}

/// The range of the blocks of a box that have layers; `None` if one of them is not known yet.
fn joined(catalogue: &dyn Catalogue, lo: [u32; 3], hi: [u32; 3]) -> Option<Option<[f32; 2]>> {
    let mut range: Option<[f32; 2]> = None;
    for z in lo[2]..hi[2] {
        for y in lo[1]..hi[1] {
            for x in lo[0]..hi[0] {
                let block = [x, y, z];
                let facts = catalogue.block(BlockId { tier: 0, block })?;
                if !facts.layers.is_empty() {
                    let [low, high] = range.unwrap_or(facts.range);
                    range = Some([low.min(facts.range[0]), high.max(facts.range[1])]);
                }
            }
        }
    }
    Some(range)
}
