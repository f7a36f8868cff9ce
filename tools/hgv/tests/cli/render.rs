//! Pictures of volumes.

use crate::support::{Work, number};

/// Size and pixels (red, green, blue, opacity) of a PNG.
fn picture(work: &Work, name: &str) -> ([u32; 2], Vec<[u8; 4]>) {
    let bytes = work.read(name);
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes))
        .read_info()
        .unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    let pixels = pixels.as_chunks::<4>().0.to_vec();
    ([info.width, info.height], pixels)
}

#[test]
fn files_and_originals_look_the_same() {
    let work = Work::new();
    work.nrrd("v.nrrd", [70, 66, 40], "uint8");
    work.ok("encode v.nrrd -o v.hgv --lossless");
    let json = work.json("render v.hgv -o v.png --size 96x64 --background clear");
    assert_eq!(json["complete"], true);
    assert!(number(&json, "fetched_bytes") > 0.0);
    let (size, shown) = picture(&work, "v.png");
    assert_eq!(size, [96, 64]);
    let seen = shown.iter().filter(|p| p[3] > 100).count();
    assert!(seen > 96 * 64 / 10 && seen < 96 * 64, "{seen}");
    assert_eq!(shown[0][3], 0, "room around the volume");
    let json = work.json("render v.hgv -o c.png --size 96x64 --against v.nrrd");
    assert!(number(&json, "ssim") > 0.999_999, "{json}");
    let (size, three) = picture(&work, "c.png");
    assert_eq!(size, [288, 64]);
    assert!(three.iter().any(|p| p[0] > 100));
    let differences = three.chunks(96).skip(2).step_by(3).flatten();
    assert!(
        differences
            .into_iter()
            .all(|p| p[..3].iter().all(|&c| c <= 10))
    );
}

#[test]
fn little_memory_leaves_no_holes() {
    let work = Work::new();
    work.nrrd("v.nrrd", [150, 140, 130], "uint8");
    work.ok("encode v.nrrd -o v.hgv --preset fast --block 32");
    let draw = |memory: &str, name: &str| {
        let words = "--size 320x240 --background clear --mode mean";
        let json = work.json(&format!("render v.hgv -o {name} --memory {memory} {words}"));
        assert_eq!(json["complete"], true, "{json}");
        (number(&json, "fetched_bytes"), picture(&work, name).1)
    };
    let (all, whole) = draw("1GiB", "whole.png");
    let (few, coarse) = draw("1MiB", "coarse.png");
    assert!(few < 0.7 * all, "{few} of {all} bytes");
    assert_ne!(whole, coarse);
    let holes = whole
        .iter()
        .zip(&coarse)
        .filter(|(w, c)| w[3] > 0 && c[3] == 0);
    assert_eq!(holes.count(), 0);
}

#[test]
fn ways_to_look() {
    let work = Work::new();
    let volume = work.raw("v", [40, 50, 30], "float32");
    work.ok(&format!("encode {volume} -o v.hgv --psnr 40"));
    let json = work.json("render v.hgv -o t.png --size 32x32 --turntable 3 --orbit 0,10,1.2");
    assert_eq!(json["outputs"].as_array().unwrap().len(), 3);
    assert_ne!(work.read("t-000.png"), work.read("t-001.png"));
    std::fs::write(work.path("f.json"), json["transfer"].to_string()).unwrap();
    let mut pictures = Vec::new();
    for words in [
        "",
        "--transfer f.json --orbit 90,0",
        "--transfer ct-bone",
        "--mode maximum",
        "--mode mean --orthographic",
        "--mode surface:0.5 --background white",
        "--region 0:20,:,5:",
        "--eye 20,-90,15 --look-at 20,25,15",
        "--tone filmic --exposure 2 --step 1",
    ] {
        work.ok(&format!(
            "render v.hgv -o w.png --force --size 32x32 {words}"
        ));
        let (_, pixels) = picture(&work, "w.png");
        let first = pixels[0];
        assert!(
            pixels.iter().any(|p| p != &first),
            "nothing is seen with {words}"
        );
        assert!(!pictures.contains(&pixels), "{words} changes nothing");
        pictures.push(pixels);
    }
}

#[test]
fn coarse_pictures_need_fewer_bytes() {
    let work = Work::new();
    let volume = work.raw("v", [70, 66, 40], "uint8");
    work.ok(&format!("encode {volume} -o v.hgv --levels 2"));
    let mut fetched = Vec::new();
    for words in ["--lod 2", "--lod 1", "--level 0", ""] {
        let json = work.json(&format!(
            "render v.hgv -o v.png --force --size 640x480 {words}"
        ));
        assert_eq!(json["complete"], true, "{words}");
        fetched.push(number(&json, "fetched_bytes"));
    }
    assert!(fetched.is_sorted_by(|a, b| a < b), "{fetched:?}");
    for (words, part) in [("--lod 9", "0 to"), ("--level 2", "0 to 1")] {
        let error = work.refused(&format!("render v.hgv -o w.png {words}"));
        assert!(error.contains(part), "{words}: {error}");
    }
}

#[test]
fn bad_words_are_refused() {
    let work = Work::new();
    let volume = work.raw("v", [20, 20, 20], "uint8");
    let other = work.raw("w", [20, 20, 21], "uint8");
    work.write("bad-scene.json", r#"{"lights": [{"kind": "lamp"}]}"#);
    work.write("bad-film.json", r#"{"frames": 2, "keys": [{"time": 0}]}"#);
    work.write("bad.json", r#"{"opacity": [], "colour": []}"#);
    for (words, part) in [
        ("-o v.jpg", ".png"),
        ("-o v.png --size 0x5", "WIDTHxHEIGHT"),
        ("-o v.png --samples 5", "--path-trace"),
        ("-o v.png --ambient-occlusion 2", "0 to 1"),
        ("-o v.png --path-trace --mode mean", "medium"),
        ("-o v.png --scene bad-scene.json", "lamp"),
        ("-o v.png --keyframes bad-film.json", "orbit or an eye"),
        (&format!("-o v.exr --against {other}"), ".png only"),
        ("-o v.png --transfer nothing", "ct-bone"),
        ("-o v.png --transfer bad.json", "0 points"),
        ("-o v.png --transfer none.json", "none.json"),
        ("-o v.png --mode surface", "surface:VALUE"),
        ("-o v.png --region 0:50,:,:", "x axis"),
        ("-o none/v.png", "none"),
        (&format!("-o v.png --against {other}"), "equal extents"),
    ] {
        let error = work.refused(&format!("render {volume} {words}"));
        assert!(error.contains(part), "{words}: {error}");
    }
}

#[test]
fn light_scenes_and_films() {
    let work = Work::new();
    let volume = work.raw("v", [40, 50, 30], "float32");
    work.ok(&format!("encode {volume} -o v.hgv --psnr 40"));
    work.write(
        "scene.json",
        r#"{"lights": [{"kind": "point", "position": [20, -40, 60], "range": 60}], "shadows": true,
            "material": {"roughness": 0.4}, "background": {"colour": [0, 0, 1]},
            "environment": {"kind": "gradient", "top": [1, 1, 1], "bottom": [0, 0, 0]}}"#,
    );
    let mut pictures = Vec::new();
    for words in [
        "",
        "--shadows",
        "--ambient-occlusion",
        "--ambient-occlusion 0.5",
        "--scene scene.json",
        "--path-trace --samples 2",
        "--path-trace --samples 2 --seed 1",
        "--path-trace --samples 2 --scene scene.json",
    ] {
        work.ok(&format!(
            "render v.hgv -o w.png --force --size 32x32 {words}"
        ));
        let (_, pixels) = picture(&work, "w.png");
        assert!(!pictures.contains(&pixels), "{words} changes nothing");
        pictures.push(pixels);
    }
    // The same picture, whatever is written meanwhile.
    work.ok("render v.hgv -o w.png --force --size 32x32 --progressive");
    assert_eq!(picture(&work, "w.png").1, pictures[0]);
    let limited =
        "render v.hgv -o b.png --size 32x32 --path-trace --samples 100000 --time-budget 0.3";
    let json = work.json(limited);
    assert!(number(&json, "samples") < 100_000.0 && number(&json, "samples") > 0.0);
    work.write(
        "film.json",
        r#"{"frames": 3, "keys": [{"time": 0, "orbit": [30, 20, 1]}, {"time": 1, "orbit": [90, 0, 1]}]}"#,
    );
    work.ok("render v.hgv -o f.png --size 32x32 --keyframes film.json");
    assert_eq!(
        picture(&work, "f-000.png").1,
        pictures[0],
        "the default orbit"
    );
    assert_ne!(work.read("f-001.png"), work.read("f-002.png"));
}

#[test]
fn light_as_it_is() {
    let work = Work::new();
    let volume = work.raw("v", [40, 50, 30], "uint8");
    work.ok(&format!(
        "render {volume} -o v.exr --size 32x24 --background clear"
    ));
    work.ok(&format!(
        "render {volume} -o v.png --size 32x24 --background clear"
    ));
    let read = exr::prelude::read_first_rgba_layer_from_file(
        work.path("v.exr"),
        |size, _| vec![[0.0f32; 4]; size.area()],
        |pixels, at, (r, g, b, a): (f32, f32, f32, f32)| {
            pixels[at.y() * 32 + at.x()] = [r, g, b, a];
        },
    );
    let light = read.unwrap().layer_data.channel_data.pixels;
    let (_, shown) = picture(&work, "v.png");
    assert!(shown.iter().any(|p| p[3] > 100 && p[0] > 50));
    for (light, shown) in light.iter().zip(&shown) {
        let opacity = (light[3] * 255.0).round();
        assert!((opacity - f32::from(shown[3])).abs() <= 1.0);
        if shown[3] > 100 && shown[0] < 250 {
            let x = light[0] / light[3];
            let stored = 255.0 * (1.055 * x.powf(1.0 / 2.4) - 0.055);
            assert!(
                (stored - f32::from(shown[0])).abs() < 3.0,
                "{light:?} {shown:?}"
            );
        }
    }
}
