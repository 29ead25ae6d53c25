//! Weighted sums of gradients, and how far two gradients are apart.

// ANCHOR: accumulate
/// The mean gradient of a batch from the mean gradients of its pieces, each with the number of examples (or of tokens that
/// count) that it is a mean over: `Σ n_j g_j / Σ n_j`. Sums in FP64. A single piece comes back bit by bit; pieces of nothing
/// add nothing, and without any example there is no mean: `None`.
#[must_use]
pub fn accumulate(pieces: &[(Vec<f32>, usize)]) -> Option<Vec<f32>> {
    let counted: Vec<&(Vec<f32>, usize)> = pieces.iter().filter(|piece| piece.1 > 0).collect();
    if let [one] = counted[..] {
        return Some(one.0.clone());
    }
    let total: usize = counted.iter().map(|piece| piece.1).sum();
    let mut sum = vec![0.0_f64; counted.first()?.0.len()];
    for (gradient, count) in counted {
        for (sum, g) in sum.iter_mut().zip(gradient) {
            *sum += *count as f64 * f64::from(*g);
        }
    }
    Some(sum.iter().map(|sum| (sum / total as f64) as f32).collect())
}
// ANCHOR_END: accumulate

/// Sum of the squares, in FP64.
#[must_use]
pub fn squared_norm(gradient: &[f32]) -> f64 {
    gradient.iter().map(|g| f64::from(*g).powi(2)).sum()
}

/// Shortens a gradient to `longest` where it is longer.
pub fn clip(gradient: &mut [f32], longest: f64) {
    let norm = squared_norm(gradient).sqrt();
    if norm > longest {
        let factor = (longest / norm) as f32;
        gradient.iter_mut().for_each(|g| *g *= factor);
    }
}

/// How far a gradient is from the right one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distance {
    /// Length of the difference over the length of the right one.
    pub relative: f64,
    /// Cosine of the angle between them.
    pub cosine: f64,
    /// Length over the length of the right one.
    pub length: f64,
    /// Share of the numbers that are the same, bit by bit.
    pub same: f64,
}

/// How far `found` is from `right`, both of one length; nothing where one of them is zero.
#[must_use]
pub fn distance(found: &[f32], right: &[f32]) -> Option<Distance> {
    let (a, b) = (squared_norm(found), squared_norm(right));
    let pairs = || found.iter().zip(right);
    let dot: f64 = pairs().map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
    let apart: f64 = pairs().map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum();
    let same = pairs().filter(|(x, y)| x.to_bits() == y.to_bits()).count();
    (a > 0.0 && b > 0.0).then(|| Distance {
        relative: (apart / b).sqrt(),
        cosine: dot / (a * b).sqrt(),
        length: (a / b).sqrt(),
        same: same as f64 / right.len().max(1) as f64,
    })
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::accumulate::naive::mean_of_means;

    #[test]
    fn counts_decide_and_a_mean_of_means_has_another_sign() {
        let pieces = [(vec![1.0, -2.0], 3), (vec![4.0, 0.0], 1), (vec![-2.0, 6.0], 4)];
        assert_eq!(accumulate(&pieces), Some(vec![-0.125, 2.25]));
        let wrong = mean_of_means(&pieces).expect("pieces");
        assert_eq!(wrong[0], 1.0);
        assert!((wrong[1] - 4.0 / 3.0).abs() < 1e-6);
        // Losses, by the same sum: three tokens of mean 2 and one of mean 4.
        assert_eq!(accumulate(&[(vec![2.0], 3), (vec![4.0], 1)]), Some(vec![2.5]));
        assert_eq!(mean_of_means(&[(vec![2.0], 3), (vec![4.0], 1)]), Some(vec![3.0]));
    }

    #[test]
    fn equal_counts_are_a_plain_mean_and_nothing_is_no_mean() {
        let equal = [(vec![1.0_f32, 3.0], 5), (vec![2.0, 5.0], 5)];
        assert_eq!(accumulate(&equal), mean_of_means(&equal));
        assert_eq!(accumulate(&[(vec![0.1, 0.7], 3), (vec![9.0, f32::NAN], 0)]), Some(vec![0.1, 0.7]));
        assert_eq!(accumulate(&[(vec![1.0], 0), (vec![2.0], 0)]), None);
        assert_eq!(accumulate(&[]), None);
    }

    #[test]
    fn ten_thousand_pieces_lose_nothing_and_their_order_is_of_no_matter() {
        let mut rng = crate::rng(0, "pieces");
        let mut pieces: Vec<(Vec<f32>, usize)> = (0..10_000)
            .map(|_| ((0..3).map(|_| rng.random_range(0.5..1.5)).collect(), rng.random_range(1..9)))
            .collect();
        let total: usize = pieces.iter().map(|p| p.1).sum();
        let exact: f64 = pieces.iter().map(|(g, n)| *n as f64 * f64::from(g[1])).sum::<f64>() / total as f64;
        let found = accumulate(&pieces).expect("pieces");
        assert!((f64::from(found[1]) / exact - 1.0).abs() < 1e-6);
        pieces.reverse();
        assert!(distance(&accumulate(&pieces).expect("pieces"), &found).expect("long").relative < 1e-6);
    }

    #[test]
    fn distances_of_known_triangles_and_a_gradient_that_is_clipped() {
        let apart = distance(&[3.0, 4.0], &[3.0, 0.0]).expect("not zero");
        assert!((apart.relative - 4.0 / 3.0).abs() < 1e-12 && (apart.cosine - 0.6).abs() < 1e-12);
        assert!((apart.length - 5.0 / 3.0).abs() < 1e-12 && apart.same == 0.5);
        assert_eq!(distance(&[0.0], &[1.0]), None);
        let mut gradient = [3.0, 4.0];
        clip(&mut gradient, 10.0);
        assert_eq!(gradient, [3.0, 4.0]);
        clip(&mut gradient, 1.0);
        assert!((gradient[0] - 0.6).abs() < 1e-6 && (gradient[1] - 0.8).abs() < 1e-6);
    }
}
