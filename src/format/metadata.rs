//! Sections META and STAT: JSON with caps, so that no document can exhaust a reader.
//!
//! At most 1 MiB of UTF-8, nesting at most 32, no key twice in one object. META is an object
//! with the fields of [`Metadata`]; fields that have their default value are left out, unknown
//! fields are ignored. No field changes a decoded voxel.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use crate::format::constant::{MAX_JSON, MAX_JSON_DEPTH};
use crate::volume::Metadata;
use crate::{Error, Result};

/// The bytes of META, keys sorted.
///
/// # Errors
/// [`Error::InvalidArgument`] if a number is not finite or the text is over 1 MiB.
pub fn encode(metadata: &Metadata) -> Result<Vec<u8>> {
    let fields = |m: &Metadata| -> Result<BTreeMap<String, serde_json::Value>> {
        serde_json::to_value(m)
            .and_then(serde_json::from_value)
            .map_err(|e| Error::argument(format!("metadata: {e}")))
    };
    let usual = fields(&Metadata::default())?;
    let mut own = fields(metadata)?;
    own.retain(|k, v| usual.get(k) != Some(v));
    let bytes = serde_json::to_vec(&own).map_err(|e| Error::argument(format!("metadata: {e}")))?;
    match parse(&bytes, 0) {
        Ok(_) => Ok(bytes),
        Err(e) => Err(Error::argument(format!("metadata cannot be stored: {e}"))),
    }
}

/// Reads META, which lies at absolute offset `at`.
///
/// # Errors
/// [`Error::Corrupt`] or [`Error::LimitExceeded`].
pub fn parse(bytes: &[u8], at: u64) -> Result<Metadata> {
    const WHAT: &str = "section META";
    check_json(WHAT, bytes, at)?;
    let metadata: Metadata =
        serde_json::from_slice(bytes).map_err(|e| Error::corrupt(WHAT, at, e.to_string()))?;
    if metadata
        .spacing
        .iter()
        .any(|s| !(s.is_finite() && *s > 0.0))
    {
        let detail = format!("spacing {:?} must be positive", metadata.spacing);
        return Err(Error::corrupt(WHAT, at, detail));
    }
    Ok(metadata)
}

/// Checks a JSON document, which lies at absolute offset `at`: size, nesting, syntax, keys.
///
/// # Errors
/// [`Error::Corrupt`] or [`Error::LimitExceeded`] naming `what`.
pub fn check_json(what: &'static str, bytes: &[u8], at: u64) -> Result<()> {
    crate::Limits::check(what, bytes.len() as u64, MAX_JSON as u64)?;
    let depth = nesting(bytes);
    if depth > MAX_JSON_DEPTH {
        let detail = format!("nesting is {depth}, {MAX_JSON_DEPTH} is allowed");
        return Err(Error::corrupt(what, at, detail));
    }
    match serde_json::from_slice::<Strict>(bytes) {
        Ok(_) => Ok(()),
        Err(e) => Err(Error::corrupt(what, at, e.to_string())),
    }
}

/// Deepest nesting of brackets outside strings.
fn nesting(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let (mut text, mut escaped) = (false, false);
    for &b in bytes {
        match b {
            _ if escaped => escaped = false,
            b'\\' if text => escaped = true,
            b'"' => text = !text,
            b'[' | b'{' if !text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Any JSON value without a key that appears twice in one object.
struct Strict;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Strict;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_bool<E>(self, _: bool) -> Result<Strict, E> {
        Ok(Strict)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Strict, E> {
        Ok(Strict)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Strict, E> {
        Ok(Strict)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Strict, E> {
        Ok(Strict)
    }
    fn visit_str<E>(self, _: &str) -> Result<Strict, E> {
        Ok(Strict)
    }
    fn visit_unit<E>(self) -> Result<Strict, E> {
        Ok(Strict)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Strict, A::Error> {
        while seq.next_element::<Strict>()?.is_some() {}
        Ok(Strict)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Strict, A::Error> {
        let mut keys = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            map.next_value::<Strict>()?;
            if keys.contains(&key) {
                return Err(serde::de::Error::custom(format!(
                    "key {key:?} appears twice"
                )));
            }
            keys.insert(key);
        }
        Ok(Strict)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn defaults_take_two_bytes_and_the_rest_comes_back() {
        assert_eq!(encode(&Metadata::default()).unwrap(), b"{}");
        let full = Metadata {
            spacing: [0.1, 1.0 / 3.0, 7e-9],
            unit: Some("mm".into()),
            description: Some("a \"quoted\" {[ title".into()),
            ..Metadata::default()
        };
        assert_eq!(parse(&encode(&full).unwrap(), 0).unwrap(), full);
        let nan = Metadata {
            slope: f64::NAN,
            ..Metadata::default()
        };
        assert!(encode(&nan).is_err());
    }

    #[test]
    fn hostile_documents_are_refused() {
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(check_json("x", deep(32).as_bytes(), 0).is_ok());
        assert!(check_json("x", deep(33).as_bytes(), 0).is_err());
        assert!(check_json("x", deep(100_000).as_bytes(), 0).is_err());
        assert!(check_json("x", br#"{"a":1,"b":{"a":2},"a":3}"#, 0).is_err());
        assert!(check_json("x", br#"{"a":1,"b":{"a":2}}"#, 0).is_ok());
        assert!(check_json("x", &vec![b' '; MAX_JSON + 1], 0).is_err());
        assert!(parse(br#"{"spacing":[0,1,1]}"#, 0).is_err());
    }
}
