//! The whole network, quantized.

use super::{
    Activations, Grid, HALF, PackedMatrix, Settings, calibrate,
    gptq::gptq,
    kernel::{integer_linear, mixed_linear, quantize_activations, quantize_rows},
    naive,
};
use crate::mlp::{Dense, MlpWeights};

/// Bits of a quantized activation.
const ACTIVATION_BITS: u32 = 8;

/// One quantized layer. Biases stay FP32: there are few of them, and they are added once.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedLayer {
    /// Weights.
    pub weight: PackedMatrix,
    /// `[outputs]`.
    pub bias: Vec<f32>,
    /// What happens to the inputs.
    pub input: InputGrid,
}

/// How the inputs of a layer are quantized.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum InputGrid {
    /// Not at all.
    Fp32,
    /// On one grid, found beforehand.
    Static(Grid),
    /// Each row of the batch on a grid of its own.
    Dynamic,
}

/// A classifier that holds no FP32 weight.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedMlp {
    /// From pixels to logits.
    pub layers: Vec<QuantizedLayer>,
}

impl QuantizedMlp {
    // ANCHOR: quantize_network
    /// Quantizes a trained network. `examples` (`[images, inputs]`) show what flows into each layer; they are images
    /// that the network was trained on, never those it is judged by.
    #[must_use]
    pub fn quantize(network: &MlpWeights, settings: &Settings, examples: &[f32]) -> Self {
        let half = settings.bits == HALF;
        let statics = !half && matches!(settings.activations, Activations::Static(_));
        let outputs = if statics || settings.compensates() {
            naive::layer_outputs(&network.layers, examples)
        } else {
            Vec::new()
        };
        let layer = |(i, layer): (usize, &Dense)| {
            let inputs = || match i.checked_sub(1) {
                None => examples.to_vec(),
                Some(before) => relu(&outputs[before]),
            };
            let input = match settings.activations {
                _ if half => InputGrid::Fp32,
                Activations::Fp32 => InputGrid::Fp32,
                Activations::Static(how) => InputGrid::Static(calibrate(how, ACTIVATION_BITS, &inputs())),
                Activations::Dynamic => InputGrid::Dynamic,
            };
            let weight = if settings.compensates() {
                gptq(&layer.weight, layer.inputs, &inputs(), settings)
            } else {
                PackedMatrix::quantize(&layer.weight, layer.inputs, settings)
            };
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
                InputGrid::Static(grid) => {
                    let codes = quantize_activations(grid, &inputs);
                    integer_linear(&layer.weight, &layer.bias, &codes, &[grid.scale])
                }
                InputGrid::Dynamic => {
                    let (codes, scales) = quantize_rows(&inputs, layer.weight.columns, ACTIVATION_BITS);
                    integer_linear(&layer.weight, &layer.bias, &codes, &scales)
                }
                InputGrid::Fp32 => mixed_linear(&layer.weight, &layer.bias, &inputs),
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
    use rand::Rng;

    use super::*;
    use crate::{
        quant::{Calibration, Granularity, Rounding, Scheme, signal_and_noise},
        rng,
    };

    fn network() -> (MlpWeights, Vec<f32>) {
        let network = MlpWeights::init(&[64, 32, 10], &mut rng(0, "weights"));
        // Of both signs, so that no unit stays silent on all of them.
        let mut rng = rng(0, "pixels");
        let pixels = (0..64 * 32).map(|_| rng.random_range(-1.0..1.0)).collect();
        (network, pixels)
    }

    const ACTIVATIONS: [Activations; 6] = [
        Activations::Fp32,
        Activations::Dynamic,
        Activations::Static(Calibration::MinMax),
        Activations::Static(Calibration::Percentile { percent: 99.9 }),
        Activations::Static(Calibration::Mse),
        Activations::Static(Calibration::Entropy),
    ];

    #[test]
    fn every_packed_byte_is_read() {
        let (network, pixels) = network();
        for bits in [HALF, 8, 4, 3, 2] {
            for activations in ACTIVATIONS {
                let weights = Settings::weight_only(bits, Scheme::Symmetric, Granularity::Channel);
                let whole = QuantizedMlp::quantize(&network, &Settings { activations, ..weights }, &pixels);
                let logits = whole.forward(&pixels);
                for (layer, byte) in [(0, 0), (0, 17), (1, 3)] {
                    let mut corrupted = whole.clone();
                    corrupted.layers[layer].weight.codes[byte] ^= 0b0010_1001;
                    assert_ne!(corrupted.forward(&pixels), logits, "{bits} bits, layer {layer}, byte {byte}");
                }
            }
        }
    }

    #[test]
    fn eight_bits_change_logits_by_about_a_percent() {
        let (network, pixels) = network();
        let plain = naive::layer_outputs(&network.layers, &pixels).pop().expect("layers");
        for activations in ACTIVATIONS {
            for rounding in [Rounding::Nearest, Rounding::Gptq] {
                for (bits, bound) in [(8, 1e-3), (HALF, 1e-6)] {
                    let weights = Settings::weight_only(bits, Scheme::Symmetric, Granularity::Channel);
                    let settings = Settings { activations, rounding, ..weights };
                    let logits = QuantizedMlp::quantize(&network, &settings, &pixels).forward(&pixels);
                    let (signal, noise) = signal_and_noise(&plain, &logits);
                    assert!(noise < signal * bound, "{settings:?} {}", noise / signal);
                }
            }
        }
    }

    #[test]
    fn a_dynamic_range_does_not_depend_on_the_rest_of_the_batch() {
        let (network, pixels) = network();
        let weights = Settings::weight_only(4, Scheme::Affine, Granularity::Group(16));
        let packed = QuantizedMlp::quantize(&network, &Settings { activations: Activations::Dynamic, ..weights }, &[]);
        let together = packed.forward(&pixels);
        for (image, logits) in pixels.chunks(64).zip(together.chunks(10)) {
            for (alone, among) in packed.forward(image).iter().zip(logits) {
                // One image takes another way through the kernels, and sums in another order.
                assert!((alone - among).abs() < 1e-4, "{alone} {among}");
            }
        }
    }
}
