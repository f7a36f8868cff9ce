#![allow(clippy::unwrap_used)]
use super::random::{self, Numbers};
use super::*;
use crate::model::grid::MAX_WEIGHT;
use proptest::prelude::*;

const LAYERS: usize = 4;

fn encoded(model: &GridModel, weights: &GridWeights) -> Vec<Vec<u8>> {
    let mut weights = weights.clone();
    let layer = |i| encode_grid_layer(model, i, &mut weights).unwrap();
    (0..LAYERS).map(layer).collect()
}

proptest! {
    /// Weights of every magnitude come back exactly, dense and hashed, and so does the network. A
    /// layer says nothing of the others.
    #[test]
    fn weights_come_back(seed in any::<u64>(), dims in [1usize..=33, 1usize..=20, 1usize..=17]) {
        let mut numbers = Numbers(seed);
        let model = random::model(&mut numbers, dims, LAYERS as u64);
        prop_assert_eq!(&GridModel::from_bytes(&model.to_bytes()).unwrap(), &model);
        let wanted = random::weights(&mut numbers, &model, dims);
        let mut decoded = GridWeights::default();
        decoded.reset(&model, dims);
        for (i, bytes) in encoded(&model, &wanted).iter().enumerate() {
            decode_grid_layer(&model, i, bytes, &mut decoded).unwrap();
            for (level, (a, b)) in model.levels.iter().zip(decoded.levels.iter().zip(&wanted.levels)) {
                let known = usize::from(level.layer) <= i;
                prop_assert!((known && a == b) || (!known && a.is_zero()));
            }
        }
        prop_assert_eq!(decoded, wanted);
    }

    /// Cut and changed layers are refused or give weights in range.
    #[test]
    fn damage_stays_in_range(seed in any::<u64>(), at in any::<prop::sample::Index>(), bit in 0u32..9) {
        let (mut numbers, dims) = (Numbers(seed), [9, 8, 7]);
        let model = random::model(&mut numbers, dims, 1);
        let wanted = random::weights(&mut numbers, &model, dims);
        let mut bytes = encoded(&model, &wanted).swap_remove(0);
        prop_assume!(!bytes.is_empty());
        let at = at.index(bytes.len());
        match bit {
            8 => bytes.truncate(at),
            _ => bytes[at] ^= 1 << bit,
        }
        let mut decoded = GridWeights::default();
        decoded.reset(&model, dims);
        if decode_grid_layer(&model, 0, &bytes, &mut decoded).is_ok() {
            let mut all = decoded.levels.iter().flat_map(|l| &l.features).flatten();
            prop_assert!(all.all(|w| w.abs() <= MAX_WEIGHT));
        }
    }
}

#[test]
fn weights_out_of_range_are_not_encoded() {
    let (dims, mut numbers) = ([3, 2, 2], Numbers(1));
    let model = random::model(&mut numbers, dims, 1);
    let mut weights = GridWeights::default();
    weights.reset(&model, dims);
    for (weight, fits) in [
        (MAX_WEIGHT, true),
        (-MAX_WEIGHT, true),
        (MAX_WEIGHT + 1, false),
        (i32::MIN, false),
    ] {
        weights.levels[0].features[0][0] = weight;
        assert_eq!(
            encode_grid_layer(&model, 0, &mut weights).is_ok(),
            fits,
            "{weight}"
        );
    }
}
