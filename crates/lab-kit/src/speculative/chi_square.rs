//! Whether counts could come from a distribution.

use crate::order::Ordered as _;
use statrs::function::gamma::gamma_ur;

/// The outcome of the test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChiSquare {
    /// `Σ (observed − expected)² / expected` over cells.
    pub statistic: f64,
    /// Cells less one.
    pub freedom: usize,
    /// How often counts that do come from the distribution are at least so far from it.
    pub p_value: f64,
}

/// Pearson's test of `counts` against probabilities `p`. Cells that expect fewer than `fewest` are pooled, the rarest first, until
/// their pool expects so many. A count where `p` is 0 is impossible: the `p_value` is then 0.
#[must_use]
pub fn chi_square(counts: &[usize], p: &[f64], fewest: f64) -> ChiSquare {
    let total: usize = counts.iter().sum();
    let mut cells: Vec<(f64, f64)> = p.iter().zip(counts).map(|(p, count)| (p * total as f64, *count as f64)).collect();
    let impossible = cells.iter().any(|(expected, seen)| *expected <= 0.0 && *seen > 0.0);
    cells.retain(|(expected, _)| *expected > 0.0);
    cells.ordered_by(&|a, b| a.0.total_cmp(&b.0));
    let (mut pooled, mut pool) = (Vec::<(f64, f64)>::new(), (0.0, 0.0));
    for (expected, seen) in cells {
        pool = (pool.0 + expected, pool.1 + seen);
        if pool.0 >= fewest {
            pooled.push(std::mem::take(&mut pool));
        }
    }
    // What is left is less than a cell: it joins the last.
    if let Some(last) = pooled.last_mut() {
        *last = (last.0 + pool.0, last.1 + pool.1);
    }
    let statistic = pooled.iter().map(|(expected, seen)| (seen - expected).powi(2) / expected).sum();
    let freedom = pooled.len().saturating_sub(1);
    ChiSquare::new(statistic, freedom, impossible)
}

impl ChiSquare {
    fn new(statistic: f64, freedom: usize, impossible: bool) -> Self {
        let p_value = match (impossible, freedom) {
            (true, _) => 0.0,
            (_, 0) => 1.0,
            _ if statistic <= 0.0 => 1.0,
            _ => gamma_ur(freedom as f64 / 2.0, statistic / 2.0),
        };
        Self { statistic, freedom, p_value }
    }

    /// Independent tests as one: statistics and degrees of freedom are added.
    #[must_use]
    pub fn together(tests: &[Self]) -> Self {
        let impossible = tests.iter().any(|test| test.p_value == 0.0);
        Self::new(tests.iter().map(|t| t.statistic).sum(), tests.iter().map(|t| t.freedom).sum(), impossible)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{rng, speculative::draw};

    #[test]
    fn it_agrees_with_the_closed_form() {
        let found = chi_square(&[43, 52, 54, 40, 61], &[0.2; 5], 5.0);
        assert!((found.statistic - 5.8).abs() < 1e-12 && found.freedom == 4);
        // With four degrees of freedom the tail is `exp(−x/2) (1 + x/2)`.
        assert!((found.p_value - (-2.9_f64).exp() * 3.9).abs() < 1e-9, "{}", found.p_value);
    }

    #[test]
    fn it_rejects_as_often_as_it_says_and_sees_a_small_shift() {
        let mut rng = rng(0, "chi");
        let p = [0.5, 0.3, 0.1, 0.06, 0.03, 0.008, 0.002];
        let mut counts = |law: &[f64]| {
            let mut counts = [0; 7];
            (0..1000).for_each(|_| counts[draw(law, &mut rng) as usize] += 1);
            chi_square(&counts, &p, 5.0)
        };
        let below = (0..1000).filter(|_| counts(&p).p_value < 0.05).count();
        // 50 expected, 7 the standard deviation.
        assert!((22..=78).contains(&below), "{below}");
        assert!(counts(&[0.4, 0.4, 0.1, 0.06, 0.03, 0.008, 0.002]).p_value < 1e-6);
    }

    #[test]
    fn rare_cells_are_pooled_and_impossible_ones_refute() {
        // 1 + 2 + 3 make a cell of 6, and 94 the other.
        let found = chi_square(&[1, 2, 3, 94], &[0.01, 0.02, 0.03, 0.94], 5.0);
        assert!(found.freedom == 1 && found.statistic < 1e-20 && found.p_value > 0.999_999, "{found:?}");
        assert_eq!(chi_square(&[1, 99], &[0.0, 1.0], 5.0).p_value, 0.0);
        assert_eq!(chi_square(&[], &[], 5.0).p_value, 1.0);
        // Two tests as one: 5.8 with four degrees of freedom each, tail `exp(−x/2) Σ (x/2)^i / i!` up to i = 3.
        let one = chi_square(&[43, 52, 54, 40, 61], &[0.2; 5], 5.0);
        let both = ChiSquare::together(&[one, one]);
        let tail = (-5.8_f64).exp() * (1.0 + 5.8 + 5.8_f64.powi(2) / 2.0 + 5.8_f64.powi(3) / 6.0);
        assert!(both.freedom == 8 && (both.p_value - tail).abs() < 1e-9);
        assert_eq!(ChiSquare::together(&[one, chi_square(&[1, 99], &[0.0, 1.0], 5.0)]).p_value, 0.0);
    }
}
