//! Commands on files behind an address give what they give on the file itself.

use serde_json::Value;

use crate::serve::Serving;
use crate::support::Work;

pub(crate) fn folder() -> Work {
    let work = Work::new();
    let raw = work.raw("v", [120, 90, 50], "uint16");
    std::fs::create_dir(work.path("site")).unwrap();
    work.ok(&format!(
        "encode {raw} -o site/v.hgv --quality 80 --preset fast --block 32"
    ));
    work
}

/// An object without what must differ.
fn without(mut value: Value, keys: &[&str]) -> Value {
    for key in keys {
        value.as_object_mut().unwrap().remove(*key);
    }
    value
}

/// Every reading command gives the same for an address of `site/v.hgv` as for the file.
pub(crate) fn same_from(work: &Work, url: &str) {
    let same = |words: &str, keys: &[&str]| {
        let local = work.json(&words.replace("IN", "site/v.hgv"));
        let remote = work.json(&words.replace("IN", url));
        assert_eq!(without(local, keys), without(remote, keys), "{words}");
    };
    same("info IN --blocks", &["path"]);
    same("verify IN", &["path"]);
    same("verify IN --against v_120x90x50_uint16.raw", &["path"]);
    same("compare v_120x90x50_uint16.raw IN", &["b"]);
    same("compare IN v_120x90x50_uint16.raw --level 0", &["a"]);
    for options in ["", "--lod 1 --level 0", "--region 3:70,20:50,:"] {
        work.ok(&format!("decode site/v.hgv -o a.raw {options} --force"));
        work.ok(&format!("decode {url} -o b.raw {options} --force"));
        let find = |start: &str| {
            let files = work.files();
            let name = files
                .iter()
                .find(|f| f.starts_with(start) && f.ends_with(".raw"));
            work.read(name.unwrap())
        };
        assert!(find("a") == find("b"), "{options}");
    }
}

#[test]
fn every_reading_command_takes_an_address() {
    let work = folder();
    let server = Serving::start(&work, "site");
    same_from(&work, &server.url("v.hgv"));
}

#[test]
fn errors_name_the_address_and_what_to_do() {
    let work = folder();
    work.write("site/broken.hgv", "no volume");
    let server = Serving::start(&work, "site");
    let line = work.refused(&format!("info {}", server.url("none.hgv")));
    assert!(line.contains("404") && line.contains("none.hgv"), "{line}");
    let line = work.refused(&format!("info {}", server.url("broken.hgv")));
    assert!(line.contains("broken.hgv"), "{line}");
    let url = server.url("v.hgv");
    for words in [
        format!("recover {url} -o o.hgv"),
        format!("merge {url} -o o.hgv"),
    ] {
        assert!(
            work.refused(&words).contains("download it first"),
            "{words}"
        );
    }
    drop(server);
    let line = work.refused(&format!("decode {url} -o o.raw"));
    assert!(
        line.contains("attempts") && line.contains("check the address"),
        "{line}"
    );
}
