//! Bodies of answers: text at hand, or a part of a file read while it is sent.

use std::fs::{File, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;

use super::access::Served;
use super::site::facts;

/// Bytes read at once: few calls at full speed, little memory for a client that is slow, and little
/// enough for the allocator to hand out the same memory, still in the processor's cache, again.
pub(super) const CHUNK: u64 = 64 << 10;

/// A part of a file. At most two chunks are in memory: one being sent, one being read.
#[derive(Debug)]
pub(super) struct Part {
    file: Option<File>,
    /// What the file was when the answer began.
    etag: String,
    /// Where in the file reading goes on.
    at: u64,
    /// Bytes that were not read yet.
    left: u64,
    ready: Option<Bytes>,
    reading: Option<JoinHandle<io::Result<(File, Bytes)>>>,
}

impl Part {
    /// Bytes `first..=last`; reads the first chunk, so it may block.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn begin(file: File, etag: &str, first: u64, last: u64) -> io::Result<Self> {
        let length = last - first + 1;
        let (file, bytes) = read(file, first, length.min(CHUNK), etag)?;
        Ok(Self {
            file: Some(file),
            etag: etag.into(),
            at: first + bytes.len() as u64,
            left: length - bytes.len() as u64,
            ready: Some(bytes),
            reading: None,
        })
    }

    /// Reads on in the background.
    fn read_on(&mut self) {
        let Some(file) = self.file.take().filter(|_| self.left > 0) else {
            return;
        };
        let (at, length) = self.next_chunk();
        let etag = self.etag.clone();
        self.reading = Some(tokio::task::spawn_blocking(move || {
            read(file, at, length, &etag)
        }));
    }

    /// Place and length of the next chunk, which counts as read from now on.
    fn next_chunk(&mut self) -> (u64, u64) {
        let (at, length) = (self.at, self.left.min(CHUNK));
        self.at += length;
        self.left -= length;
        (at, length)
    }

    /// The next chunk, if the system has it in memory: no thread need wait for a disk then.
    fn at_hand(&mut self) -> Option<io::Result<Bytes>> {
        let file = self.file.as_ref().filter(|_| self.left > 0)?;
        let bytes = cached(file, self.at, self.left.min(CHUNK))?;
        let checked = unchanged(file, &self.etag).map(|()| bytes);
        self.next_chunk();
        Some(checked)
    }

    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if let Some(bytes) = self.ready.take() {
            return Poll::Ready(Some(Ok(bytes)));
        }
        if self.reading.is_none() {
            if let Some(chunk) = self.at_hand() {
                return Poll::Ready(Some(chunk));
            }
            self.read_on();
        }
        let Some(task) = &mut self.reading else {
            return Poll::Ready(None);
        };
        let result = ready!(Pin::new(task).poll(context));
        self.reading = None;
        Poll::Ready(Some(result.map_err(io::Error::other).flatten().map(
            |(file, bytes)| {
                self.file = Some(file);
                self.read_on();
                bytes
            },
        )))
    }
}

/// `length` bytes at `at` of a file that must still be the one with this tag.
fn read(file: File, at: u64, length: u64, etag: &str) -> io::Result<(File, Bytes)> {
    let mut bytes = Vec::with_capacity(length as usize);
    (&file).seek(SeekFrom::Start(at))?;
    (&file).take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length {
        return Err(changed());
    }
    unchanged(&file, etag)?;
    Ok((file, bytes.into()))
}

/// The same without waiting for a disk; `None` if that cannot be.
#[cfg(target_os = "linux")]
fn cached(file: &File, at: u64, length: u64) -> Option<Bytes> {
    use rustix::io::{ReadWriteFlags, preadv2};
    let mut bytes = vec![0; length as usize];
    let mut buffers = [io::IoSliceMut::new(&mut bytes)];
    let read = preadv2(file, &mut buffers, at, ReadWriteFlags::NOWAIT);
    (read.ok()? == bytes.len()).then(|| bytes.into())
}

#[cfg(not(target_os = "linux"))]
fn cached(_: &File, _: u64, _: u64) -> Option<Bytes> {
    None
}

/// Fails if a file is no longer the one with this tag: what was overwritten in place would mix two
/// versions.
fn unchanged(file: &File, etag: &str) -> io::Result<()> {
    let now: Metadata = file.metadata()?;
    if facts(&now).etag == etag {
        return Ok(());
    }
    Err(changed())
}

fn changed() -> io::Error {
    io::Error::other("the file changed while it was sent")
}

/// The body of any answer; says when it is over how many bytes were sent.
#[derive(Debug)]
pub(super) struct Sent {
    content: Content,
    /// Bytes still to come.
    left: u64,
    served: Served,
}

#[derive(Debug)]
pub(super) enum Content {
    Text(Bytes),
    Part(Part),
}

impl Content {
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Part(part) => part.left + part.ready.as_ref().map_or(0, |b| b.len() as u64),
        }
    }
}

impl Sent {
    pub(super) fn new(content: Content, served: Served) -> Self {
        Self {
            left: content.length(),
            content,
            served,
        }
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        if this.left == 0 {
            return Poll::Ready(None);
        }
        let chunk = match &mut this.content {
            Content::Text(text) => Some(Ok(std::mem::take(text))),
            Content::Part(part) => ready!(part.poll_chunk(context)),
        };
        if let Some(Ok(bytes)) = &chunk {
            this.left = this.left.saturating_sub(bytes.len() as u64);
            this.served.sent += bytes.len() as u64;
        }
        Poll::Ready(chunk.map(|c| c.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
