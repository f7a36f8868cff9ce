//! Where results, notes and errors go: one JSON object or readable lines on stdout, the rest on
//! stderr, every message on one line.

use std::io::{self, Write};

use serde::Serialize;

use crate::args::Common;

/// How results are shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
}

impl Output {
    pub(crate) fn new(common: &Common) -> Self {
        Self {
            json: common.json,
            quiet: common.quiet,
        }
    }

    /// Whether only errors and results of `--json` are shown.
    #[cfg(feature = "http")]
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Prints a result: `json` as one object under `--json`, else the lines of `text`.
    ///
    /// # Errors
    /// [`hgv::Error::Io`] if stdout cannot be written; a reader that went away is no error.
    pub(crate) fn result(
        &self,
        json: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> hgv::Result<()> {
        let mut out = io::stdout().lock();
        let written = if self.json {
            serde_json::to_writer(&mut out, json)
                .map_err(io::Error::from)
                .and_then(|()| writeln!(out))
        } else if self.quiet {
            Ok(())
        } else {
            writeln!(out, "{}", text().trim_end())
        };
        match written.and_then(|()| out.flush()) {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
                Err(hgv::Error::io("standard output", e))
            }
            _ => Ok(()),
        }
    }

    /// Prints a note on stderr that matters to a person at a terminal only: not with `--json`.
    pub(crate) fn remark(&self, message: &str) {
        if !self.json {
            self.note(message);
        }
    }

    /// Prints a note on stderr unless `--quiet`.
    pub(crate) fn note(&self, message: &str) {
        if !self.quiet {
            stderr_line("note", message);
        }
    }
}

/// Prints `hgv: error: ...` on stderr.
pub(crate) fn error(message: &str) {
    stderr_line("error", message);
}

fn stderr_line(kind: &str, message: &str) {
    // Nothing sensible is left to do if stderr itself is gone.
    let _ = writeln!(io::stderr().lock(), "hgv: {kind}: {}", one_line(message));
}

/// The message without line breaks and control characters, which file names may bring in.
pub(crate) fn one_line(message: &str) -> String {
    let visible: String = message
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A size in bytes, as people read it.
pub(crate) fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} bytes")
    } else {
        format!("{value:.2} {}", UNITS[unit])
    }
}

/// `PSNR 40.12 dB`, or `identical` where there is no error.
pub(crate) fn human_psnr(psnr: Option<f64>) -> String {
    psnr.map_or_else(|| "identical".into(), |db| format!("PSNR {db:.2} dB"))
}

/// `256 x 256 x 128`.
pub(crate) fn human_extent(extent: [u64; 3]) -> String {
    format!("{} x {} x {}", extent[0], extent[1], extent[2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_stay_on_one_line() {
        assert_eq!(one_line("a\nb\r\n\tc  d\u{1b}[0m"), "a b c d [0m");
    }

    #[test]
    fn sizes_are_readable() {
        assert_eq!(human_bytes(999), "999 bytes");
        assert_eq!(human_bytes(1_234_000), "1.23 MB");
        assert_eq!(human_bytes(5_000_000_000_000_000), "5000.00 TB");
    }
}
