//! How many bytes to have under way: enough to keep the line busy, few enough that what the camera wants
//! next is not behind them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::schedule::{Budgets, FetchId};

/// Seconds of the line's rate that are under way beside what two round trips hold.
const AHEAD: f64 = 0.25;
/// Bytes under way at least, and before anything is known.
const LEAST: u64 = 512 << 10;
/// A longer fetch is cut into this many of those under way.
const PARTS: u64 = 8;
/// Bytes of a fetch that joins neighbours may be this many at least.
const LEAST_FETCH: u64 = 64 << 10;
/// Shortest time that a rate is taken over.
const SAMPLE: Duration = Duration::from_millis(50);
/// A round trip before one was seen.
const ROUND_TRIP: Duration = Duration::from_millis(100);

/// What is known of the line.
#[derive(Debug, Default)]
pub(super) struct Pace {
    begun: HashMap<FetchId, (Instant, u64)>,
    in_flight: u64,
    /// When the sample of now began, and bytes that arrived since.
    sample: Option<(Instant, u64)>,
    /// Whether the line had enough to do since then.
    busy: bool,
    /// Bytes a second; 0 = not known yet.
    rate: f64,
    /// Shortest fetch: hardly more than a round trip.
    shortest: Option<Duration>,
}

impl Pace {
    /// A fetch of `length` bytes begins.
    pub(super) fn asked(&mut self, id: FetchId, length: u64, now: Instant) {
        self.begun.insert(id, (now, length));
        self.in_flight += length;
        if self.sample.is_none() {
            (self.sample, self.busy) = (Some((now, 0)), true);
        }
    }

    /// A fetch is over and brought `bytes` from the source.
    pub(super) fn ended(&mut self, id: FetchId, bytes: u64, now: Instant) {
        let Some((begun, length)) = self.begun.remove(&id) else {
            return;
        };
        self.busy &= self.in_flight >= LEAST / 2;
        self.in_flight -= length;
        if bytes > 0 {
            let took = now.saturating_duration_since(begun);
            self.shortest = Some(self.shortest.map_or(took, |s| s.min(took)));
        }
        let Some((start, before)) = self.sample else {
            return;
        };
        let (took, bytes) = (now.saturating_duration_since(start), before + bytes);
        if took < SAMPLE && !self.begun.is_empty() {
            self.sample = Some((start, bytes));
            return;
        }
        self.learn(bytes as f64 / took.as_secs_f64().max(1e-3));
        self.sample = (!self.begun.is_empty()).then_some((now, 0));
        self.busy = true;
    }

    /// Less than before means a slower line only if the line had enough to do.
    fn learn(&mut self, rate: f64) {
        if rate > self.rate {
            self.rate += (rate - self.rate) * if self.rate > 0.0 { 0.5 } else { 1.0 };
        } else if self.busy {
            self.rate += (rate - self.rate) * 0.25;
        }
    }

    /// Bytes to have under way, and bytes of a fetch that joins neighbours, within `budgets`.
    pub(super) fn window(&self, budgets: &Budgets) -> (u64, u64) {
        let round_trip = self.shortest.unwrap_or(ROUND_TRIP).as_secs_f64();
        let bytes = (self.rate * (2.0 * round_trip + AHEAD)) as u64;
        let window = bytes.max(LEAST).min(budgets.in_flight);
        (window, (window / PARTS).max(LEAST_FETCH).min(budgets.fetch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The window after a while on a line of `rate` bytes a second: fetches of a quarter of the window, as
    /// many as fit it, each after the bytes before it and half a round trip each way.
    fn window(rate: f64, round_trip: f64) -> u64 {
        let (mut pace, budgets, start) = (Pace::default(), Budgets::default(), Instant::now());
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let (mut now, mut free, mut number) = (0.0f64, 0.0f64, 0);
        let mut under_way = std::collections::VecDeque::new();
        while now < 20.0 {
            let (most, fetch) = pace.window(&budgets);
            while under_way.len() < budgets.fetches && pace.in_flight + fetch <= most {
                pace.asked(FetchId(number), fetch, at(now));
                free = free.max(now + round_trip / 2.0) + fetch as f64 / rate;
                under_way.push_back((FetchId(number), fetch, free + round_trip / 2.0));
                number += 1;
            }
            if let Some((id, fetch, arrives)) = under_way.pop_front() {
                now = arrives;
                pace.ended(id, fetch, at(now));
            }
        }
        pace.window(&budgets).0
    }

    #[test]
    fn a_line_is_filled_and_not_flooded() {
        for (megabits, millis) in [(10.0, 20.0), (10.0, 100.0), (100.0, 20.0), (100.0, 100.0)] {
            let (rate, round_trip) = (megabits * 125e3, millis / 1e3);
            let window = window(rate, round_trip) as f64;
            let what = format!("{megabits} Mbit/s, {millis} ms: {window} bytes");
            assert!(window >= rate * round_trip * 1.5, "{what}");
            assert!(window <= rate * 1.0, "{what}");
        }
    }

    #[test]
    fn small_fetches_say_nothing_of_the_rate() {
        let (mut pace, budgets, mut now) = (Pace::default(), Budgets::default(), Instant::now());
        let mut fetch = |pace: &mut Pace, number, bytes, millis| {
            pace.asked(FetchId(number), bytes, now);
            now += Duration::from_millis(millis);
            pace.ended(FetchId(number), bytes, now);
        };
        fetch(&mut pace, 0, 4 << 20, 400);
        let before = pace.window(&budgets);
        for number in 1..50 {
            fetch(&mut pace, number, 1000, 400);
        }
        assert_eq!(pace.window(&budgets), before);
    }
}
