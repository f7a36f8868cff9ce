//! TIFF files of another encoder, and folders of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{all, open, part, pattern, refusal};
use hgv::volume::{DType, Region};
use hgv_volume_files::{OpenOptions, open_volume};
use std::fs::create_dir;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tiff::encoder::compression::DeflateLevel;
use tiff::encoder::{Compression, TiffEncoder, colortype::GrayI16};

const EXTENT: [u64; 3] = [5, 3, 4];

fn file(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn expect_int16(path: &Path, spooled: bool) {
    let opened = open(path);
    assert_eq!(opened.source.extent(), EXTENT);
    assert_eq!(opened.source.dtype(), DType::Int16);
    assert_eq!(opened.spooled, spooled);
    assert_eq!(all(opened.source.as_ref()), pattern(EXTENT, DType::Int16));
}

/// A TIFF of int16 pages made by another encoder.
fn tiff_pages(compression: Compression, voxels: &[u8], count: usize) -> Vec<u8> {
    let mut out = std::io::Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut out)
        .unwrap()
        .with_compression(compression);
    let values: Vec<i16> = voxels
        .chunks(2)
        .map(|v| i16::from_le_bytes([v[0], v[1]]))
        .collect();
    for page in values.chunks(15).take(count) {
        let mut image = encoder.new_image::<GrayI16>(5, 3).unwrap();
        image.rows_per_strip(2).unwrap();
        image.write_data(page).unwrap();
    }
    out.into_inner()
}

#[test]
fn tiff_pages_and_folders() {
    let at = tempfile::tempdir().unwrap();
    let voxels = pattern(EXTENT, DType::Int16);
    for (compression, spooled) in [
        (Compression::Uncompressed, false),
        (Compression::Lzw, true),
        (Compression::Deflate(DeflateLevel::Fast), true),
        (Compression::Packbits, true),
    ] {
        let bytes = tiff_pages(compression, &voxels, 4);
        expect_int16(&file(&at, "stack.tif", &bytes), spooled);
        let slices = tempfile::tempdir().unwrap();
        for (z, plane) in voxels.chunks(30).enumerate() {
            // Numbers decide, not the alphabet.
            file(
                &slices,
                &format!("slice_{}_raw.tif", z + 8),
                &tiff_pages(compression, plane, 1),
            );
        }
        expect_int16(slices.path(), spooled);
        let region = Region::new([1, 0, 2], [4, 3, 3]).unwrap();
        let options = OpenOptions {
            region: Some(region),
            ..OpenOptions::default()
        };
        let cut = open_volume(slices.path(), &options).unwrap().source;
        assert_eq!(
            all(cut.as_ref()),
            part(open(slices.path()).source.as_ref(), &region)
        );
    }
}

#[test]
fn tiff_folders_must_be_one_series() {
    let at = tempfile::tempdir().unwrap();
    let page = tiff_pages(Compression::Uncompressed, &pattern(EXTENT, DType::Int16), 1);
    let refused = |name: &str| refusal(&at.path().join(name), &OpenOptions::default());
    create_dir(at.path().join("empty")).unwrap();
    assert_eq!(
        refused("empty"),
        "empty: the folder holds no numbered .tif files; name a file or a folder of slices"
    );
    create_dir(at.path().join("two")).unwrap();
    file(&at, "two/a1.tif", &page);
    file(&at, "two/b1.tif", &page);
    assert_eq!(
        refused("two"),
        "two: the folder holds several series (a1.tif and b1.tif); keep one in a folder"
    );
    create_dir(at.path().join("gap")).unwrap();
    file(&at, "gap/a1.tif", &page);
    file(&at, "gap/a3.tif", &page);
    let opened = open(&at.path().join("gap"));
    assert_eq!(
        opened.notices,
        ["the numbers of the slices jump from 1 to 3; they are taken as neighbours"]
    );
    file(
        &at,
        "gap/a2.tif",
        &tiff_pages(Compression::Uncompressed, &pattern(EXTENT, DType::Int16), 2),
    );
    assert_eq!(
        refused("gap"),
        "gap/a2.tif: 2 pages, one is expected; open the file by itself"
    );
}
