//! How well a model predicts text that it has never seen, against another on the same text.

use lab_api::{Family, LabError, Metric};
use lab_kit::{
    Context,
    measure::quality::{agreement_by_group, bits_per_character},
    mlp::read,
    models::Transformer,
    report::{MetricExt, metric},
};

use super::model::Source;

/// Confidence of every interval.
const LEVEL: f64 = 0.95;
/// Why devices differ.
const SUMS: &str =
    "sums of floats differ in their last bits between devices, and 8-bit inputs may then round to the other side";

/// What a model said to every token.
#[derive(Debug, Clone, Default)]
pub(super) struct Judged {
    /// `-ln p` of each token.
    pub(super) nats: Vec<f64>,
    /// The token it predicted.
    pub(super) answers: Vec<u32>,
    /// The window of each token.
    windows: Vec<usize>,
    /// Characters that each token spells.
    characters: Vec<usize>,
}

impl Judged {
    /// Reads windows one after the other; each begins without context.
    pub(super) async fn of(
        model: &Transformer,
        source: &Source,
        windows: &[&[u32]],
        cx: &Context,
    ) -> Result<Self, LabError> {
        let mut judged = Self::default();
        let vocabulary = source.config().vocabulary;
        for (number, window) in windows.iter().enumerate() {
            cx.checkpoint().await?;
            let (seen, told) = (&window[..window.len() - 1], &window[1..]);
            let logits = read(model.forward(model.tokens(&[seen], &cx.device)?)).await?;
            for (logits, token) in logits.chunks_exact(vocabulary).zip(told) {
                let (best, largest) = largest(logits);
                let sum: f64 = logits.iter().map(|logit| f64::from(logit - largest).exp()).sum();
                judged.nats.push(sum.ln() + f64::from(largest) - f64::from(logits[*token as usize]));
                judged.answers.push(best);
                judged.windows.push(number);
                judged.characters.push(source.tokenizer.bytes_of(*token));
            }
        }
        Ok(judged)
    }

    /// Mean nats per token.
    fn mean(&self) -> f64 {
        self.nats.iter().sum::<f64>() / self.nats.len().max(1) as f64
    }
}

/// Index and value of the largest logit; of equals the first.
fn largest(logits: &[f32]) -> (u32, f32) {
    let first = (0, f32::NEG_INFINITY);
    let numbered = (0_u32..).zip(logits.iter().copied());
    numbered.fold(first, |best, next| if next.1 > best.1 { next } else { best })
}

/// Bits per character.
#[cfg(feature = "schema")]
pub(super) fn bits(judged: &Judged, cx: &Context) -> Result<f64, LabError> {
    let Judged { nats, characters, windows, .. } = judged;
    Ok(bits_per_character(nats, characters, windows, LEVEL, &mut cx.rng("bits"))?.value)
}

/// Change of bits per character, with its interval.
#[cfg(feature = "schema")]
pub(super) fn change(before: &Judged, after: &Judged, cx: &Context) -> Result<(f64, lab_api::Interval), LabError> {
    let nats: Vec<f64> = after.nats.iter().zip(&before.nats).map(|(a, b)| a - b).collect();
    let found = bits_per_character(&nats, &after.characters, &after.windows, LEVEL, &mut cx.rng("bits"))?;
    Ok((found.value, found.interval))
}

/// A packed model against FP32.
pub(super) fn metrics(before: &Judged, after: &Judged, cx: &Context) -> Result<Vec<Metric>, LabError> {
    let rng = |purpose: &str| cx.rng(purpose);
    let (windows, characters) = (&after.windows, &after.characters);
    let bits = |nats: &[f64]| bits_per_character(nats, characters, windows, LEVEL, &mut rng("bits"));
    let (fp32, packed) = (bits(&before.nats)?, bits(&after.nats)?);
    let change: Vec<f64> = after.nats.iter().zip(&before.nats).map(|(a, b)| a - b).collect();
    let change = bits(&change)?;
    let same = agreement_by_group(&before.answers, &after.answers, windows, LEVEL, &mut rng("agreement"))?;
    Ok(vec![
        metric(Family::Quality, "bits_per_character", "Bits per character", packed.value, "bits")
            .lower()
            .baseline(fp32.value)
            .interval(packed.interval)
            .exact(5e-3, SUMS)
            .help("What the text costs the model: fewer is better, and comparable between tokenizers. Intervals draw whole windows."),
        metric(Family::Quality, "bits_change", "Change of bits per character", change.value, "bits")
            .lower()
            .interval(change.interval)
            .exact(5e-3, SUMS)
            .help("Paired on the same tokens, so its interval is much narrower than that of either model."),
        metric(Family::Quality, "perplexity", "Perplexity per token", after.mean().exp(), "").detail()
            .lower()
            .baseline(before.mean().exp())
            .exact(0.2, SUMS)
            .help("As many equally likely tokens as the model chooses from, on average."),
        metric(Family::Quality, "agreement", "Agreement with FP32", 100.0 * same.value, "%")
            .higher()
            .baseline(100.0)
            .interval(lab_api::Interval {
                low: 100.0 * same.interval.low,
                high: 100.0 * same.interval.high,
                level: LEVEL,
            })
            .exact(1.0, SUMS)
            .help("Tokens for which both predict the same next token."),
    ])
}
