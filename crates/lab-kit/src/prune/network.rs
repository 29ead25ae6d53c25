//! A classifier that can be pruned, as plain numbers and on a device: fully connected or convolutional.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use lab_api::LabError;
use rand_chacha::ChaCha8Rng;

use super::mask::Matrix;
use crate::{
    fit::Classifier,
    mlp::{Dense, Mlp, MlpWeights},
    models::{Cnn, CnnConfig, StateDict},
};

/// Kind and sizes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Architecture {
    /// Fully connected, with these widths from pixels to logits.
    Mlp(Vec<usize>),
    /// Convolutional.
    Cnn(CnnConfig),
}

/// A network as plain numbers: a chain of layers, each with a weight `[outputs, inputs, ...]` and a bias.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// Kind and sizes.
    pub architecture: Architecture,
    /// Its numbers.
    pub state: StateDict,
}

/// The same on a device.
#[derive(Module, Debug)]
pub enum Net {
    /// Fully connected.
    Mlp(Mlp),
    /// Convolutional.
    Cnn(Cnn),
}

impl Classifier for Net {
    fn logits(&self, pixels: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Mlp(net) => net.forward(pixels),
            Self::Cnn(net) => net.forward(pixels),
        }
    }
}

impl Architecture {
    /// Names of the layers, first to last.
    #[must_use]
    pub fn layers(&self) -> Vec<String> {
        match self {
            Self::Mlp(widths) => (0..widths.len().saturating_sub(1)).map(|i| format!("layers.{i}")).collect(),
            Self::Cnn(config) => {
                (0..config.channels.len()).map(|i| format!("conv.{i}")).chain(["head".to_owned()]).collect()
            }
        }
    }

    /// Widths that can be changed: of all layers but the last.
    #[must_use]
    pub fn hidden(&self) -> &[usize] {
        match self {
            Self::Mlp(widths) => widths.get(1..widths.len().saturating_sub(1)).unwrap_or(&[]),
            Self::Cnn(config) => &config.channels,
        }
    }

    /// The same with other hidden widths.
    #[must_use]
    pub fn with_hidden(&self, hidden: &[usize]) -> Self {
        match self {
            Self::Mlp(widths) => {
                let ends = [widths.first(), widths.last()].map(|end| end.copied().unwrap_or(0));
                Self::Mlp([&ends[..1], hidden, &ends[1..]].concat())
            }
            Self::Cnn(config) => Self::Cnn(CnnConfig { channels: hidden.to_vec(), ..config.clone() }),
        }
    }

    /// Multiplications and additions of one image.
    #[must_use]
    pub fn flops(&self) -> usize {
        match self {
            Self::Mlp(widths) => widths.windows(2).map(|pair| 2 * pair[0] * pair[1]).sum(),
            Self::Cnn(config) => config.flops(),
        }
    }

    /// Numbers in it, biases included.
    #[must_use]
    pub fn parameters(&self) -> usize {
        match self {
            Self::Mlp(widths) => widths.windows(2).map(|pair| (pair[0] + 1) * pair[1]).sum(),
            Self::Cnn(config) => config.parameters(),
        }
    }

    /// Weights that can be pruned: all numbers but the biases.
    #[must_use]
    pub fn weights(&self) -> usize {
        let last = match self {
            Self::Mlp(widths) => widths.last().copied().unwrap_or(0),
            Self::Cnn(config) => config.classes,
        };
        self.parameters() - self.hidden().iter().sum::<usize>() - last
    }
}

impl Network {
    /// Fresh weights.
    #[must_use]
    pub fn init(architecture: &Architecture, rng: &mut ChaCha8Rng) -> Self {
        match architecture {
            Architecture::Mlp(widths) => Self::of_mlp(&MlpWeights::init(widths, rng)),
            Architecture::Cnn(config) => Self { architecture: architecture.clone(), state: config.init(rng) },
        }
    }

    /// A multilayer perceptron.
    #[must_use]
    pub fn of_mlp(weights: &MlpWeights) -> Self {
        let mut state = StateDict::default();
        let mut widths: Vec<usize> = weights.layers.first().map(|layer| layer.inputs).into_iter().collect();
        for (i, layer) in weights.layers.iter().enumerate() {
            // The shapes are the numbers' own, so that this cannot fail.
            let _ = state.insert(&format!("layers.{i}.weight"), &[layer.outputs, layer.inputs], layer.weight.clone());
            let _ = state.insert(&format!("layers.{i}.bias"), &[layer.outputs], layer.bias.clone());
            widths.push(layer.outputs);
        }
        Self { architecture: Architecture::Mlp(widths), state }
    }

    /// As a multilayer perceptron, where it is one.
    #[must_use]
    pub fn as_mlp(&self) -> Option<MlpWeights> {
        let Architecture::Mlp(widths) = &self.architecture else { return None };
        let layer = |(i, pair): (usize, &[usize])| Dense {
            inputs: pair[0],
            outputs: pair[1],
            weight: self.weight(&format!("layers.{i}")).to_vec(),
            bias: self.bias(&format!("layers.{i}")).to_vec(),
        };
        Some(MlpWeights { layers: widths.windows(2).enumerate().map(layer).collect() })
    }

    /// Puts it on a device; one from [`Device::autodiff`] makes a network that can be trained.
    ///
    /// # Errors
    /// [`LabError::Asset`] where weights do not fit the architecture.
    pub fn on(&self, device: &Device) -> Result<Net, LabError> {
        match (&self.architecture, self.as_mlp()) {
            (Architecture::Cnn(config), _) => Ok(Net::Cnn(Cnn::new(config, &self.state, "the network", device)?)),
            (_, Some(mlp)) => Ok(Net::Mlp(Mlp::new(&mlp, device))),
            (Architecture::Mlp(_), None) => {
                Err(LabError::Engine { why: "a multilayer perceptron without layers".into() })
            }
        }
    }

    /// Reads it back.
    ///
    /// # Errors
    /// [`LabError::Device`] when the device fails.
    pub async fn read(architecture: &Architecture, net: &Net) -> Result<Self, LabError> {
        Ok(match net {
            Net::Mlp(mlp) => Self::of_mlp(&mlp.weights().await?),
            Net::Cnn(cnn) => Self { architecture: architecture.clone(), state: StateDict::of(cnn).await? },
        })
    }

    /// The weight of a layer, row-major; nothing where there is no such layer.
    #[must_use]
    pub fn weight(&self, layer: &str) -> &[f32] {
        self.state.get(&format!("{layer}.weight")).map_or(&[], |weight| &weight.values)
    }

    /// Its bias.
    #[must_use]
    pub fn bias(&self, layer: &str) -> &[f32] {
        self.state.get(&format!("{layer}.bias")).map_or(&[], |bias| &bias.values)
    }

    /// Rows and columns of each layer's weight; a row is what one output weighs, kernels flattened.
    #[must_use]
    pub fn shapes(&self) -> Vec<(usize, usize)> {
        let shape = |layer: &String| {
            let rows = self.bias(layer).len().max(1);
            (rows, self.weight(layer).len() / rows)
        };
        self.architecture.layers().iter().map(shape).collect()
    }

    /// Scores beside the layers they are of.
    #[must_use]
    pub fn matrices<'a>(&self, names: &'a [String], scores: &'a [Vec<f32>]) -> Vec<Matrix<'a>> {
        let shapes = self.shapes();
        let matrix = |((name, scores), (_, columns)): ((&'a String, &'a Vec<f32>), (usize, usize))| Matrix {
            name,
            scores,
            columns,
        };
        names.iter().zip(scores).zip(shapes).map(matrix).collect()
    }

    /// The same with zeros where the masks (one a layer) say so.
    #[must_use]
    pub fn masked(mut self, masks: &[Vec<bool>]) -> Self {
        for (layer, mask) in self.architecture.layers().iter().zip(masks) {
            if let Some(weight) = self.state.get_mut(&format!("{layer}.weight")) {
                weight.values.iter_mut().zip(mask).filter(|(_, kept)| !**kept).for_each(|(w, _)| *w = 0.0);
            }
        }
        self
    }

    /// Weights that are not zero, for each layer; negative zeros are zeros.
    #[must_use]
    pub fn non_zero(&self) -> Vec<usize> {
        let count = |layer: &String| self.weight(layer).iter().filter(|w| **w != 0.0).count();
        self.architecture.layers().iter().map(count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{rng, testing::ready};

    #[test]
    fn both_kinds_come_back_from_the_device_as_they_went() {
        let cnn = Architecture::Cnn(CnnConfig { side: 8, channels: vec![2, 3], classes: 4 });
        for architecture in [Architecture::Mlp(vec![6, 5, 3]), cnn] {
            let network = Network::init(&architecture, &mut rng(0, "weights"));
            assert_eq!(network.state.parameters(), architecture.parameters());
            let weights: usize = architecture.layers().iter().map(|layer| network.weight(layer).len()).sum();
            assert_eq!(weights, architecture.weights());
            let net = network.on(&Device::flex()).expect("fits");
            assert_eq!(ready(Network::read(&architecture, &net)).expect("read"), network);
            assert_eq!(architecture.with_hidden(architecture.hidden()), architecture);
            let masks: Vec<Vec<bool>> = architecture
                .layers()
                .iter()
                .map(|l| (0..network.weight(l).len()).map(|i| i % 2 == 0).collect())
                .collect();
            let masked = network.clone().masked(&masks);
            assert_eq!(masked.non_zero().iter().sum::<usize>(), masks.concat().iter().filter(|kept| **kept).count());
        }
    }
}
