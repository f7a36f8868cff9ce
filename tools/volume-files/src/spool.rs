//! Voxels that cannot be read in place go once, in order, through here into a scratch file.

use crate::element::{Endian, NumberType, swap};
use crate::failure::{bad, reading};
use crate::layout::Layout;
use crate::store::Store;
use hgv::volume::{Extent, Region};
use hgv::{Error, Result};
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes in memory at a time.
const CHUNK: usize = 1 << 20;

/// A scratch file under construction. It has no name on Unix, and is gone with its last handle.
pub(crate) struct Spool {
    folder: PathBuf,
    writer: BufWriter<File>,
    /// All voxels that will come, and those to keep.
    extent: Extent,
    region: Region,
    number: NumberType,
    endian: Endian,
    /// Voxels that came.
    next: u64,
}

impl Spool {
    /// A scratch file in `folder`, or in the system's folder for temporary files.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be created.
    pub(crate) fn create(folder: Option<&Path>, layout: &Layout, region: Region) -> Result<Self> {
        let folder = folder.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let file = tempfile::tempfile_in(&folder).map_err(|e| scratch_error(&folder, e))?;
        Ok(Self {
            folder,
            writer: BufWriter::with_capacity(CHUNK, file),
            extent: layout.extent,
            region,
            number: layout.number,
            endian: layout.endian,
            next: 0,
        })
    }

    /// Takes `bytes` from a stream, or less if nothing more is to be kept.
    ///
    /// # Errors
    /// A stream that ends early or is broken, [`Error::Io`].
    pub(crate) fn copy(&mut self, path: &Path, stream: &mut dyn Read, bytes: u64) -> Result<()> {
        let mut buffer = vec![0; CHUNK.min(usize::try_from(bytes).unwrap_or(CHUNK))];
        let mut left = bytes;
        while left > 0 && !self.complete() {
            let now = &mut buffer[..(left.min(CHUNK as u64)) as usize];
            stream.read_exact(now).map_err(|e| match e.kind() {
                io::ErrorKind::UnexpectedEof => bad(
                    path,
                    format!("the voxels end early: {bytes} bytes are needed; copy or download the file again"),
                ),
                _ => reading(path, e),
            })?;
            left -= now.len() as u64;
            self.push(now)?;
        }
        Ok(())
    }

    /// Takes the next voxels, in the byte order of the file.
    ///
    /// # Errors
    /// [`Error::Io`] if the scratch file cannot be written.
    pub(crate) fn push(&mut self, voxels: &mut [u8]) -> Result<()> {
        let size = self.number.size();
        if self.endian == Endian::Big {
            swap(voxels, size);
        }
        let count = (voxels.len() / size) as u64;
        let written = if self.region == Region::whole(self.extent) {
            self.writer.write_all(voxels)
        } else {
            self.keep(voxels)
        };
        self.next += count;
        written.map_err(|e| scratch_error(&self.folder, e))
    }

    /// Writes the parts of the rows that lie in the region.
    fn keep(&mut self, voxels: &[u8]) -> io::Result<()> {
        let size = self.number.size();
        let [nx, ny, _] = self.extent;
        let (start, end) = (self.region.start, self.region.end);
        let mut at = self.next;
        let last = at + (voxels.len() / size) as u64;
        while at < last {
            let row = at / nx;
            let row_end = ((row + 1) * nx).min(last);
            let (y, z) = (row % ny, row / ny);
            if (start[1]..end[1]).contains(&y) && (start[2]..end[2]).contains(&z) {
                let from = at.max(row * nx + start[0]);
                let to = row_end.min(row * nx + end[0]);
                if from < to {
                    let first = (from - self.next) as usize * size;
                    let bytes = (to - from) as usize * size;
                    self.writer.write_all(&voxels[first..first + bytes])?;
                }
            }
            at = row_end;
        }
        Ok(())
    }

    /// Counts voxels outside of the region as come.
    pub(crate) fn pass(&mut self, voxels: u64) {
        self.next += voxels;
    }

    /// Whether everything to keep has come.
    pub(crate) fn complete(&self) -> bool {
        let [nx, ny, _] = self.extent;
        self.next >= self.region.end[2].saturating_mul(ny).saturating_mul(nx)
    }

    /// Whether every voxel of the file came, so that its end can be checked.
    pub(crate) fn took_all(&self) -> bool {
        let [nx, ny, nz] = self.extent;
        self.next == nx * ny * nz
    }

    /// The kept voxels, little-endian.
    ///
    /// # Errors
    /// [`Error::Io`] if the scratch file cannot be written.
    pub(crate) fn finish(self) -> Result<Store> {
        let folder = self.folder;
        let file = self
            .writer
            .into_inner()
            .map_err(|e| scratch_error(&folder, e.into_error()))?;
        Ok(Store::Linear {
            path: folder.join("scratch file"),
            file: Arc::new(file),
            offset: 0,
        })
    }
}

fn scratch_error(folder: &Path, source: io::Error) -> Error {
    Error::io(
        format!(
            "scratch file in {} (name another folder with --scratch)",
            folder.display()
        ),
        source,
    )
}
