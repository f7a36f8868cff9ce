//! Folders as pages for people and as JSON for programs.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use super::site::Entry;
use crate::output::human_bytes;

/// What stays as it is in a part of a path.
const NAME: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

const STYLE: &str = "body{font:15px/1.4 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}\
table{border-collapse:collapse;width:100%}td{padding:.4rem .6rem;border-top:1px solid #8884;vertical-align:middle}\
img{max-width:96px;max-height:96px;display:block;background:#8882}.n{text-align:right;white-space:nowrap}\
:root{color-scheme:light dark}";

#[derive(Serialize)]
struct Json<'a> {
    path: &'a str,
    /// False if the folder has more entries than are listed.
    complete: bool,
    entries: Vec<JsonEntry<'a>>,
}

#[derive(Serialize)]
struct JsonEntry<'a> {
    #[serde(flatten)]
    entry: &'a Entry,
    /// Relative to the folder.
    href: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    thumbnail: Option<String>,
}

/// The folder as one JSON object.
pub(super) fn json(path: &str, entries: &[Entry], complete: bool) -> String {
    let entries = entries.iter().map(|entry| JsonEntry {
        href: href(entry),
        thumbnail: entry.bytes.map(|_| thumbnail(entry)),
        entry,
    });
    let json = Json {
        path,
        complete,
        entries: entries.collect(),
    };
    // Strings and numbers always have a JSON form.
    serde_json::to_string(&json).unwrap_or_default()
}

/// The folder as a page; `folder` is its path below the one that is served, "." for that itself.
pub(super) fn html(folder: &str, entries: &[Entry], complete: bool) -> String {
    let title = if folder == "." {
        "Volumes".into()
    } else {
        escaped(folder)
    };
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style><h1>{title}</h1><table>\n"
    );
    if folder != "." {
        page.push_str("<tr><td></td><td><a href=\"../\">..</a></td><td></td><td></td></tr>\n");
    }
    for entry in entries {
        row(&mut page, entry);
    }
    page.push_str("</table>");
    if !complete {
        let _ = write!(
            page,
            "<p>Only the first {} entries are shown.</p>",
            entries.len()
        );
    }
    page.push_str("</html>\n");
    page
}

fn row(page: &mut String, entry: &Entry) {
    let (href, name) = (href(entry), escaped(&entry.name));
    let picture = entry.bytes.map_or_else(String::new, |_| {
        format!(
            "<img loading=\"lazy\" alt=\"\" src=\"{}\">",
            thumbnail(entry)
        )
    });
    let size = entry.bytes.map_or_else(|| "folder".into(), human_bytes);
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(entry.modified));
    let _ = writeln!(
        page,
        "<tr><td>{picture}</td><td><a href=\"{href}\">{name}</a></td><td class=\"n\">{size}</td>\
         <td class=\"n\">{date}</td></tr>"
    );
}

/// Where an entry is, seen from its folder.
fn href(entry: &Entry) -> String {
    let slash = if entry.bytes.is_some() { "" } else { "/" };
    format!("{}{slash}", utf8_percent_encode(&entry.name, NAME))
}

fn thumbnail(entry: &Entry) -> String {
    format!("{}?thumbnail", href(entry))
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry> {
        let entry = |name: &str, bytes: Option<u64>| Entry {
            name: name.into(),
            kind: if bytes.is_some() { "volume" } else { "folder" },
            bytes,
            modified: 784_111_777,
        };
        vec![
            entry("sub folder", None),
            entry("\"><script>.hgv", Some(1500)),
        ]
    }

    #[test]
    fn names_cannot_break_out_of_the_page() {
        let page = html("<b>", &entries(), true);
        assert!(!page.contains("<script>") && !page.contains("<b>"));
        assert!(page.contains("href=\"%22%3E%3Cscript%3E.hgv\"") && page.contains("sub%20folder/"));
        assert!(page.contains("1.50 kB") && page.contains("06 Nov 1994"));
    }

    #[test]
    fn json_has_what_a_client_needs() {
        let value: serde_json::Value = serde_json::from_str(&json("/", &entries(), false)).unwrap();
        assert_eq!(value["complete"], false);
        let volume = &value["entries"][1];
        assert_eq!(volume["kind"], "volume");
        assert_eq!(volume["bytes"], 1500);
        assert_eq!(volume["thumbnail"], "%22%3E%3Cscript%3E.hgv?thumbnail");
        assert!(value["entries"][0].get("thumbnail").is_none());
    }
}
