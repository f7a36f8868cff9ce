//! Random blocks for the tests of coder R, and damage to bytes.

use hgv::codec::bands::BlockShape;
use hgv::codec::{Coder, Coefficient, CoefficientState, decode_layer, encode_layer};

/// Numbers that look random and are the same every time.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// A block as its layers.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) shape: BlockShape,
    pub(crate) wide: bool,
    /// Level of detail and quality of each layer.
    pub(crate) steps: Vec<(u8, u8)>,
    pub(crate) layers: Vec<Vec<u8>>,
    /// Indices at each quality, for random blocks.
    pub(crate) targets: Vec<Vec<i32>>,
}

const TABLES: [&[(u8, u8)]; 6] = [
    &[(2, 0), (1, 0), (0, 0)],
    &[(0, 0)],
    &[(2, 0), (1, 0), (0, 0), (0, 1), (0, 2)],
    &[(3, 0), (0, 0), (1, 1), (0, 1), (2, 2), (0, 2), (0, 3)],
    &[(1, 0), (1, 1), (0, 0), (0, 1)],
    &[
        (0, 0),
        (0, 1),
        (0, 2),
        (0, 3),
        (0, 4),
        (0, 5),
        (0, 6),
        (0, 7),
    ],
];

impl Case {
    /// A random block of these extents.
    pub(crate) fn new(random: &mut Random, block_log2: u32, dims: [usize; 3], wide: bool) -> Self {
        let shape = BlockShape {
            dims,
            depth: block_log2 as usize - 2,
        };
        // The fifth table brings quality 1 before quality 0 is everywhere, which no file may do.
        let table = [0, 1, 2, 3, 5][random.below(5) as usize];
        let steps = TABLES[table].to_vec();
        let qualities = steps.iter().map(|s| s.1).max().unwrap() + 1;
        let targets = targets(random, shape.voxels(), qualities, wide);
        let mut case = Self {
            name: format!("{dims:?} of 2^{block_log2}, table {table}, wide {wide}"),
            shape,
            wide,
            steps,
            layers: Vec::new(),
            targets,
        };
        case.layers = case.encode();
        case
    }

    /// Layers by the CPU.
    pub(crate) fn encode(&self) -> Vec<Vec<u8>> {
        if self.wide {
            self.encode_as::<i32>(|k| k)
        } else {
            self.encode_as::<i16>(|k| k as i16)
        }
    }

    fn encode_as<E: Coefficient>(&self, narrow: impl Fn(i32) -> E) -> Vec<Vec<u8>> {
        let mut state = CoefficientState::<E>::new();
        state.reset(self.shape);
        let layers = self.steps.iter().map(|&(lod, quality)| {
            let target: Vec<E> = self.targets[usize::from(quality)]
                .iter()
                .map(|&k| narrow(k))
                .collect();
            encode_layer(&mut state, Coder::R, lod.into(), quality, &target).unwrap()
        });
        layers.collect()
    }

    /// Indices by the CPU.
    pub(crate) fn decode(&self) -> hgv::Result<Vec<i32>> {
        if self.wide {
            self.decode_as::<i32>()
        } else {
            self.decode_as::<i16>()
        }
    }

    fn decode_as<E: Coefficient>(&self) -> hgv::Result<Vec<i32>> {
        let mut state = CoefficientState::<E>::new();
        state.reset(self.shape);
        for (&(lod, quality), bytes) in self.steps.iter().zip(&self.layers) {
            decode_layer(&mut state, Coder::R, lod.into(), quality, bytes)?;
        }
        Ok(state.indices().iter().map(|&k| k.into()).collect())
    }

    /// The same with a change to one of its layers.
    pub(crate) fn damaged(&self, random: &mut Random) -> Self {
        let mut case = self.clone();
        let number = random.below(case.layers.len() as u64) as usize;
        damage(random, &mut case.layers[number]);
        case.name = format!("{} with layer {number} damaged", case.name);
        case
    }
}

/// Changes a few bytes, or the length, or nothing that matters.
pub(crate) fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
    let at = |random: &mut Random, len: usize| random.below(len.max(1) as u64) as usize;
    match random.below(6) {
        0 => bytes.truncate(at(random, bytes.len())),
        1 => bytes.push(random.next() as u8),
        2 if !bytes.is_empty() => bytes[0] = random.below(8) as u8,
        3 => {
            let len = bytes.len();
            bytes.clear();
            bytes.extend((0..len).map(|_| random.next() as u8));
            if let Some(first) = bytes.first_mut() {
                *first %= 6;
            }
        }
        _ => {
            for _ in 0..=random.below(2) {
                let i = at(random, bytes.len());
                if let Some(byte) = bytes.get_mut(i) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
}

/// Indices at each quality: regions that are empty, sparse or dense, small or huge.
fn targets(random: &mut Random, voxels: usize, qualities: u8, wide: bool) -> Vec<Vec<i32>> {
    let style = random.below(6);
    let top = if wide {
        i64::from(i32::MAX)
    } else {
        i64::from(i16::MAX)
    };
    let mut all = vec![vec![0i64; voxels]];
    let mut run = (0, 0);
    for k in &mut all[0] {
        if run.0 == 0 {
            run = (1 + random.below(700), random.below(4));
        }
        run.0 -= 1;
        *k = fresh(random, style, run.1, top);
    }
    for _ in 1..qualities {
        let before = all.last().unwrap().clone();
        let next = before.iter().map(|&k| match k {
            0 if style == 5 => 0,
            0 if random.below(9) == 0 => fresh(random, style, 2, top),
            0 => 0,
            _ if style == 5 => (4 * k).clamp(-top - 1, top),
            _ => {
                let moved = 4 * k + random.below(9) as i64 - 4;
                // A magnitude that saturates cannot be refined any more.
                if moved.abs() > top {
                    4 * k.signum() * (top / 4)
                } else {
                    moved
                }
            }
        });
        all.push(next.collect());
    }
    if qualities > 1 {
        limit(&mut all, top);
    }
    let narrow = |list: Vec<i64>| list.into_iter().map(|k| k as i32).collect();
    all.into_iter().map(narrow).collect()
}

/// Sets to 0 what would leave the working type before the last quality.
fn limit(all: &mut [Vec<i64>], top: i64) {
    let last = all.len() - 1;
    for i in 0..all[0].len() {
        if all
            .iter()
            .enumerate()
            .any(|(q, list)| list[i].abs() > top >> (2 * (last - q)) >> 1)
        {
            all.iter_mut().for_each(|list| list[i] = 0);
        }
    }
}

fn fresh(random: &mut Random, style: u64, region: u64, top: i64) -> i64 {
    let sign = 1 - 2 * random.below(2) as i64;
    let size = match (style, region) {
        (_, 0) => 0,
        (0, _) => 1 + random.below(3),
        (1, 1) => u64::from(random.below(40) == 0),
        (1, _) => random.below(3),
        (2, _) => random.below(30) * random.below(30),
        (3, 1) => random.next() % (top as u64 + 1),
        (3, _) => 1 << random.below(15),
        (4, _) => u64::from(random.below(300) == 0) * (1 + random.below(100)),
        _ => random.below(9).saturating_sub(4),
    };
    sign * (size as i64).min(top)
}

/// Extents of a block that may be cut at any side, few enough voxels to emulate fast.
pub(crate) fn random_dims(random: &mut Random, block_log2: u32) -> [usize; 3] {
    let side = 1u64 << block_log2;
    let mut extent = |_| match random.below(5) {
        0 => side,
        1 => 1 + random.below(3),
        _ => 1 + random.below(side.min(40)),
    } as usize;
    let dims = [0, 1, 2].map(&mut extent);
    if dims.iter().product::<usize>() > 40_000 {
        [dims[0], dims[1].min(9), dims[2].min(17)]
    } else {
        dims
    }
}

/// A random block that may be cut at any side.
pub(crate) fn random_case(random: &mut Random, block_log2: u32) -> Case {
    let dims = random_dims(random, block_log2);
    let wide = random.below(2) == 0;
    Case::new(random, block_log2, dims, wide)
}
