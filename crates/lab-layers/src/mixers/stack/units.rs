//! A stack taken apart: the embedding, each layer and the head compute with their own weights alone, so that a worker may hold one of
//! them at a time, or send a gradient away before the next one is computed.

use super::{Kept, Stack, add, exponentials, norm, norm_backward};
use lab_kernels::product::{View, product};

/// What a layer keeps of its forward pass for its way back.
pub struct Trail {
    kept: Kept,
    bytes: usize,
}

impl Trail {
    /// Bytes of the buffers.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What the head made of the stream: the loss, and what its way back needs.
pub struct Answers {
    /// Sum over all tokens, in nats.
    pub loss: f64,
    /// The stream after its last norm `[rows, C]`, and what it was multiplied by.
    seen: Vec<f32>,
    factors: Vec<f32>,
    /// Gradient of the sum with respect to the logits `[rows, outputs]`.
    slope: Vec<f32>,
}

impl Answers {
    /// Bytes of the buffers.
    #[must_use]
    pub fn bytes(&self) -> usize {
        4 * (self.seen.len() + self.factors.len() + self.slope.len())
    }
}

/// A stack, computed unit by unit.
#[derive(Debug, Clone)]
pub struct Units(pub Stack);

impl Units {
    /// Weights of each unit in the order of computing, as they lie one after the other in the vector of all: embedding, layers, head.
    #[must_use]
    pub fn sizes(&self) -> Vec<usize> {
        let mut sizes = vec![self.0.vocabulary * self.0.channels];
        sizes.extend(self.0.layers.iter().map(|mix| self.0.parts(*mix, 0).starts[6]));
        sizes.push(self.0.outputs * self.0.channels);
        sizes
    }

    /// The stream `[rows, C]` of tokens, from the embedding's weights.
    #[must_use]
    pub fn enter(&self, weights: &[f32], tokens: &[usize]) -> Vec<f32> {
        let c = self.0.channels;
        tokens.iter().flat_map(|token| weights[token * c..(token + 1) * c].iter().copied()).collect()
    }

    /// Adds the gradient of the embedding to `gradient`, from that of the stream.
    pub fn enter_backward(&self, tokens: &[usize], dx: &[f32], gradient: &mut [f32]) {
        let c = self.0.channels;
        for (token, d) in tokens.iter().zip(dx.chunks_exact(c)) {
            add(&mut gradient[token * c..(token + 1) * c], 1.0, d);
        }
    }

    /// Layer `layer` with its own weights, in place on the stream of examples of `t` tokens.
    #[must_use]
    pub fn layer_forward(&self, layer: usize, weights: &[f32], x: &mut [f32], t: usize) -> Trail {
        let mix = self.0.layers[layer];
        let kept = self.0.layer(mix, self.0.parts(mix, 0), weights, x, t);
        let buffers = [
            &kept.u,
            &kept.sizes,
            &kept.projected,
            &kept.local,
            &kept.sigmoid,
            &kept.z,
            &kept.delta,
            &kept.keep,
            &kept.kernel,
            &kept.y,
        ];
        // The mixer's own: queries, keys, values, outputs, and a table of weights where there is one.
        let rows = x.len() / self.0.channels;
        let mixed = rows * (self.0.wide(mix) + self.0.channels + if mix == super::Mix::Invariant { 1 } else { t });
        let bytes = 4 * (buffers.iter().map(|buffer| buffer.len()).sum::<usize>() + mixed);
        Trail { kept, bytes }
    }

    /// Turns the gradient `dx` of a layer's output into that of its input; `gradient` is the layer's own, and zero before.
    pub fn layer_backward(
        &self,
        (layer, trail): (usize, &Trail),
        weights: &[f32],
        dx: &mut [f32],
        gradient: &mut [f32],
        t: usize,
    ) {
        let mix = self.0.layers[layer];
        self.0.layer_backward((mix, self.0.parts(mix, 0), &trail.kept), weights, dx, gradient, t);
    }

    /// The loss of the stream, where `targets` are the classes of all its rows.
    #[must_use]
    pub fn leave(&self, weights: &[f32], mut x: Vec<f32>, targets: &[usize]) -> Answers {
        let factors = norm(&mut x, self.0.channels);
        let out = View::new(weights, self.0.outputs, self.0.channels);
        let mut logits = product(View::new(&x, targets.len(), self.0.channels), out.transposed());
        let mut loss = 0.0;
        for (row, class) in logits.chunks_exact_mut(self.0.outputs).zip(targets) {
            let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            row.iter_mut().for_each(|l| *l -= most);
            exponentials(row);
            let sum: f32 = row.iter().sum();
            row.iter_mut().for_each(|p| *p /= sum);
            loss -= f64::from(row[*class].max(1e-30)).ln();
            row[*class] -= 1.0;
        }
        Answers { loss, seen: x, factors, slope: logits }
    }

    /// The gradient of the stream, that of the head in `gradient`: of the sum of losses times `share`.
    #[must_use]
    pub fn leave_backward(&self, weights: &[f32], mut answers: Answers, share: f32, gradient: &mut [f32]) -> Vec<f32> {
        let c = self.0.channels;
        let rows = answers.seen.len() / c;
        answers.slope.iter_mut().for_each(|d| *d *= share);
        let slope = View::new(&answers.slope, rows, self.0.outputs);
        let own = product(slope.transposed(), View::new(&answers.seen, rows, c));
        gradient[..own.len()].copy_from_slice(&own);
        let dx = product(slope, View::new(weights, self.0.outputs, c));
        norm_backward(&answers.seen, &answers.factors, &dx, c)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Mix, *};
    use crate::mixers::block::Batch;

    #[test]
    fn unit_by_unit_is_the_whole() {
        let layers = vec![Mix::Attention, Mix::Selective, Mix::Invariant, Mix::Attention];
        let stack = Stack { channels: 8, keys: 4, taps: 2, vocabulary: 11, outputs: 11, layers };
        let weights = stack.init(&mut lab_kernels::rng(1, "units"));
        let tokens: Vec<usize> = (0..24).map(|i| (7 * i + i * i) % 11).collect();
        let targets: Vec<usize> = (0..24).map(|i| (3 * i + 5) % 11).collect();
        let batch = Batch {
            tokens: tokens.clone(),
            targets: targets.iter().copied().enumerate().collect(),
            ..Batch::default()
        };
        let whole = stack.pass(&weights, &batch, 6, true);
        let units = Units(stack);
        let mut own = Vec::new();
        let mut rest = weights.as_slice();
        for size in units.sizes() {
            // As padded buffers hold them.
            let mut padded = rest[..size].to_vec();
            padded.extend([0.0; 3]);
            own.push(padded);
            rest = &rest[size..];
        }
        assert!(rest.is_empty());
        let last = own.len() - 1;
        let mut x = units.enter(&own[0], &tokens);
        let trails: Vec<Trail> = (1..last).map(|i| units.layer_forward(i - 1, &own[i], &mut x, 6)).collect();
        assert!(trails.iter().all(|trail| trail.bytes() > 24 * 8 * 4));
        let answers = units.leave(&own[last], x, &targets);
        assert!((answers.loss / 24.0 - whole.loss).abs() < 1e-9);
        let mut gradients: Vec<Vec<f32>> = own.iter().map(|unit| vec![0.0; unit.len()]).collect();
        let mut dx = units.leave_backward(&own[last], answers, 1.0 / 24.0, &mut gradients[last]);
        for i in (1..last).rev() {
            units.layer_backward((i - 1, &trails[i - 1]), &own[i], &mut dx, &mut gradients[i], 6);
        }
        units.enter_backward(&tokens, &dx, &mut gradients[0]);
        let joined: Vec<f32> =
            gradients.iter().zip(units.sizes()).flat_map(|(unit, size)| unit[..size].to_vec()).collect();
        assert!(gradients.iter().zip(units.sizes()).all(|(unit, size)| unit[size..] == [0.0; 3]));
        for (a, b) in joined.iter().zip(&whole.gradient) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
    }
}
