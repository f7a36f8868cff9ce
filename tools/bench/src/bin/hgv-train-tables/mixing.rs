//! Trains the start of coder M: weights of the terms, probabilities and counts of slots, mixing
//! weights.

use std::path::Path;

use hgv::bench_api::mixing::{
    ADAPTIVE, CURVE, Decider, KINDS, MAGNITUDE_TERMS, Mixer, RATE, SIGN_TERMS, SLOTS, Tables,
    Trainer, Traversal, WEIGHTS, followed,
};
use hgv::bench_api::{BlockLab, MixingBlock};
use hgv::encode::Preset;
use hgv_bench::lab::LabVolume;

/// Blocks of a volume, and the steps as powers of two of its range.
const BLOCKS: usize = 14;
const STEPS: [(f64, u8); 11] = [
    (2.5, 1),
    (3.25, 1),
    (4.0, 1),
    (4.75, 1),
    (5.5, 1),
    (6.25, 1),
    (7.0, 1),
    (8.0, 1),
    (9.0, 1),
    (4.0, 3),
    (5.5, 3),
];
/// Blocks with more indices that are not zero than this share of all are coded at ratios that
/// nobody asks for; for each byte of a voxel.
const BUSIEST: f64 = 0.2;
/// Numbers of bits that a trained probability may be worth.
const WORTHS: [u8; 8] = [1, 2, 4, 8, 16, 32, 80, 254];
/// Mixing weights before training, and the rates of the two rounds.
const FIRST_WEIGHT: i32 = 65_536 * 3 / 10;
const SINGLE_WEIGHT: i32 = 65_536;
const ROUNDS: [i32; 2] = [10, 4];
/// Magnitudes over this do not pull the weights of terms.
const CLIP: i32 = 12;

/// Tables trained from volumes.
pub(super) fn train(volumes: &[String]) -> Result<Tables, String> {
    let mut blocks = Vec::new();
    for path in volumes {
        let volume = LabVolume::load(Path::new(path))?;
        let before = blocks.len();
        collect(&volume, &mut blocks)?;
        eprintln!("{}: {} blocks", volume.name, blocks.len() - before);
    }
    shuffle(&mut blocks);
    let mut training = Training {
        blocks,
        buffers: Traversal::default(),
        tables: blank(),
    };
    for _ in 0..2 {
        training.fit_terms()?;
    }
    eprintln!("terms fitted");
    training.set_probabilities()?;
    training.set_counts()?;
    eprintln!("slots set");
    training.set_weights()?;
    Ok(training.tables)
}

/// Prints what the blocks of volumes cost under tables, volume by volume: for volumes that the
/// tables were not trained on, too.
pub(super) fn measure(tables: &Tables, volumes: &[String]) -> Result<(), String> {
    for path in volumes {
        let volume = LabVolume::load(Path::new(path))?;
        let (mut blocks, mut bits) = (Vec::new(), 0.0);
        collect(&volume, &mut blocks)?;
        let mut mixer = Mixer::default();
        for block in &blocks {
            mixer.start(tables);
            let mut trainer = Trainer {
                tables,
                mixer: &mut mixer,
                rate: RATE,
                bits: 0.0,
            };
            run(block, &mut Traversal::default(), &mut trainer)?;
            bits += trainer.bits;
        }
        eprintln!("{}: {:.0} bytes", volume.name, bits / 8.0);
    }
    Ok(())
}

fn collect(volume: &LabVolume, blocks: &mut Vec<MixingBlock>) -> Result<(), String> {
    let span = f64::from(volume.range.1) - f64::from(volume.range.0);
    for (_, dims, values) in volume.sample(BLOCKS) {
        for (exponent, levels) in STEPS {
            let (lo, hi) = volume.range;
            let step = span * f64::exp2(-exponent);
            let lab = BlockLab::new(lo, hi, step, levels, 6, Preset::Best, false);
            let block = lab.indices(dims, &values).map_err(|e| e.to_string())?;
            let busy = block.nonzero() as f64 / values.len() as f64;
            if busy > 0.0 && busy < BUSIEST * volume.voxel_bytes as f64 {
                blocks.push(block);
            }
        }
    }
    Ok(())
}

/// An order that depends on nothing.
fn shuffle<T>(list: &mut [T]) {
    let mut state = 1u64;
    for i in (1..list.len()).rev() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        list.swap(i, (state >> 33) as usize % (i + 1));
    }
}

/// Tables before training: the curves, equal terms.
fn blank() -> Tables {
    let stretch = |i: usize| {
        let p = (i as f64 + 0.5) / CURVE as f64;
        ((p / (1.0 - p)).ln() * 256.0)
            .round()
            .clamp(-2047.0, 2047.0) as i16
    };
    let squash = |i: usize| {
        let x = (i as f64 - 2048.0) / 256.0;
        (65_536.0 / (1.0 + (-x).exp()))
            .round()
            .clamp(24.0, 65_512.0) as u16
    };
    let mut weights = vec![FIRST_WEIGHT; WEIGHTS];
    let single = WEIGHTS - 8;
    weights[single..].fill(SINGLE_WEIGHT);
    Tables {
        stretch: (0..CURVE).map(stretch).collect(),
        squash: (0..CURVE).map(squash).collect(),
        magnitude: vec![[12; MAGNITUDE_TERMS]; KINDS],
        sign: vec![[0; SIGN_TERMS]; KINDS],
        probabilities: vec![1 << 15; SLOTS],
        counts: vec![0; SLOTS],
        weights,
    }
}

fn run<D: Decider>(
    block: &MixingBlock,
    buffers: &mut Traversal,
    decider: &mut D,
) -> Result<(), String> {
    block.run(buffers, decider).map_err(|e| e.to_string())
}

struct Training {
    blocks: Vec<MixingBlock>,
    buffers: Traversal,
    tables: Tables,
}

impl Training {
    /// Weights of the terms by least squares, given those before.
    fn fit_terms(&mut self) -> Result<(), String> {
        let mut fit = Fit {
            tables: &self.tables.clone(),
            magnitude: vec![Squares::new(); KINDS],
            sign: vec![Squares::new(); KINDS],
        };
        for block in self.blocks.iter().step_by(2) {
            run(block, &mut self.buffers, &mut fit)?;
        }
        let Fit {
            magnitude, sign, ..
        } = fit;
        for (kind, squares) in magnitude.iter().enumerate() {
            if let Some(w) = squares.solve(true) {
                self.tables.magnitude[kind] =
                    w.map(|w| (w * 256.0).round().clamp(0.0, 255.0) as u8);
            }
        }
        for (kind, squares) in sign.iter().enumerate() {
            if let Some(w) = squares.solve(false) {
                self.tables.sign[kind] = w.map(|w| (w * 256.0).round().clamp(-127.0, 127.0) as i8);
            }
        }
        Ok(())
    }

    /// Each slot starts with the share of ones in it.
    fn set_probabilities(&mut self) -> Result<(), String> {
        let mut counts = Counts {
            tables: &self.tables.clone(),
            bits: vec![[0.4; 2]; SLOTS],
        };
        for block in &self.blocks {
            run(block, &mut self.buffers, &mut counts)?;
        }
        for (p, [zeros, ones]) in self.tables.probabilities.iter_mut().zip(counts.bits) {
            *p = (ones / (zeros + ones) * 65_536.0)
                .round()
                .clamp(16.0, 65_519.0) as u16;
        }
        Ok(())
    }

    /// Each slot that learns is worth as many bits as code its own blocks best.
    fn set_counts(&mut self) -> Result<(), String> {
        let mut trials = Trials::new(&self.tables);
        for block in &self.blocks {
            trials.restart();
            run(block, &mut self.buffers, &mut trials)?;
        }
        let best = trials.best();
        self.tables.counts[..ADAPTIVE].copy_from_slice(&best);
        Ok(())
    }

    /// Mixing weights by running on from block to block.
    fn set_weights(&mut self) -> Result<(), String> {
        let mut mixer = Mixer::default();
        mixer.start(&self.tables);
        for rate in ROUNDS {
            let mut bits = 0.0;
            for block in &self.blocks {
                let weights = std::mem::take(&mut mixer.weights);
                mixer.start(&self.tables);
                mixer.weights = weights;
                let mut trainer = Trainer {
                    tables: &self.tables,
                    mixer: &mut mixer,
                    rate,
                    bits: 0.0,
                };
                run(block, &mut self.buffers, &mut trainer)?;
                bits += trainer.bits;
            }
            eprintln!("{:.0} bytes at rate {rate}", bits / 8.0);
        }
        self.tables.weights = mixer.weights;
        Ok(())
    }
}

/// Normal equations of weighted least squares.
#[derive(Clone)]
struct Squares<const N: usize> {
    a: Box<[[f64; N]; N]>,
    b: [f64; N],
    samples: f64,
}

impl<const N: usize> Squares<N> {
    fn new() -> Self {
        Self {
            a: Box::new([[0.0; N]; N]),
            b: [0.0; N],
            samples: 0.0,
        }
    }

    fn add(&mut self, terms: &[i32; N], weight: f64, wanted: f64) {
        self.samples += 1.0;
        for (i, &t) in terms.iter().enumerate().filter(|(_, t)| **t != 0) {
            let t = f64::from(t) * weight;
            for (a, &u) in self.a[i].iter_mut().zip(terms) {
                *a += t * f64::from(u);
            }
            self.b[i] += t * wanted;
        }
    }

    /// The best weights, by coordinate descent; `None` without enough samples.
    fn solve(&self, positive: bool) -> Option<[f64; N]> {
        if self.samples < 300.0 {
            return None;
        }
        let mut w = [0.0; N];
        for _ in 0..300 {
            for i in 0..N {
                let diagonal = self.a[i][i] * 1.001 + 1.0;
                let others: f64 = (0..N)
                    .filter(|&j| j != i)
                    .map(|j| self.a[i][j] * w[j])
                    .sum();
                let best = (self.b[i] - others) / diagonal;
                w[i] = if positive { best.max(0.0) } else { best };
            }
        }
        Some(w)
    }
}

struct Fit<'a> {
    tables: &'a Tables,
    magnitude: Vec<Squares<MAGNITUDE_TERMS>>,
    sign: Vec<Squares<SIGN_TERMS>>,
}

impl Decider for Fit<'_> {
    const ENCODES: bool = true;

    fn tables(&self) -> &Tables {
        self.tables
    }

    fn decide<const N: usize>(&mut self, _: [usize; N], _: [usize; 2], bit: bool) -> bool {
        bit
    }

    fn even(&mut self, bit: bool) -> bool {
        bit
    }

    fn watch_magnitude(&mut self, kind: usize, terms: &[i32; MAGNITUDE_TERMS], index: i32) {
        let pairs = terms.iter().zip(&self.tables.magnitude[kind]);
        let expected: f64 = pairs
            .map(|(&t, &w)| f64::from(t) * f64::from(w))
            .sum::<f64>()
            / 256.0;
        // The spread of a magnitude grows with what is expected.
        let weight = 1.0 / ((0.2 + expected) * (1.0 + 0.05 * expected));
        let wanted = f64::from(index.saturating_abs().min(CLIP));
        self.magnitude[kind].add(terms, weight, wanted);
    }

    fn watch_sign(&mut self, kind: usize, terms: &[i32; SIGN_TERMS], expected: i32, index: i32) {
        let expected = 0.3 + f64::from(expected) / 256.0;
        let wanted = f64::from(index.clamp(-CLIP, CLIP));
        self.sign[kind].add(terms, 1.0 / (expected * expected), wanted);
    }
}

struct Counts<'a> {
    tables: &'a Tables,
    bits: Vec<[f64; 2]>,
}

impl Decider for Counts<'_> {
    const ENCODES: bool = true;

    fn tables(&self) -> &Tables {
        self.tables
    }

    fn decide<const N: usize>(&mut self, slots: [usize; N], _: [usize; 2], bit: bool) -> bool {
        for s in slots {
            self.bits[s][usize::from(bit)] += 1.0;
        }
        bit
    }

    fn even(&mut self, bit: bool) -> bool {
        bit
    }
}

/// What slots cost if their probability is worth so many bits at the start of a block.
struct Trials<'a> {
    tables: &'a Tables,
    now: Vec<[(u16, u8); WORTHS.len()]>,
    costs: Vec<[f64; WORTHS.len()]>,
    touched: Vec<usize>,
}

impl<'a> Trials<'a> {
    fn new(tables: &'a Tables) -> Self {
        let start = |s: usize| WORTHS.map(|n| (tables.probabilities[s], n));
        Self {
            tables,
            now: (0..ADAPTIVE).map(start).collect(),
            costs: vec![[0.0; WORTHS.len()]; ADAPTIVE],
            touched: Vec::new(),
        }
    }

    fn restart(&mut self) {
        for s in self.touched.drain(..) {
            self.now[s] = WORTHS.map(|n| (self.tables.probabilities[s], n));
        }
    }

    fn best(&self) -> Vec<u8> {
        let cheapest = |costs: &[f64; WORTHS.len()]| {
            let best = (1..WORTHS.len()).fold(0, |b, i| if costs[i] < costs[b] { i } else { b });
            WORTHS[best]
        };
        self.costs.iter().map(cheapest).collect()
    }
}

impl Decider for Trials<'_> {
    const ENCODES: bool = true;

    fn tables(&self) -> &Tables {
        self.tables
    }

    fn decide<const N: usize>(&mut self, slots: [usize; N], _: [usize; 2], bit: bool) -> bool {
        for s in slots.into_iter().filter(|s| *s < ADAPTIVE) {
            self.touched.push(s);
            for ((p, n), cost) in self.now[s].iter_mut().zip(&mut self.costs[s]) {
                let one = f64::from(*p) / 65_536.0;
                *cost -= if bit { one } else { 1.0 - one }.log2();
                *p = followed(*p, *n, bit);
                *n = n.saturating_add(1).min(254);
            }
        }
        bit
    }

    fn even(&mut self, bit: bool) -> bool {
        bit
    }
}
