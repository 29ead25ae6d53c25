//! Timing one variant, or two side by side, under clocks as coarse as a browser's.

use lab_api::{Interval, LabError};
use rand_chacha::ChaCha8Rng;

use crate::{
    Context,
    stats::{median, ratio_interval},
};

/// Milliseconds per call of two variants. `first[i]` and `second[i]` were measured one right after the other.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pair {
    /// Of the first variant.
    pub first: Vec<f64>,
    /// Of the second.
    pub second: Vec<f64>,
}

impl Pair {
    /// Median of the first over median of the second, with its interval: the speed-up of the second.
    #[must_use]
    pub fn ratio(&self, level: f64, rng: &mut ChaCha8Rng) -> (f64, Interval) {
        let ratio = median(&self.first) / median(&self.second).max(f64::MIN_POSITIVE);
        (ratio, ratio_interval(&self.first, &self.second, level, rng))
    }

    /// The ratio turn by turn: what [`ratio`](Self::ratio) is the middle of.
    #[must_use]
    pub fn ratios(&self) -> Vec<f64> {
        self.first.iter().zip(&self.second).map(|(first, second)| first / second.max(f64::MIN_POSITIVE)).collect()
    }
}

/// Fewest and most samples of each variant.
const SAMPLES: std::ops::RangeInclusive<usize> = 5..=41;
/// Steps of the clock that a sample spans at least, so that a step more or less is 1 % of it: with fewer, all samples snap to
/// the same two or three values, and their interval shrinks to a point that is not the truth.
const CLOCK_STEPS: f64 = 100.0;

/// How long a sample lasts at least, in milliseconds.
pub(super) fn span_ms(cx: &Context) -> f64 {
    (CLOCK_STEPS * cx.clock_step_ms()).max(0.2)
}

/// Times one variant: milliseconds per call, 5 to 41 samples in about `budget_ms`. The first call warms up and does not
/// count; a sample repeats its call until it spans at least 100 steps of the clock, and 0.2 ms. Take the
/// [`median`] of the samples, and [`median_interval`](crate::stats::median_interval) for its interval.
///
/// # Errors
/// What the variant and the checkpoints between samples return.
pub async fn samples(
    cx: &Context,
    budget_ms: f64,
    mut call: impl AsyncFnMut() -> Result<(), LabError>,
) -> Result<Vec<f64>, LabError> {
    let repeat = repetitions(cx, span_ms(cx), &mut call).await?;
    let (mut samples, start) = (Vec::new(), cx.now_ms());
    while wanted(samples.len(), cx.now_ms() - start, budget_ms) {
        samples.push(sample(cx, repeat, &mut call).await?);
        cx.checkpoint().await?;
    }
    Ok(samples)
}

/// Times two variants, turn by turn and in alternating order, so that a machine that warms up or slows down treats both
/// alike. Each is sampled as by [`samples`].
///
/// # Errors
/// What the variants and the checkpoints between samples return.
pub async fn side_by_side(
    cx: &Context,
    budget_ms: f64,
    mut first: impl AsyncFnMut() -> Result<(), LabError>,
    mut second: impl AsyncFnMut() -> Result<(), LabError>,
) -> Result<Pair, LabError> {
    let repeat_first = repetitions(cx, span_ms(cx), &mut first).await?;
    let repeat_second = repetitions(cx, span_ms(cx), &mut second).await?;
    let mut pair = Pair::default();
    let start = cx.now_ms();
    while wanted(pair.first.len(), cx.now_ms() - start, budget_ms) {
        if pair.first.len() % 2 == 0 {
            pair.first.push(sample(cx, repeat_first, &mut first).await?);
            pair.second.push(sample(cx, repeat_second, &mut second).await?);
        } else {
            pair.second.push(sample(cx, repeat_second, &mut second).await?);
            pair.first.push(sample(cx, repeat_first, &mut first).await?);
        }
        cx.checkpoint().await?;
    }
    Ok(pair)
}

/// Times one variant against itself (an A/A test): the ratio of the two must be 1 within its interval, or the method,
/// the clock or a busy machine fools whoever compares two variants by [`side_by_side`].
///
/// # Errors
/// As [`side_by_side`].
pub async fn against_itself(
    cx: &Context,
    budget_ms: f64,
    mut call: impl AsyncFnMut() -> Result<(), LabError>,
) -> Result<Pair, LabError> {
    let repeat = repetitions(cx, span_ms(cx), &mut call).await?;
    let mut pair = Pair::default();
    let start = cx.now_ms();
    while wanted(pair.first.len(), cx.now_ms() - start, budget_ms) {
        let (one, other) = (sample(cx, repeat, &mut call).await?, sample(cx, repeat, &mut call).await?);
        // The same turns as between two variants.
        let (first, second) = if pair.first.len() % 2 == 0 { (one, other) } else { (other, one) };
        pair.first.push(first);
        pair.second.push(second);
        cx.checkpoint().await?;
    }
    Ok(pair)
}

/// Whether another sample is wanted: 5 at least, then until the budget is spent, 41 at most.
fn wanted(have: usize, spent_ms: f64, budget_ms: f64) -> bool {
    have < *SAMPLES.start() || (have < *SAMPLES.end() && spent_ms <= budget_ms)
}

async fn sample(
    cx: &Context,
    repeat: usize,
    call: &mut impl AsyncFnMut() -> Result<(), LabError>,
) -> Result<f64, LabError> {
    Ok(batch(cx, repeat, call).await? / repeat as f64)
}

/// Calls that fill `span` milliseconds, found by doubling; the first call warms up and does not count. Where half as many
/// took less than a quarter of that, the machine has paused: it is tried again, or a pause would pass for the time of a short
/// call, and samples of it would last no step of the clock.
async fn repetitions(
    cx: &Context,
    span: f64,
    call: &mut impl AsyncFnMut() -> Result<(), LabError>,
) -> Result<usize, LabError> {
    let (mut repeat, mut before) = (1, batch(cx, 1, call).await?);
    loop {
        cx.checkpoint().await?;
        let took = batch(cx, repeat, call).await?;
        if (took >= span && before >= 0.25 * span) || repeat >= 1 << 16 {
            return Ok(repeat);
        }
        if took < span {
            repeat *= 2;
        }
        before = took;
    }
}

/// Milliseconds of so many calls in a row.
async fn batch(
    cx: &Context,
    repeat: usize,
    call: &mut impl AsyncFnMut() -> Result<(), LabError>,
) -> Result<f64, LabError> {
    let start = cx.now_ms();
    for _ in 0..repeat {
        call().await?;
    }
    Ok(cx.now_ms() - start)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::{
        context::rng,
        stats::median_interval,
        testing::{FakeClock, context, ready},
    };

    /// A context whose clock shows whole multiples of `step_ms`, and the clock.
    fn with_clock(step_ms: f64) -> (Context, std::rc::Rc<FakeClock>) {
        let clock = std::rc::Rc::new(FakeClock::new(step_ms));
        (context(clock.clone()), clock)
    }

    #[test]
    fn coarse_clocks_do_not_bend_the_estimate() {
        // Steps of 0.1 ms (Chromium), 1 ms (Firefox) and 5 ms; calls far shorter, as long, and longer than a step.
        for step_ms in [0.1, 1.0, 5.0] {
            for call_ms in [0.013, 0.37, 1.0, 7.3] {
                let (cx, clock) = with_clock(step_ms);
                assert!((cx.clock_step_ms() - step_ms).abs() < 1e-9, "{}", cx.clock_step_ms());
                let found = ready(samples(&cx, 300.0, async || {
                    clock.pass(call_ms);
                    Ok(())
                }));
                let found = found.expect("the clock goes on");
                // One step in 100 would be 1 % for a single sample; reading the clock itself takes a microsecond.
                let error = median(&found) / call_ms - 1.0;
                assert!(error.abs() < 0.03, "{call_ms} ms by steps of {step_ms} ms: off by {:.1} %", 100.0 * error);
                assert!(found.len() >= 5);
            }
        }
    }

    #[test]
    fn a_pause_of_the_machine_does_not_pass_for_the_time_of_a_call() {
        let (cx, clock) = with_clock(0.1);
        let calls = Cell::new(0);
        let found = ready(samples(&cx, 100.0, async || {
            calls.set(calls.get() + 1);
            clock.pass(if calls.get() == 2 { 50.0 } else { 0.01 });
            Ok(())
        }));
        let found = found.expect("the clock goes on");
        assert!(found.iter().all(|ms| (0.008..0.02).contains(ms)), "{found:?}");
    }

    #[test]
    fn two_variants_are_told_apart_under_a_coarse_clock_and_a_machine_that_slows_down() {
        let (cx, clock) = with_clock(1.0);
        let load = Cell::new(1.0);
        let work = |ms: f64| {
            load.set(load.get() * 1.0005);
            clock.pass(ms * load.get());
            Ok(())
        };
        let pair = ready(side_by_side(&cx, 4000.0, async || work(0.9), async || work(0.3))).expect("runs");
        let (ratio, interval) = pair.ratio(0.95, &mut rng(0, "t"));
        assert!((ratio - 3.0).abs() < 0.3, "{ratio}");
        assert!(interval.low <= ratio && ratio <= interval.high && interval.low > 2.0, "{interval:?}");
    }

    #[test]
    fn a_variant_against_itself_is_not_faster_than_itself() {
        // Noise of 20 %, drawn anew for every call; 200 such tests, of which 5 % may fail by chance.
        let (cx, clock) = with_clock(0.1);
        let (mut noise, mut picks) = (rng(1, "noise"), rng(2, "picks"));
        let mut covered = 0;
        for _ in 0..200 {
            let pair = ready(against_itself(&cx, 40.0, async || {
                clock.pass(rand::Rng::random_range(&mut noise, 0.9..1.1));
                Ok(())
            }));
            let (_, interval) = pair.expect("runs").ratio(0.95, &mut picks);
            covered += usize::from(interval.low <= 1.0 && 1.0 <= interval.high);
        }
        assert!((180..=200).contains(&covered), "{covered} of 200");
    }

    #[test]
    fn the_real_clock_and_real_work() {
        let cx = context(std::rc::Rc::new(FakeClock::real()));
        let mut sum = 0.0_f64;
        let found = ready(samples(&cx, 30.0, async || {
            for i in 0..1000 {
                sum += std::hint::black_box(f64::from(i)).sqrt();
            }
            Ok(())
        }));
        let found = found.expect("runs");
        let interval = median_interval(&found, 0.95, &mut rng(0, "t"));
        assert!(sum > 0.0 && interval.low > 0.0 && interval.low <= interval.high);
    }

    #[test]
    fn cancel_is_heard_between_samples() {
        let (cx, clock) = with_clock(0.1);
        clock.cancel();
        let result = ready(samples(&cx, 10.0, async || {
            clock.pass(0.1);
            Ok(())
        }));
        assert_eq!(result, Err(LabError::Cancelled));
    }
}
