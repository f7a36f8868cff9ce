//! A folder to work in, small volumes to work on, and the program itself.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Every voxel type word.
pub(crate) const DTYPES: [&str; 5] = ["uint8", "int8", "uint16", "int16", "float32"];

/// A temporary folder in which the program runs, so that tests use bare file names.
pub(crate) struct Work(tempfile::TempDir, Vec<(String, String)>);

/// What one run of the program gave.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Work {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap(), Vec::new())
    }

    /// From now on the program runs with these variables in its environment.
    #[cfg(feature = "object-store")]
    pub(crate) fn set_environment(&mut self, variables: &[(&str, &str)]) {
        let owned = variables.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        self.1 = owned.collect();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    /// Names of all files in the folder.
    pub(crate) fn files(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    /// The program with these words, split at spaces.
    pub(crate) fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hgv"));
        command
            .args(words.split_whitespace())
            .current_dir(self.0.path())
            // Tests of the CPU say so, and those of the choice take it back.
            .env("HGV_BACKEND", "cpu")
            // Servers of tests are reached without a proxy.
            .env("NO_PROXY", "127.0.0.1,localhost")
            .envs(self.1.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn hgv(&self, words: &str) -> Run {
        Run::from(self.command(words).output().unwrap())
    }

    /// Runs and demands success.
    pub(crate) fn ok(&self, words: &str) -> Run {
        let run = self.hgv(words);
        assert_eq!(run.status, Some(0), "hgv {words}: {}", run.stderr);
        run
    }

    /// Runs with `--json` and demands success and exactly one JSON object on stdout.
    pub(crate) fn json(&self, words: &str) -> Value {
        let run = self.ok(&format!("{words} --json"));
        let only_notes = run.stderr.lines().all(|l| l.starts_with("hgv: note: "));
        assert!(only_notes, "hgv {words}: {}", run.stderr);
        run.json()
    }

    /// Runs and demands exit status 2 with one error line, nothing on stdout, and every file in
    /// the folder as it was. Returns the line.
    pub(crate) fn refused(&self, words: &str) -> String {
        let before = self.snapshot();
        let run = self.hgv(words);
        assert_eq!(run.status, Some(2), "hgv {words}: {run:?}");
        assert_eq!(run.stdout, "", "hgv {words}");
        assert!(
            run.stderr.starts_with("hgv: error: ") && run.stderr.trim_end().lines().count() == 1,
            "hgv {words}: {:?}",
            run.stderr
        );
        assert!(
            self.snapshot() == before,
            "hgv {words} changed files: {:?}",
            self.files()
        );
        run.stderr
    }

    fn snapshot(&self) -> Vec<(String, Option<Vec<u8>>)> {
        self.files()
            .into_iter()
            .map(|name| (name.clone(), std::fs::read(self.path(&name)).ok()))
            .collect()
    }

    /// Writes `NAME_XxYxZ_dtype.raw` with a smooth field and a little noise; returns its name.
    pub(crate) fn raw(&self, name: &str, extent: [u64; 3], dtype: &str) -> String {
        let file = format!(
            "{name}_{}x{}x{}_{dtype}.raw",
            extent[0], extent[1], extent[2]
        );
        self.write(&file, field(extent, dtype));
        file
    }

    /// Writes an NRRD file with spacing 0.5 x 1 x 2 mm and origin (10, 20, 30).
    pub(crate) fn nrrd(&self, file: &str, extent: [u64; 3], dtype: &str) {
        let [x, y, z] = extent;
        let word = if dtype == "float32" { "float" } else { dtype };
        let mut bytes = format!(
            "NRRD0004\ntype: {word}\ndimension: 3\nspace: left-posterior-superior\n\
             sizes: {x} {y} {z}\nspace directions: (0.5,0,0) (0,1,0) (0,0,2)\n\
             space units: \"mm\" \"mm\" \"mm\"\nspace origin: (10,20,30)\n\
             endian: little\nencoding: raw\n\n"
        )
        .into_bytes();
        bytes.extend(field(extent, dtype));
        self.write(file, bytes);
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Run {
    /// Stdout as one JSON object on one line.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "{:?}", self.stdout);
        let value: Value = serde_json::from_str(&self.stdout).unwrap();
        assert!(value.is_object(), "{value}");
        value
    }
}

/// Asserts that an object has all of these keys.
pub(crate) fn assert_keys(value: &Value, keys: &str) {
    for key in keys.split_whitespace() {
        assert!(value.get(key).is_some(), "no {key} in {value}");
    }
}

/// A number in an object.
pub(crate) fn number(value: &Value, key: &str) -> f64 {
    value[key]
        .as_f64()
        .unwrap_or_else(|| panic!("{key} is no number in {value}"))
}

/// Little-endian voxels `[z][y][x]` of a smooth field between 20 and 100 with noise of +-3.
pub(crate) fn field(extent: [u64; 3], dtype: &str) -> Vec<u8> {
    let mut random = Random(7);
    let mut bytes = Vec::new();
    for z in 0..extent[2] {
        for y in 0..extent[1] {
            for x in 0..extent[0] {
                let wave =
                    (x as f64 / 9.0).sin() * (y as f64 / 7.0).cos() + (z as f64 / 11.0).sin();
                let value = 60.0 + 18.5 * wave + random.below(7) as f64 - 3.0;
                push(&mut bytes, value, dtype);
            }
        }
    }
    bytes
}

fn push(bytes: &mut Vec<u8>, value: f64, dtype: &str) {
    match dtype {
        "uint8" => bytes.push(value as u8),
        "int8" => bytes.extend(((value - 60.0) as i8).to_le_bytes()),
        "uint16" => bytes.extend(((value * 300.0) as u16).to_le_bytes()),
        "int16" => bytes.extend((((value - 60.0) * 300.0) as i16).to_le_bytes()),
        "float32" => bytes.extend(((value / 64.0) as f32).to_le_bytes()),
        other => panic!("no generator for {other}"),
    }
}

/// The voxels of a box, `start..end`, cut out of `[z][y][x]` bytes.
pub(crate) fn crop(
    bytes: &[u8],
    extent: [usize; 3],
    size: usize,
    start: [usize; 3],
    end: [usize; 3],
) -> Vec<u8> {
    let mut out = Vec::new();
    for z in start[2]..end[2] {
        for y in start[1]..end[1] {
            let row = (z * extent[1] + y) * extent[0];
            out.extend_from_slice(&bytes[(row + start[0]) * size..(row + end[0]) * size]);
        }
    }
    out
}

/// A small generator (splitmix64), so that tests are the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}
