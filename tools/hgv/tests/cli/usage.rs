//! Help, usage errors and refusals that need no volume to be read.

use crate::support::Work;

const COMMANDS: [&str; 9] = [
    "encode", "decode", "info", "verify", "compare", "analyze", "recover", "merge", "devices",
];

#[test]
fn every_help_has_examples_and_the_common_options() {
    let work = Work::new();
    for command in COMMANDS {
        let help = work.ok(&format!("{command} --help")).stdout;
        assert!(help.contains("Examples:"), "{command}");
        assert!(help.contains(&format!("  hgv {command} ")), "{command}");
        for option in ["--json", "--quiet", "--threads", "--force"] {
            assert!(help.contains(option), "{option} of {command}");
        }
    }
    let help = work.ok("--help").stdout;
    assert!(help.contains("Examples:"));
    for command in COMMANDS {
        assert!(help.contains(&format!("\n  {command} ")), "{command}");
    }
    assert!(work.ok("--version").stdout.starts_with("hgv "));
}

#[test]
fn encode_help_lists_the_contract() {
    let help = Work::new().ok("encode --help").stdout;
    for word in [
        "--shape",
        "--dtype",
        "--endian",
        "--spacing",
        "--skip",
        "--quality",
        "--psnr",
        "--ssim",
        "--ratio",
        "--bytes",
        "--max-error",
        "--max-error-rel",
        "--lossless",
        "--levels",
        "--block",
        "--preset",
        "--model",
        "--backend",
        "--gpu-memory",
        "--seed",
        "--region",
        "--shard",
        "--memory",
        "--scratch",
        "--nan-mask",
        "--cast",
        "--report",
        "fast",
        "balanced",
        "best",
        "hashgrid",
        "dense",
        "cuda",
        "768MiB",
    ] {
        assert!(help.contains(word), "{word}");
    }
}

#[test]
fn usage_errors_are_one_line_and_exit_2() {
    let work = Work::new();
    for words in [
        "",
        "analyze",
        "serve",
        "view",
        "view a.hgv --port 70000",
        "view a.hgv --memory 0",
        "encode",
        "encode a.nrrd",
        "encode a.nrrd -o b.hgv --what",
        "encode a.nrrd -o b.hgv --psnr 40 --lossless",
        "encode a.nrrd -o b.hgv --quality 101",
        "encode a.nrrd -o b.hgv --psnr 0",
        "encode a.nrrd -o b.hgv --ratio -1",
        "encode a.nrrd -o b.hgv --bytes 20X",
        "encode a.nrrd -o b.hgv --ssim 0.9,0.9,0.9",
        "encode a.nrrd -o b.hgv --ssim 0.9,0.9,0.9,1.5",
        "encode a.nrrd -o b.hgv --levels 0",
        "encode a.nrrd -o b.hgv --levels 9",
        "encode a.nrrd -o b.hgv --block 48",
        "encode a.nrrd -o b.hgv --preset slow",
        "encode a.nrrd -o b.hgv --shard 2/2",
        "encode a.nrrd -o b.hgv --region 1:2",
        "encode a.nrrd -o b.hgv --shape 4,0,4",
        "encode a.nrrd -o b.hgv --dtype word",
        "encode a.nrrd -o b.hgv --cast int32",
        "encode a.nrrd -o b.hgv --endian xe",
        "encode a.nrrd -o b.hgv --threads 0",
        "decode a.hgv",
        "decode a.hgv -o b.nrrd --lod x",
        "info",
        "compare a.nrrd",
        "merge -o b.hgv",
    ] {
        work.refused(words);
    }
}

#[test]
fn paths_are_checked_before_any_work() {
    let work = Work::new();
    let volume = work.raw("v", [4, 4, 4], "uint8");
    work.write("o.hgv", "precious");
    work.write("o.npy", "precious");
    for (words, says) in [
        ("encode none.nrrd -o new.hgv".into(), "none.nrrd"),
        ("decode none.hgv -o new.npy".into(), "none.hgv"),
        ("info none.hgv".into(), "none.hgv"),
        ("verify none.hgv".into(), "none.hgv"),
        ("compare none.hgv none.nrrd".into(), "none.hgv"),
        ("recover none.partial -o new.hgv".into(), "none.partial"),
        ("merge none.hgv -o new.hgv".into(), "none.hgv"),
        (
            format!("encode {volume} -o o.hgv"),
            "o.hgv exists; use --force",
        ),
        ("decode o.hgv -o o.npy".into(), "o.npy exists; use --force"),
        (
            format!("recover {volume} -o o.hgv"),
            "o.hgv exists; use --force",
        ),
        (
            format!("merge {volume} -o o.hgv"),
            "o.hgv exists; use --force",
        ),
        (
            format!("encode {volume} -o {volume} --force"),
            "is the input itself",
        ),
        (
            "recover o.hgv -o ./o.hgv --force".into(),
            "is the input itself",
        ),
        ("merge o.hgv -o o.hgv --force".into(), "is the input itself"),
        (format!("encode {volume} -o none/o.hgv"), "none"),
        (format!("encode {volume} -o . --force"), "is a folder"),
    ] {
        let line = work.refused(&words);
        assert!(line.contains(says), "hgv {words}: {line}");
    }
}
