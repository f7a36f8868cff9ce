//! A queue of copies and kernels, and the host memory that copies need until they are done.
#![expect(
    unsafe_code,
    reason = "copies run on while the caller goes on; the stream keeps their memory to itself"
)]

use std::ops::Range;
use std::sync::Arc;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::device::{Buffer, Device, EventId, HostMemory, Kernel, Launch, StreamId};
use super::texture::Texture;
use crate::{Error, Result};

/// Smallest piece of page-locked memory.
const PIECE: usize = 1 << 20;
/// Alignment of what lies in it.
const ALIGN: usize = 64;

/// A queue of work on a device. Copies go through page-locked memory of its own, which is used again
/// after [`Self::recycle`].
#[derive(Debug)]
pub struct Stream {
    device: Arc<dyn Device>,
    id: StreamId,
    pieces: Vec<HostMemory>,
    /// Bytes used of the last piece.
    used: usize,
    /// Grows with each recycling, so that old tickets are refused.
    age: u64,
    /// Whether everything that was queued is known to be done.
    idle: bool,
    profile: Option<Vec<(&'static str, EventId, EventId)>>,
}

/// Where a download lies once its stream is synchronised.
#[derive(Debug, Clone)]
pub struct Ticket {
    piece: usize,
    range: Range<usize>,
    age: u64,
}

/// What the runs of a kernel took.
#[derive(Debug, Clone, PartialEq)]
pub struct KernelTime {
    /// Name of the kernel.
    pub kernel: &'static str,
    /// Milliseconds of one run.
    pub milliseconds: f64,
}

impl Stream {
    /// A new stream of a device.
    ///
    /// # Errors
    /// [`Error::Device`] if the device fails.
    pub fn new(device: &Arc<dyn Device>) -> Result<Self> {
        Ok(Self {
            id: device.create_stream()?,
            device: Arc::clone(device),
            pieces: Vec::new(),
            used: 0,
            age: 0,
            idle: true,
            profile: None,
        })
    }

    /// The device that it belongs to.
    pub fn device(&self) -> &Arc<dyn Device> {
        &self.device
    }

    /// Queues a copy of plain data to `offset` bytes into a buffer.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if it does not fit, [`Error::Device`] and [`Error::DeviceMemory`].
    pub fn upload<T: IntoBytes + Immutable + ?Sized>(
        &mut self,
        to: &Buffer,
        offset: usize,
        data: &T,
    ) -> Result<()> {
        let bytes = data.as_bytes();
        self.upload_with(to, offset, bytes.len(), |place| {
            place.copy_from_slice(bytes);
        })
    }

    /// Queues a copy of `bytes` bytes that `write` fills in, without a copy more.
    ///
    /// # Errors
    /// As [`Self::upload`].
    pub fn upload_with(
        &mut self,
        to: &Buffer,
        offset: usize,
        bytes: usize,
        write: impl FnOnce(&mut [u8]),
    ) -> Result<()> {
        let address = to.range(offset, bytes)?;
        if bytes == 0 {
            return Ok(());
        }
        let ticket = self.place(bytes)?;
        let start = self.start(&ticket)?;
        // SAFETY: the piece of memory is new since the last recycling, so no copy is under way in it and
        // no reference to it exists; it was initialised when it was allocated.
        write(unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), bytes) });
        self.idle = false;
        // SAFETY: both ranges were checked, and the piece is not handed out again before `recycle`,
        // which waits for the copy.
        unsafe { self.device.upload(self.id, address, start, bytes) }
    }

    /// Queues a copy of all texels of a texture, `[z][y][x]`, that `write` fills in.
    ///
    /// # Errors
    /// As [`Self::upload`].
    pub fn upload_texture(&mut self, to: &Texture, write: impl FnOnce(&mut [u8])) -> Result<()> {
        let bytes = to.bytes();
        let ticket = self.place(bytes)?;
        let start = self.start(&ticket)?;
        // SAFETY: as in `upload_with`.
        write(unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), bytes) });
        self.idle = false;
        // SAFETY: the range has the bytes of the texture and is not handed out again before `recycle`, which
        // waits for the copy.
        unsafe { self.device.upload_texture(self.id, to.id(), start) }
    }

    /// Queues a copy of part of a buffer to the host.
    ///
    /// # Errors
    /// As [`Self::upload`].
    pub fn download(&mut self, from: &Buffer, offset: usize, bytes: usize) -> Result<Ticket> {
        let address = from.range(offset, bytes)?;
        let ticket = self.place(bytes)?;
        let start = self.start(&ticket)?;
        self.idle = false;
        if bytes > 0 {
            // SAFETY: both ranges were checked; `bytes` gives no access before the copy is done.
            unsafe { self.device.download(self.id, start, address, bytes)? };
        }
        Ok(ticket)
    }

    /// Queues filling part of a buffer with a byte.
    ///
    /// # Errors
    /// As [`Self::upload`].
    pub fn fill(&mut self, to: &Buffer, range: Range<usize>, byte: u8) -> Result<()> {
        let address = to.range(range.start, range.len())?;
        self.idle = false;
        if range.is_empty() {
            return Ok(());
        }
        // SAFETY: the range was checked.
        unsafe { self.device.fill(self.id, address, byte, range.len()) }
    }

    /// Queues a kernel. The parameters may only name memory of buffers of this device that is as large
    /// as the kernel's source says; a buffer that is dropped meanwhile is given back after the kernel.
    ///
    /// # Errors
    /// [`Error::Device`] if the device fails or the parameters are not those of the kernel.
    pub fn launch<P: IntoBytes + Immutable>(
        &mut self,
        kernel: &'static Kernel,
        blocks: u32,
        shared: u32,
        params: &P,
    ) -> Result<()> {
        if size_of::<P>() != kernel.params {
            return Err(Error::Device(format!(
                "{} takes {} bytes of parameters, not {}",
                kernel.name,
                kernel.params,
                size_of::<P>()
            )));
        }
        if blocks == 0 {
            return Ok(());
        }
        let launch = Launch {
            kernel,
            blocks,
            shared,
            params: params.as_bytes(),
        };
        self.idle = false;
        let before = self.moment()?;
        // SAFETY: the callers, all in this crate, pass addresses of live buffers that they sized for the
        // kernel.
        unsafe { self.device.launch(self.id, &launch)? };
        let after = self.moment()?;
        if let (Some(profile), Some(before), Some(after)) = (&mut self.profile, before, after) {
            profile.push((kernel.name, before, after));
        }
        Ok(())
    }

    /// Waits for everything that was queued.
    ///
    /// # Errors
    /// [`Error::Device`] if any of it failed.
    pub fn synchronise(&mut self) -> Result<()> {
        self.device.synchronise(self.id)?;
        self.idle = true;
        Ok(())
    }

    /// What was downloaded.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] before [`Self::synchronise`] and after [`Self::recycle`].
    pub fn bytes(&self, ticket: &Ticket) -> Result<&[u8]> {
        if !self.idle {
            return Err(Error::argument("a download is read before it is done"));
        }
        let start = self.start(ticket)?;
        // SAFETY: the range lies in a piece that is initialised; no copy is under way, and whatever
        // could start one needs this stream mutably.
        Ok(unsafe { std::slice::from_raw_parts(start.as_ptr(), ticket.range.len()) })
    }

    /// The same as elements of plain data.
    ///
    /// # Errors
    /// As [`Self::bytes`], and if the bytes are no whole number of elements.
    pub fn elements<T: FromBytes + Immutable>(&self, ticket: &Ticket) -> Result<&[T]> {
        let bytes = self.bytes(ticket)?;
        <[T]>::ref_from_bytes(bytes)
            .map_err(|_| Error::argument("a download is no whole number of elements"))
    }

    /// Waits, and lets the page-locked memory be used again; tickets become invalid.
    ///
    /// # Errors
    /// As [`Self::synchronise`].
    pub fn recycle(&mut self) -> Result<()> {
        self.synchronise()?;
        self.age += 1;
        self.used = 0;
        if self.pieces.len() > 1 {
            let whole = self.pieces.iter().map(HostMemory::len).sum();
            self.pieces.clear();
            self.pieces.push(HostMemory::new(&self.device, whole)?);
        }
        Ok(())
    }

    /// Measures every kernel from now on, or no longer.
    pub fn set_profile(&mut self, on: bool) {
        self.profile = on.then(Vec::new);
    }

    /// What the kernels took since the last call, in the order of their runs. Waits for them.
    ///
    /// # Errors
    /// As [`Self::synchronise`].
    pub fn take_profile(&mut self) -> Result<Vec<KernelTime>> {
        self.synchronise()?;
        let measured = self.profile.as_mut().map(std::mem::take);
        let times = measured.into_iter().flatten().map(|(kernel, from, to)| {
            Ok(KernelTime {
                kernel,
                milliseconds: self.device.elapsed(from, to)?,
            })
        });
        times.collect()
    }

    /// A moment to measure from or to, if anybody measures.
    fn moment(&self) -> Result<Option<EventId>> {
        let measures = self.profile.is_some();
        measures.then(|| self.device.record(self.id)).transpose()
    }

    /// Page-locked memory that nothing has used since the last recycling.
    fn place(&mut self, bytes: usize) -> Result<Ticket> {
        let room = self.pieces.last().map_or(0, |p| p.len() - self.used);
        if bytes > room {
            let double = self.pieces.last().map_or(0, |p| 2 * p.len());
            let piece = bytes.max(PIECE).max(double.min(64 * PIECE));
            self.pieces.push(HostMemory::new(&self.device, piece)?);
            self.used = 0;
        }
        let range = self.used..self.used + bytes;
        let end = self.pieces.last().map_or(0, HostMemory::len);
        self.used = range.end.next_multiple_of(ALIGN).min(end);
        Ok(Ticket {
            piece: self.pieces.len().saturating_sub(1),
            range,
            age: self.age,
        })
    }

    fn start(&self, ticket: &Ticket) -> Result<std::ptr::NonNull<u8>> {
        if ticket.range.is_empty() {
            return Ok(std::ptr::NonNull::<u64>::dangling().cast());
        }
        let piece = (self.pieces.get(ticket.piece)).filter(|_| ticket.age == self.age);
        piece
            .and_then(|p| p.part(ticket.range.start, ticket.range.len()))
            .ok_or_else(|| Error::argument("a download is read after its memory was used again"))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // A failure was or will be reported by a call that can; the memory must outlive the copies.
        let _ = self.device.synchronise(self.id);
        // SAFETY: the stream was created by `new` and is not used again.
        unsafe { self.device.destroy_stream(self.id) }
    }
}
