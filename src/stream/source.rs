//! A file on a web server as a [`RangeSource`].

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::task::JoinSet;

use super::answer::Version;
use super::client::HttpClient;
use super::transfer::{Remote, Transfer};
use crate::format::constant::FIRST_READ;
use crate::io::{RangeRead, RangeSource, check_range};
use crate::{Error, Result};

/// A file behind an `http://` or `https://` address, read in ranges.
///
/// Costs one request to open, which brings the first 64 KiB: what opening a volume reads is then
/// there. Every range is one more; those of one [`RangeSource::read_ranges`] call are in flight side
/// by side. Answers of another version of the file than the first one are
/// [`Error::SourceChanged`]; what breaks off is asked for again, from where it broke off.
#[derive(Debug)]
pub struct HttpSource {
    client: HttpClient,
    remote: Arc<Remote>,
    version: Version,
    len: u64,
    /// The first bytes of the file.
    head: Vec<u8>,
}

impl HttpSource {
    /// Opens a file: one request of 64 KiB, and HEAD if the server does not tell the length beside
    /// it.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for what is no address; [`Error::Unreachable`],
    /// [`Error::HttpStatus`], [`Error::NoRanges`], [`Error::Encoded`],
    /// [`Error::TooManyRedirects`], [`Error::BadAnswer`].
    pub fn open(client: &HttpClient, address: &str) -> Result<Self> {
        let remote = Arc::new(Remote::new(Arc::clone(client.shared()), address)?);
        let first = first(client, &remote)?;
        let version = first.known.unwrap_or_default();
        Ok(Self {
            client: client.clone(),
            remote,
            len: version.total.unwrap_or(first.bytes.len() as u64),
            version,
            head: first.bytes,
        })
    }

    /// A file of known length, without a request before the first read. Its version is not known, so that
    /// only a change of its length is noticed.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for what is no address.
    #[cfg(feature = "bench")]
    pub fn of_length(client: &HttpClient, address: &str, length: u64) -> Result<Self> {
        let mut version = Version::default();
        version.total = Some(length);
        Ok(Self {
            client: client.clone(),
            remote: Arc::new(Remote::new(Arc::clone(client.shared()), address)?),
            len: length,
            version,
            head: Vec::new(),
        })
    }

    /// Whether the server now has another file than the one that was opened. One request; tells it
    /// even where the server shows neither ETag nor date, as long as the first 64 KiB differ.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn changed(&self) -> Result<bool> {
        let now = first(&self.client, &self.remote)?;
        let known = now.known.unwrap_or_default();
        Ok(self.version.difference(&known).is_some() || now.bytes != self.head)
    }

    /// The wanted bytes if they are in the head.
    fn in_head(&self, offset: u64, length: usize) -> Option<&[u8]> {
        let start = usize::try_from(offset).ok()?;
        self.head.get(start..start.checked_add(length)?)
    }

    fn transfer(&self, offset: u64, buffer: Vec<u8>) -> Transfer {
        let want = buffer.len() as u64;
        Transfer::new(offset, want, buffer, Some(self.version.clone()))
    }

    /// Ranges from the head or the server.
    fn read(&self, reads: &mut [RangeRead], stop: Option<&AtomicBool>) -> Result<()> {
        let mut remote = Vec::new();
        for (i, read) in reads.iter_mut().enumerate() {
            check_range(read.offset, read.bytes.len(), self.len)?;
            match self.in_head(read.offset, read.bytes.len()) {
                Some(bytes) => read.bytes.copy_from_slice(bytes),
                None if read.bytes.is_empty() => {}
                None => remote.push(i),
            }
        }
        if remote.is_empty() {
            return Ok(());
        }
        self.fetch_all(reads, &remote, stop)
    }

    /// Ranges side by side; the first error ends all of them.
    fn fetch_all(
        &self,
        reads: &mut [RangeRead],
        places: &[usize],
        stop: Option<&AtomicBool>,
    ) -> Result<()> {
        let mut tasks = JoinSet::new();
        let mut list = Vec::new();
        for &i in places {
            let buffer = std::mem::take(&mut reads[i].bytes);
            list.push((i, self.transfer(reads[i].offset, buffer)));
        }
        let remote = Arc::clone(&self.remote);
        let done = self.client.wait(stop, async move {
            for (i, transfer) in list {
                let remote = Arc::clone(&remote);
                tasks.spawn(async move { Ok::<_, Error>((i, remote.fetch(transfer).await?)) });
            }
            let mut done = Vec::new();
            while let Some(result) = tasks.join_next().await {
                let result = result.map_err(|e| Error::io("a transfer", e.into()))?;
                done.push(result?);
            }
            Ok(done)
        })?;
        for (i, transfer) in done {
            reads[i].bytes = transfer.bytes;
        }
        Ok(())
    }
}

/// The first bytes and the version of a file.
fn first(client: &HttpClient, remote: &Arc<Remote>) -> Result<Transfer> {
    let buffer = Vec::with_capacity(FIRST_READ);
    let transfer = Transfer::new(0, FIRST_READ as u64, buffer, None);
    let remote = Arc::clone(remote);
    client.wait(None, async move { remote.fetch(transfer).await })
}

impl RangeSource for HttpSource {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let mut reads = [RangeRead::new(offset, out.len())?];
        self.read_ranges(&mut reads)?;
        out.copy_from_slice(&reads[0].bytes);
        Ok(())
    }

    fn read_at_unless(&self, offset: u64, out: &mut [u8], stop: &AtomicBool) -> Result<()> {
        let mut reads = [RangeRead::new(offset, out.len())?];
        self.read(&mut reads, Some(stop))?;
        out.copy_from_slice(&reads[0].bytes);
        Ok(())
    }

    fn read_ranges(&self, reads: &mut [RangeRead]) -> Result<()> {
        self.read(reads, None)
    }

    fn identity(&self) -> String {
        self.remote.name.clone()
    }
}
