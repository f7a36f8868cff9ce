//! From request to answer.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::access::{Access, Served};
use super::body::{Content, Part, Sent};
use super::conditions::{Decision, Facts, decide};
use super::limits::Rate;
use super::listing;
use super::site::{Found, Opened, Site};
use super::thumbnail::Thumbnails;

const METHODS: &str = "GET, HEAD, OPTIONS";
/// What a page of another origin may read.
const EXPOSED: &str =
    "Accept-Ranges, Content-Length, Content-Range, ETag, Last-Modified, Retry-After";
const ALLOWED: &str = "Range, If-Match, If-None-Match, If-Range, If-Modified-Since, \
                       If-Unmodified-Since, Cache-Control, Pragma";
/// Caches ask again, and leave the bytes alone: compressed ones have other offsets.
const CACHE: &str = "no-cache, no-transform";
/// Pages of ours load nothing but their own pictures and style.
const POLICY: &str = "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'";

/// Everything that answers need.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) site: Site,
    pub(super) thumbnails: Thumbnails,
    pub(super) rate: Rate,
    pub(super) access: Arc<Access>,
    /// Origins whose pages may read: `*` or one.
    pub(super) origin: HeaderValue,
}

/// An answer without what all of them have.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    content: Content,
}

impl Answer {
    fn new(status: StatusCode, content: Content) -> Self {
        Self {
            status,
            headers: Vec::new(),
            content,
        }
    }

    /// A short text that says what is wrong.
    fn error(status: StatusCode) -> Self {
        let text = format!("{}\n", status.canonical_reason().unwrap_or("error"));
        Self::text(status, "text/plain; charset=utf-8", text)
    }

    fn text(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Self {
        Self::new(status, Content::Text(text.into())).with(header::CONTENT_TYPE, kind)
    }

    fn with(mut self, name: HeaderName, value: &str) -> Self {
        // Values are made of numbers, dates and escaped names.
        self.headers
            .extend(HeaderValue::from_str(value).ok().map(|v| (name, v)));
        self
    }

    fn of_version(self, facts: &Facts) -> Self {
        self.with(header::ETAG, &facts.etag)
            .with(
                header::LAST_MODIFIED,
                &httpdate::fmt_http_date(facts.modified),
            )
            .with(header::CACHE_CONTROL, CACHE)
    }
}

impl Server {
    /// Answers one request of `client`; never fails.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        client: IpAddr,
    ) -> Response<Sent> {
        let mut served = self.served(&request, client);
        let answer = self.route(&request, client).await.unwrap_or_else(|error| {
            // The reason is the operator's business, not the client's.
            crate::output::error(&format!("{}: {error}", served.request));
            Answer::error(StatusCode::INTERNAL_SERVER_ERROR)
        });
        served.status = answer.status.as_u16();
        self.finish(answer, request.method(), served)
    }

    fn served(&self, request: &Request<Incoming>, client: IpAddr) -> Served {
        let range = request.headers().get(header::RANGE);
        let range = range.map_or("-", |v| v.to_str().unwrap_or("?"));
        Served {
            access: Arc::clone(&self.access),
            client,
            started: Instant::now(),
            request: format!(
                "{} {} {:?}",
                request.method(),
                request.uri(),
                request.version()
            ),
            // A quote or a tab would break up the line of the log.
            range: range.replace(['"', '\t'], "?"),
            status: 0,
            sent: 0,
        }
    }

    fn finish(&self, answer: Answer, method: &Method, served: Served) -> Response<Sent> {
        let length = answer.content.length();
        let head = *method == Method::HEAD;
        let content = if head {
            Content::Text(Bytes::new())
        } else {
            answer.content
        };
        let mut response = Response::new(Sent::new(content, served));
        *response.status_mut() = answer.status;
        let headers = response.headers_mut();
        headers.extend(answer.headers);
        // HEAD states the length of what GET would send.
        if head && !headers.contains_key(header::CONTENT_LENGTH) {
            headers.insert(header::CONTENT_LENGTH, length.into());
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, self.origin.clone());
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(EXPOSED),
        );
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        response
    }

    async fn route(&self, request: &Request<Incoming>, client: IpAddr) -> io::Result<Answer> {
        if !self.rate.allows(client, Instant::now()) {
            self.access.metrics.limited.fetch_add(1, Relaxed);
            let answer = Answer::error(StatusCode::TOO_MANY_REQUESTS);
            return Ok(answer.with(header::RETRY_AFTER, "1"));
        }
        match *request.method() {
            Method::GET | Method::HEAD => {}
            Method::OPTIONS => return Ok(preflight()),
            _ => {
                let answer = Answer::error(StatusCode::METHOD_NOT_ALLOWED);
                return Ok(answer.with(header::ALLOW, METHODS));
            }
        }
        let path = request.uri().path();
        if path == "/metrics" {
            let text = self.access.metrics.text();
            return Ok(Answer::text(
                StatusCode::OK,
                "text/plain; version=0.0.4",
                text,
            ));
        }
        match request.uri().query() {
            Some("thumbnail") => self.thumbnail(path, request.headers()).await,
            query => self.resource(path, query == Some("json"), request).await,
        }
    }

    /// A file or a folder. Touches the disk on a thread that may block.
    async fn resource(
        &self,
        path: &str,
        json: bool,
        request: &Request<Incoming>,
    ) -> io::Result<Answer> {
        let get = request.method() == Method::GET;
        let headers = request.headers();
        tokio::task::block_in_place(|| match self.site.find(path)? {
            None => Ok(Answer::error(StatusCode::NOT_FOUND)),
            Some(Found::Volume(_)) if path.ends_with('/') => {
                Ok(Answer::error(StatusCode::NOT_FOUND))
            }
            Some(Found::Volume(opened)) => volume(*opened, get, headers),
            Some(Found::Folder(_)) if !path.ends_with('/') => Ok(moved(&format!("{path}/"))),
            Some(Found::Folder(folder)) => self.folder(path, &folder, json || wants_json(headers)),
        })
    }

    fn folder(&self, path: &str, folder: &str, json: bool) -> io::Result<Answer> {
        let (entries, complete) = self.site.list(folder)?;
        let answer = if json {
            let text = listing::json(path, &entries, complete);
            Answer::text(StatusCode::OK, "application/json", text)
        } else {
            let text = listing::html(folder, &entries, complete);
            Answer::text(StatusCode::OK, "text/html; charset=utf-8", text)
                .with(header::CONTENT_SECURITY_POLICY, POLICY)
        };
        let answer = answer.with(header::VARY, "Accept");
        Ok(answer.with(header::CACHE_CONTROL, "no-cache"))
    }

    async fn thumbnail(&self, path: &str, headers: &HeaderMap) -> io::Result<Answer> {
        let found = tokio::task::block_in_place(|| self.site.find(path))?;
        let Some(Found::Volume(opened)) = found else {
            return Ok(Answer::error(StatusCode::NOT_FOUND));
        };
        let Opened { file, mut facts } = *opened;
        facts.etag = format!("{}-t\"", facts.etag.trim_end_matches('"'));
        match decide(false, headers, &facts) {
            Decision::NotModified => return Ok(not_modified(&facts)),
            Decision::PreconditionFailed => {
                return Ok(Answer::error(StatusCode::PRECONDITION_FAILED));
            }
            _ => {}
        }
        let metrics = &self.access.metrics;
        Ok(
            match self.thumbnails.get(file, &facts.etag, metrics).await {
                Some(picture) => {
                    Answer::text(StatusCode::OK, "image/png", picture).of_version(&facts)
                }
                None => Answer::error(StatusCode::NOT_FOUND),
            },
        )
    }
}

/// A .hgv file, or the part of it that is asked for.
fn volume(opened: Opened, get: bool, headers: &HeaderMap) -> io::Result<Answer> {
    let Opened { file, facts } = opened;
    let last = facts.length.checked_sub(1);
    let decision = decide(get, headers, &facts);
    let (status, first, last) = match (decision, last) {
        (Decision::NotModified, _) => return Ok(not_modified(&facts)),
        (Decision::PreconditionFailed, _) => {
            return Ok(Answer::error(StatusCode::PRECONDITION_FAILED).of_version(&facts));
        }
        (Decision::Unsatisfiable, _) => {
            let answer = Answer::error(StatusCode::RANGE_NOT_SATISFIABLE).of_version(&facts);
            return Ok(answer.with(header::CONTENT_RANGE, &format!("bytes */{}", facts.length)));
        }
        (Decision::Part { first, last }, _) => (StatusCode::PARTIAL_CONTENT, first, last),
        (Decision::Whole, Some(last)) => (StatusCode::OK, 0, last),
        (Decision::Whole, None) => {
            return Ok(file_answer(
                StatusCode::OK,
                Content::Text(Bytes::new()),
                &facts,
            ));
        }
    };
    if !get {
        let answer = file_answer(status, Content::Text(Bytes::new()), &facts);
        return Ok(answer.with(header::CONTENT_LENGTH, &facts.length.to_string()));
    }
    let part = Part::begin(file, &facts.etag, first, last)?;
    let answer = file_answer(status, Content::Part(part), &facts);
    Ok(match status {
        StatusCode::PARTIAL_CONTENT => {
            let range = format!("bytes {first}-{last}/{}", facts.length);
            answer.with(header::CONTENT_RANGE, &range)
        }
        _ => answer,
    })
}

fn file_answer(status: StatusCode, content: Content, facts: &Facts) -> Answer {
    Answer::new(status, content)
        .with(header::CONTENT_TYPE, "application/octet-stream")
        .with(header::ACCEPT_RANGES, "bytes")
        .of_version(facts)
}

fn not_modified(facts: &Facts) -> Answer {
    Answer::new(StatusCode::NOT_MODIFIED, Content::Text(Bytes::new())).of_version(facts)
}

/// A folder without its slash: links on its page would lead astray.
fn moved(to: &str) -> Answer {
    Answer::error(StatusCode::MOVED_PERMANENTLY).with(header::LOCATION, to)
}

/// What browsers ask before a request with a Range.
fn preflight() -> Answer {
    Answer::new(StatusCode::NO_CONTENT, Content::Text(Bytes::new()))
        .with(header::ALLOW, METHODS)
        .with(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS)
        .with(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED)
        .with(header::ACCESS_CONTROL_MAX_AGE, "86400")
}

/// Whether a program asks: browsers want HTML.
fn wants_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
    accept.is_some_and(|a| a.contains("application/json") && !a.contains("text/html"))
}
