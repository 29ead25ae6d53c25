//! Setting thresholds and temperatures on data that no training saw.

use super::rule::{mean_cost, softmax};
use crate::order::Ordered as _;
use crate::stats::proportion;

/// The temperature at which the probabilities of logits `[inputs, classes]` fit the labels best, by the likelihood (Guo et
/// al., 2017, arXiv:1706.04599): a golden section over its logarithm, from 1/20 to 20. 1 for no inputs.
#[must_use]
pub fn temperature(logits: &[f32], labels: &[u8], classes: usize) -> f32 {
    if labels.is_empty() {
        return 1.0;
    }
    let nats = |log_t: f64| {
        let one = |(row, label): (&[f32], &u8)| {
            let p = softmax(row, log_t.exp() as f32).get(usize::from(*label)).copied().unwrap_or(0.0);
            -f64::from(p.max(f32::MIN_POSITIVE)).ln()
        };
        logits.chunks_exact(classes).zip(labels).map(one).sum::<f64>()
    };
    let golden = (5.0_f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (-(20.0_f64.ln()), 20.0_f64.ln());
    let (mut a, mut b) = (high - golden * (high - low), low + golden * (high - low));
    let (mut at_a, mut at_b) = (nats(a), nats(b));
    for _ in 0..20 {
        if at_a < at_b {
            (high, b, at_b) = (b, a, at_a);
            a = high - golden * (high - low);
            at_a = nats(a);
        } else {
            (low, a, at_a) = (a, b, at_b);
            b = low + golden * (high - low);
            at_b = nats(b);
        }
    }
    f64::midpoint(low, high).exp() as f32
}

/// Certainties in descending order, with how many of those at least as certain are wrong, one entry for each distinct value.
fn ranked(confidences: &[f32], right: &[bool]) -> Vec<(f32, usize, usize)> {
    let mut all: Vec<(f32, bool)> =
        confidences.iter().copied().zip(right.iter().copied()).filter(|(c, _)| !c.is_nan()).collect();
    all.ordered_by(&|a, b| b.0.total_cmp(&a.0));
    let (mut found, mut wrong): (Vec<(f32, usize, usize)>, usize) = (Vec::new(), 0);
    for (i, (confidence, right)) in all.into_iter().enumerate() {
        wrong += usize::from(!right);
        match found.last_mut().filter(|last| last.0 == confidence) {
            Some(last) => *last = (confidence, i + 1, wrong),
            None => found.push((confidence, i + 1, wrong)),
        }
    }
    found
}

// ANCHOR: for_error
/// The lowest threshold at which no more than `target` of those who leave are wrong, in *these* data; `None` where there is
/// none. The share holds for the data at hand: see [`threshold_bounded`] for what it says about others.
#[must_use]
pub fn threshold_for_error(confidences: &[f32], right: &[bool], target: f64) -> Option<f32> {
    let good = |(_, count, wrong): &&(f32, usize, usize)| *wrong as f64 <= target * *count as f64;
    ranked(confidences, right).iter().rfind(good).map(|(threshold, ..)| *threshold)
}
// ANCHOR_END: for_error

/// Inputs that it takes, all of them right, before an error of at most `target` is certain at level 0.95.
#[must_use]
pub fn tolerable(target: f64) -> usize {
    (0.05_f64.ln() / (1.0 - target).ln()).ceil().max(1.0) as usize
}

// ANCHOR: bounded
/// The lowest threshold at which the error of those who leave is at most `target` with confidence 0.95, by the exact
/// (Clopper-Pearson) bound. Thresholds are tried from strict to loose, in steps of 1 % of the inputs, until the first that
/// fails: in a fixed order each may spend the whole 5 % (fixed-sequence testing, as in arXiv:2110.01052). The first lets
/// three times the fewest inputs leave that could pass at all. `None` where it fails already.
#[must_use]
pub fn threshold_bounded(confidences: &[f32], right: &[bool], target: f64) -> Option<f32> {
    let (ranked, count) = (ranked(confidences, right), confidences.len());
    let step = (count / 100).max(1);
    let (mut wanted, mut passed) = ((3 * tolerable(target)).min(count), None);
    for (threshold, count, wrong) in ranked {
        if count < wanted {
            continue;
        }
        // Both sides of a 90 % interval leave out 5 %.
        if proportion(wrong, count, 0.90).high > target {
            break;
        }
        passed = Some(threshold);
        wanted = count + step;
    }
    passed
}
// ANCHOR_END: bounded

/// Shares that fall by the same factor from exit to exit, in proportion to `q (1 − q)^k` (MSDNet, arXiv:1703.09844).
#[must_use]
pub fn geometric_shares(q: f64, exits: usize) -> Vec<f64> {
    let raw: Vec<f64> = (0..exits).map(|k| (1.0 - q).powi(i32::try_from(k).unwrap_or(i32::MAX))).collect();
    let sum: f64 = raw.iter().sum();
    raw.iter().map(|share| share / sum).collect()
}

/// Thresholds with which inputs cost `budget` on average, or the cheapest: shares as [`geometric_shares`], with a quantile
/// of the certainties `[exits][inputs]` *of those still there* at each exit.
#[must_use]
pub fn thresholds_for_budget(confidences: &[Vec<f32>], costs: &[f64], budget: f64) -> Vec<f32> {
    let exits = costs.len();
    // From all at the last exit, as good as, to all at the first.
    let (mut low, mut high) = (-8.0_f64, 1.0 - 1e-9);
    for _ in 0..60 {
        let q = f64::midpoint(low, high);
        if mean_cost(&geometric_shares(q, exits), costs) > budget { low = q } else { high = q }
    }
    let shares = geometric_shares(high, exits);
    let count = confidences.first().map_or(0, Vec::len);
    let (mut here, mut thresholds): (Vec<usize>, Vec<f32>) = ((0..count).collect(), Vec::new());
    for (all, share) in confidences.iter().zip(&shares).take(exits.saturating_sub(1)) {
        here.ordered_by(&|a, b| all[*b].total_cmp(&all[*a]));
        let leave = ((share * count as f64).round() as usize).min(here.len());
        thresholds.push(if leave == 0 { f32::INFINITY } else { all[here[leave - 1]] });
        here.drain(..leave);
    }
    thresholds
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::Rng;

    use super::*;
    use crate::rng;

    #[test]
    fn the_bound_takes_as_many_clean_inputs_as_the_exact_interval_says() {
        assert_eq!((tolerable(0.01), tolerable(0.02)), (299, 149));
        let upper = |wrong, count| proportion(wrong, count, 0.90).high;
        for (wrong, count, expected) in
            [(0, 100, 0.029_513), (0, 299, 0.009_969), (0, 298, 0.010_002), (5, 1000, 0.010_484), (20, 2000, 0.014_498)]
        {
            assert!((upper(wrong, count) - expected).abs() < 2e-6, "{wrong}/{count}: {}", upper(wrong, count));
        }
        let clean = |count: usize| {
            let confidences: Vec<f32> = (0..count).map(|i| 1.0 - i as f32 / 1e4).collect();
            threshold_bounded(&confidences, &vec![true; count], 0.01)
        };
        assert!(clean(298).is_none() && clean(299).is_some());
    }

    #[test]
    fn thresholds_at_the_ends() {
        let confidences = [0.9, 0.8, 0.8, 0.3];
        assert_eq!(threshold_for_error(&confidences, &[true; 4], 0.01), Some(0.3));
        assert_eq!(threshold_for_error(&confidences, &[false; 4], 0.5), None);
        assert_eq!(threshold_for_error(&[], &[], 0.5), None);
        // Of two inputs of one certainty none can leave without the other.
        assert_eq!(threshold_for_error(&confidences, &[true, true, false, false], 0.1), Some(0.9));
        assert_eq!(threshold_for_error(&[f32::NAN, 0.5], &[true, true], 0.1), Some(0.5));
    }

    #[test]
    fn a_bounded_threshold_keeps_its_promise_on_other_data() {
        // Right with a probability equal to the certainty; the target is 5 %. The bound may fail once in twenty draws.
        let (mut broken, mut plain_broken, mut found) = (0, 0, 0);
        for seed in 0..60 {
            let mut rng = rng(seed, "inputs");
            let confidences: Vec<f32> = (0..1000).map(|_| 1.0 - 0.3 * rng.random::<f32>().powi(2)).collect();
            let right: Vec<bool> = confidences.iter().map(|c| rng.random::<f32>() < *c).collect();
            // The true error of those above a threshold is the mean of 1 − c over the distribution.
            let truth = |threshold: f32| {
                let u = f64::from((1.0 - threshold) / 0.3).sqrt();
                0.3 * u.powi(2) / 3.0
            };
            if let Some(threshold) = threshold_bounded(&confidences, &right, 0.05) {
                found += 1;
                broken += usize::from(truth(threshold) > 0.05);
            }
            let plain = threshold_for_error(&confidences, &right, 0.05).expect("some are certain");
            plain_broken += usize::from(truth(plain) > 0.05);
        }
        assert!(found > 50 && broken <= 7, "{broken} of {found}");
        assert!(plain_broken > 20, "without a bound about half break it: {plain_broken}");
    }

    #[test]
    fn the_temperature_undoes_a_stretch() {
        let mut rng = rng(0, "logits");
        let (mut logits, mut labels) = (Vec::new(), Vec::new());
        for _ in 0..4000 {
            let row: Vec<f32> = (0..5).map(|_| rng.random_range(-2.0..2.0)).collect();
            let mut u: f32 = rng.random();
            let p = softmax(&row, 1.0);
            let label = p
                .iter()
                .position(|p| {
                    u -= p;
                    u < 0.0
                })
                .unwrap_or(4);
            labels.push(label as u8);
            logits.extend(row.iter().map(|z| 3.0 * z));
        }
        let found = temperature(&logits, &labels, 5);
        assert!((found - 3.0).abs() < 0.2, "{found}");
        assert_eq!(temperature(&[], &[], 5), 1.0);
    }

    #[test]
    fn shares_and_budgets() {
        let near = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(near(&geometric_shares(0.5, 3), &[0.571_429, 0.285_714, 0.142_857]));
        assert!(near(&geometric_shares(0.7, 3), &[0.719_424, 0.215_827, 0.064_748]));
        let mut rng = rng(0, "certainties");
        let confidences: Vec<Vec<f32>> = (0..3).map(|_| (0..2000).map(|_| rng.random()).collect()).collect();
        let costs = [0.1, 0.5, 1.0];
        for budget in [0.2, 0.4, 0.7] {
            let thresholds = thresholds_for_budget(&confidences, &costs, budget);
            let verdicts = crate::exits::Verdicts { answers: vec![vec![0; 2000]; 3], confidences: confidences.clone() };
            let shares = verdicts.shares(&verdicts.leave(&crate::exits::Policy::Thresholds(thresholds)));
            assert!((mean_cost(&shares, &costs) - budget).abs() < 2e-3, "{budget}: {shares:?}");
        }
    }

    proptest! {
        #[test]
        fn the_error_on_the_given_data_never_exceeds_the_target(
            data in prop::collection::vec((0.0_f32..1.0, any::<bool>()), 1..60), target in 0.0_f64..0.6,
        ) {
            let confidences: Vec<f32> = data.iter().map(|d| (d.0 * 10.0).round() / 10.0).collect();
            let right: Vec<bool> = data.iter().map(|d| d.1).collect();
            if let Some(threshold) = threshold_for_error(&confidences, &right, target) {
                let left: Vec<bool> = confidences.iter().zip(&right).filter(|(c, _)| **c >= threshold).map(|(_, r)| *r).collect();
                let wrong = left.iter().filter(|r| !**r).count();
                prop_assert!(wrong as f64 <= target * left.len() as f64);
            }
        }
    }
}
