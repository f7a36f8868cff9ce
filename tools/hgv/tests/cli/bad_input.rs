//! Inputs and outputs that cannot work: one clear line, exit status 2, nothing left behind and
//! every file as it was.

use crate::support::{Run, Work};

/// Asserts that the error line names what is wrong.
fn refused(work: &Work, words: &str, says: &[&str]) {
    let line = work.refused(words);
    for word in says {
        assert!(line.contains(word), "hgv {words}: no {word:?} in {line:?}");
    }
}

#[test]
fn foreign_files() {
    let work = Work::new();
    for (name, bytes) in [
        ("empty.hgv", &b""[..]),
        ("text.hgv", b"this is no volume, whatever its name says\n"),
        ("png.hgv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\0\0\0\0\0"),
    ] {
        work.write(name, bytes);
        refused(&work, &format!("info {name}"), &[name]);
        refused(&work, &format!("decode {name} -o d.npy"), &[name]);
        refused(&work, &format!("recover {name} -o r.hgv"), &[name]);
        refused(&work, &format!("merge {name} -o r.hgv"), &[name]);
    }
    for name in [
        "a.nrrd", "a.nii", "a.nii.gz", "a.mrc", "a.tif", "a.npy", "a.raw", "a.xyz",
    ] {
        work.write(name, "this is no volume, whatever its name says\n");
        refused(&work, &format!("encode {name} -o v.hgv"), &[name]);
    }
}

#[test]
fn truncated_files() {
    let work = Work::new();
    let volume = work.raw("v", [64, 64, 20], "uint8");
    work.ok(&format!("encode {volume} -o v.hgv"));
    let whole = work.read("v.hgv");
    for length in [0, 1, 255, 256, whole.len() / 2, whole.len() - 1] {
        work.write("cut.hgv", &whole[..length]);
        refused(&work, "decode cut.hgv -o d.npy", &[]);
        assert_ne!(work.hgv("verify cut.hgv").status, Some(0), "{length}");
    }
    for name in ["v.nrrd", "v.npy", "v.nii.gz", "v.mrc", "v.tif"] {
        work.ok(&format!("decode v.hgv -o {name}"));
        let whole = work.read(name);
        work.write(name, &whole[..whole.len() / 2]);
        refused(&work, &format!("encode {name} -o o.hgv"), &[name]);
    }
}

#[test]
fn sizes_that_disagree() {
    let work = Work::new();
    work.write("v_4x4x4_uint16.raw", [0; 127]);
    refused(&work, "encode v_4x4x4_uint16.raw -o v.hgv", &["128", "127"]);
    work.write("v.bin", [0; 64]);
    refused(
        &work,
        "encode v.bin --shape 4,4,5 --dtype u8 -o v.hgv",
        &["80", "64"],
    );
    refused(
        &work,
        "encode v.bin --shape 4,4,3 --dtype u8 -o v.hgv",
        &["4 x 4 x 3"],
    );
    refused(&work, "encode v.bin -o v.hgv", &["--shape"]);
    refused(&work, "encode v.bin --shape 4,4,4 -o v.hgv", &["--dtype"]);
    work.nrrd("v.nrrd", [5, 4, 3], "int16");
    let mut bytes = work.read("v.nrrd");
    bytes.truncate(bytes.len() - 2);
    work.write("v.nrrd", bytes);
    refused(&work, "encode v.nrrd -o v.hgv", &["v.nrrd", "120", "118"]);
}

#[test]
fn empty_axes() {
    let work = Work::new();
    work.write("v_4x0x4_uint8.raw", "");
    refused(&work, "encode v_4x0x4_uint8.raw -o v.hgv", &[]);
    work.write(
        "v.nrrd",
        "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 4 0\nencoding: raw\n\n",
    );
    refused(&work, "encode v.nrrd -o v.hgv", &["v.nrrd"]);
}

#[test]
fn unsupported_types_and_values() {
    let work = Work::new();
    let npy = |descr: &str, data: &[u8]| {
        let mut header =
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (1, 1, 2), }}");
        while (10 + header.len() + 1) % 64 != 0 {
            header.push(' ');
        }
        header.push('\n');
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    };
    work.write("c.npy", npy("<c8", &[0; 16]));
    refused(&work, "encode c.npy -o v.hgv", &["c.npy"]);
    let large: Vec<u8> = [1i32, 16_777_217]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    work.write("i.npy", npy("<i4", &large));
    refused(&work, "encode i.npy -o v.hgv", &["--cast"]);
    let small: Vec<u8> = [1i32, 60_000]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    work.write("s.npy", npy("<i4", &small));
    work.ok("encode s.npy -o s.hgv --lossless");
    assert_eq!(work.json("info s.hgv")["dtype"], "uint16");
}

#[test]
fn not_a_number() {
    let work = Work::new();
    let volume = work.raw("v", [8, 8, 8], "float32");
    let mut bytes = work.read(&volume);
    for (voxel, value) in [(75, f32::NAN), (200, f32::INFINITY)] {
        bytes[voxel * 4..voxel * 4 + 4].copy_from_slice(&value.to_le_bytes());
    }
    work.write(&volume, bytes);
    // Voxel 75 = (3, 1, 1); two voxels are not finite.
    refused(
        &work,
        &format!("encode {volume} -o v.hgv"),
        &["2 of 512", "3, 1, 1", "replace"],
    );
}

#[test]
fn targets_out_of_reach() {
    let work = Work::new();
    let float = work.raw("f", [40, 40, 40], "float32");
    let whole = work.raw("i", [40, 40, 40], "uint8");
    for target in ["--psnr 400", "--ssim 1,1,1,1"] {
        refused(
            &work,
            &format!("encode {float} -o v.hgv {target}"),
            &["ask for less"],
        );
    }
    refused(
        &work,
        &format!("encode {whole} -o v.hgv --bytes 100"),
        &["allow more"],
    );
    work.ok(&format!("encode {whole} -o v.hgv --psnr 400"));
}

#[test]
fn unreadable_paths() {
    let work = Work::new();
    std::fs::create_dir(work.path("folder.nrrd")).unwrap();
    refused(&work, "encode folder.nrrd -o v.hgv", &["folder.nrrd"]);
    std::fs::create_dir(work.path("folder.hgv")).unwrap();
    refused(&work, "info folder.hgv", &[]);
    let volume = work.raw("v", [4, 4, 4], "uint8");
    hide(&work, &volume);
    if std::fs::read(work.path(&volume)).is_ok() {
        eprintln!("skipped: this user may read every file");
        return;
    }
    refused(&work, &format!("encode {volume} -o v.hgv"), &[&volume]);
}

#[cfg(unix)]
fn hide(work: &Work, name: &str) {
    use std::os::unix::fs::PermissionsExt;
    let hidden = std::fs::Permissions::from_mode(0o000);
    std::fs::set_permissions(work.path(name), hidden).unwrap();
}

#[cfg(not(unix))]
fn hide(_: &Work, _: &str) {}

/// A file size limit makes writes fail half way, as a full disk does.
#[cfg(unix)]
#[test]
fn full_disk() {
    let work = Work::new();
    let volume = work.raw("v", [128, 128, 64], "uint16");
    work.ok(&format!("encode {volume} -o ok.hgv --lossless"));
    for words in [
        format!("encode {volume} -o v.hgv --lossless"),
        "decode ok.hgv -o d.raw".into(),
    ] {
        let before = work.files();
        let run = limited(&work, &words);
        assert_eq!(run.status, Some(2), "{words}: {run:?}");
        assert_eq!(run.stderr.lines().count(), 1, "{words}: {run:?}");
        assert_eq!(work.files(), before, "{words}");
    }
}

#[cfg(unix)]
fn limited(work: &Work, words: &str) -> Run {
    let program = work.command(words);
    let mut shell = std::process::Command::new("sh");
    shell
        .args(["-c", "trap '' XFSZ; ulimit -f 200; exec \"$0\" \"$@\""])
        .arg(program.get_program())
        .args(program.get_args())
        .envs(
            program
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .current_dir(work.path("."));
    Run::from(shell.output().unwrap())
}

#[test]
fn an_old_partial_file_is_kept() {
    let work = Work::new();
    let volume = work.raw("v", [20, 20, 20], "uint8");
    work.write("v.hgv.partial", "hours of work");
    refused(
        &work,
        &format!("encode {volume} -o v.hgv"),
        &["v.hgv.partial", "recover"],
    );
    work.ok(&format!("encode {volume} -o v.hgv --force"));
    assert!(!work.files().contains("v.hgv.partial"));
}
