//! Training a classifier: AdamW, cosine schedule, everything random from one generator.

use burn::{
    module::Module,
    optim::GradientsParams,
    tensor::{Device, Int, Tensor, TensorData},
};
use lab_api::LabError;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::{
    mlp::{Mlp, MlpWeights, read},
    ops::{adamw, cross_entropy},
};

/// How to train.
#[derive(Debug, Clone, PartialEq)]
pub struct Training {
    /// Passes over the data.
    pub epochs: usize,
    /// Images per step.
    pub batch: usize,
    /// Learning rate of the first step; it falls to zero along a half cosine.
    pub learning_rate: f64,
    /// Decoupled weight decay (Loshchilov and Hutter, arXiv:1711.05101).
    pub weight_decay: f32,
}

impl Default for Training {
    fn default() -> Self {
        Self { epochs: 40, batch: 64, learning_rate: 3e-3, weight_decay: 1e-2 }
    }
}

/// From 1 to 0 along half a cosine, `done` being the share (0 to 1) of the steps that are behind (Loshchilov and Hutter,
/// arXiv:1608.03983).
#[must_use]
pub fn half_cosine(done: f64) -> f64 {
    0.5 * (1.0 + (std::f64::consts::PI * done).cos())
}

/// Trains on `pixels` (`[labels.len(), inputs]`, row-major), starting from `start`. The order of the data comes from
/// `rng`. `between` is called after each step with the steps done and the steps in all: a place for progress and
/// checkpoints.
///
/// # Errors
/// What `between` returns, and [`LabError::Device`] when the device fails.
pub async fn train(
    start: &MlpWeights,
    (pixels, labels): (&[f32], &[u8]),
    how: &Training,
    rng: &mut ChaCha8Rng,
    device: &Device,
    mut between: impl AsyncFnMut(usize, usize) -> Result<(), LabError>,
) -> Result<MlpWeights, LabError> {
    let device = device.clone().autodiff();
    let inputs = start.layers.first().map_or(0, |layer| layer.inputs);
    let mut model = Mlp::new(start, &device);
    let mut optimizer = adamw(how.weight_decay);
    let mut order: Vec<usize> = (0..labels.len()).collect();
    let total = how.epochs * labels.len().div_ceil(how.batch);
    let mut done = 0;
    for _ in 0..how.epochs {
        order.shuffle(rng);
        for batch in order.chunks(how.batch) {
            let x: Vec<f32> = batch.iter().flat_map(|i| &pixels[i * inputs..(i + 1) * inputs]).copied().collect();
            let y: Vec<i32> = batch.iter().map(|i| i32::from(labels[*i])).collect();
            let x = Tensor::<2>::from_data(TensorData::new(x, [batch.len(), inputs]), &device);
            let y = Tensor::<1, Int>::from_data(TensorData::new(y, [batch.len()]), &device);
            let gradients = cross_entropy(model.forward(x), y).backward();
            let gradients = GradientsParams::from_grads(gradients, &model);
            let rate = how.learning_rate * half_cosine(done as f64 / total as f64);
            model = optimizer.step(rate, model, gradients);
            done += 1;
            between(done, total).await?;
        }
    }
    model.valid().weights().await
}

/// The class of the largest logit in each row of `classes` logits; the first of equals.
#[must_use]
pub fn argmax(logits: &[f32], classes: usize) -> Vec<u8> {
    let best = |row: &[f32]| (0..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best });
    logits.chunks_exact(classes).map(|row| u8::try_from(best(row)).unwrap_or(u8::MAX)).collect()
}

/// Logits `[images, outputs]` of the FP32 network on a device, row-major.
///
/// # Errors
/// [`LabError::Device`] when the device fails.
pub async fn logits(model: &Mlp, pixels: Vec<f32>, inputs: usize, device: &Device) -> Result<Vec<f32>, LabError> {
    let images = pixels.len() / inputs;
    read(model.forward(Tensor::from_data(TensorData::new(pixels, [images, inputs]), device))).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{context::rng, data::Digits, testing::ready};

    #[test]
    fn the_first_of_equal_logits_wins() {
        assert_eq!(argmax(&[0.0, 2.0, 2.0, 5.0, -1.0, 5.0], 3), [1, 0]);
    }

    #[test]
    fn a_short_training_learns_and_repeats_bit_by_bit() {
        let digits = Digits::read(include_bytes!("../../../assets/digits/digits.csv.gz")).expect("shipped");
        let device = Device::flex();
        let how = Training { epochs: 6, ..Training::default() };
        let run = |seed| {
            let start = MlpWeights::init(&[64, 32, 10], &mut rng(seed, "weights"));
            let mut order = rng(seed, "order");
            let data = (digits.pixels.as_slice(), digits.labels.as_slice());
            ready(train(&start, data, &how, &mut order, &device, async |_, _| Ok(()))).expect("trains")
        };
        let first = run(0);
        assert_eq!(first, run(0));
        assert_ne!(first, run(1));
        let model = Mlp::new(&first, &device);
        let logits = ready(logits(&model, digits.pixels.clone(), 64, &device)).expect("runs");
        let right = argmax(&logits, 10).iter().zip(&digits.labels).filter(|(a, b)| a == b).count();
        assert!(right * 100 > 80 * digits.len(), "{right} right");
    }
}
