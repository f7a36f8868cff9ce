//! The bytes of one input file as a stream, unpacked on the way: a header is parsed from its
//! front, and the voxels are found behind it.

use crate::failure::{bad, reading, system};
use crate::format::{Name, Packing};
use flate2::bufread::MultiGzDecoder;
use hgv::Result;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes looked at to recognise a format.
const HEAD: usize = 1024;

type Stream = BufReader<Box<dyn Read + Send>>;

/// An open input, positioned somewhere in its unpacked bytes.
pub(crate) struct Input {
    path: PathBuf,
    /// Set if the bytes can be read in place: a regular file that is not packed.
    file: Option<Arc<File>>,
    stream: Stream,
    position: u64,
    /// No more unpacked bytes than this can come; `None` if unknown (pipes).
    bound: Option<u64>,
    head: Vec<u8>,
}

impl Input {
    /// Opens `path` (`-` is the standard input). Packed files are recognised by name and,
    /// unless `as_is`, by their first bytes.
    ///
    /// # Errors
    /// Unreadable paths, folders, empty files, and files whose name lies about packing.
    pub(crate) fn open(path: &Path, as_is: bool) -> Result<Self> {
        let (file, length, raw) = open_raw(path)?;
        let mut stream: Stream = BufReader::with_capacity(1 << 16, raw);
        let head = peek(&mut stream).map_err(|e| reading(path, e))?;
        let packing = packing_of(path, &head.0, as_is)?;
        let mut input = Self {
            path: path.to_owned(),
            file,
            stream: head.1,
            position: 0,
            bound: length,
            head: head.0,
        };
        if let Some(packing) = packing {
            input.unpack(packing)?;
        }
        if input.head.is_empty() {
            return Err(bad(path, "the file is empty; copy or download it again"));
        }
        Ok(input)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file, if its bytes can be read in place.
    pub(crate) fn file(&self) -> Option<&Arc<File>> {
        self.file.as_ref()
    }

    /// The first bytes, up to 1024.
    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }

    /// Unpacked bytes before the next one.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Upper bound of the unpacked length; exact for files read in place.
    pub(crate) fn bound(&self) -> Option<u64> {
        self.bound
    }

    /// The unpacked bytes from the current position on.
    pub(crate) fn stream(&mut self) -> &mut dyn Read {
        &mut self.stream
    }

    /// Treats the bytes from the current position on as packed; positions start at 0 again.
    pub(crate) fn unpack(&mut self, packing: Packing) -> Result<()> {
        let empty: Box<dyn Read + Send> = Box::new(io::empty());
        let packed = std::mem::replace(&mut self.stream, BufReader::with_capacity(0, empty));
        let left = self.bound.map(|b| b.saturating_sub(self.position));
        let unpacked: Box<dyn Read + Send> = match packing {
            Packing::Gzip => Box::new(MultiGzDecoder::new(packed)),
            Packing::Zstd => Box::new(
                zstd::stream::read::Decoder::with_buffer(packed)
                    .map_err(|e| reading(&self.path, e))?,
            ),
        };
        let mut stream = BufReader::with_capacity(1 << 16, unpacked);
        (self.head, self.stream) = peek(&mut stream).map_err(|e| reading(&self.path, e))?;
        self.file = None;
        self.position = 0;
        self.bound = left.map(|n| packing.most(n));
        Ok(())
    }

    /// The next `count` bytes of a header. `count` must be bounded by the caller.
    pub(crate) fn take(&mut self, count: usize, what: &str) -> Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.stream
            .read_exact(&mut bytes)
            .map_err(|e| match e.kind() {
                io::ErrorKind::UnexpectedEof => bad(
                    &self.path,
                    format!("the {what} is cut off; copy or download the file again"),
                ),
                _ => reading(&self.path, e),
            })?;
        self.position += count as u64;
        Ok(bytes)
    }

    /// The next line without its end, or `None` at the end of the file.
    ///
    /// # Errors
    /// A line of more than `longest` bytes.
    pub(crate) fn line(&mut self, longest: u64) -> Result<Option<String>> {
        let mut line = Vec::new();
        let taken = (&mut self.stream)
            .take(longest + 1)
            .read_until(b'\n', &mut line)
            .map_err(|e| reading(&self.path, e))? as u64;
        self.position += taken;
        if taken > longest {
            return Err(bad(
                &self.path,
                format!("a header line is longer than {longest} bytes; this is not a text header"),
            ));
        }
        let text = String::from_utf8_lossy(&line);
        Ok((taken > 0).then(|| text.trim_end_matches(['\n', '\r']).to_owned()))
    }

    /// Moves forward to an unpacked position.
    ///
    /// # Errors
    /// A position before the current one or beyond the end.
    pub(crate) fn advance(&mut self, to: u64) -> Result<()> {
        let gap = to.checked_sub(self.position).ok_or_else(|| {
            bad(
                &self.path,
                format!("the header puts the voxels at byte {to}, inside the header itself"),
            )
        })?;
        let passed = match &self.file {
            Some(_) => self.jump(gap),
            None => io::copy(&mut (&mut self.stream).take(gap), &mut io::sink()),
        };
        let passed = passed.map_err(|e| reading(&self.path, e))?;
        self.position += passed;
        if passed < gap {
            return Err(bad(
                &self.path,
                format!(
                    "the voxels should start at byte {to}, the file ends at {}",
                    self.position
                ),
            ));
        }
        Ok(())
    }

    /// Files read in place are never read as a stream behind the header: only the position moves.
    fn jump(&self, gap: u64) -> io::Result<u64> {
        let end = self.bound.unwrap_or(u64::MAX);
        Ok(gap.min(end.saturating_sub(self.position)))
    }

    /// The stream of a file at the current position, however the position was reached.
    ///
    /// # Errors
    /// [`hgv::Error::Io`] if the file cannot be repositioned.
    pub(crate) fn resume(&mut self) -> Result<()> {
        if let Some(file) = &self.file {
            let mut again = file.try_clone().map_err(|e| system(&self.path, e))?;
            again
                .seek(SeekFrom::Start(self.position))
                .map_err(|e| system(&self.path, e))?;
            self.stream = BufReader::with_capacity(1 << 16, Box::new(again));
        }
        Ok(())
    }
}

type RawInput = (Option<Arc<File>>, Option<u64>, Box<dyn Read + Send>);

fn open_raw(path: &Path) -> Result<RawInput> {
    if path == Path::new("-") {
        return Ok((None, None, Box::new(io::stdin())));
    }
    let file = File::open(path).map_err(|e| system(path, e))?;
    let about = file.metadata().map_err(|e| system(path, e))?;
    if about.is_dir() {
        return Err(bad(path, "this is a folder, not a file; name a file in it"));
    }
    if !about.is_file() {
        return Ok((None, None, Box::new(file)));
    }
    let stream = file.try_clone().map_err(|e| system(path, e))?;
    Ok((Some(Arc::new(file)), Some(about.len()), Box::new(stream)))
}

/// The first bytes of a stream, and the stream with them put back.
fn peek(stream: &mut Stream) -> io::Result<(Vec<u8>, Stream)> {
    let empty: Box<dyn Read + Send> = Box::new(io::empty());
    let mut inner = std::mem::replace(stream, BufReader::with_capacity(0, empty));
    let mut head = Vec::new();
    (&mut inner).take(HEAD as u64).read_to_end(&mut head)?;
    let whole = Cursor::new(head.clone()).chain(inner);
    Ok((head, BufReader::with_capacity(1 << 16, Box::new(whole))))
}

fn packing_of(path: &Path, head: &[u8], as_is: bool) -> Result<Option<Packing>> {
    if as_is {
        return Ok(None);
    }
    let name = Name::of(path)?;
    let found = Packing::sniff(head);
    match name.packing {
        Some(wanted) if found != Some(wanted) && !head.is_empty() => Err(bad(
            path,
            format!(
                "the file is not {} data, as its name says; rename it or download it again",
                wanted.name()
            ),
        )),
        Some(wanted) => Ok(Some(wanted)),
        // Raw voxels may start with any bytes.
        None if name.format == Some(crate::Format::Raw) => Ok(None),
        None => Ok(found),
    }
}
