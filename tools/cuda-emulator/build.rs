//! Compiles every kernel under `cuda/` and the emulator into one shared library.
//!
//! Without a C++20 compiler there is no library, and the tests say that they are skipped. With
//! `HGV_EMULATOR_SANITIZE` set, the library is built with address and undefined-behaviour sanitizers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let cuda = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cuda");
    println!("cargo:rerun-if-changed={}", cuda.display());
    println!("cargo:rerun-if-env-changed=HGV_EMULATOR_SANITIZE");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    let library = compiler().and_then(|compiler| build(&compiler, &cuda, &out));
    let path = library.map_or(String::new(), |l| l.display().to_string());
    println!("cargo:rustc-env=HGV_CUDA_EMULATOR={path}");
    println!("cargo:rustc-env=HGV_CUDA_DRIVERS={}", out.display());
}

/// A compiler that knows C++20.
fn compiler() -> Option<PathBuf> {
    let tool = cc::Build::new().cpp(true).try_get_compiler().ok()?;
    let probe = Command::new(tool.path())
        .args(["-std=c++20", "-E", "-x", "c++", "/dev/null"])
        .output();
    match probe {
        Ok(output) if output.status.success() => Some(tool.path().to_path_buf()),
        _ => {
            println!("cargo:warning=no C++20 compiler: tests of CUDA kernels will be skipped");
            None
        }
    }
}

fn build(compiler: &Path, cuda: &Path, out: &Path) -> Option<PathBuf> {
    let sources = sources(cuda);
    let objects: Vec<PathBuf> = sources
        .iter()
        .map(|s| out.join(s.file_name().expect("a file")).with_extension("o"))
        .collect();
    // As many at once as cargo allows.
    let at_once = std::env::var("NUM_JOBS").ok().and_then(|n| n.parse().ok());
    let pairs: Vec<_> = sources.iter().zip(&objects).collect();
    for chunk in pairs.chunks(at_once.unwrap_or(1).max(1)) {
        let running: Vec<_> = chunk
            .iter()
            .map(|(source, object)| {
                let mut command = Command::new(compiler);
                command.args(flags()).arg("-I").arg(cuda);
                command
                    .args(["-c", "-x", "c++"])
                    .arg(source)
                    .arg("-o")
                    .arg(object);
                command.spawn().expect("the compiler ran before")
            })
            .collect();
        for mut child in running {
            let status = child.wait().expect("the compiler was started");
            assert!(
                status.success(),
                "a kernel does not compile for the emulator"
            );
        }
    }
    let library = out.join("libhgv_cuda_emulator.so");
    let mut link = Command::new(compiler);
    link.args(flags())
        .arg("-shared")
        .args(&objects)
        .arg("-o")
        .arg(&library);
    assert!(link.status().expect("the compiler ran before").success());
    drivers(compiler, out);
    Some(library)
}

/// `driver/libcuda.so.1` over the emulator, and one without functions in `empty`.
fn drivers(compiler: &Path, out: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("driver.cpp");
    for path in [source.clone(), source.with_file_name("driver_textures.h")] {
        println!("cargo:rerun-if-changed={}", path.display());
    }
    for (name, source) in [
        ("driver", source.as_path()),
        ("empty", Path::new("/dev/null")),
    ] {
        let folder = out.join(name);
        std::fs::create_dir_all(&folder).expect("cargo's own folder");
        let mut command = Command::new(compiler);
        command.args(flags()).args(["-shared", "-x", "c++"]);
        command.arg(source).args(["-x", "none", "-L"]).arg(out);
        if name == "driver" {
            command.args(["-lhgv_cuda_emulator", "-Wl,-rpath,$ORIGIN/.."]);
        }
        command.arg("-o").arg(folder.join("libcuda.so.1"));
        let status = command.status().expect("the compiler ran before");
        assert!(status.success(), "the driver for tests does not compile");
    }
}

/// Kernels, the kernels with faults, and the emulator.
fn sources(cuda: &Path) -> Vec<PathBuf> {
    let mut sources = vec![cuda.join("emu/emu.cpp")];
    for folder in [cuda.to_path_buf(), cuda.join("emu")] {
        for entry in std::fs::read_dir(folder).expect("the kernels are part of the repository") {
            let path = entry.expect("readable").path();
            if path.extension().is_some_and(|e| e == "cu") {
                sources.push(path);
            }
        }
    }
    sources.sort();
    sources
}

fn flags() -> Vec<&'static str> {
    let mut flags = vec![
        "-std=c++20",
        "-O2",
        "-g1",
        "-fPIC",
        "-ffp-contract=off",
        "-fno-strict-aliasing",
        "-DHGV_EMULATION",
        "-Wall",
        "-Wextra",
    ];
    if std::env::var_os("HGV_EMULATOR_SANITIZE").is_some() {
        flags.extend([
            "-fsanitize=address,undefined",
            "-fno-sanitize-recover=undefined",
            "-fno-omit-frame-pointer",
        ]);
    }
    flags
}
