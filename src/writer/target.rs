//! Names on disk: the output, its `.partial`, and the rename that makes a file visible.

use std::fs;
use std::path::{Path, PathBuf};

use crate::io::{FileSink, Sink};
use crate::{Error, Result};

/// What to do about the `.partial` of an earlier write.
pub(crate) const UNFINISHED: &str =
    "an earlier write did not finish: `hgv recover` brings back its clusters, --force discards it";

/// Wraps every sink of a writer; the identity outside tests of failures.
pub(crate) type Wrap = Box<dyn Fn(Box<dyn Sink>) -> Box<dyn Sink> + Send>;

/// Where the finished file will be.
pub(crate) struct Target {
    path: PathBuf,
    force: bool,
    partial: PathBuf,
    wrap: Wrap,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Target({})", self.path.display())
    }
}

impl Target {
    /// Refuses names that are taken, unless `force`. `partial` names the unfinished file.
    pub(crate) fn new(path: &Path, force: bool, partial: PathBuf, wrap: Wrap) -> Result<Self> {
        let target = Self {
            path: path.to_path_buf(),
            force,
            partial,
            wrap,
        };
        target.check_free()?;
        if !force && target.partial.exists() {
            return Err(Error::Exists {
                path: target.partial,
                hint: UNFINISHED,
            });
        }
        Ok(target)
    }

    fn check_free(&self) -> Result<()> {
        if self.force || !self.path.exists() {
            return Ok(());
        }
        Err(Error::Exists {
            path: self.path.clone(),
            hint: "use --force to replace it",
        })
    }

    pub(crate) fn partial(&self) -> &Path {
        &self.partial
    }

    /// The compact copy. Nothing is in it that `.partial` does not have.
    fn compact(&self) -> PathBuf {
        with_suffix(&self.partial, ".compact")
    }

    pub(crate) fn folder(&self) -> PathBuf {
        match self.path.parent() {
            Some(p) if !p.as_os_str().is_empty() => p.to_path_buf(),
            _ => PathBuf::from("."),
        }
    }

    pub(crate) fn create_partial(&self) -> Result<Box<dyn Sink>> {
        if self.force {
            remove(&self.partial)?;
        }
        Ok((self.wrap)(Box::new(FileSink::create_new(&self.partial)?)))
    }

    pub(crate) fn create_compact(&self) -> Result<Box<dyn Sink>> {
        remove(&self.compact())?;
        Ok((self.wrap)(Box::new(FileSink::create_new(self.compact())?)))
    }

    /// Gives the finished file (synced before) its name.
    pub(crate) fn commit(&self, compact: bool) -> Result<()> {
        self.check_free()?;
        let from = if compact {
            self.compact()
        } else {
            self.partial.clone()
        };
        fs::rename(&from, &self.path)
            .map_err(|e| Error::io(format!("rename to {}", self.path.display()), e))?;
        sync_folder(&self.folder())?;
        if compact {
            remove(&self.partial)?;
        }
        Ok(())
    }

    /// Removes what was written under other names than the output's.
    pub(crate) fn discard(&self, keep_partial: bool) {
        // Called on the way out of a failure: the first error is the one to report.
        drop(remove(&self.compact()));
        if !keep_partial {
            drop(remove(&self.partial));
        }
    }
}

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(suffix);
    PathBuf::from(name)
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(path.display().to_string(), e))
        }
        _ => Ok(()),
    }
}

/// Makes a rename survive a power cut, where the system lets a folder be synced.
fn sync_folder(folder: &Path) -> Result<()> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    fs::File::open(folder)
        .and_then(|f| f.sync_all())
        .map_err(|e| Error::io(folder.display().to_string(), e))
}
