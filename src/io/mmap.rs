//! A memory-mapped file: reads are copies out of the page cache, without a system call.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::{RangeSource, check_range};
use crate::{Error, Result};

/// A memory-mapped file.
///
/// The file must not become shorter while it is mapped (the system then ends the process);
/// writers of this crate never change a finished file, they replace it. Use
/// [`super::FileSource`] for files that others may truncate.
#[derive(Debug)]
pub struct MmapSource {
    map: Option<memmap2::Mmap>,
    path: PathBuf,
}

impl MmapSource {
    /// Maps a file; an empty one is fine.
    ///
    /// # Errors
    /// [`Error::Io`] naming the path.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let context = |e| Error::io(path.display().to_string(), e);
        let file = File::open(&path).map_err(context)?;
        let len = file.metadata().map_err(context)?.len();
        let map = if len == 0 {
            None
        } else {
            Some(map(&file).map_err(context)?)
        };
        Ok(Self { map, path })
    }

    fn bytes(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }
}

#[expect(unsafe_code, reason = "mapping a file is unsafe by nature; see SAFETY")]
fn map(file: &File) -> std::io::Result<memmap2::Mmap> {
    // SAFETY: the map is read-only and its bytes are only ever copied out, never borrowed
    // across calls by safe code that relies on them staying equal. The documented duty of the
    // caller is that nobody truncates the file meanwhile.
    unsafe { memmap2::Mmap::map(file) }
}

impl RangeSource for MmapSource {
    fn len(&self) -> u64 {
        self.bytes().len() as u64
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        check_range(offset, out.len(), self.len())?;
        let start = offset as usize;
        out.copy_from_slice(&self.bytes()[start..start + out.len()]);
        Ok(())
    }

    fn identity(&self) -> String {
        self.path.display().to_string()
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
        conformance::check_source(&MmapSource::open(&path).unwrap(), &data).unwrap();
        std::fs::write(&path, b"").unwrap();
        assert!(MmapSource::open(&path).unwrap().is_empty());
    }
}
