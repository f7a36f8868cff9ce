//! Voxel bytes that can be read at any offset, from several threads, without holding them.

use crate::failure::system;
use hgv::{Error, Result};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Open files kept by a store of many.
const OPEN_FILES: usize = 64;

/// Voxels as one run of bytes, wherever they lie.
pub(crate) enum Store {
    /// One run in one file.
    Linear {
        path: PathBuf,
        file: Arc<File>,
        offset: u64,
    },
    /// Runs of equal length in one or several files.
    Runs(Runs),
}

impl Store {
    /// Reads the bytes from `at` on.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::SourceChanged`] if the file became shorter.
    pub(crate) fn read(&self, at: u64, out: &mut [u8]) -> Result<()> {
        match self {
            Self::Linear { path, file, offset } => read_at(path, file, offset + at, out),
            Self::Runs(runs) => runs.read(at, out),
        }
    }
}

/// Runs of equal length: pages of a TIFF, files of a folder.
pub(crate) struct Runs {
    files: Vec<PathBuf>,
    /// File and byte offset of each run.
    runs: Vec<(u32, u64)>,
    /// Bytes of one run.
    length: u64,
    open: Mutex<VecDeque<(u32, Arc<File>)>>,
}

impl Runs {
    /// `runs` are pairs of an index into `files` and a byte offset.
    pub(crate) fn new(files: Vec<PathBuf>, runs: Vec<(u32, u64)>, length: u64) -> Self {
        Self {
            files,
            runs,
            length,
            open: Mutex::default(),
        }
    }

    fn read(&self, mut at: u64, mut out: &mut [u8]) -> Result<()> {
        while !out.is_empty() {
            let (run, within) = (at / self.length, at % self.length);
            let here = (self.length - within).min(out.len() as u64);
            let (now, later) = out.split_at_mut(here as usize);
            let Some(&(index, offset)) = self.runs.get(run as usize) else {
                return Err(Error::argument(format!("byte {at} is behind the voxels")));
            };
            let (file, path) = self.file(index)?;
            read_at(path, &file, offset + within, now)?;
            at += here;
            out = later;
        }
        Ok(())
    }

    fn file(&self, index: u32) -> Result<(Arc<File>, &Path)> {
        let path = self.files.get(index as usize).map_or(Path::new(""), |p| p);
        // A panic of another reader leaves the list whole.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, file)) = open.iter().find(|(i, _)| *i == index) {
            return Ok((Arc::clone(file), path));
        }
        let file = Arc::new(File::open(path).map_err(|e| system(path, e))?);
        if open.len() == OPEN_FILES {
            open.pop_front();
        }
        open.push_back((index, Arc::clone(&file)));
        Ok((file, path))
    }
}

fn read_at(path: &Path, file: &File, offset: u64, out: &mut [u8]) -> Result<()> {
    read_exact_at(file, offset, out).map_err(|e| match e.kind() {
        io::ErrorKind::UnexpectedEof => Error::SourceChanged(format!(
            "{} became shorter; encode a file that nothing writes to",
            path.display()
        )),
        _ => system(path, e),
    })
}

#[cfg(unix)]
pub(crate) fn read_exact_at(file: &File, offset: u64, out: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, offset)
}

#[cfg(windows)]
pub(crate) fn read_exact_at(file: &File, mut offset: u64, mut out: &mut [u8]) -> io::Result<()> {
    use std::os::windows::fs::FileExt;
    while !out.is_empty() {
        match file.seek_read(out, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                out = &mut out[n..];
                offset += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
