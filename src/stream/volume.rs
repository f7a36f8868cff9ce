//! A volume on a web server or in an object store that may be replaced while it is read.

use std::sync::{Arc, Mutex, PoisonError};

use super::client::HttpClient;
use super::file::VolumeContent;
use super::remote::RemoteSource;
use super::source::open_remote;
use crate::decode::Volume;
use crate::{Error, Limits, Result};

/// An open volume behind an address of any kind ([`open_remote`]), opened anew if the file there is replaced.
///
/// ```no_run
/// use hgv::stream::{HttpClient, HttpOptions, HttpVolume};
/// # fn main() -> hgv::Result<()> {
/// let client = HttpClient::new(HttpOptions::default())?;
/// let volume = HttpVolume::open(&client, "https://example.org/scan.hgv", hgv::Limits::default())?;
/// let extent = volume.with(|v| v.lod_extent(v.lods() - 1))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct HttpVolume {
    client: HttpClient,
    address: String,
    limits: Limits,
    current: Mutex<Arc<Opened>>,
}

#[derive(Debug)]
struct Opened {
    source: Arc<dyn RemoteSource>,
    volume: Volume,
}

impl Opened {
    /// Whether `error` comes from a file that is no longer there. Where the server told no versions,
    /// parts of two files may have come together; the checksums say so, and another look at the head.
    fn is_over(&self, error: &Error) -> bool {
        matches!(error.root(), Error::SourceChanged(_))
            || error.may_be_change() && self.source.changed().unwrap_or(false)
    }
}

impl HttpVolume {
    /// Opens a volume: one request, unless it has very many blocks.
    ///
    /// # Errors
    /// As [`open_remote`] and [`Volume::from_source`].
    pub fn open(client: &HttpClient, address: &str, limits: Limits) -> Result<Self> {
        Ok(Self {
            client: client.clone(),
            address: address.into(),
            limits,
            current: Mutex::new(Arc::new(opened(client, address, limits)?)),
        })
    }

    /// Calls `work` with the open volume. If it fails because the file was replaced, the new file
    /// is opened and `work` called once more, so it must not keep anything of the first call.
    ///
    /// # Errors
    /// What `work` says, or what opening the new file says.
    pub fn with<T>(&self, mut work: impl FnMut(&Volume) -> Result<T>) -> Result<T> {
        let opened = self.current();
        match work(&opened.volume) {
            Err(e) if opened.is_over(&e) => work(&self.reopened(&opened)?.volume),
            result => result,
        }
    }

    /// The volume as it is open now.
    fn current(&self) -> Arc<Opened> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }

    /// Opens the file in place of `old`, unless another thread did so already.
    fn reopened(&self, old: &Arc<Opened>) -> Result<Arc<Opened>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&current, old) {
            *current = Arc::new(opened(&self.client, &self.address, self.limits)?);
        }
        Ok(Arc::clone(&current))
    }
}

impl VolumeContent {
    /// Opens a volume on a web server or in an object store for a [`super::Streamer`]: one request, unless it has very many blocks.
    ///
    /// # Errors
    /// As [`HttpVolume::open`].
    pub fn open_http(client: &HttpClient, address: &str, limits: Limits) -> Result<Self> {
        let Opened { source, volume } = opened(client, address, limits)?;
        Ok(Self::new(volume).with_changed(move || source.changed().unwrap_or(false)))
    }
}

fn opened(client: &HttpClient, address: &str, limits: Limits) -> Result<Opened> {
    let source = open_remote(client, address)?;
    let volume = Volume::from_source(Arc::clone(&source) as _, limits)?;
    Ok(Opened { source, volume })
}
