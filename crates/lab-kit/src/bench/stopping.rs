//! Percentiles from few queries: the early stopping of MLPerf Inference (`inference_policies`, Appendix on early stopping, as
//! it stood in July 2026), and the interval between two of the sorted values.

use lab_api::Interval;

// ANCHOR: largest_count
/// The largest `m` for which a binomial count of `trials` is at most `m` with a probability of at most `tail`; `None` where
/// even 0 is likelier. Summed in logarithms, since `0.99^270336` is no double.
fn largest_count(trials: u64, chance: f64, tail: f64) -> Option<u64> {
    let (n, odds) = (trials as f64, (chance / (1.0 - chance)).ln());
    let mut term = n * (1.0 - chance).ln();
    let mut sum = term;
    let mut found = None;
    for count in 0..=trials {
        if sum > tail.ln() {
            break;
        }
        found = Some(count);
        let k = count as f64;
        term += ((n - k) / (k + 1.0)).ln() + odds;
        sum = sum.max(term) + (-(sum - term).abs()).exp().ln_1p();
    }
    found
}
// ANCHOR_END: largest_count

/// How many of `queries` may be late for "a share `p` is in time" to hold with confidence `c`; `None` where even none would
/// prove nothing.
#[must_use]
pub fn late_allowed(queries: u64, p: f64, c: f64) -> Option<u64> {
    largest_count(queries, 1.0 - p, 1.0 - c)
}

// ANCHOR: min_queries
/// The fewest queries of which `late` may be late for "a share `p` is in time" to hold with confidence `c`. MLPerf writes it
/// as `h + t` with `I_p(h, t + 1) <= 1 - c`, which is the same sum.
#[must_use]
pub fn min_queries(late: u64, p: f64, c: f64) -> u64 {
    let enough = |queries: u64| late_allowed(queries, p, c).is_some_and(|allowed| allowed >= late);
    let mut high = late + 1;
    while !enough(high) {
        high *= 2;
    }
    let mut low = late;
    while high - low > 1 {
        let middle = u64::midpoint(low, high);
        if enough(middle) { high = middle } else { low = middle }
    }
    high
}
// ANCHOR_END: min_queries

// ANCHOR: claim
/// The latency that a share `p` does not exceed, as it may be claimed with confidence `c`: the `t`-th largest, with the largest
/// `t` of at least 1 that the number of queries allows. `None` where there are too few for any claim.
#[must_use]
pub fn claim(latencies: &[f64], p: f64, c: f64) -> Option<f64> {
    let late = late_allowed(latencies.len() as u64, p, c).filter(|late| *late >= 1)?;
    let mut sorted = latencies.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.len().checked_sub(usize::try_from(late).ok()?).and_then(|at| sorted.get(at).copied())
}
// ANCHOR_END: claim

/// Interval of the quantile `p`, between two of the sorted values, from the exact tails of the binomial (David and Nagaraja,
/// Order Statistics, section 7.1). `None` where either end would lie outside the sample.
#[must_use]
pub fn percentile_interval(values: &[f64], p: f64, level: f64) -> Option<Interval> {
    let (n, tail) = (values.len() as u64, (1.0 - level) / 2.0);
    let low = usize::try_from(largest_count(n, p, tail)?).ok()?;
    let high = values.len().checked_sub(usize::try_from(largest_count(n, 1.0 - p, tail)?).ok()? + 1)?;
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    Some(Interval { low: *sorted.get(low)?, high: *sorted.get(high)?, level })
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::rng;

    #[test]
    fn the_fewest_queries_are_those_of_the_rule() {
        // (p, late, queries), from the rule's formula in exact arithmetic; 662 is the `min_query_count` that the committee's
        // configuration sets for multi-stream.
        for (p, late, queries) in [
            (0.9, 0, 44),
            (0.9, 1, 64),
            (0.9, 2, 81),
            (0.9, 10, 197),
            (0.9, 100, 1246),
            (0.99, 0, 459),
            (0.99, 1, 662),
            (0.99, 2, 838),
            (0.99, 10, 2010),
            (0.99, 100, 12_571),
            (0.999, 1, 6636),
        ] {
            assert_eq!(min_queries(late, p, 0.99), queries, "{late} late at {p}");
            assert_eq!(late_allowed(queries, p, 0.99), Some(late));
        }
        assert_eq!(late_allowed(43, 0.9, 0.99), None);
    }

    #[test]
    fn the_sum_is_that_of_the_binomial() {
        // The naive twin: coefficients by multiplication, where they still fit.
        let naive = |n: u64, q: f64, m: u64| -> f64 {
            let term = |k: u64| {
                let choose: f64 = (0..k).map(|i| (n - i) as f64 / (i + 1) as f64).product();
                choose * q.powi(k as i32) * (1.0 - q).powi((n - k) as i32)
            };
            (0..=m).map(term).sum()
        };
        let mut rng = rng(0, "binomial");
        for _ in 0..200 {
            let (n, q, tail) = (rng.random_range(1..80), rng.random_range(0.02..0.98), rng.random_range(0.001..0.5));
            match largest_count(n, q, tail) {
                None => assert!(naive(n, q, 0) > tail - 1e-9),
                Some(m) => {
                    assert!(naive(n, q, m) <= tail + 1e-9, "{n} {q} {tail}: {m}");
                    assert!(m == n || naive(n, q, m + 1) > tail - 1e-9, "{n} {q} {tail}: {m}");
                }
            }
        }
    }

    #[test]
    fn what_is_claimed_errs_on_the_safe_side() {
        let upto = |n: usize| (1..=n).map(|i| i as f64).collect::<Vec<f64>>();
        assert_eq!(claim(&upto(662), 0.99, 0.99), Some(662.0));
        assert_eq!(claim(&upto(661), 0.99, 0.99), None);
        assert_eq!(claim(&upto(64), 0.9, 0.99), Some(64.0));
        // 5,000 queries for a 99th percentile tell the 99.34th.
        let told = claim(&upto(5000), 0.99, 0.99).expect("enough");
        assert!((0.9932..0.9936).contains(&((told - 1.0) / 5000.0)), "{told}");
        assert_eq!(claim(&[], 0.9, 0.99), None);
        assert_eq!(claim(&[3.0; 100], 0.9, 0.99), Some(3.0));
    }

    #[test]
    fn the_interval_of_a_percentile_covers_it() {
        let mut rng = rng(0, "percentile");
        let truth = -(0.1_f64).ln();
        let covered = (0..400).filter(|_| {
            let values: Vec<f64> = (0..120).map(|_| -(1.0 - rng.random::<f64>()).ln()).collect();
            percentile_interval(&values, 0.9, 0.95).is_some_and(|i| i.low <= truth && truth <= i.high)
        });
        // At least 95 % by construction: 380, less three standard deviations.
        let covered = covered.count();
        assert!(covered >= 367, "{covered} of 400");
        assert_eq!(percentile_interval(&[1.0, 2.0, 3.0], 0.99, 0.95), None);
        assert_eq!(percentile_interval(&[], 0.5, 0.95), None);
    }
}
