//! `hgv-fuzz-smoke`: mutated inputs through the functions of the fuzz targets, on stable Rust.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use hgv::fuzzing::{Function, TARGETS, seeds};
use hgv_bench::mutate::{Rng, mutate};

/// Runs mutated inputs through every fuzz target for a while.
///
/// Fails on a panic, on an input that takes over 20 seconds and on a peak of over 2 GiB of memory.
#[derive(Parser)]
struct Args {
    /// Seconds for all targets together.
    #[arg(long, env = "HGV_FUZZ_SECONDS", default_value_t = 5.0)]
    seconds: f64,
    /// Same seed, same inputs.
    #[arg(long, env = "HGV_FUZZ_SEED", default_value_t = 1)]
    seed: u64,
    /// Only this target.
    #[arg(long)]
    target: Option<String>,
    /// Only this input, unchanged (needs --target).
    #[arg(long, requires = "target")]
    input: Option<PathBuf>,
    /// Only write the inputs that the library makes into the corpus, for cargo-fuzz.
    #[arg(long)]
    write_corpus: bool,
    /// Folder with one folder of inputs per target.
    #[arg(long, default_value = "fuzz/corpus")]
    corpus: PathBuf,
    /// Where failing inputs are written.
    #[arg(long, default_value = "fuzz/artifacts")]
    artifacts: PathBuf,
}

const SLOW: Duration = Duration::from_secs(20);
const MEMORY: u64 = 2 << 30;

/// The committed inputs of a target and those that the library makes.
fn corpus(folder: &Path, target: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = std::fs::read_dir(folder.join(target))
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    let mut all: Vec<_> = paths.iter().filter_map(|p| std::fs::read(p).ok()).collect();
    all.extend(seeds(target));
    all.push(Vec::new());
    all
}

fn write_corpus(args: &Args, targets: &[(&str, Function)]) -> std::io::Result<()> {
    for (name, _) in targets {
        let folder = args.corpus.join(name);
        std::fs::create_dir_all(&folder)?;
        for (i, seed) in seeds(name).iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{i:02}")), seed)?;
        }
    }
    Ok(())
}

/// Runs one input; the error says what was wrong.
fn check(function: Function, input: &[u8]) -> Result<(), String> {
    let start = Instant::now();
    catch_unwind(AssertUnwindSafe(|| function(input))).map_err(|_| "panicked".to_owned())?;
    let took = start.elapsed();
    if took > SLOW {
        return Err(format!("took {:.1} s", took.as_secs_f64()));
    }
    Ok(())
}

/// Runs one target until `until`; returns the number of inputs.
fn run(args: &Args, name: &str, function: Function, until: Instant) -> Result<u64, String> {
    let corpus = corpus(&args.corpus, name);
    let mut count = 0u64;
    let mut input = Vec::new();
    while count < corpus.len() as u64 || Instant::now() < until {
        match corpus.get(count as usize) {
            Some(original) => input.clone_from(original),
            None => mutate(&corpus, &mut Rng::new(args.seed, count), &mut input),
        }
        check(function, &input).map_err(|e| keep(args, name, count, &input, &e))?;
        count += 1;
    }
    Ok(count)
}

/// Writes a failing input down and says where.
fn keep(args: &Args, name: &str, count: u64, input: &[u8], error: &str) -> String {
    let folder = args.artifacts.join(name);
    let path = folder.join(format!("smoke-{}-{count}", args.seed));
    let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, input));
    let place = match written {
        Ok(()) => format!("the input is in {}", path.display()),
        Err(e) => format!("the input could not be written: {e}"),
    };
    format!(
        "{name}: input {count} of seed {} {error}; {place}",
        args.seed
    )
}

/// Peak resident memory in bytes, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

fn run_all(args: &Args) -> Result<(), String> {
    let chosen: Vec<_> = TARGETS
        .iter()
        .copied()
        .filter(|(name, _)| args.target.as_deref().is_none_or(|t| t == *name))
        .collect();
    if chosen.is_empty() {
        let names: Vec<_> = TARGETS.iter().map(|t| t.0).collect();
        return Err(format!("no such target; there are {names:?}"));
    }
    if let Some(path) = &args.input {
        let input = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
        return check(chosen[0].1, &input);
    }
    if args.write_corpus {
        return write_corpus(args, &chosen).map_err(|e| e.to_string());
    }
    let share = Duration::from_secs_f64(args.seconds.max(0.0) / chosen.len() as f64);
    for (name, function) in chosen {
        let count = run(args, name, function, Instant::now() + share)?;
        eprintln!("{name}: {count} inputs without a failure");
    }
    match peak_memory() {
        Some(peak) if peak > MEMORY => Err(format!("peak memory of {} MiB", peak >> 20)),
        _ => Ok(()),
    }
}

fn main() -> ExitCode {
    match run_all(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("hgv-fuzz-smoke: {e}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::panic, reason = "the failure that must be noticed")]
    fn a_planted_failure_is_kept() {
        let artifacts = std::env::temp_dir().join(format!("hgv-smoke-{}", std::process::id()));
        let folder = artifacts.display().to_string();
        let args = Args::parse_from(["smoke", "--corpus", "none", "--artifacts", &folder]);
        let until = Instant::now() + Duration::from_secs(60);
        let planted: Function = |input| {
            if input.len() > 3 {
                panic!("planted");
            }
        };
        let error = run(&args, "roundtrip", planted, until)
            .err()
            .unwrap_or_default();
        assert!(error.contains("panicked"), "{error}");
        let kept = std::fs::read(artifacts.join("roundtrip/smoke-1-0"));
        assert!(kept.is_ok_and(|input| input.len() > 3));
        let _ = std::fs::remove_dir_all(artifacts);
    }
}
