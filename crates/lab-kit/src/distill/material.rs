//! The images, the teacher and the sets that its students learn from: what the labs on distillation work on.

use burn::module::Module;
use lab_api::LabError;
use rand::{Rng, seq::SliceRandom};

use super::softmax;
use crate::order::Ordered as _;
use crate::{
    Context,
    choices::Dataset,
    data::Images,
    fit::{Plain, fit},
    mlp::{Mlp, MlpWeights},
    models::{GlyphClassifier, StateDict},
    prune::{Architecture, Network, logits},
    subject::Subject,
    train::{Training, argmax},
};

/// Where the teacher comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Trained now for so many epochs, on all training images.
    Trained(usize),
    /// The fully connected classifier of the book, which has seen each training image many times.
    Mlp,
    /// Its large convolutional classifier.
    Cnn,
}

impl Source {
    /// What the teacher will be, before it is read or has learned.
    #[must_use]
    pub fn architecture(self, subject: &Subject) -> Architecture {
        match self {
            Self::Trained(_) => Architecture::Mlp(TEACHER_WIDTHS.to_vec()),
            Self::Mlp => Network::of_mlp(subject.network(0)).architecture,
            Self::Cnn => Architecture::Cnn(GlyphClassifier::teacher().config),
        }
    }
}

/// Widths of the teacher that is trained on the spot.
pub const TEACHER_WIDTHS: [usize; 4] = [256, 256, 256, 47];

/// Glyphs and a teacher.
pub struct Material {
    /// Images of font families that nobody trains on, and how answers to them are compared.
    pub subject: Subject,
    /// The large network.
    pub teacher: Network,
    /// Seconds of its training, where it was trained now.
    pub seconds: Option<f64>,
}

impl Material {
    /// Reads the glyphs, and reads or trains the teacher; `shown` hears what share of the training is done.
    ///
    /// # Errors
    /// [`LabError::Asset`] when a file is not what it should be, [`LabError::Refused`] when the teacher diverges,
    /// [`LabError::Device`], [`LabError::Cancelled`].
    pub async fn load(source: Source, cx: &Context, shown: &dyn Fn(f64)) -> Result<Self, LabError> {
        Self::taught(Subject::to_train(Dataset::Glyphs, cx).await?, source, cx, shown).await
    }

    /// The same with glyphs that were read before, by [`Subject::to_train`]: so that a lab can say what it knows of the sizes
    /// while the teacher still learns.
    ///
    /// # Errors
    /// As [`Material::load`].
    pub async fn taught(subject: Subject, source: Source, cx: &Context, shown: &dyn Fn(f64)) -> Result<Self, LabError> {
        let began = cx.now_ms();
        let teacher = match source {
            Source::Trained(epochs) => Network::of_mlp(&trained(&subject, epochs, cx, shown).await?),
            Source::Mlp => Network::of_mlp(subject.network(0)),
            Source::Cnn => {
                let GlyphClassifier { asset, config } = GlyphClassifier::teacher();
                let state = StateDict::from_safetensors(asset, &cx.asset(asset).await?)?;
                Network { architecture: Architecture::Cnn(config), state }
            }
        };
        let seconds = matches!(source, Source::Trained(_)).then(|| (cx.now_ms() - began) / 1e3);
        Ok(Self { subject, teacher, seconds })
    }

    /// Training images, and the numbers of `count` of them: as many of each class as of the others, of those classes that
    /// `takes` names. They are drawn under the run's seed, and a smaller set is part of a larger one.
    #[must_use]
    pub fn transfer(&self, count: usize, takes: &dyn Fn(u8) -> bool, cx: &Context) -> Vec<usize> {
        let (all, mut images) = self.subject.training(0);
        images.shuffle(&mut cx.rng("transfer set"));
        let mut of_class = vec![0_usize; all.class_count()];
        // The how-many-eth image of its class each is: the first of every class come first.
        let mut ranked: Vec<(usize, usize)> = Vec::new();
        for i in images {
            let class = all.labels[i];
            if takes(class) {
                ranked.push((of_class[usize::from(class)], i));
                of_class[usize::from(class)] += 1;
            }
        }
        ranked.ordered_by_key(&|(rank, _)| *rank);
        ranked.into_iter().take(count).map(|(_, i)| i).collect()
    }

    /// The images that train.
    #[must_use]
    pub fn training(&self) -> &Images {
        self.subject.training(0).0
    }

    /// The teacher's logits for some of them: `[N, 47]`.
    ///
    /// # Errors
    /// [`LabError::Device`] when the device fails, [`LabError::Cancelled`].
    pub async fn table(&self, transfer: &[usize], cx: &Context) -> Result<Vec<f32>, LabError> {
        logits(&self.teacher, self.training(), transfer, cx).await
    }

    /// What a network says to every image that judges: logits `[6908, 47]`, and the answers.
    ///
    /// # Errors
    /// As [`Material::table`].
    pub async fn judge(&self, network: &Network, cx: &Context) -> Result<(Vec<f32>, Vec<u8>), LabError> {
        let images = &self.subject.images;
        let logits = logits(network, images, &(0..images.len()).collect::<Vec<_>>(), cx).await?;
        let answers = argmax(&logits, images.class_count());
        Ok((logits, answers))
    }
}

async fn trained(subject: &Subject, epochs: usize, cx: &Context, shown: &dyn Fn(f64)) -> Result<MlpWeights, LabError> {
    let (all, images) = subject.training(0);
    let how = Training { epochs, batch: 128, ..Training::default() };
    let start = MlpWeights::init(&TEACHER_WIDTHS, &mut cx.rng("teacher"));
    let network = Plain(Mlp::new(&start, &cx.device.clone().autodiff()));
    let mut order = cx.rng("order of the teacher");
    let watch = async |done: usize, _: f64, _: &Plain<Mlp>| {
        shown(done as f64 / epochs as f64);
        Ok(())
    };
    fit(network, (all, &images), &how, &mut order, cx, watch).await?.0.valid().weights().await
}

// ANCHOR: controls
/// Each row with its highest logit in place and the others dealt anew: as soft as before, without telling which classes
/// are alike. The control of every claim about what soft answers know.
#[must_use]
pub fn shuffled_rows(table: &[f32], classes: usize, rng: &mut impl Rng) -> Vec<f32> {
    let mut table = table.to_vec();
    for row in table.chunks_exact_mut(classes.max(1)) {
        let best = usize::from(argmax(row, classes)[0]);
        row.swap(0, best);
        row[1..].shuffle(rng);
        row.swap(0, best);
    }
    table
}

/// The mean of the softened answers over each class, the same row for all its images, as logits at that temperature: which
/// classes are alike, and nothing about the single image.
#[must_use]
pub fn class_means(table: &[f32], labels: &[u8], classes: usize, temperature: f64) -> Vec<f32> {
    let mut sums = vec![(vec![0.0; classes], 0.0); classes];
    for (row, label) in table.chunks_exact(classes.max(1)).zip(labels) {
        let row: Vec<f64> = row.iter().map(|z| f64::from(*z)).collect();
        if let Some((sum, count)) = sums.get_mut(usize::from(*label)) {
            sum.iter_mut().zip(softmax(&row, temperature)).for_each(|(sum, p)| *sum += p);
            *count += 1.0;
        }
    }
    let logit = |sum: &f64, count: f64| (temperature * (sum / count).max(1e-30).ln()) as f32;
    labels
        .iter()
        .flat_map(|l| sums.get(usize::from(*l)))
        .flat_map(|(sum, n)| sum.iter().map(move |s| logit(s, *n)))
        .collect()
}

/// Labels smoothed by `part`, as logits at temperature 1: the right class and a little of every class (Szegedy et al.,
/// arXiv:1512.00567).
#[must_use]
pub fn smoothed(labels: &[u8], classes: usize, part: f64) -> Vec<f32> {
    let (each, own) = (part / classes as f64, 1.0 - part);
    let logit = |label: u8, class: usize| (each + if class == usize::from(label) { own } else { 0.0 }).ln() as f32;
    labels.iter().flat_map(|label| (0..classes).map(move |class| logit(*label, class))).collect()
}
// ANCHOR_END: controls

/// Mean entropy of softened answers, in nats: how much they say beyond one class.
#[must_use]
pub fn entropy(table: &[f32], classes: usize, temperature: f64) -> f64 {
    let rows = table.chunks_exact(classes.max(1));
    let count = rows.len().max(1) as f64;
    let of = |row: &[f32]| {
        let row: Vec<f64> = row.iter().map(|z| f64::from(*z)).collect();
        softmax(&row, temperature).iter().map(|p| if *p > 0.0 { -p * p.ln() } else { 0.0 }).sum::<f64>()
    };
    rows.map(of).sum::<f64>() / count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_are_what_they_say() {
        let mut rng = crate::rng(0, "controls");
        let table: Vec<f32> = (0..60).map(|_| rng.random_range(-3.0..3.0)).collect();
        let mixed = shuffled_rows(&table, 6, &mut rng);
        assert_eq!(argmax(&mixed, 6), argmax(&table, 6));
        for (a, b) in table.chunks_exact(6).zip(mixed.chunks_exact(6)) {
            let sorted = |row: &[f32]| {
                let mut row = row.to_vec();
                row.sort_by(f32::total_cmp);
                row
            };
            assert_eq!(sorted(a), sorted(b));
        }
        assert_ne!(mixed, table);
        assert!((entropy(&mixed, 6, 2.0) - entropy(&table, 6, 2.0)).abs() < 1e-6);
        // Two images of class 1, one of class 0: the mean of their softened answers, the same for both.
        let means = class_means(&[0.0, 2.0, 0.0, 4.0, 1.0, 0.0], &[1, 1, 0], 2, 2.0);
        let p = |row: &[f32]| softmax(&row.iter().map(|z| f64::from(*z)).collect::<Vec<_>>(), 2.0);
        let expected = f64::midpoint(p(&[0.0, 2.0])[1], p(&[0.0, 4.0])[1]);
        assert_eq!(means[..2], means[2..4]);
        assert!((p(&means[..2])[1] - expected).abs() < 1e-6 && (means[4] - means[5] - 1.0).abs() < 1e-5);
        // Smoothed by 0.3 over 3 classes: 0.8 and twice 0.1.
        let p: Vec<f32> = smoothed(&[2], 3, 0.3).iter().map(|z| z.exp()).collect();
        assert!((p[0] - 0.1).abs() < 1e-6 && (p[2] - 0.8).abs() < 1e-6);
        // Of certainty nothing, of no idea the logarithm of the classes.
        assert!(entropy(&[90.0, 0.0, 0.0], 3, 1.0) < 1e-9);
        assert!((entropy(&[1.0; 4], 4, 1.0) - 4_f64.ln()).abs() < 1e-9);
    }
}
