//! What the labs on a classifier work on: the images, the trained networks, the images that show the range of
//! activations; and what became of each image's answer.

use lab_api::{Interval, LabError};
use rand::seq::SliceRandom;

use crate::{
    Context, CrossValidated,
    choices::Dataset,
    data::{Digits, Glyphs, Images, Split},
    mlp::{Mlp, MlpWeights},
    quant::QuantizedMlp,
    rng,
    stats::{cluster_bootstrap, paired_difference, proportion},
    train::{argmax, logits},
    weights::WeightFile,
};

/// The classifier of glyphs that has only fully connected layers. FP32, since the labs compare against its bytes.
pub const GLYPH_MLP_ASSET: &str = "glyphs/mlp.safetensors";
/// Its widths, from pixels to logits.
pub const GLYPH_MLP_WIDTHS: [usize; 4] = [Glyphs::PIXELS, 128, 128, Glyphs::CLASSES.len()];

/// Training images that show the range of activations, for each network.
const CALIBRATION_IMAGES: usize = 256;

/// Images, networks, calibration images.
pub struct Subject {
    /// The images that judge.
    pub images: Images,
    /// The networks, and which images judge which.
    pub models: CrossValidated,
    /// For each network, pixels of images it was trained on: `[256, side * side]`.
    pub examples: Vec<Vec<f32>>,
    /// The images that the network was trained on, where they are apart from those that judge and were asked for.
    learned_from: Option<Images>,
}

/// What the FP32 networks answer.
pub struct Baseline {
    /// The class of each image.
    pub answers: Vec<u8>,
}

impl Subject {
    /// The digits and their five networks, with calibration images drawn under the run's seed.
    ///
    /// # Errors
    /// [`LabError::Asset`] when a file is not what it should be, [`LabError::Cancelled`].
    pub async fn load(cx: &Context) -> Result<Self, LabError> {
        Self::load_seeded(cx, cx.seed).await
    }

    /// A classifier by the reader's choice.
    ///
    /// # Errors
    /// As [`Subject::load`].
    pub async fn of(dataset: Dataset, cx: &Context) -> Result<Self, LabError> {
        match dataset {
            Dataset::Digits => Self::load(cx).await,
            Dataset::Glyphs => Self::load_glyphs(cx).await,
        }
    }

    /// The same with calibration images drawn under another seed.
    ///
    /// # Errors
    /// As [`Subject::load`].
    pub async fn load_seeded(cx: &Context, seed: u64) -> Result<Self, LabError> {
        let images = Images::from(Digits::read(&cx.asset(Digits::ASSET).await?)?);
        cx.checkpoint().await?;
        let models = CrossValidated::read(&cx.asset(CrossValidated::ASSET).await?, images.len())?;
        cx.checkpoint().await?;
        let mut rng = rng(seed, "calibration");
        let mut examples = Vec::new();
        for fold in 0..models.models.len() {
            let mut seen = models.trained_on(fold);
            seen.shuffle(&mut rng);
            seen.truncate(CALIBRATION_IMAGES);
            examples.push(images.gather(&seen));
        }
        Ok(Self { images, models, examples, learned_from: None })
    }

    /// A classifier by the reader's choice, with all images that it was trained on.
    ///
    /// # Errors
    /// As [`Subject::load`].
    pub async fn to_train(dataset: Dataset, cx: &Context) -> Result<Self, LabError> {
        let mut subject = Self::of(dataset, cx).await?;
        if dataset == Dataset::Glyphs {
            let glyphs = Glyphs::read(&cx.asset(Glyphs::ASSET).await?)?;
            subject.learned_from = Some(Images::of_glyphs(&glyphs, &glyphs.indices(Split::Train)));
        }
        Ok(subject)
    }

    /// What the network of a fold may be trained on: images, and which of them. Glyphs have none unless the subject comes
    /// from [`Subject::to_train`].
    #[must_use]
    pub fn training(&self, fold: usize) -> (&Images, Vec<usize>) {
        match &self.learned_from {
            Some(images) => (images, (0..images.len()).collect()),
            None => (&self.images, self.models.trained_on(fold)),
        }
    }

    /// The glyphs of font families that no training saw, and the one network that judges them.
    ///
    /// # Errors
    /// As [`Subject::load`].
    pub async fn load_glyphs(cx: &Context) -> Result<Self, LabError> {
        let glyphs = Glyphs::read(&cx.asset(Glyphs::ASSET).await?)?;
        cx.checkpoint().await?;
        let weights = cx.asset(GLYPH_MLP_ASSET).await?;
        let network = WeightFile::open(GLYPH_MLP_ASSET, &weights)?.mlp("mlp", &GLYPH_MLP_WIDTHS)?;
        let mut seen = glyphs.indices(Split::Train);
        seen.shuffle(&mut cx.rng("calibration"));
        seen.truncate(CALIBRATION_IMAGES);
        let images = Images::of_glyphs(&glyphs, &glyphs.indices(Split::Test));
        cx.checkpoint().await?;
        let models = CrossValidated { fold: vec![0; images.len()], models: vec![network] };
        Ok(Self { images, models, examples: vec![glyphs.gather(&seen)], learned_from: None })
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
        let mut answers = vec![0; self.images.len()];
        for fold in 0..self.folds() {
            let held_out = self.models.held_out(fold);
            let model = Mlp::new(self.network(fold), &cx.device);
            let logits = logits(&model, self.images.gather(&held_out), self.images.pixels_each(), &cx.device).await?;
            for (i, answer) in held_out.iter().zip(argmax(&logits, self.images.class_count())) {
                answers[*i] = answer;
            }
            cx.checkpoint().await?;
        }
        Ok(Baseline { answers })
    }

    /// Logits of every image by the packed network that has never seen it: `[images, classes]`. One network for each fold.
    ///
    /// # Errors
    /// [`LabError::Cancelled`].
    pub async fn judge(&self, networks: &[QuantizedMlp], cx: &Context) -> Result<Vec<f32>, LabError> {
        let classes = self.images.class_count();
        let mut logits = vec![0.0; self.images.len() * classes];
        for (fold, network) in networks.iter().enumerate() {
            let held_out = self.models.held_out(fold);
            let given = network.forward(&self.images.gather(&held_out));
            for (i, row) in held_out.iter().zip(given.chunks_exact(classes)) {
                logits[i * classes..(i + 1) * classes].copy_from_slice(row);
            }
            cx.checkpoint().await?;
        }
        Ok(logits)
    }

    /// Interval of a share of the images, in parts of one: exact (binomial), and where images come in groups no narrower
    /// than a bootstrap that draws whole groups.
    #[must_use]
    pub fn share_interval(&self, counts: &dyn Fn(usize) -> bool, level: f64) -> Interval {
        let ones: Vec<f64> = (0..self.images.len()).map(|i| f64::from(u8::from(counts(i)))).collect();
        let exact = proportion(ones.iter().sum::<f64>() as usize, ones.len(), level);
        Self::widened(exact, &ones, &self.images.groups)
    }

    /// Accuracy of answers to some of the images, in per cent, with its interval, which is as that of
    /// [`Subject::share_interval`].
    #[must_use]
    pub fn accuracy_on(&self, images: &[usize], answers: &[u8], level: f64) -> (f64, Interval) {
        let right = |(i, answer): (&usize, &u8)| f64::from(u8::from(self.images.labels[*i] == *answer));
        let ones: Vec<f64> = images.iter().zip(answers).map(right).collect();
        let count = ones.iter().sum::<f64>();
        let groups: Vec<usize> = images.iter().filter_map(|i| self.images.groups.get(*i).copied()).collect();
        let Interval { low, high, level } =
            Self::widened(proportion(count as usize, ones.len(), level), &ones, &groups);
        (100.0 * count / ones.len().max(1) as f64, Interval { low: 100.0 * low, high: 100.0 * high, level })
    }

    /// Interval of the change of accuracy in percentage points: paired on the images, exact, and where images come in
    /// groups no narrower than a bootstrap that draws whole groups.
    #[must_use]
    pub fn change_interval(&self, before: &[u8], after: &[u8], level: f64) -> Interval {
        let right = |answers: &[u8], i: usize| f64::from(u8::from(answers[i] == self.images.labels[i]));
        let changes: Vec<f64> = (0..self.images.len()).map(|i| 100.0 * (right(after, i) - right(before, i))).collect();
        Self::widened(self.compare(before, after).points_interval(level), &changes, &self.images.groups)
    }

    fn widened(interval: Interval, values: &[f64], groups: &[usize]) -> Interval {
        if groups.is_empty() {
            return interval;
        }
        let drawn = cluster_bootstrap(values, groups, interval.level, &mut rng(0, "groups"));
        Interval { low: interval.low.min(drawn.low), high: interval.high.max(drawn.high), level: interval.level }
    }

    /// How many of these answers are right.
    #[must_use]
    pub fn right(&self, answers: &[u8]) -> usize {
        answers.iter().zip(&self.images.labels).filter(|(answer, label)| answer == label).count()
    }

    /// What changed between two sets of answers.
    #[must_use]
    pub fn compare(&self, before: &[u8], after: &[u8]) -> Compared {
        let labels = &self.images.labels;
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
        let images = Images::from(Digits { pixels: vec![0.0; 5 * 64], labels: labels.clone() });
        let models = CrossValidated { fold: folds(&labels, 5, 0), models: vec![] };
        let subject = Subject { images, models, examples: vec![], learned_from: None };
        // Stays right, turns wrong, turns right, wrong and changed, wrong and unchanged.
        let compared = subject.compare(&[1, 1, 0, 0, 2], &[1, 3, 1, 4, 2]);
        let expected = Compared { images: 5, before: 2, after: 2, gained: 1, lost: 1, flips: 3 };
        assert_eq!(compared, expected);
        assert_eq!((compared.percent(3), compared.points()), (60.0, 0.0));
        let interval = compared.points_interval(0.95);
        assert!(interval.low < 0.0 && interval.high > 0.0);
    }

    #[test]
    fn images_that_err_together_widen_the_interval() {
        // 40 groups of 25 images: in half of them all are right, in the others none.
        let labels: Vec<u8> = (0..1000).map(|i| u8::from(i / 25 % 2 == 0)).collect();
        let mut images = Images::from(Digits { pixels: vec![0.0; 1000 * 64], labels });
        let models = CrossValidated { fold: vec![0; 1000], models: vec![] };
        let alone = Subject { images: images.clone(), models: models.clone(), examples: vec![], learned_from: None };
        images.groups = (0..1000).map(|i| i / 25).collect();
        let grouped = Subject { images, models, examples: vec![], learned_from: None };
        let answers = vec![1; 1000];
        let interval = |subject: &Subject| {
            let right = |i: usize| subject.images.labels[i] == answers[i];
            subject.share_interval(&right, 0.95)
        };
        let (narrow, wide) = (interval(&alone), interval(&grouped));
        // Binomial: 1.96 * sqrt(0.25 / 1000) = 0.031; of 40 groups: 1.96 * sqrt(0.25 / 40) = 0.155.
        assert!((narrow.high - 0.531).abs() < 2e-3, "{narrow:?}");
        assert!((wide.high - 0.655).abs() < 3e-2 && (wide.low - 0.345).abs() < 3e-2, "{wide:?}");
        // The same by way of the images' numbers.
        let all: Vec<usize> = (0..1000).collect();
        let (percent, interval) = grouped.accuracy_on(&all, &answers, 0.95);
        assert_eq!((percent, interval.low), (50.0, 100.0 * wide.low));
        // Nothing changed: what groups share cannot make the interval a point.
        let none = grouped.change_interval(&answers, &answers, 0.95);
        assert!(none.low < 0.0 && none.high > 0.0);
    }
}
