//! Any bytes as the head of an answer.

use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use std::time::{Duration, SystemTime};
use url::Url;

use super::answer::{Asked, Verdict, Version, judge, judge_head, redirect};
use super::retry::retry_after;
use super::web::redirected;
use crate::Error;

const URL: &str = "https://host/folder/f.hgv";
const ASKED: Asked = Asked {
    first: 70_000,
    last: 79_999,
};

/// A head: two bytes of status, one that says what is known, then lines `NAME: VALUE`.
struct Head {
    status: StatusCode,
    headers: HeaderMap,
}

impl Head {
    fn parse(data: &[u8]) -> Option<(Self, u8)> {
        let (&[a, b, mode], lines) = data.split_first_chunk()?;
        let status = 100 + u16::from_be_bytes([a, b]) % 500;
        let mut headers = HeaderMap::new();
        for line in lines.split(|&b| b == b'\n').take(64) {
            let at = line.iter().position(|&b| b == b':');
            let Some((name, value)) = at.and_then(|at| line.split_at_checked(at)) else {
                continue;
            };
            let name = HeaderName::from_bytes(name.trim_ascii());
            let value = HeaderValue::from_bytes(value[1..].trim_ascii());
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.append(name, value);
            }
        }
        let status = StatusCode::from_u16(status).ok()?;
        Some((Self { status, headers }, mode))
    }

    fn parts(&self) -> (StatusCode, &HeaderMap) {
        (self.status, &self.headers)
    }
}

/// Judges the bytes as an answer to a first request, to a later one of the version that the first one
/// showed, and to HEAD; what is accepted must keep its promises.
pub(crate) fn run(data: &[u8]) {
    let Some((head, mode)) = Head::parse(data) else {
        return;
    };
    let asked = match mode & 1 {
        0 => ASKED,
        _ => Asked {
            first: 0,
            last: u64::from(mode) << 8,
        },
    };
    let first = judge(head.parts(), asked, None, URL);
    if let Ok(Verdict::Body { length, version }) = &first {
        hold_body(*length, version, asked);
        // The same answer once more is the same version.
        assert_eq!(
            judge(head.parts(), asked, Some(version), URL).ok(),
            first.ok()
        );
    } else if let Err(error) = &first {
        assert!(
            !matches!(error, Error::SourceChanged(_)),
            "nothing was known"
        );
    }
    if let Ok(Some(version)) = judge_head(head.parts(), &Version::default(), URL) {
        assert!(version.total.is_some(), "HEAD is asked for the length");
        assert!(version.difference(&version).is_none());
    }
    if let (Ok(Some(to)), Ok(from)) = (redirect(head.parts(), URL), Url::parse(URL))
        && let Ok(url) = redirected(&from, to, URL)
    {
        assert_eq!(url.scheme(), "https", "encryption is kept");
    }
    for (_, value) in &head.headers {
        if let Ok(text) = value.to_str() {
            let pause = retry_after(text, SystemTime::UNIX_EPOCH);
            assert!(pause.is_none_or(|p| p >= Duration::ZERO));
        }
    }
}

fn hold_body(length: u64, version: &Version, asked: Asked) {
    let most = asked.last - asked.first + 1;
    assert!((1..=most).contains(&length), "{length} of {most} bytes");
    let end = asked.first + length;
    assert!(
        version.total.is_none_or(|n| n >= end),
        "the range leaves the file"
    );
    // Short only at the end of the file.
    assert!(length == most || version.total == Some(end));
    assert!(version.difference(version).is_none());
}

/// Heads of good and of bad answers.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let heads: [(u16, &str); 10] = [
        (
            206,
            "Content-Range: bytes 70000-79999/200000\nContent-Length: 10000\nETag: \"v1\"",
        ),
        (
            206,
            "content-range: bytes 70000-75000/75001\nlast-modified: Sun, 06 Nov 1994 08:49:37 GMT",
        ),
        (206, "Content-Range: bytes 70000-79999/*\nETag: W/\"weak\""),
        (
            206,
            "Content-Range: bytes 70000-79999/200000\nContent-Encoding: gzip",
        ),
        (
            200,
            "Content-Length: 200000\nETag: \"v1\"\nAccept-Ranges: bytes",
        ),
        (416, "Content-Range: bytes */0"),
        (412, "ETag: \"v2\""),
        (302, "Location: ../elsewhere/f.hgv?signature=1"),
        (503, "Retry-After: 120"),
        (429, "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT"),
    ];
    let seed = |&(status, lines): &(u16, &str)| {
        let mut bytes = (status - 100).to_be_bytes().to_vec();
        bytes.push(0);
        bytes.extend_from_slice(lines.as_bytes());
        bytes
    };
    heads.iter().map(seed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_reach_every_verdict() {
        let mut bodies = 0;
        for seed in seeds() {
            run(&seed);
            let (head, _) = Head::parse(&seed).unwrap_or_else(|| unreachable!());
            assert!(!head.headers.is_empty());
            let verdict = judge(head.parts(), ASKED, None, URL);
            bodies += usize::from(matches!(verdict, Ok(Verdict::Body { .. })));
        }
        assert_eq!(bodies, 3);
    }
}
