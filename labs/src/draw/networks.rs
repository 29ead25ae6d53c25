//! The three classifiers in FP32 and at fewer bits, asked about one picture.

use lab_api::LabError;
use lab_kit::{
    Context,
    models::{GlyphClassifier, StateDict},
    quant::{Granularity, PackedMatrix, QuantizedMlp, Scheme, Settings, naive},
    subject::{GLYPH_MLP_ASSET, GLYPH_MLP_WIDTHS},
    weights::WeightFile,
};

use super::conv::logits;

/// Widths beside FP32.
pub(super) const WIDTHS: [u32; 4] = [8, 4, 3, 2];
/// FP32 and [`WIDTHS`].
const ARMS: usize = 1 + WIDTHS.len();

/// What one network sees in a picture, in FP32 and at each width.
pub(super) struct Seen {
    pub(super) name: &'static str,
    /// Probabilities of all classes.
    pub(super) probabilities: [Vec<f64>; ARMS],
    /// Bytes of weights, scales and biases.
    pub(super) bytes: [usize; ARMS],
}

impl Seen {
    /// The most probable class of an arm.
    pub(super) fn answer(&self, arm: usize) -> usize {
        let probabilities = &self.probabilities[arm];
        (0..probabilities.len()).max_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b])).unwrap_or(0)
    }

    /// Its probability in per cent.
    pub(super) fn confidence(&self, arm: usize) -> f64 {
        100.0 * self.probabilities[arm].get(self.answer(arm)).copied().unwrap_or(0.0)
    }

    /// How many widths answer as FP32 does.
    pub(super) fn agreeing(&self) -> usize {
        (1..ARMS).filter(|arm| self.answer(*arm) == self.answer(0)).count()
    }

    /// The FP32 network's probabilities at a temperature `T`: of logits divided by `T`, which is each probability to the power
    /// `1 / T`, made to sum to 1 again (Hinton et al., 2015, arXiv:1503.02531).
    pub(super) fn soft_targets(&self, temperature: f64) -> Vec<f64> {
        let powers: Vec<f64> = self.probabilities[0].iter().map(|p| p.powf(1.0 / temperature)).collect();
        let sum: f64 = powers.iter().sum();
        powers.iter().map(|p| p / sum).collect()
    }

    /// How far the probability of any class moves from FP32, in percentage points.
    pub(super) fn shift(&self, arm: usize) -> f64 {
        let moved = self.probabilities[0].iter().zip(&self.probabilities[arm]).map(|(a, b)| (a - b).abs());
        100.0 * moved.fold(0.0, f64::max)
    }
}

/// Asks all three about a picture (`[256]`, ink 0 to 1).
pub(super) async fn look(pixels: &[f32], granularity: Granularity, cx: &Context) -> Result<[Seen; 3], LabError> {
    cx.progress("Asking the fully connected network", 0.2);
    let mlp = look_mlp(pixels, granularity, cx).await?;
    cx.progress("Asking the small convolutional network", 0.4);
    let small = look_cnn("Small", &GlyphClassifier::small(), pixels, granularity, cx).await?;
    cx.progress("Asking the teacher", 0.6);
    let teacher = look_cnn("Teacher", &GlyphClassifier::teacher(), pixels, granularity, cx).await?;
    Ok([mlp, small, teacher])
}

async fn look_mlp(pixels: &[f32], granularity: Granularity, cx: &Context) -> Result<Seen, LabError> {
    let weights = cx.asset(GLYPH_MLP_ASSET).await?;
    let network = WeightFile::open(GLYPH_MLP_ASSET, &weights)?.mlp("mlp", &GLYPH_MLP_WIDTHS)?;
    cx.checkpoint().await?;
    let plain = naive::layer_outputs(&network.layers, pixels).pop().unwrap_or_default();
    let mut seen = Seen::first("MLP", &plain, network.bytes());
    for (i, bits) in WIDTHS.iter().enumerate() {
        let settings = Settings::weight_only(*bits, Scheme::Symmetric, granularity);
        let packed = QuantizedMlp::quantize(&network, &settings, &[]);
        seen.probabilities[i + 1] = softmax(&packed.forward(pixels));
        seen.bytes[i + 1] = packed.bytes();
        cx.checkpoint().await?;
    }
    Ok(seen)
}

async fn look_cnn(
    name: &'static str,
    which: &GlyphClassifier,
    pixels: &[f32],
    granularity: Granularity,
    cx: &Context,
) -> Result<Seen, LabError> {
    let weights = StateDict::from_safetensors(which.asset, &cx.asset(which.asset).await?)?;
    let ask = async |weights: &StateDict| {
        cx.checkpoint().await?;
        logits(&which.config, weights, which.asset, pixels)
    };
    let mut seen = Seen::first(name, &ask(&weights).await?, 4 * weights.parameters());
    for (i, bits) in WIDTHS.iter().enumerate() {
        let settings = Settings::weight_only(*bits, Scheme::Symmetric, granularity);
        let (rounded, bytes) = rounded(&weights, &settings)?;
        seen.probabilities[i + 1] = softmax(&ask(&rounded).await?);
        seen.bytes[i + 1] = bytes;
    }
    Ok(seen)
}

impl Seen {
    fn first(name: &'static str, logits: &[f32], bytes: usize) -> Self {
        let mut seen = Self { name, probabilities: Default::default(), bytes: [bytes; ARMS] };
        seen.probabilities[0] = softmax(logits);
        seen
    }
}

/// Every weight rounded to its grid, and the bytes they take packed. Each output channel is a row; biases stay.
fn rounded(weights: &StateDict, settings: &Settings) -> Result<(StateDict, usize), LabError> {
    let (mut rounded, mut bytes) = (StateDict::default(), 0);
    for (name, weight) in weights.iter() {
        let columns: usize = weight.shape.iter().skip(1).product();
        let values = if weight.shape.len() < 2 {
            bytes += size_of_val(weight.values.as_slice());
            weight.values.clone()
        } else {
            let packed = PackedMatrix::quantize(&weight.values, columns, settings);
            bytes += packed.bytes();
            packed.dequantize()
        };
        rounded.insert(name, &weight.shape, values)?;
    }
    Ok((rounded, bytes))
}

/// As many classes as equal shares would have the same entropy: its exponential.
pub(super) fn perplexity(probabilities: &[f64]) -> f64 {
    probabilities.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum::<f64>().exp()
}

fn softmax(logits: &[f32]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits.iter().map(|logit| f64::from(logit - most).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

#[cfg(test)]
mod tests {
    use lab_kit::{quant::naive::fake_quantize, rng};
    use rand::Rng;

    use super::*;

    #[test]
    fn a_convolution_is_rounded_as_the_naive_way_rounds_its_rows() {
        let mut rng = rng(0, "weights");
        let values: Vec<f32> = (0..4 * 18).map(|_| rng.random_range(-1.0..1.0)).collect();
        let mut weights = StateDict::default();
        weights.insert("conv.0.weight", &[4, 2, 3, 3], values.clone()).expect("fits");
        weights.insert("conv.0.bias", &[4], vec![0.123; 4]).expect("fits");
        for granularity in [Granularity::Channel, Granularity::Tensor] {
            let settings = Settings::weight_only(3, Scheme::Symmetric, granularity);
            let (rounded, bytes) = rounded(&weights, &settings).expect("fits");
            let naive = fake_quantize(&values, 18, &settings);
            let found = &rounded.get("conv.0.weight").expect("there").values;
            assert!(found.iter().zip(&naive).all(|(a, b)| (a - b).abs() < 1e-6));
            assert_eq!(rounded.get("conv.0.bias").expect("there").values, [0.123; 4]);
            // 18 codes of 3 bits a row are 7 bytes.
            let scales = if granularity == Granularity::Channel { 4 } else { 1 };
            assert_eq!(bytes, 4 * 7 + 4 * scales + 16);
        }
    }

    #[test]
    fn soft_targets_are_those_of_divided_logits() {
        let logits = [3.0_f32, 1.0, -2.0, 0.5];
        let seen = Seen::first("any", &logits, 0);
        let divided: Vec<f32> = logits.iter().map(|x| x / 4.0).collect();
        for (soft, expected) in seen.soft_targets(4.0).iter().zip(softmax(&divided)) {
            assert!((soft - expected).abs() < 1e-7, "{soft} {expected}");
        }
        assert!((perplexity(&[0.25; 4]) - 4.0).abs() < 1e-12 && (perplexity(&[1.0, 0.0]) - 1.0).abs() < 1e-12);
        assert!(perplexity(&seen.soft_targets(20.0)) > perplexity(&seen.soft_targets(2.0)));
    }

    #[test]
    fn probabilities_sum_to_one_and_agreement_counts_answers() {
        let one = softmax(&[1.0, 1000.0, 2.0]);
        assert!((one.iter().sum::<f64>() - 1.0).abs() < 1e-12 && one[1] > 0.99);
        let mut seen = Seen::first("x", &[0.0, 3.0], 8);
        seen.probabilities[1] = vec![0.1, 0.9];
        seen.probabilities[2] = vec![0.6, 0.4];
        seen.probabilities[3] = vec![0.4, 0.6];
        seen.probabilities[4] = vec![0.9, 0.1];
        assert_eq!((seen.answer(0), seen.agreeing()), (1, 2));
        assert!((seen.shift(4) - 100.0 * (0.9 - 1.0 / (1.0 + 3f64.exp()))).abs() < 1e-9);
    }
}
