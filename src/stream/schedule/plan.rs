//! What a view wants of a file: blocks best first, and what each of their layers is worth.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::ranges::Ranges;
use super::view::{Seen, View};
use super::{BlockFacts, BlockId, Catalogue, OpacityBound, PageId};

/// Bytes that a request costs beside its own, in what it is worth: a small layer is not infinitely cheap.
const REQUEST_BYTES: f32 = 256.0;
/// Boxes that a plan looks at for each block that it may name: those of clear blocks among others.
const MOST_LOOKS: usize = 4;
/// Most layers of a block: sets of them are bits.
const MOST_LAYERS: usize = 64;
/// Share of its worth that a block has which only a view ahead of the camera sees.
const AHEAD: f32 = 0.5;
/// Error of a block about which nothing is shown yet, as a share of its value range.
const NOTHING_SHOWN: f32 = 0.5;

/// A block that is wanted.
#[derive(Debug, Clone)]
pub(super) struct Want {
    pub(super) id: BlockId,
    pub(super) facts: Arc<BlockFacts>,
    /// Layers that the view can show a difference of.
    pub(super) layers: usize,
    /// Pixels times opacity.
    pub(super) weight: f32,
    /// Pixels that a voxel of the block's own full resolution is wide.
    pub(super) scale: f32,
    /// Whether it belongs to the first picture.
    pub(super) coarsest: bool,
}

/// A page of the index that is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct WantedPage {
    pub(super) page: PageId,
    pub(super) offset: u64,
    pub(super) bytes: u32,
    pub(super) rank: Rank,
}

/// Place in the order of requests: first by class, then by worth.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Rank {
    /// 2 = first picture, 1 = the rest of the view, 0 = not wanted.
    pub(super) class: u8,
    pub(super) worth: f32,
}

impl Eq for Rank {}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.class.cmp(&other.class)).then(self.worth.total_cmp(&other.worth))
    }
}

impl Want {
    /// Wanted layers, one bit each.
    pub(super) fn mask(&self) -> u64 {
        u64::MAX.checked_shr(64 - self.layers as u32).unwrap_or(0)
    }

    /// What layer `index` is worth once those before it are there. Layers that are worth more together than
    /// the first of them alone share what they are worth: a layer that removes no error is needed by the
    /// next. So no layer is worth more than one before it.
    pub(super) fn rank(&self, index: usize) -> Rank {
        if index >= self.layers {
            return Rank::default();
        }
        if self.coarsest && index == 0 {
            return Rank {
                class: 2,
                worth: self.weight * self.run(0, 0),
            };
        }
        let mut first = usize::from(self.coarsest);
        loop {
            let runs = (first..self.layers).map(|last| (self.run(first, last), last));
            // Of equals the shorter run.
            let best = runs.reduce(|a, b| if b.0 > a.0 { b } else { a });
            let Some((worth, last)) = best else {
                return Rank::default();
            };
            if index <= last {
                return Rank {
                    class: 1,
                    worth: self.weight * worth,
                };
            }
            first = last + 1;
        }
    }

    /// Error that layers `first..=last` remove for each byte.
    fn run(&self, first: usize, last: usize) -> f32 {
        let layers = &self.facts.layers;
        let mut before = match first.checked_sub(1) {
            Some(i) => layers[i].error,
            None => NOTHING_SHOWN * (self.facts.range[1] - self.facts.range[0]),
        };
        let (mut removed, mut bytes) = (f32::MIN_POSITIVE, REQUEST_BYTES);
        for layer in &layers[first..=last] {
            removed += (before - layer.error).max(0.0) * seen_share(self.scale, layer.lod);
            bytes += layer.bytes as f32;
            before = layer.error;
        }
        removed / bytes
    }
}

/// What a view wants.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Blocks of known facts, best seen first.
    pub(super) blocks: Vec<Want>,
    pub(super) pages: Vec<WantedPage>,
    /// Whether there is room for more blocks than it may name.
    pub(super) cut: bool,
    /// Boxes that were looked at.
    visited: usize,
    /// Bytes of the voxels that the wanted blocks decode to, and of their layers.
    voxels: u64,
    bytes: u64,
    /// Smallest and largest value of the wanted blocks.
    range: Option<[f32; 2]>,
}

/// A box of blocks of a tier, in the order of how large a voxel of it appears.
struct Node {
    tier: usize,
    lo: [u32; 3],
    hi: [u32; 3],
    seen: Seen,
    ahead: bool,
}

impl Node {
    fn share(&self) -> f32 {
        if self.ahead { AHEAD } else { 1.0 }
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Node {}

impl PartialOrd for Node {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Node {
    fn cmp(&self, other: &Self) -> Ordering {
        // Coarse tiers first, then what appears largest; places decide ties, so that plans repeat.
        (self.tier.cmp(&other.tier))
            .then(self.seen.scale.total_cmp(&other.seen.scale))
            .then(other.lo.cmp(&self.lo))
    }
}

/// Makes plans.
pub(super) struct Planner<'a> {
    pub(super) catalogue: &'a dyn Catalogue,
    pub(super) opacity: &'a dyn OpacityBound,
    pub(super) view: View,
    /// Where the camera will be soon.
    pub(super) ahead: Option<View>,
    /// Value ranges of boxes of the finest tier.
    pub(super) ranges: &'a mut Ranges,
    /// Layers of a block that may be wanted, by tier.
    pub(super) allowed: &'a [usize],
    /// Most blocks that a plan names; it looks at a few times as many.
    pub(super) most: usize,
    /// Bytes of layers and voxels that there is room for: what is behind them is not wanted yet.
    pub(super) room: [u64; 2],
    /// Error that nobody sees, in units of the values of the volume.
    pub(super) tolerance: f32,
}

impl Planner<'_> {
    pub(super) fn plan(&mut self) -> Plan {
        let mut plan = Plan::default();
        let mut nodes = BinaryHeap::new();
        let tiers = self.catalogue.tiers();
        if let Some(last) = tiers.len().checked_sub(1) {
            self.push(last, [0; 3], tiers[last].blocks, &mut nodes);
        }
        while let Some(node) = nodes.pop() {
            let full = plan.bytes >= self.room[0] || plan.voxels >= self.room[1];
            let named = plan.blocks.len() + plan.pages.len();
            plan.cut = !full && (named >= self.most || plan.visited / MOST_LOOKS >= self.most);
            if full || plan.cut {
                break;
            }
            plan.visited += 1;
            if self.is_clear(&node) {
                continue;
            }
            if [0, 1, 2].iter().all(|&a| node.hi[a] - node.lo[a] == 1) {
                self.want(&node, &mut plan);
                self.descend(&node, &mut nodes);
            } else if !self.want_page(&node, &mut plan) {
                self.split(&node, &mut nodes);
            }
        }
        join_pages(&mut plan.pages);
        plan
    }

    /// Puts a box of blocks on the heap if it is seen and its tier has more detail than the one before.
    fn push(&self, tier: usize, lo: [u32; 3], hi: [u32; 3], nodes: &mut BinaryHeap<Node>) {
        if (0..3).any(|a| lo[a] >= hi[a]) || self.allowed[tier] == 0 {
            return;
        }
        let (from, to) = self.bounds(tier, lo, hi);
        let now = self.view.see(from, to);
        let soon = || self.ahead.and_then(|v| v.see(from, to));
        let Some((seen, ahead)) = now
            .map(|s| (s, false))
            .or_else(|| soon().map(|s| (s, true)))
        else {
            return;
        };
        let tiers = self.catalogue.tiers();
        // The tier above serves this scale already where one of its voxels is under a pixel.
        let coarser = tiers.get(tier + 1).map(|t| t.base_lod);
        if coarser.is_some_and(|lod| lod_of(seen.scale) >= lod) {
            return;
        }
        nodes.push(Node {
            tier,
            lo,
            hi,
            seen,
            ahead,
        });
    }

    /// Cuts a box at powers of two, where pages meet.
    fn split(&self, node: &Node, nodes: &mut BinaryHeap<Node>) {
        let half = |n: u32| n.next_power_of_two().div_ceil(2);
        let middle = [0, 1, 2].map(|a| node.lo[a] + half(node.hi[a] - node.lo[a]));
        for part in 0..8 {
            let high = |a: usize| part >> a & 1 == 1;
            let lo = [0, 1, 2].map(|a| if high(a) { middle[a] } else { node.lo[a] });
            let hi = [0, 1, 2].map(|a| if high(a) { node.hi[a] } else { middle[a] });
            self.push(node.tier, lo, hi, nodes);
        }
    }

    /// The finer blocks under a block, if the view is near enough for them.
    fn descend(&self, node: &Node, nodes: &mut BinaryHeap<Node>) {
        let Some(finer) = node.tier.checked_sub(1) else {
            return;
        };
        let tiers = self.catalogue.tiers();
        let bits = tiers[node.tier].base_lod - tiers[finer].base_lod;
        let lo = node.lo.map(|v| v << bits);
        let hi = [0, 1, 2].map(|a| (node.hi[a] << bits).min(tiers[finer].blocks[a]));
        self.push(finer, lo, hi, nodes);
    }

    /// Wants a block, or the page that names it.
    fn want(&self, node: &Node, plan: &mut Plan) {
        let id = BlockId {
            tier: node.tier as u8,
            block: node.lo,
        };
        let Some(facts) = self.catalogue.block(id) else {
            self.want_page(node, plan);
            return;
        };
        let opacity = self.opacity.most_opacity(facts.range).clamp(0.0, 1.0);
        if opacity <= 0.0 || facts.layers.is_empty() {
            return;
        }
        let base = self.catalogue.tiers()[node.tier].base_lod;
        let scale = node.seen.scale * (base as f32).exp2();
        let [lo, hi] = plan.range.unwrap_or(facts.range);
        plan.range = Some([lo.min(facts.range[0]), hi.max(facts.range[1])]);
        let most = self.allowed[node.tier].min(MOST_LAYERS);
        let layers = layers_for(&facts, scale, self.tolerance).min(most);
        let lod = facts.layers[layers - 1].lod;
        let side = self.catalogue.block_log2().saturating_sub(u32::from(lod));
        let voxels = 1u64.checked_shl(3 * side).unwrap_or(u64::MAX);
        let bytes = voxels.saturating_mul(self.catalogue.voxel_bytes());
        plan.voxels = plan.voxels.saturating_add(bytes);
        let bytes = facts.layers[..layers].iter().map(|l| u64::from(l.bytes));
        plan.bytes += bytes.sum::<u64>();
        plan.blocks.push(Want {
            id,
            layers,
            facts,
            scale,
            weight: node.share() * opacity * node.seen.pixels,
            coarsest: self.is_coarsest(node.tier),
        });
    }

    /// Whether nothing in a box is to be seen. Blocks of coarse tiers are means of finer ones, which may hold
    /// more than they tell, so this can only be said of the finest.
    fn is_clear(&mut self, node: &Node) -> bool {
        node.tier == 0
            && (self.ranges)
                .of(self.catalogue, node.lo, node.hi)
                .is_some_and(|range| range.is_none_or(|r| self.opacity.most_opacity(r) <= 0.0))
    }

    fn is_coarsest(&self, tier: usize) -> bool {
        tier + 1 == self.catalogue.tiers().len()
    }

    /// Wants the page that names all blocks of a box, if there is one such page and it is not loaded.
    fn want_page(&self, node: &Node, plan: &mut Plan) -> bool {
        let corner = |block| BlockId {
            tier: node.tier as u8,
            block,
        };
        let (first, last) = (corner(node.lo), corner(node.hi.map(|v| v.max(1) - 1)));
        if self.catalogue.block(first).is_some() || self.catalogue.block(last).is_some() {
            return false;
        }
        let (page, offset, bytes) = self.catalogue.page_of(first);
        if first != last && self.catalogue.page_of(last).0 != page {
            return false;
        }
        if bytes == 0 {
            // The catalogue knows of none: nothing to ask for.
            return true;
        }
        let spread = plan.range.map_or(1.0, |r| r[1] - r[0]);
        plan.pages.push(WantedPage {
            page,
            offset,
            bytes,
            rank: Rank {
                class: 1 + u8::from(self.is_coarsest(node.tier)),
                // As if its blocks were opaque and nothing of them was shown.
                worth: node.share() * node.seen.pixels * NOTHING_SHOWN * spread
                    / (bytes as f32 + REQUEST_BYTES),
            },
        });
        true
    }

    /// A box of blocks in voxels of the full resolution.
    fn bounds(&self, tier: usize, lo: [u32; 3], hi: [u32; 3]) -> ([f32; 3], [f32; 3]) {
        let shift = self.catalogue.block_log2() + self.catalogue.tiers()[tier].base_lod;
        let extent = self.catalogue.extent();
        let at = |v: u32, a: usize| (u64::from(v) << shift).min(extent[a]) as f32;
        (
            [0, 1, 2].map(|a| at(lo[a], a)),
            [0, 1, 2].map(|a| at(hi[a], a)),
        )
    }
}

/// Coarsest level of detail whose voxels are not over a pixel.
fn lod_of(scale: f32) -> u32 {
    (-scale.max(1e-30).log2()).floor().max(0.0) as u32
}

/// Layers that bring the level of detail of the scale, and those after them whose error would be seen.
fn layers_for(facts: &BlockFacts, scale: f32, tolerance: f32) -> usize {
    let lod = lod_of(scale);
    let enough = facts.layers.iter().position(|l| u32::from(l.lod) <= lod);
    let first = enough.map_or(facts.layers.len(), |i| i + 1);
    let rest = facts.layers.windows(2).skip(first - 1);
    first
        + rest
            .take_while(|w| w[0].error * seen_share(scale, w[1].lod) > tolerance)
            .count()
}

/// Share of an error in voxels of level of detail `lod` that is left in the picture, where voxels that
/// are under a pixel wide average out.
fn seen_share(scale: f32, lod: u8) -> f32 {
    (scale * f32::from(lod).exp2()).min(1.0)
}

/// One entry a page, with the best rank of its blocks.
fn join_pages(pages: &mut Vec<WantedPage>) {
    pages.sort_by(|a, b| (a.page, b.rank).cmp(&(b.page, a.rank)));
    pages.dedup_by_key(|p| p.page);
}
