//! Files that are not what they claim: one clear line each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{pattern, refusal, write};
use hgv::volume::{DType, Metadata, Region};
use hgv_volume_files::{NumberType, OpenOptions, VolumeWriter};
use std::io::Write;

/// A file of `bytes` under `name` must be refused with `message`.
fn refuse(name: &str, bytes: &[u8], message: &str) {
    refuse_with(name, bytes, &OpenOptions::default(), message);
}

fn refuse_with(name: &str, bytes: &[u8], options: &OpenOptions, message: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(refusal(&path, options), format!("{name}: {message}"));
}

/// A good file with bytes replaced.
fn patched(name: &str, at: usize, bytes: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    let voxels = pattern([5, 3, 4], DType::Int16);
    write(
        &path,
        [5, 3, 4],
        DType::Int16,
        &Metadata::default(),
        &voxels,
    );
    let mut file = std::fs::read(&path).unwrap();
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

fn good(name: &str) -> Vec<u8> {
    patched(name, 0, &[])
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn nrrd(fields: &str) -> Vec<u8> {
    format!("NRRD0004\n{fields}\n\n").into_bytes()
}

#[test]
fn any_format() {
    let folder = tempfile::tempdir().unwrap();
    let missing = refusal(&folder.path().join("missing.nrrd"), &OpenOptions::default());
    assert_eq!(
        missing,
        "missing.nrrd: No such file or directory (os error 2)"
    );
    refuse(
        "empty.nrrd",
        b"",
        "the file is empty; copy or download it again",
    );
    refuse(
        "foreign.txt",
        b"hello",
        "this is no NRRD, NIfTI, MRC, TIFF or NPY file; for raw voxels give --shape X,Y,Z --dtype T",
    );
    refuse(
        "a.nrrd.bz2",
        b"BZh",
        ".bz2 is not read; unpack the file or pack it as .gz or .zst",
    );
    refuse(
        "a.nrrd.gz",
        b"NRRD0004",
        "the file is not gzip data, as its name says; rename it or download it again",
    );
    let whole = gzip(&good("v.nrrd"));
    refuse(
        "cut.nrrd.gz",
        &whole[..whole.len() / 2],
        "the file ends in the middle of its data; copy or download it again",
    );
    let mut flipped = whole;
    let last = flipped.len() - 5;
    flipped[last] ^= 1;
    refuse(
        "crc.nrrd.gz",
        &flipped,
        "the compressed data is broken (corrupt gzip stream does not have a matching checksum); copy or download it again",
    );
    let options = OpenOptions {
        shape: Some([1, 1, 1]),
        ..OpenOptions::default()
    };
    refuse_with(
        "v.nrrd",
        &good("v.nrrd"),
        &options,
        "--shape is for raw voxels, and this is a NRRD file; leave it out",
    );
    let region = Region::new([0; 3], [6, 1, 1]).unwrap();
    let options = OpenOptions {
        region: Some(region),
        ..OpenOptions::default()
    };
    refuse_with(
        "v.nrrd",
        &good("v.nrrd"),
        &options,
        "the region reaches outside of the volume of 5 x 3 x 4",
    );
    let options = OpenOptions {
        spacing: Some([0.0, 1.0, 1.0]),
        ..OpenOptions::default()
    };
    refuse_with(
        "v.nrrd",
        &good("v.nrrd"),
        &options,
        "--spacing takes three positive numbers",
    );
}

#[test]
fn raw() {
    let shape = "raw voxels need a shape; name the file name_XxYxZ_dtype.raw or give --shape X,Y,Z --dtype T";
    refuse("a.raw", b"123", shape);
    refuse(
        "a_1x3x1.raw",
        b"123",
        "raw voxels need a type; name the file name_XxYxZ_dtype.raw or give --shape X,Y,Z --dtype T",
    );
    refuse(
        "a_1x3x2_uint8.raw",
        b"123",
        "1 x 3 x 2 uint8 needs 6 bytes from byte 0 on, 3 are there; check --shape, --dtype and --skip",
    );
    refuse(
        "a_1x2x1_uint8.raw",
        b"123",
        "1 x 2 x 1 uint8 leaves 1 bytes over behind the voxels; check --shape, --dtype and --skip",
    );
    refuse(
        "a_1x2x1_uint8.raw.gz",
        &gzip(b"123"),
        "1 x 2 x 1 uint8 leaves bytes over behind the voxels; check --shape, --dtype and --skip",
    );
    refuse(
        "a_1x3x2_uint8.raw.gz",
        &gzip(b"123"),
        "the voxels end early: 6 bytes are needed; copy or download the file again",
    );
    refuse("a_1x0x1_uint8.raw", b"123", "axis y has no voxels");
    refuse(
        "a_4294967296x4294967296x2_uint8.raw",
        b"1",
        "4294967296 x 4294967296 x 2 voxels are more than any file holds; the header is wrong",
    );
    let options = OpenOptions {
        skip: Some(9),
        shape: Some([1, 1, 1]),
        dtype: Some(NumberType::U8),
        ..OpenOptions::default()
    };
    refuse_with(
        "a.raw",
        b"123",
        &options,
        "the voxels should start at byte 9, the file ends at 3",
    );
}

#[test]
fn nrrd_headers() {
    let fields = "type: uchar\ndimension: 3\nsizes: 2 2 2\nencoding: raw";
    let with = |from: &str, to: &str| nrrd(&fields.replace(from, to));
    refuse(
        "a.nrrd",
        b"hello",
        "this is not a NRRD file: it does not start with NRRD000",
    );
    refuse(
        "a.nrrd",
        &with("type: uchar\n", ""),
        "the NRRD header has no field \"type\"",
    );
    refuse(
        "a.nrrd",
        &with("uchar", "block"),
        "NRRD type \"block\" is not a voxel type",
    );
    refuse(
        "a.nrrd",
        &with("sizes: 2 2 2", "sizes: 2 2"),
        "dimension is 3, but 2 sizes are given",
    );
    refuse(
        "a.nrrd",
        &with("sizes: 2 2 2", "sizes: 2 -2 2"),
        "the field \"sizes\" holds no list of numbers",
    );
    refuse(
        "a.nrrd",
        &with("sizes: 2 2 2", "sizes: 2 0 2"),
        "axis y has no voxels",
    );
    refuse(
        "a.nrrd",
        &with("dimension: 3\nsizes: 2", "dimension: 4\nsizes: 3 2"),
        "the array has 4 axes (3 x 2 x 2 x 2); extract one scalar volume of three",
    );
    refuse(
        "a.nrrd",
        &with("raw", "raw\nkinds: RGB-color domain domain"),
        "an axis of 2 holds \"rgb-color\", not voxels; extract one scalar volume",
    );
    for encoding in ["ascii", "bzip2", "hex"] {
        refuse(
            "a.nrrd",
            &with("raw", encoding),
            &format!("NRRD encoding \"{encoding}\" is not read; save it as raw or gzip"),
        );
    }
    refuse(
        "a.nrrd",
        &with("raw", "raw\nendian: middle"),
        "endian \"middle\" is neither little nor big",
    );
    refuse(
        "a.nrrd",
        &with("raw", "raw\nthis is nonsense"),
        "\"this is nonsense\" is not a line of a NRRD header",
    );
    refuse(
        "a.nrrd",
        &nrrd(fields),
        "2 x 2 x 2 uint8 needs 8 bytes from byte 62 on, 0 are there; copy or download it again",
    );
    refuse(
        "a.nhdr",
        &with("raw", "raw\ndata file: LIST"),
        "\"data file: LIST\" is followed by no file names",
    );
    refuse(
        "a.nhdr",
        &with("raw", "raw\ndata file: s%d.raw 1 3 1"),
        "2 x 2 x 2 uint8 cannot be shared by 3 files",
    );
    refuse(
        "a.nhdr",
        &with("raw", "raw\ndata file: s%d.raw 9 3 1"),
        "the data file pattern \"s%d.raw 9 3 1\" names no files",
    );
    refuse(
        "a.nrrd",
        &with("raw", "gzip\nbyte skip: -1"),
        "a negative byte skip needs encoding raw",
    );
}

#[test]
fn detached_files_that_are_missing_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let header = folder.path().join("a.nhdr");
    std::fs::write(
        &header,
        nrrd("type: uchar\ndimension: 3\nsizes: 2 2 2\nencoding: raw\ndata file: b.raw"),
    )
    .unwrap();
    assert_eq!(
        refusal(&header, &OpenOptions::default()),
        "b.raw: No such file or directory (os error 2)"
    );
    let mut bytes = good("v.nii");
    bytes.truncate(348);
    bytes[344..348].copy_from_slice(b"ni1\0");
    let header = folder.path().join("c.hdr");
    std::fs::write(&header, bytes).unwrap();
    assert_eq!(
        refusal(&header, &OpenOptions::default()),
        "c.hdr: the voxels should be in c.img, which is missing; put it beside the header"
    );
}

#[test]
fn nifti_headers() {
    refuse(
        "a.nii",
        b"hello, this is not NIfTI",
        "this is not a NIfTI file: its header size is neither 348 nor 540",
    );
    refuse(
        "a.nii",
        &good("v.nii")[..200],
        "the NIfTI header is cut off; copy or download the file again",
    );
    refuse(
        "a.nii",
        &patched("v.nii", 344, b"\0\0\0\0"),
        "this is not a NIfTI file: the magic n+1, ni1, n+2 or ni2 is missing (ANALYZE 7.5 headers are not read)",
    );
    refuse(
        "a.nii",
        &patched("v.nii", 40, &9i16.to_le_bytes()),
        "the NIfTI header states 9 axes; 1 to 7 are allowed",
    );
    refuse(
        "a.nii",
        &patched("v.nii", 44, &(-3i16).to_le_bytes()),
        "the NIfTI header states an axis without voxels",
    );
    refuse(
        "a.nii",
        &patched("v.nii", 70, &128i16.to_le_bytes()),
        "NIfTI data type 128 (colours) is not read; extract one real volume",
    );
    refuse(
        "a.nii",
        &patched("v.nii", 108, &100f32.to_le_bytes()),
        "the NIfTI header puts the voxels at byte 100; 352 is the first possible",
    );
    refuse(
        "a.nii",
        &patched("v.nii", 108, &1e9f32.to_le_bytes()),
        "the voxels should start at byte 1000000000, the file ends at 472",
    );
    refuse(
        "a.nii",
        &patched("v.nii", 42, &500i16.to_le_bytes()),
        "500 x 3 x 4 int16 needs 12000 bytes from byte 352 on, 120 are there; copy or download it again",
    );
    let packed = gzip(&patched("v.nii", 42, &[0xff, 0x7f, 0xff, 0x7f]));
    refuse(
        "a.nii.gz",
        &packed,
        "32767 x 32767 x 4 int16 needs 8589410312 bytes from byte 352 on, the file is too small for them; copy or download it again",
    );
}

#[test]
fn mrc_headers() {
    refuse(
        "a.mrc",
        &[1; 2000],
        "this is not an MRC file: \"MAP \" is missing at byte 208",
    );
    refuse(
        "a.mrc",
        &good("v.mrc")[..500],
        "the MRC header is cut off; copy or download the file again",
    );
    refuse(
        "a.mrc",
        &patched("v.mrc", 12, &4i32.to_le_bytes()),
        "MRC mode 4 (complex numbers) is not read; convert to mode 0, 1, 2, 6 or 12",
    );
    refuse(
        "a.mrc",
        &patched("v.mrc", 4, &(-1i32).to_le_bytes()),
        "the MRC header states -1 voxels on axis y",
    );
    refuse(
        "a.mrc",
        &patched("v.mrc", 64, &3i32.to_le_bytes()),
        "axis order MAPC, MAPR, MAPS is 3, 2, 3; rewrite the map with order 1, 2, 3",
    );
    refuse(
        "a.mrc",
        &patched("v.mrc", 92, &(-8i32).to_le_bytes()),
        "the MRC extended header has a negative length",
    );
    refuse(
        "a.mrc",
        &patched("v.mrc", 92, &i32::MAX.to_le_bytes()),
        "the voxels should start at byte 2147484671, the file ends at 1144",
    );
    refuse(
        "a.mrc",
        &patched("v.mrc", 8, &i32::MAX.to_le_bytes()),
        "5 x 3 x 2147483647 int16 needs 64424509410 bytes from byte 1024 on, 120 are there; copy or download it again",
    );
}

fn npy(dictionary: &str) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\0".to_vec();
    bytes.extend((dictionary.len() as u16).to_le_bytes());
    bytes.extend(dictionary.as_bytes());
    bytes
}

#[test]
fn npy_headers() {
    refuse(
        "a.npy",
        b"hello, world",
        "this is not an NPY file: it does not start with NUMPY",
    );
    refuse(
        "a.npy",
        b"\x93NUMPY\x09\0\0\0",
        "NPY version 9 is not read; save with version 1, 2 or 3",
    );
    refuse(
        "a.npy",
        b"\x93NUMPY\x02\0\xff\xff\xff\xff",
        "the NPY header claims 4294967295 bytes; 1048576 are the most",
    );
    refuse(
        "a.npy",
        b"\x93NUMPY\x01\0\xff\xff{}",
        "the NPY header is cut off; copy or download the file again",
    );
    refuse("a.npy", &npy("{}"), "the NPY header has no valid \"descr\"");
    refuse(
        "a.npy",
        &npy("{'descr': '<f4', 'fortran_order': 1, 'shape': (1,)}"),
        "the NPY header has no valid \"fortran_order\"",
    );
    refuse(
        "a.npy",
        &npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,x)}"),
        "the NPY header has no valid \"shape\"",
    );
    refuse(
        "a.npy",
        &npy("{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}"),
        "NPY type \"<c8\" is not a voxel type; save as integers or floats",
    );
    refuse(
        "a.npy",
        &npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}"),
        "the NPY array has named fields; save one field as its own array",
    );
    refuse(
        "a.npy",
        &npy("{'descr': '<f4', 'fortran_order': False, 'shape': ()}"),
        "the array has no axes; a volume needs x, y, z",
    );
    refuse(
        "a.npy",
        &npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 4, 5)}"),
        "the array has 4 axes (5 x 4 x 3 x 2); extract one scalar volume of three",
    );
    refuse(
        "a.npy",
        &npy("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 3, 4)}"),
        "axis z has no voxels",
    );
}

#[test]
fn tiff_files() {
    refuse(
        "a.tif",
        b"II*\0\xff\xff\xff\x7f",
        "the TIFF is cut off; copy or download it again",
    );
    refuse(
        "a.tif",
        b"hello, world",
        "this is not a TIFF file: it does not start with II or MM",
    );
    refuse(
        "a.tif.gz",
        &gzip(&good("v.tif")),
        "TIFF is read in place; unpack the file or write the pipe to a file first",
    );
    let whole = good("v.tif");
    let at = |tag: u16| {
        let entry = [tag.to_le_bytes(), 4u16.to_le_bytes()].concat();
        whole.windows(4).position(|w| w == entry).unwrap() + 8
    };
    let offset = at(273);
    let mut moved = whole.clone();
    moved[offset..offset + 4].copy_from_slice(&5000u32.to_le_bytes());
    let length = whole.len();
    refuse(
        "a.tif",
        &moved,
        &format!(
            "a page of 5 x 3 little-endian int16 at byte 5000 reaches beyond the end of the file ({length} bytes); copy or download it again"
        ),
    );
    let mut uneven = whole.clone();
    let width = at(256);
    uneven[width..width + 4].copy_from_slice(&4u32.to_le_bytes());
    refuse(
        "a.tif",
        &uneven,
        "page 2 is 5 x 3 little-endian int16, the first 4 x 3 little-endian int16; the pages of a volume are equal",
    );
    let channels = String::from_utf8_lossy(&whole).into_owned();
    assert!(channels.contains("slices=4\n"));
    let place = whole.windows(9).position(|w| w == b"slices=4\n").unwrap();
    let mut frames = whole.clone();
    frames[place..place + 9].copy_from_slice(b"frames=4\n");
    refuse(
        "a.tif",
        &frames,
        "the TIFF holds 4 frames; export one as a stack of its own",
    );
}

#[test]
fn output_names() {
    let create = |name: &str, extent| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let error = VolumeWriter::create(&path, extent, DType::Uint8, &Metadata::default(), true)
            .unwrap_err();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        error
            .to_string()
            .replace(&format!("{}/", folder.path().display()), "")
    };
    for name in ["a.txt", "a.nrrd.gz", "a.hdr", "a"] {
        assert_eq!(
            create(name, [1, 1, 1]),
            format!("{name}: the name must end in .nrrd, .nii, .nii.gz, .mrc, .tif, .npy or .raw")
        );
    }
    assert_eq!(create("a.nrrd", [1, 0, 1]), "a.nrrd: axis y has no voxels");
    assert_eq!(
        create("a.mrc", [1 << 31, 1, 1]),
        "a.mrc: an axis of 2147483648 voxels is too long for MRC"
    );
}
