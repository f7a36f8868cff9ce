//! A file that is read in ranges from afar: its head, its version, transfers side by side.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::task::JoinSet;

use super::answer::Version;
use super::client::HttpClient;
use super::transfer::{Origin, Transfer, fetch};
use crate::format::constant::FIRST_READ;
use crate::io::{RangeRead, RangeSource, check_range};
use crate::{Error, Result};

/// A file on a server or in a store that may be replaced while it is read.
pub trait RemoteSource: RangeSource {
    /// Whether there is now another file than the one that was opened. One request; tells it even
    /// where neither tag nor date is shown, as long as the first 64 KiB differ.
    ///
    /// # Errors
    /// As opening it.
    fn changed(&self) -> Result<bool>;
}

/// What [`RemoteSource`]s are made of. The version is that of the first answer; every later one must
/// show the same.
#[derive(Debug)]
pub(super) struct RemoteFile {
    client: HttpClient,
    origin: Arc<dyn Origin>,
    version: Version,
    len: u64,
    /// The first bytes of the file.
    head: Vec<u8>,
}

impl RemoteFile {
    /// One request of 64 KiB.
    pub(super) fn open(client: &HttpClient, origin: Arc<dyn Origin>) -> Result<Self> {
        let first = first(client, &origin)?;
        let version = first.known.unwrap_or_default();
        Ok(Self {
            client: client.clone(),
            origin,
            len: version.total.unwrap_or(first.bytes.len() as u64),
            version,
            head: first.bytes,
        })
    }

    /// No request: the version stays unknown but for its length.
    #[cfg(feature = "bench")]
    pub(super) fn of_length(client: &HttpClient, origin: Arc<dyn Origin>, length: u64) -> Self {
        Self {
            client: client.clone(),
            origin,
            version: Version::of_length(length),
            len: length,
            head: Vec::new(),
        }
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

    /// Ranges from the head or from afar.
    pub(super) fn read(&self, reads: &mut [RangeRead], stop: Option<&AtomicBool>) -> Result<()> {
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
        let origin = Arc::clone(&self.origin);
        let done = self.client.wait(stop, async move {
            for (i, transfer) in list {
                let origin = Arc::clone(&origin);
                tasks.spawn(
                    async move { Ok::<_, Error>((i, fetch(origin.as_ref(), transfer).await?)) },
                );
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
fn first(client: &HttpClient, origin: &Arc<dyn Origin>) -> Result<Transfer> {
    let buffer = Vec::with_capacity(FIRST_READ);
    let transfer = Transfer::new(0, FIRST_READ as u64, buffer, None);
    let origin = Arc::clone(origin);
    client.wait(None, async move { fetch(origin.as_ref(), transfer).await })
}

impl RemoteSource for RemoteFile {
    fn changed(&self) -> Result<bool> {
        let now = first(&self.client, &self.origin)?;
        let known = now.known.unwrap_or_default();
        Ok(self.version.difference(&known).is_some() || now.bytes != self.head)
    }
}

impl RangeSource for RemoteFile {
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
        self.origin.name().to_owned()
    }
}

/// Makes a wrapper of a [`RemoteFile`] a source.
macro_rules! remote_source {
    ($type:ty) => {
        impl $crate::io::RangeSource for $type {
            fn len(&self) -> u64 {
                self.0.len()
            }

            fn read_at(&self, offset: u64, out: &mut [u8]) -> $crate::Result<()> {
                self.0.read_at(offset, out)
            }

            fn read_at_unless(
                &self,
                offset: u64,
                out: &mut [u8],
                stop: &std::sync::atomic::AtomicBool,
            ) -> $crate::Result<()> {
                self.0.read_at_unless(offset, out, stop)
            }

            fn read_ranges(&self, reads: &mut [$crate::io::RangeRead]) -> $crate::Result<()> {
                self.0.read_ranges(reads)
            }

            fn identity(&self) -> String {
                self.0.identity()
            }
        }

        impl $crate::stream::RemoteSource for $type {
            fn changed(&self) -> $crate::Result<bool> {
                self.0.changed()
            }
        }
    };
}
pub(super) use remote_source;
