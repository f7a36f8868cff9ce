//! Writing TIFF: a header of 8 or 16 bytes, all voxels in one run, then one directory a page.
//! Everything has a place that is known beforehand, so nothing is ever sought.

use crate::affine::is_identity;
use crate::element::NumberType;
use crate::failure::bad;
use crate::layout::voxel_bytes;
use crate::text::one_line;
use hgv::Result;
use hgv::volume::{DType, Extent, Metadata};
use std::fmt::Write as _;
use std::io;
use std::path::Path;

const SHORT: u16 = 3;
const LONG: u16 = 4;
const RATIONAL: u16 = 5;
const ASCII: u16 = 2;
const LONG8: u16 = 16;

/// Where everything goes.
struct Plan {
    extent: Extent,
    dtype: DType,
    big: bool,
    voxels: u64,
    /// Byte after the voxels, aligned: the description and the resolutions, then directories.
    shared: u64,
    description: Vec<u8>,
    resolution: [[u32; 2]; 2],
}

impl Plan {
    fn new(extent: Extent, dtype: DType, metadata: &Metadata) -> Self {
        let voxels = extent
            .iter()
            .fold(dtype.size() as u64, |n, &e| n.saturating_mul(e));
        let mut description = describe(extent, metadata).into_bytes();
        description.push(0);
        let rest = extent[2].saturating_mul(256) + description.len() as u64 + (1 << 16);
        let big = voxels.saturating_add(rest) > u64::from(u32::MAX);
        Self::sized(extent, dtype, metadata, description, big)
    }

    fn sized(
        extent: Extent,
        dtype: DType,
        metadata: &Metadata,
        description: Vec<u8>,
        big: bool,
    ) -> Self {
        let voxels = extent
            .iter()
            .fold(dtype.size() as u64, |n, &e| n.saturating_mul(e));
        let start = if big { 16 } else { 8 };
        Self {
            extent,
            dtype,
            big,
            voxels,
            shared: (start + voxels).next_multiple_of(16),
            description,
            resolution: [0, 1].map(|a| rational(metadata.spacing[a])),
        }
    }

    /// Byte of the first voxel.
    fn start(&self) -> u64 {
        if self.big { 16 } else { 8 }
    }

    /// Byte of the first directory.
    fn directories(&self) -> u64 {
        (self.shared + 16 + self.description.len() as u64).next_multiple_of(16)
    }

    /// Bytes of the directory of page `z`; only the first has a description.
    fn directory_bytes(&self, z: u64) -> u64 {
        let entries = if z == 0 { 14 } else { 13 };
        if self.big {
            8 + 20 * entries + 8
        } else {
            // Directories start at even bytes.
            2 + 12 * entries + 4
        }
    }

    /// The header of the file.
    fn header(&self) -> Vec<u8> {
        let first = self.directories();
        let mut bytes = b"II".to_vec();
        if self.big {
            bytes.extend([43, 0, 8, 0, 0, 0]);
            bytes.extend(first.to_le_bytes());
        } else {
            bytes.extend([42, 0]);
            bytes.extend((first as u32).to_le_bytes());
        }
        bytes
    }

    /// Padding, resolutions, description, padding: what lies before the first directory.
    fn shared_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; (self.shared - self.start() - self.voxels) as usize];
        for [n, d] in self.resolution {
            bytes.extend(n.to_le_bytes());
            bytes.extend(d.to_le_bytes());
        }
        bytes.extend(&self.description);
        let end = self.shared + 16 + self.description.len() as u64;
        bytes.resize(bytes.len() + (self.directories() - end) as usize, 0);
        bytes
    }

    fn put_directories(&self, put: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        put(&self.shared_bytes())?;
        let mut at = self.directories();
        for z in 0..self.extent[2] {
            put(&self.directory(z, at))?;
            at += self.directory_bytes(z);
        }
        Ok(())
    }

    /// The directory of page `z`, which starts at byte `at`.
    fn directory(&self, z: u64, at: u64) -> Vec<u8> {
        let [width, height, pages] = self.extent;
        let page = self.voxels / pages;
        let wide = if self.big { LONG8 } else { LONG };
        let mut entries = Entries {
            big: self.big,
            bytes: Vec::new(),
            count: 0,
        };
        entries.put(256, LONG, 1, width);
        entries.put(257, LONG, 1, height);
        entries.put(258, SHORT, 1, 8 * self.dtype.size() as u64);
        entries.put(259, SHORT, 1, 1);
        entries.put(262, SHORT, 1, 1);
        if z == 0 {
            entries.text(270, &self.description, self.shared + 16);
        }
        entries.put(273, wide, 1, self.start() + z * page);
        entries.put(277, SHORT, 1, 1);
        entries.put(278, LONG, 1, height);
        entries.put(279, wide, 1, page);
        for (i, [n, d]) in (0..).zip(self.resolution) {
            entries.rational(282 + i, [n, d], self.shared + 8 * u64::from(i));
        }
        entries.put(296, SHORT, 1, 1);
        entries.put(339, SHORT, 1, sample_format(self.dtype));
        let next = if z + 1 < pages {
            at + self.directory_bytes(z)
        } else {
            0
        };
        entries.finish(next)
    }
}

/// Entries of one directory, in the order of their tags.
struct Entries {
    big: bool,
    bytes: Vec<u8>,
    count: u16,
}

impl Entries {
    fn put(&mut self, tag: u16, kind: u16, count: u64, value: u64) {
        self.count += 1;
        self.bytes.extend(tag.to_le_bytes());
        self.bytes.extend(kind.to_le_bytes());
        if self.big {
            self.bytes.extend(count.to_le_bytes());
            self.bytes.extend(value.to_le_bytes());
        } else {
            self.bytes.extend((count as u32).to_le_bytes());
            self.bytes.extend((value as u32).to_le_bytes());
        }
    }

    /// Values that fit the entry lie in it.
    fn text(&mut self, tag: u16, text: &[u8], at: u64) {
        self.put(tag, ASCII, text.len() as u64, at);
    }

    fn rational(&mut self, tag: u16, [n, d]: [u32; 2], at: u64) {
        let inline = u64::from(n) | u64::from(d) << 32;
        self.put(tag, RATIONAL, 1, if self.big { inline } else { at });
    }

    fn finish(self, next: u64) -> Vec<u8> {
        let mut out = Vec::new();
        if self.big {
            out.extend(u64::from(self.count).to_le_bytes());
            out.extend(self.bytes);
            out.extend(next.to_le_bytes());
        } else {
            out.extend(self.count.to_le_bytes());
            out.extend(self.bytes);
            out.extend((next as u32).to_le_bytes());
        }
        out
    }
}

/// The bytes before the voxels, and what the format cannot keep.
///
/// # Errors
/// Axes that the format cannot state.
pub(crate) fn header(
    path: &Path,
    extent: Extent,
    dtype: DType,
    metadata: &Metadata,
) -> Result<(Vec<u8>, Vec<String>)> {
    voxel_bytes(path, extent, NumberType::from(dtype))?;
    if let Some(n) = extent.iter().find(|n| **n > u64::from(u32::MAX)) {
        return Err(bad(
            path,
            format!("an axis of {n} voxels is too long for TIFF"),
        ));
    }
    let mut notices = Vec::new();
    if !is_identity(metadata) {
        notices.push("TIFF cannot hold the orientation; it is not written".to_owned());
    }
    let kept = [0, 1].map(|a| {
        let [n, d] = rational(metadata.spacing[a]);
        f64::from(d) / f64::from(n)
    });
    if (0..2).any(|a| (kept[a] / metadata.spacing[a] - 1.0).abs() > 1e-6) {
        let [x, y] = kept;
        notices.push(format!("TIFF rounds the spacing along x and y to {x}, {y}"));
    }
    Ok((Plan::new(extent, dtype, metadata).header(), notices))
}

/// Puts what comes behind the voxels, piece by piece.
pub(crate) fn directories(
    extent: Extent,
    dtype: DType,
    metadata: &Metadata,
    mut put: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    Plan::new(extent, dtype, metadata).put_directories(&mut put)
}

fn sample_format(dtype: DType) -> u64 {
    match dtype {
        DType::Float32 => 3,
        DType::Int8 | DType::Int16 => 2,
        _ => 1,
    }
}

/// Pixels per unit for a spacing: decimal spacings come back exactly.
fn rational(spacing: f64) -> [u32; 2] {
    let most = f64::from(u32::MAX);
    let scale = (0..=9)
        .rev()
        .map(|k| 10f64.powi(k))
        .find(|scale| spacing * scale <= most)
        .unwrap_or(1.0);
    let per = (spacing * scale).round().clamp(1.0, most);
    [scale as u32, per as u32]
}

/// What ImageJ reads: number of slices, spacing, unit, calibration, origin.
fn describe(extent: Extent, metadata: &Metadata) -> String {
    let [_, _, z] = extent;
    let mut text = format!("ImageJ=1.54f\nimages={z}\nslices={z}\nloop=false\n");
    if let Some(unit) = &metadata.unit {
        let _ = writeln!(text, "unit={}", one_line(unit));
    }
    let _ = writeln!(text, "spacing={}", metadata.spacing[2]);
    for (axis, name) in ["xorigin", "yorigin", "zorigin"].into_iter().enumerate() {
        if metadata.origin[axis] != 0.0 {
            let voxel = -metadata.origin[axis] / metadata.spacing[axis];
            let _ = writeln!(text, "{name}={voxel}");
        }
    }
    if (metadata.slope, metadata.intercept) != (1.0, 0.0) {
        let (slope, intercept) = (metadata.slope, metadata.intercept);
        let _ = writeln!(text, "cf=0\nc0={intercept}\nc1={slope}");
    }
    for (key, value) in [
        ("vunit", &metadata.value_unit),
        ("description", &metadata.description),
    ] {
        if let Some(value) = value {
            let _ = writeln!(text, "{key}={}", one_line(value));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use hgv::volume::Region;

    /// BigTIFF begins at 4 GiB; here a small one.
    #[test]
    fn big_files_are_read_back() {
        let extent = [5, 3, 4];
        let metadata = Metadata {
            spacing: [0.26, 0.26, 0.29],
            unit: Some("um".to_owned()),
            ..Metadata::default()
        };
        let text = [describe(extent, &metadata).as_bytes(), &[0]].concat();
        let plan = Plan::sized(extent, DType::Uint8, &metadata, text, true);
        let voxels: Vec<u8> = (0..60).collect();
        let mut bytes = [plan.header(), voxels.clone()].concat();
        plan.put_directories(&mut |b| {
            bytes.extend(b);
            Ok(())
        })
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("big.tif");
        std::fs::write(&path, bytes).unwrap();
        let source = crate::open_volume(&path, &crate::OpenOptions::default())
            .unwrap()
            .source;
        let mut back = vec![0; 60];
        source.read(&Region::whole(extent), &mut back).unwrap();
        assert_eq!(back, voxels);
        assert_eq!(source.metadata(), &metadata);
        assert!(Plan::new([1 << 16, 1 << 15, 2], DType::Uint8, &metadata).big);
        assert!(!Plan::new([1 << 16, 1 << 15, 1], DType::Uint8, &metadata).big);
    }
}
