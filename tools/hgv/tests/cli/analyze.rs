//! `hgv analyze`, and the pages that `--report` writes.

use base64::Engine as _;

use crate::support::{Work, assert_keys, number};

/// Sizes in pixels of the PNG pictures of a page.
fn pictures(page: &str) -> Vec<(u32, u32)> {
    let sources = page.split("data:image/png;base64,").skip(1);
    sources
        .map(|rest| {
            let text = &rest[..rest.find('"').unwrap()];
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(text)
                .unwrap();
            let mut reader = png::Decoder::new(std::io::Cursor::new(bytes))
                .read_info()
                .unwrap();
            let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
            let frame = reader.next_frame(&mut pixels).unwrap();
            (frame.width, frame.height)
        })
        .collect()
}

/// Every element is closed in order, and nothing comes from elsewhere.
fn check_html(page: &str) {
    const EMPTY: [&str; 3] = ["meta", "img", "!DOCTYPE"];
    assert!(page.starts_with("<!DOCTYPE html>"));
    assert!(
        !page.contains("<script") && !page.contains("http") && !page.contains("NaN"),
        "{page}"
    );
    let mut open = Vec::new();
    for tag in page.split('<').skip(1) {
        let (tag, text) = tag.split_once('>').expect("an open tag");
        assert!(!text.contains('>'), "{text}");
        let name = tag.split_whitespace().next().unwrap().trim_end_matches('/');
        match name.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name)),
            None if tag.ends_with('/') || EMPTY.contains(&name) => {}
            None => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn analyze_predicts_what_an_encode_comes_to() {
    let work = Work::new();
    let volume = work.raw("v", [80, 72, 64], "uint8");
    let found = work.json(&format!("analyze {volume} --ssim 0.9,0.95,0.97,0.98"));
    assert_keys(
        &found,
        "extent dtype min max features histogram target predicted curve",
    );
    let complexity = found["features"]["complexity"].as_array().unwrap();
    assert!(
        complexity
            .iter()
            .all(|c| (0.0..=1.0).contains(&c.as_f64().unwrap()))
    );
    let predicted = &found["predicted"];
    assert_keys(
        predicted,
        "quality step ratio exponent ssim psnr bits_per_voxel",
    );
    let text = work.ok(&format!("analyze {volume}")).stdout;
    for word in ["complexity", "noise", "quality", "expected PSNR"] {
        assert!(text.contains(word), "{text}");
    }
    // The curve is about right for a volume that it was not trained on.
    let quality = number(predicted, "quality");
    work.ok(&format!("encode {volume} -o v.hgv --quality {quality}"));
    let compared = work.json(&format!("compare {volume} v.hgv"));
    let off = number(&compared, "psnr") - number(predicted, "psnr");
    assert!(off.abs() < 8.0, "{off} dB");
}

#[test]
fn pages_stand_alone_and_show_every_slice() {
    let work = Work::new();
    let volume = work.raw("v<&>", [70, 40, 66], "int16");
    work.ok(&format!("analyze {volume} --report a.html"));
    let page = String::from_utf8(work.read("a.html")).unwrap();
    check_html(&page);
    assert!(page.contains("v&lt;&amp;&gt;_70x40x66"));
    let slices = [(70, 40), (70, 66), (40, 66)];
    let maps = [(5, 3), (5, 5), (3, 5)];
    assert_eq!(pictures(&page), [slices, maps].concat());

    work.ok(&format!(
        "encode {volume} -o o.hgv --quality 30 --levels 2 --report e.html"
    ));
    let page = String::from_utf8(work.read("e.html")).unwrap();
    check_html(&page);
    let thrice = slices.iter().flat_map(|s| [*s; 3]).collect::<Vec<_>>();
    assert_eq!(pictures(&page), [&slices[..], &maps, &thrice].concat());
    assert_eq!(page.matches("<svg").count(), 3);
    for word in [
        "Decoded less original",
        "quality 30",
        "balanced",
        "prefers-color-scheme: dark",
    ] {
        assert!(page.contains(word), "{word}");
    }
    // A .hgv file can be looked at too.
    work.ok("analyze o.hgv --report h.html");
    check_html(&String::from_utf8(work.read("h.html")).unwrap());
    let left: Vec<_> = work
        .files()
        .into_iter()
        .filter(|f| !f.ends_with(".raw"))
        .collect();
    assert_eq!(left, ["a.html", "e.html", "h.html", "o.hgv"]);
}

#[test]
fn wrong_reports_and_inputs_are_refused_before_any_work() {
    let work = Work::new();
    let volume = work.raw("v", [8, 8, 8], "uint8");
    work.write("there.html", "precious");
    for (words, says) in [
        ("analyze none.nrrd".to_owned(), "none.nrrd"),
        (
            format!("analyze {volume} --report there.html"),
            "there.html exists; use --force",
        ),
        (
            format!("analyze {volume} --report page.txt"),
            "must end in .html",
        ),
        (format!("analyze {volume} --report none/page.html"), "none"),
        (format!("analyze {volume} --ssim 0.9,0.9"), "--ssim"),
        (
            format!("analyze {volume} --ssim 0.9,0.9,0.9,2"),
            "between 0 and 1",
        ),
        (
            format!("encode {volume} -o o.hgv --report there.html"),
            "there.html exists; use --force",
        ),
        (
            format!("encode {volume} -o o.hgv --report o.hgv"),
            "must end in .html",
        ),
        (
            format!("encode {volume} -o o.hgv --shard 0/2 --report p.html"),
            "--shard",
        ),
    ] {
        let line = work.refused(&words);
        assert!(line.contains(says), "hgv {words}: {line}");
    }
    work.ok(&format!("analyze {volume} --report there.html --force"));
    check_html(&String::from_utf8(work.read("there.html")).unwrap());
}
