//! Files on web servers: requests and redirects.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::HeaderName;
use hyper::{Method, Response, header};
use url::Url;

use super::answer::{self, Verdict, Version, bad, judge, judge_head};
use super::client::{Shared, shown};
use super::retry::Failure;
use super::transfer::{AsyncNext, Attempt, Origin, Transfer};
use crate::{Error, Result};

/// A file on a server.
#[derive(Debug)]
pub(super) struct Web {
    shared: Arc<Shared>,
    origin: Url,
    /// Where redirects led last.
    place: Mutex<Url>,
    /// The address for messages.
    name: String,
}

impl Origin for Web {
    fn name(&self) -> &str {
        &self.name
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn attempt<'a>(&'a self, transfer: &'a mut Transfer) -> Attempt<'a> {
        Box::pin(self.try_once(transfer))
    }
}

impl AsyncNext<hyper::Error> for Incoming {
    async fn next(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        let frame = self.frame().await?;
        // Trailers say nothing that matters here.
        Some(frame.map(|f| f.into_data().unwrap_or_default()))
    }
}

impl Web {
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

    /// What is still missing: bytes, or the length of a file whose server does not tell it beside
    /// the first range.
    async fn try_once(&self, transfer: &mut Transfer) -> Result<(), Failure> {
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
                transfer.expect(length, version);
                let stall = self.shared.options.stall_timeout;
                transfer.fill(&self.name, stall, response.into_body()).await
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
                place = redirected(&place, to, &self.name)?;
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

    fn place(&self) -> Url {
        let place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        place.clone()
    }

    fn set_place(&self, url: Url) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = url;
    }
}

/// Where a redirect leads; `name` is for messages.
///
/// # Errors
/// [`Error::BadAnswer`] for what is no address of a web server, or one that gives up encryption.
pub(super) fn redirected(from: &Url, to: &str, name: &str) -> Result<Url> {
    let refused = |why: &str| bad(name, format!("redirect to {why}"));
    let mut url = from.join(to).map_err(|_| refused("what is no address"))?;
    match (from.scheme(), url.scheme()) {
        ("https", "http") => return Err(refused("an address without encryption")),
        (_, "http" | "https") => {}
        _ => return Err(refused("an address that is neither http nor https")),
    }
    url.set_fragment(None);
    Ok(url)
}

fn guard(known: Option<&Version>) -> Option<(HeaderName, String)> {
    let (name, value) = known?.guard()?;
    Some((name, value.to_owned()))
}
