//! One range on its way: requests, redirects, attempts, and going on where the last one broke off.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::HeaderName;
use hyper::{Method, Response, header};
use tokio::time::{sleep, timeout};
use url::Url;

use super::answer::{self, Asked, Verdict, Version, bad, judge, judge_head};
use super::client::{Shared, describe, shown, silence};
use super::retry::{Attempts, Failure};
use crate::{Error, Result};

/// How long the end of a body may take whose bytes are all there.
const TAIL: Duration = Duration::from_secs(1);

/// A file on a server.
#[derive(Debug)]
pub(super) struct Remote {
    shared: Arc<Shared>,
    origin: Url,
    /// Where redirects led last.
    place: Mutex<Url>,
    /// The address for messages.
    pub(super) name: String,
}

/// A range and what arrived of it.
#[derive(Debug)]
pub(super) struct Transfer {
    first: u64,
    /// Bytes that make it whole.
    want: u64,
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

    fn missing(&self) -> u64 {
        self.want.saturating_sub(self.bytes.len() as u64)
    }

    fn asked(&self) -> Asked {
        Asked {
            first: self.first + self.bytes.len() as u64,
            last: self.first.saturating_add(self.want - 1),
        }
    }
}

impl Remote {
    /// # Errors
    /// [`Error::InvalidArgument`] for what is no http or https address.
    pub(super) fn new(shared: Arc<Shared>, address: &str) -> Result<Self> {
        let wrong = |why: &str| Error::argument(format!("{address}: {why}"));
        let mut url = Url::parse(address).map_err(|e| wrong(&e.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("only http:// and https:// addresses can be read"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Error::argument(
                "names and passwords in addresses are not supported; use a signed address",
            ));
        }
        url.set_fragment(None);
        Ok(Self {
            shared,
            name: shown(&url),
            place: Mutex::new(url.clone()),
            origin: url,
        })
    }

    /// Brings a whole range, or as much of it as the file has if its version is not known yet.
    ///
    /// # Errors
    /// As [`judge`], or [`Error::Unreachable`].
    pub(super) async fn fetch(&self, mut transfer: Transfer) -> Result<Transfer> {
        let permit = self.shared.in_flight.acquire().await;
        let _permit = permit.map_err(|e| self.unreachable(&Attempts::default(), &e.to_string()))?;
        let limit = self.shared.options.deadline(transfer.want);
        let mut attempts = Attempts::default();
        let done = timeout(limit, self.persist(&mut transfer, &mut attempts)).await;
        match done {
            Ok(result) => result?,
            Err(_) => {
                let why = format!("not done within {:.1} s", limit.as_secs_f64());
                return Err(self.unreachable(&attempts, &why));
            }
        }
        Ok(transfer)
    }

    async fn persist(&self, transfer: &mut Transfer, attempts: &mut Attempts) -> Result<()> {
        loop {
            let before = transfer.bytes.len();
            attempts.sent += 1;
            let (why, wish) = match self.attempt(transfer).await {
                Ok(()) => return Ok(()),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Transient { why, after }) => (why, after),
            };
            let progress = transfer.bytes.len() > before;
            let options = &self.shared.options;
            match attempts.pause(options, progress, wish, fastrand::f64()) {
                Some(pause) => sleep(pause).await,
                None => return Err(self.unreachable(attempts, &why)),
            }
        }
    }

    fn unreachable(&self, attempts: &Attempts, why: &str) -> Error {
        Error::Unreachable {
            url: self.name.clone(),
            attempts: attempts.sent,
            detail: why.into(),
        }
    }

    /// What is still missing: bytes, or the length of a file whose server does not tell it beside
    /// the first range.
    async fn attempt(&self, transfer: &mut Transfer) -> Result<(), Failure> {
        if transfer.missing() > 0 {
            self.get(transfer).await?;
        }
        match &mut transfer.known {
            Some(known) if known.total.is_none() => self.head(known).await,
            _ => Ok(()),
        }
    }

    async fn get(&self, transfer: &mut Transfer) -> Result<(), Failure> {
        let asked = transfer.asked();
        let mut headers = vec![(header::RANGE, asked.header())];
        headers.extend(guard(transfer.known.as_ref()));
        let response = self.exchange(&Method::GET, &headers).await?;
        let head = (response.status(), response.headers());
        match judge(head, asked, transfer.known.as_ref(), &self.name)? {
            Verdict::Again { why, after } => Err(Failure::Transient { why, after }),
            Verdict::Empty(version) => {
                (transfer.want, transfer.known) = (0, Some(version));
                Ok(())
            }
            Verdict::Body { length, version } => {
                transfer.want = transfer.bytes.len() as u64 + length;
                transfer.known.get_or_insert(version);
                self.read(response.into_body(), transfer).await
            }
        }
    }

    /// Asks for the length alone.
    async fn head(&self, known: &mut Version) -> Result<(), Failure> {
        let headers: Vec<_> = guard(Some(known)).into_iter().collect();
        let response = self.exchange(&Method::HEAD, &headers).await?;
        let head = (response.status(), response.headers());
        match judge_head(head, known, &self.name)? {
            Some(version) => *known = version,
            None => return Err(Failure::transient(format!("HEAD answers {}", head.0))),
        }
        Ok(())
    }

    /// Reads the body of a range, at most the missing bytes.
    async fn read(&self, mut body: Incoming, transfer: &mut Transfer) -> Result<(), Failure> {
        let stall = self.shared.options.stall_timeout;
        loop {
            let missing = transfer.missing();
            let wait = if missing > 0 { stall } else { stall.min(TAIL) };
            let data = match timeout(wait, body.frame()).await {
                // All bytes are there: how the answer ends does not matter.
                Ok(None | Some(Err(_))) | Err(_) if missing == 0 => return Ok(()),
                Ok(None) => {
                    return Err(Failure::transient(format!(
                        "the body ends {missing} bytes early"
                    )));
                }
                Ok(Some(Err(error))) => return Err(Failure::transient(describe(&error))),
                Err(_) => return Err(Failure::transient(silence(wait))),
                Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            };
            if data.len() as u64 > missing {
                return Err(bad(&self.name, "the body is longer than the range").into());
            }
            transfer.bytes.extend_from_slice(&data);
        }
    }

    /// Sends a request and follows redirects; where they led is asked first the next time.
    async fn exchange(
        &self,
        method: &Method,
        headers: &[(HeaderName, String)],
    ) -> Result<Response<Incoming>, Failure> {
        let mut place = self.place();
        let began_elsewhere = place != self.origin;
        for _ in 0..=self.shared.options.redirects {
            let response = self.shared.send(method.clone(), &place, headers).await?;
            let head = (response.status(), response.headers());
            if let Some(to) = answer::redirect(head, &self.name)? {
                place = self.follow(&place, to)?;
                continue;
            }
            // Addresses that redirects lead to are often signed for a short time.
            if began_elsewhere && matches!(head.0.as_u16(), 400 | 401 | 403 | 404 | 410) {
                self.set_place(self.origin.clone());
                return Err(Failure::transient(format!("the server answers {}", head.0)));
            }
            self.set_place(place);
            return Ok(response);
        }
        Err(Failure::Final(Error::TooManyRedirects {
            url: self.name.clone(),
            limit: self.shared.options.redirects,
        }))
    }

    fn follow(&self, from: &Url, to: &str) -> Result<Url> {
        let refused = |why: &str| bad(&self.name, format!("redirect to {why}"));
        let mut url = from.join(to).map_err(|_| refused("what is no address"))?;
        match (from.scheme(), url.scheme()) {
            ("https", "http") => return Err(refused("an address without encryption")),
            (_, "http" | "https") => {}
            _ => return Err(refused("an address that is neither http nor https")),
        }
        url.set_fragment(None);
        Ok(url)
    }

    fn place(&self) -> Url {
        let place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        place.clone()
    }

    fn set_place(&self, url: Url) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = url;
    }
}

fn guard(known: Option<&Version>) -> Option<(HeaderName, String)> {
    let (name, value) = known?.guard()?;
    Some((name, value.to_owned()))
}
