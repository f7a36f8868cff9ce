//! Weights of a grid model <-> layers (specification, "Layers of a grid model").

mod contexts;
mod dense;
mod hashed;
mod network;
mod parents;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod random;
mod rates;
#[cfg(test)]
mod tests;
mod weights;

use super::symbols::{Counter, Player, Recorder, SymbolCoder};
use super::tables::TableSet;
use crate::model::GridModel;
use crate::{Error, Result};

pub(crate) use contexts::class as level_class;
pub use contexts::{COUNT, alphabet, generalise};
pub(crate) use parents::{of as parents_of, of_entries as parents_of_entries};
pub(crate) use rates::{Neighbours, Rates};
pub use weights::{BlockNetwork, GridWeights, LevelWeights};

/// Where a sign that ends a layer belongs: level, feature, index of the weight.
type SignPlace = (usize, usize, usize);

/// Decodes a layer: fills the weights of its levels, and the network if it is the first.
///
/// # Errors
/// [`Error::Corrupt`] if the bytes break a rule.
pub fn decode_grid_layer(
    model: &GridModel,
    layer: usize,
    bytes: &[u8],
    weights: &mut GridWeights,
) -> Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let mut player = Player::new(bytes, TableSet::Grid)?;
    let signs = traverse(model, layer, weights, &mut player)?;
    player.finish(signs.len(), |i| {
        let (level, feature, at) = signs[i];
        let w = &mut weights.levels[level].features[feature][at];
        *w = -*w;
    })
}

/// Encodes a layer; one that says nothing is empty.
///
/// # Errors
/// [`Error::Corrupt`] if a weight is out of range.
pub fn encode_grid_layer(
    model: &GridModel,
    layer: usize,
    weights: &mut GridWeights,
) -> Result<Vec<u8>> {
    let silent = layer > 0 || weights.network == BlockNetwork::None;
    if silent && levels_of(model, layer).all(|l| weights.levels[l].is_zero()) {
        return Ok(Vec::new());
    }
    let mut recorder = Recorder::new(TableSet::Grid)?;
    let signs = traverse(model, layer, weights, &mut recorder)?;
    let negative = signs
        .iter()
        .map(|&(level, feature, at)| weights.levels[level].features[feature][at] < 0);
    Ok(recorder.finish(&negative.collect::<Vec<bool>>()))
}

/// Runs the same traversal for its statistics only.
///
/// # Errors
/// As [`encode_grid_layer`].
#[doc(hidden)]
pub fn count_grid_layer(
    model: &GridModel,
    layer: usize,
    weights: &mut GridWeights,
) -> Result<Counter> {
    let mut counter = Counter::default();
    traverse(model, layer, weights, &mut counter)?;
    Ok(counter)
}

fn levels_of(model: &GridModel, layer: usize) -> impl Iterator<Item = usize> {
    let levels = model.levels.iter().enumerate();
    levels.filter_map(move |(i, l)| (usize::from(l.layer) == layer).then_some(i))
}

fn traverse<C: SymbolCoder>(
    model: &GridModel,
    layer: usize,
    weights: &mut GridWeights,
    coder: &mut C,
) -> Result<Vec<SignPlace>> {
    let mut signs = Vec::new();
    if layer == 0 && model.network.is_some() {
        network::code(model, &mut weights.network, coder)?;
    }
    for level in levels_of(model, layer) {
        for feature in 0..model.levels[level].features() {
            code_level(model, level, feature, weights, coder, &mut signs)?;
        }
    }
    Ok(signs)
}

fn code_level<C: SymbolCoder>(
    model: &GridModel,
    index: usize,
    feature: usize,
    weights: &mut GridWeights,
    coder: &mut C,
    signs: &mut Vec<SignPlace>,
) -> Result<()> {
    let class = contexts::class(model.levels[index].spacing);
    let any = C::ENCODES
        && weights.levels[index].features[feature]
            .iter()
            .any(|&w| w != 0);
    if coder.symbol(contexts::empty(class), u32::from(any)) == 0 {
        return Ok(());
    }
    let parents = parents::of(model, index, feature, weights);
    let level = &mut weights.levels[index];
    coder.begin_band(contexts::variant(class));
    let mut place = |at: usize| signs.push((index, feature, at));
    match level.table_log2 {
        None => {
            let walk = dense::Walk::new(level.lattice, class, &parents);
            walk.run(coder, &mut level.features[feature], &mut place)?;
        }
        Some(table) => {
            let parents = parents::of_entries(level, table, &parents);
            hashed::code(coder, &parents, &mut level.features[feature], &mut place)?;
        }
    }
    coder.end_band();
    check(&level.features[feature])
}

/// Weights fit what follows: `step * weight` in 64 bits.
fn check(values: &[i32]) -> Result<()> {
    let limit = crate::model::grid::MAX_WEIGHT.unsigned_abs();
    if values.iter().all(|w| w.unsigned_abs() <= limit) {
        return Ok(());
    }
    Err(Error::corrupt("layer", 0, "a grid weight is over 2^20"))
}
