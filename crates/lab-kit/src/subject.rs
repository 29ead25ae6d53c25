//! What the labs on the digit classifier work on: the images, the five trained networks, the images that show the range
//! of activations; and what became of each image's answer.

use lab_api::{Interval, LabError};
use rand::seq::SliceRandom;

use crate::{
    Context, CrossValidated,
    data::Digits,
    mlp::{Mlp, MlpWeights},
    quant::QuantizedMlp,
    rng,
    stats::paired_difference,
    train::{argmax, logits},
};

/// Training images that show the range of activations, for each network.
const CALIBRATION_IMAGES: usize = 256;

/// Digits, networks, calibration images.
pub struct Subject {
    /// The images.
    pub digits: Digits,
    /// The networks, and which images judge which.
    pub models: CrossValidated,
    /// For each network, pixels of images it was trained on: `[256, 64]`.
    pub examples: Vec<Vec<f32>>,
}

/// What the FP32 networks answer.
pub struct Baseline {
    /// The class of each image.
    pub answers: Vec<u8>,
}

impl Subject {
    /// Reads and checks both files, and draws the calibration images under the run's seed.
    ///
    /// # Errors
    /// [`LabError::Asset`] when a file is not what it should be, [`LabError::Cancelled`].
    pub async fn load(cx: &Context) -> Result<Self, LabError> {
        Self::load_seeded(cx, cx.seed).await
    }

    /// The same with calibration images drawn under another seed.
    ///
    /// # Errors
    /// As [`Subject::load`].
    pub async fn load_seeded(cx: &Context, seed: u64) -> Result<Self, LabError> {
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
    #[must_use]
    pub fn network(&self, fold: usize) -> &MlpWeights {
        &self.models.models[fold]
    }

    /// How many networks.
    #[must_use]
    pub fn folds(&self) -> usize {
        self.models.models.len()
    }

    /// Lets each FP32 network name the images it has never seen, on the run's device.
    ///
    /// # Errors
    /// [`LabError::Device`] when the device fails, [`LabError::Cancelled`].
    pub async fn baseline(&self, cx: &Context) -> Result<Baseline, LabError> {
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

    /// Logits of every image by the packed network that has never seen it: `[images, 10]`. One network for each fold.
    ///
    /// # Errors
    /// [`LabError::Cancelled`].
    pub async fn judge(&self, networks: &[QuantizedMlp], cx: &Context) -> Result<Vec<f32>, LabError> {
        let classes = Digits::CLASSES;
        let mut logits = vec![0.0; self.digits.len() * classes];
        for (fold, network) in networks.iter().enumerate() {
            let held_out = self.models.held_out(fold);
            let given = network.forward(&self.digits.gather(&held_out));
            for (i, row) in held_out.iter().zip(given.chunks_exact(classes)) {
                logits[i * classes..(i + 1) * classes].copy_from_slice(row);
            }
            cx.checkpoint().await?;
        }
        Ok(logits)
    }

    /// How many of these answers are right.
    #[must_use]
    pub fn right(&self, answers: &[u8]) -> usize {
        answers.iter().zip(&self.digits.labels).filter(|(answer, label)| answer == label).count()
    }

    /// What changed between two sets of answers.
    #[must_use]
    pub fn compare(&self, before: &[u8], after: &[u8]) -> Compared {
        let labels = &self.digits.labels;
        let count = |what: &dyn Fn(u8, u8, u8) -> bool| {
            labels.iter().zip(before).zip(after).filter(|((label, a), b)| what(**label, **a, **b)).count()
        };
        Compared {
            images: labels.len(),
            before: self.right(before),
            after: self.right(after),
            gained: count(&|label, a, b| a != label && b == label),
            lost: count(&|label, a, b| a == label && b != label),
            flips: count(&|_, a, b| a != b),
        }
    }
}

/// Counts behind a comparison of two sets of answers to the same images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compared {
    /// Images in all.
    pub images: usize,
    /// Right before.
    pub before: usize,
    /// Right after.
    pub after: usize,
    /// Wrong before, right after.
    pub gained: usize,
    /// Right before, wrong after.
    pub lost: usize,
    /// Answered differently, right or wrong.
    pub flips: usize,
}

impl Compared {
    /// A count as a share of all images, in per cent.
    #[must_use]
    pub fn percent(&self, count: usize) -> f64 {
        100.0 * count as f64 / self.images.max(1) as f64
    }

    /// The change of accuracy, in percentage points.
    #[must_use]
    pub fn points(&self) -> f64 {
        self.percent(self.after) - self.percent(self.before)
    }

    /// Its interval, paired on the images.
    #[must_use]
    pub fn points_interval(&self, level: f64) -> Interval {
        let change = paired_difference(self.gained, self.lost, self.images, level);
        Interval { low: 100.0 * change.low, high: 100.0 * change.high, level }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::folds;

    #[test]
    fn every_change_of_an_answer_is_counted_once() {
        let labels = vec![1, 1, 1, 1, 1];
        let digits = Digits { pixels: vec![0.0; 5 * 64], labels: labels.clone() };
        let models = CrossValidated { fold: folds(&labels, 5, 0), models: vec![] };
        let subject = Subject { digits, models, examples: vec![] };
        // Stays right, turns wrong, turns right, wrong and changed, wrong and unchanged.
        let compared = subject.compare(&[1, 1, 0, 0, 2], &[1, 3, 1, 4, 2]);
        let expected = Compared { images: 5, before: 2, after: 2, gained: 1, lost: 1, flips: 3 };
        assert_eq!(compared, expected);
        assert_eq!((compared.percent(3), compared.points()), (60.0, 0.0));
        let interval = compared.points_interval(0.95);
        assert!(interval.low < 0.0 && interval.high > 0.0);
    }
}
