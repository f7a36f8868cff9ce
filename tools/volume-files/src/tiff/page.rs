//! The pages of one TIFF file: shape, type and where their voxels are.

use crate::element::{Endian, NumberType};
use crate::failure::{bad, system};
use hgv::Result;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use tiff::decoder::{ChunkType, Decoder, Limits};
use tiff::tags::{ByteOrder, Tag};
use tiff::{ColorType, TiffError};

/// Bytes of the largest tag, such as the offsets of the strips of one page.
const TAG: usize = 16 << 20;

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

/// An open TIFF file.
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) decoder: Decoder<BufReader<std::fs::File>>,
    length: u64,
}

impl File {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = std::fs::File::open(path).map_err(|e| system(path, e))?;
        let length = file.metadata().map_err(|e| system(path, e))?.len();
        let mut limits = Limits::default();
        limits.ifd_value_size = TAG;
        let decoder = Decoder::new(BufReader::new(file))
            .map_err(|e| failure(path, e))?
            .with_limits(limits);
        Ok(Self {
            path: path.to_owned(),
            decoder,
            length,
        })
    }

    /// Every page with its number; small copies (thumbnails) are left out. `images` is what
    /// ImageJ says of a file that has one directory for many images.
    pub(super) fn pages(&mut self, images: Option<u64>) -> Result<Vec<(usize, Page)>> {
        let mut pages = Vec::new();
        let mut number = 0;
        loop {
            let reduced = self.tag(Tag::NewSubfileType)?.unwrap_or(0) & 1 == 1;
            if !reduced {
                pages.push((number, self.page()?));
            }
            if !self.decoder.more_images() {
                break;
            }
            self.decoder
                .next_image()
                .map_err(|e| failure(&self.path, e))?;
            number += 1;
        }
        match (images, &pages[..]) {
            (Some(count), &[(_, page)]) if count > 1 => self.one_for_all(page, count),
            _ => Ok(pages),
        }
    }

    /// Images that follow each other behind a single directory.
    fn one_for_all(&self, page: Page, count: u64) -> Result<Vec<(usize, Page)>> {
        let Place::At(first) = page.place else {
            return Ok(vec![(0, page)]);
        };
        let end = page
            .bytes()
            .checked_mul(count)
            .and_then(|n| n.checked_add(first));
        if end.is_none_or(|end| end > self.length) {
            return Err(bad(
                &self.path,
                format!(
                    "ImageJ states {count} images, the file is too short for them; copy or download it again"
                ),
            ));
        }
        Ok((0..count)
            .map(|i| {
                let place = Place::At(first + i * page.bytes());
                (0, Page { place, ..page })
            })
            .collect())
    }

    /// The page that the decoder stands at.
    fn page(&mut self) -> Result<Page> {
        let (width, height) = self
            .decoder
            .dimensions()
            .map_err(|e| failure(&self.path, e))?;
        let endian = match self.decoder.byte_order() {
            ByteOrder::LittleEndian => Endian::Little,
            ByteOrder::BigEndian => Endian::Big,
        };
        let mut page = Page {
            width: u64::from(width),
            height: u64::from(height),
            number: self.number()?,
            endian,
            place: Place::Packed,
            white_is_zero: self.tag(Tag::PhotometricInterpretation)? == Some(0),
        };
        if let Some(offset) = self.run(&page)? {
            page.place = Place::At(offset);
        }
        Ok(page)
    }

    fn number(&mut self) -> Result<NumberType> {
        let bits = match self
            .decoder
            .colortype()
            .map_err(|e| failure(&self.path, e))?
        {
            ColorType::Gray(bits) => bits,
            other => {
                return Err(bad(
                    &self.path,
                    format!("pages of {other:?} are no scalar voxels; extract one channel as grey"),
                ));
            }
        };
        let format = self.tag(Tag::SampleFormat)?.unwrap_or(1);
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
                    &self.path,
                    format!(
                        "{bits}-bit samples (format {format}) are not read; save as 8, 16 or 32 bits"
                    ),
                ));
            }
        })
    }

    /// The first byte of a page that lies uncompressed in one run.
    fn run(&mut self, page: &Page) -> Result<Option<u64>> {
        let plain = self.tag(Tag::Compression)?.unwrap_or(1) == 1
            && self.tag(Tag::Predictor)?.unwrap_or(1) == 1
            && self.tag(Tag::FillOrder)?.unwrap_or(1) == 1
            && self.decoder.get_chunk_type() == ChunkType::Strip;
        if !plain {
            return Ok(None);
        }
        let offsets: Vec<u64> = self
            .decoder
            .find_tag_unsigned_vec(Tag::StripOffsets)
            .map_err(|e| failure(&self.path, e))?
            .unwrap_or_default();
        let rows = self
            .tag(Tag::RowsPerStrip)?
            .unwrap_or(page.height)
            .clamp(1, page.height.max(1));
        let strip = page.width * page.number.size() as u64 * rows;
        let consecutive = offsets
            .windows(2)
            .all(|w| w[0].checked_add(strip) == Some(w[1]));
        match offsets.first() {
            Some(&first) if consecutive => {
                self.check_end(first, page)?;
                Ok(Some(first))
            }
            _ => Ok(None),
        }
    }

    fn check_end(&self, first: u64, page: &Page) -> Result<()> {
        let end = first.checked_add(page.bytes());
        if end.is_none_or(|end| end > self.length) {
            return Err(bad(
                &self.path,
                format!(
                    "a page of {} at byte {first} reaches beyond the end of the file ({} bytes); copy or download it again",
                    page.describe(),
                    self.length
                ),
            ));
        }
        Ok(())
    }

    /// The first number of a tag of the current page.
    pub(super) fn tag(&mut self, tag: Tag) -> Result<Option<u64>> {
        let values: Option<Vec<u64>> = self
            .decoder
            .find_tag_unsigned_vec(tag)
            .map_err(|e| failure(&self.path, e))?;
        Ok(values.and_then(|v| v.first().copied()))
    }
}

/// What the decoder says, as one line about the file.
pub(super) fn failure(path: &Path, error: TiffError) -> hgv::Error {
    match error {
        TiffError::IoError(e) if e.raw_os_error().is_some() => system(path, e),
        TiffError::IoError(_) => bad(path, "the TIFF is cut off; copy or download it again"),
        TiffError::LimitsExceeded => bad(
            path,
            "a strip, tile or tag of the TIFF is over 256 MiB; save it with smaller strips",
        ),
        other => bad(
            path,
            format!("the TIFF is not read ({other}); save it anew"),
        ),
    }
}
