//! From a header to the voxels: offsets in files that can be read in place, or a scratch file.
//! Sizes in headers are held against the bytes that exist before anything is read.

use crate::failure::{bad, reading};
use crate::format::{Format, Packing};
use crate::input::Input;
use crate::layout::{Layout, Skip, Start};
use crate::open::OpenOptions;
use crate::spool::Spool;
use crate::store::{Runs, Store};
use hgv::Result;
use hgv::volume::Region;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the voxels of a file were found.
pub(crate) struct Located {
    pub(crate) store: Store,
    /// The store holds only the region asked for, in little-endian order.
    pub(crate) spooled: bool,
}

/// Finds the voxels: in place where possible, else through a scratch file.
pub(crate) fn locate(
    input: Input,
    layout: &mut Layout,
    region: Region,
    options: &OpenOptions,
) -> Result<Located> {
    let total = layout.bytes(input.path())?;
    let parts = Parts::new(input, layout, total)?;
    let in_place = parts.all_in_place(layout.start.gzip);
    if in_place {
        let store = parts.in_place(layout)?;
        return Ok(Located {
            store,
            spooled: false,
        });
    }
    let mut spool = Spool::create(options.scratch.as_deref(), layout, region)?;
    parts.spool(layout, &mut spool)?;
    Ok(Located {
        store: spool.finish()?,
        spooled: true,
    })
}

/// The files that hold the voxels in equal shares.
struct Parts {
    /// Opened already: the file of the header, or the first detached one.
    first: Input,
    files: Vec<PathBuf>,
    share: u64,
}

impl Parts {
    fn new(input: Input, layout: &Layout, total: u64) -> Result<Self> {
        let files = match layout.detached.len() {
            0 => vec![input.path().to_owned()],
            _ => layout.detached.clone(),
        };
        let count = files.len() as u64;
        if !total.is_multiple_of(count)
            || !(total / count).is_multiple_of(layout.number.size() as u64)
        {
            return Err(bad(
                input.path(),
                format!("{} cannot be shared by {count} files", layout.shape()),
            ));
        }
        let first = if layout.detached.is_empty() {
            input
        } else {
            Input::open(&files[0], layout.start.gzip)?
        };
        Ok(Self {
            first,
            files,
            share: total / count,
        })
    }

    fn all_in_place(&self, gzip: bool) -> bool {
        self.first.file().is_some() && !gzip
    }

    /// Offsets of the shares in files that need no unpacking.
    fn in_place(self, layout: &mut Layout) -> Result<Store> {
        let share = self.share;
        let mut part = self.first;
        let (file, first) = find(&mut part, layout, share)?;
        if self.files.len() == 1 {
            let path = self.files.into_iter().next().unwrap_or_default();
            return Ok(Store::Linear {
                path,
                file,
                offset: first,
            });
        }
        let mut runs = vec![(0, first)];
        for (i, path) in (1u32..).zip(&self.files[1..]) {
            runs.push((i, find(&mut Input::open(path, false)?, layout, share)?.1));
        }
        Ok(Store::Runs(Runs::new(self.files, runs, share)))
    }

    fn spool(self, layout: &mut Layout, spool: &mut Spool) -> Result<()> {
        let mut first = Some(self.first);
        for path in &self.files {
            let mut part = match first.take() {
                Some(part) => part,
                None => Input::open(path, layout.start.gzip)?,
            };
            if spool.complete() {
                break;
            }
            begin(&mut part, &layout.start, self.share)?;
            check_bound(&part, layout, self.share)?;
            part.resume()?;
            spool.copy(path, part.stream(), self.share)?;
            if spool.took_all() || !spool.complete() {
                check_end(&mut part, layout)?;
            }
        }
        Ok(())
    }
}

/// The file and the byte where `share` bytes of voxels lie in place.
fn find(part: &mut Input, layout: &mut Layout, share: u64) -> Result<(Arc<std::fs::File>, u64)> {
    begin(part, &layout.start, share)?;
    check_bound(part, layout, share)?;
    let extra = part
        .bound()
        .unwrap_or(0)
        .saturating_sub(part.position() + share);
    if extra > 0 {
        surplus(part.path(), layout, &format!("{extra} bytes"))?;
    }
    let file = part.file().cloned().ok_or_else(|| {
        bad(
            part.path(),
            "some of the data files are packed and some are not; unpack them all",
        )
    })?;
    Ok((file, part.position()))
}

/// Moves to the first voxel.
fn begin(part: &mut Input, start: &Start, share: u64) -> Result<()> {
    part.advance(start.offset)?;
    if start.lines > 0 {
        part.resume()?;
    }
    for _ in 0..start.lines {
        if part.line(1 << 24)?.is_none() {
            return Err(bad(part.path(), "the file ends within the lines to skip"));
        }
    }
    if start.gzip {
        part.resume()?;
        part.unpack(Packing::Gzip)?;
    }
    let skip = match start.skip {
        Skip::Bytes(n) => n,
        Skip::AllBefore if part.file().is_none() => {
            return Err(bad(
                part.path(),
                "byte skip -1 needs a file that can be read in place; unpack it first",
            ));
        }
        Skip::AllBefore => {
            let from = part.bound().unwrap_or(0).checked_sub(share);
            from.and_then(|f| f.checked_sub(part.position()))
                .ok_or_else(|| bad(part.path(), "the file is shorter than its voxels"))?
        }
    };
    part.advance(part.position().saturating_add(skip))
}

/// Holds the size in the header against the bytes that can come.
fn check_bound(part: &Input, layout: &Layout, share: u64) -> Result<()> {
    let Some(bound) = part.bound() else {
        return Ok(());
    };
    let there = bound.saturating_sub(part.position());
    if there >= share {
        return Ok(());
    }
    let there = match part.file() {
        Some(_) => format!("{there} are there"),
        None => "the file is too small for them".to_owned(),
    };
    let remedy = match layout.format {
        Format::Raw => "check --shape, --dtype and --skip",
        _ => "copy or download it again",
    };
    Err(bad(
        part.path(),
        format!(
            "{} needs {share} bytes from byte {} on, {there}; {remedy}",
            layout.shape(),
            part.position()
        ),
    ))
}

/// After the last voxel of a stream: the end, which also checks its checksum.
fn check_end(part: &mut Input, layout: &mut Layout) -> Result<()> {
    let path = part.path().to_owned();
    let mut more = [0];
    match part.stream().read(&mut more) {
        Ok(0) => Ok(()),
        Ok(_) => surplus(&path, layout, "bytes"),
        Err(e) => Err(reading(&path, e)),
    }
}

/// More bytes than voxels: an error where nothing but the size vouches for the shape.
fn surplus(path: &Path, layout: &mut Layout, extra: &str) -> Result<()> {
    if layout.format == Format::Raw {
        return Err(bad(
            path,
            format!(
                "{} leaves {extra} over behind the voxels; check --shape, --dtype and --skip",
                layout.shape()
            ),
        ));
    }
    layout.notices.push(format!(
        "{}: {extra} behind the voxels are ignored",
        path.display()
    ));
    Ok(())
}
