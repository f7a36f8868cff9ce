//! The header: 256 bytes at the start of a file, and again at its end in files that were
//! written to a sink without seeking.
//!
//! ```text
//!   0 magic 8            40 required features u64   104 section table offset u64  144 value_exp i16
//!   8 major u16          48 optional features u64   112 root length u32           146 dtype u16
//!  10 minor u16          56 extent x, y, z 3 x u64  116 root CRC-32 u32           148 channels u16 = 1
//!  12 header length u32  80 root offset u64         120 section count u32         150 block_log2 u8
//!  16 file uuid 16       88 blocks present u64      124 section table CRC-32 u32  151 lods, layers, levels,
//!  32 file length u64    96 payload bytes u64       128 q_min i32, 132 q_max i32      page_log2, depth, align_log2,
//!                                                   136 time steps u32 = 1            state, tiers: u8 each
//! 140 reserved 4        159 reserved 93             252 CRC-32 of bytes 0..252
//! ```

use sha2::{Digest, Sha256};

use crate::format::bytes::Fields;
use crate::format::constant::{
    HEADER_LEN, KNOWN_FEATURES, MAGIC, MAX_LAYERS, MAX_LEVELS, MAX_LODS, MAX_TIERS, VERSION_MAJOR,
    VERSION_MINOR,
};
use crate::format::crc;
use crate::volume::{DType, Extent};
use crate::{Error, Result};

const WHAT: &str = "header";
const CRC_AT: usize = HEADER_LEN - 4;

/// How far the writer of a file came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Not finished: only `recover` reads it.
    Open = 0,
    /// Finished.
    Complete = 1,
    /// The valid header is the last 256 bytes.
    SeeTrailer = 2,
}

/// The header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Minor version of the format.
    pub minor: u16,
    /// First 16 bytes of SHA-256 over header (uuid and CRC zero), section table, sections, root.
    pub file_uuid: [u8; 16],
    /// Exact length of the file in bytes.
    pub file_len: u64,
    /// Features without which the file cannot be read.
    pub required_features: u64,
    /// Features that a reader may ignore.
    pub optional_features: u64,
    /// Extent of the volume in voxels, x, y, z.
    pub extent: Extent,
    /// Absolute offset of the root.
    pub root_offset: u64,
    /// Length of the root in bytes.
    pub root_len: u32,
    /// CRC-32 of the root.
    pub root_crc: u32,
    /// Constant and payload blocks in the file, over all tiers.
    pub blocks_present: u64,
    /// Sum of the lengths of all layers of all blocks.
    pub payload_bytes: u64,
    /// Absolute offset of the section table.
    pub section_offset: u64,
    /// Entries of the section table.
    pub section_count: u32,
    /// CRC-32 of the section table.
    pub section_crc: u32,
    /// Smallest coded value of the volume.
    pub q_min: i32,
    /// Largest coded value of the volume.
    pub q_max: i32,
    /// A voxel's value is `q * 2^value_exp`; 0 for integer types.
    pub value_exp: i16,
    /// Voxel type.
    pub dtype: DType,
    /// log2 of the side of a block: 5, 6 or 7.
    pub block_log2: u8,
    /// Levels of detail, 1..=16.
    pub lod_count: u8,
    /// Layers of each block, 1..=16.
    pub layer_count: u8,
    /// Quality levels, 1..=8.
    pub level_count: u8,
    /// log2 of the side of an index page in blocks, 1..=5.
    pub page_log2: u8,
    /// Levels of the index: 2 (root, pages) or 3 (root, nodes, pages).
    pub depth: u8,
    /// Clusters start at multiples of 2^align_log2, 0..=12.
    pub align_log2: u8,
    /// How far the writer came.
    pub state: State,
    /// Tiers, 1..=16.
    pub tier_count: u8,
}

impl Header {
    /// The 256 bytes, CRC included.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = Vec::with_capacity(HEADER_LEN);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION_MAJOR.to_le_bytes());
        out.extend_from_slice(&self.minor.to_le_bytes());
        out.extend_from_slice(&(HEADER_LEN as u32).to_le_bytes());
        out.extend_from_slice(&self.file_uuid);
        self.put_wide(&mut out);
        self.put_narrow(&mut out);
        let mut bytes = [0; HEADER_LEN];
        bytes[..out.len()].copy_from_slice(&out);
        let crc = crc::crc32(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Bytes 32..112.
    fn put_wide(&self, out: &mut Vec<u8>) {
        let [x, y, z] = self.extent;
        let wide = [
            self.file_len,
            self.required_features,
            self.optional_features,
            x,
            y,
            z,
            self.root_offset,
            self.blocks_present,
            self.payload_bytes,
            self.section_offset,
        ];
        for v in wide {
            out.extend_from_slice(&v.to_le_bytes());
        }
    }

    /// Bytes 112..159.
    fn put_narrow(&self, out: &mut Vec<u8>) {
        for v in [
            self.root_len,
            self.root_crc,
            self.section_count,
            self.section_crc,
        ] {
            out.extend_from_slice(&v.to_le_bytes());
        }
        out.extend_from_slice(&self.q_min.to_le_bytes());
        out.extend_from_slice(&self.q_max.to_le_bytes());
        out.extend_from_slice(&1u32.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.value_exp.to_le_bytes());
        out.extend_from_slice(&self.dtype.code().to_le_bytes());
        out.extend_from_slice(&1u16.to_le_bytes());
        out.extend_from_slice(&[
            self.block_log2,
            self.lod_count,
            self.layer_count,
            self.level_count,
            self.page_log2,
            self.depth,
            self.align_log2,
            self.state as u8,
            self.tier_count,
        ]);
    }

    /// Reads a header that lies at absolute offset `at`.
    ///
    /// Checks magic, version and CRC first, then every rule that concerns the header alone.
    ///
    /// # Errors
    /// [`Error::Unsupported`], [`Error::Truncated`], [`Error::Checksum`] or [`Error::Corrupt`].
    pub fn parse(bytes: &[u8], at: u64) -> Result<Self> {
        check_magic(bytes)?;
        let mut f = Fields::new(WHAT, at, bytes);
        let bytes = f.array::<HEADER_LEN>()?;
        let mut f = Fields::new(WHAT, at, &bytes);
        f.take(MAGIC.len())?;
        let (major, minor) = (f.u16()?, f.u16()?);
        if major != VERSION_MAJOR {
            return Err(Error::Unsupported(format!(
                "format version {major}.{minor}; this program reads {VERSION_MAJOR}.x"
            )));
        }
        let mut stored = Fields::new(WHAT, at, &bytes[CRC_AT..]);
        crc::check(WHAT, at, &bytes[..CRC_AT], stored.u32()?)?;
        let header = Self::fields(&mut f, minor, at)?;
        match header.fault() {
            Some(detail) => Err(Error::corrupt(WHAT, at, detail)),
            None => Ok(header),
        }
    }

    /// The uuid of a file: first 16 bytes of SHA-256 over the header (uuid and CRC zero) and
    /// `parts`: section table, known sections in the order of the table, root.
    pub fn uuid(&self, parts: &[&[u8]]) -> [u8; 16] {
        let file_uuid = [0; 16];
        let plain = Self {
            file_uuid,
            ..self.clone()
        };
        let mut hash = Sha256::new();
        hash.update(&plain.encode()[..CRC_AT]);
        hash.update([0; HEADER_LEN - CRC_AT]);
        for part in parts {
            hash.update(part);
        }
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&hash.finalize()[..16]);
        uuid
    }

    /// Everything behind the version, in the order of the bytes.
    fn fields(f: &mut Fields<'_>, minor: u16, at: u64) -> Result<Self> {
        let length = f.u32()?;
        if length as usize != HEADER_LEN {
            let detail = format!("header length is {length}, it must be {HEADER_LEN}");
            return Err(Error::corrupt(WHAT, at, detail));
        }
        let header = Self {
            minor,
            file_uuid: f.array()?,
            file_len: f.u64()?,
            required_features: known_features(f.u64()?)?,
            optional_features: f.u64()?,
            extent: [f.u64()?, f.u64()?, f.u64()?],
            root_offset: f.u64()?,
            blocks_present: f.u64()?,
            payload_bytes: f.u64()?,
            section_offset: f.u64()?,
            root_len: f.u32()?,
            root_crc: f.u32()?,
            section_count: f.u32()?,
            section_crc: f.u32()?,
            q_min: f.i32()?,
            q_max: f.i32()?,
            value_exp: {
                only_one("time steps", f.u32()?)?;
                reserved(f, 4, minor)?;
                f.i16()?
            },
            dtype: dtype(f.u16()?)?,
            block_log2: {
                only_one("channels", u32::from(f.u16()?))?;
                f.u8()?
            },
            lod_count: f.u8()?,
            layer_count: f.u8()?,
            level_count: f.u8()?,
            page_log2: f.u8()?,
            depth: f.u8()?,
            align_log2: f.u8()?,
            state: parse_state(f.u8()?, at)?,
            tier_count: f.u8()?,
        };
        reserved(f, CRC_AT - 159, minor)?;
        Ok(header)
    }

    /// The first broken rule of the header's own values.
    fn fault(&self) -> Option<String> {
        if let Some(axis) = self.extent.iter().position(|&e| e == 0) {
            return Some(format!("extent of axis {axis} is 0"));
        }
        let bounded = [
            ("block_log2", self.block_log2, 5, 7),
            ("page_log2", self.page_log2, 1, 5),
            ("index depth", self.depth, 2, 3),
            ("align_log2", self.align_log2, 0, 12),
            (
                "number of levels of detail",
                self.lod_count,
                1,
                MAX_LODS as u8,
            ),
            ("number of layers", self.layer_count, 1, MAX_LAYERS as u8),
            ("number of quality levels", self.level_count, 1, MAX_LEVELS),
            ("number of tiers", self.tier_count, 1, MAX_TIERS as u8),
        ];
        bounded
            .into_iter()
            .find(|&(_, v, lo, hi)| v < lo || v > hi)
            .map(|(what, v, lo, hi)| format!("{what} is {v}, {lo}..={hi} is allowed"))
            .or_else(|| value_fault(self.dtype, self.q_min, self.q_max, self.value_exp))
    }
}

/// Fails unless `bytes` start like an hgv file.
fn check_magic(bytes: &[u8]) -> Result<()> {
    let n = bytes.len().min(MAGIC.len());
    if bytes[..n] == MAGIC[..n] {
        return Ok(());
    }
    Err(Error::Unsupported(
        "not an hgv file: the first 8 bytes are not the magic number".into(),
    ))
}

/// Reserved bytes may mean something only under a minor version that is newer than ours.
fn reserved(f: &mut Fields<'_>, n: usize, minor: u16) -> Result<()> {
    if minor > VERSION_MINOR {
        f.take(n).map(|_| ())
    } else {
        f.zeros(n)
    }
}

fn known_features(bits: u64) -> Result<u64> {
    match bits & !KNOWN_FEATURES {
        0 => Ok(bits),
        unknown => Err(Error::Unsupported(format!(
            "required features {unknown:#x}"
        ))),
    }
}

fn only_one(what: &str, value: u32) -> Result<()> {
    if value == 1 {
        return Ok(());
    }
    Err(Error::Unsupported(format!(
        "{value} {what}; this version has exactly 1"
    )))
}

fn dtype(code: u16) -> Result<DType> {
    DType::from_code(code).ok_or_else(|| Error::Unsupported(format!("voxel type code {code}")))
}

fn parse_state(byte: u8, at: u64) -> Result<State> {
    match byte {
        0 => Ok(State::Open),
        1 => Ok(State::Complete),
        2 => Ok(State::SeeTrailer),
        n => Err(Error::corrupt(
            WHAT,
            at,
            format!("state is {n}, 0..=2 is allowed"),
        )),
    }
}

/// The first broken rule of the value range, shared with the writer.
pub(crate) fn value_fault(dtype: DType, q_min: i32, q_max: i32, exp: i16) -> Option<String> {
    if q_min > q_max {
        return Some(format!("q_min {q_min} is over q_max {q_max}"));
    }
    match dtype.integer_range() {
        Some((lo, hi)) if q_min < lo || q_max > hi || exp != 0 => Some(format!(
            "values {q_min}..={q_max} x 2^{exp} do not fit {dtype}"
        )),
        None if q_min <= -(1 << 24) || q_max >= 1 << 24 || !(-149..=104).contains(&exp) => Some(
            format!("values {q_min}..={q_max} x 2^{exp} do not fit {dtype}"),
        ),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sample() -> Header {
        Header {
            minor: VERSION_MINOR,
            file_uuid: *b"0123456789abcdef",
            file_len: 0x1122_3344_5566_7788,
            required_features: 0,
            optional_features: 5,
            extent: [10, 20, 30],
            root_offset: 300,
            root_len: 28,
            root_crc: 0xDEAD_BEEF,
            blocks_present: 1,
            payload_bytes: 99,
            section_offset: 256,
            section_count: 4,
            section_crc: 0x1234_5678,
            q_min: -7,
            q_max: 9,
            value_exp: 0,
            dtype: DType::Int16,
            block_log2: 6,
            lod_count: 3,
            layer_count: 5,
            level_count: 3,
            page_log2: 3,
            depth: 2,
            align_log2: 0,
            state: State::Complete,
            tier_count: 1,
        }
    }

    /// The offsets of the specification, read without the parser.
    #[test]
    fn offsets_are_those_of_the_specification() {
        let b = sample().encode();
        let u64_at = |o: usize| u64::from_le_bytes(b[o..o + 8].try_into().unwrap());
        let u32_at = |o: usize| u32::from_le_bytes(b[o..o + 4].try_into().unwrap());
        assert_eq!((b[8], b[10], u32_at(12)), (1, 0, 256));
        assert_eq!(u64_at(32), 0x1122_3344_5566_7788);
        assert_eq!([u64_at(56), u64_at(64), u64_at(72)], [10, 20, 30]);
        assert_eq!(
            [u64_at(80), u64_at(88), u64_at(96), u64_at(104)],
            [300, 1, 99, 256]
        );
        assert_eq!([u32_at(112), u32_at(116)], [28, 0xDEAD_BEEF]);
        assert_eq!([u32_at(120), u32_at(124)], [4, 0x1234_5678]);
        assert_eq!([u32_at(128) as i32, u32_at(132) as i32], [-7, 9]);
        assert_eq!((u32_at(136), b[146], b[148]), (1, 4, 1));
        assert_eq!(b[150..159], [6, 3, 5, 3, 3, 2, 0, 1, 1]);
        assert_eq!(u32_at(252), crc::crc32(&b[..252]));
        assert_eq!(Header::parse(&b, 0).unwrap(), sample());
    }

    /// A newer minor version may use the reserved bytes; ours may not.
    #[test]
    fn reserved_bytes_depend_on_the_minor_version() {
        for (minor, readable) in [(0, false), (1, true)] {
            let mut b = Header { minor, ..sample() }.encode();
            b[200] = 1;
            let crc = crc::crc32(&b[..252]);
            b[252..].copy_from_slice(&crc.to_le_bytes());
            assert_eq!(Header::parse(&b, 0).is_ok(), readable);
        }
    }
}
