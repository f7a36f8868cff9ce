//! Parts of remote files on disk, for the next session.
//!
//! One file a part, named by the version of the remote file, offset and length. A part is written under a
//! temporary name and renamed, so that other processes and a crash see all of it or nothing; whoever reads
//! one holds it against the checksums of the index, so that a damaged part is fetched again.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::{Error, Result};

/// Parts of one folder of the cache: enough folders that none gets slow.
const PARTS_LOG2: u32 = 8;

/// A folder that keeps parts of remote files, and forgets what was used longest ago when it grows over its
/// budget. Any number of processes may share it.
#[derive(Debug)]
pub struct DiskCache {
    folder: PathBuf,
    budget: u64,
    /// Bytes written since the folder was measured last.
    written: AtomicU64,
    /// Bytes of the folder when it was measured last; held while it is measured.
    measured: Mutex<u64>,
}

/// A part as a scan of the folder finds it.
struct Part {
    used: SystemTime,
    bytes: u64,
    path: PathBuf,
}

impl DiskCache {
    /// Opens a folder, and makes it if it is not there. `budget` are the bytes that it may take, over all
    /// processes, but for what each of them wrote since it looked last (an eighth of it).
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be made or read.
    pub fn open(folder: impl Into<PathBuf>, budget: u64) -> Result<Self> {
        let folder = folder.into();
        let named = |e| Error::io(folder.display().to_string(), e);
        fs::create_dir_all(&folder).map_err(named)?;
        let cache = Self {
            written: AtomicU64::new(0),
            measured: Mutex::new(0),
            folder,
            budget,
        };
        cache.trim();
        Ok(cache)
    }

    /// The part of `length` bytes at `offset` of the file that `version` names, if it is there. To be held
    /// against a checksum.
    pub fn get(&self, version: &str, offset: u64, length: u64) -> Option<Vec<u8>> {
        let path = self.path(version, offset, length)?;
        let bytes = fs::read(&path).ok()?;
        if bytes.len() as u64 != length {
            self.forget(version, offset, length);
            return None;
        }
        // What is used stays; a failure costs no more than that.
        if let Ok(file) = fs::File::options().append(true).open(&path) {
            let _ = file.set_modified(SystemTime::now());
        }
        Some(bytes)
    }

    /// Keeps a part. Failures, such as a full disk, are no errors: the part is then not there.
    pub fn put(&self, version: &str, offset: u64, bytes: &[u8]) {
        let length = bytes.len() as u64;
        let Some(path) = self.path(version, offset, length) else {
            return;
        };
        if length > self.budget / 8 || self.write(&path, bytes).is_none() {
            return;
        }
        let written = self.written.fetch_add(length, Ordering::Relaxed) + length;
        if written > self.budget / 8 {
            self.trim();
        }
    }

    /// Forgets a part that turned out to be damaged.
    pub fn forget(&self, version: &str, offset: u64, length: u64) {
        if let Some(path) = self.path(version, offset, length) {
            let _ = fs::remove_file(path);
        }
    }

    /// Bytes in the folder as far as this process knows.
    pub fn bytes(&self) -> u64 {
        let measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        *measured + self.written.load(Ordering::Relaxed)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Option<()> {
        let folder = path.parent()?;
        fs::create_dir_all(folder).ok()?;
        let mut file = tempfile::Builder::new()
            .prefix("part-")
            .tempfile_in(folder)
            .ok()?;
        file.write_all(bytes).ok()?;
        file.persist(path).ok()?;
        Some(())
    }

    /// Where a part lies; `None` for a version that is no plain name.
    fn path(&self, version: &str, offset: u64, length: u64) -> Option<PathBuf> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if version.is_empty() || version.len() > 128 || !version.chars().all(plain) {
            return None;
        }
        let hash = offset.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - PARTS_LOG2);
        let folder = self.folder.join(version).join(format!("{hash:02x}"));
        Some(folder.join(format!("{offset:x}-{length:x}")))
    }

    /// Measures the folder and, if it is over its budget, forgets what was used longest ago until an eighth
    /// of the budget is free.
    fn trim(&self) {
        let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        self.written.store(0, Ordering::Relaxed);
        let mut parts = Vec::new();
        list(&self.folder, 3, &mut parts);
        let mut total: u64 = parts.iter().map(|p| p.bytes).sum();
        if total > self.budget {
            parts.sort_by_key(|p| p.used);
            for part in parts {
                if total <= self.budget - self.budget / 8 {
                    break;
                }
                // Another process may have been faster.
                let _ = fs::remove_file(&part.path);
                total -= part.bytes;
            }
        }
        *measured = total;
    }
}

/// Files under `folder`, `depth` folders deep. Links are not followed.
fn list(folder: &Path, depth: u32, parts: &mut Vec<Part>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let Ok(facts) = entry.metadata() else {
            continue;
        };
        if facts.is_dir() && depth > 1 {
            list(&entry.path(), depth - 1, parts);
        } else if facts.is_file() {
            parts.push(Part {
                used: facts.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                bytes: facts.len(),
                path: entry.path(),
            });
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn parts_come_back_by_version_offset_and_length() {
        let folder = tempfile::tempdir().unwrap();
        let cache = DiskCache::open(folder.path(), 1 << 20).unwrap();
        cache.put("a-1", 7, b"seven");
        cache.put("a-2", 7, b"other");
        assert_eq!(cache.get("a-1", 7, 5).unwrap(), b"seven");
        assert_eq!(cache.get("a-1", 7, 4), None);
        assert_eq!(cache.get("../a-1", 7, 5), None, "no way out of the folder");
        // A part that was cut off is none.
        let path = cache.path("a-2", 7, 5).unwrap();
        fs::write(path, b"oth").unwrap();
        assert_eq!(cache.get("a-2", 7, 5), None);
        assert_eq!(cache.bytes(), 10);
        // Another process finds them.
        let other = DiskCache::open(folder.path(), 1 << 20).unwrap();
        assert_eq!(other.get("a-1", 7, 5).unwrap(), b"seven");
        assert_eq!(other.bytes(), 5);
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let cache = DiskCache::open(folder.path(), 8000).unwrap();
        let old = SystemTime::now() - Duration::from_secs(1000);
        for offset in 0..8 {
            cache.put("v", offset, &[1; 1000]);
            let path = cache.path("v", offset, 1000).unwrap();
            let age = Duration::from_secs(offset);
            fs::File::options()
                .append(true)
                .open(path)
                .unwrap()
                .set_modified(old + age)
                .unwrap();
        }
        cache.get("v", 0, 1000).unwrap();
        cache.put("v", 8, &[1; 1000]);
        cache.put("v", 9, &[1; 1000]);
        assert!(cache.bytes() <= 8000 + 1000, "{}", cache.bytes());
        assert!(cache.get("v", 0, 1000).is_some(), "used just now");
        assert!(cache.get("v", 1, 1000).is_none(), "used longest ago");
        cache.put("v", 10, &[1; 1001]);
        assert!(
            cache.get("v", 10, 1001).is_none(),
            "too large for the budget"
        );
    }

    /// Readers see whole parts while several writers write and forget the same ones.
    #[test]
    fn writers_do_not_disturb_readers() {
        let folder = tempfile::tempdir().unwrap();
        let path = Arc::new(folder.path().to_path_buf());
        let threads: Vec<_> = (0..4u8)
            .map(|n| {
                let path = Arc::clone(&path);
                std::thread::spawn(move || {
                    let cache = DiskCache::open(path.as_ref(), 100_000).unwrap();
                    let mut seen = 0;
                    for round in 0..200 {
                        let offset = round % 10;
                        cache.put("v", offset, &vec![n; 5000]);
                        if let Some(bytes) = cache.get("v", offset, 5000) {
                            assert!(bytes.iter().all(|b| *b == bytes[0]), "a mixed part");
                            seen += 1;
                        }
                        if round % 7 == 0 {
                            cache.forget("v", offset, 5000);
                        }
                    }
                    seen
                })
            })
            .collect();
        for thread in threads {
            assert!(thread.join().unwrap() > 50);
        }
    }
}
