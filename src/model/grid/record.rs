//! The grid model as bytes of the model section.

use super::{
    GridLevel, GridModel, MAX_FEATURES, MAX_INPUTS, MAX_LEVELS, MAX_STEP, Matrix, Network,
    NetworkShape, Order,
};
use crate::model::Residual;
use crate::{Error, Result};

/// Entropy coder R with the table set of grids, the only one of this version.
const CODER: u8 = 0;
/// Input shift of a level whose features do not enter the network.
const NO_INPUT: u8 = 255;

impl GridModel {
    /// The record as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let order = match self.order {
            Order::Linear => 1,
            Order::Cubic => 3,
        };
        let flags =
            self.residual.flags() | u8::from(self.mask) << 1 | u8::from(self.base.is_some()) << 2;
        let (hidden, width) = self.network.map_or((0, 0), |n| (n.hidden, n.width));
        let frac_bits = self.frac_bits.to_le_bytes()[0];
        let levels = self.levels.len() as u8;
        let mut b = vec![CODER, order, frac_bits, flags, levels, hidden, width, 0];
        self.levels.iter().for_each(|l| put_level(l, &mut b));
        for matrix in self.base.iter().flat_map(|n| &n.matrices) {
            b.push(matrix.shift);
            b.extend(matrix.weights.iter().map(|w| w.to_le_bytes()[0]));
            b.extend(matrix.biases.iter().flat_map(|v| v.to_le_bytes()));
        }
        b.extend(self.residual.tail().into_iter().flatten());
        b
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a field is out of range, [`Error::Unsupported`] for another coder.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut b = Fields(bytes);
        let [
            coder,
            order,
            frac_bits,
            flags,
            levels,
            hidden,
            width,
            reserved,
        ] = b.take()?;
        if coder != CODER {
            return Err(Error::Unsupported(format!(
                "entropy coder {coder} of a newer version"
            )));
        }
        let frac_bits = i8::from_le_bytes([frac_bits]);
        if flags & !(Residual::FLAGS | 6) != 0 || reserved != 0 {
            return Err(bad("reserved bits are set"));
        }
        if !(-16..=24).contains(&frac_bits) {
            return Err(bad(&format!("{frac_bits} fractional bits")));
        }
        if !(1..=MAX_LEVELS).contains(&usize::from(levels)) {
            return Err(bad(&format!("{levels} levels, 1 to 12 are allowed")));
        }
        let (residual, rest) = Residual::read(flags, b.0)?;
        b = Fields(rest);
        let mut model = Self {
            order: read_order(order)?,
            frac_bits,
            residual,
            mask: flags & 2 != 0,
            levels: (0..levels)
                .map(|_| take_level(&mut b))
                .collect::<Result<_>>()?,
            network: read_shape(hidden, width)?,
            base: None,
        };
        check_chain(&model)?;
        if flags & 4 != 0 {
            model.base = Some(take_network(&mut b, &model.matrices())?);
        }
        if b.0.is_empty() {
            Ok(model)
        } else {
            Err(bad(&format!("{} bytes follow its end", b.0.len())))
        }
    }
}

fn bad(detail: &str) -> Error {
    Error::corrupt("model record", 0, detail)
}

/// What is left to read.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (first, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or_else(|| bad("it ends too early"))?;
        self.0 = rest;
        Ok(*first)
    }
}

fn read_order(order: u8) -> Result<Order> {
    match order {
        1 => Ok(Order::Linear),
        3 => Ok(Order::Cubic),
        _ => Err(bad(&format!("order {order}, 1 or 3 is allowed"))),
    }
}

fn read_shape(hidden: u8, width: u8) -> Result<Option<NetworkShape>> {
    match (hidden, width) {
        (0, 0) => Ok(None),
        (1 | 2, 8 | 16 | 24 | 32) => Ok(Some(NetworkShape { hidden, width })),
        _ => Err(bad(&format!(
            "a network of {hidden} hidden layers of {width}"
        ))),
    }
}

fn put_level(level: &GridLevel, b: &mut Vec<u8>) {
    b.extend(level.spacing);
    b.extend([
        level.features() as u8,
        level.table_log2,
        level.layer,
        level.skip,
        level.input_shift.unwrap_or(NO_INPUT),
    ]);
    b.extend(level.steps.iter().flat_map(|s| s.to_le_bytes()));
}

fn take_level(b: &mut Fields<'_>) -> Result<GridLevel> {
    let [kx, ky, kz, features, table_log2, layer, skip, shift] = b.take()?;
    if !(1..=MAX_FEATURES).contains(&features) || u32::from(skip) >> features != 0 {
        return Err(bad(&format!("{features} features with skip mask {skip}")));
    }
    if [kx, ky, kz].iter().any(|&k| k > 7) || table_log2 > 22 {
        return Err(bad("a spacing over 2^7 or a table over 2^22"));
    }
    if shift > 24 && shift != NO_INPUT {
        return Err(bad(&format!("an input shift of {shift}")));
    }
    let steps = (0..features)
        .map(|_| match b.take::<8>().map(u64::from_le_bytes)? {
            step if (1..=MAX_STEP).contains(&step) => Ok(step),
            _ => Err(bad("step out of range")),
        })
        .collect::<Result<_>>()?;
    Ok(GridLevel {
        spacing: [kx, ky, kz],
        table_log2,
        layer,
        skip,
        input_shift: (shift != NO_INPUT).then_some(shift),
        steps,
    })
}

/// Levels go from coarse to fine and from layer to layer; a network has something to read.
fn check_chain(model: &GridModel) -> Result<()> {
    for pair in model.levels.windows(2) {
        let rises = (0..3).any(|a| pair[1].spacing[a] > pair[0].spacing[a]);
        if rises || pair[1].layer < pair[0].layer {
            return Err(bad("its levels are not ordered from coarse to fine"));
        }
    }
    let inputs = model.inputs();
    if model.network.is_some() && !(1..=MAX_INPUTS).contains(&inputs) {
        return Err(bad(&format!(
            "a network of {inputs} inputs, 1 to 32 are allowed"
        )));
    }
    Ok(())
}

fn take_network(b: &mut Fields<'_>, sides: &[[usize; 2]]) -> Result<Network> {
    if sides.is_empty() {
        return Err(bad("weights of a network that it does not have"));
    }
    let matrices = sides.iter().map(|&s| take_matrix(b, s));
    Ok(Network {
        matrices: matrices.collect::<Result<_>>()?,
    })
}

fn take_matrix(b: &mut Fields<'_>, [outputs, inputs]: [usize; 2]) -> Result<Matrix> {
    let [shift] = b.take()?;
    let weights = (0..outputs * inputs).map(|_| b.take().map(i8::from_le_bytes));
    let weights: Vec<i8> = weights.collect::<Result<_>>()?;
    let biases = (0..outputs).map(|_| b.take().map(i16::from_le_bytes));
    let biases: Vec<i16> = biases.collect::<Result<_>>()?;
    if !(1..=24).contains(&shift) || weights.contains(&i8::MIN) || biases.contains(&i16::MIN) {
        return Err(bad("a weight or shift of the network is out of range"));
    }
    Ok(Matrix {
        shift,
        weights,
        biases,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn model() -> GridModel {
        let level = |k, layer| GridLevel {
            spacing: [k, k, k + 1],
            table_log2: 12,
            layer,
            skip: 1,
            input_shift: Some(3),
            steps: vec![70_000, MAX_STEP],
        };
        GridModel {
            order: Order::Cubic,
            frac_bits: -3,
            residual: Residual::None,
            mask: true,
            levels: vec![level(2, 0), level(1, 0), level(0, 2)],
            network: Some(NetworkShape {
                hidden: 2,
                width: 8,
            }),
            base: Some(Network {
                matrices: [[8, 6], [8, 8], [1, 8]]
                    .map(|[o, i]| Matrix {
                        shift: 5,
                        weights: (0..o * i).map(|w| w as i8 - 9).collect(),
                        biases: (0..o).map(|b| b as i16 * 500).collect(),
                    })
                    .to_vec(),
            }),
        }
    }

    #[test]
    fn comes_back_and_every_shorter_or_longer_record_is_refused() {
        let (model, bytes) = (model(), model().to_bytes());
        assert_eq!(GridModel::from_bytes(&bytes).unwrap(), model);
        for n in 0..bytes.len() {
            assert!(GridModel::from_bytes(&bytes[..n]).is_err());
        }
        assert!(GridModel::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn fields_out_of_range_are_named() {
        // Byte, value, part of the message.
        for (at, value, message) in [
            (0, 1, "entropy coder"),
            (1, 2, "order 2"),
            (2, 100, "fractional bits"),
            (3, 32, "reserved"),
            (4, 0, "levels"),
            (4, 13, "levels"),
            (5, 3, "hidden layers"),
            (6, 9, "hidden layers"),
            (7, 1, "reserved"),
            (8, 8, "spacing"),
            (8, 0, "coarse to fine"),
            (11, 5, "features"),
            (12, 23, "table"),
            (13, 3, "coarse to fine"),
            (14, 4, "skip mask"),
            (15, 25, "input shift"),
            (23, 4, "step out of range"),
        ] {
            let mut bytes = model().to_bytes();
            bytes[at] = value;
            let error = GridModel::from_bytes(&bytes).unwrap_err().to_string();
            assert!(error.contains(message), "byte {at} = {value}: {error}");
        }
    }
}
