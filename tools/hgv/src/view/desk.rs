//! What the window that is open wants, and how far it is with what it got: shared by the thread that draws and
//! the connection that sends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Sender;

use super::pace::{self, Drawn, Kind, Situation, Step};
use super::protocol::{CameraState, Look};

/// Frames that a window may have got and not shown: one on the way while one is shown.
const UNSHOWN: u32 = 2;
/// How long the thread that draws waits for a window.
const IDLE: Duration = Duration::from_secs(1);

/// What a connection sends.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// The bytes of a frame.
    Frame(Vec<u8>),
    /// Words.
    Text(String),
    /// Another window took over: the last message.
    Replaced,
}

/// What to draw.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) version: u64,
    pub(crate) camera: CameraState,
    pub(crate) look: Arc<Look>,
    /// Revision of the bricks.
    pub(crate) picture: u64,
    pub(crate) task: Task,
}

/// What becomes of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    Show(Kind),
    /// A file to keep.
    Save,
}

/// What the last frame took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Took {
    pub(crate) seconds: f32,
    pub(crate) size: [u32; 2],
    pub(crate) bricks: usize,
}

/// The open window.
#[derive(Debug)]
struct Window {
    id: u64,
    to: Sender<Outgoing>,
    camera: Option<CameraState>,
    unshown: u32,
    save: bool,
}

#[derive(Debug)]
struct State {
    window: Option<Window>,
    windows: u64,
    look: Arc<Look>,
    /// Grows with every change of what is wanted.
    version: u64,
    changed: Instant,
    drawn: Option<Drawn>,
    begun: Instant,
    /// Whether the picture that is being drawn is one that a change makes worthless.
    interruptible: bool,
    took: Took,
    closing: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Desk {
    state: Mutex<State>,
    news: Condvar,
    /// Ends the picture that is being drawn.
    stop: Arc<AtomicBool>,
}

impl Desk {
    /// With the look of the first window; `stop` ends what is being drawn.
    pub(crate) fn new(look: Look, stop: Arc<AtomicBool>) -> Self {
        let state = State {
            window: None,
            windows: 0,
            look: Arc::new(look),
            version: 1,
            changed: Instant::now(),
            drawn: None,
            begun: Instant::now(),
            interruptible: false,
            took: Took::default(),
            closing: false,
        };
        Self {
            state: Mutex::new(state),
            news: Condvar::new(),
            stop,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a window, which takes over from the one before; returns its number.
    pub(crate) fn open(&self, to: Sender<Outgoing>) -> u64 {
        let mut state = self.lock();
        state.windows += 1;
        let window = Window {
            id: state.windows,
            to,
            camera: None,
            unshown: 0,
            save: false,
        };
        if let Some(old) = state.window.replace(window) {
            // A window that takes nothing more is closed by the end of its channel.
            let _ = old.to.try_send(Outgoing::Replaced);
        }
        self.change(&mut state);
        state.windows
    }

    /// A window was closed.
    pub(crate) fn close(&self, id: u64) {
        let mut state = self.lock();
        if state.window.as_ref().is_some_and(|w| w.id == id) {
            state.window = None;
            self.change(&mut state);
        }
    }

    /// A window looks from somewhere else.
    pub(crate) fn set_camera(&self, id: u64, camera: CameraState) {
        let mut state = self.lock();
        if let Some(window) = window(&mut state, id) {
            window.camera = Some(camera);
            self.change(&mut state);
        }
    }

    /// A window wants another look.
    pub(crate) fn set_look(&self, id: u64, look: Look) {
        let mut state = self.lock();
        if window(&mut state, id).is_some() {
            state.look = Arc::new(look);
            self.change(&mut state);
        }
    }

    /// A window wants a picture to keep.
    pub(crate) fn save(&self, id: u64) {
        let mut state = self.lock();
        if let Some(window) = window(&mut state, id) {
            window.save = true;
            self.interrupt(&state);
            self.news.notify_all();
        }
    }

    /// A window has shown a frame.
    pub(crate) fn shown(&self, id: u64) {
        let mut state = self.lock();
        if let Some(window) = window(&mut state, id) {
            window.unshown = window.unshown.saturating_sub(1);
            self.news.notify_all();
        }
    }

    /// What the last frame took.
    pub(crate) fn took(&self) -> Took {
        self.lock().took
    }

    /// Ends the thread that draws.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.closing = true;
        self.stop.store(true, Ordering::Relaxed);
        self.news.notify_all();
    }

    fn change(&self, state: &mut State) {
        state.version += 1;
        state.changed = Instant::now();
        self.interrupt(state);
        self.news.notify_all();
    }

    fn interrupt(&self, state: &State) {
        if state.interruptible {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    /// Waits for something to draw; `bricks` tells their revision and whether no more will come. `None` at the end.
    pub(crate) fn next(&self, bricks: impl Fn() -> (u64, bool)) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.closing {
                return None;
            }
            let (picture, settled) = bricks();
            let patience = match state.choose(picture, settled) {
                Ok(job) => {
                    state.interruptible = job.task == Task::Show(Kind::Whole);
                    state.begun = Instant::now();
                    // Only an end that nobody waits for any more may be pending.
                    self.stop.store(false, Ordering::Relaxed);
                    return Some(job);
                }
                Err(patience) => patience,
            };
            let waited = self.news.wait_timeout(state, patience);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// A picture was drawn and is to be sent; one that is `None` was given up.
    pub(crate) fn finish(&self, job: &Job, picture: Option<(Vec<u8>, Took)>) {
        let mut state = self.lock();
        state.interruptible = false;
        let Some((bytes, took)) = picture else {
            return;
        };
        if let Task::Show(kind) = job.task {
            state.took = took;
            state.drawn = Some(Drawn {
                version: job.version,
                picture: job.picture,
                kind,
            });
        }
        if let Some(window) = &mut state.window {
            let sent = window.to.try_send(Outgoing::Frame(bytes)).is_ok();
            window.unshown += u32::from(sent);
        }
    }

    /// A picture cannot be drawn; nothing more is tried until something changes.
    pub(crate) fn fail(&self, job: &Job, message: String) {
        let mut state = self.lock();
        state.interruptible = false;
        state.drawn = Some(Drawn {
            version: job.version,
            picture: job.picture,
            kind: Kind::Whole,
        });
        if let Some(window) = &state.window {
            let _ = window.to.try_send(Outgoing::Text(message));
        }
    }
}

fn window(state: &mut State, id: u64) -> Option<&mut Window> {
    state.window.as_mut().filter(|w| w.id == id)
}

impl State {
    /// The next job, or how long there is nothing to do.
    fn choose(&mut self, picture: u64, settled: bool) -> Result<Job, Duration> {
        let window = self.window.as_mut().ok_or(IDLE)?;
        let camera = window.camera.ok_or(IDLE)?;
        let job = |task| Job {
            version: self.version,
            camera,
            look: Arc::clone(&self.look),
            picture,
            task,
        };
        if std::mem::take(&mut window.save) {
            return Ok(job(Task::Save));
        }
        if window.unshown >= UNSHOWN {
            return Err(IDLE);
        }
        let situation = Situation {
            version: self.version,
            unchanged: self.changed.elapsed(),
            since_drawn: self.begun.elapsed(),
            picture,
            settled,
        };
        match pace::next(self.drawn, situation) {
            Step::Draw(kind) => Ok(job(Task::Show(kind))),
            Step::Wait(patience) => Err(patience),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use hgv::render::{Mode, TransferFunction};
    use tokio::sync::mpsc;

    use super::*;
    use crate::view::protocol::Lighting;

    fn desk() -> (Desk, Arc<AtomicBool>) {
        let look = Look {
            transfer: TransferFunction::ramp([0.0, 1.0], 1.0),
            mode: Mode::Medium,
            lighting: Lighting::default(),
            clip: [[0.0; 3], [1.0; 3]],
            background: [0.0; 3],
            lod: 0,
            level: 0,
        };
        let stop = Arc::new(AtomicBool::new(false));
        (Desk::new(look, Arc::clone(&stop)), stop)
    }

    const CAMERA: CameraState = CameraState {
        target: [0.0; 3],
        azimuth: 0.0,
        elevation: 0.0,
        distance: 1.0,
        orthographic: false,
        size: [8, 8],
    };

    #[test]
    fn no_window_gets_more_than_two_frames_ahead() {
        let (desk, stop) = desk();
        let (to, mut from) = mpsc::channel(8);
        let id = desk.open(to);
        desk.set_camera(id, CAMERA);
        for _ in 0..2 {
            desk.set_camera(id, CAMERA);
            let job = desk.next(|| (0, true)).unwrap();
            assert_eq!(job.task, Task::Show(Kind::Moving));
            desk.finish(&job, Some((vec![1], Took::default())));
        }
        desk.set_camera(id, CAMERA);
        let mut state = desk.lock();
        assert!(state.choose(0, true).is_err());
        drop(state);
        // A picture to keep is not held up.
        desk.save(id);
        assert_eq!(desk.next(|| (0, true)).unwrap().task, Task::Save);
        desk.shown(id);
        assert_eq!(
            desk.next(|| (0, true)).unwrap().task,
            Task::Show(Kind::Moving)
        );
        assert!(!stop.load(Ordering::Relaxed));
        assert!(matches!(from.try_recv(), Ok(Outgoing::Frame(_))));
    }

    #[test]
    fn changes_end_still_pictures_only() {
        let (desk, stop) = desk();
        let (to, _from) = mpsc::channel(8);
        let id = desk.open(to);
        desk.set_camera(id, CAMERA);
        let moving = desk.next(|| (0, true)).unwrap();
        desk.set_camera(id, CAMERA);
        assert!(
            !stop.load(Ordering::Relaxed),
            "it would never come to an end"
        );
        desk.finish(&moving, Some((vec![1], Took::default())));
        let moving = desk.next(|| (0, true)).unwrap();
        desk.finish(&moving, Some((vec![1], Took::default())));
        desk.shown(id);
        let whole = desk.next(|| (0, true)).unwrap();
        assert_eq!(whole.task, Task::Show(Kind::Whole));
        desk.set_camera(id, CAMERA);
        assert!(stop.load(Ordering::Relaxed));
        desk.finish(&whole, None);
        assert_eq!(
            desk.next(|| (0, true)).unwrap().task,
            Task::Show(Kind::Moving)
        );
        assert!(!stop.load(Ordering::Relaxed));
    }

    #[test]
    fn a_window_takes_over_from_the_one_before() {
        let (desk, _) = desk();
        let (to, mut first) = mpsc::channel(8);
        let old = desk.open(to);
        let (to, _second) = mpsc::channel(8);
        let new = desk.open(to);
        assert!(matches!(first.try_recv(), Ok(Outgoing::Replaced)));
        desk.set_camera(old, CAMERA);
        desk.close(old);
        let mut state = desk.lock();
        assert!(state.choose(0, true).is_err(), "the old one has no say");
        drop(state);
        desk.set_camera(new, CAMERA);
        assert!(desk.next(|| (0, true)).is_some());
        desk.end();
        assert!(desk.next(|| (0, true)).is_none());
    }
}
