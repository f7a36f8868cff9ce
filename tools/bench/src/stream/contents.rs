//! Volumes of every format behind one address.

use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use hgv::stream::{HttpClient, HttpSource, Streamable, VolumeContent};
use hgv::{Limits, Result, Volume};

use super::precomputed::Precomputed;
use super::raw::Raw;
use super::site::Site;
use super::zarr::Zarr;

/// A format that is streamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormatName {
    /// `volume.hgv`.
    Hgv,
    /// `raw/bricks.bin`.
    Raw,
    /// `zarr/`.
    Zarr,
    /// `precomputed/`.
    Precomputed,
}

impl FormatName {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Hgv, Self::Raw, Self::Zarr, Self::Precomputed];

    fn name(self) -> &'static str {
        match self {
            Self::Hgv => "hgv",
            Self::Raw => "raw",
            Self::Zarr => "zarr",
            Self::Precomputed => "precomputed",
        }
    }
}

impl Display for FormatName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for FormatName {
    type Err = String;
    fn from_str(word: &str) -> std::result::Result<Self, String> {
        let found = Self::ALL.into_iter().find(|f| f.name() == word);
        found.ok_or_else(|| "one of hgv, raw, zarr, precomputed".into())
    }
}

/// Opens the volume of a format at `address`, where the files of `folder` are served. The metadata of the
/// format are read over HTTP.
///
/// # Errors
/// What the server says, or what is wrong with the metadata.
pub fn open(
    format: FormatName,
    client: &HttpClient,
    address: &str,
    folder: &Path,
) -> Result<Arc<dyn Streamable>> {
    let site = || {
        let (address, folder) = (format!("{address}/{format}"), folder.join(format.name()));
        Site::new(client, &address, &folder)
    };
    Ok(match format {
        FormatName::Hgv => {
            let source = HttpSource::open(client, &format!("{address}/volume.hgv"))?;
            let volume = Volume::from_source(Arc::new(source), Limits::default())?;
            Arc::new(VolumeContent::new(volume))
        }
        FormatName::Raw => Arc::new(Raw::open(site()?)?),
        FormatName::Zarr => Arc::new(Zarr::open(site()?)?),
        FormatName::Precomputed => Arc::new(Precomputed::open(site()?)?),
    })
}
