//! Showing a volume while it is read: threads that do what the scheduler says.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::content::{Brick, Bricks, Streamable};
use super::fetch;
use super::pace::Pace;
use super::schedule::{BlockId, Caps, Decode, Fetch, FetchId, Item, OpacityBound, Scheduler, View};
use super::streaming::{StreamEvent, StreamOptions, StreamProgress};
use crate::{Error, Result};

/// Fetches at most this long go on although nobody wants their bytes any more: ending them would cost a
/// connection, which is worth more.
const WORTH_ENDING: u64 = 256 << 10;
/// A file that is replaced more often than this is not opened anew.
const REOPENING: Duration = Duration::from_secs(10);

/// Opens the volume; called again when the file was replaced.
type Open = Box<dyn Fn() -> Result<Arc<dyn Streamable>> + Send + Sync>;

/// What is to be shown.
#[derive(Clone)]
struct Aim {
    view: View,
    velocity: [f32; 3],
    opacity: Arc<dyn OpacityBound + Send + Sync>,
}

struct State {
    content: Arc<dyn Streamable>,
    /// Counts openings; what an older one brings is thrown away.
    opening: u64,
    /// When it was opened anew last.
    reopened: Option<Instant>,
    scheduler: Scheduler,
    pace: Pace,
    aim: Option<Aim>,
    caps: Caps,
    layers: HashMap<(BlockId, u8), Arc<Vec<u8>>>,
    layer_bytes: u64,
    bricks: Arc<HashMap<BlockId, Arc<Brick>>>,
    stops: HashMap<FetchId, (Arc<AtomicBool>, u64)>,
    decoding: usize,
    progress: StreamProgress,
    /// The file is being opened anew: what is under way no longer counts.
    reopening: bool,
    closing: bool,
}

struct Shared {
    open: Open,
    options: StreamOptions,
    state: Mutex<State>,
    /// There may be something to fetch or to decode.
    work: Condvar,
    /// The progress has changed.
    news: Condvar,
}

/// Shows a volume while it is read: fetches and decodes what a view needs, best first, within budgets.
///
/// Fetching and decoding go on in threads of its own until it is dropped, which ends what is under way.
/// If the file is replaced meanwhile, it is opened anew and fetched from the beginning; if that happens
/// again within ten seconds, the progress says so.
///
/// ```
/// # fn main() -> hgv::Result<()> {
/// # let path = std::env::temp_dir().join("hgv-doc-streamer.hgv");
/// # let voxels: Vec<u8> = (0..64 * 64 * 64u32).map(|i| (i % 64 + i / 4096) as u8).collect();
/// # let source = hgv::volume::MemoryVolume::new([64; 3], &voxels, Default::default())?;
/// # let options = hgv::encode::EncodeOptions::default().with_force(true);
/// # hgv::encode::encode(&source, &path, &options, &|_| std::ops::ControlFlow::Continue(()))?;
/// use std::sync::Arc;
/// use std::time::Duration;
/// use hgv::stream::schedule::{Camera, Projection, View};
/// use hgv::stream::{StreamOptions, Streamer, VolumeContent};
///
/// let file = path.clone();
/// let streamer = Streamer::new(
///     move || Ok(Arc::new(VolumeContent::new(hgv::Volume::open(&file)?)) as _),
///     StreamOptions::default(),
/// )?;
/// let camera = Camera {
///     eye: [32.0, 32.0, -100.0],
///     forward: [0.0, 0.0, 1.0],
///     up: [0.0, 1.0, 0.0],
///     projection: Projection::Perspective(0.8),
///     pixels: [256, 256],
/// };
/// streamer.look(View::new(&camera), [0.0; 3], Arc::new(|_| 1.0));
/// let progress = streamer.wait_until(Duration::from_secs(60), |p| p.settled);
/// assert!(progress.settled && !streamer.bricks().held.is_empty());
/// # std::fs::remove_file(path).ok();
/// # Ok(())
/// # }
/// ```
pub struct Streamer {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Streamer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Streamer {:?}", self.progress())
    }
}

impl Streamer {
    /// Opens a volume with `open`, which is called again when the file turns out to have been replaced.
    ///
    /// # Errors
    /// What `open` says; [`Error::Io`] if threads cannot be started.
    pub fn new(
        open: impl Fn() -> Result<Arc<dyn Streamable>> + Send + Sync + 'static,
        options: StreamOptions,
    ) -> Result<Self> {
        let content = open()?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(content, &options)),
            open: Box::new(open),
            work: Condvar::new(),
            news: Condvar::new(),
            options,
        });
        let mut streamer = Self {
            threads: Vec::new(),
            shared,
        };
        let options = &streamer.shared.options;
        let fetchers = options.budgets.fetches.clamp(1, 64);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let decoders = match options.decoders {
            0 => cores,
            n => n.min(1024),
        };
        for _ in 0..fetchers {
            streamer.start("hgv-fetch", Shared::fetch_loop)?;
        }
        for _ in 0..decoders {
            streamer.start("hgv-decode", Shared::decode_loop)?;
        }
        Ok(streamer)
    }

    fn start(&mut self, name: &str, work: fn(&Shared)) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || work(&shared))
            .map_err(|e| Error::io("threads of a streamer", e))?;
        self.threads.push(thread);
        Ok(())
    }

    /// Shows `view`, with a camera that moves by `velocity` voxels a second; fetches for other views that
    /// this one does not need are ended. To be called for every picture of a moving camera.
    pub fn look(
        &self,
        view: View,
        velocity: [f32; 3],
        opacity: Arc<dyn OpacityBound + Send + Sync>,
    ) {
        let mut state = self.shared.lock();
        state.aim = Some(Aim {
            view,
            velocity,
            opacity,
        });
        state.plan();
        self.shared.tell(&mut state);
    }

    /// Fetches and shows nothing beyond `caps` from now on, and forgets voxels that do.
    pub fn set_caps(&self, caps: Caps) {
        let mut state = self.shared.lock();
        if state.caps == caps {
            return;
        }
        let evicted = state.set_caps(caps);
        state.plan();
        self.shared.tell(&mut state);
        drop(state);
        for id in evicted {
            self.shared.observe(&StreamEvent::Evicted(id));
        }
    }

    /// The decoded blocks of now, and the index.
    pub fn bricks(&self) -> Bricks {
        let state = self.shared.lock();
        Bricks {
            catalogue: state.content.catalogue(),
            held: Arc::clone(&state.bricks),
        }
    }

    /// Where things stand.
    pub fn progress(&self) -> StreamProgress {
        self.shared.lock().report()
    }

    /// Waits until `enough` says yes, or for `patience`; returns where things stand then.
    pub fn wait_until(
        &self,
        patience: Duration,
        mut enough: impl FnMut(&StreamProgress) -> bool,
    ) -> StreamProgress {
        let end = Instant::now().checked_add(patience);
        let mut state = self.shared.lock();
        loop {
            let report = state.report();
            let left = end.map_or(patience, |end| {
                end.saturating_duration_since(Instant::now())
            });
            if enough(&report) || left.is_zero() {
                return report;
            }
            let waited = self.shared.news.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Asks again for what could not be had.
    pub fn retry(&self) {
        let mut state = self.shared.lock();
        state.scheduler.forgive();
        state.progress.error = None;
        state.plan();
        self.shared.tell(&mut state);
    }
}

impl Drop for Streamer {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closing = true;
        for (stop, _) in state.stops.values() {
            stop.store(true, Ordering::Relaxed);
        }
        drop(state);
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

impl State {
    fn new(content: Arc<dyn Streamable>, options: &StreamOptions) -> Self {
        let mut scheduler = scheduler(options);
        // Nothing is shown yet that could be over them.
        let _ = scheduler.set_caps(content.catalogue().as_ref(), options.caps);
        Self {
            content,
            opening: 0,
            reopened: None,
            scheduler,
            caps: options.caps,
            pace: Pace::default(),
            aim: None,
            layers: HashMap::new(),
            layer_bytes: 0,
            bricks: Arc::default(),
            stops: HashMap::new(),
            decoding: 0,
            progress: StreamProgress::default(),
            reopening: false,
            closing: false,
        }
    }

    /// Plans anew for the view of now, and ends what it does not need.
    fn plan(&mut self) {
        let Some(aim) = &self.aim else {
            return;
        };
        let catalogue = self.content.catalogue();
        self.scheduler.set_view(
            catalogue.as_ref(),
            aim.opacity.as_ref(),
            aim.view,
            aim.velocity,
        );
        for id in self.scheduler.cancelled() {
            if let Some((stop, length)) = self.stops.get(&id) {
                stop.store(*length > WORTH_ENDING, Ordering::Relaxed);
            }
        }
    }

    fn set_caps(&mut self, caps: Caps) -> Vec<BlockId> {
        self.caps = caps;
        let catalogue = self.content.catalogue();
        let evicted = self.scheduler.set_caps(catalogue.as_ref(), caps);
        let bricks = Arc::make_mut(&mut self.bricks);
        for id in &evicted {
            bricks.remove(id);
        }
        self.progress.picture += 1;
        evicted
    }

    fn report(&self) -> StreamProgress {
        let status = self.scheduler.status();
        StreamProgress {
            status,
            bricks: self.bricks.len(),
            first_picture: self.scheduler.first_picture_decoded(),
            settled: self.aim.is_some()
                && status.settled
                && status.undecoded == 0
                && self.decoding == 0,
            ..self.progress.clone()
        }
    }

    /// Keeps layers, and forgets those that the scheduler has forgotten once they add up.
    fn keep_layer(&mut self, block: BlockId, layer: u8, bytes: Vec<u8>) {
        self.layer_bytes += bytes.len() as u64;
        let old = self.layers.insert((block, layer), Arc::new(bytes));
        self.layer_bytes -= old.map_or(0, |old| old.len() as u64);
    }

    fn forget_layers(&mut self) {
        if self.layer_bytes <= self.scheduler.status().encoded {
            return;
        }
        let scheduler = &self.scheduler;
        self.layers
            .retain(|(id, layer), _| scheduler.holds(*id, *layer));
        self.layer_bytes = self.layers.values().map(|l| l.len() as u64).sum();
    }

    fn may_reopen(&self) -> bool {
        self.reopened.is_none_or(|at| at.elapsed() > REOPENING)
    }

    fn begin_again(&mut self, content: Arc<dyn Streamable>, options: &StreamOptions) {
        let fresh = Self::new(content, options);
        let old = std::mem::replace(self, fresh);
        for (stop, _) in old.stops.values() {
            stop.store(true, Ordering::Relaxed);
        }
        self.opening = old.opening + 1;
        self.reopened = Some(Instant::now());
        self.aim = old.aim;
        self.closing = old.closing;
        // Nothing of the new file is shown yet.
        let _ = self.set_caps(old.caps);
        self.progress = old.progress;
        self.progress.reopened += 1;
        self.plan();
    }
}

fn scheduler(options: &StreamOptions) -> Scheduler {
    Scheduler::new(options.budgets, options.tolerance).with_horizon(options.horizon)
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn observe(&self, event: &StreamEvent<'_>) {
        if let Some(observer) = &self.options.observer {
            observer(event);
        }
    }

    /// Wakes those who wait for work or news.
    fn tell(&self, state: &mut State) {
        state.progress.revision += 1;
        self.work.notify_all();
        self.news.notify_all();
    }

    /// Waits until `next` finds work; `None` when the streamer ends.
    fn next<T>(&self, next: impl Fn(&mut State) -> Option<T>) -> Option<T> {
        let mut state = self.lock();
        loop {
            if state.closing {
                return None;
            }
            if !state.reopening
                && let Some(found) = next(&mut state)
            {
                return Some(found);
            }
            // Looking may have shown that nothing is missing any more.
            self.news.notify_all();
            let woken = self.work.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn fetch_loop(&self) {
        let begin = |state: &mut State| {
            (state.scheduler).set_window(state.pace.window(&self.options.budgets));
            let fetch = state.scheduler.next_fetch()?;
            state.pace.asked(fetch.id, fetch.length, Instant::now());
            let stop = Arc::new(AtomicBool::new(false));
            let entry = (Arc::clone(&stop), fetch.length);
            state.stops.insert(fetch.id, entry);
            state.progress.requests += 1;
            Some((fetch, stop, Arc::clone(&state.content), state.opening))
        };
        while let Some((fetch, stop, content, opening)) = self.next(begin) {
            self.observe(&StreamEvent::Asked(&fetch));
            let cache = self.options.cache.as_deref();
            let result = fetch::bring(content.as_ref(), &fetch, cache, &stop);
            match &result {
                Ok(brought) => self.observe(&StreamEvent::Arrived(&fetch, brought.cached)),
                Err(error) => self.observe(&StreamEvent::Failed(&fetch, error)),
            }
            self.fetched(&fetch, result, &content, opening);
        }
    }

    fn fetched(
        &self,
        fetch: &Fetch,
        result: Result<fetch::Brought>,
        content: &Arc<dyn Streamable>,
        opening: u64,
    ) {
        // May send a request: not while others wait for the state.
        let over = result.as_ref().is_err_and(|e| content.is_over(e));
        let mut state = self.lock();
        if state.opening != opening || state.reopening {
            return;
        }
        state.stops.remove(&fetch.id);
        let bytes = result.as_ref().map_or(0, |b| b.fetched);
        state.pace.ended(fetch.id, bytes, Instant::now());
        match result {
            Ok(brought) => {
                state.progress.cached += brought.cached;
                state.progress.fetched += brought.fetched;
                for (block, layer, bytes) in brought.layers {
                    state.keep_layer(block, layer, bytes);
                }
                state.scheduler.arrived(fetch.id);
                state.forget_layers();
                let pages = fetch.items.iter().any(|i| matches!(i.0, Item::Page(_)));
                if pages || state.scheduler.status().wants_view {
                    state.plan();
                }
            }
            Err(error) if over && state.may_reopen() => {
                state.reopening = true;
                drop(state);
                self.reopen(&error);
                return;
            }
            Err(Error::Cancelled) => state.scheduler.failed(fetch.id, true),
            Err(error) => {
                state.scheduler.failed(fetch.id, false);
                state.progress.error = Some(error.to_string());
            }
        }
        self.tell(&mut state);
    }

    /// Opens the file anew. Others wait meanwhile: whatever they bring is of the old file.
    fn reopen(&self, why: &Error) {
        let opened = (self.open)();
        let mut state = self.lock();
        match opened {
            Ok(content) => state.begin_again(content, &self.options),
            Err(error) => {
                // Nothing more can be had of the old file; the next view tries again.
                state.progress.error = Some(format!("{why}; it cannot be opened anew: {error}"));
                let content = Arc::clone(&state.content);
                state.begin_again(content, &self.options);
                state.progress.reopened -= 1;
            }
        }
        self.tell(&mut state);
        drop(state);
        self.observe(&StreamEvent::Reopened);
    }

    fn decode_loop(&self) {
        let begin = |state: &mut State| {
            let decode = state.scheduler.next_decode()?;
            let held = (0..decode.layers).map(|l| state.layers.get(&(decode.block, l)).cloned());
            let layers: Option<Vec<_>> = held.collect();
            state.decoding += 1;
            Some((decode, layers, Arc::clone(&state.content), state.opening))
        };
        while let Some((decode, layers, content, opening)) = self.next(begin) {
            let gone = || Error::argument(format!("a layer of {:?} is gone", decode.block));
            let decoded = layers
                .ok_or_else(gone)
                .and_then(|l| content.decode(decode.block, &l));
            self.decoded(decode, decoded.map(Arc::new), opening);
        }
    }

    fn decoded(&self, decode: Decode, decoded: Result<Arc<Brick>>, opening: u64) {
        let mut state = self.lock();
        if state.opening != opening {
            return;
        }
        state.decoding -= 1;
        let bytes = decoded.as_ref().ok().map(|b| b.voxels.len() as u64);
        state.scheduler.decoded(decode, bytes);
        let mut shown = None;
        match decoded {
            Ok(brick) if state.scheduler.shown(decode.block) == decode.layers => {
                let bricks = Arc::make_mut(&mut state.bricks);
                bricks.insert(decode.block, Arc::clone(&brick));
                shown = Some(brick);
            }
            // A decode of more layers was faster.
            Ok(_) => {}
            Err(error) => state.progress.error = Some(error.to_string()),
        }
        let evicted = state.scheduler.evictions();
        for id in &evicted {
            Arc::make_mut(&mut state.bricks).remove(id);
        }
        state.progress.picture += 1;
        self.tell(&mut state);
        drop(state);
        if let Some(brick) = &shown {
            self.observe(&StreamEvent::Decoded(brick));
        }
        for id in evicted {
            self.observe(&StreamEvent::Evicted(id));
        }
    }
}
