//! Trains the static tables of coder R from volumes (`.npy`) and writes the table file, for
//! wavelet coefficients or for grid weights; or the start of coder M.
//!
//! Every block is coded at several steps and level counts; the symbols of each band are counted
//! by context. Bands are then clustered into variants (whichever codes them cheapest), contexts
//! into distributions. Deterministic.

mod mixing;

use std::collections::BTreeMap;
use std::path::Path;

use hgv::bench_api::mixing::Tables;
use hgv::bench_api::{self, BlockLab, Counter};
use hgv::encode::Preset;
use hgv_bench::lab::LabVolume;

const SYMBOLS: usize = 16;
const VARIANTS: usize = 4;
const BINARY: usize = 48;
const WIDE: usize = 150;
const TOTAL: f64 = 4096.0;

/// The contexts of a table set.
#[derive(Clone, Copy)]
struct Set {
    contexts: usize,
    alphabet: fn(usize) -> usize,
    generalise: fn(usize) -> usize,
    collect: Collect,
}

/// Adds the counts of a volume to those outside bands and to the bands.
type Collect = fn(&LabVolume, &mut [[f32; SYMBOLS]], &mut Vec<Band>) -> Result<(), String>;

const WAVELET: Set = Set {
    contexts: bench_api::CONTEXTS,
    alphabet: bench_api::alphabet,
    generalise: bench_api::generalise,
    collect,
};
const GRID: Set = Set {
    contexts: bench_api::GRID_CONTEXTS,
    alphabet: bench_api::grid_alphabet,
    generalise: bench_api::grid_generalise,
    collect: collect_grid,
};

/// Counts of one band: `context * 16 + symbol` -> occurrences.
type Band = Vec<(u32, f32)>;

fn main() -> Result<(), String> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: hgv-train-tables wavelet|grid|mixing OUT.bin VOLUME.npy ..., or \
        hgv-train-tables measure-mixing TABLES.bin VOLUME.npy ...";
    let set = match args.next().as_deref() {
        Some("wavelet") => WAVELET,
        Some("grid") => GRID,
        Some("mixing") => {
            let out = args.next().ok_or(usage)?;
            let tables = mixing::train(&args.collect::<Vec<_>>())?;
            return std::fs::write(&out, tables.to_bytes()).map_err(|e| format!("{out}: {e}"));
        }
        Some("measure-mixing") => {
            let path = args.next().ok_or(usage)?;
            let file = std::fs::read(&path).map_err(|e| format!("{path}: {e}"))?;
            let tables = Tables::parse(&file).map_err(|e| e.to_string())?;
            return mixing::measure(&tables, &args.collect::<Vec<_>>());
        }
        _ => return Err(usage.into()),
    };
    let out = args.next().ok_or(usage)?;
    let (mut fixed, mut bands) = (vec![[0f32; SYMBOLS]; set.contexts], Vec::new());
    for path in args {
        let volume = LabVolume::load(Path::new(&path))?;
        let before = bands.len();
        (set.collect)(&volume, &mut fixed, &mut bands)?;
        eprintln!("{}: {} bands", volume.name, bands.len() - before);
    }
    let assigned = variants(set, &bands);
    let counts: Vec<Vec<[f32; SYMBOLS]>> = (0..VARIANTS)
        .map(|v| {
            let mut c = total(
                set,
                bands
                    .iter()
                    .zip(&assigned)
                    .filter(|(_, a)| **a == v)
                    .map(|(b, _)| b),
            );
            for (c, f) in c.iter_mut().zip(&fixed) {
                c.iter_mut().zip(f).for_each(|(c, f)| *c += f);
            }
            c
        })
        .collect();
    let file = build(set, &counts, &bands, &assigned);
    std::fs::write(&out, file).map_err(|e| format!("{out}: {e}"))
}

/// Steps as powers of two of the range, and quality levels.
const STEPS: [(f64, u8); 10] = [
    (2.5, 1),
    (3.5, 1),
    (4.5, 1),
    (5.5, 1),
    (6.5, 1),
    (7.5, 1),
    (9.0, 1),
    (4.0, 3),
    (5.5, 3),
    (7.0, 3),
];
/// Presets that use coder R: their indices differ, for one of them searches for cheaper ones.
const PRESETS: [Preset; 2] = [Preset::Fast, Preset::Balanced];

/// Symbols of a volume: a sample of its blocks at all steps under each preset, lossless too.
fn collect(
    volume: &LabVolume,
    fixed: &mut [[f32; SYMBOLS]],
    bands: &mut Vec<Band>,
) -> Result<(), String> {
    let (lo, hi) = volume.range;
    let span = f64::from(hi) - f64::from(lo);
    for (i, dims, values) in volume.sample(24) {
        let mut count = |step, levels, preset, lossless| {
            let lab = BlockLab::new(lo, hi, step, levels, 6, preset, lossless);
            let counters = lab.statistics(dims, &values).map_err(|e| e.to_string())?;
            counters.into_iter().for_each(|c| add(c, fixed, bands));
            Ok::<_, String>(())
        };
        for (exponent, levels) in STEPS {
            for preset in PRESETS {
                count(span * f64::exp2(-exponent), levels, preset, false)?;
            }
        }
        if volume.voxel_bytes <= 2 && i % 2 == 0 {
            count(3.0, 1, Preset::Balanced, true)?;
        }
    }
    Ok(())
}

/// Grid weights of a volume: a sample of its blocks at several steps, under each grid model.
fn collect_grid(
    volume: &LabVolume,
    fixed: &mut [[f32; SYMBOLS]],
    bands: &mut Vec<Band>,
) -> Result<(), String> {
    let span = f64::from(volume.range.1) - f64::from(volume.range.0);
    for (_, dims, values) in volume.sample(12) {
        // Mostly dense levels, and for the sake of hash tables some small ones.
        let dense = [1.5, 2.5, 3.5, 4.5, 5.5, 7.0, 9.0].map(|e| (e, 22));
        let hashed = [(3.0, 12), (5.0, 15), (7.0, 17)];
        for (exponent, table_log2) in dense.into_iter().chain(hashed) {
            let step = span * f64::exp2(-exponent);
            let (low, high) = volume.range;
            let lab = BlockLab::new(low, high, step, 1, 6, Preset::Balanced, false)
                .with_table_log2(table_log2);
            let counters = lab.grid_statistics(dims, &values);
            for counter in counters.map_err(|e| e.to_string())? {
                add(counter, fixed, bands);
            }
        }
    }
    Ok(())
}

fn add(counter: Counter, fixed: &mut [[f32; SYMBOLS]], bands: &mut Vec<Band>) {
    for (i, list) in counter.bands.into_iter().enumerate() {
        if i == 0 {
            for (context, symbol) in list {
                fixed[usize::from(context)][usize::from(symbol)] += 1.0;
            }
            continue;
        }
        let mut counts = BTreeMap::new();
        for (context, symbol) in list {
            *counts
                .entry(u32::from(context) * 16 + u32::from(symbol))
                .or_insert(0f32) += 1.0;
        }
        bands.push(counts.into_iter().collect());
    }
}

fn total<'a>(set: Set, bands: impl Iterator<Item = &'a Band>) -> Vec<[f32; SYMBOLS]> {
    let mut counts = vec![[0f32; SYMBOLS]; set.contexts];
    for &(key, n) in bands.flatten() {
        counts[key as usize / SYMBOLS][key as usize % SYMBOLS] += n;
    }
    counts
}

/// Cost in bits of every symbol, smoothed by the class of the context and a flat prior.
fn costs(set: Set, counts: &[[f32; SYMBOLS]]) -> Vec<[f32; SYMBOLS]> {
    probabilities(set, counts)
        .into_iter()
        .map(|p| p.map(|p| -(p.max(1e-5)).log2()))
        .collect()
}

fn probabilities(set: Set, counts: &[[f32; SYMBOLS]]) -> Vec<[f32; SYMBOLS]> {
    let mut classes: BTreeMap<usize, [f32; SYMBOLS]> = BTreeMap::new();
    for (c, row) in counts.iter().enumerate() {
        let class = classes.entry((set.generalise)(c)).or_insert([0.0; SYMBOLS]);
        class.iter_mut().zip(row).for_each(|(a, b)| *a += b);
    }
    (0..counts.len())
        .map(|c| {
            let n = (set.alphabet)(c);
            let class = &classes[&(set.generalise)(c)];
            let class_sum: f32 = class[..n].iter().sum();
            let prior = |s: usize| (class[s] + falling(s) * 0.5) / (class_sum + 1.0);
            let sum: f32 = counts[c][..n].iter().sum();
            let mut p = [0.0; SYMBOLS];
            for (s, p) in p.iter_mut().enumerate().take(n) {
                *p = (counts[c][s] + 6.0 * prior(s)) / (sum + 6.0);
            }
            let sum: f32 = p.iter().sum();
            p.map(|v| v / sum)
        })
        .collect()
}

fn falling(s: usize) -> f32 {
    0.5f32.powi(s as i32)
}

fn cost_of(band: &Band, costs: &[[f32; SYMBOLS]]) -> f32 {
    band.iter()
        .map(|&(k, n)| n * costs[k as usize / SYMBOLS][k as usize % SYMBOLS])
        .sum()
}

/// Assigns each band to one of the variants by alternating between assignment and statistics.
fn variants(set: Set, bands: &[Band]) -> Vec<usize> {
    let global = costs(set, &total(set, bands.iter()));
    // First guess: how surprising the band is beside what the statistics expect of its contexts.
    let entropy: Vec<f32> = global
        .iter()
        .map(|c| {
            c.iter()
                .map(|&b| if b < 16.0 { b * (-b).exp2() } else { 0.0 })
                .sum()
        })
        .collect();
    let mut order: Vec<(f32, usize)> = bands
        .iter()
        .enumerate()
        .map(|(i, b)| {
            let expected: f32 = b
                .iter()
                .map(|&(k, n)| n * entropy[k as usize / SYMBOLS])
                .sum();
            (cost_of(b, &global) / expected.max(1.0), i)
        })
        .collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut assigned = vec![0; bands.len()];
    for (rank, &(_, i)) in order.iter().enumerate() {
        assigned[i] = rank * VARIANTS / order.len();
    }
    let mut last = f64::MAX;
    for round in 0..12 {
        let tables: Vec<_> = (0..VARIANTS)
            .map(|v| {
                costs(
                    set,
                    &total(
                        set,
                        bands
                            .iter()
                            .zip(&assigned)
                            .filter(|(_, a)| **a == v)
                            .map(|(b, _)| b),
                    ),
                )
            })
            .collect();
        let mut sum = 0f64;
        for (band, a) in bands.iter().zip(&mut assigned) {
            let by: Vec<f32> = tables.iter().map(|t| cost_of(band, t)).collect();
            *a = (0..VARIANTS)
                .min_by(|&x, &y| by[x].total_cmp(&by[y]))
                .unwrap_or(0);
            sum += f64::from(by[*a]);
        }
        eprintln!("round {round}: {:.0} bytes", sum / 8.0);
        if sum > last * 0.9995 {
            break;
        }
        last = sum;
    }
    assigned
}

/// Clusters the distributions of all contexts and variants, and lays out the file.
fn build(set: Set, counts: &[Vec<[f32; SYMBOLS]>], bands: &[Band], assigned: &[usize]) -> Vec<u8> {
    let mut rows = Vec::new();
    for (v, variant) in counts.iter().enumerate() {
        for (c, p) in probabilities(set, variant).into_iter().enumerate() {
            let weight: f32 = variant[c].iter().sum();
            rows.push(Row {
                variant: v,
                context: c,
                p,
                weight: weight + 1e-3,
            });
        }
    }
    // What no band codes (variant choice itself) must be cheap in variant 0.
    let mut chosen = [0f32; VARIANTS];
    for &a in assigned {
        chosen[a] += 1.0;
    }
    let share = chosen.map(|c| (c + 1.0) / (bands.len() + VARIANTS) as f32);
    let mut distributions: Vec<[f32; SYMBOLS]> = Vec::new();
    let mut map = vec![vec![0u8; set.contexts]; VARIANTS];
    for (symbols, clusters) in [(2, BINARY), (4, 1), (9, 12), (16, WIDE)] {
        let mut family: Vec<Row> = rows
            .iter()
            .filter(|r| (set.alphabet)(r.context) == symbols)
            .cloned()
            .collect();
        if symbols == 4 {
            for row in &mut family {
                row.p = [0.0; SYMBOLS];
                row.p[..VARIANTS].copy_from_slice(&share);
            }
        }
        if family.is_empty() {
            continue;
        }
        let (centres, members) = cluster(&family, clusters);
        for (row, m) in family.iter().zip(members) {
            map[row.variant][row.context] = (distributions.len() + m) as u8;
        }
        distributions.extend(centres.iter().map(|p| limit(p, symbols)));
    }
    let mut file = b"HGVR".to_vec();
    file.extend((distributions.len() as u16).to_le_bytes());
    file.extend((VARIANTS as u16).to_le_bytes());
    file.extend((set.contexts as u32).to_le_bytes());
    file.extend(
        distributions
            .iter()
            .flat_map(quantise)
            .flat_map(u16::to_le_bytes),
    );
    file.extend(map.into_iter().flatten());
    eprintln!(
        "{} distributions, {} bytes",
        distributions.len(),
        file.len()
    );
    file
}

#[derive(Clone)]
struct Row {
    variant: usize,
    context: usize,
    p: [f32; SYMBOLS],
    weight: f32,
}

/// Zero outside the alphabet.
fn limit(p: &[f32; SYMBOLS], symbols: usize) -> [f32; SYMBOLS] {
    std::array::from_fn(|s| if s < symbols { p[s].max(1e-6) } else { 0.0 })
}

/// k-means under the Kullback-Leibler divergence, started from quantiles of the mean symbol.
fn cluster(rows: &[Row], k: usize) -> (Vec<[f32; SYMBOLS]>, Vec<usize>) {
    let mean = |r: &Row| -> f32 {
        r.p.iter()
            .enumerate()
            .map(|(s, p)| (s as f32).min(6.0) * p)
            .sum::<f32>()
    };
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by(|&a, &b| mean(&rows[a]).total_cmp(&mean(&rows[b])));
    let total: f32 = rows.iter().map(|r| r.weight.sqrt()).sum();
    let mut members = vec![0; rows.len()];
    let mut sum = 0.0;
    for &i in &order {
        members[i] = ((sum / total * k as f32) as usize).min(k - 1);
        sum += rows[i].weight.sqrt();
    }
    let mut centres = Vec::new();
    for _ in 0..30 {
        centres = vec![[1e-6f32; SYMBOLS]; k];
        for (row, &m) in rows.iter().zip(&members) {
            centres[m]
                .iter_mut()
                .zip(row.p)
                .for_each(|(c, p)| *c += p * row.weight);
        }
        for c in &mut centres {
            let sum: f32 = c.iter().sum();
            c.iter_mut().for_each(|v| *v /= sum);
        }
        let bits: Vec<[f32; SYMBOLS]> = centres
            .iter()
            .map(|c| c.map(|v| -v.max(1e-6).log2()))
            .collect();
        for (row, m) in rows.iter().zip(&mut members) {
            let cost =
                |b: &[f32; SYMBOLS]| -> f32 { b.iter().zip(row.p).map(|(b, p)| b * p).sum() };
            *m = (0..k)
                .min_by(|&x, &y| cost(&bits[x]).total_cmp(&cost(&bits[y])))
                .unwrap_or(0);
        }
    }
    (centres, members)
}

/// Frequencies that sum to 4096; every symbol of the alphabet keeps at least one.
fn quantise(p: &[f32; SYMBOLS]) -> [u16; SYMBOLS] {
    let sum: f64 = p.iter().map(|&v| f64::from(v)).sum();
    let mut f = p.map(|v| {
        if v > 0.0 {
            ((f64::from(v) / sum * TOTAL).round() as i32).max(1)
        } else {
            0
        }
    });
    let mut excess = f.iter().sum::<i32>() - TOTAL as i32;
    while excess != 0 {
        let i = (0..SYMBOLS).max_by_key(|&i| f[i]).unwrap_or(0);
        let change = excess.clamp(1 - f[i], i32::MAX);
        f[i] -= change;
        excess -= change;
    }
    f.map(|v| v as u16)
}
