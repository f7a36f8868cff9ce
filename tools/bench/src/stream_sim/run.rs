//! One run: a policy, a volume, a path and a link, from the request for the file to the end of the rest.

use std::collections::HashMap;

use hgv::stream::schedule::{
    BlockId, Budgets, Catalogue, Decode, Fetch, FetchId, Item, OpacityBound, View,
};

use super::link::{Link, LinkOptions};
use super::measure::{Outcome, Recorder, Unseen};
use super::path::CameraPath;
use super::picture::Picture;
use super::policy::{Policy, Streams};
use super::volume::{FIRST_READ, VirtualVolume};

/// Seconds between two looks at the picture, and before it first is whole.
const LOOK_EVERY: f64 = 0.1;
const LOOK_EVERY_FIRST: f64 = 0.01;
/// Views that pages ask for are at least this many seconds apart.
const PAGES_EVERY: f64 = 0.02;
/// Names of transfers that opening makes; fetches count from 0.
const OPENING: u64 = 1 << 60;

/// All that a run depends on, but for the volume.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Who decides.
    pub policy: Policy,
    /// The network.
    pub link: LinkOptions,
    /// What may be used.
    pub budgets: Budgets,
    /// Error that nobody sees, as a share of the range of values.
    pub tolerance: f32,
    /// Seconds ahead that the scheduler looks; `None` = as it is.
    pub horizon: Option<f32>,
    /// Values are clear up to the first share of the range and most opaque from the second on.
    pub opaque: [f32; 2],
    /// Threads that decode, and voxels a second of each.
    pub decoders: usize,
    /// See `decoders`.
    pub voxels_per_second: f64,
    /// Bytes of heap in use, if somebody counts them.
    pub heap: Option<Heap>,
}

/// Counts the heap of this process.
#[derive(Debug, Clone, Copy)]
pub struct Heap {
    /// Bytes in use.
    pub used: fn() -> usize,
    /// Forgets the peak.
    pub reset: fn(),
    /// Most bytes in use since then.
    pub peak: fn() -> usize,
}

impl Scenario {
    /// A desktop with four threads that decode 20 million voxels a second each.
    pub fn new(policy: Policy, link: LinkOptions) -> Self {
        Self {
            policy,
            link,
            budgets: Budgets::default(),
            tolerance: 1.0 / 500.0,
            horizon: None,
            opaque: [0.25, 0.75],
            decoders: 4,
            voxels_per_second: 20e6,
            heap: None,
        }
    }

    fn opacity(&self, range: [f32; 2]) -> impl Fn([f32; 2]) -> f32 + use<> {
        let [lo, hi] = self.opaque.map(|s| range[0] + s * (range[1] - range[0]));
        move |block: [f32; 2]| ((block[1] - lo) / (hi - lo).max(f32::MIN_POSITIVE)).clamp(0.0, 1.0)
    }
}

struct Run<'a> {
    scenario: &'a Scenario,
    volume: VirtualVolume,
    path: &'a CameraPath,
    policy: Box<dyn Streams>,
    opacity: Box<dyn OpacityBound>,
    link: Link,
    now: f64,
    fetches: HashMap<FetchId, Fetch>,
    decodes: Vec<(f64, Decode)>,
    picture: Option<(f64, Picture)>,
    recorder: Recorder,
    unseen: Unseen,
    outcome: Outcome,
    /// Heap that the policy holds.
    held: isize,
    opening: Vec<u64>,
    next_view: f64,
    next_look: f64,
    /// When pages ask for a new view.
    pages_ask: f64,
    last_view: f64,
}

/// Runs a scenario on `volume`, as opening left it, along `path`.
pub fn run(scenario: &Scenario, volume: VirtualVolume, path: &CameraPath) -> Outcome {
    let range = volume.profile().range;
    let span = range[1] - range[0];
    let mut opening = volume.opening();
    opening.reverse();
    let mut run = Run {
        opacity: Box::new(scenario.opacity(range)),
        policy: (scenario.policy).start(
            scenario.budgets,
            scenario.tolerance * span,
            scenario.horizon,
        ),
        link: Link::new(scenario.link),
        scenario,
        volume,
        path,
        now: 0.0,
        fetches: HashMap::new(),
        decodes: Vec::new(),
        picture: None,
        recorder: Recorder::default(),
        unseen: Unseen::default(),
        outcome: Outcome::default(),
        held: 0,
        opening,
        next_view: f64::INFINITY,
        next_look: 0.0,
        pages_ask: f64::INFINITY,
        last_view: f64::NEG_INFINITY,
    };
    run.open_next();
    run.go();
    run.finish()
}

impl Run<'_> {
    fn end(&self) -> f64 {
        self.path.moves_until() + f64::from(self.path.rest)
    }

    fn go(&mut self) {
        while self.now < self.end() {
            let decoded = self
                .decodes
                .iter()
                .map(|d| d.0)
                .fold(f64::INFINITY, f64::min);
            let alarms = [
                decoded,
                self.next_view,
                self.next_look,
                self.pages_ask,
                self.end(),
            ];
            let next = alarms.into_iter().fold(self.link.next_event(), f64::min);
            self.now = next.max(self.now);
            for id in self.link.advance(self.now) {
                self.take(id);
            }
            self.finish_decodes();
            if self.now >= self.next_view.min(self.pages_ask) {
                self.set_view();
            }
            self.fill();
            if self.policy.status().wants_view {
                self.pages_ask = self.pages_ask.min(self.last_view + PAGES_EVERY);
            }
            self.start_decodes();
            if self.now >= self.next_look {
                self.look();
            }
            if self.rests() && self.is_settled() {
                self.outcome.settled = Some((self.now - self.path.moves_until()).max(0.0));
                self.look();
                return;
            }
        }
    }

    fn rests(&self) -> bool {
        self.now >= self.path.moves_until()
    }

    fn is_settled(&self) -> bool {
        let waits = self.next_view.is_finite() || self.pages_ask.is_finite();
        let idle = self.fetches.is_empty() && self.decodes.is_empty() && !waits;
        idle && self.opening.is_empty() && self.last_view >= 0.0 && self.policy.status().settled
    }

    /// The next read of opening, or the first view.
    fn open_next(&mut self) {
        match self.opening.last() {
            Some(bytes) => {
                self.outcome.requests += 1;
                self.outcome.asked_bytes += bytes;
                self.link.start(OPENING + self.opening.len() as u64, *bytes);
            }
            None => self.next_view = self.now,
        }
    }

    /// A transfer is complete.
    fn take(&mut self, id: u64) {
        if id >= OPENING {
            self.opening.pop();
            self.open_next();
            return;
        }
        self.arrived(FetchId(id));
    }

    fn arrived(&mut self, id: FetchId) {
        let Some(fetch) = self.fetches.remove(&id) else {
            return;
        };
        for &(item, _, bytes) in &fetch.items {
            match item {
                Item::Page(page) => {
                    self.volume.load(page);
                    self.pages_ask = self
                        .pages_ask
                        .min((self.last_view + PAGES_EVERY).max(self.now));
                }
                Item::Layer(block, layer) => self.unseen.came(block, layer, bytes),
            }
        }
        self.metered(|run| run.policy.arrived(id));
    }

    /// Calls the policy and counts the heap that it takes.
    fn metered<T>(&mut self, call: impl FnOnce(&mut Self) -> T) -> T {
        let Some(heap) = self.scenario.heap else {
            return call(self);
        };
        let before = (heap.used)();
        (heap.reset)();
        let out = call(self);
        let peak = (heap.peak)().saturating_sub(before) as isize;
        self.outcome.memory = self.outcome.memory.max((self.held + peak).max(0) as usize);
        self.held += (heap.used)() as isize - before as isize;
        out
    }

    fn set_view(&mut self) {
        let longest = self.volume.extent().into_iter().max().unwrap_or(1) as f64;
        let view = View::new(&self.path.camera(self.now, longest));
        let velocity = self.path.velocity(self.now, longest);
        self.metered(|run| {
            let Run {
                policy,
                volume,
                opacity,
                outcome,
                ..
            } = run;
            outcome
                .set_view
                .time(|| policy.set_view(volume, opacity.as_ref(), view, velocity));
        });
        if self.scenario.policy.cancels() {
            for id in self.policy.cancelled() {
                self.link.cancel(id.0);
                self.fetches.remove(&id);
                self.metered(|run| run.policy.ended(id));
            }
        }
        self.see_decoded(&view);
        self.last_view = self.now;
        self.pages_ask = f64::INFINITY;
        if self.now >= self.next_view {
            let next = self.now + 1.0 / f64::from(self.path.rate);
            let until = self.path.moves_until();
            // One more at the very end, with no velocity.
            self.next_view = if self.now < until {
                next.min(until)
            } else {
                f64::INFINITY
            };
        }
    }

    /// Tells which decoded blocks are part of the picture.
    fn see_decoded(&mut self, view: &View) {
        let volume = &self.volume;
        self.unseen.look(|id| {
            let shift = volume.block_log2() + volume.tiers()[usize::from(id.tier)].base_lod;
            let at = |v: u32| (u64::from(v) << shift) as f32;
            view.see(id.block.map(at), id.block.map(|v| at(v + 1)))
                .is_some()
        });
    }

    fn fill(&mut self) {
        if self.last_view < 0.0 {
            return;
        }
        loop {
            let next = self.metered(|run| {
                let Run {
                    policy, outcome, ..
                } = run;
                outcome.next_fetch.time(|| policy.next_fetch())
            });
            let Some(fetch) = next else { return };
            let wanted: u64 = fetch.items.iter().map(|i| u64::from(i.2)).sum();
            let (id, end) = (fetch.id, fetch.offset + fetch.length);
            if end <= FIRST_READ || fetch.length == 0 {
                // Opening has read this, or there is nothing to ask for.
                self.fetches.insert(id, fetch);
                self.arrived(id);
                continue;
            }
            self.outcome.requests += 1;
            self.outcome.asked_bytes += fetch.length;
            self.outcome.gap_bytes += fetch.length - wanted;
            self.link.start(id.0, fetch.length);
            self.fetches.insert(id, fetch);
        }
    }

    fn start_decodes(&mut self) {
        while self.decodes.len() < self.scenario.decoders {
            let Some(decode) = self.metered(|run| run.policy.next_decode()) else {
                return;
            };
            let seconds = self.voxels(decode) as f64 / self.scenario.voxels_per_second;
            self.decodes.push((self.now + seconds, decode));
        }
    }

    fn voxels(&self, decode: Decode) -> u64 {
        let layer = usize::from(decode.layers).saturating_sub(1);
        let lod = self.volume.profile().layers[layer][0];
        1 << (3 * (self.volume.block_log2().saturating_sub(u32::from(lod))))
    }

    fn finish_decodes(&mut self) {
        let now = self.now;
        let done: Vec<Decode> = self
            .decodes
            .iter()
            .filter(|d| d.0 <= now)
            .map(|d| d.1)
            .collect();
        self.decodes.retain(|d| d.0 > now);
        let any = !done.is_empty();
        for decode in done {
            let bytes = self.voxels(decode) * u64::from(self.volume.profile().voxel_bytes);
            self.metered(|run| run.policy.decoded(decode, bytes));
            self.unseen.decoded(decode.block, decode.layers);
        }
        if any {
            for gone in self.metered(|run| run.policy.evictions()) {
                self.unseen.evicted(gone);
            }
        }
    }

    fn look(&mut self) {
        let every = if self.recorder.has_first() {
            LOOK_EVERY
        } else {
            LOOK_EVERY_FIRST
        };
        self.next_look = self.now + every;
        let shows = self.now.min(self.path.moves_until());
        if self.picture.as_ref().is_none_or(|p| p.0 != shows) {
            let longest = self.volume.extent().into_iter().max().unwrap_or(1) as f64;
            let camera = self.path.camera(shows, longest);
            self.picture = Some((
                shows,
                Picture::new(&self.volume, self.opacity.as_ref(), &camera),
            ));
        }
        if let Some((_, picture)) = &self.picture {
            let policy = &self.policy;
            let quality = picture.quality(&self.volume, &|id: BlockId| policy.shown(id));
            let bytes = self.link.counts().bytes;
            self.recorder.note(
                self.now,
                bytes,
                quality,
                self.now >= self.path.moves_until(),
            );
        }
        let longest = self.volume.extent().into_iter().max().unwrap_or(1) as f64;
        self.see_decoded(&View::new(&self.path.camera(self.now, longest)));
    }

    fn finish(mut self) -> Outcome {
        let counts = self.link.counts();
        self.outcome.bytes = counts.bytes;
        self.outcome.cancelled_bytes = counts.cancelled;
        self.outcome.connections = counts.connections;
        self.outcome.vain_bytes = self.unseen.bytes();
        let (stopped, end) = (self.path.moves_until(), self.end());
        self.recorder.finish(stopped, end, &mut self.outcome);
        self.outcome
    }
}
