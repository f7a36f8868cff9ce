//! What is under way and resident, and what comes next.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

use super::caps::Caps;
use super::hash::BlockMap;
use super::memory::{Resident, Victims, bit};
use super::order::Order;
use super::plan::{Plan, Planner, Rank, Want, WantedPage};
use super::ranges::Ranges;
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
    /// For a desktop: 16 MiB under way in 24 fetches, 1 GiB encoded, 4 GiB decoded.
    fn default() -> Self {
        Self {
            in_flight: 16 << 20,
            fetches: 24,
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

impl Item {
    /// Before every other.
    pub(super) const LEAST: Self = Self::Page(PageId(0));
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
    /// Whether [`Scheduler::set_view`] should be called again, with the same view, for what is further away.
    pub wants_view: bool,
}

/// Bytes that take no longer than a request of their own: a neighbour that is not longer joins a fetch
/// though it is worth much less.
const SMALL: u32 = 8 << 10;

/// Largest gap between ranges that are read as one: small ones are read whatever lies around them.
pub(in crate::stream) fn gap(wanted: &[(u64, u64)]) -> u64 {
    coalesce::gap(wanted).max(u64::from(SMALL))
}

/// Blocks that the first plan of a view names.
const FIRST_REACH: usize = 16 << 10;
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
    pub(super) caps: Caps,
    /// Layers of a block that may be fetched, by tier; empty before the first view.
    pub(super) allowed: Vec<usize>,
    /// Seconds that the view is thought ahead.
    horizon: f32,
    pub(super) views: u64,
    pub(super) plan: BlockMap<Want>,
    plan_pages: HashMap<PageId, WantedPage>,
    order: Order,
    /// Wanted items that are neither resident nor under way.
    missing: usize,
    /// View of the last plan, the blocks that it might name, and whether that was too few.
    view: Option<View>,
    reach: usize,
    cut: bool,
    ranges: Ranges,
    /// Wanted blocks of the coarsest tier.
    first: Vec<BlockId>,
    /// Blocks that may have something new to decode.
    pub(super) decodes: BinaryHeap<(Rank, BlockId)>,
    pub(super) victims: Victims,
    pub(super) blocks: BlockMap<Resident>,
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
            caps: Caps::default(),
            allowed: Vec::new(),
            horizon: 0.25,
            views: 0,
            plan: BlockMap::default(),
            plan_pages: HashMap::new(),
            order: Order::default(),
            missing: 0,
            view: None,
            reach: 0,
            cut: false,
            ranges: Ranges::default(),
            first: Vec::new(),
            decodes: BinaryHeap::new(),
            victims: Victims::default(),
            blocks: BlockMap::default(),
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
    /// after pages have arrived, when the transfer function changes, when the camera moves, and when
    /// [`Status::wants_view`] says so: a call looks at some 16,000 blocks, the best, until all of them are there.
    pub fn set_view(
        &mut self,
        catalogue: &dyn Catalogue,
        opacity: &dyn OpacityBound,
        view: View,
        velocity: [f32; 3],
    ) {
        let moves = self.horizon > 0.0 && velocity.iter().any(|v| *v != 0.0);
        let ahead = moves.then(|| view.moved(velocity.map(|v| v * self.horizon)));
        let mut most = self.reach_for(view);
        self.views += 1;
        self.allowed = self.caps.by_tier(catalogue);
        loop {
            let plan = Planner {
                catalogue,
                opacity,
                view,
                ahead,
                ranges: &mut self.ranges,
                allowed: &self.allowed,
                most,
                room: [self.budgets.encoded, self.budgets.decoded],
                tolerance: self.tolerance,
            }
            .plan();
            self.adopt(plan);
            if !self.wants_more() {
                return;
            }
            self.reach = self.reach.saturating_mul(2).min(self.budgets.blocks);
            most = self.reach;
        }
    }

    /// Blocks that the next plan names: few while most of them are missing, so that a moving camera costs
    /// little, more once all of them are there.
    fn reach_for(&mut self, view: View) -> usize {
        let another = self.view.replace(view).is_none_or(|old| old != view);
        if self.wants_more() {
            self.reach = self.reach.saturating_mul(2);
        } else if another && self.missing > self.reach / 2 {
            self.reach /= 2;
        }
        self.reach = self.reach.max(FIRST_REACH).min(self.budgets.blocks);
        self.reach
    }

    /// Whether all of a plan is there or under way that named fewer blocks than it might.
    fn wants_more(&self) -> bool {
        self.cut && self.order.is_empty() && self.reach < self.budgets.blocks
    }

    fn adopt(&mut self, plan: Plan) {
        self.victims = Victims {
            list: Vec::new(),
            stale: true,
        };
        let mut queue = Vec::with_capacity(plan.blocks.len() + plan.pages.len());
        let tired = |item| (self.attempts.get(&item)).is_some_and(|n| *n >= ATTEMPTS);
        let mut missing = 0;
        for page in &plan.pages {
            let item = Item::Page(page.page);
            if !self.pages_under_way.contains(&page.page) && !tired(item) {
                missing += 1;
                queue.push((page.rank, Reverse(item)));
            }
        }
        let mut decodes = Vec::new();
        for want in &plan.blocks {
            let block = self.blocks.get_mut(&want.id);
            let held = block.map_or(0, |block| {
                block.wanted_in = self.views;
                decodes.extend(block.gain(want).map(|(rank, _)| (rank, want.id)));
                block.held()
            });
            let absent = !held & want.mask();
            missing += absent.count_ones() as usize;
            let next = absent.trailing_zeros() as u8;
            let item = Item::Layer(want.id, next);
            if absent != 0 && !tired(item) {
                queue.push((want.rank(usize::from(next)), Reverse(item)));
            }
        }
        self.cut = plan.cut;
        (self.missing, self.order) = (missing, Order::new(queue));
        self.decodes = decodes.into();
        let first = plan.blocks.iter().filter(|w| w.coarsest);
        self.first = first.map(|w| w.id).collect();
        self.plan_pages = plan.pages.into_iter().map(|p| (p.page, p)).collect();
        self.plan = plan.blocks.into_iter().map(|w| (w.id, w)).collect();
    }

    /// Moves the best of the rest to the front, and the next layers of their blocks to the rest.
    fn fill_front(&mut self) {
        if !self.order.is_short() {
            return;
        }
        while !self.order.is_full() {
            let Some((rank, item)) = self.order.pop_rest() else {
                return;
            };
            let Some((offset, bytes)) = self.place_of(item) else {
                continue;
            };
            self.order.push_front(rank, item, offset, bytes);
            let Item::Layer(id, layer) = item else {
                continue;
            };
            let held = self.blocks.get(&id).map_or(0, Resident::held);
            let Some(want) = self.plan.get(&id) else {
                continue;
            };
            let behind =
                !held & want.mask() & u64::MAX.checked_shl(u32::from(layer) + 1).unwrap_or(0);
            if behind != 0 {
                let next = behind.trailing_zeros() as u8;
                let rank = want.rank(usize::from(next));
                self.order.push(rank, Item::Layer(id, next));
            }
        }
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
        loop {
            self.fill_front();
            let (rank, item) = self.order.pop_front()?;
            let place = self.place_of(item);
            let Some((offset, bytes)) = place.filter(|p| self.order.has(item, p.0)) else {
                continue;
            };
            let fits = self.in_flight + u64::from(bytes) <= self.budgets.in_flight;
            if !fits && !self.fetches.is_empty() {
                self.order.unpop(rank, item);
                return None;
            }
            self.order.take(item, offset);
            if self.take_room(item, u64::from(bytes), rank) {
                return Some((offset, item, bytes, rank));
            }
        }
    }

    /// Where a wanted item lies.
    fn place_of(&self, item: Item) -> Option<(u64, u32)> {
        match item {
            Item::Layer(id, layer) => {
                let layers = &self.plan.get(&id)?.facts.layers;
                let layer = layers.get(usize::from(layer))?;
                Some((layer.offset, layer.bytes))
            }
            Item::Page(page) => {
                let page = self.plan_pages.get(&page)?;
                Some((page.offset, page.bytes))
            }
        }
    }

    /// Adds missing items that lie close by, as long as the fetch stays small and they are worth a share of
    /// what leads it.
    fn join_neighbours(&mut self, items: &mut Vec<(Item, u64, u32)>, rank: Rank) {
        let Some(&(_, mut start, bytes)) = items.first() else {
            return;
        };
        let mut end = start + u64::from(bytes);
        let mut wanted = u64::from(bytes);
        loop {
            let gap = gap(&[(start, wanted)]);
            let mut near = self.order.near(start, end, gap);
            let Some(found) = near.find(|i| self.joins(*i, start, end, rank)) else {
                break;
            };
            drop(near);
            let (item, offset, bytes) = found;
            if !self.take_room(item, u64::from(bytes), self.rank(item)) {
                break;
            }
            self.order.take(item, offset);
            start = start.min(offset);
            end = end.max(offset + u64::from(bytes));
            wanted += u64::from(bytes);
            items.push(found);
        }
        items.sort_by_key(|i| (i.1, i.0));
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
        // So short that all fetches together would not fill the line.
        let short = length <= self.budgets.in_flight / self.budgets.fetches.max(1) as u64;
        let share = if bytes <= SMALL || short { 16.0 } else { 2.0 };
        let worth = close.class == rank.class && close.worth * share >= rank.worth;
        length <= self.budgets.fetch
            && self.in_flight + length <= self.budgets.in_flight
            && (worth || matches!(item, Item::Page(_)))
            && self.attempts.get(&item).is_none_or(|n| *n == 0)
    }

    fn begin(&mut self, fetch: &Fetch) {
        self.in_flight += fetch.length;
        self.missing = self.missing.saturating_sub(fetch.items.len());
        for (item, ..) in &fetch.items {
            match item {
                Item::Page(page) => {
                    self.pages_under_way.insert(*page);
                }
                Item::Layer(id, layer) => {
                    let block = self.blocks.entry(*id).or_default();
                    block.facts = self.plan.get(id).map(|w| Arc::clone(&w.facts));
                    block.under_way |= bit(*layer);
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
                    if held.under_way & bit(layer) != 0 {
                        held.under_way &= !bit(layer);
                        held.here |= bit(layer);
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
                    block.under_way &= !bit(layer);
                    if block.is_idle() {
                        self.blocks.remove(&id);
                    }
                }
            }
            let rank = self.rank(item);
            let again = self.attempts.get(&item).is_none_or(|n| *n < ATTEMPTS);
            if again && rank.class > 0 {
                self.missing += 1;
                self.order.push_front(rank, item, offset, bytes);
            }
        }
    }

    /// Has at most `in_flight` bytes under way, and fetches of neighbours of at most `fetch`, from now on.
    pub fn set_window(&mut self, (in_flight, fetch): (u64, u64)) {
        (self.budgets.in_flight, self.budgets.fetch) = (in_flight, fetch);
    }

    /// Asks again for what failed too often, from the next view on.
    pub fn forgive(&mut self) {
        self.attempts.clear();
    }

    /// Where things stand.
    pub fn status(&self) -> Status {
        Status {
            missing: self.missing,
            fetches: self.fetches.len(),
            in_flight: self.in_flight,
            encoded: self.encoded,
            decoded: self.decoded,
            first_picture: self.has_first(|id| self.holds(id, 0)),
            settled: self.fetches.is_empty() && self.order.is_empty(),
            wants_view: self.wants_more(),
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
            && self.first.iter().all(|id| has(*id))
    }

    /// Leaves the layers of a block alone until [`Self::forgive`].
    pub(super) fn give_up(&mut self, id: BlockId, layers: u8) {
        for layer in 0..layers {
            self.attempts.insert(Item::Layer(id, layer), ATTEMPTS);
        }
    }
}
