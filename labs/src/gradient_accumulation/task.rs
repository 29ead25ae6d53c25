//! Images, a network, and one gradient from pieces.

use lab_api::LabError;
use lab_kit::{
    Context,
    accumulate::{Accumulator, Norm, Shape, squared_norm},
    data::{Glyphs, Images, Split},
    rng,
    subject::GLYPH_MLP_WIDTHS,
};
use rand::seq::SliceRandom;

/// Training images whose loss is held against the target.
const JUDGED: usize = 384;

/// What is learned.
pub(super) struct Task {
    pub(super) train: Images,
    pub(super) test: Images,
    /// Training images that judge: the same in every run.
    judge: (Vec<f32>, Vec<u8>),
}

/// The network of all trainings here.
pub(super) fn shape(norm: Norm) -> Shape {
    Shape::new(&GLYPH_MLP_WIDTHS, norm)
}

/// Pixels and labels of some images.
pub(super) fn batch(images: &Images, which: &[usize]) -> (Vec<f32>, Vec<u8>) {
    (images.gather(which), which.iter().map(|i| images.labels[*i]).collect())
}

/// Squared norms of the mean gradients of all pieces but a smaller last one, and of the whole.
pub(super) struct Norms {
    pub(super) pieces: Vec<f64>,
    pub(super) whole: f64,
}

impl Task {
    pub(super) async fn load(cx: &Context) -> Result<Self, LabError> {
        let glyphs = Glyphs::read(&cx.asset(Glyphs::ASSET).await?)?;
        let of = |split| Images::of_glyphs(&glyphs, &glyphs.indices(split));
        let (train, test) = (of(Split::Train), of(Split::Test));
        let mut which: Vec<usize> = (0..train.len()).collect();
        which.shuffle(&mut rng(0, "judged"));
        which.truncate(JUDGED);
        let judge = batch(&train, &which);
        cx.checkpoint().await?;
        Ok(Self { train, test, judge })
    }

    /// Loss on the training images that judge.
    pub(super) fn loss(&self, shape: &Shape, weights: &[f32]) -> f64 {
        shape.judge(weights, &self.judge.0, &self.judge.1).0
    }

    /// Accuracy on images of unseen fonts, in per cent. With batch norm the mean and the variance are those of all of them.
    pub(super) fn accuracy(&self, shape: &Shape, weights: &[f32]) -> f64 {
        100.0 * shape.judge(weights, &self.test.pixels, &self.test.labels).1
    }

    // ANCHOR: pieces
    /// The mean gradient of a batch, from pieces of `piece` images; its loss, and the squared norms on the way.
    pub(super) fn in_pieces(
        &self,
        shape: &Shape,
        weights: &[f32],
        images: &[usize],
        piece: usize,
        sum: &mut Accumulator,
    ) -> (f64, Vec<f32>, Norms) {
        let (mut loss, mut pieces) = (0.0, Vec::new());
        for images in images.chunks(piece) {
            let (pixels, labels) = batch(&self.train, images);
            let pass = shape.pass(weights, &pixels, &labels);
            loss += pass.loss * images.len() as f64;
            if images.len() == piece {
                pieces.push(squared_norm(&pass.gradient));
            }
            sum.add(pass.gradient, images.len());
        }
        let gradient = sum.take().unwrap_or_else(|| vec![0.0; weights.len()]);
        let whole = squared_norm(&gradient);
        (loss / images.len().max(1) as f64, gradient, Norms { pieces, whole })
    }
    // ANCHOR_END: pieces
}

/// What lets the page have its turn, at most every 15 ms.
pub(super) fn breathing(cx: &Context) -> impl AsyncFnMut() -> Result<(), LabError> {
    let mut breath = cx.now_ms();
    async move || {
        if cx.now_ms() - breath > 15.0 {
            cx.checkpoint().await?;
            breath = cx.now_ms();
        }
        Ok(())
    }
}
