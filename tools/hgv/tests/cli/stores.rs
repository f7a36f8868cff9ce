//! Commands on objects of an S3 server give what they give on the file itself.

use crate::remote::{folder, same_from};
use crate::s3::Store;

#[test]
fn every_reading_command_takes_an_object() {
    let mut work = folder();
    let store = Store::start(&[("bucket/scans/v.hgv", &work.read("site/v.hgv"))]);
    work.set_environment(&store.settings());
    work.json("info s3://bucket/scans/v.hgv");
    assert_eq!(store.requests(), 1);
    same_from(&work, "s3://bucket/scans/v.hgv");
}

#[test]
fn what_is_missing_is_said() {
    let mut work = folder();
    let store = Store::start(&[("bucket/v.hgv", b"no volume")]);
    work.set_environment(&store.settings());
    let line = work.refused("info s3://bucket/v.hgv");
    assert!(line.contains("s3://bucket/v.hgv"), "{line}");
    store.put("bucket/v.hgv", &work.read("site/v.hgv"));
    work.json("info s3://bucket/v.hgv");
    let line = work.refused("decode s3://bucket/none.hgv -o o.raw");
    assert!(line.contains("404") && line.contains("NoSuchKey"), "{line}");
    work.set_environment(&[&store.settings()[..], &[("AWS_SECRET_ACCESS_KEY", "wrong")]].concat());
    let line = work.refused("info s3://bucket/v.hgv");
    assert!(
        line.contains("403") && line.contains("AWS_SECRET_ACCESS_KEY"),
        "{line}"
    );
    for words in [
        "recover s3://bucket/v.hgv -o o.hgv",
        "merge s3://bucket/v.hgv -o o.hgv",
    ] {
        assert!(work.refused(words).contains("download it first"), "{words}");
    }
}
