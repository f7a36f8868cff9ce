//! Orders without a heuristic, to hold the scheduler against.
//!
//! They want the same blocks and layers and merge neighbours in the file under the same rule; only what
//! comes first differs, and nothing is predicted or ended.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use hgv::io::coalesce;
use hgv::stream::schedule::{
    BlockFacts, BlockId, Budgets, Catalogue, Decode, Fetch, FetchId, Item, OpacityBound, PageId,
    Status, View,
};

use super::policy::Streams;

/// What comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Coarse tiers, and in a tier layer by layer in the order of the file.
    Fifo,
    /// The nearest block with all its layers, behind the coarsest tier.
    Nearest,
}

/// An item, its offset and its bytes.
type Placed = (Item, u64, u32);

struct Want {
    id: BlockId,
    facts: Arc<BlockFacts>,
    layers: usize,
    scale: f32,
}

#[derive(Default)]
struct Held {
    bytes: Vec<u32>,
    here: HashSet<u8>,
    shown: u8,
    voxels: u64,
}

/// A simple order.
pub struct SimpleOrder {
    order: Order,
    budgets: Budgets,
    tolerance: f32,
    queue: VecDeque<Placed>,
    wanted: HashMap<BlockId, usize>,
    held: HashMap<BlockId, Held>,
    under_way: HashSet<Item>,
    pages: HashSet<PageId>,
    fetches: HashMap<FetchId, Fetch>,
    decodes: VecDeque<BlockId>,
    next_id: u64,
    status: Status,
}

impl SimpleOrder {
    /// Nothing is here yet.
    pub fn new(order: Order, budgets: Budgets, tolerance: f32) -> Self {
        Self {
            order,
            budgets,
            tolerance,
            queue: VecDeque::new(),
            wanted: HashMap::new(),
            held: HashMap::new(),
            under_way: HashSet::new(),
            pages: HashSet::new(),
            fetches: HashMap::new(),
            decodes: VecDeque::new(),
            next_id: 0,
            status: Status::default(),
        }
    }

    fn missing(&self, item: Item) -> bool {
        let here = match item {
            Item::Page(page) => self.pages.contains(&page),
            Item::Layer(id, layer) => self.held.get(&id).is_some_and(|h| h.here.contains(&layer)),
        };
        !here && !self.under_way.contains(&item)
    }

    /// Room for more layers, made by forgetting blocks that are not wanted.
    fn make_room(&mut self, bytes: u64) -> bool {
        if self.status.encoded + bytes > self.budgets.encoded {
            let mut useless: Vec<BlockId> = self.held.keys().copied().collect();
            useless.retain(|id| !self.wanted.contains_key(id));
            useless.sort_unstable();
            for id in useless {
                if let Some(held) = self.held.get_mut(&id) {
                    let gone = held
                        .here
                        .drain()
                        .map(|l| u64::from(held.bytes[usize::from(l)]));
                    self.status.encoded -= gone.sum::<u64>();
                }
            }
        }
        self.status.encoded + bytes <= self.budgets.encoded
    }

    /// The next missing item.
    fn pop(&mut self) -> Option<Placed> {
        while let Some(next) = self.queue.pop_front() {
            if self.missing(next.0) {
                return Some(next);
            }
        }
        None
    }
}

impl Streams for SimpleOrder {
    fn set_view(
        &mut self,
        catalogue: &dyn Catalogue,
        opacity: &dyn OpacityBound,
        view: View,
        _: [f32; 3],
    ) {
        let mut plan = Plan {
            catalogue,
            opacity,
            view,
            tolerance: self.tolerance,
            most: self.budgets.blocks,
            wants: Vec::new(),
            pages: Vec::new(),
        };
        plan.walk();
        let coarsest = (catalogue.tiers().len() - 1) as u8;
        let order = self.order;
        let mut items: Vec<((u8, u64, u64), Placed)> = Vec::new();
        for want in &plan.wants {
            for (i, layer) in want.facts.layers.iter().take(want.layers).enumerate() {
                let key = match order {
                    Order::Nearest if want.id.tier != coarsest || i > 0 => {
                        // What appears largest is nearest: positive floats sort as their bits, largest first.
                        (1, u64::from(u32::MAX - want.scale.to_bits()), layer.offset)
                    }
                    _ => (
                        0,
                        u64::from(coarsest - want.id.tier) << 8 | i as u64,
                        layer.offset,
                    ),
                };
                let placed = (Item::Layer(want.id, i as u8), layer.offset, layer.bytes);
                items.push((key, placed));
            }
        }
        items.sort_unstable_by_key(|i| i.0);
        let pages = plan
            .pages
            .into_iter()
            .map(|(p, offset, bytes)| (Item::Page(p), offset, bytes));
        self.queue = pages.chain(items.into_iter().map(|i| i.1)).collect();
        let held = std::mem::take(&mut self.queue);
        self.queue = held.into_iter().filter(|i| self.missing(i.0)).collect();
        self.wanted = plan.wants.iter().map(|w| (w.id, w.layers)).collect();
        for want in plan.wants {
            let held = self.held.entry(want.id).or_default();
            held.bytes = want.facts.layers.iter().map(|l| l.bytes).collect();
        }
    }

    fn next_fetch(&mut self) -> Option<Fetch> {
        if self.fetches.len() >= self.budgets.fetches
            || self.status.in_flight >= self.budgets.in_flight
        {
            return None;
        }
        let first = self.pop()?;
        if !self.make_room(u64::from(first.2)) {
            return None;
        }
        let (start, mut end) = (first.1, first.1 + u64::from(first.2));
        let mut items = vec![first];
        while let Some(&(item, offset, bytes)) = self.queue.front() {
            let wanted: Vec<(u64, u64)> = items.iter().map(|i| (i.1, u64::from(i.2))).collect();
            let near = offset >= end && offset - end <= coalesce::gap(&wanted);
            let stop = offset + u64::from(bytes);
            let length = stop.saturating_sub(start);
            let room = u64::from(bytes) + self.status.encoded <= self.budgets.encoded;
            if !near
                || !room
                || length > self.budgets.fetch
                || self.status.in_flight + length > self.budgets.in_flight
            {
                break;
            }
            self.queue.pop_front();
            if self.missing(item) {
                items.push((item, offset, bytes));
                end = stop;
            }
        }
        for (item, _, bytes) in &items {
            self.under_way.insert(*item);
            self.status.encoded += if matches!(item, Item::Layer(..)) {
                u64::from(*bytes)
            } else {
                0
            };
        }
        let fetch = Fetch {
            id: FetchId(self.next_id),
            offset: start,
            length: end - start,
            items,
        };
        self.next_id += 1;
        self.status.in_flight += fetch.length;
        self.fetches.insert(fetch.id, fetch.clone());
        Some(fetch)
    }

    fn arrived(&mut self, id: FetchId) {
        let Some(fetch) = self.fetches.remove(&id) else {
            return;
        };
        self.status.in_flight -= fetch.length;
        for (item, _, _) in fetch.items {
            self.under_way.remove(&item);
            match item {
                Item::Page(page) => {
                    self.pages.insert(page);
                }
                Item::Layer(block, layer) => {
                    self.held.entry(block).or_default().here.insert(layer);
                    self.decodes.push_back(block);
                }
            }
        }
    }

    fn ended(&mut self, id: FetchId) {
        let Some(fetch) = self.fetches.remove(&id) else {
            return;
        };
        self.status.in_flight -= fetch.length;
        for (item, _, bytes) in fetch.items {
            self.under_way.remove(&item);
            self.status.encoded -= if matches!(item, Item::Layer(..)) {
                u64::from(bytes)
            } else {
                0
            };
        }
    }

    fn cancelled(&self) -> Vec<FetchId> {
        Vec::new()
    }

    fn next_decode(&mut self) -> Option<Decode> {
        while let Some(block) = self.decodes.pop_front() {
            let Some(held) = self.held.get(&block) else {
                continue;
            };
            let layers = (0..).take_while(|l| held.here.contains(l)).count() as u8;
            if layers > held.shown {
                return Some(Decode { block, layers });
            }
        }
        None
    }

    fn decoded(&mut self, decode: Decode, bytes: u64) {
        let held = self.held.entry(decode.block).or_default();
        if decode.layers > held.shown {
            self.status.decoded = self.status.decoded + bytes - held.voxels;
            (held.shown, held.voxels) = (decode.layers, bytes);
        }
    }

    fn evictions(&mut self) -> Vec<BlockId> {
        if self.status.decoded <= self.budgets.decoded {
            return Vec::new();
        }
        let shown = self.held.iter().filter(|(_, h)| h.shown > 0);
        let mut order: Vec<_> = shown
            .map(|(id, _)| (self.wanted.contains_key(id), *id))
            .collect();
        order.sort_unstable();
        let mut out = Vec::new();
        for (_, id) in order {
            if self.status.decoded <= self.budgets.decoded {
                break;
            }
            if let Some(held) = self.held.get_mut(&id) {
                self.status.decoded -= held.voxels;
                (held.shown, held.voxels) = (0, 0);
                out.push(id);
            }
        }
        out
    }

    fn shown(&self, id: BlockId) -> u8 {
        self.held.get(&id).map_or(0, |h| h.shown)
    }

    fn status(&self) -> Status {
        Status {
            missing: self.queue.len(),
            fetches: self.fetches.len(),
            settled: self.fetches.is_empty() && self.queue.is_empty(),
            ..self.status
        }
    }
}

/// The blocks and layers that a view wants, as the scheduler finds them, in no order.
struct Plan<'a> {
    catalogue: &'a dyn Catalogue,
    opacity: &'a dyn OpacityBound,
    view: View,
    tolerance: f32,
    most: usize,
    wants: Vec<Want>,
    pages: Vec<(PageId, u64, u32)>,
}

impl Plan<'_> {
    fn walk(&mut self) {
        let tiers = self.catalogue.tiers();
        let mut boxes = VecDeque::from([(tiers.len() - 1, [0; 3], tiers[tiers.len() - 1].blocks)]);
        while let Some((tier, lo, hi)) = boxes.pop_front() {
            if self.wants.len() >= self.most || (0..3).any(|a| lo[a] >= hi[a]) {
                continue;
            }
            let Some(scale) = self.scale(tier, lo, hi) else {
                continue;
            };
            if (0..3).any(|a| hi[a] - lo[a] > 1) {
                let middle = [0, 1, 2].map(|a| lo[a] + (hi[a] - lo[a]).div_ceil(2));
                for part in 0..8 {
                    let high = |a: usize| part >> a & 1 == 1;
                    let from = [0, 1, 2].map(|a| if high(a) { middle[a] } else { lo[a] });
                    let to = [0, 1, 2].map(|a| if high(a) { hi[a] } else { middle[a] });
                    boxes.push_back((tier, from, to));
                }
                continue;
            }
            self.want(
                BlockId {
                    tier: tier as u8,
                    block: lo,
                },
                scale,
            );
            if tier > 0 {
                let bits = tiers[tier].base_lod - tiers[tier - 1].base_lod;
                let to = [0, 1, 2].map(|a| (hi[a] << bits).min(tiers[tier - 1].blocks[a]));
                boxes.push_back((tier - 1, lo.map(|v| v << bits), to));
            }
        }
        self.pages.sort_unstable_by_key(|p| p.1);
        self.pages.dedup();
    }

    /// Pixels of a voxel of full resolution, if a box is seen and its tier needed.
    fn scale(&self, tier: usize, lo: [u32; 3], hi: [u32; 3]) -> Option<f32> {
        let tiers = self.catalogue.tiers();
        let shift = self.catalogue.block_log2() + tiers[tier].base_lod;
        let extent = self.catalogue.extent();
        let at = |v: [u32; 3]| [0, 1, 2].map(|a| (u64::from(v[a]) << shift).min(extent[a]) as f32);
        let scale = self.view.see(at(lo), at(hi))?.scale;
        let coarser = tiers.get(tier + 1).map(|t| t.base_lod);
        (coarser.is_none_or(|lod| lod_of(scale) < lod)).then_some(scale)
    }

    fn want(&mut self, id: BlockId, scale: f32) {
        let Some(facts) = self.catalogue.block(id) else {
            let page = self.catalogue.page_of(id);
            if self.pages.last() != Some(&page) {
                self.pages.push(page);
            }
            return;
        };
        if self.opacity.most_opacity(facts.range) <= 0.0 || facts.layers.is_empty() {
            return;
        }
        let base = self.catalogue.tiers()[usize::from(id.tier)].base_lod;
        let own = scale * (base as f32).exp2();
        let enough = facts
            .layers
            .iter()
            .position(|l| u32::from(l.lod) <= lod_of(own));
        let first = enough.map_or(facts.layers.len(), |i| i + 1);
        let seen = |w: &[hgv::stream::schedule::LayerFacts]| {
            w[0].error * (own * f32::from(w[1].lod).exp2()).min(1.0) > self.tolerance
        };
        let more = facts
            .layers
            .windows(2)
            .skip(first - 1)
            .take_while(|w| seen(w))
            .count();
        self.wants.push(Want {
            id,
            layers: first + more,
            facts,
            scale,
        });
    }
}

fn lod_of(scale: f32) -> u32 {
    (-scale.max(1e-30).log2()).floor().max(0.0) as u32
}
