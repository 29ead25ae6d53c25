//! How well a model predicts text that it has never seen, against the dense one on the same text.

use lab_api::{Family, Interval, LabError, Metric};
use lab_kit::{
    Context,
    measure::quality::{bits_per_character, mean_by_group},
    mlp::read,
    models::Transformer,
    report::{MetricExt, metric},
};

use super::{model::Source, prune::Score};

/// Confidence of every interval.
const LEVEL: f64 = 0.95;
/// Why devices differ.
const SUMS: &str = "sums of floats differ in their last bits between devices, so that a few weights of equal score fall on the other side of the cut";

/// What a model said to every token.
#[derive(Debug, Clone, Default)]
pub(super) struct Judged {
    /// `-ln p` of each token.
    pub(super) nats: Vec<f64>,
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
        let vocabulary = model.config().vocabulary;
        for (number, window) in windows.iter().enumerate() {
            cx.checkpoint().await?;
            let (seen, told) = (&window[..window.len() - 1], &window[1..]);
            let logits = read(model.forward(model.tokens(&[seen], &cx.device)?)).await?;
            for (logits, token) in logits.chunks_exact(vocabulary).zip(told) {
                let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let sum: f32 = logits.iter().map(|logit| (logit - largest).exp()).sum();
                judged.nats.push(f64::from(sum.ln() + largest - logits[*token as usize]));
                judged.windows.push(number);
                judged.characters.push(source.tokenizer.bytes_of(*token));
            }
        }
        Ok(judged)
    }

    /// Mean nats per token.
    pub(super) fn mean(&self) -> f64 {
        self.nats.iter().sum::<f64>() / self.nats.len().max(1) as f64
    }

    /// By how much another model's nats exceed these, token by token.
    fn beyond(&self, other: &Self) -> Vec<f64> {
        other.nats.iter().zip(&self.nats).map(|(after, before)| after - before).collect()
    }

    /// Mean change in nats, with the interval over whole windows.
    pub(super) fn change(&self, other: &Self, cx: &Context) -> Result<(f64, Interval), LabError> {
        let found = mean_by_group(&self.beyond(other), &self.windows, LEVEL, &mut cx.rng("change"))?;
        Ok((found.value, found.interval))
    }

    /// Mean change in bits per character, with its interval.
    pub(super) fn change_in_bits(&self, other: &Self, cx: &Context) -> Result<(f64, Interval), LabError> {
        let found =
            bits_per_character(&self.beyond(other), &self.characters, &self.windows, LEVEL, &mut cx.rng("bits"))?;
        Ok((found.value, found.interval))
    }
}

/// A pruned model against the dense one.
pub(super) fn metrics(score: Score, before: &Judged, after: &Judged, cx: &Context) -> Result<Vec<Metric>, LabError> {
    let (id, words) = (score.id(), score.words());
    let (change, interval) = before.change(after, cx)?;
    let (bits, bits_interval) = before.change_in_bits(after, cx)?;
    Ok(vec![
        metric(Family::Quality, &format!("change_{id}"), &format!("Loss added, {words}"), change, "nats")
            .lower()
            .baseline(0.0)
            .interval(interval)
            .exact(0.01, SUMS)
            .help("Mean change of the negative logarithm of the probability of the next token, in pairs with the dense model. Intervals draw whole windows."),
        metric(Family::Quality, &format!("bits_change_{id}"), &format!("Bits per character added, {words}"), bits, "bits")
            .detail()
            .lower()
            .baseline(0.0)
            .interval(bits_interval)
            .exact(0.01, SUMS)
            .help("The same over the characters that the tokens spell: comparable with the lab on quantized language models."),
        metric(Family::Quality, &format!("loss_{id}"), &format!("Loss, {words}"), after.mean(), "nats")
            .detail()
            .lower()
            .baseline(before.mean())
            .exact(0.01, SUMS),
    ])
}
