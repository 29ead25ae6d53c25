//! The formula in double precision, as it is written: what every other way is tested against.

use super::{Head, Inputs, Sight};

/// What attention gives, in double precision.
#[derive(Debug, Clone, PartialEq)]
pub struct Exact {
    /// `[D]` of each query asked for.
    pub output: Vec<f64>,
    /// The logarithm of the sum of exponentials of each query's scores; -∞ where it sees none.
    pub log_sum: Vec<f64>,
}

/// Scores of query `i` over the keys that it sees, and their weights.
fn weights(Inputs { q, k, .. }: Inputs, head: Head, sight: Sight, i: usize) -> (Vec<f64>, f64) {
    let d = head.channels;
    let scale = (d.max(1) as f64).sqrt().recip();
    let row = &q[i * d..(i + 1) * d];
    let dot = |j: usize| row.iter().zip(&k[j * d..]).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum::<f64>() * scale;
    let scores: Vec<f64> = sight.range(i, head).map(dot).collect();
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = scores.iter().map(|score| (score - max).exp()).sum();
    (scores.iter().map(|score| (score - max).exp() / sum).collect(), max + sum.ln())
}

// ANCHOR: exact
/// Attention of these queries: weights by softmax over the keys that each sees, and the values weighted so. A query that sees
/// no key gets zeros.
#[must_use]
pub fn exact(inputs: Inputs, head: Head, sight: Sight, queries: &[usize]) -> Exact {
    let d = head.channels;
    let mut exact = Exact { output: vec![0.0; queries.len() * d], log_sum: vec![f64::NEG_INFINITY; queries.len()] };
    for (at, i) in queries.iter().enumerate() {
        let (weights, log_sum) = weights(inputs, head, sight, *i);
        for (j, weight) in sight.range(*i, head).zip(&weights) {
            exact.log_sum[at] = log_sum;
            for c in 0..d {
                exact.output[at * d + c] += weight * f64::from(inputs.v[j * d + c]);
            }
        }
    }
    exact
}
// ANCHOR_END: exact

/// Gradients of queries, keys and values, where that of the output is `d_output` `[T, D]`.
#[must_use]
pub fn exact_gradients(inputs: Inputs, head: Head, sight: Sight, d_output: &[f32]) -> [Vec<f64>; 3] {
    let Head { queries, keys, channels: d } = head;
    let scale = (d.max(1) as f64).sqrt().recip();
    let (mut dq, mut dk, mut dv) = (vec![0.0; queries * d], vec![0.0; keys * d], vec![0.0; keys * d]);
    for i in 0..queries {
        let (weights, _) = weights(inputs, head, sight, i);
        let d_row = &d_output[i * d..(i + 1) * d];
        let d_weight =
            |j: usize| d_row.iter().zip(&inputs.v[j * d..]).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let range = sight.range(i, head);
        let d_weights: Vec<f64> = range.clone().map(d_weight).collect();
        let delta: f64 = weights.iter().zip(&d_weights).map(|(p, dp)| p * dp).sum();
        for (j, (p, dp)) in range.zip(weights.iter().zip(&d_weights)) {
            let ds = p * (dp - delta) * scale;
            for c in 0..d {
                dv[j * d + c] += p * f64::from(d_row[c]);
                dq[i * d + c] += ds * f64::from(inputs.k[j * d + c]);
                dk[j * d + c] += ds * f64::from(inputs.q[i * d + c]);
            }
        }
    }
    [dq, dk, dv]
}
