//! A small multilayer perceptron in 64-bit floats, read from JSON.

use serde::Deserialize;

use crate::{Error, Result};

/// Version of the weights file that this code reads.
const VERSION: u32 = 1;

/// Weights as `tools/bench/predictor/train.py` writes them.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Network {
    version: u32,
    /// What each input is less, and then divided by.
    mean: Vec<f64>,
    scale: Vec<f64>,
    /// From the inputs on; tanh after each but the last.
    layers: Vec<Layer>,
    /// What each output is multiplied by.
    output_scale: Vec<f64>,
}

#[derive(Debug, Clone, Deserialize)]
struct Layer {
    /// `[output][input]`.
    weights: Vec<Vec<f64>>,
    bias: Vec<f64>,
}

impl Network {
    /// Reads and checks weights.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if it is no JSON of this version, or numbers are missing or not finite.
    pub(super) fn parse(text: &str, inputs: usize, outputs: usize) -> Result<Self> {
        let network: Self =
            serde_json::from_str(text).map_err(|e| unfit(&format!("no weights: {e}")))?;
        if network.version != VERSION {
            return Err(unfit(&format!(
                "version {}, not {VERSION}",
                network.version
            )));
        }
        network.check(inputs, outputs)?;
        Ok(network)
    }

    fn check(&self, inputs: usize, outputs: usize) -> Result<()> {
        let finite = |v: &[f64]| v.iter().all(|x| x.is_finite());
        let mut width = inputs;
        let mut sound = self.mean.len() == inputs
            && self.scale.len() == inputs
            && self.output_scale.len() == outputs
            && finite(&self.mean)
            && finite(&self.output_scale)
            && self.scale.iter().all(|s| s.is_finite() && *s > 0.0);
        for layer in &self.layers {
            sound &= layer.bias.len() == layer.weights.len()
                && finite(&layer.bias)
                && layer
                    .weights
                    .iter()
                    .all(|row| row.len() == width && finite(row));
            width = layer.bias.len();
        }
        if sound && width == outputs && !self.layers.is_empty() {
            Ok(())
        } else {
            Err(unfit(
                "sizes that do not match, or numbers that are not finite",
            ))
        }
    }

    /// The outputs for `inputs`.
    pub(super) fn run(&self, inputs: &[f64]) -> Vec<f64> {
        let mut values: Vec<f64> = inputs
            .iter()
            .zip(self.mean.iter().zip(&self.scale))
            .map(|(v, (mean, scale))| (v - mean) / scale)
            .collect();
        for (i, layer) in self.layers.iter().enumerate() {
            values = layer.run(&values);
            if i + 1 < self.layers.len() {
                values.iter_mut().for_each(|v| *v = v.tanh());
            }
        }
        for (v, scale) in values.iter_mut().zip(&self.output_scale) {
            *v *= scale;
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

fn unfit(why: &str) -> Error {
    Error::Unsupported(format!("the weights of the predictor have {why}"))
}
