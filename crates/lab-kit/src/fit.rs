//! One training loop for whatever can be trained on images: weights, weights seen through a rounding or a mask, a student with
//! its teacher's outputs. What differs between the arms of a comparison is the [`Trainable`]; nothing else does.

use burn::{
    module::Module,
    optim::{GradientsParams, ModuleOptimizer},
    tensor::{Int, Tensor, TensorData},
};
use lab_api::LabError;
use rand::{Rng, seq::SliceRandom};

use crate::{
    Context,
    data::Images,
    mlp::{Mlp, read},
    models::Cnn,
    ops::{adamw, cross_entropy},
    train::{Training, half_cosine},
};

/// A network in training.
pub trait Trainable: Sized {
    /// What the optimizer changes.
    type Parameters: Module;
    /// Those parameters.
    fn parameters(&self) -> &Self::Parameters;
    /// The same network with parameters changed.
    #[must_use]
    fn map(self, change: impl FnOnce(Self::Parameters) -> Self::Parameters) -> Self;
    /// Logits `[batch, classes]` of pixels `[batch, pixels]` while training.
    fn forward(&mut self, pixels: Tensor<2>) -> Tensor<2>;
    /// The same without leaving traces: no gradient, no range that moves.
    fn judge(&self, pixels: Tensor<2>) -> Tensor<2>;
    /// The loss `[1]` of a batch; cross-entropy with the labels `[batch]`, unless the network has a loss of its own.
    fn loss(&mut self, pixels: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        cross_entropy(self.forward(pixels), labels)
    }
    /// The network after a step: the place of a mask, or of any other condition that its parameters must meet.
    #[must_use]
    fn after_step(self) -> Self {
        self
    }
}

/// What turns pixels into logits.
pub trait Classifier: Module {
    /// Logits `[batch, classes]` of pixels `[batch, pixels]`.
    fn logits(&self, pixels: Tensor<2>) -> Tensor<2>;
}

impl Classifier for Mlp {
    fn logits(&self, pixels: Tensor<2>) -> Tensor<2> {
        self.forward(pixels)
    }
}

impl Classifier for Cnn {
    fn logits(&self, pixels: Tensor<2>) -> Tensor<2> {
        self.forward(pixels)
    }
}

/// Trained in FP32, every parameter, nothing in between: the control of a comparison.
#[derive(Debug, Clone)]
pub struct Plain<M>(pub M);

impl<M: Classifier> Trainable for Plain<M> {
    type Parameters = M;
    fn parameters(&self) -> &M {
        &self.0
    }
    fn map(self, change: impl FnOnce(M) -> M) -> Self {
        Self(change(self.0))
    }
    fn forward(&mut self, pixels: Tensor<2>) -> Tensor<2> {
        self.0.logits(pixels)
    }
    fn judge(&self, pixels: Tensor<2>) -> Tensor<2> {
        self.0.valid().logits(pixels)
    }
}

/// The optimizer of every arm: AdamW as in the training that shipped the weights.
#[must_use]
pub fn optimizer(how: &Training) -> ModuleOptimizer {
    adamw(how.weight_decay)
}

// ANCHOR: step
/// One step of training on a batch: forward, loss, backward, update. The weights that are updated are the FP32 ones.
pub fn step<T: Trainable>(
    mut network: T,
    optimizer: &mut ModuleOptimizer,
    (pixels, labels): (Tensor<2>, Tensor<1, Int>),
    learning_rate: f64,
) -> (T, Tensor<1>) {
    let loss = network.loss(pixels, labels);
    let gradients = GradientsParams::from_grads(loss.backward(), network.parameters());
    let network = network.map(|parameters| optimizer.step(learning_rate, parameters, gradients));
    (network.after_step(), loss.inner())
}
// ANCHOR_END: step

/// Pixels and labels of these images, where training can follow them.
#[must_use]
pub fn batch(all: &Images, images: &[usize], cx: &Context) -> (Tensor<2>, Tensor<1, Int>) {
    let device = cx.device.clone().autodiff();
    let pixels = TensorData::new(all.gather(images), [images.len(), all.pixels_each()]);
    let labels: Vec<i32> = images.iter().map(|i| i32::from(all.labels[*i])).collect();
    (Tensor::from_data(pixels, &device), Tensor::from_data(TensorData::new(labels, [images.len()]), &device))
}

/// The loss of the first step of [`fit`]: of the network as training finds it, so that devices that start alike agree in it.
///
/// # Errors
/// [`LabError::Device`] when the device fails.
pub async fn first_loss<T: Trainable>(
    network: T,
    (all, images): (&Images, &[usize]),
    how: &Training,
    rng: &mut impl Rng,
    cx: &Context,
) -> Result<f64, LabError> {
    let mut order = images.to_vec();
    order.shuffle(rng);
    order.truncate(how.batch.max(1));
    let (_, loss) = step(network, &mut optimizer(how), batch(all, &order, cx), 0.0);
    Ok(read(loss).await?.first().copied().map_or(f64::NAN, f64::from))
}

/// Steps between two readings of the loss: a reading waits for the device, so not at every step; but a GPU in a browser
/// takes any number of steps without ever saying that it is behind, so not never.
const READ_EVERY: usize = 8;
/// Milliseconds of work after which the page gets its turn.
const BREATHE_MS: f64 = 15.0;

/// Trains on `images`, in an order drawn from `rng`; the learning rate falls to zero along a half cosine. After each epoch
/// `watch` gets how many are done, the mean loss of the epoch, and the network.
///
/// # Errors
/// What `watch` returns, [`LabError::Device`] when the device fails, [`LabError::Cancelled`].
pub async fn fit<T: Trainable>(
    mut network: T,
    (all, images): (&Images, &[usize]),
    how: &Training,
    rng: &mut impl Rng,
    cx: &Context,
    mut watch: impl AsyncFnMut(usize, f64, &T) -> Result<(), LabError>,
) -> Result<T, LabError> {
    let mut optimizer = optimizer(how);
    let mut order = images.to_vec();
    let steps = order.len().div_ceil(how.batch.max(1));
    let (mut done, mut last_breath) = (0, cx.now_ms());
    for epoch in 0..how.epochs {
        order.shuffle(rng);
        let (mut sum, mut unread) = (0.0, Vec::new());
        for (i, images) in order.chunks(how.batch.max(1)).enumerate() {
            let part = done as f64 / (how.epochs * steps) as f64;
            let rate = how.learning_rate * half_cosine(part);
            let (stepped, loss) = step(network, &mut optimizer, batch(all, images, cx), rate);
            network = stepped;
            unread.push(loss);
            done += 1;
            if unread.len() == READ_EVERY || i + 1 == steps {
                sum += read(Tensor::cat(std::mem::take(&mut unread), 0)).await?.iter().sum::<f32>();
            }
            if cx.now_ms() - last_breath > BREATHE_MS {
                cx.checkpoint().await?;
                last_breath = cx.now_ms();
            }
        }
        let loss = f64::from(sum) / steps.max(1) as f64;
        if !loss.is_finite() {
            let why = format!("the loss became {loss} in epoch {}; choose a smaller learning rate", epoch + 1);
            return Err(LabError::Refused { why });
        }
        watch(epoch + 1, loss, &network).await?;
    }
    Ok(network)
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::{
        data::Digits,
        mlp::MlpWeights,
        models::CnnConfig,
        rng,
        testing::{FakeClock, context, ready},
    };

    fn digits() -> Images {
        Images::from(Digits::read(include_bytes!("../../../assets/digits/digits.csv.gz")).expect("shipped"))
    }

    fn plain(widths: &[usize], cx: &Context) -> Plain<Mlp> {
        Plain(Mlp::new(&MlpWeights::init(widths, &mut rng(0, "weights")), &cx.device.clone().autodiff()))
    }

    #[test]
    fn the_first_loss_is_that_of_the_first_step() {
        let (cx, digits) = (context(Rc::new(FakeClock::new(0.1))), digits());
        let images: Vec<usize> = (0..200).collect();
        let plain = || plain(&[64, 10], &cx);
        // One step an epoch: what the first epoch reports is the loss of its only step.
        let how = Training { epochs: 1, batch: images.len(), ..Training::default() };
        let mut reported = 0.0;
        let watch = async |_, loss, _: &Plain<Mlp>| {
            reported = loss;
            Ok(())
        };
        ready(fit(plain(), (&digits, &images), &how, &mut rng(0, "order"), &cx, watch)).expect("trains");
        let first = ready(first_loss(plain(), (&digits, &images), &how, &mut rng(0, "order"), &cx)).expect("runs");
        assert!(first > 0.0 && (first - reported).abs() < 1e-6, "{first} {reported}");
        let part = Training { batch: 16, ..how };
        let other = ready(first_loss(plain(), (&digits, &images), &part, &mut rng(0, "order"), &cx)).expect("runs");
        assert!((other - first).abs() > 1e-6, "sixteen images have another loss than all");
    }

    #[test]
    fn a_diverging_training_is_refused_with_a_remedy() {
        let (cx, digits) = (context(Rc::new(FakeClock::new(0.1))), digits());
        let how = Training { epochs: 3, learning_rate: f64::INFINITY, ..Training::default() };
        let network = plain(&[64, 10], &cx);
        let images: Vec<usize> = (0..128).collect();
        let result = ready(fit(network, (&digits, &images), &how, &mut rng(0, "order"), &cx, async |_, _, _| Ok(())));
        assert!(result.expect_err("refused").to_string().contains("smaller learning rate"));
    }

    #[test]
    fn a_convolutional_network_learns_by_the_same_loop_and_repeats() {
        let (cx, digits) = (context(Rc::new(FakeClock::new(0.1))), digits());
        let images: Vec<usize> = (0..256).collect();
        let config = CnnConfig { side: 8, channels: vec![4, 8], classes: 10 };
        let state = config.init(&mut rng(0, "weights"));
        let how = Training { epochs: 4, ..Training::default() };
        let run = || {
            let network = Cnn::new(&config, &state, "a test", &cx.device.clone().autodiff()).expect("fits");
            let mut losses = Vec::new();
            let watch = async |_, loss, _: &Plain<Cnn>| {
                losses.push(loss);
                Ok(())
            };
            ready(fit(Plain(network), (&digits, &images), &how, &mut rng(0, "order"), &cx, watch)).expect("trains");
            losses
        };
        let losses = run();
        assert!(losses[3] < losses[2] && losses[2] < losses[0], "{losses:?}");
        assert_eq!(losses, run());
    }
}
