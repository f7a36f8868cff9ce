//! Files that other programs write: byte orders, detached data, compressions, number types.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{all, close, open, pattern, refusal};
use flate2::write::GzEncoder;
use hgv::volume::{DType, Space};
use hgv_volume_files::{Endian, Format, NumberType, OpenOptions, open_volume};
use std::fs::write;
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const EXTENT: [u64; 3] = [5, 3, 4];

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn int16() -> Vec<u8> {
    pattern(EXTENT, DType::Int16)
}

fn swapped(voxels: &[u8]) -> Vec<u8> {
    voxels.chunks(2).flat_map(|v| [v[1], v[0]]).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// A file in a folder of its own.
fn file(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    write(&path, bytes).unwrap();
    path
}

fn expect_int16(path: &Path, spooled: bool) {
    let opened = open(path);
    assert_eq!(opened.source.extent(), EXTENT, "{}", path.display());
    assert_eq!(opened.source.dtype(), DType::Int16);
    assert_eq!(opened.spooled, spooled, "{}", path.display());
    assert_eq!(all(opened.source.as_ref()), int16(), "{}", path.display());
}

fn nrrd(more: &str) -> String {
    format!("NRRD0004\n# comment\ntype: short\ndimension: 3\nsizes: 5 3 4\n{more}")
}

#[test]
fn nrrd_attached_in_every_packing() {
    let at = folder();
    let (le, be) = (int16(), swapped(&int16()));
    let little = nrrd("endian: little\nencoding: raw\n\n");
    let big = nrrd("endian: big\nencoding: raw\n\n");
    let packed = nrrd("endian: big\nencoding: gzip\n\n");
    expect_int16(
        &file(&at, "a.nrrd", &join(&[little.as_bytes(), &le])),
        false,
    );
    expect_int16(&file(&at, "b.nrrd", &join(&[big.as_bytes(), &be])), false);
    expect_int16(
        &file(&at, "c.nrrd", &join(&[packed.as_bytes(), &gzip(&be)])),
        true,
    );
    expect_int16(
        &file(&at, "d.nrrd.gz", &gzip(&join(&[little.as_bytes(), &le]))),
        true,
    );
    let zst = zstd::encode_all(&join(&[big.as_bytes(), &be])[..], 1).unwrap();
    expect_int16(&file(&at, "e.nrrd.zst", &zst), true);
    // Any name will do for a file that says itself what it is.
    expect_int16(&file(&at, "f.dat", &join(&[little.as_bytes(), &le])), false);
}

#[test]
fn nrrd_detached_in_one_and_in_many_files() {
    let at = folder();
    let be = swapped(&int16());
    file(&at, "one.raw", &join(&[b"a line\nand more\nxyz", &be]));
    file(&at, "one.raw.gz", &gzip(&be));
    for (i, plane) in be.chunks(30).enumerate() {
        file(&at, &format!("s{:03}.raw", 2 * i + 1), plane);
        file(&at, &format!("s{i}.gz"), &gzip(plane));
    }
    let header = |name: &str, more: &str| file(&at, name, nrrd(more).as_bytes());
    let big = "endian: big\nencoding: raw\n";
    expect_int16(
        &header(
            "a.nhdr",
            &format!("{big}line skip: 2\nbyte skip: 3\ndata file: one.raw\n"),
        ),
        false,
    );
    expect_int16(
        &header("b.nhdr", &format!("{big}byteskip: -1\ndatafile: one.raw\n")),
        false,
    );
    expect_int16(
        &header("c.nhdr", &format!("{big}data file: s%03d.raw 1 7 2\n")),
        false,
    );
    expect_int16(
        &header(
            "d.nhdr",
            &format!("{big}data file: LIST\ns001.raw\ns003.raw\ns005.raw\ns007.raw\n"),
        ),
        false,
    );
    let packed = "endian: big\nencoding: gz\n";
    expect_int16(
        &header("e.nhdr", &format!("{packed}data file: one.raw.gz\n")),
        true,
    );
    expect_int16(
        &header(
            "f.nhdr",
            &format!("{packed}data file: LIST\ns0.gz\ns1.gz\ns2.gz\ns3.gz\n"),
        ),
        true,
    );
}

#[test]
fn nrrd_geometry_in_its_many_spellings() {
    let at = folder();
    let meta = |more: &str| {
        let text = format!("NRRD0005\ntype: uchar\nencoding: raw\n{more}\n\n");
        let path = file(&at, "g.nrrd", &join(&[text.as_bytes(), &[0; 60]]));
        let opened = open(&path);
        assert_eq!(opened.source.extent(), EXTENT);
        (opened.source.metadata().clone(), opened.notices)
    };
    let (m, _) =
        meta("dimension: 3\nsizes: 5 3 4\nspacings: 0.5 0.5 2\nunits: \"cm\" \"cm\" \"cm\"");
    assert_eq!(
        (m.spacing, m.unit.as_deref()),
        ([5.0, 5.0, 20.0], Some("mm"))
    );
    let (m, _) = meta(
        "dimension: 4\nsizes: 1 5 3 4\nspace: LAS\nspace directions: none (0, -2, 0) (3,0,0) (0,0,1)\nspace origin: (10, 20, 30)\nspace units: \"microns\" \"microns\" \"microns\"\nmeasurement frame: (1,0,0) (0,1,0) (0,0,1)\nkinds: vector domain domain domain",
    );
    assert_eq!(
        (m.space, m.spacing, m.unit.as_deref()),
        (Space::Ras, [2.0, 3.0, 1.0], Some("um"))
    );
    assert_eq!(
        m.direction,
        [[0.0, -1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    );
    assert_eq!(m.origin, [-10.0, 20.0, 30.0]);
    let (m, notices) =
        meta("dimension: 3\nsizes: 5 3 4\nspacings: 1 1 1\nunits: \"mm\" \"mm\" \"s\"");
    assert_eq!(
        (m.unit, &notices[0][..]),
        (None, "the axes have different units; the unit is not kept")
    );
}

/// A NIfTI-1 header of int16 voxels, big-endian on demand, of a single file or a pair.
fn nifti(big: bool, single: bool) -> Vec<u8> {
    let mut h = vec![0; if single { 352 } else { 348 }];
    let mut put = |at: usize, bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        if big {
            bytes.reverse();
        }
        h[at..at + bytes.len()].copy_from_slice(&bytes);
    };
    put(0, &348i32.to_le_bytes());
    for (i, n) in [4i16, 5, 3, 4, 1].into_iter().enumerate() {
        put(40 + 2 * i, &n.to_le_bytes());
    }
    put(70, &4i16.to_le_bytes());
    for (i, f) in [-1.0f32, 0.7, 0.65, 2.0].into_iter().enumerate() {
        put(76 + 4 * i, &f.to_le_bytes());
    }
    put(108, &(if single { 352f32 } else { 0.0 }).to_le_bytes());
    put(112, &2f32.to_le_bytes());
    put(116, &(-5f32).to_le_bytes());
    // qform: half a turn about x, third axis reversed.
    put(252, &1i16.to_le_bytes());
    put(256, &1f32.to_le_bytes());
    put(268, &10f32.to_le_bytes());
    h[123] = 2;
    h[344..348].copy_from_slice(if single { b"n+1\0" } else { b"ni1\0" });
    h
}

#[test]
fn nifti_single_pair_and_big_endian() {
    let at = folder();
    let (le, be) = (int16(), swapped(&int16()));
    expect_int16(
        &file(&at, "a.nii", &join(&[&nifti(false, true), &le])),
        false,
    );
    expect_int16(
        &file(&at, "b.nii", &join(&[&nifti(true, true), &be])),
        false,
    );
    expect_int16(
        &file(&at, "c.nii.gz", &gzip(&join(&[&nifti(true, true), &be]))),
        true,
    );
    let header = file(&at, "d.hdr", &nifti(true, false));
    let image = file(&at, "d.img", &be);
    expect_int16(&header, false);
    expect_int16(&image, false);
    let header = file(&at, "e.hdr.gz", &gzip(&nifti(false, false)));
    file(&at, "e.img.gz", &gzip(&le));
    expect_int16(&header, true);
    let meta = open(&image).source.metadata().clone();
    assert_eq!(
        (meta.spacing, meta.unit.as_deref()),
        ([0.7, 0.65, 2.0], Some("mm"))
    );
    assert_eq!((meta.slope, meta.intercept), (2.0, -5.0));
    assert_eq!((meta.space, meta.origin), (Space::Ras, [10.0, 0.0, 0.0]));
    assert_eq!(
        meta.direction,
        [[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0]]
    );
}

/// An MRC header with spacing 3.54 and an extended header of 16 bytes.
fn mrc(big: bool, mode: i32) -> Vec<u8> {
    let mut h = vec![0; 1040];
    let mut put = |word: usize, bytes: [u8; 4]| {
        let mut bytes = bytes;
        if big {
            bytes.reverse();
        }
        h[4 * word..4 * word + 4].copy_from_slice(&bytes);
    };
    for (i, n) in [5, 3, 4, mode, 1, 2, -3, 5, 3, 4].into_iter().enumerate() {
        put(i, i32::to_le_bytes(n));
    }
    for (i, f) in [17.7, 10.62, 14.16, 90.0, 90.0, 90.0]
        .into_iter()
        .enumerate()
    {
        put(10 + i, f32::to_le_bytes(f));
    }
    for i in 0..3 {
        put(16 + i, (i as i32 + 1).to_le_bytes());
    }
    put(23, 16i32.to_le_bytes());
    h[208..212].copy_from_slice(b"MAP ");
    h[212] = if big { 0x11 } else { 0x44 };
    h
}

#[test]
fn mrc_modes_and_byte_orders() {
    let at = folder();
    expect_int16(
        &file(&at, "a.mrc", &join(&[&mrc(false, 1), &int16()])),
        false,
    );
    let path = file(&at, "b.map", &join(&[&mrc(true, 1), &swapped(&int16())]));
    expect_int16(&path, false);
    let meta = open(&path).source.metadata().clone();
    assert_eq!(
        (meta.spacing, meta.unit.as_deref()),
        ([3.54; 3], Some("angstrom"))
    );
    assert!(close(&meta.origin, &[3.54, 7.08, -10.62]));
    let halves: Vec<u8> = (0..60)
        .flat_map(|i| half::f16::from_f32(i as f32 / 4.0).to_le_bytes())
        .collect();
    let path = file(&at, "c.mrc.gz", &gzip(&join(&[&mrc(false, 12), &halves])));
    let opened = open(&path);
    assert_eq!(
        (opened.stored, opened.source.dtype()),
        (NumberType::F16, DType::Float32)
    );
    let want: Vec<u8> = (0..60)
        .flat_map(|i| (i as f32 / 4.0).to_le_bytes())
        .collect();
    assert_eq!(all(opened.source.as_ref()), want);
    // IMOD marks unsigned bytes.
    let mut header = mrc(false, 0);
    let bytes = pattern(EXTENT, DType::Uint8);
    assert_eq!(
        open(&file(&at, "d.mrc", &join(&[&header, &bytes])))
            .source
            .dtype(),
        DType::Int8
    );
    header[152..156].copy_from_slice(&1_146_047_817i32.to_le_bytes());
    assert_eq!(
        open(&file(&at, "e.mrc", &join(&[&header, &bytes])))
            .source
            .dtype(),
        DType::Uint8
    );
}

fn npy(version: u8, dictionary: &str) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend([version, 0]);
    let length = dictionary.len() as u32;
    bytes.extend(&length.to_le_bytes()[..if version == 1 { 2 } else { 4 }]);
    bytes.extend(dictionary.as_bytes());
    bytes
}

#[test]
fn npy_orders_versions_and_types() {
    let at = folder();
    let c = "{'descr': '<i2', 'fortran_order': False, 'shape': (4, 3, 5), }\n";
    let fortran = "{'descr': '>i2', 'fortran_order': True, 'shape': (5, 3, 4), }\n";
    expect_int16(&file(&at, "a.npy", &join(&[&npy(1, c), &int16()])), false);
    for version in 2..=3 {
        let bytes = join(&[&npy(version, fortran), &swapped(&int16())]);
        expect_int16(&file(&at, "b.npy", &bytes), false);
        expect_int16(&file(&at, "b.npy.gz", &gzip(&bytes)), true);
    }
}

#[test]
fn raw_by_name_and_by_options() {
    let at = folder();
    expect_int16(&file(&at, "x_y_5x3x4_int16.raw", &int16()), false);
    let zst = zstd::encode_all(&int16()[..], 1).unwrap();
    expect_int16(&file(&at, "x_5x3x4_int16.raw.zst", &zst), true);
    let options = OpenOptions {
        shape: Some(EXTENT),
        dtype: Some(NumberType::I16),
        endian: Some(Endian::Big),
        skip: Some(3),
        spacing: Some([1.0, 2.0, 3.0]),
        ..OpenOptions::default()
    };
    for (name, bytes) in [
        ("plain.vol", join(&[b"abc", &swapped(&int16())])),
        ("packed.bin.gz", gzip(&join(&[b"abc", &swapped(&int16())]))),
        ("odd.dat", join(&[b"abc", &swapped(&int16())])),
    ] {
        let opened = open_volume(&file(&at, name, &bytes), &options).unwrap();
        assert_eq!(opened.format, Format::Raw);
        assert_eq!(all(opened.source.as_ref()), int16(), "{name}");
        assert_eq!(opened.source.metadata().spacing, [1.0, 2.0, 3.0]);
    }
    let floats = pattern(EXTENT, DType::Float32);
    let opened = open(&file(&at, "sim_5x3x4.float", &floats));
    assert_eq!(all(opened.source.as_ref()), floats);
}

/// Opens numbers given as float64, float16, 32 or 64 bits.
fn numbers(
    kind: &str,
    bytes: &[u8],
    cast: Option<DType>,
) -> Result<(DType, Vec<u8>, Vec<String>), String> {
    let at = folder();
    let size = NumberType::parse(kind).unwrap().size();
    let path = file(
        &at,
        &format!("n_{}x1x1_{kind}.raw", bytes.len() / size),
        bytes,
    );
    let options = OpenOptions {
        cast,
        ..OpenOptions::default()
    };
    match open_volume(&path, &options) {
        Ok(opened) => Ok((
            opened.source.dtype(),
            all(opened.source.as_ref()),
            opened.notices,
        )),
        Err(_) => Err(refusal(&path, &options)),
    }
}

fn f64s(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn i32s(values: &[i32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

#[test]
fn other_types_are_read_if_every_value_fits() {
    for (values, want) in [
        ([0, 255], DType::Uint8),
        ([-128, 127], DType::Int8),
        ([0, 65_535], DType::Uint16),
        ([-1, 300], DType::Int16),
        ([-1, 65_535], DType::Float32),
    ] {
        let (dtype, bytes, notices) = numbers("int32", &i32s(&values), None).unwrap();
        assert_eq!(dtype, want);
        assert_eq!(bytes.len(), 2 * dtype.size());
        assert_eq!(
            notices,
            [format!(
                "int32 is read as {want}, which holds every value exactly"
            )]
        );
    }
    let (_, bytes, _) = numbers("int32", &i32s(&[-1, 300]), None).unwrap();
    assert_eq!(bytes, [0xff, 0xff, 0x2c, 0x01]);
    let (dtype, bytes, _) = numbers("float64", &f64s(&[0.5, -3.25, f64::NAN]), None).unwrap();
    assert_eq!(
        (dtype, &bytes[..4]),
        (DType::Float32, &0.5f32.to_le_bytes()[..])
    );
    let wide: Vec<u8> = [7u64, 40_000]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    assert_eq!(numbers("uint64", &wide, None).unwrap().0, DType::Uint16);
    assert_eq!(
        numbers("int32", &i32s(&[0, 16_777_217]), None).unwrap_err(),
        "n_2x1x1_int32.raw: the int32 values 0..16777217 fit none of uint8, int8, uint16, int16, float32 exactly; choose one with --cast T"
    );
    assert_eq!(
        numbers("float64", &f64s(&[0.1]), None).unwrap_err(),
        "n_1x1x1_float64.raw: the float64 values 0.1..0.1 fit none of uint8, int8, uint16, int16, float32 exactly; choose one with --cast T"
    );
}

#[test]
fn a_cast_rounds_and_clamps_and_says_so() {
    let values = f64s(&[-3.0, 0.5, 1.5, 254.6, 1e9]);
    let (dtype, bytes, notices) = numbers("float64", &values, Some(DType::Uint8)).unwrap();
    assert_eq!(
        (dtype, &bytes[..]),
        (DType::Uint8, &[0, 0, 2, 255, 255][..])
    );
    assert_eq!(
        notices,
        [
            "float64 is cast to uint8: 3 voxels are rounded to nearest, values out of range are clamped"
        ]
    );
    let (_, bytes, notices) = numbers(
        "float64",
        &f64s(&[0.1, 1e300, f64::INFINITY]),
        Some(DType::Float32),
    )
    .unwrap();
    let want: Vec<u8> = [0.1f32, f32::MAX, f32::INFINITY]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    assert_eq!(bytes, want);
    assert_eq!(
        notices,
        [
            "float64 is cast to float32: 2 voxels are rounded to nearest, values out of range are clamped"
        ]
    );
    assert_eq!(
        numbers("float32", &f32::NAN.to_le_bytes(), Some(DType::Int16)).unwrap_err(),
        "n_1x1x1_float32.raw: NaN voxels (1 of them) do not fit int16; cast to float32"
    );
    let (dtype, _, notices) = numbers("uint8", &[1, 2], Some(DType::Uint16)).unwrap();
    assert_eq!(
        (dtype, &notices[0][..]),
        (
            DType::Uint16,
            "uint8 is cast to uint16: 0 voxels are rounded to nearest, no value is clamped"
        )
    );
}

#[cfg(unix)]
#[test]
fn pipes_are_spooled() {
    let at = folder();
    let header = nrrd("endian: little\nencoding: raw\n\n");
    let plain = join(&[header.as_bytes(), &int16()]);
    for (name, bytes) in [("pipe", plain.clone()), ("packed", gzip(&plain))] {
        let pipe = at.path().join(name);
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        std::thread::scope(|scope| {
            scope.spawn(|| write(&pipe, bytes).unwrap());
            let opened = open(&pipe);
            assert!(opened.spooled);
            assert_eq!(all(opened.source.as_ref()), int16());
        });
    }
}

#[test]
fn the_scratch_folder_is_used_and_left_empty() {
    let at = folder();
    let path = file(&at, "x_5x3x4_int16.raw.gz", &gzip(&int16()));
    let scratch = folder();
    let options = OpenOptions {
        scratch: Some(scratch.path().to_owned()),
        ..OpenOptions::default()
    };
    let opened = open_volume(&path, &options).unwrap();
    assert!(opened.spooled && opened.notices.is_empty());
    drop(opened);
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
    let options = OpenOptions {
        scratch: Some(at.path().join("missing")),
        ..OpenOptions::default()
    };
    let message = refusal(&path, &options);
    assert!(
        message.starts_with(
            "scratch file in missing (name another folder with --scratch): No such file"
        ),
        "{message}"
    );
}

#[test]
fn bytes_behind_the_voxels_are_mentioned() {
    let at = folder();
    let header = nrrd("endian: little\nencoding: raw\n\n");
    let path = file(
        &at,
        "a.nrrd",
        &join(&[header.as_bytes(), &int16(), b"more"]),
    );
    let notice = format!("{}: 4 bytes behind the voxels are ignored", path.display());
    assert_eq!(open(&path).notices, [notice]);
}
