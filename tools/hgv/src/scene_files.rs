//! Files that say what is drawn, and how.

use std::path::{Path, PathBuf};

use hgv::render::{KeyFrames, SceneDescription};
use hgv::{Error, Result};
use serde::de::DeserializeOwned;

/// Most bytes of a file.
const MAX_JSON: u64 = 16 << 20;

/// What the files say.
#[derive(Default)]
pub(crate) struct SceneFiles {
    pub(crate) description: SceneDescription,
    pub(crate) film: Option<KeyFrames>,
}

impl SceneFiles {
    /// Reads those that there are.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Input`] for what is no description of a scene or film.
    pub(crate) fn read(scene: Option<&PathBuf>, film: Option<&PathBuf>) -> Result<Self> {
        let film: Option<KeyFrames> = film.map(|path| read(path)).transpose()?;
        if let Some(film) = &film {
            film.check()?;
        }
        Ok(Self {
            description: scene
                .map(|path| read(path))
                .transpose()?
                .unwrap_or_default(),
            film,
        })
    }
}

/// What a file of JSON says: a scene, a film or a transfer function.
///
/// # Errors
/// [`Error::Io`]; [`Error::Input`] for a file that is too long, or says something else.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let failed = |e| Error::io(path.display().to_string(), e);
    let size = path.metadata().map_err(failed)?.len();
    if size > MAX_JSON {
        return Err(Error::Input(format!(
            "{}: {size} bytes; at most {MAX_JSON} are read",
            path.display()
        )));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    serde_json::from_str(&text).map_err(|e| Error::Input(format!("{}: {e}", path.display())))
}
