//! One flight over one volume through one link, and what happened when.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use hgv::render::TransferFunction;
use hgv::stream::schedule::{BlockId, Item, View};
use hgv::stream::{
    HttpClient, HttpOptions, StreamEvent, StreamObserver, StreamOptions, Streamable, Streamer,
};
use hgv::{Error, Result};

use super::contents::{FormatName, open};
use super::flight::Flight;
use super::link::{Link, Proxy};

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// A moment of a session.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Moment {
    /// Since the session began.
    pub time: Duration,
    /// Bytes that had crossed the link, both ways.
    pub bytes: u64,
}

/// Something that changes the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    /// A layer of a block arrived.
    Arrived(BlockId, u8),
    /// A block was decoded from so many layers.
    Decoded(BlockId, u8),
    /// The voxels of a block were forgotten.
    Evicted(BlockId),
}

/// What happened in a session.
#[derive(Debug)]
pub struct Log {
    /// The volume with its index as it was at the end.
    pub content: Arc<dyn Streamable>,
    /// What changed the picture, in order.
    pub changes: Vec<(Moment, Change)>,
    /// When there was a whole picture: every block of the coarsest tier that is seen was decoded.
    pub first: Option<Moment>,
    /// When nothing more was wanted, or the patience ended.
    pub end: Moment,
    /// Whether all that was wanted came before the patience ended.
    pub settled: bool,
    /// Ranges asked for, those of the opening not counted.
    pub requests: u64,
    /// Connections that were opened.
    pub connections: u64,
    /// What went wrong last.
    pub error: Option<String>,
}

/// What to fly over and how.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// Address of the web server that has the files.
    pub server: SocketAddr,
    /// Path of the volume on the server.
    pub path: &'a str,
    /// The same files on disk.
    pub folder: &'a Path,
    /// Opacities and colours.
    pub transfer: &'a TransferFunction,
    /// Where the camera goes.
    pub flight: Flight,
    /// When to give up.
    pub patience: Duration,
}

/// Error that nobody sees with a transfer function: a 500th of what it spans.
pub fn tolerance(transfer: &TransferFunction) -> f32 {
    let [lo, hi] = transfer.span();
    (hi - lo) / 500.0
}

/// What the observer fills.
struct Recorder {
    start: Instant,
    proxy: Proxy,
    changes: Mutex<Vec<(Moment, Change)>>,
}

impl Recorder {
    fn now(&self) -> Moment {
        let crossed = self.proxy.crossed();
        Moment {
            time: self.start.elapsed(),
            bytes: crossed.down + crossed.up,
        }
    }

    fn take(&self, event: &StreamEvent<'_>) {
        let now = self.now();
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            StreamEvent::Arrived(fetch, _) => {
                for (item, ..) in &fetch.items {
                    if let Item::Layer(block, layer) = item {
                        changes.push((now, Change::Arrived(*block, *layer)));
                    }
                }
            }
            StreamEvent::Decoded(brick) => {
                changes.push((now, Change::Decoded(brick.block, brick.layers)));
            }
            StreamEvent::Evicted(block) => changes.push((now, Change::Evicted(*block))),
            _ => {}
        }
    }
}

/// Flies over a volume through a link of its own.
///
/// # Errors
/// [`Error::Io`] if the link cannot be made; what opening the volume says.
pub fn fly(plan: &Plan<'_>, format: FormatName, link: Link) -> Result<Log> {
    let proxy = Proxy::start(link, plan.server)?;
    let address = format!("http://{}/{}", proxy.address(), plan.path);
    let client = HttpClient::new(HttpOptions::default())?;
    let recorder = Arc::new(Recorder {
        start: Instant::now(),
        proxy,
        changes: Mutex::default(),
    });
    let opened: Arc<Mutex<Option<Arc<dyn Streamable>>>> = Arc::default();
    let mut options = StreamOptions::default();
    options.tolerance = tolerance(plan.transfer);
    let observed = Arc::clone(&recorder);
    let observer: StreamObserver = Arc::new(move |event| observed.take(event));
    options.observer = Some(observer);
    let (kept, folder) = (Arc::clone(&opened), plan.folder.to_path_buf());
    let streamer = Streamer::new(
        move || {
            let content = open(format, &client, &address, &folder)?;
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            *kept = Some(Arc::clone(&content));
            Ok(content)
        },
        options,
    )?;
    let (first, end, settled) = rest(&streamer, plan, &recorder);
    let progress = streamer.progress();
    drop(streamer);
    let mut changes = recorder.changes.lock();
    let changes = std::mem::take(changes.as_deref_mut().unwrap_or(&mut Vec::new()));
    let content = opened.lock().ok().and_then(|mut o| o.take());
    Ok(Log {
        content: content.ok_or_else(|| Error::argument("nothing was opened"))?,
        changes,
        first,
        end,
        settled,
        requests: progress.requests,
        connections: recorder.proxy.crossed().connections,
        error: progress.error,
    })
}

/// Looks along the flight, then waits. Moments of the first picture and of the end.
fn rest(
    streamer: &Streamer,
    plan: &Plan<'_>,
    recorder: &Recorder,
) -> (Option<Moment>, Moment, bool) {
    let opacity = Arc::new(plan.transfer.clone());
    let mut first = None;
    let mut watch = |patience: Duration, to_the_end: bool| {
        streamer.wait_until(patience, |p| {
            if p.first_picture && first.is_none() {
                first = Some(recorder.now());
            }
            to_the_end && p.settled
        })
    };
    // The clock of the flight begins with the volume open; that of the session before.
    let start = Instant::now();
    for number in 0u32.. {
        let due = LOOK * number;
        let left = due.saturating_sub(start.elapsed());
        watch(left, false);
        sleep(due.saturating_sub(start.elapsed()));
        let view = View::new(&plan.flight.camera(due));
        streamer.look(view, plan.flight.velocity(due), Arc::clone(&opacity) as _);
        if due >= Flight::length() {
            break;
        }
    }
    let left = plan.patience.saturating_sub(recorder.now().time);
    let settled = watch(left, true).settled;
    (first, recorder.now(), settled)
}
