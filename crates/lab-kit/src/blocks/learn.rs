//! Learning: first weights, a step, and what a finished network answers.

use lab_layers::blocks::{Maps, Network, Op, Trace, fold};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::accumulate::{Optimizer, Rule};

/// Images that a network answers at a time.
const CHUNK: usize = 64;

/// First weights of these layers: kernels from a uniform distribution whose variance is two over the numbers that an output
/// adds up (He et al., 2015, arXiv:1502.01852), scales one, shifts and biases zero, gates nearly open.
#[must_use]
pub fn start(ops: &[Op], rng: &mut ChaCha8Rng) -> Vec<f32> {
    let mut weights = Vec::new();
    fill(ops, rng, &mut weights);
    weights
}

fn fill(ops: &[Op], rng: &mut ChaCha8Rng, weights: &mut Vec<f32>) {
    for op in ops {
        let mut draw = |count: usize, variance: f32| {
            let end = (3.0 * variance).sqrt();
            weights.extend((0..count).map(|_| rng.random_range(-end..end)));
        };
        match op {
            Op::Conv(conv) => {
                let inputs = (conv.kernel_len() / conv.outputs.max(1)).max(1) as f32;
                draw(conv.kernel_len(), if conv.bias { 1.0 } else { 2.0 } / inputs);
                weights.resize(weights.len() + conv.weights() - conv.kernel_len(), 0.0);
            }
            Op::Norm(norm) => {
                weights.resize(weights.len() + norm.channels, 1.0);
                weights.resize(weights.len() + norm.channels, 0.0);
            }
            Op::Excite(excite) => {
                draw(excite.channels * excite.inner, 2.0 / excite.channels as f32);
                weights.resize(weights.len() + excite.inner, 0.0);
                let mut draw = |count: usize| weights.extend((0..count).map(|_| rng.random_range(-0.1..0.1_f32)));
                draw(excite.channels * excite.inner);
                weights.resize(weights.len() + excite.channels, 1.0);
            }
            Op::Shuffle(_) | Op::Mean => {}
            Op::Skip(ops) => fill(ops, rng, weights),
            Op::Join(one, other) => {
                fill(one, rng, weights);
                fill(other, rng, weights);
            }
        }
    }
}

/// A network that learns, with Adam.
#[derive(Debug, Clone)]
pub struct Learner {
    network: Network,
    optimizer: Optimizer,
    side: usize,
}

impl Learner {
    /// One that knows nothing yet, for images of `side` × `side`.
    #[must_use]
    pub fn new(ops: Vec<Op>, side: usize, rng: &mut ChaCha8Rng) -> Self {
        let weights = start(&ops, rng);
        let optimizer = Optimizer::new(Rule::ADAM, weights.len());
        Self { network: Network::new(ops, weights), optimizer, side }
    }

    // ANCHOR: step
    /// One step on images `[labels.len(), side * side]`; the loss before it, in nats.
    pub fn step(&mut self, pixels: Vec<f32>, labels: &[u8], rate: f64) -> f64 {
        let mut trace = Trace::default();
        let logits = self.network.run(maps(pixels, labels.len(), self.side), Some(&mut trace));
        let (loss, dy) = loss(logits, labels);
        let gradient = self.network.gradient(trace, dy);
        self.optimizer.step(&mut self.network.weights, &gradient, rate);
        self.network.repack();
        loss
    }
    // ANCHOR_END: step

    /// The network for use, its normalizations fixed to the statistics of these images and folded into the kernels.
    #[must_use]
    pub fn finish(&self, pixels: Vec<f32>) -> Network {
        let count = pixels.len() / (self.side * self.side).max(1);
        let mut trace = Trace::default();
        let _ = self.network.run(maps(pixels, count, self.side), Some(&mut trace));
        fold(&self.network, &trace.moments)
    }
}

fn maps(data: Vec<f32>, batch: usize, side: usize) -> Maps {
    Maps { data, batch, height: side, width: side, channels: 1 }
}

/// Mean cross-entropy in nats, and its gradient.
fn loss(mut logits: Maps, labels: &[u8]) -> (f64, Maps) {
    let mut nats = 0.0;
    let count = labels.len().max(1) as f32;
    for (row, label) in logits.data.chunks_exact_mut(logits.channels.max(1)).zip(labels) {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let right = row.get(usize::from(*label)).map_or(f32::NAN, |right| right - largest);
        row.iter_mut().for_each(|x| *x = (*x - largest).exp());
        let sum: f32 = row.iter().sum();
        nats += f64::from(sum.ln() - right);
        row.iter_mut().for_each(|x| *x /= sum * count);
        if let Some(right) = row.get_mut(usize::from(*label)) {
            *right -= 1.0 / count;
        }
    }
    (nats / f64::from(count), logits)
}

/// The class that a network finds most probable, for each image `[side * side]`.
#[must_use]
pub fn answers(network: &Network, pixels: &[f32], side: usize) -> Vec<u8> {
    let mut all = Vec::new();
    for some in pixels.chunks(CHUNK * (side * side).max(1)) {
        let logits = network.run(maps(some.to_vec(), some.len() / (side * side).max(1), side), None);
        all.extend(crate::train::argmax(&logits.data, logits.channels));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Family, Options, Shape},
        *,
    };

    #[test]
    fn every_family_learns_a_simple_rule_and_its_folded_form_knows_it() {
        // Four classes: which quarter of the image is bright.
        let mut rng = crate::rng(0, "images");
        let mut draw = |count: usize| {
            let labels: Vec<u8> = (0..count).map(|i| (i % 4) as u8).collect();
            let mut pixels = Vec::new();
            for label in &labels {
                for place in 0..256 {
                    let quarter = u8::from(place / 16 >= 8) * 2 + u8::from(place % 16 >= 8);
                    pixels.push(rng.random_range(0.0..1.0_f32) + f32::from(u8::from(quarter == *label)));
                }
            }
            (pixels, labels)
        };
        let (unseen, truth) = draw(80);
        for family in Family::ALL {
            for excite in [false, true] {
                let shape = Shape::new(family, 16, Options { excite, ..Options::default() });
                let mut learner = Learner::new(shape.ops(4), 16, &mut crate::rng(0, "start"));
                let mut losses = Vec::new();
                for _ in 0..40 {
                    let (pixels, labels) = draw(16);
                    losses.push(learner.step(pixels, &labels, 0.02));
                }
                let folded = learner.finish(draw(64).0);
                let right = answers(&folded, &unseen, 16).iter().zip(&truth).filter(|(a, b)| a == b).count();
                assert!(losses[39] < 0.6 * losses[0], "{family:?} {excite} {losses:?}");
                assert!(right > 50, "{family:?} {excite}: {right} of 80");
            }
        }
    }
}
