//! One-line errors that name the file, what is wrong and what to do.

use hgv::Error;
use std::io;
use std::path::Path;

/// The file at fault and `what`: the finding and the remedy on one line.
pub(crate) fn bad(path: &Path, what: impl std::fmt::Display) -> Error {
    Error::Input(format!("{}: {what}", path.display()))
}

/// A system error while reading or writing `path`.
pub(crate) fn system(path: &Path, source: io::Error) -> Error {
    Error::io(path.display().to_string(), source)
}

/// A failure while bytes were read: cut off and broken data are the file's fault, the rest is
/// the system's.
pub(crate) fn reading(path: &Path, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::UnexpectedEof => bad(
            path,
            "the file ends in the middle of its data; copy or download it again",
        ),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => bad(
            path,
            format!("the compressed data is broken ({source}); copy or download it again"),
        ),
        _ => system(path, source),
    }
}
