//! Choices that have a gradient (Liu, Simonyan and Yang, 2019, arXiv:1806.09055): logits `alpha` of `rows` slots with one number for
//! each operation, all in one vector, row after row.

use rand::Rng;

/// The shares of the operations of each slot: a softmax of each row of `width`.
#[must_use]
pub fn softmax_shares(alpha: &[f32], width: usize) -> Vec<f64> {
    let mut shares = Vec::with_capacity(alpha.len());
    for row in alpha.chunks(width) {
        let most = row.iter().fold(f64::NEG_INFINITY, |most, x| most.max(f64::from(*x)));
        let powers: Vec<f64> = row.iter().map(|x| (f64::from(*x) - most).exp()).collect();
        let sum: f64 = powers.iter().sum();
        shares.extend(powers.iter().map(|x| x / sum));
    }
    shares
}

// ANCHOR: softmax
/// From the slopes of a loss by the shares to its slopes by the logits: `p_o (s_o - sum_k p_k s_k)` in each row.
#[must_use]
pub fn by_logits(shares: &[f64], slopes: &[f64], width: usize) -> Vec<f64> {
    let mut all = Vec::with_capacity(shares.len());
    for (p, s) in shares.chunks(width).zip(slopes.chunks(width)) {
        let mean: f64 = p.iter().zip(s).map(|(p, s)| p * s).sum();
        all.extend(p.iter().zip(s).map(|(p, s)| p * (s - mean)));
    }
    all
}
// ANCHOR_END: softmax

/// Shares of a row whose logits were shaken by Gumbel noise and divided by a temperature (Jang et al., 2017, arXiv:1611.01144): the
/// largest of them is a draw from the softmax.
#[must_use]
pub fn gumbel(alpha: &[f32], width: usize, temperature: f64, rng: &mut impl Rng) -> Vec<f64> {
    let shaken: Vec<f32> = alpha
        .iter()
        .map(|x| {
            let uniform: f64 = rng.random_range(f64::MIN_POSITIVE..1.0);
            ((f64::from(*x) - (-uniform.ln()).ln()) / temperature) as f32
        })
        .collect();
    softmax_shares(&shaken, width)
}

/// The largest of each row; of equals the first.
#[must_use]
pub fn strongest_choices(shares: &[f64], width: usize) -> Vec<usize> {
    let best = |row: &[f64]| (0..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best });
    shares.chunks(width).map(best).collect()
}

/// Which half of the images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageHalf {
    /// That trains weights.
    Weights,
    /// That trains choices.
    Choices,
}

/// ChoiceSlopes of a loss.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChoiceSlopes {
    /// By the weights.
    pub weights: Vec<f32>,
    /// By the choices.
    pub choices: Vec<f64>,
}

// ANCHOR: product
/// Second derivatives of a loss by choices and weights, times a direction of the weights, from two slopes by the choices: at
/// `w + ε v` and at `w - ε v`, with `ε = 0.01 / |v|`.
pub fn mixed_product(weights: &[f32], along: &[f32], mut slopes: impl FnMut(&[f32]) -> Vec<f64>) -> Vec<f64> {
    let norm = along.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let epsilon = 0.01 / norm.max(1e-12);
    let mut at = |side: f64| -> Vec<f64> {
        let moved = |(w, v): (&f32, &f32)| (f64::from(*w) + side * epsilon * f64::from(*v)) as f32;
        slopes(&weights.iter().zip(along).map(moved).collect::<Vec<f32>>())
    };
    let (above, below) = (at(1.0), at(-1.0));
    above.iter().zip(below).map(|(a, b)| (a - b) / (2.0 * epsilon)).collect()
}
// ANCHOR_END: product

// ANCHOR: first
/// First order: choices are judged with the weights as they are.
pub fn first_order(weights: &[f32], mut slopes: impl FnMut(&[f32], ImageHalf) -> ChoiceSlopes) -> Vec<f64> {
    slopes(weights, ImageHalf::Choices).choices
}
// ANCHOR_END: first

// ANCHOR: second
/// Second order: choices are judged with the weights one step of `rate` ahead, and that step depends on them.
pub fn second_order(weights: &[f32], rate: f64, mut slopes: impl FnMut(&[f32], ImageHalf) -> ChoiceSlopes) -> Vec<f64> {
    let step = slopes(weights, ImageHalf::Weights).weights;
    let ahead: Vec<f32> = weights.iter().zip(step).map(|(w, g)| w - rate as f32 * g).collect();
    let judged = slopes(&ahead, ImageHalf::Choices);
    let bent = mixed_product(weights, &judged.weights, |w| slopes(w, ImageHalf::Weights).choices);
    judged.choices.iter().zip(bent).map(|(direct, bent)| direct - rate * bent).collect()
}
// ANCHOR_END: second

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng;

    fn near(a: &[f64], b: &[f64], within: f64) {
        assert!(a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < within), "{a:?} {b:?}");
    }

    /// The weights train on `|w - A a|² / 2`, the choices on `|w - b|² / 2 + c a`.
    const A: [[f64; 2]; 3] = [[1.0, 2.0], [-0.5, 0.3], [0.7, -1.1]];
    const B: [f64; 3] = [0.4, -0.2, 0.9];

    fn quadratic(w: &[f32], a: [f64; 2], half: ImageHalf) -> ChoiceSlopes {
        let w: Vec<f64> = w.iter().map(|x| f64::from(*x)).collect();
        let off: Vec<f64> = match half {
            ImageHalf::Weights => (0..3).map(|i| w[i] - A[i][0] * a[0] - A[i][1] * a[1]).collect(),
            ImageHalf::Choices => (0..3).map(|i| w[i] - B[i]).collect(),
        };
        let choices = match half {
            ImageHalf::Weights => (0..2).map(|j| -(0..3).map(|i| A[i][j] * off[i]).sum::<f64>()).collect(),
            ImageHalf::Choices => vec![0.25, -0.5],
        };
        ChoiceSlopes { weights: off.iter().map(|x| *x as f32).collect(), choices }
    }

    #[test]
    fn the_second_order_is_exact_on_a_quadratic() {
        let (w, a, rate) = ([0.5_f32, -1.0, 0.25], [0.3, -0.6], 0.1);
        let found = second_order(&w, rate, |w, half| quadratic(w, a, half));
        // w' = w - rate (w - A a), so the loss ahead has the slope c + rate Aᵀ (w' - b) by a.
        let ahead: Vec<f64> =
            (0..3).map(|i| f64::from(w[i]) - rate * (f64::from(w[i]) - A[i][0] * a[0] - A[i][1] * a[1])).collect();
        let exact = [0, 1].map(|j| [0.25, -0.5][j] + rate * (0..3).map(|i| A[i][j] * (ahead[i] - B[i])).sum::<f64>());
        near(&found, &exact, 1e-4);
        // With no step ahead it is the first order.
        let first = first_order(&w, |w, half| quadratic(w, a, half));
        near(&second_order(&w, 0.0, |w, half| quadratic(w, a, half)), &first, 1e-12);
        near(&first, &[0.25, -0.5], 1e-12);
    }

    #[test]
    fn a_product_of_second_derivatives_is_exact_on_a_quadratic() {
        let v = [0.2_f32, -0.4, 1.5];
        let found = mixed_product(&[0.1, 0.2, -0.3], &v, |w| quadratic(w, [0.5, 0.5], ImageHalf::Weights).choices);
        let exact = [0, 1].map(|j| -(0..3).map(|i| A[i][j] * f64::from(v[i])).sum::<f64>());
        near(&found, &exact, 1e-3);
    }

    #[test]
    fn slopes_go_through_the_softmax_as_differences_do() {
        let alpha = [0.3_f32, -1.0, 0.7, 0.0, 2.0, -0.5];
        let weights = [1.0, -2.0, 0.5, 3.0, 0.1, -0.7];
        let value = |alpha: &[f32]| softmax_shares(alpha, 3).iter().zip(weights).map(|(p, s)| p * s).sum::<f64>();
        let found = by_logits(&softmax_shares(&alpha, 3), &weights, 3);
        for i in 0..6 {
            let moved = |by: f32| {
                let mut alpha = alpha;
                alpha[i] += by;
                value(&alpha)
            };
            let difference = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            assert!((found[i] - difference).abs() < 1e-4, "{i}: {} {difference}", found[i]);
        }
        let sums: Vec<f64> = softmax_shares(&alpha, 3).chunks(3).map(|row| row.iter().sum()).collect();
        near(&sums, &[1.0, 1.0], 1e-12);
        assert_eq!(strongest_choices(&softmax_shares(&alpha, 3), 3), [2, 1]);
    }

    #[test]
    fn the_largest_of_shaken_logits_is_a_draw_from_the_softmax() {
        let (alpha, mut rng, mut counts) = ([1.0_f32, 0.0, -1.0], rng(0, "gumbel"), [0.0; 3]);
        for _ in 0..20_000 {
            counts[strongest_choices(&gumbel(&alpha, 3, 0.7, &mut rng), 3)[0]] += 1.0 / 20_000.0;
        }
        near(&counts, &softmax_shares(&alpha, 3), 0.015);
    }
}
