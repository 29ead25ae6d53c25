//! A multilayer perceptron whose every tensor is kept in a format of choice: forward pass, gradients and update by hand, so that
//! each of them can be rounded. Products add up in FP32, as the matrix units of processors do it.

use super::{
    Action, Format, Keep, Scaler, Stored,
    updates::{kahan, random_bits, round_at_random},
};
use crate::{measure::roofs::columns, mlp::MlpWeights, mlp::transpose};

/// Examples that are computed with together; the others lie in storage.
const TILE: usize = 64;
/// Share of the velocity that a step keeps.
const MOMENTUM: f32 = 0.9;

/// What becomes of the loss before the backward pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scaling {
    /// It is multiplied by this; gradients are never looked at.
    Fixed(f32),
    /// A [`Scaler`] decides.
    Dynamic(Scaler),
}

/// Whether a long gradient is shortened to a norm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Clip {
    /// No.
    Never,
    /// Once the scale is divided out.
    Unscaled(f32),
    /// Before: the mistake that training scripts make.
    Scaled(f32),
}

/// Which tensors are kept how.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// Weights that multiply.
    pub weights: Format,
    /// What layers put out.
    pub activations: Format,
    /// Gradients by activations and by weights.
    pub gradients: Format,
    /// Weights between steps.
    pub keep: Keep,
    /// The loss.
    pub scaling: Scaling,
    /// The gradient.
    pub clip: Clip,
}

impl Policy {
    /// Everything in singles.
    pub const FP32: Self = Self {
        weights: Format::Fp32,
        activations: Format::Fp32,
        gradients: Format::Fp32,
        keep: Keep::Rounded,
        scaling: Scaling::Fixed(1.0),
        clip: Clip::Never,
    };
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Step {
    /// Mean cross-entropy of the batch before the update, in nats.
    pub loss: f64,
    /// The gradients were not finite, and nothing was changed.
    pub skipped: bool,
    /// Factor of the loss.
    pub scale: f32,
    /// Of the gradients by logits that are not zero, the share that storing made zero.
    pub lost_logits: f64,
    /// The same of the gradients by weights.
    pub lost_weights: f64,
    /// Share of the weights that an update was meant for and that stayed as they were.
    pub still: f64,
}

/// Numbers that became zero, of how many.
#[derive(Clone, Copy, Default)]
struct Count {
    lost: usize,
    of: usize,
}

impl Count {
    fn add(&mut self, before: &[f32], after: &Stored, at: usize) {
        let mut kept = vec![0.0; before.len()];
        after.read(at, &mut kept);
        self.of += before.iter().filter(|x| **x != 0.0).count();
        self.lost += before.iter().zip(&kept).filter(|(x, kept)| **x != 0.0 && **kept == 0.0).count();
    }

    fn share(self) -> f64 {
        self.lost as f64 / self.of.max(1) as f64
    }
}

/// Weight `[outputs, inputs]`, then bias `[outputs]`.
#[derive(Debug, Clone)]
struct Layer {
    inputs: usize,
    outputs: usize,
    /// FP32, where they are kept so.
    master: Vec<f32>,
    /// What multiplies.
    weights: Stored,
    /// What rounding lost, where it is kept.
    lost: Option<Stored>,
    velocity: Vec<f32>,
}

/// The network and its optimizer, stochastic gradient descent with momentum.
#[derive(Debug, Clone)]
pub struct Network {
    policy: Policy,
    layers: Vec<Layer>,
    steps: u32,
}

impl Network {
    /// Starts from these weights.
    #[must_use]
    pub fn new(start: &MlpWeights, policy: Policy) -> Self {
        let layer = |dense: &crate::mlp::Dense| {
            let values = [&dense.weight[..], &dense.bias[..]].concat();
            let weights = Stored::of(policy.weights, &values);
            let lost = (policy.keep == Keep::Kahan).then(|| Stored::zeros(policy.weights, values.len()));
            let velocity = vec![0.0; values.len()];
            let master = if policy.keep == Keep::Master { values } else { Vec::new() };
            Layer { inputs: dense.inputs, outputs: dense.outputs, master, weights, lost, velocity }
        };
        Self { policy, layers: start.layers.iter().map(layer).collect(), steps: 0 }
    }

    /// The factor of the next loss.
    #[must_use]
    pub fn scale(&self) -> f32 {
        match self.policy.scaling {
            Scaling::Fixed(scale) => scale,
            Scaling::Dynamic(scaler) => scaler.scale(),
        }
    }

    /// The weights that multiply, layer by layer: weight, then bias.
    #[must_use]
    pub fn weights(&self) -> Vec<Vec<f32>> {
        self.layers.iter().map(|layer| layer.weights.values()).collect()
    }

    // ANCHOR: forward
    /// What each layer reads, and the logits: `[batch, width]` each, stored as the policy says.
    fn forward(&self, inputs: &[f32]) -> Vec<Stored> {
        let batch = inputs.len() / self.layers.first().map_or(1, |layer| layer.inputs.max(1));
        let mut all = vec![Stored::of(self.policy.activations, inputs)];
        for (number, layer) in self.layers.iter().enumerate() {
            let weights = layer.weights.values();
            let (matrix, bias) = weights.split_at(layer.inputs * layer.outputs);
            let mut out = Stored::zeros(self.policy.activations, batch * layer.outputs);
            for first in (0..batch).step_by(TILE) {
                let rows = TILE.min(batch - first);
                let (mut x, mut y) = (vec![0.0; rows * layer.inputs], vec![0.0; rows * layer.outputs]);
                all[number].read(first * layer.inputs, &mut x);
                columns(matrix, layer.inputs, &x, &mut y);
                for row in y.chunks_exact_mut(layer.outputs) {
                    row.iter_mut().zip(bias).for_each(|(y, bias)| *y += bias);
                }
                if number + 1 < self.layers.len() {
                    y.iter_mut().for_each(|y| *y = y.max(0.0));
                }
                out.write(first * layer.outputs, &y);
            }
            all.push(out);
        }
        all
    }
    // ANCHOR_END: forward

    /// Logits `[batch, classes]` of inputs `[batch, inputs]`.
    #[must_use]
    pub fn logits(&self, inputs: &[f32]) -> Vec<f32> {
        self.forward(inputs).pop().map_or_else(Vec::new, |logits| logits.values())
    }

    /// Mean cross-entropy in nats and how many answers are right.
    #[must_use]
    pub fn judge(&self, inputs: &[f32], labels: &[u8]) -> (f64, usize) {
        let logits = self.logits(inputs);
        let classes = logits.len() / labels.len().max(1);
        let (mut nats, mut right) = (0.0, 0);
        for (row, label) in logits.chunks_exact(classes.max(1)).zip(labels) {
            let target = usize::from(*label);
            nats += nats_of(row, target).0;
            right += usize::from(crate::train::argmax(row, classes).first() == Some(label));
        }
        (nats / labels.len().max(1) as f64, right)
    }

    /// Gradients of the mean loss times `scale`, layer by layer as [`weights`](Self::weights), as they are stored.
    fn gradients(&self, inputs: &[f32], labels: &[u8], scale: f32) -> (Vec<Stored>, Step) {
        let (format, batch) = (self.policy.gradients, labels.len());
        let mut read = self.forward(inputs);
        let logits = read.pop().map_or_else(Vec::new, |logits| logits.values());
        let classes = logits.len() / batch.max(1);
        let mut slope = vec![0.0; logits.len()];
        let mut step = Step { scale, ..Step::default() };
        // ANCHOR: scaled
        // Softmax and loss stay in FP32. The scale is a factor of the first gradient, and so of all that follow.
        let factor = scale / batch as f32;
        for ((row, slope), label) in logits.chunks_exact(classes).zip(slope.chunks_exact_mut(classes)).zip(labels) {
            let (nats, shares) = nats_of(row, usize::from(*label));
            step.loss += nats / batch as f64;
            slope.iter_mut().zip(shares).for_each(|(slope, share)| *slope = factor * share);
            slope[usize::from(*label)] -= factor;
        }
        // ANCHOR_END: scaled
        let mut delta = Stored::of(format, &slope);
        let mut count = Count::default();
        count.add(&slope, &delta, 0);
        step.lost_logits = count.share();
        drop((slope, logits));

        let mut count = Count::default();
        let mut all = Vec::new();
        for (number, layer) in self.layers.iter().enumerate().rev() {
            let (n, m) = (layer.inputs, layer.outputs);
            let mut gradient = vec![0.0; n * m + m];
            let turned = if number > 0 { transpose(&layer.weights.values()[..n * m], m, n) } else { Vec::new() };
            let mut before = Stored::zeros(format, if number > 0 { batch * n } else { 0 });
            let mut product = vec![0.0; n * m];
            for first in (0..batch).step_by(TILE) {
                let rows = TILE.min(batch - first);
                let (mut x, mut d) = (vec![0.0; rows * n], vec![0.0; rows * m]);
                read[number].read(first * n, &mut x);
                delta.read(first * m, &mut d);
                let turned_delta = transpose(&d, rows, m);
                columns(&transpose(&x, rows, n), rows, &turned_delta, &mut product);
                gradient.iter_mut().zip(&product).for_each(|(sum, product)| *sum += product);
                for (sum, row) in gradient[n * m..].iter_mut().zip(turned_delta.chunks_exact(rows)) {
                    *sum += row.iter().sum::<f32>();
                }
                if number > 0 {
                    let mut back = vec![0.0; rows * n];
                    columns(&turned, m, &d, &mut back);
                    // ReLU lets through what it let through on the way forward.
                    back.iter_mut().zip(&x).for_each(|(back, x)| *back = if *x > 0.0 { *back } else { 0.0 });
                    before.write(first * n, &back);
                }
            }
            read.truncate(number);
            let stored = Stored::of(format, &gradient);
            count.add(&gradient, &stored, 0);
            all.push(stored);
            delta = before;
        }
        step.lost_weights = count.share();
        all.reverse();
        (all, step)
    }

    // ANCHOR: step
    /// One step on a batch.
    pub fn step(&mut self, inputs: &[f32], labels: &[u8], rate: f32) -> Step {
        let (gradients, mut step) = self.gradients(inputs, labels, self.scale());
        let (mut squares, mut divisor) = (0.0, step.scale);
        for gradient in &gradients {
            squares += gradient.values().iter().map(|g| f64::from(*g).powi(2)).sum::<f64>();
        }
        if let Scaling::Dynamic(scaler) = &mut self.policy.scaling {
            match scaler.update(squares.is_finite()) {
                Action::Take { unscale_by } => divisor = unscale_by,
                Action::Skip => return Step { skipped: true, ..step },
            }
        }
        let norm = squares.sqrt() as f32;
        let shorten = |norm: f32, most: f32| if norm > most { most / norm } else { 1.0 };
        let factor = match self.policy.clip {
            Clip::Never => 1.0,
            Clip::Unscaled(most) => shorten(norm / divisor, most),
            Clip::Scaled(most) => shorten(norm, most),
        } / divisor;
        let mut still = Count::default();
        for (number, (layer, gradient)) in self.layers.iter_mut().zip(&gradients).enumerate() {
            layer.update(
                gradient.values(),
                (rate, factor),
                &self.policy,
                self.steps ^ (number as u32) << 24,
                &mut still,
            );
        }
        self.steps += 1;
        step.still = still.share();
        step
    }
    // ANCHOR_END: step
}

impl Layer {
    fn update(
        &mut self,
        gradient: Vec<f32>,
        (rate, factor): (f32, f32),
        policy: &Policy,
        step: u32,
        still: &mut Count,
    ) {
        // Velocity and update are in FP32 in all policies.
        let mut update = gradient;
        for (velocity, update) in self.velocity.iter_mut().zip(&mut update) {
            *velocity = MOMENTUM * *velocity + factor * *update;
            *update = rate * *velocity;
        }
        let before = if policy.keep == Keep::Master { self.master.clone() } else { self.weights.values() };
        let mut after = before.clone();
        match (policy.keep, policy.weights.own_layout()) {
            (Keep::Stochastic, Some(layout)) => {
                for (place, (w, u)) in after.iter_mut().zip(&update).enumerate() {
                    *w = round_at_random(*w - u, &layout, random_bits(step, place as u32));
                }
            }
            (Keep::Kahan, Some(_)) => {
                if let Some(stored) = &mut self.lost {
                    let mut lost = stored.values();
                    for ((w, lost), u) in after.iter_mut().zip(&mut lost).zip(&update) {
                        kahan(policy.weights, w, lost, *u);
                    }
                    stored.write(0, &lost);
                }
            }
            _ => after.iter_mut().zip(&update).for_each(|(w, u)| *w -= u),
        }
        self.weights.write(0, &after);
        if policy.keep == Keep::Master {
            self.master.copy_from_slice(&after);
        } else {
            self.weights.read(0, &mut after);
        }
        still.of += update.iter().filter(|u| **u != 0.0).count();
        still.lost += (0..update.len()).filter(|i| update[*i] != 0.0 && before[*i] == after[*i]).count();
    }
}

/// Cross-entropy of a row of logits in nats, and the softmax.
fn nats_of(row: &[f32], target: usize) -> (f64, Vec<f32>) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut shares: Vec<f32> = row.iter().map(|logit| (logit - largest).exp()).collect();
    let sum: f32 = shares.iter().sum();
    shares.iter_mut().for_each(|share| *share /= sum);
    let nats = f64::from(sum.ln() + largest - row.get(target).copied().unwrap_or(f32::NAN));
    // A maximum passes over what is no number.
    (if row.iter().all(|logit| logit.is_finite()) { nats } else { f64::NAN }, shares)
}

#[cfg(test)]
mod tests {
    use burn::{
        optim::GradientsParams,
        tensor::{Device, Int, Tensor, TensorData},
    };
    use rand::Rng;

    use super::*;
    use crate::{
        mlp::{Mlp, read},
        ops::cross_entropy,
        testing::ready,
    };

    const WIDTHS: [usize; 4] = [7, 12, 9, 4];

    fn start() -> MlpWeights {
        MlpWeights::init(&WIDTHS, &mut crate::rng(0, "weights"))
    }

    /// Examples with a rule: the class is the place of the largest of the first four numbers.
    fn examples(count: usize) -> (Vec<f32>, Vec<u8>) {
        let mut rng = crate::rng(1, "examples");
        let inputs: Vec<f32> = (0..7 * count).map(|_| rng.random_range(0.0..1.0)).collect();
        let class = |row: &[f32]| crate::train::argmax(&row[..4], 4)[0];
        let labels = inputs.chunks_exact(7).map(class).collect();
        (inputs, labels)
    }

    fn train(policy: Policy, steps: usize, rate: f32) -> (Network, Vec<Step>) {
        let mut network = Network::new(&start(), policy);
        let (inputs, labels) = examples(320);
        let steps = (0..steps)
            .map(|step| {
                let first = 32 * (step % 10);
                network.step(&inputs[7 * first..7 * (first + 32)], &labels[first..first + 32], rate)
            })
            .collect();
        (network, steps)
    }

    fn bf16(keep: Keep) -> Policy {
        Policy { weights: Format::Bf16, activations: Format::Bf16, gradients: Format::Bf16, keep, ..Policy::FP32 }
    }

    #[test]
    fn gradients_are_those_of_another_library() {
        let device = Device::flex().autodiff();
        // More examples than a tile, and no multiple of it.
        let (inputs, labels) = examples(150);
        let network = Network::new(&start(), Policy::FP32);
        let (own, step) = network.gradients(&inputs, &labels, 1.0);
        let model = Mlp::new(&start(), &device);
        let x = Tensor::<2>::from_data(TensorData::new(inputs, [150, 7]), &device);
        let y: Vec<i32> = labels.iter().map(|label| i32::from(*label)).collect();
        let loss = cross_entropy(model.forward(x), Tensor::<1, Int>::from_data(TensorData::new(y, [150]), &device));
        let value = ready(read(loss.clone().inner())).expect("reads")[0];
        assert!((f64::from(value) - step.loss).abs() < 1e-5);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        for (layer, own) in model.layers().iter().zip(&own) {
            let [n, m] = layer.weight.dims();
            let weight = gradients.get::<2>(layer.weight.id).expect("learns");
            let bias = gradients.get::<1>(layer.bias.as_ref().expect("has one").id).expect("learns");
            let weight = transpose(&ready(read(weight)).expect("reads"), n, m);
            let other = [weight, ready(read(bias)).expect("reads")].concat();
            for (a, b) in own.values().iter().zip(&other) {
                assert!((a - b).abs() < 1e-6, "{a} {b}");
            }
        }
    }

    #[test]
    fn a_scale_that_is_a_power_of_two_changes_nothing_and_neither_does_a_copy() {
        let plain = train(Policy::FP32, 40, 0.1).0.weights();
        let same = |policy: Policy| assert_eq!(train(policy, 40, 0.1).0.weights(), plain, "{policy:?}");
        same(Policy { scaling: Scaling::Fixed(1024.0), ..Policy::FP32 });
        same(Policy { keep: Keep::Master, ..Policy::FP32 });
        same(Policy { keep: Keep::Stochastic, ..Policy::FP32 });
        same(Policy { clip: Clip::Unscaled(1e9), scaling: Scaling::Dynamic(Scaler::new(8.0, 7)), ..Policy::FP32 });
    }

    #[test]
    fn small_steps_are_lost_without_a_master_copy_and_not_at_random() {
        let loss = |policy| {
            let steps = train(policy, 400, 0.002).1;
            steps[360..].iter().map(|step| step.loss).sum::<f64>() / 40.0
        };
        let full = loss(Policy::FP32);
        let (master, nearest) = (loss(bf16(Keep::Master)), loss(bf16(Keep::Rounded)));
        let (random, compensated) = (loss(bf16(Keep::Stochastic)), loss(bf16(Keep::Kahan)));
        assert!(nearest > full + 0.05, "{full} {nearest}");
        for other in [master, random, compensated] {
            assert!((other - full).abs() < 0.2 * (nearest - full), "{full} {other} {nearest}");
        }
        let still = |policy| train(policy, 50, 0.002).1[49].still;
        assert!(still(Policy::FP32) < 0.05 && still(bf16(Keep::Rounded)) > 0.3);
    }

    #[test]
    fn a_step_that_overflows_is_skipped_and_changes_nothing() {
        let scaling = Scaling::Dynamic(Scaler::new(2_f32.powi(30), 1000));
        let half = Policy { gradients: Format::Fp16, scaling, ..Policy::FP32 };
        let mut network = Network::new(&start(), half);
        let (inputs, labels) = examples(32);
        let before = (network.weights(), network.layers[0].velocity.clone(), network.steps);
        assert!(network.step(&inputs, &labels, 0.1).skipped);
        assert_eq!((network.weights(), network.layers[0].velocity.clone(), network.steps), before);
        assert_eq!(network.scale(), 2_f32.powi(29));
        // Without anybody who looks, one such step is the end.
        let (_, steps) = train(Policy { scaling: Scaling::Fixed(2_f32.powi(30)), ..half }, 3, 0.1);
        assert!(steps[0].loss.is_finite() && steps[2].loss.is_nan());
    }

    #[test]
    fn clipping_before_unscaling_stops_the_training() {
        let clipped = |clip| {
            let scaling = Scaling::Fixed(65_536.0);
            train(Policy { scaling, clip, ..Policy::FP32 }, 100, 0.1).1[99].loss
        };
        assert!(clipped(Clip::Unscaled(1.0)) < clipped(Clip::Scaled(1.0)) - 0.3);
    }

    #[test]
    fn gradients_fall_out_of_a_narrow_format_and_a_scale_brings_them_back() {
        let lost = |scale: f32| {
            let policy = Policy { gradients: Format::E4m3, scaling: Scaling::Fixed(scale), ..Policy::FP32 };
            let steps = train(policy, 200, 0.1).1;
            (steps[199].lost_logits, steps[199].lost_weights)
        };
        let (plain, scaled) = (lost(1.0), lost(1024.0));
        assert!(plain.0 > scaled.0 + 0.2 && plain.1 > scaled.1, "{plain:?} {scaled:?}");
    }
}
