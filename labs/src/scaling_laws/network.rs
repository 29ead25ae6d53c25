//! The family: a neural probabilistic language model (Bengio et al., 2003) of characters, all of whose sizes differ in one number.

use lab_api::LabError;
use lab_kit::{
    // `Module`'s derive writes paths that begin with `burn`.
    burn::{
        self,
        module::{Module, Param},
        optim::GradientsParams,
        tensor::{Device, Int, Tensor, TensorData},
    },
    mlp::{Mlp, MlpWeights, read},
    ops::{adamw, cross_entropy},
    rng,
    scaling::Run,
    train::half_cosine,
};
use rand::Rng;

use super::text::{BEFORE, SYMBOLS, Text};

/// Numbers that stand for a character.
const CODE: usize = 8;
/// Narrower networks lose units for good when a ReLU closes, and measure luck.
const NARROWEST: usize = 4;
/// Steps until the learning rate is full.
const WARM_UP: usize = 50;

// ANCHOR: count
/// Weights that multiply an input in a network `h` units wide: two hidden layers and an output layer. The codes of the
/// characters are looked up and biases are added, so neither counts.
pub(super) const fn weights(h: usize) -> usize {
    BEFORE * CODE * h + h * h + h * SYMBOLS
}

/// The width whose [`weights`] come nearest to a wanted number.
pub(super) fn width(wanted: f64) -> usize {
    let b = (BEFORE * CODE + SYMBOLS) as f64;
    let h = 0.5 * ((b * b + 4.0 * wanted.max(0.0)).sqrt() - b);
    (h.round() as usize).max(NARROWEST)
}
// ANCHOR_END: count

/// Everything that is stored for a width, biases and codes included.
pub(super) const fn stored(h: usize) -> usize {
    weights(h) + 2 * h + SYMBOLS + SYMBOLS * CODE
}

/// The network on a device.
#[derive(Module, Debug)]
pub(super) struct Characters {
    codes: Param<Tensor<2>>,
    network: Mlp,
}

impl Characters {
    pub(super) fn new(h: usize, seed: u64, device: &Device) -> Self {
        let mut rng = rng(seed, "weights");
        let codes: Vec<f32> = (0..SYMBOLS * CODE).map(|_| rng.random_range(-1.0..1.0)).collect();
        let codes = Tensor::from_data(TensorData::new(codes, [SYMBOLS, CODE]), device);
        let mut weights = MlpWeights::init(&[BEFORE * CODE, h, h, SYMBOLS], &mut rng);
        // At first every character is as likely as any other.
        if let Some(output) = weights.layers.last_mut() {
            let shrink = 0.02 / (6.0 / h as f32).sqrt();
            output.weight.iter_mut().for_each(|w| *w *= shrink);
        }
        Self { codes: Param::from_tensor(codes), network: Mlp::new(&weights, device) }
    }

    /// Logits `[batch, SYMBOLS]` of contexts `[batch, BEFORE]`.
    pub(super) fn forward(&self, contexts: Tensor<2, Int>) -> Tensor<2> {
        let [batch, before] = contexts.dims();
        let codes = self.codes.val().select(0, contexts.reshape([batch * before]));
        self.network.forward(codes.reshape([batch, before * CODE]))
    }
}

/// How the learning rate falls.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Decay {
    /// Lengths of the run after which the half cosine reaches zero; infinite for a rate that stays.
    pub(super) period: f64,
}

/// One training, planned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Plan {
    /// Width.
    pub(super) h: usize,
    /// Positions of a step.
    pub(super) batch: usize,
    pub(super) steps: usize,
    pub(super) decay: Decay,
    pub(super) seed: u64,
}

impl Plan {
    // ANCHOR: plan
    /// The run of a width that spends this many operations. All runs take the same number of steps; what a smaller network
    /// saves goes into larger batches, so that no run ends before its warm-up does.
    pub(super) fn spending(flops: f64, h: usize, steps: usize) -> Self {
        let characters = flops / (6 * weights(h)) as f64;
        let batch = (characters / steps as f64).round().max(1.0) as usize;
        Self { h, batch, steps, decay: Decay { period: 1.0 }, seed: 0 }
    }
    // ANCHOR_END: plan

    /// Characters read.
    pub(super) const fn characters(&self) -> usize {
        self.batch * self.steps
    }

    /// Operations, `6 N D`.
    pub(super) fn flops(&self) -> f64 {
        6.0 * weights(self.h) as f64 * self.characters() as f64
    }

    // ANCHOR: rate
    /// The learning rate of a step: lower for wide networks, warmed up, and brought to zero exactly at the end of the run.
    fn rate(&self, step: usize) -> f64 {
        let peak = 0.02 * (32.0 / self.h as f64).sqrt().min(1.0);
        let done = step as f64 / self.steps as f64 / self.decay.period;
        peak * ((step + 1) as f64 / WARM_UP.min(self.steps / 4).max(1) as f64).min(1.0) * half_cosine(done)
    }
    // ANCHOR_END: rate

    /// Trains on places of the text in this order, over and over if the run is longer, and judges on the held-out text. `None`
    /// where the training diverged. `breathe` is called after every step, `now_ms` is a clock.
    pub(super) async fn train(
        &self,
        text: &Text,
        order: &[u32],
        device: &Device,
        now_ms: impl Fn() -> f64,
        mut breathe: impl AsyncFnMut() -> Result<(), LabError>,
    ) -> Result<Option<Trained>, LabError> {
        let began = now_ms();
        let learning = device.clone().autodiff();
        let mut model = Characters::new(self.h, self.seed, &learning);
        let mut optimizer = adamw(0.0);
        let mut at = 0;
        for step in 0..self.steps {
            let places = (at..at + self.batch).map(|i| order[i % order.len()]);
            at += self.batch;
            let (contexts, targets) = text.batch(places, &learning);
            let loss = cross_entropy(model.forward(contexts), targets);
            // A GPU in a browser takes any number of steps without saying that it is behind.
            if step % 25 == 24 && !read(loss.clone().inner()).await?.iter().all(|loss| loss.is_finite()) {
                return Ok(None);
            }
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            model = optimizer.step(self.rate(step), model, gradients);
            breathe().await?;
        }
        let seconds = 1e-3 * (now_ms() - began);
        let loss = judge(&model.valid(), text, device, breathe).await?;
        Ok(loss.is_finite().then_some(Trained { plan: *self, loss, seconds }))
    }
}

/// A run that is done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Trained {
    pub(super) plan: Plan,
    /// Nats per character of the held-out text.
    pub(super) loss: f64,
    /// Time of the steps, without the judging.
    pub(super) seconds: f64,
}

impl Trained {
    /// As the law sees it.
    pub(super) fn run(&self) -> Run {
        Run { n: weights(self.plan.h) as f64, d: self.plan.characters() as f64, loss: self.loss }
    }
}

/// Mean nats of a character of the held-out text.
async fn judge(
    model: &Characters,
    text: &Text,
    device: &Device,
    mut breathe: impl AsyncFnMut() -> Result<(), LabError>,
) -> Result<f64, LabError> {
    let (mut sum, mut count) = (0.0, 0);
    for (rows, (contexts, targets)) in text.to_judge(device) {
        let nats = read(cross_entropy(model.forward(contexts), targets)).await?;
        sum += rows as f64 * nats.first().copied().map_or(f64::NAN, f64::from);
        count += rows;
        breathe().await?;
    }
    Ok(sum / count.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use lab_kit::{
        burn::module::{ModuleVisitor, ParamId},
        data::Part,
        testing::{FakeClock, context_with, ready},
    };

    use super::*;

    /// Elements of all matrices but the codes, which come first.
    #[derive(Default)]
    struct Elements(Vec<(ParamId, usize, usize)>);

    impl ModuleVisitor for Elements {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push((param.id, D, param.val().dims().iter().product()));
        }
    }

    #[test]
    fn weights_are_those_of_the_module_and_of_the_paper_by_hand() {
        assert_eq!([4, 8, 16, 32, 64].map(weights), [912, 1856, 3840, 8192, 18_432]);
        let cx = context_with(Rc::new(FakeClock::new(0.1)), &[]);
        for h in [4, 5, 24] {
            let model = Characters::new(h, 0, &cx.device);
            let mut seen = Elements::default();
            model.visit(&mut seen);
            let matrices: usize = seen.0.iter().filter(|p| p.1 == 2).map(|p| p.2).sum();
            assert_eq!(matrices - SYMBOLS * CODE, weights(h));
            assert_eq!(seen.0.iter().map(|p| p.2).sum::<usize>(), stored(h));
            assert_eq!(width(weights(h) as f64), h);
        }
    }

    #[test]
    fn budgets_are_kept_and_the_rate_comes_to_rest() {
        for h in [3, 8, 24, 64] {
            let plan = Plan::spending(1e9, h, 500);
            let step = 0.5 * 6.0 * weights(h) as f64 * 500.0;
            assert!((plan.flops() - 1e9).abs() <= step, "{h}: {}", plan.flops());
            assert!(plan.rate(0) < 0.03 * plan.rate(60) && plan.rate(499) < 1e-3 * plan.rate(60));
            let unfinished = Plan { decay: Decay { period: 5.0 }, ..plan };
            assert!(unfinished.rate(499) > 0.9 * unfinished.rate(60));
            let constant = Plan { decay: Decay { period: f64::INFINITY }, ..plan };
            assert_eq!(constant.rate(499), constant.rate(60));
        }
        assert_eq!(Plan::spending(1.0, 64, 500).batch, 1);
    }

    #[test]
    fn a_network_begins_by_knowing_nothing_and_learns() {
        let cx = context_with(Rc::new(FakeClock::new(0.1)), &[Part::Train.asset(), Part::Test.asset()]);
        let text = ready(Text::load(1024, &cx)).expect("shipped");
        let model = Characters::new(16, 0, &cx.device);
        let first = ready(judge(&model, &text, &cx.device, async || Ok(()))).expect("judged");
        assert!((first - (SYMBOLS as f64).ln()).abs() < 0.02, "{first}");
        let order = text.order(6400, &mut rng(0, "order"));
        let plan = Plan { batch: 32, steps: 60, ..Plan::spending(1e7, 8, 60) };
        let train = |plan: Plan| {
            let trained = ready(plan.train(&text, &order, &cx.device, || 0.0, async || Ok(()))).expect("trains");
            trained.expect("learns").loss
        };
        let (short, long) = (train(plan), train(Plan { steps: 200, ..plan }));
        assert!(short < 3.6 && long < short - 0.1, "{short} {long}");
        assert_eq!(train(plan), short);
    }
}
