//! The direction of dependencies between the top-level modules of `src/`.
//!
//! Every `crate::` and `super::` path is read, in `use` trees (nested ones too) and inline, outside
//! comments, strings and `#[cfg(test)]` items. Names that `lib.rs` re-exports count as the module they
//! come from.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What each module may import. A module that is missing here fails the test.
const ALLOWED: [(&str, &[&str]); 18] = [
    ("error", &[]),
    ("limits", &["error"]),
    ("progress", &["error"]),
    ("volume", &["error", "limits"]),
    // Sums may be made on a device: of the backends, `cuda::Device` only.
    ("quality", &["error", "limits", "volume", "backend"]),
    // What is known of a volume without a codec.
    (
        "analyze",
        &[
            "error", "limits", "progress", "volume", "quality", "backend",
        ],
    ),
    ("predict", &["error", "limits", "analyze"]),
    ("format", &["error", "limits", "volume"]),
    ("io", &["error", "limits", "volume", "format"]),
    ("reader", &["error", "limits", "volume", "format", "io"]),
    // Recovery and merging read what was written.
    (
        "writer",
        &["error", "limits", "volume", "format", "io", "reader"],
    ),
    // Mathematics: may know numbers of the format, never files.
    ("model", &["error", "limits", "volume", "format"]),
    ("codec", &["error", "limits", "volume", "format", "model"]),
    (
        "backend",
        &["error", "limits", "volume", "format", "model", "codec"],
    ),
    (
        "decode",
        &[
            "error", "limits", "progress", "volume", "quality", "format", "io", "reader", "model",
            "codec", "backend",
        ],
    ),
    (
        "encode",
        &[
            "error", "limits", "progress", "volume", "quality", "format", "io", "reader", "writer",
            "model", "codec", "backend", "decode", "analyze", "predict",
        ],
    ),
    (
        "stream",
        &[
            "error", "limits", "volume", "quality", "format", "io", "reader", "decode",
        ],
    ),
    (
        "render",
        &[
            "error", "limits", "volume", "quality", "io", "reader", "decode", "backend", "stream",
        ],
    ),
];
/// Roots of what is built from everything; nothing imports them.
const TOP: [&str; 3] = ["lib", "fuzzing", "bench_api"];

/// A word, `::`, or one character of punctuation.
fn tokens(source: &str) -> Vec<String> {
    let c: Vec<char> = source.chars().collect();
    let (mut out, mut i) = (Vec::new(), 0);
    while i < c.len() {
        let next = c.get(i + 1).copied().unwrap_or(' ');
        match c[i] {
            '/' if next == '/' => i = find(&c, i, &['\n']),
            '/' if next == '*' => i = skip_comment(&c, i),
            '"' => i = skip_string(&c, i),
            'r' if (next == '"' || next == '#') && !in_word(&c, i) => match skip_raw(&c, i) {
                Some(end) => i = end,
                None => i = push_word(&c, i, &mut out),
            },
            '\'' => i = skip_char_or_lifetime(&c, i),
            ':' if next == ':' => {
                out.push("::".into());
                i += 2;
            }
            w if w.is_alphanumeric() || w == '_' => i = push_word(&c, i, &mut out),
            s => {
                if !s.is_whitespace() {
                    out.push(s.into());
                }
                i += 1;
            }
        }
    }
    out
}

fn in_word(c: &[char], i: usize) -> bool {
    i > 0 && (c[i - 1].is_alphanumeric() || c[i - 1] == '_')
}

fn push_word(c: &[char], start: usize, out: &mut Vec<String>) -> usize {
    let len = c[start..]
        .iter()
        .take_while(|c| c.is_alphanumeric() || **c == '_')
        .count();
    out.push(c[start..start + len].iter().collect());
    start + len
}

fn find(c: &[char], from: usize, what: &[char]) -> usize {
    (from..c.len())
        .find(|&i| c[i..].starts_with(what))
        .unwrap_or(c.len())
}

fn skip_comment(c: &[char], start: usize) -> usize {
    let (mut depth, mut i) = (1, start + 2);
    while depth > 0 && i < c.len() {
        if c[i..].starts_with(&['/', '*']) {
            depth += 1;
            i += 2;
        } else if c[i..].starts_with(&['*', '/']) {
            depth -= 1;
            i += 2;
        } else {
            i += 1;
        }
    }
    i
}

fn skip_string(c: &[char], start: usize) -> usize {
    let mut i = start + 1;
    while i < c.len() && c[i] != '"' {
        i += if c[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// The end of a raw string; `None` if this is a raw identifier.
fn skip_raw(c: &[char], start: usize) -> Option<usize> {
    let hashes = c[start + 1..].iter().take_while(|c| **c == '#').count();
    if c.get(start + 1 + hashes) != Some(&'"') {
        return None;
    }
    let mut close = vec!['"'];
    close.extend(vec!['#'; hashes]);
    Some(find(c, start + 2 + hashes, &close) + close.len())
}

fn skip_char_or_lifetime(c: &[char], i: usize) -> usize {
    match (c.get(i + 1), c.get(i + 2)) {
        (Some('\\'), _) => find(c, i + 3, &['\'']) + 1,
        (_, Some('\'')) => i + 3,
        _ => i + 1,
    }
}

/// Index behind the item that starts at `i`: its `;` or its closing brace.
fn skip_item(t: &[String], mut i: usize) -> usize {
    let mut depth = 0;
    while i < t.len() {
        match t[i].as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            ";" if depth == 0 => return i + 1,
            _ => {}
        }
        i += 1;
        if depth == 0 && t[i - 1] == "}" {
            return i;
        }
    }
    i
}

fn is(t: &[String], i: usize, words: &[&str]) -> bool {
    words
        .iter()
        .enumerate()
        .all(|(k, w)| t.get(i + k).is_some_and(|t| t == w))
}

/// What a file refers to.
#[derive(Debug, Default)]
struct References {
    /// First names behind the crate root, with the path's own words for the message.
    names: BTreeSet<String>,
    /// Modules declared under `#[cfg(test)]`.
    test_modules: Vec<String>,
}

/// First names of the tree at `i` behind `::`: one name, or one for each entry of a `{...}`.
fn first_names(t: &[String], i: usize) -> Vec<String> {
    if t.get(i).is_none_or(|w| w != "{") {
        return t.get(i).cloned().into_iter().collect();
    }
    let (mut names, mut depth, mut fresh, mut i) = (Vec::new(), 1, true, i + 1);
    while depth > 0 && i < t.len() {
        match t[i].as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," => fresh = depth == 1,
            word if fresh && depth == 1 => {
                names.push(word.to_owned());
                fresh = false;
            }
            _ => {}
        }
        i += 1;
    }
    names
}

/// Reads a file whose own module path is `module` (`["io", "mmap"]`).
fn references(source: &str, module: &[String]) -> References {
    let t = tokens(source);
    let mut found = References::default();
    // Brace depth, and the depths at which inline modules opened.
    let (mut depth, mut inline) = (0usize, Vec::new());
    let mut i = 0;
    while i < t.len() {
        if is(&t, i, &["#", "[", "cfg", "(", "test", ")", "]"]) {
            let end = skip_item(&t, i + 7);
            if let Some(m) = (i..end).find(|&m| t[m] == "mod" && is(&t, m + 2, &[";"])) {
                found.test_modules.push(t[m + 1].clone());
            }
            i = end;
            continue;
        }
        match t[i].as_str() {
            "mod" if is(&t, i + 2, &["{"]) => inline.push(depth),
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                inline.pop_if(|d| *d == depth);
            }
            "crate" if is(&t, i + 1, &["::"]) => found.names.extend(first_names(&t, i + 2)),
            "super" if i == 0 || t[i - 1] != "::" || t[i.max(2) - 2] == "self" => {
                let ups = (0..)
                    .take_while(|k| is(&t, i + 2 * k, &["super", "::"]))
                    .count();
                if ups > 0 && ups == module.len() + inline.len() {
                    found.names.extend(first_names(&t, i + 2 * ups));
                }
            }
            _ => {}
        }
        i += 1;
    }
    found
}

/// Names at the crate root that come from a module, from the `use` lines of `lib.rs`.
fn re_exports(lib: &str) -> BTreeMap<String, String> {
    let t = tokens(lib);
    let mut out = BTreeMap::new();
    for i in (0..t.len()).filter(|&i| t[i] == "use") {
        let from = if is(&t, i + 1, &["crate", "::"]) || is(&t, i + 1, &["self", "::"]) {
            i + 3
        } else {
            i + 1
        };
        let end = (i..t.len()).find(|&k| t[k] == ";").unwrap_or(t.len());
        for word in &t[from + 1..end] {
            out.insert(word.clone(), t[from].clone());
        }
    }
    out
}

/// The edges of one file that [`ALLOWED`] does not hold, as messages.
fn forbidden(source: &str, module: &[String], exports: &BTreeMap<String, String>) -> Vec<String> {
    let own = module[0].as_str();
    if TOP.contains(&own) {
        return Vec::new();
    }
    let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == own) else {
        return vec![format!("module {own} has no line in tests/architecture.rs")];
    };
    let names = references(source, module).names;
    let targets = names.iter().map(|n| exports.get(n).unwrap_or(n));
    targets
        .filter(|n| *n != own && !allowed.contains(&n.as_str()))
        .map(|n| format!("{} must not import {n}", module.join("::")))
        .collect()
}

fn rust_files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

/// `src/io/mmap.rs` is `["io", "mmap"]`, `src/io/mod.rs` is `["io"]`.
fn module_path(src: &Path, file: &Path) -> Vec<String> {
    let relative = file.strip_prefix(src).unwrap().with_extension("");
    let mut parts: Vec<_> = relative
        .iter()
        .map(|p| p.to_string_lossy().into_owned())
        .collect();
    parts.pop_if(|p| p == "mod");
    parts
}

#[test]
fn no_module_imports_against_the_direction() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    let exports = re_exports(&std::fs::read_to_string(src.join("lib.rs")).unwrap());
    let read: Vec<_> = files
        .iter()
        .map(|f| (module_path(&src, f), std::fs::read_to_string(f).unwrap()))
        .collect();
    let mut tests_only = BTreeSet::new();
    for (module, source) in &read {
        for name in references(source, module).test_modules {
            let parent = if module[0] == "lib" {
                &[][..]
            } else {
                &module[..]
            };
            tests_only.insert([parent, &[name]].concat());
        }
    }
    let mut broken = Vec::new();
    for (module, source) in &read {
        if !tests_only.iter().any(|t| module.starts_with(t)) {
            broken.extend(forbidden(source, module, &exports));
        }
    }
    assert!(read.len() > 10);
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn planted_edges_are_caught() {
    let exports = re_exports("pub use error::{Error, Result};\npub use decode::Volume;");
    let count = |module: &str, source: &str| {
        let module: Vec<_> = module.split("::").map(String::from).collect();
        forbidden(source, &module, &exports).len()
    };
    assert_eq!(
        count("volume::grid", "use crate::{Error, format::page::Page};"),
        1
    );
    assert_eq!(
        count(
            "writer",
            "use crate::{\n  io::{self, x},\n  backend::{cpu, Lane},\n};"
        ),
        1
    );
    assert_eq!(
        count(
            "reader::index",
            "fn f() { let x = crate::backend::decode::<u8>(1); }"
        ),
        1
    );
    assert_eq!(
        count("codec", "use crate :: io :: Sink; use crate::writer::W;"),
        2
    );
    assert_eq!(
        count("quality::column", "use super::super::encode::Options;"),
        1
    );
    assert_eq!(
        count(
            "quality::column",
            "mod a { use super::super::super::encode; }"
        ),
        1
    );
    assert_eq!(count("format", "impl From<crate::Volume> for u8 {}"), 1);
    assert_eq!(count("novelty", ""), 1);
    assert_eq!(
        count(
            "model",
            "/* crate::io */ mod x {} fn f() -> &'static str { r#\"\"# } use crate::io::A;"
        ),
        1
    );
    assert_eq!(
        count(
            "error",
            "pub(crate) const A: char = '\"'; use crate::limits::Limits; // \""
        ),
        1
    );
}

#[test]
fn what_is_allowed_passes() {
    let exports = re_exports("pub use error::{Error, Result};");
    let count = |module: &str, source: &str| {
        let module: Vec<_> = module.split("::").map(String::from).collect();
        forbidden(source, &module, &exports).len()
    };
    assert_eq!(
        count(
            "reader",
            "use crate::{Error, Result, io::{Sink, crc}, format};"
        ),
        0
    );
    assert_eq!(
        count(
            "format::page",
            "// use crate::io;\n/// [`crate::encode`]\nconst S: &str = \"crate::io::x\";"
        ),
        0
    );
    assert_eq!(
        count(
            "io",
            "#[cfg(test)]\nmod tests { use crate::writer::W; }\nuse crate::format::A;"
        ),
        0
    );
    assert_eq!(
        count(
            "io",
            "#[cfg(test)]\n#[allow(x)]\npub(crate) use crate::writer::W;\nuse crate::Error;"
        ),
        0
    );
    assert_eq!(
        count(
            "quality::ssim",
            "use super::stats::ErrorStats; pub(super) fn f<'a>(x: &'a str) {}"
        ),
        0
    );
    assert_eq!(
        count(
            "encode",
            "use crate::{decode::Volume, quality, writer::HgvWriter};"
        ),
        0
    );
}
