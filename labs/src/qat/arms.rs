//! The four networks of the lab: FP32 as shipped, FP32 trained on, rounded afterwards, trained through the rounding.

use lab_api::{LabError, Report};
use lab_kit::{
    Context,
    burn::tensor::{Tensor, TensorData},
    fit::{Trainable, first_loss, fit},
    mlp::{Mlp, MlpWeights, read},
    quant::{QuantizedMlp, Settings},
    subject::Subject,
    train::{Training, argmax},
};

use super::{
    figures::Curves,
    fit::{Aware, Plain},
    model::{Parameters, Quantizers, Range, post_training},
};

/// Which of the run's streams of random numbers orders the images of a fold: the same for both arms.
fn order(fold: usize) -> String {
    format!("order {fold}")
}

/// How the weights are quantized.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arm {
    /// Width, grid, granularity.
    pub(super) settings: Settings,
    /// What the grids reach.
    pub(super) range: Range,
}

/// Packed networks and what they answer.
pub(super) struct Outcome {
    /// One for each fold.
    pub(super) networks: Vec<QuantizedMlp>,
    /// The class of each image.
    pub(super) answers: Vec<u8>,
    /// Where they come from: the weights before packing, one set for each fold.
    pub(super) masters: Vec<MlpWeights>,
    /// Images that the packed network answers otherwise than the fake-quantized one it was made from.
    pub(super) mismatches: usize,
    /// Seconds of training of each fold.
    pub(super) seconds: Vec<f64>,
}

/// One network after quantization-aware training.
pub(super) struct Trained {
    /// As it is shipped.
    pub(super) packed: QuantizedMlp,
    /// Its master weights.
    master: MlpWeights,
    /// What it answers to the images it has not seen, before packing.
    unpacked_answers: Vec<u8>,
    seconds: f64,
}

impl Outcome {
    async fn of(subject: &Subject, networks: Vec<QuantizedMlp>, cx: &Context) -> Result<Self, LabError> {
        let answers = argmax(&subject.judge(&networks, cx).await?, subject.images.class_count());
        let masters = subject.models.models.clone();
        Ok(Self { networks, answers, masters, mismatches: 0, seconds: Vec::new() })
    }

    /// Packs and judges the trained networks.
    pub(super) async fn of_trained(subject: &Subject, trained: Vec<Trained>, cx: &Context) -> Result<Self, LabError> {
        let mut outcome = Self::of(subject, trained.iter().map(|one| one.packed.clone()).collect(), cx).await?;
        for (fold, one) in trained.into_iter().enumerate() {
            let packed = subject.models.held_out(fold).into_iter().map(|i| outcome.answers[i]);
            outcome.mismatches += packed.zip(&one.unpacked_answers).filter(|(packed, other)| packed != *other).count();
            outcome.seconds.push(one.seconds);
            outcome.masters[fold] = one.master;
        }
        Ok(outcome)
    }
}

/// Answers to the images of a few folds, rounded afterwards and trained.
#[derive(Debug, Clone, Default)]
pub(super) struct Pair {
    /// Images judged, by number.
    pub(super) images: Vec<usize>,
    /// Answers after rounding.
    pub(super) rounded: Vec<u8>,
    /// Answers after training.
    pub(super) trained: Vec<u8>,
}

impl Arm {
    /// All five networks, rounded.
    pub(super) async fn post_training(&self, subject: &Subject, cx: &Context) -> Result<Outcome, LabError> {
        let mut networks = Vec::new();
        for fold in 0..subject.folds() {
            networks.push(self.rounded(subject, fold));
            cx.checkpoint().await?;
        }
        Outcome::of(subject, networks, cx).await
    }

    fn rounded(&self, subject: &Subject, fold: usize) -> QuantizedMlp {
        post_training(subject.network(fold), &self.settings, self.range, &subject.examples[fold])
    }

    /// What training starts from.
    pub(super) fn start(&self, subject: &Subject, fold: usize, cx: &Context) -> Aware {
        let network = subject.network(fold);
        let quantizers = Quantizers::new(network, &self.settings, self.range, &subject.examples[fold], &cx.device);
        let parameters = Parameters::new(network, &quantizers, &cx.device.clone().autodiff());
        Aware { parameters, quantizers }
    }

    /// The loss before any update, of the first images that the first network will see.
    pub(super) async fn first_loss(&self, subject: &Subject, how: &Training, cx: &Context) -> Result<f64, LabError> {
        let (images, seen) = subject.training(0);
        first_loss(self.start(subject, 0, cx), (images, &seen), how, &mut cx.rng(&order(0)), cx).await
    }

    /// Trains the network of a fold through the rounding and packs it.
    pub(super) async fn train(
        &self,
        subject: &Subject,
        fold: usize,
        how: &Training,
        cx: &Context,
        mut shown: Option<(&mut Curves, &Report)>,
    ) -> Result<Trained, LabError> {
        let (start_ms, held_out) = (cx.now_ms(), subject.models.held_out(fold));
        let mut rng = cx.rng(&order(fold));
        let (images, seen) = subject.training(fold);
        let data = (images, seen.as_slice());
        let trained = fit(self.start(subject, fold, cx), data, how, &mut rng, cx, async |epoch, loss, network| {
            let Some((curves, report)) = &mut shown else { return Ok(()) };
            let answers = answers(network, subject, &held_out, cx).await?;
            curves.aware(epoch, loss, right(subject, &held_out, &answers), held_out.len());
            cx.publish(&curves.on(report))
        })
        .await?;
        let seconds = (cx.now_ms() - start_ms) / 1000.0;
        let packed = trained.parameters.deploy(&trained.quantizers).await?;
        let unpacked_answers = answers(&trained, subject, &held_out, cx).await?;
        Ok(Trained { packed, master: trained.parameters.master().await?, unpacked_answers, seconds })
    }

    /// Rounded against trained on the images of the first folds. What was trained before (`known`, for its own width) is
    /// not trained again.
    pub(super) async fn compare_on(
        &self,
        subject: &Subject,
        folds: usize,
        how: &Training,
        known: &Outcome,
        cx: &Context,
    ) -> Result<Pair, LabError> {
        let mut pair = Pair::default();
        for fold in 0..folds.min(subject.folds()) {
            let held_out = subject.models.held_out(fold);
            let pixels = subject.images.gather(&held_out);
            let judge = |network: &QuantizedMlp| argmax(&network.forward(&pixels), subject.images.class_count());
            pair.rounded.extend(judge(&self.rounded(subject, fold)));
            let bits = known.networks[fold].layers.first().map(|layer| layer.weight.bits);
            pair.trained.extend(if bits == Some(self.settings.bits) {
                judge(&known.networks[fold])
            } else {
                judge(&self.train(subject, fold, how, cx, None).await?.packed)
            });
            pair.images.extend(held_out);
            cx.checkpoint().await?;
        }
        Ok(pair)
    }
}

/// Trains the network of a fold on in FP32, on the same images in the same order.
pub(super) async fn train_plain(
    subject: &Subject,
    fold: usize,
    how: &Training,
    cx: &Context,
    curves: &mut Curves,
    report: &Report,
) -> Result<Plain, LabError> {
    let ((images, seen), held_out) = (subject.training(fold), subject.models.held_out(fold));
    let start = Plain(Mlp::new(subject.network(fold), &cx.device.clone().autodiff()));
    let mut rng = cx.rng(&order(fold));
    fit(start, (images, &seen), how, &mut rng, cx, async |epoch, loss, network| {
        let answers = answers(network, subject, &held_out, cx).await?;
        curves.plain(epoch, loss, right(subject, &held_out, &answers), held_out.len());
        cx.publish(&curves.on(report))
    })
    .await
}

/// What the networks that were trained on in FP32 answer, each to the images it has not seen.
pub(super) async fn control_answers(subject: &Subject, networks: &[Plain], cx: &Context) -> Result<Vec<u8>, LabError> {
    let mut all = vec![0; subject.images.len()];
    for (fold, network) in networks.iter().enumerate() {
        let held_out = subject.models.held_out(fold);
        for (i, answer) in held_out.iter().zip(answers(network, subject, &held_out, cx).await?) {
            all[*i] = answer;
        }
        cx.checkpoint().await?;
    }
    Ok(all)
}

/// The class that a network in training gives each of these images.
async fn answers(
    network: &impl Trainable,
    subject: &Subject,
    images: &[usize],
    cx: &Context,
) -> Result<Vec<u8>, LabError> {
    let data = TensorData::new(subject.images.gather(images), [images.len(), subject.images.pixels_each()]);
    let logits = read(network.judge(Tensor::from_data(data, &cx.device))).await?;
    Ok(argmax(&logits, subject.images.class_count()))
}

fn right(subject: &Subject, images: &[usize], answers: &[u8]) -> usize {
    images.iter().zip(answers).filter(|(i, answer)| subject.images.labels[**i] == **answer).count()
}
