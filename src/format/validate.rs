//! Rules that need more than one structure: the tables as a whole, and pieces of the file that
//! must not overlap. Shared by reader, `verify`, `recover` and fuzz targets.

use crate::format::header::Header;
use crate::format::layer::Layers;
use crate::format::model::ModelRecord;
use crate::format::section::{self, Section};
use crate::format::shape::Shape;
use crate::format::{crc, metadata, model, tier};
use crate::volume::Metadata;
use crate::{Error, Limits, Result};

/// What the sections of a file say.
#[derive(Debug, Clone)]
pub struct Tables {
    /// Geometry, layers, models.
    pub shape: Shape,
    /// Section META, or the defaults.
    pub metadata: Metadata,
    /// Section STAT: checked JSON.
    pub stats: Option<String>,
}

/// Reads the known sections; `bytes_of` returns the bytes of a section.
///
/// # Errors
/// Whatever a section's rules say.
pub fn tables<'a>(
    header: &Header,
    sections: &[Section],
    limits: &Limits,
    mut bytes_of: impl FnMut(&Section) -> Result<&'a [u8]>,
) -> Result<Tables> {
    check_limits(header, limits)?;
    let mut get = |fourcc| -> Result<Option<Placed<'a>>> {
        let Some(s) = section::find(sections, fourcc) else {
            return Ok(None);
        };
        let bytes = bytes_of(s)?;
        crc::check(s.name(), s.offset, bytes, s.crc)?;
        Ok(Some((bytes, s.offset)))
    };
    // The section table's own rules guarantee that the critical ones exist.
    let layers = get(section::LAYR)?.unwrap_or_default();
    let tiers = get(section::TIER)?.unwrap_or_default();
    let models = get(section::MODL)?.unwrap_or_default();
    let shape = shape(
        header,
        layers,
        tiers,
        model::parse(models.0, models.1, limits)?,
    )?;
    let metadata = match get(section::META)? {
        Some((bytes, at)) => metadata::parse(bytes, at)?,
        None => Metadata::default(),
    };
    let stats = match get(section::STAT)? {
        Some((bytes, at)) => Some(stats(bytes, at)?),
        None => None,
    };
    Ok(Tables {
        shape,
        metadata,
        stats,
    })
}

/// Bytes and their absolute offset.
type Placed<'a> = (&'a [u8], u64);

fn shape(
    header: &Header,
    layers: Placed<'_>,
    tiers: Placed<'_>,
    models: Vec<ModelRecord>,
) -> Result<Shape> {
    let count = usize::from(header.layer_count);
    let layers = Layers::parse(layers.0, layers.1, count, header.level_count)?;
    let (extent, block_log2) = (header.extent, header.block_log2);
    let tiers = tier::parse(tiers.0, tiers.1, header.tier_count, extent, block_log2)?;
    let shape = Shape::new(
        extent,
        header.dtype,
        block_log2,
        header.page_log2,
        (header.q_min, header.q_max),
        header.value_exp,
        layers,
        tiers,
        models,
    )?;
    check_lods(header, &shape)?;
    Ok(shape)
}

fn check_limits(header: &Header, limits: &Limits) -> Result<()> {
    let axis = header.extent.into_iter().max().unwrap_or(0);
    Limits::check("axis length in voxels", axis, limits.max_axis)?;
    let voxels = 1u64 << (3 * u32::from(header.block_log2));
    Limits::check("block size in voxels", voxels, limits.max_block_voxels)
}

fn check_lods(header: &Header, shape: &Shape) -> Result<()> {
    let want = shape.lod_count();
    if header.lod_count == want {
        return Ok(());
    }
    let detail = format!(
        "{} levels of detail, the tiers serve {want}",
        header.lod_count
    );
    Err(Error::corrupt("header", 0, detail))
}

fn stats(bytes: &[u8], at: u64) -> Result<String> {
    metadata::check_json("section STAT", bytes, at)?;
    String::from_utf8(bytes.to_vec()).map_err(|e| Error::corrupt("section STAT", at, e.to_string()))
}

/// A structure of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Piece {
    /// Absolute offset.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// Name for messages.
    pub what: &'static str,
}

/// Sorts pieces by offset.
///
/// # Errors
/// [`Error::Corrupt`] if two of them share a byte.
pub fn check_disjoint(pieces: &mut [Piece]) -> Result<()> {
    pieces.sort_unstable();
    for w in pieces.windows(2) {
        if w[1].start < w[0].end {
            let detail = format!("it overlaps {} at byte {}", w[0].what, w[0].start);
            return Err(Error::corrupt(w[1].what, w[1].start, detail));
        }
    }
    Ok(())
}
