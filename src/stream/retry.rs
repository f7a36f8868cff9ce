//! When to try again, and after which pause. Pure: no clock, no socket.

use std::time::{Duration, SystemTime};

use super::options::HttpOptions;
use crate::Error;

/// The longest pause that is chosen here; a server may ask for a longer one.
const LONGEST: Duration = Duration::from_secs(5);

/// Why an attempt brought nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// Another attempt would fail in the same way.
    Final(Error),
    /// The next attempt may succeed.
    Transient {
        /// What happened.
        why: String,
        /// Pause that the server asks for.
        after: Option<Duration>,
    },
}

impl Failure {
    pub(super) fn transient(why: impl Into<String>) -> Self {
        Self::Transient {
            why: why.into(),
            after: None,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

/// Counts attempts of one transfer.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// All of them.
    pub(super) sent: u32,
    /// Those since the last byte.
    barren: u32,
}

impl Attempts {
    /// The pause before the next attempt, after one that brought `progress` bytes or not and ended
    /// with a wish of the server; `None` if that was the last one.
    pub(super) fn pause(
        &mut self,
        options: &HttpOptions,
        progress: bool,
        wish: Option<Duration>,
        random: f64,
    ) -> Option<Duration> {
        self.barren = if progress { 1 } else { self.barren + 1 };
        if self.barren >= options.attempts {
            return None;
        }
        let doubled = options
            .backoff
            .saturating_mul(1 << (self.barren - 1).min(16));
        let own = doubled.min(LONGEST).mul_f64(random.clamp(0.0, 1.0));
        match wish {
            // No use in waiting for longer than the whole transfer may take.
            Some(wish) if wish > options.patience => None,
            // Clients that were turned away together should not come back together.
            Some(wish) => Some(wish.saturating_add(own)),
            None => Some(own),
        }
    }
}

/// The pause that `Retry-After` asks for: seconds, or a date.
pub(super) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_end() {
        let options = HttpOptions::default();
        let mut attempts = Attempts::default();
        let pauses: Vec<_> = (0..5)
            .map(|_| attempts.pause(&options, false, None, 1.0))
            .collect();
        let ms = |n| Some(Duration::from_millis(n));
        assert_eq!(pauses, [ms(200), ms(400), ms(800), ms(1600), None]);
    }

    #[test]
    fn progress_begins_anew_and_randomness_only_shortens() {
        let options = HttpOptions::default();
        let mut attempts = Attempts::default();
        for _ in 0..100 {
            assert!(attempts.pause(&options, false, None, 0.0) == Some(Duration::ZERO));
            assert!(attempts.pause(&options, true, None, 1.0).unwrap() <= options.backoff);
        }
    }

    #[test]
    fn the_servers_wish_is_kept_if_it_is_short() {
        let options = HttpOptions::default();
        let wish =
            |s| Attempts::default().pause(&options, false, Some(Duration::from_secs(s)), 0.5);
        assert_eq!(wish(3), Some(Duration::from_millis(3100)));
        assert_eq!(wish(60), None);
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(retry_after(" 7 ", now), Some(Duration::from_secs(7)));
        let date = "Sun, 06 Nov 1994 08:49:57 GMT";
        assert_eq!(retry_after(date, now), Some(Duration::from_secs(20)));
        let past = "Sun, 06 Nov 1994 08:00:00 GMT";
        assert_eq!(retry_after(past, now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }
}
