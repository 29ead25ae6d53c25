//! A language model of two tokens: both embeddings through a hidden layer to the logits of the next one (after Bengio et al.,
//! 2003), on plain slices, forward and backward by hand.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{Part, Role};
use lab_kernels::product::{View, product};

/// Its widths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pairs {
    /// Tokens that there are.
    pub vocabulary: usize,
    /// Numbers of an embedding.
    pub embedding: usize,
    /// Hidden units.
    pub hidden: usize,
}

impl Pairs {
    /// Its tensors, in the order in which weights and gradients lie.
    #[must_use]
    pub fn parts(&self) -> [Part; 5] {
        let Self { vocabulary, embedding, hidden } = *self;
        let part = |rows, columns, role| Part { rows, columns, role };
        [
            part(vocabulary, embedding, Role::Edge),
            part(hidden, 2 * embedding, Role::Hidden),
            part(hidden, 1, Role::Vector),
            part(vocabulary, hidden, Role::Edge),
            part(vocabulary, 1, Role::Vector),
        ]
    }

    /// Where each tensor begins, and the end of all.
    fn starts(&self) -> [usize; 6] {
        let mut starts = [0; 6];
        for (i, part) in self.parts().iter().enumerate() {
            starts[i + 1] = starts[i] + part.len();
        }
        starts
    }

    /// Numbers that are trained.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.starts()[5]
    }

    /// Fresh weights: embeddings of a tenth, matrices that keep the size of what passes, no biases.
    #[must_use]
    pub fn init(&self, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let mut weights = Vec::with_capacity(self.parameters());
        for (i, part) in self.parts().iter().enumerate() {
            let bound = match (i, part.role) {
                (_, Role::Vector) => 0.0,
                (0, _) => 0.3,
                (_, Role::Hidden) => (6.0 / part.columns as f32).sqrt(),
                _ => (1.0 / part.columns as f32).sqrt(),
            };
            weights.extend((0..part.len()).map(|_| if bound > 0.0 { rng.random_range(-bound..bound) } else { 0.0 }));
        }
        weights
    }

    /// Inputs `[examples, 2 embedding]`, hidden units `[examples, hidden]` and logits `[examples, vocabulary]`.
    fn forward(&self, weights: &[f32], before: &[[u32; 2]]) -> [Vec<f32>; 3] {
        let (at, e, h, v) = (self.starts(), self.embedding, self.hidden, self.vocabulary);
        let row = |token: &u32| &weights[*token as usize % v * e..][..e];
        let x: Vec<f32> = before.iter().flatten().flat_map(row).copied().collect();
        let layer = |x: &[f32], inputs: usize, outputs: usize, matrix: usize, bias: usize| {
            let matrix = View::new(&weights[matrix..], outputs, inputs);
            let mut y = product(View::new(x, before.len(), inputs), matrix.transposed());
            for row in y.chunks_exact_mut(outputs) {
                row.iter_mut().zip(&weights[bias..]).for_each(|(y, b)| *y += b);
            }
            y
        };
        let mut hidden = layer(&x, 2 * e, h, at[1], at[2]);
        hidden.iter_mut().for_each(|y| *y = y.max(0.0));
        let logits = layer(&hidden, h, v, at[3], at[4]);
        [x, hidden, logits]
    }

    /// `-ln p` of each next token.
    #[must_use]
    pub fn losses(&self, weights: &[f32], before: &[[u32; 2]], next: &[u32]) -> Vec<f64> {
        let [_, _, mut logits] = self.forward(weights, before);
        softmax(&mut logits, next, self.vocabulary)
    }

    /// A next token for each pair, drawn from what the model itself expects.
    #[must_use]
    pub fn drawn(&self, weights: &[f32], before: &[[u32; 2]], rng: &mut ChaCha8Rng) -> Vec<u32> {
        let [_, _, logits] = self.forward(weights, before);
        logits.chunks_exact(self.vocabulary).map(|row| draw(row, rng) as u32).collect()
    }

    // ANCHOR: pass
    /// Mean loss over the examples, and its gradient.
    #[must_use]
    pub fn pass(&self, weights: &[f32], before: &[[u32; 2]], next: &[u32]) -> (f64, Vec<f32>) {
        let (at, e, h, v, n) = (self.starts(), self.embedding, self.hidden, self.vocabulary, before.len());
        let [x, hidden, mut delta] = self.forward(weights, before);
        let share = 1.0 / n.max(1) as f32;
        let loss = f64::from(share) * softmax(&mut delta, next, v).iter().sum::<f64>();
        delta.iter_mut().for_each(|d| *d *= share);
        let mut gradient = vec![0.0; weights.len()];
        let mut layer = |delta: &[f32], input: &[f32], inputs: usize, outputs: usize, matrix: usize, bias: usize| {
            let view = View::new(delta, n, outputs);
            gradient[matrix..matrix + inputs * outputs]
                .copy_from_slice(&product(view.transposed(), View::new(input, n, inputs)));
            for row in delta.chunks_exact(outputs) {
                gradient[bias..].iter_mut().zip(row).for_each(|(b, d)| *b += d);
            }
            product(view, View::new(&weights[matrix..], outputs, inputs))
        };
        let mut back = layer(&delta, &hidden, h, v, at[3], at[4]);
        back.iter_mut().zip(&hidden).for_each(|(d, y)| *d = if *y > 0.0 { *d } else { 0.0 });
        let back = layer(&back, &x, 2 * e, h, at[1], at[2]);
        for (token, d) in before.iter().flatten().zip(back.chunks_exact(e)) {
            gradient[*token as usize % v * e..].iter_mut().zip(d).for_each(|(g, d)| *g += d);
        }
        (loss, gradient)
    }
    // ANCHOR_END: pass
}

/// An index, drawn by the softmax of its logit.
#[must_use]
pub fn draw(logits: &[f32], rng: &mut ChaCha8Rng) -> usize {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|y| (y - largest).exp()).sum();
    let mut left = rng.random_range(0.0..1.0) * sum;
    for (i, y) in logits.iter().enumerate() {
        left -= (y - largest).exp();
        if left <= 0.0 {
            return i;
        }
    }
    logits.len().saturating_sub(1)
}

/// Loss of each row of logits, which become its gradient.
fn softmax(logits: &mut [f32], next: &[u32], classes: usize) -> Vec<f64> {
    let row = |(row, next): (&mut [f32], &u32)| {
        let right = *next as usize % classes;
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let own = row[right] - largest;
        row.iter_mut().for_each(|y| *y = exp(*y - largest));
        let sum: f32 = row.iter().sum();
        let by = sum.recip();
        row.iter_mut().for_each(|y| *y *= by);
        row[right] -= 1.0;
        f64::from(sum.ln() - own)
    };
    logits.chunks_exact_mut(classes.max(1)).zip(next).map(row).collect()
}

/// `e^x` for `x` of at most 0, to six digits, in operations that the compiler turns into vectors (Cephes' polynomial).
fn exp(x: f32) -> f32 {
    let x = x.max(-87.0);
    let whole = (x * std::f32::consts::LOG2_E + 0.5).floor();
    let r = x - whole * 0.693_359_4 + whole * 2.121_944_4e-4;
    let p = ((((1.987_569_1e-4 * r + 1.398_199_9e-3) * r + 8.333_452e-3) * r + 4.166_579_6e-2) * r + 0.166_666_65) * r
        + 0.5;
    let two = f32::from_bits(((whole as i32 + 127) as u32) << 23);
    (p * r * r + r + 1.0) * two
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Pairs = Pairs { vocabulary: 13, embedding: 3, hidden: 5 };

    #[test]
    fn the_exponential_is_right_to_six_digits() {
        for i in 0..2000 {
            let x = -0.04 * i as f32;
            let right = f64::from(x).exp();
            assert!((f64::from(exp(x)) / right - 1.0).abs() < 1e-6, "{x}: {} {right}", exp(x));
        }
    }

    #[test]
    fn the_gradient_agrees_with_differences() {
        let mut rng = lab_kernels::rng(0, "pairs");
        let weights: Vec<f32> = SMALL.init(&mut rng).iter().map(|w| w + rng.random_range(-0.2..0.2)).collect();
        assert_eq!(weights.len(), 13 * 3 + 5 * 6 + 5 + 13 * 5 + 13);
        let before: Vec<[u32; 2]> = (0..9).map(|_| [rng.random_range(0..13), rng.random_range(0..13)]).collect();
        let next: Vec<u32> = (0..9).map(|_| rng.random_range(0..13)).collect();
        let (loss, gradient) = SMALL.pass(&weights, &before, &next);
        let losses = SMALL.losses(&weights, &before, &next);
        assert!((loss - losses.iter().sum::<f64>() / 9.0).abs() < 1e-6);
        for i in 0..weights.len() {
            let at = |by: f32| {
                let mut moved = weights.clone();
                moved[i] += by;
                SMALL.losses(&moved, &before, &next).iter().sum::<f64>() / 9.0
            };
            let slope = (at(2e-3) - at(-2e-3)) / 4e-3;
            assert!((slope - f64::from(gradient[i])).abs() < 1e-3, "{i}: {slope} {}", gradient[i]);
        }
    }

    #[test]
    fn draws_follow_the_logits() {
        let mut rng = lab_kernels::rng(1, "draws");
        let logits = [0.0, 3.0_f32.ln(), f32::NEG_INFINITY];
        let mut counts = [0; 3];
        (0..4000).for_each(|_| counts[draw(&logits, &mut rng)] += 1);
        assert!((2850..3150).contains(&counts[1]) && counts[2] == 0, "{counts:?}");
    }
}
