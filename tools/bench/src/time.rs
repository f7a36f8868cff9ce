//! CPU time of a thread.

use std::time::{Duration, Instant};

/// A moment in the CPU time of this thread, or in wall time.
pub struct CpuTime {
    nanoseconds: Option<u64>,
    wall: Instant,
}

impl CpuTime {
    /// Now.
    pub fn now() -> Self {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
        let first = text.as_deref().and_then(|t| t.split_whitespace().next());
        Self {
            nanoseconds: first.and_then(|n| n.parse().ok()),
            wall: Instant::now(),
        }
    }

    /// Since then.
    pub fn elapsed(&self) -> Duration {
        match (self.nanoseconds, Self::now().nanoseconds) {
            (Some(from), Some(to)) => Duration::from_nanos(to.saturating_sub(from)),
            _ => self.wall.elapsed(),
        }
    }
}
