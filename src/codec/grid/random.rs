//! Random grid models and weights, for tests and for inputs to start fuzzing from.

use super::weights::{BlockNetwork, GridWeights};
use crate::model::grid::{
    GridLevel, GridModel, MAX_INPUTS, MAX_STEP, MAX_WEIGHT, Matrix, Network, NetworkShape, Order,
};

/// A small generator of random numbers (SplitMix64).
#[derive(Debug)]
pub struct Numbers(pub u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut h = self.0;
        h = (h ^ (h >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        h = (h ^ (h >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        h ^ (h >> 31)
    }

    /// `0..n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// `1..=most`, every order of magnitude alike.
    fn magnitude(&mut self, most: u64) -> u64 {
        let order = self.below(u64::from(most.ilog2()) + 1);
        let low = 1 << order;
        (low + self.below(low)).min(most)
    }

    /// `-most..=most`, every order of magnitude alike.
    fn signed(&mut self, most: i32) -> i32 {
        let magnitude = self.magnitude(u64::from(most.unsigned_abs())) as i32;
        if self.below(2) == 0 {
            magnitude
        } else {
            -magnitude
        }
    }
}

/// A model that a block of `dims` voxels may have, with weights in `layers` layers.
pub fn model(numbers: &mut Numbers, dims: [usize; 3], layers: u64) -> GridModel {
    let mut spacing = [0; 3].map(|_| numbers.below(8) as u8);
    let mut layer = 0;
    let levels = (0..=numbers.below(5)).map(|_| {
        spacing = spacing.map(|k| k.saturating_sub(numbers.below(3) as u8));
        layer = (layer + numbers.below(2)).min(layers - 1);
        level(numbers, spacing, layer as u8)
    });
    let mut model = GridModel {
        order: Order::Linear,
        frac_bits: 0,
        residual: crate::model::Residual::None,
        mask: false,
        levels: levels.collect(),
        network: None,
        base: None,
    };
    while model.levels.len() > 1
        && (model.check_block(dims).is_err() || model.inputs() > MAX_INPUTS)
    {
        model.levels.pop();
    }
    if numbers.below(2) == 0 {
        model.order = Order::Cubic;
    }
    model.frac_bits = numbers.below(41) as i8 - 16;
    if model.inputs() > 0 && numbers.below(3) > 0 {
        let (hidden, width) = (1 + numbers.below(2) as u8, 8 + 8 * numbers.below(4) as u8);
        model.network = Some(NetworkShape { hidden, width });
        model.base = (numbers.below(2) == 0).then(|| network(numbers, &model));
    }
    model
}

fn level(numbers: &mut Numbers, spacing: [u8; 3], layer: u8) -> GridLevel {
    let features = 1 + numbers.below(4);
    let hashed = numbers.below(2) == 0;
    // Half of all steps are such that nothing wraps.
    let top = if numbers.below(2) == 0 {
        1 << 24
    } else {
        MAX_STEP
    };
    GridLevel {
        spacing,
        table_log2: if hashed { numbers.below(12) as u8 } else { 22 },
        layer,
        skip: numbers.below(1 << features) as u8,
        input_shift: (numbers.below(2) == 0).then(|| numbers.below(25) as u8),
        steps: (0..features).map(|_| numbers.magnitude(top)).collect(),
    }
}

fn network(numbers: &mut Numbers, model: &GridModel) -> Network {
    let mut matrix = |[outputs, inputs]: [usize; 2]| Matrix {
        shift: 1 + numbers.below(24) as u8,
        weights: (0..outputs * inputs)
            .map(|_| numbers.below(255) as i32 - 127)
            .map(|w| w as i8)
            .collect(),
        biases: (0..outputs)
            .map(|_| numbers.signed(32_767) as i16)
            .collect(),
    };
    Network {
        matrices: model.matrices().into_iter().map(&mut matrix).collect(),
    }
}

/// Weights of a block: features of zeros, of few and of many weights, of every magnitude.
pub fn weights(numbers: &mut Numbers, model: &GridModel, dims: [usize; 3]) -> GridWeights {
    let mut weights = GridWeights::default();
    weights.reset(model, dims);
    for feature in weights.levels.iter_mut().flat_map(|l| &mut l.features) {
        let rare = [0, 1, 2, 20, 300][numbers.below(5) as usize];
        let most = [1, 20, 5000, MAX_WEIGHT][numbers.below(4) as usize];
        for w in feature.iter_mut().filter(|_| rare > 0) {
            *w = if numbers.below(rare) == 0 {
                numbers.signed(most)
            } else {
                0
            };
        }
    }
    weights.network = match numbers.below(3) {
        0 if model.base.is_some() => BlockNetwork::Base,
        1 if model.network.is_some() => BlockNetwork::Own(network(numbers, model)),
        _ => BlockNetwork::None,
    };
    weights
}
