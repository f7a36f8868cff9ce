//! The network of a block.

use super::super::symbols::SymbolCoder;
use super::contexts;
use super::weights::BlockNetwork;
use crate::model::grid::{GridModel, Matrix, Network};
use crate::{Error, Result};

/// Raw low bits of a weight and of a bias.
const WEIGHT_SHIFT: u32 = 3;
const BIAS_SHIFT: u32 = 6;

/// Codes which network the block has, and its weights if it is its own.
pub(super) fn code<C: SymbolCoder>(
    model: &GridModel,
    network: &mut BlockNetwork,
    coder: &mut C,
) -> Result<()> {
    let kind = match network {
        BlockNetwork::None => 0,
        BlockNetwork::Base => 1,
        BlockNetwork::Own(_) => 2,
    };
    match coder.raw(kind, 2)? {
        0 => *network = BlockNetwork::None,
        1 if model.base.is_some() => *network = BlockNetwork::Base,
        2 => {
            let known = match network {
                BlockNetwork::Own(n) => Some(&*n),
                _ => None,
            };
            *network = BlockNetwork::Own(code_own(model, known, coder)?);
        }
        _ => return Err(bad("its block asks for a network that there is not")),
    }
    Ok(())
}

fn bad(detail: &str) -> Error {
    Error::corrupt("layer", 0, detail)
}

fn code_own<C: SymbolCoder>(
    model: &GridModel,
    known: Option<&Network>,
    coder: &mut C,
) -> Result<Network> {
    coder.begin_band(contexts::variant(0));
    let mut matrices = Vec::new();
    for (i, sides) in model.matrices().into_iter().enumerate() {
        let known = known.and_then(|n| n.matrices.get(i));
        matrices.push(code_matrix(i, sides, known, coder)?);
    }
    coder.end_band();
    Ok(Network { matrices })
}

fn code_matrix<C: SymbolCoder>(
    index: usize,
    [outputs, inputs]: [usize; 2],
    known: Option<&Matrix>,
    coder: &mut C,
) -> Result<Matrix> {
    let shift = coder.raw(known.map_or(0, |m| u32::from(m.shift)), 5)?;
    if !(1..=24).contains(&shift) {
        return Err(bad("a shift of its network is out of range"));
    }
    let mut number = |context, shift, value: i32, limit| {
        let magnitude = coder.magnitude(context, shift, value.unsigned_abs())?;
        if magnitude > limit {
            return Err(bad("a weight of its network is out of range"));
        }
        let negative = magnitude > 0 && coder.raw(u32::from(value < 0), 1)? == 1;
        let magnitude = magnitude as i32;
        Ok(if negative { -magnitude } else { magnitude })
    };
    let weights = (0..outputs * inputs).map(|i| {
        let value = known.map_or(0, |m| i32::from(m.weights[i]));
        Ok(number(contexts::matrix(index), WEIGHT_SHIFT, value, 127)? as i8)
    });
    let weights = weights.collect::<Result<_>>()?;
    let biases = (0..outputs).map(|i| {
        let value = known.map_or(0, |m| i32::from(m.biases[i]));
        Ok(number(contexts::bias(), BIAS_SHIFT, value, 32_767)? as i16)
    });
    Ok(Matrix {
        shift: shift as u8,
        weights,
        biases: biases.collect::<Result<_>>()?,
    })
}
