//! Opening a volume file: format, header, where the voxels are, how they become voxels.

use crate::element::{Endian, NumberType};
use crate::failure::bad;
use crate::format::{Format, Name, sniff};
use crate::input::Input;
use crate::layout::Layout;
use crate::locate::{Located, locate};
use crate::source::FileVolume;
use crate::{mrc, nifti, npy, nrrd, raw, tiff};
use hgv::Result;
use hgv::volume::{DType, Extent, Metadata, Region, VoxelSource};
use std::path::{Path, PathBuf};

/// How to open a volume file. The default asks nothing of files that describe themselves.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// Raw voxels only: lengths of the axes in voxels, `[x, y, z]`.
    pub shape: Option<Extent>,
    /// Raw voxels only: type of the numbers.
    pub dtype: Option<NumberType>,
    /// Raw voxels only: byte order; little-endian if not given.
    pub endian: Option<Endian>,
    /// Raw voxels only: bytes before the voxels (after unpacking).
    pub skip: Option<u64>,
    /// Distance of voxel centres along x, y, z; replaces what the file says.
    pub spacing: Option<[f64; 3]>,
    /// Convert to this type, rounding to nearest (ties to even) and clamping.
    pub cast: Option<DType>,
    /// Folder for the scratch file; the system's folder for temporary files if not given.
    pub scratch: Option<PathBuf>,
    /// Only this box of the volume, in voxels.
    pub region: Option<Region>,
}

/// An opened volume.
pub struct OpenedVolume {
    /// The voxels.
    pub source: Box<dyn VoxelSource>,
    /// Format of the file.
    pub format: Format,
    /// Type of the numbers in the file; differs from the source's if they are converted.
    pub stored: NumberType,
    /// Whether the voxels were unpacked to a scratch file, which goes with the source.
    pub spooled: bool,
    /// What a user should be told, one line each.
    pub notices: Vec<String>,
}

impl std::fmt::Debug for OpenedVolume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenedVolume")
            .field("extent", &self.source.extent())
            .field("dtype", &self.source.dtype())
            .field("format", &self.format)
            .field("spooled", &self.spooled)
            .field("notices", &self.notices)
            .finish()
    }
}

/// Opens a volume file, or a folder of numbered TIFF files. `-` is the standard input.
///
/// Costs one pass over the voxels if the file is compressed or piped (they go to a scratch
/// file), and one if their type is converted; else only the header is read.
///
/// # Errors
/// [`hgv::Error::Io`] for paths that cannot be read, [`hgv::Error::Input`] for files that are
/// not what they claim, are cut off, or hold numbers that no voxel type takes,
/// [`hgv::Error::InvalidArgument`] for options that do not fit the file.
pub fn open_volume(path: &Path, options: &OpenOptions) -> Result<OpenedVolume> {
    if path.is_dir() {
        options.only_for_raw(path, Format::Tiff)?;
        let (layout, located) = tiff::open_folder(path, options)?;
        return assemble(path, layout, located, options);
    }
    let path = &header_of_pair(path, options);
    let mut input = Input::open(path, false)?;
    let format = decide(&input, options)?;
    options.only_for_raw(path, format)?;
    let mut layout = match format {
        Format::Nrrd => nrrd::parse(&mut input)?,
        Format::Nifti => nifti::parse(&mut input)?,
        Format::Mrc => mrc::parse(&mut input)?,
        Format::Npy => npy::parse(&mut input)?,
        Format::Raw => raw::describe(&input, options)?,
        Format::Tiff => {
            let (layout, located) = tiff::open_file(&input, options)?;
            return assemble(path, layout, located, options);
        }
    };
    let region = options.region_in(path, layout.extent)?;
    let located = locate(input, &mut layout, region, options)?;
    assemble(path, layout, located, options)
}

/// `name.hdr` for `name.img`, if it is there and no shape is given.
fn header_of_pair(path: &Path, options: &OpenOptions) -> PathBuf {
    let name = path.to_string_lossy();
    let stem = [".img", ".img.gz"]
        .iter()
        .find_map(|s| name.strip_suffix(s));
    let header = stem.and_then(|stem| {
        [".hdr", ".hdr.gz"]
            .iter()
            .map(|s| PathBuf::from(format!("{stem}{s}")))
            .find(|p| p.is_file())
    });
    match header {
        Some(header) if options.shape.is_none() => header,
        _ => path.to_owned(),
    }
}

fn decide(input: &Input, options: &OpenOptions) -> Result<Format> {
    let named = Name::of(input.path())?.format;
    if named == Some(Format::Raw) {
        return Ok(Format::Raw);
    }
    let raw = options.shape.is_some() && options.dtype.is_some();
    sniff(input.head())
        .or(if raw { Some(Format::Raw) } else { named })
        .ok_or_else(|| {
            bad(
                input.path(),
                "this is no NRRD, NIfTI, MRC, TIFF or NPY file; for raw voxels give --shape X,Y,Z --dtype T",
            )
        })
}

impl OpenOptions {
    fn only_for_raw(&self, path: &Path, format: Format) -> Result<()> {
        let given = [
            ("--shape", self.shape.is_some()),
            ("--dtype", self.dtype.is_some()),
            ("--endian", self.endian.is_some()),
            ("--skip", self.skip.is_some()),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((option, _)) if format != Format::Raw => Err(hgv::Error::argument(format!(
                "{}: {option} is for raw voxels, and this is a {format} file; leave it out",
                path.display()
            ))),
            _ => Ok(()),
        }
    }

    /// The box asked for, or all of a volume of this extent.
    pub(crate) fn region_in(&self, path: &Path, extent: Extent) -> Result<Region> {
        let Some(region) = self.region else {
            return Ok(Region::whole(extent));
        };
        Region::new(region.start, region.end)?;
        if !region.fits(extent) {
            let [x, y, z] = extent;
            return Err(hgv::Error::argument(format!(
                "{}: the region reaches outside of the volume of {x} x {y} x {z}",
                path.display()
            )));
        }
        Ok(region)
    }
}

/// Puts the source together and settles the type of its voxels.
fn assemble(
    path: &Path,
    layout: Layout,
    located: Located,
    options: &OpenOptions,
) -> Result<OpenedVolume> {
    let region = options.region_in(path, layout.extent)?;
    let mut notices = layout.notices;
    let (full, endian, within) = match located.spooled {
        // The scratch file holds the region only.
        true => (
            region.extent(),
            Endian::Little,
            Region::whole(region.extent()),
        ),
        false => (layout.extent, layout.endian, region),
    };
    let mut volume = FileVolume {
        store: located.store,
        full,
        region: within,
        number: layout.number,
        endian,
        dtype: layout.number.native().unwrap_or(DType::Float32),
        metadata: placed(path, layout.metadata, region, options)?,
    };
    volume.dtype = settle(path, &volume, options.cast, &mut notices)?;
    Ok(OpenedVolume {
        source: Box::new(volume),
        format: layout.format,
        stored: layout.number,
        spooled: located.spooled,
        notices,
    })
}

fn placed(
    path: &Path,
    metadata: Metadata,
    region: Region,
    options: &OpenOptions,
) -> Result<Metadata> {
    let mut metadata = metadata;
    if let Some(spacing) = options.spacing {
        if !spacing.iter().all(|s| s.is_finite() && *s > 0.0) {
            return Err(hgv::Error::argument(format!(
                "{}: --spacing takes three positive numbers",
                path.display()
            )));
        }
        metadata.spacing = spacing;
    }
    Ok(match region.start {
        [0, 0, 0] => metadata,
        start => metadata.cropped(start),
    })
}

/// The voxel type: the file's own, the one asked for, or one that holds every value.
fn settle(
    path: &Path,
    volume: &FileVolume,
    cast: Option<DType>,
    notices: &mut Vec<String>,
) -> Result<DType> {
    let number = volume.number;
    match (number.native(), cast) {
        (Some(dtype), None) => Ok(dtype),
        (Some(dtype), Some(wanted)) if dtype == wanted => Ok(dtype),
        (_, Some(dtype)) => {
            let scan = volume.scan()?;
            if scan.nans() > 0 && !dtype.is_float() {
                let count = scan.nans();
                return Err(bad(
                    path,
                    format!("NaN voxels ({count} of them) do not fit {dtype}; cast to float32"),
                ));
            }
            let effect = scan.cast_effect(dtype);
            notices.push(format!("{number} is cast to {dtype}: {effect}"));
            Ok(dtype)
        }
        (None, None) => {
            let dtype = exact_type(path, volume)?;
            notices.push(format!(
                "{number} is read as {dtype}, which holds every value exactly"
            ));
            Ok(dtype)
        }
    }
}

/// The voxel type that holds every value of another type of numbers.
fn exact_type(path: &Path, volume: &FileVolume) -> Result<DType> {
    let number = volume.number;
    if number == NumberType::F16 {
        // Half precision always fits.
        return Ok(DType::Float32);
    }
    let scan = volume.scan()?;
    scan.exact_type(number).ok_or_else(|| {
        bad(
            path,
            format!(
                "the {number} values {} fit none of uint8, int8, uint16, int16, float32 exactly; choose one with --cast T",
                scan.range()
            ),
        )
    })
}
