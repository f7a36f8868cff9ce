//! How much one client may ask for, and how slowly it may take it.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Addresses remembered; beyond that those with nothing to pay are forgotten.
const REMEMBERED: usize = 16_384;
/// Seconds' worth of requests that may come at once.
const BURST: f64 = 2.0;

/// Requests a second of each address, with bursts.
#[derive(Debug)]
pub(super) struct Rate {
    /// 0 = no limit.
    per_second: f64,
    debts: Mutex<HashMap<IpAddr, (f64, Instant)>>,
}

impl Rate {
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            per_second: f64::from(per_second),
            debts: Mutex::default(),
        }
    }

    /// Whether this request is within the limit.
    pub(super) fn allows(&self, client: IpAddr, now: Instant) -> bool {
        if self.per_second == 0.0 {
            return true;
        }
        let mut debts = self.debts.lock().unwrap_or_else(PoisonError::into_inner);
        let left = |(debt, at): &(f64, Instant)| {
            (debt - now.saturating_duration_since(*at).as_secs_f64() * self.per_second).max(0.0)
        };
        if debts.len() >= REMEMBERED && !debts.contains_key(&client) {
            debts.retain(|_, debt| left(debt) > 0.0);
            if debts.len() >= REMEMBERED {
                // More clients at once than can be told apart: all begin anew.
                debts.clear();
            }
        }
        let entry = debts.entry(client).or_insert((0.0, now));
        let debt = left(entry) + 1.0;
        let allowed = debt <= (BURST * self.per_second).max(1.0);
        if allowed {
            *entry = (debt, now);
        }
        allowed
    }
}

/// A connection whose writes must go on: a client that takes nothing for a while is cut off, so that
/// it does not hold buffers for ever.
#[derive(Debug)]
pub(super) struct Patient<S> {
    stream: S,
    patience: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, patience: Duration) -> Self {
        Self {
            stream,
            patience,
            waiting: None,
        }
    }

    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.waiting = None;
            return result;
        }
        let patience = self.patience;
        let timer = self
            .waiting
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        match timer.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.watch(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(context);
        self.watch(context, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

    #[test]
    fn a_burst_then_the_rate() {
        let rate = Rate::new(10);
        let now = Instant::now();
        let allowed = |ms| {
            (0..100)
                .filter(|_| rate.allows(A, now + Duration::from_millis(ms)))
                .count()
        };
        assert_eq!(allowed(0), 20);
        assert_eq!(allowed(0), 0);
        assert!(rate.allows(B, now), "others do not pay for it");
        assert_eq!(allowed(510), 5);
        assert_eq!(allowed(60_000), 20);
        assert!((0..1000).all(|_| Rate::new(0).allows(A, now)));
    }

    #[test]
    fn memory_of_addresses_is_bounded() {
        let rate = Rate::new(1000);
        let now = Instant::now();
        for i in 0..100_000u32 {
            assert!(rate.allows(IpAddr::from(i.to_be_bytes()), now));
        }
        let debts = rate.debts.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(debts.len() <= REMEMBERED);
    }
}
