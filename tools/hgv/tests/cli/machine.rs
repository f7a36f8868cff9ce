//! The choice of a machine. Without a GPU, and on machines with one it is hidden.

use crate::support::{Run, Work, assert_keys};

const EXTENT: [u64; 3] = [20, 18, 16];

/// A run with no GPU to see and no backend in the environment.
fn without_gpu(work: &Work, words: &str) -> Run {
    let mut command = work.command(words);
    command
        .env("CUDA_VISIBLE_DEVICES", "")
        .env_remove("HGV_BACKEND");
    Run::from(command.output().unwrap())
}

#[test]
fn cuda_without_a_gpu_is_one_error_line() {
    let work = Work::new();
    let volume = work.raw("v", EXTENT, "uint8");
    work.ok(&format!("encode {volume} -o v.hgv"));
    let files = work.files();
    for words in [
        &format!("encode {volume} -o o.hgv --backend cuda"),
        "decode v.hgv -o o.npy --backend cuda",
        "decode v.hgv -o o.npy --backend cuda --quiet --json",
        "render v.hgv -o o.png --size 8x8 --backend cuda",
    ] {
        let run = without_gpu(&work, words);
        assert_eq!(run.status, Some(2), "{words}: {run:?}");
        assert_eq!(run.stdout, "", "{words}");
        assert_eq!(run.stderr.lines().count(), 1, "{words}: {}", run.stderr);
        let line = run.stderr.as_str();
        assert!(
            line.starts_with("hgv: error: CUDA: there is no device to use: "),
            "{line}"
        );
        assert!(line.contains("--backend cpu"), "{line}");
        assert_eq!(work.files(), files, "{words}");
    }
}

#[test]
fn paths_of_light_are_not_for_gpus() {
    let work = Work::new();
    let volume = work.raw("v", EXTENT, "uint8");
    let words = format!("render {volume} -o o.png --size 8x8 --path-trace --samples 1");
    let run = without_gpu(&work, &format!("{words} --backend cuda"));
    assert_eq!(run.status, Some(2), "{run:?}");
    let line = "hgv: error: GPUs do not draw paths of light; use --backend auto or --backend cpu\n";
    assert_eq!(run.stderr, line);
    let run = without_gpu(&work, &format!("{words} --json"));
    assert_eq!((run.status, run.stderr.as_str()), (Some(0), ""));
    let backend = run.json()["backend"].as_str().unwrap().to_owned();
    assert!(backend.starts_with("cpu ("), "{backend}");
}

#[test]
fn auto_falls_back_to_the_cpu_with_one_line() {
    let work = Work::new();
    let volume = work.raw("v", EXTENT, "uint8");
    for (words, lines) in [
        (format!("encode {volume} -o a.hgv"), 1),
        (format!("encode {volume} -o b.hgv --backend auto"), 1),
        (format!("encode {volume} -o c.hgv --quiet"), 0),
        (format!("encode {volume} -o d.hgv --json"), 0),
        (format!("encode {volume} -o e.hgv --backend cpu"), 0),
        ("decode a.hgv -o a.npy".into(), 1),
        ("decode a.hgv -o b.npy --quiet".into(), 0),
        ("render a.hgv -o a.png --size 8x8".into(), 1),
        ("render a.hgv -o b.png --size 8x8 --backend cpu".into(), 0),
    ] {
        let run = without_gpu(&work, &words);
        assert_eq!(run.status, Some(0), "{words}: {run:?}");
        assert_eq!(run.stderr.lines().count(), lines, "{words}: {}", run.stderr);
        if lines == 1 {
            let notice = "hgv: note: CUDA: there is no device to use: ";
            assert!(run.stderr.starts_with(notice), "{}", run.stderr);
            assert!(run.stderr.ends_with("; the CPU works\n"), "{}", run.stderr);
        }
    }
}

#[test]
fn devices_lists_the_cpu_and_says_why_there_is_no_gpu() {
    let work = Work::new();
    let run = without_gpu(&work, "devices");
    assert_eq!(run.status, Some(0), "{run:?}");
    assert!(run.stdout.starts_with("cpu ("), "{}", run.stdout);
    assert!(
        run.stdout.contains("there is no device to use"),
        "{}",
        run.stdout
    );
    let json = without_gpu(&work, "devices --json").json();
    assert_keys(&json, "cpu cores gpus no_gpu_because");
    assert_eq!(json["gpus"].as_array().unwrap().len(), 0);
}
