//! TIFF and BigTIFF: pages along z, in one file or one page a file in a numbered folder.
//! Uncompressed pages are read in place, others go through the scratch file strip by strip.
//! The `tiff` crate decodes packed strips and tiles; directories are read and written here.

mod decode;
mod description;
mod directory;
mod folder;
mod page;
mod write;

use crate::failure::{bad, system};
use crate::format::Format;
use crate::input::Input;
use crate::layout::Layout;
use crate::locate::Located;
use crate::open::OpenOptions;
use crate::spool::Spool;
use crate::store::{Runs, Store};
use decode::Packed;
use directory::File;
use hgv::Result;
use hgv::volume::Region;
use page::{Page, Place};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use write::{directories, header};

/// Pages of one or several files, in the order of z.
struct Stack {
    files: Vec<PathBuf>,
    /// File of each page, and the page.
    pages: Vec<(u32, Page)>,
}

/// Opens a file of pages.
///
/// # Errors
/// Files that are not TIFF, pages that are not equal scalar images, [`hgv::Error::Io`].
pub(crate) fn open_file(input: &Input, options: &OpenOptions) -> Result<(Layout, Located)> {
    let path = input.path();
    if input.file().is_none() {
        return Err(bad(
            path,
            "TIFF is read in place; unpack the file or write the pipe to a file first",
        ));
    }
    let file = File::open(path)?;
    let description = description::read(&file)?;
    let pages = page::pages(&file, description.images)?;
    let stack = Stack {
        files: vec![path.to_owned()],
        pages: pages.into_iter().map(|page| (0, page)).collect(),
    };
    stack.open(path, description, options)
}

/// Opens a folder of numbered single-page files.
///
/// # Errors
/// As [`open_file`]; a folder without numbered TIFF files or with several series.
pub(crate) fn open_folder(path: &Path, options: &OpenOptions) -> Result<(Layout, Located)> {
    let (files, notices) = folder::list(path)?;
    let mut description = description::read(&File::open(&files[0])?)?;
    description.notices.extend(notices);
    let mut pages = Vec::new();
    for (index, file) in (0..).zip(&files) {
        match page::pages(&File::open(file)?, None)?[..] {
            [page] => pages.push((index, page)),
            ref more => {
                return Err(bad(
                    file,
                    format!(
                        "{} pages, one is expected; open the file by itself",
                        more.len()
                    ),
                ));
            }
        }
    }
    Stack { files, pages }.open(path, description, options)
}

impl Stack {
    fn open(
        self,
        path: &Path,
        description: description::Description,
        options: &OpenOptions,
    ) -> Result<(Layout, Located)> {
        let first = self.equal_pages(path)?;
        let extent = [first.width, first.height, self.pages.len() as u64];
        let mut layout = Layout::new(Format::Tiff, extent, first.number);
        layout.endian = first.endian;
        layout.bytes(path)?;
        let region = options.region_in(path, extent)?;
        layout.metadata = description.metadata;
        layout.notices = description.notices;
        let placed: Option<Vec<(u32, u64)>> = self
            .pages
            .iter()
            .map(|(file, page)| match page.place {
                Place::At(offset) => Some((*file, offset)),
                Place::Packed => None,
            })
            .collect();
        let located = match placed {
            Some(runs) => Located {
                store: self.in_place(runs, first.bytes())?,
                spooled: false,
            },
            None => self.unpack(&mut layout, region, options)?,
        };
        Ok((layout, located))
    }

    fn equal_pages(&self, path: &Path) -> Result<Page> {
        let Some((_, first)) = self.pages.first() else {
            return Err(bad(path, "the TIFF has no pages"));
        };
        let differs = |p: &Page| p.shape() != first.shape();
        if let Some((file, page)) = self.pages.iter().find(|(_, p)| differs(p)) {
            return Err(bad(
                self.files.get(*file as usize).map_or(path, |f| f),
                format!(
                    "page {} is {}, the first {}; the pages of a volume are equal",
                    page.index + 1,
                    page.describe(),
                    first.describe()
                ),
            ));
        }
        Ok(*first)
    }

    fn in_place(self, runs: Vec<(u32, u64)>, length: u64) -> Result<Store> {
        let consecutive = runs
            .windows(2)
            .all(|w| w[0].0 == w[1].0 && w[0].1.checked_add(length) == Some(w[1].1));
        if !consecutive || self.files.len() > 1 {
            return Ok(Store::Runs(Runs::new(self.files, runs, length)));
        }
        let path = self.files.into_iter().next().unwrap_or_default();
        let file = std::fs::File::open(&path).map_err(|e| system(&path, e))?;
        Ok(Store::Linear {
            path,
            file: Arc::new(file),
            offset: runs.first().map_or(0, |r| r.1),
        })
    }

    /// Decodes the pages that hold the region.
    fn unpack(
        &self,
        layout: &mut Layout,
        region: Region,
        options: &OpenOptions,
    ) -> Result<Located> {
        // The decoder gives numbers in the order of the machine.
        layout.endian = decode::MACHINE;
        let mut spool = Spool::create(options.scratch.as_deref(), layout, region)?;
        let mut open: Option<(u32, Packed)> = None;
        for (z, (index, page)) in (0..).zip(&self.pages) {
            if !(region.start[2]..region.end[2]).contains(&z) {
                spool.pass(page.width * page.height);
                continue;
            }
            let mut packed = match open.take() {
                Some((i, packed)) if i == *index => packed,
                _ => Packed::open(File::open(&self.files[*index as usize])?)?,
            };
            decode::page(&mut packed, page, &mut spool)?;
            open = Some((*index, packed));
        }
        Ok(Located {
            store: spool.finish()?,
            spooled: true,
        })
    }
}
