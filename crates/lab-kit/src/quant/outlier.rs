//! Outliers among the inputs of a layer whose *weights* are rounded: channels that matter more than the rest, kept in FP32 or
//! scaled into reach of the grid. What is done where the inputs are rounded too stands in [`remedy`](super::remedy).
//!
//! All functions take weights `[rows, columns]` and example inputs `[examples, columns]`, row-major; a column is an input
//! channel. They give rounded weights back as FP32: they tell what a method does to quality.

use rand::seq::SliceRandom;

use super::{PackedMatrix, Settings, gptq};
use crate::order::Ordered as _;
use crate::rng;

/// What is done to a layer's weights besides rounding each to the nearest level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Nothing.
    Nothing,
    /// Some input channels stay as they are.
    Keep(Salience),
    /// Columns are scaled by their inputs before rounding.
    Scale,
    /// Errors are made up for by later columns.
    Compensate,
}

impl Method {
    /// All but the random choice, which takes a seed; with identifier and words. The words say one per cent, which callers
    /// choose as `share`.
    pub const ALL: [(Self, &str, &str); 5] = [
        (Self::Nothing, "none", "Round to nearest"),
        (Self::Keep(Salience::Activation), "activation", "Keep 1 % of channels, by activation"),
        (Self::Keep(Salience::Weight), "weight", "Keep 1 % of channels, by weight"),
        (Self::Scale, "scaled", "Scale channels by activation (AWQ)"),
        (Self::Compensate, "gptq", "Compensate errors (GPTQ)"),
    ];

    /// The weights that it leaves, as FP32. `share` (0 to 1) of the channels are kept where any are.
    #[must_use]
    pub fn round(self, weight: &[f32], columns: usize, inputs: &[f32], share: f64, settings: &Settings) -> Vec<f32> {
        let keep = |channels: &[usize]| keep_channels(weight, columns, channels, settings).weight;
        match self {
            Self::Nothing => keep(&[]),
            Self::Keep(by) => keep(&salient_channels(weight, columns, inputs, share, by)),
            Self::Scale => activation_aware(weight, columns, inputs, settings).weight,
            Self::Compensate => gptq(weight, columns, inputs, settings).dequantize(),
        }
    }
}

/// What makes a channel count as important.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Salience {
    /// Large inputs on average, as in AWQ (arXiv:2306.00978). LLM.int8() (arXiv:2208.07339) takes the channels that hold any
    /// magnitude of 6 or more, however many.
    Activation,
    /// Large weights on average.
    Weight,
    /// Nothing: drawn under this seed, the control.
    Random(u64),
}

/// The `share` (0 to 1) of the channels that count most, at least one unless `share` is 0; in ascending order.
#[must_use]
pub fn salient_channels(weight: &[f32], columns: usize, inputs: &[f32], share: f64, by: Salience) -> Vec<usize> {
    let mut order: Vec<usize> = (0..columns).collect();
    match by {
        Salience::Random(seed) => order.shuffle(&mut rng(seed, "salient channels")),
        Salience::Activation | Salience::Weight => {
            let values = if by == Salience::Activation { inputs } else { weight };
            let magnitude = mean_magnitude(values, columns);
            order.ordered_by(&|a, b| magnitude[*b].total_cmp(&magnitude[*a]));
        }
    }
    order.truncate((share.clamp(0.0, 1.0) * columns as f64).ceil() as usize);
    order.sort_unstable();
    order
}

/// Rounded weights of which some columns stay as they are, and the bytes that takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// `[rows, columns]`.
    pub weight: Vec<f32>,
    /// Packed integers with their scales, and four bytes for each kept weight.
    pub bytes: usize,
}

/// Quantizes all but the columns `keep`. The kept ones do not stretch the grid of the rest (the decomposition of
/// LLM.int8(), arXiv:2208.07339, applied to weights).
#[must_use]
pub fn keep_channels(weight: &[f32], columns: usize, keep: &[usize], settings: &Settings) -> Kept {
    let mut rest = weight.to_vec();
    let kept = || (0..weight.len() / columns).flat_map(|row| keep.iter().map(move |column| row * columns + column));
    kept().for_each(|i| rest[i] = 0.0);
    let packed = PackedMatrix::quantize(&rest, columns, settings);
    let mut rounded = packed.dequantize();
    kept().for_each(|i| rounded[i] = weight[i]);
    Kept { weight: rounded, bytes: packed.bytes() + size_of::<f32>() * kept().count() }
}

/// Weights rounded after their columns were scaled, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Scaled {
    /// `[rows, columns]`, scaled back.
    pub weight: Vec<f32>,
    /// The exponent that lost least.
    pub alpha: f64,
    /// What each column was multiplied by before rounding.
    pub scales: Vec<f32>,
}

/// Exponents that [`activation_aware`] tries.
const ALPHAS: u32 = 20;

/// Activation-aware scaling (AWQ, arXiv:2306.00978): columns with large inputs are multiplied by a power of the mean
/// input before rounding and divided by it afterwards, so that they are rounded more finely. The exponent is the one of
/// 21 between 0 (plain rounding) and 1 that changes the outputs on the examples least.
#[must_use]
pub fn activation_aware(weight: &[f32], columns: usize, inputs: &[f32], settings: &Settings) -> Scaled {
    let magnitude = mean_magnitude(inputs, columns);
    let try_one = |alpha: f64| {
        let powers: Vec<f64> = magnitude.iter().map(|m| m.max(1e-6).powf(alpha)).collect();
        let (least, most) = powers.iter().fold((f64::INFINITY, 0.0_f64), |(l, m), p| (l.min(*p), m.max(*p)));
        // Centred around 1, as in the authors' code, so that no column leaves the range of FP32.
        let scales: Vec<f32> = powers.iter().map(|p| (p / (least * most).sqrt()) as f32).collect();
        let scaled: Vec<f32> = weight.iter().enumerate().map(|(i, w)| w * scales[i % columns]).collect();
        let rounded = PackedMatrix::quantize(&scaled, columns, settings).dequantize();
        let weight = rounded.iter().enumerate().map(|(i, w)| w / scales[i % columns]).collect();
        Scaled { weight, alpha, scales }
    };
    let tries = (1..=ALPHAS).map(|i| try_one(f64::from(i) / f64::from(ALPHAS)));
    let mut best = try_one(0.0);
    let mut least = output_error(weight, &best.weight, inputs, columns);
    for candidate in tries {
        let error = output_error(weight, &candidate.weight, inputs, columns);
        if error < least {
            (best, least) = (candidate, error);
        }
    }
    best
}

/// Squared change of a layer's outputs, summed over examples and rows.
#[must_use]
pub fn output_error(weight: &[f32], rounded: &[f32], inputs: &[f32], columns: usize) -> f64 {
    let mut sum = 0.0;
    for (w, q) in weight.chunks_exact(columns).zip(rounded.chunks_exact(columns)) {
        let difference: Vec<f32> = w.iter().zip(q).map(|(w, q)| w - q).collect();
        for x in inputs.chunks_exact(columns) {
            let error: f32 = difference.iter().zip(x).map(|(d, x)| d * x).sum();
            sum += f64::from(error) * f64::from(error);
        }
    }
    sum
}

/// Mean magnitude of each column.
fn mean_magnitude(values: &[f32], columns: usize) -> Vec<f64> {
    let mut sums = vec![0.0; columns];
    for row in values.chunks_exact(columns) {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(value.abs()));
    }
    let rows = (values.len() / columns.max(1)).max(1) as f64;
    sums.iter().map(|sum| sum / rows).collect()
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::quant::{Granularity, Scheme};

    const COLUMNS: usize = 32;

    /// Weights `[8, 32]` and inputs `[50, 32]` of which channel 5 is twenty times as large.
    fn case(seed: u64) -> (Vec<f32>, Vec<f32>) {
        let mut rng = rng(seed, "outlier");
        let weight = (0..8 * COLUMNS).map(|_| rng.random_range(-1.0..1.0)).collect();
        let large = |i: usize| if i % COLUMNS == 5 { 20.0 } else { 1.0 };
        let inputs = (0..50 * COLUMNS).map(|i| large(i) * rng.random_range(-1.0_f32..1.0)).collect();
        (weight, inputs)
    }

    fn settings(bits: u32) -> Settings {
        Settings::weight_only(bits, Scheme::Symmetric, Granularity::Channel)
    }

    #[test]
    fn the_channel_with_the_large_inputs_is_the_one_to_keep() {
        let (mut activation, mut weight_chosen, mut random) = (0.0, 0.0, 0.0);
        for seed in 0..20 {
            let (weight, inputs) = case(seed);
            let error = |by| {
                let keep = salient_channels(&weight, COLUMNS, &inputs, 0.03, by);
                assert_eq!(keep.len(), 1);
                output_error(&weight, &keep_channels(&weight, COLUMNS, &keep, &settings(3)).weight, &inputs, COLUMNS)
            };
            assert_eq!(salient_channels(&weight, COLUMNS, &inputs, 0.03, Salience::Activation), [5]);
            activation += error(Salience::Activation);
            weight_chosen += error(Salience::Weight);
            random += error(Salience::Random(seed));
        }
        assert!(activation < 0.2 * random && activation < 0.2 * weight_chosen, "{activation} {weight_chosen} {random}");
    }

    #[test]
    fn none_kept_is_plain_rounding_and_all_kept_is_no_rounding() {
        let (weight, inputs) = case(0);
        let some = |share| salient_channels(&weight, COLUMNS, &inputs, share, Salience::Random(1));
        let plain = PackedMatrix::quantize(&weight, COLUMNS, &settings(4));
        let none = keep_channels(&weight, COLUMNS, &some(0.0), &settings(4));
        assert_eq!((none.weight, none.bytes), (plain.dequantize(), plain.bytes()));
        let all = keep_channels(&weight, COLUMNS, &some(1.0), &settings(4));
        assert_eq!((all.weight, all.bytes), (weight.clone(), plain.bytes() + 4 * weight.len()));
        assert_ne!(some(0.2), salient_channels(&weight, COLUMNS, &inputs, 0.2, Salience::Random(2)));
        // A large weight in a kept column no longer stretches the grid.
        let mut stretched = weight.clone();
        stretched[5] = 50.0;
        let kept = keep_channels(&stretched, COLUMNS, &[5], &settings(4));
        assert_eq!(kept.weight[5], 50.0);
        assert!((kept.weight[6] - weight[6]).abs() < 0.1);
    }

    #[test]
    fn scaling_by_activation_never_loses_and_helps_where_a_channel_sticks_out() {
        let (mut plain, mut aware) = (0.0, 0.0);
        for seed in 0..20 {
            let (weight, inputs) = case(seed);
            let rounded = PackedMatrix::quantize(&weight, COLUMNS, &settings(3)).dequantize();
            let scaled = activation_aware(&weight, COLUMNS, &inputs, &settings(3));
            let (before, after) = (
                output_error(&weight, &rounded, &inputs, COLUMNS),
                output_error(&weight, &scaled.weight, &inputs, COLUMNS),
            );
            assert!(after <= before * 1.0001, "{after} {before}");
            plain += before;
            aware += after;
        }
        assert!(aware < 0.6 * plain, "{aware} {plain}");
    }
}
