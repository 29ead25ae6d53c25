//! How well a model foretells both texts, window by window.

use lab_api::{Interval, LabError};
use lab_kit::{Context, measure::quality::mean_by_group, mlp::read, models::Transformer};

use super::material::{LENGTH, Material};

/// Confidence of every interval.
pub(super) const LEVEL: f64 = 0.95;
/// Windows that are read together.
const TOGETHER: usize = 4;

/// Losses in nats: mean of each window.
#[derive(Debug, Clone, Default)]
pub(super) struct Judged {
    pub(super) new: Vec<f64>,
    pub(super) old: Vec<f64>,
}

impl Judged {
    pub(super) async fn of(model: &Transformer, material: &Material, cx: &Context) -> Result<Self, LabError> {
        let new = losses(model, &material.new, cx).await?;
        Ok(Self { new, old: losses(model, &material.old, cx).await? })
    }

    pub(super) fn new_loss(&self) -> f64 {
        mean(&self.new)
    }

    pub(super) fn old_loss(&self) -> f64 {
        mean(&self.old)
    }
}

pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The interval of a mean over windows.
pub(super) fn interval(values: &[f64], purpose: &str, cx: &Context) -> Result<Interval, LabError> {
    let windows: Vec<usize> = (0..values.len()).collect();
    Ok(mean_by_group(values, &windows, LEVEL, &mut cx.rng(purpose))?.interval)
}

/// By how much the one exceeds the other, window by window.
pub(super) fn beyond(one: &[f64], other: &[f64]) -> Vec<f64> {
    one.iter().zip(other).map(|(one, other)| one - other).collect()
}

async fn losses(model: &Transformer, windows: &[Vec<u32>], cx: &Context) -> Result<Vec<f64>, LabError> {
    let vocabulary = model.config().vocabulary;
    let mut all = Vec::with_capacity(windows.len());
    for batch in windows.chunks(TOGETHER) {
        cx.checkpoint().await?;
        let rows: Vec<&[u32]> = batch.iter().map(|window| &window[..LENGTH]).collect();
        let logits = read(model.forward(model.tokens(&rows, &cx.device)?)).await?;
        for (window, logits) in batch.iter().zip(logits.chunks_exact(LENGTH * vocabulary)) {
            let mut nats = 0.0;
            for (logits, token) in logits.chunks_exact(vocabulary).zip(&window[1..]) {
                let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let sum: f32 = logits.iter().map(|logit| (logit - largest).exp()).sum();
                nats += f64::from(sum.ln() + largest - logits[*token as usize]);
            }
            if !nats.is_finite() {
                return Err(LabError::Refused {
                    why: "the model's loss is no number any more: take a lower rate".into(),
                });
            }
            all.push(nats / LENGTH as f64);
        }
    }
    Ok(all)
}
