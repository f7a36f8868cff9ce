//! Spacing, units and meaning out of the tags of the first page: ImageJ and OME descriptions,
//! resolution tags.

use super::directory::{Directory, File, tag};
use crate::failure::bad;
use crate::text::finite;
use crate::units;
use hgv::Result;
use hgv::volume::Metadata;
use std::collections::HashMap;
use std::path::Path;

/// What the first page says about the volume.
#[derive(Debug, Default)]
pub(super) struct Description {
    pub(super) metadata: Metadata,
    /// Number of images that ImageJ states.
    pub(super) images: Option<u64>,
    pub(super) notices: Vec<String>,
}

/// Reads the tags of the first page.
///
/// # Errors
/// Several channels or time points; broken tags.
pub(super) fn read(file: &File) -> Result<Description> {
    let Some(&first) = file.directories()?.first() else {
        return Ok(Description::default());
    };
    let directory = file.directory(first)?;
    let text = file.text(&directory, tag::DESCRIPTION)?;
    let resolution = Resolution::read(file, &directory)?;
    if text.starts_with("ImageJ=") {
        imagej(&file.path, &text, &resolution)
    } else if text.contains("<OME") {
        ome(&file.path, &text)
    } else {
        let mut out = Description::default();
        plain(&resolution, &mut out);
        let text = crate::text::one_line(&text);
        // tifffile notes the shape of the array, which says nothing of the volume.
        let told = !text.is_empty() && !text.starts_with("{\"shape\"");
        out.metadata.description = told.then_some(text);
        Ok(out)
    }
}

/// Distances of pixels along x and y.
struct Resolution {
    x: Option<f64>,
    y: Option<f64>,
    /// 1 none, 2 inch, 3 centimetre.
    unit: u64,
}

impl Resolution {
    fn read(file: &File, directory: &Directory) -> Result<Self> {
        let distance = |tag: u16| Ok(file.rational(directory, tag)?.and_then(inverse));
        Ok(Self {
            x: distance(tag::X_RESOLUTION)?,
            y: distance(tag::Y_RESOLUTION)?,
            unit: file.one(directory, tag::RESOLUTION_UNIT)?.unwrap_or(2),
        })
    }
}

/// Distance of pixels: the inverse of a positive resolution.
fn inverse([n, d]: [u64; 2]) -> Option<f64> {
    let distance = d as f64 / n as f64;
    (distance.is_finite() && distance > 0.0).then_some(distance)
}

/// Resolution tags alone. 72 and 96 dots per inch are what programs write that know nothing.
fn plain(resolution: &Resolution, out: &mut Description) {
    let scale = match resolution.unit {
        2 => 25.4,
        3 => 10.0,
        _ => return,
    };
    let (Some(x), Some(y)) = (resolution.x, resolution.y) else {
        return;
    };
    let screen = |d: f64| resolution.unit == 2 && [72.0, 96.0].contains(&(1.0 / d).round());
    if screen(x) && screen(y) {
        return;
    }
    out.metadata.spacing = [x * scale, y * scale, x * scale];
    out.metadata.unit = Some("mm".to_owned());
    out.notices.push(
        "the TIFF states no spacing along z; that along x is taken (set it with --spacing)"
            .to_owned(),
    );
}

/// `key=value` lines as ImageJ writes them.
fn imagej(path: &Path, text: &str, resolution: &Resolution) -> Result<Description> {
    let keys: Keys<'_> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(k, v)| (k.trim(), v.trim()))
        .collect();
    let count = |key: &str| keys.get(key).and_then(|v| v.parse::<u64>().ok());
    one_of(path, "channels", count("channels"))?;
    one_of(path, "frames", count("frames"))?;
    let mut out = Description {
        images: count("images"),
        ..Description::default()
    };
    placement(&keys, resolution, &mut out.metadata);
    meaning(&keys, &mut out.metadata);
    Ok(out)
}

type Keys<'a> = HashMap<&'a str, &'a str>;

fn key_number(keys: &Keys<'_>, key: &str) -> Option<f64> {
    keys.get(key).and_then(|v| finite(v))
}

/// Spacing, unit and origin.
fn placement(keys: &Keys<'_>, resolution: &Resolution, meta: &mut Metadata) {
    let z = key_number(keys, "spacing").map(f64::abs);
    meta.spacing = [
        resolution.x.unwrap_or(1.0),
        resolution.y.unwrap_or(1.0),
        z.filter(|s| *s > 0.0).unwrap_or(1.0),
    ];
    if let Some((unit, factor)) = keys.get("unit").and_then(|u| units::parse(u)) {
        meta.spacing = meta.spacing.map(|s| s * factor);
        meta.unit = Some(unit.to_owned());
    }
    for (axis, key) in ["xorigin", "yorigin", "zorigin"].into_iter().enumerate() {
        // ImageJ states the voxel at which the world starts.
        if let Some(voxel) = key_number(keys, key).filter(|v| *v != 0.0) {
            meta.origin[axis] = -voxel * meta.spacing[axis];
        }
    }
}

/// What a stored value means: the straight line is the calibration function 0.
fn meaning(keys: &Keys<'_>, meta: &mut Metadata) {
    let line = (key_number(keys, "c0"), key_number(keys, "c1"));
    if let (Some(&"0"), (Some(intercept), Some(slope))) = (keys.get("cf"), line) {
        (meta.slope, meta.intercept) = (slope, intercept);
    }
    let word = |key: &str| {
        let word = keys.get(key).filter(|v| !v.is_empty());
        word.map(|v| (*v).to_owned())
    };
    meta.value_unit = word("vunit").filter(|u| u != "Gray Value");
    meta.description = word("description");
}

fn one_of(path: &Path, what: &str, count: Option<u64>) -> Result<()> {
    match count {
        Some(n) if n > 1 => Err(bad(
            path,
            format!("the TIFF holds {n} {what}; export one as a stack of its own"),
        )),
        _ => Ok(()),
    }
}

/// Attributes of the first `Pixels` element of an OME-XML description.
fn ome(path: &Path, text: &str) -> Result<Description> {
    let pixels = text.split("<Pixels").nth(1).unwrap_or_default();
    let pixels = pixels.split('>').next().unwrap_or_default();
    let attribute = |name: &str| {
        let (_, rest) = pixels.split_once(&format!(" {name}=\""))?;
        rest.split_once('"').map(|(value, _)| value)
    };
    let count = |name: &str| attribute(name).and_then(|v| v.parse::<u64>().ok());
    one_of(path, "channels", count("SizeC"))?;
    one_of(path, "time points", count("SizeT"))?;
    let mut out = Description::default();
    for (axis, name) in ["X", "Y", "Z"].into_iter().enumerate() {
        let Some(size) = attribute(&format!("PhysicalSize{name}"))
            .and_then(finite)
            .filter(|s| *s > 0.0)
        else {
            continue;
        };
        let unit = attribute(&format!("PhysicalSize{name}Unit")).unwrap_or("um");
        if let Some((unit, factor)) = units::parse(unit) {
            // All lengths in the unit of x.
            let first = out.metadata.unit.get_or_insert_with(|| unit.to_owned());
            out.metadata.spacing[axis] = size * factor * units::factor(Some(unit), first);
        }
    }
    Ok(out)
}
