//! What the lab works on: the digits, the five trained networks, and the images that show the range of activations.

use lab_api::LabError;
use lab_kit::{
    Context, CrossValidated,
    data::Digits,
    mlp::{Mlp, MlpWeights},
    rng,
    train::{argmax, logits},
};
use rand::seq::SliceRandom;

/// Training images that show the range of activations, for each network.
const CALIBRATION_IMAGES: usize = 256;

/// Digits, networks, calibration images.
pub(super) struct Subject {
    /// The images.
    pub(super) digits: Digits,
    /// The networks, and which images judge which.
    pub(super) models: CrossValidated,
    /// For each network, pixels of images it was trained on: `[256, 64]`.
    pub(super) examples: Vec<Vec<f32>>,
}

/// What the FP32 networks answer.
pub(super) struct Baseline {
    /// The class of each image.
    pub(super) answers: Vec<u8>,
}

impl Subject {
    /// Reads and checks both files.
    pub(super) async fn load(cx: &Context) -> Result<Self, LabError> {
        Self::load_seeded(cx, cx.seed).await
    }

    /// The same with calibration images drawn under another seed.
    pub(super) async fn load_seeded(cx: &Context, seed: u64) -> Result<Self, LabError> {
        let digits = Digits::read(&cx.asset(Digits::ASSET).await?)?;
        cx.checkpoint().await?;
        let models = CrossValidated::read(&cx.asset(CrossValidated::ASSET).await?, digits.len())?;
        cx.checkpoint().await?;
        let mut rng = rng(seed, "calibration");
        let mut examples = Vec::new();
        for fold in 0..models.models.len() {
            let mut seen = models.trained_on(fold);
            seen.shuffle(&mut rng);
            seen.truncate(CALIBRATION_IMAGES);
            examples.push(digits.gather(&seen));
        }
        Ok(Self { digits, models, examples })
    }

    /// The FP32 network of a fold.
    pub(super) fn network(&self, fold: usize) -> &MlpWeights {
        &self.models.models[fold]
    }

    /// How many networks.
    pub(super) fn folds(&self) -> usize {
        self.models.models.len()
    }

    /// Lets each FP32 network name the images it has never seen, on the run's device.
    pub(super) async fn baseline(&self, cx: &Context) -> Result<Baseline, LabError> {
        let mut answers = vec![0; self.digits.len()];
        for fold in 0..self.folds() {
            let held_out = self.models.held_out(fold);
            let model = Mlp::new(self.network(fold), &cx.device);
            let logits = logits(&model, self.digits.gather(&held_out), Digits::PIXELS, &cx.device).await?;
            for (i, answer) in held_out.iter().zip(argmax(&logits, Digits::CLASSES)) {
                answers[*i] = answer;
            }
            cx.checkpoint().await?;
        }
        Ok(Baseline { answers })
    }

    /// How many of these answers are right.
    pub(super) fn right(&self, answers: &[u8]) -> usize {
        answers.iter().zip(&self.digits.labels).filter(|(answer, label)| answer == label).count()
    }
}
