//! Outliers among the inputs of layers whose inputs are rounded too: a few large channels stretch the grid that all channels
//! share.
//!
//! Weights are `[rows, columns]` and example inputs `[examples, columns]`, row-major; a column is an input channel.

use super::outlier::{Salience, salient_channels};

/// What is done to inputs before they are rounded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Remedy {
    /// Nothing.
    Nothing,
    /// This share (0 to 1) of the channels, those with the largest inputs on average, skip the rounding, and so do their weights:
    /// LLM.int8() (Dettmers et al., 2022, arXiv:2208.07339) with a fixed share in place of its threshold.
    Keep {
        /// 0 to 1.
        share: f64,
    },
    /// Channels are scaled, inputs down and weights up (SmoothQuant, Xiao et al., 2023, arXiv:2211.10438).
    Smooth {
        /// 0 (weights come out alike) to 1 (inputs do).
        alpha: f32,
    },
}

/// A remedy, worked out for the inputs of one layer or of several that share them.
#[derive(Debug, Clone, PartialEq)]
pub enum Treatment {
    /// Nothing.
    Nothing,
    /// These channels, ascending, skip the rounding.
    Keep(Vec<usize>),
    /// Inputs are divided and weights multiplied by these, one for each channel.
    Smooth(Vec<f32>),
}

impl Remedy {
    /// What it does to these inputs. `weight` holds the rows of all matrices that they are multiplied with.
    #[must_use]
    pub fn treat(self, weight: &[f32], columns: usize, inputs: &[f32]) -> Treatment {
        match self {
            Self::Nothing => Treatment::Nothing,
            Self::Keep { share } => {
                Treatment::Keep(salient_channels(weight, columns, inputs, share, Salience::Activation))
            }
            Self::Smooth { alpha } => Treatment::Smooth(smoothing(weight, columns, inputs, alpha)),
        }
    }
}

impl Treatment {
    /// What reaches the rounding of the inputs: one number for each channel that multiplies it.
    #[must_use]
    pub fn of_inputs(&self, columns: usize) -> Vec<f32> {
        match self {
            Self::Nothing => vec![1.0; columns],
            Self::Keep(channels) => without(channels, columns),
            Self::Smooth(factors) => factors.iter().map(|factor| factor.recip()).collect(),
        }
    }

    /// The same for the weights.
    #[must_use]
    pub fn of_weights(&self, columns: usize) -> Vec<f32> {
        match self {
            Self::Nothing => vec![1.0; columns],
            Self::Keep(channels) => without(channels, columns),
            Self::Smooth(factors) => factors.clone(),
        }
    }
}

/// Rows times one number for each column.
#[must_use]
pub fn scale_columns(values: &[f32], by: &[f32]) -> Vec<f32> {
    values.iter().zip(by.iter().cycle()).map(|(value, by)| value * by).collect()
}

fn without(channels: &[usize], columns: usize) -> Vec<f32> {
    (0..columns).map(|column| f32::from(u8::from(!channels.contains(&column)))).collect()
}

// ANCHOR: smoothing
/// For each channel the number that inputs are divided and weights multiplied by, `max|x|^alpha / max|w|^(1 - alpha)`. It
/// leaves the product as it is and moves outliers from activations, whose range all channels share, into weights.
#[must_use]
pub fn smoothing(weight: &[f32], columns: usize, inputs: &[f32], alpha: f32) -> Vec<f32> {
    // Channels that are never used could take any factor; no power of zero is among them.
    let largest = |values: &[f32]| {
        values.chunks_exact(columns).fold(vec![1e-5_f32; columns], |most, row| {
            most.iter().zip(row).map(|(most, value)| most.max(value.abs())).collect()
        })
    };
    let (x, w) = (largest(inputs), largest(weight));
    x.iter().zip(&w).map(|(x, w)| x.powf(alpha) / w.powf(1.0 - alpha)).collect()
}
// ANCHOR_END: smoothing

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::{
        quant::{Granularity, Grid, PackedMatrix, Scheme, Settings, min_max},
        rng,
    };

    const COLUMNS: usize = 32;
    const LOUD: usize = 5;

    /// Weights `[8, 32]` and inputs `[50, 32]`, of which channel 5 is twenty times as large.
    fn case(seed: u64) -> (Vec<f32>, Vec<f32>) {
        let mut rng = rng(seed, "remedy");
        let weight = (0..8 * COLUMNS).map(|_| rng.random_range(-1.0..1.0)).collect();
        let large = |i: usize| if i % COLUMNS == LOUD { 20.0 } else { 1.0 };
        let inputs = (0..50 * COLUMNS).map(|i| large(i) * rng.random_range(-1.0_f32..1.0)).collect();
        (weight, inputs)
    }

    fn product(w: &[f32], x: &[f32]) -> Vec<f32> {
        let rows = w.chunks(COLUMNS);
        rows.flat_map(|w| x.chunks(COLUMNS).map(move |x| w.iter().zip(x).map(|(w, x)| w * x).sum())).collect()
    }

    /// Squared error of the product where 8-bit weights per channel meet inputs in one range for all channels.
    fn error(weight: &[f32], inputs: &[f32], remedy: Remedy) -> f64 {
        let treatment = remedy.treat(weight, COLUMNS, inputs);
        let w = scale_columns(weight, &treatment.of_weights(COLUMNS));
        let x = scale_columns(inputs, &treatment.of_inputs(COLUMNS));
        let (min, max) = min_max(&x);
        let grid = Grid::fit(Scheme::Affine, 8, min, max);
        let x: Vec<f32> = x.iter().map(|x| grid.value(grid.code(*x))).collect();
        let settings = Settings::weight_only(8, Scheme::Symmetric, Granularity::Channel);
        let mut found = product(&PackedMatrix::quantize(&w, COLUMNS, &settings).dequantize(), &x);
        if let Treatment::Keep(channels) = &treatment {
            let only: Vec<f32> = without(channels, COLUMNS).iter().map(|rest| 1.0 - rest).collect();
            let kept = product(&scale_columns(weight, &only), &scale_columns(inputs, &only));
            found.iter_mut().zip(kept).for_each(|(y, kept)| *y += kept);
        }
        found.iter().zip(product(weight, inputs)).map(|(a, b)| f64::from(a - b).powi(2)).sum()
    }

    #[test]
    fn a_remedy_leaves_the_product_and_spares_the_inputs() {
        let (mut nothing, mut kept, mut smooth) = (0.0, 0.0, 0.0);
        for seed in 0..10 {
            let (weight, inputs) = case(seed);
            let treatment = Remedy::Smooth { alpha: 0.5 }.treat(&weight, COLUMNS, &inputs);
            let w = scale_columns(&weight, &treatment.of_weights(COLUMNS));
            let x = scale_columns(&inputs, &treatment.of_inputs(COLUMNS));
            for (a, b) in product(&weight, &inputs).iter().zip(product(&w, &x)) {
                assert!((a - b).abs() < 1e-4, "{a} {b}");
            }
            let keep = Remedy::Keep { share: 0.01 };
            assert_eq!(keep.treat(&weight, COLUMNS, &inputs), Treatment::Keep(vec![LOUD]));
            nothing += error(&weight, &inputs, Remedy::Nothing);
            kept += error(&weight, &inputs, keep);
            smooth += error(&weight, &inputs, Remedy::Smooth { alpha: 0.5 });
        }
        // One range for a channel that is twenty times as large: without it steps are a twentieth, and errors a 400th of which
        // those of the weights are left. Smoothing splits the factor between both sides.
        assert!(kept < 0.05 * nothing && smooth < 0.5 * nothing && kept < smooth, "{nothing} {kept} {smooth}");
    }

    #[test]
    fn what_was_scaled_without_loss_is_scaled_back_by_smoothing_at_any_alpha() {
        let (weight, inputs) = case(0);
        let planted: Vec<f32> = (0..COLUMNS).map(|column| if column % 7 == 3 { 32.0 } else { 1.0 }).collect();
        let back: Vec<f32> = planted.iter().map(|factor| factor.recip()).collect();
        let (loud, small) = (scale_columns(&inputs, &planted), scale_columns(&weight, &back));
        for alpha in [0.0, 0.3, 0.5, 1.0] {
            let plain = smoothing(&weight, COLUMNS, &inputs, alpha);
            let again = smoothing(&small, COLUMNS, &loud, alpha);
            for ((plain, again), factor) in plain.iter().zip(&again).zip(&planted) {
                assert!((again / (plain * factor) - 1.0).abs() < 1e-5, "{alpha}: {plain} {again} {factor}");
            }
        }
    }
}
