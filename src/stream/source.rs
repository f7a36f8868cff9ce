//! A file on a web server as a [`RangeSource`].

use std::sync::Arc;

use super::client::HttpClient;
use super::remote::{RemoteFile, RemoteSource, remote_source};
#[cfg(feature = "object-store")]
use super::store::StoreSource;
use super::web::Web;
#[cfg(not(feature = "object-store"))]
use crate::Error;
use crate::Result;

/// A file behind an `http://` or `https://` address, read in ranges.
///
/// Costs one request to open, which brings the first 64 KiB: what opening a volume reads is then
/// there. Every range is one more; those of one [`crate::io::RangeSource::read_ranges`] call are in
/// flight side by side. Answers of another version of the file than the first one are
/// [`crate::Error::SourceChanged`]; what breaks off is asked for again, from where it broke off.
#[derive(Debug)]
pub struct HttpSource(RemoteFile);

impl HttpSource {
    /// Opens a file: one request of 64 KiB, and HEAD if the server does not tell the length beside
    /// it.
    ///
    /// # Errors
    /// [`crate::Error::InvalidArgument`] for what is no address; [`crate::Error::Unreachable`],
    /// [`crate::Error::HttpStatus`], [`crate::Error::NoRanges`], [`crate::Error::Encoded`],
    /// [`crate::Error::TooManyRedirects`], [`crate::Error::BadAnswer`].
    pub fn open(client: &HttpClient, address: &str) -> Result<Self> {
        let web = Web::new(Arc::clone(client.shared()), address)?;
        Ok(Self(RemoteFile::open(client, Arc::new(web))?))
    }

    /// A file of known length, without a request before the first read. Its version is not known, so that
    /// only a change of its length is noticed.
    ///
    /// # Errors
    /// [`crate::Error::InvalidArgument`] for what is no address.
    #[cfg(feature = "bench")]
    pub fn of_length(client: &HttpClient, address: &str, length: u64) -> Result<Self> {
        let web = Web::new(Arc::clone(client.shared()), address)?;
        Ok(Self(RemoteFile::of_length(client, Arc::new(web), length)))
    }

    /// As [`RemoteSource::changed`].
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn changed(&self) -> Result<bool> {
        self.0.changed()
    }
}

remote_source!(HttpSource);

/// Schemes of addresses of object stores.
const STORES: [&str; 8] = ["s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss"];

/// Whether `text` is an address that [`open_remote`] knows: `http://`, `https://`, or one of an object
/// store, such as `s3://`, `gs://` and `az://`.
pub fn is_address(text: &str) -> bool {
    is_store(text) || ["http", "https"].contains(&scheme(text).as_str())
}

fn is_store(address: &str) -> bool {
    STORES.contains(&scheme(address).as_str())
}

/// In lower case; empty if there is none.
fn scheme(address: &str) -> String {
    let found = address.split_once("://").map(|s| s.0);
    found.unwrap_or_default().to_ascii_lowercase()
}

/// Opens a file behind an address of any kind ([`is_address`]).
///
/// # Errors
/// As [`HttpSource::open`] or `StoreSource::open`; [`crate::Error::Unsupported`] for an object store
/// without feature `object-store`.
pub fn open_remote(client: &HttpClient, address: &str) -> Result<Arc<dyn RemoteSource>> {
    if is_store(address) {
        return store(client, address);
    }
    Ok(Arc::new(HttpSource::open(client, address)?))
}

#[cfg(feature = "object-store")]
fn store(client: &HttpClient, address: &str) -> Result<Arc<dyn RemoteSource>> {
    Ok(Arc::new(StoreSource::open(client, address)?))
}

#[cfg(not(feature = "object-store"))]
fn store(_: &HttpClient, address: &str) -> Result<Arc<dyn RemoteSource>> {
    Err(Error::Unsupported(format!(
        "{address}: this program was built without object stores; use a signed https:// address, or \
         download the file first"
    )))
}
