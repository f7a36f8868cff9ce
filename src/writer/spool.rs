//! Bytes that wait: in memory up to a budget, then in a scratch file that has no name and so
//! cannot be left behind.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// An append-only buffer with random reads.
#[derive(Debug)]
pub(crate) struct Spool {
    memory: Vec<u8>,
    budget: usize,
    folder: Option<PathBuf>,
    file: Option<File>,
    len: u64,
}

impl Spool {
    /// Keeps `budget` bytes in memory; scratch files go to `folder` (`None` = the system's).
    pub(crate) fn new(budget: usize, folder: Option<PathBuf>) -> Self {
        Self {
            memory: Vec::new(),
            budget,
            folder,
            file: None,
            len: 0,
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Appends and returns the offset of the first byte.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<u64> {
        let at = self.len;
        if self.file.is_none() && self.memory.len() + bytes.len() > self.budget {
            self.spill()?;
        }
        match &mut self.file {
            Some(file) => file
                .seek(SeekFrom::Start(at))
                .and_then(|_| file.write_all(bytes))
                .map_err(|e| scratch_error(self.folder.as_deref(), e))?,
            None => self.memory.extend_from_slice(bytes),
        }
        self.len += bytes.len() as u64;
        Ok(at)
    }

    /// Reads bytes that were appended before.
    pub(crate) fn read(&mut self, offset: u64, out: &mut [u8]) -> Result<()> {
        crate::io::check_range(offset, out.len(), self.len)?;
        match &mut self.file {
            Some(file) => file
                .seek(SeekFrom::Start(offset))
                .and_then(|_| file.read_exact(out))
                .map_err(|e| scratch_error(self.folder.as_deref(), e)),
            None => {
                let start = offset as usize;
                out.copy_from_slice(&self.memory[start..start + out.len()]);
                Ok(())
            }
        }
    }

    fn spill(&mut self) -> Result<()> {
        let context = |e| scratch_error(self.folder.as_deref(), e);
        let mut file = match &self.folder {
            Some(folder) => tempfile::tempfile_in(folder),
            None => tempfile::tempfile(),
        }
        .map_err(context)?;
        file.write_all(&self.memory).map_err(context)?;
        self.memory = Vec::new();
        self.file = Some(file);
        Ok(())
    }
}

fn scratch_error(folder: Option<&Path>, e: std::io::Error) -> Error {
    let place = folder.map_or_else(std::env::temp_dir, Path::to_path_buf);
    Error::io(format!("scratch file in {}", place.display()), e)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn spills_and_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let data = crate::io::conformance::sample(1000);
        for budget in [0, 300, 5000] {
            let mut spool = Spool::new(budget, Some(dir.path().into()));
            for piece in data.chunks(70) {
                let at = spool.append(piece).unwrap();
                let mut back = vec![0; piece.len()];
                spool.read(at, &mut back).unwrap();
                assert_eq!(back, piece);
            }
            let mut all = vec![0; 1000];
            spool.read(0, &mut all).unwrap();
            assert_eq!((all, spool.len()), (data.clone(), 1000));
            assert_eq!(spool.file.is_some(), budget < 1000);
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
