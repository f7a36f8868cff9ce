//! What is under way and resident, and what comes next.

use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

use super::memory::{Resident, Victims};
use super::plan::{Plan, Planner, Rank, Want, WantedPage};
use super::{BlockId, Catalogue, OpacityBound, PageId, View};
use crate::io::coalesce;

/// What the scheduler may use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budgets {
    /// Bytes that are asked for and have not arrived. One fetch may always be under way.
    pub in_flight: u64,
    /// Fetches that have not arrived.
    pub fetches: usize,
    /// Bytes of one fetch; a longer layer is fetched alone.
    pub fetch: u64,
    /// Bytes of layers that are resident.
    pub encoded: u64,
    /// Bytes of decoded voxels, as the driver reports them.
    pub decoded: u64,
    /// Blocks that a view may want.
    pub blocks: usize,
}

impl Default for Budgets {
    /// For a desktop: 16 MiB under way in 10 fetches, 1 GiB encoded, 4 GiB decoded.
    fn default() -> Self {
        Self {
            in_flight: 16 << 20,
            fetches: 10,
            fetch: 4 << 20,
            encoded: 1 << 30,
            decoded: 4 << 30,
            blocks: 200_000,
        }
    }
}

/// Names a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FetchId(pub u64);

/// Something that a fetch brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Item {
    /// A page of the index.
    Page(PageId),
    /// A layer of a block.
    Layer(BlockId, u8),
}

/// One range of the file to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// To say how it went.
    pub id: FetchId,
    /// Absolute offset.
    pub offset: u64,
    /// Length in bytes, gaps between items included.
    pub length: u64,
    /// What lies in it: the item, its absolute offset and length.
    pub items: Vec<(Item, u64, u32)>,
}

/// A block to decode anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decode {
    /// Which.
    pub block: BlockId,
    /// From how many of its layers.
    pub layers: u8,
}

/// Where things stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    /// Layers and pages that are wanted and neither resident nor under way.
    pub missing: usize,
    /// Fetches under way.
    pub fetches: usize,
    /// Their bytes.
    pub in_flight: u64,
    /// Bytes of resident layers.
    pub encoded: u64,
    /// Bytes of decoded voxels.
    pub decoded: u64,
    /// Whether the first picture is resident: the first layer of every wanted block of the coarsest tier.
    pub first_picture: bool,
    /// Whether all that is wanted is resident or beyond the budgets.
    pub settled: bool,
    /// Blocks that may have something new to decode.
    pub undecoded: usize,
}

/// Bytes that take no longer than a request of their own: a neighbour that is not longer joins a fetch
/// though it is worth much less.
const SMALL: u32 = 8 << 10;

/// Attempts after which an item is left alone until [`Scheduler::forgive`].
const ATTEMPTS: u8 = 3;

/// Decides what to fetch, decode and forget for a view.
///
/// ```text
/// set_view ──> next_fetch* ──> arrived / failed ──> next_decode ──> decoded
///     └──────> cancelled*  ──> failed                  evictions*
/// ```
#[derive(Debug)]
pub struct Scheduler {
    pub(super) budgets: Budgets,
    tolerance: f32,
    /// Seconds that the view is thought ahead.
    horizon: f32,
    pub(super) views: u64,
    pub(super) plan: HashMap<BlockId, Want>,
    plan_pages: HashMap<PageId, WantedPage>,
    queue: BinaryHeap<(Rank, Item)>,
    /// Blocks that may have something new to decode.
    pub(super) decodes: BinaryHeap<(Rank, BlockId)>,
    pub(super) victims: Victims,
    /// Wanted items by their place in the file, for joining neighbours.
    places: BTreeMap<u64, (Item, u32)>,
    pub(super) blocks: HashMap<BlockId, Resident>,
    pages_under_way: HashSet<PageId>,
    attempts: HashMap<Item, u8>,
    fetches: BTreeMap<FetchId, Fetch>,
    next_id: u64,
    in_flight: u64,
    pub(super) encoded: u64,
    pub(super) decoded: u64,
}

impl Scheduler {
    /// For a file about which nothing is resident. `tolerance` is an error that nobody sees, in units of
    /// the values of the volume, such as a 500th of what the transfer function spans.
    pub fn new(budgets: Budgets, tolerance: f32) -> Self {
        Self {
            budgets,
            tolerance: tolerance.max(0.0),
            horizon: 0.25,
            views: 0,
            plan: HashMap::new(),
            plan_pages: HashMap::new(),
            queue: BinaryHeap::new(),
            decodes: BinaryHeap::new(),
            victims: Victims::default(),
            places: BTreeMap::new(),
            blocks: HashMap::new(),
            pages_under_way: HashSet::new(),
            attempts: HashMap::new(),
            fetches: BTreeMap::new(),
            next_id: 0,
            in_flight: 0,
            encoded: 0,
            decoded: 0,
        }
    }

    /// How many seconds ahead the camera is thought at its velocity; 0.25 at first.
    #[must_use]
    pub fn with_horizon(self, seconds: f32) -> Self {
        Self {
            horizon: seconds.max(0.0),
            ..self
        }
    }

    /// Wants what `view` shows, with a camera that moves by `velocity` voxels a second. To be called again
    /// after pages have arrived, when the transfer function changes, and when the camera moves.
    pub fn set_view(
        &mut self,
        catalogue: &dyn Catalogue,
        opacity: &dyn OpacityBound,
        view: View,
        velocity: [f32; 3],
    ) {
        let moves = self.horizon > 0.0 && velocity.iter().any(|v| *v != 0.0);
        let planner = Planner {
            catalogue,
            opacity,
            view,
            ahead: moves.then(|| view.moved(velocity.map(|v| v * self.horizon))),
            most: self.budgets.blocks,
            tolerance: self.tolerance,
        };
        let plan = planner.plan();
        self.views += 1;
        self.adopt(plan);
    }

    fn adopt(&mut self, plan: Plan) {
        self.places.clear();
        self.victims = Victims {
            list: Vec::new(),
            stale: true,
        };
        let mut queue = Vec::new();
        for page in &plan.pages {
            if !self.pages_under_way.contains(&page.page) {
                let item = Item::Page(page.page);
                queue.push((page.rank, item));
                self.places.insert(page.offset, (item, page.bytes));
            }
        }
        self.plan_pages = plan.pages.into_iter().map(|p| (p.page, p)).collect();
        self.plan = plan.blocks.into_iter().map(|w| (w.id, w)).collect();
        for want in self.plan.values() {
            if let Some(block) = self.blocks.get_mut(&want.id) {
                block.wanted_in = self.views;
            }
            let block = self.blocks.get(&want.id);
            let held = |layer: u8| {
                block.is_some_and(|b| b.here.contains(&layer) || b.under_way.contains(&layer))
            };
            for (i, layer) in want.facts.layers.iter().take(want.layers).enumerate() {
                if !held(i as u8) {
                    let item = Item::Layer(want.id, i as u8);
                    queue.push((want.rank(i), item));
                    self.places.insert(layer.offset, (item, layer.bytes));
                }
            }
        }
        queue.retain(|(_, item)| self.attempts.get(item).is_none_or(|n| *n < ATTEMPTS));
        self.queue = queue.into();
        let gains = self
            .blocks
            .keys()
            .filter_map(|id| Some((self.gain(*id)?.0, *id)));
        self.decodes = gains.collect();
    }

    /// The rank of an item in the view of now.
    pub(super) fn rank(&self, item: Item) -> Rank {
        match item {
            Item::Page(page) => self.plan_pages.get(&page).map(|p| p.rank),
            Item::Layer(id, layer) => self.plan.get(&id).map(|w| w.rank(usize::from(layer))),
        }
        .unwrap_or_default()
    }

    /// The next range to ask for; `None` while budgets are used up or nothing is missing.
    pub fn next_fetch(&mut self) -> Option<Fetch> {
        if self.fetches.len() >= self.budgets.fetches || self.in_flight >= self.budgets.in_flight {
            return None;
        }
        let (offset, item, bytes, rank) = self.pop_best()?;
        let mut items = vec![(item, offset, bytes)];
        self.join_neighbours(&mut items, rank);
        let start = items.first().map_or(offset, |i| i.1);
        let end = items.iter().map(|i| i.1 + u64::from(i.2)).max();
        let fetch = Fetch {
            id: FetchId(self.next_id),
            offset: start,
            length: end.unwrap_or(start) - start,
            items,
        };
        self.next_id += 1;
        self.begin(&fetch);
        Some(fetch)
    }

    /// Takes the best missing item that fits the budgets off the queue.
    fn pop_best(&mut self) -> Option<(u64, Item, u32, Rank)> {
        while let Some((rank, item)) = self.queue.pop() {
            let Some((offset, bytes)) = self.place_of(item) else {
                continue;
            };
            let fits = self.in_flight + u64::from(bytes) <= self.budgets.in_flight;
            if !fits && !self.fetches.is_empty() {
                self.queue.push((rank, item));
                return None;
            }
            if !self.take_room(item, u64::from(bytes), rank) {
                continue;
            }
            self.places.remove(&offset);
            return Some((offset, item, bytes, rank));
        }
        None
    }

    /// Where an item lies, if it is still missing.
    fn place_of(&self, item: Item) -> Option<(u64, u32)> {
        let missing = |offset: u64| {
            let place = self.places.get(&offset).filter(|(i, _)| *i == item);
            place.map(|(_, bytes)| (offset, *bytes))
        };
        match item {
            Item::Layer(id, layer) => {
                let layers = &self.plan.get(&id)?.facts.layers;
                missing(layers.get(usize::from(layer))?.offset)
            }
            Item::Page(page) => missing(self.plan_pages.get(&page)?.offset),
        }
    }

    /// Adds missing items that lie close by, as long as the fetch stays small and they are worth a share of
    /// what leads it.
    fn join_neighbours(&mut self, items: &mut Vec<(Item, u64, u32)>, rank: Rank) {
        loop {
            let wanted: Vec<(u64, u64)> = items.iter().map(|i| (i.1, u64::from(i.2))).collect();
            let gap = coalesce::gap(&wanted).max(u64::from(SMALL));
            let start = items.iter().map(|i| i.1).min().unwrap_or(0);
            let end = items
                .iter()
                .map(|i| i.1 + u64::from(i.2))
                .max()
                .unwrap_or(0);
            let after = self.places.range(end..=end.saturating_add(gap)).next();
            let before = self.places.range(..start).next_back();
            let before = before.filter(|(o, (_, n))| *o + u64::from(*n) + gap >= start);
            let near = [after, before].into_iter().flatten();
            let found = near
                .map(|(offset, (item, bytes))| (*item, *offset, *bytes))
                .find(|i| self.joins(*i, start, end, rank));
            let Some(found) = found else { break };
            if !self.take_room(found.0, u64::from(found.2), self.rank(found.0)) {
                break;
            }
            self.places.remove(&found.1);
            items.push(found);
        }
        items.sort_by_key(|i| i.1);
    }

    fn joins(
        &self,
        (item, offset, bytes): (Item, u64, u32),
        start: u64,
        end: u64,
        rank: Rank,
    ) -> bool {
        let length = end.max(offset + u64::from(bytes)) - start.min(offset);
        let close = self.rank(item);
        let share = if bytes <= SMALL { 16.0 } else { 2.0 };
        let worth = close.class == rank.class && close.worth * share >= rank.worth;
        length <= self.budgets.fetch
            && self.in_flight + length <= self.budgets.in_flight
            && (worth || matches!(item, Item::Page(_)))
            && self.attempts.get(&item).is_none_or(|n| *n == 0)
    }

    fn begin(&mut self, fetch: &Fetch) {
        self.in_flight += fetch.length;
        for (item, ..) in &fetch.items {
            match item {
                Item::Page(page) => {
                    self.pages_under_way.insert(*page);
                }
                Item::Layer(id, layer) => {
                    let block = self.blocks.entry(*id).or_default();
                    block.facts = self.plan.get(id).map(|w| Arc::clone(&w.facts));
                    block.under_way.insert(*layer);
                    block.wanted_in = self.views;
                }
            }
        }
        self.fetches.insert(fetch.id, fetch.clone());
    }

    /// Fetches under way that no longer bring anything wanted; say [`Self::failed`] once they are ended.
    pub fn cancelled(&self) -> Vec<FetchId> {
        let wanted = |i: &(Item, u64, u32)| self.rank(i.0).class > 0;
        let useless = self
            .fetches
            .values()
            .filter(|f| !f.items.iter().any(wanted));
        useless.map(|f| f.id).collect()
    }

    /// A fetch is here. Pages must be in the catalogue before the next [`Self::set_view`].
    pub fn arrived(&mut self, id: FetchId) {
        let Some(fetch) = self.fetches.remove(&id) else {
            return;
        };
        self.in_flight -= fetch.length;
        for (item, _, _) in fetch.items {
            self.attempts.remove(&item);
            match item {
                Item::Page(page) => {
                    self.pages_under_way.remove(&page);
                }
                Item::Layer(block, layer) => {
                    let held = self.blocks.entry(block).or_default();
                    if held.under_way.remove(&layer) {
                        held.here.insert(layer);
                        self.victims.stale = true;
                    }
                    if let Some((gain, _)) = self.gain(block) {
                        self.decodes.push((gain, block));
                    }
                }
            }
        }
    }

    /// A fetch failed or was ended. What it was to bring is missing again, unless it failed too often.
    pub fn failed(&mut self, id: FetchId, cancelled: bool) {
        let Some(fetch) = self.fetches.remove(&id) else {
            return;
        };
        self.in_flight -= fetch.length;
        for (item, offset, bytes) in fetch.items {
            if !cancelled {
                *self.attempts.entry(item).or_default() += 1;
            }
            match item {
                Item::Page(page) => {
                    self.pages_under_way.remove(&page);
                }
                Item::Layer(id, layer) => {
                    self.encoded -= u64::from(bytes);
                    let block = self.blocks.entry(id).or_default();
                    block.under_way.remove(&layer);
                    if block.is_idle() {
                        self.blocks.remove(&id);
                    }
                }
            }
            let rank = self.rank(item);
            let again = self.attempts.get(&item).is_none_or(|n| *n < ATTEMPTS);
            if again && rank.class > 0 {
                self.places.insert(offset, (item, bytes));
                self.queue.push((rank, item));
            }
        }
    }

    /// Has at most `in_flight` bytes under way, and fetches of neighbours of at most `fetch`, from now on.
    pub fn set_window(&mut self, in_flight: u64, fetch: u64) {
        (self.budgets.in_flight, self.budgets.fetch) = (in_flight, fetch);
    }

    /// Asks again for what failed too often, from the next view on.
    pub fn forgive(&mut self) {
        self.attempts.clear();
    }

    /// Where things stand.
    pub fn status(&self) -> Status {
        Status {
            missing: self.places.len(),
            fetches: self.fetches.len(),
            in_flight: self.in_flight,
            encoded: self.encoded,
            decoded: self.decoded,
            first_picture: self.has_first(|id| self.holds(id, 0)),
            settled: self.fetches.is_empty() && self.queue.is_empty(),
            undecoded: self.decodes.len(),
        }
    }

    /// Whether every wanted block of the coarsest tier has voxels.
    pub fn first_picture_decoded(&self) -> bool {
        self.has_first(|id| self.shown(id) > 0)
    }

    /// Whether `has` says yes to every wanted block of the coarsest tier, and all of them are known.
    fn has_first(&self, has: impl Fn(BlockId) -> bool) -> bool {
        self.views > 0
            && self.plan_pages.values().all(|p| p.rank.class < 2)
            && self.plan.values().all(|w| !w.coarsest || has(w.id))
    }

    /// Leaves the layers of a block alone until [`Self::forgive`].
    pub(super) fn give_up(&mut self, id: BlockId, layers: u8) {
        for layer in 0..layers {
            self.attempts.insert(Item::Layer(id, layer), ATTEMPTS);
        }
    }
}
