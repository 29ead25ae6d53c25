//! Proposals from a model of what was good.

use super::by_score;
use crate::order::Ordered as _;

/// Share of what was seen that counts as good.
const GOOD: f64 = 0.25;

/// Density of points of the unit cube at `x`: kernels around them, and an even one, so that nothing is impossible.
fn density(points: &[&[f64]], x: &[f64]) -> f64 {
    let width = 0.5 * (points.len().max(1) as f64).powf(-0.2);
    let axis = |d: usize, x: f64| {
        let bump = |at: f64| (-0.5 * ((x - at) / width).powi(2)).exp() / width;
        (1.0 + points.iter().map(|point| bump(point[d])).sum::<f64>()) / (points.len() + 1) as f64
    };
    x.iter().enumerate().map(|(d, x)| axis(d, *x)).product()
}

// ANCHOR: tpe
/// Of some candidates, points of the unit cube, the one that looks most like the good quarter of what was seen and least like the
/// rest: a tree-structured Parzen estimator (Bergstra et al., 2011) over independent axes. The first one while little was seen.
#[must_use]
pub fn propose(seen: &[(Vec<f64>, f64)], candidates: &[Vec<f64>]) -> usize {
    let mut order: Vec<usize> = (0..seen.len()).collect();
    order.ordered_by(&|a, b| by_score((seen[*a].1, *a), (seen[*b].1, *b)));
    let points: Vec<&[f64]> = order.iter().map(|i| &seen[*i].0[..]).collect();
    let good = ((seen.len() as f64 * GOOD).ceil() as usize).min(seen.len());
    if good < 2 {
        return 0;
    }
    let ratio = |x: &Vec<f64>| density(&points[..good], x) / density(&points[good..], x).max(f64::MIN_POSITIVE);
    let best = candidates.iter().map(ratio).enumerate().max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
    best.map_or(0, |(at, _)| at)
}
// ANCHOR_END: tpe
