//! The twins that the rest of this folder is held against: the mean that is wrong, and a gradient in double precision from
//! loops that nothing was done to.

use super::Shape;

// ANCHOR: means
/// What many training loops computed until 2024: each piece's mean counts alike, however many tokens it is a mean over.
#[must_use]
pub fn mean_of_means(pieces: &[(Vec<f32>, usize)]) -> Option<Vec<f32>> {
    let mut sum = vec![0.0; pieces.first()?.0.len()];
    for (gradient, _) in pieces {
        for (sum, g) in sum.iter_mut().zip(gradient) {
            *sum += g / pieces.len() as f32;
        }
    }
    Some(sum)
}
// ANCHOR_END: means

/// Mean loss and its gradient for a network without normalization, in FP64, one example after the other; laid out as by
/// [`Shape::pass`].
#[must_use]
pub fn gradient_in_doubles(shape: &Shape, weights: &[f32], pixels: &[f32], labels: &[u8]) -> (f64, Vec<f64>) {
    let widths = shape.widths();
    let mut gradient = vec![0.0; weights.len()];
    let mut loss = 0.0;
    let share = 1.0 / labels.len().max(1) as f64;
    for (x, label) in pixels.chunks_exact(widths[0]).zip(labels) {
        let mut activations: Vec<Vec<f64>> = vec![x.iter().map(|x| f64::from(*x)).collect()];
        let mut at = 0;
        for (l, pair) in widths.windows(2).enumerate() {
            let (inputs, outputs) = (pair[0], pair[1]);
            let (matrix, rest) = weights[at..].split_at(inputs * outputs);
            let value = |o: usize| {
                let products = matrix[o * inputs..].iter().zip(&activations[l]).map(|(w, x)| f64::from(*w) * x);
                let y = f64::from(rest[o]) + products.sum::<f64>();
                if l + 2 < widths.len() { y.max(0.0) } else { y }
            };
            activations.push((0..outputs).map(value).collect());
            at += inputs * outputs + outputs;
        }
        let logits = activations.pop().unwrap_or_default();
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logits.iter().map(|y| (y - largest).exp()).sum();
        loss += share * (largest + sum.ln() - logits[usize::from(*label)]);
        let mut delta: Vec<f64> = logits.iter().map(|y| share * (y - largest).exp() / sum).collect();
        delta[usize::from(*label)] -= share;
        for (l, pair) in widths.windows(2).enumerate().rev() {
            let (inputs, outputs) = (pair[0], pair[1]);
            at -= inputs * outputs + outputs;
            let mut below = vec![0.0; inputs];
            for (o, d) in delta.iter().enumerate() {
                for i in 0..inputs {
                    gradient[at + o * inputs + i] += d * activations[l][i];
                    below[i] += d * f64::from(weights[at + o * inputs + i]);
                }
                gradient[at + inputs * outputs + o] += d;
            }
            below.iter_mut().zip(&activations[l]).filter(|(_, x)| **x <= 0.0).for_each(|(d, _)| *d = 0.0);
            delta = below;
        }
    }
    (loss, gradient)
}
