//! A few small multilayer perceptrons in 64-bit floats, read from JSON; their mean answer counts.

use serde::Deserialize;

/// Weights as `tools/bench/predictor/train.py` writes them.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Network {
    /// What each input is less, and then divided by.
    mean: Vec<f64>,
    scale: Vec<f64>,
    /// Networks whose answers are averaged.
    members: Vec<Member>,
    /// What each output is multiplied by.
    output_scale: Vec<f64>,
}

/// Layers from the inputs on; tanh after each but the last.
#[derive(Debug, Clone, Deserialize)]
struct Member {
    layers: Vec<Layer>,
}

#[derive(Debug, Clone, Deserialize)]
struct Layer {
    /// `[output][input]`.
    weights: Vec<Vec<f64>>,
    bias: Vec<f64>,
}

impl Network {
    /// Whether it takes and gives so many numbers, all of its own finite.
    pub(super) fn fits(&self, inputs: usize, outputs: usize) -> bool {
        self.mean.len() == inputs
            && self.scale.len() == inputs
            && self.output_scale.len() == outputs
            && finite(&self.mean)
            && finite(&self.output_scale)
            && self.scale.iter().all(|s| s.is_finite() && *s > 0.0)
            && !self.members.is_empty()
            && self.members.iter().all(|m| m.fits(inputs, outputs))
    }

    /// The outputs for `inputs`.
    pub(super) fn run(&self, inputs: &[f64]) -> Vec<f64> {
        let values: Vec<f64> = inputs
            .iter()
            .zip(self.mean.iter().zip(&self.scale))
            .map(|(v, (mean, scale))| (v - mean) / scale)
            .collect();
        let share = 1.0 / self.members.len() as f64;
        let mut outputs = vec![0.0; self.output_scale.len()];
        for member in &self.members {
            for (sum, v) in outputs.iter_mut().zip(member.run(&values)) {
                *sum += share * v;
            }
        }
        for (v, scale) in outputs.iter_mut().zip(&self.output_scale) {
            *v *= scale;
        }
        outputs
    }
}

fn finite(values: &[f64]) -> bool {
    values.iter().all(|v| v.is_finite())
}

impl Member {
    /// Whether each layer takes what the one before gives, all numbers finite.
    fn fits(&self, inputs: usize, outputs: usize) -> bool {
        let mut width = inputs;
        let fits = self.layers.iter().all(|layer| {
            let from = std::mem::replace(&mut width, layer.bias.len());
            let row = |row: &Vec<f64>| row.len() == from && finite(row);
            layer.bias.len() == layer.weights.len()
                && finite(&layer.bias)
                && layer.weights.iter().all(row)
        });
        fits && width == outputs && !self.layers.is_empty()
    }

    fn run(&self, inputs: &[f64]) -> Vec<f64> {
        let mut values = inputs.to_vec();
        for (i, layer) in self.layers.iter().enumerate() {
            values = layer.run(&values);
            if i + 1 < self.layers.len() {
                values.iter_mut().for_each(|v| *v = v.tanh());
            }
        }
        values
    }
}

impl Layer {
    fn run(&self, values: &[f64]) -> Vec<f64> {
        let row = |(row, bias): (&Vec<f64>, &f64)| {
            bias + row.iter().zip(values).map(|(w, v)| w * v).sum::<f64>()
        };
        self.weights.iter().zip(&self.bias).map(row).collect()
    }
}
