//! A task that asks for recall, and a small layer that is trained on it.

use lab_api::LabError;
use lab_layers::mixers::block::{Batch, Pass, Shape};
use rand::{Rng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::accumulate::{Optimizer, Rule, clip};

/// Associative recall with many pairs (MQAR, Arora et al., 2023, arXiv:2312.04927): pairs of a key and a value, then the same keys in
/// another order, and after each its value is to be said. Padding stands in front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recall {
    /// Tokens of an example.
    pub tokens: usize,
    /// How many pairs an example may hold: one of these, each as likely.
    pub pairs: Vec<usize>,
    /// Different keys, and as many values.
    pub kinds: usize,
}

impl Recall {
    /// Padding, keys, values.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        1 + 2 * self.kinds
    }

    /// The most pairs that fit.
    #[must_use]
    pub fn most_pairs(&self) -> usize {
        (self.tokens / 4).min(self.kinds)
    }

    // ANCHOR: recall
    /// So many examples, and how many pairs the example of each target holds.
    #[must_use]
    pub fn batch(&self, examples: usize, rng: &mut ChaCha8Rng) -> (Batch, Vec<usize>) {
        let (mut batch, mut held) = (Batch::default(), Vec::new());
        for example in 0..examples {
            let pairs = self.pairs[rng.random_range(0..self.pairs.len())].min(self.most_pairs());
            let mut keys: Vec<usize> = (0..self.kinds).collect();
            keys.shuffle(rng);
            let values: Vec<usize> = (0..pairs).map(|_| rng.random_range(0..self.kinds)).collect();
            let mut order: Vec<usize> = (0..pairs).collect();
            order.shuffle(rng);
            let first = self.tokens - 4 * pairs;
            batch.tokens.extend(std::iter::repeat_n(0, first));
            for i in (0..pairs).chain(order.iter().copied()) {
                batch.tokens.extend([1 + keys[i], 1 + self.kinds + values[i]]);
            }
            for (place, i) in order.iter().enumerate() {
                batch.targets.push((example * self.tokens + first + 2 * (pairs + place), values[*i]));
                held.push(pairs);
            }
        }
        (batch, held)
    }
    // ANCHOR_END: recall
}

/// A trained layer.
#[derive(Debug, Clone)]
pub struct Fitted {
    /// Its weights.
    pub weights: Vec<f32>,
    /// Loss of each step.
    pub losses: Vec<f64>,
}

/// Trains with Adam, the rate rising over 20 steps and then falling along a cosine, gradients clipped at 1. `draw` gives a batch,
/// `between` is asked after each step.
///
/// # Errors
/// What `between` returns.
pub async fn fit(
    shape: &Shape,
    how: (usize, f64),
    weights: Vec<f32>,
    mut draw: impl FnMut() -> Batch,
    between: impl AsyncFnMut(usize) -> Result<(), LabError>,
) -> Result<Fitted, LabError> {
    fit_by(how, weights, |weights| shape.pass(weights, &draw(), true), between).await
}

/// The same for whatever has a `pass`, which gives loss and gradient for weights.
///
/// # Errors
/// What `between` returns.
pub async fn fit_by(
    (steps, rate): (usize, f64),
    mut weights: Vec<f32>,
    mut pass: impl FnMut(&[f32]) -> Pass,
    mut between: impl AsyncFnMut(usize) -> Result<(), LabError>,
) -> Result<Fitted, LabError> {
    let mut optimizer = Optimizer::new(Rule::ADAM, weights.len());
    let mut losses = Vec::with_capacity(steps);
    for step in 0..steps {
        let mut now = pass(&weights);
        losses.push(now.loss);
        clip(&mut now.gradient, 1.0);
        let part = step as f64 / steps as f64;
        let rate = rate * ((step + 1) as f64 / 20.0).min(1.0) * 0.5 * (1.0 + (std::f64::consts::PI * part).cos());
        optimizer.step(&mut weights, &now.gradient, rate);
        between(step).await?;
    }
    Ok(Fitted { weights, losses })
}
