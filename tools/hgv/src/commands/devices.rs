//! `hgv devices`: what encodes and decodes can run on.

use std::fmt::Write as _;

use hgv::Result;
use hgv::backend::cpu::CpuBackend;
use hgv::backend::{Backend, BackendChoice};
use serde::Serialize;

use super::{Context, Outcome};
use crate::args::DevicesArgs;
use crate::output::human_bytes;

#[derive(Serialize)]
struct Gpu {
    name: String,
    compute_capability: String,
    multiprocessors: u32,
    memory_bytes: u64,
}

#[derive(Serialize)]
struct Json {
    cpu: String,
    cores: usize,
    gpus: Vec<Gpu>,
    #[serde(skip_serializing_if = "Option::is_none")]
    no_gpu_because: Option<String>,
}

pub(crate) fn run(args: &DevicesArgs, context: &Context) -> Result<Outcome> {
    let chosen = BackendChoice::Cuda.find(args.gpu_memory);
    let reason = chosen.as_ref().err().map(ToString::to_string);
    let gpus = chosen.unwrap_or_default().devices;
    let json = Json {
        cpu: CpuBackend::new().name(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        gpus: gpus
            .iter()
            .map(|gpu| {
                let limits = gpu.limits();
                Gpu {
                    name: gpu.name(),
                    compute_capability: format!("{}.{}", limits.compute / 10, limits.compute % 10),
                    multiprocessors: limits.multiprocessors,
                    memory_bytes: limits.memory,
                }
            })
            .collect(),
        no_gpu_because: reason,
    };
    context.output.result(&json, || table(&json))?;
    Ok(Outcome::Done)
}

fn table(json: &Json) -> String {
    let mut text = format!("{}, {} cores\n", json.cpu, json.cores);
    for gpu in &json.gpus {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{}, compute capability {}, {} multiprocessors, {} to use",
            gpu.name,
            gpu.compute_capability,
            gpu.multiprocessors,
            human_bytes(gpu.memory_bytes)
        );
    }
    if let Some(reason) = &json.no_gpu_because {
        let _ = writeln!(text, "{reason}");
    }
    text
}
