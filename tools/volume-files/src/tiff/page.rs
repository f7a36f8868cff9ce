//! The pages of one TIFF file: shape, type and where their voxels are.

use super::directory::{Directory, File, tag};
use crate::element::{Endian, NumberType};
use crate::failure::bad;
use hgv::Result;

/// One page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) width: u64,
    pub(super) height: u64,
    pub(super) number: NumberType,
    pub(super) endian: Endian,
    pub(super) place: Place,
    /// 0 is white: the decoder turns such values round.
    pub(super) white_is_zero: bool,
    /// Its number among the directories, and the byte of its directory.
    pub(super) index: usize,
    pub(super) directory: u64,
}

/// Where the voxels of a page are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In one run from this byte on.
    At(u64),
    /// In strips or tiles that must be decoded.
    Packed,
}

impl Page {
    pub(super) fn shape(&self) -> (u64, u64, NumberType, Endian) {
        (self.width, self.height, self.number, self.endian)
    }

    pub(super) fn describe(&self) -> String {
        let endian = match self.endian {
            Endian::Little => "little-endian",
            Endian::Big => "big-endian",
        };
        format!("{} x {} {endian} {}", self.width, self.height, self.number)
    }

    /// Bytes of its voxels.
    pub(super) fn bytes(&self) -> u64 {
        self.width
            .saturating_mul(self.height)
            .saturating_mul(self.number.size() as u64)
    }
}

/// Every page; small copies (thumbnails) are left out. `images` is what ImageJ says of a file
/// that has one directory for many images.
///
/// # Errors
/// Pages that are no scalar images, or that reach beyond the end of the file.
pub(super) fn pages(file: &File, images: Option<u64>) -> Result<Vec<Page>> {
    let mut pages = Vec::new();
    for (index, at) in file.directories()?.into_iter().enumerate() {
        let directory = file.directory(at)?;
        if file.one(&directory, tag::SUBFILE)?.unwrap_or(0) & 1 == 0 {
            pages.push(page(file, &directory, index, at)?);
        }
    }
    match (images, &pages[..]) {
        (Some(count), &[only]) if count > 1 => one_for_all(file, only, count),
        _ => Ok(pages),
    }
}

/// Images that follow each other behind a single directory.
fn one_for_all(file: &File, page: Page, count: u64) -> Result<Vec<Page>> {
    let Place::At(first) = page.place else {
        return Ok(vec![page]);
    };
    let bytes = page.bytes();
    let end = bytes.checked_mul(count).and_then(|n| n.checked_add(first));
    if bytes == 0 || end.is_none_or(|end| end > file.length) {
        return Err(bad(
            &file.path,
            format!(
                "ImageJ states {count} images, the file is too short for them; copy or download it again"
            ),
        ));
    }
    Ok((0..count)
        .map(|i| Page {
            place: Place::At(first + i * bytes),
            ..page
        })
        .collect())
}

fn page(file: &File, directory: &Directory, index: usize, at: u64) -> Result<Page> {
    let side = |tag: u16| {
        let side = file.one(directory, tag)?;
        side.filter(|n| (1..=u64::from(u32::MAX)).contains(n))
            .ok_or_else(|| bad(&file.path, "a page of the TIFF has no voxels; save it anew"))
    };
    let mut page = Page {
        width: side(tag::WIDTH)?,
        height: side(tag::HEIGHT)?,
        number: number(file, directory)?,
        endian: file.endian,
        place: Place::Packed,
        white_is_zero: file.one(directory, tag::PHOTOMETRIC)? == Some(0),
        index,
        directory: at,
    };
    if let Some(offset) = run(file, directory, &page)? {
        page.place = Place::At(offset);
    }
    Ok(page)
}

fn number(file: &File, directory: &Directory) -> Result<NumberType> {
    let samples = file.one(directory, tag::SAMPLES)?.unwrap_or(1);
    let photometric = file.one(directory, tag::PHOTOMETRIC)?.unwrap_or(1);
    if samples != 1 || photometric > 1 {
        let what = match photometric {
            3 => "palette colours".to_owned(),
            _ => format!("{samples} samples a pixel"),
        };
        return Err(bad(
            &file.path,
            format!("pages of {what} are no scalar voxels; extract one channel as grey"),
        ));
    }
    let bits = file.one(directory, tag::BITS)?.unwrap_or(1);
    let format = file.one(directory, tag::SAMPLE_FORMAT)?.unwrap_or(1);
    Ok(match (format, bits) {
        (1 | 4, 8) => NumberType::U8,
        (1 | 4, 16) => NumberType::U16,
        (1 | 4, 32) => NumberType::U32,
        (1 | 4, 64) => NumberType::U64,
        (2, 8) => NumberType::I8,
        (2, 16) => NumberType::I16,
        (2, 32) => NumberType::I32,
        (2, 64) => NumberType::I64,
        (3, 16) => NumberType::F16,
        (3, 32) => NumberType::F32,
        (3, 64) => NumberType::F64,
        _ => {
            return Err(bad(
                &file.path,
                format!(
                    "{bits}-bit samples (format {format}) are not read; save as 8, 16 or 32 bits"
                ),
            ));
        }
    })
}

/// The first byte of a page that lies uncompressed in one run.
fn run(file: &File, directory: &Directory, page: &Page) -> Result<Option<u64>> {
    let plain = |tag: u16| Ok(file.one(directory, tag)?.unwrap_or(1) == 1);
    if !(plain(tag::COMPRESSION)? && plain(tag::PREDICTOR)? && plain(tag::FILL_ORDER)?) {
        return Ok(None);
    }
    let offsets = file.numbers(directory, tag::STRIP_OFFSETS)?;
    let rows = file.one(directory, tag::ROWS_PER_STRIP)?;
    let rows = rows.unwrap_or(page.height).clamp(1, page.height);
    let strip = (page.width * rows).saturating_mul(page.number.size() as u64);
    let consecutive = offsets
        .windows(2)
        .all(|w| w[0].checked_add(strip) == Some(w[1]));
    match offsets.first() {
        Some(&first) if consecutive && offsets.len() as u64 == page.height.div_ceil(rows) => {
            check_end(file, first, page)?;
            Ok(Some(first))
        }
        _ => Ok(None),
    }
}

fn check_end(file: &File, first: u64, page: &Page) -> Result<()> {
    let end = first.checked_add(page.bytes());
    if end.is_none_or(|end| end > file.length) {
        return Err(bad(
            &file.path,
            format!(
                "a page of {} at byte {first} reaches beyond the end of the file ({} bytes); copy or download it again",
                page.describe(),
                file.length
            ),
        ));
    }
    Ok(())
}
