//! What an entry is worth: ratios, a gate, and what each step brought.

// ANCHOR: all_round
/// The geometric mean of ratios (before over after): the same whatever unit, and whatever machine, each of them was measured with
/// (Fleming and Wallace, 1986). 0 where a ratio is not positive.
#[must_use]
pub fn all_round(ratios: &[f64]) -> f64 {
    let logs: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
    let mean = (logs / ratios.len().max(1) as f64).exp();
    if mean.is_finite() { mean } else { 0.0 }
}
// ANCHOR_END: all_round

/// The naive twin: whoever is rewarded by it can win by measuring on another machine.
#[must_use]
pub fn mean_of_ratios(ratios: &[f64]) -> f64 {
    ratios.iter().sum::<f64>() / ratios.len().max(1) as f64
}

// ANCHOR: gate
/// Whether an entry may be ranked: the upper end of the interval of its loss, not its middle, is within the floor. A text so short
/// that nothing can be told from it passes nobody.
#[must_use]
pub fn gate(upper: f64, floor: f64) -> bool {
    upper <= floor
}
// ANCHOR_END: gate

/// The most that all gain where a share of the time becomes so many times as fast (Amdahl, 1967).
#[must_use]
pub fn amdahl(share: f64, speedup: f64) -> f64 {
    1.0 / (1.0 - share + share / speedup)
}

/// What each step adds to the value before it, in order: `values[k]` is that of the first `k` steps.
#[must_use]
pub fn in_order(values: &[f64]) -> Vec<f64> {
    values.windows(2).map(|two| two[1] - two[0]).collect()
}

// ANCHOR: shapley
/// What each of `m` steps adds on average over all orders in which they could be taken (Shapley, 1953). `value(S)` is that of the
/// steps whose bits are set in `S`; it is asked once for each of the `2^m` sets. The parts sum up to the whole.
pub fn shapley(values: &[f64]) -> Vec<f64> {
    let m = values.len().max(1).ilog2() as usize;
    let factorial = |n: usize| (1..=n).map(|i| i as f64).product::<f64>();
    let weight = |size: usize| factorial(size) * factorial(m - size - 1) / factorial(m);
    let of = |step: usize| {
        let without = (0..values.len()).filter(|set| set & (1 << step) == 0);
        without.map(|set| weight(set.count_ones() as usize) * (values[set | (1 << step)] - values[set])).sum()
    };
    (0..m).map(of).collect()
}
// ANCHOR_END: shapley

#[cfg(test)]
mod tests {
    use rand::{Rng, seq::SliceRandom};

    use super::*;

    #[test]
    fn a_ranking_by_the_geometric_mean_does_not_depend_on_units() {
        let mut rng = crate::rng(0, "ratios");
        for _ in 0..200 {
            let mut entry = || -> Vec<f64> { (0..5).map(|_| rng.random_range(0.2..50.0)).collect() };
            let (a, b) = (entry(), entry());
            let before = all_round(&a) > all_round(&b);
            let by: f64 = rng.random_range(0.01..100.0);
            let scaled =
                |x: &[f64]| x.iter().enumerate().map(|(i, x)| if i == 2 { x * by } else { *x }).collect::<Vec<_>>();
            assert_eq!(all_round(&scaled(&a)) > all_round(&scaled(&b)), before);
            let swapped: Vec<f64> = a.iter().map(|x| 1.0 / x).collect();
            assert!((all_round(&swapped) * all_round(&a) - 1.0).abs() < 1e-12);
        }
        // Two rows, two machines: the arithmetic mean ranks them by the machine.
        let (a, b) = ([10.0, 1.0], [3.0, 3.0]);
        assert!(mean_of_ratios(&a) > mean_of_ratios(&b));
        let slower = |x: [f64; 2]| [x[0] / 10.0, x[1]];
        assert!(mean_of_ratios(&slower(a)) < mean_of_ratios(&slower(b)));
        assert!(all_round(&a) > all_round(&b) && all_round(&slower(a)) > all_round(&slower(b)));
        assert_eq!((all_round(&[1.0; 5]), all_round(&[0.0, 2.0])), (1.0, 0.0));
    }

    #[test]
    fn a_gate_is_monotone_in_the_floor() {
        for upper in [-0.5, 0.4, 0.99, 1.0, 1.01] {
            let passes: Vec<bool> = [0.5, 1.0, 2.0].iter().map(|floor| gate(upper, *floor)).collect();
            assert!(passes.is_sorted(), "{upper}");
        }
        assert!(!gate(f64::NAN, 2.0));
        assert!((amdahl(0.5, f64::INFINITY) - 2.0).abs() < 1e-12 && amdahl(0.3, 1.0) == 1.0);
    }

    #[test]
    fn parts_sum_up_to_the_whole_and_are_the_mean_over_all_orders() {
        let mut rng = crate::rng(1, "values");
        for m in 0..6 {
            let values: Vec<f64> =
                (0..1 << m).map(|set| if set == 0 { 0.0 } else { rng.random_range(-1.0..3.0) }).collect();
            let parts = shapley(&values);
            assert_eq!(parts.len(), m);
            assert!((parts.iter().sum::<f64>() - (values[values.len() - 1] - values[0])).abs() < 1e-9);
            let mut sums = vec![0.0; m];
            let (mut order, rounds) = ((0..m).collect::<Vec<_>>(), 40_000);
            for _ in 0..rounds {
                order.shuffle(&mut rng);
                let mut set = 0;
                for step in &order {
                    sums[*step] += values[set | (1 << step)] - values[set];
                    set |= 1 << step;
                }
            }
            assert!(parts.iter().zip(sums).all(|(part, sum)| (part - sum / f64::from(rounds)).abs() < 0.05));
        }
        // Steps that do not meddle with each other get what they bring alone.
        let alone = [0.3, 1.1, -0.2];
        let values: Vec<f64> =
            (0..8).map(|set| (0..3).filter(|i| set & (1 << i) != 0).map(|i| alone[i]).sum()).collect();
        assert!(shapley(&values).iter().zip(alone).all(|(a, b)| (a - b).abs() < 1e-12));
        assert_eq!(in_order(&[0.0, 1.0, 0.5]), [1.0, -0.5]);
    }
}
