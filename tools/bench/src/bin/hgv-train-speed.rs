//! Training speed of one block on one core, beside PyTorch on the same models and batches.
//!
//! `hgv-train-speed [PYTHON [SCRIPT]]`: PYTHON is an interpreter with torch, SCRIPT is
//! `tools/bench/train_torch.py` (default, from the repository's root). Without PYTHON only hgv is
//! timed; `--models` prints the models for the script instead. A CUDA device, if there is one, trains many
//! blocks at a time; `--device` prints that alone. Prints Markdown. Times of the CPU are the best of several, in CPU time with one thread.

#![allow(clippy::print_stdout, reason = "its output is its result")]

use std::collections::HashMap;
use std::process::Command;
use std::time::Instant;

use hgv::backend::cuda::train::GridTrainer;
use hgv::bench_api::{
    BlockLab, CpuLevel, JointLab, LabLevel, LabModel, TrainLab, fit_network, multiply_add_rounds,
    train_to_the_end,
};
use hgv::encode::{ModelChoice, Preset};
use hgv_bench::time::CpuTime;
use serde_json::{Value, json};

const SIDE: usize = 64;
const VOXELS: usize = SIDE * SIDE * SIDE;

/// A model and its name.
struct Case {
    name: &'static str,
    model: LabModel,
}

fn main() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let torch = match arguments.next() {
        Some(word) if word == "--models" => {
            println!("{}", models());
            return Ok(());
        }
        Some(word) if word == "--device" => return print_device(),
        Some(python) => {
            let script = arguments.next();
            time_torch(
                &python,
                script.as_deref().unwrap_or("tools/bench/train_torch.py"),
            )?
        }
        None => HashMap::new(),
    };
    print_steps(&torch)?;
    print_levels()?;
    print_networks()?;
    print_whole_runs()?;
    print_device()
}

/// Blocks that a device trains at a time, and steps of each.
const DEVICE_BLOCKS: usize = 1056;
const DEVICE_STEPS: usize = 64;

/// What a CUDA device trains in a second, if there is one: the same models, and the search for grid weights with
/// the networks that the encoder uses.
fn print_device() -> Result<(), String> {
    let device = match hgv::backend::cuda::devices(None) {
        Ok(devices) => devices.into_iter().next(),
        Err(e) => {
            println!("\nSKIPPED: training on a device: {e}");
            return Ok(());
        }
    };
    let Some(device) = device else { return Ok(()) };
    let failed = |e: hgv::Error| e.to_string();
    let mut trainer = GridTrainer::new(&device).map_err(failed)?;
    println!(
        "\n## On {}, {DEVICE_BLOCKS} blocks of 64^3 at a time\n",
        device.name()
    );
    println!("| what | ms | Msamples/s |\n|---|---|---|");
    let row = |name: &str, ms: f64, samples: f64| {
        println!("| {name} | {ms:.1} | {:.0} |", samples / ms / 1e3);
    };
    for Case { name, model } in cases() {
        let targets = vec![target(); DEVICE_BLOCKS];
        let lab = JointLab::new(&model, targets, DEVICE_STEPS, 1e-6).map_err(failed)?;
        lab.time(&mut trainer).map_err(failed)?;
        let ms = lab.time(&mut trainer).map_err(failed)?;
        row(name, ms, (DEVICE_BLOCKS * DEVICE_STEPS * VOXELS) as f64);
    }
    let lab = BlockLab::new(-100, 150, 4.0, 1, 6, Preset::Best, false);
    let lab = lab.with_model(ModelChoice::Hashgrid);
    let blocks = vec![([SIDE; 3], target()); DEVICE_BLOCKS];
    for round in 0..2 {
        trainer.set_profile(round > 0);
        lab.train(&mut trainer, &blocks).map_err(failed)?;
    }
    for time in trainer.take_profile().map_err(failed)? {
        let name = format!("{}, preset best, samples = voxels", time.kernel);
        row(&name, time.milliseconds, (DEVICE_BLOCKS * VOXELS) as f64);
    }
    Ok(())
}

fn cases() -> Vec<Case> {
    let level = |exponent, features, table_log2, skip| LabLevel {
        exponent,
        features,
        table_log2,
        skip,
    };
    let case = |name, levels: Vec<LabLevel>, hidden| Case {
        name,
        model: LabModel {
            side: SIDE,
            levels,
            hidden,
            cubic: false,
        },
    };
    let pyramid = |features| {
        let of = |exponent: u8| level(exponent, if exponent > 0 { features } else { 1 }, 22, true);
        [3, 2, 1, 0].map(of).to_vec()
    };
    let hashed: Vec<_> = [(4, 12), (3, 12), (2, 12), (1, 12), (0, 14)]
        .map(|(exponent, table)| level(exponent, 2, table, false))
        .to_vec();
    vec![
        case(
            "pyramid 9, 17, 33, 64; 1 feature; no network",
            pyramid(1),
            None,
        ),
        case(
            "pyramid 9, 17, 33, 64; 7 features; 1 x 16",
            pyramid(2),
            Some((1, 16)),
        ),
        case(
            "hashed 5, 9, 17, 33, 64; 10 features; 2 x 16",
            hashed.clone(),
            Some((2, 16)),
        ),
        case(
            "hashed 5, 9, 17, 33, 64; 10 features; 2 x 32",
            hashed,
            Some((2, 32)),
        ),
    ]
}

/// A smooth field with a sharp edge and some texture.
fn target() -> Vec<f32> {
    let at = |i: usize| {
        let p = [i % SIDE, i / SIDE % SIDE, i / SIDE / SIDE].map(|v| v as f32 / SIDE as f32 - 0.45);
        let r = p.iter().map(|v| v * v).sum::<f32>().sqrt();
        let edge = if r < 0.35 { 80.0 } else { -40.0 };
        edge + 10.0 * (20.0 * p[0]).sin() * (17.0 * p[1]).cos() + 5.0 * (40.0 * p[2]).sin()
    };
    (0..VOXELS).map(at).collect()
}

/// Seconds of a run, the least of `repeats` measurements that take a tenth of a second or more
/// each, in CPU time of this thread where Linux tells it: other work takes less of it away.
fn best(repeats: usize, mut run: impl FnMut()) -> f64 {
    let mut measure = |runs: usize| {
        let start = CpuTime::now();
        (0..runs).for_each(|_| run());
        start.elapsed().as_secs_f64() / runs as f64
    };
    let runs = (0.1 / measure(2).max(1e-6)).ceil() as usize;
    (0..repeats)
        .map(|_| measure(runs))
        .fold(f64::INFINITY, f64::min)
}

fn gigaflops(operations: f64, seconds: f64) -> f64 {
    operations / seconds / 1e9
}

fn roofline(cpu: CpuLevel) -> f64 {
    let rounds = 1_000_000;
    let seconds = best(7, || multiply_add_rounds(cpu, rounds));
    gigaflops(2.0 * 256.0 * rounds as f64, seconds)
}

/// Seconds of a step and its multiply-adds.
fn time_step(model: &LabModel, cpu: CpuLevel) -> Result<(f64, usize), String> {
    let mut lab = TrainLab::new(model, &target(), cpu).map_err(|e| e.to_string())?;
    lab.step();
    let seconds = best(12, || {
        lab.step();
    });
    Ok((seconds, lab.multiply_adds()))
}

fn print_steps(torch: &HashMap<String, Value>) -> Result<(), String> {
    let cpu = CpuLevel::best();
    let roof = roofline(cpu);
    println!(
        "One Adam step over a whole 64^3 block, one core, {}; roofline {roof:.0} GFLOP/s.\n",
        cpu.name()
    );
    println!(
        "| model | ms a step | Msamples/s | GFLOP/s | of roofline | PyTorch 1 thread: Msamples/s (how) | ratio | PyTorch 2 threads | ratio, ours on one core |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for Case { name, model } in cases() {
        let (seconds, work) = time_step(&model, cpu)?;
        let flops = gigaflops(2.0 * work as f64, seconds);
        let samples = VOXELS as f64 / seconds / 1e6;
        println!(
            "| {name} | {:.2} | {samples:.1} | {flops:.1} | {:.0} % |{}{}",
            seconds * 1e3,
            100.0 * flops / roof,
            peer(torch, name, 1, samples),
            peer(torch, name, 2, samples),
        );
    }
    println!();
    Ok(())
}

/// Two cells: the peer's speed and how many times ours is.
fn peer(torch: &HashMap<String, Value>, name: &str, threads: usize, samples: f64) -> String {
    let Some(found) = torch.get(&format!("{name}/{threads}")) else {
        return " - | - |".into();
    };
    let theirs = VOXELS as f64 / found["seconds"].as_f64().unwrap_or(f64::NAN) / 1e6;
    let how = found["how"].as_str().unwrap_or("");
    format!(" {theirs:.2} ({how}) | {:.1} |", samples / theirs)
}

fn print_levels() -> Result<(), String> {
    println!("Millions of samples a second by vectors and refinement, one core.\n");
    println!("| model | vectors | linear | cubic |\n|---|---|---|---|");
    for Case { name, model } in cases() {
        for cpu in CpuLevel::available() {
            let cubic = LabModel {
                cubic: true,
                ..model.clone()
            };
            let speed = |m: &LabModel| time_step(m, cpu).map(|t| VOXELS as f64 / t.0 / 1e6);
            println!(
                "| {name} | {} | {:.1} | {:.1} |",
                cpu.name(),
                speed(&model)?,
                speed(&cubic)?
            );
        }
    }
    println!();
    Ok(())
}

fn print_networks() -> Result<(), String> {
    let cpu = CpuLevel::best();
    let target = target();
    let planes: Vec<Vec<f32>> = (0..10).map(|i| shifted(&target, 7 * i + 1)).collect();
    println!("The network alone, planes fixed, batches of 16,384, one core.\n");
    println!(
        "| inputs | hidden | ms an epoch of 262,144 samples | Msamples/s | squared error left after 8 epochs |\n|---|---|---|---|---|"
    );
    for (inputs, hidden) in [(4, (1, 8)), (7, (1, 16)), (7, (2, 16)), (10, (2, 32))] {
        let inputs: Vec<&[f32]> = planes[..inputs].iter().map(Vec::as_slice).collect();
        let fit =
            |epochs| fit_network(&inputs, &target, hidden, epochs, cpu).map_err(|e| e.to_string());
        let short = best(5, || drop(fit(1)));
        let long = best(5, || drop(fit(9)));
        let (without, with) = fit(8)?;
        let epoch = (long - short) / 8.0;
        println!(
            "| {} | {} x {} | {:.2} | {:.1} | {:.1} % |",
            inputs.len(),
            hidden.0,
            hidden.1,
            epoch * 1e3,
            VOXELS as f64 / epoch / 1e6,
            100.0 * with / without
        );
    }
    println!();
    Ok(())
}

/// The target moved along x by some voxels and clipped: something to learn from.
fn shifted(target: &[f32], by: usize) -> Vec<f32> {
    let n = target.len();
    (0..n)
        .map(|i| target[(i + by) % n].clamp(-60.0, 60.0))
        .collect()
}

fn print_whole_runs() -> Result<(), String> {
    let cpu = CpuLevel::best();
    let target = target();
    let power = target.iter().map(|v| f64::from(v * v)).sum::<f64>() / VOXELS as f64;
    println!("Whole runs of at most 400 steps at a price of 0.5 squared units a bit, one core.\n");
    println!(
        "| model | steps | s | squared error left | expected bits a voxel |\n|---|---|---|---|---|"
    );
    for Case { name, model } in cases() {
        let start = Instant::now();
        let (error, bits, steps) =
            train_to_the_end(&model, &target, 400, 0.5, cpu).map_err(|e| e.to_string())?;
        println!(
            "| {name} | {steps} | {:.1} | {:.2} % | {:.3} |",
            start.elapsed().as_secs_f64(),
            100.0 * error / power,
            bits / VOXELS as f64
        );
    }
    Ok(())
}

/// Results of the script by `name/threads`.
fn time_torch(python: &str, script: &str) -> Result<HashMap<String, Value>, String> {
    let output = Command::new(python)
        .args([script, &models().to_string()])
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|e| format!("{python}: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut results = HashMap::new();
    for line in text.lines() {
        let value: Value =
            serde_json::from_str(line).map_err(|e| format!("{script}: {e}: {line}"))?;
        let key = format!(
            "{}/{}",
            value["name"].as_str().unwrap_or(""),
            value["threads"]
        );
        results.insert(key, value);
    }
    if !output.status.success() {
        return Err(format!("{script} failed: {}", output.status));
    }
    Ok(results)
}

/// What `train_torch.py` takes.
fn models() -> Value {
    cases().iter().map(describe).collect::<Vec<_>>().into()
}

fn describe(case: &Case) -> Value {
    let level = |l: &LabLevel| {
        let vertices = (SIDE - 1).div_ceil(1 << l.exponent) + 1;
        json!({ "vertices": vertices, "features": l.features, "table": 1u64 << l.table_log2, "skip": l.skip })
    };
    json!({
        "name": case.name,
        "side": SIDE,
        "levels": case.model.levels.iter().map(level).collect::<Vec<_>>(),
        "hidden": case.model.hidden.map_or(0, |h| h.0),
        "width": case.model.hidden.map_or(0, |h| h.1),
    })
}
