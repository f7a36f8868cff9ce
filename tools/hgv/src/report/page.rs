//! The parts of an HTML page: escapes, tables, figures, the frame around them.

use std::fmt::Write as _;

/// Text that may stand in HTML, and in attributes in double quotes.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// A table with a line of names above, or none.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut out = String::from("<table>\n");
    if !head.is_empty() {
        let cells: String = head
            .iter()
            .map(|h| format!("<th>{}</th>", escape(h)))
            .collect();
        let _ = writeln!(out, "<tr>{cells}</tr>");
    }
    for row in rows {
        let cells: String = row
            .iter()
            .map(|c| format!("<td>{}</td>", escape(c)))
            .collect();
        let _ = writeln!(out, "<tr>{cells}</tr>");
    }
    out.push_str("</table>\n");
    out
}

/// A picture with its caption; `aspect` is width over height as it should be seen.
pub(super) fn picture(uri: &str, aspect: f64, alt: &str, caption: &str) -> String {
    format!(
        "<figure><img src=\"{uri}\" style=\"aspect-ratio:{aspect:.4}\" alt=\"{}\"><figcaption>{caption}</figcaption></figure>\n",
        escape(alt)
    )
}

/// A scale of colours with its ends.
pub(super) fn scale(gradient: &str, low: &str, high: &str) -> String {
    format!(
        "<span class=\"scale\">{} <span class=\"ramp\" style=\"background:{gradient}\"></span> {}</span>",
        escape(low),
        escape(high)
    )
}

/// Things side by side.
pub(super) fn row(inner: &str) -> String {
    format!("<div class=\"row\">\n{inner}</div>\n")
}

/// A heading and what belongs to it.
pub(super) fn section(title: &str, inner: &str) -> String {
    format!("<section>\n<h2>{}</h2>\n{inner}</section>\n", escape(title))
}

/// The whole document.
pub(super) fn document(title: &str, lead: &str, sections: &str) -> String {
    let title = escape(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n\
         <p>{lead}</p>\n{sections}<footer>hgv {}</footer>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// Light and dark by the reader's choice.
const STYLE: &str = "\
:root { color-scheme: light dark; --ink: #1c2128; --dim: #5b6570; --back: #ffffff; --card: #f4f6f8; --rule: #d4dae0;
  --s0: #0b63b5; --s1: #c4501b; --s2: #2b7a3d; --s3: #7b3fa0; --s4: #b00020; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ec; --dim: #9aa5b1; --back: #14181d; --card: #1e242b; --rule: #37404a;
    --s0: #6cb2f5; --s1: #f29a68; --s2: #77cf8b; --s3: #c79be6; --s4: #ff7b8a; }
}
body { margin: 0 auto; max-width: 1180px; padding: 1rem 1.2rem 3rem; background: var(--back); color: var(--ink);
  font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0.6rem 0 0.2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 1.8rem 0 0.6rem; border-bottom: 1px solid var(--rule); padding-bottom: 0.2rem; }
p, figcaption, footer { color: var(--dim); }
.row { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
figure { margin: 0; padding: 0.6rem; background: var(--card); border-radius: 6px; flex: 1 1 280px; max-width: 380px; box-sizing: border-box; }
figure.chart { flex: 1 1 440px; max-width: 570px; }
img { width: 100%; max-height: 420px; object-fit: fill; image-rendering: pixelated; display: block; border-radius: 3px; }
figcaption { font-size: 0.85rem; margin-top: 0.45rem; }
svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--dim); font: 11px system-ui, sans-serif; }
.grid { stroke: var(--rule); stroke-width: 1; fill: none; }
.line { fill: none; stroke-width: 2; }
.line.s0 { stroke: var(--s0); } .line.s1 { stroke: var(--s1); } .line.s2 { stroke: var(--s2); } .line.s3 { stroke: var(--s3); } .line.s4 { stroke: var(--s4); }
.dot { stroke: var(--back); stroke-width: 1; }
.dot.s0 { fill: var(--s0); } .dot.s1 { fill: var(--s1); } .dot.s2 { fill: var(--s2); } .dot.s3 { fill: var(--s3); } .dot.s4 { fill: var(--s4); }
.bar { fill: var(--s0); }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 0.25rem 0.9rem 0.25rem 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
th { color: var(--dim); font-weight: 600; }
.scale { white-space: nowrap; }
.ramp { display: inline-block; width: 90px; height: 10px; border-radius: 2px; vertical-align: middle; }
footer { margin-top: 2.5rem; font-size: 0.85rem; }
";
