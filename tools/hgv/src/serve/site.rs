//! The folder that is served: which paths there are, and nothing outside of it.

use std::fs::{File, Metadata};
use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use hgv::{Error, Result};
use percent_encoding::percent_decode_str;

use super::conditions::Facts;

/// Entries of a folder that are listed at most.
const LISTED: usize = 10_000;

/// A folder whose inside only can be reached: paths and symbolic links that lead out of it are not
/// found, checked by the system while it opens them.
#[derive(Debug)]
pub(super) struct Site {
    root: Dir,
    /// The one file that is served, if it is not the whole folder.
    only: Option<String>,
}

/// What a path leads to.
#[derive(Debug)]
pub(super) enum Found {
    Folder(String),
    Volume(Box<Opened>),
}

/// An open .hgv file.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) facts: Facts,
}

/// One line of a folder.
#[derive(Debug, serde::Serialize)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<u64>,
    /// Seconds since 1970.
    pub(super) modified: u64,
}

impl Site {
    /// # Errors
    /// [`Error::Io`] or [`Error::InvalidArgument`] for what cannot be served.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let wrong = |e| Error::io(path.display().to_string(), e);
        let metadata = path.metadata().map_err(wrong)?;
        let (folder, only) = if metadata.is_dir() {
            (path, None)
        } else {
            let name = path.file_name().and_then(|n| n.to_str());
            let name = name.filter(|n| is_volume(n) && !n.starts_with('.'));
            let name = name.ok_or_else(|| {
                let path = path.display();
                Error::argument(format!("{path}: only folders and .hgv files can be served"))
            })?;
            (crate::paths::folder_of(path), Some(name.to_owned()))
        };
        Ok(Self {
            root: Dir::open_ambient_dir(folder, ambient_authority()).map_err(wrong)?,
            only,
        })
    }

    /// What the path of a request leads to; `None` if there is no such thing, for whatever reason.
    ///
    /// # Errors
    /// Faults of the system.
    pub(super) fn find(&self, path: &str) -> io::Result<Option<Found>> {
        match relative(path).filter(|p| self.serves(p)) {
            Some(path) => absent(self.look(&path)),
            None => Ok(None),
        }
    }

    fn serves(&self, path: &str) -> bool {
        let only = self.only.as_ref();
        only.is_none_or(|only| path == "." || path == only)
    }

    fn look(&self, path: &str) -> io::Result<Option<Found>> {
        let metadata = self.root.metadata(path)?;
        if metadata.is_dir() {
            return Ok(Some(Found::Folder(path.into())));
        }
        // What is no plain file might block when it is opened.
        if !metadata.is_file() || !is_volume(path) {
            return Ok(None);
        }
        let file = self.root.open(path)?.into_std();
        let facts = facts(&file.metadata()?);
        Ok(Some(Found::Volume(Box::new(Opened { file, facts }))))
    }

    /// What a folder holds, folders first, and whether that is all.
    ///
    /// # Errors
    /// Faults of the system.
    pub(super) fn list(&self, folder: &str) -> io::Result<(Vec<Entry>, bool)> {
        let mut entries = Vec::new();
        let dir = self.root.open_dir(folder)?;
        for entry in dir.entries()? {
            let Ok(name) = entry?.file_name().into_string() else {
                continue;
            };
            let hidden = name.starts_with('.') || folder == "." && !self.serves(&name);
            if hidden {
                continue;
            }
            // Links that lead out of the folder, or nowhere, are left out.
            let Ok(metadata) = dir.metadata(&name) else {
                continue;
            };
            let bytes = metadata.is_file().then(|| metadata.len());
            if !metadata.is_dir() && !(metadata.is_file() && is_volume(&name)) {
                continue;
            }
            let modified = metadata
                .modified()
                .ok()
                .map(cap_std::time::SystemTime::into_std);
            entries.push(Entry {
                kind: if bytes.is_some() { "volume" } else { "folder" },
                bytes,
                modified: super::conditions::seconds(modified.unwrap_or(UNIX_EPOCH)),
                name,
            });
            if entries.len() > LISTED {
                break;
            }
        }
        entries.sort_by(|a, b| (a.bytes.is_some(), &a.name).cmp(&(b.bytes.is_some(), &b.name)));
        let all = entries.len() <= LISTED;
        entries.truncate(LISTED);
        Ok((entries, all))
    }
}

/// Not there, not allowed, outside, too long: a client learns no more than that there is nothing.
fn absent(found: io::Result<Option<Found>>) -> io::Result<Option<Found>> {
    use io::ErrorKind as Kind;
    match found {
        Err(e)
            if is_loop(&e)
                || matches!(
                    e.kind(),
                    Kind::NotFound
                        | Kind::PermissionDenied
                        | Kind::NotADirectory
                        | Kind::IsADirectory
                        | Kind::InvalidFilename
                        | Kind::InvalidInput
                ) =>
        {
            Ok(None)
        }
        other => other,
    }
}

/// A circle of symbolic links.
#[cfg(unix)]
fn is_loop(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

#[cfg(not(unix))]
fn is_loop(_: &io::Error) -> bool {
    false
}

fn is_volume(name: &str) -> bool {
    let end = name.len().checked_sub(4).and_then(|at| name.get(at..));
    end.is_some_and(|end| end.eq_ignore_ascii_case(".hgv"))
}

/// The path of a request as one below the folder; `None` for what names nothing that is served.
fn relative(path: &str) -> Option<String> {
    let decoded = percent_decode_str(path).decode_utf8().ok()?;
    let inside = decoded.strip_prefix('/')?;
    let inside = inside.strip_suffix('/').unwrap_or(inside);
    if inside.is_empty() {
        return Some(".".into());
    }
    // A name that starts with a dot is hidden, or leads upwards.
    let good = |name: &str| {
        !name.is_empty() && !name.starts_with('.') && !name.contains(['\\', '\0', ':'])
    };
    inside.split('/').all(good).then(|| inside.to_owned())
}

/// Length, date, and a tag that another version of the file does not have.
pub(super) fn facts(metadata: &Metadata) -> Facts {
    let modified = metadata.modified().unwrap_or(UNIX_EPOCH);
    let length = metadata.len();
    let etag = format!(
        "\"{:x}-{length:x}-{:x}\"",
        inode(metadata),
        nanoseconds(modified)
    );
    Facts {
        etag,
        modified,
        length,
    }
}

fn nanoseconds(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos()
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> u64 {
    0
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        let found = |p: &str| relative(p);
        assert_eq!(found("/").as_deref(), Some("."));
        assert_eq!(found("/a%20b/c.hgv").as_deref(), Some("a b/c.hgv"));
        assert_eq!(found("/a/").as_deref(), Some("a"));
        for path in [
            "/..",
            "/../x",
            "/a/../b",
            "/%2e%2e/x",
            "/a/%2E%2e%2fb",
            "/.git/x",
            "//etc/passwd",
            "/a//b",
            "/a\\..\\b",
            "/a%00b",
            "/%ff",
            "",
            "a",
            "*",
            "/C:/x",
            "/.",
            "/a/.",
        ] {
            assert_eq!(found(path), None, "{path}");
        }
    }

    #[test]
    fn only_volumes_are_files() {
        assert!(is_volume("a.hgv") && is_volume("a.b.HGV") && is_volume(".hgv"));
        for name in ["hgv", "a.hgv.partial", "a.txt", "", "äöü"] {
            assert!(!is_volume(name), "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_out_of_the_folder_are_not_there() {
        let outside = tempfile::tempdir().unwrap();
        let inside = tempfile::tempdir().unwrap();
        let root = inside.path();
        std::fs::write(outside.path().join("secret.hgv"), "x").unwrap();
        std::fs::write(root.join("a.hgv"), "abc").unwrap();
        std::fs::write(root.join("notes.txt"), "x").unwrap();
        std::fs::create_dir(root.join("sub")).unwrap();
        let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, root.join(name)).unwrap();
        link(&outside.path().join("secret.hgv"), "leak.hgv");
        link(outside.path(), "folder");
        link(Path::new("../a.hgv"), "sub/back.hgv");
        link(Path::new("loop.hgv"), "loop.hgv");
        let site = Site::open(root).unwrap();
        let is_there = |p: &str| site.find(p).unwrap().is_some();
        assert!(is_there("/a.hgv") && is_there("/sub/") && is_there("/sub/back.hgv"));
        for path in [
            "/leak.hgv",
            "/folder/",
            "/folder/secret.hgv",
            "/loop.hgv",
            "/notes.txt",
            "/b.hgv",
        ] {
            assert!(!is_there(path), "{path}");
        }
        let (entries, all) = site.list(".").unwrap();
        let names: Vec<_> = entries.iter().map(|e| e.name.as_str()).collect();
        assert!(all && names == ["sub", "a.hgv"], "{names:?}");
        let one = Site::open(&root.join("a.hgv")).unwrap();
        assert!(one.find("/a.hgv").unwrap().is_some());
        assert!(one.find("/sub/back.hgv").unwrap().is_none());
        assert_eq!(one.list(".").unwrap().0.len(), 1);
        assert!(Site::open(&root.join("notes.txt")).is_err());
    }

    #[test]
    fn another_version_has_another_tag() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.hgv");
        let tag = || facts(&path.metadata().unwrap()).etag;
        std::fs::write(&path, "abc").unwrap();
        let first = tag();
        assert!(first.starts_with('"') && first.ends_with('"') && first == tag());
        std::fs::write(dir.path().join("b"), "abc").unwrap();
        std::fs::rename(dir.path().join("b"), &path).unwrap();
        assert_ne!(first, tag());
    }
}
