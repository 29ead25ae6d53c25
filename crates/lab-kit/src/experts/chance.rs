//! Closed forms for choices that are independent and even.

// ANCHOR: chance
/// Share of assignments that find their expert full, if each of `tokens` chooses one of `experts` at random, each as likely, and an
/// expert has so many `places`: the mean excess of a binomial count over them.
#[must_use]
pub fn dropped_when_even(tokens: usize, experts: usize, places: usize) -> f64 {
    let (n, p) = (tokens as f64, 1.0 / experts.max(1) as f64);
    if experts <= 1 {
        return (n - places as f64).max(0.0) / n.max(1.0);
    }
    // In logarithms: the chance of no token at all may be too small for a float.
    let (mut chance, mut excess) = (n * (1.0 - p).ln(), 0.0);
    for count in 0..=tokens {
        excess += chance.exp() * count.saturating_sub(places) as f64;
        chance += ((tokens - count) as f64 / (count + 1) as f64).max(f64::MIN_POSITIVE).ln() + (p / (1.0 - p)).ln();
    }
    excess * experts as f64 / n.max(1.0)
}

/// Experts whose weights a step must read, if each of `tokens` chooses `k` of `experts` evenly: `E (1 - (1 - k/E)^tokens)`.
#[must_use]
pub fn experts_read(tokens: usize, experts: usize, k: usize) -> f64 {
    let e = experts.max(1) as f64;
    e * (1.0 - (1.0 - (k as f64 / e).min(1.0)).powi(tokens as i32))
}
// ANCHOR_END: chance

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::experts::{capacity, dispatch};

    #[test]
    fn dropped_shares_are_those_of_the_binomial() {
        let percent = |n, e, factor| 100.0 * dropped_when_even(n, e, capacity(n, e, factor));
        for (n, e, factor, right) in [
            (128, 8, 1.0, 9.28),
            (128, 8, 1.25, 1.86),
            (128, 8, 1.5, 0.20),
            (1024, 8, 1.0, 3.30),
            (128, 32, 1.0, 19.2),
            (128, 32, 2.0, 0.75),
            (1024, 64, 1.25, 2.24),
        ] {
            assert!((percent(n, e, factor) - right).abs() < 0.06, "{n} {e} {factor}: {}", percent(n, e, factor));
        }
        assert_eq!(dropped_when_even(10, 1, 4), 0.6);
        assert!(dropped_when_even(128, 8, 128).abs() < 1e-12);
    }

    #[test]
    fn a_real_draw_drops_as_much() {
        let mut rng = crate::rng(0, "draws");
        let (n, e, places) = (128, 8, 16);
        let shares: Vec<f64> = (0..400)
            .map(|_| {
                let chosen: Vec<u32> = (0..n).map(|_| rng.random_range(0..e as u32)).collect();
                dispatch(&chosen, e, Some(places)).dropped as f64 / n as f64
            })
            .collect();
        let mean = shares.iter().sum::<f64>() / 400.0;
        let error = (shares.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / 400.0 / 400.0).sqrt();
        assert!((mean - dropped_when_even(n, e, places)).abs() < 3.0 * error, "{mean} {error}");
    }

    #[test]
    fn a_batch_reads_nearly_all_experts() {
        let of = |b| (100.0 * experts_read(b, 8, 2)).round() / 100.0;
        assert_eq!([1, 2, 4, 8, 16].map(of), [2.0, 3.5, 5.47, 7.2, 7.92]);
        assert_eq!(experts_read(3, 4, 4), 4.0);
    }
}
