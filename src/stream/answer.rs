//! What the head of an answer to a range request means. Pure: headers in, verdict out.

use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderName};

use super::retry::retry_after;
use crate::{Error, Result};

/// Bytes `first..=last` of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Asked {
    /// The value of `Range`.
    pub(super) fn header(self) -> String {
        format!("bytes={}-{}", self.first, self.last)
    }
}

/// What identifies the version of a file that a server has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Version {
    /// Length in bytes, if the server says it.
    pub(super) total: Option<u64>,
    etag: Option<String>,
    modified: Option<String>,
}

impl Version {
    fn of(headers: &HeaderMap, total: Option<u64>) -> Self {
        Self {
            total,
            etag: text(headers, &header::ETAG).map(str::to_owned),
            modified: text(headers, &header::LAST_MODIFIED).map(str::to_owned),
        }
    }

    /// A version as a store describes it.
    #[cfg(feature = "object-store")]
    pub(super) fn stated(total: u64, etag: Option<String>, modified: String) -> Self {
        Self {
            total: Some(total),
            etag,
            modified: Some(modified),
        }
    }

    /// Nothing but a length.
    #[cfg(feature = "bench")]
    pub(super) fn of_length(length: u64) -> Self {
        Self {
            total: Some(length),
            ..Self::default()
        }
    }

    /// The condition under which a request wants an answer. Weak tags never match, so they are
    /// compared here only.
    pub(super) fn guard(&self) -> Option<(HeaderName, &str)> {
        match (self.strong(), &self.modified) {
            (Some(etag), _) => Some((header::IF_MATCH, etag)),
            (_, Some(date)) => Some((header::IF_UNMODIFIED_SINCE, date)),
            _ => None,
        }
    }

    /// The tag, if it is one that conditions may name.
    pub(super) fn strong(&self) -> Option<&str> {
        self.etag.as_deref().filter(|etag| !etag.starts_with("W/"))
    }

    /// How `other` shows that it is another version. What one of both lacks says nothing: caches
    /// and proxies leave headers out.
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        fn differ<T: PartialEq>(a: Option<&T>, b: Option<&T>) -> bool {
            a.zip(b).is_some_and(|(a, b)| a != b)
        }
        if differ(self.total.as_ref(), other.total.as_ref()) {
            let (a, b) = (self.total.unwrap_or(0), other.total.unwrap_or(0));
            return Some(format!("it had {a} bytes, now {b}"));
        }
        if differ(self.etag.as_ref(), other.etag.as_ref()) {
            return Some("its ETag is another one".into());
        }
        // A tag says more than a date, which servers of one pool may not agree on.
        let tagged = self.etag.is_some() && other.etag.is_some();
        if !tagged && differ(self.modified.as_ref(), other.modified.as_ref()) {
            return Some("its date is another one".into());
        }
        None
    }
}

/// What follows from an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The body is the range, or as much of it as the file has: `length` bytes.
    Body { length: u64, version: Version },
    /// The file is there and has no bytes.
    Empty(Version),
    /// Ask again.
    Again {
        why: String,
        after: Option<Duration>,
    },
}

/// Judges the answer to a request for `asked` of a file whose version is `known` (after the first
/// answer). `url` is for messages.
///
/// # Errors
/// [`Error::HttpStatus`], [`Error::NoRanges`], [`Error::Encoded`], [`Error::BadAnswer`] or
/// [`Error::SourceChanged`].
pub(super) fn judge(
    (status, headers): (StatusCode, &HeaderMap),
    asked: Asked,
    known: Option<&Version>,
    url: &str,
) -> Result<Verdict> {
    match status.as_u16() {
        206 => part(headers, asked, known, url),
        200 => {
            check_encoding(headers, url)?;
            Err(Error::NoRanges { url: url.into() })
        }
        412 if known.is_some() => Err(changed(url, "the server says so (412)")),
        416 if known.is_some() => Err(changed(url, "it is shorter (416)")),
        416 => match content_range(headers) {
            Some(ContentRange::Unsatisfied(0)) => Ok(Verdict::Empty(Version::of(headers, Some(0)))),
            _ => Err(bad(url, "it has no byte 0 (416)")),
        },
        408 | 425 | 429 | 500 | 502..=504 | 506..=510 | 520..=599 => Ok(again(status, headers)),
        status => Err(Error::HttpStatus {
            url: url.into(),
            status,
            detail: String::new(),
        }),
    }
}

/// The length and version that the answer to HEAD states.
///
/// # Errors
/// As [`judge`].
pub(super) fn judge_head(
    (status, headers): (StatusCode, &HeaderMap),
    known: &Version,
    url: &str,
) -> Result<Option<Version>> {
    match status.as_u16() {
        200 => {
            check_encoding(headers, url)?;
            let length = text(headers, &header::CONTENT_LENGTH).and_then(digits);
            let length = length.ok_or_else(|| bad(url, "the server does not tell its length"))?;
            let version = Version::of(headers, Some(length));
            match known.difference(&version) {
                Some(how) => Err(changed(url, &how)),
                None => Ok(Some(version)),
            }
        }
        412 => Err(changed(url, "the server says so (412)")),
        408 | 425 | 429 | 500 | 502..=504 => Ok(None),
        status => Err(Error::HttpStatus {
            url: url.into(),
            status,
            detail: String::new(),
        }),
    }
}

fn part(headers: &HeaderMap, asked: Asked, known: Option<&Version>, url: &str) -> Result<Verdict> {
    check_encoding(headers, url)?;
    let Some(ContentRange::Part { first, last, total }) = content_range(headers) else {
        return Err(bad(url, "206 without a usable Content-Range"));
    };
    let version = Version::of(headers, total);
    if let Some(how) = known.and_then(|k| k.difference(&version)) {
        return Err(changed(url, &how));
    }
    let end = total.map_or(asked.last, |n| asked.last.min(n.saturating_sub(1)));
    if first != asked.first || last != end {
        let (a, b) = (asked.first, asked.last);
        let detail = format!("asked for bytes {a}-{b}, the server sends {first}-{last}");
        return Err(bad(url, detail));
    }
    let length = last - first + 1;
    let stated = text(headers, &header::CONTENT_LENGTH).map(digits);
    if stated.is_some_and(|n| n != Some(length)) {
        return Err(bad(
            url,
            format!("Content-Length is not the {length} of Content-Range"),
        ));
    }
    Ok(Verdict::Body { length, version })
}

fn check_encoding(headers: &HeaderMap, url: &str) -> Result<()> {
    match text(headers, &header::CONTENT_ENCODING) {
        Some(encoding) if !encoding.eq_ignore_ascii_case("identity") => Err(Error::Encoded {
            url: url.into(),
            encoding: encoding.into(),
        }),
        _ => Ok(()),
    }
}

/// Where a redirect leads; `None` if the answer is none.
///
/// # Errors
/// [`Error::BadAnswer`] for a redirect to nowhere.
pub(super) fn redirect<'h>(
    (status, headers): (StatusCode, &'h HeaderMap),
    url: &str,
) -> Result<Option<&'h str>> {
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    match text(headers, &header::LOCATION) {
        Some(to) => Ok(Some(to)),
        None => Err(bad(url, "redirect without Location")),
    }
}

fn again(status: StatusCode, headers: &HeaderMap) -> Verdict {
    Verdict::Again {
        why: format!("the server answers {status}"),
        after: wish(headers, SystemTime::now()),
    }
}

/// The pause that a server asks for.
pub(super) fn wish(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    text(headers, &header::RETRY_AFTER).and_then(|w| retry_after(w, now))
}

pub(super) fn bad(url: &str, detail: impl Into<String>) -> Error {
    Error::BadAnswer {
        url: url.into(),
        detail: detail.into(),
    }
}

pub(super) fn changed(url: &str, how: &str) -> Error {
    Error::SourceChanged(format!("{url}: {how}"))
}

#[derive(Debug, PartialEq, Eq)]
enum ContentRange {
    Part {
        first: u64,
        last: u64,
        total: Option<u64>,
    },
    Unsatisfied(u64),
}

/// `bytes 0-99/1000`, `bytes 0-99/*` or `bytes */1000`.
fn content_range(headers: &HeaderMap) -> Option<ContentRange> {
    let value = text(headers, &header::CONTENT_RANGE)?;
    let (unit, rest) = value.split_once(' ')?;
    let (range, total) = rest.trim().split_once('/')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    if range == "*" {
        return digits(total).map(ContentRange::Unsatisfied);
    }
    let (first, last) = range.split_once('-')?;
    let (first, last) = (digits(first)?, digits(last)?);
    let total = match total {
        "*" => None,
        n => Some(digits(n)?),
    };
    // The last place has one more behind it, which must be a number too.
    let whole = last < u64::MAX && first <= last && total.is_none_or(|n| last < n);
    whole.then_some(ContentRange::Part { first, last, total })
}

/// Digits only: `parse` alone would take a sign.
fn digits(text: &str) -> Option<u64> {
    let all = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    all.then(|| text.parse().ok()).flatten()
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    const URL: &str = "http://host/f.hgv";
    const ASKED: Asked = Asked {
        first: 10,
        last: 19,
    };

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = list.iter().map(|(n, v)| {
            (
                HeaderName::from_static(n),
                HeaderValue::from_str(v).unwrap(),
            )
        });
        pairs.collect()
    }

    fn of(status: u16, list: &[(&'static str, &str)], known: Option<&Version>) -> Result<Verdict> {
        let status = StatusCode::from_u16(status).unwrap();
        judge((status, &headers(list)), ASKED, known, URL)
    }

    fn range(value: &str) -> Option<ContentRange> {
        content_range(&headers(&[("content-range", value)]))
    }

    #[test]
    fn a_whole_part_is_a_body() {
        let list = [
            ("content-range", "bytes 10-19/100"),
            ("etag", "\"a\""),
            ("content-length", "10"),
        ];
        let Verdict::Body { length, version } = of(206, &list, None).unwrap() else {
            unreachable!()
        };
        assert_eq!((length, version.total), (10, Some(100)));
        assert_eq!(version.guard(), Some((header::IF_MATCH, "\"a\"")));
        let list = [("content-range", "bytes 10-14/15")];
        assert!(
            matches!(of(206, &list, None), Ok(Verdict::Body { length: 5, .. })),
            "clipped"
        );
    }

    #[test]
    fn other_parts_are_refused() {
        let clipped = |v| of(206, &[("content-range", v)], None);
        for value in [
            "bytes 0-9/100",
            "bytes 10-18/100",
            "bytes 10-20/100",
            "bytes 19-10/100",
            "bytes 10-19/15",
            "items 10-19/100",
            "bytes 10-19",
            "bytes +10-19/100",
            "bytes */100",
            "",
        ] {
            assert!(
                matches!(clipped(value), Err(Error::BadAnswer { .. })),
                "{value}"
            );
        }
        assert!(matches!(of(206, &[], None), Err(Error::BadAnswer { .. })));
        let list = [
            ("content-range", "bytes 10-19/100"),
            ("content-length", "11"),
        ];
        assert!(matches!(of(206, &list, None), Err(Error::BadAnswer { .. })));
        assert_eq!(range("bytes 0-18446744073709551615/*"), None);
    }

    #[test]
    fn servers_that_cannot_are_told_apart() {
        assert!(matches!(of(200, &[], None), Err(Error::NoRanges { .. })));
        let gzip = [
            ("content-encoding", "gzip"),
            ("content-range", "bytes 10-19/100"),
        ];
        for status in [200, 206] {
            assert!(matches!(
                of(status, &gzip, None),
                Err(Error::Encoded { .. })
            ));
        }
        let plain = [
            ("content-encoding", "identity"),
            ("content-range", "bytes 10-19/100"),
        ];
        assert!(of(206, &plain, None).is_ok());
        for status in [400, 401, 403, 404, 410, 501, 304, 204] {
            assert!(
                matches!(of(status, &[], None), Err(Error::HttpStatus { status: s, .. }) if s == status)
            );
        }
        for status in [408, 429, 500, 502, 503, 504, 522] {
            assert!(matches!(of(status, &[], None), Ok(Verdict::Again { .. })));
        }
        let wish = [("retry-after", "2")];
        let Ok(Verdict::Again { after, .. }) = of(503, &wish, None) else {
            unreachable!()
        };
        assert_eq!(after, Some(Duration::from_secs(2)));
    }

    #[test]
    fn another_version_is_a_change() {
        let version = |total, etag: Option<&str>, date: Option<&str>| Version {
            total: Some(total),
            etag: etag.map(str::to_owned),
            modified: date.map(str::to_owned),
        };
        let known = version(100, Some("\"a\""), Some("d"));
        let is_change = |r| matches!(r, Err(Error::SourceChanged(_)));
        assert!(is_change(of(412, &[], Some(&known))));
        assert!(is_change(of(416, &[], Some(&known))));
        let part = |total: &'static str, etag: &'static str| {
            of(
                206,
                &[("content-range", total), ("etag", etag)],
                Some(&known),
            )
        };
        assert!(part("bytes 10-19/100", "\"a\"").is_ok());
        assert!(is_change(part("bytes 10-19/101", "\"a\"")));
        assert!(is_change(part("bytes 10-19/100", "\"b\"")));
        assert!(is_change(part("bytes 10-19/100", "W/\"a\"")));
        let dated = version(100, None, Some("d"));
        assert_eq!(dated.guard(), Some((header::IF_UNMODIFIED_SINCE, "d")));
        assert!(dated.difference(&version(100, None, Some("e"))).is_some());
        assert!(dated.difference(&version(100, None, None)).is_none());
        assert!(
            known
                .difference(&version(100, Some("\"a\""), Some("e")))
                .is_none()
        );
        let weak = version(100, Some("W/\"a\""), None);
        assert_eq!(weak.guard(), None);
        assert!(
            weak.difference(&version(100, Some("W/\"b\""), None))
                .is_some()
        );
    }

    #[test]
    fn an_empty_file_is_no_fault_of_the_server() {
        let list = [("content-range", "bytes */0")];
        assert!(matches!(of(416, &list, None), Ok(Verdict::Empty(v)) if v.total == Some(0)));
        let list = [("content-range", "bytes */5")];
        assert!(matches!(of(416, &list, None), Err(Error::BadAnswer { .. })));
    }

    proptest! {
        #[test]
        fn content_ranges_come_back(first in any::<u32>(), length in 1..1000u64, more in any::<u32>()) {
            let (first, last) = (u64::from(first), u64::from(first) + length - 1);
            let total = last + 1 + u64::from(more);
            let found = range(&format!("bytes {first}-{last}/{total}"));
            prop_assert_eq!(found, Some(ContentRange::Part { first, last, total: Some(total) }));
        }

        #[test]
        fn any_headers_get_a_verdict(status in 100..1000u16, value in "[ -~]{0,40}", length in "[ -~]{0,8}") {
            let list = [("content-range", value.as_str()), ("content-length", length.as_str())];
            if let Ok(Verdict::Body { length, .. }) = of(status, &list, None) {
                prop_assert!(length <= ASKED.last - ASKED.first + 1);
            }
        }
    }
}
