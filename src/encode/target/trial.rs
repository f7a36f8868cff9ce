//! Files that may become the output.

use std::path::{Path, PathBuf};

use super::super::refuse_existing;
use crate::writer::with_suffix;
use crate::{Error, Result};

/// A finished file beside the output that does not have its name yet; removed unless kept.
pub(super) struct Trial {
    path: PathBuf,
}

impl Trial {
    pub(super) fn new(output: &Path) -> Self {
        Self {
            path: with_suffix(output, ".trial.partial"),
        }
    }

    /// Makes room for the next trial.
    pub(super) fn set_aside(self, output: &Path) -> Result<Self> {
        let best = Self {
            path: with_suffix(output, ".best.partial"),
        };
        self.rename(&best.path)?;
        Ok(best)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it the name of the output.
    pub(super) fn keep_as(self, path: &Path, force: bool) -> Result<()> {
        refuse_existing(path, force)?;
        self.rename(path)
    }

    fn rename(&self, to: &Path) -> Result<()> {
        std::fs::rename(&self.path, to).map_err(|e| Error::io(to.display().to_string(), e))
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        // Gone already if it was kept.
        std::fs::remove_file(&self.path).ok();
    }
}
