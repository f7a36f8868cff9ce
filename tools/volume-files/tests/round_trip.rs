//! What a writer wrote, the reader brings back: voxels, type, extent and metadata.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{all, assert_same, open, pattern, rich, write};
use hgv::volume::{DType, Metadata, Space};
use hgv_volume_files::VolumeWriter;
use std::path::Path;

const EXTENTS: [[u64; 3]; 5] = [[5, 3, 7], [1, 1, 9], [9, 1, 1], [1, 1, 1], [33, 17, 4]];
const NAMES: [&str; 7] = [
    "v.nrrd", "v.nii", "v.nii.gz", "v.mrc", "v.tif", "v.npy", "v.raw",
];

/// The name that also says shape and type, for raw.
fn name_of(name: &str, [x, y, z]: [u64; 3], dtype: DType) -> String {
    match name {
        "v.raw" => format!("v_{x}x{y}x{z}_{dtype}.raw"),
        other => other.to_owned(),
    }
}

#[test]
fn every_format_returns_every_type_and_extent() {
    for name in NAMES {
        for dtype in DType::ALL {
            for extent in EXTENTS {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join(name_of(name, extent, dtype));
                let voxels = pattern(extent, dtype);
                let notices = write(&path, extent, dtype, &Metadata::default(), &voxels);
                assert_eq!(notices, [""; 0], "{name}");
                let opened = open(&path);
                assert_eq!(opened.source.extent(), extent, "{name} {dtype}");
                assert_eq!(opened.spooled, name == "v.nii.gz");
                check_voxels(name, dtype, &voxels, &opened);
                assert_same(opened.source.metadata(), &Metadata::default());
            }
        }
    }
}

fn check_voxels(name: &str, dtype: DType, voxels: &[u8], opened: &hgv_volume_files::OpenedVolume) {
    if name == "v.mrc" && dtype == DType::Uint8 {
        // MRC widens uint8 to uint16.
        assert_eq!(opened.source.dtype(), DType::Uint16);
        let wide: Vec<u8> = voxels.iter().flat_map(|&v| [v, 0]).collect();
        assert_eq!(all(opened.source.as_ref()), wide);
    } else {
        assert_eq!(opened.source.dtype(), dtype, "{name}");
        assert_eq!(all(opened.source.as_ref()), voxels, "{name} {dtype}");
    }
}

fn through(name: &str, metadata: &Metadata) -> (Metadata, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    let extent = [5, 3, 7];
    let voxels = pattern(extent, DType::Int16);
    let notices = write(&path, extent, DType::Int16, metadata, &voxels);
    (open(&path).source.metadata().clone(), notices)
}

#[test]
fn nrrd_keeps_all_metadata() {
    for metadata in [
        rich(),
        Metadata {
            space: Space::Unknown,
            ..rich()
        },
        Metadata {
            space: Space::Ras,
            unit: None,
            ..rich()
        },
        Metadata {
            spacing: [1e-5; 3],
            ..Metadata::default()
        },
    ] {
        let (back, notices) = through("v.nrrd", &metadata);
        assert_same(&back, &metadata);
        assert_eq!(notices, [""; 0]);
    }
}

#[test]
fn nifti_keeps_positions_in_ras() {
    let (back, notices) = through("v.nii.gz", &rich());
    let ras = Metadata {
        origin: [12.5, -30.25, 7.0],
        direction: [[-0.6, -0.8, 0.0], [0.8, -0.6, 0.0], [0.0, 0.0, 1.0]],
        space: Space::Ras,
        value_unit: None,
        ..rich()
    };
    assert_same(&back, &ras);
    assert_eq!(
        notices,
        ["NIfTI cannot name the value unit \"HU\"; it is not written"]
    );
}

#[test]
fn nifti_converts_units_that_it_cannot_name() {
    for (unit, spacing, um) in [
        ("nm", [10.0, 10.0, 12.0], [0.01, 0.01, 0.012]),
        ("angstrom", [3.54; 3], [3.54e-4; 3]),
    ] {
        let metadata = Metadata {
            unit: Some(unit.to_owned()),
            spacing,
            ..Metadata::default()
        };
        let (back, notices) = through("v.nii", &metadata);
        assert_eq!(back.unit.as_deref(), Some("um"));
        assert_eq!(back.spacing, um);
        assert_eq!(
            notices,
            [format!(
                "NIfTI cannot name {unit}; lengths are written in um"
            )]
        );
    }
}

#[test]
fn long_axes_make_nifti_2() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.nii");
    let metadata = Metadata {
        value_unit: None,
        ..rich()
    };
    let voxels = pattern([32_768, 1, 2], DType::Uint8);
    write(&path, [32_768, 1, 2], DType::Uint8, &metadata, &voxels);
    assert_eq!(std::fs::read(&path).unwrap()[..4], 540i32.to_le_bytes());
    let opened = open(&path);
    assert_eq!(opened.source.extent(), [32_768, 1, 2]);
    assert_eq!(all(opened.source.as_ref()), voxels);
    let back = opened.source.metadata();
    assert_eq!(
        (back.space, back.spacing, back.slope),
        (Space::Ras, [0.7, 0.65, 1.5], 0.5)
    );
}

#[test]
fn mrc_converts_to_angstrom_and_keeps_the_meaning_of_values() {
    let metadata = Metadata {
        direction: Metadata::default().direction,
        space: Space::Unknown,
        unit: Some("nm".to_owned()),
        ..rich()
    };
    let (back, notices) = through("v.mrc", &metadata);
    let angstrom = Metadata {
        spacing: [7.0, 6.5, 15.0],
        origin: [-125.0, 302.5, 70.0],
        unit: Some("angstrom".to_owned()),
        ..metadata
    };
    assert_same(&back, &angstrom);
    assert_eq!(notices, [""; 0]);
    let (_, notices) = through("v.mrc", &rich());
    assert_eq!(
        notices,
        ["MRC cannot hold the orientation; it is not written"]
    );
}

#[test]
fn tiff_keeps_spacing_origin_unit_and_the_meaning_of_values() {
    let metadata = Metadata {
        direction: Metadata::default().direction,
        space: Space::Unknown,
        ..rich()
    };
    let (back, notices) = through("v.tif", &metadata);
    assert_same(&back, &metadata);
    assert_eq!(notices, [""; 0]);
    let (_, notices) = through("v.tif", &rich());
    assert_eq!(
        notices,
        ["TIFF cannot hold the orientation; it is not written"]
    );
}

#[test]
fn formats_without_metadata_say_what_is_lost() {
    for (name, format) in [("v.npy", "NPY"), ("v_5x3x7_int16.raw", "raw")] {
        let (_, notices) = through(name, &rich());
        assert_eq!(
            notices,
            [format!(
                "{format} holds no metadata: spacing 0.7, 0.65, 1.5 mm, slope 0.5, intercept -1024 and orientation are not written"
            )]
        );
    }
}

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn a_writer_leaves_a_whole_file_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.nrrd");
    let create =
        |force| VolumeWriter::create(&path, [2, 2, 2], DType::Uint8, &Metadata::default(), force);
    let mut dropped = create(false).unwrap();
    dropped.write_slab(&[1; 4]).unwrap();
    assert!(!path.exists());
    drop(dropped);
    assert_eq!(entries(folder.path()), 0);
    let mut early = create(false).unwrap();
    early.write_slab(&[1; 4]).unwrap();
    let message = early.finish().unwrap_err().to_string();
    assert!(
        message.ends_with("v.nrrd: 4 of 8 bytes of voxels are missing"),
        "{message}"
    );
    let mut over = create(false).unwrap();
    over.write_slab(&[1; 9]).unwrap_err();
    drop(over);
    assert_eq!(entries(folder.path()), 0);
    let mut whole = create(false).unwrap();
    whole.write_slab(&[1; 8]).unwrap();
    whole.finish().unwrap();
    let message = create(false).unwrap_err().to_string();
    assert!(
        message.ends_with("v.nrrd exists; choose another name or replace it with --force"),
        "{message}"
    );
    let mut again = create(true).unwrap();
    again.write_slab(&[2; 8]).unwrap();
    again.finish().unwrap();
    assert_eq!(all(open(&path).source.as_ref()), [2; 8]);
    assert_eq!(entries(folder.path()), 1);
}

#[test]
fn a_writer_copies_a_source() {
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("v.nrrd");
    let extent = [300, 200, 20];
    let voxels = pattern(extent, DType::Uint16);
    write(&first, extent, DType::Uint16, &rich(), &voxels);
    let source = open(&first).source;
    let second = folder.path().join("w.npy");
    let mut writer =
        VolumeWriter::create(&second, extent, DType::Uint16, source.metadata(), false).unwrap();
    writer.write_source(source.as_ref()).unwrap();
    writer.finish().unwrap();
    assert_eq!(all(open(&second).source.as_ref()), voxels);
}
