//! The two arms of the comparison, as the kit's training loop takes them: quantized on the way forward, or not.

use lab_kit::{
    burn::{module::Module, tensor::Tensor},
    fit::Trainable,
    mlp::Mlp,
};

use super::model::{Parameters, Quantizers, plain_forward};

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

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use lab_kit::{
        Context,
        burn::tensor::TensorData,
        data::Images,
        fit::fit,
        mlp::{MlpWeights, read},
        quant::{Granularity, Scheme, Settings, signal_and_noise},
        rng,
        testing::{FakeClock, ready as now},
        train::Training,
    };

    use super::*;
    use crate::registry::qat::model::{Range, post_training};

    fn context() -> Context {
        lab_kit::testing::context(Rc::new(FakeClock::new(0.01)))
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
}
