//! What a request wants of a file: preconditions and ranges (RFC 9110, sections 13 and 14). Pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::header::{self, HeaderMap, HeaderName};

/// What a file is right now.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    /// Strong, with its quotes.
    pub(super) etag: String,
    pub(super) modified: SystemTime,
    pub(super) length: u64,
}

/// How to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Whole,
    /// Bytes `first..=last`.
    Part {
        first: u64,
        last: u64,
    },
    NotModified,
    PreconditionFailed,
    Unsatisfiable,
}

/// Decides in the order that section 13.2.2 prescribes. Only GET has ranges.
pub(super) fn decide(get: bool, headers: &HeaderMap, facts: &Facts) -> Decision {
    if !still_matches(headers, facts) {
        return Decision::PreconditionFailed;
    }
    if is_known(headers, facts) {
        return Decision::NotModified;
    }
    match headers.get(header::RANGE).and_then(|v| v.to_str().ok()) {
        Some(range) if get && range_applies(headers, facts) => parse(range, facts.length),
        _ => Decision::Whole,
    }
}

/// `If-Match`, or else `If-Unmodified-Since`.
fn still_matches(headers: &HeaderMap, facts: &Facts) -> bool {
    if headers.contains_key(header::IF_MATCH) {
        return tags(headers, &header::IF_MATCH).any(|t| t == "*" || t == facts.etag);
    }
    let date = date(headers, &header::IF_UNMODIFIED_SINCE);
    date.is_none_or(|date| seconds(facts.modified) <= date)
}

/// `If-None-Match`, or else `If-Modified-Since`.
fn is_known(headers: &HeaderMap, facts: &Facts) -> bool {
    if headers.contains_key(header::IF_NONE_MATCH) {
        let strong = |t: &str| t.strip_prefix("W/").unwrap_or(t) == facts.etag;
        return tags(headers, &header::IF_NONE_MATCH).any(|t| t == "*" || strong(t));
    }
    let date = date(headers, &header::IF_MODIFIED_SINCE);
    date.is_some_and(|date| seconds(facts.modified) <= date)
}

/// `If-Range`: a weak tag or another date means that the client's part is of another version.
fn range_applies(headers: &HeaderMap, facts: &Facts) -> bool {
    match headers.get(header::IF_RANGE).map(|v| v.to_str()) {
        None => true,
        Some(Ok(tag)) if tag.starts_with('"') => tag == facts.etag,
        Some(Ok(_)) => date(headers, &header::IF_RANGE) == Some(seconds(facts.modified)),
        Some(Err(_)) => false,
    }
}

/// One range in bytes. What is none is ignored, as the standard wants; several ranges at once are
/// refused, for no client of ours asks for them and the whole file would be a bad surprise.
fn parse(range: &str, length: u64) -> Decision {
    let Some(set) = range.trim().strip_prefix("bytes=") else {
        return Decision::Whole;
    };
    if set.contains(',') {
        return Decision::Unsatisfiable;
    }
    let Some((first, last)) = set.trim().split_once('-') else {
        return Decision::Whole;
    };
    match (digits(first), digits(last)) {
        (Some(first), Some(last)) if first > last => Decision::Whole,
        (Some(first), Some(last)) => part(first, last, length),
        (Some(first), None) if last.is_empty() => part(first, u64::MAX, length),
        (None, Some(count)) if first.is_empty() => suffix(count, length),
        _ => Decision::Whole,
    }
}

fn part(first: u64, last: u64, length: u64) -> Decision {
    match length.checked_sub(1) {
        Some(end) if first <= end => Decision::Part {
            first,
            last: last.min(end),
        },
        _ => Decision::Unsatisfiable,
    }
}

fn suffix(count: u64, length: u64) -> Decision {
    if count == 0 {
        return Decision::Unsatisfiable;
    }
    part(length.saturating_sub(count), u64::MAX, length)
}

/// A number of any length; one that no file reaches is as good as the largest.
fn digits(text: &str) -> Option<u64> {
    let all = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    all.then(|| text.parse().unwrap_or(u64::MAX))
}

/// Tags of all lines of a header. Ours have no commas, so that splitting others wrongly is harmless.
fn tags<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let lines = headers.get_all(name).into_iter();
    lines
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .map(str::trim)
}

/// A date in seconds; what is no date is ignored.
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let text = headers.get(name)?.to_str().ok()?;
    httpdate::parse_http_date(text).ok().map(seconds)
}

/// Dates of HTTP have no fractions.
pub(super) fn seconds(time: SystemTime) -> u64 {
    let since: Duration = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const OLD: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn of(list: &[(&'static str, &str)]) -> Decision {
        let pairs = list
            .iter()
            .map(|(n, v)| (HeaderName::from_static(n), v.parse().unwrap()));
        let facts = Facts {
            etag: "\"now\"".into(),
            modified: httpdate::parse_http_date(THEN).unwrap() + Duration::from_millis(400),
            length: 100,
        };
        decide(true, &pairs.collect(), &facts)
    }

    fn range(text: &str) -> Decision {
        of(&[("range", text)])
    }

    fn bytes(first: u64, last: u64) -> Decision {
        Decision::Part { first, last }
    }

    #[test]
    fn single_ranges() {
        assert_eq!(range("bytes=0-9"), bytes(0, 9));
        assert_eq!(range("bytes=90-1000"), bytes(90, 99));
        assert_eq!(range("bytes=99-"), bytes(99, 99));
        assert_eq!(range("bytes=-1"), bytes(99, 99));
        assert_eq!(range("bytes=-1000"), bytes(0, 99));
        let huge = "bytes=5-99999999999999999999999999";
        assert_eq!(range(huge), bytes(5, 99));
    }

    #[test]
    fn ranges_that_cannot_be() {
        for text in [
            "bytes=100-",
            "bytes=100-200",
            "bytes=-0",
            "bytes=0-1,5-6",
            "bytes=99999999999999999999-",
        ] {
            assert_eq!(range(text), Decision::Unsatisfiable, "{text}");
        }
        for text in [
            "bytes=9-0",
            "bytes=a-b",
            "bytes=-",
            "bytes=",
            "lines=0-1",
            "bytes=+1-2",
            "bytes=1--2",
        ] {
            assert_eq!(range(text), Decision::Whole, "{text}");
        }
    }

    #[test]
    fn no_range_of_an_empty_file() {
        assert_eq!(parse("bytes=0-", 0), Decision::Unsatisfiable);
        assert_eq!(parse("bytes=-5", 0), Decision::Unsatisfiable);
    }

    #[test]
    fn conditions_on_tags() {
        let failed = Decision::PreconditionFailed;
        assert_eq!(of(&[("if-match", "\"now\"")]), Decision::Whole);
        assert_eq!(of(&[("if-match", "\"a\", \"now\"")]), Decision::Whole);
        assert_eq!(of(&[("if-match", "*")]), Decision::Whole);
        assert_eq!(of(&[("if-match", "\"old\"")]), failed);
        assert_eq!(of(&[("if-match", "W/\"now\"")]), failed, "strong only");
        for known in ["\"now\"", "W/\"now\"", "*", "\"x\", \"now\""] {
            assert_eq!(of(&[("if-none-match", known)]), Decision::NotModified);
        }
        assert_eq!(of(&[("if-none-match", "\"old\"")]), Decision::Whole);
    }

    #[test]
    fn conditions_on_dates_count_without_tags_only() {
        let failed = Decision::PreconditionFailed;
        assert_eq!(of(&[("if-unmodified-since", OLD)]), failed);
        assert_eq!(of(&[("if-unmodified-since", THEN)]), Decision::Whole);
        assert_eq!(of(&[("if-modified-since", THEN)]), Decision::NotModified);
        assert_eq!(of(&[("if-modified-since", OLD)]), Decision::Whole);
        assert_eq!(of(&[("if-modified-since", "soon")]), Decision::Whole);
        let both = [("if-match", "\"now\""), ("if-unmodified-since", OLD)];
        assert_eq!(of(&both), Decision::Whole);
        let both = [("if-none-match", "\"old\""), ("if-modified-since", LATER)];
        assert_eq!(of(&both), Decision::Whole);
    }

    #[test]
    fn a_range_of_another_version_is_the_whole_file() {
        let with = |value: &str| of(&[("range", "bytes=0-0"), ("if-range", value)]);
        assert_eq!(with("\"now\""), bytes(0, 0));
        assert_eq!(with("\"old\""), Decision::Whole);
        assert_eq!(with("W/\"now\""), Decision::Whole);
        assert_eq!(with(THEN), bytes(0, 0));
        assert_eq!(with(LATER), Decision::Whole);
    }
}
