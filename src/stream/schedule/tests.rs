//! A made-up file and a driver that answers in any order: what the scheduler must keep, whatever happens.
#![allow(clippy::panic)]

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::{
    BlockFacts, BlockId, Budgets, Camera, Catalogue, Fetch, Item, LayerFacts, PageId, Projection,
    Scheduler, TierFacts, View,
};

const BLOCK_LOG2: u32 = 5;
const LODS_IN_BLOCK: u32 = 3;
/// Blocks of a page along each axis.
const PAGE_LOG2: u32 = 2;
const LAYER_LODS: [u8; 4] = [2, 1, 0, 0];

/// A file whose facts follow from hashes of places.
struct Made {
    extent: [u64; 3],
    tiers: Vec<TierFacts>,
    loaded: HashSet<PageId>,
    facts: BTreeMap<BlockId, Arc<BlockFacts>>,
    pages: BTreeMap<PageId, (u64, u32)>,
}

fn mix(seed: u64) -> u64 {
    let x = (seed ^ seed >> 31).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (x ^ x >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) ^ x >> 32
}

fn page(id: BlockId) -> PageId {
    let [x, y, z] = id.block.map(|v| u64::from(v >> PAGE_LOG2));
    PageId(u64::from(id.tier) << 60 | z << 40 | y << 20 | x)
}

impl Made {
    fn new(extent: [u64; 3], seed: u64, index_is_here: bool) -> Self {
        let blocks = |lod: u32| extent.map(|e| e.div_ceil(1 << (BLOCK_LOG2 + lod)) as u32);
        let mut tiers = vec![TierFacts {
            base_lod: 0,
            blocks: blocks(0),
        }];
        while tiers
            .last()
            .is_some_and(|t| t.blocks.iter().product::<u32>() > 8)
        {
            let base_lod = LODS_IN_BLOCK * tiers.len() as u32;
            tiers.push(TierFacts {
                base_lod,
                blocks: blocks(base_lod),
            });
        }
        let mut made = Self {
            extent,
            tiers,
            loaded: HashSet::new(),
            facts: BTreeMap::new(),
            pages: BTreeMap::new(),
        };
        made.fill(seed);
        if index_is_here {
            made.loaded = made.pages.keys().copied().collect();
        }
        made
    }

    fn fill(&mut self, seed: u64) {
        let mut at = 4096;
        for (tier, facts) in self.tiers.iter().enumerate().rev() {
            let [w, h, d] = facts.blocks;
            let all = (0..d).flat_map(|z| (0..h).flat_map(move |y| (0..w).map(move |x| [x, y, z])));
            for block in all {
                let id = BlockId {
                    tier: tier as u8,
                    block,
                };
                self.pages.entry(page(id)).or_insert_with(|| {
                    at += 600;
                    (at - 600, 600)
                });
                let noise = mix(seed ^ at ^ u64::from(block[0] * 7 + block[1] * 31 + block[2]));
                let lo = (noise % 200) as f32;
                let span = (noise >> 8 & 63) as f32;
                let layers = LAYER_LODS.iter().enumerate().map(|(i, &lod)| {
                    let bytes = 16 + (noise >> (10 + i) & 1023) as u32 * (1 + i as u32);
                    // Layers may be empty: they lie where the next one does.
                    let bytes = if noise >> (40 + i) & 3 == 0 { 0 } else { bytes };
                    at += u64::from(bytes);
                    LayerFacts {
                        offset: at - u64::from(bytes),
                        bytes,
                        lod,
                        error: span / (4 << i) as f32,
                    }
                });
                let layers: Vec<_> = if span == 0.0 {
                    Vec::new()
                } else {
                    layers.collect()
                };
                let facts = BlockFacts {
                    range: [lo, lo + span],
                    layers,
                };
                self.facts.insert(id, Arc::new(facts));
            }
        }
    }
}

impl Catalogue for Made {
    fn extent(&self) -> [u64; 3] {
        self.extent
    }
    fn block_log2(&self) -> u32 {
        BLOCK_LOG2
    }
    fn tiers(&self) -> &[TierFacts] {
        &self.tiers
    }
    fn block(&self, id: BlockId) -> Option<Arc<BlockFacts>> {
        let facts = self
            .facts
            .get(&id)
            .filter(|_| self.loaded.contains(&page(id)));
        facts.map(Arc::clone)
    }
    fn page_of(&self, id: BlockId) -> (PageId, u64, u32) {
        let page = page(id);
        let (offset, bytes) = self.pages.get(&page).copied().unwrap_or((0, 1));
        (page, offset, bytes)
    }
}

/// What a driver would know, kept apart from the scheduler's own books.
struct Driver {
    file: Made,
    scheduler: Scheduler,
    budgets: Budgets,
    under_way: Vec<Fetch>,
    /// Layers that arrived; some may have been forgotten since.
    arrived: HashSet<(BlockId, u8)>,
    decoded: BTreeMap<BlockId, u64>,
    tolerance: f32,
}

fn opacity(range: [f32; 2]) -> f32 {
    // Air up to 60 is clear.
    ((range[1] - 60.0) / 200.0).clamp(0.0, 1.0)
}

fn view(camera: [f32; 3], scale: f32) -> View {
    View::new(&Camera {
        eye: camera,
        forward: [0.2, 0.1, 1.0],
        up: [0.0, 1.0, 0.0],
        projection: Projection::Perspective(1.0),
        pixels: [(640.0 * scale) as u32, (400.0 * scale) as u32],
    })
}

impl Driver {
    fn new(file: Made, budgets: Budgets, tolerance: f32) -> Self {
        Self {
            file,
            scheduler: Scheduler::new(budgets, tolerance),
            budgets,
            under_way: Vec::new(),
            arrived: HashSet::new(),
            decoded: BTreeMap::new(),
            tolerance,
        }
    }

    fn look(&mut self, eye: [f32; 3], scale: f32, velocity: [f32; 3]) {
        self.scheduler
            .set_view(&self.file, &opacity, view(eye, scale), velocity);
    }

    fn fetch_all(&mut self) {
        while let Some(fetch) = self.scheduler.next_fetch() {
            self.check_fetch(&fetch);
            self.under_way.push(fetch);
            self.check();
        }
    }

    fn check_fetch(&self, fetch: &Fetch) {
        let end = fetch.offset + fetch.length;
        let asked: HashSet<Item> = self
            .under_way
            .iter()
            .flat_map(|f| &f.items)
            .map(|i| i.0)
            .collect();
        for &(item, offset, bytes) in &fetch.items {
            assert!(
                offset >= fetch.offset && offset + u64::from(bytes) <= end,
                "outside its fetch"
            );
            assert!(!asked.contains(&item), "{item:?} is asked for twice");
            match item {
                Item::Layer(id, layer) => {
                    let facts = &self.file.facts[&id];
                    let known = facts.layers[usize::from(layer)];
                    assert_eq!((known.offset, known.bytes), (offset, bytes));
                    assert!(opacity(facts.range) > 0.0, "an invisible block is fetched");
                }
                Item::Page(page) => {
                    assert_eq!(self.file.pages[&page], (offset, bytes));
                    assert!(
                        !self.file.loaded.contains(&page),
                        "a loaded page is fetched"
                    );
                }
            }
        }
        assert!(fetch.items.len() == 1 || fetch.length <= self.budgets.fetch);
    }

    /// Books and budgets.
    fn check(&self) {
        let status = self.scheduler.status();
        let in_flight: u64 = self.under_way.iter().map(|f| f.length).sum();
        assert_eq!(
            (status.in_flight, status.fetches),
            (in_flight, self.under_way.len())
        );
        assert!(status.fetches <= self.budgets.fetches);
        assert!(in_flight <= self.budgets.in_flight || status.fetches == 1);
        assert!(status.encoded <= self.budgets.encoded, "{status:?}");
        let asked = self.under_way.iter().flat_map(|f| &f.items);
        let asked = asked.map(|i| {
            if let Item::Layer(..) = i.0 {
                u64::from(i.2)
            } else {
                0
            }
        });
        let held = self
            .arrived
            .iter()
            .filter(|(id, l)| self.scheduler.holds(*id, *l));
        let held = held.map(|(id, l)| u64::from(self.file.facts[id].layers[usize::from(*l)].bytes));
        assert_eq!(status.encoded, asked.sum::<u64>() + held.sum::<u64>());
        assert_eq!(status.decoded, self.decoded.values().sum::<u64>());
    }

    fn answer(&mut self, which: usize, fails: bool) {
        if self.under_way.is_empty() {
            return;
        }
        let fetch = self.under_way.swap_remove(which % self.under_way.len());
        if fails {
            self.scheduler.failed(fetch.id, false);
            return;
        }
        for (item, _, _) in &fetch.items {
            match item {
                Item::Layer(id, layer) => {
                    self.arrived.insert((*id, *layer));
                }
                Item::Page(page) => {
                    self.file.loaded.insert(*page);
                }
            }
        }
        self.scheduler.arrived(fetch.id);
    }

    fn cancel(&mut self) {
        for id in self.scheduler.cancelled() {
            self.under_way.retain(|f| f.id != id);
            self.scheduler.failed(id, true);
        }
        self.check();
    }

    fn decode_all(&mut self) {
        while let Some(decode) = self.scheduler.next_decode() {
            for layer in 0..decode.layers {
                assert!(
                    self.scheduler.holds(decode.block, layer),
                    "layer {layer} is missing"
                );
            }
            assert!(
                self.scheduler.shown(decode.block) < decode.layers,
                "decoded twice"
            );
            let bytes = 1000 << decode.layers;
            self.scheduler.decoded(decode, Some(bytes));
            self.decoded.insert(decode.block, bytes);
        }
        for block in self.scheduler.evictions() {
            assert!(self.decoded.remove(&block).is_some(), "evicted twice");
        }
        self.check();
        assert!(self.scheduler.status().decoded <= self.budgets.decoded);
    }
}

#[derive(Debug, Clone)]
enum Event {
    Look([f32; 3], [f32; 3]),
    Answer(usize, bool),
    Decode,
    Cancel,
    Forgive,
}

fn eye() -> impl Strategy<Value = [f32; 3]> {
    [-50f32..300.0, -50f32..300.0, -300f32..250.0]
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        2 => (eye(), [-80f32..80.0, -80f32..80.0, -80f32..80.0]).prop_map(|(e, v)| Event::Look(e, v)),
        6 => (0usize..20, prop::bool::weighted(0.15)).prop_map(|(w, f)| Event::Answer(w, f)),
        2 => Just(Event::Decode),
        1 => Just(Event::Cancel),
        1 => Just(Event::Forgive),
    ];
    prop::collection::vec(event, 1..30)
}

fn budgets() -> impl Strategy<Value = Budgets> {
    (
        1usize..8,
        500u64..50_000,
        500u64..20_000,
        2_000u64..200_000,
        4_000u64..200_000,
    )
        .prop_map(|(fetches, in_flight, fetch, encoded, decoded)| Budgets {
            fetches,
            in_flight,
            fetch,
            encoded,
            decoded,
            blocks: 2000,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    /// Books add up, budgets hold, nothing is asked for twice or in vain, whatever the order of events.
    #[test]
    fn whatever_happens_books_and_budgets_hold(
        extent in [1u64..260, 1u64..200, 1u64..160],
        seed in any::<u64>(),
        index_is_here in any::<bool>(),
        budgets in budgets(),
        events in events(),
    ) {
        let mut driver = Driver::new(Made::new(extent, seed, index_is_here), budgets, 0.5);
        for event in events {
            match event {
                Event::Look(eye, velocity) => driver.look(eye, 1.0, velocity),
                Event::Answer(which, fails) => driver.answer(which, fails),
                Event::Decode => driver.decode_all(),
                Event::Cancel => driver.cancel(),
                Event::Forgive => driver.scheduler.forgive(),
            }
            driver.fetch_all();
            driver.check();
        }
    }
}

/// Budgets that nothing reaches, fetches of one item so that the order shows.
fn ample() -> Budgets {
    Budgets {
        fetch: 1,
        fetches: 1,
        ..Budgets::default()
    }
}

/// Looks until nothing is missing; returns the layers in the order in which they were asked for.
fn settle(driver: &mut Driver, eye: [f32; 3]) -> Vec<(BlockId, u8)> {
    let mut order = Vec::new();
    for _ in 0..10_000 {
        driver.look(eye, 1.0, [0.0; 3]);
        driver.fetch_all();
        if driver.under_way.is_empty() {
            return order;
        }
        let items = driver.under_way.iter().flat_map(|f| &f.items);
        order.extend(items.filter_map(|i| match i.0 {
            Item::Layer(id, layer) => Some((id, layer)),
            Item::Page(_) => None,
        }));
        driver.answer(0, false);
    }
    panic!("never settles");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Left alone, a view gets all it can show: the whole first picture, then layers of a block in order.
    #[test]
    fn a_view_settles_coarse_first(seed in any::<u64>(), eye in eye(), index_is_here in any::<bool>()) {
        let file = Made::new([250, 180, 130], seed, index_is_here);
        let top = file.tiers.len() as u8 - 1;
        let mut driver = Driver::new(file, ample(), 0.5);
        let order = settle(&mut driver, eye);
        let place = |b: &dyn Fn(&(BlockId, u8)) -> bool| order.iter().position(b);
        let is_first = |i: &(BlockId, u8)| i.0.tier == top && i.1 == 0;
        let last_first = order.iter().rposition(is_first);
        if index_is_here && let (Some(last), Some(other)) = (last_first, place(&|i| !is_first(i))) {
            prop_assert!(last < other, "the first picture is not first");
        }
        let status = driver.scheduler.status();
        prop_assert!(status.settled && status.first_picture && status.missing == 0);
        driver.decode_all();
        for (id, layer) in &order {
            prop_assert!(driver.scheduler.shown(*id) > *layer);
        }
        // What is near is there in full; tolerance decides how full.
        let facts = |id: &BlockId| driver.file.facts[id].layers[usize::from(driver.scheduler.shown(*id)) - 1];
        let finest = order.iter().filter(|(id, _)| id.tier == 0);
        for (id, _) in finest {
            prop_assert!(facts(id).lod <= 2 && facts(id).error.is_finite());
            prop_assert!(driver.tolerance > 0.0);
        }
    }

    /// A view that turns away ends what it no longer needs, and nothing else.
    #[test]
    fn only_useless_fetches_are_cancelled(seed in any::<u64>()) {
        let budgets = Budgets { fetches: 4, fetch: 2000, ..Budgets::default() };
        let mut driver = Driver::new(Made::new([250, 180, 130], seed, true), budgets, 0.5);
        driver.look([100.0, 80.0, -100.0], 1.0, [0.0; 3]);
        driver.fetch_all();
        prop_assert!(driver.scheduler.cancelled().is_empty());
        driver.look([100.0, 80.0, 9000.0], 1.0, [0.0; 3]);
        prop_assert_eq!(driver.scheduler.cancelled().len(), driver.under_way.len());
        driver.cancel();
        prop_assert_eq!(driver.scheduler.status().in_flight, 0);
        prop_assert_eq!(driver.scheduler.status().encoded, 0);
    }
}

#[test]
fn an_item_that_always_fails_is_left_alone_until_forgiven() {
    let mut driver = Driver::new(Made::new([30, 30, 30], 3, true), ample(), 0.5);
    let eye = [15.0, 15.0, -60.0];
    let mut tries = 0;
    driver.look(eye, 1.0, [0.0; 3]);
    driver.fetch_all();
    while !driver.under_way.is_empty() {
        tries += 1;
        driver.answer(0, true);
        driver.fetch_all();
    }
    driver.look(eye, 1.0, [0.0; 3]);
    assert!(tries > 0 && driver.scheduler.next_fetch().is_none());
    driver.scheduler.forgive();
    driver.look(eye, 1.0, [0.0; 3]);
    assert!(driver.scheduler.next_fetch().is_some());
}

#[test]
fn a_camera_that_moves_fetches_what_is_ahead() {
    let mut driver = Driver::new(Made::new([250, 180, 130], 5, true), ample(), 0.5);
    let still = settle(&mut driver, [30.0, 90.0, -20.0]).len();
    driver.scheduler.set_view(
        &driver.file,
        &opacity,
        view([30.0, 90.0, -20.0], 1.0),
        [600.0, 0.0, 0.0],
    );
    let ahead = driver.scheduler.status().missing;
    assert!(still > 0 && ahead > 0, "{still} {ahead}");
}
