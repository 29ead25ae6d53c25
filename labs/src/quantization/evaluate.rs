//! Quantizing all networks and letting each judge the images it has never seen.

use lab_api::{Interval, LabError};
use lab_kit::{
    Context,
    quant::{QuantizedMlp, Settings},
    subject::Subject,
    train::argmax,
};

/// The networks, quantized.
pub(super) async fn quantize(
    subject: &Subject,
    settings: &Settings,
    cx: &Context,
) -> Result<Vec<QuantizedMlp>, LabError> {
    let mut networks = Vec::new();
    for fold in 0..subject.folds() {
        networks.push(QuantizedMlp::quantize(subject.network(fold), settings, &subject.examples[fold]));
        cx.checkpoint().await?;
    }
    Ok(networks)
}

/// What the quantized networks answer.
pub(super) struct Outcome {
    /// One for each fold.
    pub(super) networks: Vec<QuantizedMlp>,
    /// Logits of every image, by the network that has not seen it: `[images, classes]`.
    pub(super) logits: Vec<f32>,
    /// The class of each image.
    pub(super) answers: Vec<u8>,
}

/// An outcome in two numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Summary {
    /// Bytes of one network.
    pub(super) bytes: usize,
    /// Images named right.
    pub(super) right: usize,
    /// 95 % interval of their share.
    pub(super) interval: Interval,
}

impl Outcome {
    /// Judges all images.
    pub(super) async fn of(subject: &Subject, networks: Vec<QuantizedMlp>, cx: &Context) -> Result<Self, LabError> {
        let logits = subject.judge(&networks, cx).await?;
        let answers = argmax(&logits, subject.images.class_count());
        Ok(Self { networks, logits, answers })
    }

    /// Bytes and right answers.
    pub(super) fn summary(&self, subject: &Subject) -> Summary {
        Summary {
            bytes: self.networks.first().map_or(0, QuantizedMlp::bytes),
            right: subject.right(&self.answers),
            interval: subject.share_interval(&|i| self.answers[i] == subject.images.labels[i], 0.95),
        }
    }
}
