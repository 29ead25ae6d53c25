//! Networks that learn side by side, each with its tensors kept in its own way.

use lab_api::{Interval, LabError};
use lab_kit::{
    Context, CrossValidated,
    formats::{Format, Keep, Network, Policy, Scaling, Step},
    mlp::MlpWeights,
    subject::Subject,
    training::Order,
};

use super::{Compare, Keeping, Numbers, Params};

/// Images of a step.
pub(super) const BATCH: usize = 32;

/// A network that learns.
pub(super) struct Arm {
    pub(super) name: String,
    pub(super) policy: Policy,
    pub(super) rate: f32,
    network: Network,
    pub(super) steps: Vec<Step>,
    /// Milliseconds of each step.
    pub(super) ms: Vec<f64>,
}

impl Arm {
    /// A statistic over the last third of the steps.
    pub(super) fn late(&self, of: impl Fn(&Step) -> f64) -> f64 {
        let last = &self.steps[self.steps.len() - self.steps.len().div_ceil(3)..];
        last.iter().map(of).sum::<f64>() / last.len().max(1) as f64
    }

    /// Milliseconds of a step, each a mean over several: a browser's clock is too coarse for one.
    pub(super) fn bundles(&self) -> Vec<f64> {
        let several = (self.ms.len() / 20).max(4);
        self.ms.chunks(several).map(|ms| ms.iter().sum::<f64>() / ms.len().max(1) as f64).collect()
    }

    pub(super) fn skipped(&self) -> usize {
        self.steps.iter().filter(|step| step.skipped).count()
    }

    pub(super) fn scale(&self) -> f32 {
        self.network.scale()
    }
}

/// All of them. The first is FP32.
pub(super) struct Race<'a> {
    pub(super) subject: &'a Subject,
    fold: usize,
    pub(super) start: MlpWeights,
    order: Order,
    /// Images that teach.
    teach: Vec<usize>,
    pub(super) arms: Vec<Arm>,
    /// Which of them is the reader's choice.
    pub(super) chosen: usize,
}

/// What a network answers on images that it has not seen.
pub(super) struct Judged {
    /// Cross-entropy in nats.
    pub(super) loss: f64,
    /// Per cent.
    pub(super) accuracy: f64,
    pub(super) interval: Interval,
}

/// Who runs beside FP32, and which of them is the reader's choice.
fn plan(params: &Params) -> (Vec<(String, Policy, f64)>, usize) {
    let (rate, policy) = (params.learning_rate, params.policy());
    let with = |change: &dyn Fn(&mut Params)| {
        let mut other = params.clone();
        change(&mut other);
        other.policy()
    };
    let name = |keep: Keeping, of: &str| match keep {
        Keeping::Master => format!("{of}, FP32 master copy"),
        Keeping::Rounded => format!("{of}, rounded"),
        Keeping::Stochastic => format!("{of}, rounded at random"),
        Keeping::Kahan => format!("{of}, Kahan"),
    };
    let format = params.format.name();
    let mut all = vec![("FP32".to_owned(), Policy::FP32, rate)];
    let mut chosen = 1;
    match params.compare {
        Compare::Weights => {
            let own = policy.weights.own_layout().is_some();
            let ways = [Keeping::Master, Keeping::Rounded, Keeping::Stochastic, Keeping::Kahan];
            for keep in ways.into_iter().take(if own { 4 } else { 2 }) {
                if keep == params.weights {
                    chosen = all.len();
                }
                all.push((name(keep, format), with(&|other| other.weights = keep), rate));
            }
        }
        Compare::Rates => {
            all.push((name(params.weights, format), policy, rate));
            for factor in [0.1, 10.0] {
                let rate = (factor * rate).min(0.2);
                all.push((format!("FP32 at {rate}"), Policy::FP32, rate));
                all.push((format!("{format} at {rate}"), policy, rate));
            }
        }
        Compare::Scales => {
            all.push((format!("{format}, as set"), policy, rate));
            for power in [-8, 0, 8, 16, 20] {
                let scaling = Scaling::Fixed((power as f32).exp2());
                all.push((format!("{format}, scale 2^{power}"), Policy { scaling, ..policy }, rate));
            }
        }
        Compare::Formats => {
            all.push((format!("{format}, as set"), policy, rate));
            for other in [Numbers::Fp16, Numbers::Bf16, Numbers::Hybrid, Numbers::E4m3, Numbers::Mxfp4, Numbers::Nvfp4]
            {
                if other != params.format {
                    all.push((other.name().to_owned(), with(&|params| params.format = other), rate));
                }
            }
        }
    }
    (all, chosen)
}

impl<'a> Race<'a> {
    /// On all digits but a fifth, which judges.
    pub(super) fn new(params: &Params, subject: &'a Subject, fold: usize, cx: &Context) -> Self {
        let (plan, chosen) = plan(params);
        Self { chosen, ..Self::of(plan, subject, fold, cx) }
    }

    pub(super) fn of(plan: Vec<(String, Policy, f64)>, subject: &'a Subject, fold: usize, cx: &Context) -> Self {
        let start = MlpWeights::init(&CrossValidated::WIDTHS, &mut cx.rng("start"));
        let teach = subject.training(fold).1;
        let arm = |(name, policy, rate): (String, Policy, f64)| {
            let network = Network::new(&start, policy);
            Arm { name, policy, rate: rate as f32, network, steps: Vec::new(), ms: Vec::new() }
        };
        let arms = plan.into_iter().map(arm).collect();
        let order = Order::new(teach.len(), BATCH, cx.seed);
        Self { subject, fold, start, order, teach, arms, chosen: 1 }
    }

    /// Images of a batch of any size, and their labels.
    pub(super) fn batch(&self, places: &[usize]) -> (Vec<f32>, Vec<u8>) {
        let images: Vec<usize> = places.iter().map(|place| self.teach[place % self.teach.len()]).collect();
        let labels = images.iter().map(|i| self.subject.images.labels[*i]).collect();
        (self.subject.images.gather(&images), labels)
    }

    /// One step of each, on the same images.
    pub(super) fn advance(&mut self, cx: &Context) {
        let step = self.arms.first().map_or(0, |arm| arm.steps.len());
        let places = self.order.indices(step).to_vec();
        let (pixels, labels) = self.batch(&places);
        for arm in &mut self.arms {
            let began = cx.now_ms();
            let done = arm.network.step(&pixels, &labels, arm.rate);
            arm.ms.push(cx.now_ms() - began);
            arm.steps.push(done);
        }
    }

    /// Lets each answer images that it has not seen.
    pub(super) async fn judge(&self, cx: &Context) -> Result<Vec<Judged>, LabError> {
        let held_out = self.subject.models.held_out(self.fold);
        let labels: Vec<u8> = held_out.iter().map(|i| self.subject.images.labels[*i]).collect();
        let pixels = self.subject.images.gather(&held_out);
        let mut all = Vec::new();
        for arm in &self.arms {
            let answers = lab_kit::train::argmax(&arm.network.logits(&pixels), self.subject.images.class_count());
            let (accuracy, interval) = self.subject.accuracy_on(&held_out, &answers, 0.95);
            all.push(Judged { loss: arm.network.judge(&pixels, &labels).0, accuracy, interval });
            cx.checkpoint().await?;
        }
        Ok(all)
    }
}

/// Operations of a training step: two for each weight and image forward, two for its gradient, and two for that of what it
/// read, which the first layer spares.
pub(super) fn operations(start: &MlpWeights) -> f64 {
    let first = start.layers.first().map_or(0, |layer| layer.weight.len());
    let all: usize = start.layers.iter().map(|layer| layer.weight.len()).sum();
    (2 * BATCH * (3 * all - first)) as f64
}

/// Bytes of a weight in training with Adam: what is kept of it, its gradient, and two moments in FP32.
pub(super) fn adam_bytes(policy: &Policy) -> f64 {
    let (weight, gradient) = (policy.weights.bits() / 8.0, policy.gradients.bits() / 8.0);
    let kept = match policy.keep {
        Keep::Master if policy.weights != Format::Fp32 => weight + 4.0,
        Keep::Kahan if policy.weights != Format::Fp32 => 2.0 * weight,
        _ => weight,
    };
    kept + gradient + 8.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_a_weight() {
        let bytes = |format, weights| adam_bytes(&Params { format, weights, ..Params::default() }.policy());
        assert_eq!(adam_bytes(&Policy::FP32), 16.0);
        assert_eq!(bytes(Numbers::Fp16, Keeping::Master), 16.0);
        assert_eq!(bytes(Numbers::Bf16, Keeping::Rounded), 12.0);
        assert_eq!(bytes(Numbers::Bf16, Keeping::Stochastic), 12.0);
        assert_eq!(bytes(Numbers::Bf16, Keeping::Kahan), 14.0);
        assert_eq!(bytes(Numbers::Fp32, Keeping::Master), 16.0);
        assert_eq!(bytes(Numbers::Nvfp4, Keeping::Master), 4.0 + 2.0 * 0.5625 + 8.0);
    }

    #[test]
    fn the_choice_stands_beside_fp32_whatever_is_compared() {
        for compare in [Compare::Weights, Compare::Rates, Compare::Scales, Compare::Formats] {
            for weights in [Keeping::Master, Keeping::Rounded, Keeping::Stochastic, Keeping::Kahan] {
                let params = Params { compare, weights, ..Params::default() };
                let (arms, chosen) = plan(&params);
                assert_eq!(arms[0].1, Policy::FP32);
                assert_eq!((arms[chosen].1, arms[chosen].2), (params.policy(), params.learning_rate));
            }
        }
    }
}
