//! Judging a network that exists only in a study, by its answers and by its logits.

use lab_api::{Cell, Family, Interval, LabError, Metric};
use lab_kit::{
    Context,
    mlp::MlpWeights,
    quant::{naive, signal_and_noise, sqnr_db},
    report::{MetricExt, metric},
    subject::Subject,
    train::argmax,
};

/// Against FP32, on all images, each by a network that has never seen it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judged {
    /// Per cent.
    pub(super) accuracy: f64,
    /// Its interval, where it is that of one network.
    pub(super) interval: Option<Interval>,
    /// Signal to noise of the logits, in decibels.
    pub(super) sqnr_db: f64,
}

impl Judged {
    /// `forward(fold, pixels)` gives the logits of the network that is judged.
    pub(super) async fn of(
        subject: &Subject,
        forward: impl Fn(usize, &[f32]) -> Vec<f32>,
        cx: &Context,
    ) -> Result<Self, LabError> {
        let (mut answers, mut signal, mut noise) = (vec![0; subject.images.len()], 0.0, 0.0);
        for fold in 0..subject.folds() {
            let held_out = subject.models.held_out(fold);
            let pixels = subject.images.gather(&held_out);
            let plain = naive::layer_outputs(&subject.network(fold).layers, &pixels).pop().unwrap_or_default();
            let given = forward(fold, &pixels);
            let (s, n) = signal_and_noise(&plain, &given);
            (signal, noise) = (signal + s, noise + n);
            for (image, answer) in held_out.iter().zip(argmax(&given, subject.images.class_count())) {
                answers[*image] = answer;
            }
            cx.checkpoint().await?;
        }
        let all: Vec<usize> = (0..answers.len()).collect();
        let (accuracy, interval) = subject.accuracy_on(&all, &answers, 0.95);
        Ok(Self { accuracy, interval: Some(interval), sqnr_db: sqnr_db(signal, noise) })
    }

    /// For a table: accuracy, SQNR.
    pub(super) fn cells(&self) -> [Cell; 2] {
        [self.accuracy, self.sqnr_db].map(Cell::from)
    }

    /// `{what}_{id}` and `{what}_sqnr_{id}`.
    pub(super) fn metrics(&self, what: &str, id: &str, label: &str) -> [Metric; 2] {
        let accuracy = metric(Family::Quality, &format!("{what}_{id}"), label, self.accuracy, "%").higher();
        let sqnr = format!("{what}_sqnr_{id}");
        [
            Metric { interval: self.interval, ..accuracy },
            metric(Family::Quality, &sqnr, &format!("SQNR of logits, {label}"), self.sqnr_db, "dB").higher(),
        ]
    }
}

/// What flows into each layer.
pub(super) fn inputs_of_layers(network: &MlpWeights, pixels: &[f32]) -> Vec<Vec<f32>> {
    let mut inputs = vec![pixels.to_vec()];
    let outputs = naive::layer_outputs(&network.layers, pixels);
    let hidden = outputs.iter().take(network.layers.len().saturating_sub(1));
    inputs.extend(hidden.map(|outputs| outputs.iter().map(|y| y.max(0.0)).collect()));
    inputs
}
