//! NF4: sixteen levels that lie where a bell curve has its weights (Dettmers et al., QLoRA, arXiv:2305.14314).

use crate::quant::{pack, unpack_into};

/// Weights that share a scale.
pub const BLOCK: usize = 64;
/// Scales that share a step: double quantization.
const SCALES: usize = 256;

/// Quantiles of the normal distribution, scaled so that the outermost are ±1: eight steps up from zero, seven down.
pub const LEVELS: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// Weights in four bits, their scales in eight.
#[derive(Debug, Clone, PartialEq)]
pub struct Nf4 {
    codes: Vec<u8>,
    /// For each block its largest magnitude, in steps.
    scales: Vec<u8>,
    steps: Vec<f32>,
    count: usize,
}

// ANCHOR: nf4
impl Nf4 {
    /// Rounds each weight to the nearest level of its block. Scales are rounded to evenly spaced steps of 1/255 of the
    /// largest of 256 (bitsandbytes takes unevenly spaced ones).
    #[must_use]
    pub fn encode(weights: &[f32]) -> Self {
        let largest = |block: &[f32]| block.iter().fold(0.0_f32, |most, w| most.max(w.abs()));
        let exact: Vec<f32> = weights.chunks(BLOCK).map(largest).collect();
        let steps: Vec<f32> = exact.chunks(SCALES).map(|scales| largest(scales) / 255.0).collect();
        let rounded = exact.iter().enumerate().map(|(block, scale)| {
            let step = steps[block / SCALES];
            if step > 0.0 { (scale / step).round().clamp(1.0, 255.0) as u8 } else { 0 }
        });
        Self::with_scales(weights, rounded.collect(), steps)
    }

    /// Rounds other weights with the scales of these.
    #[must_use]
    pub fn again(&self, weights: &[f32]) -> Self {
        Self::with_scales(weights, self.scales.clone(), self.steps.clone())
    }

    fn with_scales(weights: &[f32], scales: Vec<u8>, steps: Vec<f32>) -> Self {
        let mut codes = Vec::with_capacity(weights.len());
        for (number, block) in weights.chunks(BLOCK).enumerate() {
            let scale = f32::from(scales[number]) * steps[number / SCALES];
            let unit = if scale > 0.0 { scale.recip() } else { 0.0 };
            codes.extend(block.iter().map(|w| nearest(w * unit)));
        }
        Self { codes: pack(&codes, 4), scales, steps, count: weights.len() }
    }

    /// The weights that the codes stand for.
    #[must_use]
    pub fn decode(&self) -> Vec<f32> {
        let mut codes = vec![0; self.count];
        unpack_into(&self.codes, 4, 0, &mut codes);
        let scale = |at: usize| f32::from(self.scales[at / BLOCK]) * self.steps[at / BLOCK / SCALES];
        codes.iter().enumerate().map(|(at, code)| LEVELS[usize::from(*code & 15)] * scale(at)).collect()
    }
}
// ANCHOR_END: nf4

impl Nf4 {
    /// Bytes that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.codes.len() + self.scales.len() + 4 * self.steps.len()
    }
}

/// The code of the nearest level.
fn nearest(value: f32) -> u8 {
    // Between which neighbours a value lies, by their middle.
    LEVELS.windows(2).take_while(|pair| value > f32::midpoint(pair[0], pair[1])).count() as u8
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn a_block_by_hand() {
        let found = Nf4::encode(&[0.12, -0.5, 0.03, 0.31, -0.07, 0.0, 0.44, -0.21]);
        let mut codes = [0; 8];
        unpack_into(&found.codes, 4, 0, &mut codes);
        assert_eq!(codes, [10, 0, 8, 13, 5, 7, 15, 3]);
        let values = [0.123_056, -0.5, 0.039_790, 0.281_308, -0.092_387, 0.0, 0.5, -0.197_459];
        for (found, expected) in found.decode().iter().zip(values) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
        assert_eq!(Nf4::encode(&[0.0; 70]).decode(), [0.0; 70]);
        assert_eq!(found.again(&[9.0, -9.0]).decode(), [0.5, -0.5]);
    }

    #[test]
    fn levels_are_the_nearest_and_normal_weights_err_as_computed() {
        for step in 0..=400 {
            let value = step as f32 / 200.0 - 1.0;
            let found = LEVELS[usize::from(nearest(value))];
            let best = LEVELS.iter().fold(f32::MAX, |best, level| best.min((level - value).abs()));
            assert!(((found - value).abs() - best).abs() < 1e-7);
        }
        // Sums of twelve uniform numbers have variance 1 and are near enough to normal.
        let mut rng = crate::rng(0, "nf4");
        let weights: Vec<f32> =
            (0..64 * 1024).map(|_| (0..12).map(|_| rng.random_range(-0.5_f32..0.5)).sum::<f32>()).collect();
        let stored = Nf4::encode(&weights);
        let square: f64 = weights.iter().zip(stored.decode()).map(|(a, b)| f64::from((a - b) * (a - b))).sum();
        let error = (square / weights.len() as f64).sqrt();
        assert!((error - 0.092).abs() < 0.003, "{error}");
        // Four bits, eight for 64, 32 for 64 times 256: 4.127 bits each.
        assert!((8.0 * stored.bytes() as f64 / weights.len() as f64 - 4.127).abs() < 0.001);
        // What lies on levels stays.
        assert_eq!(stored.again(&stored.decode()), stored);
    }
}
