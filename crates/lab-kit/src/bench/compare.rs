//! Two variants: which statistic, which interval, how many runs, and the gate that a method must pass before it may judge.

use lab_api::{Interval, LabError};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::blocks::{RESAMPLES, middle};
use crate::{Context, measure::Pair};

/// What stands for many samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statistic {
    /// What a long run adds up to; one pause moves it.
    Mean,
    /// What the middle call takes; pauses move it little.
    Median,
    /// What the least disturbed call takes: no promise to anybody.
    Minimum,
}

impl Statistic {
    /// Of these values, which it may put into another order; 0 of nothing.
    #[must_use]
    pub fn of(self, values: &mut [f64]) -> f64 {
        let n = values.len();
        match self {
            _ if n == 0 => 0.0,
            Self::Mean => values.iter().sum::<f64>() / n as f64,
            Self::Minimum => values.iter().copied().fold(f64::INFINITY, f64::min),
            Self::Median => {
                let (below, middle, _) = values.select_nth_unstable_by(n / 2, f64::total_cmp);
                let largest_below = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                if n % 2 == 1 { *middle } else { f64::midpoint(largest_below, *middle) }
            }
        }
    }
}

// ANCHOR: naive
/// How it is often done: all calls of one, then all calls of the other, and a quotient without an interval.
///
/// # Errors
/// What the variants return.
pub async fn naive_speedup(
    cx: &Context,
    calls: usize,
    mut first: impl AsyncFnMut() -> Result<(), LabError>,
    mut second: impl AsyncFnMut() -> Result<(), LabError>,
) -> Result<f64, LabError> {
    let start = cx.now_ms();
    for _ in 0..calls {
        first().await?;
    }
    let between = cx.now_ms();
    for _ in 0..calls {
        second().await?;
    }
    Ok((between - start) / (cx.now_ms() - between).max(f64::MIN_POSITIVE))
}
// ANCHOR_END: naive

// ANCHOR: ratio_interval
/// Interval of the quotient of two statistics by the bootstrap. `paired`: `first[i]` and `second[i]` were taken one right after
/// the other and are drawn together, so that what slowed both does not count. With fewer than two samples nothing is known,
/// and the interval has no end (as far as a double goes).
#[must_use]
pub fn ratio_interval(
    first: &[f64],
    second: &[f64],
    statistic: Statistic,
    paired: bool,
    level: f64,
    rng: &mut ChaCha8Rng,
) -> Interval {
    let n = first.len().min(second.len());
    if n < 2 {
        return Interval { low: 0.0, high: f64::MAX, level };
    }
    let (mut one, mut other) = (vec![0.0; n], vec![0.0; n]);
    let mut values = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        for i in 0..n {
            let drawn = rng.random_range(0..n);
            one[i] = first[drawn];
            other[i] = second[if paired { drawn } else { rng.random_range(0..n) }];
        }
        values.push(statistic.of(&mut one) / statistic.of(&mut other).max(f64::MIN_POSITIVE));
    }
    middle(&mut values, level)
}
// ANCHOR_END: ratio_interval

/// Standard deviation over mean; 0 of fewer than two.
#[must_use]
pub fn coefficient_of_variation(samples: &[f64]) -> f64 {
    let n = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / n.max(1.0);
    let square = samples.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    if mean > 0.0 { square.sqrt() / mean } else { 0.0 }
}

// ANCHOR: runs_needed
/// Independent runs of each variant to see a relative `difference` in 80 of 100 experiments, with false alarms in 5 of 100,
/// where single runs scatter by `cv` (standard deviation over mean): `2 (1.960 + 0.842)² (cv / difference)²`, rounded up.
#[must_use]
pub fn runs_needed(cv: f64, difference: f64) -> f64 {
    const REACH: f64 = 1.959_964 + 0.841_621;
    (2.0 * (REACH * cv / difference.max(f64::MIN_POSITIVE)).powi(2)).ceil()
}
// ANCHOR_END: runs_needed

/// What a method says of a variant timed against itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gate {
    /// Quotient of the medians: 1 but for chance.
    pub ratio: f64,
    /// Its interval, pairs drawn together.
    pub interval: Interval,
    /// Whether the interval holds 1. A sound 95 % method fails 5 of 100 times: once is a warning, twice is a finding.
    pub passed: bool,
}

/// Judges a pair of [`against_itself`](crate::measure::against_itself): the method check of any lab that compares times.
#[must_use]
pub fn gate(pair: &Pair, level: f64, rng: &mut ChaCha8Rng) -> Gate {
    let (ratio, interval) = pair.ratio(level, rng);
    Gate { ratio, interval, passed: interval.low <= 1.0 && 1.0 <= interval.high }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::{
        bench::blocks::tests::drifting,
        measure::against_itself,
        rng,
        stats::median,
        testing::{FakeClock, context, ready},
    };

    #[test]
    fn statistics_are_those_of_the_kit() {
        let mut rng = rng(0, "statistics");
        for n in [1_usize, 2, 3, 8, 41] {
            let values: Vec<f64> = (0..n).map(|_| rng.random()).collect();
            assert_eq!(Statistic::Median.of(&mut values.clone()), median(&values));
            assert_eq!(Statistic::Minimum.of(&mut values.clone()), values.iter().copied().fold(9.0, f64::min));
        }
        assert_eq!(Statistic::Mean.of(&mut [1.0, 2.0, 6.0]), 3.0);
        assert_eq!(Statistic::Minimum.of(&mut []), 0.0);
    }

    #[test]
    fn runs_by_the_table() {
        assert_eq!([(0.05, 0.01), (0.05, 0.05), (0.2, 0.05)].map(|(cv, d)| runs_needed(cv, d)), [393.0, 16.0, 252.0]);
        assert_eq!(coefficient_of_variation(&[4.0]), 0.0);
        assert!((coefficient_of_variation(&[1.0, 3.0]) - 2_f64.sqrt() / 2.0).abs() < 1e-12);
    }

    /// False alarms of both designs on a machine that slows down by a tenth in each experiment and whose noise lasts.
    fn alarms(drift: f64) -> [f64; 2] {
        let (mut noise, mut draws) = (rng(0, "noise"), rng(0, "draws"));
        let (n, all) = (21, 80);
        let mut missed = [0, 0];
        for _ in 0..all {
            let mut series = drifting(2 * n, 0.5, 1.0, 0.02, &mut noise);
            series.iter_mut().enumerate().for_each(|(i, ms)| *ms *= 1.0 + drift * i as f64 / (2 * n) as f64);
            let half = |odd: usize| -> Vec<f64> {
                series.chunks(2).enumerate().map(|(i, pair)| pair[(i + odd) % 2]).collect()
            };
            let designs = [
                ratio_interval(&series[..n], &series[n..], Statistic::Median, false, 0.95, &mut draws),
                ratio_interval(&half(0), &half(1), Statistic::Median, true, 0.95, &mut draws),
            ];
            for (missed, interval) in missed.iter_mut().zip(designs) {
                *missed += usize::from(interval.low > 1.0 || interval.high < 1.0);
            }
        }
        missed.map(|count| count as f64 / f64::from(all))
    }

    #[test]
    fn a_drift_fools_who_measures_one_after_the_other() {
        let [sequential, interleaved] = alarms(0.1);
        assert!(sequential > 0.9 && interleaved < 0.12, "{sequential} {interleaved}");
        let [sequential, interleaved] = alarms(0.0);
        assert!(sequential < 0.3 && interleaved < 0.12, "{sequential} {interleaved}");
    }

    #[test]
    fn what_slows_both_cancels_and_one_sample_says_nothing() {
        let load = [1.0, 3.0, 1.5, 9.0, 2.0];
        let twice = load.map(|x| 2.0 * x);
        let interval = ratio_interval(&twice, &load, Statistic::Median, true, 0.95, &mut rng(0, "t"));
        assert!((interval.low - 2.0).abs() < 1e-12 && (interval.high - 2.0).abs() < 1e-12);
        let nothing = ratio_interval(&[1.0], &[1.0], Statistic::Median, true, 0.95, &mut rng(0, "t"));
        assert_eq!((nothing.low, nothing.high), (0.0, f64::MAX));
    }

    #[test]
    fn the_naive_way_takes_a_pause_for_a_speed_up() {
        let clock = Rc::new(FakeClock::new(0.1));
        let cx = context(clock.clone());
        let calls = std::cell::Cell::new(0);
        let call = || {
            calls.set(calls.get() + 1);
            clock.pass(if calls.get() == 3 { 41.0 } else { 1.0 });
            Ok(())
        };
        let found = ready(naive_speedup(&cx, 10, async || call(), async || call())).expect("runs");
        assert!((found - 5.0).abs() < 0.1, "{found}");
    }

    #[test]
    fn the_gate_on_the_real_clock() {
        let cx = context(Rc::new(FakeClock::real()));
        let mut draws = rng(0, "gate");
        let passed = (0..30).filter(|_| {
            let pair = ready(against_itself(&cx, 5.0, async || {
                std::hint::black_box((0..2000).map(f64::from).map(f64::sqrt).sum::<f64>());
                Ok(())
            }));
            gate(&pair.expect("runs"), 0.95, &mut draws).passed
        });
        // 28 are expected; other tests run beside it.
        let passed = passed.count();
        assert!(passed >= 20, "{passed} of 30");
        let apart = Pair { first: vec![2.0, 2.1, 2.2], second: vec![1.0, 1.1, 1.0] };
        assert!(!gate(&apart, 0.95, &mut draws).passed);
    }
}
