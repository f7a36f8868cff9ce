//! One range on its way: attempts, pauses, and going on where the last attempt broke off.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::answer::{Asked, Version, bad};
use super::client::{Shared, describe, silence};
use super::retry::{Attempts, Failure};
use crate::{Error, Result};

/// How long the end of a body may take whose bytes are all there.
const TAIL: Duration = Duration::from_secs(1);

/// The work of one attempt.
pub(super) type Attempt<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>;

/// A file somewhere, and how to ask for a part of it.
pub(super) trait Origin: std::fmt::Debug + Send + Sync + 'static {
    /// The address for messages.
    fn name(&self) -> &str;

    /// Options and connections.
    fn shared(&self) -> &Arc<Shared>;

    /// Tries once to bring what `transfer` lacks. What arrived before a failure stays in it.
    fn attempt<'a>(&'a self, transfer: &'a mut Transfer) -> Attempt<'a>;
}

/// A range and what arrived of it.
#[derive(Debug)]
pub(super) struct Transfer {
    first: u64,
    /// Bytes that make it whole.
    pub(super) want: u64,
    pub(super) bytes: Vec<u8>,
    /// The version that every answer must show; set by the first one if there is none yet.
    pub(super) known: Option<Version>,
}

impl Transfer {
    /// `want` bytes (not 0) from `first`, put into `buffer`.
    pub(super) fn new(first: u64, want: u64, mut buffer: Vec<u8>, known: Option<Version>) -> Self {
        buffer.clear();
        Self {
            first,
            want,
            bytes: buffer,
            known,
        }
    }

    pub(super) fn missing(&self) -> u64 {
        self.want.saturating_sub(self.bytes.len() as u64)
    }

    /// What is still missing, which must not be nothing.
    pub(super) fn asked(&self) -> Asked {
        Asked {
            first: self.first + self.bytes.len() as u64,
            last: self.first.saturating_add(self.want - 1),
        }
    }

    /// Notes that `length` bytes are on their way, of this version.
    pub(super) fn expect(&mut self, length: u64, version: Version) {
        self.want = self.bytes.len() as u64 + length;
        self.known.get_or_insert(version);
    }

    /// Adds pieces of a body as `next` hands them out, at most the missing bytes.
    pub(super) async fn fill<E: std::error::Error + 'static>(
        &mut self,
        name: &str,
        stall: Duration,
        mut next: impl AsyncNext<E>,
    ) -> Result<(), Failure> {
        loop {
            let missing = self.missing();
            let wait = if missing > 0 { stall } else { stall.min(TAIL) };
            let data = match timeout(wait, next.next()).await {
                // All bytes are there: how the answer ends does not matter.
                Ok(None | Some(Err(_))) | Err(_) if missing == 0 => return Ok(()),
                Ok(None) => {
                    return Err(Failure::transient(format!(
                        "the body ends {missing} bytes early"
                    )));
                }
                Ok(Some(Err(error))) => return Err(Failure::transient(describe(&error))),
                Err(_) => return Err(Failure::transient(silence(wait))),
                Ok(Some(Ok(data))) => data,
            };
            if data.len() as u64 > missing {
                return Err(bad(name, "the body is longer than the range").into());
            }
            self.bytes.extend_from_slice(&data);
        }
    }
}

/// A body, piece by piece.
pub(super) trait AsyncNext<E> {
    /// The next piece; `None` at the end.
    fn next(&mut self) -> impl Future<Output = Option<Result<bytes::Bytes, E>>> + Send;
}

/// Brings a whole range, or as much of it as the file has if its version is not known yet.
///
/// # Errors
/// What an attempt ends with that another one would not change, or [`Error::Unreachable`].
pub(super) async fn fetch(origin: &dyn Origin, mut transfer: Transfer) -> Result<Transfer> {
    let shared = origin.shared();
    let permit = shared.in_flight.acquire().await;
    let _permit = permit.map_err(|e| unreachable(origin, &Attempts::default(), &e.to_string()))?;
    let limit = shared.options.deadline(transfer.want);
    let mut attempts = Attempts::default();
    let done = timeout(limit, persist(origin, &mut transfer, &mut attempts)).await;
    match done {
        Ok(result) => result?,
        Err(_) => {
            let why = format!("not done within {:.1} s", limit.as_secs_f64());
            return Err(unreachable(origin, &attempts, &why));
        }
    }
    Ok(transfer)
}

async fn persist(
    origin: &dyn Origin,
    transfer: &mut Transfer,
    attempts: &mut Attempts,
) -> Result<()> {
    loop {
        let before = transfer.bytes.len();
        attempts.sent += 1;
        let (why, wish) = match origin.attempt(transfer).await {
            Ok(()) => return Ok(()),
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Transient { why, after }) => (why, after),
        };
        let progress = transfer.bytes.len() > before;
        let options = &origin.shared().options;
        match attempts.pause(options, progress, wish, fastrand::f64()) {
            Some(pause) => sleep(pause).await,
            None => return Err(unreachable(origin, attempts, &why)),
        }
    }
}

fn unreachable(origin: &dyn Origin, attempts: &Attempts, why: &str) -> Error {
    Error::Unreachable {
        url: origin.name().to_owned(),
        attempts: attempts.sent,
        detail: why.into(),
    }
}
