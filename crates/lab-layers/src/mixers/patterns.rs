//! Weights as a table `[T, T]`, to look at and to compare; keys projected to a fixed number.

use super::{dot, exponentials};
use lab_kernels::attention::products::add_product;

/// Softmax weights of one head, causal, within a window of so many keys: row by row, zeros where a query does not look.
#[must_use]
pub fn softmax_weights(q: &[f32], k: &[f32], d: usize, window: usize) -> Vec<f32> {
    let (t, scale) = (q.len() / d.max(1), (d.max(1) as f32).sqrt().recip());
    let mut all = vec![0.0; t * t];
    for (i, row) in all.chunks_exact_mut(t.max(1)).enumerate() {
        let first = (i + 1).saturating_sub(window.max(1));
        let row = &mut row[first..=i];
        let query = &q[i * d..(i + 1) * d];
        row.iter_mut().zip(k[first * d..].chunks_exact(d)).for_each(|(w, k)| *w = scale * dot(query, k));
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.iter_mut().for_each(|w| *w -= most);
        exponentials(row);
        scaled(row);
    }
    all
}

fn scaled(row: &mut [f32]) {
    let sum: f32 = row.iter().sum();
    if sum.abs() > 1e-30 {
        row.iter_mut().for_each(|w| *w /= sum);
    }
}

/// The `count` largest weights of each row, made to sum to 1 again. A control: finding them takes all scores.
pub fn top(weights: &mut [f32], t: usize, count: usize) {
    for row in weights.chunks_exact_mut(t.max(1)) {
        let mut sorted = row.to_vec();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let least = sorted.get(count.max(1) - 1).copied().unwrap_or(0.0);
        row.iter_mut().filter(|w| **w < least).for_each(|w| *w = 0.0);
        scaled(row);
    }
}

/// Weights from features `[T, m]`, causal, fading by `decay` a token; rows sum to 1.
#[must_use]
pub fn kernel_weights(fq: &[f32], fk: &[f32], m: usize, decay: f32) -> Vec<f32> {
    let t = fq.len() / m.max(1);
    let mut all = vec![0.0; t * t];
    for (i, row) in all.chunks_exact_mut(t.max(1)).enumerate() {
        let q = &fq[i * m..(i + 1) * m];
        let keys = row[..=i].iter_mut().zip(fk.chunks_exact(m)).enumerate();
        keys.for_each(|(j, (w, k))| *w = dot(q, k) * decay.powi((i - j) as i32));
        scaled(&mut row[..=i]);
    }
    all
}

/// Weights `[T, S]` times values `[S, p]`.
#[must_use]
pub fn apply(weights: &[f32], v: &[f32], p: usize) -> Vec<f32> {
    let s = v.len() / p.max(1);
    let mut out = vec![0.0; weights.len() / s.max(1) * p];
    add_product(&mut out, weights, s, v, p);
    out
}

/// Mean entropy in nats of the rows from `first` on.
#[must_use]
pub fn entropy(weights: &[f32], t: usize, first: usize) -> f64 {
    let of = |row: &[f32]| -row.iter().filter(|w| **w > 0.0).map(|w| f64::from(*w) * f64::from(*w).ln()).sum::<f64>();
    let rows: Vec<f64> = weights.chunks_exact(t.max(1)).skip(first).map(of).collect();
    rows.iter().sum::<f64>() / rows.len().max(1) as f64
}

/// Mean total variation between the rows of two tables from `first` on: half of the summed distances, 0 to 1.
#[must_use]
pub fn total_variation(a: &[f32], b: &[f32], t: usize, first: usize) -> f64 {
    let rows = a.chunks_exact(t.max(1)).zip(b.chunks_exact(t.max(1))).skip(first);
    let of = |(a, b): (&[f32], &[f32])| a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>() / 2.0;
    let all: Vec<f64> = rows.map(of).collect();
    all.iter().sum::<f64>() / all.len().max(1) as f64
}

// ANCHOR: features_for
/// Positive random features that bring the relative deviation of a weight down to `deviation`, for a query and a key whose
/// scaled sum has the square length `square`: the variance of the estimate over its square is `(e^square - 1) / m`.
#[must_use]
pub fn features_for(square: f64, deviation: f64) -> f64 {
    (square.exp() - 1.0) / (deviation * deviation)
}
// ANCHOR_END: features_for

// ANCHOR: linformer
/// Linformer (Wang et al., 2020, arXiv:2006.04768): `e` and `f` `[slots, T]` mix all keys and all values into a few slots, and
/// each query weighs the slots. There is no causal form of it: every slot may hold every token.
#[must_use]
pub fn linformer(q: &[f32], k: &[f32], v: &[f32], d: usize, [e, f]: [&[f32]; 2]) -> Vec<f32> {
    let (t, p) = (k.len() / d.max(1), v.len() / (k.len() / d.max(1)).max(1));
    let slots = e.len() / t.max(1);
    let (keys, values) = (apply(e, k, d), apply(f, v, p));
    let scale = (d.max(1) as f32).sqrt().recip();
    let mut weights = vec![0.0; q.len() / d.max(1) * slots];
    for (row, q) in weights.chunks_exact_mut(slots.max(1)).zip(q.chunks_exact(d)) {
        row.iter_mut().zip(keys.chunks_exact(d)).for_each(|(w, k)| *w = scale * dot(q, k));
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.iter_mut().for_each(|w| *w -= most);
        exponentials(row);
        scaled(row);
    }
    apply(&weights, &values, p)
}
// ANCHOR_END: linformer
