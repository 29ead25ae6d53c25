//! One training loop for both arms: quantized on the way forward, or not. Nothing else differs.

use lab_api::LabError;
use lab_kit::{
    Context,
    burn::{
        module::Module,
        optim::{GradientsParams, ModuleOptimizer},
        tensor::{Int, Tensor, TensorData},
    },
    data::Images,
    mlp::{Mlp, read},
    ops::{adamw, cross_entropy},
    train::{Training, half_cosine},
};
use rand::{Rng, seq::SliceRandom};

use super::model::{Parameters, Quantizers, plain_forward};

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
}

/// Trained in FP32: the control.
#[derive(Debug, Clone)]
pub struct Plain(pub Mlp);

impl Trainable for Plain {
    type Parameters = Mlp;
    fn parameters(&self) -> &Mlp {
        &self.0
    }
    fn map(self, change: impl FnOnce(Mlp) -> Mlp) -> Self {
        Self(change(self.0))
    }
    fn forward(&mut self, pixels: Tensor<2>) -> Tensor<2> {
        plain_forward(&self.0, pixels)
    }
    fn judge(&self, pixels: Tensor<2>) -> Tensor<2> {
        plain_forward(&self.0.valid(), pixels)
    }
}

/// Trained through the rounding.
#[derive(Debug, Clone)]
pub struct Aware {
    /// What the optimizer changes.
    pub parameters: Parameters,
    /// The grids.
    pub quantizers: Quantizers,
}

impl Trainable for Aware {
    type Parameters = Parameters;
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }
    fn map(self, change: impl FnOnce(Parameters) -> Parameters) -> Self {
        Self { parameters: change(self.parameters), ..self }
    }
    fn forward(&mut self, pixels: Tensor<2>) -> Tensor<2> {
        self.parameters.forward(pixels, &mut self.quantizers, true)
    }
    fn judge(&self, pixels: Tensor<2>) -> Tensor<2> {
        self.parameters.valid().forward(pixels, &mut self.quantizers.clone(), false)
    }
}

/// The optimizer of both arms: AdamW as in the training that shipped the weights.
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
    let logits = network.forward(pixels);
    let loss = cross_entropy(logits, labels);
    let gradients = GradientsParams::from_grads(loss.backward(), network.parameters());
    (network.map(|parameters| optimizer.step(learning_rate, parameters, gradients)), loss.inner())
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
    (digits, images): (&Images, &[usize]),
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
            let (stepped, loss) = step(network, &mut optimizer, batch(digits, images, cx), rate);
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
    use std::{cell::Cell, rc::Rc};

    use lab_api::{AssetRef, DeviceChoice, Report};
    use lab_kit::{
        Host, HostInfo, LocalBoxFuture,
        mlp::MlpWeights,
        open_device,
        quant::{Granularity, Scheme, Settings, signal_and_noise},
        rng,
    };

    use super::*;
    use crate::registry::qat::model::{Range, post_training};

    /// A host without files, for runs that need none. Its clock moves whenever it is read.
    #[derive(Default)]
    struct Nowhere(Cell<f64>);

    impl Host for Nowhere {
        fn fetch(&self, _: AssetRef) -> LocalBoxFuture<'_, Result<Vec<u8>, String>> {
            Box::pin(async { Err("there are no files".to_owned()) })
        }
        fn now_ms(&self) -> f64 {
            self.0.set(self.0.get() + 0.01);
            self.0.get()
        }
        fn yield_now(&self) -> LocalBoxFuture<'_, ()> {
            Box::pin(async {})
        }
        fn cancelled(&self) -> bool {
            false
        }
        fn progress(&self, _: &str, _: f64) {}
        fn publish(&self, _: &Report) {}
        fn info(&self) -> HostInfo {
            let word = String::new;
            HostInfo { host: word(), platform: word(), cores: 1, engine_version: word() }
        }
    }

    /// Flex never really waits: one poll suffices.
    fn now<T>(future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            std::task::Poll::Ready(value) => value,
            std::task::Poll::Pending => panic!("the CPU device waited"),
        }
    }

    fn context() -> Context {
        let device = now(open_device(DeviceChoice::Cpu)).expect("the CPU is always there");
        Context::new(device, 0, Vec::new(), Rc::<Nowhere>::default())
    }

    fn digits() -> Images {
        Images::from(
            lab_kit::data::Digits::read(include_bytes!("../../../assets/digits/digits.csv.gz")).expect("shipped"),
        )
    }

    fn every_setting() -> Vec<(Settings, Range)> {
        let mut all = Vec::new();
        for bits in [2, 3, 4] {
            for scheme in [Scheme::Symmetric, Scheme::Affine] {
                for granularity in [Granularity::Tensor, Granularity::Channel] {
                    for range in [Range::MinMax, Range::Mse, Range::Learned] {
                        all.push((Settings::weight_only(bits, scheme, granularity), range));
                    }
                }
            }
        }
        all
    }

    fn start(network: &MlpWeights, (settings, range): (Settings, Range), examples: &[f32], cx: &Context) -> Aware {
        let quantizers = Quantizers::new(network, &settings, range, examples, &cx.device);
        let parameters = Parameters::new(network, &quantizers, &cx.device.clone().autodiff());
        Aware { parameters, quantizers }
    }

    #[test]
    fn without_a_step_training_gives_what_rounding_gives() {
        let (cx, digits) = (context(), digits());
        let network = MlpWeights::init(&[64, 24, 10], &mut rng(0, "weights"));
        let examples = digits.gather(&(0..64).collect::<Vec<_>>());
        for (settings, range) in every_setting() {
            let untrained = start(&network, (settings, range), &examples, &cx);
            let deployed = now(untrained.parameters.deploy(&untrained.quantizers)).expect("reads");
            assert_eq!(deployed, post_training(&network, &settings, range, &examples), "{settings:?} {range:?}");
        }
    }

    #[test]
    fn what_is_deployed_is_what_was_trained() {
        let (cx, digits) = (context(), digits());
        let images: Vec<usize> = (0..128).collect();
        let pixels = digits.gather(&images);
        let network = MlpWeights::init(&[64, 24, 10], &mut rng(0, "weights"));
        let how = Training { epochs: 2, ..Training::default() };
        for (settings, range) in every_setting() {
            let begun = start(&network, (settings, range), &pixels, &cx);
            let data = (&digits, images.as_slice());
            let mut order = rng(0, "order");
            let trained = now(fit(begun, data, &how, &mut order, &cx, async |_, _, _| Ok(()))).expect("trains");
            let packed = now(trained.parameters.deploy(&trained.quantizers)).expect("reads").forward(&pixels);
            let input = Tensor::from_data(TensorData::new(pixels.clone(), [images.len(), 64]), &cx.device);
            let fake = now(read(trained.judge(input))).expect("reads");
            let (signal, noise) = signal_and_noise(&fake, &packed);
            // The same integers; only sums of floats in another order, and rarely an activation that sits on a tie.
            assert!(noise < 1e-5 * signal, "{settings:?} {range:?}: {}", noise / signal);
        }
    }

    #[test]
    fn the_plain_arm_is_the_shipped_network() {
        let cx = context();
        let network = MlpWeights::init(&[64, 24, 10], &mut rng(1, "weights"));
        let input = Tensor::<2>::from_data(TensorData::new(digits().gather(&[0, 1, 2]), [3, 64]), &cx.device);
        let mlp = Mlp::new(&network, &cx.device);
        let ours = now(read(plain_forward(&mlp, input.clone()))).expect("reads");
        let kit = now(read(mlp.forward(input))).expect("reads");
        assert!(ours.iter().zip(&kit).all(|(a, b)| (a - b).abs() < 1e-5));
    }

    #[test]
    fn training_through_the_rounding_learns_and_repeats() {
        let (cx, digits) = (context(), digits());
        let images: Vec<usize> = (0..512).collect();
        let how = Training { epochs: 8, ..Training::default() };
        let network = MlpWeights::init(&[64, 32, 10], &mut rng(0, "weights"));
        let settings = Settings::weight_only(2, Scheme::Symmetric, Granularity::Channel);
        let run = |range| {
            let mut losses = Vec::new();
            let begun = start(&network, (settings, range), &digits.gather(&images), &cx);
            let watch = async |_, loss, _: &Aware| {
                losses.push(loss);
                Ok(())
            };
            now(fit(begun, (&digits, &images), &how, &mut rng(0, "order"), &cx, watch)).expect("trains");
            losses
        };
        for range in [Range::MinMax, Range::Mse, Range::Learned] {
            let losses = run(range);
            assert_eq!(losses.len(), 8);
            assert!(losses[7] < 0.9 * losses[0], "{range:?} {losses:?}");
            assert_eq!(losses, run(range));
        }
    }

    #[test]
    fn the_first_loss_is_that_of_the_first_step() {
        let (cx, digits) = (context(), digits());
        let images: Vec<usize> = (0..200).collect();
        let network = MlpWeights::init(&[64, 10], &mut rng(0, "weights"));
        let plain = || Plain(Mlp::new(&network, &cx.device.clone().autodiff()));
        // One step an epoch: what the first epoch reports is the loss of its only step.
        let how = Training { epochs: 1, batch: images.len(), ..Training::default() };
        let mut reported = 0.0;
        let watch = async |_, loss, _: &Plain| {
            reported = loss;
            Ok(())
        };
        now(fit(plain(), (&digits, &images), &how, &mut rng(0, "order"), &cx, watch)).expect("trains");
        let first = now(first_loss(plain(), (&digits, &images), &how, &mut rng(0, "order"), &cx)).expect("runs");
        assert!(first > 0.0 && (first - reported).abs() < 1e-6, "{first} {reported}");
        let part = Training { batch: 16, ..how };
        let other = now(first_loss(plain(), (&digits, &images), &part, &mut rng(0, "order"), &cx)).expect("runs");
        assert!((other - first).abs() > 1e-6, "sixteen images have another loss than all");
    }

    #[test]
    fn a_diverging_training_is_refused_with_a_remedy() {
        let (cx, digits) = (context(), digits());
        let how = Training { epochs: 3, learning_rate: f64::INFINITY, ..Training::default() };
        let network =
            Plain(Mlp::new(&MlpWeights::init(&[64, 10], &mut rng(0, "weights")), &cx.device.clone().autodiff()));
        let images: Vec<usize> = (0..128).collect();
        let result = now(fit(network, (&digits, &images), &how, &mut rng(0, "order"), &cx, async |_, _, _| Ok(())));
        assert!(result.expect_err("refused").to_string().contains("smaller learning rate"));
    }
}
