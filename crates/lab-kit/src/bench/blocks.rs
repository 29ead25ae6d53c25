//! Samples that hang together: how much, what they are worth, and an interval that knows it.

use lab_api::Interval;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::Statistic;
use crate::stats::{autocorrelation, block_length};

/// Resamples of the bootstrap.
pub(super) const RESAMPLES: usize = 1000;

// ANCHOR: effective
/// As many independent samples as these are worth for their mean: `n / (1 + 2 (r_1 + r_2 + ...))`, summed until the
/// autocorrelation is lost in its own noise.
#[must_use]
pub fn effective_samples(samples: &[f64]) -> f64 {
    let together: f64 = (1..block_length(samples)).map(|lag| autocorrelation(samples, lag)).sum();
    samples.len() as f64 / (1.0 + 2.0 * together)
}
// ANCHOR_END: effective

// ANCHOR: block_bootstrap
/// Interval of a statistic by drawing whole stretches of `block` neighbours (the moving blocks of Künsch, 1989), so that what
/// neighbours share stays together. A block of 1 is the ordinary bootstrap, which takes all samples for independent.
#[must_use]
pub fn block_bootstrap(
    samples: &[f64],
    block: usize,
    statistic: Statistic,
    level: f64,
    rng: &mut ChaCha8Rng,
) -> Interval {
    let (n, block) = (samples.len(), block.clamp(1, samples.len().max(1)));
    if n == 0 {
        return Interval { low: 0.0, high: 0.0, level };
    }
    let mut drawn = Vec::with_capacity(n + block);
    let mut values = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        drawn.clear();
        while drawn.len() < n {
            let from = rng.random_range(0..=n - block);
            drawn.extend_from_slice(&samples[from..from + block]);
        }
        drawn.truncate(n);
        values.push(statistic.of(&mut drawn));
    }
    middle(&mut values, level)
}
// ANCHOR_END: block_bootstrap

/// The middle part of the values, `level` of them.
pub(super) fn middle(values: &mut [f64], level: f64) -> Interval {
    values.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| values[((share * values.len() as f64) as usize).min(values.len() - 1)];
    Interval { low: at((1.0 - level) / 2.0), high: at(f64::midpoint(1.0, level)), level }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::rng;

    /// A series in which each sample keeps a share `kept` of the one before: AR(1), mean `mean`, standard deviation `spread`.
    pub(crate) fn drifting(n: usize, kept: f64, mean: f64, spread: f64, rng: &mut ChaCha8Rng) -> Vec<f64> {
        let mut normal = || {
            let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
            radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
        };
        let mut state = normal();
        let step = |_| {
            let now = state;
            state = kept * state + (1.0 - kept * kept).sqrt() * normal();
            mean + spread * now
        };
        (0..n).map(step).collect()
    }

    #[test]
    fn samples_that_repeat_each_other_are_worth_fewer() {
        let mut rng = rng(0, "effective");
        // For AR(1) the sum is (1 + r) / (1 - r): 3 at one half.
        let worth = |kept: f64, rng: &mut ChaCha8Rng| {
            let all: Vec<f64> = (0..40).map(|_| effective_samples(&drifting(400, kept, 0.0, 1.0, rng))).collect();
            all.iter().sum::<f64>() / 40.0
        };
        let (free, half, bound) = (worth(0.0, &mut rng), worth(0.5, &mut rng), worth(0.9, &mut rng));
        assert!((380.0..420.0).contains(&free) && (115.0..185.0).contains(&half), "{free} {half}");
        assert!((15.0..70.0).contains(&bound), "{bound}");
    }

    #[test]
    fn blocks_cover_where_single_draws_do_not() {
        for (kept, least, naive_most) in [(0.0, 0.90, 1.0), (0.5, 0.88, 0.87), (0.9, 0.78, 0.55)] {
            let mut rng = rng(1, "coverage");
            let (mut blocks, mut single) = (0, 0);
            for _ in 0..100 {
                let samples = drifting(400, kept, 5.0, 1.0, &mut rng);
                let covers = |interval: Interval| usize::from(interval.low <= 5.0 && 5.0 <= interval.high);
                // A block has to be some times longer than the correlation: here five times, of an n that allows it.
                let block = (5 * block_length(&samples) / 2).min(60);
                blocks += covers(block_bootstrap(&samples, block, Statistic::Mean, 0.95, &mut rng));
                single += covers(block_bootstrap(&samples, 1, Statistic::Mean, 0.95, &mut rng));
            }
            let (blocks, single) = (blocks as f64 / 100.0, single as f64 / 100.0);
            assert!(blocks >= least && single <= naive_most, "{kept}: blocks {blocks}, single draws {single}");
        }
    }

    #[test]
    fn odd_lengths() {
        let mut rng = rng(0, "odd");
        let of = |samples: &[f64], block, rng: &mut ChaCha8Rng| {
            let Interval { low, high, .. } = block_bootstrap(samples, block, Statistic::Median, 0.95, rng);
            (low, high)
        };
        assert_eq!(of(&[], 3, &mut rng), (0.0, 0.0));
        assert_eq!(of(&[2.0], 3, &mut rng), (2.0, 2.0));
        assert_eq!(of(&[2.0; 7], 3, &mut rng), (2.0, 2.0));
        // A block as long as the series has one place: no spread.
        assert_eq!(of(&[1.0, 2.0, 3.0], 3, &mut rng), (2.0, 2.0));
    }
}
