//! Opening without IO: a state machine that says which ranges it needs next.
//!
//! The first need is 64 KiB (or the whole file if it is shorter), which holds everything in all
//! but very large files; one more round trip fetches what lies elsewhere.

use crate::format::constant::{FIRST_READ, HEADER_LEN, SECTION_ENTRY_LEN};
use crate::format::crc;
use crate::format::header::{Header, State};
use crate::format::root::{self, Entry, Root};
use crate::format::section::{self, Section};
use crate::format::validate::{self, Piece};
use crate::io::RangeSource;
use crate::reader::index::Index;
use crate::{Error, Limits, Result};

/// What [`Opener::step`] wants.
#[derive(Debug)]
pub enum Step {
    /// Read these ranges `(offset, length)` and [`Opener::supply`] them.
    Need(Vec<(u64, u64)>),
    /// The file is open.
    Ready(Box<Index>),
}

/// Opens a file of known length from the bytes that it is given.
///
/// ```
/// # use hgv::reader::{Opener, Step};
/// let mut opener = Opener::new(5, hgv::Limits::default());
/// let Ok(Step::Need(ranges)) = opener.step() else { unreachable!() };
/// assert_eq!(ranges, [(0, 5)]);
/// opener.supply(0, b"hello".to_vec());
/// assert!(opener.step().is_err());
/// ```
#[derive(Debug)]
pub struct Opener {
    len: u64,
    limits: Limits,
    chunks: Vec<(u64, Vec<u8>)>,
}

/// Something that was found in supplied bytes, or the range to ask for.
type Have<T> = std::result::Result<T, (u64, u64)>;

/// The header that counts, and the first one if it only points to the trailer.
type Headers = (Header, Option<Header>);

impl Opener {
    /// An opener for a file of `len` bytes.
    pub fn new(len: u64, limits: Limits) -> Self {
        Self {
            len,
            limits,
            chunks: Vec::new(),
        }
    }

    /// Hands over the bytes of a range that was needed.
    pub fn supply(&mut self, offset: u64, bytes: Vec<u8>) {
        self.chunks.push((offset, bytes));
    }

    /// Goes on as far as the supplied bytes allow.
    ///
    /// # Errors
    /// [`Error::Unsupported`], [`Error::Unfinished`], [`Error::Truncated`],
    /// [`Error::Checksum`], [`Error::Corrupt`] or [`Error::LimitExceeded`].
    pub fn step(&mut self) -> Result<Step> {
        if self.chunks.is_empty() {
            let first = self.len.min(FIRST_READ as u64);
            return Ok(Step::Need(vec![(0, first)]));
        }
        let (header, leading) = match self.header()? {
            Ok(found) => found,
            Err(range) => return Ok(Step::Need(vec![range])),
        };
        self.check_sizes(&header)?;
        let table_len = u64::from(header.section_count) * SECTION_ENTRY_LEN as u64;
        let table = self.get(header.section_offset, table_len);
        let root = self.get(header.root_offset, u64::from(header.root_len));
        let table = match table {
            Ok(table) => table,
            Err(range) => {
                let ranges = [Some(range), root.err()];
                return Ok(Step::Need(ranges.into_iter().flatten().collect()));
            }
        };
        crc::check(
            "section table",
            header.section_offset,
            table,
            header.section_crc,
        )?;
        let sections = section::parse(table, header.section_offset, header.file_len)?;
        self.check_budget(&header, &sections)?;
        let tables = known(&sections).map(|s| self.get(s.offset, u64::from(s.length)));
        let missing: Vec<_> = tables.chain([root]).filter_map(Have::err).collect();
        let root = match root {
            Ok(root) if missing.is_empty() => root,
            _ => return Ok(Step::Need(missing)),
        };
        crc::check("root", header.root_offset, root, header.root_crc)?;
        let root = root::parse(root, header.root_offset, header.tier_count, header.file_len)?;
        self.ready(header, leading, sections, root).map(Step::Ready)
    }

    /// The first header, or the trailer that it points to.
    fn header(&self) -> Result<Have<Headers>> {
        let first = self.chunks.iter().find(|c| c.0 == 0);
        let first = Header::parse(first.map_or(&[], |c| &c.1), 0)?;
        match first.state {
            State::Complete => Ok(Ok((first, None))),
            State::Open => Err(Error::Unfinished("its header is in state open".into())),
            State::SeeTrailer => {
                let at = self.len.saturating_sub(HEADER_LEN as u64);
                let Ok(bytes) = self.get(at, HEADER_LEN as u64) else {
                    // The tables lie just in front of the trailer.
                    let n = self.len.min(FIRST_READ as u64);
                    return Ok(Err((self.len - n, n)));
                };
                let last = Header::parse(bytes, at).map_err(|e| match e {
                    Error::Unsupported(_) => Error::Unfinished("it has no trailer".into()),
                    e => e,
                })?;
                if last.state == State::Complete {
                    return Ok(Ok((last, Some(first))));
                }
                Err(Error::Unfinished(
                    "its trailer is not in state complete".into(),
                ))
            }
        }
    }

    /// Every length is bounded by bytes that exist before anything is asked for.
    fn check_sizes(&self, header: &Header) -> Result<()> {
        if header.file_len > self.len {
            return Err(Error::Truncated {
                what: "file",
                offset: 0,
                needed: header.file_len,
                available: self.len,
            });
        }
        if header.file_len < self.len {
            let extra = self.len - header.file_len;
            let detail = format!("{extra} bytes follow the end that the header states");
            return Err(Error::corrupt("file", header.file_len, detail));
        }
        let sections = u64::from(header.section_count);
        Limits::check("number of sections", sections, self.limits.max_sections)?;
        let table = sections * SECTION_ENTRY_LEN as u64;
        in_file("section table", header.section_offset, table, self.len)?;
        in_file(
            "root",
            header.root_offset,
            u64::from(header.root_len),
            self.len,
        )
    }

    fn check_budget(&self, header: &Header, sections: &[Section]) -> Result<()> {
        let tables: u64 = known(sections).map(|s| u64::from(s.length)).sum();
        let head = tables + u64::from(header.root_len) + HEADER_LEN as u64;
        Limits::check("bytes of tables and root", head, self.limits.max_head)
    }

    fn ready(
        &self,
        header: Header,
        leading: Option<Header>,
        sections: Vec<Section>,
        root: Root,
    ) -> Result<Box<Index>> {
        let tables = validate::tables(&header, &sections, &self.limits, |s| {
            self.get(s.offset, u64::from(s.length))
                .map_err(|_| Error::corrupt(s.name(), s.offset, "its bytes were not supplied"))
        })?;
        for (tier, entries) in root.iter().enumerate() {
            let pages = tables.shape.tier_pages(tier as u8)?;
            if let Some(e) = entries.iter().find(|e| pages.page(e.key).is_none()) {
                let detail = format!("tier {tier} has no page with key {}", e.key);
                return Err(Error::corrupt("root", header.root_offset, detail));
            }
        }
        let mut pieces = pieces(&header, leading.as_ref(), &sections, &root);
        validate::check_disjoint(&mut pieces)?;
        Ok(Box::new(Index {
            starts: pieces.iter().map(|p| p.start).collect(),
            header,
            leading,
            sections,
            tables,
            root,
        }))
    }

    /// `length` supplied bytes at `offset`.
    fn get(&self, offset: u64, length: u64) -> Have<&[u8]> {
        let found = self.chunks.iter().find_map(|(start, bytes)| {
            let skip = usize::try_from(offset.checked_sub(*start)?).ok()?;
            let rest = bytes.get(skip..)?;
            rest.get(..usize::try_from(length).ok()?)
        });
        match found {
            Some(bytes) => Ok(bytes),
            None if length == 0 => Ok(&[]),
            None => Err((offset, length)),
        }
    }
}

/// Drives an opener with a source.
pub(crate) fn open(source: &dyn RangeSource, limits: Limits) -> Result<Box<Index>> {
    let mut opener = Opener::new(source.len(), limits);
    loop {
        match opener.step()? {
            Step::Ready(index) => return Ok(index),
            Step::Need(ranges) => {
                let mut reads = ranges
                    .into_iter()
                    .map(|(offset, length)| crate::io::RangeRead::new(offset, length as usize))
                    .collect::<Result<Vec<_>>>()?;
                source.read_ranges(&mut reads)?;
                for read in reads {
                    opener.supply(read.offset, read.bytes);
                }
            }
        }
    }
}

/// Sections whose bytes are read at once.
pub(crate) fn known(sections: &[Section]) -> impl Iterator<Item = &Section> {
    use section::{LAYR, META, MODL, STAT, TIER};
    sections
        .iter()
        .filter(|s| [LAYR, TIER, MODL, META, STAT].contains(&s.fourcc))
}

fn in_file(what: &'static str, offset: u64, length: u64, file_len: u64) -> Result<()> {
    if offset
        .checked_add(length)
        .is_some_and(|end| end <= file_len)
    {
        return Ok(());
    }
    Err(Error::Truncated {
        what,
        offset,
        needed: length,
        available: file_len.saturating_sub(offset),
    })
}

/// Every structure that header, section table and root name.
pub(crate) fn pieces(
    header: &Header,
    leading: Option<&Header>,
    sections: &[Section],
    root: &Root,
) -> Vec<Piece> {
    let piece = |what, start: u64, length: u64| Piece {
        start,
        end: start.saturating_add(length),
        what,
    };
    let table = |h: &Header| {
        let length = u64::from(h.section_count) * SECTION_ENTRY_LEN as u64;
        piece("section table", h.section_offset, length)
    };
    let mut out = vec![
        piece("header", 0, HEADER_LEN as u64),
        table(header),
        piece("root", header.root_offset, u64::from(header.root_len)),
    ];
    if let Some(leading) = leading {
        let at = header.file_len.saturating_sub(HEADER_LEN as u64);
        out.extend([piece("trailer", at, HEADER_LEN as u64), table(leading)]);
    }
    out.extend(
        sections
            .iter()
            .map(|s| piece(s.name(), s.offset, u64::from(s.length))),
    );
    let what = if header.depth == 3 {
        "index node"
    } else {
        "index page"
    };
    let entry = |e: &Entry| piece(what, e.offset, u64::from(e.length));
    out.extend(root.iter().flatten().map(entry));
    out
}
