//! Checks of input and output paths that every command makes before it works.

use std::path::Path;

use hgv::{Error, Result};

/// The word for the standard input.
const STDIN: &str = "-";

/// Schemes of addresses of web servers and object stores.
const SCHEMES: [&str; 10] = [
    "http", "https", "s3", "s3a", "gs", "az", "azure", "adl", "abfs", "abfss",
];

/// The address, if `path` is one of a file on a web server or in an object store.
pub(crate) fn url(path: &Path) -> Option<&str> {
    let text = path.to_str()?;
    let scheme = text.split_once("://")?.0.to_ascii_lowercase();
    SCHEMES.contains(&scheme.as_str()).then_some(text)
}

/// Refuses what is no file. Addresses are left to the first request.
///
/// # Errors
/// [`Error::Io`] for something that is not there.
pub(crate) fn check_input(path: &Path) -> Result<()> {
    if url(path).is_some() {
        return Ok(());
    }
    let text = path.to_string_lossy();
    match path.metadata() {
        Err(e) if text != STDIN => Err(Error::io(text, e)),
        _ => Ok(()),
    }
}

/// Refuses an address where only files on this machine can be read.
///
/// # Errors
/// [`Error::Unsupported`] that says what to do.
pub(crate) fn check_local(path: &Path) -> Result<()> {
    match url(path) {
        Some(url) => Err(Error::Unsupported(format!(
            "{url}: only .hgv files can be read from an address, and only by info, decode, verify, \
             compare, analyze and encode; download it first"
        ))),
        None => Ok(()),
    }
}

/// [`check_output`] of a .hgv file: under another name it would not be taken for one.
///
/// # Errors
/// As [`check_output`].
pub(crate) fn check_hgv_output<'a>(
    output: &Path,
    inputs: impl IntoIterator<Item = &'a Path>,
    force: bool,
) -> Result<()> {
    check_output(output, inputs, force)?;
    if is_hgv(output) {
        return Ok(());
    }
    Err(Error::argument(format!(
        "{}: the name of the output must end in .hgv",
        output.display()
    )))
}

/// [`check_output`] of a page with pictures: under another name no browser would show it.
///
/// # Errors
/// As [`check_output`].
pub(crate) fn check_page_output<'a>(
    output: &Path,
    others: impl IntoIterator<Item = &'a Path>,
    force: bool,
) -> Result<()> {
    let name = output.to_string_lossy().to_ascii_lowercase();
    if !name.ends_with(".html") && !name.ends_with(".htm") {
        return Err(Error::argument(format!(
            "{}: the name of the report must end in .html",
            output.display()
        )));
    }
    check_output(output, others, force)
}

/// Whether a name is that of a .hgv file, finished or not.
pub(crate) fn is_hgv(path: &Path) -> bool {
    let name = path.to_string_lossy().to_ascii_lowercase();
    name.ends_with(".hgv") || name.ends_with(".hgv.partial")
}

/// Refuses an output that is one of the inputs, exists (unless `force`) or has no folder.
///
/// # Errors
/// [`Error::InvalidArgument`], [`Error::Exists`] or [`Error::Io`].
pub(crate) fn check_output<'a>(
    output: &Path,
    inputs: impl IntoIterator<Item = &'a Path>,
    force: bool,
) -> Result<()> {
    if let Some(input) = inputs.into_iter().find(|input| same_file(input, output)) {
        return Err(Error::argument(format!(
            "{} is the input itself; choose another output",
            input.display()
        )));
    }
    if output.is_dir() {
        return Err(Error::argument(format!(
            "{} is a folder; name a file in it",
            output.display()
        )));
    }
    if !force && output.symlink_metadata().is_ok() {
        return Err(Error::Exists {
            path: output.to_path_buf(),
            hint: "use --force to replace it",
        });
    }
    let folder = folder_of(output);
    match folder.metadata() {
        Ok(m) if m.is_dir() => Ok(()),
        Ok(_) => Err(Error::argument(format!(
            "{} is not a folder",
            folder.display()
        ))),
        Err(e) => Err(Error::io(format!("output folder {}", folder.display()), e)),
    }
}

/// The folder that a file lies in; `.` for a bare name.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_are_told_from_paths() {
        for text in [
            "http://h/a.hgv",
            "HTTPS://h/a.hgv",
            "s3://b/k.hgv",
            "gs://b/k",
            "az://c/k",
        ] {
            assert_eq!(url(Path::new(text)), Some(text));
        }
        for text in [
            "a.hgv",
            "s3:/b/k",
            "file:///a.hgv",
            "folder://x",
            "C:\\a.hgv",
            "://",
        ] {
            assert_eq!(url(Path::new(text)), None, "{text}");
        }
    }

    #[cfg(feature = "http")]
    #[test]
    fn the_library_knows_the_same_addresses() {
        for scheme in SCHEMES {
            assert!(
                hgv::stream::is_address(&format!("{scheme}://a/b")),
                "{scheme}"
            );
        }
    }

    #[test]
    fn outputs_are_refused_before_any_work() {
        let dir = tempfile::tempdir().unwrap();
        let (input, output) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(&input, "x").unwrap();
        let check = |out: &Path, force| check_output(out, [input.as_path()], force);
        assert!(check(&output, false).is_ok());
        std::fs::write(&output, "y").unwrap();
        assert!(matches!(check(&output, false), Err(Error::Exists { .. })));
        assert!(check(&output, true).is_ok());
        assert!(check(&input, true).is_err());
        assert!(check(dir.path(), true).is_err());
        assert!(check(&dir.path().join("none/b"), false).is_err());
        assert!(check(&input.join("b"), false).is_err());
        assert_eq!(folder_of(Path::new("b")), Path::new("."));
    }
}
