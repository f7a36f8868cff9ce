//! Arbitrary and damaged bytes: no panic, no memory beyond a small bound.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{pattern, rich, write};
use hgv::volume::DType;
use hgv_volume_files::{OpenOptions, open_volume};
use peak_alloc::PeakAlloc;
use proptest::prelude::*;
use std::path::Path;
use std::sync::{Mutex, OnceLock};
use tiff::encoder::compression::DeflateLevel;
use tiff::encoder::{Compression, TiffEncoder, colortype::GrayI16};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// More than the buffers of a reader, far less than what headers can claim.
const BOUND_MB: f32 = 48.0;
const NAMES: [&str; 8] = [
    "v.nrrd",
    "v.nii",
    "v.mrc",
    "v.tif",
    "v.npy",
    "v.nii.gz",
    "lzw.tif",
    "deflate.tif",
];

fn goods() -> &'static [Vec<u8>] {
    static GOODS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    GOODS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let voxels = pattern([5, 3, 4], DType::Int16);
        let read = |name: &&str| {
            let path = folder.path().join(name);
            write(&path, [5, 3, 4], DType::Int16, &rich(), &voxels);
            std::fs::read(&path).unwrap()
        };
        let mut goods: Vec<Vec<u8>> = NAMES[..6].iter().map(read).collect();
        goods.push(packed(Compression::Lzw, &voxels));
        goods.push(packed(Compression::Deflate(DeflateLevel::Fast), &voxels));
        goods
    })
}

/// A TIFF of packed int16 pages, as another encoder makes it.
fn packed(compression: Compression, voxels: &[u8]) -> Vec<u8> {
    let mut out = std::io::Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut out)
        .unwrap()
        .with_compression(compression);
    for page in voxels.chunks(30) {
        let (pairs, _) = page.as_chunks::<2>();
        let values: Vec<i16> = pairs.iter().map(|v| i16::from_le_bytes(*v)).collect();
        encoder.write_image::<GrayI16>(5, 3, &values).unwrap();
    }
    out.into_inner()
}

/// Opens a file of `bytes`; a source that opens is read in whole if it is small.
fn survive(name: &str, bytes: &[u8]) {
    // One at a time: the peak is that of the process.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let before = MEMORY.current_usage_as_mb();
    MEMORY.reset_peak_usage();
    attempt(&path, bytes.len());
    let grown = MEMORY.peak_usage_as_mb() - before;
    assert!(grown < BOUND_MB, "{name} took {grown} MB");
}

fn attempt(path: &Path, length: usize) {
    match open_volume(path, &OpenOptions::default()) {
        Ok(opened) => {
            let source = opened.source;
            assert!(
                source
                    .metadata()
                    .spacing
                    .iter()
                    .all(|s| *s > 0.0 && s.is_finite())
            );
            assert!(source.metadata().origin.iter().all(|s| s.is_finite()));
            let voxels = source.extent().iter().product::<u64>();
            // Whatever opens has its voxels in the file.
            assert!(voxels <= 1100 * length as u64 + 1100);
            common::all(source.as_ref());
        }
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
    }
}

fn heads() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(vec![
        b"".to_vec(),
        b"NRRD0004\n".to_vec(),
        b"NRRD0004\ntype: short\ndimension: 3\nsizes: ".to_vec(),
        b"NRRD0004\ntype: float\ndimension: 4\nsizes: 2 2 2 1\nencoding: raw\nspace directions: "
            .to_vec(),
        b"NRRD0004\ntype: float\ndimension: 3\nsizes: 2 2 2\nencoding: gzip\ndata file: ".to_vec(),
        b"\x93NUMPY\x01\x00".to_vec(),
        b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (".to_vec(),
        b"II*\0\x08\0\0\0".to_vec(),
        b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0".to_vec(),
        b"MM\0*\0\0\0\x08".to_vec(),
        348i32.to_le_bytes().to_vec(),
        540i32.to_be_bytes().to_vec(),
        b"\x1f\x8b\x08\0".to_vec(),
        b"\x28\xb5\x2f\xfd".to_vec(),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1024) })]

    #[test]
    fn arbitrary_bytes(
        head in heads(),
        tail in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..1500),
            "[0-9 ().,:\\-\\n\"a-z]{0,300}".prop_map(String::into_bytes),
        ],
    ) {
        survive("anything", &[head, tail].concat());
    }

    #[test]
    fn damaged_files(
        which in 0..NAMES.len(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<[u8; 4]>(), 1..=4usize), 1..6),
        keep in prop_oneof![9 => Just(1.0), 1 => 0.0..1.0],
    ) {
        let mut bytes = goods()[which].clone();
        bytes.truncate((bytes.len() as f64 * keep) as usize);
        for (at, with, count) in damage {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            let end = (at + count).min(bytes.len());
            bytes[at..end].copy_from_slice(&with[..end - at]);
        }
        survive(NAMES[which], &bytes);
    }

    #[test]
    fn damaged_headers_with_extreme_numbers(
        which in 0..NAMES.len(),
        at in 0..1100usize,
        number in prop::sample::select(vec![0i64, 1, -1, i64::from(i16::MAX), i64::from(i32::MAX), i64::MAX, i64::MIN, 1 << 40]),
        width in prop::sample::select(vec![2usize, 4, 8]),
    ) {
        let mut bytes = goods()[which].clone();
        let at = at % bytes.len();
        let end = (at + width).min(bytes.len());
        bytes[at..end].copy_from_slice(&number.to_le_bytes()[..end - at]);
        survive(NAMES[which], &bytes);
    }
}
