//! Helpers shared by the tests.

#![allow(dead_code, clippy::unwrap_used, clippy::missing_panics_doc)]

use hgv::volume::{DType, Metadata, Region, Space, VoxelSource};
use hgv_volume_files::{OpenOptions, OpenedVolume, VolumeWriter, open_volume};
use std::path::Path;

/// Voxel bytes that differ from neighbour to neighbour, with the extremes of the type.
pub(crate) fn pattern(extent: [u64; 3], dtype: DType) -> Vec<u8> {
    let count = extent.iter().product::<u64>();
    let mut bytes = Vec::new();
    for i in 0..count {
        let hash = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 29;
        match dtype {
            DType::Float32 => bytes.extend((hash as i32 as f32 * 1e-3).to_le_bytes()),
            other => bytes.extend(&hash.to_le_bytes()[..other.size()]),
        }
    }
    bytes
}

/// All voxels of a source.
pub(crate) fn all(source: &dyn VoxelSource) -> Vec<u8> {
    part(source, &Region::whole(source.extent()))
}

/// The voxels of a box.
pub(crate) fn part(source: &dyn VoxelSource, region: &Region) -> Vec<u8> {
    let mut out = vec![0; region.voxels() as usize * source.dtype().size()];
    source.read(region, &mut out).unwrap();
    out
}

/// Opens a file that must open.
pub(crate) fn open(path: &Path) -> OpenedVolume {
    open_volume(path, &OpenOptions::default()).unwrap()
}

/// The one-line message of a file that must not open, without the folder it is in.
pub(crate) fn refusal(path: &Path, options: &OpenOptions) -> String {
    let message = open_volume(path, options).unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
    let folder = path.parent().unwrap().display().to_string();
    message
        .replace(&format!("{folder}/"), "")
        .replace(&folder, "FOLDER")
}

/// Writes a volume and returns the notices.
pub(crate) fn write(
    path: &Path,
    extent: [u64; 3],
    dtype: DType,
    metadata: &Metadata,
    voxels: &[u8],
) -> Vec<String> {
    let mut writer = VolumeWriter::create(path, extent, dtype, metadata, false).unwrap();
    // Slabs of odd lengths.
    for slab in voxels.chunks(7 * dtype.size()) {
        writer.write_slab(slab).unwrap();
    }
    let written = writer.finish().unwrap();
    assert_eq!(written.bytes, std::fs::metadata(path).unwrap().len());
    written.notices
}

/// Metadata with every field set, rotated about z and turned, in LPS.
pub(crate) fn rich() -> Metadata {
    Metadata {
        spacing: [0.7, 0.65, 1.5],
        origin: [-12.5, 30.25, 7.0],
        direction: [[0.6, 0.8, 0.0], [-0.8, 0.6, 0.0], [0.0, 0.0, 1.0]],
        space: Space::Lps,
        unit: Some("mm".to_owned()),
        slope: 0.5,
        intercept: -1024.0,
        value_unit: Some("HU".to_owned()),
        description: Some("a rotated head".to_owned()),
    }
}

/// Every pair of numbers within a relative 1e-6.
pub(crate) fn close(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|(a, b)| (a - b).abs() <= 1e-6 * a.abs().max(b.abs()).max(1e-3))
}

/// The same metadata up to rounding.
pub(crate) fn assert_same(a: &Metadata, b: &Metadata) {
    assert!(close(&a.spacing, &b.spacing), "{a:?} {b:?}");
    assert!(close(&a.origin, &b.origin), "{a:?} {b:?}");
    assert!(
        close(a.direction.as_flattened(), b.direction.as_flattened()),
        "{a:?} {b:?}"
    );
    assert!(
        close(&[a.slope, a.intercept], &[b.slope, b.intercept]),
        "{a:?} {b:?}"
    );
    assert_eq!(
        (a.space, &a.unit, &a.value_unit, &a.description),
        (b.space, &b.unit, &b.value_unit, &b.description)
    );
}
