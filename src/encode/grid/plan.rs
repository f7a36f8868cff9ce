//! Grid models of a volume: levels, steps, layers.

use super::pyramid::Gram;
use crate::model::grid::{GridLevel, MAX_STEP, MAX_WEIGHT, NetworkShape, Order, vertices};
use crate::model::{GridModel, Residual};

/// Half the range of values in working units: under 2^27 with room for overshoot and the network.
const HALF_RANGE: f64 = (1u64 << 22) as f64;

/// Smallest step of a weight in working units: the largest weight reaches over the whole range.
const SMALLEST_STEP: f64 = 2.0 * HALF_RANGE / MAX_WEIGHT as f64;

/// What grid models depend on beside values and step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GridWanted {
    /// Quality levels.
    pub(crate) levels: u8,
    pub(crate) residual: Residual,
    pub(crate) block_log2: u32,
    /// Largest hash table.
    pub(crate) table_log2: u8,
}

/// The paper's pyramid for a volume whose integers span `q_min..=q_max`, once for each order of
/// interpolation. `step` is the step of a voxel in units of `q`; coarser levels have steps of the
/// same effect on the block.
pub(crate) fn grid_models(
    (q_min, q_max): (i32, i32),
    step: f64,
    wanted: GridWanted,
) -> Vec<GridModel> {
    let GridWanted {
        levels,
        residual,
        block_log2,
        table_log2,
    } = wanted;
    let half = ((f64::from(q_max) - f64::from(q_min)) / 2.0).max(1.0);
    let frac_bits = (HALF_RANGE / half).log2().floor().clamp(-16.0, 16.0) as i8;
    let unit = 65_536.0 * f64::from(frac_bits).exp2();
    let smallest = (SMALLEST_STEP * 65_536.0) as u64;
    let model = |order| GridModel {
        order,
        frac_bits,
        residual,
        mask: false,
        levels: (0..block_log2 as u8)
            .rev()
            .map(|k| GridLevel {
                spacing: [k; 3],
                table_log2,
                layer: layer_of(k, levels),
                skip: 1,
                input_shift: Some(input_shift(half, frac_bits, k)),
                steps: vec![
                    ((step / norm(block_log2, k, order) * unit).round() as u64)
                        .clamp(smallest, MAX_STEP),
                ],
            })
            .collect(),
        network: Some(NetworkShape {
            hidden: 1,
            width: 16,
        }),
        base: None,
    };
    vec![model(Order::Linear), model(Order::Cubic)]
}

/// Shift that makes 16-bit integers of a level's features: the whole range of values takes 15 bits,
/// or less of it on fine levels, whose features are small.
fn input_shift(half_range: f64, frac_bits: i8, spacing: u8) -> u8 {
    let range_bits = f64::from(frac_bits) + half_range.log2() + 1.0;
    let smaller = 3u8.saturating_sub(spacing);
    (range_bits.ceil() - 14.0 - f64::from(smaller)).clamp(0.0, 24.0) as u8
}

/// Length of a basis function of a level away from the block's faces.
fn norm(block_log2: u32, spacing: u8, order: Order) -> f64 {
    let side = 1 << block_log2;
    let gram = Gram::new(side, spacing, order);
    f64::from(gram.norm(vertices(side, spacing) / 2)).powf(1.5)
}

/// The layer of a level: each quality index over 0 adds one level, and quality 0 has all the rest,
/// from one level of detail to the next.
fn layer_of(spacing: u8, levels: u8) -> u8 {
    let quality = (levels - 1).saturating_sub(spacing);
    if quality > 0 {
        2 + quality
    } else {
        2 - spacing.min(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However fine the step, the largest weight of a level reaches over all values.
    #[test]
    fn weights_reach_over_the_range() {
        let wanted = GridWanted {
            levels: 3,
            residual: Residual::None,
            block_log2: 7,
            table_log2: 22,
        };
        for model in grid_models((0, 65_535), 0.01, wanted) {
            let unit = 65_536.0 * f64::from(model.frac_bits).exp2();
            for level in &model.levels {
                let reach = level.steps[0] as f64 / unit * f64::from(MAX_WEIGHT);
                assert!(reach >= 65_535.0, "{reach} at {:?}", level.spacing);
            }
        }
    }

    #[test]
    fn finer_levels_come_in_later_layers() {
        let layers = |levels| [5, 4, 3, 2, 1, 0].map(|k| layer_of(k, levels));
        assert_eq!(layers(1), [0, 0, 0, 0, 1, 2]);
        assert_eq!(layers(2), [0, 0, 0, 0, 1, 3]);
        assert_eq!(layers(3), [0, 0, 0, 0, 3, 4]);
        assert_eq!(layers(8), [4, 5, 6, 7, 8, 9]);
    }
}
