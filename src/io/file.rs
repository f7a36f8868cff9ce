//! Files on disk, read with positioned reads and written in order.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::memory::check_patch;
use super::{RangeSource, Sink, check_range};
use crate::{Error, Result};

/// A file, read with `pread`: no shared cursor, no lock.
#[derive(Debug)]
pub struct FileSource {
    file: File,
    path: PathBuf,
    len: u64,
}

impl FileSource {
    /// Opens a file and notes its length.
    ///
    /// # Errors
    /// [`Error::Io`] naming the path.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let file = File::open(&path).map_err(|e| Error::io(path.display().to_string(), e))?;
        Self::from_file(file, path)
    }

    /// Takes a file that is open for reading; `path` is its name in messages.
    ///
    /// # Errors
    /// [`Error::Io`] naming the path.
    pub fn from_file(file: File, path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let metadata = file.metadata();
        let metadata = metadata.map_err(|e| Error::io(path.display().to_string(), e))?;
        Ok(Self {
            file,
            path,
            len: metadata.len(),
        })
    }
}

impl RangeSource for FileSource {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        check_range(offset, out.len(), self.len)?;
        read_exact_at(&self.file, offset, out).map_err(|e| match e.kind() {
            // The length was checked: the file became shorter.
            std::io::ErrorKind::UnexpectedEof => Error::SourceChanged(format!(
                "{} is shorter than when it was opened",
                self.path.display()
            )),
            _ => Error::io(self.path.display().to_string(), e),
        })
    }

    fn identity(&self) -> String {
        self.path.display().to_string()
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut offset: u64, mut out: &mut [u8]) -> std::io::Result<()> {
    while !out.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, out, offset) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                out = &mut out[n..];
                offset += n as u64;
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// A new file that is written in order and patched in place.
#[derive(Debug)]
pub struct FileSink {
    file: File,
    path: PathBuf,
    position: u64,
}

impl FileSink {
    /// Creates a file that must not exist yet.
    ///
    /// # Errors
    /// [`Error::Io`] naming the path.
    pub fn create_new(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|e| Error::io(path.display().to_string(), e))?;
        Ok(Self {
            file,
            path,
            position: 0,
        })
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.file.seek(SeekFrom::Start(offset))?;
        self.file.write_all(bytes)?;
        self.file.seek(SeekFrom::Start(self.position))?;
        Ok(())
    }
}

impl Sink for FileSink {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all(bytes)
            .map_err(|e| Error::io(self.path.display().to_string(), e))?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn can_patch(&self) -> bool {
        true
    }

    fn patch(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        check_patch(offset, bytes.len(), self.position)?;
        self.write_at(offset, bytes)
            .map_err(|e| Error::io(self.path.display().to_string(), e))
    }

    fn sync(&mut self) -> Result<()> {
        self.file
            .sync_all()
            .map_err(|e| Error::io(self.path.display().to_string(), e))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::io::conformance;

    #[test]
    fn conforms() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let data = conformance::sample(5000);
        std::fs::write(&path, &data).unwrap();
        conformance::check_source(&FileSource::open(&path).unwrap(), &data).unwrap();
        assert!(FileSink::create_new(&path).is_err());
        let new = dir.path().join("new");
        let sink = FileSink::create_new(&new).unwrap();
        let read = move || std::fs::read(&new).map_err(|e| Error::io("read", e));
        conformance::check_sink(Box::new(sink), read).unwrap();
    }

    #[test]
    fn a_file_that_shrinks_is_a_changed_source() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        std::fs::write(&path, [7; 100]).unwrap();
        let source = FileSource::open(&path).unwrap();
        std::fs::write(&path, [7; 10]).unwrap();
        let result = source.read_at(50, &mut [0; 10]);
        assert!(matches!(result, Err(Error::SourceChanged(_))));
    }
}
