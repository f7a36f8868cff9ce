//! Directories and tags of a TIFF or BigTIFF file, read with no more memory than the file has
//! bytes for them.

use crate::element::Endian;
use crate::failure::{bad, reading, system};
use crate::store::read_exact_at;
use hgv::Result;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

/// Bytes of the largest value, such as the offsets of the strips of one page.
const VALUE: u64 = 16 << 20;

/// Numbers of the tags that are looked at.
pub(super) mod tag {
    pub(crate) const SUBFILE: u16 = 254;
    pub(crate) const WIDTH: u16 = 256;
    pub(crate) const HEIGHT: u16 = 257;
    pub(crate) const BITS: u16 = 258;
    pub(crate) const COMPRESSION: u16 = 259;
    pub(crate) const PHOTOMETRIC: u16 = 262;
    pub(crate) const FILL_ORDER: u16 = 266;
    pub(crate) const DESCRIPTION: u16 = 270;
    pub(crate) const STRIP_OFFSETS: u16 = 273;
    pub(crate) const SAMPLES: u16 = 277;
    pub(crate) const ROWS_PER_STRIP: u16 = 278;
    pub(crate) const STRIP_BYTES: u16 = 279;
    pub(crate) const X_RESOLUTION: u16 = 282;
    pub(crate) const Y_RESOLUTION: u16 = 283;
    pub(crate) const RESOLUTION_UNIT: u16 = 296;
    pub(crate) const PREDICTOR: u16 = 317;
    pub(crate) const TILE_WIDTH: u16 = 322;
    pub(crate) const TILE_HEIGHT: u16 = 323;
    pub(crate) const TILE_BYTES: u16 = 325;
    pub(crate) const SAMPLE_FORMAT: u16 = 339;
}

/// An open TIFF file.
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) length: u64,
    pub(super) endian: Endian,
    file: std::fs::File,
    big: bool,
    /// Byte of the first directory.
    pub(super) first: u64,
}

/// One directory: tags of a page.
pub(super) struct Directory {
    entries: BTreeMap<u16, Entry>,
    /// Byte of the next one; 0 if there is none.
    next: u64,
    /// Bytes it takes.
    bytes: u64,
}

/// A tag: type, number of values, and the values or their offset.
struct Entry {
    kind: u16,
    count: u64,
    value: Vec<u8>,
}

impl Entry {
    /// Bytes of its values; `None` if the type is unknown or the number impossible.
    fn bytes(&self) -> Option<u64> {
        self.count.checked_mul(self.size()?)
    }

    /// Bytes of one value.
    fn size(&self) -> Option<u64> {
        Some(match self.kind {
            1 | 2 | 6 | 7 => 1,
            3 | 8 => 2,
            4 | 9 | 11 | 13 => 4,
            5 | 10 | 12 | 16 | 17 | 18 => 8,
            _ => return None,
        })
    }
}

impl File {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// [`hgv::Error::Io`]; files that are not TIFF.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = std::fs::File::open(path).map_err(|e| system(path, e))?;
        let length = file.metadata().map_err(|e| system(path, e))?.len();
        let mut out = Self {
            path: path.to_owned(),
            length,
            endian: Endian::Little,
            file,
            big: false,
            first: 0,
        };
        let head = out.bytes(0, length.min(16))?;
        out.endian = match head.get(..2) {
            Some(b"II") => Endian::Little,
            Some(b"MM") => Endian::Big,
            _ => {
                return Err(bad(
                    path,
                    "this is not a TIFF file: it does not start with II or MM",
                ));
            }
        };
        let number = |from: usize, to: usize| head.get(from..to).map(|b| out.number(b));
        (out.big, out.first) = match (number(2, 4), number(4, 8), number(8, 16)) {
            (Some(42), Some(first), _) => (false, first),
            (Some(43), _, Some(first)) => (true, first),
            _ => return Err(bad(path, "this is not a TIFF file: its version is unknown")),
        };
        Ok(out)
    }

    /// The directories in their order, with the byte where each starts.
    ///
    /// # Errors
    /// Directories outside of the file, or in a circle.
    pub(super) fn directories(&self) -> Result<Vec<u64>> {
        let mut seen = HashSet::new();
        let mut order = Vec::new();
        let mut at = self.first;
        let mut bytes = 0u64;
        while at != 0 {
            let directory = self.directory(at)?;
            bytes = bytes.saturating_add(directory.bytes);
            if !seen.insert(at) || bytes > self.length {
                return Err(bad(
                    &self.path,
                    "the directories of the TIFF run in a circle; save it anew",
                ));
            }
            order.push(at);
            at = directory.next;
        }
        Ok(order)
    }

    /// The directory at a byte of the file.
    pub(super) fn directory(&self, at: u64) -> Result<Directory> {
        let (head, entry, link) = if self.big { (8, 20, 8) } else { (2, 12, 4) };
        let count = self.number(&self.bytes(at, head)?);
        let size = count.saturating_mul(entry).saturating_add(link);
        let bytes = self.bytes(at.saturating_add(head), size)?;
        let (entries, next) = bytes.split_at(bytes.len() - link as usize);
        Ok(Directory {
            entries: entries
                .chunks_exact(entry as usize)
                .map(|e| self.entry(e))
                .collect(),
            next: self.number(next),
            bytes: head + size,
        })
    }

    fn entry(&self, bytes: &[u8]) -> (u16, Entry) {
        let (count, value) = bytes[4..].split_at(if self.big { 8 } else { 4 });
        let entry = Entry {
            kind: self.number(&bytes[2..4]) as u16,
            count: self.number(count),
            value: value.to_vec(),
        };
        (self.number(&bytes[..2]) as u16, entry)
    }

    /// The values of a tag, as bytes in the order of the file.
    fn values(&self, entry: &Entry) -> Result<Vec<u8>> {
        let Some(bytes) = entry.bytes().filter(|b| *b <= VALUE) else {
            return Err(bad(
                &self.path,
                "a tag of the TIFF is over 16 MiB; save it with larger strips",
            ));
        };
        match entry.value.get(..bytes as usize) {
            Some(inline) => Ok(inline.to_vec()),
            None => self.bytes(self.number(&entry.value), bytes),
        }
    }

    /// Bytes of the file, if it has them.
    fn bytes(&self, at: u64, count: u64) -> Result<Vec<u8>> {
        if at.checked_add(count).is_none_or(|end| end > self.length) {
            return Err(bad(
                &self.path,
                "the TIFF is cut off; copy or download it again",
            ));
        }
        let mut bytes = vec![0; count as usize];
        read_exact_at(&self.file, at, &mut bytes).map_err(|e| reading(&self.path, e))?;
        Ok(bytes)
    }

    /// An unsigned number of up to 8 bytes.
    fn number(&self, bytes: &[u8]) -> u64 {
        let join = |n: u64, b: &u8| n << 8 | u64::from(*b);
        match self.endian {
            Endian::Big => bytes.iter().fold(0, join),
            Endian::Little => bytes.iter().rev().fold(0, join),
        }
    }

    /// The whole numbers of a tag; none if it is missing or of another kind.
    ///
    /// # Errors
    /// A tag whose values are not in the file.
    pub(super) fn numbers(&self, directory: &Directory, tag: u16) -> Result<Vec<u64>> {
        let Some(entry) = directory.entries.get(&tag) else {
            return Ok(Vec::new());
        };
        let (1 | 3 | 4 | 13 | 16 | 18, Some(size)) = (entry.kind, entry.size()) else {
            return Ok(Vec::new());
        };
        let values = self.values(entry)?;
        Ok(values
            .chunks_exact(size as usize)
            .map(|v| self.number(v))
            .collect())
    }

    /// The first number of a tag.
    pub(super) fn one(&self, directory: &Directory, tag: u16) -> Result<Option<u64>> {
        Ok(self.numbers(directory, tag)?.first().copied())
    }

    /// Numerator and denominator of a tag.
    pub(super) fn rational(&self, directory: &Directory, tag: u16) -> Result<Option<[u64; 2]>> {
        match directory.entries.get(&tag).filter(|e| e.kind == 5) {
            Some(entry) => Ok(self
                .values(entry)?
                .get(..8)
                .map(|v| [self.number(&v[..4]), self.number(&v[4..])])),
            None => Ok(None),
        }
    }

    /// The text of a tag, up to the first NUL.
    pub(super) fn text(&self, directory: &Directory, tag: u16) -> Result<String> {
        let Some(entry) = directory.entries.get(&tag).filter(|e| e.kind == 2) else {
            return Ok(String::new());
        };
        let bytes = self.values(entry)?;
        let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
        Ok(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }

    /// Fails unless every tag has its values in the file: what the decoder relies on.
    pub(super) fn check(&self, directory: &Directory) -> Result<()> {
        for entry in directory.entries.values() {
            let Some(bytes) = entry.bytes() else {
                continue;
            };
            let end = self.number(&entry.value).checked_add(bytes);
            if bytes > entry.value.len() as u64 && end.is_none_or(|end| end > self.length) {
                return Err(bad(
                    &self.path,
                    "a tag of the TIFF lies outside of the file; copy or download it again",
                ));
            }
        }
        Ok(())
    }
}
