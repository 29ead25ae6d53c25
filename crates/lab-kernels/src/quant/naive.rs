//! The plain way: round the weights, keep them as FP32, multiply in a triple loop. It shows what quantization costs in
//! accuracy and saves nothing. The tests hold the optimized code against it.

use super::{Granularity, Scheme, Settings};
use crate::Dense;

// ANCHOR: fake_quantize
/// Rounds weights (`[rows, columns]`, row-major) to what `settings` can represent, and gives them back as FP32.
#[must_use]
pub fn fake_quantize(weight: &[f32], columns: usize, settings: &Settings) -> Vec<f32> {
    let share = |block: &[f32]| round_block(block, settings.bits, settings.scheme);
    match settings.granularity {
        Granularity::Tensor => share(weight),
        Granularity::Channel => weight.chunks(columns).flat_map(share).collect(),
        Granularity::Group(size) => weight.chunks(columns).flat_map(|row| row.chunks(size)).flat_map(share).collect(),
    }
}

/// Weights that share one scale: from real number to integer and back.
fn round_block(block: &[f32], bits: u32, scheme: Scheme) -> Vec<f32> {
    let min = block.iter().copied().fold(0.0, f32::min);
    let max = block.iter().copied().fold(0.0, f32::max);
    let (scale, zero_point, low, high) = match scheme {
        Scheme::Symmetric => {
            let high = f32::from((1_u8 << (bits - 1)) - 1);
            (min.abs().max(max) / high, 0.0, -high, high)
        }
        Scheme::Affine => {
            let high = f32::from((1_u16 << bits) - 1);
            let scale = (max - min) / high;
            (scale, (-min / scale).round_ties_even(), 0.0, high)
        }
    };
    let back = |weight: &f32| {
        let integer = ((weight / scale).round_ties_even() + zero_point).clamp(low, high);
        scale * (integer - zero_point)
    };
    if scale > 0.0 { block.iter().map(back).collect() } else { block.to_vec() }
}
// ANCHOR_END: fake_quantize

// ANCHOR: linear
/// One layer in FP32: outputs `[batch, outputs]` of inputs `[batch, inputs]`. Reads four bytes for every weight.
#[must_use]
pub fn linear(layer: &Dense, inputs: &[f32]) -> Vec<f32> {
    let mut outputs = Vec::with_capacity(inputs.len() / layer.inputs * layer.outputs);
    for x in inputs.chunks_exact(layer.inputs) {
        for row in 0..layer.outputs {
            let mut sum = layer.bias[row];
            for (w, x) in layer.row(row).iter().zip(x) {
                sum += w * x;
            }
            outputs.push(sum);
        }
    }
    outputs
}
// ANCHOR_END: linear

/// What every layer gives for a batch, before ReLU: the last one is the logits.
#[must_use]
pub fn layer_outputs(layers: &[Dense], pixels: &[f32]) -> Vec<Vec<f32>> {
    let mut all: Vec<Vec<f32>> = Vec::new();
    for layer in layers {
        let outputs = match all.last() {
            None => linear(layer, pixels),
            Some(before) => linear(layer, &before.iter().map(|y| y.max(0.0)).collect::<Vec<f32>>()),
        };
        all.push(outputs);
    }
    all
}
