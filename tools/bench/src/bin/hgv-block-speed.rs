//! Encode and decode speed of blocks in memory on one core, for every vector unit of the machine.
//! Arguments: dense (preset fast, every other block), dense-balanced (every fourth), dense-best or
//! hashgrid (balanced, every eighth), volumes. Presets balanced and best come with the value curve and
//! the in-block filters that a file of the volume would have; columns say whether there is a curve, how
//! many taps of the filter are in use, and how many symbols (best: binary decisions) a voxel takes.
//! Or machine: bytes that a copy moves a nanosecond, nanoseconds of a symbol of coder R on one state and
//! on 32, without contexts.
//! Time is CPU time where Linux tells it: other work on the machine takes less of it away.

#![allow(clippy::print_stdout, reason = "its output is its result")]

use std::path::Path;

use hgv::bench_api::{
    BlockLab, CoderLab, CpuBackend, CpuLevel, LabCurve, LabPayload, Scratch, copied_bytes,
};
use hgv::encode::{ModelChoice, Preset};
use hgv_bench::lab::{Block, LabVolume};
use hgv_bench::time::CpuTime;

fn main() -> Result<(), String> {
    let mut args = std::env::args().skip(1);
    let kind = args.next().unwrap_or_default();
    let (model, preset, every) =
        match kind.as_str() {
            "dense" => (ModelChoice::Dense, Preset::Fast, 2),
            "dense-balanced" => (ModelChoice::Dense, Preset::Balanced, 4),
            "dense-best" => (ModelChoice::Dense, Preset::Best, 8),
            "hashgrid" => (ModelChoice::Hashgrid, Preset::Balanced, 8),
            "machine" => return measure_machine(),
            _ => return Err(
                "usage: hgv-block-speed dense|dense-balanced|dense-best|hashgrid VOLUME.npy ..., or machine"
                    .into(),
            ),
        };
    println!(
        "kind,volume,ratio,encode_mvoxel_s,decode_level,decode_mvoxel_s,curve,filter_taps,symbols_voxel"
    );
    for path in args {
        let volume = LabVolume::load(Path::new(&path))?;
        let corners = volume.corners(64).into_iter().step_by(every);
        let case = Case {
            kind: kind.clone(),
            blocks: corners.map(|c| volume.cube(c, 64)).collect(),
            volume,
            model,
            preset,
        };
        case.measure()?;
    }
    Ok(())
}

/// What is measured.
struct Case {
    kind: String,
    volume: LabVolume,
    blocks: Vec<Block>,
    model: ModelChoice,
    preset: Preset,
}

impl Case {
    fn measure(&self) -> Result<(), String> {
        let (lab, curved, taps) = self.lab()?;
        let start = CpuTime::now();
        let payloads = self.code(&lab)?;
        let encode = self.voxels() / 1e6 / start.elapsed().as_secs_f64();
        let ratio = self.ratio(&payloads);
        let symbols = self.symbols(&lab)?;
        for level in CpuLevel::available() {
            let decode = self.voxels() / 1e6 / decode_seconds(&lab, &payloads, level)?;
            println!(
                "{},{},{ratio:.1},{encode:.1},{},{decode:.1},{},{taps},{symbols:.3}",
                self.kind,
                self.volume.name,
                level.name(),
                u8::from(curved),
            );
        }
        Ok(())
    }

    /// At the step whose ratio is nearest to 30:1; whether there is a curve, and taps of the filter.
    fn lab(&self) -> Result<(BlockLab, bool, usize), String> {
        let mut exponent = self.search((0.5, 14.0), 7, None)?;
        let dense = matches!(self.model, ModelChoice::Dense);
        if !dense || matches!(self.preset, Preset::Fast) {
            return Ok((self.plain(exponent, None), false, 0));
        }
        let curve = self.volume.curve(self.preset, self.step(exponent))?;
        let curve = curve.is_some().then_some(curve);
        if curve.is_some() {
            exponent = self.search((exponent - 0.2, exponent + 3.0), 5, curve.as_ref())?;
        }
        let (blocks, share) = self.volume.evenly(16);
        let lab = self.plain(exponent, curve.as_ref());
        let filtered = lab.with_fitted_filters(&blocks, share);
        let (lab, taps) = filtered.map_err(|e| e.to_string())?;
        Ok((lab, curve.is_some(), taps))
    }

    /// The exponent of the step, between two, whose ratio is nearest to 30:1.
    fn search(
        &self,
        (mut low, mut high): (f64, f64),
        rounds: usize,
        curve: Option<&LabCurve>,
    ) -> Result<f64, String> {
        for _ in 0..rounds {
            let middle = (low + high) / 2.0;
            if self.ratio(&self.code(&self.plain(middle, curve))?) > 30.0 {
                low = middle
            } else {
                high = middle
            }
        }
        Ok(low)
    }

    fn step(&self, exponent: f64) -> f64 {
        let (low, high) = self.volume.range;
        (f64::from(high) - f64::from(low)) * f64::exp2(-exponent)
    }

    /// Without filters.
    fn plain(&self, exponent: f64, curve: Option<&LabCurve>) -> BlockLab {
        let ((low, high), step) = (self.volume.range, self.step(exponent));
        let lab = BlockLab::new(low, high, step, 1, 6, self.preset, false).with_model(self.model);
        match curve {
            Some(curve) => lab.with_curve(curve, (low, high), step),
            None => lab,
        }
    }

    fn code(&self, lab: &BlockLab) -> Result<Vec<LabPayload>, String> {
        let blocks = self.blocks.iter();
        let payloads = blocks.filter_map(|(dims, values)| lab.payload(*dims, values).transpose());
        payloads
            .collect::<Result<_, _>>()
            .map_err(|e| e.to_string())
    }

    /// Symbols or decisions a voxel; those of grids are not counted.
    fn symbols(&self, lab: &BlockLab) -> Result<f64, String> {
        if matches!(self.model, ModelChoice::Hashgrid) {
            return Ok(0.0);
        }
        let varied = self
            .blocks
            .iter()
            .filter(|(_, v)| v.iter().any(|x| *x != v[0]));
        let counts = varied.map(|(dims, values)| lab.symbols(*dims, values));
        let sum = counts
            .sum::<Result<usize, _>>()
            .map_err(|e| e.to_string())?;
        Ok(sum as f64 / self.voxels())
    }

    fn voxels(&self) -> f64 {
        self.blocks.iter().map(|b| b.1.len()).sum::<usize>() as f64
    }

    fn ratio(&self, payloads: &[LabPayload]) -> f64 {
        let bytes: usize = payloads.iter().flat_map(|p| &p.layers).map(Vec::len).sum();
        self.voxels() * self.volume.voxel_bytes as f64 / bytes as f64
    }
}

/// Seconds of CPU time to decode all, the least of seven runs.
fn decode_seconds(lab: &BlockLab, payloads: &[LabPayload], level: CpuLevel) -> Result<f64, String> {
    let cpu = CpuBackend::with_level(level).map_err(|e| e.to_string())?;
    let (mut scratch, mut out) = (Scratch::default(), Vec::new());
    let mut best = f64::MAX;
    for _ in 0..7 {
        let start = CpuTime::now();
        for p in payloads {
            lab.decode(cpu, p, &mut scratch, &mut out)
                .map_err(|e| e.to_string())?;
        }
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}

/// Prints `what,value`.
fn measure_machine() -> Result<(), String> {
    const WORDS: usize = 16 << 20;
    let (from, mut to) = (vec![1u64; WORDS], vec![0u64; WORDS]);
    let seconds = least(|| copied_bytes(&from, &mut to));
    println!("copy_bytes_ns,{:.2}", 16.0 * WORDS as f64 / seconds / 1e9);
    for (name, lanes_log2) in [("symbol_ns_1_state", 0), ("symbol_ns_32_states", 5)] {
        const SYMBOLS: usize = 1 << 20;
        let lab = CoderLab::new(lanes_log2, SYMBOLS).map_err(|e| e.to_string())?;
        let seconds = least(|| lab.decode().unwrap_or(0) as usize);
        println!("{name},{:.3}", seconds / SYMBOLS as f64 * 1e9);
    }
    Ok(())
}

/// Seconds of CPU time of a run, the least of seven.
fn least(mut run: impl FnMut() -> usize) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..7 {
        let start = CpuTime::now();
        std::hint::black_box(run());
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}
