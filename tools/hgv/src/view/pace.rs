//! When to draw, and with how many pixels.

use std::time::Duration;

/// Time that a frame may take while something moves.
const MOVING: f32 = 0.045;
/// Fewest pixels of a moving frame along a side, as a part of all of them.
const LEAST: f32 = 0.1;
/// How many times the pixels of a moving frame, along a side, a frame has while bricks arrive.
const INTERIM: f32 = 1.7;
/// Without a change for this long the view stands still.
const STILL: Duration = Duration::from_millis(120);
/// Time between frames that show newly arrived bricks.
const NEWS: Duration = Duration::from_millis(250);
/// If no brick arrives for this long, the frame is drawn with all pixels nevertheless.
const STUCK: Duration = Duration::from_millis(1500);
/// How often it is looked whether bricks have arrived.
const TICK: Duration = Duration::from_millis(40);

/// How a frame is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Fast: something moves.
    Moving,
    /// Between the two: nothing moves, but bricks arrive.
    Interim,
    /// All pixels.
    Whole,
}

/// Chooses the number of pixels so that frames take the time that they may.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Pixels of moving frames along a side, as a part of all of them.
    scale: f32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { scale: 0.4 }
    }
}

impl Pace {
    /// Width and height of a frame of a picture of `size` pixels.
    pub(crate) fn size(&self, kind: Kind, size: [u32; 2]) -> [u32; 2] {
        let scale = match kind {
            Kind::Moving => self.scale,
            Kind::Interim => (self.scale * INTERIM).min(1.0),
            Kind::Whole => 1.0,
        };
        size.map(|n| ((n as f32 * scale).round() as u32).clamp(1, n.max(1)))
    }

    /// Takes note that a moving frame took so many seconds.
    pub(crate) fn took(&mut self, seconds: f32) {
        // Time goes with the pixels. Not all at once: one slow frame says little.
        let better = (MOVING / seconds.max(1e-4)).sqrt().clamp(0.6, 1.15);
        self.scale = (self.scale * better).clamp(LEAST, 1.0);
    }
}

/// A frame that was drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Drawn {
    /// Version of what was asked for.
    pub(crate) version: u64,
    /// Revision of the bricks.
    pub(crate) picture: u64,
    pub(crate) kind: Kind,
}

/// What there is to draw.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Situation {
    pub(crate) version: u64,
    /// Time since the version came.
    pub(crate) unchanged: Duration,
    /// Time since the last frame was begun.
    pub(crate) since_drawn: Duration,
    pub(crate) picture: u64,
    /// Whether no more bricks will come.
    pub(crate) settled: bool,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Draw(Kind),
    /// Nothing for this long, unless something changes.
    Wait(Duration),
}

/// What to do next.
pub(crate) fn next(drawn: Option<Drawn>, now: Situation) -> Step {
    let Some(drawn) = drawn.filter(|d| d.version == now.version) else {
        return Step::Draw(Kind::Moving);
    };
    let is_new = drawn.picture != now.picture;
    if drawn.kind == Kind::Whole && !is_new {
        return Step::Wait(NEWS);
    }
    if now.unchanged < STILL {
        return Step::Wait(STILL - now.unchanged);
    }
    if now.settled || !is_new && now.since_drawn >= STUCK {
        return Step::Draw(Kind::Whole);
    }
    if now.since_drawn >= NEWS && (is_new || drawn.kind == Kind::Moving) {
        return Step::Draw(Kind::Interim);
    }
    Step::Wait(TICK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_get_as_many_pixels_as_time_allows() {
        for seconds_for_all in [0.02, 0.4, 3.0] {
            let mut pace = Pace::default();
            let all = 1280.0 * 720.0;
            let mut time = 0.0;
            for _ in 0..30 {
                let [w, h] = pace.size(Kind::Moving, [1280, 720]);
                time = seconds_for_all * (w * h) as f32 / all;
                pace.took(time);
            }
            assert!(time < 0.06, "{time}");
            if seconds_for_all > 0.1 {
                assert!(time > 0.03, "{time}");
            }
        }
        let mut slow = Pace::default();
        (0..50).for_each(|_| slow.took(100.0));
        assert_eq!(slow.size(Kind::Moving, [1000, 5]), [100, 1]);
        assert_eq!(slow.size(Kind::Whole, [1000, 5]), [1000, 5]);
    }

    #[test]
    fn still_views_become_whole_and_follow_the_bricks() {
        let drawn = |kind, picture| {
            Some(Drawn {
                version: 3,
                picture,
                kind,
            })
        };
        let now = Situation {
            version: 3,
            unchanged: Duration::from_secs(9),
            since_drawn: Duration::from_millis(300),
            picture: 5,
            settled: false,
        };
        let settled = Situation {
            settled: true,
            ..now
        };
        let is_wait = |s| matches!(s, Step::Wait(_));
        assert_eq!(next(None, now), Step::Draw(Kind::Moving));
        let newer = Situation { version: 4, ..now };
        assert_eq!(next(drawn(Kind::Whole, 5), newer), Step::Draw(Kind::Moving));
        // Just moved.
        let moved = Situation {
            unchanged: Duration::ZERO,
            ..settled
        };
        assert!(is_wait(next(drawn(Kind::Moving, 5), moved)));
        assert_eq!(
            next(drawn(Kind::Moving, 5), settled),
            Step::Draw(Kind::Whole)
        );
        assert!(is_wait(next(drawn(Kind::Whole, 5), settled)));
        // Bricks arrive.
        assert_eq!(next(drawn(Kind::Moving, 5), now), Step::Draw(Kind::Interim));
        assert!(is_wait(next(drawn(Kind::Interim, 5), now)));
        assert_eq!(
            next(drawn(Kind::Interim, 4), now),
            Step::Draw(Kind::Interim)
        );
        assert_eq!(next(drawn(Kind::Whole, 4), now), Step::Draw(Kind::Interim));
        // None arrives for long.
        let stuck = Situation {
            since_drawn: Duration::from_secs(2),
            ..now
        };
        assert_eq!(
            next(drawn(Kind::Interim, 5), stuck),
            Step::Draw(Kind::Whole)
        );
    }
}
