//! How much an early order says of a late one, and what the best of many owes to luck.

use super::by_score;
use crate::order::Ordered as _;

/// Ranks from 1 up, equals at their mean.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.ordered_by(&|a, b| by_score((values[*a], *a), (values[*b], *b)));
    let mut ranks = vec![0.0; values.len()];
    let same = |a: f64, b: f64| a == b || !(a.is_finite() || b.is_finite());
    for group in order.chunk_by(|a, b| same(values[*a], values[*b])) {
        let first = order.iter().position(|i| *i == group[0]).unwrap_or(0);
        group.iter().for_each(|i| ranks[*i] = first as f64 + (group.len() + 1) as f64 / 2.0);
    }
    ranks
}

/// Spearman's rank correlation: 1 for the same order, -1 for the reverse; 0 where one side has no order.
#[must_use]
pub fn spearman(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (ranks(a), ranks(b));
    let middle = (a.len() + 1) as f64 / 2.0;
    let sum = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - middle) * (y - middle)).sum::<f64>();
    let scale = (sum(&a, &a) * sum(&b, &b)).sqrt();
    if scale > 0.0 { sum(&a, &b) / scale } else { 0.0 }
}

/// The place of one among all, from 1 for the best.
#[must_use]
pub fn rank_of(scores: &[f64], one: usize) -> usize {
    1 + (0..scores.len()).filter(|i| by_score((scores[*i], *i), (scores[one], one)).is_lt()).count()
}

/// Of the best `count` of all in the end, the share that is among the best `count` early.
#[must_use]
pub fn kept(early: &[f64], late: &[f64], count: usize) -> f64 {
    let both = (0..late.len()).filter(|i| rank_of(late, *i) <= count && rank_of(early, *i) <= count).count();
    both as f64 / count.max(1) as f64
}

// ANCHOR: luck
/// What the best of `n` equal candidates is expected to lie above their mean, in standard deviations of the noise: the mean of the
/// maximum of `n` normal numbers.
#[must_use]
pub fn expected_best(n: usize) -> f64 {
    const STEP: f64 = 1e-3;
    let density = |x: f64| (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let (mut below, mut mean) = (0.0_f64, 0.0);
    for i in -8000..8000 {
        let x = (f64::from(i) + 0.5) * STEP;
        let above = below + STEP * density(x);
        mean += x * (above.powi(n as i32) - below.powi(n as i32));
        below = above;
    }
    mean
}
// ANCHOR_END: luck

/// The mean of the best of `k` that are drawn at random from these scores, none twice; of all where there are fewer.
#[must_use]
pub fn best_of_random(scores: &[f64], k: usize) -> f64 {
    let mut sorted = scores.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (n, k) = (sorted.len(), k.clamp(1, sorted.len().max(1)));
    // The best is the i-th if none of the i before it was drawn.
    let (mut none, mut mean) = (1.0, 0.0);
    for (i, score) in sorted.iter().enumerate().take(n + 1 - k) {
        let drawn = k as f64 / (n - i) as f64;
        mean += none * drawn * score;
        none *= 1.0 - drawn;
    }
    mean
}
