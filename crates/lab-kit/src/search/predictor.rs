//! A straight line from what a candidate is made of to what it scores, and who is tried next by it.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Weights of the least squares with a penalty on their own squares: rows of `features`, as many as `scores`. By Cholesky's
/// decomposition of the normal equations.
#[must_use]
pub fn ridge(features: &[&[f64]], scores: &[f64], penalty: f64) -> Vec<f64> {
    let n = features.first().map_or(0, |row| row.len());
    let (mut a, mut b) = (vec![0.0; n * n], vec![0.0; n]);
    for (row, score) in features.iter().zip(scores) {
        for i in (0..n).filter(|i| row[*i] != 0.0) {
            b[i] += row[i] * score;
            (0..n).for_each(|j| a[i * n + j] += row[i] * row[j]);
        }
    }
    for i in 0..n {
        a[i * n + i] += penalty;
        for j in 0..=i {
            let sum = a[i * n + j] - (0..j).map(|k| a[i * n + k] * a[j * n + k]).sum::<f64>();
            a[i * n + j] = if i == j { sum.max(1e-12).sqrt() } else { sum / a[j * n + j] };
        }
    }
    for i in 0..n {
        b[i] = (b[i] - (0..i).map(|k| a[i * n + k] * b[k]).sum::<f64>()) / a[i * n + i];
    }
    for i in (0..n).rev() {
        b[i] = (b[i] - (i + 1..n).map(|k| a[k * n + i] * b[k]).sum::<f64>()) / a[i * n + i];
    }
    b
}

// ANCHOR: thompson
/// The candidate that looks best to a line through a resample of what was seen: a draw from what one may believe (Thompson, 1933),
/// so that what is little known is tried too. Less is better. Every row of features should hold a 1 for the mean.
#[must_use]
pub fn thompson(seen: &[(&[f64], f64)], candidates: &[&[f64]], penalty: f64, rng: &mut ChaCha8Rng) -> usize {
    let drawn: Vec<&(&[f64], f64)> = (0..seen.len()).map(|_| &seen[rng.random_range(0..seen.len())]).collect();
    let mean = drawn.iter().map(|one| one.1).sum::<f64>() / drawn.len().max(1) as f64;
    let features: Vec<&[f64]> = drawn.iter().map(|one| one.0).collect();
    let scores: Vec<f64> = drawn.iter().map(|one| one.1 - mean).collect();
    let weights = ridge(&features, &scores, penalty);
    let value = |row: &[f64]| row.iter().zip(&weights).map(|(x, w)| x * w).sum::<f64>();
    let values: Vec<f64> = candidates.iter().map(|row| value(row)).collect();
    (0..values.len()).min_by(|a, b| values[*a].total_cmp(&values[*b])).unwrap_or(0)
}
// ANCHOR_END: thompson

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng;

    #[test]
    fn a_line_is_found_and_a_penalty_shortens_it() {
        let mut rng = rng(0, "ridge");
        let rows: Vec<Vec<f64>> =
            (0..40).map(|_| vec![rng.random_range(-1.0..1.0), rng.random_range(-1.0..1.0), 1.0]).collect();
        let features: Vec<&[f64]> = rows.iter().map(Vec::as_slice).collect();
        let scores: Vec<f64> = rows.iter().map(|x| 2.0 * x[0] - 3.0 * x[1] + 0.5).collect();
        let found = ridge(&features, &scores, 1e-9);
        assert!(found.iter().zip([2.0, -3.0, 0.5]).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
        assert!(ridge(&features, &scores, 10.0)[1].abs() < 3.0);
        assert!(ridge(&[], &[], 1.0).is_empty());
        // The best of three that lie on the line.
        let seen: Vec<(&[f64], f64)> = features.iter().copied().zip(scores).collect();
        let candidates: [&[f64]; 3] = [&[0.0, 0.0, 1.0], &[-1.0, 1.0, 1.0], &[1.0, -1.0, 1.0]];
        assert_eq!(thompson(&seen, &candidates, 0.1, &mut rng), 1);
    }
}
