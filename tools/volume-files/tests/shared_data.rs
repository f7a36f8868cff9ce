//! Reads the real volumes of the shared data folder and holds them against its table.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::print_stdout)]

use hgv::volume::{DType, Region, VoxelSource};
use hgv_volume_files::{OpenOptions, open_volume};
use std::path::PathBuf;

struct Expected {
    file: &'static str,
    extent: [u64; 3],
    dtype: DType,
    spacing: [f64; 3],
    unit: Option<&'static str>,
    range: [f64; 2],
}

const fn row(
    file: &'static str,
    extent: [u64; 3],
    dtype: DType,
    spacing: [f64; 3],
    unit: Option<&'static str>,
    range: [f64; 2],
) -> Expected {
    Expected {
        file,
        extent,
        dtype,
        spacing,
        unit,
        range,
    }
}

const TABLE: [Expected; 11] = [
    row(
        "ct_vhf_head.nrrd",
        [512, 512, 234],
        DType::Int16,
        [1.0; 3],
        Some("mm"),
        [0.0, 4087.0],
    ),
    row(
        "ct_bonsai.nrrd",
        [256; 3],
        DType::Uint8,
        [1.0; 3],
        None,
        [0.0, 255.0],
    ),
    row(
        "ct_engine_256x256x128_uint8.raw.zst",
        [256, 256, 128],
        DType::Uint8,
        [1.0; 3],
        None,
        [0.0, 255.0],
    ),
    row(
        "uct_fly_256x256x150_uint8.raw.zst",
        [256, 256, 150],
        DType::Uint8,
        [1.0; 3],
        None,
        [0.0, 249.0],
    ),
    row(
        "em_fib25_320.nrrd",
        [320; 3],
        DType::Uint8,
        [1e-5; 3],
        Some("mm"),
        [22.0, 219.0],
    ),
    row(
        "em_betagal.mrc.gz",
        [100; 3],
        DType::Float32,
        [3.54; 3],
        Some("angstrom"),
        [-0.05297, 0.19696],
    ),
    row(
        "lm_nuclei.nrrd",
        [256, 256, 60],
        DType::Uint16,
        [0.26, 0.26, 0.29],
        Some("um"),
        [0.0, 65535.0],
    ),
    row(
        "mri_t1w_studyforrest.nii.gz",
        [274, 384, 384],
        DType::Int16,
        [0.7, 0.6667, 0.6667],
        Some("mm"),
        [0.0, 278.0],
    ),
    row(
        "sim_heptane.nii.gz",
        [302; 3],
        DType::Uint8,
        [1.0; 3],
        Some("mm"),
        [0.0, 255.0],
    ),
    row(
        "sim_wmag_91x91x91_float32.raw.gz",
        [91; 3],
        DType::Float32,
        [1.0; 3],
        None,
        [0.0497, 265.3],
    ),
    row(
        "sim_dns_128x128x128_float32.raw.gz",
        [128; 3],
        DType::Float32,
        [1.0; 3],
        None,
        [0.0361, 62.87],
    ),
];

fn data_folder() -> PathBuf {
    match std::env::var_os("HGV_SHARED") {
        Some(shared) => PathBuf::from(shared).join("data"),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
    }
}

fn range(source: &dyn VoxelSource) -> [f64; 2] {
    let [nx, ny, nz] = source.extent();
    let mut range = [f64::INFINITY, f64::NEG_INFINITY];
    let mut plane = vec![0; (nx * ny) as usize * source.dtype().size()];
    for z in 0..nz {
        let region = Region::new([0, 0, z], [nx, ny, z + 1]).unwrap();
        source.read(&region, &mut plane).unwrap();
        for v in values(source.dtype(), &plane) {
            range = [range[0].min(v), range[1].max(v)];
        }
    }
    range
}

fn values(dtype: DType, bytes: &[u8]) -> Vec<f64> {
    let two = |b: &[u8]| [b[0], b[1]];
    match dtype {
        DType::Uint8 => bytes.iter().map(|&b| f64::from(b)).collect(),
        DType::Uint16 => bytes
            .chunks(2)
            .map(|b| f64::from(u16::from_le_bytes(two(b))))
            .collect(),
        DType::Int16 => bytes
            .chunks(2)
            .map(|b| f64::from(i16::from_le_bytes(two(b))))
            .collect(),
        _ => bytes
            .chunks(4)
            .map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())))
            .collect(),
    }
}

#[test]
fn every_shared_volume_is_read_as_its_table_says() {
    let folder = data_folder();
    for want in &TABLE {
        let path = folder.join(want.file);
        if !path.is_file() {
            println!("skipped: {} is missing", path.display());
            continue;
        }
        let opened = open_volume(&path, &OpenOptions::default()).unwrap();
        let source = opened.source;
        assert_eq!(source.extent(), want.extent, "{}", want.file);
        assert_eq!(source.dtype(), want.dtype, "{}", want.file);
        // The table rounds what the files say.
        for (found, stated) in source.metadata().spacing.into_iter().zip(want.spacing) {
            assert!(
                (found / stated - 1.0).abs() < 1e-4,
                "{}: {found}",
                want.file
            );
        }
        assert_eq!(
            source.metadata().unit.as_deref(),
            want.unit,
            "{}",
            want.file
        );
        for (found, want_value) in range(source.as_ref()).into_iter().zip(want.range) {
            let tolerance = 1e-3 * want_value.abs();
            assert!(
                (found - want_value).abs() <= tolerance,
                "{}: {found}",
                want.file
            );
        }
    }
}
