//! What a run is judged by.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use hgv::stream::schedule::BlockId;
use serde::Serialize;

use super::picture::Quality;

/// The picture at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Moment {
    /// Seconds since the file was asked for.
    pub time: f64,
    /// Bytes that came until then.
    pub bytes: f64,
    /// Weighted error over that of an empty picture; 0 = everything is shown.
    pub error: f64,
}

/// Time that calls took on this machine, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Calls {
    /// How many.
    pub count: u64,
    /// All of them.
    pub total: f64,
    /// The longest.
    pub longest: f64,
}

impl Calls {
    /// Times one call.
    pub fn time<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let out = call();
        self.add(start.elapsed());
        out
    }

    fn add(&mut self, took: Duration) {
        let ms = took.as_secs_f64() * 1e3;
        self.count += 1;
        self.total += ms;
        self.longest = self.longest.max(ms);
    }
}

/// What a run comes to. Times in seconds from the request for the file, unless told otherwise.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Outcome {
    /// Something is shown of 99 % of what is visible.
    pub first_picture: Option<f64>,
    /// Bytes until then.
    pub first_picture_bytes: f64,
    /// Mean over the run of the error of the picture, over that of an empty one.
    pub mean_error: f64,
    /// The same while the camera moved.
    pub moving_error: f64,
    /// Seconds after the camera stopped until 95 % and 99 % of the quality that is to be had are shown.
    pub rest_95: Option<f64>,
    /// See `rest_95`.
    pub rest_99: Option<f64>,
    /// Seconds after the camera stopped until nothing more was asked for.
    pub settled: Option<f64>,
    /// Bytes that came.
    pub bytes: f64,
    /// Bytes that were asked for, without the heads of answers.
    pub asked_bytes: u64,
    /// Bytes between what was wanted, in merged requests.
    pub gap_bytes: u64,
    /// Bytes of transfers that were ended.
    pub cancelled_bytes: f64,
    /// Bytes of layers that came and never were part of a picture.
    pub vain_bytes: u64,
    /// Requests, and connections that were set up for them.
    pub requests: u64,
    /// See `requests`.
    pub connections: u64,
    /// Largest heap of the scheduler in bytes, 0 if not measured.
    pub memory: usize,
    /// Calls of `set_view`.
    pub set_view: Calls,
    /// Calls of `next_fetch`.
    pub next_fetch: Calls,
    /// The picture over time.
    #[serde(skip)]
    pub moments: Vec<Moment>,
}

/// Follows the error of the picture.
#[derive(Debug, Default)]
pub struct Recorder {
    moments: Vec<Moment>,
    first: Option<Moment>,
    rest_95: Option<f64>,
    rest_99: Option<f64>,
}

impl Recorder {
    /// The picture at `time`; `rests` tells whether the camera does.
    pub fn note(&mut self, time: f64, bytes: f64, quality: Quality, rests: bool) {
        let span = (quality.empty - quality.best).max(f64::MIN_POSITIVE);
        let error = ((quality.error - quality.best) / span).clamp(0.0, 1.0);
        let moment = Moment { time, bytes, error };
        if quality.covered > 0.99 {
            self.first.get_or_insert(moment);
        }
        if rests && error <= 0.05 {
            self.rest_95.get_or_insert(time);
        }
        if rests && error <= 0.01 {
            self.rest_99.get_or_insert(time);
        }
        self.moments.push(moment);
    }

    /// Whether the first picture is there.
    pub fn has_first(&self) -> bool {
        self.first.is_some()
    }

    /// Writes what was seen into `outcome`; the camera stopped at `stopped`, the run ends at `end`.
    pub fn finish(self, stopped: f64, end: f64, outcome: &mut Outcome) {
        outcome.first_picture = self.first.map(|m| m.time);
        outcome.first_picture_bytes = self.first.map_or(0.0, |m| m.bytes);
        outcome.rest_95 = self.rest_95.map(|t| t - stopped);
        outcome.rest_99 = self.rest_99.map(|t| t - stopped);
        outcome.mean_error = self.mean(end);
        outcome.moving_error = self.mean(stopped.min(end));
        outcome.moments = self.moments;
    }

    /// Mean error from 0 to `end`; before the first moment nothing is shown.
    fn mean(&self, end: f64) -> f64 {
        let (mut sum, mut time, mut error) = (0.0, 0.0, 1.0);
        for m in self.moments.iter().take_while(|m| m.time <= end) {
            sum += error * (m.time - time);
            (time, error) = (m.time, m.error);
        }
        (sum + error * (end - time).max(0.0)) / end.max(f64::MIN_POSITIVE)
    }
}

/// Layers that came and have not been part of a picture yet.
#[derive(Debug, Default)]
pub struct Unseen {
    came: HashMap<(BlockId, u8), u32>,
    decoded: BTreeMap<BlockId, u8>,
    lost: u64,
}

impl Unseen {
    /// A layer came.
    pub fn came(&mut self, id: BlockId, layer: u8, bytes: u32) {
        if let Some(before) = self.came.insert((id, layer), bytes) {
            self.lost += u64::from(before);
        }
    }

    /// A block is shown with its first `layers` layers wherever it is visible.
    pub fn decoded(&mut self, id: BlockId, layers: u8) {
        self.decoded.insert(id, layers);
    }

    /// The voxels of a block are gone.
    pub fn evicted(&mut self, id: BlockId) {
        self.decoded.remove(&id);
    }

    /// A picture shows the blocks for which `visible` holds.
    pub fn look(&mut self, visible: impl Fn(BlockId) -> bool) {
        let came = &mut self.came;
        self.decoded.retain(|id, layers| {
            let seen = visible(*id);
            if seen {
                for layer in 0..*layers {
                    came.remove(&(*id, layer));
                }
            }
            !seen
        });
    }

    /// Bytes that never were part of a picture.
    pub fn bytes(&self) -> u64 {
        self.lost + self.came.values().map(|b| u64::from(*b)).sum::<u64>()
    }
}
