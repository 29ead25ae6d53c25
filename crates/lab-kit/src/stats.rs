//! Intervals: exact ones for counts, bootstrapped ones for times.

use lab_api::Interval;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use statrs::function::beta::beta_reg;

/// Interval of a proportion (Clopper and Pearson, 1934): covers the true one at least as often as `level` says.
///
/// The ends are where the binomial's tails hold `(1 - level) / 2` each, found by bisection.
#[must_use]
pub fn proportion(successes: usize, trials: usize, level: f64) -> Interval {
    let tail = (1.0 - level) / 2.0;
    let (k, n) = (successes as f64, trials as f64);
    // P(X >= k) grows with p, and is the regularized incomplete beta function of p.
    let low = if successes == 0 { 0.0 } else { solve(|p| beta_reg(k, n - k + 1.0, p) - tail) };
    let high = if successes >= trials { 1.0 } else { solve(|p| beta_reg(k + 1.0, n - k, p) - (1.0 - tail)) };
    Interval { low, high, level }
}

/// Root in `0..1` of a growing function.
fn solve(growing: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    // 60 halvings leave 1e-18.
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if growing(middle) < 0.0 { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// Interval of the difference of two paired proportions, from the pairs that disagree: `gained` became right, `lost`
/// became wrong, of `pairs` in all.
///
/// Each of the two shares gets its exact interval at half the error (Bonferroni), so the difference is covered at least
/// as often as `level` says, however few pairs disagree. Unlike an interval that conditions on the number of
/// disagreements, it does not shrink to a point when there is none.
#[must_use]
pub fn paired_difference(gained: usize, lost: usize, pairs: usize, level: f64) -> Interval {
    let each = 1.0 - (1.0 - level) / 2.0;
    let (up, down) = (proportion(gained, pairs, each), proportion(lost, pairs, each));
    Interval { low: up.low - down.high, high: up.high - down.low, level }
}

/// The middle value; the mean of the two middle ones for an even count; 0 of nothing.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// The value below which `percent` of the values lie, interpolated between neighbours; 0 of nothing.
#[must_use]
pub fn percentile(values: &[f32], percent: f64) -> f32 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let position = (percent / 100.0).clamp(0.0, 1.0) * last as f64;
    let (below, part) = (position.floor() as usize, (position.fract()) as f32);
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * part
}

/// Resamples of the bootstrap.
const RESAMPLES: usize = 1000;

/// Interval of the median by the percentile bootstrap (Efron, 1979).
#[must_use]
pub fn median_interval(samples: &[f64], level: f64, rng: &mut ChaCha8Rng) -> Interval {
    bootstrap(samples.len(), level, rng, |picked| median(&picked.iter().map(|i| samples[*i]).collect::<Vec<_>>()))
}

/// Interval of `median(a) / median(b)`, where `a[i]` and `b[i]` were measured side by side and are drawn together, so
/// that what slowed both does not widen it.
#[must_use]
pub fn ratio_interval(a: &[f64], b: &[f64], level: f64, rng: &mut ChaCha8Rng) -> Interval {
    bootstrap(a.len().min(b.len()), level, rng, |picked| {
        let of = |values: &[f64]| median(&picked.iter().map(|i| values[*i]).collect::<Vec<_>>());
        of(a) / of(b).max(f64::MIN_POSITIVE)
    })
}

fn bootstrap(count: usize, level: f64, rng: &mut ChaCha8Rng, statistic: impl Fn(&[usize]) -> f64) -> Interval {
    if count == 0 {
        return Interval { low: 0.0, high: 0.0, level };
    }
    let mut picked = vec![0; count];
    let mut values: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            picked.fill_with(|| rng.random_range(0..count));
            statistic(&picked)
        })
        .collect();
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((share * RESAMPLES as f64) as usize).min(RESAMPLES - 1)];
    Interval { low: at((1.0 - level) / 2.0), high: at(f64::midpoint(1.0, level)), level }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::rng;

    fn near(interval: Interval, low: f64, high: f64) {
        assert!((interval.low - low).abs() < 5e-5 && (interval.high - high).abs() < 5e-5, "{interval:?}");
    }

    #[test]
    fn proportions_agree_with_published_values() {
        // R: binom.test(c(7, 3)), binom.test(c(0, 10)), binom.test(c(10, 0)), binom.test(c(1, 99)).
        near(proportion(7, 10, 0.95), 0.34755, 0.93326);
        near(proportion(0, 10, 0.95), 0.0, 0.30850);
        near(proportion(10, 10, 0.95), 0.69150, 1.0);
        near(proportion(1, 100, 0.95), 0.000_253, 0.054_459);
    }

    #[test]
    fn no_disagreement_still_leaves_room_for_some() {
        let none = paired_difference(0, 0, 1797, 0.95);
        // (0.0125)^(1/1797): the closed form of the one-sided end at half the error.
        let end = 1.0 - 0.0125_f64.powf(1.0 / 1797.0);
        near(none, -end, end);
        let worse = paired_difference(1, 30, 1797, 0.95);
        assert!(worse.high < 0.0 && worse.low < -29.0 / 1797.0);
    }

    #[test]
    fn medians_and_percentiles() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(percentile(&[0.0, 1.0, 2.0, 3.0, 4.0], 50.0), 2.0);
        assert_eq!(percentile(&[0.0, 1.0], 75.0), 0.75);
        assert_eq!(percentile(&[5.0, 1.0], 100.0), 5.0);
    }

    #[test]
    fn a_paired_ratio_ignores_what_slows_both() {
        let noise: Vec<f64> = (0..31).map(|i| 1.0 + f64::from(i % 7)).collect();
        let double: Vec<f64> = noise.iter().map(|value| 2.0 * value).collect();
        let ratio = ratio_interval(&double, &noise, 0.95, &mut rng(0, "t"));
        assert_eq!((ratio.low, ratio.high), (2.0, 2.0));
        let one = median_interval(&noise, 0.95, &mut rng(0, "t"));
        assert!(one.low < one.high && one.low <= median(&noise) && median(&noise) <= one.high);
    }
}
