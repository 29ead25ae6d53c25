//! What queueing theory knows of one server, and percentiles of what was measured.

// ANCHOR: lindley
/// How long each request waits for one server that serves in order (Lindley, 1952): it begins when it is there and the one
/// before is done.
#[must_use]
pub fn lindley(arrivals: &[f64], service: &[f64]) -> Vec<f64> {
    let mut free = f64::NEG_INFINITY;
    let begin = |(arrival, service): (&f64, &f64)| {
        let start = arrival.max(free);
        free = start + service;
        start - arrival
    };
    arrivals.iter().zip(service).map(begin).collect()
}
// ANCHOR_END: lindley

/// Mean wait before one server when requests come at random, `rate` of them in a unit of time, and take these times:
/// `rate · E[S²] / (2 (1 - rate · E[S]))` (Pollaczek, 1930; Khinchine, 1932). `None` where they come faster than they are
/// served, so that no mean exists.
#[must_use]
pub fn pollaczek_khinchine(rate: f64, service: &[f64]) -> Option<f64> {
    let mean = |power: i32| service.iter().map(|s| s.powi(power)).sum::<f64>() / service.len().max(1) as f64;
    let busy = rate * mean(1);
    (busy < 1.0).then(|| rate * mean(2) / (2.0 * (1.0 - busy)))
}

/// The value below which this share of the values lies, interpolated between neighbours; 0 of nothing.
#[must_use]
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let position = share.clamp(0.0, 1.0) * last as f64;
    let (below, part) = (position.floor() as usize, position.fract());
    sorted[below] + (sorted[(below + 1).min(last)] - sorted[below]) * part
}

/// A 95 % interval of a quantile, from two of the sorted values (David and Nagaraja, Order Statistics, section 7.1): how many
/// of `n` values lie below the true one is binomial, here by its normal approximation. `None` where the upper end would be
/// beyond the largest value: 99 of 100 cannot be told from 100 requests.
#[must_use]
pub fn quantile_interval(values: &[f64], share: f64) -> Option<(f64, f64)> {
    let n = values.len() as f64;
    let reach = 1.96 * (n * share * (1.0 - share)).sqrt();
    let (low, high) = ((n * share - reach).floor(), (n * share + reach).ceil());
    if low < 1.0 || high > n {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    Some((sorted[low as usize - 1], sorted[high as usize - 1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_by_hand() {
        // Three at once and one late: each waits for those before it.
        assert_eq!(lindley(&[0.0, 0.0, 1.0, 9.0], &[2.0, 3.0, 1.0, 1.0]), [0.0, 2.0, 4.0, 0.0]);
        assert!(lindley(&[], &[]).is_empty());
    }

    #[test]
    fn the_formula_for_equal_times_is_that_of_m_d_1() {
        let wait = pollaczek_khinchine(0.8, &[1.0]).expect("stable");
        assert!((wait - 0.8 / (2.0 * 0.2)).abs() < 1e-12);
        assert_eq!(pollaczek_khinchine(1.0, &[1.0]), None);
    }

    #[test]
    fn quantiles_and_how_far_they_can_be_told() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!((quantile(&values, 0.5), quantile(&values, 1.0), quantile(&[], 0.5)), (50.5, 100.0, 0.0));
        // 50 ± 9.8, outward.
        assert_eq!(quantile_interval(&values, 0.5), Some((40.0, 60.0)));
        assert_eq!(quantile_interval(&values, 0.99), None);
        let many: Vec<f64> = (1..=1000).map(f64::from).collect();
        assert!(quantile_interval(&many, 0.99).is_some());
    }
}
