//! Intervals: exact ones for counts, bootstrapped ones for times and for data that come in clusters.

use std::collections::BTreeMap;

use lab_api::Interval;
pub use lab_kernels::percentile;
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

/// How much a sample foretells the one `lag` later: 1 wholly, 0 not at all. 0 where nothing varies.
#[must_use]
pub fn autocorrelation(samples: &[f64], lag: usize) -> f64 {
    let mean = samples.iter().sum::<f64>() / samples.len().max(1) as f64;
    let spread: f64 = samples.iter().map(|x| (x - mean).powi(2)).sum();
    let together: f64 = samples.iter().zip(samples.iter().skip(lag)).map(|(a, b)| (a - mean) * (b - mean)).sum();
    if spread > 0.0 { together / spread } else { 0.0 }
}

/// The first lag at which the autocorrelation has fallen under twice its standard error, `2 / sqrt(n)`: samples that far apart
/// say nothing of each other. At least 1, at most a quarter of the samples.
#[must_use]
pub fn block_length(samples: &[f64]) -> usize {
    let most = (samples.len() / 4).max(1);
    let noise = 2.0 / (samples.len().max(1) as f64).sqrt();
    (1..most).find(|lag| autocorrelation(samples, *lag) < noise).unwrap_or(most)
}

/// Samples from which on neighbours are asked whether they hang together: of fewer nobody can tell.
const ENOUGH: usize = 16;

/// How many neighbours the bootstrap draws at once: 1 where they are independent, as far as can be told; else twice the lag
/// at which they have forgotten each other, a third of the samples at most (the moving blocks of Künsch, 1989).
fn stretch(samples: &[f64]) -> usize {
    match block_length(samples) {
        length if length > 1 && samples.len() >= ENOUGH => (2 * length).min(samples.len() / 3),
        _ => 1,
    }
}

/// Resamples of the bootstrap.
const RESAMPLES: usize = 1000;

/// Interval of the median by the percentile bootstrap (Efron, 1979). `samples` stand in the order in which they were taken: where
/// many of them show that neighbours hang together, stretches are drawn ([`stretch`]).
#[must_use]
pub fn median_interval(samples: &[f64], level: f64, rng: &mut ChaCha8Rng) -> Interval {
    bootstrap(samples.len(), stretch(samples), level, rng, |picked| {
        median(&picked.iter().map(|i| samples[*i]).collect::<Vec<_>>())
    })
}

/// Interval of `median(a) / median(b)`, where `a[i]` and `b[i]` were measured side by side and are drawn together, so
/// that what slowed both does not widen it. Stretches are drawn as in [`median_interval`], by the ratios.
#[must_use]
pub fn ratio_interval(a: &[f64], b: &[f64], level: f64, rng: &mut ChaCha8Rng) -> Interval {
    let ratios: Vec<f64> = a.iter().zip(b).map(|(a, b)| a / b.max(f64::MIN_POSITIVE)).collect();
    bootstrap(ratios.len(), stretch(&ratios), level, rng, |picked| {
        let of = |values: &[f64]| median(&picked.iter().map(|i| values[*i]).collect::<Vec<_>>());
        of(a) / of(b).max(f64::MIN_POSITIVE)
    })
}

/// Interval of the mean of values that come in clusters (images of a font family, tokens of a document): whole clusters
/// are drawn, so that what the members of one have in common does not pass for evidence (Davison and Hinkley, 1997,
/// section 3.8). `groups[i]` names the cluster of `values[i]`; any numbers serve as names.
///
/// The mean is over members, so large clusters weigh more. With fewer than about 20 clusters the interval is too narrow.
#[must_use]
pub fn cluster_bootstrap(values: &[f64], groups: &[usize], level: f64, rng: &mut ChaCha8Rng) -> Interval {
    cluster_ratio_bootstrap(values, &vec![1.0; values.len()], groups, level, rng)
}

/// Interval of `sum(numerators) / sum(denominators)` of values in clusters, for example of the bits over the characters
/// of each token, drawn by document. See [`cluster_bootstrap`].
#[must_use]
pub fn cluster_ratio_bootstrap(
    numerators: &[f64],
    denominators: &[f64],
    groups: &[usize],
    level: f64,
    rng: &mut ChaCha8Rng,
) -> Interval {
    let mut sums = BTreeMap::<usize, (f64, f64)>::new();
    for ((above, below), group) in numerators.iter().zip(denominators).zip(groups) {
        let sum = sums.entry(*group).or_default();
        *sum = (sum.0 + above, sum.1 + below);
    }
    let sums: Vec<(f64, f64)> = sums.into_values().collect();
    bootstrap(sums.len(), 1, level, rng, |picked| {
        let (above, below) = picked.iter().fold((0.0, 0.0), |sum, i| (sum.0 + sums[*i].0, sum.1 + sums[*i].1));
        if below == 0.0 { 0.0 } else { above / below }
    })
}

/// The members of each cluster, in the order of the clusters' names.
pub(crate) fn members(groups: &[usize]) -> Vec<Vec<usize>> {
    let mut members = BTreeMap::<usize, Vec<usize>>::new();
    for (i, group) in groups.iter().enumerate() {
        members.entry(*group).or_default().push(i);
    }
    members.into_values().collect()
}

/// Interval of any statistic by the percentile bootstrap: `statistic` is asked for the value over the indices drawn from
/// `0..count`.
pub(crate) fn bootstrap(
    count: usize,
    block: usize,
    level: f64,
    rng: &mut ChaCha8Rng,
    statistic: impl Fn(&[usize]) -> f64,
) -> Interval {
    if count == 0 {
        return Interval { low: 0.0, high: 0.0, level };
    }
    let mut picked = vec![0; count];
    let mut values: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            for stretch in picked.chunks_mut(block) {
                let from = rng.random_range(0..count + 1 - block);
                stretch.iter_mut().enumerate().for_each(|(i, place)| *place = from + i);
            }
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
    fn correlation_by_hand() {
        let samples = [1.0, 2.0, 3.0, 4.0];
        // Deviations -1.5, -0.5, 0.5, 1.5: squares 5, neighbours 0.75 - 0.25 + 0.75.
        assert!((autocorrelation(&samples, 1) - 0.25).abs() < 1e-12);
        assert_eq!((autocorrelation(&samples, 0), autocorrelation(&samples, 9)), (1.0, 0.0));
        assert_eq!((autocorrelation(&[2.0; 9], 1), autocorrelation(&[], 1)), (0.0, 0.0));
        assert_eq!((block_length(&[]), block_length(&[1.0, 2.0])), (1, 1));
    }

    /// Times that keep most of the last one's deviation, as on a machine that another program slows down for a while.
    #[test]
    fn neighbours_that_hang_together_widen_the_interval() {
        let study = |rng: &mut ChaCha8Rng, kept: f64, shuffled: bool| {
            let mut state = normal(rng);
            let mut samples: Vec<f64> = (0..41)
                .map(|_| {
                    state = kept * state + (1.0 - kept * kept).sqrt() * normal(rng);
                    5.0 + state
                })
                .collect();
            if shuffled {
                rand::seq::SliceRandom::shuffle(&mut samples[..], rng);
            }
            median_interval(&samples, 0.95, rng)
        };
        // The same samples in another order look independent: there the interval holds the truth far too seldom.
        let (told, hidden) =
            (coverage(300, 5.0, |rng| study(rng, 0.6, false)), coverage(300, 5.0, |rng| study(rng, 0.6, true)));
        let free = coverage(300, 5.0, |rng| study(rng, 0.0, false));
        assert!(told > hidden + 0.05 && told > 0.75, "told {told}, hidden {hidden}");
        assert!(free > 0.88, "{free}");
        // Few samples are taken for independent: seeds of a training, say.
        assert_eq!(stretch(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]), 1);
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

    /// One number from the bell curve (Box and Muller, 1958).
    fn normal(rng: &mut ChaCha8Rng) -> f64 {
        let (a, b): (f64, f64) = (rng.random_range(f64::MIN_POSITIVE..1.0), rng.random());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }

    /// Share of simulated studies whose interval holds the true value.
    fn coverage(studies: u32, truth: f64, mut study: impl FnMut(&mut ChaCha8Rng) -> Interval) -> f64 {
        let mut rng = rng(0, "studies");
        let hit = |interval: Interval| interval.low <= truth && truth <= interval.high;
        (0..studies).filter(|_| hit(study(&mut rng))).count() as f64 / f64::from(studies)
    }

    #[test]
    fn intervals_cover_the_truth_as_often_as_they_say() {
        // 300 studies: two standard errors of a coverage of 0.95 are 0.025; the bootstrap itself falls a little short.
        let of_median = coverage(300, 2f64.ln(), |rng| {
            let samples: Vec<f64> = (0..41).map(|_| -rng.random_range(f64::MIN_POSITIVE..1.0).ln()).collect();
            median_interval(&samples, 0.95, rng)
        });
        assert!((0.90..=0.99).contains(&of_median), "{of_median}");
        let of_proportion =
            coverage(300, 0.9, |rng| proportion((0..200).filter(|_| rng.random_bool(0.9)).count(), 200, 0.95));
        assert!((0.93..=1.0).contains(&of_proportion), "{of_proportion}");
    }

    #[test]
    fn clusters_are_drawn_whole() {
        // 40 families of 25 members; half of the variance is the family's own.
        let study = |rng: &mut ChaCha8Rng, clustered: bool| {
            let (mut values, mut groups) = (Vec::new(), Vec::new());
            for family in 0..40 {
                let common = normal(rng);
                for member in 0..25 {
                    values.push(5.0 + common + normal(rng));
                    groups.push(if clustered { family } else { 25 * family + member });
                }
            }
            cluster_bootstrap(&values, &groups, 0.95, rng)
        };
        let right = coverage(300, 5.0, |rng| study(rng, true));
        assert!((0.90..=0.99).contains(&right), "{right}");
        let naive = coverage(60, 5.0, |rng| study(rng, false));
        assert!(naive < 0.6, "an interval that ignores the families covers the truth in {naive} of all studies");
    }

    #[test]
    fn a_ratio_of_clusters_is_that_of_the_sums() {
        // Whatever is drawn, numerators are thrice the denominators.
        let (above, below) = ([3.0, 6.0, 9.0, 30.0], [1.0, 2.0, 3.0, 10.0]);
        let ratio = cluster_ratio_bootstrap(&above, &below, &[7, 7, 9, 2], 0.95, &mut rng(0, "t"));
        assert!((ratio.low - 3.0).abs() < 1e-12 && (ratio.high - 3.0).abs() < 1e-12);
        // Two clusters of means 0 and 1: the resampled mean is 0, 1/2 or 1.
        let two = cluster_bootstrap(&[0.0, 0.0, 1.0, 1.0], &[0, 0, 1, 1], 0.95, &mut rng(0, "t"));
        assert_eq!((two.low, two.high), (0.0, 1.0));
        let nothing = cluster_bootstrap(&[], &[], 0.95, &mut rng(0, "t"));
        assert_eq!((nothing.low, nothing.high), (0.0, 0.0));
        assert_eq!(members(&[4, 1, 4]), [vec![1], vec![0, 2]]);
    }
}
