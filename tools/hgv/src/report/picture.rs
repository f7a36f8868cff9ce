//! Slices of volumes and maps on them as PNG pictures inside a page.

use base64::Engine as _;
use hgv::quality::to_f32;
use hgv::volume::{Extent, Region, VoxelSource};
use hgv::{Error, Result};

/// Longest side of a picture of a slice in pixels.
const LONGEST: u64 = 384;
/// Rows of voxels read at once: the side of the usual block, so that each block is decoded once.
const BAND: u64 = 64;

/// Names of the axes, and of the other two in their order.
pub(super) const AXES: [char; 3] = ['x', 'y', 'z'];
pub(super) const PLANES: [[usize; 2]; 3] = [[1, 2], [0, 2], [0, 1]];

/// Values on a plane, row by row.
pub(crate) struct Plane {
    pub(crate) values: Vec<f32>,
    /// Pixels along a row, and rows.
    pub(super) size: [usize; 2],
}

/// Every n-th voxel of the slice at `position` across `axis`, so that the picture stays small.
pub(crate) fn slice(source: &dyn VoxelSource, axis: usize, position: u64) -> Result<Plane> {
    let (extent, plane) = (source.extent(), PLANES[axis]);
    let step = plane.map(|a| extent[a].div_ceil(LONGEST));
    let step = step[0].max(step[1]).max(1);
    let size = plane.map(|a| extent[a].div_ceil(step) as usize);
    let mut values = Vec::with_capacity(size[0] * size[1]);
    for band in (0..extent[plane[1]]).step_by(BAND as usize) {
        let end = extent[plane[1]].min(band + BAND);
        let voxels = read(source, &thin(extent, axis, position, [band, end]))?;
        let width = extent[plane[0]];
        for row in (band..end).filter(|row| row % step == 0) {
            let start = ((row - band) * width) as usize;
            values.extend(
                voxels[start..start + width as usize]
                    .iter()
                    .step_by(step as usize),
            );
        }
    }
    Ok(Plane { values, size })
}

/// A band of a slice, one voxel thick.
fn thin(extent: Extent, axis: usize, position: u64, rows: [u64; 2]) -> Region {
    let mut region = Region::whole(extent);
    (region.start[axis], region.end[axis]) = (position, position + 1);
    let along = PLANES[axis][1];
    [region.start[along], region.end[along]] = rows;
    region
}

fn read(source: &dyn VoxelSource, region: &Region) -> Result<Vec<f32>> {
    let dtype = source.dtype();
    let length = region.voxels().saturating_mul(dtype.size() as u64);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    source.read(region, &mut bytes)?;
    let mut values = vec![0.0; bytes.len() / dtype.size()];
    to_f32(dtype, &bytes, &mut values);
    Ok(values)
}

/// Colours of a scale from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Colours {
    Grey,
    /// Dark violet over green to yellow.
    Heat,
    /// Blue below the middle, white in it, red above.
    Signed,
}

/// Viridis at eighths.
const HEAT: [[u8; 3]; 9] = [
    [68, 1, 84],
    [71, 44, 122],
    [59, 81, 139],
    [44, 113, 142],
    [33, 144, 141],
    [39, 173, 129],
    [92, 200, 99],
    [170, 220, 50],
    [253, 231, 37],
];
const SIGNED: [[u8; 3]; 5] = [
    [5, 48, 97],
    [67, 147, 195],
    [247, 247, 247],
    [214, 96, 77],
    [103, 0, 31],
];

impl Colours {
    fn of(self, t: f32) -> [u8; 3] {
        let t = if t.is_finite() {
            t.clamp(0.0, 1.0)
        } else {
            0.0
        };
        match self {
            Self::Grey => [(t * 255.0).round() as u8; 3],
            Self::Heat => between(&HEAT, t),
            Self::Signed => between(&SIGNED, t),
        }
    }

    /// The scale as a CSS gradient from left to right.
    pub(super) fn gradient(self) -> String {
        let stops: Vec<_> = (0..=8)
            .map(|i| {
                let [r, g, b] = self.of(i as f32 / 8.0);
                format!("rgb({r},{g},{b})")
            })
            .collect();
        format!("linear-gradient(to right,{})", stops.join(","))
    }
}

fn between(stops: &[[u8; 3]], t: f32) -> [u8; 3] {
    let place = t * (stops.len() - 1) as f32;
    let i = (place as usize).min(stops.len() - 2);
    let (low, high, t) = (stops[i], stops[i + 1], place - i as f32);
    std::array::from_fn(|c| {
        let (low, high) = (f32::from(low[c]), f32::from(high[c]));
        (low + t * (high - low)).round() as u8
    })
}

/// A PNG of `plane` as a data URI, values from `low` to `high` in `colours`.
pub(super) fn data_uri(plane: &Plane, low: f64, high: f64, colours: Colours) -> Result<String> {
    let picture = picture(plane, low, high, colours)?;
    let text = base64::engine::general_purpose::STANDARD.encode(picture);
    Ok(format!("data:image/png;base64,{text}"))
}

/// A PNG of `plane`, values from `low` to `high` in `colours`.
pub(crate) fn picture(plane: &Plane, low: f64, high: f64, colours: Colours) -> Result<Vec<u8>> {
    let scale = if high > low { 1.0 / (high - low) } else { 1.0 };
    let pixels: Vec<u8> = plane
        .values
        .iter()
        .flat_map(|&v| {
            let [r, g, b] = colours.of(((f64::from(v) - low) * scale) as f32);
            let all = if colours == Colours::Grey { 1 } else { 3 };
            [r, g, b].into_iter().take(all)
        })
        .collect();
    png(plane.size, &pixels, colours).map_err(|e| Error::io("a picture", e.into()))
}

/// The bytes of a PNG file of red, green, blue and opacity, 8 bits sRGB, `[y][x]`.
///
/// # Errors
/// [`Error::Io`] if there are not as many pixels as `size` says.
pub(crate) fn png_rgba(size: [u32; 2], pixels: &[u8]) -> Result<Vec<u8>> {
    let write = || {
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, size[0], size[1]);
        encoder.set_color(png::ColorType::Rgba);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_source_srgb(png::SrgbRenderingIntent::Perceptual);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(pixels)?;
        writer.finish()?;
        Ok(out)
    };
    write().map_err(|e: png::EncodingError| Error::io("a picture", e.into()))
}

fn png(
    size: [usize; 2],
    pixels: &[u8],
    colours: Colours,
) -> std::result::Result<Vec<u8>, png::EncodingError> {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, size[0] as u32, size[1] as u32);
    encoder.set_color(match colours {
        Colours::Grey => png::ColorType::Grayscale,
        _ => png::ColorType::Rgb,
    });
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use hgv::volume::{MemoryVolume, Metadata};

    #[test]
    fn slices_have_the_voxels_of_their_plane() {
        let extent = [5u64, 70, 800];
        let voxel = |x: u64, y: u64, z: u64| (x + 10 * y + 3 * z) as f32;
        let mut voxels = Vec::new();
        for z in 0..extent[2] {
            for y in 0..extent[1] {
                voxels.extend((0..extent[0]).map(|x| voxel(x, y, z)));
            }
        }
        let volume = MemoryVolume::new(extent, &voxels, Metadata::default()).unwrap();
        let found = slice(&volume, 2, 30).unwrap();
        assert_eq!(found.size, [5, 70]);
        assert_eq!(found.values[5 * 69 + 4], voxel(4, 69, 30));
        // Every third voxel of the long axis, and of the other one.
        let found = slice(&volume, 0, 3).unwrap();
        assert_eq!(found.size, [24, 267]);
        assert_eq!(found.values.len(), 24 * 267);
        assert_eq!(found.values[24 * 266 + 23], voxel(3, 69, 798));
    }

    #[test]
    fn scales_end_where_they_should() {
        assert_eq!(Colours::Grey.of(2.0), [255; 3]);
        assert_eq!(Colours::Heat.of(f32::NAN), HEAT[0]);
        assert_eq!(Colours::Heat.of(1.0), HEAT[8]);
        assert_eq!(Colours::Signed.of(0.5), [247; 3]);
    }
}
