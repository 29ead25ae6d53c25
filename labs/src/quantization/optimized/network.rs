//! The whole network, quantized.

use lab_kit::{
    mlp::MlpWeights,
    quant::{Grid, calibrate},
};

use super::{
    kernel::{integer_linear, mixed_linear, quantize_activations},
    packed::PackedMatrix,
};
use crate::registry::quantization::{Settings, naive};

/// One quantized layer. Biases stay FP32: there are few of them, and they are added once.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedLayer {
    /// Weights.
    pub weight: PackedMatrix,
    /// `[outputs]`.
    pub bias: Vec<f32>,
    /// Grid of the inputs; `None` where activations stay FP32.
    pub input: Option<Grid>,
}

/// A classifier that holds no FP32 weight.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedMlp {
    /// From pixels to logits.
    pub layers: Vec<QuantizedLayer>,
}

impl QuantizedMlp {
    // ANCHOR: quantize_network
    /// Quantizes a trained network. `examples` (`[images, inputs]`) show the range of the activations; they are images
    /// that the network was trained on, never those it is judged by.
    #[must_use]
    pub fn quantize(network: &MlpWeights, settings: &Settings, examples: &[f32]) -> Self {
        let outputs = match settings.activations {
            Some(_) => naive::layer_outputs(&network.layers, examples),
            None => Vec::new(),
        };
        let layer = |(i, layer): (usize, &lab_kit::mlp::Dense)| {
            let input = settings.activations.map(|how| match i.checked_sub(1) {
                None => calibrate(how, 8, examples),
                Some(before) => calibrate(how, 8, &relu(&outputs[before])),
            });
            let weight = PackedMatrix::quantize(&layer.weight, layer.inputs, settings);
            QuantizedLayer { weight, bias: layer.bias.clone(), input }
        };
        Self { layers: network.layers.iter().enumerate().map(layer).collect() }
    }
    // ANCHOR_END: quantize_network

    // ANCHOR: forward
    /// Logits `[images, outputs]` of pixels `[images, inputs]`, from the packed weights alone.
    #[must_use]
    pub fn forward(&self, pixels: &[f32]) -> Vec<f32> {
        self.layer_outputs(pixels).pop().unwrap_or_default()
    }

    /// What every layer gives, before ReLU: the last one is the logits.
    #[must_use]
    pub fn layer_outputs(&self, pixels: &[f32]) -> Vec<Vec<f32>> {
        let mut all: Vec<Vec<f32>> = Vec::new();
        for layer in &self.layers {
            let inputs = all.last().map_or_else(|| pixels.to_vec(), |before| relu(before));
            all.push(match &layer.input {
                Some(grid) => {
                    let codes = quantize_activations(grid, &inputs);
                    integer_linear(&layer.weight, &layer.bias, &codes, grid.scale)
                }
                None => mixed_linear(&layer.weight, &layer.bias, &inputs),
            });
        }
        all
    }
    // ANCHOR_END: forward

    /// Bytes of packed weights, their scales and zero points, and the FP32 biases.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.layers.iter().map(|layer| layer.weight.bytes() + size_of_val(layer.bias.as_slice())).sum()
    }
}

fn relu(values: &[f32]) -> Vec<f32> {
    values.iter().map(|y| y.max(0.0)).collect()
}

#[cfg(test)]
mod tests {
    use lab_kit::{
        mlp::MlpWeights,
        quant::{Calibration, Scheme},
        rng,
    };
    use rand::Rng;

    use super::*;
    use crate::registry::quantization::Granularity;

    fn network() -> (MlpWeights, Vec<f32>) {
        let network = MlpWeights::init(&[64, 32, 10], &mut rng(0, "weights"));
        // Of both signs, so that no unit stays silent on all of them.
        let mut rng = rng(0, "pixels");
        let pixels = (0..64 * 32).map(|_| rng.random_range(-1.0..1.0)).collect();
        (network, pixels)
    }

    #[test]
    fn every_packed_byte_is_read() {
        let (network, pixels) = network();
        for bits in [8, 4, 3, 2] {
            let settings = Settings {
                bits,
                scheme: Scheme::Symmetric,
                granularity: Granularity::Channel,
                activations: Some(Calibration::MinMax),
            };
            let whole = QuantizedMlp::quantize(&network, &settings, &pixels);
            let logits = whole.forward(&pixels);
            for (layer, byte) in [(0, 0), (0, 17), (1, 3)] {
                let mut corrupted = whole.clone();
                corrupted.layers[layer].weight.codes[byte] ^= 0b0010_1001;
                assert_ne!(corrupted.forward(&pixels), logits, "{bits} bits, layer {layer}, byte {byte}");
            }
        }
    }

    #[test]
    fn eight_bits_change_logits_by_about_a_percent() {
        let (network, pixels) = network();
        let plain = naive::layer_outputs(&network.layers, &pixels).pop().expect("layers");
        for activations in [None, Some(Calibration::MinMax)] {
            let settings =
                Settings { bits: 8, scheme: Scheme::Symmetric, granularity: Granularity::Channel, activations };
            let logits = QuantizedMlp::quantize(&network, &settings, &pixels).forward(&pixels);
            let (signal, noise) = lab_kit::quant::signal_and_noise(&plain, &logits);
            assert!(noise < signal * 1e-3, "{}", noise / signal);
        }
    }
}
