//! Many files of one web server as one [`RangeSource`].

use std::path::Path;
use std::sync::atomic::AtomicBool;

use hgv::io::RangeSource;
use hgv::stream::{HttpClient, HttpSource};
use hgv::{Error, Result};

/// Bytes of the address space that each file has; nothing joins two files.
const SPAN: u64 = 1 << 40;

/// Files side by side in one address space: file `n` begins at `n << 40`.
#[derive(Debug)]
pub struct Site {
    names: Vec<String>,
    files: Vec<HttpSource>,
}

impl Site {
    /// The files under `folder`, which a server shows at `address`. No request: lengths are taken from the
    /// folder, and what a client would have to ask for on account of that is not counted.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be read; as [`HttpSource::of_length`].
    pub fn new(client: &HttpClient, address: &str, folder: &Path) -> Result<Self> {
        let mut found = Vec::new();
        list(folder, "", &mut found)?;
        found.sort();
        let mut site = Self {
            names: Vec::new(),
            files: Vec::new(),
        };
        for (name, length) in found {
            let url = format!("{address}/{name}");
            site.files
                .push(HttpSource::of_length(client, &url, length)?);
            site.names.push(name);
        }
        Ok(site)
    }

    /// Where a file begins, and its length.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if there is none of that name.
    pub fn place(&self, name: &str) -> Result<(u64, u64)> {
        let found = self.names.binary_search_by(|n| n.as_str().cmp(name));
        let number = found.map_err(|_| Error::argument(format!("no file {name}")))?;
        Ok((number as u64 * SPAN, self.files[number].len()))
    }

    /// A whole small file.
    ///
    /// # Errors
    /// As [`Self::place`] and [`HttpSource`].
    pub fn whole(&self, name: &str) -> Result<Vec<u8>> {
        let (start, length) = self.place(name)?;
        let length = usize::try_from(length).ok().filter(|l| *l <= 1 << 20);
        let length = length.ok_or_else(|| Error::argument(format!("{name} is too long")))?;
        let mut bytes = vec![0; length];
        self.read_at(start, &mut bytes)?;
        Ok(bytes)
    }

    fn file(&self, offset: u64) -> Result<&HttpSource> {
        let file = self.files.get((offset / SPAN) as usize);
        file.ok_or_else(|| Error::argument(format!("no file at {offset}")))
    }
}

/// Files below a folder by their paths, with their lengths.
fn list(folder: &Path, prefix: &str, found: &mut Vec<(String, u64)>) -> Result<()> {
    let failed = |e| Error::io(folder.display().to_string(), e);
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.metadata().map_err(failed)?;
        if kind.is_dir() {
            list(&entry.path(), &format!("{name}/"), found)?;
        } else {
            found.push((name, kind.len()));
        }
    }
    Ok(())
}

impl RangeSource for Site {
    fn len(&self) -> u64 {
        self.files.len() as u64 * SPAN
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        self.file(offset)?.read_at(offset % SPAN, out)
    }

    fn read_at_unless(&self, offset: u64, out: &mut [u8], stop: &AtomicBool) -> Result<()> {
        self.file(offset)?.read_at_unless(offset % SPAN, out, stop)
    }

    fn identity(&self) -> String {
        let first = self.files.first();
        first.map_or_else(String::new, RangeSource::identity)
    }
}
