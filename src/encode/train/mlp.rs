//! The small network at the end of a block model, in float: plain data.

use super::random::Random;

/// Most inputs of a network, and its greatest width.
pub(crate) const MAX_INPUTS: usize = 32;

/// Extent of a network with one output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MlpShape {
    /// Inputs, 1..=32.
    pub(crate) inputs: usize,
    /// Hidden layers, 1..=2.
    pub(crate) hidden: usize,
    /// Units of each: 8, 16, 24 or 32.
    pub(crate) width: usize,
}

/// Where one layer lies among the parameters: weights `[out][in]`, then biases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LayerAt {
    /// Values that come in.
    pub(crate) inputs: usize,
    /// Values that go out.
    pub(crate) outputs: usize,
    /// First weight.
    pub(crate) start: usize,
}

impl LayerAt {
    /// First bias.
    pub(crate) fn biases(self) -> usize {
        self.start + self.inputs * self.outputs
    }

    /// One past the last bias.
    pub(crate) fn end(self) -> usize {
        self.biases() + self.outputs
    }
}

impl MlpShape {
    /// The hidden layers, then the output layer.
    pub(crate) fn layers(self) -> Vec<LayerAt> {
        let mut layers: Vec<LayerAt> = Vec::with_capacity(self.hidden + 1);
        for i in 0..=self.hidden {
            layers.push(LayerAt {
                inputs: if i == 0 { self.inputs } else { self.width },
                outputs: if i == self.hidden { 1 } else { self.width },
                start: layers.last().map_or(0, |l| l.end()),
            });
        }
        layers
    }

    /// Weights and biases.
    pub(crate) fn parameters(self) -> usize {
        self.layers().last().map_or(0, |l| l.end())
    }
}

/// A network: `h = max(W x + b, 0)` for each hidden layer, one linear output.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mlp {
    /// Its extent.
    pub(crate) shape: MlpShape,
    /// Layer by layer, weights `[out][in]` then biases ([`MlpShape::layers`]).
    pub(crate) parameters: Vec<f32>,
}

impl Mlp {
    /// Hidden weights after He (uniform), biases zero, output layer zero: it starts by adding
    /// nothing.
    pub(crate) fn new(shape: MlpShape, seed: u64) -> Self {
        let mut parameters = vec![0.0; shape.parameters()];
        let mut random = Random::new(seed);
        for layer in shape.layers().iter().take(shape.hidden) {
            let bound = (6.0 / layer.inputs as f32).sqrt();
            for weight in &mut parameters[layer.start..layer.biases()] {
                *weight = random.signed() * bound;
            }
        }
        Self { shape, parameters }
    }

    /// Weights `[out][in]` and biases of layer `i`.
    pub(crate) fn layer(&self, i: usize) -> Option<(&[f32], &[f32])> {
        let at = *self.shape.layers().get(i)?;
        Some((
            self.parameters.get(at.start..at.biases())?,
            self.parameters.get(at.biases()..at.end())?,
        ))
    }

    /// Makes the output layer zero, so that the network adds nothing.
    pub(crate) fn silence(&mut self) {
        if let Some(last) = self.shape.layers().last() {
            self.parameters[last.start..].fill(0.0);
        }
    }
}
