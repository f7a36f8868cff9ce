#![allow(clippy::unwrap_used)]

use super::*;
use crate::codec::{CoefficientState, encode_layer};
use crate::encode::forward::forward;
use crate::encode::plan::{WaveletWanted, layer_steps, wavelet_models};
use crate::encode::quantise::quantise;
use crate::model::{Coder, Residual};

/// Numbers in 0..1.
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as f32 / (1 << 24) as f32
    }
}

fn all_bits(field: &Field) -> f64 {
    let bands = 0..field.bands.len();
    bands.map(|b| f64::from(field.band_bits(b))).sum()
}

/// Every change costs what all bits say, whatever it opens or closes, at every quality.
#[test]
fn bits_of_changes_add_up() {
    for dims in [[32, 32, 32], [17, 9, 21], [1, 5, 30]] {
        let shape = BlockShape { dims, depth: 3 };
        let mut field = Field::new(shape).unwrap();
        let mut noise = Noise(7);
        for quality in 0..3 {
            field.recount();
            for _ in 0..400 {
                let b = (noise.next() * field.bands.len() as f32) as usize;
                let dims = field.bands[b].band.dims;
                if dims.contains(&0) {
                    continue;
                }
                let at = dims.map(|n| (noise.next() * n.min(9) as f32) as usize);
                let cell = field.sizes[field.bands[b].band.depth]
                    .0
                    .at(at[0], at[1], at[2]);
                let (lowest, highest) = field.bands[b].cells[cell].bounds();
                let magnitude = (noise.next().powi(4) * 40.0) as u32;
                let before = all_bits(&field);
                let change = field.set(b, at, magnitude.clamp(lowest, highest));
                let error = all_bits(&field) - before - f64::from(change);
                assert!(
                    error.abs() < 0.05,
                    "{dims:?}, quality {quality}: {error} bits"
                );
            }
            let before = all_bits(&field);
            field.recount();
            assert_eq!(before, all_bits(&field));
            field.advance().unwrap();
        }
    }
}

/// Coefficients of a block with edges, texture and noise.
fn coefficients(shape: &BlockShape, model: &WaveletModel) -> Vec<f32> {
    let mut noise = Noise(3);
    let scale = f32::from(model.frac_bits).exp2();
    let [nx, ny, _] = shape.dims;
    let mut values: Vec<f32> = (0..shape.voxels())
        .map(|i| {
            let (x, y, z) = (i % nx, i / nx % ny, i / nx / ny);
            let inside = (x * x + 2 * y * y + z * z) % 1500 < 700;
            let wave = ((x + 2 * z) % 16) as f32;
            scale * (20.0 * noise.next() + wave + if inside { 60.0 } else { 0.0 })
        })
        .collect();
    forward(&mut values, &mut Vec::new(), shape);
    values
}

fn targets(task: &Task<'_>) -> Vec<Vec<i32>> {
    let mut all = vec![Vec::new(); usize::from(task.model.qualities)];
    for (quality, target) in (0..task.model.qualities).zip(&mut all) {
        let quantiser = Quantiser::new(task.model, quality);
        quantise(
            task.coefficients,
            &task.shape,
            &quantiser,
            Preset::Balanced,
            target,
        );
    }
    all
}

/// Squared error of the block in squares of the step.
fn error(search: &mut Search<'_>, indices: &[i32]) -> f64 {
    search.find_errors(indices);
    let own = search.errors.clone();
    search.task.cpu.with_vectors(Products {
        values: &mut search.errors,
        scratch: &mut search.lines,
        shape: search.field.shape,
        weights: &search.weights,
    });
    let product = own
        .iter()
        .zip(&search.errors)
        .map(|(a, b)| f64::from(a * b));
    product.sum::<f64>() / f64::from(search.quantiser.value_step()).powi(2)
}

fn with_task<T>(dims: [usize; 3], levels: u8, f: impl FnOnce(Task<'_>) -> T) -> T {
    let shape = BlockShape { dims, depth: 4 };
    let wanted = WaveletWanted {
        reversible: false,

        levels,
        residual: Residual::None,
        coder: Coder::R,
        curve: None,
        filter: None,
    };
    let model = wavelet_models(-60, 60, 9.0, wanted).1;
    f(Task {
        coefficients: &coefficients(&shape, &model),
        shape,
        model: &model,
        cpu: CpuBackend::new(),
    })
}

fn best() -> Effort {
    Effort::of_preset(Preset::Best).unwrap()
}

/// Each round lowers squared error, as it counts, plus lambda times bits of the whole block, and by no little.
#[test]
fn every_round_lowers_the_cost() {
    for dims in [[64, 64, 64], [41, 64, 30]] {
        with_task(dims, 1, |task| {
            let mut indices = targets(&task).remove(0);
            let mut search = Search::new(task, best()).unwrap();
            search.load(&mut indices);
            search.weigh(&indices);
            let cost = |search: &mut Search<'_>, indices: &[i32]| {
                for b in 0..search.field.bands.len() {
                    search.field.choose_variant(b);
                }
                error(search, indices) + f64::from(search.lambda) * all_bits(&search.field)
            };
            let start = cost(&mut search, &indices);
            let mut before = start;
            for round in 0..3 {
                search.round(&mut indices);
                let after = cost(&mut search, &indices);
                assert!(
                    after < before,
                    "{dims:?}, round {round}: {before}, then {after}"
                );
                before = after;
            }
            assert!(
                before < 0.98 * start,
                "{dims:?}: only from {start} to {before}"
            );
        });
    }
}

/// The bits that a search counts are those that the coder writes, at every quality, and what it
/// chooses may be coded.
#[test]
fn counted_bits_are_coded_bits() {
    with_task([64, 64, 64], 3, |task| {
        let mut all = targets(&task);
        let mut search = Search::new(task, best()).unwrap();
        let mut state = CoefficientState::new();
        state.reset(task.shape);
        let mut counted = Vec::new();
        for (quality, indices) in (0..3).zip(&mut all) {
            search.begin(quality).unwrap();
            search.load(indices);
            search.weigh(indices);
            search.round(indices);
            counted.push(all_bits(&search.field) / 8.0);
        }
        let mut coded = [0.0; 3];
        for step in layer_steps(3) {
            let quality = usize::from(step.quality);
            let layer = encode_layer(
                &mut state,
                Coder::R,
                usize::from(step.lod),
                step.quality,
                &all[quality],
            );
            coded[quality] += layer.unwrap().len() as f64;
        }
        for (counted, coded) in counted.iter().zip(coded) {
            assert!(
                (counted / coded - 1.0).abs() < 0.04,
                "{counted} bytes, coded {coded}"
            );
        }
    });
}

/// A search saves bytes at every number of levels, and is the same on all vector units.
#[test]
fn results_do_not_depend_on_the_machine() {
    with_task([33, 40, 64], 2, |task| {
        let effort = Effort::of_preset(Preset::Balanced).unwrap();
        let run = |cpu: CpuBackend| {
            let mut all = targets(&task);
            Task { cpu, ..task }.run(effort, &mut all).unwrap();
            all
        };
        let first = run(CpuBackend::new());
        assert_ne!(first, targets(&task));
        for level in crate::backend::cpu::CpuLevel::available() {
            assert!(
                run(CpuBackend::with_level(level).unwrap()) == first,
                "{level:?}"
            );
        }
    });
}
