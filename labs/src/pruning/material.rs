//! What the lab works on: the network, the images that train it, those that judge it, and shifted ones that it has not
//! learned by heart.

use lab_api::LabError;
use lab_kit::{
    Context,
    choices::Dataset,
    data::Images,
    models::{GlyphClassifier, StateDict},
    prune::{Architecture, Evidence, Network, logits},
    subject::Subject,
    train::argmax,
};
use rand::seq::SliceRandom;

use super::{Model, ScoreImages};

/// Training images that scores are taken from; of the convolutional network, which computes a hundred times as much for
/// each, fewer.
const EXAMPLES: usize = 512;
const CNN_EXAMPLES: usize = 128;
/// Images of the curves without training: enough for two points, and a fifth of the time.
const CURVE_IMAGES: usize = 1400;
const CNN_CURVE_IMAGES: usize = 200;
/// Of a convolutional network every fifth image judges: it computes a hundred times as much for each.
const CNN_EVERY: usize = 5;

/// Everything that does not depend on how is pruned.
pub(super) struct Material {
    /// The images that judge, and how answers to them are compared.
    pub(super) subject: Subject,
    /// The network as shipped.
    pub(super) network: Network,
    /// Some training images, as they are or shifted: what scores are taken from.
    pub(super) examples: Images,
    /// Sums of gradients over them; of a convolutional network none are needed.
    pub(super) evidence: Evidence,
}

impl Material {
    pub(super) async fn load(model: Model, from: ScoreImages, cx: &Context) -> Result<Self, LabError> {
        let mut subject = Subject::to_train(Dataset::Glyphs, cx).await?;
        let network = match model {
            Model::Mlp => Network::of_mlp(subject.network(0)),
            Model::SmallCnn => shipped(&GlyphClassifier::small(), cx).await?,
            Model::Cnn => shipped(&GlyphClassifier::teacher(), cx).await?,
        };
        if model == Model::Cnn {
            let few: Vec<usize> = (0..subject.images.len()).step_by(CNN_EVERY).collect();
            subject.images = some(&subject.images, &few);
            subject.models.fold = vec![0; few.len()];
        }
        let mut material = Self { subject, network, examples: some_of_none(), evidence: Evidence::default() };
        material.score_on(from, cx).await?;
        Ok(material)
    }

    fn is_large(&self) -> bool {
        self.network.architecture.flops() > 10_000_000
    }

    /// How many images judge a point of a curve.
    pub(super) fn curve_images(&self) -> usize {
        if self.is_large() { CNN_CURVE_IMAGES } else { CURVE_IMAGES }
    }

    /// Takes scores from other images.
    pub(super) async fn score_on(&mut self, from: ScoreImages, cx: &Context) -> Result<(), LabError> {
        let (all, mut images) = self.subject.training(0);
        images.shuffle(&mut cx.rng("examples"));
        images.truncate(if self.is_large() { CNN_EXAMPLES } else { EXAMPLES });
        let mut examples = some(all, &images);
        if from == ScoreImages::Shifted {
            shift(&mut examples);
        }
        self.examples = examples;
        if let Some(mlp) = self.network.as_mlp() {
            self.evidence = Evidence::new(&mlp);
            let pixels = self.examples.pixels_each();
            for (pixels, labels) in self.examples.pixels.chunks(32 * pixels).zip(self.examples.labels.chunks(32)) {
                self.evidence.add(&mlp, pixels, labels);
                cx.checkpoint().await?;
            }
        }
        Ok(())
    }

    /// What a network answers to the images that judge, or to the first `most` of every so many.
    pub(super) async fn answers(
        &self,
        network: &Network,
        most: usize,
        cx: &Context,
    ) -> Result<(Vec<usize>, Vec<u8>), LabError> {
        let images = &self.subject.images;
        let judged: Vec<usize> = (0..images.len()).step_by(images.len().div_ceil(most.max(1)).max(1)).collect();
        let answers = argmax(&logits(network, images, &judged, cx).await?, images.class_count());
        Ok((judged, answers))
    }

    /// The same for all images.
    pub(super) async fn all_answers(&self, network: &Network, cx: &Context) -> Result<Vec<u8>, LabError> {
        Ok(self.answers(network, usize::MAX, cx).await?.1)
    }

    /// Per cent of the examples: training images, so that nothing is chosen by what judges.
    pub(super) async fn on_examples(&self, network: &Network, cx: &Context) -> Result<f64, LabError> {
        let all: Vec<usize> = (0..self.examples.len()).collect();
        let answers = argmax(&logits(network, &self.examples, &all, cx).await?, self.examples.class_count());
        let right = answers.iter().zip(&self.examples.labels).filter(|(a, label)| a == label).count();
        Ok(100.0 * right as f64 / all.len().max(1) as f64)
    }

    /// Per cent of `most` images.
    pub(super) async fn accuracy(&self, network: &Network, most: usize, cx: &Context) -> Result<f64, LabError> {
        let (judged, answers) = self.answers(network, most, cx).await?;
        let right = judged.iter().zip(&answers).filter(|(i, a)| self.subject.images.labels[**i] == **a).count();
        Ok(100.0 * right as f64 / judged.len().max(1) as f64)
    }
}

async fn shipped(which: &GlyphClassifier, cx: &Context) -> Result<Network, LabError> {
    let state = StateDict::from_safetensors(which.asset, &cx.asset(which.asset).await?)?;
    Ok(Network { architecture: Architecture::Cnn(which.config.clone()), state })
}

/// Some of the images.
fn some(all: &Images, indices: &[usize]) -> Images {
    Images {
        pixels: all.gather(indices),
        labels: indices.iter().map(|i| all.labels[*i]).collect(),
        side: all.side,
        classes: all.classes,
        groups: indices.iter().filter_map(|i| all.groups.get(*i).copied()).collect(),
    }
}

fn some_of_none() -> Images {
    Images { pixels: vec![], labels: vec![], side: 0, classes: "", groups: vec![] }
}

/// Moves every image by one pixel: the first to the right, the second to the left, the third down, the fourth up, and so on.
fn shift(images: &mut Images) {
    let side = images.side;
    for i in 0..images.len() {
        let before = images.image(i).to_vec();
        for (p, pixel) in images.pixels[i * side * side..(i + 1) * side * side].iter_mut().enumerate() {
            let (y, x) = (p / side, p % side);
            let from = match i % 4 {
                0 => x.checked_sub(1).map(|x| y * side + x),
                1 => (x + 1 < side).then(|| p + 1),
                2 => y.checked_sub(1).map(|y| y * side + x),
                _ => (y + 1 < side).then(|| p + side),
            };
            *pixel = from.map_or(0.0, |from| before[from]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_move_by_one_pixel_in_four_directions_and_blanks_come_in() {
        let mut images = Images { pixels: vec![0.0; 36], labels: vec![0; 4], side: 3, classes: "a", groups: vec![] };
        (0..4).for_each(|i| images.pixels[9 * i + 4] = 1.0); // the middle
        shift(&mut images);
        let places: Vec<usize> =
            (0..4).map(|i| images.image(i).iter().position(|p| *p == 1.0).expect("still there")).collect();
        assert_eq!(places, [5, 3, 7, 1]);
        shift(&mut images);
        shift(&mut images);
        assert!(images.pixels.iter().all(|p| *p == 0.0), "pushed out");
    }
}
